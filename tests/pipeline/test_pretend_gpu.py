"""With `-g 0`: no operation mixes tensors of the GPU and the CPU, and what comes is what the CPU gives.

Of the machine's own card, or, without one, of a card that is not there (pretend_gpu.py): that shows where tensors lie,
not what a real one's arithmetic gives.
"""

import numpy as np
import pandas as pd
import pytest
import tiny_mplug_owl
import tiny_openflamingo
import torch
from mean_colours import expected
from pretend_gpu import any_gpu, can_pretend, pretend_gpu
from scripts import load_script
from tiny_models import MODELS
from two_layers import FOLDER, MODEL

from brain_activity_prediction.align_image_embeddings import (
    align_model,
    compare_representations,
    cross_subject_ceiling,
    partition_variance,
)
from brain_activity_prediction.cli import extraction_command
from brain_activity_prediction.cross_subject import ceiling
from brain_activity_prediction.encoding.scores.score_store import QUANTITIES, ScoreStore
from brain_activity_prediction.extract_image_embeddings.prompts import PROMPTS
from brain_activity_prediction.extraction import loop
from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.pooling import POOLINGS
from brain_activity_prediction.ridge.ridge_cv import ridge_cv
from brain_activity_prediction.runtime import devices
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore

pytestmark = [
    pytest.mark.very_slow,
    pytest.mark.skipif(
        not (can_pretend() or torch.cuda.is_available()), reason="no GPU, and this torch cannot pretend to have one"
    ),
]
pretended = pytest.mark.skipif(not can_pretend(), reason="this torch has a GPU, or cannot pretend to have one")
ALPHAS = np.logspace(0, 4, 12)
SPACES = [word for layer in (0, 1) for word in ("--space", MODEL, "none", "vision", layer)]


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(devices, "check_device", lambda name: None)
    with any_gpu() as memory:
        yield memory


def on_gpu(tensor):
    return tensor.device.type == "cuda"


def run(monkeypatch, script, base_dir, *more):
    monkeypatch.setattr("sys.argv", [f"{script.__name__}.py", "-d", str(base_dir), *map(str, more)])
    script.main()


@pretended
def test_the_gpu_refuses_what_a_real_one_refuses(gpu):
    here, there = torch.ones(3), torch.ones(3, device="cuda:0")
    with pytest.raises(AssertionError, match=r"aten.add.Tensor of a tensor on the GPU and one of shape \(3,\)"):
        there + here
    with pytest.raises(RuntimeError, match="numpy"):
        there.numpy()
    with pytest.raises(AssertionError, match=r"aten\.index\.Tensor of a tensor on the GPU"):
        here[torch.tensor([0, 2]).to(there.device)]
    with pytest.raises(AssertionError, match=r"aten\.index_put_"):
        there[torch.tensor([0, 2])] = here[:2]
    assert on_gpu(there[torch.tensor([0, 2])] * torch.tensor(2.0))
    assert (there + here.to(there)).cpu().tolist() == [2, 2, 2]


@pytest.mark.parametrize("responses_on", ["cpu", "cuda:0"])
@pytest.mark.parametrize("n_features", [20, 90])
@pytest.mark.parametrize(
    "settings",
    [
        {"fit_intercept": False},
        {"fit_intercept": True},
        {"criterion": "correlation", "fit_intercept": False},
        {"criterion": "r2", "return_all_scores": True, "per_voxel": False, "fit_intercept": False},
        {"folds": [np.arange(0, 60, 3), np.arange(1, 60, 3)], "fit_intercept": False},
    ],
    ids=["as it is", "intercept", "correlation", "r2, one alpha", "given folds"],
)
def test_the_ridge_chooses_the_same_alphas_and_keeps_all_it_gives_on_the_gpu(settings, n_features, responses_on, gpu):
    rng = np.random.default_rng(0)
    X, Y = (torch.from_numpy(rng.standard_normal((60, n)).astype(np.float32)) for n in (n_features, 70))
    here = ridge_cv(X, Y, ALPHAS, **settings)
    there = ridge_cv(X.to("cuda:0"), Y.to(responses_on), ALPHAS, **settings)
    for name in ("alpha", "alpha_index", "cv_score", "loadings", "shrunken_targets"):
        assert on_gpu(getattr(there, name)), name
    assert torch.equal(there.alpha.cpu(), here.alpha)
    torch.testing.assert_close(there.predict(X.to("cuda:0")).cpu(), here.predict(X))
    torch.testing.assert_close(there.coefficients().cpu(), here.coefficients())
    torch.testing.assert_close(there.intercepts().cpu(), here.intercepts())


@pretended
def test_a_fit_takes_what_memory_the_card_has_and_no_more():
    rng = np.random.default_rng(0)
    X, Y = (torch.from_numpy(rng.standard_normal((200, n)).astype(np.float32)) for n in (150, 3000))
    here = ridge_cv(X, Y, ALPHAS, fit_intercept=False)
    peaks = []
    for n_bytes in (10 * 2**20, 2**30):
        with pretend_gpu(n_bytes) as memory:
            there = ridge_cv(X.to("cuda:0"), Y, ALPHAS, fit_intercept=False)
            assert torch.equal(there.alpha.cpu(), here.alpha)
        peaks.append(memory.peak)
    assert peaks[0] < 10 * 2**20 < peaks[1]


