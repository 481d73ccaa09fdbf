"""Load scripts by path, because a name with a dot cannot be imported, or run them as a user does."""

import importlib.util
import re
import runpy
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from unittest.mock import patch

PACKAGE = Path(__file__).resolve().parents[2] / "brain_activity_prediction"
EXTRACT = PACKAGE / "extract_image_embeddings"
ALIGN = PACKAGE / "align_image_embeddings" / "align_model.py"
SCRIPTS = (
    "idefics_9b_instruct.py",
    "instruct_blip_13b.py",
    "llava_1.5_13b.py",
    "mplug_owl_llama_7b.py",
    "openflamingo_9b.py",
    "vit_huge_patch14_224_in21k.py",
)


def load_script(name):
    """Load a model script as a module."""
    spec = importlib.util.spec_from_file_location(name.removesuffix(".py").replace(".", "_"), EXTRACT / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def command(script, *flags):
    """Return the command line of a script for subprocess; `script` is a path, or a name in the extraction folder."""
    return [sys.executable, str(EXTRACT / script), *map(str, flags)]


def run(script, *flags):
    """Run a script to its end and return its result, without raising an error."""
    return subprocess.run(command(script, *flags), capture_output=True, text=True, timeout=3600, check=False)


def run_here(script, *flags):
    """Run a script in this process, which saves its imports, and return the same as `run`."""
    argv, out, err = command(script, *flags)[1:], StringIO(), StringIO()
    with patch.object(sys, "argv", argv), redirect_stdout(out), redirect_stderr(err):
        try:
            runpy.run_path(argv[0], run_name="__main__")
            status = 0
        except SystemExit as ended:
            status = ended.code or 0
    return subprocess.CompletedProcess(argv, status, out.getvalue(), err.getvalue())


def ends_with_a_full_bar(said):
    """Return whether the progress bar on stderr, if there is one, ends at 100 %."""
    return all(done == total for done, total in re.findall(r"(\d+)/(\d+) \[", said)[-1:])
