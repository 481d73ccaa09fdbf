"""Averaged responses kept in a sealed HDF5 file, with a record of the files and settings they came from."""

import json
from contextlib import suppress

from brain_activity_prediction.runtime.claims import Claims, remove_left_claims, shared_out
from brain_activity_prediction.runtime.errors import Damaged
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.storage.files import check_room, reading, remove_left_behind, sampled_digest
from brain_activity_prediction.storage.sealed_hdf5 import read_array, read_seal, write_sealed

FORMAT = 4  # raise it when the numbers or their names change
ROWS_A_PIECE = 256  # images
AXES = {  # of the arrays: n images, V voxels, G groups of images, k incomplete voxels, s sessions
    **{"image_ids": "n", "n_repeats": "n", "betas": "nV", "within_image_ss": "GV", "image_groups": "n"},
    **{"incomplete": "k", "valid_repeats": "nk", "voxels_by_session": "s"},
}
OFTEN_EMPTY = {"incomplete", "valid_repeats"}  # where no voxel lacks a trial


def inputs_of(base_dir, files, **settings):
    """What a cache file depends on: the settings, and size, time of change and a sample of each file."""
    inputs = {
        "format": FORMAT,
        **settings,
        # Relative, so that a dataset may be mounted elsewhere.
        **{path.relative_to(base_dir).as_posix(): _content(path) for path in files},
    }
    return json.loads(json.dumps(inputs))


def _content(path):
    with reading(path):
        stat = path.stat()
        return [stat.st_size, stat.st_mtime_ns, sampled_digest(path)]


def load_or_make(path, inputs, n_bytes, make):
    """The arrays of a cache file, else those that `make()` gives, which are kept there.

    Processes that need the same file at once wait for the first. InputError where `n_bytes` have no room.
    """
    claimed_in = path.with_suffix(".claims")
    arrays = load(path, inputs)
    if arrays is not None:
        remove_left_claims(claimed_in)
        return arrays
    check_room(path.parent, n_bytes, path.name)
    with Claims(claimed_in) as claims:
        for mine, _ in shared_out(claims, lambda: {} if _is_made(path, inputs) else {("arrays",): [path.stem]}, 1, str):
            if mine:
                remove_left_behind(path.parent)
                arrays = make()
                store(path, arrays, inputs)
    return load(path, inputs) if arrays is None else arrays


def load(path, inputs):
    """The arrays of a cache file made from just these inputs, else None.

    When there is a file but it is stale or broken, a line on stderr says why.
    """
    if not path.exists():
        return None
    try:
        with reading(path, "it is made again"):
            seal = read_seal(path)
            changed = [key for key in {**seal.about, **inputs} if seal.about.get(key) != inputs.get(key)]
            if not changed:
                seal.check_axes(AXES)
                if missing := AXES.keys() - OFTEN_EMPTY - seal.datasets.keys():
                    raise ValueError(f"it holds no {min(missing)}")
                return {name: read_array(path, name) for name in seal.datasets}
            reason = f"{', '.join(changed[:3])} changed since"
    except Damaged as error:
        path.unlink(missing_ok=True)
        reason = f"it is broken: {error}"
    log.info(f"building {path} again: {reason}")
    return None


def store(path, arrays, inputs):
    """Write the arrays but the empty ones, and what they were made from; whole or not at all."""
    arrays = {name: array for name, array in arrays.items() if array.size}
    write_sealed(path, arrays, inputs, cuts={"betas": (0, min(ROWS_A_PIECE, len(arrays["betas"])))})


def _is_made(path, inputs):
    """Whether there is a cache file made from just these inputs; its numbers are not read."""
    with suppress(OSError, ValueError):
        return read_seal(path).about == inputs
    return False
