"""The error of this package for arguments that it cannot use."""


class RidgeInputError(ValueError):
    """An array or a setting is of no use to the solver; the message is one line that names it and says what to give."""
