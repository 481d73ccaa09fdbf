"""Compare the parameters that a checkpoint holds with those of the model that was loaded from it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from brain_activity_prediction.runtime.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn

# Constants that older versions of transformers saved with the parameters.
FORMER_TABLES = re.compile(r"(^|\.)(masked_bias|position_ids|inv_freq|relative_position_index|relative_coords_table)$")
TIMM = "timm_model"  # the network of timm within its wrapper in transformers


def check_parameters(
    source, model, kind: str, loaded: Mapping[str, Collection[str]], optional: Sequence[str] = ()
) -> None:
    """Raise InputError if a checkpoint lacks parameters of a model, or holds parameters that the model does not have.

    source  name of the checkpoint in messages
    kind  name of the model's class in messages
    loaded  names of missing and unexpected parameters, as `from_pretrained` returns them
    optional  prefixes of the names of parameters that the checkpoint may lack
    """
    missing = sorted(name for name in loaded["missing_keys"] if not name.startswith(tuple(optional)))
    if missing:
        raise InputError(
            f"{source} lacks {len(missing)} of the parameters of {kind}, first {missing[0]}: "
            "it is the checkpoint of another model, or incomplete"
        )
    if extra := unexpected(model, loaded.get("unexpected_keys", ())):
        raise InputError(
            f"{source} holds {len(extra)} parameters that {kind} does not have, first "
            f"{extra[0]}: the checkpoint or its config.json belongs to another model"
        )


def unexpected(model, names: Iterable[str]) -> list[str]:
    """Return the sorted names of a checkpoint's parameters that the model should have but does not.

    A model class without a head, such as ViTModel, does not have all parts of a checkpoint, such as a head or decoder.
    A class with a head must have all parameters. Tables that older versions of transformers saved are ignored.
    """
    whole, left_out = "For" in type(model).__name__, classifiers(model)
    return sorted(
        name
        for name in names
        if not FORMER_TABLES.search(name)
        and not name.startswith(left_out)
        and (whole or hasattr(model, name.split(".")[0]))
    )


def classifiers(model) -> tuple[str, ...]:
    """Return the prefixes of the parameter names of a timm network's classifiers, which are not loaded."""
    named = getattr(getattr(model, TIMM, None), "pretrained_cfg", {}).get("classifier") or ()
    return tuple(f"{TIMM}.{name.split('.')[0]}." for name in ([named] if isinstance(named, str) else named))


def number_format(model: nn.Module) -> torch.dtype:
    """Return the number format by whose rounding the states of a model are judged: the coarsest of its weights.

    BLIP-2 keeps a part of them in float32. With 8-bit weights, bitsandbytes rounds states to 8 bits, too, which is
    about as coarse as bfloat16.
    """
    import torch

    formats = {values.dtype for values in model.parameters()}
    if torch.int8 in formats:
        return torch.bfloat16
    wide = [dtype for dtype in formats if dtype.is_floating_point and dtype.itemsize > 1]
    return max(wide, key=lambda dtype: torch.finfo(dtype).eps)
