"""What is asked for by name and is not there is refused, or named in a line before anything is computed."""

import shutil

import pytest
from analyses import run_script
from sweeping import LLAVA, VIT, parsed
from two_layers import MODEL, align, write_stream

from brain_activity_prediction.align_image_embeddings import across_subjects, align_model, compare
from brain_activity_prediction.encoding.layers import open_layers
from brain_activity_prediction.encoding.scores.unscored import unscored
from brain_activity_prediction.report.tables.collecting import Tables, find_scored
from brain_activity_prediction.report.tables.selection import Selection
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.sweep.planning.plan import make_plan

pytestmark = pytest.mark.slow

TALKS = "test/talks"


@pytest.fixture(scope="module")
def talking(ready_once, tmp_path_factory):
    """States of a model that takes prompts, under prompt 1 with two streams and under prompt 2 with one of them."""
    base_dir = shutil.copytree(ready_once, tmp_path_factory.mktemp("talking") / "nsd")
    for prompt, stream in ((1, "language"), (2, "language"), (1, "response")):
        write_stream(base_dir, TALKS, prompt, stream, 1.0)
    return base_dir


@pytest.fixture(scope="module")
def scored_once(talking, tmp_path_factory):
    """Scores of both models for subject 1, of prompt 1 alone, and of one of them for subject 2."""
    base_dir = shutil.copytree(talking, tmp_path_factory.mktemp("scored") / "nsd")
    with pytest.MonkeyPatch.context() as monkeypatch:
        align(monkeypatch, base_dir, "--bootstrap", 19)
        align(monkeypatch, base_dir, "-m", TALKS, "-p", 1, "--bootstrap", 19)
        align(monkeypatch, base_dir, "-s", 2, "--bootstrap", 19)
    return base_dir


@pytest.fixture
def scored(scored_once, tmp_path):
    """A copy of `scored_once` for tests that change it."""
    return shutil.copytree(scored_once, tmp_path / "nsd")


def test_combinations_without_scores_are_listed_with_prompts_where_they_apply():
    scored = {("a", None, 1), ("a", None, 2), ("b", None, 1), ("b", 1, 1), ("b", 2, 1), ("b", 1, 2)}
    assert unscored(scored, None, None, None) == []
    assert unscored(scored, ["a", "b"], [1, 2], [1, 2]) == ["b, prompt 2, subject 2"]
    assert unscored(scored, ["a"], [7], [1, 3]) == ["a, subject 3"]
    assert unscored(scored, (), [3], ()) == ["b, prompt 3, subject 1", "b, prompt 3, subject 2"]


def test_a_stream_that_one_of_the_prompts_lacks_is_refused(talking):
    def layers(*flags):
        settings = align_model.read_settings(["-d", str(talking), "-m", TALKS, *map(str, flags)])
        return open_layers(talking, settings.features)

    assert {layer.prompt for layer in layers("-p", 1, 2, "--stream", "language")} == {1, 2}
    with pytest.raises(InputError, match=r"no response states of test/talks under prompt 2: .*-p 2"):
        layers("-p", 1, 2, "--stream", "response")
    with pytest.raises(InputError, match=r"no language states of test/talks under prompt 3: .*-p 3"):
        layers("-p", 1, 3, "--stream", "language")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["-m", MODEL, TALKS, "-p", 1, 2], "no scores of test/talks under prompt 2: run align_model.py with -p 2"),
        (
            ["-m", MODEL, TALKS, "-p", 1, "--stream", "vision", "vison", "language"],
            r"no scores of stream vison \(did you mean vision\?\); available: language, vision$",
        ),
    ],
)
def test_a_comparison_without_a_prompt_or_stream_that_was_asked_for_is_refused(scored, monkeypatch, flags, said):
    with pytest.raises(InputError, match=said):
        run_script(monkeypatch, compare, scored, *flags)


def test_a_prompt_that_lacks_a_stream_to_compare_is_refused(scored, monkeypatch):
    align(monkeypatch, scored, "-m", TALKS, "-p", 2, "--bootstrap", 19)
    with pytest.raises(InputError, match="no response scores of test/talks under prompt 2"):
        run_script(monkeypatch, compare, scored, "-m", MODEL, TALKS, "-p", 1, 2, "--stream", "vision", "response")


