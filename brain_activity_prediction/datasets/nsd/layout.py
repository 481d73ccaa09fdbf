"""Paths of the Natural Scenes Dataset's files under a base directory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import did_you_mean, near_path, no_such_path

NIFTI = (".nii.gz", ".nii")
VERSIONS = {"b1": "betas_assumehrf", "b2": "betas_fithrf", "b3": "betas_fithrf_GLMdenoise_RR"}
VOLUMES, SURFACES = ("func1pt8mm", "func1mm"), ("fsaverage", "nativesurface")


def _compressed_or_not(path: str) -> tuple[str, ...]:
    return tuple(path + ending for ending in NIFTI)


# Candidates in order of preference, relative to the base directory. HDF5 betas are read faster than NIfTI.
PATHS = {
    "official": {
        "design": ("nsddata/experiments/nsd/nsd_expdesign.mat",),
        "stimuli": ("nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5",),
        "betas": (
            "nsddata_betas/ppdata/{subject}/{space}/{version}/betas_session{session:02d}.hdf5",
            "nsddata_betas/ppdata/{subject}/{space}/{version}/betas_session{session:02d}.nii.gz",
            "nsddata_betas/ppdata/{subject}/{space}/{version}/betas_session{session:02d}.nii",
        ),
        "ncsnr": _compressed_or_not("nsddata_betas/ppdata/{subject}/{space}/{version}/ncsnr"),
        "valid voxels": _compressed_or_not("nsddata/ppdata/{subject}/{space}/valid_session{session:02d}"),
        "nsdgeneral": _compressed_or_not("nsddata/ppdata/{subject}/{space}/roi/nsdgeneral"),
        "roi": _compressed_or_not("nsddata/ppdata/{subject}/{space}/roi/{name}"),
        "label table": ("nsddata/freesurfer/{subject}/label/{name}.mgz.ctab",),
        "surface betas": (
            "nsddata_betas/ppdata/{subject}/{space}/{version}/{side}.betas_session{session:02d}.hdf5",
            "nsddata_betas/ppdata/{subject}/{space}/{version}/{side}.betas_session{session:02d}.mgh",
        ),
        "surface ncsnr": ("nsddata_betas/ppdata/{subject}/{space}/{version}/{side}.ncsnr.mgh",),
        "surface labels": ("nsddata/freesurfer/{mesh}/label/{name}.mgz",),
        "NSD-synthetic design": ("nsddata/experiments/nsdsynthetic/nsdsynthetic_expdesign.mat",),
        "NSD-synthetic classes": ("nsddata/experiments/nsdsynthetic/nsdsyntheticimageinformation.csv",),
        "NSD-synthetic stimuli": ("nsddata_stimuli/stimuli/nsdsynthetic/nsdsynthetic_stimuli.hdf5",),
        "NSD-synthetic colour stimuli": (
            "nsddata_stimuli/stimuli/nsdsynthetic/nsdsynthetic_colorstimuli_{subject}.hdf5",
        ),
    },
    "flat": {
        "design": ("nsd_expdesign.mat",),
        "stimuli": ("nsddata_stimuli/nsd_stimuli.hdf5", "nsddata_stimuli/nsd_stimuli_227.hdf5"),
        "betas": (
            "nsddata_sessions/{subject}/betas_session{session:02d}.hdf5",
            "nsddata_sessions/{subject}/betas_session{session:02d}.nii.gz",
            "nsddata_sessions/{subject}/betas_session{session:02d}.nii",
        ),
        "ncsnr": _compressed_or_not("nsddata_sessions/{subject}/ncsnr"),
        "valid voxels": _compressed_or_not("nsddata_sessions/{subject}/valid_session{session:02d}"),
        "nsdgeneral": _compressed_or_not("nsddata_voxels/{subject}/nsdgeneral"),
        "roi": _compressed_or_not("nsddata_roi/{subject}/{name}"),
        "label table": ("nsddata_roi/{subject}/{name}.mgz.ctab",),
    },
}
SESSION_NUMBERS = range(1, 100)  # file names have two digits; NSD has at most 40 sessions
HEMISPHERES = ("lh.", "rh.")
FAMILIES = "families"  # value of --roi that selects the unions of regions in `roi_families`; no ROI file


@dataclass(frozen=True)
class Layout:
    """The arrangement of NSD's files under `base_dir`; `layout` is "official" (as in the bucket) or "flat".

    Subjects are numbered 1 to 8 and sessions from 1, as in NSD. Every method that returns a path raises InputError with
    the expected path if the file is missing.
    """

    layout: str
    base_dir: Path
    space: str = VOLUMES[0]
    version: str = VERSIONS["b3"]
    mask: tuple[str, ...] = ("nsdgeneral",)  # names of ROI files whose union is fitted, `cortex`, or one NIfTI file

    def expected(
        self,
        kind: str,
        subject: int | None = None,
        session: int | None = None,
        name: str | None = None,
        side: str | None = None,
    ) -> list[Path]:
        """Return the possible paths of a file of this kind, the preferred path first; none of them needs to exist."""
        folder = f"subj{subject:02d}" if subject else None
        fields = {"subject": folder, "session": session, "name": name, "side": side}
        fields |= {"space": self.space, "version": self.version}
        fields["mesh"] = "fsaverage" if self.space == "fsaverage" else folder
        return [self.base_dir / path.format(**fields) for path in PATHS[self.layout][kind]]

    def stimuli(self) -> Path:
        """Return the HDF5 file of all images; the full-size file if a smaller one exists too."""
        return self.existing("stimuli")

    def design(self) -> Path:
        return self.existing("design")

    def betas(self, subject: int, session: int) -> Path:
        """Return the single-trial betas of one session; .hdf5 if both formats exist."""
        return self.existing("betas", subject=subject, session=session)

    def sessions(self, subject: int) -> list[int]:
        """Return the numbers of the sessions that have betas, ascending; raise InputError if there are none."""
        found = self._sessions_if_any(subject)
        if not found:
            expected = self.expected("betas", subject, 1)
            folder = expected[0].parent
            # If the subject's folder is missing, suggest no similar folders: they belong to other subjects.
            meant = near_path(folder) if folder.parent.is_dir() and not folder.exists() else ""
            meant = meant or self._other_betas(folder.parents[1])
            raise InputError(f"subject {subject} has no betas: expected {_either(expected)}{meant}")
        return found

    def _other_betas(self, of_subject: Path) -> str:
        """Return a hint which flags read the betas in the subject's other folders; empty if there are none."""
        for space in (self.space, *VOLUMES, *SURFACES):
            for name, version in VERSIONS.items():
                if any((of_subject / space / version).glob("*betas_session*")):
                    of_space = "" if space == self.space else f"--space {space} "
                    return f" (it has others: add {of_space}--betas {name} to read them)"
        return ""

    def has_betas(self, subject: int) -> bool:
        """Return whether any session has betas."""
        return bool(self._sessions_if_any(subject))

    def betas_files(self, subject: int) -> Iterator[Path]:
        """Yield the betas of each existing session, in order."""
        return (self.betas(subject, session) for session in self._sessions_if_any(subject))

    def _sessions_if_any(self, subject: int) -> list[int]:
        return [n for n in SESSION_NUMBERS if any(p.is_file() for p in self.expected("betas", subject, n))]

    def valid_voxels(self, subject: int, session: int) -> Path | None:
        """Return the file that marks the voxels with valid data in a session; None if this copy of NSD lacks it."""
        return next((path for path in self.expected("valid voxels", subject, session) if path.is_file()), None)

    def nsdgeneral(self, subject: int) -> Path:
        return self.existing("nsdgeneral", subject=subject)

    def ncsnr_file(self, subject: int) -> Path:
        return self.existing("ncsnr", subject=subject)

    def roi_names(self, subject: int) -> list[str]:
        """Return the sorted names, without hemisphere and ending, of all existing ROI files except nsdgeneral."""
        return sorted({without_hemisphere(name) for name in self.roi_files(subject)} - {"nsdgeneral"})

    def roi_files(self, subject: int) -> set[str]:
        """Return the names of all existing ROI files, without their ending, such as floc-faces and lh.floc-faces."""
        folder = self.expected("roi", subject, name="any")[0].parent
        return {path.name.removesuffix(ending) for ending in NIFTI for path in folder.glob(f"[!.]*{ending}")}

    def check_roi(self, subject: int, name: str) -> None:
        """Raise InputError if no ROI file, whole or of one hemisphere, has this name; nsdgeneral and families pass."""
        known = self.roi_names(subject)
        unions = (FAMILIES, *(side + FAMILIES for side in HEMISPHERES))
        if name not in {*known, *self.roi_files(subject), "nsdgeneral", *unions}:
            meant, there = did_you_mean(name, [*known, FAMILIES]), ", ".join(known) or "none"
            raise InputError(f"subject {subject} has no ROI file {name}.nii.gz{meant}; available: {there}")

    def lone_half(self, subject: int, name: str) -> str | None:
        """Return the file name, such as lh.floc-faces, of an ROI that only one hemisphere has; otherwise None."""
        there = self.roi_files(subject)
        halves = [side + name for side in HEMISPHERES if side + name in there]
        return halves[0] if name not in there and len(halves) == 1 else None

    def roi(self, subject: int, name: str) -> list[Path]:
        """Return the files of one ROI: the whole-brain file, or the two hemispheres' files if only these exist."""
        there = self.roi_files(subject)
        halves = [side + name for side in HEMISPHERES]
        wanted = halves if name not in there and there.issuperset(halves) else [name]
        return [self.existing("roi", subject=subject, name=part) for part in wanted]

    def label_table(self, subject: int, name: str) -> Path | None:
        """Return the FreeSurfer label table of an ROI file; None if missing, because NSD has tables for some ROIs only.

        A hemisphere without its own table uses the table of the whole ROI.
        """
        names = dict.fromkeys((name, without_hemisphere(name)))
        tables = [self.expected("label table", subject, name=name)[0] for name in names]
        return next((path for path in tables if path.is_file()), None)

    def existing(self, kind: str, **fields: Any) -> Path:
        """Return the preferred file of this kind; raise InputError with the expected paths if none exists."""
        expected = self.expected(kind, **fields)
        for path in expected:
            if path.is_file():
                return path
        raise InputError(f"no {kind} file in the {self.layout} layout: expected {_either(expected)}")


