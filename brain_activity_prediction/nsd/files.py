"""Opening what may be broken, and writing what must appear whole or not at all."""

import os
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path

from brain_activity_prediction.errors import InputError


@contextmanager
def reading(path):
    """Turn whatever a library raises on a broken file into one line that names the file.

    h5py, nibabel, scipy and zlib each raise their own kinds, so every kind is caught: keep the block
    down to the library's calls.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"cannot read {path} ({reason}): truncated or not what its name says, fetch it again"
        ) from error


@contextmanager
def written_whole(path):
    """A path beside `path` to write to, flushed and renamed to `path` at the end of the block.

    A reader never sees half a file, and a block that fails or is killed leaves the old file as it was.
    """
    path = Path(path)
    # The suffix stays, because nibabel chooses format and compression by it.
    aside = path.with_name(f".{uuid.uuid4().hex}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(f"no permission to write in {path.parent}")
        yield aside
        with open(aside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        raise InputError(
            f"cannot write {path} ({error.strerror or error}): check its folder and the free space"
        ) from error
    finally:
        with suppress(OSError):  # renamed, or never begun
            aside.unlink()
