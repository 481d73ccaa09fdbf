"""Move responses of many voxels, from any device, chunk by chunk to the device that computes.

Shapes: N images, V voxels, R eigenvalues; v voxels of a chunk.
"""

import functools
from dataclasses import dataclass, replace

import torch

from brain_activity_prediction.ridge.arrays import Rows

# Memory of one chunk of voxels: on a GPU a share of the free memory, on a CPU a share of the responses within bounds.
GPU_SHARE, CPU_SHARE, CPU_BYTES = 0.4, 0.4, (5 * 2**20, 12 * 2**20)
# Number of images whose responses are multiplied in one step, for all voxels.
IMAGES_PER_PANEL = 256


@dataclass(frozen=True)
class Responses:
    """Responses Y (N, V) on any device, which are provided in centred chunks on the computing device.

    Attributes
    ----------
    Y : (N, V)
    means : (V,) on the computing device.
    centred : whether any mean is not zero.
    voxels_per_chunk : number of voxels, or None for as many as memory allows.
    """

    Y: torch.Tensor
    means: torch.Tensor
    centred: bool
    voxels_per_chunk: int | None

    def chunks(self, bytes_per_voxel: int) -> list[slice]:
        """Return slices over the voxels, in multiples of 64, so that sums have the same order for any chunk size."""
        width = self.voxels_per_chunk or int(self._bytes_for_a_chunk() // bytes_per_voxel)
        width = max(64, width // 64 * 64)
        return [slice(start, start + width) for start in range(0, self.Y.shape[1], width)]

    def block(self, rows: Rows, voxels: slice, dtype: torch.dtype) -> torch.Tensor:
        """Return the centred responses (rows, v) on the computing device, in `dtype`; a view of Y if possible."""
        rows = rows.to(self.Y.device) if torch.is_tensor(rows) else rows
        block = self.Y[rows, voxels].to(self.means.device, dtype)
        return block - self.means[voxels].to(dtype) if self.centred else block

    def rotated(self, left: torch.Tensor, dtype: torch.dtype, rows: torch.Tensor | None = None) -> torch.Tensor:
        """Compute U'Y (R, V) in `dtype` from U (rows, R), one panel of images at a time (default: all images)."""
        rotated = left.new_zeros(left.shape[1], self.Y.shape[1], dtype=dtype)
        for start in range(0, len(left), IMAGES_PER_PANEL):
            panel = slice(start, start + IMAGES_PER_PANEL)
            images = panel if rows is None else rows[panel]
            rotated.addmm_(left[panel].to(dtype).T, self.block(images, slice(None), dtype))
        return rotated

    def of(self, voxels: torch.Tensor) -> "Responses":
        """Return the responses of selected voxels.

        voxels  positions of the voxels, an index tensor on the computing device
        """
        return replace(self, Y=self.Y[:, voxels.to(self.Y.device)], means=self.means[voxels])

    @functools.cached_property
    def sizes(self) -> torch.Tensor:
        """Compute the norm of each voxel's centred responses, (V,) in float64."""
        rows = slice(None)
        chunks = self.chunks(16 * len(self.Y))
        return torch.cat([torch.linalg.vector_norm(self.block(rows, c, torch.float64), dim=0) for c in chunks])

    def _bytes_for_a_chunk(self) -> float:
        device = self.means.device
        if device.type != "cuda":
            return min(max(CPU_SHARE * self.Y.nbytes, CPU_BYTES[0]), CPU_BYTES[1]) / torch.get_num_threads()
        kept_for_reuse = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return GPU_SHARE * (torch.cuda.mem_get_info(device)[0] + kept_for_reuse)
