import os
import re
import shutil
import signal
import subprocess
import time
from itertools import islice

import numpy as np
import pytest
import torch
from mean_colours import colours, expected, extract, store
from scripts import SCRIPTS, command, load_script, run

from brain_activity_prediction.demo import models
from brain_activity_prediction.embedding_store import EmbeddingStore
from brain_activity_prediction.errors import InputError
from brain_activity_prediction.extract_image_embeddings import extraction
from brain_activity_prediction.extract_image_embeddings.plan import plan
from brain_activity_prediction.extract_image_embeddings.prompts import PROMPTS
from brain_activity_prediction.extract_image_embeddings.runner import stored
from brain_activity_prediction.extract_image_embeddings.torchvision_import import import_torchvision
from brain_activity_prediction.nsd.layout import find_layout


def test_every_image_of_the_subject_is_stored_under_its_own_id(own_nsd):
    extract(colours(), own_nsd, "-b", 16, "-p", "2")
    ids, mean_colours = expected(own_nsd)
    for layer in range(3):
        vision = store(own_nsd, "no_prompt").read_layer("vision", layer, ids)
        np.testing.assert_allclose(vision, mean_colours * (layer + 1), rtol=1e-6)
        language = store(own_nsd, "prompt_2").read_layer("language", layer, ids)
        np.testing.assert_allclose(language, mean_colours * (layer + 1) * 20, rtol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 40, 1000])
def test_the_batch_size_changes_no_number_and_the_last_batch_may_be_partial(own_nsd, batch_size):
    extract(colours(), own_nsd, "-b", batch_size)
    ids, mean_colours = expected(own_nsd)
    assert store(own_nsd, "no_prompt").image_ids(["vision"]).tolist() == ids.tolist()
    np.testing.assert_allclose(store(own_nsd, "no_prompt").read_layer("vision", 0, ids), mean_colours, rtol=1e-6)


def test_several_prompts_run_the_image_part_once(own_nsd):
    calls = []
    extract(colours(calls), own_nsd, "-b", 8, "-p", "1-9")
    ids, mean_colours = expected(own_nsd)
    assert sum(calls) == len(ids)
    for number in PROMPTS:
        found = store(own_nsd, f"prompt_{number}").read_layer("language", 0, ids)
        np.testing.assert_allclose(found, mean_colours * 10 * number, rtol=1e-6)


def test_a_second_run_computes_nothing_and_a_new_prompt_only_itself(own_nsd):
    calls = []
    extract(colours(calls), own_nsd, "-p", "1", "2")
    files = sorted(own_nsd.rglob("batch_*"))
    calls.clear()
    extract(colours(calls), own_nsd, "-p", "1", "2")
    assert not calls
    extract(colours(calls), own_nsd, "-p", "1-3")
    new = set(own_nsd.rglob("batch_*")) - set(files)
    assert {path.parent.parent.name for path in new} == {"prompt_3"}


def test_a_second_subject_finds_the_images_of_the_first(own_nsd, capsys):
    extract(colours(), own_nsd, "-s", 1)
    calls = []
    extract(colours(calls), own_nsd, "-s", 2)
    assert sum(calls) == 28
    assert "12 images were done before, 28 are left" in capsys.readouterr().err


def test_several_subjects_are_one_run_over_the_images_that_any_of_them_saw(own_nsd, capsys):
    calls = []
    extract(colours(calls), own_nsd, "-s", 1, 2)
    assert sum(calls) == 12 + 28 + 28
    assert "68 images" in capsys.readouterr().err
    extract(colours(calls), own_nsd, "-s", 2)
    assert sum(calls) == 68


