import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.exhaustive


def test_killed_anywhere_nothing_is_lost_and_at_most_one_batch_is_computed_twice(tmp_path):
    """A few of the trials of `make faults`."""
    harness = Path(__file__).with_name("fault_injection.py")
    few = ["--kills", "3", "--steps", "24", "--pairs", "3", "--folder", tmp_path]
    done = subprocess.run([sys.executable, harness, *few], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    survived, killed = re.search(r"^(\d+) of (\d+) kills survived$", done.stdout, re.MULTILINE).groups()
    assert survived == killed
    assert int(killed) >= 20
