"""Invalid base directories and files of NSD."""

import numpy as np
from bad_input import ALIGN, HTML, REPORT, VIT, Case
from spoilt_data import beside, bomb, design, file_for, loop, moved, over, read_only, stimuli, volume

from brain_activity_prediction.datasets.nsd.nsd import find_nsd

FOLDERS = [
    Case("a base directory that is not there", VIT, ["-d", "{base}/nowhere"], ["{base}/nowhere", "does not exist"]),
    Case(
        "a misspelt base directory", VIT, ["-d", "{here}/nds"], ["{here}/nds does not exist (did you mean {here}/nsd?)"]
    ),
    Case("a misspelt base directory of scores", REPORT, ["-d", "{here}/nds"], ["(did you mean {here}/nsd?)"]),
    Case("a file for a base directory", VIT, ["-d", "{here}/file"], ["{here}/file"], beside("file", "")),
    Case(
        "an empty base directory",
        VIT,
        ["-d", "{here}/empty"],
        ["no dataset is recognised in {here}/empty"],
        beside("empty", None),
    ),
    Case("a link to itself for a base directory", VIT, ["-d", "{base}/me"], ["{base}/me"], loop("me")),
    Case(
        "both layouts at once",
        VIT,
        [],
        ["two layouts", "keep only one"],
        lambda base: beside("nsd/nsd_expdesign.mat", "")(base),
    ),
    Case(
        "a design file that links to itself",
        VIT,
        [],
        ["nsd_expdesign.mat"],
        loop("nsddata/experiments/nsd/nsd_expdesign.mat"),
    ),
    Case(
        "results in a folder that cannot be written to",
        VIT,
        [],
        ["{base}/image_embeddings", "read-only"],
        read_only("image_embeddings"),
        as_root=False,
    ),
    Case(
        "results where a file is",
        VIT,
        [],
        ["{base}/image_embeddings"],
        file_for("image_embeddings"),
    ),
    Case(
        "scores in a folder that cannot be written to",
        ALIGN,
        [],
        ["{base}/alignment", "read-only"],
        read_only("alignment"),
        as_root=False,
    ),
    Case(
        "a folder that may not be entered", VIT, [], ["{base}"], lambda base: (base / "nsddata").chmod(0), as_root=False
    ),
]
DESIGN = [
    Case("an empty design file", VIT, [], ["nsd_expdesign.mat", "fetch it again"], over("design", b"")),
    Case("a web page for a design file", VIT, [], ["nsd_expdesign.mat", "fetch it again"], over("design", HTML)),
    Case("a design file cut off", VIT, [], ["nsd_expdesign.mat", "fetch it again"], over("design", 5000)),
    Case(
        "another MATLAB file",
        VIT,
        [],
        ["holds no masterordering, subjectim"],
        design(masterordering=None, subjectim=None),
    ),
    Case(
        "fewer subjects",
        ALIGN,
        [],
        ["nsd_expdesign.mat", "4 rows instead of 8"],
        design(subjectim=lambda values: values[:4]),
    ),
    Case(
        "orderings counted from 0",
        ALIGN,
        [],
        ["masterordering", "from 1"],
        design(masterordering=lambda values: values - 1),
    ),
    Case(
        "images that are not in the file",
        VIT,
        [],
        ["nsd_stimuli.hdf5 lacks 40 of 40 images (first: image 401): it holds images 1 to 246"],
        design(subjectim=lambda v: v + 400, sharedix=lambda v: v + 400),
    ),
    Case("no sessions", ALIGN, [], ["0 sessions"], design(basiccnt=lambda values: values[:, :0])),
]
STIMULI = [
    Case("no stimuli", VIT, [], ["no stimuli file", "nsd_stimuli.hdf5"], over("stimuli", None)),
    Case("a web page for the stimuli", VIT, [], ["nsd_stimuli.hdf5", "fetch it again"], over("stimuli", HTML)),
    Case("an empty file for the stimuli", VIT, [], ["nsd_stimuli.hdf5", "fetch it again"], over("stimuli", b"")),
    Case("stimuli cut off", VIT, [], ["nsd_stimuli.hdf5", "fetch it again"], over("stimuli", 9000)),
    Case("images under another name", VIT, [], ["nsd_stimuli.hdf5", "'imgBrick'"], stimuli("images")),
    Case("images as floats", VIT, [], ["float32 instead of uint8"], stimuli(dtype="float32")),
    Case("images with the channels first", VIT, [], ["(500, 3, 24, 24)"], stimuli(shape=(500, 3, 24, 24))),
    Case(
        "images of a gigapixel",
        VIT,
        [],
        ["4096 pixels"],
        stimuli(shape=(500, 30000, 30000, 3), chunks=(1, 100, 100, 3)),
    ),
    Case("too few images", VIT, [], ["images 1 to 3", "nsd_stimuli.hdf5"], stimuli(shape=(3, 24, 24, 3))),
]
RESPONSES = [
    Case("a subject without sessions", ALIGN, ["-s", "7"], ["subject 7 has no betas", "betas_session01"]),
    Case("a session that is not there", ALIGN, ["--sessions", "9"], ["session 9", "4 sessions"]),
    Case(
        "too few sessions",
        ALIGN,
        ["--sessions", "1"],
        ["add sessions"],
        design(masterordering=lambda v: np.tile(v[:, :30] % 5 + 1, 4)),
    ),
    Case("betas cut off", ALIGN, [], ["betas_session01.nii.gz", "fetch it again"], over("betas", 4000, 1, 1)),
    Case("empty betas", ALIGN, [], ["betas_session02.nii.gz", "fetch it again"], over("betas", b"", 1, 2)),
    Case("a web page for betas", ALIGN, [], ["betas_session01.nii.gz", "fetch it again"], over("betas", HTML, 1, 1)),
    Case(
        "a web page saved as .hdf5",
        ALIGN,
        [],
        ["betas_session01.hdf5", "fetch it again"],
        lambda base: find_nsd(base).betas(1, 1).with_name("betas_session01.hdf5").write_bytes(HTML),
    ),
    Case(
        "betas of another subject",
        ALIGN,
        [],
        ["betas_session03.nii.gz", "(11, 12, 9)", "betas_session01.nii.gz has (10, 12, 9)"],
        volume("betas", lambda v: np.pad(v, ((0, 1), (0, 0), (0, 0), (0, 0))), 1, 3),
    ),
    Case(
        "betas of fewer trials",
        ALIGN,
        [],
        ["betas_session03.nii.gz", "29 trials"],
        volume("betas", lambda v: v[..., 1:], 1, 3),
    ),
    Case(
        "betas with damage within",
        ALIGN,
        [],
        ["betas_session01.nii.gz", "fetch it again"],
        lambda base: (lambda path: path.write_bytes(path.read_bytes()[:-8] + bytes(8)))(find_nsd(base).betas(1, 1)),
    ),
    Case("no mask", ALIGN, [], ["nsdgeneral.nii.gz"], over("nsdgeneral", None, 1)),
    Case(
        "a mask of no voxels",
        ALIGN,
        [],
        ["nsdgeneral.nii.gz", "marks no voxel"],
        volume("nsdgeneral", lambda v: v * 0, 1),
    ),
    Case(
        "a mask of another subject",
        ALIGN,
        [],
        ["nsdgeneral.nii.gz has (10, 13, 9)", "betas_session01.nii.gz has (10, 12, 9)"],
        volume("nsdgeneral", lambda v: np.pad(v, ((0, 0), (0, 1), (0, 0))), 1),
    ),
    Case(
        "a mask that inflates to 32 GB",
        ALIGN,
        [],
        ["nsdgeneral.nii.gz", "larger than any of NSD's"],
        lambda base: bomb(find_nsd(base).nsdgeneral(1)),
    ),
    Case(
        "a misspelt region",
        ALIGN,
        ["--roi", "prf-visualroi"],
        ["prf-visualroi.nii.gz (did you mean prf-visualrois?)", "floc-faces, floc-places, prf-visualrois"],
    ),
    Case("a region outside the base directory", ALIGN, ["--roi", "../../../x"], ["../../../x", "prf-visualrois"]),
    Case(
        "a region of another shape",
        ALIGN,
        [],
        ["floc-faces.nii.gz", "(10, 12, 10)"],
        volume("roi", lambda v: np.pad(v, ((0, 0), (0, 0), (0, 1))), 1, "floc-faces"),
    ),
    Case(
        "a region moved by a voxel",
        ALIGN,
        [],
        ["floc-faces.nii.gz has (10, 12, 9)", "betas_session01.nii.gz has (10, 12, 9)", "origin -4.5", "origin -6.3"],
        moved("roi", (1.8, 0, 0), 1, "floc-faces"),
    ),
    Case(
        "a region of no whole numbers",
        ALIGN,
        [],
        ["floc-faces.nii.gz", "whole numbers"],
        volume("roi", lambda v: v * np.float32(0.7), 1, "floc-faces"),
    ),
    Case(
        "a label without a name",
        ALIGN,
        [],
        ["label 99", "label table"],
        volume("roi", lambda v: np.where(v > 0, 99, v).astype(np.int16), 1, "floc-faces"),
    ),
    Case(
        "a label table that is none",
        ALIGN,
        [],
        ["floc-faces.mgz.ctab", "number name"],
        over("label_table", b"V1v 1\n", 1, "floc-faces"),
    ),
    Case(
        "bytes for a label table",
        ALIGN,
        [],
        ["floc-faces.mgz.ctab", "fetch it again"],
        over("label_table", b"\xff\xfe\0", 1, "floc-faces"),
    ),
    Case("no ceilings of NSD's own", ALIGN, ["--ncsnr", "nsd"], ["ncsnr.nii.gz"], over("ncsnr_file", None, 1)),
    Case(
        "ceilings in percent for ratios",
        ALIGN,
        ["--ncsnr", "nsd"],
        ["ncsnr.nii.gz holds values up to", "as a noise ceiling in percent does"],
        volume("ncsnr_file", lambda v: 100 * v**2 / (v**2 + 1), 1),
    ),
    Case(
        "ceilings of another shape",
        ALIGN,
        ["--ncsnr", "nsd"],
        ["ncsnr.nii.gz", "(9, 12, 9)"],
        volume("ncsnr_file", lambda v: v[1:], 1),
    ),
]
CASES = [*FOLDERS, *DESIGN, *STIMULI, *RESPONSES]
