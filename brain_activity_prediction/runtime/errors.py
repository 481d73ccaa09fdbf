"""Errors for a user's mistake or a broken file: scripts show them as one line and end with status 2."""


class InputError(ValueError):
    """An error outside this code: a wrong flag, file, dataset or argument.

    It is a ValueError for users of the package as a library. Scripts catch only InputError, because any other
    ValueError is a mistake in this code.

    The message is one line that says what is wrong, how much of it, and what to do next.
    """


class Damaged(InputError):
    """The content of a file is not what was written: it is truncated, altered, overwritten or of another kind."""


class DiskFull(InputError):
    """A file could not be written because the disk or the quota is full."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that the machine or a GPU ran out of memory; the check does not import torch."""
    message = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and (
            type(error).__name__ == "OutOfMemoryError"
            or "out of memory" in message
            or "can't allocate memory" in message
        )
    )


def one_line(text: str) -> str:
    """Return a text with line ends and control characters, which file names may contain, written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
