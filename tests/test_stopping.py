"""Signals end a run between two steps, or at once where there are no steps yet."""

import signal
import threading

import pytest

from brain_activity_prediction.stopping import SIGNALS, Stopped, stopped_at_once, until_stopped


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


def test_without_steps_a_signal_ends_the_block_at_once_and_then_does_what_it_did_before(noted):
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
