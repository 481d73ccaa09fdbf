"""Run the code blocks of tutorial.md in order, in the current folder, and compare their output with the page.

`python docs/tutorial.py`, next to a `demo_data` of `make demo`, also draws the page's pictures.
"""

import contextlib
import io
import re
from pathlib import Path

PAGE = Path(__file__).with_name("tutorial.md")
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"-?\d+\.\d+")
TOLERANCE = 0.02  # of a printed score, from one processor's sums to another's


def run(page: Path = PAGE) -> None:
    """Run all blocks; raise AssertionError if the output of a block differs from the page."""
    names: dict = {}
    for code, shown in BLOCK.findall(page.read_text()):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(code, page.name, "exec"), names)
        check(said.getvalue(), shown)


def check(said: str, shown: str) -> None:
    """Compare texts; decimal numbers may differ by at most TOLERANCE."""
    assert NUMBER.sub("#", said) == NUMBER.sub("#", shown), f"prints\n{said}instead of\n{shown}"
    for ours, theirs in zip(NUMBER.findall(said), NUMBER.findall(shown), strict=True):
        assert abs(float(ours) - float(theirs)) <= TOLERANCE, f"prints\n{said}instead of\n{shown}"


if __name__ == "__main__":
    run()
