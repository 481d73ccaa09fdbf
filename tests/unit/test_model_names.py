"""A model has one spelling in tables, whichever of its names was typed."""

import pandas as pd
import pytest
from scripts import SCRIPTS, load_script
from two_layers import MODEL, align, write_states

from brain_activity_prediction.cli.model_names import resolved_model_id
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import embeddings_folder
from brain_activity_prediction.storage.settings_file import record_settings


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("spelling", ["{}", "{}.py", "brain_activity_prediction/extract_image_embeddings/{}.py"])
def test_a_scripts_name_is_the_id_of_its_model(name, spelling, tmp_path):
    given = spelling.format(name.removesuffix(".py"))
    assert resolved_model_id(tmp_path, given) == load_script(name).MODEL_ID


@pytest.mark.parametrize("recorded_in", ["image_embeddings/prompt_3", "alignment/subj05/no_prompt"])
def test_a_folders_name_is_the_id_recorded_in_it(recorded_in, tmp_path):
    setting = "model_id" if recorded_in.startswith("image") else "embeddings_model_id"
    record_settings(tmp_path / recorded_in / "my_lab_a-model", {setting: "my_lab/a-model"})
    assert resolved_model_id(tmp_path, "my_lab_a-model") == "my_lab/a-model"


@pytest.mark.parametrize("given", ["org/model", "org/llava_1.5_13b", "model-of-no-organisation", "clip-vit_l"])
def test_an_id_is_itself(given, tmp_path):
    assert resolved_model_id(tmp_path, given) == given


@pytest.mark.parametrize("given", ["../elsewhere.py", "o" * 300, "o" * 300 + ".py", "o\0"])
def test_what_is_no_name_of_a_model_is_refused(given, tmp_path):
    with pytest.raises(InputError, match="is not a model id"):
        resolved_model_id(tmp_path, given)


def test_an_untrained_model_is_found_by_the_name_of_its_folder(tmp_path):
    store = EmbeddingStore(embeddings_folder(tmp_path, "org/model-random-3", None))
    record_settings(store.folder, {"model_id": "org/model-random-3"})
    assert resolved_model_id(tmp_path, "org_model-random-3") == "org/model-random-3"


def test_tables_hold_one_spelling_of_a_model_after_runs_with_each_of_its_names(own_nsd, monkeypatch):
    write_states(own_nsd, settings={"template": None, "model_id": MODEL})
    for name in (MODEL, MODEL.replace("/", "_")):
        align(monkeypatch, own_nsd, "--bootstrap", 0, "-m", name)
    tables = [pd.read_parquet(path) for path in own_nsd.glob("alignment/subj01/*/*/scores.parquet")]
    assert [set(table["model_id"]) for table in tables] == [{MODEL}]
