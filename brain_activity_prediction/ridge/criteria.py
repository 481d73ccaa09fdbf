"""The scores by which alpha can be chosen; without torch, so that a command line can list them."""

CRITERIA = ("neg_mean_squared_error", "r2", "correlation")
