"""Whatever is in a file, its reader gives an answer or an error of one line.

hypothesis chooses the mutations, TOGETHER at a time, and reduces those that go wrong to the fewest. FUZZ_INPUTS says
how many mutants of each file are read, and then they are other ones in each run; `make fuzz` reads many.
"""

import os
import signal
import time
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest
from fuzzing import mutants, wrong_with
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from brain_activity_prediction.datasets.nsd.betas import read_session
from brain_activity_prediction.datasets.nsd.design import read_design
from brain_activity_prediction.datasets.nsd.label_tables import label_names
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.nsd.regions import read_mask, region_masks
from brain_activity_prediction.datasets.nsd.stimuli import Stimuli
from brain_activity_prediction.datasets.texts.captions import Captions
from brain_activity_prediction.datasets.units import read_map
from brain_activity_prediction.encoding.scores.score_store import QUANTITIES, ScoreStore
from brain_activity_prediction.extract_image_embeddings.prompts import PROMPTS
from brain_activity_prediction.extraction.prompt_selection import read_prompts
from brain_activity_prediction.report.tables.collecting import Tables, find_scored
from brain_activity_prediction.report.tables.selection import Selection
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.nifti import read_grid

pytestmark = pytest.mark.exhaustive

INPUTS = int(os.environ.get("FUZZ_INPUTS", 150))
TOGETHER = 10  # in one process: to start it takes longer than to read a file
N_TRIALS = 30


@pytest.fixture(scope="module")
def files(official_nsd, flat_nsd, tmp_path_factory):
    """A copy of each kind of file, by the name of its reader below."""
    folder = tmp_path_factory.mktemp("fuzzed")
    official, flat = find_nsd(official_nsd), find_nsd(flat_nsd)
    variables = {name: values for name, values in loadmat(official.design()).items() if not name.startswith("__")}
    found = {
        "design": official.design(),
        "stimuli": official.stimuli(),
        "betas as NIfTI": official.betas(1, 1),
        "betas as HDF5": flat.betas(1, 1),
        "mask": official.nsdgeneral(1),
        "map": official.ncsnr_file(1),
        "labels": official.roi(1, "prf-visualrois")[0],
        "label table": official.label_table(1, "floc-faces"),
    }
    copies = {name: folder / f"{name} {path.name}" for name, path in found.items()}
    for name, path in found.items():
        copies[name].write_bytes(path.read_bytes())
    compressed, newer = folder / "compressed.mat", folder / "newer.mat"
    savemat(compressed, variables, do_compression=True)
    with h5py.File(newer, "w", userblock_size=512) as file:
        for name, values in variables.items():
            file.create_dataset(name, data=values.T, compression="gzip")
    gzipped = folder / "gzipped.hdf5"
    with h5py.File(copies["betas as HDF5"]) as file, h5py.File(gzipped, "w") as chunked:
        chunked.create_dataset(
            "betas", data=file["betas"][()], chunks=(1, *file["betas"].shape[1:]), compression="gzip", fletcher32=True
        )
    in_voxels = folder / "in chunks of a voxel.hdf5"
    with h5py.File(copies["betas as HDF5"]) as file, h5py.File(in_voxels, "w") as chunked:
        chunked.create_dataset("betas", data=file["betas"][()], chunks=(len(file["betas"]), 1, 1, 1))
    captions, prompts, json_prompts = folder / "captions.csv", folder / "prompts.yml", folder / "prompts.json"
    captions.write_text('nsd_id,caption\n1,A dog.\n2,"A cat, and ""another""."\n2,Two cats.\n')
    prompts.write_text("".join(f"{number}: {text!r}\n" for number, text in PROMPTS.items()))
    json_prompts.write_text('{"1": "What is this?", "12": "Où est le chat ?"}')
    stored = EmbeddingStore(folder / "store")
    stored.claim({"dtype": "float32"})
    stored.write([1, 2, 3, 5], {"vision": np.ones((4, 3, 6), np.float32)}, ["a dog", "two", "", "three"])
    scores = {name: np.ones(9, np.float32) for name in QUANTITIES}
    ScoreStore(folder / "scored").write("vision", 1, 3, scores)
    ScoreStore(folder / "scored").write_noise_ceiling(np.ones(9), "nsd")
    table = folder / "base/alignment/subj01/no_prompt/org_model/scores.parquet"
    table.parent.mkdir(parents=True)
    columns = {"protocol": "standard", "model_id": "org/model", "prompt": None, "stream": "vision", "layer": [0, 1]}
    columns |= {
        "layer_choice": "each",
        "subject": 1,
        "roi": "V1",
        "r": 0.5,
        "cv_score": 0.1,
        "p": [0.01, 0.5],
        "q": 0.5,
    }
    pd.DataFrame(columns).to_parquet(table, index=False)
    return copies | {
        "table of scores": table,
        "batch": next(stored.folder.glob("batch_*")),
        "settings": stored.folder / "settings.json",
        "scores": next((folder / "scored/voxels").iterdir()),
        "noise ceiling": folder / "scored/noise_ceiling.h5",
        "compressed design": compressed,
        "design of MATLAB 7.3": newer,
        "compressed betas as HDF5": gzipped,
        "betas in chunks of a voxel": in_voxels,
        "captions": captions,
        "prompts": prompts,
        "prompts as JSON": json_prompts,
    }


def design(path, mask):
    read = read_design(path)
    assert read.subjectim.shape[0] == 8
    read.trial_ids(1, range(1, read.n_sessions + 1))


