"""Write the values of a hemisphere's vertices as GIFTI and FreeSurfer files.

GIFTI files state their hemisphere, so that Connectome Workbench does not ask for it. V is the number of vertices.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel
import numpy as np
from nibabel.gifti import GiftiDataArray, GiftiImage, GiftiLabel, GiftiLabelTable, GiftiMetaData

from brain_activity_prediction.storage.files import written_whole

STRUCTURES = {"lh": "CortexLeft", "rh": "CortexRight"}
UNLABELLED = "???"  # name of label 0 in Connectome Workbench
Label = tuple[str, tuple[float, float, float]]  # name; red, green and blue from 0 to 1


def write_values(path: Path, values: np.ndarray, hemisphere: str, names: Sequence[str]) -> None:
    """Write values (V,) or (V, n), NaN if missing, as a .func.gii file with one array for each of the n maps.

    hemisphere  lh or rh
    names       name of each map
    """
    columns = np.asarray(values, dtype=np.float32).reshape(len(values), -1).T
    arrays = [
        GiftiDataArray(
            np.ascontiguousarray(column), "NIFTI_INTENT_NONE", "NIFTI_TYPE_FLOAT32", meta=GiftiMetaData(Name=name)
        )
        for column, name in zip(columns, names, strict=True)
    ]
    _save(GiftiImage(darrays=arrays, meta=_meta(hemisphere)), path)


def write_labels(path: Path, labels: np.ndarray, hemisphere: str, name: str, table: Mapping[int, Label]) -> None:
    """Write labels (V,) as a .label.gii file.

    name   name of the map
    table  name and colour of each label; label 0 is unlabelled and has no colour
    """
    own = GiftiLabelTable()
    for number, (label_name, colour) in {0: (UNLABELLED, (0, 0, 0)), **table}.items():
        label = GiftiLabel(number, *colour, float(number != 0))
        label.label = label_name
        own.labels.append(label)
    meta = GiftiMetaData(Name=name)
    array = GiftiDataArray(np.asarray(labels, dtype=np.int32), "NIFTI_INTENT_LABEL", "NIFTI_TYPE_INT32", meta=meta)
    _save(GiftiImage(darrays=[array], labeltable=own, meta=_meta(hemisphere)), path)


def write_mgz(path: Path, values: np.ndarray) -> None:
    """Write values (V,) or (V, n) as a FreeSurfer .mgz file of shape (V, 1, 1) or (V, 1, 1, n)."""
    values = np.asarray(values, dtype=np.float32)
    volume = values.reshape(len(values), 1, 1, *values.shape[1:])
    _save(nibabel.freesurfer.MGHImage(volume, np.eye(4)), path)


def _meta(hemisphere: str) -> GiftiMetaData:
    return GiftiMetaData(AnatomicalStructurePrimary=STRUCTURES[hemisphere])


def _save(image: GiftiImage | nibabel.freesurfer.MGHImage, path: Path) -> None:
    with written_whole(path) as aside:
        nibabel.save(image, aside)
