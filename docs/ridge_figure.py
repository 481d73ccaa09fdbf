"""Draw the figure of ridge.md with the solver itself: `python docs/ridge_figure.py` writes docs/pictures/ridge.png."""

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

from brain_activity_prediction import ridge_cv
from brain_activity_prediction.ridge.solver.alpha_interpolation import alpha_nodes
from brain_activity_prediction.ridge.solver.cross_validation import TOLERANCE

ALPHAS = np.logspace(1, 4, 60)
FOLDS = 5
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "0.75"
PICTURE = Path(__file__).with_name("pictures") / "ridge.png"


def filters(axes, nodes):
    s = np.geomspace(1e-1, 1e6, 400)
    for alphas, colour in ((ALPHAS, GREY), (nodes.nodes, ORANGE)):
        axes.semilogx(s, s[:, None] / (s[:, None] + alphas), color=colour, linewidth=0.8)
    axes.set(
        title=f"{len(ALPHAS)} alphas, {len(nodes.nodes)} nodes", xlabel="eigenvalue s", ylabel="filter s / (s + α)"
    )


def errors(axes, nodes):
    s = np.concatenate([[0], np.geomspace(1e-3, 1e9, 3000)])[:, None]
    interpolated = (1 / (s + nodes.nodes)) @ nodes.weights
    relative = np.abs(interpolated - 1 / (s + ALPHAS)) * (s + ALPHAS[0])
    axes.loglog(s, relative, color=BLUE, linewidth=0.5, alpha=0.6)
    bound = TOLERANCE[torch.float32]
    axes.axhline(bound, color=ORANGE)
    axes.annotate("bound", (1e7, bound), xytext=(0, 4), textcoords="offset points", color=ORANGE)
    axes.set(title="error of the interpolation", xlabel="eigenvalue s", ylabel="relative error", ylim=(1e-12, 1e-4))


def scores(axes):
    X, Y = problem()
    ours = ridge_cv(X, Y, ALPHAS, folds=FOLDS, return_all_scores=True, fit_intercept=False)
    theirs = [[refitted(X, Y, voxel, alpha) for voxel in range(Y.shape[1])] for alpha in ALPHAS[::4]]
    axes.semilogx(ALPHAS, ours.scores.numpy(), color=BLUE)
    axes.semilogx(ALPHAS[::4], theirs, "o", color=ORANGE, markersize=4, fillstyle="none")
    axes.semilogx(ours.alpha, ours.cv_score, "v", color="black", markersize=6)
    axes.set(title="score of three voxels, ▼ the choice", xlabel="alpha", ylabel="negative mean squared error")


def problem():
    """Simulate 200 images of 100 features, and three voxels of increasing noise, all in standard deviations."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 100)) * np.geomspace(3, 0.1, 100)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    Y = X @ rng.standard_normal((100, 3)) / 10 + rng.standard_normal((200, 3)) * (0.6, 1, 2)
    return X, (Y - Y.mean(axis=0)) / Y.std(axis=0)


def refitted(X, Y, voxel, alpha):
    """Return the mean score of an alpha over the folds, each fitted by scikit-learn."""
    found = []
    for train, test in KFold(FOLDS).split(X):
        ridge = Ridge(alpha, fit_intercept=False).fit(X[train], Y[train, voxel])
        found.append(-np.mean((ridge.predict(X[test]) - Y[test, voxel]) ** 2))
    return np.mean(found)


def draw(path=PICTURE):
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    nodes = alpha_nodes(ALPHAS, TOLERANCE[torch.float32])
    filters(left, nodes)
    errors(middle, nodes)
    scores(right)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    draw()
