"""Record the settings of a folder of batch files, refuse batches made with other settings, and repair a folder.

The first batch fixes the settings. If a run failed before its first batch, its recorded settings are ignored.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from brain_activity_prediction.runtime.errors import Damaged, InputError
from brain_activity_prediction.storage.embeddings.batch_files import batch_names, read_batch_file
from brain_activity_prediction.storage.files import reading, remove_left_behind
from brain_activity_prediction.storage.sealed_hdf5 import verify
from brain_activity_prediction.storage.settings_file import (
    NAME,
    comparable,
    first_difference,
    record_settings,
    recorded_settings,
)

RECOMPUTE = "run its extraction again with --repair, which computes these images again"
RESTORE = "run its extraction again with --repair, which restores it from the batch files"


class FolderSettings:
    """The recorded settings of a folder, and the settings of the batches that this process adds."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._own: dict = {}  # settings of the batches that this process will write
        self._own_recorded = False
        self._known: dict | None = None  # settings of the folder, if read since the last `forget`
        self._agreeing: dict = {}  # settings of the last batch that agreed with `_known`

    def read(self) -> dict | None:
        """Return the folder's settings; None before the first batch.

        If `settings.json` was deleted, they are read from the first batch file.
        """
        names = batch_names(self.folder)
        if not names:
            return None
        recorded = recorded_settings(self.folder, RESTORE)
        if recorded is None:
            with reading(self.folder / names[0], RECOMPUTE):
                recorded = read_batch_file(self.folder / names[0]).header.settings
        return recorded or None

    def check(self, settings: Mapping, implied: Mapping | None = None) -> None:
        """Raise InputError if the folder was made with other settings; keys that one of the two lacks are ignored.

        implied  settings that an older version used but did not record
        """
        self._refuse_others({**(implied or {}), **(self.read() or {})}, settings)

    def claim(self, settings: Mapping) -> None:
        """Set the settings of the batches to write; raise InputError if the folder has other settings.

        The settings are recorded immediately if the folder has batches, otherwise together with the first batch.
        """
        remove_left_behind(self.folder)
        self.check(settings)
        self._own, self._own_recorded = dict(settings), False
        if batch_names(self.folder):
            self._record()
        else:
            (self.folder / NAME).unlink(missing_ok=True)  # left by a run that failed before its first batch

    @contextmanager
    def recorded_with(self, path: Path) -> Iterator[dict]:
        """Record the claimed settings while the block writes a batch file; yield the settings for the file's header.

        If another process has recorded other settings in the meantime, deletes the file and raises InputError.
        """
        if self._own_recorded:
            yield comparable(self._own)
            return
        self._record()
        yield comparable(self._own)
        try:  # record again, because another process may have deleted the record like that of a failed run
            self._record()
        except InputError:
            path.unlink(missing_ok=True)
            raise
        self._own_recorded = True

    def check_batch(self, made_with: Mapping) -> None:
        """Raise ValueError if a batch file was made with other settings than the folder's."""
        if self._known is None:
            self._known, self._agreeing = self.read() or {}, {}
        if made_with != self._agreeing:
            if difference := first_difference(made_with, self._known):
                raise ValueError(f"it was made with {difference.replace('this run', 'its folder')}")
            self._agreeing = dict(made_with)

    def forget(self) -> None:
        """Make `check_batch` read the folder's settings again at its next call."""
        self._known = None

    def _record(self) -> None:
        """Record the claimed settings; raise InputError if another process has recorded other settings."""
        if not self._own:
            return
        with suppress(FileExistsError):  # the first process decides; all others must have the same settings
            record_settings(self.folder, self._own, first=True)
        known = recorded_settings(self.folder, RESTORE) or {}
        self._refuse_others(known, self._own)
        if not self._own.keys() <= known.keys():
            record_settings(self.folder, known | self._own)

    def _refuse_others(self, known: Mapping, settings: Mapping) -> None:
        if difference := first_difference(known, settings):
            raise InputError(
                f"{self.folder} holds states made with {difference}: use the same settings or another --base-dir, "
                "or delete this folder"
            )


def repair_folder(folder: Path) -> list[str]:
    """Delete batch files that are damaged or have other settings, and restore a wrong `settings.json`.

    Returns the names of the deleted and restored files. Every byte of every file is read.
    """
    wrong, made_with = [], {}
    for name in batch_names(folder):
        try:
            with reading(folder / name, RECOMPUTE):
                verify(folder / name)
                made_with[name] = read_batch_file(folder / name).header.settings
        except Damaged:
            wrong.append(name)
    try:
        recorded = recorded_settings(folder, RESTORE)
    except Damaged:
        recorded = None
    restored = made_with and most_agreed(recorded, list(made_with.values()))
    wrong += [name for name, settings in made_with.items() if first_difference(restored, settings)]
    for name in wrong:
        (folder / name).unlink(missing_ok=True)
    if made_with and restored != recorded and (restored or (folder / NAME).exists()):
        record_settings(folder, restored)
        wrong.append(NAME)
    return wrong


def most_agreed(recorded: Mapping | None, made_with: Sequence[Mapping]) -> Mapping:
    """Return the settings with which most batches agree; in a tie, the recorded settings.

    Unless the recorded settings are returned, the result has the settings of all batches that agree with it.
    """
    texts = Counter(json.dumps(one, sort_keys=True) for one in made_with)
    kinds = [(json.loads(text), count) for text, count in texts.items()]

    def batches_that_agree(settings: Mapping) -> int:
        return sum(count for kind, count in kinds if not first_difference(settings, kind))

    right, _ = max(kinds, key=lambda kind: (batches_that_agree(kind[0]), len(kind[0])))
    if recorded is not None and batches_that_agree(recorded) >= batches_that_agree(right):
        return recorded
    for kind, _ in kinds:
        right = right if first_difference(right, kind) else {**kind, **right}
    return right
