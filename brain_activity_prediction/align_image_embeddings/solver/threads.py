"""Work of a CPU that does not fill its threads by itself: spread over them in pieces, or kept to one."""

import contextlib
import functools
from concurrent.futures import ThreadPoolExecutor

import torch
from threadpoolctl import ThreadpoolController


def spread(function, pieces, device):
    """Call function(piece) of every piece; on a CPU in as many threads as torch has, each computing on one of them.

    Several threads gain little within products of a few megabytes and nothing between them. Pieces must write to
    different places; a single one has all threads.
    """
    n_threads = min(torch.get_num_threads(), len(pieces)) if device.type == "cpu" else 1
    if n_threads == 1:
        for piece in pieces:
            function(piece)
        return
    inference = torch.is_inference_mode_enabled()

    def in_the_callers_mode(piece):
        with torch.inference_mode(inference):
            function(piece)

    # A new thread takes its number from the environment until it is told.
    pool = ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,))
    with one_thread():
        try:
            for _ in pool.map(in_the_callers_mode, pieces):
                pass
        finally:
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def one_thread():
    """Torch, NumPy and SciPy on one thread each: a small matrix is done before the others have woken.

    Their threads wait by spinning, so that those of one library are in the way of the next.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _blas().limit(limits=1):
            yield
    finally:
        torch.set_num_threads(before)


@functools.cache
def _blas():
    return ThreadpoolController().select(user_api="blas")
