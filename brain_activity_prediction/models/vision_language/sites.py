"""Read the outputs of attention, MLP and heads in the tower and the text model of a vision-language model."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from brain_activity_prediction.models.layer_lists import layer_list
from brain_activity_prediction.models.pooling import BLOCK
from brain_activity_prediction.models.sites.points import with_sites
from brain_activity_prediction.models.vision_language import network as parts
from brain_activity_prediction.models.vision_language.inputs import Reader
from brain_activity_prediction.models.vision_language.loading import PROBE_COLOURS, probe, probe_inputs
from brain_activity_prediction.models.vision_language.reading import Network


def add_sites(network: Network, reader: Reader, sites: Sequence[str]) -> None:
    """Add the points of other sites to those of the block, for each stream that has layers.

    Raises InputError that names the layer if its attention and MLP, or its heads, cannot be found.
    """
    if set(sites) == {BLOCK}:
        return
    model, family = network.model, network.family
    with torch.inference_mode():
        inputs = probe_inputs(model, family, reader, probe(model, reader, PROBE_COLOURS)[0])
        run = lambda: model(**inputs)  # noqa: E731
        for stream, part in zip(family.text_streams, parts.text_models(model, family.encoder_decoder), strict=True):
            block = network.text_points[stream]
            network.text_points[stream], network.sites[stream] = with_sites(block, layer_list(part)[1], sites, run)
        if network.tower_points:
            own = parts.tower_layers(network.tower)
            network.tower_points, network.sites["vision"] = with_sites(network.tower_points, own, sites, run)
