"""Write the 3-D page of a report, on which the user selects a map and rotates it on fsaverage5, without network.

It is a separate file, because its WebGL library niivue has 2 MB and starts when the page is opened. niivue is taken
from nilearn.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from brain_activity_prediction.report.cortex.surface_data import surface_data
from brain_activity_prediction.report.page import FILES, environment, policy
from brain_activity_prediction.report.plots.flat_maps import DrawnCortex
from brain_activity_prediction.storage.files import written_whole

NAME = "surface.html"


def write_surface_page(figures: Sequence[DrawnCortex], simulated: bool, folder: Path) -> None:
    """Write surface.html with the maps of the flat figures; if there are none, delete the page of an earlier report."""
    path = folder / NAME
    # Other figures repeat these maps, or are on native surfaces.
    on_fsaverage = [one for one in figures if one.name.startswith("flat_")]
    data = surface_data(on_fsaverage)
    if not data["maps"]:
        path.unlink(missing_ok=True)
        return
    library, script = niivue(), (FILES / "surface.js").read_text()
    html = (
        environment()
        .get_template("surface.html.jinja")
        .render(
            css=(FILES / "page.css").read_text(),
            data=data,
            library=library,
            policy=policy([library, script]),
            script=script,
            simulated=simulated,
        )
    )
    with written_whole(path) as aside:
        aside.write_text(html, encoding="utf-8")


def niivue() -> str:
    """Return the JavaScript library niivue, taken from a page that nilearn makes with it."""
    from nilearn.plotting import view_surf
    from nilearn.surface import InMemoryMesh

    triangle = InMemoryMesh(np.eye(3, dtype=np.float32), np.array([[0, 1, 2]], dtype=np.int32))
    html = view_surf(triangle, np.arange(3, dtype=np.float32), engine="niivue").html
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", html, re.DOTALL)
    return max(scripts, key=len).strip()
