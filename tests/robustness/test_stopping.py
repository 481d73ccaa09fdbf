"""Signals end a run between two steps, or at once where there are no steps yet."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from scripts import ALIGN, EXTRACT, PACKAGE

from brain_activity_prediction.runtime.stopping import SIGNALS, Stopped, stopped_at_once, until_stopped


@pytest.fixture
def noted():
    """Signals that reach the handlers that were there before, each once it was sent."""
    came = []
    before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in SIGNALS}
    yield came
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_step_in_hand_is_finished_and_no_other_begun(noted, number):
    done = []
    with pytest.raises(Stopped, match=number.name):
        for step in until_stopped(range(5)):
            if step == 2:
                signal.raise_signal(number)
            done.append(step)
    assert done == [0, 1, 2]
    assert noted == []


def test_a_second_signal_has_the_effect_it_had_before(noted):
    with pytest.raises(Stopped, match="SIGTERM"):
        for _ in until_stopped(range(5)):
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
    assert noted == [signal.SIGINT]


def test_without_steps_a_signal_ends_the_block_at_once(noted):
    done = []
    with pytest.raises(Stopped, match="SIGTERM"), stopped_at_once():
        signal.raise_signal(signal.SIGTERM)
        done.append("more")
    assert done == []
    signal.raise_signal(signal.SIGTERM)
    assert noted == [signal.SIGTERM]


def test_in_another_thread_steps_go_on_and_signals_stay_as_they_were(noted):
    done = []
    thread = threading.Thread(target=lambda: done.extend(until_stopped(range(3))))
    thread.start()
    thread.join()
    signal.raise_signal(signal.SIGTERM)
    assert done == [0, 1, 2]
    assert noted == [signal.SIGTERM]


RUN = ("run_script(main)", "extraction.main(")
STARTED = [path for path in sorted(PACKAGE.rglob("*.py")) if any(call in path.read_text() for call in RUN)]
STARTED = [path for path in STARTED if path.parent.name != "demo" and path.name != "running.py"]


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("script", [EXTRACT / "llava_1.5_13b.py", ALIGN.with_name("compare.py")], ids=lambda p: p.name)
def test_a_signal_while_a_script_imports_ends_it_with_one_line_and_status_75(script, number, tmp_path):
    assert ended_while_importing([script, "-d", tmp_path, "-m", "org/model"], number, tmp_path) == (
        75,
        f"{script.name}: stopped by {number.name}; all that was finished is kept, the same command continues\n",
    )


@pytest.mark.slow
@pytest.mark.parametrize("script", STARTED, ids=lambda path: path.name)
def test_every_script_that_is_stopped_while_it_imports_ends_with_status_75(script, tmp_path):
    if script.name == "new_dataset.py":
        pytest.skip("it imports no NumPy, and ends at once")
    flags = [] if script.parent.name == "check_data" else ["-d", tmp_path, "-m", "org/model"]
    status, said = ended_while_importing([script, *(flags or [tmp_path])], signal.SIGINT, tmp_path)
    assert (status, said.partition(";")[0]) == (75, f"{script.name}: stopped by SIGINT")


def test_the_demo_that_is_stopped_while_it_imports_ends_with_status_75(tmp_path):
    command = ["-m", "brain_activity_prediction.demo", "-d", tmp_path]
    status, said = ended_while_importing(command, signal.SIGINT, tmp_path)
    assert status == 75
    assert said.count("\n") == 1


def test_importing_the_package_leaves_signals_as_they_were(tmp_path):
    code = "import brain_activity_prediction, numpy"
    status, said = ended_while_importing(["-c", code], signal.SIGTERM, tmp_path)
    assert (status, said) == (-signal.SIGTERM, "")


def ended_while_importing(command, number, folder):
    """Status and stderr of a Python that gets a signal when it first imports NumPy, as most modules do."""
    (folder / "numpy.py").write_text(f"import os\nos.kill(os.getpid(), {int(number)})\n")
    path = os.pathsep.join([str(folder), str(PACKAGE.parent)])
    done = subprocess.run(
        [sys.executable, *command],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr
