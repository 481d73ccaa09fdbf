"""Repair a folder of batch files: delete damaged files, and restore the settings that most batches agree with."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from brain_activity_prediction.runtime.errors import Damaged
from brain_activity_prediction.storage.embeddings.batch_header import batch_names, read_batch_file
from brain_activity_prediction.storage.embeddings.folder_settings import RECOMPUTE, RESTORE
from brain_activity_prediction.storage.files import reading
from brain_activity_prediction.storage.sealed_hdf5 import verify
from brain_activity_prediction.storage.settings_file import NAME, first_difference, record_settings, recorded_settings


def repair_folder(folder: Path) -> list[str]:
    """Delete batch files that are damaged or have other settings, and restore a wrong `settings.json`.

    Return the names of the deleted and restored files. Every byte of every file is read.
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
    """Return the settings that most batches agree with; in a tie, prefer the recorded settings.

    Settings that are not recorded are completed from all batches that agree with them.
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
