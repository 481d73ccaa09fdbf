"""Look up the region names of the labels in ROI files: in a subject's label tables, or else in NSD's list."""

from __future__ import annotations

import re
from pathlib import Path

from brain_activity_prediction.datasets.nsd.layout import Layout, without_hemisphere
from brain_activity_prediction.runtime.errors import InputError, one_line
from brain_activity_prediction.storage.files import read_bytes, reading

# Names of the labels 1, 2, ... of NSD's ROI files, for folders without the label tables (NSD data manual).
LABELS = {
    "prf-visualrois": ("V1v", "V1d", "V2v", "V2d", "V3v", "V3d", "hV4"),
    "prf-eccrois": ("ecc0pt5", "ecc1", "ecc2", "ecc4", "ecc4+"),
    "floc-faces": ("OFA", "FFA-1", "FFA-2", "mTL-faces", "aTL-faces"),
    "floc-bodies": ("EBA", "FBA-1", "FBA-2", "mTL-bodies"),
    "floc-places": ("OPA", "PPA", "RSC"),
    "floc-words": ("OWFA", "VWFA-1", "VWFA-2", "mfs-words", "mTL-words"),
    "streams": ("early", "midventral", "midlateral", "midparietal", "ventral", "lateral", "parietal"),
    "Kastner2015": (
        *("V1v", "V1d", "V2v", "V2d", "V3v", "V3d", "hV4", "VO1", "VO2", "PHC1", "PHC2", "MST", "hMT"),
        *("LO2", "LO1", "V3b", "V3a", "IPS0", "IPS1", "IPS2", "IPS3", "IPS4", "IPS5", "SPL1", "FEF"),
    ),
}
LARGEST_TABLE_BYTES = 2**20
# A row is "number name". FreeSurfer adds four colour numbers R G B A, NSD does not.
ROW = re.compile(r"\s*([+-]?\d+)\s+(\S.*?)(?P<colour>(?:\s+\d{1,3}){4})?\s*", re.ASCII)
LARGEST_COLOUR = 255


def label_names(layout: Layout, subject: int, name: str) -> dict[int, str]:
    """Return `{label number: region name}` of an ROI file; empty if neither a label table nor LABELS lists them.

    The file of one hemisphere uses the table of the whole ROI, unless it has its own.
    """
    table = layout.label_table(subject, name)
    if table is None:
        return dict(enumerate(LABELS.get(without_hemisphere(name), ()), start=1))
    return read_label_table(table)


def read_label_table(table: Path) -> dict[int, str]:
    """Return `{label number: name}` of a text file with rows of `number name`, with or without FreeSurfer's colours."""
    with reading(table):
        text = read_bytes(table, LARGEST_TABLE_BYTES).decode("utf-8-sig")
    names: dict[int, str] = {}
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        number, name = _parsed(table, line)
        if names.setdefault(number, name) != name:
            raise InputError(f"{table} calls label {number} both {names[number]!r} and {name!r}: delete one of them")
    return names


def _parsed(table: Path, line: str) -> tuple[int, str]:
    """Return the label number and name in a row of a label table; a name may contain spaces."""
    row = ROW.fullmatch(line)
    if row is None:
        raise InputError(f"{table} is not a label table: a line is not 'number name'; fetch it again, or delete it")
    name, colour = row[2], row["colour"] or ""
    if any(int(value) > LARGEST_COLOUR for value in colour.split()):
        name += colour
    return int(row[1]), one_line(name)  # a terminal would obey control characters in a printed name
