"""Share work between processes that use one folder: no work is done twice, and no process waits for a dead one.

A process claims a piece of work, such as a layer to score, before it begins. There are no locks. A claim is a symbolic
link, because every file system, including NFS, lets only one process create a given link. The name of the link is the
piece of work. Its target names the owner (the claiming process) and the claimed parts of the work.

Every process has a file in `owners/` and renews its modification time as a heartbeat. When the process ends, the file
is renamed to NAME.left, and its claims are void. On the same machine, a dead owner is recognised at once by its process
number and start time. An owner on another machine is alive as long as its heartbeat changes. If the heartbeat does not
change for STALE_S, measured by the observing process's own clock, the owner counts as dead: its machine went down, or
Ctrl-Z stopped it. Times in files are only compared for equality, because clocks differ.

A void claim is not removed, because this could remove the claim of its successor instead. The next owner adds a link
WORK.1, WORK.2, ..., which again only one process can create. The last process to leave removes the files of all
processes. Other files in the folder are ignored and kept.

Claims only save time. Results do not depend on them, because two processes that do the same work write identical files.
On NFS, a directory listing may be up to a minute old. Work that was finished in the minute before another process began
may therefore be computed again.
"""

import errno
import math
import os
import re
import threading
import time
from collections.abc import Hashable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TypeVar

from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.processes import NAME, is_dead, own_name

HEARTBEAT_S, STALE_S = 20.0, 150.0  # NFS may show an old time of change for a minute
FRESH_S = 1.0  # time during which a check of the living owners is reused
LEFT = ".left"
OWNER = re.compile(rf"({NAME.pattern})~[0-9a-f]{{8}}")
_here: set[str] = set()  # names of the `Claims` of this process that have not ended
Part = TypeVar("Part", bound=Hashable)


