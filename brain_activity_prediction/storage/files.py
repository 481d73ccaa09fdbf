"""Open files that may be broken, and write files atomically."""

import errno
import hashlib
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from brain_activity_prediction.runtime.errors import Damaged, DiskFull, InputError, one_line
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.processes import NAME, is_dead, own_name

HOUR_S = 3600
SAMPLE_BYTES, SAMPLES = 4096, 64
FULL = {errno.ENOSPC, errno.EDQUOT}
# System errors that a damaged file may cause, for instance by a wrong offset. All other errors come from the disk, the
# network or permissions, and the file itself may be intact.
OF_THE_CONTENT = {errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.EINVAL, errno.EFBIG, errno.EOVERFLOW}
NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK}
CANNOT_SYNC = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
TEMPORARY = re.compile(rf"\.({NAME.pattern})~[0-9a-f]{{8}}~.+")  # names of the temporary files of `written_whole`
# Size and time of change of other machines' temporary files, and when this process first saw them.
_seen: dict[Path, tuple[tuple[int, int], float]] = {}


@contextmanager
def reading(path: Path, remedy: str = "fetch it again") -> Iterator[None]:
    """Turn any library error about a broken file into an InputError of one line that names the file and the remedy.

    h5py, nibabel, json and zlib each raise their own kinds of errors. All kinds are therefore caught, so that the block
    should contain only the library's calls. Raises `Damaged` for broken content, and another InputError for a problem
    of the disk or of permissions.
    """
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if isinstance(error, OSError) and error.errno and error.errno not in OF_THE_CONTENT:
            raise InputError(
                f"cannot read {path} ({error.strerror}): check its disk or mount, and its permissions"
            ) from error
        if isinstance(error, FileNotFoundError) and not Path(path).exists():
            raise Damaged(f"cannot read {path}: it does not exist, {remedy}") from error
        raise Damaged(f"cannot read {path} ({reason}): it is truncated or has another format, {remedy}") from error


def read_bytes(path: Path, largest_bytes: int) -> bytes:
    """Read all bytes of a file; raise ValueError if it is larger than expected, or not a regular file."""
    if not path.is_file():  # reading a pipe would wait forever
        raise ValueError("not a file" if path.exists() else "no such file")
    with path.open("rb") as file:
        data = file.read(largest_bytes + 1)
    if len(data) > largest_bytes:
        raise ValueError(f"larger than {largest_bytes} bytes")
    return data


def sampled_digest(path: Path) -> str:
    """Return a digest of 64 samples of 4 kB, spread evenly over a file."""
    digest = hashlib.sha256()
    for sample in samples(path):
        digest.update(sample)
    return digest.hexdigest()[:16]


def samples(path: Path) -> Iterator[bytes]:
    """Yield 64 samples of 4 kB spread evenly over a file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        for sample in range(SAMPLES):
            file.seek(sample * max(size - SAMPLE_BYTES, 0) // (SAMPLES - 1))
            yield file.read(SAMPLE_BYTES)


@contextmanager
def written_whole(path: Path, first: bool = False) -> Iterator[Path]:
    """Yield a path next to `path` to write to; flush it and rename it to `path` at the end of the block.

    Readers never see half a file, and a block that fails or is killed leaves the old file unchanged. With `first`,
    raises FileExistsError if the file exists at the end of the block, provided that the disk has hard links.
    """
    path = Path(path)
    # Keep the suffix, by which nibabel and pandas choose format and compression, but not a name that may be too long.
    aside = path.with_name(f".{own_name()}~{uuid.uuid4().hex[:8]}~{path.name[-24:]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        _sync(aside, os.O_RDWR)
        if not (first and _linked(aside, path)):
            os.replace(aside, path)
        _sync(path.parent, os.O_RDONLY)
        log.debug(f"{one_line(str(path))} is written")
    except OSError as error:
        if first and isinstance(error, FileExistsError) and path.exists():
            raise
        if error.errno in FULL:
            raise DiskFull(f"cannot write {path} ({error.strerror}): free some space, then run this again") from error
        raise InputError(
            f"cannot write {path} ({error.strerror or error}): check its folder and its disk or mount"
        ) from error
    finally:
        with suppress(OSError):  # already renamed, or never created
            aside.unlink()


def _linked(aside: Path, path: Path) -> bool:
    """Rename a file unless the new name exists already; return False if the disk has no hard links."""
    try:
        os.link(aside, path)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return False
    return True


def check_room(folder: Path, n_bytes: float, content: str) -> None:
    """Raise InputError if a folder, which need not exist yet, cannot be written to, or if its disk lacks the room."""
    there = next(path for path in (folder, *Path(folder).absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"cannot write to {folder}: {there} is read-only or not a folder")
    free = shutil.disk_usage(there).free
    if n_bytes > free:
        raise InputError(
            f"no room for {content} in {folder}: {readable(n_bytes)} are needed, but {readable(free)} are free: free "
            f"at least {readable(n_bytes - free)} more, then run this again"
        )


def readable(n_bytes: float) -> str:
    """Format a number of bytes in decimal units, such as `3.2 GB`."""
    unit, name = next((unit for unit in ((1e9, "GB"), (1e6, "MB")) if n_bytes >= unit[0] / 10), (1e3, "kB"))
    return f"{n_bytes / unit:.3g} {name}"


def remove_left_behind(folder: Path) -> None:
    """Delete the temporary files that killed writers left in a folder and its subfolders.

    A file of a writer on another machine is deleted after this process has seen it unchanged for an hour. Times of
    change are not compared with this machine's clock, because clocks may differ.
    """
    for aside in Path(folder).rglob(".*~*"):
        if writer := TEMPORARY.fullmatch(aside.name):
            dead = is_dead(writer[1])
            with suppress(OSError):  # its writer has just renamed it, or it is a folder
                if dead or (dead is None and _seen_unchanged_s(aside) > HOUR_S):
                    aside.unlink()


def _seen_unchanged_s(path: Path) -> float:
    """Return the seconds since this process first saw the file with its present size and time of change."""
    found = path.lstat()
    state, now = (found.st_size, found.st_mtime_ns), time.monotonic()
    if path not in _seen or _seen[path][0] != state:
        _seen[path] = (state, now)
    return now - _seen[path][1]


def open_for_writing(path: Path, flags: int) -> int:
    """Return a descriptor of the file; raise InputError for pipes, folders, and links, which could lead elsewhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.EMLINK):
            raise InputError(f"{path} is a link, a pipe or a folder, and is not written to: remove it") from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise InputError(f"{path} is a link, a pipe or a folder, and is not written to: remove it")
    return handle


def _sync(path: Path, mode: int) -> None:
    """Flush a file or folder to the disk, if the file system supports it."""
    handle = os.open(path, mode)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in CANNOT_SYNC:
            raise
    finally:
        os.close(handle)
