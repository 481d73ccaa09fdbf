"""Memory that one chunk of voxels after the other is computed in."""

import math
import threading

import torch


class Workspace:
    """Arrays by name, a set a thread, written anew for every chunk.

    Given back and taken again each time, they would leave a CPU's memory in pieces; a GPU's allocator keeps them by
    itself.
    """

    def __init__(self) -> None:
        self._of_thread = threading.local()

    def array(self, name: str, like: torch.Tensor, *shape: int) -> torch.Tensor:
        """An array of that shape, in the type and on the device of `like`; what had this name before is overwritten."""
        if like.device.type == "cuda":
            return like.new_empty(shape)
        arrays, size = vars(self._of_thread), math.prod(shape)
        if name not in arrays or len(arrays[name]) < size:
            arrays[name] = like.new_empty(size)
        return arrays[name][:size].view(shape)
