"""Load the vision network of a checkpoint, without the text model that may be in the same files."""

import inspect
from collections.abc import Sequence

import torch
from torch import nn

from brain_activity_prediction.models.checkpoints.checkpoint import UNUSED_HEADS
from brain_activity_prediction.models.pooling import POOLED, PROJECTED
from brain_activity_prediction.models.vision.outputs import PROJECTION
from brain_activity_prediction.runtime.errors import InputError

# Attributes of the vision network in CLIP and BLIP, SAM, LLaVA, Qwen-VL and FLAVA.
TOWERS = ("vision_model", "vision_encoder", "vision_tower", "visual", "image_model")


def load_tower(
    checkpoint, device: str, dtype: torch.dtype, outputs: Sequence[str]
) -> tuple[nn.Module, nn.Module | None]:
    """Load the vision network of a checkpoint; return it and its projection, or None if it has no projection.

    outputs  with `pooled` or `projected`, the checkpoint must also have the weights of the network's head
    """
    from transformers import AutoModel

    optional = () if {POOLED, PROJECTED} & set(outputs) else UNUSED_HEADS
    also = [PROJECTION] if PROJECTED in outputs else []
    model = checkpoint.model(_vision_only(checkpoint, also) or AutoModel, device, dtype, optional)
    tower = model
    for name in TOWERS:
        tower = getattr(tower, name, tower)
    return tower, getattr(model, PROJECTION, None)


def _vision_only(checkpoint, also: Sequence[str]) -> type | None:
    """Return the checkpoint's model class, reduced to its vision network; None if the model is only a vision network.

    The class keeps its name and configuration, so that transformers renames the checkpoint's weights as it does for the
    whole model.

    also  names of other parts to keep
    """
    from transformers import AutoModel

    config = checkpoint.config(AutoModel)
    try:
        whole = AutoModel._model_mapping[type(config)]
    except KeyError:
        return None
    if not inspect.isclass(whole) or not hasattr(config, "text_config"):
        return None

    class VisionOnly(whole):
        _tied_weights_keys = None
        config_class = type(config)  # one class may serve several types, such as that of GLM-4.6V
        base_model_prefix = whole.base_model_prefix or "model"  # prefix in checkpoints of the whole model
        is_whole = True

        def __init__(self, config, *others, **named):
            super().__init__(config, *others, **named)
            if not (kept := {name for name, _ in self.named_children()}.intersection(TOWERS)):
                raise InputError(f"{whole.__name__} has no vision network under a known name: choose another network")
            for name in [*self._modules, *self._parameters]:
                if name not in kept | set(also):
                    delattr(self, name)
            self.is_whole = False
            self.all_tied_weights_keys = {}
            self._keys_to_ignore_on_load_unexpected = {rf"^(?!(.*\.)?({'|'.join(self._modules)})\.)"}

        def _init_weights(self, module):
            if module is not self or self.is_whole:
                super()._init_weights(module)

    VisionOnly.__name__ = VisionOnly.__qualname__ = whole.__name__
    VisionOnly.__module__ = whole.__module__
    return VisionOnly
