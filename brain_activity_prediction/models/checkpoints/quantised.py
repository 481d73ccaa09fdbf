"""Check that this machine can run weights that were quantised before they were published."""

from __future__ import annotations

from pathlib import Path

from brain_activity_prediction.runtime.errors import InputError, one_line


def check_quantised(settings: dict, source: Path | str) -> None:
    """Raise InputError if this machine cannot run weights that were quantised before they were published."""
    from transformers.quantizers import AutoHfQuantizer

    try:
        AutoHfQuantizer.from_config(settings, pre_quantized=True).validate_environment(device_map=None)
    except Exception as error:  # libraries that are missing or too old raise many kinds of exceptions
        reason = one_line(" ".join(str(error).split()))[:200]
        raise InputError(
            f"the weights of {source} are quantised ({settings.get('quant_method')}), which does not run here: "
            f"{reason}; or give the unquantised model"
        ) from error
