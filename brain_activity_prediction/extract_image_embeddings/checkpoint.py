"""Where a model's weights come from: the hub at a revision, or a folder on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from brain_activity_prediction.errors import InputError

if TYPE_CHECKING:
    import torch

WEIGHT_FILES = ("*.safetensors", "*.bin", "*.pt", "*.pth")
SAMPLE_BYTES, SAMPLES = 4096, 64


@dataclass(frozen=True)
class Checkpoint:
    """The published weights of `model_id` at `revision`, or those in `folder` where one is given.

    With a `seed` only the configuration is taken from there, and the weights are those that the model class starts
    from before any training, drawn on the CPU. Weights load as safetensors or with `weights_only`, in evaluation mode,
    and never with code from the checkpoint.
    """

    model_id: str
    revision: str | None = None
    folder: Path | None = None
    seed: int | None = None

    def check(self, files: Sequence[str] = ("config.json",)) -> None:
        """Raises InputError where the folder lacks one of the files (glob patterns); reads no weights."""
        for name in files if self.folder else []:
            if not any(self.folder.glob(name)):
                raise InputError(f"--checkpoint {self.folder} holds no {name}: give the folder of a saved model")

    def model(self, model_class, device: str, dtype: torch.dtype):
        """An instance of a transformers model class, on the device, in the dtype, ready for inference."""
        model = self._load(model_class, dtype=dtype) if self.seed is None else self._untrained(model_class, dtype)
        return model.to(device).eval()

    @contextmanager
    def random_numbers(self) -> Iterator[None]:
        """While the block runs, torch's random numbers on the CPU follow from the seed, if there is one."""
        import torch

        with torch.random.fork_rng(devices=[]):
            if self.seed is not None:
                torch.manual_seed(self.seed)
            yield

    def processor(self, processor_class):
        """The processor or tokenizer saved with the model; images go through PIL, the same on every machine."""
        return self._load(processor_class, backend="pil")

    def _untrained(self, model_class, dtype: torch.dtype):
        from transformers import AutoConfig

        config = self._load(getattr(model_class, "config_class", AutoConfig))
        with self.random_numbers():
            build = getattr(model_class, "_from_config", None) or model_class.from_config  # Auto classes: the latter
            return build(config, dtype=dtype)

    def _load(self, loadable, **settings):
        source = {"revision": self.revision} if self.folder is None else {"local_files_only": True}
        try:
            return loadable.from_pretrained(self.folder or self.model_id, **source, **settings)
        except (OSError, ValueError) as error:
            first_line = str(error).strip().splitlines()[0]
            raise InputError(
                f"{self.folder or self.model_id} could not be loaded as {loadable.__name__}: {first_line} "
                "(weights that lie on disk are given with --checkpoint DIR)"
            ) from error

    def identity(self) -> str:
        """What tells these weights from others: the hub's `revision`, or a fingerprint of the folder's files; the seed.

        The fingerprint reads the configuration files whole and, of each weight file, its size and 64 samples of 4 kB;
        where the weights are drawn, the configuration files alone.
        """
        source = f"revision {self.revision}" if self.folder is None else f"files {self._fingerprint()}"
        return source if self.seed is None else f"random with seed {self.seed}, configuration of {source}"

    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for path in sorted(self.folder.rglob("*.json")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
        patterns = WEIGHT_FILES if self.seed is None else ()
        for path in sorted(path for pattern in patterns for path in self.folder.rglob(pattern)):
            size = path.stat().st_size
            digest.update(f"{path.name}\0{size}\0".encode())
            with path.open("rb") as file:
                for sample in range(SAMPLES):
                    file.seek(sample * max(size - SAMPLE_BYTES, 0) // (SAMPLES - 1))
                    digest.update(file.read(SAMPLE_BYTES))
        return digest.hexdigest()[:16]


def digest_of(settings: dict) -> str:
    """A short digest of settings that JSON can hold."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
