"""Run a sweep on this machine: one worker for each GPU, or several on the CPU; each unit is a process."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from brain_activity_prediction.runtime.running import STOPPED
from brain_activity_prediction.runtime.stopping import SIGNALS
from brain_activity_prediction.sweep.planning.units import Plan, Unit
from brain_activity_prediction.sweep.records import last_lines, log_of
from brain_activity_prediction.sweep.workers.screen import Screen

RUN_UNIT = Path(__file__).with_name("run_unit.py")
SECONDS_BETWEEN_LOOKS = 0.2
# Exit statuses of a unit that was stopped and can continue later.
ENDS_EARLY = (STOPPED, 128 + signal.SIGINT, -signal.SIGTERM)


@dataclass
class Worker:
    label: str
    device: str  # value of -g
    unit: Unit | None = None
    process: subprocess.Popen | None = None


@dataclass
class Outcome:
    """Names of the units that ended, by outcome."""

    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)


class LocalRun:
    """A run of all unfinished units of a plan. A unit starts once the units that it requires have succeeded.

    lock  descriptor of the sweep's lock, which this process and every unit hold
    """

    def __init__(self, results_dir: Path, plan: Plan, workers: Sequence[Worker], lock: int):
        self.results_dir, self.workers, self.lock = results_dir, workers, lock
        self.waiting = list(plan.left)
        self.needed = {model.model: [unit.name for unit in model.extract if unit.n_left] for model in plan.models}
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Run units until none is running and none can start.

        After a signal, running units end with their current batch or layer. A second signal ends them at once.
        """
        signals: list[int] = []
        before = {number: signal.signal(number, lambda number, _: signals.append(number)) for number in SIGNALS}
        n_passed_on = 0
        try:
            with Screen(len(self.waiting), [worker.label for worker in self.workers]) as screen:
                while True:
                    self._note_ends(screen)
                    if not signals:
                        self._begin()
                    if not self._busy:
                        return self.outcome
                    if len(signals) > n_passed_on:
                        n_passed_on = len(signals)
                        for worker in self._busy:
                            worker.process.terminate()
                    screen.show([self._progress(worker) for worker in self.workers])
                    time.sleep(SECONDS_BETWEEN_LOOKS)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @property
    def _busy(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.process is not None]

    def _note_ends(self, screen: Screen) -> None:
        for worker in self._busy:
            status = worker.process.poll()
            if status is None:
                continue
            name, why = worker.unit.name, ""
            if status == 0:
                word, names = "done", self.outcome.done
            elif status in ENDS_EARLY:
                word, names = "stopped", self.outcome.stopped
            else:
                word, names = "FAILED", self.outcome.failed
                why = ": " + "".join(last_lines(log_of(self.results_dir, name), 1) or [f"ended with status {status}"])
            names.append(name)
            screen.ended(f"{word:8}{name}{why}")
            worker.unit = worker.process = None

    def _begin(self) -> None:
        """Start the next unit whose requirements are met on each idle worker."""
        for worker in self.workers:
            unit = next((unit for unit in self.waiting if self._is_ready(unit)), None)
            if worker.process is None and unit is not None:
                self.waiting.remove(unit)
                worker.unit, worker.process = unit, self._start(unit, worker.device)

    def _is_ready(self, unit: Unit) -> bool:
        # The report is last in the list, so that it starts only if no other unit can start.
        if unit.stage == "report":
            return not self._busy
        return unit.stage == "extract" or set(self.needed[unit.model]) <= set(self.outcome.done)

    def _start(self, unit: Unit, device: str) -> subprocess.Popen:
        command = [sys.executable, RUN_UNIT, self.results_dir, unit.name, unit.amount, *unit.on(device)]
        # The unit gets its own session, so that Ctrl-C reaches it only once, through this process.
        return subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=[self.lock],
            env={"PROGRESS_SECONDS": "2"} | os.environ,
        )

    def _progress(self, worker: Worker) -> str:
        if worker.unit is None:
            return ""
        said = last_lines(log_of(self.results_dir, worker.unit.name), 1)
        return f"{worker.unit.name}  {''.join(said)}"
