"""What users get wrong is one line that says what to do, status 2, before a model is loaded; nothing is written."""

import shutil
import subprocess
import sys

import bad_flags
import bad_models
import bad_nsd
import bad_results
import pytest
import tiny_models  # noqa: F401  imports torchvision where it is
from bad_input import USUAL, VIT
from forked import run_forked, snapshot, warm
from scripts import ALIGN, EXTRACT
from two_layers import write_states

from brain_activity_prediction.demo import models

pytestmark = pytest.mark.slow

CASES = [*bad_flags.CASES, *bad_nsd.CASES, *bad_models.CASES, *bad_results.CASES]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    models.write_vit(folder / "vit", num_hidden_layers=2)
    models.write_llava(folder / "llava", num_hidden_layers=2)
    return {"vit": folder / "vit", "llava": folder / "llava"}


@pytest.fixture(scope="module")
def used_nsd(official_nsd, tmp_path_factory):
    """A base directory with states and scores of a model of two layers."""
    warm()
    folder = tmp_path_factory.mktemp("used")
    base = shutil.copytree(official_nsd, folder / "nsd")
    write_states(base)
    ended = run_forked(ALIGN, [flag.format(base=base) for flag in USUAL[ALIGN]], folder)
    assert ended.status == 0, ended.err
    return base


@pytest.fixture
def case(request, used_nsd, checkpoints, tmp_path):
    """A case made real: the case, its flags, what must be said, and the folder that nothing may be written to."""
    here = tmp_path / "data"
    here.mkdir()
    base = shutil.copytree(used_nsd, here / "nsd", symlinks=True)
    places = {"base": base, "here": here, **checkpoints}
    found = request.param
    flags = [*([] if found.what == "no base directory" else USUAL[found.script]), *found.flags]
    found.change(base)
    yield found, *([filled(text, places) for text in texts] for texts in (flags, found.said)), here
    for path in (base, *base.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)


def filled(text, places):
    for name, place in places.items():
        text = text.replace(f"{{{name}}}", str(place))
    return text


@pytest.mark.parametrize("case", CASES, indirect=True, ids=[case.what[:60] for case in CASES])
def test_what_is_wrong_is_one_line_with_status_2_and_nothing_is_written(case, tmp_path):
    wrong, flags, said, here = case
    before = snapshot(here)
    ended = run_forked(wrong.script, flags, tmp_path, wrong.may_load, wrong.as_root)
    assert ended.status == 2, ended
    name = (EXTRACT / wrong.script).name
    lines = [line for line in ended.lines if line.startswith(f"{name}: ")] if wrong.may_load else ended.lines
    assert len(lines) == 1, ended.err
    assert ended.err.rstrip("\n").endswith(lines[0])
    assert lines[0].startswith(f"{name}: ")
    assert len(lines[0]) < 600
    assert "Traceback" not in ended.err
    for words in said:
        assert words in lines[0]
    assert not ended.out
    assert snapshot(here) == before


def test_there_are_enough_cases_and_no_two_are_the_same():
    assert len({(str(case.script), *case.flags, case.what) for case in CASES}) == len(CASES) >= 60


@pytest.mark.parametrize(
    "what", ["a misspelt flag", "a web page for the stimuli", "betas cut off", "a misspelt stream"]
)
def test_a_process_of_its_own_ends_as_a_forked_one_does(what, used_nsd, checkpoints, tmp_path):
    (found,) = (case for case in CASES if case.what == what)
    base = shutil.copytree(used_nsd, tmp_path / "nsd")
    found.change(base)
    flags = [filled(flag, {"base": base, **checkpoints}) for flag in [*USUAL[found.script], *found.flags]]
    alone = subprocess.run(
        [sys.executable, EXTRACT / found.script, *flags], capture_output=True, text=True, check=False
    )
    forked = run_forked(found.script, flags, tmp_path)
    assert (alone.returncode, alone.stderr.splitlines()[-1]) == (2, forked.lines[-1])


def test_paths_with_spaces_and_letters_of_any_alphabet_work(used_nsd, checkpoints, tmp_path):
    base = shutil.copytree(used_nsd, tmp_path / "Gehirn & Bild; 脳 'ж' $HOME")
    checkpoint = shutil.copytree(checkpoints["vit"], tmp_path / "Gewichte 重み")
    flags = ["-d", base, "-g", "cpu"]
    assert run_forked(VIT, [*flags, "--checkpoint", checkpoint], tmp_path, may_load=True).status == 0
    ended = run_forked(ALIGN, [*flags, "-m", "google/vit-huge-patch14-224-in21k"], tmp_path)
    assert ended.status == 0, ended.err
    assert (base / "alignment/subj01/no_prompt/google_vit-huge-patch14-224-in21k/scores.csv").exists()
