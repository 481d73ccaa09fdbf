import shutil

import h5py
import numpy as np
import pytest

from brain_activity_prediction.runtime.errors import Damaged, InputError
from brain_activity_prediction.storage.embeddings import embedding_store, folder_settings
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.sealed_hdf5 import write_sealed
from brain_activity_prediction.storage.settings_file import record_settings

L, W = 3, 5


def states(ids, stream=1.0):
    """(n, L, W), every value another one."""
    ids = np.asarray(ids, dtype=np.float32)[:, None, None]
    return ids * 100 + np.arange(L)[None, :, None] * 10 + np.arange(W)[None, None] + stream


@pytest.fixture
def store(tmp_path):
    store = EmbeddingStore(tmp_path / "states")
    store.write([7, 2, 9], {"vision": states([7, 2, 9])})
    store.write([4, 1], {"vision": states([4, 1])})
    return store


def test_a_layer_comes_back_in_the_order_asked_for(store):
    store.write([1, 3], {"other": states([1, 3])})  # comes before the files of this stream
    for wanted in ([1, 9, 2, 4], [2]):
        layer = store.read_layer("vision", 2, wanted)
        np.testing.assert_array_equal(layer, states(wanted)[:, 2])
        assert layer.dtype == np.float32


def test_a_store_opened_anew_knows_what_another_wrote(store):
    other = EmbeddingStore(store.folder)
    assert other.image_ids(["vision"]).tolist() == [1, 2, 4, 7, 9]
    assert other.streams() == {"vision": (L, W)}
    store.write([30], {"vision": states([30])})
    assert 30 in other.image_ids(["vision"])


def test_an_image_counts_as_done_only_with_all_streams_asked_for(store):
    store.write([2, 4], {"vision_cls": states([2, 4], 0.5)})
    assert store.image_ids(["vision", "vision_cls"]).tolist() == [2, 4]
    assert store.image_ids(["vision_cls", "vision"]).tolist() == [2, 4]
    assert store.streams() == {"vision": (L, W), "vision_cls": (L, W)}
    for streams in (["vision", "other"], ["other", "vision"], ["other"]):
        assert store.image_ids(streams).tolist() == []
        assert store.image_ids(streams).dtype.kind == "i"


def test_before_anything_is_written_there_is_nothing(tmp_path):
    store = EmbeddingStore(tmp_path / "states")
    assert store.image_ids(["vision"]).tolist() == []
    assert (store.streams(), store.settings(), store.read_answers(), store.repair()) == ({}, None, {}, [])


def test_batches_of_the_same_span_or_the_same_images_are_all_kept(store):
    store.write([4, 2, 1], {"vision": states([4, 2, 1])})
    store.write([4, 3, 1], {"vision": states([4, 3, 1])})
    store.write([4, 1], {"language": states([4, 1])})
    assert store.image_ids(["vision"]).tolist() == [1, 2, 3, 4, 7, 9]
    assert store.image_ids(["language"]).tolist() == [1, 4]
    assert len(list(store.folder.iterdir())) == 5


def test_other_files_in_the_folder_are_let_alone(store):
    (store.folder / "batch_00001.txt").write_text("mine")
    (store.folder / "figure.h5").write_text("mine, too")
    assert store.image_ids(["vision"]).tolist() == [1, 2, 4, 7, 9]
    assert store.repair() == []
    assert (store.folder / "figure.h5").exists()


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("two words", states([5]), "'two words' is not the name of a stream"),
        ("vision", np.zeros((1, 3)), "one of its streams does not have the axes images x layers x width"),
    ],
)
def test_a_batch_file_of_what_are_no_states_is_refused(store, name, values, said):
    arrays = {"image_ids": np.array([5]), name: values}
    write_sealed(store.folder / "batch_00005-00005_0.h5", arrays, about={"image_ids": [5], "settings": {}})
    with pytest.raises(InputError, match=rf"batch_00005-00005_0\.h5 \({said}\).*--repair"):
        store.image_ids(["vision"])


