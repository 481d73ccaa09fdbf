"""Sharing work out between processes that see one folder: nothing is computed twice, and nobody waits for the dead.

No locks: a claim is a symbolic link, which the file system, NFS's server too, creates for one process and refuses to
all others. Its name is the piece of work, its target says whose it is and which parts. A process has a file in
`owners/` whose modification time it renews; when it ends, the file is renamed to NAME.left, and its claims are void. On
one machine a dead owner is known at once, by its number and start; one on another machine counts as dead when its file
has not been renewed for STALE_S. A void claim is not removed, which could hit its successor, but followed by a link
WORK.1, WORK.2, ... that again only one process can create. The last process to leave removes everything.

Claims save work; results never depend on them, since what is written twice is written the same. On NFS a listing may
lag by up to a minute, so that what was finished in the minute in which another process began may be computed again.
"""

import math
import os
import sys
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from typing import TypeVar

from brain_activity_prediction.processes import is_dead, own_name
from brain_activity_prediction.wording import are

HEARTBEAT_S, STALE_S = 30.0, 300.0
POLL_S = 0.5  # between two looks at what others are at work on
FRESH_S = 1.0  # how long a look at who is alive is good enough to leave a claim to its owner
LEFT = ".left"
_here: set[str] = set()  # owners of this process that have not ended
Key = TypeVar("Key", bound=Hashable)
Part = TypeVar("Part", bound=Hashable)


class Claims:
    """The claims of one process in a folder; use it in a `with` block."""

    def __init__(self, folder: Path):
        self.folder, self.owners = Path(folder), Path(folder) / "owners"
        self.name = own_name() + f"~{os.urandom(4).hex()}"
        self._mine: dict[str, tuple[str, ...]] = {}  # names of the links of each piece of work
        self._gone: set[str] = set()
        self._living: set[str] = set()
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

    def __exit__(self, *_) -> None:
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
        """Claims parts of a piece of work: those that no living process has, in the same order, maybe none."""
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

    def give_back(self, work: str) -> None:
        for link in self._mine.pop(work, ()):
            (self.folder / link).unlink(missing_ok=True)

    def finished(self, works: Sequence[str]) -> None:
        """Says that pieces of work are written. Without others about, their claims are of no use any more."""
        if not self._off and self._look()[0] == {self.name}:
            for work in works:
                self.give_back(work)

    def others_left(self) -> bool:
        """Whether, since the last call, another process has ended: what it finished has then to be looked for."""
        if self._off:
            return False
        before, self._gone = self._gone, self._look()[1]
        return bool(self._gone - before)

    # -- the folder -----------------------------------------------------------------------------------------------

    def _register(self) -> None:
        while True:
            with suppress(FileNotFoundError):  # the last process to leave has removed the folder just now
                self.owners.mkdir(parents=True, exist_ok=True)
                (self.owners / self.name).touch()
                return

    def _look(self) -> tuple[set[str], set[str]]:
        """Names of the living owners, and of those that have ended."""
        living, gone = set(), set()
        with suppress(FileNotFoundError), os.scandir(self.owners) as entries:
            for entry in entries:
                (gone if entry.name.endswith(LEFT) or self._is_over(entry) else living).add(
                    entry.name.removesuffix(LEFT)
                )
        self._living, self._looked_at = living, time.monotonic()
        return living, gone

    def _is_alive(self, owner: str) -> bool:
        recent = time.monotonic() - self._looked_at < FRESH_S
        return (recent and owner in self._living) or owner in self._look()[0]

    def _is_over(self, owner: os.DirEntry) -> bool:
        process = owner.name.rpartition("~")[0]
        if process == own_name():  # one that could not be renamed, on a disk that became read-only
            return owner.name not in _here
        dead = is_dead(process)
        if dead is not None:
            return dead
        with suppress(FileNotFoundError):  # times by one clock, the file server's
            return (self.owners / self.name).stat().st_mtime - owner.stat().st_mtime > STALE_S
        return True

    def _remove_void(self) -> None:
        """Where no other process is about, removes what those before left, and at the end the folder itself."""
        living, gone = self._look()
        if living - {self.name}:
            return
        with os.scandir(self.folder) as entries:
            links = [Path(entry.path) for entry in entries if entry.is_symlink()]
        for path in links:
            with suppress(OSError):
                if _claim(path)[0] not in living:
                    path.unlink()
        for name in gone:
            for ending in ("", LEFT):
                (self.owners / (name + ending)).unlink(missing_ok=True)
        with suppress(OSError):  # somebody is there
            self.owners.rmdir()
            self.folder.rmdir()

    def _renew(self) -> None:
        while not self._end.wait(HEARTBEAT_S):
            with suppress(OSError):
                os.utime(self.owners / self.name)

    def _switch_off(self, error: OSError) -> None:
        self._off = True
        print(
            f"no claims in {self.folder} ({error.strerror}): another process in this folder may compute the same",
            file=sys.stderr,
        )


def remove_left_claims(folder: Path) -> None:
    """Removes a folder of claims that a killed process left, unless others are about."""
    if folder.exists():
        with Claims(folder):
            pass


def shared_out(
    claims: Claims, left: Callable[[], Mapping[tuple[Part, ...], Sequence[Key]]], size: int, name: Callable[[Key], str]
) -> Iterator[tuple[list[Key], tuple[Part, ...]]]:
    """Work that no other process is at, up to `size` keys that lack the same parts at a time; ends when none is left.

    `left` looks afresh at what is not yet written: `{parts: keys}`. While other processes are at work on all that is
    left, it gives ([], ()) every POLL_S, so that whoever asks may finish what was given before, and stop.
    """
    given: dict[Key, frozenset[Part]] = {}
    said, none = False, frozenset()
    while True:
        todo = {
            parts: [key for key in keys if not given.get(key, none).issuperset(parts)] for parts, keys in left().items()
        }
        if not any(todo.values()):
            return
        n_given = 0
        with closing(_claimed(claims, todo, size, name)) as batches:
            for keys, parts in batches:
                n_given += 1
                if claims.others_left():
                    for key in keys:
                        claims.give_back(name(key))
                    break
                now = frozenset(parts)  # one for all of them
                given |= {key: now | given[key] if key in given else now for key in keys}
                yield keys, parts
        if not n_given:
            if not said:
                n = sum(map(len, todo.values()))
                print(f"{n} {are(n)} in the hands of other processes: waiting", file=sys.stderr)
            said = True
            time.sleep(POLL_S)
            yield [], ()


def _claimed(claims, todo, size, name) -> Iterator[tuple[list, tuple]]:
    ready: dict[tuple, list] = {}
    try:
        for parts, keys in todo.items():
            for key in keys:
                if taken := claims.take(name(key), parts):
                    ready.setdefault(taken, []).append(key)
                    if len(ready[taken]) == size:
                        yield ready.pop(taken), taken
            for taken in list(ready):
                yield ready.pop(taken), taken
    finally:
        for keys in ready.values():
            for key in keys:
                claims.give_back(name(key))


def _claim(path: Path) -> tuple[str, set[str]]:
    """Whose a claim is and for which parts; nobody's where it has just gone."""
    try:
        owner, *parts = os.readlink(path).split(" ")
    except OSError:
        return "", set()
    return owner, set(parts)
