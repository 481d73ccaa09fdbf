"""Check that this machine can run a model: that the weights fit into memory, and that quantised weights run here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from brain_activity_prediction.models.guarded import guarded
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.files import readable

if TYPE_CHECKING:
    import torch


def check_memory(build: Callable, dtype: torch.dtype, source: Path | str) -> None:
    """Raise InputError if the weights of the model that `build` returns do not fit into memory."""
    n_bytes, free = count_parameters(build) * dtype.itemsize, psutil.virtual_memory().available
    if n_bytes > free:
        raise InputError(
            f"the untrained weights of {source} take {readable(n_bytes)}, but {readable(free)} of memory are free: "
            "choose a smaller model, a smaller --dtype or another machine"
        )


def count_parameters(build: Callable) -> int:
    """Count the parameters of a model without allocating them."""
    import torch

    with torch.device("meta"):
        return sum(weights.numel() for weights in build().parameters())


def check_quantised(settings: dict, source: Path | str) -> None:
    """Raise InputError if this machine cannot run weights that were quantised before they were published."""
    from transformers.quantizers import AutoHfQuantizer

    what = f"the weights of {source} are quantised ({settings.get('quant_method')}), which does not run here"
    with guarded(what, "install the missing package, or give the unquantised model"):
        AutoHfQuantizer.from_config(settings, pre_quantized=True).validate_environment(device_map=None)
