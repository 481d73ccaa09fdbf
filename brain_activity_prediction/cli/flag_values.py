"""Convert the text of flags: argparse's type functions, which raise ArgumentTypeError for invalid text."""

import argparse
import math
import re
from collections.abc import Callable

WHOLE_NUMBER = re.compile("[0-9]{1,9}")
LARGEST_COUNT = 999_999_999
LARGEST_LOG_10_ALPHA = 30  # for features with SD 1; any larger alpha gives the same scores
NOTICE_S = 120  # seconds before its time limit at which sweep/job.sh tells a job to stop
SHORTEST_LIMIT_S = 300


def analysis_name(text: str) -> str:
    """Check a folder name of 1 to 100 characters that cannot lead out of its parent."""
    if not re.fullmatch(r"\w[\w.+-]{0,99}", text):
        raise argparse.ArgumentTypeError(f"{text} is not a valid name: use only letters, digits, . + - and _")
    return text


def number_list(text: str) -> list[int]:
    """Convert `"3"` to [3] and `"1,2,5-7"` to [1, 2, 5, 6, 7]; a final comma is ignored, as in the words `1, 2, 3`."""
    numbers = []
    for part in text.removesuffix(",").split(","):
        match = re.fullmatch(r"([0-9]{1,4})(?:-([0-9]{1,4}))?", part)
        within = range(int(match[1]), int(match[2] or match[1]) + 1) if match else ()
        if not within:
            raise argparse.ArgumentTypeError(
                f"{text[:40]!r} is neither a number, a list like 1,2,3 nor a range like 1-9"
            )
        numbers += within
    return numbers


def positive_number_list(text: str) -> list[int]:
    """Convert text as `number_list` does; all numbers must be at least 1."""
    numbers = number_list(text)
    if 0 in numbers:
        raise argparse.ArgumentTypeError(f"{text[:40]}: numbers are counted from 1")
    return numbers


def one_subject(text: str) -> int | str:
    """Convert a subject: a number, such as 1, or a name, such as sub-03. A list is an error with its own message."""
    subjects = subject_list(text)
    if len(subjects) > 1:
        raise argparse.ArgumentTypeError(f"{text[:40]} is more than one subject: run this script once for each")
    return subjects[0]


def subject_list(text: str) -> list[int] | list[str]:
    """Convert subjects: numbers as `number_list` does, or names separated by commas."""
    if re.fullmatch("[0-9,-]*", text) and not re.fullmatch("0[0-9]+", text):
        return number_list(text)
    names = text.removesuffix(",").split(",")
    for name in names:
        if not re.fullmatch(r"\w[\w.+-]{0,99}", name):
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a subject: give a number, or a name such as sub-03")
    return names


def whole_number(lowest: int, highest: int, reason: str = "") -> Callable[[str], int]:
    """Return a function that converts a whole number within limits; its error states the limits and their reason."""

    def convert(text: str) -> int:
        if not re.fullmatch("[0-9]{1,10}", text) or not lowest <= int(text) <= highest:
            raise argparse.ArgumentTypeError(f"{text[:40]} is not a whole number from {lowest} to {highest}{reason}")
        return int(text)

    return convert


positive_int, non_negative_int = whole_number(1, LARGEST_COUNT), whole_number(0, LARGEST_COUNT)
fold_count, worker_count, num_alphas = whole_number(2, 100), whole_number(1, 1024), whole_number(1, 1000)
seed = whole_number(0, 2**32 - 1)  # the range that all libraries accept
# A resample needs 28 bytes of memory for each test image.
bootstrap_count = whole_number(0, 100_000, ", for 3 GB of memory with 1000 test images")
permutation_count = whole_number(0, 1_000_000, ": more would take too much time and memory")


def batch_size(text: str) -> int | str:
    """Convert a number of images in a batch; `auto` is kept."""
    return text if text == "auto" else positive_int(text)


def log_10_alpha(text: str) -> float:
    """Convert an exponent of 10, from -LARGEST_LOG_10_ALPHA to LARGEST_LOG_10_ALPHA."""
    value = _float(text)
    if not abs(value) <= LARGEST_LOG_10_ALPHA:
        raise argparse.ArgumentTypeError(
            f"{text[:40]} is not a number from -{LARGEST_LOG_10_ALPHA} to {LARGEST_LOG_10_ALPHA}"
        )
    return value


def share(text: str) -> float:
    """Convert a number from 0 to below 1."""
    value = _float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text[:40]} is not a number from 0 to below 1")
    return value


def _float(text: str) -> float:
    """Convert a number; return NaN for any other text."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def shard(text: str) -> tuple[int, int]:
    """Convert `"0/4"`, the first of four shards, to (0, 4)."""
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if not match or int(match[1]) >= int(match[2]):
        raise argparse.ArgumentTypeError(f"{text} is not a shard like 0/4, the first of four, or 3/4, the last")
    return int(match[1]), int(match[2])


def gpu_id(text: str) -> str:
    """Convert a GPU number or `cpu` to a torch device name."""
    if text == "cpu":
        return "cpu"
    if not WHOLE_NUMBER.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text[:40]} is neither a GPU's number nor cpu")
    return f"cuda:{text}"


def gpu_ids(text: str) -> list[str]:
    """Convert `"0,2"` to ["0", "2"] and `"cpu"` to ["cpu"]."""
    ids = text.split(",")
    if ids != ["cpu"] and not all(map(WHOLE_NUMBER.fullmatch, ids)):
        raise argparse.ArgumentTypeError(f"{text[:40]} is neither GPU numbers such as 0,1,2 nor cpu")
    return list(dict.fromkeys(ids))


def time_limit(text: str) -> str:
    """Check a job's time limit in SLURM's forms: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S, or 0 or UNLIMITED for none.

    Limits below SHORTEST_LIMIT_S are refused, because a job would have no time to load a model and compute a batch
    before SLURM tells it to stop.
    """
    if text.upper() in ("UNLIMITED", "INFINITE"):
        return text
    if not re.fullmatch(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text[:40]} is no time limit such as 90, 12:00:00 or 2-00:00:00")
    days, dash, rest = text.rpartition("-")
    numbers = [int(number) for number in rest.split(":")]
    units = (3600, 60, 1) if dash or len(numbers) == 3 else (60, 1)
    seconds = int(days or 0) * 86400 + sum(n * unit for n, unit in zip(numbers, units, strict=False))
    if 0 < seconds < SHORTEST_LIMIT_S:
        raise argparse.ArgumentTypeError(
            f"{text} is too short, since a job is told to stop {NOTICE_S} s before its limit: "
            f"give {SHORTEST_LIMIT_S // 60} minutes or more"
        )
    return text
