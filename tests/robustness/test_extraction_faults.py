"""An extraction on a machine that lacks memory or space, and told to stop."""

import os
import re
import shutil
import signal
import subprocess
from collections import namedtuple

import pytest
import torch
from mean_colours import assert_all_there, colours, extract, store

from brain_activity_prediction.cli import extraction_command
from brain_activity_prediction.extract_image_embeddings.prompts import PROMPTS
from brain_activity_prediction.runtime.errors import DiskFull, InputError
from brain_activity_prediction.storage import files

pytestmark = pytest.mark.slow

# -- memory -----------------------------------------------------------------------------------------------------------


NO_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def with_memory_for(n_images, calls, error=NO_MEMORY):
    """A model that takes no more images at a time; prompt 5 takes twice the memory."""
    script = colours()
    encode_images, encode_prompt = script.encode_images, script.encode_prompt

    def images(model, processor, pixels, *more):
        if len(pixels) > n_images:
            raise error
        calls.append(len(pixels))
        return encode_images(model, processor, pixels, *more)

    def prompt(model, processor, states, text, *more):
        if len(states) > n_images // 2 and text == PROMPTS[5]:
            raise error
        return encode_prompt(model, processor, states, text, *more)

    script.encode_images, script.encode_prompt = images, prompt
    return script


