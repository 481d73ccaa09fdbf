"""Figures drawn in several processes are those that one draws, and what goes wrong in one is one line."""

import os
import signal
from multiprocessing import active_children

import pandas as pd
import pytest

from brain_activity_prediction.errors import InputError
from brain_activity_prediction.report import side_by_side
from brain_activity_prediction.report.figures import layer_curves
from brain_activity_prediction.report.side_by_side import FIGURES_A_PROCESS, drawing

MANY = 2 * FIGURES_A_PROCESS


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(side_by_side, "n_cores", lambda: 2)


def refuse():
    raise InputError("a broken map")


def test_figures_are_the_same_byte_for_byte_in_however_many_processes(tmp_path):
    scores = pd.DataFrame(
        {"layer": range(5), "layer_position": [0, 0.25, 0.5, 0.75, 1], "r": [0.1, 0.3, 0.2, 0.1, 0.0]}
    )
    scores = scores.assign(stream="vision", roi="V1v", model_id="vit", r_se=0.01, complete=True, n_subjects=1)
    scores = scores.assign(n_possible=1, chosen=scores["layer"] == 1)
    pages = {}
    for n_figures in (1, MANY):
        folder = tmp_path / str(n_figures)
        with drawing(n_figures) as draw:
            pages[n_figures] = draw(layer_curves, "vision", "V1v", scores, ["vit"], folder)()
            process = draw(os.getpid)()
        assert (process == os.getpid()) == (n_figures == 1)
    assert pages[1] == pages[MANY]
    for ending in (".png", ".svg"):
        name = pages[1].name + ending
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / str(MANY) / name).read_bytes()


def test_a_mistake_in_a_process_is_told_as_its_own(capfd):
    with pytest.raises(InputError, match="a broken map"), drawing(MANY) as draw:
        draw(refuse)()
    assert "Traceback" not in capfd.readouterr().err


def test_a_process_that_is_killed_is_one_line():
    with pytest.raises(InputError, match="by a lack of memory perhaps"), drawing(MANY) as draw:
        draw(os._exit, 1)()


def test_ctrl_c_is_left_to_the_process_that_began_the_others():
    with drawing(MANY) as draw:
        draw(os.getpid)()
        others = active_children()
        for other in others:
            os.kill(other.pid, signal.SIGINT)
        assert [draw(len, "abc")() for _ in range(9)] == [3] * 9
        signal.sigtimedwait([], 0.5)
        assert [other.is_alive() for other in others] == [True, True]


def test_processes_end_when_the_one_that_began_them_is_killed(tmp_path):
    child = os.fork()
    if not child:
        with drawing(MANY) as draw:
            (tmp_path / "pid").write_text(str(draw(os.getpid)()))
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    worker = int((tmp_path / "pid").read_text())
    for _ in range(100):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        signal.sigtimedwait([], 0.1)
    pytest.fail("a process outlived the one that began it by ten seconds")
