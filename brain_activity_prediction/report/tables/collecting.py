"""Collect all score tables of a BASE_DIR into one, and compute q over all of them.

An alignment writes one table for each model, prompt and subject. The tables are read one at a time, so that the memory
needed is that of the largest table, even for millions of rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from brain_activity_prediction.encoding.scores.unscored import unscored
from brain_activity_prediction.inference.false_discovery import adjusted
from brain_activity_prediction.report.tables.selection import Selection
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.wording import did_you_mean
from brain_activity_prediction.storage.files import reading
from brain_activity_prediction.storage.folders import PROTOCOLS, Place, Subject, scores_folder
from brain_activity_prediction.storage.settings_file import fingerprint, recorded_settings
from brain_activity_prediction.storage.table_files import check_place, open_table

TABLE = "scores.parquet"
TEST = ("n_permutations", "permutation_block")  # columns that identify the permutation test of p
OF_A_TABLE = ["model_id", "prompt", "subject"]  # columns with one value in each table
ABSENT_OR_INT, NAMES = (int, type(None)), (int, str)
REMEDY = "delete its folder and align again"


@dataclass(frozen=True)
class Scored:
    """The scores of one model in one subject, with one prompt or with None (streams that depend on no prompt)."""

    folder: Path
    protocol: str
    model_id: str
    prompt: int | None
    subject: Subject
    settings: dict = field(hash=False)


def find_scored(place: Place) -> list[Scored]:
    """Find every table of scores, sorted by protocol, subject, model and prompt; tables without a prompt come first."""
    found = []
    for protocol in PROTOCOLS:
        for path in scores_folder(place, protocol).glob(f"*/*prompt*/*/{TABLE}"):
            with reading(path, REMEDY):
                file = open_table(path)
                if file.metadata.num_rows == 0:
                    continue
                first = next(file.iter_batches(1, columns=OF_A_TABLE)).to_pylist()[0]
                kinds = {name: type(value) for name, value in first.items()}
                if kinds["model_id"] is not str or not (kinds["prompt"] in ABSENT_OR_INT and kinds["subject"] in NAMES):
                    raise ValueError("it does not name its model, prompt and subject")
                check_place(path.parent, **first)
            settings = recorded_settings(path.parent, REMEDY) or {}
            found.append(Scored(path.parent, protocol, **first, settings=settings))
    if not found:
        raise InputError(f"no scores in {scores_folder(place)}: run align_model.py first")
    return sorted(found, key=lambda one: (PROTOCOLS.index(one.protocol), one.subject, one.model_id, one.prompt or 0))


class Tables:
    """The tables of a BASE_DIR, read one at a time.

    `q` is p adjusted (Benjamini and Hochberg) over a family. A family has all rows of all tables in the BASE_DIR that
    have a p and the same protocol, layer_choice and permutation test, even if only some are selected later. The row of
    a layer and the row of the chosen layer may be the same test, so they are in different families. `family_sizes` is
    the number of tested rows by (protocol, layer_choice). The q in an alignment's own table is not used, because it is
    adjusted only over this table.
    """

    def __init__(self, scored: Sequence[Scored]):
        self.scored = scored
        schemas = []
        for one in scored:
            with reading(one.folder / TABLE, REMEDY):
                schemas.append(open_table(one.folder / TABLE).schema_arrow.remove_metadata())
        tests = [[name for name in TEST if name in schema.names] for schema in schemas]
        merged = pa.unify_schemas([_plain(schema) for schema in schemas], promote_options="permissive")
        own = {"q": pa.float64(), "settings": pa.string()}
        own |= {} if "protocol" in merged.names else {"protocol": pa.string()}
        self.schema = pa.schema([*(column for column in merged if column.name not in own), *own.items()])
        self._q, self.family_sizes = self._adjusted(tests)

    def selected(self, selection: Selection) -> Iterator[tuple[Scored, pa.Table]]:
        """Yield the selected rows of each table that has any, with the columns of `schema`."""
        for one in self.scored:
            if selection.takes(one.subject, one.model_id, one.prompt):
                rows = self._rows(one)
                for name, wanted in (("roi", selection.roi), ("stream", selection.stream)):
                    if wanted:
                        rows = rows.filter(pc.is_in(rows[name], pa.array(wanted)))
                if rows.num_rows:
                    yield one, rows

    def check(self, selection: Selection) -> None:
        """Raise InputError if a selected name is in no table, or if no table matches the whole selection."""
        known = {
            "subject": {one.subject for one in self.scored},
            "model": {one.model_id for one in self.scored},
            "prompt": {one.prompt for one in self.scored} - {None},
        }
        for name in ("stream", "roi"):
            if getattr(selection, name):
                known[name] = set().union(*(pc.unique(_read(one, [name])[name]).to_pylist() for one in self.scored))
        for name, there in known.items():
            if missing := [value for value in getattr(selection, name) if value not in there]:
                meant = did_you_mean(missing[0], there)
                raise InputError(
                    f"no scores of {name} {missing[0]}{meant}; available: {', '.join(map(str, sorted(there)))}"
                )
        if next(self.selected(selection), None) is None:
            raise InputError("each selected name has scores, but no table has all of them together: select fewer names")
        if lacking := self._lacking(selection):
            log.warning(f"no scores of: {'; '.join(lacking)}")

    def _lacking(self, selection: Selection) -> list[str]:
        """Return the combinations of selected names that no table has, as text; empty without a selection."""
        if selection == Selection():
            return []
        scored = {(one.model_id, one.prompt, one.subject) for one in self.scored}
        lacking = unscored(scored, selection.model, selection.prompt, selection.subject)
        taken = [one for one in self.scored if selection.takes(one.subject, one.model_id, one.prompt)]
        wanted = [(name, value) for name in ("stream", "roi") for value in getattr(selection, name)]
        names = {name for name, _ in wanted}
        held = {one: {n: set(pc.unique(_read(one, [n])[n]).to_pylist()) for n in names} for one in taken}
        for name, value in wanted:
            without = {one.model_id for one in taken} - {one.model_id for one in taken if value in held[one][name]}
            lacking += [f"{model}, {name} {value}" for model in sorted(without)]
        return lacking

    def _rows(self, one: Scored) -> pa.Table:
        table = _read(one)
        columns = {name: table[name] for name in table.column_names}
        columns["q"] = pa.array(self._q[one.folder], from_pandas=True)
        columns.setdefault("settings", pa.array([fingerprint(one.settings)] * table.num_rows))
        columns["protocol"] = pa.array([one.protocol] * table.num_rows)
        columns |= {name: pa.nulls(table.num_rows) for name in self.schema.names if name not in columns}
        return pa.table([columns[column.name].cast(column.type) for column in self.schema], schema=self.schema)

    def _adjusted(self, tests: Sequence[Sequence[str]]) -> tuple[dict[Path, np.ndarray], dict[tuple[str, str], int]]:
        """Return q of every row, by folder, and the number of tested rows of each layer_choice.

        tests  columns of TEST that each table has

        q is NaN for rows without a test.
        """
        p, of_row, numbers = [], [], {}
        for one, test in zip(self.scored, tests, strict=True):
            read = _read(one, ["p", "layer_choice", *test])
            p.append(read["p"].to_numpy().astype(np.float64))
            if ((p[-1] < 0) | (p[-1] > 1)).any():
                raise InputError(f"{one.folder / TABLE} holds a p that is not from 0 to 1: {REMEDY}")
            families = _lines(pa.scalar(one.protocol), *(read[name] for name in ("layer_choice", *test)))
            for family in pc.unique(families).to_pylist():
                numbers.setdefault(family, len(numbers))
            of_row.append(pc.index_in(families, pa.array(list(numbers))).to_numpy())
        together, number_of_row = np.concatenate(p), np.concatenate(of_row)
        q = np.full_like(together, np.nan)
        for number in numbers.values():
            rows = number_of_row == number
            q[rows] = adjusted(together[rows])
        sizes: dict[tuple[str, str], int] = {}
        for family, number in numbers.items():
            protocol, choice, *_ = family.split("\n")
            n = int(np.isfinite(q[number_of_row == number]).sum())
            sizes[protocol, choice] = sizes.get((protocol, choice), 0) + n
        ends = np.cumsum([len(values) for values in p])[:-1]
        by_folder = {one.folder: part for one, part in zip(self.scored, np.split(q, ends), strict=True)}
        return by_folder, {family: n for family, n in sizes.items() if n}


def _read(one: Scored, columns: Sequence[str] | None = None) -> pa.Table:
    """Read the score table of one alignment, or some of its columns."""
    with reading(one.folder / TABLE, REMEDY):
        file = open_table(one.folder / TABLE)
        table = file.read(columns=columns, use_threads=False)
        if missing := set(columns or ()) - set(table.column_names):
            raise ValueError(f"it has no column {min(missing)}")
        table.validate(full=True)  # finds invalid text now instead of at its first use
        return table


def _lines(*columns: pa.ChunkedArray | pa.Scalar) -> pa.ChunkedArray:
    """Return one text for each row: the values in the given columns, one per line."""
    return pc.binary_join_element_wise(*(pc.fill_null(column.cast(pa.string()), "") for column in columns), "\n")


def _plain(schema: pa.Schema) -> pa.Schema:
    """Return a schema in which all text columns have the plain type, whatever type pandas wrote."""
    return pa.schema(
        column.with_type(pa.string())
        if pa.types.is_large_string(column.type) or pa.types.is_dictionary(column.type)
        else column
        for column in schema
    )
