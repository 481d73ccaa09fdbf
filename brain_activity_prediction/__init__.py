"""Prediction of brain responses from the hidden states of vision-language models.

The names in `__all__` are for use as a library: `from brain_activity_prediction import VoxelwiseRidgeCV`.
"""

import importlib
import sys
from pathlib import Path

__version__ = "1.0.0"

_DEFINED_IN = {
    "BandedRidgeCV": "ridge.banded_estimator",
    "EmbeddingStore": "storage.embeddings.embedding_store",
    "VoxelwiseRidgeCV": "ridge.estimator",
    "noise_ceiling": "inference.noise_ceiling",
    "noise_ceiling_snr": "inference.noise_ceiling",
    "pearson_r": "ridge.scores",
    "ridge_cv": "ridge.ridge_cv",
}
__all__ = list(_DEFINED_IN)


def _is_run_as_script():
    """Return whether Python was started with a file or module of this package."""
    if sys.argv[:1] == ["-m"]:  # while the package of that module is being imported
        return any(word.partition(".")[0] == __name__ for word in sys.orig_argv)
    return bool(sys.argv) and Path(__file__).resolve().parent in Path(sys.argv[0]).resolve().parents


if _is_run_as_script():
    from brain_activity_prediction.runtime.stopping import stop_while_importing

    stop_while_importing()


def __getattr__(name):
    """Import a public name on first use: torch takes seconds, and not every name needs it."""
    if name not in _DEFINED_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_DEFINED_IN[name]}"), name)


def __dir__():
    return sorted({*globals(), *__all__})
