"""Names of the conditions that are scored and compared: a stream of a model under a prompt."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stream:
    """Stream of a model; `prompt` is None for streams that no prompt changes."""

    model_id: str
    prompt: int | None
    stream: str

    def __str__(self) -> str:
        prompt = "" if self.prompt is None else f" prompt {self.prompt}"
        return f"{self.model_id}{prompt} {self.stream}"
