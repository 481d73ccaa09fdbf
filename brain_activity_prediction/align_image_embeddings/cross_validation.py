"""The mean held-out score of every alpha and voxel: folds, precision and memory around the fold operators.

N images, D features, V voxels, A alphas, R = min(N, D), P nodes; n images of a fold, v voxels of a chunk.
"""

from dataclasses import dataclass

import numpy as np
import torch

from brain_activity_prediction.align_image_embeddings.alpha_interpolation import alpha_nodes, spectral_blocks
from brain_activity_prediction.align_image_embeddings.ridge_operators import (
    leave_fold_out,
    refit_without_fold,
    smallest_training_eigenvalue,
)
from brain_activity_prediction.align_image_embeddings.scores import fold_scores
from brain_activity_prediction.errors import InputError

# Bounds on the errors of the interpolations in alpha, relative to a prediction at the smallest alpha. The one
# over blocks of the spectrum is magnified where 1 - leverage is small.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-8}
BLOCK_TOLERANCE = {torch.float32: 3e-6, torch.float64: 1e-13}
# What one chunk of voxels may take: a share of a GPU's free memory, bytes of a CPU's.
GPU_SHARE, CPU_BYTES = 0.4, 64 * 2**20


def group_folds(labels):
    """One fold a label: the rows of each distinct value of labels (N,), in the order of the sorted values."""
    labels = np.asarray(labels)
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def held_out_rows(folds, n_images):
    """The rows that each fold holds out, as slices where they are contiguous and index tensors elsewhere.

    folds : a number of contiguous folds, the first N % K of them one image longer, or a list of row arrays.
    """
    if isinstance(folds, int | np.integer):
        if not 2 <= folds <= n_images:
            raise InputError(f"{folds} folds of {n_images} images: take 2 to {n_images} folds")
        return [slice(rows[0], rows[-1] + 1) for rows in np.array_split(np.arange(n_images), folds)]
    folds = [np.asarray(rows) for rows in folds]
    for number, rows in enumerate(folds):
        if rows.ndim != 1 or rows.dtype.kind not in "iu" or len(np.unique(rows)) != len(rows):
            raise InputError(f"fold {number} is not a list of distinct row numbers: give the rows it holds out")
        if not 0 < len(rows) < n_images or rows.min() < 0 or rows.max() >= n_images:
            raise InputError(f"fold {number} holds out {len(rows)} rows: take some, not all, of 0..{n_images - 1}")
    if len(folds) < 2:
        raise InputError(f"{len(folds)} fold: cross-validation needs at least 2")
    return [_slice_if_contiguous(rows) for rows in folds]


def _slice_if_contiguous(rows):
    if np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))):
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return torch.from_numpy(rows.astype(np.int64))


@dataclass(frozen=True)
class Responses:
    """Responses Y (N, V) wherever they lie; chunks of them, less their means, on the computing device.

    Attributes
    ----------
    Y : (N, V). means : (V,) on the device. voxels_per_chunk : a number, or None for what memory allows.
    """

    Y: torch.Tensor
    means: torch.Tensor
    voxels_per_chunk: int | None

    def chunks(self, bytes_per_voxel):
        """Slices over the voxels, in multiples of 64: products then add up in the same order at any width."""
        width = self.voxels_per_chunk
        if width is None:
            width = int(_bytes_for_a_chunk(self.means.device) // bytes_per_voxel)
        width = max(64, width // 64 * 64)
        return [slice(start, start + width) for start in range(0, self.Y.shape[1], width)]

    def block(self, rows, voxels, dtype):
        """Responses (rows, v), contiguous, on the device, in `dtype`."""
        rows = rows.to(self.Y.device) if torch.is_tensor(rows) else rows
        return self.Y[rows, voxels].to(self.means.device, dtype) - self.means[voxels].to(dtype)

    def rotated(self, left, rows=slice(None)):
        """U'Y (R, V) in the precision of U (rows, R)."""
        rotated = left.new_empty(left.shape[1], self.Y.shape[1])
        for voxels in self.chunks(2 * len(left) * left.element_size()):
            torch.mm(left.T, self.block(rows, voxels, left.dtype), out=rotated[:, voxels])
        return rotated


def _bytes_for_a_chunk(device):
    if device.type != "cuda":
        return CPU_BYTES
    kept_for_reuse = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return GPU_SHARE * (torch.cuda.mem_get_info(device)[0] + kept_for_reuse)


@dataclass(frozen=True)
class CrossValidation:
    """What the score of an alpha is: the rows held out in turn, the ascending grid (A,) and the criterion."""

    folds: list
    alphas: np.ndarray
    criterion: str

    def nodes(self, dtype, smallest_eigenvalue=0.0):
        """The interpolation in alpha for this grid, criterion and precision."""
        relative = self.criterion == "correlation"
        return alpha_nodes(self.alphas, TOLERANCE[dtype], smallest_eigenvalue, relative)

    def scores_from_one_fit(self, decomposition, responses, dtype):
        """Mean scores (A, V) of all alphas, from the decomposition of all images, and its U'Y (R, V).

        Raises IllConditionedError where `dtype` is not precise enough.
        """
        nodes = self.nodes(dtype, smallest_training_eigenvalue(decomposition, self.folds))
        blocks = spectral_blocks(decomposition.spectrum.cpu().numpy(), nodes.nodes, BLOCK_TOLERANCE[dtype])
        targets = responses.rotated(decomposition.left.to(dtype))
        scores = 0.0
        for rows in self.folds:
            operator = leave_fold_out(decomposition, blocks, nodes.nodes, rows, dtype)
            scores = scores + self._fold_scores(operator, targets, responses, rows, nodes.weights)
        return scores / len(self.folds), targets

    def scores_from_refits(self, X, responses, fit_intercept):
        """Mean scores (A, V) of all alphas from a float64 decomposition a fold."""
        nodes = self.nodes(torch.float64)
        scores = 0.0
        for rows in self.folds:
            operator, left, others = refit_without_fold(
                X, nodes.nodes, rows, BLOCK_TOLERANCE[torch.float64], fit_intercept
            )
            targets = responses.rotated(left, others)
            scores = scores + self._fold_scores(operator, targets, responses, rows, nodes.weights)
        return scores / len(self.folds)

    def _fold_scores(self, operator, targets, responses, rows, weights):
        weights = torch.from_numpy(weights).to(targets.device)
        scores = targets.new_empty(len(self.alphas), targets.shape[1], dtype=torch.float64)
        held_out = operator.predictions if self.criterion == "correlation" else operator.residuals
        for voxels in responses.chunks(operator.bytes_per_voxel):
            block = responses.block(rows, voxels, targets.dtype)
            panel = held_out(block, targets[:, voxels])
            scores[:, voxels] = fold_scores(panel, block, weights, self.criterion)
        return scores
