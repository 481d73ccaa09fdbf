"""What the tiny models of the families from idefics to vision-encoder-decoder need; see `tiny_vision_language`."""

from family_groups import CLIP_PATCHES, SMALL_CLIP

OWN: dict[str, dict] = {
    "idefics2": {},
    "llava": {
        "processor": CLIP_PATCHES,
        "image": {"size": {"shortest_edge": 56}, "crop_size": 56},
        "config": SMALL_CLIP,
    },
    "vipllava": {
        "processor": CLIP_PATCHES,
        "image": {"size": {"shortest_edge": 56}, "crop_size": 56},
        "config": SMALL_CLIP | {"vision_feature_layers": [-2, 1, 2]},
    },
}