@pytest.mark.parametrize(
    ("about", "arrays", "said"),
    [
        ({"image_ids": [5.5]}, {}, r"'image_ids'\[0\] is 5.5, not int"),
        ({"image_ids": ["5"]}, {}, "its name and its header disagree about its images"),
        ({"image_ids": [5, 6]}, {}, "one of its datasets does not have 2 rows"),
        ({"image_ids": [6]}, {}, "its name and its header disagree about its images"),
        ({"settings": []}, {}, r"'settings' is \[\], not dict"),
        ({"settings": None}, {}, "'settings' is null, not dict"),
        ({"more": 1}, {}, "'more' is unknown"),
        ({}, {"answers": np.array([b"a", b"b"])}, "one of its datasets does not have 1 row"),
        ({}, {"vision": np.full((1, L, W), b"x")}, "one of its streams does not consist of numbers"),
    ],
    ids=str,
)
@pytest.mark.parametrize("first", [True, False])
def test_a_batch_file_that_does_not_fit_its_schema_is_damaged_and_repaired(tmp_path, about, arrays, said, first):
    store = EmbeddingStore(tmp_path / "states")
    if not first:
        store.write([4, 1], {"vision": states([4, 1])})
    arrays = {"image_ids": np.array([5]), "vision": states([5])} | arrays
    cuts = {"vision": (1, 1)}
    path = store.folder / "batch_00005-00005_0.h5"
    write_sealed(path, arrays, {"image_ids": [5], "settings": {}} | about, cuts)
    for read in (store.streams, lambda: store.image_ids(["vision"]), lambda: store.read_layer("vision", 0, [5])):
        with pytest.raises(Damaged, match=rf"{path} .*{said}.*--repair"):
            read()
    assert store.repair() == [path.name]
    assert 5 not in store.image_ids(["vision"])


@pytest.mark.parametrize("name", ["batch_.h5", "batch_1-x_0.h5"])
def test_a_batch_file_whose_name_says_no_images_is_damaged(store, name):
    (store.folder / "batch_00001-00004_0.h5").write_bytes(b"")
    next(store.folder.glob("batch_00001-00004_*")).rename(store.folder / name)
    for read in (store.read_answers, store.streams):
        with pytest.raises(Damaged, match="--repair"):
            read()


def test_images_whose_states_are_not_finite_are_counted_and_the_first_is_named(store):
    spoilt = states([30, 20, 40])
    spoilt[:2, 1, :2] = np.inf, -np.inf
    spoilt[2] = 3e38  # their sum is beyond float32, they are not
    store.write([30, 20, 40], {"vision": spoilt})
    said = rf"vision is not finite for 2 of 5 images at layer 1 in {store.folder} \(first: image 20\): delete"
    with pytest.raises(InputError, match=said):
        store.read_layer("vision", 1, [40, 30, 20, 7, 9])
    assert np.isfinite(store.read_layer("vision", 1, [40, 7])).all()


def test_missing_images_are_counted_and_the_first_is_named(store):
    with pytest.raises(InputError, match=r"2 of 5 images .* \(first: image 3\):"):
        store.read_layer("vision", 0, [9, 8, 3, 1, 2])


@pytest.mark.parametrize(
    ("stream", "layer", "said"),
    [
        ("language", 0, r"no stream language in \S+states; available: vision \(layers 0 to 2\)"),
        ("vision", 3, r"no layer 3 of vision in \S+states; available: layers 0 to 2"),
        ("vision", -1, r"no layer -1 of vision in \S+states; available: layers 0 to 2"),
    ],
)
def test_a_stream_or_layer_that_does_not_exist_is_answered_with_those_that_do(store, stream, layer, said):
    with pytest.raises(InputError, match=said) as refused:
        store.read_layer(stream, layer, [9, 4])
    assert not isinstance(refused.value, Damaged)


@pytest.mark.parametrize("name", ["vison", "states/batch_00001-00004.h5"])
def test_a_wrong_folder_is_answered_with_those_that_hold_states(store, name):
    with pytest.raises(InputError, match="holds no hidden states") as refused:
        EmbeddingStore(store.folder.parent / name).read_layer("vision", 0, [9])
    assert not isinstance(refused.value, Damaged)
    assert (f"choose from {store.folder.parent}: states" in str(refused.value)) == (name == "vison")


def test_an_image_asked_for_twice_is_given_twice_and_no_images_are_no_rows(store):
    np.testing.assert_array_equal(store.read_layer("vision", 1, [9, 2, 9]), states([9, 2, 9])[:, 1])
    assert store.read_layer("vision", 1, []).shape == (0, W)


def test_an_image_written_twice_counts_once(store):
    store.write([9, 50], {"vision": states([9, 50])})
    assert store.image_ids(["vision"]).tolist() == [1, 2, 4, 7, 9, 50]
    np.testing.assert_array_equal(store.read_layer("vision", 0, [50, 9]), states([50, 9])[:, 0])


