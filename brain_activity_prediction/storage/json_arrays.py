"""Read the arrays of a large JSON file one element at a time, with little memory.

The file holds one object whose values are arrays or small values. COCO's annotation files have this form.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

CHUNK = LARGEST_ELEMENT = 2**22  # characters


def array_elements(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (key, element) for each element of each array in the object; raise ValueError if it is not JSON."""
    with path.open(encoding="utf-8") as file:
        text = _Text(file)
        text.expect("{")
        while text.next_character() != "}":
            key = text.value()
            text.expect(":")
            if text.next_character() == "[":
                text.expect("[")
                while text.next_character() != "]":
                    yield key, text.value()
                    text.comma("]")
                text.expect("]")
            else:
                text.value()
            text.comma("}")


class _Text:
    """The part of a file that is in memory, and the position of the next value in it."""

    def __init__(self, file: TextIO):
        self.file, self.held, self.place = file, "", 0
        self.decoder = json.JSONDecoder(parse_constant=_refuse)

    def next_character(self) -> str:
        """Return the next character that is not white space, without moving past it."""
        while True:
            while self.place < len(self.held) and self.held[self.place] in " \t\r\n":
                self.place += 1
            if self.place < len(self.held):
                return self.held[self.place]
            if not self._more():
                raise ValueError("the file ends too early")

    def expect(self, character: str) -> None:
        if self.next_character() != character:
            raise ValueError(f"{self.next_character()!r} was found instead of {character!r}")
        self.place += 1

    def comma(self, end: str) -> None:
        """Move past a comma; raise ValueError if neither a comma nor the end follows."""
        if self.next_character() != end:
            self.expect(",")

    def value(self) -> Any:
        """Return the next value."""
        self.next_character()
        while True:
            try:
                value, end = self.decoder.raw_decode(self.held, self.place)
                if end < len(self.held):  # otherwise the next part of the file may continue a number
                    self.place = end
                    return value
            except ValueError:
                if len(self.held) - self.place > LARGEST_ELEMENT:
                    raise
            if not self._more():
                raise ValueError("the file ends too early, or is not JSON")

    def _more(self) -> bool:
        """Read more of the file; return whether there was more."""
        added = self.file.read(CHUNK)
        self.held, self.place = self.held[self.place :] + added, 0
        return bool(added)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a number in JSON")