@pytest.mark.parametrize("seed", range(5))
def test_any_number_of_shards_changed_between_runs_that_stop_early_never_repeats_an_image(seed, own_nsd, monkeypatch):
    """Each run is ended after some of its batches, as by a time limit, and the next splits the images otherwise."""
    rng, calls = np.random.default_rng(seed), []
    for _ in range(6):
        n_shards = int(rng.integers(1, 9))
        shard, n_batches = f"{rng.integers(n_shards)}/{n_shards}", int(rng.integers(3))
        monkeypatch.setattr(extraction, "until_stopped", lambda steps, n=n_batches: islice(steps, n))
        extract(colours(calls), own_nsd, "--shard", shard, "-b", int(rng.integers(1, 6)))
    monkeypatch.setattr(extraction, "until_stopped", iter)
    n_shards = int(rng.integers(1, 9))
    for shard in range(n_shards):
        extract(colours(calls), own_nsd, "--shard", f"{shard}/{n_shards}")
    assert sum(calls) == 40
    ids, mean_colours = expected(own_nsd)
    np.testing.assert_allclose(store(own_nsd, "no_prompt").read_layer("vision", 0, ids), mean_colours, rtol=1e-6)


def test_shards_share_the_images_out_and_another_number_of_shards_repeats_none(own_nsd):
    calls = []
    for shard in ("0/3", "2/3"):
        extract(colours(calls), own_nsd, "--shard", shard)
    assert sum(calls) == 14 + 13
    for shard in ("0/2", "1/2"):
        extract(colours(calls), own_nsd, "--shard", shard, "-b", 3)
    assert sum(calls) == 40
    ids, mean_colours = expected(own_nsd)
    np.testing.assert_allclose(store(own_nsd, "no_prompt").read_layer("vision", 0, ids), mean_colours, rtol=1e-6)


def test_answers_are_stored_beside_the_states(own_nsd):
    extract(colours(), own_nsd, "-p", "4", "--response")
    ids, _ = expected(own_nsd)
    assert store(own_nsd, "prompt_4").read_answers() == dict.fromkeys(ids.tolist(), "answer to 4")


def test_answers_can_be_added_to_states_that_are_there(own_nsd):
    extract(colours(), own_nsd)
    extract(colours(), own_nsd, "--response")
    assert set(store(own_nsd, "prompt_1").streams()) == {"language", "response"}


@pytest.mark.parametrize(
    ("flags", "setting"),
    [(["--dtype", "bfloat16"], "dtype"), (["--response", "--max-new-tokens", "9"], "max_new_tokens")],
)
def test_a_run_with_other_settings_is_refused_by_name_and_changes_nothing(own_nsd, flags, setting):
    extract(colours(), own_nsd, "--response")
    next(own_nsd.glob("image_embeddings/prompt_1/*/batch_*")).unlink()  # so that there is something to do
    before = {path: path.stat().st_mtime_ns for path in own_nsd.rglob("*")}
    with pytest.raises(InputError, match=setting):
        extract(colours(), own_nsd, "--response", *flags)
    assert {path: path.stat().st_mtime_ns for path in own_nsd.rglob("*")} == before


def test_a_test_run_says_what_the_whole_would_take_and_writes_nothing(own_nsd, capsys):
    before = sorted(own_nsd.rglob("*"))
    extract(colours(), own_nsd, "--test-run", "-b", 8, "-p", "1", "2", "--response")
    said = capsys.readouterr().out
    assert sorted(own_nsd.rglob("*")) == before
    assert re.search(r"no prompt +vision +8 images x 3 layers x 3: mean", said)
    assert re.search(r"prompt 2 +language", said)
    assert "'answer to 2'" in said
    assert re.search(r"[\d.]+ images/s in batches of 8, [\d.]+ GB", said)
    assert re.search(r"40 images that are left: [\d.]+ h, [\d.]+ GB; nothing was written", said)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1"])
def test_a_signal_lets_the_batch_in_hand_be_finished_and_the_next_run_continues(name, own_nsd, monkeypatch, capsys):
    calls = []
    script = colours(calls)
    encode_images = script.encode_images

    def interrupted(*arguments):
        if len(calls) == 2:
            os.kill(os.getpid(), getattr(signal, name))
        return encode_images(*arguments)

    script.encode_images = interrupted
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    monkeypatch.setattr("sys.argv", ["mean_colours.py", "-d", str(own_nsd), "-g", "cpu", "-b", "5"])
    with pytest.raises(SystemExit) as stopped:
        extraction.main(script)
    assert stopped.value.code == 75
    assert f"stopped by {name}; all that was finished is kept" in capsys.readouterr().err
    assert len(store(own_nsd, "prompt_1").image_ids(["language"])) == 15
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)] == handlers

    extract(colours(calls), own_nsd, "-b", 5)
    assert sum(calls) == 40


