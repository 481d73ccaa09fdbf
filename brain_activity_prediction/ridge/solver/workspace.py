"""Memory that is reused for each chunk of voxels."""

import math
import threading

import torch


class Workspace:
    """Named arrays, one set for each thread, that are overwritten for every chunk.

    Allocating new arrays for each chunk would fragment a CPU's memory. (On a GPU, torch reuses memory itself.)
    """

    def __init__(self) -> None:
        self._of_thread = threading.local()

    def array(self, name: str, like: torch.Tensor, *shape: int) -> torch.Tensor:
        """Return the named array with the given shape and the dtype and device of `like`. Its values are undefined."""
        if like.device.type == "cuda":
            return like.new_empty(shape)
        arrays, size = vars(self._of_thread), math.prod(shape)
        if name not in arrays or len(arrays[name]) < size:
            arrays[name] = like.new_empty(size)
        return arrays[name][:size].view(shape)
