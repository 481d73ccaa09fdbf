"""The selection of scores for a report."""

import hashlib
import json
import re
from dataclasses import dataclass, fields

from brain_activity_prediction.storage.folders import Subject

LONGEST_BYTES = 120


@dataclass(frozen=True)
class Selection:
    """The selected subjects, models, prompts, streams and regions of a report. An empty field selects all."""

    subject: tuple[int, ...] = ()
    model: tuple[str, ...] = ()
    prompt: tuple[int, ...] = ()
    stream: tuple[str, ...] = ()
    roi: tuple[str, ...] = ()

    def takes(self, subject: Subject, model_id: str, prompt: int | None) -> bool:
        """Return whether a table is selected. A table without a prompt matches every prompt."""
        return (not self.subject or subject in self.subject) and self.takes_states(model_id, prompt)

    def takes_states(self, model_id: str, prompt: int | None) -> bool:
        return (not self.model or model_id in self.model) and (
            not self.prompt or prompt is None or prompt in self.prompt
        )

    @property
    def name(self) -> str:
        """Return the name of the report's subfolder: equal for equal selections, empty if everything is selected."""
        parts, exact = [], []
        for one in fields(self):
            values = [str(value).replace("/", "_").replace(":", "_") for value in getattr(self, one.name)]
            exact += sorted(map(str, getattr(self, one.name)))
            parts += [f"{one.name}-{'-'.join(sorted(values))}"] if values else []
        name = "_".join(parts)
        if len(name.encode()) <= LONGEST_BYTES and re.fullmatch(r"[\w.+-]*", name):
            return name
        digest = hashlib.sha256(json.dumps(exact).encode()).hexdigest()[:8]
        plain = re.sub(r"[^\w.+-]", "_", name).encode()[:LONGEST_BYTES].decode(errors="ignore")
        return f"{plain}_{digest}"
