import numpy as np
import pytest
import torch

from brain_activity_prediction.extraction.runner import stored
from brain_activity_prediction.runtime.errors import InputError

STATES = torch.ones(2, 3, 4)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_state_that_is_not_finite_is_named_by_image_stream_and_layer(value):
    bad = STATES.clone()
    bad[1, 2, 0] = value
    with pytest.raises(
        InputError, match="vision is not finite for image 71 at layer 2, the first of 1 such vectors among 6"
    ):
        stored({"vision": bad}, ["vision"], [70, 71], torch.float32)


def test_float16_storage_never_overflows_silently():
    with pytest.raises(InputError, match=r"layer 0, .* --dtype bfloat16 or float32"):
        stored({"vision": STATES * 7e4}, ["vision"], [70, 71], torch.float16)
    assert stored({"vision": STATES * 6e4}, ["vision"], [70, 71], torch.float16)["vision"].dtype == np.float16


@pytest.mark.parametrize(
    ("streams", "said"),
    [
        ({"vision": STATES[:1]}, "shape"),
        ({"vision": STATES[0]}, "shape"),
        ({}, "returned the streams"),
        ({"vision": STATES, "more": STATES}, "returned the streams"),
    ],
)
def test_a_script_that_breaks_its_contract_is_told_so(streams, said):
    with pytest.raises(InputError, match=said):
        stored(streams, ["vision"], [70, 71], torch.float32)
