"""Several extractions at once on one folder."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from mean_colours import assert_all_there, colours, expected, extract, store
from scripts import ends_with_a_full_bar

from brain_activity_prediction.storage.sealed_hdf5 import read_array, read_seal

pytestmark = pytest.mark.slow

AT_ONCE = """
import json, os, sys
from mean_colours import colours, extract
from brain_activity_prediction.models.library_imports import import_torchvision
import_torchvision()  # here, since each child would for itself
base_dir, flags_of_each = sys.argv[1], json.loads(sys.argv[2])
children = []
for flags in flags_of_each:
    out, given = os.pipe()
    if not os.fork():
        calls = []
        sys.stderr = open(f"{base_dir}/stderr_{len(children)}", "w")
        extract(colours(calls), base_dir, *flags)
        os.write(given, str(sum(calls)).encode())
        os._exit(0)
    os.close(given)
    children.append(out)
assert not any(os.wait()[1] for _ in children)
print(json.dumps([int(os.read(out, 20)) for out in children]))
"""


def at_once(base_dir, *flags_of_each):
    """Runs extractions at once, each a process; how many images each computed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    command = [sys.executable, "-W", "ignore", "-c", AT_ONCE, base_dir, json.dumps(flags_of_each)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


def stored_ids(base_dir, prompt, stream):
    """The ids in all files, those that are there twice twice."""
    folder = store(base_dir, prompt).folder
    ids = [read_array(path, "image_ids") for path in folder.glob("batch_*.h5") if stream in read_seal(path).datasets]
    return sorted(np.concatenate(ids).tolist())


def test_the_same_command_at_once_computes_each_image_once(own_nsd):
    computed = at_once(own_nsd, *[["-b", "2"]] * 3)
    ids, _ = expected(own_nsd)
    assert sum(computed) == 40
    for number in range(3):
        said = (own_nsd / f"stderr_{number}").read_text()
        assert "image/s" in said
        assert ends_with_a_full_bar(said)
    assert stored_ids(own_nsd, "prompt_1", "language") == ids.tolist()
    assert_all_there(own_nsd, [1])
    assert not list(own_nsd.glob("image_embeddings/claims*"))


def test_parallel_runs_with_other_flags_compute_nothing_twice(own_nsd):
    computed = at_once(
        own_nsd,
        ["-b", "3", "-p", "1"],
        ["-b", "2", "-p", "1", "-s", "2"],
        ["-b", "4", "-p", "1", "2"],
        ["-b", "5", "-p", "1", "--shard", "1/2"],
    )
    ids = sorted({*expected(own_nsd, 1)[0].tolist(), *expected(own_nsd, 2)[0].tolist()})
    assert stored_ids(own_nsd, "prompt_1", "language") == ids
    assert stored_ids(own_nsd, "no_prompt", "vision") == ids
    assert 68 <= sum(computed) <= 68 + 40  # those of prompt 2 pass through the model twice if prompt 1 was elsewhere
    assert_all_there(own_nsd, [1, 2])


def test_the_last_process_takes_over_what_a_killed_one_had_claimed(own_nsd, monkeypatch):
    killed = colours()
    killed.encode_images = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    pid = os.fork()
    if pid == 0:
        extract(killed, own_nsd, "-b", 4)
    os.waitpid(pid, 0)
    (claims,) = own_nsd.glob("image_embeddings/claims*")
    assert len([path for path in claims.iterdir() if path.is_symlink()]) == 12  # the batch in hand and two ahead
    calls = []
    extract(colours(calls), own_nsd, "-b", 4)
    assert sum(calls) == 40
    assert not claims.exists()
