"""Averaged responses kept in a sealed HDF5 file, with a record of the files and settings they came from."""

import json
import sys

from brain_activity_prediction.errors import Damaged
from brain_activity_prediction.files import reading
from brain_activity_prediction.sealed_hdf5 import read_array, read_seal, write_sealed

FORMAT = 2  # raise it when the numbers or their names change
ROWS_A_PIECE = 256  # images


def inputs_of(base_dir, files, **settings):
    """What a cache file depends on: the settings, and size and modification time of each file."""
    stats = {path: path.stat() for path in files}
    inputs = {
        "format": FORMAT,
        **settings,
        # Relative, so that a dataset may be mounted elsewhere.
        **{path.relative_to(base_dir).as_posix(): [stat.st_size, stat.st_mtime_ns] for path, stat in stats.items()},
    }
    return json.loads(json.dumps(inputs))


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
                return {name: read_array(path, name) for name in seal.datasets}
            reason = f"{', '.join(changed[:3])} changed since"
    except Damaged as error:
        reason = f"it is broken: {error}"
    print(f"building {path} again: {reason}", file=sys.stderr)
    return None


def store(path, arrays, inputs):
    """Write the arrays, and what they were made from; whole or not at all."""
    write_sealed(path, arrays, inputs, cuts={"betas": (0, min(ROWS_A_PIECE, len(arrays["betas"])))})