def test_a_comparison_names_the_model_without_a_stream_and_unshared_regions(scored, monkeypatch, capsys):
    align(monkeypatch, scored, "--bootstrap", 19, "--roi", "floc-faces", "--redo")
    capsys.readouterr()
    run_script(monkeypatch, compare, scored, "-m", MODEL, TALKS, "--stream", "vision", "language")
    lines = capsys.readouterr().err.splitlines()
    assert "test/two-layers: no scores of stream language" in lines
    assert [line for line in lines if "V1v, V1d, V2v, hV4, PPA, RSC" in line]


def test_a_subject_without_scores_is_refused_across_subjects(scored, monkeypatch, capsys):
    with pytest.raises(InputError, match=r"no scores of subject 5 .*-s 5"):
        run_script(monkeypatch, across_subjects, scored, "-s", 1, 2, 5)
    with pytest.raises(InputError, match="subject 2 has no scores of these models"):
        run_script(monkeypatch, across_subjects, scored, "-s", 1, 2, "-m", TALKS)
    run_script(monkeypatch, across_subjects, scored)
    capsys.readouterr()
    run_script(monkeypatch, across_subjects, scored, "-s", 1, 2, "-m", MODEL, TALKS, "--stream", "vision", "language")
    said = capsys.readouterr().err
    assert "test/talks, prompt 1, subject 2" in said or "test/talks, subject 2" in said
    assert "test/two-layers, stream language" in said


def test_a_report_says_which_of_the_things_selected_have_no_scores_together(scored, capsys):
    tables = Tables(find_scored(scored))
    tables.check(Selection())
    assert not capsys.readouterr().err
    tables.check(Selection(subject=(1, 2), model=(MODEL, TALKS), stream=("language",)))
    (line,) = capsys.readouterr().err.splitlines()
    assert "test/talks, subject 2" in line
    assert "test/two-layers, stream language" in line


def planned(base_dir, *flags):
    return make_plan(parsed("plan", base_dir, "-p", 1, "--models", VIT, LLAVA, *flags))


def test_a_sweep_says_which_subjects_have_no_betas_and_leaves_their_alignments_out(own_nsd, capsys):
    plan = planned(own_nsd, "-s", 1, 2, 5, 7)
    (line,) = capsys.readouterr().err.splitlines()
    assert "subjects 5 and 7 have no betas" in line
    assert {unit.name[-6:] for model in plan.models for unit in model.align} == {"subj01", "subj02"}
    planned(own_nsd, "-s", 1, 2)
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--sessions 1 9", r"--align: no betas file .*betas_session09"),
        (
            "--roi prf-visualroi",
            r"--align: subject 1 has no ROI file prf-visualroi\.nii\.gz \(did you mean prf-visualrois\?\); "
            "available: floc-faces, floc-places, prf-visualrois$",
        ),
        (
            "--stream vision langage",
            r"--align: no model of this sweep has a stream langage \(did you mean language\?\); available: .*language",
        ),
    ],
)
def test_files_and_streams_that_a_sweeps_alignments_lack_are_refused_first(own_nsd, flags, said):
    with pytest.raises(InputError, match=said):
        planned(own_nsd, "-s", 1, f"--align={flags}")


def test_a_file_of_ceilings_that_a_sweeps_alignments_lack_is_refused_first(own_nsd):
    next(own_nsd.rglob("subj01/**/ncsnr.nii.gz")).unlink()
    with pytest.raises(InputError, match=r"--align: no ncsnr file .*ncsnr\.nii\.gz"):
        planned(own_nsd, "-s", 1, "--align=--ncsnr nsd")


def test_a_sweep_names_the_model_of_which_nothing_is_aligned(own_nsd, capsys):
    planned(own_nsd, "-s", 1, "--align=--stream language")
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"{VIT} is not aligned: --align selects none of its streams and layers (vision)"
