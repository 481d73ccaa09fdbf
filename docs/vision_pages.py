"""Tables of the vision networks that the tests try, from the tests' own table."""

from script_pages import table
from vision_table import NORM_OF_CLASS_TOKEN, NORMED, OTHERS, PACKED, PATCHES, POOLED, VIDEOS


def tables() -> dict[str, str]:
    """Return the tables by name."""
    return {
        "vision_patches": patches(),
        "vision_videos": videos(),
        "vision_packed": packed(),
        "vision_others": others(),
    }


def patches() -> str:
    """Return what each class of vision transformers has."""
    rows = []
    for name, (before, after) in PATCHES.items():
        norm = "with the norm of the class token" if name in NORM_OF_CLASS_TOKEN else "yes" if name in NORMED else ""
        rows.append((f"`{name}`", str(before or ""), str(after or ""), norm, "yes" if name in POOLED else ""))
    head = ("class", "tokens before the patches", "tokens after", "`vision_normed`", "`vision_pooled`")
    return table(head, rows)


def videos() -> str:
    """Return how many frames each network for videos is shown."""
    rows = [(f"`{name}`", str(frames), order) for name, (frames, order) in VIDEOS.items()]
    return table(("class", "frames, by default", "order of the tokens"), rows)


def packed() -> str:
    """Return the order of the patches of networks that read images of several shapes."""
    return table(("class", "patches of one image"), [(f"`{name}`", order) for name, order in PACKED.items()])


def others() -> str:
    """Return what is read of the other image models that transformers registers."""
    return table(("class", "read as"), [(f"`{name}`", what) for name, what in OTHERS.items()])
