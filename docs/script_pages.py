"""Find the scripts of the package, and describe their flags and modules as Markdown."""

import argparse
import importlib.util
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from brain_activity_prediction.cli import extraction_command
from brain_activity_prediction.extract_image_embeddings.prompts import PROMPTS
from brain_activity_prediction.models import pooling

PACKAGE = Path(extraction_command.__file__).resolve().parents[1]
SETTING = re.compile(r"^(\w+)=\$\{\1:-([^}]*)\}(?: # (.*))?$", re.MULTILINE)  # NAME=${NAME:-default} # meaning


@dataclass(frozen=True)
class Script:
    """A file that is run from the command line."""

    path: Path
    module: ModuleType

    @property
    def name(self) -> str:
        """Return the script's name: `python -m PACKAGE` for a package, the path within this one for a file."""
        place = self.path.relative_to(PACKAGE)
        return f"{PACKAGE.name}.{place.parent}" if self.path.name == "__main__.py" else place.as_posix()

    @property
    def actions(self) -> list[argparse.Action]:
        """Return its flags; a model script without flags of its own has those of every extraction."""
        module = self.module
        parser = module.flags() if hasattr(module, "flags") else extraction_command.flags(module.__doc__)
        return [action for action in parser._actions if "--help" not in action.option_strings]


def scripts() -> list[Script]:
    """Find every file of the package that a user runs, by folder and name; files run by a sweep have no flags."""
    paths = sorted(path for path in PACKAGE.rglob("*.py") if 'if __name__ == "__main__":' in path.read_text())
    modules = {path: _load(path) for path in paths}
    return [Script(path, m) for path, m in modules.items() if hasattr(m, "flags") or hasattr(m, "MODEL_ID")]


def _load(path: Path) -> ModuleType:
    """Load a script as a module by its path, because a name with a dot cannot be imported."""
    spec = importlib.util.spec_from_file_location(f"script_{path.stem.replace('.', '_')}", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # where dataclasses look
    spec.loader.exec_module(module)
    return module


def flag_pages() -> Iterator[str]:
    """Yield a section for each set of flags: the scripts that share it, their docstring, and a table."""
    sharing: dict[tuple, list[Script]] = {}
    for script in scripts():
        sharing.setdefault(tuple(map(_row, script.actions)), []).append(script)
    widely = [rows for rows, of in sharing.items() if len(of) > 1]
    for rows, of in sorted(sharing.items(), key=lambda item: (len(item[1]) == 1, item[1][0].path)):
        if len(of) > 1:
            yield f"## The model scripts\n\n{', '.join(f'`{script.name}`' for script in of)}\n\n" + table(FLAGS, rows)
            continue
        common = next((known for known in widely if set(known) < set(rows)), ())
        own = [row for row in rows if row not in common]
        beside = "It has the flags of [the model scripts](#the-model-scripts), and:\n\n" if common else ""
        yield f"## `{of[0].name}`\n\n{of[0].module.__doc__}\n\n{beside}" + table(FLAGS, own)


FLAGS = ("flag", "values", "default", "meaning")


def _row(action: argparse.Action) -> tuple[str, str, str, str]:
    flags = " ".join(f"`{flag}`" for flag in action.option_strings) or f"`{action.dest}`"
    named = action.metavar or ""
    takes = (
        " \\| ".join(map(str, action.choices))
        if action.choices
        else named
        if isinstance(named, str)
        else " ".join(named)
    )
    if not takes and action.nargs != 0:
        takes = action.dest.upper()
    many = " ..." if action.nargs in ("+", "*") else ""
    stated = re.search(r"\(default: (.*)\)$", action.help or "")  # where the value itself would not tell
    if action.required:
        default = "required"
    elif stated:
        default = stated[1]
    elif isinstance(action, argparse.BooleanOptionalAction):
        default = next(flag for flag in action.option_strings if flag.startswith("--no-") != action.default)
    else:
        default = "" if action.default is None or action.default is False else str(action.default)
    if isinstance(action.default, list):
        default = " ".join(map(str, action.default))
    meaning = (action.help or "").removesuffix(f" (default: {default})")
    if default not in ("", "required"):
        default = f"`{default}`"
    return flags, f"`{takes}{many}`" if takes else "", default, meaning


def table(head: tuple[str, ...], rows) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def shell_settings() -> str:
    """Return the variables that the shell scripts read, with default and meaning."""
    found = []
    for path in sorted(PACKAGE.rglob("*.sh")):
        settings = SETTING.findall(path.read_text())
        rows = [(f"`{name}`", f"`{default}`" if default else "", meaning) for name, default, meaning in settings]
        if rows:
            head = f"### `{path.relative_to(PACKAGE).as_posix()}`\n\n"
            found.append(head + table(("variable", "default", "meaning"), rows))
    return "\n".join(found)


def models() -> str:
    """Return a section for each model script: its docstring, and a table of its streams."""
    sections = []
    for script in scripts():
        module = script.module
        if not hasattr(module, "IMAGE_STREAMS"):
            continue
        of_image = [(name, poolings, "image") for name, poolings in module.IMAGE_STREAMS.items()]
        of_prompt = [(n, p, "image and prompt") for n, p in getattr(module, "PROMPT_STREAMS", {}).items()]
        rows = [
            (f"`{name}`", seen, ", ".join(f"`{pooling.stream_name(name, p)}`" for p in poolings))
            for name, poolings, seen in of_image + of_prompt
        ]
        head = ("stream", "depends on", "stored as")
        template = f"\nTemplate: `{module.TEMPLATE!r}`\n" if hasattr(module, "TEMPLATE") else ""
        sections.append(f"## `{module.MODEL_ID}`\n\n`{script.name}`. {module.__doc__}\n{table(head, rows)}{template}")
    return "\n".join(sections)


def poolings() -> str:
    return table(("`--pooling`", "tokens"), [(f"`{name}`", tokens) for name, tokens in pooling.POOLINGS.items()])


def prompts() -> str:
    return table(("`-p`", "text"), [(str(number), text) for number, text in PROMPTS.items()])