def stimuli(path, mask):
    with Stimuli(path) as read:
        assert [image.mode for image in read.images([1, 5])] == ["RGB", "RGB"]


def betas(path, mask):
    assert read_session(path, mask, N_TRIALS).shape == (N_TRIALS, mask.sum())


def mask(path, mask):
    layout = SimpleNamespace(nsdgeneral=lambda subject: path, betas_files=lambda subject: [], mask=("nsdgeneral",))
    read, affine = read_mask(layout, 1)
    assert read.ndim == 3
    assert np.isfinite(affine).all()


def a_map(path, mask):
    assert read_map(path, mask, read_grid(path)).shape == (mask.sum(),)


def labels(path, mask):
    layout = SimpleNamespace(roi=lambda subject, name: [path], label_table=lambda subject, name: None)
    layout.mask = ("nsdgeneral",)
    layout.nsdgeneral, layout.betas_files = (lambda subject: path), (lambda subject: [])
    layout.roi_names, layout.check_roi = (lambda subject: ["prf-visualrois"]), (lambda subject, name: None)
    layout.roi_files, layout.lone_half = (lambda subject: {"prf-visualrois"}), (lambda subject, name: None)
    layout.expected = lambda kind, subject, name: [path.with_name("label table")]
    regions = region_masks(layout, 1, mask, ["prf-visualrois"])
    assert all(region.shape == (mask.sum(),) for region in regions.values())


def label_table(path, mask):
    names = label_names(SimpleNamespace(label_table=lambda subject, name: path), 1, "floc-faces")
    assert all(isinstance(number, int) for number in names)


def captions(path, mask):
    read = Captions(path)
    assert read.settings
    for image_id in read.by_image:
        read.check([image_id])


def prompts(path, mask):
    assert all(text.encode() for text in read_prompts(path).values())


def batch(path, mask):
    read = EmbeddingStore(path.parent)
    for stream, (n_layers, width) in read.streams().items():
        ids = read.image_ids([stream])
        for layer in range(min(n_layers, 5)):
            assert read.read_layer(stream, layer, ids).shape == (len(ids), width)
    assert all(isinstance(answer, str) for answer in read.read_answers().values())


def stored_settings(path, mask):
    assert isinstance(EmbeddingStore(path.parent).settings(), dict)


def scores(path, mask):
    read = ScoreStore(path.parents[1])
    for stream, layer, _ in read.layers():
        assert set(read.read(stream, layer)) == set(QUANTITIES)
        read.read_statistics(stream, layer)
        assert "/" not in stream


def ceiling(path, mask):
    ScoreStore(path.parent).read_noise_ceiling()


def table(path, mask):
    tables = Tables(find_scored(path.parents[4]))
    assert all(part for part in tables.selected(Selection()))


READERS = {
    "table of scores": table,
    "batch": batch,
    "settings": stored_settings,
    "scores": scores,
    "noise ceiling": ceiling,
    "design": design,
    "compressed design": design,
    "design of MATLAB 7.3": design,
    "stimuli": stimuli,
    "betas as NIfTI": betas,
    "betas as HDF5": betas,
    "compressed betas as HDF5": betas,
    "betas in chunks of a voxel": betas,
    "mask": mask,
    "map": a_map,
    "labels": labels,
    "label table": label_table,
    "captions": captions,
    "prompts": prompts,
    "prompts as JSON": prompts,
}


@pytest.mark.parametrize("kind", READERS)
def test_a_mutated_file_gives_a_result_or_one_line_never_a_crash_or_hang(kind, files, official_nsd):
    fitted, _ = read_mask(find_nsd(official_nsd), 1)
    READERS[kind](files[kind], fitted)

    @settings(
        max_examples=INPUTS // TOGETHER,
        derandomize="FUZZ_INPUTS" not in os.environ,
        database=None,
        deadline=None,
        suppress_health_check=HealthCheck,
    )
    @given(st.lists(mutants(files[kind].read_bytes()), min_size=TOGETHER, max_size=TOGETHER))
    def are_read_or_refused(together):
        contents = [mutant.data for mutant in together]
        assert not wrong_with(lambda path: READERS[kind](path, fitted), files[kind], *contents)

    are_read_or_refused()


def crash():
    os.kill(os.getpid(), signal.SIGSEGV)


def refuse(message):
    raise InputError(message)


@pytest.mark.parametrize(
    ("act", "seen"),
    [
        (crash, "ended by signal SIGSEGV"),
        (lambda: time.sleep(60), "ended by signal SIGALRM"),
        (lambda: np.ones(2**27, np.uint8), "memory"),
        (lambda: {}["name"], "KeyError('name')"),
        (lambda: refuse("two\nlines"), "more than one line"),
    ],
)
def test_what_goes_wrong_in_a_reader_is_seen(act, seen, tmp_path, monkeypatch):
    monkeypatch.setattr("fuzzing.MOST_SECONDS", 2)
    monkeypatch.setattr("fuzzing.MOST_MEMORY_KB", 2**16)
    (tmp_path / "file").write_bytes(b"good")

    def read(path):
        if path.read_bytes() == b"bad":
            act()

    assert wrong_with(read, tmp_path / "file", b"good", b"bad", b"good").startswith(seen)
    assert wrong_with(read, tmp_path / "file", b"good", b"good") == ""
    assert (tmp_path / "file").read_bytes() == b"good"
