"""Where a model's weights come from: the hub at a revision, or a folder on disk."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from brain_activity_prediction.errors import InputError
from brain_activity_prediction.extract_image_embeddings import weights_identity
from brain_activity_prediction.extract_image_embeddings.checkpoint_folder import check_folder
from brain_activity_prediction.extract_image_embeddings.hub import COMMIT, commit_on_hub, fetched_folder
from brain_activity_prediction.files import readable
from brain_activity_prediction.settings_file import ORIGIN
from brain_activity_prediction.wording import no_such_path

if TYPE_CHECKING:
    import torch

UNUSED_HEADS = ("pooler.", "vision_model.head.")  # computed after the last hidden state, and published without
SMALL_BYTES = 2**30


@dataclass(frozen=True)
class Checkpoint:
    """The published weights of `model_id` at `revision`, or those in `folder` where one is given.

    With a `seed` only the configuration is taken from there, and the weights are those that the model class starts
    from before any training, drawn on the CPU. Weights load as safetensors or with `weights_only`, in evaluation mode,
    and never with code from the checkpoint.

    `quantize` ("8bit" or "4bit") lets bitsandbytes shrink the weights as they load; `device_map` ("auto") lets
    accelerate spread the layers over all GPUs, and over the CPU's memory where those are full.
    """

    model_id: str
    revision: str | None = None
    folder: Path | None = None
    seed: int | None = None
    quantize: str | None = None
    device_map: str | None = None

    def check(self, files: Sequence[str] = ("config.json",)) -> None:
        """Raises InputError where the folder lacks one of the files (glob patterns) or weights, or is not safe to load.

        Reads no weights.
        """
        if self.folder and not self.folder.is_dir():
            raise InputError(f"--checkpoint {no_such_path(self.folder)}: give the folder of a saved model")
        for name in files if self.folder else []:
            if not any(self.folder.glob(name)):
                raise InputError(f"--checkpoint {self.folder} holds no {name}: give the folder of a saved model")
        if self.folder and self.seed is None and not any(self._files(weights_identity.WEIGHT_FILES)):
            kinds = ", ".join(weights_identity.WEIGHT_FILES)
            raise InputError(f"--checkpoint {self.folder} holds no weights ({kinds}): copy them there")
        if self.folder:
            check_folder(self.folder, weights_identity.WEIGHT_FILES + weights_identity.TEXT_FILES)
        if self.quantize and importlib.util.find_spec("bitsandbytes") is None:
            raise InputError("--quantize needs bitsandbytes: pip install bitsandbytes")

    def model(self, model_class, device: str, dtype: torch.dtype):
        """An instance of a transformers model class, on the device, in the dtype, ready for inference.

        Raises InputError where parameters are missing: transformers would draw them at random.
        """
        if self.seed is not None:
            return self._untrained(model_class, dtype).to(device).eval()
        self._check_size(model_class)
        placement = self._placement(device, dtype)
        model, loaded = self._load(model_class, dtype=dtype, output_loading_info=True, **placement)
        missing = sorted(name for name in loaded["missing_keys"] if not name.startswith(UNUSED_HEADS))
        if missing:
            raise InputError(
                f"{self.folder or self.model_id} lacks {len(missing)} of the parameters of {model_class.__name__}, "
                f"first {missing[0]}: it is the checkpoint of another model, or incomplete"
            )
        return (model if placement else model.to(device)).eval()

    def _placement(self, device: str, dtype: torch.dtype) -> dict:
        """What `from_pretrained` is told of where the weights go; nothing where they go to `device` as they are."""
        placement = {"device_map": self.device_map} if self.device_map else {}
        if self.quantize:
            from transformers import BitsAndBytesConfig

            fewer_bits = {"load_in_8bit": True} if self.quantize == "8bit" else {"load_in_4bit": True}
            config = BitsAndBytesConfig(**fewer_bits, bnb_4bit_compute_dtype=dtype)
            placement = {"device_map": {"": device}} | placement | {"quantization_config": config}
        return placement

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
        build = self._builder(model_class)
        n_bytes, free = _parameters(build) * dtype.itemsize, psutil.virtual_memory().available
        if n_bytes > free:
            raise InputError(
                f"the untrained weights of {self.folder or self.model_id} take {readable(n_bytes)}, where "
                f"{readable(free)} of memory are free: choose a smaller model, a smaller --dtype or another machine"
            )
        with self.random_numbers():
            return build(dtype=dtype)

    def _builder(self, model_class) -> Callable:
        """What makes an untrained model of the class from the configuration."""
        from transformers import AutoConfig

        config = self._load(getattr(model_class, "config_class", AutoConfig))
        # Auto classes have the latter alone.
        return partial(getattr(model_class, "_from_config", None) or model_class.from_config, config)

    def _check_size(self, model_class) -> None:
        """Raises InputError where a few weights come with the configuration of a model that would fill the memory."""
        n_bytes = (
            sum(path.stat().st_size for path in self._files(weights_identity.WEIGHT_FILES))
            if self.folder
            else SMALL_BYTES
        )
        if n_bytes < SMALL_BYTES and (n_parameters := _parameters(self._builder(model_class))) > 2 * n_bytes:
            raise InputError(
                f"{self.folder} describes a model of {n_parameters} parameters, but its weights take {n_bytes} bytes: "
                "it is the checkpoint of another model, or incomplete"
            )

    @cached_property
    def of_hub(self) -> dict:
        """What tells a `from_pretrained` which files of the hub to take; raises InputError where it has none."""
        commit, on_disk = commit_on_hub(self.model_id, self.revision)
        return {"revision": commit, "local_files_only": on_disk}

    def _load(self, loadable, **settings):
        source = self.of_hub if self.folder is None else {"local_files_only": True}
        try:
            # Said to be False, because transformers asks at the terminal where nothing is said.
            return loadable.from_pretrained(self.folder or self.model_id, trust_remote_code=False, **source, **settings)
        except InputError:
            raise
        except Exception as error:  # every library below raises its own kinds
            reason = " ".join(str(error).split())[:300]
            if "weights_only" in str(error):  # the library's advice is to unpickle anything
                reason = "its weights are a pickle that holds more than tensors, which is never loaded"
            if "trust_remote_code" in str(error):
                reason = "it is a model with code of its own, which is never run here: choose one of transformers' own"
            raise InputError(
                f"{self.folder or self.model_id} could not be loaded as {loadable.__name__}: {reason} "
                "(weights that lie on disk are given with --checkpoint DIR)"
            ) from error

    def identity(self) -> str:
        """What tells these weights from others: their content, or the commit of files yet to be fetched; the seed.

        Where the weights are drawn, it is the content of the configuration alone.
        """
        return self.recorded_weights({})["weights"]

    def recorded_weights(self, recorded: Mapping) -> dict:
        """The settings that tell these weights from others, to be compared with recorded settings and put beside them.

        Weights are the same where their content, the hub's commit, or the name that version 1.0.0 gave them is. None
        are given where that cannot be told before the hub's files are fetched.
        """
        theirs = recorded.get(ORIGIN, {})
        names = [self._of_seed(f"revision {self._commit()}")] if self.folder is None else []
        if self.folder and "files " in str(recorded.get("weights")):
            names.append(self._of_seed(weights_identity.first_version_name(self.folder, self.seed is None)))
        made_from = {"names": names, "files": self._content or {}}
        if {recorded.get("weights"), *theirs.get("names", ())}.intersection(names):
            return {"weights": recorded["weights"], ORIGIN: made_from}
        if known := theirs.get("files"):
            if self._content is None:
                return {}
            if weights_identity.is_same(known, self._content):
                return {"weights": recorded["weights"], ORIGIN: made_from}
        if self.folder is None and (self._content is None or "revision " in str(recorded.get("weights"))):
            return {"weights": names[0], ORIGIN: made_from}
        return {"weights": self._of_seed(weights_identity.content_name(self._content)), ORIGIN: made_from}

    def _of_seed(self, name: str) -> str:
        return name if self.seed is None else f"random with seed {self.seed}, configuration of {name}"

    def _commit(self) -> str | None:
        """Of no revision, that of a script whose model is in no hub, there is none."""
        known = self.revision is None or COMMIT.fullmatch(self.revision)
        return self.revision if known else self.of_hub["revision"]

    @property
    def _content(self) -> dict[str, str] | None:
        """The digests of the files, by name; None while they are not all on this disk."""
        if "content" not in self._known:
            folder = self.folder or (self.revision and fetched_folder(self.model_id, self._commit()))
            content = weights_identity.content_of(folder, self.seed is None) if folder else None
            if content is None:
                return None
            self._known["content"] = content
        return self._known["content"]

    @cached_property
    def _known(self) -> dict:
        return {}

    def _files(self, patterns: Sequence[str]) -> list[Path]:
        return sorted({path for pattern in patterns for path in self.folder.rglob(pattern)})


def _parameters(build: Callable) -> int:
    """How many parameters a model has, which takes no memory to find out."""
    import torch

    with torch.device("meta"):
        return sum(weights.numel() for weights in build().parameters())