def test_repair_computes_the_images_of_damaged_files_and_no_others(own_nsd, capsys):
    extract(colours(), own_nsd, "-b", 5, "-p", "1", "2")
    ids, mean_colours = expected(own_nsd)
    path = sorted((own_nsd / "image_embeddings/prompt_2").rglob("batch_*"))[3]
    path.write_bytes(path.read_bytes()[:-7] + b"damaged")
    calls, at = [], {other: other.stat().st_mtime_ns for other in own_nsd.rglob("batch_*") if other != path}
    extract(colours(calls), own_nsd, "-b", 5, "-p", "1", "2", "--repair")
    assert calls == [5]
    assert f"prompt_2/test_mean-colours: 1 damaged files: {path.name}" in capsys.readouterr().err
    assert {other: other.stat().st_mtime_ns for other in at} == at
    assert path.exists()
    np.testing.assert_allclose(store(own_nsd, "prompt_2").read_layer("language", 0, ids), mean_colours * 20, rtol=1e-6)
    with pytest.raises(InputError, match="leave one out"):
        extract(colours(), own_nsd, "--repair", "--test-run")


STATES = torch.ones(2, 3, 4)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_state_that_is_not_finite_is_named_by_image_stream_and_layer(value):
    bad = STATES.clone()
    bad[1, 2, 0] = value
    with pytest.raises(
        InputError, match="vision is not finite for image 71 at layer 2, the first of 1 such vectors among 6"
    ):
        stored({"vision": bad}, ["vision"], [70, 71], torch.float32)


def test_float16_storage_never_overflows_silently():
    with pytest.raises(InputError, match=r"layer 0, .* --dtype bfloat16 or float32"):
        stored({"vision": STATES * 7e4}, ["vision"], [70, 71], torch.float16)
    assert stored({"vision": STATES * 6e4}, ["vision"], [70, 71], torch.float16)["vision"].dtype == np.float16


@pytest.mark.parametrize(
    ("streams", "said"),
    [
        ({"vision": STATES[:1]}, "shape"),
        ({"vision": STATES[0]}, "shape"),
        ({}, "gave the streams"),
        ({"vision": STATES, "more": STATES}, "gave the streams"),
    ],
)
def test_a_script_that_breaks_its_contract_is_told_so(streams, said):
    with pytest.raises(InputError, match=said):
        stored(streams, ["vision"], [70, 71], torch.float32)


def test_images_that_lack_the_same_prompts_share_batches(own_nsd):
    extract(colours(), own_nsd, "-p", "1")
    ids = [int(i) for i in expected(own_nsd)[0]]
    for path in sorted((own_nsd / "image_embeddings/prompt_1").rglob("batch_*"))[:2]:
        path.unlink()
    arguments = extraction.flags("").parse_args(["-d", str(own_nsd), "-p", "1", "2", "-b", "8"])
    batches = plan(colours(), arguments, ids).batches()
    assert [(batch.image_ids, batch.prompts) for batch in batches] == [
        (ids[:8], (1, 2)),
        (ids[8:16], (1, 2)),
        *((ids[start : start + 8], (2,)) for start in range(16, 40, 8)),
    ]


def test_a_pooling_that_no_stream_has_and_answers_of_a_model_that_gives_none_are_refused(own_nsd):
    with pytest.raises(InputError, match="no cls pooling; it has mean"):
        extract(colours(), own_nsd, "--pooling", "cls")
    silent = colours()
    silent.PROMPT_STREAMS = {}
    with pytest.raises(InputError, match="leave out --response"):
        extract(silent, own_nsd, "--response")


# -- through the command line -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vit")
    import_torchvision()
    models.write_vit(folder, num_hidden_layers=2)
    return folder


