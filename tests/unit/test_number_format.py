"""The number format by whose rounding the states of a model are judged while it loads."""

import pytest
import torch
from torch import nn

from brain_activity_prediction.models.checkpoints.loaded_parameters import number_format


def model(*dtypes):
    """A model with one parameter of each type, in this order."""
    values = [torch.zeros(2, dtype=dtype) for dtype in dtypes]
    return nn.ParameterList([nn.Parameter(one, requires_grad=False) for one in values])


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        ((torch.float32, torch.float16), torch.float16),  # BLIP-2's queries stay in float32
        ((torch.bfloat16, torch.float32), torch.bfloat16),
        ((torch.float32,), torch.float32),
        ((torch.float16, torch.int8), torch.bfloat16),  # 8-bit weights, with states rounded to 8 bits
        ((torch.float16, torch.uint8), torch.float16),  # 4-bit weights, with states in float16
    ],
)
def test_states_are_judged_by_the_coarsest_format_of_a_models_weights(dtypes, expected):
    assert number_format(model(*dtypes)) == expected