def test_the_same_batch_written_twice_is_one_file(store):
    before = sorted(store.folder.iterdir())
    store.write(np.array([4, 1], dtype=np.int32), {"vision": states([4, 1])})
    assert sorted(store.folder.iterdir()) == before


def test_answers_of_any_length_and_alphabet_come_back(store):
    answers = {5: "a cat", 6: "", 3: "eine Straße, 東京"}
    store.write(list(answers), {"language": states(list(answers))}, list(answers.values()))
    assert store.read_answers() == answers


def test_answers_of_a_few_images_are_read_without_opening_the_files_of_others(store):
    for ids in ([1, 9], [20, 25], [40]):
        store.write(ids, {"language": states(ids)}, [f"answer {image}" for image in ids])
    next(store.folder.glob("batch_00020*")).write_bytes(b"never read")
    assert store.read_answers([9, 5, 40]) == {9: "answer 9", 40: "answer 40"}
    with pytest.raises(InputError, match=r"batch_00020\S* .*--repair"):
        store.read_answers([22])


def test_states_made_with_other_settings_are_refused_by_the_name_of_the_setting(store):
    store.claim({"dtype": "float32", "prompt": "What?"})
    store.claim({"dtype": "float32", "prompt": "What?"})
    with pytest.raises(InputError, match="dtype = float32, but this run has float16"):
        store.claim({"dtype": "float16", "prompt": "What?"})


def test_of_two_runs_with_other_settings_that_begin_together_one_is_refused(store, monkeypatch):
    record, other = folder_settings.record_settings, EmbeddingStore(store.folder)

    def as_another_does(folder, settings, **first):
        monkeypatch.setattr(folder_settings, "record_settings", record)
        other.claim({"dtype": "float16"})  # it, too, has found none
        record(folder, settings, **first)

    monkeypatch.setattr(folder_settings, "record_settings", as_another_does)
    with pytest.raises(InputError, match="dtype = float16, but this run has float32"):
        store.claim({"dtype": "float32"})
    assert store.settings() == {"dtype": "float16"}


def test_a_folder_belongs_to_no_setting_before_its_first_batch(tmp_path):
    failed, later = EmbeddingStore(tmp_path / "states"), EmbeddingStore(tmp_path / "states")
    failed.claim({"dtype": "float16"})
    record_settings(failed.folder, {"dtype": "float16"})  # as version 1.0.0 did at once
    assert later.settings() is None
    later.claim({"dtype": "bfloat16"})
    later.write([1], {"vision": states([1])})
    assert later.settings() == {"dtype": "bfloat16"}
    with pytest.raises(InputError, match="made with dtype = bfloat16, but this run has float16"):
        failed.write([2], {"vision": states([2])})
    assert later.image_ids(["vision"]).tolist() == [1]


def test_a_process_that_starts_before_anothers_first_batch_mixes_nothing(tmp_path, monkeypatch):
    first, second = EmbeddingStore(tmp_path / "states"), EmbeddingStore(tmp_path / "states")
    first.claim({"dtype": "float16"})
    written = embedding_store.write_sealed

    def as_another_begins(*arguments, **more):
        monkeypatch.setattr(embedding_store, "write_sealed", written)
        second.claim({"dtype": "float32"})
        written(*arguments, **more)

    monkeypatch.setattr(embedding_store, "write_sealed", as_another_begins)
    first.write([1], {"vision": states([1])})
    with pytest.raises(InputError, match="made with dtype = float16, but this run has float32"):
        second.write([2], {"vision": states([2])})
    assert first.settings() == {"dtype": "float16"}
    assert first.image_ids(["vision"]).tolist() == [1]


def test_settings_that_were_deleted_are_those_of_the_batches(store):
    store.claim({"dtype": "float32"})
    store.write([60], {"vision": states([60])})
    for path in store.folder.glob("batch_0000*"):
        path.unlink()
    (store.folder / "settings.json").unlink()
    with pytest.raises(InputError, match="made with dtype = float32, but this run has float16"):
        store.claim({"dtype": "float16"})


def test_a_setting_that_comes_later_is_added_and_held_to(store):
    store.claim({"dtype": "float32"})
    store.claim({"dtype": "float32", "max_new_tokens": 64})
    store.claim({"dtype": "float32"})
    with pytest.raises(InputError, match="max_new_tokens"):
        store.claim({"dtype": "float32", "max_new_tokens": 8})


