"""Code flows downhill: what each part may import of the others."""

import ast
import re
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "brain_activity_prediction"
EXTRACT, ALIGN = "extract_image_embeddings", "align_image_embeddings"
PROMPTS = f"{EXTRACT}.prompts"  # texts alone, as data: every floor may read them
# Written so that they do not find themselves.
FORBIDDEN = re.compile(
    r"\b(import|from)\s+pickle\b|\b(allow_pickle|trust_remote_code)\s*=\s*True|\bweights_only\s*=\s*False"
)

# From the ground up: a room may import its own modules and those of the floors below, none of its own floor's others.
FLOORS = (
    {"ridge"},
    {"runtime"},
    {"storage"},
    {"inference"},
    {"datasets", "models", "surfaces"},
    {"extraction"},
    {"encoding"},
    {"variance_partitioning", "rsa", "cross_subject"},
    {"cli"},
    {EXTRACT, ALIGN},
    {"report", "check_data"},
    {"sweep", "demo"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


@cache
def modules():
    """`{dotted name within the package: path}`; a script whose name holds a dot is named as it is."""
    paths = (path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in paths}


@cache
def imports(path):
    """Dotted names within the package that a file imports when it runs, wherever in the file."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE.name:
            base = node.module.removeprefix(PACKAGE.name).lstrip(".")
            found |= {f"{base}.{alias.name}".strip(".") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
    known = modules()
    return {name if name in known or not name.count(".") else name.rpartition(".")[0] for name in found}


@pytest.mark.parametrize("name", sorted(modules()))
def test_a_module_imports_only_what_lies_below_it(name):
    room = name.split(".")[0]
    for imported in imports(modules()[name]) - {PROMPTS, ""}:
        below = imported.split(".")[0]
        allowed = below == room or FLOOR[below] < FLOOR[room]
        assert allowed, f"{name} imports {imported}, which lies above it"


def test_no_modules_import_each_other_in_a_circle():
    graph = {name: imports(path) & modules().keys() for name, path in modules().items()}
    while free := {name for name, needs in graph.items() if not needs & graph.keys()}:
        graph = {name: needs for name, needs in graph.items() if name not in free}
    assert not graph


def test_the_ridge_solver_imports_nothing_of_the_rest():
    for name, path in modules().items():
        if name.startswith("ridge."):
            assert all(imported.split(".")[0] == "ridge" for imported in imports(path)), name


def test_statistics_know_nothing_of_files_or_flags():
    for name, path in modules().items():
        if name.startswith("inference."):
            others = {imported.split(".")[0] for imported in imports(path)}
            assert others <= {"inference", "ridge", "runtime"}, name


def test_no_room_holds_more_than_a_dozen_modules():
    folders = [folder for folder in PACKAGE.rglob("*") if folder.is_dir()]
    crowded = {
        str(folder.relative_to(PACKAGE)): len(held)
        for folder in folders
        if len(held := [path for path in folder.glob("*.py") if path.name != "__init__.py"]) > 12
    }
    assert not crowded


@pytest.mark.parametrize("folder", [EXTRACT, ALIGN, "sweep", "report"])
def test_nothing_beside_a_script_hides_a_module_of_python(folder):
    """The folder of a script that is run comes first on its path."""
    beside = {path.stem for path in (PACKAGE / folder).iterdir()} - {"__init__"}
    assert not beside & sys.stdlib_module_names


def test_nothing_is_pickled_and_no_code_of_others_is_trusted():
    others = (path for folder in ("benchmarks", "docs", "tests") for path in (ROOT / folder).rglob("*.py"))
    for path in (*PACKAGE.rglob("*.py"), *others):
        found = FORBIDDEN.search(path.read_text())
        assert not found, f"{path} holds {found.group()}"


def test_only_what_parses_flags_or_turns_them_into_settings_sees_a_namespace():
    annotated = re.compile(r"argparse\.Namespace\b")
    readers = {
        path.relative_to(PACKAGE).as_posix() for path in modules().values() if annotated.search(path.read_text())
    }
    assert readers <= {
        "cli/parser.py",
        "cli/settings_from_flags.py",
        "cli/extraction_command.py",
        "cli/dataset_flags.py",
        "sweep/flags.py",
        "report/flags.py",
    }


def test_the_paths_of_the_scripts_are_written_in_one_place():
    folder = re.compile(r"\"(extract|align)_image_embeddings\"")
    assert [name for name, path in modules().items() if folder.search(path.read_text())] == ["runtime.scripts"]


def test_no_file_of_the_package_is_longer_than_250_lines():
    lengths = {name: len(path.read_text().splitlines()) for name, path in modules().items()}
    assert {name: length for name, length in lengths.items() if length > 250} == {}
