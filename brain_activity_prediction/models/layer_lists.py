"""Find the layers of a transformer: the shallowest list of modules in it."""

from collections.abc import Iterator

from torch import nn


def layer_list(part: nn.Module) -> tuple[nn.Module, nn.ModuleList]:
    """Return the shallowest list of layers in a part of a model, and the module that holds it.

    Of several lists at the same depth, the longest is returned. Raises LookupError if there is no list.
    """
    level = [part]
    while level:
        lists = [
            (parent, child)
            for parent in level
            for child in parent.children()
            if isinstance(child, nn.ModuleList) and len(child) and not isinstance(child[0], nn.Embedding)
        ]
        if lists:
            return max(lists, key=lambda found: len(found[1]))
        level = [child for parent in level for child in parent.children() if not isinstance(child, nn.ModuleList)]
    raise LookupError(f"{type(part).__name__} has no list of layers")


def flat(layers: nn.ModuleList) -> Iterator[nn.Module]:
    """Yield the layers of a list, including the layers of nested lists such as stages."""
    for layer in layers:
        if isinstance(layer, nn.ModuleList):
            yield from flat(layer)
        else:
            yield layer
