"""Time, memory and exactness of `ridge_cv` beside himalaya's RidgeCV and KernelRidgeCV and scikit-learn's ridge.

All candidates get the same float32 arrays, 60 alphas in 10..10^4 and 5 contiguous folds, and predict 500 test
images. They run in one process, taking turns, and their medians are compared. On one thread the seconds are
those of the processor, which a busy machine does not stretch; on more threads, or on a GPU, they are those of
the clock. Peak memory is that of a process of its own per candidate. The oracle is a float64 singular value
decomposition a fold, on a GPU the eigenvectors of a fold's X'X, with every alpha evaluated.

On a GPU (`--device cuda`) the size is the full problem, the last line gives the share of the card's measured rate, and
`--layers 41` then fits so many layers, each copied to the card in its turn, to targets that stay there.
"""

import argparse
import itertools
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import himalaya
import numpy as np
import sklearn
import torch
from himalaya.backend import set_backend
from himalaya.kernel_ridge import KernelRidgeCV
from himalaya.ridge import RidgeCV
from sklearn.linear_model import Ridge
from sklearn.linear_model import RidgeCV as LeaveOneOutRidge
from threadpoolctl import threadpool_limits
from torch.utils.flop_counter import FlopCounterMode

from brain_activity_prediction.ridge.ridge_cv import ridge_cv
from brain_activity_prediction.ridge.scores import pearson_r

ALPHAS = np.logspace(1, 4, 60)
FOLDS, N_TEST = 5, 500
SIZES = ("900,512,2000", "1800,1024,4000", "900,2048,2000", "4500,1280,4000")
FULL_SIZE = "9000,5120,15724"
# The batches of himalaya's own examples.
EXAMPLE_BATCHES = {"n_targets_batch": 500, "n_alphas_batch": 5, "n_targets_batch_refit": 100}
# A difference of mean cross-validated scores that counts as a tie.
TIE = 1e-6


def fit_ridge_cv(X, Y, X_test):
    fit = ridge_cv(X, Y, ALPHAS, folds=FOLDS, fit_intercept=False)
    return fit.alpha.cpu(), fit.predict(X_test).cpu()


def fit_himalaya(X, Y, X_test, batches=None, kernel=False):
    solver_params = dict(batches or {}) if kernel else dict(batches or {}, warn=False)
    model = (KernelRidgeCV if kernel else RidgeCV)(alphas=ALPHAS, cv=FOLDS, solver_params=solver_params)
    model.fit(X, Y)
    return model.best_alphas_.cpu().to(torch.float64), model.predict(X_test).cpu()


def fit_scikit_learn(X, Y, X_test):
    """`Ridge` at every alpha of every fold, then once with the best alpha of each voxel: what RidgeCV does not do."""
    X, Y, X_test = (values.numpy() for values in (X, Y, X_test))
    errors = np.zeros((len(ALPHAS), Y.shape[1]))
    for rows in np.array_split(np.arange(len(X)), FOLDS):
        others = np.setdiff1d(np.arange(len(X)), rows)
        for error, alpha in zip(errors, ALPHAS, strict=True):
            fit = Ridge(alpha=alpha, fit_intercept=False).fit(X[others], Y[others])
            error += ((fit.predict(X[rows]) - Y[rows]) ** 2).mean(axis=0, dtype=np.float64)
    best = ALPHAS[len(ALPHAS) - 1 - errors[::-1].argmin(axis=0)]
    model = Ridge(alpha=best, fit_intercept=False, solver="svd").fit(X, Y)
    return torch.from_numpy(best), torch.from_numpy(model.predict(X_test))


def fit_leave_one_out(X, Y, X_test):
    """scikit-learn's RidgeCV: an alpha a voxel, but by leave-one-out, so that other alphas are to be expected."""
    model = LeaveOneOutRidge(ALPHAS, fit_intercept=False, alpha_per_target=True).fit(X.numpy(), Y.numpy())
    return torch.from_numpy(model.alpha_), torch.from_numpy(model.predict(X_test.numpy()))


CANDIDATES = {
    "ridge_cv": fit_ridge_cv,
    "himalaya, its examples' batches": lambda *data: fit_himalaya(*data, batches=EXAMPLE_BATCHES),
    "himalaya, no batches": fit_himalaya,
    "himalaya, kernel": lambda *data: fit_himalaya(*data, kernel=True),
    "scikit-learn, Ridge": fit_scikit_learn,
    "scikit-learn, leave-one-out": fit_leave_one_out,
}
ON_GPU = ("ridge_cv", "himalaya, its examples' batches")


