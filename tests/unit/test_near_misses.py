"""A misspelt name or path is refused with the nearest known name, before anything is computed."""

import re

import pytest
from two_layers import MODEL

from brain_activity_prediction.align_image_embeddings import align_model
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.nsd.stimuli import Stimuli
from brain_activity_prediction.datasets.texts.captions import Captions
from brain_activity_prediction.encoding.layers import open_layers
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import did_you_mean, near_models
from brain_activity_prediction.sweep import sweep


def test_captions_that_are_not_there_are_answered_with_the_file_beside(tmp_path):
    (tmp_path / "captions.csv").touch()
    meant = re.escape(f"--captions {tmp_path / 'caption.csv'} does not exist (did you mean {tmp_path}/captions.csv?)")
    with pytest.raises(InputError, match=meant):
        Captions(tmp_path / "caption.csv")


@pytest.mark.parametrize("command", ["plan", "slurm"])
def test_a_job_file_that_is_not_there_is_refused_before_anything_is_planned(command, tmp_path, monkeypatch):
    (tmp_path / "my_job.sh").touch()
    words = ["sweep.py", command, "-d", str(tmp_path), "--job-file", str(tmp_path / "myjob.sh")]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(InputError, match=rf"--job-file .*/myjob\.sh .*did you mean {tmp_path}/my_job\.sh"):
        sweep.main()


def test_a_stored_model_is_found_without_organisation_or_by_its_folder():
    ids = ["llava-hf/llava-1.5-13b-hf", "openai/clip-vit-large-patch14", "google/vit-huge-patch14-224-in21k"]
    assert near_models("llava-hf/llava-1.5-13b", ids) == ids[:1]
    assert near_models("clip-vit-large-patch14", ids) == ids[1:2]
    assert near_models("/data/models/vit-huge-patch14-224", ids) == ids[2:]
    assert near_models("openai_clip-vit-large-patch-14", ids) == ids[1:2]
    assert near_models("meta/opt", ids) == []


def test_every_line_that_lists_models_suggests_one_without_its_organisation():
    ids = ["openai/clip-vit-large-patch14", "llava-hf/llava-1.5-13b-hf"]
    assert did_you_mean("llava-1.5-13b", ids) == " (did you mean llava-hf/llava-1.5-13b-hf?)"
    assert did_you_mean("llava-hf_llava-1.5-13b-hf", ids) == " (did you mean llava-hf/llava-1.5-13b-hf?)"
    assert did_you_mean("unknown", ids) == ""


def test_a_folder_of_betas_under_another_name_is_answered_with_the_one_there(own_nsd):
    layout = find_nsd(own_nsd)
    folder = layout.expected("betas", 1, 1)[0].parent
    folder.rename(folder.with_name("betas_fithrf_GLMdenoise_RR_copy"))
    with pytest.raises(InputError, match=r"no betas: .*did you mean .*/betas_fithrf_GLMdenoise_RR_copy\?"):
        layout.sessions(1)
    with pytest.raises(InputError, match=r"no betas: (?!.*did you mean)"):  # another subject is no near miss
        layout.sessions(7)


def test_too_few_images_are_answered_with_where_all_of_them_come_from(own_nsd):
    with (
        Stimuli(find_nsd(own_nsd).stimuli()) as stimuli,
        pytest.raises(InputError, match=r"own nsd_stimuli\.hdf5 holds all 73,000"),
    ):
        stimuli.path = stimuli.path.with_name("other.hdf5")
        stimuli.check([73000])


def test_a_prompt_for_a_model_that_takes_none_is_said_once_to_be_ignored(ready, capsys):
    def said(*flags):
        open_layers(ready, align_model.read_settings(["-d", str(ready), "-m", MODEL, *flags]).features)
        return capsys.readouterr().err

    assert said("-p", "1-3") == f"{MODEL} has no prompt: -p is ignored\n"
    assert said() == ""
