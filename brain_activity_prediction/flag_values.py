"""What a flag's text is read as: argparse's type functions, which raise ArgumentTypeError for any other text."""

import argparse
import math
import re

WHOLE_NUMBER = re.compile("[0-9]{1,9}")
MOST_ALPHAS = 1000
LARGEST_LOG_10_ALPHA = 30  # of features of SD 1: all beyond is all the same


def analysis_name(text: str) -> str:
    """A folder's name that cannot lead out of its parent, of 1 to 100 characters."""
    if not re.fullmatch(r"\w[\w.+-]{0,99}", text):
        raise argparse.ArgumentTypeError(f"{text} is not a folder's name of letters, digits, . + - and _")
    return text


def number_range(text: str) -> list[int]:
    """`"3"` to [3], `"1-9"` to [1, ..., 9]."""
    match = re.fullmatch(r"([0-9]{1,4})(?:-([0-9]{1,4}))?", text)
    numbers = list(range(int(match[1]), int(match[2] or match[1]) + 1)) if match else []
    if not numbers:
        raise argparse.ArgumentTypeError(f"{text} is neither a number nor a range like 1-9")
    return numbers


def positive_int(text: str) -> int:
    """1 to 999999999."""
    if not WHOLE_NUMBER.fullmatch(text) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text[:40]} is not a whole number from 1 to 999999999")
    return int(text)


def non_negative_int(text: str) -> int:
    """0 to 999999999."""
    if not WHOLE_NUMBER.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text[:40]} is not a whole number from 0 to 999999999")
    return int(text)


def num_alphas(text: str) -> int:
    """How many alphas a grid has, 1 to MOST_ALPHAS."""
    if not WHOLE_NUMBER.fullmatch(text) or not 1 <= int(text) <= MOST_ALPHAS:
        raise argparse.ArgumentTypeError(f"{text[:40]} is not a whole number from 1 to {MOST_ALPHAS}")
    return int(text)


def log_10_alpha(text: str) -> float:
    """An exponent of 10, from -LARGEST_LOG_10_ALPHA to LARGEST_LOG_10_ALPHA."""
    value = _float(text)
    if not abs(value) <= LARGEST_LOG_10_ALPHA:
        raise argparse.ArgumentTypeError(
            f"{text[:40]} is not a number from -{LARGEST_LOG_10_ALPHA} to {LARGEST_LOG_10_ALPHA}"
        )
    return value


def share(text: str) -> float:
    """A number from 0 to below 1."""
    value = _float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text[:40]} is not a number from 0 to below 1")
    return value


def _float(text: str) -> float:
    """The number that a text is, NaN for any other text."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def seed(text: str) -> int:
    """0 to 2^32 - 1, what all libraries take."""
    if not re.fullmatch("[0-9]{1,10}", text) or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text[:40]} is not a whole number from 0 to 2^32 - 1")
    return int(text)


def shard(text: str) -> tuple[int, int]:
    """`"0/4"` to (0, 4): the first of four."""
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if not match or int(match[1]) >= int(match[2]):
        raise argparse.ArgumentTypeError(f"{text} is not a shard like 0/4, the first of four, or 3/4, the last")
    return int(match[1]), int(match[2])


def gpu_id(text: str) -> str:
    """A GPU's number or `cpu`, as a torch device name."""
    if text == "cpu":
        return "cpu"
    if not WHOLE_NUMBER.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text[:40]} is neither a GPU's number nor cpu")
    return f"cuda:{text}"
