"""Read the style of figures: widths of columns, colours, and the parameters of matplotlib."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import matplotlib
from matplotlib.colors import is_color_like

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import did_you_mean, no_such_path

DEFAULT = Path(__file__).with_name("style.toml")
MATPLOTLIB = "matplotlib"  # table of the parameters
NARROWEST_MM, WIDEST_MM = 30, 500
POINTS_PER_MM = 72 / 25.4
# Colours that the page replaces by its own, which differ between light and dark mode.
INK, LINE, PAPER = "#1b1b1f", "#d5d6db", "#fefefe"
INKED = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
# Parameters that no style can change: fonts are embedded, text stays text, names are not formulas, widths are exact.
FIXED = {
    **{"pdf.fonttype": 42, "svg.fonttype": "none", "text.parse_math": False, "text.usetex": False},
    **{"savefig.bbox": None, "axes.axisbelow": True, "figure.constrained_layout.use": False},
    "axes.titley": 1.0,  # saves matplotlib's search for labels above the panels, which do not exist
}


@dataclass(frozen=True)
class Style:
    """The style of figures.

    notes       whether figures have a title and a note
    colours     colours of models, parts or conditions
    parameters  parameters of matplotlib
    """

    one_column_mm: float
    two_columns_mm: float
    notes: bool
    colours: tuple[str, ...]
    parameters: Mapping[str, object]

    def width(self, columns: int) -> float:
        """Return the width in points of a figure that has the width of one or two columns of a journal."""
        return (self.one_column_mm if columns == 1 else self.two_columns_mm) * POINTS_PER_MM

    @property
    def small(self) -> float:
        """Return the font size, in points, of notes and of labels in panels."""
        return float(matplotlib.rcParams["legend.fontsize"])

    @contextmanager
    def applied(self, **more: object) -> Iterator[None]:
        """Use this style for drawing while the `with` block runs."""
        with matplotlib.rc_context(self.parameters | FIXED | more):
            yield


@lru_cache(maxsize=8)
def read_style(path: Path | None = None) -> Style:
    """Return the default style, in which the values of a file replace the defaults.

    The file is a TOML file like style.toml, or a matplotlib style file, which has no widths. Raises InputError for a
    file that is neither, and for unknown names.
    """
    settings = tomllib.loads(DEFAULT.read_text())
    parameters = {**dict.fromkeys(INKED, INK), "grid.color": LINE, **settings.pop(MATPLOTLIB)}
    if path is not None:
        own = _read(path)
        own_parameters = own.pop(MATPLOTLIB, {})
        if unknown := sorted(own.keys() - settings.keys()):
            meant = did_you_mean(unknown[0], [*settings, MATPLOTLIB])
            raise InputError(f"{path}: there is no setting {unknown[0]}{meant}; see {DEFAULT}")
        settings |= own
        _check(path, settings, own_parameters)
        parameters |= own_parameters
    settings["colours"] = tuple(settings["colours"])
    return Style(**settings, parameters=parameters)


def _read(path: Path) -> dict:
    """Return the settings of a file; a matplotlib style file gives parameters and, from its cycle, colours."""
    if not path.is_file():
        raise InputError(f"--style {no_such_path(path)}")
    try:
        if path.suffix == ".toml":
            return tomllib.loads(path.read_text(encoding="utf-8"))
        own = dict(matplotlib.rc_params_from_file(path, fail_on_error=True, use_default_template=False))
    except ValueError as error:  # errors in UTF-8, in TOML and of wrong values
        raise InputError(f"{path} is not a style: {error}") from None
    cycle = own.pop("axes.prop_cycle", None)
    colours = [] if cycle is None else cycle.by_key().get("color", [])
    return {MATPLOTLIB: own} | ({"colours": colours} if colours else {})


def _check(path: Path, settings: Mapping, parameters: Mapping) -> None:
    """Raise InputError for values with which no figure can be drawn."""
    for name in ("one_column_mm", "two_columns_mm"):
        if not isinstance(settings[name], int | float) or not NARROWEST_MM <= settings[name] <= WIDEST_MM:
            raise InputError(f"{path}: {name} is {settings[name]!r}: give millimetres, {NARROWEST_MM} to {WIDEST_MM}")
    if not isinstance(settings["notes"], bool):
        raise InputError(f"{path}: notes is {settings['notes']!r}: write true or false")
    colours = settings["colours"]
    if not colours or not all(isinstance(one, str) and is_color_like(one) for one in colours):
        raise InputError(f'{path}: colours is {colours!r}: list colours such as "#0072B2"')
    if not isinstance(parameters, Mapping):
        raise InputError(f"{path}: [{MATPLOTLIB}] is not a table of parameters")
    for name, value in parameters.items():
        if name not in matplotlib.rcParams:
            meant = did_you_mean(name, matplotlib.rcParams)
            raise InputError(f"{path}: matplotlib has no parameter {name}{meant}")
        try:
            matplotlib.RcParams({name: value})
        except ValueError as error:
            raise InputError(f"{path}: {name}: {error}") from None
