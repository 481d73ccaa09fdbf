"""What a user's mistake or a broken file raises, shown as one line and exit status 2."""


class InputError(ValueError):
    """Something outside this code is wrong: a flag, a file, a dataset, an argument.

    A ValueError for those who use the package as a library. The scripts catch InputError alone: any other ValueError is
    a mistake of this code.

    The message is one line that says what is wrong, how much of it, and what to do next.
    """


class Damaged(InputError):
    """A file does not hold what was written to it: cut off, flipped, overwritten, or of another kind."""


class DiskFull(InputError):
    """A file could not be written for want of space, or of quota."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, the machine's or a GPU's; torch has several kinds and is not imported to ask."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and (type(error).__name__ == "OutOfMemoryError" or "out of memory" in said or "can't allocate memory" in said)
    )


def one_line(text: str) -> str:
    """The text with line ends and control characters, which a file's name may hold, written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
