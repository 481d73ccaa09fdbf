"""Real photographs, real weights and real neurons, through the commands that a study on NSD uses."""

import runpy
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[1]
REAL_DATA = ROOT.parent / "shared" / "real_data"
SAMPLING_ERROR = 0.022  # SD of a median over random splits into training and test images, benchmarks/RESULTS.md


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason=f"no recordings of macaque V4 at {REAL_DATA}")
def test_macaque_v4_is_predicted_as_by_a_plain_reference_best_from_middle_layers_and_not_by_chance(tmp_path):
    macaque = SimpleNamespace(**runpy.run_path(str(ROOT / "benchmarks" / "macaque_v4.py")))
    macaque.write_nsd(tmp_path, *macaque.read_session(REAL_DATA / "macaque_v4"))
    for command in macaque.commands(tmp_path, REAL_DATA / "efficientnet_lite0"):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert "macaque:V4" in done.stdout

    medians = macaque.medians(tmp_path)
    neurons = {block: median for block, (median, _) in medians.items()}
    assert neurons == pytest.approx(macaque.REFERENCE, abs=2 * SAMPLING_ERROR)
    assert min(neurons[7], neurons[10]) > max(neurons[2], neurons[4], neurons[15])
    assert all(abs(shuffled) < 2 * SAMPLING_ERROR for _, shuffled in medians.values())
