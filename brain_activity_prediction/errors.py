"""What a user's mistake or a broken file raises, shown as one line and exit status 2."""


class InputError(Exception):
    """Something outside this code is wrong: a flag, a file, a dataset.

    The message is one line that says what is wrong, how much of it, and what to do next.
    """


class Damaged(InputError):
    """A file does not hold what was written to it: cut off, flipped, overwritten, or of another kind."""
