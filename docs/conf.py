"""Settings of the site; pages that restate the code are generated at each build into generated/."""

import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "tests" / "support")]

import base_dir  # noqa: E402
import script_pages  # noqa: E402
import torch  # noqa: E402
import vision_language_pages  # noqa: E402
import vision_pages  # noqa: E402
from ridge_figure import ALPHAS  # noqa: E402

import brain_activity_prediction  # noqa: E402
from brain_activity_prediction.encoding import protocols  # noqa: E402
from brain_activity_prediction.ridge import ridge_cv  # noqa: E402
from brain_activity_prediction.ridge.scores import DOUBT  # noqa: E402
from brain_activity_prediction.ridge.solver.alpha_interpolation import alpha_nodes  # noqa: E402
from brain_activity_prediction.ridge.solver.cross_validation import (  # noqa: E402
    CHOICE_MARGIN,
    TOLERANCE,
    WIDEST_FLOAT32_GRID,
)
from brain_activity_prediction.ridge.solver.decomposition import SMALLEST_PENALTY  # noqa: E402
from brain_activity_prediction.ridge.solver.leave_fold_out import SMALLEST_PIVOT  # noqa: E402
from brain_activity_prediction.ridge.solver.refit_without_fold import LARGEST_MAGNIFICATION  # noqa: E402
from brain_activity_prediction.storage import sealed_hdf5  # noqa: E402

project = brain_activity_prediction.__name__
release = version = brain_activity_prediction.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "docstrings", "mathml"]
exclude_patterns = ["generated"]
html_theme = "furo"
html_title = f"{project.replace('_', ' ')} {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_show_copyright = html_copy_source = html_show_sourcelink = False
myst_enable_extensions = ["dollarmath", "substitution"]
myst_substitutions = {
    "folds": protocols.FOLDS,
    "n_nodes": len(alpha_nodes(ALPHAS, TOLERANCE[torch.float32]).nodes),
    "tolerance_float32": f"{TOLERANCE[torch.float32]:g}",
    "tolerance_float64": f"{TOLERANCE[torch.float64]:g}",
    "rounding": f"{ridge_cv.ROUNDING:g}",
    "widest_float32_grid": WIDEST_FLOAT32_GRID,
    "doubt_float32": f"{DOUBT[torch.float32]:g}",
    "doubt_float64": f"{DOUBT[torch.float64]:g}",
    "choice_margin_float32": f"{CHOICE_MARGIN[torch.float32]:g}",
    "smallest_penalty": f"{SMALLEST_PENALTY:g}",
    "smallest_pivot_float32": f"{SMALLEST_PIVOT[torch.float32]:g}",
    "largest_magnification_float32": f"{LARGEST_MAGNIFICATION[torch.float32]:g}",
    "smallest_pivot_float64": f"{SMALLEST_PIVOT[torch.float64]:g}",
}
myst_heading_anchors = 3
default_role = "code"
smartquotes = False  # of the -- of a flag in a docstring they make a dash
autodoc_member_order = "bysource"


def write_generated(app):
    folder = HERE / "generated"
    folder.mkdir(exist_ok=True)
    pages = {
        "more": more(),
        "flags": "\n".join(script_pages.flag_pages()),
        "shell": script_pages.shell_settings(),
        "models": script_pages.models(),
        "poolings": script_pages.poolings(),
        "prompts": script_pages.prompts(),
        "sealed": sealed_hdf5.__doc__,
        "nsd_files": base_dir.nsd_files(),
        **vision_pages.tables(),
        **vision_language_pages.tables(),
    }
    with tempfile.TemporaryDirectory() as base:
        base_dir.write(Path(base))
        pages["base_dir"] = "\n".join(base_dir.sections(Path(base)))
    for name, text in pages.items():
        (folder / f"{name}.md").write_text(text)


def more():
    """Return a table of contents of the pages that index.md does not name."""
    named = (HERE / "index.md").read_text().splitlines()
    unnamed = sorted(page.stem for page in HERE.glob("*.md") if page.stem not in [*named, "index"])
    return "\n".join(["```{toctree}", ":hidden:", ":caption: More", "", *unnamed, "```", ""]) if unnamed else ""


def setup(app):
    app.connect("builder-inited", write_generated)
