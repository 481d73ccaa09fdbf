"""Write JSON records, and read them as untrusted input.

A dataclass is the schema of a record, with its annotations as types. Only plain data are returned, so that a record can
never name code that is run.
"""

import json
import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from brain_activity_prediction.storage.files import read_bytes, reading, written_whole

LARGEST_BYTES = 2**24
Record = TypeVar("Record")


def read_json(path: Path, kind: type[Record], remedy: str) -> Record:
    """Read the record in a JSON file; raise `Damaged`, which names the field and the remedy, if it has a wrong form."""
    with reading(path, remedy):
        return checked(json.loads(read_bytes(path, LARGEST_BYTES)), kind)


def write_json(path: Path, content: Any, indent: int | None = None) -> None:
    """Write a record, an instance of a dataclass or plain data, atomically as JSON."""
    plain = asdict(content) if is_dataclass(content) and not isinstance(content, type) else content
    with written_whole(path) as aside:
        aside.write_text(json.dumps(plain, indent=indent) + "\n")


def checked(value: Any, kind: Any, name: str = "the whole") -> Any:
    """Return a JSON value as an instance of the type `kind`, or raise ValueError.

    `kind` is a plain type, `A | B`, `list[A]`, `tuple[A, ...]`, `dict[str, A]`, or a dataclass. A dataclass is made
    from a JSON object with its fields, and can check more in `__post_init__`.
    """
    if kind is Any or (type(value) is kind and kind is not float):
        return value
    origin, parameters = _parts(kind)
    if is_dataclass(kind):
        return _dataclass(checked(value, dict, name), kind)
    if origin in (Union, types.UnionType):
        fitting = [one for one in parameters if _fits(value, get_origin(one) or one)]
        return checked(value, fitting[0], name) if fitting else _refuse(value, kind, name)
    if not _fits(value, list if origin is tuple else origin or kind):
        _refuse(value, kind, name)
    if origin is tuple:
        return tuple(checked(one, parameters[0], f"{name}[{place}]") for place, one in enumerate(value))
    if origin is list:
        return [checked(one, parameters[0], f"{name}[{place}]") for place, one in enumerate(value)]
    if origin is dict:
        return {key: checked(one, parameters[1], f"{name}.{key}") for key, one in value.items()}
    return value


def _dataclass(value: Mapping, kind: Any) -> Any:
    known, types_of = _schema(kind)
    if unknown := value.keys() - known.keys():
        raise ValueError(f"field {min(unknown)!r} is unknown")
    for name, field in known.items():
        if name not in value and field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"field {name!r} is missing")
    return kind(**{name: checked(one, types_of[name], f"field {name!r}") for name, one in value.items()})


@cache
def _parts(kind: Any) -> tuple[Any, tuple]:
    """Split a generic type: `list[int]` into `list, (int,)`."""
    return get_origin(kind), get_args(kind)


@cache
def _schema(kind: type) -> tuple[dict[str, Field], dict[str, Any]]:
    """Return the fields of a dataclass with their types, by name."""
    return {field.name: field for field in fields(kind)}, get_type_hints(kind)


def _fits(value: Any, kind: Any) -> bool:
    if kind is Any:
        return True
    if is_dataclass(kind):
        return type(value) is dict
    if kind is None or kind is types.NoneType:
        return value is None
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is kind  # True is not accepted as an int


def _refuse(value: Any, kind: Any, name: str) -> None:
    shown = json.dumps(value)
    raise ValueError(
        f"{name} is {shown if len(shown) < 60 else shown[:56] + ' ...'}, not {getattr(kind, '__name__', kind)}"
    )
