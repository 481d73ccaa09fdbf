"""A simulated GPU: tensors on `cuda:0` are computed on the CPU, but cannot be combined with tensors on the CPU.

As on a real GPU, an operation on tensors of both devices is refused, and so is the NumPy array of a tensor on the GPU.
Numbers, speed and memory are those of the CPU.
"""

import contextlib
import ctypes
import weakref
from collections import Counter
from pathlib import Path
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map_only

CUDA = torch.device("cuda", 0)
aten = torch.ops.aten
# Operations that may use both devices: a copy, and indexing a tensor on the GPU by indices on the CPU.
COPIES = {aten.copy_}
PLACES = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}


class Memory:
    """Bytes of all existing tensors on the simulated GPU. Views are not counted, nor is memory within an operation."""

    def __init__(self, n_bytes):
        self.n_bytes, self.alive, self.peak = n_bytes, 0, 0
        self._holders = Counter()

    def hold(self, tensor):
        storage = tensor.held.untyped_storage()
        place, n_bytes = storage.data_ptr(), storage.nbytes()
        if not self._holders[place]:
            self.alive += n_bytes
            self.peak = max(self.peak, self.alive)
        self._holders[place] += 1
        weakref.finalize(tensor, self._release, place, n_bytes)

    def _release(self, place, n_bytes):
        self._holders[place] -= 1
        if not self._holders[place]:
            self.alive -= n_bytes


MEMORY = []  # of the simulated GPUs


class OnGpu(torch.Tensor):
    """A tensor that reports the GPU as its device; `held` has its numbers on the CPU."""

    @staticmethod
    def __new__(cls, held):
        return torch.Tensor._make_wrapper_subclass(
            cls, held.shape, held.stride(), held.storage_offset(), dtype=held.dtype, device=CUDA
        )

    def __init__(self, held):
        self.held = held
        if MEMORY:
            MEMORY[-1].hold(self)

    def __repr__(self, **_):
        return f"OnGpu({self.held})"

    def tolist(self):
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _dispatch(function, args, kwargs or {})


class PretendGpu(TorchDispatchMode):
    """While it is active, `device="cuda"` creates tensors on the simulated GPU."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        with self:  # of what it is composed of, some may make tensors, too
            composed = function.decompose(*args, **(kwargs or {}))
        return _dispatch(function, args, kwargs or {}) if composed is NotImplemented else composed


def _dispatch(function, args, kwargs):
    operation, device = function.overloadpacket, kwargs.get("device")
    given = args if operation not in PLACES or not isinstance(args[0], OnGpu) else (args[0], *args[2:])
    _refuse_both(function, [] if operation in COPIES else tree_flatten((given, kwargs))[0])
    on_gpu = [isinstance(value, OnGpu) for value in tree_flatten((args, kwargs))[0] if isinstance(value, torch.Tensor)]
    held_args, held_kwargs = tree_map_only(OnGpu, lambda tensor: tensor.held, (args, kwargs))
    if device is not None:
        held_kwargs["device"] = "cpu"
    result = function(*held_args, **held_kwargs)
    if operation in COPIES:
        return args[0]
    if not (any(on_gpu) if device is None else torch.device(device).type == "cuda"):
        return result
    wrapped = tree_map_only(torch.Tensor, OnGpu, result)
    return return_and_correct_aliasing(function, args, kwargs, wrapped)


def _refuse_both(function, values):
    """Raise AssertionError if some tensors are on the GPU and others on the CPU, except single numbers."""
    tensors = [value for value in values if isinstance(value, torch.Tensor)]
    here = [tensor for tensor in tensors if tensor.ndim and not isinstance(tensor, OnGpu)]
    if here and len(here) < sum(1 for tensor in tensors if tensor.ndim or isinstance(tensor, OnGpu)):
        raise AssertionError(f"{function} of a tensor on the GPU and one of shape {tuple(here[0].shape)} on the CPU")


@contextlib.contextmanager
def pretend_gpu(n_bytes=2**30):
    """Simulate a GPU with this much memory; yield the Memory that measures its use."""
    _let_device_numbers_pass()
    memory = Memory(n_bytes)
    cuda = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "mem_get_info": lambda device=None: (n_bytes - memory.alive, n_bytes),
        "memory_reserved": lambda device=None: memory.alive,
        "memory_allocated": lambda device=None: memory.alive,
        "max_memory_allocated": lambda device=None: memory.peak,
        "reset_peak_memory_stats": lambda device=None: None,
        "synchronize": lambda device=None: None,
        "empty_cache": lambda: None,
    }
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # a module cannot change the kind of a parameter
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device="cuda") makes one on the CPU, and moves it
    try:
        with (
            mock.patch.multiple(torch.cuda, **cuda),
            mock.patch("torch.inference_mode", _no_grad),
            PretendGpu(),
        ):
            MEMORY.append(memory)
            yield memory
    finally:
        MEMORY.clear()
        torch.__future__.set_overwrite_module_params_on_conversion(before)
        torch._C._set_only_lift_cpu_tensors(False)


class RealMemory:
    """Memory use of the machine's real GPU."""

    @property
    def peak(self):
        return torch.cuda.max_memory_allocated()


@contextlib.contextmanager
def any_gpu():
    """Use the machine's real GPU if there is one, else a simulated one."""
    if not torch.cuda.is_available():
        with pretend_gpu() as memory:
            yield memory
        return
    torch.cuda.reset_peak_memory_stats()
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # as the extraction has it
        yield RealMemory()


def _no_grad(mode=True):
    """Replacement for the inference mode, which does not accept our tensors."""
    return torch.no_grad()


def can_pretend():
    """Return whether this torch has no GPU, and one can be simulated."""
    try:
        return not torch.cuda.is_available() and bool(_guards())
    except (OSError, ValueError):
        return False


def _guards():
    """What torch keeps of each kind of device to switch between its numbers, by c10::DeviceType."""
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    return (ctypes.c_void_p * 15).in_dll(library, "_ZN3c104impl26device_guard_impl_registryE")


def _let_device_numbers_pass():
    """Gives a torch without CUDA, which has nothing to switch between cards, what does nothing on the meta device."""
    guards = _guards()
    cuda, meta = 1, 14
    guards[cuda] = guards[cuda] or guards[meta]
