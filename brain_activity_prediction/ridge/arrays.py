"""Check the arrays and settings that users pass to the solver. Errors are one line that names the parameter."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from brain_activity_prediction.ridge import RidgeInputError

Array: TypeAlias = np.ndarray | torch.Tensor
Rows: TypeAlias = slice | torch.Tensor  # the rows of a fold: a slice, or positions
Values: TypeAlias = npt.ArrayLike | torch.Tensor  # what a user may pass as an array


def as_tensor(values: Values, name: str = "the array", gradients: bool = False) -> torch.Tensor:
    """Convert an array of real numbers to a tensor, which shares its memory if possible; return a tensor unchanged.

    gradients : True to accept tensors that require gradients. The ridge itself computes no gradients.
    """
    if isinstance(values, torch.Tensor):
        if values.is_complex() or values.layout != torch.strided:
            raise RidgeInputError(
                f"{name} is a tensor of {values.dtype}, {values.layout}: convert it to a dense tensor of real numbers"
            )
        if values.requires_grad and not gradients:
            raise RidgeInputError(f"{name} requires gradients, but the ridge computes none: give {name}.detach()")
        return values
    if np.ma.is_masked(values):
        raise RidgeInputError(f"{name} has {np.ma.count_masked(values)} masked values: drop or fill them")
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise RidgeInputError(f"{name} is {type(values).__name__} of {array.dtype}: give an array of real numbers")
    if array.dtype.kind in "iu":
        array = array.astype(np.result_type(array, np.float32))
    native = np.dtype(np.float64) if array.dtype.itemsize > 8 else array.dtype.newbyteorder("=")
    return torch.from_numpy(np.require(array, native, ["C", "W"]))


def matrices(X: Values, Y: Values) -> tuple[torch.Tensor, torch.Tensor]:
    """Return X, in float32 or float64, and Y as tensors; raise RidgeInputError for wrong shapes or values."""
    X, Y = as_tensor(X, "X"), as_tensor(Y, "Y")
    if X.ndim != 2 or Y.ndim != 2 or len(X) != len(Y) or 0 in X.shape or 0 in Y.shape:
        raise RidgeInputError(f"X {tuple(X.shape)} and Y {tuple(Y.shape)} are not (images, features), (images, voxels)")
    dtype = torch.float64 if _needs_float64(X) or _needs_float64(Y) else torch.float32
    X, Y = X.to(dtype), Y if Y.is_floating_point() else Y.to(dtype)
    finite = X.amin(dim=0).isfinite() & X.amax(dim=0).isfinite()
    if not finite.all():
        raise RidgeInputError(
            f"{int((~finite).sum())} of {X.shape[1]} features have values that are not finite, first feature "
            f"{int((~finite).nonzero()[0])}: extract this layer again, or in a wider number format"
        )
    return X, Y


def _needs_float64(values: torch.Tensor) -> bool:
    """Return whether numbers of this type need float64, because float32 cannot represent them."""
    return values.dtype == torch.float64 or (not values.is_floating_point() and values.element_size() > 2)


def sorted_grid(alphas: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted grid of alphas, (A,) float64, and the position of each alpha in the given grid."""
    try:
        grid = np.atleast_1d(np.asarray(alphas, dtype=np.float64))
    except (TypeError, ValueError):
        grid = np.empty(0)
    if grid.ndim != 1 or not len(grid) or not (np.isfinite(grid) & (grid > 0)).all():
        raise RidgeInputError("alphas must be a list of positive numbers")
    order = np.argsort(grid, kind="stable")
    return grid[order], order


def check_choice(value: object, choices: tuple[str, ...], name: str) -> None:
    """Raise RidgeInputError if a value is not one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise RidgeInputError(f"{name} {value!r} is unknown: use one of {', '.join(choices)}")


def check_batch(size: object, name: str) -> None:
    """Raise RidgeInputError if a batch size is neither None nor a positive whole number."""
    whole = isinstance(size, int | np.integer) and not isinstance(size, bool)
    if size is not None and not (whole and size > 0):  # type: ignore[operator]
        raise RidgeInputError(f"{name} {size!r} is not a positive whole number: give one, or None to fit into memory")
