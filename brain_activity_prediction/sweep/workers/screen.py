"""Show the progress of a sweep. A terminal has one line for each worker, which is updated; a file gets new lines."""

import shutil
import sys
import time
from collections.abc import Sequence

from brain_activity_prediction.runtime.messages import log

SECONDS_BETWEEN_LINES = 60  # interval between progress lines in a file


class Screen:
    """Context manager that shows a progress bar over `n_units` units and each worker's current unit, on stderr."""

    def __init__(self, n_units: int, labels: Sequence[str]):
        self.n_units, self.labels = n_units, labels
        self.live = sys.stderr.isatty()
        self.shown_at = time.monotonic()

    def __enter__(self):
        from tqdm import tqdm

        if self.live:
            self.total = tqdm(total=self.n_units, unit="unit", position=0, dynamic_ncols=True)
            self.lines = [
                tqdm(bar_format="{desc}", position=place, leave=False) for place in range(1, len(self.labels) + 1)
            ]
        return self

    def __exit__(self, *_):
        if self.live:
            for line in [*reversed(self.lines), self.total]:
                line.close()

    def ended(self, text: str) -> None:
        """Print a permanent line with the outcome of a unit."""
        if self.live:
            self.total.write(text, file=sys.stderr)
            self.total.update()
        else:
            log.info(text)

    def show(self, progress: Sequence[str]) -> None:
        """Show the unit of each worker. An empty text means that the worker is idle."""
        texts = [f"{label}: {text or 'idle'}" for label, text in zip(self.labels, progress, strict=True)]
        if self.live:
            columns = shutil.get_terminal_size().columns - 1
            for line, text in zip(self.lines, texts, strict=True):
                line.set_description_str(text[:columns])
        elif time.monotonic() - self.shown_at > SECONDS_BETWEEN_LINES:
            self.shown_at = time.monotonic()
            log.info("\n".join(texts))
