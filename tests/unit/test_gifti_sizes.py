"""GIFTI files are read as by nibabel, and those that need far more memory than their size are refused before."""

import base64
import gzip
import tracemalloc
import zlib

import nibabel
import numpy as np
import pytest

from brain_activity_prediction.datasets.files.surfaces import gifti
from brain_activity_prediction.datasets.files.surfaces.gifti import open_gifti
from brain_activity_prediction.datasets.find import find_dataset
from brain_activity_prediction.report.cortex.mesh_surface import read_mesh_surface
from brain_activity_prediction.report.map_files import read_values
from brain_activity_prediction.runtime.errors import InputError

N, HUGE = 6, 2**40
VALUES = np.arange(N * 3, dtype=np.float32).reshape(N, 3)
MEMORY = 2**24  # bytes; a bomb of these tests takes four times as much
BOMB = base64.b64encode(zlib.compress(bytes(4 * MEMORY), 9)).decode()
SMALL = base64.b64encode(zlib.compress(bytes(4 * N))).decode()
EXTERNAL = {"Encoding": "ExternalFileBinary", "ExternalFileName": "values.bin", "ExternalFileOffset": "0"}


def array(text, dims=(N,), **attributes):
    about = {f"Dim{axis}": n for axis, n in enumerate(dims)} | {"Dimensionality": len(dims)}
    about |= {"Encoding": "GZipBase64Binary", "DataType": "NIFTI_TYPE_FLOAT32", "Endian": "LittleEndian"}
    about |= {"Intent": "NIFTI_INTENT_POINTSET", "ArrayIndexingOrder": "RowMajorOrder"} | attributes
    stated = " ".join(f'{name}="{value}"' for name, value in about.items())
    return f"<DataArray {stated}><Data>{text}</Data></DataArray>"


def write(path, *arrays):
    path.parent.mkdir(exist_ok=True)
    content = f'<?xml version="1.0"?><GIFTI Version="1.0">{"".join(arrays)}</GIFTI>'.encode()
    path.write_bytes(gzip.compress(content) if path.name.endswith(".gz") else content)
    return path


@pytest.mark.parametrize("encoding", ["ASCII", "Base64Binary", "GZipBase64Binary", "ExternalFileBinary"])
@pytest.mark.parametrize(("order", "axes"), [("RowMajorOrder", "C"), ("ColumnMajorOrder", "F")])
@pytest.mark.parametrize(("endian", "sign"), [("LittleEndian", "<"), ("BigEndian", ">")])
def test_arrays_of_all_encodings_are_read_as_by_nibabel(encoding, order, axes, endian, sign, tmp_path):
    content = VALUES.astype(f"{sign}f4").tobytes(axes)
    (tmp_path / "values.bin").write_bytes(bytes(8) + content)
    text = {
        "ASCII": " ".join(map(str, VALUES.ravel(axes))),
        "Base64Binary": base64.b64encode(content).decode(),
        "GZipBase64Binary": base64.b64encode(zlib.compress(content)).decode(),
        "ExternalFileBinary": "",
    }[encoding]
    about = {"Encoding": encoding, "ArrayIndexingOrder": order, "Endian": endian}
    about |= {"ExternalFileName": "values.bin", "ExternalFileOffset": "8"} if not text else {}
    path = write(tmp_path / "mesh.surf.gii", array(text, (N, 3), **about))
    read = open_gifti(path).darrays[0].data
    np.testing.assert_array_equal(read, VALUES)
    expected = nibabel.load(path).darrays[0].data
    np.testing.assert_array_equal(read, expected)
    assert (read.dtype, read.flags.writeable) == (expected.dtype, expected.flags.writeable)
    path = write(tmp_path / "mesh.surf.gii.gz", array(text, (N, 3), **about))
    np.testing.assert_array_equal(open_gifti(path).darrays[0].data, VALUES)


def responses(folder):
    find_dataset(folder).units("sub-01")


def regions(folder):
    find_dataset(folder).regions("sub-01")


def scores(folder):
    read_values(folder / "language_r.nii.gz")


