"""Make any number of pictures: random crops of the two photographs that come with scikit-learn."""

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

SMALLEST_CROP = 0.15  # smallest side of a crop, as a fraction of the photograph's shorter side


def crops(n_pictures, size, rng):
    """Yield random crops of china.jpg and flower.jpg, (size, size, 3) uint8, half of them mirrored.

    Corners and scales are real numbers, so that no two crops are equal.
    """
    photographs = [Image.fromarray(photograph) for photograph in load_sample_images().images]
    for _ in range(n_pictures):
        photograph = photographs[rng.integers(len(photographs))]
        side = min(photograph.size) * rng.uniform(SMALLEST_CROP, 1)
        left, top = (rng.uniform(0, length - side) for length in photograph.size)
        box = (left, top, left + side, top + side)
        crop = photograph.resize((size, size), Image.Resampling.BICUBIC, box, reducing_gap=2)
        pixels = np.asarray(crop)
        yield pixels[:, ::-1] if rng.random() < 0.5 else pixels
