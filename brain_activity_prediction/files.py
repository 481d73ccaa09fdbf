"""Opening what may be broken, and writing what must appear whole or not at all."""

import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from brain_activity_prediction.errors import InputError

DAY_S = 86_400


@contextmanager
def reading(path: Path, remedy: str = "fetch it again") -> Iterator[None]:
    """Turns whatever a library raises on a broken file into one line that names the file and the remedy.

    h5py, nibabel, scipy and zlib each raise their own kinds, so every kind is caught: keep the block down to the
    library's calls.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"cannot read {path} ({reason}): truncated or not what its name says, {remedy}") from error


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, flushed and renamed to `path` at the end of the block.

    A reader never sees half a file, and a block that fails or is killed leaves the old file as it was.
    """
    path = Path(path)
    # The suffix stays, because nibabel and pandas choose format and compression by it.
    aside = path.with_name(f".{socket.gethostname()}~{os.getpid()}~{uuid.uuid4().hex[:8]}~{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        _sync(aside, os.O_RDWR)
        os.replace(aside, path)
        _sync(path.parent, os.O_RDONLY)
    except OSError as error:
        raise InputError(
            f"cannot write {path} ({error.strerror or error}): check its folder and the free space"
        ) from error
    finally:
        with suppress(OSError):  # renamed, or never begun
            aside.unlink()


def remove_left_behind(folder: Path) -> None:
    """Deletes what killed writers left in a folder: those of this machine at once, those of others after a day."""
    for aside in Path(folder).glob(".*~*~*~*"):
        host, pid, *_ = aside.name[1:].split("~")
        try:
            if (
                not _is_running(int(pid))
                if host == socket.gethostname()
                else time.time() - aside.stat().st_mtime > DAY_S
            ):
                aside.unlink()
        except (ValueError, FileNotFoundError):  # not ours, or its writer was quicker
            continue


def _sync(path: Path, mode: int) -> None:
    handle = os.open(path, mode)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
