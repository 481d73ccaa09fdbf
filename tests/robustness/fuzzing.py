"""Damaged and hostile files, and readers of them in child processes: crashes, hangs and memory are seen."""

import faulthandler
import gzip
import hashlib
import os
import re
import resource
import signal
import struct
import zlib

import numpy as np
from hypothesis import strategies as st

from brain_activity_prediction.runtime.errors import InputError

MOST_MEMORY_KB = 2**20  # beyond what the process had before: 1 GB
MOST_SECONDS = 10
WALL_BYTES = 2**34  # address space, so that nothing harms the machine
MOST_SPLICES = st.sampled_from([1, 1, 2, 4, 16])
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
        b"\xd9\xa3",
        b'"',
        b"'",
        b"\n",
        b"\r",
        b",",
        b"..",
        b"/",
    ),
    *(b"{", b"[" * 3000, b"<<: *a", b"&a ", b"*a", b"!!python/object/apply:os.abort []", b"- ", b": "),
    *(b"9" * 5000, b"-1", b"1e999"),
]


class Mutant:
    """A file's bytes after some splices (place, bytes removed, bytes put in), in the file or in what it wraps."""

    def __init__(self, data, of, splices):
        self.data, self.of, self.splices = data, of, splices

    def __repr__(self):
        return f"{self.of} after {self.splices}"


def mutants(data):
    """Mutants of a file; where it is compressed or sealed mostly of what is within, so that no checksum tells."""
    whole = "the file", data, lambda inner: inner
    # Made once: to make a strategy takes far longer than to draw from it.
    layers = st.sampled_from([(*layer, _splices(layer[1])) for layer in [*_layers(data) * 2, whole]])

    @st.composite
    def mutant(draw):
        name, inner, wrap, splice = draw(layers)
        splices = draw(st.lists(splice, min_size=1, max_size=draw(MOST_SPLICES)))
        changed = bytearray(inner)
        for at, n_removed, put_in in splices:
            changed[at : at + n_removed] = put_in
        return Mutant(wrap(bytes(changed)), name, splices)

    return mutant()


def _splices(data):
    place = st.integers(0, len(data)) | st.integers(0, min(len(data), 2048))
    byte = st.sampled_from([b"\0", b"\xff", b"\x7f", b"\x80"]) | st.binary(min_size=1, max_size=1)
    number = st.sampled_from(NUMBERS)
    from_elsewhere = st.tuples(place, st.sampled_from([4, 8, 64])).map(lambda piece: data[piece[0] : sum(piece)])
    in_place_of_as_many = st.one_of(byte, byte, number, from_elsewhere).map(lambda new: (len(new), new))
    removed = st.sampled_from([1, 8, 512, 1, 8, 512, len(data)]).map(lambda length: (length, b""))
    inserted = st.one_of(st.binary(min_size=1, max_size=64), st.sampled_from(WORDS)).map(lambda new: (0, new))
    return st.tuples(place, st.one_of(in_place_of_as_many, in_place_of_as_many, removed, inserted)).map(
        lambda splice: (splice[0], *splice[1])
    )


def _layers(data):
    """What a file wraps, as (name, bytes within, what wraps changed bytes again)."""
    if data[:2] == b"\x1f\x8b":
        return [("its inflated content", gzip.decompress(data), lambda inner: gzip.compress(inner, 1))]
    if data[16:25] == b'{"block":':
        return [_sealed_header(data)]
    if data[:6] == b"MATLAB" and data[128:132] == struct.pack("<i", 15):
        return list(_elements(data))
    return []


def _sealed_header(data):
    """The header of a sealed file, changed by somebody who then puts its checksum right."""
    block = int(re.match(rb'{"block":(\d+)', data[16:])[1])

    def sealed(header):
        text = header[: block - 16].ljust(block - 16, b"\0")
        return hashlib.sha256(text).hexdigest()[:16].encode() + text + data[block:]

    return "its header", data[16:block].rstrip(b"\0"), sealed


def _elements(data):
    """The compressed elements of a MATLAB v5 file."""
    start = 128
    while start < len(data):
        end = start + 8 + struct.unpack_from("<ii", data, start)[1]

        def compressed(inner, start=start, end=end):
            inner = zlib.compress(inner)
            return data[:start] + struct.pack("<ii", 15, len(inner)) + inner + data[end:]

        yield f"the element at {start}", zlib.decompress(data[start + 8 : end]), compressed
        start = end


def wrong_with(read, path, *contents):
    """What goes wrong where `read(path)` finds each of `contents` in turn, or an empty string; the file is restored.

    An InputError of one line and a result are right. All else is wrong: another exception, a crash, more than
    MOST_SECONDS, more than MOST_MEMORY_KB. One child process reads them all, so that nothing of that harms this one.
    """
    original = path.read_bytes()
    ours, theirs = os.pipe()
    child = os.fork()
    if child:
        os.close(theirs)
        with os.fdopen(ours, errors="replace") as said:
            outcome = said.read()
        status = os.waitpid(child, 0)[1]
        path.write_bytes(original)
        return f"ended by signal {signal.Signals(os.WTERMSIG(status)).name}" if status else outcome
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    at_most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + MOST_MEMORY_KB
    resource.setrlimit(resource.RLIMIT_AS, (WALL_BYTES, WALL_BYTES))
    faulthandler.disable()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for content in contents:
        path.write_bytes(content)
        if outcome := _outcome(read, path, at_most):
            os.write(theirs, outcome.encode(errors="replace"))
            break
    os._exit(0)


def _outcome(read, path, at_most):
    signal.alarm(MOST_SECONDS)
    outcome = ""
    try:
        read(path)
    except InputError as error:
        if "\n" in str(error):
            outcome = f"more than one line: {error}"
    except BaseException as error:
        outcome = repr(error)[:300] or "?"
    signal.alarm(0)
    return "memory" if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > at_most else outcome