def write_checkpoint(name, folder):
    """A tiny network; its script."""
    if name == "mplug_owl":
        tiny_mplug_owl.write_checkpoint(folder)
        return load_script("mplug_owl_llama_7b.py")
    if name == "openflamingo":
        geometry = tiny_openflamingo.GEOMETRY
        tiny_openflamingo.write_checkpoint(folder, geometry, tiny_openflamingo.random_tensors(geometry))
        return load_script("openflamingo_9b.py")
    file_name, write = MODELS[name]
    write(folder)
    return load_script(file_name)


def everything(script, folder, device, images):
    """All streams and answers of a model on a device."""
    model, processor = script.load(Checkpoint(script.MODEL_ID, None, folder), device, torch.float32)
    pixels = script.preprocess(processor, images).to(device, torch.float32)
    streams, context = script.encode_images(model, processor, pixels, POOLINGS)
    answers = []
    for number in (1, 4) if hasattr(script, "encode_prompt") else ():
        of_prompt, said = script.encode_prompt(model, processor, context, PROMPTS[number], POOLINGS, 12)
        streams |= {f"{name} {number}": states for name, states in of_prompt.items()}
        answers += said
    return streams, answers


@pytest.mark.parametrize("name", [*MODELS, "mplug_owl", "openflamingo"])
def test_every_model_reads_and_answers_on_the_gpu(name, tmp_path, photographs):
    script = write_checkpoint(name, tmp_path / "checkpoint")
    with torch.no_grad():
        here, said_here = everything(script, tmp_path / "checkpoint", "cpu", photographs)
        with any_gpu():
            there, said_there = everything(script, tmp_path / "checkpoint", "cuda:0", photographs)
            assert all(on_gpu(states) for states in there.values())
            there = {stream: states.cpu() for stream, states in there.items()}
    assert said_here == said_there
    assert here.keys() == there.keys()
    for stream, states in here.items():
        # Weights that are drawn wide multiply the rounding of another order of sums from layer to layer.
        torch.testing.assert_close(there[stream], states, rtol=0, atol=1e-4 * float(states.abs().max()))


def test_an_extraction_on_a_gpu_is_in_half_precision(own_nsd, tmp_path, gpu):
    script = write_checkpoint("vit", tmp_path / "checkpoint")
    words = ["-d", str(own_nsd), "-g", "0", "--checkpoint", str(tmp_path / "checkpoint")]
    for more in (["--test-run"], []):
        arguments = extraction_command.flags("").parse_args([*words, *more])
        loop.extract(script, extraction_command.settings(script, arguments))
    store = EmbeddingStore(own_nsd / "image_embeddings/no_prompt/google_vit-huge-patch14-224-in21k")
    ids, _ = expected(own_nsd)
    assert store.image_ids(["vision"]).tolist() == ids.tolist()
    states = store.read_layer("vision", 1, ids)
    np.testing.assert_array_equal(states, states.astype(np.float16))


def test_an_alignment_gives_the_scores_and_statistics_of_the_cpu(ready, monkeypatch, gpu):
    results = []
    for device in ("cpu", "0"):
        run(monkeypatch, align_model, ready, "-m", MODEL, "-g", device, "--permutations", 49, "--redo")
        results.append(
            (ScoreStore(ready / FOLDER).read("vision", 1), pd.read_parquet(ready / FOLDER / "scores.parquet"))
        )
    assert gpu.peak > 0
    (here, table_here), (there, table_there) = results
    for name in QUANTITIES:
        np.testing.assert_allclose(there[name], here[name], rtol=1e-4, atol=1e-5)
    pd.testing.assert_frame_equal(table_here, table_there, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("script", "flags", "written"),
    [
        (partition_variance, ["-n", "both", *SPACES], "alignment/subj01/variance_partitioning/both/shares.parquet"),
        (compare_representations, ["-m", MODEL, "--permutations", 49], f"{FOLDER}/similarity.parquet"),
        (
            cross_subject_ceiling,
            ["-s", 1, 2, "--num-alphas", 8],
            "alignment/across_subjects/cross_subject_ceiling.parquet",
        ),
    ],
    ids=["partition_variance", "compare_representations", "cross_subject_ceiling"],
)
def test_the_other_scripts_give_the_tables_of_the_cpu(script, flags, written, ready, monkeypatch, gpu):
    monkeypatch.setattr(ceiling, "FOLDS", 3)  # of twelve images that both subjects saw
    tables = []
    for device in ("cpu", "0"):
        run(monkeypatch, script, ready, "-g", device, *flags)
        tables.append(pd.read_parquet(ready / written))
        (ready / written).unlink()
        for path in (ready / written).parent.glob("*/*.h5"):
            path.unlink()
    assert gpu.peak > 0
    pd.testing.assert_frame_equal(*tables, rtol=1e-4, atol=1e-5)
