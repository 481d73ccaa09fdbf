"""Makes `import torchvision` work beside a torch that was built without a GPU.

torchvision publishes no CPU build. Beside a CPU torch its compiled part does not load, so the operators it then
describes to torch are missing, its import fails, and with it timm, open_clip and transformers' image processors.
None of those operators is used here: declaring their signatures is enough.
"""

import importlib.util
import sys

SIGNATURES = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def import_torchvision() -> None:
    """Imports torchvision, where it is installed; after this, so can the libraries that need it."""
    if importlib.util.find_spec("torchvision") is None:
        return
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        import torch

        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        # Kept for the life of the process: torch forgets a library's operators when the object is collected.
        import_torchvision.declared = torch.library.Library("torchvision", "DEF")
        for signature in SIGNATURES:
            import_torchvision.declared.define(signature)
        import torchvision  # noqa: F401
