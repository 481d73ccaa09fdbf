"""Compute held-out residuals of a fold from the fit to all images: the leave-one-out formula for a block of images.

Shapes: N images, V voxels, n images of one fold, R = min(N, D) eigenvalues, P nodes of alpha.

With the thin singular value decomposition X = U diag(s)^(1/2) Q', ridge at penalty p predicts all images as
y_hat(p) = U h(p) U'y, where h(p) = s / (s + p). A held-out fold with the rows U_k and y_k needs no second fit. If the
model had been fitted without these rows, their residual would be

    e_k(p) = (I - U_k h(p) U_k')^-1 (y_k - U_k h(p) U'y)

This is the leave-one-out formula, residual divided by one minus leverage, for a block of images. One decomposition is
used for all folds and penalties. An unpenalised intercept is one more column 1/sqrt(N) of U, with an infinite
eigenvalue.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from brain_activity_prediction.ridge.arrays import Rows
from brain_activity_prediction.ridge.scores import HeldOut, centred
from brain_activity_prediction.ridge.solver.alpha_interpolation import SpectralBlock
from brain_activity_prediction.ridge.solver.decomposition import Decomposition
from brain_activity_prediction.ridge.solver.filtered_rows import FilteredRows
from brain_activity_prediction.ridge.solver.inverses import invert
from brain_activity_prediction.ridge.solver.threads import spread
from brain_activity_prediction.ridge.solver.workspace import Workspace

# Smallest 1 - leverage that is accepted. Its inverse magnifies errors, which would change a score below this value.
SMALLEST_PIVOT = {torch.float32: 1e-2, torch.float64: 1e-7}
# Number of steps and of vectors of the power iteration for the largest leverage of a fold.
POWER_STEPS, POWER_VECTORS = 8, 8
# Number of images whose leverages are computed together.
IMAGES_PER_PANEL = {"cpu": 64, "cuda": 512}


class IllConditionedError(ArithmeticError):
    """Error for a fold whose images are fitted almost exactly, so that rounding would dominate their residuals."""


@dataclass(frozen=True)
class LeaveFoldOut:
    """Operator for the held-out residuals of one fold at every node, by this module's formula.

    Its targets are U'Y of all images.

    Attributes
    ----------
    in_sample : operator for in-sample residuals: the rows U_k with the filters of the nodes.
    left, solves : U_k (n, R) and the inverses S of I - U_k h(p) U_k' (P, n, n).
    largest_filter : (P,) the largest value of h(p).
    """

    in_sample: FilteredRows
    left: torch.Tensor
    solves: torch.Tensor
    largest_filter: torch.Tensor

    def residuals(self, responses: torch.Tensor, targets: torch.Tensor, workspace: Workspace) -> HeldOut:
        """Compute the held-out residuals of v voxels from responses (n, v) and targets (R, v), in the workspace."""
        by_voxel = responses.T
        in_sample = self.in_sample.residuals(by_voxel, targets, workspace)
        held_out = workspace.array("panels", in_sample, *in_sample.shape)
        return HeldOut(torch.bmm(in_sample, self.solves, out=held_out), by_voxel)

    def predictions(self, responses: torch.Tensor, targets: torch.Tensor, workspace: Workspace) -> HeldOut:
        """Compute centred held-out predictions directly, which avoids the cancellation in responses - residuals.

        z_k(p) = (I - U_k h(p) U_k')^-1 U_k h(p) (U'y - U_k'y_k), which are the negated residuals for responses of zero.
        """
        others = targets - self.left.T @ responses
        residuals = self.residuals(torch.zeros_like(responses), others, workspace).values
        return HeldOut(residuals.mean(dim=2, keepdim=True) - residuals, centred(responses).T)

    @property
    def magnification(self) -> torch.Tensor:
        """Bound the norm of S U_k h(p), which magnifies rounding errors of targets in predictions; return (P,).

        Its square is the trace of S U_k h^2 U_k' S. The bound is the largest h times the trace of S (U_k h U_k') S =
        S^2 - S.
        """
        solves = self.solves.to(torch.float64)
        trace = solves.square().sum(dim=(1, 2)) - solves.diagonal(dim1=1, dim2=2).sum(dim=1)
        return (self.largest_filter * trace.clamp(min=0)).sqrt()

    @property
    def bytes_per_voxel(self) -> int:
        """Return the working memory for one voxel in bytes: all panels and nodes, and at least two arrays of nodes."""
        n_nodes, n_rows, _ = self.solves.shape
        values = max(self.in_sample.values_per_voxel, 2 * n_nodes * n_rows)
        return (values + 2 * sum(self.left.shape)) * self.left.element_size()


def smallest_training_eigenvalue(decomposition: Decomposition, folds: Sequence[Rows]) -> float:
    """Compute a lower bound of the smallest non-zero eigenvalue of the Gram matrix of any training set.

    With fewer images than features, the kernel of a training set is a principal submatrix of the kernel of all images.
    Their eigenvalues interlace, so that s_min is a lower bound. Otherwise X_train'X_train = S^(1/2) (I - U_k'U_k)
    S^(1/2) in the basis Q, whose eigenvalues are at least s_min (1 - |U_k|^2). The power iteration underestimates the
    norm |U_k|. A factor of one half allows for this.
    """
    left, spectrum = decomposition.left, decomposition.spectrum
    smallest = spectrum.amin()
    if left.shape[1] >= len(left):
        return float(smallest) / 2
    start = torch.linspace(0, POWER_VECTORS, left.shape[1] * POWER_VECTORS, device=left.device).square().cos()
    largest_leverage = 0.0
    for rows in folds:
        fold = left[rows].to(torch.float32)
        vectors = start.view(-1, POWER_VECTORS)
        for _ in range(POWER_STEPS):
            vectors = fold.T @ (fold @ torch.linalg.qr(vectors)[0])
        largest_leverage = max(largest_leverage, float(torch.linalg.matrix_norm(vectors, ord=2)))
    return float(smallest) * max(0.0, 1.0 - largest_leverage) / 2


def leave_fold_out(
    decomposition: Decomposition, blocks: Sequence[SpectralBlock], nodes: np.ndarray, rows: Rows, dtype: torch.dtype
) -> LeaveFoldOut:
    """Return the operator for the images `rows` of a fold, with the given nodes and blocks of the spectrum.

    Raises IllConditionedError if a pivot of I - U_k h(p) U_k' is below SMALLEST_PIVOT.
    """
    left, spectrum = decomposition.left[rows], decomposition.spectrum
    # The filter is 1 for an infinite eigenvalue. 1 - a / (s + a) would lose small eigenvalues by rounding.
    at_smallest_alpha = (spectrum / (spectrum + float(nodes[0]))).where(spectrum.isfinite(), 1.0)
    in_sample = FilteredRows.of(left * at_smallest_alpha, blocks, dtype)
    left = left.to(dtype)
    solves = left.new_empty(len(nodes), len(left), len(left))
    identity, workspace = torch.eye(len(left), dtype=dtype, device=left.device), Workspace()
    width = IMAGES_PER_PANEL[left.device.type]

    def fill(first: int) -> None:
        panel = slice(first, first + width)
        solves[:, panel] = in_sample.residuals(identity[panel], left[panel].T, workspace)

    spread(fill, range(0, len(left), width), left.device)
    if not invert(solves) > SMALLEST_PIVOT[dtype]:
        raise IllConditionedError
    largest_filter = 1.0 / (1.0 + torch.from_numpy(nodes).to(spectrum) / spectrum.amax())
    return LeaveFoldOut(in_sample, left, solves, largest_filter)
