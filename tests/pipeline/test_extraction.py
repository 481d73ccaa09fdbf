import os
import re
import shlex
import signal
import sys
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from mean_colours import assert_all_there, colours, expected, extract, store

from brain_activity_prediction.align_image_embeddings import align_model
from brain_activity_prediction.cli import extraction_command
from brain_activity_prediction.extract_image_embeddings.prompts import PROMPTS
from brain_activity_prediction.extraction import loop
from brain_activity_prediction.extraction.plan import plan
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.stopping import Stopped
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.measured_rate import read_rate

pytestmark = pytest.mark.slow


def test_every_image_of_the_subject_is_stored_under_its_own_id(own_nsd):
    extract(colours(), own_nsd, "-b", 16, "-p", "2")
    ids, mean_colours = expected(own_nsd)
    for layer in range(3):
        vision = store(own_nsd, "no_prompt").read_layer("vision", layer, ids)
        np.testing.assert_allclose(vision, mean_colours * (layer + 1), rtol=1e-6)
        language = store(own_nsd, "prompt_2").read_layer("language", layer, ids)
        np.testing.assert_allclose(language, mean_colours * (layer + 1) * 20, rtol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 40, 1000])
def test_the_batch_size_changes_no_number_and_the_last_batch_may_be_partial(own_nsd, batch_size):
    extract(colours(), own_nsd, "-b", batch_size)
    ids, mean_colours = expected(own_nsd)
    assert store(own_nsd, "no_prompt").image_ids(["vision"]).tolist() == ids.tolist()
    np.testing.assert_allclose(store(own_nsd, "no_prompt").read_layer("vision", 0, ids), mean_colours, rtol=1e-6)


def test_several_prompts_run_the_image_part_once(own_nsd):
    calls = []
    extract(colours(calls), own_nsd, "-b", 8, "-p", "1-9")
    ids, mean_colours = expected(own_nsd)
    assert sum(calls) == len(ids)
    for number in PROMPTS:
        found = store(own_nsd, f"prompt_{number}").read_layer("language", 0, ids)
        np.testing.assert_allclose(found, mean_colours * 10 * number, rtol=1e-6)


def test_a_prompt_is_computed_while_the_one_before_is_written(own_nsd, monkeypatch):
    script, second_again = colours(), threading.Event()
    encode_prompt, write = script.encode_prompt, EmbeddingStore.write
    computed, in_time = [], []

    def encode(model, processor, context, text, *more):
        computed.append(text)
        if computed.count(PROMPTS[2]) == 2:  # the first batch is computed before any of it is written
            second_again.set()
        return encode_prompt(model, processor, context, text, *more)

    def write_later(self, image_ids, *more):
        if self.folder.parent.name == "prompt_1" and computed.count(PROMPTS[1]) == 2:
            in_time.append(second_again.wait(timeout=5))
        write(self, image_ids, *more)

    script.encode_prompt = encode
    monkeypatch.setattr(EmbeddingStore, "write", write_later)
    extract(script, own_nsd, "-b", 20, "-p", "1-2")
    assert in_time == [True]
    assert_all_there(own_nsd, [1, 2])


def test_a_second_run_computes_nothing_and_a_new_prompt_only_itself(own_nsd):
    calls = []
    extract(colours(calls), own_nsd, "-p", "1", "2")
    files = sorted(own_nsd.rglob("batch_*"))
    calls.clear()
    extract(colours(calls), own_nsd, "-p", "1", "2")
    assert not calls
    extract(colours(calls), own_nsd, "-p", "1-3")
    new = set(own_nsd.rglob("batch_*")) - set(files)
    assert {path.parent.parent.name for path in new} == {"prompt_3"}


def test_a_second_subject_finds_the_images_of_the_first(own_nsd, capsys):
    extract(colours(), own_nsd, "-s", 1)
    calls = []
    extract(colours(calls), own_nsd, "-s", 2)
    assert sum(calls) == 28
    assert "12 images were done before, 28 are left" in capsys.readouterr().err


def test_several_subjects_are_one_run_over_the_images_that_any_of_them_saw(own_nsd, capsys):
    calls = []
    extract(colours(calls), own_nsd, "-s", 1, 2)
    assert sum(calls) == 12 + 28 + 28
    assert "68 images" in capsys.readouterr().err
    extract(colours(calls), own_nsd, "-s", 2)
    assert sum(calls) == 68


def stopped_after(n, steps):
    for number, step in enumerate(steps):
        if number == n:
            raise Stopped("SIGTERM")
        yield step


