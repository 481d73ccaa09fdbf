"""Ridge regression of many targets, each with its own cross-validated penalty; README.md shows how to use it.

Importing this package does not load torch. Its modules load torch.
"""

CRITERIA = ("neg_mean_squared_error", "r2", "correlation")  # scores by which alpha can be chosen


class RidgeInputError(ValueError):
    """Error for an invalid array or setting. The message is one line: the problem, and what to pass instead."""
