"""Run scripts as from the command line, each in a forked child of a process that has already imported all libraries."""

import contextlib
import ctypes
import io
import os
import re
import runpy
import struct
import sys
import traceback
from typing import NamedTuple

from scripts import EXTRACT

from brain_activity_prediction.extraction.runner import Runner

MODEL_LOADED = 99
# Lines that stderr may have before the error: the planned work, progress bars, an outdated cache.
PROGRESS = re.compile(r"\S+, (official|flat) layout of NSD: .*|.*\d%\|.*|computing .* again: .* changed since.*|\s*")


class Ended(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def lines(self):
        """Return the lines on stderr that do not show progress."""
        return [line for line in re.split(r"[\r\n]+", self.err) if not PROGRESS.fullmatch(line)]


def warm():
    """Import everything that the scripts import, once."""
    from brain_activity_prediction.models.library_imports import import_torchvision

    import_torchvision()
    import nibabel  # noqa: F401
    import pandas  # noqa: F401
    import torch  # noqa: F401
    import yaml  # noqa: F401
    from transformers import AutoModel, AutoProcessor, LlavaForConditionalGeneration, ViTModel  # noqa: F401

    from brain_activity_prediction.align_image_embeddings import (  # noqa: F401
        across_subjects,
        align_model,
        compare,
        compare_representations,
        cross_subject_ceiling,
        partition_variance,
        predict_challenge,
    )
    from brain_activity_prediction.encoding import subject_data  # noqa: F401
    from brain_activity_prediction.encoding.tables import summary  # noqa: F401


def run_forked(script, flags, folder, may_load=False, as_root=True):
    """Run a script and return its result.

    script    file name in the extraction folder, or a path
    folder    folder for its output
    may_load  if False, the script ends with MODEL_LOADED when it starts to load a model
    as_root   if False, permissions of files apply even to root
    """
    said = [folder / "stdout", folder / "stderr"]
    child = os.fork()
    if not child:
        _become(EXTRACT / script, list(map(str, flags)), said, may_load, as_root)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    out, err = (path.read_text(errors="replace") for path in said)
    for path in said:
        path.unlink()
    return Ended(status, out, err)


def _become(script, flags, said, may_load, as_root):
    status = 1
    try:
        for number, path in enumerate(said, start=1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
        sys.stdout, sys.stderr = (
            io.TextIOWrapper(os.fdopen(number, "wb", 0), errors="backslashreplace", write_through=True)
            for number in (1, 2)
        )
        if not may_load:
            Runner.__init__ = lambda *_: os._exit(MODEL_LOADED)
        if not as_root:
            ctypes.CDLL(None).capset(struct.pack("II", 0x20080522, 0), bytes(24))
        sys.argv = [str(script), *flags]
        runpy.run_path(str(script), run_name="__main__")
        status = 0
    except SystemExit as ended:
        status = ended.code or 0
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def snapshot(folder):
    """Return the files in a folder and their times of change, as `{path: ...}`."""
    found = {}
    for path in folder.rglob("*"):
        stat = path.lstat()
        found[path.relative_to(folder)] = (stat.st_mode, stat.st_size, stat.st_mtime_ns if not path.is_dir() else None)
    return found
