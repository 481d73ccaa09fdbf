"""The study's own way of scoring as one flag, so that its numbers and this project's can be put side by side."""

import argparse
from collections.abc import Sequence

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.storage.folders import PROTOCOLS

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


def applied(flags: argparse.ArgumentParser, words: Sequence[str] | None) -> argparse.Namespace:
    """The arguments of the words, None for the command line's, with the flags that their protocol sets at its values.

    Raises InputError where one of these was given another value.
    """
    protocol = flags.parse_args(words).protocol
    flags.set_defaults(**SETS[protocol])
    arguments = flags.parse_args(words)
    for name, value in SETS[protocol].items():
        if getattr(arguments, name) != value:
            raise InputError(f"--protocol {protocol} means {as_flag(name, value)}: leave that flag out")
    return arguments


def announce(protocol: str) -> None:
    """Lists on stderr what a protocol sets."""
    if SETS[protocol]:
        said = " ".join(as_flag(name, value) for name, value in SETS[protocol].items())
        scaled = f"training and test images scaled by {STANDARDISED_BY[protocol]}"
        log.info(f"protocol {protocol}: {said}, {scaled}")


def as_flag(name: str, value) -> str:
    """An argument as it is written on the command line: a value that is False as --no-NAME."""
    flag = f"--{name.replace('_', '-')}"
    return f"{flag.replace('--', '--no-')}" if value is False else f"{flag} {value}"
