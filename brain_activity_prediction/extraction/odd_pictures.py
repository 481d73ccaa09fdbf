"""Name the picture that a model does not read, and find such a picture before the others are computed.

Processors refuse pictures that are very small or very narrow, and a large one may exceed the context of a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from PIL import Image

from brain_activity_prediction.datasets.dataset import Images
from brain_activity_prediction.datasets.files.image_files import NamedImages
from brain_activity_prediction.extraction.plan import Work
from brain_activity_prediction.extraction.runner import Runner
from brain_activity_prediction.runtime.errors import InputError, is_out_of_memory
from brain_activity_prediction.storage.embeddings.batch_files import ImageId

PLAIN = (425, 425)  # pixels; the size of NSD's pictures, which every model reads


@contextmanager
def named(stimuli: Images, image_ids: Sequence[ImageId], read: Callable[[Image.Image], object]) -> Iterator[None]:
    """Let an InputError of the `with` block name the first of its pictures that fails alone.

    The error stays as it is if a plain picture fails, too: then the model is at fault.

    read  what the block does, for one picture
    """
    try:
        yield
    except InputError as error:
        if not isinstance(stimuli, NamedImages) or refusal(read, Image.new("RGB", PLAIN, "grey")):
            raise
        for image_id in image_ids:
            [image] = stimuli.images([image_id])
            if reason := refusal(read, image):
                raise InputError(
                    f"image {image_id}, of {image.width} x {image.height} pixels, is not read ({reason}): leave it "
                    "out, or store it in another size"
                ) from error
        raise


def refusal(read: Callable[[Image.Image], object], image: Image.Image) -> str | None:
    """Return why a picture is not read; None if it is."""
    try:
        read(image)
    except InputError as error:
        return getattr(error, "failure", str(error))
    return None


def check_extremes(runner: Runner, stimuli: Images, work: Work) -> None:
    """Compute the smallest, largest, widest and tallest picture that is left, with the longest prompt.

    Raise InputError, naming it, if one of them is not read. Pictures of one size are not computed.
    """
    left = work.lacking()
    if not isinstance(stimuli, NamedImages) or not left:
        return
    prompts = sorted({prompt for kind in left for prompt in kind if prompt is not None})
    longest = sorted(prompts, key=lambda prompt: len(runner.prompts[prompt]))[-1:]

    def read(image: Image.Image) -> None:
        list(runner.encode(runner.preprocess([image]), longest))

    for image_id in extremes(stimuli.sizes(np.concatenate(list(left.values())).tolist())):
        try:
            with named(stimuli, [image_id], read):
                read(*stimuli.images([image_id]))
        except (MemoryError, RuntimeError) as error:  # of which the run itself tells, at this picture
            if not is_out_of_memory(error):
                raise
            runner.free_memory()


def extremes(sizes: Mapping[ImageId, tuple[int, int]]) -> list[ImageId]:
    """Return the images with the shortest side, the most pixels, and the widest and tallest shape; none of one size."""
    if len(set(sizes.values())) < 2:
        return []
    rules: list[Callable[[tuple[int, int]], float]] = [
        lambda size: -min(size),
        lambda size: size[0] * size[1],
        lambda size: size[0] / size[1],
        lambda size: size[1] / size[0],
    ]
    return list(dict.fromkeys(max(sizes, key=lambda image_id: rule(sizes[image_id])) for rule in rules))
