"""Pieces of work spread over the threads of a CPU."""

from concurrent.futures import ThreadPoolExecutor

import torch


def spread(function, pieces, device):
    """Call function(piece) of every piece; on a CPU in as many threads as torch has, each computing on one of them.

    Several threads gain little within products of a few megabytes and nothing between them. A piece is computed as
    on one thread, so that its bits do not depend on how many there are; pieces must write to different places.
    """
    n_threads = min(torch.get_num_threads(), len(pieces)) if device.type == "cpu" else 1
    if n_threads == 1:
        for piece in pieces:
            function(piece)
        return
    before, inference = torch.get_num_threads(), torch.is_inference_mode_enabled()

    def in_the_callers_mode(piece):
        with torch.inference_mode(inference):
            function(piece)

    pool = ThreadPoolExecutor(n_threads)
    torch.set_num_threads(1)
    try:
        for _ in pool.map(in_the_callers_mode, pieces):
            pass
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)
