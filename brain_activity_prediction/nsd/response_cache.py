"""Averaged responses kept in an HDF5 file, with a record of the files and settings they came from."""

import json
import sys

import h5py

FORMAT = 1  # raise it when the numbers or their names change


def inputs_of(base_dir, files, **settings):
    """What a cache file depends on: the settings, and size and modification time of each file."""
    stats = {path: path.stat() for path in files}
    return {
        "format": FORMAT,
        **settings,
        # Relative, so that a dataset may be mounted elsewhere.
        **{path.relative_to(base_dir).as_posix(): [stat.st_size, stat.st_mtime_ns] for path, stat in stats.items()},
    }


def load(path, inputs):
    """The arrays of a cache file made from just these inputs, else None.

    When there is a file but it is stale or broken, a line on stderr says why.
    """
    if not path.exists():
        return None
    try:
        with h5py.File(path, "r") as file:
            made_from = json.loads(file.attrs["inputs"])
            changed = [key for key in {**made_from, **inputs} if made_from.get(key) != inputs.get(key)]
            if not changed:
                return {name: dataset[()] for name, dataset in file.items()}
            reason = f"{', '.join(changed[:3])} changed since"
    except (OSError, KeyError, ValueError) as error:
        reason = f"it is broken: {error}"
    print(f"building {path} again: {reason}", file=sys.stderr)
    return None


def store(path, arrays, inputs):
    """Write the arrays, checksummed, and what they were made from."""
    with h5py.File(path, "w") as file:
        file.attrs["inputs"] = json.dumps(inputs)
        for name, values in arrays.items():
            # A chunk for each image's row, since rows are what is read; vectors are one chunk.
            chunks = (1, *values.shape[1:]) if values.ndim == 2 else values.shape
            file.create_dataset(name, data=values, chunks=chunks, fletcher32=True)
