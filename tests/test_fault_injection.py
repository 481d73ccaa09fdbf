import re
from pathlib import Path

from scripts import run_here


def test_killed_anywhere_nothing_is_lost_and_at_most_one_batch_is_computed_twice(tmp_path):
    """A few of the trials of `make faults`."""
    few = ["--kills", 3, "--steps", 24, "--pairs", 3, "--folder", tmp_path]
    done = run_here(Path(__file__).with_name("fault_injection.py"), *few)
    assert done.returncode == 0, done.stdout + done.stderr
    survived, killed = re.search(r"^(\d+) of (\d+) kills survived$", done.stdout, re.MULTILINE).groups()
    assert survived == killed
    assert int(killed) >= 20
