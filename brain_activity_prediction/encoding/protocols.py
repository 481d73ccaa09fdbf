"""Two ways of scoring: this project's own, and the study's, so that their numbers can be compared."""

from brain_activity_prediction.storage.folders import PROTOCOLS

STANDARD, PAPER = PROTOCOLS
FOLDS = 5  # of the training images, under both protocols
# How features and responses of test images are scaled: as the training images are, or on their own.
STANDARDISED_BY = {STANDARD: "training images", PAPER: "each set's own statistics"}
SETS = {  # the values of flags that a protocol fixes
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
# Which layers a stream's score is that of; the first two are chosen by cross-validated score on training images.
LAYER_CHOICES = BEST_PER_REGION, BEST_PER_VOXEL, AVERAGE = "best_per_region", "best_per_voxel", "average"
NCSNR = ("computed", "nsd")  # where noise ceilings come from: the repeats in these sessions, or NSD's own file
