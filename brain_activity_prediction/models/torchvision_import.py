"""Make `import torchvision` work with a torch without CUDA.

The compiled part of torchvision does not load with such a torch, so that its operators are missing and its import
fails. Imports of timm, open_clip and parts of transformers then fail, too. This project uses none of the operators:
declaring their signatures is enough.
"""

import importlib.util
import sys

from brain_activity_prediction.models.light_imports import without_compiler

SIGNATURES = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def import_torchvision() -> None:
    """Import torchvision if it is installed, so that the libraries that need it can import it, too."""
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
