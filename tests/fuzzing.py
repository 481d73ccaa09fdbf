"""Readers given damaged and hostile files by the thousand, in child processes: crashes, hangs and memory are seen."""

import faulthandler
import gzip
import hashlib
import os
import random
import re
import resource
import signal
import struct
import zlib

import numpy as np

from brain_activity_prediction.errors import InputError

MOST_MEMORY_KB = 2**20  # beyond what the process had before: 1 GB
MOST_SECONDS = 10
WALL_BYTES = 2**34  # address space, so that nothing harms the machine
NUMBERS = [
    *(struct.pack("<q", number) for number in (0, -1, 2**31, 2**40, 2**62)),
    *(struct.pack(order + "i", number) for order in "<>" for number in (-1, 0, 2**30)),
    *(struct.pack("<f", number) for number in (np.nan, np.inf, 3e38)),
]
WORDS = [
    *(
        b"<!DOCTYPE html>",
        b"\0",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b'"',
        b"'",
        b"\n",
        b"\r",
        b",",
        b"9" * 5000,
        b"-1",
        b"1e999",
    ),
    *(
        b"{",
        b"[" * 3000,
        b"<<: *a",
        b"&a ",
        b"*a",
        b"!!python/object/apply:os.abort []",
        b"- ",
        b": ",
        b"\xd9\xa3",
        b"..",
        b"/",
    ),
]


def mutated(data, rng):
    """Bytes like `data`, changed in one to sixteen places."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at = rng.randrange(max(len(data), 1)) if rng.random() < 0.5 else rng.randrange(max(min(len(data), 2048), 1))
        change = rng.randrange(8)
        if change == 0 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif change == 1 and data:
            data[at] = rng.choice((0, 255, 127, 128, rng.randrange(256)))
        elif change == 2:
            number = rng.choice(NUMBERS)
            data[at : at + len(number)] = number
        elif change == 3:
            del data[at : at + rng.choice((1, 8, 512))]
        elif change == 4:
            data[at:at] = rng.randbytes(rng.choice((1, 8, 64)))
        elif change == 5:
            data[at:at] = rng.choice(WORDS)
        elif change == 6 and data:
            other, length = rng.randrange(len(data)), rng.choice((4, 8, 64))
            data[at : at + length] = data[other : other + length]
        elif change == 7 and rng.random() < 0.3:
            del data[at:]
    return bytes(data)


def mutated_within(data, rng):
    """As `mutated`; of a compressed file mostly what was compressed, so that its checksum does not tell."""
    if data[:2] == b"\x1f\x8b" and rng.random() < 0.7:
        return gzip.compress(mutated(gzip.decompress(data), rng), 1)
    if data[16:25] == b'{"block":' and rng.random() < 0.7:
        return _mutated_seal(data, rng)
    if data[:6] == b"MATLAB" and data[128:132] == struct.pack("<i", 15) and rng.random() < 0.7:
        return data[:128] + b"".join(_mutated_elements(data[128:], rng))
    return mutated(data, rng)


def _mutated_seal(data, rng):
    """A sealed file whose header was changed by somebody who then put its checksum right."""
    block = int(re.match(rb'{"block":(\d+)', data[16:])[1])
    text = mutated(data[16:block].rstrip(b"\0"), rng)[: block - 16].ljust(block - 16, b"\0")
    return hashlib.sha256(text).hexdigest()[:16].encode() + text + data[block:]


def _mutated_elements(data, rng):
    """The compressed elements of a MATLAB v5 file, the content of a third of them changed."""
    while data:
        n_bytes = struct.unpack_from("<ii", data)[1]
        content, data = zlib.decompress(data[8 : 8 + n_bytes]), data[8 + n_bytes :]
        content = zlib.compress(mutated(content, rng) if rng.random() < 1 / 3 else content)
        yield struct.pack("<ii", 15, len(content)) + content


def failures(read, path, seeds, mutate=mutated_within):
    """What went wrong where `read(path)` was given `path` mutated by each seed: `{seed: what}`; the file is restored.

    An InputError of one line and a result are right. All else is wrong: another exception, a crash, more than
    MOST_SECONDS, more than MOST_MEMORY_KB.
    """
    original, seeds, wrong = path.read_bytes(), list(seeds), {}
    try:
        while seeds:
            said, status = _in_child(lambda seeds=seeds: _trials(read, path, original, seeds, mutate))
            outcomes = said.split("\0")[:-1]
            wrong |= {seed: outcome for seed, outcome in zip(seeds, outcomes, strict=False) if outcome}
            seeds = seeds[len(outcomes) :]
            if status:
                wrong[seeds.pop(0)] = f"ended by signal {signal.Signals(os.WTERMSIG(status)).name}"
    finally:
        path.write_bytes(original)
    return wrong


def _in_child(trials):
    """What a child process that runs `trials` wrote, and the status it ended with."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child:
        os.close(theirs)
        with os.fdopen(ours, errors="replace") as said:
            return said.read(), os.waitpid(child, 0)[1]
    os.close(ours)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    faulthandler.disable()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for outcome in trials():
        os.write(theirs, outcome.encode(errors="replace") + b"\0")
    os._exit(0)


def _trials(read, path, original, seeds, mutate):
    """An empty string where all was right, else what was wrong, seed by seed."""
    at_most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + MOST_MEMORY_KB
    resource.setrlimit(resource.RLIMIT_AS, (WALL_BYTES, WALL_BYTES))
    for seed in seeds:
        path.write_bytes(mutate(original, random.Random(seed)))
        signal.alarm(MOST_SECONDS)
        try:
            read(path)
            outcome = ""
        except InputError as error:
            outcome = f"more than one line: {error}" if "\n" in str(error) else ""
        except BaseException as error:
            outcome = repr(error)[:300] or "?"
        signal.alarm(0)
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > at_most:
            yield "memory"
            return  # the most a process ever had: another one goes on
        yield outcome
