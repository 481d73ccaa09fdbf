"""NSD's design: the image of each trial. Only this module converts 1-based NSD numbers into 0-based rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from brain_activity_prediction.datasets.nsd.matlab import LARGEST_BYTES, read_arrays
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.files import reading
from brain_activity_prediction.storage.hdf5_file import is_hdf5, open_hdf5, small_array

N_SUBJECTS = 8
SESSIONS_RUN = (40, 40, 32, 30, 40, 32, 40, 30)  # of subjects 1 to 8; the design plans 40 for all
LARGEST_COUNT = 2**31  # far above any of NSD's numbers, and exact in every type in which they are stored


@dataclass(frozen=True)
class Design:
    """NSD's experimental design. Ids, subjects, sessions and orderings count from 1, as in NSD's files."""

    path: Path
    masterordering: np.ndarray  # (n_trials,): which of a subject's images, 1..n_images, each trial shows
    subjectim: np.ndarray  # (8, n_images): NSD image ids of each subject, the shared images first
    shared_ids: np.ndarray  # (n_shared,), NSD's sharedix: ids of the images that all subjects see
    n_sessions: int

    @property
    def trials_per_session(self) -> int:
        return self.masterordering.size // self.n_sessions

    def image_ids(self, subject: int) -> np.ndarray:
        """Return the NSD ids of all images planned for a subject, (n_images,), the shared ones first."""
        if not 1 <= subject <= N_SUBJECTS:
            raise InputError(f"subject {subject} is not in NSD: its subjects are 1 to {N_SUBJECTS}")
        return self.subjectim[subject - 1]

    def image_ids_of_any(self, subjects: Iterable[int]) -> np.ndarray:
        """Return the NSD ids, ascending, of the images planned for at least one of the subjects."""
        return np.unique(np.concatenate([self.image_ids(subject) for subject in subjects]))

    def trial_ids(self, subject: int, sessions: Sequence[int]) -> np.ndarray:
        """Return the NSD image ids (n_trials,) of all trials, session by session in the given order."""
        unplanned = [session for session in sessions if not 1 <= session <= self.n_sessions]
        if unplanned:
            raise InputError(f"session {unplanned[0]} is not among the {self.n_sessions} sessions of {self.path}")
        orderings = self.masterordering.reshape(self.n_sessions, self.trials_per_session)
        shown = orderings[np.asarray(sessions, dtype=int) - 1].ravel()
        return self.image_ids(subject)[shown - 1]


def stimulus_rows(ids: npt.ArrayLike) -> np.ndarray:
    """Convert NSD ids, which count from 1, to rows of the stimulus file, which count from 0."""
    return np.asarray(ids, dtype=int) - 1


def read_design(path: Path | str) -> Design:
    """Read and check nsd_expdesign.mat, in MATLAB's v5 or v7.3 (HDF5) format.

    Raises InputError if a variable is missing, or if the variables contradict each other.
    """
    path = Path(path)
    variables = read_mat(path, ("masterordering", "subjectim", "sharedix", "basiccnt"))
    masterordering = whole_numbers(path, variables, "masterordering").ravel()
    subjectim = whole_numbers(path, variables, "subjectim")
    shared_ids = whole_numbers(path, variables, "sharedix").ravel()
    n_sessions = np.atleast_2d(variables["basiccnt"]).shape[-1]
    design = Design(path, masterordering, subjectim, shared_ids, n_sessions)
    problem = _contradiction(design)
    if problem:
        raise InputError(f"{path} is not NSD's design file: {problem}")
    return design


def read_mat(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read variables of a design file; raise InputError if one is missing."""
    with reading(path):
        if is_hdf5(path):
            with open_hdf5(path) as file:
                # MATLAB stores arrays column by column, so that HDF5 readers see the axes in reverse order.
                variables = {name: small_array(file, name, LARGEST_BYTES).T for name in names if name in file}
        else:
            variables = read_arrays(path, names)
    missing = [name for name in names if name not in variables]
    if missing:
        raise InputError(f"{path} is not NSD's design file: it holds no {', '.join(missing)}")
    return variables


def whole_numbers(path: Path, variables: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """Return a variable as integers with two axes or more; raise InputError unless they are whole numbers from 1."""
    values = np.atleast_2d(variables[name])
    counts = values.dtype.kind in "iuf" and ((values >= 1) & (values <= LARGEST_COUNT)).all()
    if not counts or (values % 1).any():
        raise InputError(f"{path} is not NSD's design file: {name} holds values that are not whole numbers from 1")
    return values.astype(int)


def _contradiction(design: Design) -> str | None:
    """Describe in a few words how the design contradicts itself; None if it does not."""
    n_subjects, n_images = design.subjectim.shape
    n_shared, n_trials = design.shared_ids.size, design.masterordering.size
    if not n_trials or not design.n_sessions:
        return f"it has {n_trials} trials in {design.n_sessions} sessions"
    if n_subjects != N_SUBJECTS:
        return f"subjectim has {n_subjects} rows instead of {N_SUBJECTS}"
    if n_shared > n_images or (design.subjectim[:, :n_shared] != design.shared_ids).any():
        return f"the first {n_shared} columns of subjectim differ from sharedix"
    if any(np.unique(row).size != n_images for row in design.subjectim):
        return "subjectim names an image twice for one subject"
    if design.masterordering.max() > n_images:
        return f"masterordering reaches {design.masterordering.max()} but subjectim has {n_images} columns"
    if n_trials % design.n_sessions:
        return f"{n_trials} trials do not divide into {design.n_sessions} sessions"
    return None