def simulate(n_images, n_features, n_voxels, exponent, device):
    """X, Y, X_test, Y_test, standardised: features with eigenvalues j^-exponent, voxels up to half signal."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    scales = torch.arange(1, n_features + 1, dtype=torch.float64) ** (-exponent / 2)
    X = (normal(n_images + N_TEST, n_features) * scales) @ torch.linalg.qr(normal(n_features, n_features))[0]
    signal = X @ normal(n_features, n_voxels)
    share = torch.rand(n_voxels, generator=generator, dtype=torch.float64) / 2
    Y = signal / signal.std(dim=0) * share.sqrt() + normal(*signal.shape) * (1 - share).sqrt()
    standardised = ((values - values[:n_images].mean(0)) / values[:n_images].std(0) for values in (X, Y))
    X, Y = (values.to(device, torch.float32) for values in standardised)
    return X[:n_images].contiguous(), Y[:n_images].contiguous(), X[n_images:], Y[n_images:]


def oracle(X, Y, X_test):
    """Mean scores (A, V) of every alpha in float64, and test predictions (n, V) at the best of them."""
    X, Y, X_test = X.double(), Y.double(), X_test.double()
    scores = 0.0
    for rows in torch.arange(len(X)).tensor_split(FOLDS):
        training = torch.ones(len(X), dtype=torch.bool)
        training[rows] = False
        right, spectrum, targets = _rotated(X[training], Y[training])
        features = X[rows] @ right
        errors = (((features @ (targets / (spectrum + a)) - Y[rows]) ** 2).mean(dim=0) for a in ALPHAS)
        scores = scores - torch.stack(list(errors)) / FOLDS
    best = torch.from_numpy(ALPHAS).to(X.device)[len(ALPHAS) - 1 - scores.flip(0).argmax(dim=0)]
    right, spectrum, targets = _rotated(X, Y)
    return scores.cpu(), (X_test @ right @ (targets / (spectrum + best))).cpu()


def _rotated(X, Y):
    """Q (D, R), s (R, 1) and Q'X'Y (R, V) of X = U diag(s)^(1/2) Q'."""
    if X.device.type == "cpu":
        left, singular, right = torch.linalg.svd(X, full_matrices=False)
        return right.T, (singular**2)[:, None], left.T @ Y * singular[:, None]
    spectrum, right = torch.linalg.eigh(X.T @ X)
    return right, spectrum.clamp(min=0)[:, None], right.T @ (X.T @ Y)


def exactness(alpha, predictions, scores, oracle_predictions, Y_test):
    """Voxels with another alpha than the oracle's, how many are no ties; largest change of r elsewhere."""
    index = (alpha[:, None] / torch.from_numpy(ALPHAS)).log().abs().argmin(dim=1)
    regret = scores.amax(dim=0) - scores.gather(0, index[None])[0]
    another = index != len(ALPHAS) - 1 - scores.flip(0).argmax(dim=0)
    change = pearson_r(Y_test, predictions) - pearson_r(Y_test, oracle_predictions)
    return f"{int(another.sum())} ({int((regret > TIE).sum())}) | {change[~another].abs().max():.1e}"


def seconds(function, device, threads):
    synchronise = torch.cuda.synchronize if device != "cpu" else lambda: None
    clock = time.process_time if device == "cpu" and threads == 1 else time.perf_counter
    synchronise()
    start = clock()
    result = function()
    synchronise()
    return clock() - start, result


def peak_memory_mb(name, data, arguments):
    """Peak memory of a process that only loads the data and fits, and what the fit added to it, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        for number, array in enumerate(data[:3]):
            np.save(f"{folder}/{number}.npy", array.cpu().numpy())
        command = [sys.executable, __file__, "--memory-of", name, "--arrays", folder]
        command += ["--device", arguments.device, "--threads", str(arguments.threads)]
        return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def print_memory(name, folder, device):
    data = [torch.from_numpy(np.load(f"{folder}/{number}.npy")).to(device) for number in range(3)]
    before = _resident_mb(device)
    CANDIDATES[name](*data)
    after = _resident_mb(device)
    print(json.dumps([after, after - before]))


def _resident_mb(device):
    """The largest resident memory so far, or the largest allocation on the GPU, in MB."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 2**20
    # Not getrusage: its maximum includes that of the process which started this one.
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 2**10