@pytest.mark.parametrize("length", [0, 100, 3000])
def test_a_batch_file_that_is_cut_off_is_named(store, length):
    path = sorted(store.folder.glob("batch_*"))[0]
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match=path.name):
        EmbeddingStore(store.folder).read_layer("vision", 0, [1])


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def file_with(store, image_id):
    return next(path for path in store.folder.glob("batch_*") if image_id in h5py.File(path)["image_ids"][:])


@pytest.mark.parametrize("position", [20, -600])
def test_a_flipped_byte_is_noticed_and_named_with_the_flag_that_mends_it(store, position):
    path = file_with(store, 4)
    flip(path, position if position > 0 else first_byte(path))
    with pytest.raises(InputError, match=f"{path.name}.*--repair"):
        EmbeddingStore(store.folder).read_layer("vision", 0, [4])


def first_byte(path):
    """Where the states of the first layer begin."""
    with h5py.File(path) as file:
        return file["vision"].id.get_chunk_info(0).byte_offset


def test_repair_deletes_the_damaged_files_and_no_others(store):
    path = file_with(store, 4)
    flip(path, first_byte(path))
    assert store.repair() == [path.name]
    assert store.image_ids(["vision"]).tolist() == [2, 7, 9]
    assert store.repair() == []


@pytest.mark.parametrize("damage", ["", "<html>", '{"dtype": "float16"}'])
def test_damaged_settings_are_noticed_and_restored_from_the_batches(store, damage):
    settings = {"dtype": "float32", "prompt": "What?"}
    for image, of_one_run in enumerate((settings, {"dtype": "float32", "max_new_tokens": 64}), start=60):
        store.claim(of_one_run)
        store.write([image], {"vision": states([image])})
    (store.folder / "settings.json").write_text(damage)
    with pytest.raises(InputError, match=r"settings\.json.*--repair"):
        store.claim({"dtype": "float16"})
    assert store.repair() == ["settings.json"]
    assert store.settings() == settings | {"max_new_tokens": 64}


@pytest.fixture
def two_prompts(tmp_path):
    """Stores of the same images under two prompts, three batches each."""
    stores = []
    for prompt in ("first", "second"):
        store = EmbeddingStore(tmp_path / prompt)
        store.claim({"prompt": prompt, "dtype": "float32"})
        for ids in ([1, 2], [3, 4], [5, 6]):
            store.write(ids, {"vision": states(ids)}, ["answer"] * 2)
        stores.append(EmbeddingStore(store.folder))
    return stores


def test_a_batch_of_another_prompt_is_never_read_and_repair_deletes_it_alone(two_prompts):
    """Its name is the same, for it holds the same images and streams."""
    first, second = two_prompts
    foreign = min(second.folder.glob("batch_*"))
    shutil.copy(foreign, first.folder / foreign.name)
    for read in (lambda: first.read_layer("vision", 0, [5]), lambda: first.image_ids(["vision"]), first.read_answers):
        with pytest.raises(
            Damaged, match=rf"{foreign.name} \(it was made with prompt = second, but its folder has first"
        ):
            read()
    assert first.repair() == [foreign.name]
    assert first.image_ids(["vision"]).tolist() == [3, 4, 5, 6]
    assert second.repair() == []


def test_settings_of_another_prompt_are_noticed_and_restored_without_losing_a_batch(two_prompts):
    first, second = two_prompts
    shutil.copy(second.folder / "settings.json", first.folder)
    with pytest.raises(Damaged, match=r"it was made with prompt = first, but its folder has second.*--repair"):
        first.image_ids(["vision"])
    assert first.repair() == ["settings.json"]
    assert first.settings()["prompt"] == "first"
    assert len(first.image_ids(["vision"])) == 6


def test_no_flipped_byte_of_the_settings_passes(store):
    store.claim({"dtype": "float32", "prompt": "What?"})
    path = store.folder / "settings.json"
    content = path.read_bytes()
    for position in np.flatnonzero(np.frombuffer(content, np.uint8) > ord(" ")):
        flip(path, position)
        with pytest.raises(InputError, match=path.name):
            store.settings()
        path.write_bytes(content)


def test_one_layer_lies_in_chunks_of_its_own_and_any_hdf5_tool_reads_it(store):
    for path in store.folder.glob("batch_*"):
        with h5py.File(path) as file:
            ids = file["image_ids"][:]
            np.testing.assert_array_equal(file["vision"][:], states(ids))
            assert file["vision"].chunks == (len(ids), 1, W)
            assert file["vision"].fletcher32