def mesh(folder):
    read_mesh_surface("sub-01", folder / "volume.nii.gz", [folder / "lh.surf.gii", folder / "rh.surf.gii"])


FILES = {
    responses: ("responses/lh.sub-01.func.gii", "responses/rh.sub-01.func.gii"),
    regions: ("regions/lh.atlas.label.gii", "regions/rh.atlas.label.gii"),
    scores: ("lh.language_r.func.gii", "rh.language_r.func.gii"),
    mesh: ("lh.surf.gii", "rh.surf.gii"),
}


@pytest.fixture
def folder(tmp_path):
    rows = [f"sub-01,image_{number}.png" for number in range(4)]
    (tmp_path / "trials.csv").write_text("\n".join(["subject,image", *rows]))
    nibabel.save(nibabel.Nifti1Image(np.ones((2, 2, 2)), np.eye(4)), tmp_path / "volume.nii.gz")
    (tmp_path / "values.bin").write_bytes(bytes(4 * N))
    for file in (*FILES[responses], *FILES[regions]):
        write(tmp_path / file, *[array(SMALL)] * 4)
        (tmp_path / file).with_name("values.bin").write_bytes(bytes(4 * N))
    return tmp_path


@pytest.mark.parametrize("read", FILES)
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (array(BOMB), "it states 24 bytes of an array, which has more"),
        (array("", (HUGE,), **EXTERNAL), f"it states {4 * HUGE:,} bytes from byte 0 of values.bin, which has 24 bytes"),
    ],
)
def test_every_reader_refuses_files_that_take_far_more_memory_than_their_size(read, wrong, message, folder):
    for file in FILES[read]:
        write(folder / file, wrong)
    with pytest.raises(InputError, match=rf"{FILES[read][0]} \({message}\): "):
        read(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ((array(BOMB),), "it states 24 bytes of an array, which has more"),
        ((array("", (HUGE,), **EXTERNAL),), "bytes from byte 0 of values.bin, which has 24 bytes"),
        ((), "it holds no arrays"),
        (("<DataArray/>",), "one of its arrays has no values"),
        ((array(""),), "one of its arrays has no values"),
        ((array(SMALL, (N + 1,)),), "it states 28 bytes of an array, which has fewer"),
        ((array(SMALL, (-1, -N)),), r"it states an array of shape \(-1, -6\)"),
        ((array(SMALL, Dimensionality=10**12),), "it states 1000000000000 axes"),
        ((array("", **EXTERNAL | {"ExternalFileOffset": "4"}),), "24 bytes from byte 4 of"),
        ((array("", **EXTERNAL | {"ExternalFileName": "none.bin"}),), "should be in .*none.bin, which is not a file"),
        ((array("", **EXTERNAL | {"ExternalFileName": "."}),), "which is not a file"),
        ((array(BOMB, (MEMORY,)),), r"its content needs more than \S+ .B, but it has [\d,]+ bytes"),
        (("<DataArray/>",) * 9000, "its content needs more than"),
        ((f"<MetaData>{'A' * 4 * MEMORY}</MetaData>",), "its content needs more than"),
    ],
)
def test_what_a_file_states_of_its_arrays_is_compared_with_its_size(content, message, folder, monkeypatch):
    monkeypatch.setattr(gifti, "ROOM", MEMORY // 2)
    path = write(folder / "lh.func.gii.gz", *content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message):
            open_gifti(path)
        assert tracemalloc.get_traced_memory()[1] < 2 * MEMORY
    finally:
        tracemalloc.stop()


def test_external_files_make_room_for_their_own_values_once(folder, monkeypatch):
    monkeypatch.setattr(gifti, "ROOM", 2**17)
    (folder / "values.bin").write_bytes(bytes(2**20))
    for n, is_read in ((1, True), (90, True), (110, False)):
        path = write(folder / "lh.func.gii", *[array("", (2**18,), **EXTERNAL)] * n)
        if is_read:
            assert len(open_gifti(path).darrays) == n
        else:
            with pytest.raises(ValueError, match="its content needs more than"):
                open_gifti(path)
