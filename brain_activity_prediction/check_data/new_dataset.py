"""Write a template for your own experiment: folders and tables for images, trials and responses."""

import argparse
from pathlib import Path

import brain_activity_prediction  # noqa: F401, handles signals from here on

# isort: split
from brain_activity_prediction.cli.parser import Help, OneLineParser, add_verbosity
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.running import run_script

FOLDERS = ("images", "responses", "masks", "regions")
FILES = {
    "trials.csv": "subject,session,image\nsub-01,1,face/face_01.png\nsub-01,1,house/house_01.png\n",
    "split.csv": "image,split\nface/face_01.png,train\nhouse/house_01.png,test\n",
    "README.txt": """An experiment for brain_activity_prediction. Replace the examples, then: bap check-data DIR

images/        The pictures, as they were shown.
trials.csv     One row for each trial with a response, in the order of the responses. The image is a file in images/.
               Leave out blank trials. A session is a number from 1; without this column all trials are of session 1.
responses/     One file for each subject and session, SUBJECT_SESSION.EXT (sub-01_1.nii.gz), or one for each subject,
               SUBJECT.EXT. EXT is npy (trials x units), h5 (a dataset `responses`, or GLMsingle's `betasmd`), mat
               (GLMsingle's `modelmd`, saved as v7.3), csv (a row for each trial, below the names of units), nii.gz
               (X, Y, Z, trials), dscalar.nii, pscalar.nii, or a pair of files with lh. and rh. in front: func.gii or
               mgz. BIDS names are read too: sub-01_ses-01_run-1_betas.nii.gz. Or leave this folder empty and write
               responses.npy here: the trials of all subjects, in the order of trials.csv.
masks/         For volumes: SUBJECT.nii.gz, above 0 in the voxels to fit.
regions/       Optional. For each subject a folder SUBJECT/ (or files here for all subjects) with label files on the
               same grid or surface: NAME.nii.gz, NAME.dlabel.nii, or lh.NAME.label.gii (.annot) with rh., and names of
               labels in NAME.ctab (rows: number name). For tables: NAME.csv with a row for each unit.
ceilings_N/    Optional, for --ncsnr own: noise ceilings (percent, or 0 to 1) of means over N trials that you estimated.
               SUBJECT.EXT, one value for each unit, in a kind of file that responses may have (nii.gz: X, Y, Z).
ncsnr/         The same as ratios of signal SD to noise SD of single trials.
split.csv      Optional: train, test or exclude for each image; images without a row are training images.
""",
}


def flags() -> argparse.ArgumentParser:
    flags = OneLineParser(description=__doc__, formatter_class=Help, allow_abbrev=False)
    flags.add_argument("folder", type=Path, metavar="DIR", help="new or empty folder")
    add_verbosity(flags)
    return flags


def main() -> None:
    folder = flags().parse_args().folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is not empty: give a new folder")
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, text in FILES.items():
        (folder / name).write_text(text)
    print(f"{folder}/: {' '.join(FILES)} {' '.join(f'{name}/' for name in FOLDERS)}\nnext: bap check-data {folder}")


if __name__ == "__main__":
    run_script(main)
