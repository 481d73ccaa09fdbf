"""A sweep makes tables again if a lab replaces its own file of noise ceilings."""

from types import SimpleNamespace

import numpy as np
import pytest
from mean_colours import MODEL, colours, extract
from own_experiment import N_UNITS, SUBJECTS, write_experiment
from scripts import ALIGN, run_here

from brain_activity_prediction.datasets.find import find_dataset
from brain_activity_prediction.sweep.planning.alignments import alignment_units


@pytest.mark.parametrize("more", [(), ("--cv-test", "3")])
def test_a_table_is_made_again_from_changed_ceilings_only_if_it_reads_them(more, tmp_path):
    write_experiment(tmp_path)
    extract(colours(), tmp_path, "-s", SUBJECTS[0])
    (tmp_path / "ncsnr").mkdir()
    place = ("-d", str(tmp_path))
    plain = ("--stream", "vision", "--permutations", "0", "--bootstrap", "0", *more)

    def n_left(*flags):
        settings = SimpleNamespace(prompts=[1], place_flags=place, model_id=MODEL)
        work = SimpleNamespace(streams={None: ["vision"]}, settings=settings)
        dataset = find_dataset(tmp_path)
        return alignment_units(MODEL, work, {"vision": (2, 3)}, SUBJECTS[:1], flags, dataset)[0].n_left

    def align(*flags):
        done = run_here(ALIGN, *place, "-s", SUBJECTS[0], "-m", MODEL, "-g", "cpu", *flags)
        assert done.returncode == 0, done.stderr

    own = (*plain, "--ncsnr", "own")
    for values in (
        np.linspace(0.5, 2, N_UNITS),
        np.linspace(0.5, 1, N_UNITS),
        np.linspace(0.5, 1, N_UNITS, dtype="f4"),
    ):
        np.save(tmp_path / "ncsnr" / f"{SUBJECTS[0]}.npy", values)
        assert n_left(*own) > 0
        align(*own)
        assert n_left(*own) == 0
    (tmp_path / "ncsnr" / f"{SUBJECTS[1]}.npy").write_bytes(b"")  # of another subject
    assert n_left(*own) == 0
    assert n_left(*plain) == 1
    align(*plain)
    np.save(tmp_path / "ncsnr" / f"{SUBJECTS[0]}.npy", values / 2)
    assert n_left(*plain) == 0