@pytest.mark.parametrize("seed", range(5))
def test_changing_the_number_of_shards_between_runs_never_repeats_an_image(seed, own_nsd, monkeypatch):
    """Each run is ended after some of its batches, as by a time limit, and the next splits the images otherwise."""
    rng, calls = np.random.default_rng(seed), []
    for _ in range(6):
        n_shards = int(rng.integers(1, 9))
        shard, n_batches = f"{rng.integers(n_shards)}/{n_shards}", int(rng.integers(3))
        monkeypatch.setattr(loop, "until_stopped", partial(stopped_after, n_batches))
        with suppress(Stopped):
            extract(colours(calls), own_nsd, "--shard", shard, "-b", int(rng.integers(1, 6)))
    monkeypatch.setattr(loop, "until_stopped", iter)
    n_shards = int(rng.integers(1, 9))
    for shard in range(n_shards):
        extract(colours(calls), own_nsd, "--shard", f"{shard}/{n_shards}")
    assert sum(calls) == 40
    ids, mean_colours = expected(own_nsd)
    np.testing.assert_allclose(store(own_nsd, "no_prompt").read_layer("vision", 0, ids), mean_colours, rtol=1e-6)


def test_shards_share_the_images_out_and_another_number_of_shards_repeats_none(own_nsd):
    calls = []
    for shard in ("0/3", "2/3"):
        extract(colours(calls), own_nsd, "--shard", shard)
    assert sum(calls) == 14 + 13
    for shard in ("0/2", "1/2"):
        extract(colours(calls), own_nsd, "--shard", shard, "-b", 3)
    assert sum(calls) == 40
    ids, mean_colours = expected(own_nsd)
    np.testing.assert_allclose(store(own_nsd, "no_prompt").read_layer("vision", 0, ids), mean_colours, rtol=1e-6)


def test_answers_are_stored_beside_the_states(own_nsd):
    extract(colours(), own_nsd, "-p", "4", "--response")
    ids, _ = expected(own_nsd)
    assert store(own_nsd, "prompt_4").read_answers() == dict.fromkeys(ids.tolist(), "answer to 4")


def test_answers_can_be_added_to_states_that_are_there(own_nsd):
    extract(colours(), own_nsd)
    extract(colours(), own_nsd, "--response")
    assert set(store(own_nsd, "prompt_1").streams()) == {"language", "response"}


@pytest.mark.parametrize(
    ("flags", "setting"),
    [(["--dtype", "bfloat16"], "dtype"), (["--response", "--max-new-tokens", "9"], "max_new_tokens")],
)
def test_a_run_with_other_settings_is_refused_by_name_and_changes_nothing(own_nsd, flags, setting):
    extract(colours(), own_nsd, "--response")
    next(own_nsd.glob("image_embeddings/prompt_1/*/batch_*")).unlink()  # so that there is something to do
    before = {path: path.stat().st_mtime_ns for path in own_nsd.rglob("*")}
    with pytest.raises(InputError, match=setting):
        extract(colours(), own_nsd, "--response", *flags)
    assert {path: path.stat().st_mtime_ns for path in own_nsd.rglob("*")} == before


def test_a_dtype_that_differs_for_want_of_a_gpu_says_so(own_nsd):
    extract(colours(), own_nsd, "--dtype", "float16")
    with pytest.raises(
        InputError,
        match=r"dtype = float16, but the default on -g cpu is float32: add --dtype float16",
    ):
        extract(colours(), own_nsd)
    extract(colours(), own_nsd, "--dtype", "float16")


def test_an_extraction_ends_with_its_folders_and_the_commands_that_align_them(own_nsd, capsys, monkeypatch):
    monkeypatch.chdir(own_nsd.parent)
    script = Path(align_model.__file__)
    given = ["-s", 1, 2, "-p", "2,4", "--random-weights", 3]
    for argv, shown in ((["/abs/script.py"], str(script)), (["script.py"], os.path.relpath(script))):
        monkeypatch.setattr(sys, "argv", argv)
        extract(colours(), own_nsd, *given)
        *_, no_prompt, second, fourth, following, first_command, other_command = capsys.readouterr().out.splitlines()
        for line, prompt in ((no_prompt, "no_prompt"), (second, "prompt_2"), (fourth, "prompt_4")):
            assert line == f"states: {own_nsd}/image_embeddings/{prompt}/test_mean-colours-random-3"
        assert following == "next:"
        python, *words = shlex.split(first_command)
        assert python == sys.orig_argv[0]
        assert words == f"{shown} -d {own_nsd} -s 1 -m test/mean-colours-random-3 -p 2 4 -g cpu".split()
        assert other_command == first_command.replace("-s 1", "-s 2")
        assert align_model.flags().parse_args(words[1:]).prompt_number == [2, 4]


