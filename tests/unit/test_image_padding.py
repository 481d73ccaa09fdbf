"""Means over a vision tower leave out the patches that a processor adds to give all images equal shapes."""

from types import SimpleNamespace

import torch

from brain_activity_prediction.models.image_padding import real_tokens, within
from brain_activity_prediction.models.vision_language.inputs import Reader

TOWER = SimpleNamespace(config=SimpleNamespace(patch_size=2))
STATES = torch.zeros(1, 4, 8)


def test_padding_is_left_out_however_the_inputs_mark_it():
    places = torch.tensor([[[0, 0], [1, 0], [-1, -1], [-1, -1]]])
    pixels = torch.tensor([[[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]])
    for inputs in (
        {"pixel_attention_mask": torch.tensor([[1, 1, 0, 0]])},
        {"image_position_ids": places},
        {"pixel_mask": pixels},
    ):
        real = real_tokens(TOWER, inputs)(STATES)
        assert real.tolist() == [[True, True, False, False]]
        assert within(slice(1, 4), real).tolist() == [[False, True, False, False]]


def test_all_tokens_count_where_the_inputs_mark_pixels_or_nothing():
    of_pixels = {"pixel_attention_mask": torch.ones(1, 1, 14, 14)}
    for inputs in (of_pixels, {}):
        assert real_tokens(TOWER, inputs)(STATES) == slice(None)
        assert within(slice(1, 4), real_tokens(TOWER, inputs)(STATES)) == slice(1, 4)


def test_the_ends_of_an_image_are_not_among_its_tokens():
    mask = torch.tensor([[0, -1, 1, 1, -1, 0]])  # as KOSMOS-2.5's processor marks them
    reader = Reader(SimpleNamespace(tokenizer=None), "{prompt}", ())
    assert reader.places({"image_embeds_position_mask": mask}).tolist() == [False, False, True, True, False, False]
