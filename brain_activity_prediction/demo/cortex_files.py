"""Write the surfaces of a simulated subject, and NSD's transforms from its volumes to these surfaces."""

from pathlib import Path

import numpy as np
from nibabel.freesurfer import MGHImage, write_geometry

from brain_activity_prediction.demo.cortex import Cortex
from brain_activity_prediction.demo.fsaverage import nearest_of_fsaverage5
from brain_activity_prediction.surfaces.transforms import coordinate_files, fsaverage_file, transforms_folder

DEPTHS = {"layerB1": 0.25, "layerB2": 0.5, "layerB3": 0.75}  # from 0, the pial surface, to 1, the white surface
MISSING = 9999  # coordinates of a vertex outside the volume


def write_surfaces(base_dir: Path, subject: int, cortex: Cortex) -> None:
    """Write the meshes to NSD's FreeSurfer folder and the transforms to NSD's folder of transforms."""
    surf = base_dir / "nsddata" / "freesurfer" / f"subj{subject:02d}" / "surf"
    transforms = transforms_folder(base_dir, subject)
    for folder in (surf, transforms):
        folder.mkdir(parents=True, exist_ok=True)
    for side, hemisphere in cortex.hemispheres.items():
        for name, points in hemisphere.meshes.items():
            write_geometry(surf / f"{side}.{name}", points, hemisphere.faces, create_stamp="simulated")
        for name, path in coordinate_files(transforms, side).items():
            coordinates = cortex.voxel_coordinates(hemisphere.at_depth(DEPTHS[name]))
            outside = ((coordinates < 1) | (coordinates > cortex.nsdgeneral.shape)).any(axis=1)
            _write_mgz(path, np.where(outside[:, None], MISSING, coordinates))
        native = np.argsort(hemisphere.fsaverage5)  # the subject's vertex at each vertex of fsaverage5
        _write_mgz(fsaverage_file(transforms, side), native[nearest_of_fsaverage5()] + 1)


def _write_mgz(path: Path, values: np.ndarray) -> None:
    """Write values (V,) or (V, 3) as NSD does, float32 of shape (V, 1, 1) or (V, 1, 1, 3)."""
    volume = values.astype(np.float32).reshape(len(values), 1, 1, *values.shape[1:])
    MGHImage(volume, np.eye(4)).to_filename(path)
