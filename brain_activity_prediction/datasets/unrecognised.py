"""Advise users whose folder is not recognised as a dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

# Public data that a section of docs/public_data.md converts to an experiment: the section, and patterns of its files.
SECTIONS = {
    "TVSD": ("THINGS_normMUA.mat", "monkey[FN]/THINGS_normMUA.mat"),
    "THINGS-fMRI as volumes": ("betas_vol/sub-*/ses-things*",),
    "THINGS-EEG2": ("preprocessed_eeg_training.npy", "sub-*/preprocessed_eeg_training.npy"),
    "THINGS-MEG": ("preprocessed_P[1-4]-epo.fif", "derivatives/preprocessed/preprocessed_P[1-4]-epo.fif"),
    "CNeuroMod-THINGS": ("sub-*_task-things_*_stats-trialBetas_statseries.h5",),
    "NOD, the Natural Object Dataset": ("derivatives/ciftify/sub-*/results/ses-imagenet*",),
    "BData of bdpy": ("Subject[1-5].h5",),
    "Deeprecon": ("sub-*_perception*.h5",),
    "BOLD5000's betas by region": ("BOLD5000_GLMsingle_ROI_betas", "py/CSI[1-4]_GLMbetas-*_allses_*.npy"),
    "MindEye2's copy of NSD": ("betas_all_subj0[1-8]_fp32_renorm.hdf5",),
    "Majaj and Hong": ("assy_dicarlo_MajajHong2015_public.nc",),
    "vim-1": ("EstimatedResponses.mat",),
}


def advice(base_dir: Path, recognised: Callable[[Path], Sequence[str]], patterns: Mapping[str, str]) -> str:
    """Return advice that completes the message "no dataset is recognised in DIR, ...".

    recognised  function that returns the names of the datasets in a folder
    patterns    for each dataset, a pattern of its files
    """
    for path in (base_dir.resolve().parent, *sorted(path for path in base_dir.glob("[!.]*") if path.is_dir())):
        if names := recognised(path):
            return f"but {path} has the files of {' and '.join(names)}: give that folder"
    for section, of_section in SECTIONS.items():
        if _has(base_dir, of_section):
            return f"but it has files of {section}: docs/public_data.md shows how to convert them in a few lines"
    files = "; ".join(f"{name}: {pattern}" for name, pattern in patterns.items())
    return (
        f"because datasets have these files: {files}. For an experiment of your own, bap new-dataset NEW_DIR writes a "
        "template"
    )


def _has(base_dir: Path, patterns: Sequence[str]) -> bool:
    return any(any(base_dir.glob(pattern)) for pattern in patterns)
