"""A model's weights: from the hub at a revision, or from a folder on disk."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from brain_activity_prediction.models.checkpoints import weights_identity
from brain_activity_prediction.models.checkpoints.checkpoint_files import CheckpointFiles
from brain_activity_prediction.models.checkpoints.checkpoint_folder import check_folder
from brain_activity_prediction.models.checkpoints.hub import COMMIT, fetched_folder
from brain_activity_prediction.models.checkpoints.loaded_parameters import check_parameters
from brain_activity_prediction.models.checkpoints.machine import check_memory, check_quantised, count_parameters
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import no_such_path
from brain_activity_prediction.storage.settings_file import ORIGIN

if TYPE_CHECKING:
    import torch

UNUSED_HEADS = ("pooler.", "vision_model.head.")  # applied after the last hidden state; some checkpoints lack them
SMALL_BYTES = 2**30
ADAPTER = "adapter_config.json"
IS_ADAPTER = f"holds an adapter ({ADAPTER}): merge it into its base model and give the merged model"


@dataclass(frozen=True)
class Checkpoint(CheckpointFiles):
    """A model's weights: those in `folder` if it is given, otherwise those published as `model_id` at `revision`.

    Weights are loaded from safetensors or with `weights_only`, and code in the checkpoint is never run. Models are in
    evaluation mode.

    seed  seed of random, untrained weights, drawn on the CPU as the model class initialises them; None for the trained
          weights
    quantize  "8bit" or "4bit": bitsandbytes quantises the weights when they are loaded
    device_map  "auto": accelerate distributes the layers over all GPUs and, if these are full, the CPU's memory
    parts_on_hub  `{subfolder: (model id, revision)}` of parts that are separate repositories on the hub
    """

    seed: int | None = None
    quantize: str | None = None
    device_map: str | None = None
    parts_on_hub: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def check(self, files: Sequence[str] = ("config.json",), model_type: str | None = None) -> None:
        """Raise InputError if the folder lacks files or weights, or is not safe to load; weights are not read.

        files  patterns of required files; "A or B" requires one of the two
        model_type  type that config.json must name; None for any
        """
        if self.folder:
            self._check_folder(self.folder, files)
            self.check_type(model_type, "this script")
        if self.quantize and importlib.util.find_spec("bitsandbytes") is None:
            raise InputError("--quantize needs bitsandbytes: pip install bitsandbytes")
        if self.seed is None and (self.folder or self.revision):  # without both, the model is not on the hub
            quantised = self.settings("config.json").get("quantization_config")
            if quantised:
                check_quantised(quantised, self.source)

    def _check_folder(self, folder: Path, files: Sequence[str]) -> None:
        if not folder.is_dir():
            raise InputError(f"--checkpoint {no_such_path(folder)}: give the folder of a saved model")
        if (folder / ADAPTER).exists():
            raise InputError(f"--checkpoint {folder} {IS_ADAPTER}")
        for name in files:
            if not any(any(folder.glob(one)) for one in name.split(" or ")):
                raise InputError(f"--checkpoint {folder} holds no {name}: give the folder of a saved model")
        if self.seed is None and not any(self._files(weights_identity.WEIGHT_FILES)):
            kinds = ", ".join(weights_identity.WEIGHT_FILES)
            raise InputError(f"--checkpoint {folder} holds no weights ({kinds}): copy them there; GGUF is not read")
        check_folder(folder, weights_identity.WEIGHT_FILES + weights_identity.TEXT_FILES)

    def model(self, model_class, device: str, dtype: torch.dtype, optional: Sequence[str] = UNUSED_HEADS):
        """Load a model of a transformers class on a device, in a dtype and in evaluation mode.

        optional  prefixes of the names of parameters that the checkpoint may lack, because their results are not used

        Raises InputError if the checkpoint is of another kind of model, or if its parameters are not those of the
        class. Without this check, transformers would draw missing parameters at random and ignore extra ones.
        """
        self.check_kind(model_class)
        if self.seed is not None:
            return self._untrained(model_class, dtype).to(device).eval()
        self._check_size(model_class)
        placement = self._placement(device, dtype)
        model, loaded = self.load(model_class, dtype=dtype, output_loading_info=True, **placement)
        check_parameters(self.source, model, model_class.__name__, loaded, optional)
        return (model if placement else model.to(device)).eval()

    def check_kind(self, model_class) -> None:
        """Raise InputError if the checkpoint is an adapter, or a model of another type than the class reads."""
        if self.file(ADAPTER):
            raise InputError(f"{self.source} {IS_ADAPTER}")
        wanted = getattr(getattr(model_class, "config_class", None), "model_type", None)
        self.check_type(wanted, model_class.__name__)

    def check_type(self, wanted: str | None, reader: str) -> None:
        """Raise InputError if config.json names a `model_type` other than the one that the reader needs."""
        found = self.settings("config.json").get("model_type")
        if wanted and found and found != wanted:
            raise InputError(
                f"{self.source} is a {found} model, but {reader} reads {wanted}: give a checkpoint that fits the "
                "script, or use the script of this model"
            )

    def _placement(self, device: str, dtype: torch.dtype) -> dict:
        """Return the arguments of `from_pretrained` that quantize or spread the weights; empty for a single device."""
        placement = {"device_map": self.device_map} if self.device_map else {}
        if self.quantize:
            from transformers import BitsAndBytesConfig

            fewer_bits = {"load_in_8bit": True} if self.quantize == "8bit" else {"load_in_4bit": True}
            config = BitsAndBytesConfig(**fewer_bits, bnb_4bit_compute_dtype=dtype)
            placement = {"device_map": {"": device}} | placement | {"quantization_config": config}
        return placement

    @contextmanager
    def random_numbers(self) -> Iterator[None]:
        """Seed torch's random numbers on the CPU while the `with` block runs, if the checkpoint has a seed."""
        import torch

        with torch.random.fork_rng(devices=[]):
            if self.seed is not None:
                torch.manual_seed(self.seed)
            yield

    def config(self, model_class):
        """Load the configuration of a model class from config.json; raise InputError as `check_kind` does."""
        from transformers import AutoConfig

        self.check_kind(model_class)
        return self.load(getattr(model_class, "config_class", AutoConfig))

    def _untrained(self, model_class, dtype: torch.dtype):
        self.check_memory(model_class, dtype)
        with self.random_numbers():
            return self._builder(model_class)(dtype=dtype)

    def check_memory(self, model_class, dtype: torch.dtype) -> None:
        """Raise InputError if the untrained weights of a model class do not fit into memory."""
        check_memory(self._builder(model_class), dtype, self.source)

    def _builder(self, model_class) -> Callable:
        """Return a function that makes an untrained model of the class from the configuration."""
        config = self.config(model_class)
        # `from_config` is the only constructor of Auto classes.
        return partial(getattr(model_class, "_from_config", None) or model_class.from_config, config)

    def _check_size(self, model_class) -> None:
        """Raise InputError if the configuration describes a model that is much larger than the weight files."""
        n_bytes = (
            sum(path.stat().st_size for path in self._files(weights_identity.WEIGHT_FILES))
            if self.folder
            else SMALL_BYTES
        )
        if n_bytes >= SMALL_BYTES:
            return
        n_parameters = count_parameters(self._builder(model_class))
        if n_parameters > max(2 * n_bytes, SMALL_BYTES // 4):  # loading reports small differences in more detail
            raise InputError(
                f"{self.folder} describes a model of {n_parameters} parameters, but its weights take {n_bytes} bytes: "
                "it is the checkpoint of another model, or incomplete"
            )

    def identity(self) -> str:
        """Return a name that identifies the weights: by content or, before they are downloaded, by the hub's commit.

        Untrained weights are identified by the seed and the content of the configuration.
        """
        return self.recorded_weights({})["weights"]

    def recorded_weights(self, recorded: Mapping) -> dict:
        """Return the settings that identify these weights, in the form of `recorded` if these are the same weights.

        Weights are the same if their content, the hub's commit, or their name in version 1.0.0 is equal. The result is
        empty if this is unknown until files are downloaded from the hub.
        """
        theirs = recorded.get(ORIGIN, {})
        names = [self._with_seed(f"revision {self._commit()}")] if self.folder is None else []
        if self.folder and "files " in str(recorded.get("weights")):
            names.append(self._with_seed(weights_identity.first_version_name(self.folder, self.seed is None)))
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
        return {"weights": self._with_seed(weights_identity.content_name(self._content)), ORIGIN: made_from}

    def _with_seed(self, name: str) -> str:
        return name if self.seed is None else f"random with seed {self.seed}, configuration of {name}"

    def _commit(self) -> str | None:
        """Return the hub's commit of the revision; None without a revision, because the model is not on the hub."""
        known = self.revision is None or COMMIT.fullmatch(self.revision)
        return self.revision if known else self.hub_source["revision"]

    @property
    def _content(self) -> dict[str, str] | None:
        """Return `{name: digest}` of the checkpoint's files; None unless all are on this disk."""
        if "content" not in self._known:
            folder = self.folder or (self.revision and fetched_folder(self.model_id, self._commit()))
            others = {} if self.folder else {part: fetched_folder(*where) for part, where in self.parts_on_hub.items()}
            if not folder or (self.seed is None and not all(others.values())):
                return None
            parts = {part: fetched for part, fetched in others.items() if fetched}
            content = weights_identity.content_of(folder, self.seed is None, parts)
            if content is None:
                return None
            self._known["content"] = content
        return self._known["content"]

    @cached_property
    def _known(self) -> dict:
        return {}

    def _files(self, patterns: Sequence[str]) -> list[Path]:
        return sorted({path for pattern in patterns for path in self.folder.rglob(pattern)})
