"""For files of responses in formats that are not read, give a command that converts them to a format that is read."""

from __future__ import annotations

import json
import math
import mmap
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from brain_activity_prediction.storage.hdf5_file import is_hdf5

if TYPE_CHECKING:
    import h5py

READ = ("responses", "betasmd", "modelmd")  # names of arrays in HDF5 files that are read
MOST_LISTED = 10  # largest number of arrays that a message lists
PICKLE = "a pickle, which runs code when it is read"
TABLE = 'import pandas as pd; a = pd.read_{}(IN).select_dtypes("number")'
UNPICKLED = (
    "import pandas as pd; r = pd.read_pickle(IN); r = r.values() if isinstance(r, dict) else r; "
    'a = np.asarray(r if hasattr(r, "shape") else max(r, key=np.size))'
)
VOLUMES = 'import glob, nibabel as nib; i = {}; nib.save(nib.Nifti1Image(i.get_fdata(dtype="f4"), i.affine), OUT)'
# For each ending: the format's name, and Python code that loads the responses as an array `a` or writes volumes to OUT.
KINDS = {
    ".npz": ("an archive of arrays", "a = np.load(IN); a = a[a.files[0]]"),
    ".txt": ("plain text", "a = np.loadtxt(IN)"),
    ".parquet": ("a Parquet table", TABLE.format("parquet")),
    ".feather": ("a Feather table", TABLE.format("feather")),
    ".xlsx": ("a spreadsheet", TABLE.format("excel")),
    ".pkl": (PICKLE, UNPICKLED),
    ".pickle": (PICKLE, UNPICKLED),
    ".pt": ("a file of PyTorch", "import torch; a = torch.load(IN, weights_only=True).numpy()"),
    ".fif": ("a file of MNE", "import mne; a = mne.read_epochs(IN).get_data()"),
    ".set": ("a file of EEGLAB", "import mne; a = mne.read_epochs_eeglab(IN).get_data()"),
    ".zarr": ("a Zarr store", "import zarr; a = zarr.open(IN)[:]"),
    ".nc": ("a NetCDF file", "import xarray as xr; a = xr.open_dataarray(IN).squeeze().values"),
    ".head": ("a file of AFNI", VOLUMES.format("nib.load(IN)")),
    ".hdr": ("a header whose voxels are in another file", VOLUMES.format("nib.load(IN)")),
}
FOLDER = VOLUMES.format('nib.concat_images(sorted(glob.glob(IN + "/*.nii*")))')
# Python code for a dictionary `r` with this key: GLMsingle's, and that of THINGS-EEG2 (images x repetitions x ...).
DICTIONARIES = {
    "betasmd": 'a = r["betasmd"]',
    "preprocessed_eeg_data": 'a = r["preprocessed_eeg_data"]; a = a.reshape(-1, *a.shape[2:])',
}
LARGEST = 'n = max((k for k in r if k[0] != "_"), key=lambda k: np.size(r[k])); print(n, np.shape(r[n])); a = r[n]'
# Python code for an HDF5 file `f` with an array of this name: BData of bdpy, which has two spellings, and the betas of
# CNeuroMod-THINGS, of trials (by session and run) or of images.
BDATA = 'a = f["{0}"][:][:, f["{1}/value"][list(f["{1}/key"]).index(b"VoxelData")] == 1]'
LAYOUTS = {
    r"metadata/value": BDATA.format("dataset", "metadata"),
    r"metaData/value": BDATA.format("dataSet", "metaData"),
    r"[^/]+/[^/]+/betas": 'a = np.concatenate([f[s][r]["betas"] for s in f if "mask" not in s for r in f[s]])',
    r"[^/]+/betas": 'a = np.stack([f[image]["betas"] for image in f if "mask" not in image])',
}
MATLAB_5 = "it is not in HDF5 format: save it in MATLAB with -v7.3, or "


def of_other_kind(path: Path) -> str | None:
    """Return the format of a file or folder and how to convert it, as text; None if it cannot hold responses."""
    kind, code = KINDS.get(path.suffix.lower()) or (("a folder", FOLDER) if path.is_dir() else (None, ""))
    if kind is None and path.is_file() and is_hdf5(path):  # such as .nwb
        return f"it is HDF5: name it {path.stem}.h5"
    return kind and f"it is {kind}: {_conversion(path, code)}"


def pickled(path: Path) -> str:
    """Return how to convert a .npy file of Python objects; names are found in its bytes, without unpickling."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        name = next((name for name in DICTIONARIES if content.find(name.encode()) >= 0), "")
    load = f"r = np.load(IN, allow_pickle={True}); r = r.item() if isinstance(r, np.ndarray) else r"
    code = f"{load}; {DICTIONARIES.get(name, LARGEST)}"  # for the user's own shell
    return f"it is {PICKLE}: if you trust the file, {_conversion(path, code, name if name in READ else READ[0])}"


def of_matlab_5(path: Path) -> str:
    """Return how to convert a .mat file that is not HDF5."""
    return MATLAB_5 + _conversion(path, f"from scipy.io import loadmat; r = loadmat(IN); {LARGEST}")


def of_other_names(path: Path, file: h5py.File) -> str:
    """Return the arrays of an HDF5 file, none of which has a known name, and how to convert the file, as text."""
    import h5py

    shapes: dict[str, tuple[int, ...]] = {}
    file.visititems(lambda name, one: shapes.update({name: one.shape or ()}) if isinstance(one, h5py.Dataset) else None)
    if not shapes:
        return "it holds no array"
    largest = max(shapes, key=lambda name: math.prod(shapes[name]))
    layout = next((code for one, code in LAYOUTS.items() if any(re.fullmatch(one, name) for name in shapes)), None)
    code = f"f = h5py.File(IN); {layout or f'a = f[{json.dumps(largest)}][:].squeeze()'}"
    listed = ", ".join(f"{name} {shape}" for name, shape in list(shapes.items())[:MOST_LISTED])
    more = ", ..." if len(shapes) > MOST_LISTED else ""
    return f"it holds {listed}{more}, none of them named {' or '.join(READ)}: {_conversion(path, code)}"


def _conversion(path: Path, code: str, name: str = READ[0]) -> str:
    """Return a command that runs the code on the file and stores the array `a` in an HDF5 file.

    In the code, IN is the path, and OUT the path of the new file if the code writes it itself.
    """
    stem = path.with_suffix("") if path.suffix.lower() in KINDS or path.is_file() else path
    ending = ".nii.gz" if "OUT" in code else ".hdf5" if path.suffix == ".h5" else ".h5"
    if "OUT" not in code:
        code = f'import h5py, numpy as np; {code}; h5py.File(OUT, "w")["{name}"] = a'
    places = {"IN": str(path), "OUT": f"{stem.parent / stem.name.split('+')[0]}{ending}"}  # AFNI names a space after +
    code = re.sub(r"\b(IN|OUT)\b", lambda place: json.dumps(places[place[0]]), code)
    return f"convert it with python -c {shlex.quote(code)}, and move {path.name} away"
