"""Distribute pieces of CPU work over threads, or keep the work on one thread."""

import functools
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController

Piece = TypeVar("Piece")


def spread(function: Callable[[Piece], None], pieces: Sequence[Piece], device: torch.device) -> None:
    """Call function(piece) for every piece; on a CPU in as many threads as torch has.

    Each piece is computed by one thread, because several threads gain little within matrix products of a few megabytes,
    and nothing between products. If there is only one piece, it uses all threads. Pieces must write to different
    memory.
    """
    n_threads = min(torch.get_num_threads(), len(pieces)) if device.type == "cpu" else 1
    if n_threads == 1:
        for piece in pieces:
            function(piece)
        return
    inference = torch.is_inference_mode_enabled()

    def in_the_callers_mode(piece: Piece) -> None:
        with torch.inference_mode(inference):
            function(piece)

    # A new thread reads its number of OpenMP threads from the environment, unless it is set explicitly.
    pool = ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,))
    with one_thread:
        try:
            for _ in pool.map(in_the_callers_mode, pieces):
                pass
        finally:
            pool.shutdown(cancel_futures=True)


class Overlapping(ABC):
    """Base class of context managers that change a process-wide setting and can be used by several threads.

    If several `with` blocks overlap in time, the first one to begin changes the setting, and the last one to end
    restores it.
    """

    def __init__(self) -> None:
        self._lock, self._n_inside = threading.Lock(), 0

    @abstractmethod
    def _set(self) -> None:
        """Change the setting."""

    @abstractmethod
    def _restore(self) -> None:
        """Restore the setting."""

    def __enter__(self) -> None:
        with self._lock:
            if self._n_inside == 0:
                self._set()
            self._n_inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n_inside -= 1
            if self._n_inside == 0:
                self._restore()


class OneThread(Overlapping):
    """Context manager that limits torch, NumPy and SciPy to one thread each.

    Small matrix operations are finished before other threads wake up. Also, idle threads of one library use the CPU
    while they wait, which slows down other libraries.
    """

    def _set(self) -> None:
        self._before = torch.get_num_threads()
        torch.set_num_threads(1)
        self._limit = _blas().limit(limits=1)

    def _restore(self) -> None:
        self._limit.restore_original_limits()
        torch.set_num_threads(self._before)


class FullFloat32Precision(Overlapping):
    """Context manager that turns TF32 off on a GPU, because TF32 would change the alpha of some voxels."""

    def _set(self) -> None:
        self._before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")

    def _restore(self) -> None:
        torch.set_float32_matmul_precision(self._before)


one_thread, full_float32_precision = OneThread(), FullFloat32Precision()


@functools.cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")
