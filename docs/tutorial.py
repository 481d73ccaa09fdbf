"""Runs the code blocks of tutorial.md in order, in the current folder, and compares what each prints with the page.

`python docs/tutorial.py`, beside a `demo_data` of `make demo`, draws the page's pictures there.
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
    """AssertionError where a block prints something else than the page shows below it."""
    names: dict = {}
    for code, shown in BLOCK.findall(page.read_text()):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(code, page.name, "exec"), names)
        check(said.getvalue(), shown)


def check(said: str, shown: str) -> None:
    """The same text, and decimal numbers that differ by TOLERANCE at the most."""
    assert NUMBER.sub("#", said) == NUMBER.sub("#", shown), f"prints\n{said}instead of\n{shown}"
    for ours, theirs in zip(NUMBER.findall(said), NUMBER.findall(shown), strict=True):
        assert abs(float(ours) - float(theirs)) <= TOLERANCE, f"prints\n{said}instead of\n{shown}"


if __name__ == "__main__":
    run()
