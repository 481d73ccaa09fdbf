"""Hidden states on disk: a folder of batch files, keyed by NSD image id, that a kill at any instant leaves whole.

A folder holds `settings.json` (what changes the numbers) and `batch_*.h5`. A batch file is a sealed HDF5 file
(`sealed_hdf5`) with `image_ids` (n,) and a dataset (n, L, W) a stream, in pieces of one layer, so that one layer is
read without the others; its header says which images it holds and what they were made with, and all that is read is
checked. Text beside the states (`answers`) is stored as UTF-8 bytes. A file appears whole or not at all, and its name
says what it holds: the same batch written twice is one file. Letters: n images of a file, L layers, W width.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from brain_activity_prediction.runtime.errors import Damaged, InputError
from brain_activity_prediction.runtime.wording import count, did_you_mean
from brain_activity_prediction.storage.embeddings.batch_contents import Contents, Streams
from brain_activity_prediction.storage.embeddings.batch_header import (
    A_LAYER,
    ANSWERS,
    IDS,
    BatchFile,
    read_batch_file,
    span,
)
from brain_activity_prediction.storage.files import reading, remove_left_behind
from brain_activity_prediction.storage.sealed_hdf5 import read_array, read_piece, verify, write_sealed
from brain_activity_prediction.storage.settings_file import (
    NAME,
    comparable,
    first_difference,
    record_settings,
    recorded_settings,
)

REMEDY = "run its extraction again with --repair, which computes these images anew"
RESTORE = "run its extraction again with --repair, which restores it from the batch files"


class EmbeddingStore:
    """The hidden states of one model, under one prompt or none."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self._held = Contents()
        self._settings: dict = {}
        self._recorded = False  # the settings of this process, since its first batch
        self._known: dict | None = None  # the folder's settings, at the last look
        self._fitting: dict = {}  # the last settings of a batch that agree with these

    # -- what is there --------------------------------------------------------------------------------------------

    def settings(self) -> dict | None:
        """What the states were made with; None where there are none yet.

        Before the first batch a folder belongs to no settings, whatever a run recorded that then failed. Where
        `settings.json` was deleted, the first batch file tells.
        """
        names = self._names()
        if not names:
            return None
        recorded = recorded_settings(self.folder, RESTORE)
        if recorded is None:
            with reading(self.folder / names[0], REMEDY):
                recorded = read_batch_file(self.folder / names[0]).header.settings
        return recorded or None

    def image_ids(self, streams: Sequence[str]) -> np.ndarray:
        """Ids (1-based, ascending, each once) of the images that have all of these streams."""
        self._look()
        ids = None
        for stream in streams:
            have = np.unique(self._held.ids_with(stream))
            ids = have if ids is None else np.intersect1d(ids, have, assume_unique=True)
        return ids

    def streams(self) -> dict[str, tuple[int, int]]:
        """`{stream: (L, W)}` of the streams that any file holds, by name."""
        self._look()
        shapes = {}
        for name, _, streams in self._held:
            if not streams <= shapes.keys():
                with reading(self.folder / name, REMEDY):
                    held = read_batch_file(self.folder / name).streams
                shapes |= {stream: held[stream].shape[1:] for stream in streams}
        return dict(sorted(shapes.items()))

    def read_layer(self, stream: str, layer: int, image_ids: Sequence[int]) -> np.ndarray:
        """The hidden states of one layer, a row an image in the order asked for: (len(image_ids), W) float32.

        Raises InputError where the stream or the layer does not exist, listing those that do, and where an image has no
        states, or some that are not finite, saying how many and the first.
        """
        width = self._width(stream, layer)
        wanted = np.asarray(image_ids, dtype=np.int64)
        if len(np.unique(wanted)) < len(wanted):
            distinct, row_of = np.unique(wanted, return_inverse=True)
            return self.read_layer(stream, layer, distinct)[row_of]
        found = np.zeros(len(wanted), dtype=bool)
        order = np.argsort(wanted)
        states = np.empty((len(wanted), width), dtype=np.float32)
        for name, ids, streams in self._held:
            if stream not in streams or not len(wanted):
                continue
            at = np.searchsorted(wanted, ids, sorter=order)
            rows = order[np.minimum(at, len(wanted) - 1)]
            here = (wanted[rows] == ids) & ~found[rows]
            if here.any():
                with reading(self.folder / name, REMEDY):
                    states[rows[here]] = read_piece(self.folder / name, stream, layer)[:, 0][here]
                found[rows[here]] = True
        if not found.all():
            raise InputError(
                f"no {stream} states for {(~found).sum():,} of {count(len(wanted), 'image')} in {self.folder} "
                f"(first: image {wanted[~found].min()}): run the extraction again, it continues where it was"
            )
        with np.errstate(invalid="ignore"):
            finite = np.isfinite(states.sum(axis=1, dtype=np.float64))
        if not finite.all():
            raise InputError(
                f"{stream} is not finite for {(~finite).sum():,} of {count(len(wanted), 'image')} at layer {layer} in "
                f"{self.folder} (first: image {wanted[~finite].min()}): delete that folder and run the extraction again"
            )
        return states

    def read_answers(self, image_ids: Sequence[int] | None = None) -> dict[int, str]:
        """`{image id: the model's answer}` of all images that have one, or of those among `image_ids`.

        Of a few images the other files are not even opened, since a file's name says which ids it may hold.
        """
        wanted = None if image_ids is None else np.asarray(image_ids)
        answers = {}
        for name in self._names():
            with reading(self.folder / name, REMEDY):
                low, high = span(name)
                if wanted is not None and not ((wanted >= low) & (wanted <= high)).any():
                    continue
                file = self._read_file(name)
                if file.has_answers:
                    ids, texts = file.header.image_ids, read_array(self.folder / name, ANSWERS)
                    here = {image: text.decode() for image, text in zip(ids, texts, strict=True)}
                    answers |= {image: here[image] for image in here if wanted is None or image in wanted}
        return answers

    # -- writing --------------------------------------------------------------------------------------------------

    def check(self, settings: Mapping, implied: Mapping | None = None) -> None:
        """Raises InputError where the folder holds states made with other settings.

        Settings that only one of the two runs has do not clash. `implied` are those that an older version did not
        record.
        """
        self._refuse_others((implied or {}) | (self.settings() or {}), settings)

    def claim(self, settings: Mapping) -> None:
        """Tells what the coming batches are made with; raises InputError as `check` does.

        It is recorded with the first batch, and beside that of earlier batches at once.
        """
        remove_left_behind(self.folder)
        self.check(settings)
        self._settings, self._recorded = dict(settings), False
        if self._names():
            self._record()
        else:
            (self.folder / NAME).unlink(missing_ok=True)  # of a run that failed before its first batch

    def write(
        self,
        image_ids: Sequence[int],
        streams: Mapping[str, np.ndarray],
        answers: Sequence[str] | None = None,
    ) -> None:
        """Adds a batch: each stream (n, L, W), a row an image id (1-based); whole or not at all.

        Raises InputError where another process has meanwhile begun with other settings.
        """
        is_first = not self._recorded
        if is_first:
            self._record()
        ids = np.asarray(image_ids, dtype=np.int64)
        digest = hashlib.sha256(ids.tobytes() + repr(sorted(streams)).encode()).hexdigest()[:12]
        arrays = {IDS: ids, **streams}
        if answers is not None:
            assert len(answers) == len(ids), "an answer an image"
            arrays[ANSWERS] = np.array([answer.encode() for answer in answers])
        path = self.folder / f"batch_{ids.min():05d}-{ids.max():05d}_{digest}.h5"
        write_sealed(
            path,
            arrays,
            about={"image_ids": ids.tolist(), "settings": comparable(self._settings)},
            cuts=dict.fromkeys(streams, A_LAYER),
        )
        if is_first:  # once more: a process that began meanwhile may have taken the record for one of a failed run
            try:
                self._record()
            except InputError:
                path.unlink(missing_ok=True)
                raise
            self._recorded = True

    def repair(self) -> list[str]:
        """Deletes batch files that are damaged or of other settings, and restores a `settings.json` that is wrong.

        Returns the names of what was wrong. Reads every byte of every file. What most files were made with is right.
        """
        wrong, made_with = [], {}
        for name in self._names():
            try:
                with reading(self.folder / name, REMEDY):
                    verify(self.folder / name)
                    made_with[name] = read_batch_file(self.folder / name).header.settings
            except Damaged:
                wrong.append(name)
        try:
            recorded = recorded_settings(self.folder, RESTORE)
        except Damaged:
            recorded = None
        if made_with:
            right = _most_agreed(recorded, list(made_with.values()))
            wrong += [name for name, of in made_with.items() if first_difference(right, of)]
            if right != recorded and (right or (self.folder / NAME).exists()):
                record_settings(self.folder, right)
                wrong.append(NAME)
        for name in wrong:
            if name != NAME:
                (self.folder / name).unlink(missing_ok=True)
        self._held, self._known = Contents(), None
        return wrong

    def _record(self) -> None:
        """Records the settings unless they are; raises InputError where others are recorded, maybe just now."""
        if not self._settings:
            return
        with suppress(FileExistsError):  # the first process wins, and all others are held to its settings
            record_settings(self.folder, self._settings, first=True)
        known = recorded_settings(self.folder, RESTORE) or {}
        self._refuse_others(known, self._settings)
        if not self._settings.keys() <= known.keys():
            record_settings(self.folder, known | self._settings)

    def _refuse_others(self, known: Mapping, settings: Mapping) -> None:
        if difference := first_difference(known, settings):
            raise InputError(
                f"{self.folder} holds states made with {difference}: use the same, or another --base-dir, or delete "
                "that folder"
            )

    def _width(self, stream: str, layer: int) -> int:
        """The width W of a layer; raises InputError where there is none, listing those that there are."""
        streams = self.streams()
        if not streams:
            raise InputError(f"{self.folder} holds no hidden states{self._folders_beside()}")
        if stream not in streams:
            there = ", ".join(f"{name} (layers 0 to {n_layers - 1})" for name, (n_layers, _) in streams.items())
            meant = did_you_mean(stream, streams)
            raise InputError(f"no stream {stream} in {self.folder}{meant}: there are {there}")
        n_layers, width = streams[stream]
        if layer not in range(n_layers):
            raise InputError(f"no layer {layer} of {stream} in {self.folder}: there are layers 0 to {n_layers - 1}")
        return width

    def _folders_beside(self) -> str:
        """`: PARENT has A, B` of the folders beside this one that hold hidden states, or what to do where none does."""
        beside = sorted({path.parent.name for path in self.folder.parent.glob("*/batch_*.h5")})
        return f": {self.folder.parent} has {', '.join(beside)}" if beside else ": run an extraction script first"

    # -- files ----------------------------------------------------------------------------------------------------

    def _names(self) -> list[str]:
        with suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            return sorted(
                entry.name for entry in entries if entry.name.startswith("batch_") and entry.name.endswith(".h5")
            )
        return []

    def _look(self) -> None:
        """Notices batch files that have come since the last look; what a file holds never changes."""
        self._known = None
        self._held = self._held.of(self._names(), self._contents)

    def _read_file(self, name: str) -> BatchFile:
        """The header of a batch file; ValueError where it was made with other settings than the folder's."""
        file = read_batch_file(self.folder / name)
        if self._known is None:
            self._known, self._fitting = self.settings() or {}, {}
        made_with = file.header.settings
        if made_with != self._fitting:
            if difference := first_difference(made_with, self._known):
                raise ValueError(f"it was made with {difference.replace('this run', 'its folder')}")
            self._fitting = made_with
        return file

    def _contents(self, name: str) -> tuple[np.ndarray, Streams]:
        with reading(self.folder / name, REMEDY):
            file = self._read_file(name)
            return np.array(file.header.image_ids, dtype=np.int32), frozenset(file.streams)


def _most_agreed(recorded: Mapping | None, made_with: Sequence[Mapping]) -> Mapping:
    """The settings that most batches agree with, those that are recorded where they are among these.

    Restored settings are those of all the batches that agree.
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
