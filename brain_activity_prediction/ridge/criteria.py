"""Names of the scores by which alpha can be chosen; in a module without torch, so that `--help` is fast."""

CRITERIA = ("neg_mean_squared_error", "r2", "correlation")
