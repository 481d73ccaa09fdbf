"""Schemas of score files: the header of each kind of file, and the axes of its arrays in HDF5.

Letters: V voxels, R regions, B resamples and P permutations of the n test images (P + 1 with the observed order), G
groups of images, k voxels with stored predictions.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from brain_activity_prediction.inference.region_statistics import StatisticsHeader
from brain_activity_prediction.storage.checked_json import checked
from brain_activity_prediction.storage.sealed_hdf5 import read_seal
from brain_activity_prediction.storage.settings_file import first_difference

STATISTICS = {
    **{"p": "V", "region_p": "R", "region_r": "BR", "region_r_permuted": "PR"},
    **{"region_r_normalised": "BR", "region_explained": "BR"},
}
DATA_USED = {"n_train", "n_test", "n_sessions", "test_repeats_mean"}
Header = TypeVar("Header", bound="ScoreHeader")


@dataclass(frozen=True, kw_only=True)
class ScoreHeader:
    """Fields of the header that all score files have. Files of version 1.0.0 do not hold their settings."""

    settings: dict[str, Any] = field(default_factory=dict)

    AXES: ClassVar[Mapping[str, str]]

    def n_regions(self) -> int | None:
        """Return the size of the axis R; None if no array has this axis."""
        return None


@dataclass(frozen=True, kw_only=True)
class OfStream(ScoreHeader):
    """Header of a file with scores or statistics of one stream."""

    stream: str
    statistics: StatisticsHeader | None = None

    def __post_init__(self):
        if not re.fullmatch(r"\w+", self.stream):
            raise ValueError(f"{self.stream!r} is no stream's name")

    def n_regions(self) -> int | None:
        return len(self.statistics.regions) if self.statistics else None


@dataclass(frozen=True, kw_only=True)
class LayerHeader(OfStream):
    layer: int
    n_layers: int

    AXES: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("alpha", "cv_score", "r", "r2"), "V"),
        **{"predicted_voxels": "k", "predicted": "nk"},
        **STATISTICS,
    }

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.layer < self.n_layers:
            raise ValueError(f"its header names layer {self.layer} of {self.n_layers}")


@dataclass(frozen=True, kw_only=True)
class BestLayersHeader(OfStream):
    AXES: ClassVar[Mapping[str, str]] = {"layer": "V", **STATISTICS}


@dataclass(frozen=True, kw_only=True)
class CeilingHeader(ScoreHeader):
    """Header of the file of noise ceilings. Files of older versions have no ceilings of regions."""

    ncsnr: str
    data_used: dict[str, float] = field(default_factory=dict)
    regions: dict[str, str] = field(default_factory=dict)
    n_test_images: int | None = None

    AXES: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("noise_ceiling", "region_voxels", "region_n_images"), "V"),
        **{"region_mean": "R", "region_influence": "GR"},
    }

    def __post_init__(self):
        if unknown := self.data_used.keys() - DATA_USED:
            raise ValueError(f"field 'data_used' names {min(unknown)!r}")

    def n_regions(self) -> int | None:
        return len(self.regions) or None


@dataclass(frozen=True, kw_only=True)
class WeightingHeader(ScoreHeader):
    weighting: list[float]

    AXES: ClassVar[Mapping[str, str]] = dict.fromkeys(("alpha", "cv_score", "r2"), "V")


def read_header(path: Path, kind: type[Header], settings: Mapping) -> Header:
    """Read the header of a score file.

    Raises ValueError if the file is damaged, is of another kind, or was made with other settings, as a file that was
    copied from the folder of another model, prompt or subject.
    """
    seal = read_seal(path)
    header = checked(seal.about, kind, "its header")
    if difference := first_difference(header.settings, settings):
        raise ValueError(f"it was made with {difference.replace('this run', 'its folder')}")
    n_regions = header.n_regions()
    seal.check_axes(kind.AXES, {} if n_regions is None else {"R": n_regions})
    return header
