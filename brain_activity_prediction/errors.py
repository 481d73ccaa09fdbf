"""The one exception that a user's mistake or a broken file raises, shown as one line and exit status 2."""


class InputError(Exception):
    """Something outside this code is wrong: a flag, a file, a dataset.

    The message is one line that says what is wrong, how much of it, and what to do next.
    """
