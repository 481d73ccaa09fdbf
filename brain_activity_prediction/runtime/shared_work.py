"""Share pieces of work between processes, show the progress, and stop after the current piece on a signal."""

import time
from collections.abc import Callable, Generator, Hashable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from brain_activity_prediction.runtime.claims import Claims
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.read_ahead import read_ahead
from brain_activity_prediction.runtime.running import fill, progress_seconds
from brain_activity_prediction.runtime.stopping import until_stopped

POLL_S = 0.5  # time between two checks of the progress of other processes
Piece = TypeVar("Piece")
Key = TypeVar("Key", bound=Hashable)
Part = TypeVar("Part", bound=Hashable)


@contextmanager
def shared_work(
    claims_folder: Path,
    unfinished: Callable[[], Sequence[Piece]],
    name: Callable[[Piece], str],
    unit: str,
    prepare: Callable[[Piece], Any] | None = None,
) -> Iterator[Iterator[tuple[Piece, Any]]]:
    """Return an iterator over the pieces of work that no other process does, each with the result of `prepare`.

    unfinished  function that lists the pieces that have no results when it is called
    name        function that names a piece in the claims folder
    unit        unit of the progress bar
    prepare     function that prepares the next piece in a thread while the current one is in use; None if not needed

    A piece counts as finished when the loop requests the next one. After a signal, the current piece is finished and
    `Stopped` is raised. While other processes work on all unfinished pieces, the iterator waits.
    """

    def prepared(claimed: tuple[list[Piece], tuple]) -> list[tuple[Piece, Any]]:
        pieces, _ = claimed  # empty while waiting for other processes
        return [(piece, prepare and prepare(piece)) for piece in pieces]

    def pieces() -> Generator[tuple[Piece, Any], None, None]:
        shared = shared_out(claims, lambda: {("scores",): unfinished()}, 1, name)
        steps = (made for _, made in read_ahead(shared, prepared)) if prepare else map(prepared, shared)
        with closing(until_stopped(steps)) as until_signal:  # restores signals after an error in the caller's loop
            for ready in until_signal:
                for piece, made in ready:
                    yield piece, made
                    claims.finished([name(piece)])
                    progress.update()

    n_unfinished = len(unfinished())
    bar = tqdm(total=n_unfinished, unit=unit, mininterval=progress_seconds(), disable=not n_unfinished)
    with Claims(claims_folder) as claims, bar as progress, closing(pieces()) as work:
        yield work
        if n_unfinished:
            fill(progress)


def shared_out(
    claims: Claims, left: Callable[[], Mapping[tuple[Part, ...], Sequence[Key]]], size: int, name: Callable[[Key], str]
) -> Iterator[tuple[list[Key], tuple[Part, ...]]]:
    """Yield unclaimed work until none is left: up to `size` keys at a time, all of which lack the same parts.

    left  function that returns the work whose results are not yet written, `{parts: keys}`

    While other processes work on everything that is left, the iterator yields ([], ()) every POLL_S, so that the caller
    can finish earlier work and stop.
    """
    given: dict[Key, frozenset[Part]] = {}
    reported, none = False, frozenset[Part]()
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
                now = frozenset(parts)  # one object shared by all keys, to save memory
                given |= {key: now | given[key] if key in given else now for key in keys}
                yield keys, parts
        if not n_given:
            if not reported:
                n = sum(map(len, todo.values()))
                log.info(f"other processes work on the last {n}; waiting for them")
            reported = True
            time.sleep(POLL_S)
            yield [], ()


def _claimed(
    claims: Claims, todo: Mapping[tuple[Part, ...], Sequence[Key]], size: int, name: Callable[[Key], str]
) -> Generator[tuple[list[Key], tuple[Part, ...]], None, None]:
    ready: dict[tuple[Part, ...], list[Key]] = {}
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