VIT = "vit_huge_patch14_224_in21k.py"
VIT_FOLDER = "image_embeddings/no_prompt/google_vit-huge-patch14-224-in21k"


def all_states(base_dir):
    found = EmbeddingStore(base_dir / VIT_FOLDER)
    ids = found.image_ids(["vision"])
    return ids, [found.read_layer("vision", layer, ids) for layer in range(found.streams()["vision"][0])]


def test_a_killed_extraction_continues_to_the_same_results(official_nsd, tmp_path, vit):
    whole, killed = (shutil.copytree(official_nsd, tmp_path / name) for name in ("whole", "killed"))
    flags = ["-g", "cpu", "-b", "1", "--checkpoint", vit]
    assert run(VIT, "-d", whole, *flags).returncode == 0
    process = subprocess.Popen(command(VIT, "-d", killed, *flags), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while len(list((killed / VIT_FOLDER).glob("batch_*"))) < 3:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    n_done = len(list((killed / VIT_FOLDER).glob("batch_*")))
    assert n_done < 40

    again = run(VIT, "-d", killed, *flags)
    assert f"{n_done} images were done before, {40 - n_done} are left" in again.stderr
    ids, layers = all_states(whole)
    ids_again, layers_again = all_states(killed)
    np.testing.assert_array_equal(ids_again, ids)
    for layer, layer_again in zip(layers, layers_again, strict=True):
        np.testing.assert_array_equal(layer_again, layer)
    assert not [path for path in killed.rglob(".*") if "~" in path.name]


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_lists_every_flag_without_importing_torch(script):
    done = subprocess.run(
        [*command(script)[:1], "-X", "importtime", *command(script)[1:], "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    for flag in (
        "--batch-size",
        "--base-dir",
        "--subject",
        "--test-run",
        "--no-test-run",
        "--prompt-number",
        "--gpu-id",
    ):
        assert flag in done.stdout
    assert not re.search(r"\| +(torch|transformers|scipy|sklearn)$", done.stderr, re.MULTILINE)


BAD_INPUT = {
    "a base directory that is not there": (["-d", "{nsd}/nowhere"], "nowhere"),
    "prompt 99": (["-p", "99"], "no prompt 99"),
    "a batch size of 0": (["-b", "0"], "--batch-size"),
    "a subject that is not in the study": (["-s", "4"], "--subject"),
    "a GPU that does not exist": (["-g", "640"], "GPU 640"),
    "a checkpoint folder that is none": (["--checkpoint", "{nsd}"], "config.json"),
    "an unknown flag": (["--bogus"], "--bogus"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_line_and_status_2_and_writes_nothing(case, own_nsd, capsys, monkeypatch, vit):
    flags, said = BAD_INPUT[case]
    before = sorted(own_nsd.rglob("*"))
    given = ["-d", str(own_nsd), "-g", "cpu", "--checkpoint", str(vit)]
    monkeypatch.setattr("sys.argv", [VIT, *given, *(flag.format(nsd=own_nsd) for flag in flags)])
    with pytest.raises(SystemExit) as stopped:
        extraction.main(load_script(VIT))
    error = capsys.readouterr().err.strip().splitlines()
    assert stopped.value.code == 2
    assert said in error[-1]
    assert len([line for line in error if "images were done before" not in line]) == 1
    assert sorted(own_nsd.rglob("*")) == before


def test_a_missing_and_a_truncated_stimulus_file_are_named(own_nsd):
    path = find_layout(own_nsd).stimuli()
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match=path.name):
        extract(colours(), own_nsd)
    path.unlink()
    with pytest.raises(InputError, match=path.name):
        extract(colours(), own_nsd)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_holds_its_contract(name):
    script = load_script(name)
    assert script.MODEL_ID.count("/") == 1
    assert script.__doc__
    assert all(callable(getattr(script, function)) for function in ("load", "preprocess", "encode_images"))
    assert hasattr(script, "encode_prompt") == hasattr(script, "PROMPT_STREAMS")
    if hasattr(script, "TEMPLATE"):
        assert script.TEMPLATE.count("{prompt}") == 1
