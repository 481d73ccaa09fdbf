"""Compute the products `rows g(p) targets` at every node p of alpha, from fewer panels than nodes.

Shapes: m rows, R eigenvalues, v voxels, P nodes; B eigenvalues of a block, r its rank, J panels of all blocks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from brain_activity_prediction.ridge.solver.alpha_interpolation import SpectralBlock
from brain_activity_prediction.ridge.solver.workspace import Workspace


@dataclass(frozen=True)
class FilteredRows:
    """Operator for the residuals `responses - rows g(p) targets` at all nodes, with the filter g(p) of `shrinkage`.

    Attributes
    ----------
    n_rows : m.
    panels : for each block of the spectrum its columns, and an array (r, B, m): the transposed rows times each of the
        block's r shapes. Zero rows may be left out.
    mixing : (P, J + 1), weights that combine the products of the panels, and in the last column the responses, into
        the residuals at the nodes.
    """

    n_rows: int
    panels: list[tuple[slice, torch.Tensor]]
    mixing: torch.Tensor

    @classmethod
    def of(
        cls, rows: torch.Tensor, blocks: Sequence[SpectralBlock], dtype: torch.dtype, below: int | None = None
    ) -> Self:
        """Prepare the operator from rows (m, R) that are already filtered at the smallest alpha.

        below  number of subdiagonals that may be non-zero; below them `rows` is zero
        """
        panels = []
        for block in blocks:
            n_rows = len(rows) if below is None else min(len(rows), block.columns.stop + below)
            kept = rows[:n_rows, block.columns].T
            shapes = torch.from_numpy(block.shapes).to(rows)
            panel = torch.empty(len(shapes), *kept.shape, dtype=dtype, device=rows.device)
            panels.append((block.columns, torch.mul(kept, shapes[:, :, None], out=panel)))
        mixing = np.concatenate([-block.mixing for block in blocks], axis=1)
        mixing = np.pad(mixing, ((0, 0), (0, 1)), constant_values=1.0)
        return cls(len(rows), panels, torch.from_numpy(mixing).to(rows.device, dtype))

    def residuals(self, responses: torch.Tensor, targets: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        """Compute responses (v, m) - rows g(p) targets (R, v) for every node p.

        Returns the array "nodes" of the workspace, (P, v, m).
        """
        outputs = workspace.array("panels", responses, self.mixing.shape[1], *responses.shape)
        start = 0
        for columns, panel in self.panels:
            block = outputs[start : start + len(panel)]
            torch.bmm(targets[columns].T.expand(len(panel), -1, -1), panel, out=block[:, :, : panel.shape[2]])
            block[:, :, panel.shape[2] :] = 0.0
            start += len(panel)
        outputs[-1] = responses
        nodes = workspace.array("nodes", responses, len(self.mixing), *responses.shape)
        torch.mm(self.mixing, outputs.view(len(outputs), -1), out=nodes.view(len(nodes), -1))
        return nodes

    @property
    def values_per_voxel(self) -> int:
        """Return the number of values that `residuals` holds in memory for one voxel: all panels and all nodes."""
        return sum(self.mixing.shape) * self.n_rows