def find_layout(base_dir: Path | str) -> Layout:
    """Find the layout of NSD under `base_dir` by the path of the design file.

    Raises InputError unless exactly one of the two layouts has its design file.
    """
    base_dir = Path(base_dir)
    if not base_dir.is_dir():
        raise InputError(f"the base directory {no_such_path(base_dir)}")
    layouts = [Layout(name, base_dir) for name in PATHS]
    places = " or ".join(f"{layout.expected('design')[0]} ({layout.layout} layout)" for layout in layouts)
    found = [layout for layout in layouts if layout.expected("design")[0].is_file()]
    if not found:
        raise InputError(f"no NSD under {base_dir}: expected the design file at {places}")
    if len(found) > 1:
        raise InputError(f"two layouts of NSD under {base_dir}: keep only one of {places}")
    return found[0]


def without_hemisphere(name: str) -> str:
    """Return `"floc-faces"` for `"lh.floc-faces"`; other names stay unchanged."""
    for side in HEMISPHERES:
        name = name.removeprefix(side)
    return name


def _either(paths: Iterable[Path]) -> str:
    """List alternative paths in words; paths that differ only in their ending are joined: "a.nii.gz or .nii"."""
    endings: dict[str, list[str]] = {}
    for path in map(str, paths):
        ending = next((known for known in (*NIFTI, ".hdf5") if path.endswith(known)), "")
        endings.setdefault(path.removesuffix(ending), []).append(ending)
    return " or ".join(stem + " or ".join(own) for stem, own in endings.items())
