"""JSON records fit their schema, or one line names the file and the field."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from brain_activity_prediction.runtime.errors import Damaged
from brain_activity_prediction.storage.checked_json import checked, read_json
from brain_activity_prediction.storage.settings_file import record_settings, recorded_settings


@dataclass
class Inner:
    name: str


@dataclass
class Outer:
    count: int
    rate: float
    label: str | None
    inner: list[Inner] = field(default_factory=list)
    named: dict[str, int] = field(default_factory=dict)

    def __post_init__(self):
        if self.count < 0:
            raise ValueError("field 'count' is negative")


GOOD = {"count": 3, "rate": 1, "label": None, "inner": [{"name": "a"}], "named": {"x": 1}}


def test_a_record_that_fits_is_read_as_its_dataclass(tmp_path):
    (tmp_path / "r.json").write_text(json.dumps(GOOD))
    assert read_json(tmp_path / "r.json", Outer, "delete it") == Outer(3, 1, None, [Inner("a")], {"x": 1})
    assert checked({"count": 0, "rate": 0.5, "label": "l"}, Outer) == Outer(0, 0.5, "l")
    assert checked({"a": [1, None]}, dict[str, Any]) == {"a": [1, None]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"count": "3"}, "field 'count' is \"3\", not int"),
        ({"count": True}, "field 'count' is true, not int"),
        ({"count": -1}, "field 'count' is negative"),
        ({"rate": float("nan")}, "field 'rate' is NaN, not float"),
        ({"label": 7}, r"field 'label' is 7, not str \| None"),
        ({"inner": {}}, "field 'inner' is {}, not list"),
        ({"inner": [{"name": 4}]}, "field 'name' is 4, not str"),
        ({"inner": [[]]}, "inner.*is \\[\\], not dict"),
        ({"named": {"x": "y" * 99}}, "named'.x is .{,60} ..., not int"),
        ({"more": 1}, "field 'more' is unknown"),
        (None, "field 'count' is missing"),
    ],
)
def test_a_record_that_does_not_fit_is_said_with_its_field(tmp_path, changes, said):
    path = tmp_path / "r.json"
    path.write_text(json.dumps({} if changes is None else GOOD | changes))
    with pytest.raises(Damaged, match=f"^cannot read {path} .*{said}.*delete it$"):
        read_json(path, Outer, "delete it")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("model_id", 7), ("embeddings_model_id", None), ("A_embeddings_prompt", ["a"]), ("sessions", "1-3")),
        *(
            ("sessions", [1, "2"]),
            ("min_log_10_alpha", "1"),
            ("num_alphas", True),
            ("responses", {}),
            ("made_from", []),
        ),
    ],
)
def test_settings_of_a_wrong_type_are_said_by_name_even_where_their_checksum_fits(tmp_path, name, value):
    record_settings(tmp_path, {"model_id": "org/model", "note": [1], name: value})
    with pytest.raises(Damaged, match=f"^cannot read {tmp_path}/settings.json .field '{name}.*delete it$"):
        recorded_settings(tmp_path, "delete it")
