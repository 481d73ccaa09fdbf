"""Code flows downhill: what each part may import of the others."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "brain_activity_prediction"
GROUND = {
    "batch_contents",
    "batch_header",
    "checked_json",
    "claims",
    "errors",
    "files",
    "hdf5_file",
    "made_from",
    "processes",
    "read_ahead",
    "sealed_hdf5",
    "settings_file",
    "stopping",
    "wording",
}
SCRIPTS = {"arguments", "flag_values", "model_names", "running"}  # what a script is made with
EXTRACT, ALIGN = "extract_image_embeddings", "align_image_embeddings"
# Written so that they do not find themselves.
FORBIDDEN = re.compile(
    r"\b(import|from)\s+pickle\b|\b(allow_pickle|trust_remote_code)\s*=\s*True|\bweights_only\s*=\s*False"
)
RIDGE = {"arrays", "ridge", "voxelwise_ridge", "banded_ridge", "scores", "solver"}

# What a module or folder may import from this package, besides modules of its own folder.
MAY_IMPORT = {
    "errors": set(),
    "read_ahead": set(),
    "stopping": set(),
    "wording": set(),
    "processes": set(),
    "batch_contents": set(),
    "batch_header": {"checked_json", "sealed_hdf5", "wording"},
    "claims": {"processes", "wording"},
    "files": {"errors", "processes"},
    "checked_json": {"files"},
    "hdf5_file": {"files"},
    "made_from": {"checked_json", "errors", "files"},
    "sealed_hdf5": {"checked_json", "files"},
    "settings_file": {"checked_json", "files"},
    "embedding_store": GROUND,
    "nsd": GROUND,
    "folders": {"errors"},
    "flag_values": set(),
    "running": {"errors", "stopping"},
    "arguments": {"errors", "flag_values", "folders", "wording"},
    "model_names": {"errors", "folders", "settings_file", "wording"},
    EXTRACT: GROUND | SCRIPTS | {"folders", "embedding_store", "nsd"},
    ALIGN: GROUND | SCRIPTS | {"folders", "embedding_store", "nsd", f"{EXTRACT}.prompts"},
    "sweep": GROUND | SCRIPTS | {"folders", "embedding_store", "nsd", EXTRACT, ALIGN},
    "report": GROUND | SCRIPTS | {"folders", "embedding_store", "nsd", ALIGN},
    "demo": GROUND | SCRIPTS | {"folders", "nsd", EXTRACT},
}

# What a folder of the alignment may import of its package besides its own modules; the scripts may import all of it.
OF_THE_ALIGNMENT = {
    "solver": {"scores"},
    "stats": {"scores"},
    "inputs": {"stats"},
    "outputs": {"inputs", "stats"},
    "partitioning": {"inputs", "outputs", "stats"},
}


def modules():
    """`{dotted name within the package: path}`; a script whose name holds a dot is named as it is."""
    paths = (path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in paths}


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
    part = name.split(".")[0]
    assert part in MAY_IMPORT, f"{name} has no place in the order"
    for imported in imports(modules()[name]):
        allowed = imported.split(".")[0] in MAY_IMPORT[part] | {part} or imported in MAY_IMPORT[part]
        assert allowed, f"{name} imports {imported}, which lies above it"


def test_no_modules_import_each_other_in_a_circle():
    graph = {name: imports(path) & set(modules()) for name, path in modules().items()}
    while free := {name for name, needs in graph.items() if not needs & graph.keys()}:
        graph = {name: needs for name, needs in graph.items() if name not in free}
    assert not graph


def test_the_solver_knows_nothing_of_nsd_files_or_flags():
    for name, path in modules().items():
        if _is_of_the_ridge(name):
            assert all(imported == "errors" or _is_of_the_ridge(imported) for imported in imports(path)), name


@pytest.mark.parametrize("folder", OF_THE_ALIGNMENT)
def test_within_the_alignment_scores_follow_from_what_is_read_and_tables_from_scores(folder):
    for name, path in modules().items():
        if name.startswith(f"{ALIGN}.{folder}."):
            parts = {other.split(".")[1] for other in imports(path) if other.startswith(f"{ALIGN}.")}
            assert parts <= OF_THE_ALIGNMENT[folder] | {folder}, name


def test_statistics_know_nothing_of_nsd_files_or_flags():
    for name, path in modules().items():
        if name.startswith(f"{ALIGN}.stats."):
            assert all(imported.startswith(f"{ALIGN}.") for imported in imports(path)), name


@pytest.mark.parametrize("folder", [EXTRACT, ALIGN, "sweep", "report"])
def test_nothing_beside_a_script_hides_a_module_of_python(folder):
    """The folder of a script that is run comes first on its path."""
    beside = {path.stem for path in (PACKAGE / folder).iterdir()} - {"__init__"}
    assert not beside & sys.stdlib_module_names


def _is_of_the_ridge(name):
    folder, _, rest = name.partition(".")
    return folder == ALIGN and rest.split(".")[0] in RIDGE


def test_nothing_is_pickled_and_no_code_of_others_is_trusted():
    others = (path for folder in ("benchmarks", "docs", "tests") for path in (ROOT / folder).rglob("*.py"))
    for path in (*PACKAGE.rglob("*.py"), *others):
        found = FORBIDDEN.search(path.read_text())
        assert not found, f"{path} holds {found.group()}"