def gemm_gflops(device, threads):
    """This machine's rate for float32 products of square matrices, now."""
    n = 2048 if device == "cpu" else 8192
    matrix, product = torch.randn(2, n, n, device=device)
    torch.mm(matrix, matrix, out=product)
    return 2 * n**3 / seconds(lambda: torch.mm(matrix, matrix, out=product), device, threads)[0] / 1e9


def compare(size, arguments):
    """Print a table row a candidate: median seconds, speed, memory, exactness; then share of GEMM peak."""
    data = simulate(*map(int, size.split(",")), arguments.exponent, arguments.device)
    times, rates, results = {name: [] for name in arguments.candidates}, [], {}
    for _, name in itertools.product(range(arguments.repeats), arguments.candidates):
        rates.append(gemm_gflops(arguments.device, arguments.threads))
        taken, results[name] = seconds(
            lambda name=name: CANDIDATES[name](*data[:3]), arguments.device, arguments.threads
        )
        times[name].append(taken)
        print(f"  {size} {name}: {taken:.2f} s", file=sys.stderr, flush=True)
    scores, oracle_predictions = oracle(*data[:3])
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    for name, median in medians.items():
        memory, added = peak_memory_mb(name, data, arguments)
        exact = exactness(*results[name], scores, oracle_predictions, data[3].cpu())
        speed = median / medians["ridge_cv"]
        print(f"| {size} | {name} | {median:.2f} | {speed:.1f} | {memory:.0f} ({added:.0f}) | {exact} |")
    torch.set_num_threads(1)  # products in other threads are not counted
    with FlopCounterMode(display=False) as counter:
        fit_ridge_cv(*data[:3])
    torch.set_num_threads(arguments.threads)
    rate, flops = statistics.median(rates), counter.get_total_flops()
    share = flops / 1e9 / rate / medians["ridge_cv"]
    print(
        f"  {size}: {flops:.3g} FLOP in products; GEMM peak {rate:.0f} GFLOP/s; {share:.0%} of it\n",
        flush=True,
    )


def fit_layers(size, n_layers, arguments):
    """Print seconds of so many layers, one after the other, from memory of the CPU, and of the slowest of them."""
    X, Y, X_test, _ = simulate(*map(int, size.split(",")), arguments.exponent, "cpu")
    Y, taken = Y.to(arguments.device), []
    for _ in range(n_layers):
        layer = lambda: fit_ridge_cv(X.to(arguments.device), Y, X_test.to(arguments.device))  # noqa: E731
        taken.append(seconds(layer, arguments.device, arguments.threads)[0])
    print(f"  {size}: {n_layers} layers in {sum(taken):.1f} s, the slowest in {max(taken):.2f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sizes", nargs="+", metavar="N,D,V", help=f"{SIZES}, on a GPU {FULL_SIZE}")
    parser.add_argument("--candidates", nargs="+", choices=CANDIDATES, help=f"all, on a GPU {ON_GPU}")
    parser.add_argument("--layers", type=int, default=0, help="also fit so many layers to the same targets")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--exponent", type=float, default=1.0, help="decay of the features' eigenvalues")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--memory-of", choices=CANDIDATES, help=argparse.SUPPRESS)
    parser.add_argument("--arrays", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    on_gpu = arguments.device != "cpu"
    arguments.sizes = arguments.sizes or ([FULL_SIZE] if on_gpu else SIZES)
    arguments.candidates = arguments.candidates or (ON_GPU if on_gpu else list(CANDIDATES))
    torch.set_num_threads(arguments.threads)
    threadpool_limits(arguments.threads, user_api="blas")  # of NumPy and SciPy
    warnings.simplefilter("ignore")
    set_backend("torch" if arguments.device == "cpu" else "torch_cuda")
    if arguments.memory_of:
        return print_memory(arguments.memory_of, arguments.arrays, arguments.device)
    processor = platform.machine() if arguments.device == "cpu" else torch.cuda.get_device_name()
    versions = f"torch {torch.__version__}, himalaya {himalaya.__version__}, scikit-learn {sklearn.__version__}"
    print(f"{processor}, {arguments.threads} threads, {versions}\n")
    print("| N,D,V | solver | seconds | x ridge_cv | peak MB (added) | other alphas (no ties) | change in r |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for size in arguments.sizes:
        compare(size, arguments)
        if arguments.layers:
            fit_layers(size, arguments.layers, arguments)


if __name__ == "__main__":
    main()