def test_a_shard_ends_with_the_next_command_for_when_all_are_done(own_nsd, capsys):
    extract(colours(), own_nsd, "--shard", "0/2")
    assert "next, once all 2 shards are done:\n" in capsys.readouterr().out


def test_a_test_run_says_what_the_whole_would_take_and_writes_only_its_rate(own_nsd, capsys):
    before = set(own_nsd.rglob("*"))
    extract(colours(), own_nsd, "--test-run", "-b", 8, "-p", "1", "2", "--response")
    said = capsys.readouterr().out
    assert [path.name for path in set(own_nsd.rglob("*")) - before if path.is_file()] == ["test_mean-colours.json"]
    assert read_rate(own_nsd, "test/mean-colours").prompts == [1, 2]
    assert re.search(r"no prompt +vision +8 images x 3 layers x 3: mean", said)
    assert re.search(r"prompt 2 +language", said)
    assert "'answer to 2'" in said
    assert re.search(r"[\d.]+ images/s in batches of 8, [\d.]+ GB", said)
    assert re.search(r"40 images that are left: [\d.]+ h, [\d.]+ GB\nno states were written", said)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1"])
def test_a_signal_lets_the_batch_in_hand_be_finished_and_the_next_run_continues(name, own_nsd, monkeypatch, capsys):
    calls = []
    script = colours(calls)
    encode_images = script.encode_images

    def interrupted(*arguments):
        if len(calls) == 2:
            os.kill(os.getpid(), getattr(signal, name))
        return encode_images(*arguments)

    script.encode_images = interrupted
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    monkeypatch.setattr("sys.argv", ["mean_colours.py", "-d", str(own_nsd), "-g", "cpu", "-b", "5"])
    with pytest.raises(SystemExit) as stopped:
        extraction_command.main(script)
    assert stopped.value.code == 75
    assert f"stopped by {name}; all that was finished is kept" in capsys.readouterr().err
    assert len(store(own_nsd, "prompt_1").image_ids(["language"])) == 15
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)] == handlers

    extract(colours(calls), own_nsd, "-b", 5)
    assert sum(calls) == 40


def test_repair_computes_the_images_of_damaged_files_and_no_others(own_nsd, capsys):
    extract(colours(), own_nsd, "-b", 5, "-p", "1", "2")
    ids, mean_colours = expected(own_nsd)
    path = sorted((own_nsd / "image_embeddings/prompt_2").rglob("batch_*"))[3]
    path.write_bytes(path.read_bytes()[:-7] + b"damaged")
    calls, at = [], {other: other.stat().st_mtime_ns for other in own_nsd.rglob("batch_*") if other != path}
    extract(colours(calls), own_nsd, "-b", 5, "-p", "1", "2", "--repair")
    assert calls == [5]
    assert f"prompt_2/test_mean-colours: 1 damaged file: {path.name}" in capsys.readouterr().err
    assert {other: other.stat().st_mtime_ns for other in at} == at
    assert path.exists()
    np.testing.assert_allclose(store(own_nsd, "prompt_2").read_layer("language", 0, ids), mean_colours * 20, rtol=1e-6)


def test_planning_a_repair_changes_no_file(own_nsd):
    extract(colours(), own_nsd)
    path = min(own_nsd.rglob("batch_*"))
    path.write_bytes(b"damaged")
    arguments = extraction_command.flags("").parse_args(["-d", str(own_nsd), "--repair"])
    plan(colours(), extraction_command.settings(colours(), arguments), range(1, 9))
    assert path.read_bytes() == b"damaged"


def test_images_that_lack_the_same_prompts_share_batches(own_nsd):
    extract(colours(), own_nsd, "-p", "1")
    ids = [int(i) for i in expected(own_nsd)[0]]
    for path in sorted((own_nsd / "image_embeddings/prompt_1").rglob("batch_*"))[:2]:
        path.unlink()
    arguments = extraction_command.flags("").parse_args(["-d", str(own_nsd), "-p", "1", "2", "-b", "8"])
    batches = plan(colours(), extraction_command.settings(colours(), arguments), ids).batches()
    assert [(batch.image_ids, batch.prompts) for batch in batches] == [
        (ids[:8], (1, 2)),
        (ids[8:16], (1, 2)),
        *((ids[start : start + 8], (2,)) for start in range(16, 40, 8)),
    ]
