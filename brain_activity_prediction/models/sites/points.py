"""Find the points of a network at which the selected sites are read: block, attention, MLP and heads."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from torch import nn

from brain_activity_prediction.models.pooling import ATTENTION, BLOCK, HEADS, MLP, Point, SiteLayers
from brain_activity_prediction.models.sites.gates import NO_GATE, PartPoint
from brain_activity_prediction.models.sites.heads import head_points
from brain_activity_prediction.models.sites.parts import Part, find_parts
from brain_activity_prediction.runtime.errors import InputError


def with_sites(
    block: Sequence[Point], layers: Sequence[nn.Module], sites: Sequence[str], run: Callable[[], Any]
) -> tuple[list[Point], dict[str, SiteLayers]]:
    """Return the points of the block followed by those of the other sites, and which of these points each site has.

    sites  selected sites, from `SITES` and `heads`
    run  function that computes a small input

    Raises InputError if a layer's attention and MLP, or its heads, cannot be found.
    """
    points, found = list(block), {}
    if BLOCK in sites:
        found[BLOCK] = SiteLayers(slice(0, len(points)))
    for site, (more, heads) in other_points(layers, sites, run).items():
        found[site] = SiteLayers(slice(len(points), len(points) + len(more)), heads)
        points += more
    return points, found


def other_points(
    layers: Sequence[nn.Module], sites: Sequence[str], run: Callable[[], Any]
) -> dict[str, tuple[list[Point], int]]:
    """Return, for each site other than the block, one point for each layer, and the number of heads at each point."""
    found: dict[str, tuple[list[Point], int]] = {}
    if {ATTENTION, MLP} & set(sites):
        parts = find_parts(layers, run)
        for site in (ATTENTION, MLP):
            if site in sites:
                found[site] = [part_point(layer, own[site]) for layer, own in zip(layers, parts, strict=True)], 1
    if HEADS in sites:
        found[HEADS] = head_points(layers, run)
    return found


def check_passed_once(points: Sequence[Point], run: Callable[[], Any]) -> None:
    """Raise InputError if the network does not pass each point exactly once, for instance if layers share a module."""
    passed = [0] * len(points)

    def count(number: int) -> None:
        passed[number] += 1

    with ExitStack() as hooks:
        for number, point in enumerate(points):
            hooks.callback(point.watch(lambda states, number=number: count(number)).remove)
        run()
    if wrong := [n for n in passed if n != 1]:
        raise InputError(
            f"a layer computes its attention or MLP {wrong[0]} times for one input: leave out --sites and --heads"
        )


def part_point(layer: nn.Module, part: Part) -> Point:
    """Return the point that gives a part as it is added to the residual stream."""
    module = layer.get_submodule(part.path)
    return Point(module) if part.gate == NO_GATE and not part.flat else PartPoint(module, layer=layer, gate=part.gate)
