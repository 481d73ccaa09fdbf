"""Prediction of brain responses from the hidden states of vision-language models.

The names in `__all__` are for use as a library: `from brain_activity_prediction import VoxelwiseRidgeCV`.
"""

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

__version__ = "2.0.0"

_DEFINED_IN = {
    "BandedRidgeCV": "ridge.banded_estimator",
    "EmbeddingStore": "storage.embeddings.embedding_store",
    "VoxelwiseRidgeCV": "ridge.estimator",
    "noise_ceiling": "inference.noise_ceiling",
    "noise_ceiling_snr": "inference.noise_ceiling",
    "pearson_r": "ridge.scores",
    "ridge_cv": "ridge.ridge_cv",
}
__all__ = [
    "BandedRidgeCV",
    "EmbeddingStore",
    "VoxelwiseRidgeCV",
    "noise_ceiling",
    "noise_ceiling_snr",
    "pearson_r",
    "ridge_cv",
]


def _is_run_as_script() -> bool:
    """Return whether Python was started with a file or module of this package."""
    if sys.argv[:1] == ["-m"]:  # set by `python -m` until the package of the module is imported
        return any(word.partition(".")[0] == __name__ for word in sys.orig_argv)
    return bool(sys.argv) and Path(__file__).resolve().parent in Path(sys.argv[0]).resolve().parents


if _is_run_as_script():
    from brain_activity_prediction.runtime.stopping import stop_while_importing

    stop_while_importing()


if TYPE_CHECKING:  # type checkers and editors see the names where they are defined
    from brain_activity_prediction.inference.noise_ceiling import noise_ceiling, noise_ceiling_snr
    from brain_activity_prediction.ridge.banded_estimator import BandedRidgeCV
    from brain_activity_prediction.ridge.estimator import VoxelwiseRidgeCV
    from brain_activity_prediction.ridge.ridge_cv import ridge_cv
    from brain_activity_prediction.ridge.scores import pearson_r
    from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
else:

    def __getattr__(name: str) -> Any:
        """Import a public name on first use, since importing torch takes seconds and not every name needs it."""
        if name not in _DEFINED_IN:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_DEFINED_IN[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
