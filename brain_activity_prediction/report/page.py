"""Write the page of a report: one HTML file that opens from disk and loads nothing from the network.

The Content-Security-Policy allows only the scripts whose hashes it lists, so that text from a model or a settings file
cannot run as code. The template also escapes all text.
"""

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path

import jinja2
from markupsafe import Markup

from brain_activity_prediction.report.contents import Contents
from brain_activity_prediction.report.plots.slices import FRAME
from brain_activity_prediction.runtime.errors import one_line
from brain_activity_prediction.runtime.wording import count
from brain_activity_prediction.storage.files import written_whole

FILES = Path(__file__).parent / "page_files"
QUESTIONS = {  # sections of the page: name in the navigation, and heading
    "how-well": ("How well", "How well?"),
    "where": ("Where", "Where in the brain?"),
    "layer": ("Layer", "Which layer?"),
    "prompt": ("Prompt", "Which prompt?"),
    "model": ("Model", "Which model?"),
    "shared": ("Shared", "What is shared?"),
    "answers": ("Answers", "What did it answer?"),
    "trust": ("Trust", "Can I trust it?"),
    "open": ("Not answered", "Not answered yet"),
}


def write_page(contents: Contents, folder: Path) -> Path:
    """Write report.html and return its path."""
    page_script, viewer_script = ((FILES / name).read_text() for name in ("page.js", "viewer.js"))
    libraries = contents.libraries
    scripts = [page_script, viewer_script, *libraries, *(shown.script for shown in contents.slices)]
    html = (
        environment()
        .get_template("report.html.jinja")
        .render(
            contents=contents,
            questions={name: QUESTIONS[name] for name in contents.questions},
            css=(FILES / "page.css").read_text(),
            page_script=page_script,
            policy=policy(scripts),
            frames={
                "head": FRAME,
                "before": [*libraries, viewer_script],
                "maps": [vars(shown) for shown in contents.slices],
            },
        )
    )
    path = folder / "report.html"
    with written_whole(path) as aside:
        aside.write_text(html, encoding="utf-8")
    return path


def environment() -> jinja2.Environment:
    """Return the environment of the pages' templates, which escapes all text."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FILES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        finalize=printable,
    )
    templates.filters |= {"count": count}
    return templates


def policy(scripts: Iterable[str]) -> str:
    """Return a Content-Security-Policy that allows embedded images and the given scripts, but nothing external."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{one}'" for one in dict.fromkeys(hashes))
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def printable(value):
    """Return text with control characters replaced by escapes, except line ends and tabs."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(letter if letter in "\n\t" else one_line(letter) for letter in value)
