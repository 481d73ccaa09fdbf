"""Memory in which one chunk of voxels after the other is computed."""

import math
import threading

import torch


class Workspace:
    """Named arrays, one set for each thread, overwritten for every chunk.

    Freeing and allocating them each time would fragment a CPU's memory; a GPU's allocator keeps them by itself.
    """

    def __init__(self) -> None:
        self._of_thread = threading.local()

    def array(self, name: str, like: torch.Tensor, *shape: int) -> torch.Tensor:
        """Return an array of that shape, in the type and on the device of `like`; earlier content is overwritten."""
        if like.device.type == "cuda":
            return like.new_empty(shape)
        arrays, size = vars(self._of_thread), math.prod(shape)
        if name not in arrays or len(arrays[name]) < size:
            arrays[name] = like.new_empty(size)
        return arrays[name][:size].view(shape)
