"""The code blocks of docs/public_data.md, by the titles of their sections."""

import re
import textwrap
from pathlib import Path

from brain_activity_prediction.datasets.find import find_dataset

PAGE = (Path(__file__).resolve().parents[2] / "docs/public_data.md").read_text()
CODE = {
    title: textwrap.dedent("".join(re.findall(r"(?: {4}.*\n|\n)+", text)[-1:]))
    for title, text in re.findall(r"## (.*)\n((?:(?!## ).*\n)*)", PAGE)
}


def experiment(title, folder, monkeypatch):
    """Run the code of a section in the folder of the authors' files, and return the experiment that it makes."""
    for name in ("images", "responses", "masks", "regions"):
        (folder / "DIR" / name).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(folder)
    exec(next(code for one, code in CODE.items() if one.startswith(title)), {})
    return find_dataset(folder / "DIR")
