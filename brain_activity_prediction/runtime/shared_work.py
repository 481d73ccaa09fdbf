"""Share pieces of work between processes, show the progress, and stop between two pieces on a signal."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from brain_activity_prediction.runtime.claims import Claims, shared_out
from brain_activity_prediction.runtime.read_ahead import read_ahead
from brain_activity_prediction.runtime.running import fill, progress_seconds
from brain_activity_prediction.runtime.stopping import until_stopped

Piece = TypeVar("Piece")


@contextmanager
def shared_work(
    claims_folder: Path,
    unfinished: Callable[[], Sequence[Piece]],
    name: Callable[[Piece], str],
    unit: str,
    prepare: Callable[[Piece], Any] | None = None,
) -> Iterator[Iterator[tuple[Piece, Any]]]:
    """Give an iterator over the pieces of work that no other process does, each with the result of `prepare`.

    unfinished  function that lists the pieces that have no results at the time of the call
    name        function that names a piece in the claims folder
    unit        unit of the progress bar
    prepare     function that prepares the next piece in a thread while the current one is in use; None if not needed

    A piece counts as finished once the loop requests the next one. After a signal, the current piece is finished, then
    `Stopped` is raised. While other processes work on all unfinished pieces, the iterator waits.
    """

    def prepared(claimed: tuple[list[Piece], tuple]) -> list[tuple[Piece, Any]]:
        pieces, _ = claimed  # empty while waiting for other processes
        return [(piece, prepare and prepare(piece)) for piece in pieces]

    def pieces() -> Generator[tuple[Piece, Any], None, None]:
        shared = shared_out(claims, lambda: {("scores",): unfinished()}, 1, name)
        steps = (made for _, made in read_ahead(shared, prepared)) if prepare else map(prepared, shared)
        with closing(until_stopped(steps)) as until_signal:  # an error in the caller's loop must restore signals here
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