@pytest.mark.parametrize(
    "error",
    [
        NO_MEMORY,
        RuntimeError("MPS backend out of memory (MPS allocated: 18 GB)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_out_of_memory_halves_the_batch_says_so_and_changes_no_number(own_nsd, capsys, error):
    calls = []
    extract(with_memory_for(5, calls, error), own_nsd, "-b", 16)
    assert calls == [4] * 10
    said = re.findall("memory does not hold .*", capsys.readouterr().err)
    assert said == [
        "memory does not hold 16 images at a time, so batches now have 8",
        "memory does not hold 8 images at a time, so batches now have 4",
    ]
    assert_all_there(own_nsd, [1])


def test_out_of_memory_at_one_prompt_keeps_what_the_others_gave(own_nsd):
    calls = []
    extract(with_memory_for(8, calls), own_nsd, "-b", 8, "-p", "1-9")
    assert calls[:3] == [8, 4, 4]
    assert_all_there(own_nsd, range(1, 10))
    first = min(path.name for path in own_nsd.glob("image_embeddings/no_prompt/*/batch_*"))
    assert len(list(own_nsd.glob(f"image_embeddings/*/*/{first[:12]}*"))) >= 2


def test_memory_that_does_not_hold_one_image_is_one_line(own_nsd):
    with pytest.raises(
        InputError, match=r"memory does not hold one image at a time \(image \d+\): try --dtype float16"
    ):
        extract(with_memory_for(0, []), own_nsd, "-b", 8)


def test_another_error_of_the_model_is_not_taken_for_a_lack_of_memory(own_nsd):
    with pytest.raises(InputError, match=r"could not compute the images .*device-side assert"):
        extract(with_memory_for(0, [], RuntimeError("CUDA error: device-side assert triggered")), own_nsd)


# -- someone tidies up -------------------------------------------------------------------------------------------------


def test_states_removed_during_a_run_end_it_and_the_next_run_restores_them(own_nsd):
    script, calls = colours(), []
    encode_images = script.encode_images

    def images(*arguments):
        calls.append(1)
        if len(calls) == 3:
            shutil.rmtree(own_nsd / "image_embeddings")
        return encode_images(*arguments)

    script.encode_images = images
    with pytest.raises(
        InputError, match=r"\d+ of 40 images lack states in .*image_embeddings, because files were removed"
    ):
        extract(script, own_nsd, "-b", 8)
    extract(colours(), own_nsd, "-b", 8)
    assert_all_there(own_nsd, [1])


# -- space ------------------------------------------------------------------------------------------------------------

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def disk(monkeypatch):
    """`disk(n)` leaves n bytes free."""
    return lambda free: monkeypatch.setattr(files.shutil, "disk_usage", lambda path: Usage(10**12, 0, free))


def test_without_room_for_all_images_nothing_is_written_and_the_size_is_named(own_nsd, disk):
    bytes_an_image = 3 * 3 * 4 * 2  # layers x width x float32, under no prompt and under one
    disk(40 * bytes_an_image - 1)
    with pytest.raises(
        InputError,
        match=r"room for the 40 images that are left in .*: [\d.]+ [GMk]B are needed, .* free at least",
    ):
        extract(colours(), own_nsd, "-b", 8)
    assert not list(own_nsd.rglob("batch_*"))
    disk(40 * bytes_an_image)
    extract(colours(), own_nsd, "-b", 8)
    assert_all_there(own_nsd, [1])


def test_what_the_rest_takes_is_known_before_the_model_is_loaded(own_nsd, disk):
    extract(colours(), own_nsd, "-b", 8)
    next(own_nsd.glob("image_embeddings/prompt_1/*/batch_*")).unlink()
    disk(10)
    script = colours()
    script.load = None
    with pytest.raises(InputError, match="the 8 images that are left in"):
        extract(script, own_nsd)


def test_a_folder_that_cannot_be_written_to_is_said_before_the_model_is_loaded(own_nsd, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    script = colours()
    script.load = None
    with pytest.raises(InputError, match=r"cannot write to .*image_embeddings: .* is read-only"):
        extract(script, own_nsd)


def on(disk, base_dir):
    """The outputs go to that disk."""
    (base_dir / "image_embeddings").symlink_to(disk, target_is_directory=True)
    return base_dir


def test_a_full_disk_stops_the_run_with_what_is_left_and_more_room_lets_it_continue(own_nsd, small_disk, monkeypatch):
    in_the_way = small_disk / "other"
    in_the_way.write_bytes(bytes(850_000))
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: Usage(10**12, 0, 10**12))  # as with a quota
    with pytest.raises(
        DiskFull, match=r"No space left on device.*; [\d.]+ [GMk]B are needed for the \d+ images that are left"
    ):
        extract(colours(), on(small_disk, own_nsd), "-b", 4)
    assert not [path for path in small_disk.rglob(".*") if "~" in path.name]
    n_done = len(store(own_nsd, "no_prompt").image_ids(["vision"]))
    assert 0 < n_done < 40
    in_the_way.unlink()
    calls = []
    extract(colours(calls), own_nsd, "-b", 4)
    assert 40 - n_done <= sum(calls) <= 40 - n_done + 4
    assert_all_there(own_nsd, [1])


def test_a_read_only_disk_is_reported_before_the_model_is_loaded(own_nsd, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    script = colours()
    script.load = None
    with pytest.raises(InputError, match="cannot write to"):
        extract(script, on(small_disk, own_nsd))


def test_a_disk_that_becomes_read_only_meanwhile_loses_nothing_that_was_written(own_nsd, small_disk):
    calls = []
    script = colours(calls)
    encode = script.encode_images

    def goes_read_only(*arguments):
        if len(calls) == 3:
            subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
        return encode(*arguments)

    script.encode_images = goes_read_only
    with pytest.raises(InputError, match=r"cannot write .*batch_.*\(Read-only file system\)"):
        extract(script, on(small_disk, own_nsd), "-b", 2)
    assert len(store(own_nsd, "no_prompt").image_ids(["vision"])) == 6
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    extract(colours(), own_nsd, "-b", 2)
    assert_all_there(own_nsd, [1])


def test_a_disk_that_vanishes_is_said_in_one_line(own_nsd, small_disk):
    calls = []
    script = colours(calls)
    encode = script.encode_images

    def vanishes(*arguments):
        if len(calls) == 2:
            (own_nsd / "image_embeddings").unlink()
            (own_nsd / "image_embeddings").symlink_to("/proc/1/nowhere")
        return encode(*arguments)

    script.encode_images = vanishes
    with pytest.raises(InputError, match=r"cannot write .*check its folder and its disk or mount"):
        extract(script, on(small_disk, own_nsd), "-b", 4)


# -- signals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1"])
def test_a_signal_while_the_model_is_loaded_ends_the_run_with_the_same_status(name, own_nsd, monkeypatch, capsys):
    script = colours()
    script.load = lambda *_: os.kill(os.getpid(), getattr(signal, name))
    monkeypatch.setattr("sys.argv", ["mean_colours.py", "-d", str(own_nsd), "-g", "cpu"])
    with pytest.raises(SystemExit) as stopped:
        extraction_command.main(script)
    assert stopped.value.code == 75
    assert f"stopped by {name}; all that was finished is kept, the same command continues" in capsys.readouterr().err
    assert not (own_nsd / "image_embeddings").exists()


def test_a_second_signal_stops_in_the_midst_of_a_batch(own_nsd, monkeypatch, capsys):
    calls = []
    script = colours(calls)
    encode = script.encode_images

    def interrupted(*arguments):
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
        return encode(*arguments)

    script.encode_images = interrupted
    monkeypatch.setattr("sys.argv", ["mean_colours.py", "-d", str(own_nsd), "-g", "cpu", "-b", "5"])
    with pytest.raises(SystemExit) as stopped:
        extraction_command.main(script)
    assert stopped.value.code == 75
    assert len(store(own_nsd, "no_prompt").image_ids(["vision"])) == 10
    assert not list(own_nsd.glob("image_embeddings/claims*"))
