import re
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

pytestmark = pytest.mark.very_slow

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
NARROW = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}


@pytest.fixture
def benchmarks(monkeypatch):
    """The folder on the path, as it is when one of its files is run."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def toy(benchmarks):
    import extraction
    from untrained import llava, vit

    models = {"vit": partial(vit, **NARROW), "llava": partial(llava, NARROW, NARROW)}
    return replace(extraction.SIZES["cpu"], batch=2, n_batches=2, **models)


@pytest.mark.parametrize("section", ["loop", "prompts", "usual"])
def test_each_section_of_the_extraction_benchmark_runs(section, toy, capsys, monkeypatch):
    import extraction

    monkeypatch.setattr(extraction, "peak_gigabytes", lambda *_: (2.0, 1.0))  # starts a process a way
    extraction.SECTIONS[section](toy, rounds=1)
    assert "processor time" in capsys.readouterr().out


def test_the_operations_of_a_matrix_product_are_counted(toy):
    import extraction

    left = torch.ones(16, 32)
    assert extraction.flops(lambda: left @ left.T) == 2 * 16 * 32 * 16
    assert extraction.matmul_peak(toy, n_times=1) > 0


def test_a_ratio_is_the_median_over_the_rounds(benchmarks):
    from paired import ratio

    taken = {"loop": np.array([[2.0, 1], [3, 1], [50, 1]]), "model": np.array([[1.0, 1], [1, 1], [1, 1]])}
    assert ratio(taken, "loop", "model").startswith("3.000 x")


@pytest.mark.exhaustive
def test_the_report_benchmark_runs(benchmarks, capsys, monkeypatch, tmp_path):
    import report

    monkeypatch.setattr(sys, "argv", ["report.py", "--small", "--both", "-d", str(tmp_path)])
    report.main()
    said = re.search(r"^report: .* peak .* GB\n([\d,]+) rows, report.html", capsys.readouterr().out, re.MULTILINE)
    n_rows = pd.read_parquet(tmp_path / "report" / "scores.parquet")["protocol"].value_counts()
    assert n_rows["standard"] == n_rows["paper"] == int(said[1].replace(",", "")) / 2


def test_the_store_benchmark_runs(benchmarks, capsys, monkeypatch, tmp_path):
    import store

    flags = ["--images", "20", "--layers", "2", "--width", "64", "--folder", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["store.py", *flags])
    store.main()
    assert "bytes an image and layer" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_the_surface_benchmark_runs(benchmarks, capsys, monkeypatch):
    import surfaces

    monkeypatch.setattr(sys, "argv", ["surfaces.py", "--small"])
    monkeypatch.setattr(surfaces, "N_MAPS", 1)
    surfaces.main()
    assert "2 maps of 2 subjects to fsaverage" in capsys.readouterr().out


def test_the_benchmark_of_readers_runs(benchmarks, capsys, monkeypatch, tmp_path):
    import readers

    small = {"SHAPE": (6, 7, 5), "SHAPE_1MM": (6, 7, 5), "N_VERTICES": 60, "N_NATIVE": 60, "TRIALS": 8}
    fitted = dict.fromkeys(("N_FITTED", "N_FITTED_1MM", "N_FITTED_VERTICES", "N_FITTED_NATIVE"), 9)
    for name, value in (small | fitted).items():
        monkeypatch.setattr(readers, name, value)
    for kind in ("nifti", "mgh", "hdf5", "chunks"):
        (tmp_path / kind).mkdir()
        readers.KINDS[kind](tmp_path / kind, 1, 4)
    said = capsys.readouterr().out
    assert said.count(" us a chunk, ") == 2
    for plain in ("of gzip -dc", "of reading its bytes", "of reading a contiguous copy"):
        assert plain in said


@pytest.mark.exhaustive
def test_the_banded_ridge_benchmark_finds_himalayas_choices(benchmarks, capsys):
    import banded_ridge

    try:
        banded_ridge.compare("80,12,15", 1, list(banded_ridge.CANDIDATES))
    finally:
        banded_ridge.set_backend("numpy")  # himalaya keeps it for the whole process
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [row[1].strip() for row in rows] == list(banded_ridge.CANDIDATES)
    for row in rows:
        assert int(row[5]) == 0
        assert float(row[6]) < 1e-5
        assert float(row[7]) < 1e-5


def test_the_similarity_benchmark_runs(benchmarks, capsys, monkeypatch):
    import similarity

    flags = "--images 30 --width 6 --voxels 5 --layers 3 --regions 2 --permutations 2"
    monkeypatch.setattr(sys, "argv", ["similarity.py", *flags.split()])
    similarity.main()
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split("|")[1].strip() for row in rows] == ["rsa", "cka", "rsatoolbox, rsa"]


@pytest.mark.exhaustive
def test_each_section_of_the_scale_benchmark_runs(benchmarks, capsys, monkeypatch, tmp_path):
    import scale

    monkeypatch.setattr(scale, "peak_gigabytes", lambda *_: (2.0, 1.0))  # starts a process a call
    flags = ["--design", "4", "2", "--writers", "2", "--sizes", "1040"]
    for folder, sections in (("full", ["write", "plan", "memory"]), ("empty", ["study"])):
        monkeypatch.setattr(sys, "argv", ["scale.py", *sections, *flags, "--folder", str(tmp_path / folder)])
        scale.main()
    said = capsys.readouterr().out
    assert "12 images x 9 prompts and none, 2 processes: " in said
    assert "a plan of the sweep, nothing left" in said
    assert "one layer of 1040 of them" in said
    assert re.search(r"^align +vit_huge.* [?] +[?] +[?] +0.0$", said, re.MULTILINE)


def test_the_plain_way_to_permute_finds_the_same_p_within_what_two_draws_differ_by(benchmarks):
    from significance import permutation_p, plain_permutation_p

    responses, noise = torch.randn((2, 50, 600), generator=torch.Generator().manual_seed(0))
    predicted = 0.1 * responses + noise
    plain = plain_permutation_p(responses, predicted, 199).numpy()
    ours, _ = permutation_p(responses, predicted, np.zeros((0, 600), dtype=bool), 199)
    error = np.sqrt(2 * plain * (1 - plain) / 199)
    assert np.mean(np.abs(ours - plain) < 2 * error) > 0.9
    assert abs(np.mean(ours - plain)) < 0.01


@pytest.fixture
def sizes(benchmarks, monkeypatch):
    """The benchmark of the published sizes, asking less, in this process."""
    import published_sizes

    def once(ways, rounds):
        for way in ways.values():
            way()
        return {name: np.ones((rounds, 2)) for name in ways}

    smaller = {"PROMPTS": range(1, 3), "ANSWER_TOKENS": 2, "alternate": once, "matmul_peak": lambda size: 1.0}
    for name, less in smaller.items():
        monkeypatch.setattr(published_sizes, name, less)
    monkeypatch.setattr(
        published_sizes, "peak_of", lambda call: (call() or 1.0, 0)
    )  # forgets the peak of the tests' process
    monkeypatch.setattr(published_sizes, "in_own_process", lambda *arguments: published_sizes.row(*arguments))
    monkeypatch.setattr(published_sizes.signal, "alarm", lambda seconds: None)
    return published_sizes


def run_sizes(sizes, monkeypatch, *models):
    flags = "--scale tiny --images 1 --batch 1 --largest 1"
    monkeypatch.setattr(sys, "argv", ["published_sizes.py", *models, *flags.split()])
    with pytest.raises(SystemExit) as ended:
        sizes.main()
    return ended.value.code


FURTHER = ["idefics_9b_instruct", "instruct_blip_13b", "mplug_owl_llama_7b", "openflamingo_9b"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("model", FURTHER)
def test_a_model_of_published_depth_gives_states_of_the_published_shapes(model, sizes, capsys, monkeypatch):
    if model.startswith("openflamingo"):
        pytest.importorskip("open_flamingo")
    assert run_sizes(sizes, monkeypatch, model) == 0
    row = capsys.readouterr().out.splitlines()[-1]
    assert row.startswith(f"| {model} |")
    assert "language" in row
    assert "NOT" not in row


def test_states_of_another_shape_than_the_published_are_named(sizes, capsys, monkeypatch):
    monkeypatch.setitem(sizes.STATES, "vit_huge_patch14_224_in21k", {"vision": (32, 1280)})
    run_sizes(sizes, monkeypatch, "vit_huge_patch14_224_in21k")
    assert "vision 33 x 40, NOT 32 x 40" in capsys.readouterr().out


def test_a_model_that_fails_leaves_the_others_their_rows(sizes, capsys, monkeypatch):
    def measured(model, *_):
        if model.startswith("llava"):
            raise RuntimeError("no memory")
        return (model, "measured")

    monkeypatch.setattr(sizes, "measure", measured)
    assert run_sizes(sizes, monkeypatch) == 1
    rows = capsys.readouterr().out.splitlines()[4:]
    assert len(rows) == 6
    assert [row for row in rows if "measured" not in row] == ["| llava_1.5_13b | failed: RuntimeError: no memory |"]


def test_images_that_lack_other_repeats_each_are_shuffled_too(benchmarks):
    from macaque_v4 import shuffled

    rng = np.random.default_rng(0)
    responses = np.arange(60.0 * 2 * 6).reshape(60, 2, 6)
    responses[np.broadcast_to(rng.random((60, 1, 6)) < 0.5, responses.shape)] = np.nan
    mixed = shuffled(responses, rng)
    np.testing.assert_array_equal(np.isfinite(mixed), np.isfinite(responses))
    for neuron in (0, 1):
        before, after = (np.sort(values[:, neuron].ravel()) for values in (responses, mixed))
        np.testing.assert_array_equal(before, after)
    assert (mixed == responses).sum() < 0.2 * np.isfinite(responses).sum()


def test_images_of_one_repeat_have_no_halves_and_harm_no_reliability(benchmarks):
    """The signal is as strong as the noise of one repeat, so that the mean of four has a reliability of 4 / 5."""
    from macaque_repeats import split_half_reliability

    rng = np.random.default_rng(0)
    responses = rng.standard_normal((2000, 3, 1)) + rng.standard_normal((2000, 3, 4))
    responses[:300, :, 1:] = np.nan
    assert split_half_reliability(responses, n_splits=20) == pytest.approx([0.8] * 3, abs=0.03)
