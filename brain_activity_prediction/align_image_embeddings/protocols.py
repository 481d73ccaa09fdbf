"""The study's own way of scoring as one flag, so that its numbers and this project's can be put side by side."""

import argparse
import sys

from brain_activity_prediction.errors import InputError
from brain_activity_prediction.folders import PROTOCOLS

STANDARD, PAPER = PROTOCOLS
FOLDS = 5  # of the training images, in both
# How features and responses of test images are scaled: as the training images are, or on their own.
STANDARDISED_BY = {STANDARD: "training images", PAPER: "each set's own statistics"}
SETS = {
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


def applied(protocol: str, flags: argparse.ArgumentParser) -> argparse.Namespace:
    """The command line's arguments, with the flags that a protocol sets at its values, which a line on stderr lists.

    Raises InputError where one of these was given another value.
    """
    flags.set_defaults(**SETS[protocol])
    arguments = flags.parse_args(sys.argv[1:])
    for name, value in SETS[protocol].items():
        if getattr(arguments, name) != value:
            raise InputError(f"--protocol {protocol} means {as_flag(name, value)}: leave that flag out")
    if SETS[protocol]:
        said = " ".join(as_flag(name, value) for name, value in SETS[protocol].items())
        scaled = f"training and test images scaled by {STANDARDISED_BY[protocol]}"
        print(f"protocol {protocol}: {said}, {scaled}", file=sys.stderr)
    return arguments


def as_flag(name: str, value) -> str:
    """An argument as it is written on the command line: a value that is False as --no-NAME."""
    flag = f"--{name.replace('_', '-')}"
    return f"{flag.replace('--', '--no-')}" if value is False else f"{flag} {value}"
