"""Pool the hidden states of a layer over an image's tokens, or over the cells of a grid on the image.

Letters: B images, C channels, G x G cells, H x W places, T tokens, W width.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from brain_activity_prediction.models.patch_tokens import patch_tokens
from brain_activity_prediction.models.vision.inputs import Inputs
from brain_activity_prediction.models.vision.patch_grid import patch_maps
from brain_activity_prediction.models.vision.states import States


def pooled(network: nn.Module, states: States, pooling: str) -> Tensor:
    """Average the hidden states of a layer over some of the tokens, or over all places of maps: (B, W) float32.

    pooling  `mean` over all tokens; `patch` over patches; `cls` for the class token alone
    """
    hidden, valid = states.values, states.valid
    if hidden.ndim == 4:
        return hidden.mean(dim=(2, 3), dtype=torch.float32)
    if pooling == "cls":
        return hidden[:, 0].float()
    if pooling == "patch":
        patches = patch_tokens(network, hidden.shape[1])
        hidden, valid = hidden[:, patches], valid if valid is None else valid[:, patches]
    if valid is None:
        return hidden.mean(dim=1, dtype=torch.float32)
    hidden = hidden.float().masked_fill(valid[:, :, None] == 0, 0)
    return hidden.sum(dim=1) / valid.float().sum(dim=1, keepdim=True)


def averaged_cells(network: nn.Module, inputs: Inputs, states: States, grid: int) -> Tensor:
    """Average maps, or the patches on their own grid, over G x G cells: (B, C * G * G) float32, channel by channel."""
    maps = [states.values] if states.values.ndim == 4 else patch_maps(network, inputs, states)
    return torch.cat([adaptive_avg_pool2d(part.float(), grid).flatten(1) for part in maps])
