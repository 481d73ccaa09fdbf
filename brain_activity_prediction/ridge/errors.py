"""The error of this package for arguments that it cannot use."""


class RidgeInputError(ValueError):
    """An unusable array or setting of the solver; the message is one line that names it and what to pass."""
