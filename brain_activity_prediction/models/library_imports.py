"""Import model libraries without torch's compiler, and torchvision with a torch without CUDA.

Importing the compiler takes up to seconds of processor time in each process. torchvision, transformers and torch import
`torch._dynamo` to mark functions for the compiler, and for functions that this project does not call. During their
import, a substitute module replaces the compiler. Its decorators return functions unmarked. Its functions load the
compiler when they are called, and so does any other name.

The compiled part of torchvision does not load with a torch without CUDA. Its operators are then missing, so that the
import of torchvision fails, and with it that of timm, open_clip and parts of transformers. This project uses none of
these operators, so that it is enough to declare their signatures.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"
# Names that libraries take from the compiler while they are imported. Any other name loads it.
DECORATORS = ("disable", "allow_in_graph", "assume_constant_result")
FUNCTIONS = ("is_compile_supported", "TransformGetItemToIndex")
SIGNATURES = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def import_model_classes() -> None:
    """Import the modules of transformers that all of its models use."""
    with without_compiler():
        import transformers.generation.utils
        import transformers.modeling_utils  # noqa: F401


@contextmanager
def without_compiler(compiler: str = COMPILER) -> Iterator[None]:
    """Prevent imports in the `with` block from loading the compiler, unless it is already loaded."""
    if compiler in sys.modules:
        yield
        return
    stand_ins = StandIns(compiler)
    sys.meta_path.insert(0, stand_ins)
    try:
        yield
    finally:
        stand_ins.remove()


class StandIns:
    """An import hook that gives substitutes for a package and its modules, until they are removed."""

    def __init__(self, package: str):
        self.package = package

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        known = name == self.package or name.startswith(f"{self.package}.")
        return ModuleSpec(name, self, is_package=True) if known else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return StandIn(spec.name, self)

    def exec_module(self, module: ModuleType) -> None:
        """Leave the substitute module empty."""

    @property
    def active(self) -> bool:
        return self in sys.meta_path

    def remove(self) -> None:
        """Remove all substitutes, so that the next import loads the real package."""
        if not self.active:
            return
        sys.meta_path.remove(self)
        for name in [name for name, module in sys.modules.items() if isinstance(module, StandIn)]:
            del sys.modules[name]
            holder, _, attribute = name.rpartition(".")
            if holder in sys.modules:
                vars(sys.modules[holder]).pop(attribute, None)


class StandIn(ModuleType):
    """A substitute module that loads the real module when it is needed."""

    def __init__(self, name: str, stand_ins: StandIns):
        super().__init__(name)
        self.stand_ins = stand_ins

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        known = self.stand_ins.active and name in (*DECORATORS, *FUNCTIONS)
        return self._function(name) if known else self._real(name)

    def _real(self, name: str) -> Any:
        self.stand_ins.remove()
        return getattr(importlib.import_module(self.__name__), name)

    def _function(self, name: str) -> Callable[..., Any]:
        def function(*arguments, **named):
            if self.stand_ins.active and name in DECORATORS:
                marked = arguments[0] if arguments else None
                return (lambda other: other) if marked is None else marked
            return self._real(name)(*arguments, **named)

        return function


def import_torchvision() -> None:
    """Import torchvision if it is installed, so that other libraries can import it."""
    if importlib.util.find_spec("torchvision") is None:
        return
    with without_compiler():
        _import_torchvision()


def _import_torchvision() -> None:
    try:
        import torchvision.transforms.v2
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        import torch

        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        # Kept until the process ends: torch removes a library's operators when the object is garbage-collected.
        import_torchvision.declared = torch.library.Library("torchvision", "DEF")
        for signature in SIGNATURES:
            import_torchvision.declared.define(signature)
        import torchvision.transforms.v2  # noqa: F401
