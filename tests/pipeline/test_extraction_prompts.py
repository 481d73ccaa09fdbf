"""Extraction through the command line: several prompts, answers, poolings, a file of prompts, a second subject."""

import json
import shutil

import numpy as np
import pytest
import reference_states
from scripts import run_here

from brain_activity_prediction.cli import extraction_command
from brain_activity_prediction.datasets.nsd.design import read_design
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.nsd.stimuli import Stimuli
from brain_activity_prediction.extract_image_embeddings.prompts import PROMPTS
from brain_activity_prediction.extraction import loop
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import embeddings_folder

pytestmark = pytest.mark.slow

NAME, SCRIPT, MODEL_ID = "idefics", "idefics_9b_instruct.py", "HuggingFaceM4/idefics-9b-instruct"
ASKED = ["--response", "--max-new-tokens", "5", "--pooling", "mean", "last", "-b", "16", "-g", "cpu"]


@pytest.fixture(scope="module")
def extracted(official_nsd, tiny_model, tmp_path_factory):
    """A BASE_DIR with prompts 1 to 3 of subject 1; read only."""
    base_dir = shutil.copytree(official_nsd, tmp_path_factory.mktemp("extracted") / "nsd")
    finished = run_here(SCRIPT, "-d", base_dir, "-p", "1-3", "--checkpoint", tiny_model(NAME).folder, *ASKED)
    assert finished.returncode == 0, finished.stderr
    return base_dir


@pytest.fixture
def base_dir(extracted, tmp_path):
    return shutil.copytree(extracted, tmp_path / "nsd")


@pytest.fixture
def extract(base_dir, tiny_model, capsys):
    """Run the extraction in this process with further flags, and return its messages on stderr."""

    def extract(*flags):
        common = ["-d", str(base_dir), "--checkpoint", str(tiny_model(NAME).folder), *ASKED]
        script = tiny_model(NAME).script
        arguments = extraction_command.flags("").parse_args([*common, *flags])
        loop.extract(script, extraction_command.settings(script, arguments))
        return capsys.readouterr().err

    return extract


def store(base_dir, prompt):
    return EmbeddingStore(embeddings_folder(base_dir, MODEL_ID, prompt))


def image_ids(base_dir, subject=1):
    return read_design(find_nsd(base_dir).design()).image_ids(subject)


def files(base_dir, prompt):
    return {path.name: path.stat().st_mtime_ns for path in store(base_dir, prompt).folder.iterdir()}


def test_one_command_stores_all_prompts_poolings_and_answers(extracted):
    ids = sorted(image_ids(extracted))
    assert store(extracted, None).streams() == {
        "perceiver": (3, 24),
        "vision": (4, 24),
    }
    for prompt in (1, 2, 3):
        kept = store(extracted, prompt)
        assert kept.streams() == dict.fromkeys(("language", "language_last", "response"), (5, 32))
        assert kept.image_ids(list(kept.streams())).tolist() == ids
        assert sorted(kept.read_answers()) == ids
        assert kept.settings()["prompt"] == PROMPTS[prompt]
        assert kept.settings()["max_new_tokens"] == 5
    assert not embeddings_folder(extracted, MODEL_ID, 4).exists()


def test_what_is_stored_is_what_transformers_gives(extracted, tiny_model):
    tiny = tiny_model(NAME)
    ids = sorted(image_ids(extracted))[5:12]
    with Stimuli(find_nsd(extracted).stimuli()) as stimuli:
        reference = tiny.reference(stimuli.images(ids), PROMPTS[2])
    answers, response = reference_states.generated(tiny.model, reference, 5)
    texts = tiny.processor.tokenizer.batch_decode(answers, skip_special_tokens=True)
    kept = store(extracted, 2)
    assert [kept.read_answers()[image_id] for image_id in ids] == texts
    expected = reference.pooled()[0] | {"response": response}
    for stream in ("language", "language_last", "response"):
        layer = kept.read_layer(stream, 3, ids)
        np.testing.assert_allclose(layer, expected[stream][:, 3], atol=1e-5 * np.abs(layer).max())
    np.testing.assert_allclose(
        store(extracted, None).read_layer("perceiver", 1, ids), expected["perceiver"][:, 1], atol=1e-5
    )


def test_streams_that_no_prompt_changes_are_stored_once(base_dir, extract):
    before = files(base_dir, None)
    assert "0 images were done before, 40 are left" in extract("-p", "4")
    assert files(base_dir, None) == before
    assert len(store(base_dir, 4).read_answers()) == 40


def test_an_image_done_for_one_subject_is_done_for_all(base_dir, extract):
    assert "40 images, prompts 1, 2, 3: 12 images were done before, 28 are left" in extract("-s", "2", "-p", "1-3")
    everyone = set(image_ids(base_dir)) | set(image_ids(base_dir, 2))
    assert set(store(base_dir, 1).read_answers()) == everyone
    assert set(store(base_dir, None).image_ids(["vision"]).tolist()) == everyone


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("study.json", json.dumps({"1": PROMPTS[1], "12": "Name a colour."})),
        ("study.yaml", f"1: {PROMPTS[1]}\n12: Name a colour.\n"),
    ],
)
def test_a_file_of_prompts_replaces_the_nine(base_dir, extract, tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    assert "40 images were done before, 0 are left" in extract("-p", "1", "--prompts-file", str(path))
    assert "40 are left" in extract("-p", "12", "--prompts-file", str(path))
    assert store(base_dir, 12).settings()["prompt"] == "Name a colour."
    with pytest.raises(InputError, match="there is no prompt 2; available: 1, 12"):
        extract("-p", "2", "--prompts-file", str(path))


def test_another_wording_is_refused_even_where_nothing_is_left_to_do(extract, tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("1: Describe it.\n")
    with pytest.raises(InputError, match=r"prompt = Write one sentence .* this run has Describe it\."):
        extract("-p", "1", "--prompts-file", str(path))


def test_a_model_that_does_not_load_leaves_no_trace(official_nsd, tmp_path, tiny_model):
    base_dir = shutil.copytree(official_nsd, tmp_path / "nsd")
    folder = shutil.copytree(tiny_model(NAME).folder, tmp_path / "checkpoint")
    (folder / "model.safetensors").write_bytes(b"not tensors" * 10**4)
    flags = extraction_command.flags("").parse_args(["-d", str(base_dir), "--checkpoint", str(folder), *ASKED])
    with pytest.raises(InputError, match=r"could not be loaded as|take 11 bytes"):
        script = tiny_model(NAME).script
        loop.extract(script, extraction_command.settings(script, flags))
    assert not (base_dir / "image_embeddings").exists()
