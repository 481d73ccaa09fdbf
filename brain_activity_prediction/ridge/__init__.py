"""Ridge regression of many targets, each with a cross-validated penalty of its own; README.md shows how to use it.

Importing this package alone does not load torch.
"""

CRITERIA = ("neg_mean_squared_error", "r2", "correlation")  # scores by which alpha can be chosen


class RidgeInputError(ValueError):
    """An unusable array or setting of the solver; the message is one line that names it and what to pass."""
