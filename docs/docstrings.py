"""Convert the package's docstrings to reStructuredText: lists of parameters become lists."""

import re

HEADING = re.compile(r"-{3,}")
NAMED = re.compile(r"([\w, ]+?) : (.+)")  # name : what it is, under a heading
ALIGNED = re.compile(r"([\w, ]*\w) {2,}(\S.*)")  # name   what it is, names in a column


def setup(app):
    app.connect("autodoc-process-docstring", lambda app, what, name, obj, options, lines: as_lists(lines))
    return {"parallel_read_safe": True}


def as_lists(lines: list[str]) -> None:
    """Rewrite the lines of a docstring in place."""
    written, in_list, under_heading = [], False, False
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        entry = (NAMED.fullmatch(line) if under_heading else None) or ALIGNED.fullmatch(line)
        if HEADING.fullmatch(line):
            continue
        if HEADING.fullmatch(following):
            written += ["", f"**{line}**", ""]
            in_list, under_heading = False, True
        elif entry and not line.startswith(" "):
            written += [*([] if in_list else [""]), f"- **{entry[1]}**: {entry[2]}"]
            in_list = True
        elif in_list and line.startswith(" "):
            written.append(f"  {line.strip()}")
        else:
            if line.strip() and in_list:
                written.append("")
                in_list = under_heading = False
            written.append(line)
    lines[:] = written
