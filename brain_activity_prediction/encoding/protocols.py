"""Two scoring protocols: this project's own and the published study's, so that their scores can be compared."""

from typing import Any

from brain_activity_prediction.datasets.dataset import Dataset
from brain_activity_prediction.storage.folders import PROTOCOLS, Subject
from brain_activity_prediction.storage.made_from import state_of

STANDARD, PAPER = PROTOCOLS
FOLDS = 5  # for cross-validation on the training images, under both protocols
# Images whose mean and SD scale the features and responses of the test images.
STANDARDISED_BY = {STANDARD: "training images", PAPER: "each set's own statistics"}
SETS = {  # values that a protocol gives to flags; users cannot change them
    STANDARD: {},
    PAPER: {
        "min_log_10_alpha": 1,
        "max_log_10_alpha": 4,
        "num_alphas": 60,
        "criterion": "neg_mean_squared_error",
        "zscore_sessions": False,
        "layers": "average",
    },
}
# Which layers represent a stream. The first two choices use cross-validated scores on the training images.
LAYER_CHOICES = BEST_PER_REGION, BEST_PER_VOXEL, AVERAGE = "best_per_region", "best_per_voxel", "average"
# Where noise ceilings come from: the repeats in these sessions, or the dataset's own file (by two names).
NCSNR = COMPUTED, *_ = "computed", "own", "nsd"


def ceiling_source(dataset: str, ncsnr: str) -> str:
    """Return what tables state as the source of noise ceilings: `computed`, or the dataset whose own file is read.

    ncsnr  one of `NCSNR`
    """
    return COMPUTED if ncsnr == COMPUTED else dataset


def ceiling_state(dataset: Dataset[Subject, Any], subject: Subject, ncsnr: str) -> str:
    """Return a digest of a lab's own files of noise ceilings, which changes if a file changes; empty if none is read.

    It is part of the note of a table (`made_from`). Notes of tables with other ceilings are as in older versions.

    ncsnr  one of `NCSNR`
    """
    files = () if ncsnr == COMPUTED else dataset.ncsnr_files(subject)
    return f" {state_of(dataset.base_dir, files)}" if files else ""
