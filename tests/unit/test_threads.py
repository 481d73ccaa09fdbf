"""Work spread over threads gives what one thread gives."""

import os
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from brain_activity_prediction.ridge.ridge_cv import ridge_cv
from brain_activity_prediction.ridge.solver import cross_validation
from brain_activity_prediction.ridge.solver.threads import full_float32_precision, one_thread, spread
from brain_activity_prediction.ridge.solver.workspace import Workspace

CPU = torch.device("cpu")


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_pieces_go_to_as_many_threads_as_torch_has_each_of_them_on_one(threads):
    threads(3)
    together, seen = threading.Barrier(3), []

    def work(piece):
        together.wait(timeout=600)  # returns where three pieces are at work at the same time
        seen.append((piece, threading.get_ident(), torch.get_num_threads()))

    spread(work, range(6), CPU)
    assert sorted(piece for piece, *_ in seen) == [0, 1, 2, 3, 4, 5]
    assert len({thread for _, thread, _ in seen}) == 3
    assert {n_threads for *_, n_threads in seen} == {1}
    assert torch.get_num_threads() == 3


PRODUCTS = """
import os, threading, torch
from brain_activity_prediction.ridge.solver.threads import spread

torch.set_num_threads(2)
together, before, more = threading.Barrier(2), len(os.listdir("/proc/self/task")), []

def work(piece):
    torch.bmm(torch.randn(8, 200, 200), torch.randn(8, 200, 200))
    together.wait(timeout=600)
    more.append(len(os.listdir("/proc/self/task")) - before)
    together.wait(timeout=600)

spread(work, range(2), torch.device("cpu"))
print(*more)
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the threads of a process are counted in /proc")
def test_a_product_in_a_thread_starts_no_threads_in_any_environment():
    environment = os.environ | {"OMP_NUM_THREADS": "4"}
    done = subprocess.run([sys.executable, "-c", PRODUCTS], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["2", "2"], done.stderr


def test_on_one_thread_are_torch_numpy_and_scipy_alike_and_as_before_afterwards(threads):
    threads(2)
    with threadpool_limits(2, user_api="blas"):
        with one_thread:
            assert torch.get_num_threads() == 1
            assert _blas_threads() == {1}
        assert torch.get_num_threads() == 2
        assert _blas_threads() == {2}


def test_blocks_that_overlap_restore_what_was_before_the_first(threads):
    threads(2)
    with threadpool_limits(2, user_api="blas"), ExitStack() as first, ExitStack() as second:
        first.enter_context(one_thread)
        second.enter_context(one_thread)
        first.close()
        assert torch.get_num_threads() == 1
        assert _blas_threads() == {1}
        second.close()
        assert torch.get_num_threads() == 2
        assert _blas_threads() == {2}


def test_the_precision_of_products_is_restored_after_fits_in_several_threads():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with ExitStack() as first, ExitStack() as second:
            first.enter_context(full_float32_precision)
            second.enter_context(full_float32_precision)
            first.close()
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "high"
        X, Y = torch.randn(60, 10), torch.randn(60, 20)
        fits = [threading.Thread(target=ridge_cv, args=(X, Y, [1.0, 10.0])) for _ in range(8)]
        for fit in fits:
            fit.start()
        for fit in fits:
            fit.join()
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


def _blas_threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_an_error_reaches_the_caller_and_the_number_of_threads_stays(threads):
    threads(2)
    with pytest.raises(ZeroDivisionError):
        spread(lambda piece: 1 / piece, range(5), CPU)
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("cost", [float("inf"), -float("inf")])
def test_a_fit_gives_the_same_bytes_and_the_same_choice_with_any_threads(threads, cost, monkeypatch):
    monkeypatch.setitem(cross_validation.DECOMPOSITION, "cpu", cost)
    generator = torch.Generator().manual_seed(0)
    X, Y = (torch.randn(200, n, generator=generator) for n in (90, 700))
    Y[:, ::2] += X @ torch.randn(90, 350, generator=generator) / 5
    alphas = [10.0 ** (k / 4) for k in range(4, 17)]
    fits = []
    for n_threads in (1, 2, 2, 5):
        threads(n_threads)
        fits.append(ridge_cv(X, Y, alphas, voxels_per_chunk=64, fit_intercept=False))
    one, two, again, five = fits
    assert torch.equal(two.cv_score, again.cv_score)
    assert torch.equal(two.predict(X), again.predict(X))
    for fit in (two, five):
        assert torch.equal(fit.alpha, one.alpha)
        torch.testing.assert_close(fit.cv_score, one.cv_score, rtol=0, atol=1e-6)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_fit_may_be_made_in_inference_mode(threads, n_threads):
    threads(n_threads)
    with torch.inference_mode():
        X, Y = torch.randn(60, 10), torch.randn(60, 200)
        assert ridge_cv(X, Y, [1.0, 10.0], voxels_per_chunk=64, fit_intercept=False).alpha.shape == (200,)


def test_a_workspace_takes_memory_once_in_each_thread_and_more_where_more_is_needed(threads):
    threads(2)
    workspace, like, together = Workspace(), torch.zeros(1), threading.Barrier(2)

    def place_of(name, *shape):
        array = workspace.array(name, like, *shape)
        assert array.shape == shape
        return array.untyped_storage().data_ptr()

    place, places = place_of("nodes", 4, 5), set()
    assert place_of("nodes", 2, 3) == place_of("nodes", 20) == place
    assert place_of("panels", 2, 3) != place
    assert workspace.array("nodes", like, 3, 7).untyped_storage().nbytes() == 4 * 21

    def work(piece):
        places.add(place_of("nodes", 2, 3))
        together.wait(timeout=600)

    spread(work, range(2), CPU)
    assert len(places) == 2
