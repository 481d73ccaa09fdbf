"""Scores by which alpha can be chosen. This module does not import torch, so that command lines can list them fast."""

CRITERIA = ("neg_mean_squared_error", "r2", "correlation")
