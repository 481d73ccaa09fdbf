"""Run the analysis scripts in this process, on the model of `two_layers`."""

import pandas as pd
from two_layers import FOLDER, MODEL

from brain_activity_prediction.align_image_embeddings import compare_representations, partition_variance

EARLY, LATE, BEST = ((MODEL, "none", "vision", layer) for layer in (0, 1, "best"))
PARTITION = "early_late"
SHARES_FOLDER = f"alignment/subj01/variance_partitioning/{PARTITION}"


def run_script(monkeypatch, script, base_dir, *flags):
    monkeypatch.setattr("sys.argv", [f"{script.__name__}.py", "-d", str(base_dir), *map(str, flags)])
    script.main()


def partition_flags(*more, spaces=(EARLY, LATE)):
    given = [word for space in spaces for word in ("--space", *space)]
    return list(map(str, ["-g", "cpu", "-n", PARTITION, *given, *more]))


def partition(monkeypatch, base_dir, *more, spaces=(EARLY, LATE), name=PARTITION):
    """Run a variance partitioning and return its table."""
    run_script(monkeypatch, partition_variance, base_dir, *partition_flags(*more, "-n", name, spaces=spaces))
    return pd.read_csv(base_dir / SHARES_FOLDER.replace(PARTITION, name) / "shares.csv")


def similarities(monkeypatch, base_dir, *more):
    """Compare representations and return the table."""
    run_script(monkeypatch, compare_representations, base_dir, "-g", "cpu", "-m", MODEL, *more)
    return pd.read_csv(base_dir / FOLDER / "similarity.csv")