class Claims:
    """The claims of one process in a folder; use it in a `with` block."""

    def __init__(self, folder: Path):
        self.folder, self.owners = Path(folder), Path(folder) / "owners"
        self.name = own_name() + f"~{os.urandom(4).hex()}"
        self._mine: dict[str, tuple[str, ...]] = {}  # names of the links of each piece of work
        self._gone: set[str] = set()
        self._living: set[str] = set()
        # Last heartbeat of each owner, and the time when this process first saw it.
        self._beats: dict[str, tuple[int, float]] = {}
        self._looked_at = -math.inf
        self._off = False
        self._end = threading.Event()

    def __enter__(self) -> "Claims":
        _here.add(self.name)
        try:
            self._register()
        except OSError as error:
            self._switch_off(error)
            return self
        self._gone = self._look()[1]
        self._remove_void()
        threading.Thread(target=self._renew, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        _here.discard(self.name)
        if self._off:
            return
        with suppress(OSError):
            os.rename(self.owners / self.name, self.owners / (self.name + LEFT))
            for work in list(self._mine):
                self.give_back(work)
            self._remove_void()

    def take(self, work: str, parts: Sequence[Part]) -> tuple[Part, ...]:
        """Claim parts of a piece of work; return, in order, the parts that no other living process has claimed."""
        if self._off:
            return tuple(parts)
        wanted = list(parts)
        for generation in count():
            link = f"{work}.{generation}" if generation else work
            path = self.folder / link
            try:
                os.symlink(f"{self.name} {' '.join(map(str, wanted))}", path)
            except FileExistsError:
                owner, held = _claim(path)
                if self._is_alive(owner):
                    wanted = [part for part in wanted if str(part) not in held]
                if not wanted:
                    return ()
            except OSError as error:
                self._switch_off(error)
                return tuple(parts)
            else:
                self._mine[work] = (*self._mine.get(work, ()), link)
                return tuple(wanted)
        raise AssertionError("count() does not end")

    def give_back(self, work: str) -> None:
        for link in self._mine.pop(work, ()):
            (self.folder / link).unlink(missing_ok=True)

    def finished(self, works: Sequence[str]) -> None:
        """Mark pieces of work as written. If no other process uses the folder, their claims are removed."""
        if not self._off and self._look()[0] == {self.name}:
            for work in works:
                self.give_back(work)

    def others_left(self) -> bool:
        """Return whether another process has ended since the last call; its results may then be new."""
        if self._off:
            return False
        before, self._gone = self._gone, self._look()[1]
        return bool(self._gone - before)

    # -- the folder -----------------------------------------------------------------------------------------------

    def _register(self) -> None:
        while True:
            with suppress(FileNotFoundError):  # the last process to leave has removed the folder just now
                if self.folder.is_symlink() or self.owners.is_symlink():  # cleaning up would delete files elsewhere
                    raise OSError(errno.ELOOP, "it is a symbolic link")
                self.owners.mkdir(parents=True, exist_ok=True)
                self._beat()
                return

    def _beat(self) -> None:
        """Renew the heartbeat of this process; if another process has removed its file, create it again."""
        path = self.owners / self.name
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            os.utime(handle)
        finally:
            os.close(handle)

    def _look(self) -> tuple[set[str], set[str]]:
        """Return the names of the living owners and of the owners that have ended."""
        living: set[str] = set()
        gone: set[str] = set()
        with suppress(FileNotFoundError), os.scandir(self.owners) as entries:
            for entry in entries:
                name = entry.name.removesuffix(LEFT)
                if OWNER.fullmatch(name):
                    (gone if entry.name.endswith(LEFT) or self._is_over(entry) else living).add(name)
        self._living, self._looked_at = living, time.monotonic()
        return living, gone

    def _is_alive(self, owner: str) -> bool:
        recent = time.monotonic() - self._looked_at < FRESH_S
        return (recent and owner in self._living) or owner in self._look()[0]

    def _is_over(self, owner: os.DirEntry[str]) -> bool:
        process = owner.name.rpartition("~")[0]
        if process == own_name():  # the file could not be renamed because the disk became read-only
            return owner.name not in _here
        if is_dead(process):
            return True
        try:
            beat, now = owner.stat(follow_symlinks=False).st_mtime_ns, time.monotonic()
        except FileNotFoundError:
            return True
        last, since = self._beats.get(owner.name, (None, now))
        if beat != last:
            self._beats[owner.name] = (beat, since := now)
        return now - since > STALE_S

    def _remove_void(self) -> None:
        """If no other process uses the folder, remove the files of ended processes, and finally the folder itself."""
        living, gone = self._look()
        if living - {self.name}:
            return
        with os.scandir(self.folder) as entries:
            links = [Path(entry.path) for entry in entries if entry.is_symlink()]
        for path in links:
            with suppress(OSError):
                if (owner := _claim(path)[0]) and owner not in living:
                    path.unlink()
        for name in gone:
            for ending in ("", LEFT):
                with suppress(OSError):
                    (self.owners / (name + ending)).unlink()
        with suppress(OSError):  # not empty: another process uses it
            self.owners.rmdir()
            self.folder.rmdir()

    def _renew(self) -> None:
        while not self._end.wait(HEARTBEAT_S):
            with suppress(OSError):
                self._beat()

    def _switch_off(self, error: OSError) -> None:
        self._off = True
        log.warning(
            f"work cannot be claimed in {self.folder} ({error.strerror}), so another process with the same command may "
            "compute the same results; they stay correct"
        )


def remove_left_claims(folder: Path) -> None:
    """Remove a folder of claims that a killed process left, unless other processes use it."""
    if folder.exists():
        with Claims(folder):
            pass


def _claim(path: Path) -> tuple[str, set[str]]:
    """Return the owner and the parts of a claim; the owner is empty if the link is gone or is not a claim."""
    try:
        owner, *parts = os.readlink(path).split(" ")
    except OSError:
        return "", set()
    return (owner, set(parts)) if OWNER.fullmatch(owner) else ("", set())
