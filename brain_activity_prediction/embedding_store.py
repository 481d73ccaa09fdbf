"""Hidden states on disk: a folder of batch files, keyed by NSD image id, that a kill at any instant leaves whole.

A folder holds `settings.json` (what changes the numbers) and `batch_*.h5`. A batch file has `image_ids` (n,) and a
dataset (n, L, W) a stream, in chunks of one layer, so that one layer is read without the others; every dataset carries
a Fletcher-32 checksum, which HDF5 verifies on reading. Text beside the states (`answers`) is stored as UTF-8 bytes.
A file appears whole or not at all (`files.written_whole`), and its name says what it holds: the same batch written
twice is one file. Letters: n images of a file, L layers, W width.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from brain_activity_prediction.errors import InputError
from brain_activity_prediction.files import reading, remove_left_behind, written_whole
from brain_activity_prediction.settings_file import first_difference, record_settings, recorded_settings

IDS, ANSWERS = "image_ids", "answers"


class EmbeddingStore:
    """The hidden states of one model, under one prompt or none."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self._files: dict[str, tuple[np.ndarray, frozenset[str]]] = {}

    # -- what is there --------------------------------------------------------------------------------------------

    def settings(self) -> dict | None:
        """What the states were made with; None where nothing has been written yet."""
        return recorded_settings(self.folder)

    def image_ids(self, streams: Sequence[str]) -> np.ndarray:
        """Ids (1-based, ascending, each once) of the images that have all of these streams."""
        self._look()
        ids = None
        for stream in streams:
            parts = [held_ids for held_ids, held in self._files.values() if stream in held]
            have = np.unique(np.concatenate(parts)) if parts else np.empty(0, dtype=np.int64)
            ids = have if ids is None else np.intersect1d(ids, have, assume_unique=True)
        return ids

    def streams(self) -> dict[str, tuple[int, int]]:
        """`{stream: (L, W)}` of the streams that any file holds, by name."""
        self._look()
        shapes = {}
        for name, (_, streams) in self._files.items():
            if not streams <= shapes.keys():
                with self._open(name) as file:
                    shapes |= {stream: file[stream].shape[1:] for stream in streams}
        return dict(sorted(shapes.items()))

    def read_layer(self, stream: str, layer: int, image_ids: Sequence[int]) -> np.ndarray:
        """The hidden states of one layer, a row an image in the order asked for: (len(image_ids), W) float32.

        Raises InputError where an image has none, saying how many and the first.
        """
        self._look()
        wanted = np.asarray(image_ids)
        found = np.zeros(len(wanted), dtype=bool)
        order = np.argsort(wanted)
        states = None
        for name, (ids, streams) in self._files.items():
            if stream not in streams:
                continue
            at = np.searchsorted(wanted, ids, sorter=order)
            rows = order[np.minimum(at, len(wanted) - 1)]
            here = (wanted[rows] == ids) & ~found[rows]
            if here.any():
                block = self._read(name, stream, layer)
                if states is None:
                    states = np.empty((len(wanted), block.shape[1]), dtype=np.float32)
                states[rows[here]] = block[here]
                found[rows[here]] = True
        if not found.all():
            raise InputError(
                f"{(~found).sum()} of {len(wanted)} images have no {stream} states in {self.folder}, "
                f"first {wanted[~found].min()}: run the extraction again, it continues where it was"
            )
        return states

    def read_answers(self) -> dict[int, str]:
        """`{image id: the model's answer}` of all images that have one."""
        self._look()
        answers = {}
        for name in self._files:
            with self._open(name) as file:
                if ANSWERS in file:
                    answers |= zip(file[IDS][:].tolist(), (text.decode() for text in file[ANSWERS][:]), strict=True)
        return answers

    # -- writing --------------------------------------------------------------------------------------------------

    def check(self, settings: Mapping) -> None:
        """Raises InputError where the folder holds states made with other settings.

        Settings that only one of the two runs has do not clash.
        """
        if difference := first_difference(self.settings() or {}, settings):
            raise InputError(
                f"{self.folder} holds states made with {difference}: use the same, or another --base-dir, or delete "
                "that folder"
            )

    def claim(self, settings: Mapping) -> None:
        """Records what the states are made with, beside what is recorded already; raises InputError as `check` does."""
        remove_left_behind(self.folder)
        self.check(settings)
        known = self.settings() or {}
        if not settings.keys() <= known.keys():
            record_settings(self.folder, known | settings)

    def write(
        self,
        image_ids: Sequence[int],
        streams: Mapping[str, np.ndarray],
        answers: Sequence[str] | None = None,
    ) -> None:
        """Adds a batch: each stream (n, L, W), a row an image id (1-based); whole or not at all."""
        ids = np.asarray(image_ids, dtype=np.int64)
        digest = hashlib.sha256(ids.tobytes() + repr(sorted(streams)).encode()).hexdigest()[:12]

        name = f"batch_{ids.min():05d}-{ids.max():05d}_{digest}.h5"
        with written_whole(self.folder / name) as path, h5py.File(path, "w", locking=False) as file:
            file.create_dataset(IDS, data=ids, chunks=ids.shape, fletcher32=True)
            for stream, states in streams.items():
                file.create_dataset(stream, data=states, chunks=(len(ids), 1, states.shape[2]), fletcher32=True)
            if answers is not None:
                assert len(answers) == len(ids), "an answer an image"
                text = np.array([answer.encode() for answer in answers])
                file.create_dataset(ANSWERS, data=text, chunks=text.shape, fletcher32=True)

    # -- files ----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Notices batch files that have come since the last look; what a file holds never changes."""
        names = sorted(path.name for path in self.folder.glob("batch_*.h5"))
        self._files = {name: self._files.get(name) or self._contents(name) for name in names}

    def _contents(self, name: str) -> tuple[np.ndarray, frozenset[str]]:
        with self._open(name) as file:
            return file[IDS][:], frozenset(file.keys() - {IDS, ANSWERS})

    def _read(self, name: str, stream: str, layer: int) -> np.ndarray:
        with self._open(name) as file:
            return file[stream][:, layer]

    @contextmanager
    def _open(self, name: str) -> Iterator[h5py.File]:
        """A batch file for reading; a damaged one is named, with the way to mend it."""
        path = self.folder / name
        with (
            reading(path, "delete it and run the extraction again"),
            h5py.File(path, "r", locking=False) as file,
        ):
            yield file
