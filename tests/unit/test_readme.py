"""The README and the pages of the site hold: their commands parse, and the flags and files that they name exist."""

import argparse
import configparser
import errno
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import macaque_figure
import pytest
import script_pages
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from scripts import EXTRACT, PACKAGE, load_script

from brain_activity_prediction.align_image_embeddings import (
    across_subjects,
    align_model,
    compare,
    compare_representations,
    cross_subject_ceiling,
    partition_variance,
    predict_challenge,
)
from brain_activity_prediction.check_data import check_data, new_dataset
from brain_activity_prediction.cli import extraction_command, main
from brain_activity_prediction.datasets.nsd.layout import PATHS, VERSIONS
from brain_activity_prediction.models.openflamingo import network
from brain_activity_prediction.report import export_maps, figures, report, surface_maps
from brain_activity_prediction.sweep import sweep

OTHERS = {
    Path(script.__file__).name: script
    for script in (
        across_subjects,
        align_model,
        check_data,
        new_dataset,
        compare,
        cross_subject_ceiling,
        compare_representations,
        partition_variance,
        predict_challenge,
        export_maps,
        figures,
        report,
        surface_maps,
        sweep,
    )
}

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [README, *(page.read_text() for page in sorted((ROOT / "docs").glob("*.md")))]
COMMANDS = [
    command
    for page in PAGES
    for command in re.findall(r"^ {4,7}((?:make|python|pip|conda|bap) .*?)(?: +#.*)?$", page, re.MULTILINE)
]
MODEL_PAGE, COST_PAGE, SOLVER_PAGE, TROUBLESHOOTING, DEPENDENCIES = (
    (ROOT / "docs" / f"{name}.md").read_text()
    for name in ("models", "cost", "solver", "troubleshooting", "dependencies")
)
MODEL_ROWS = re.findall(r"^\| `([\w.]+\.py)` \| `([\w./-]+)` \| ([\w, ]+) \|$", MODEL_PAGE, re.MULTILINE)


def parser_of(script):
    module = OTHERS[script] if script in OTHERS else load_script(script)
    return module.flags() if hasattr(module, "flags") else extraction_command.flags("")


def test_every_flag_that_is_named_exists():
    existing = set(re.findall(r"(?<![\w-])--[a-z][\w-]+", "\n".join(script_pages.flag_pages()))) | {"--help"}
    existing.add("--no-sign-request")  # of AWS
    attack = (ROOT / "tests" / "robustness" / "attack.py").read_text()  # docs/faults.md gives its commands
    existing |= set(re.findall(r"--[a-z]+", attack.split('"""')[1] + attack.split("def main")[1]))
    assert len(existing) > 50
    for page in PAGES:
        code = " ".join(re.findall(r"`([^`\n]+)`", page))
        named = set(re.findall(r"(?<![\w=-])--[a-z][\w-]+", code))
        assert named <= existing, named - existing


def script_and_flags(command):
    """The name of the script and the flags of a command: `python SCRIPT`, `bap extract MODEL` or `bap COMMAND`."""
    program, name, *words = shlex.split(command)
    if program == "python":
        return name, words
    if name != "extract":
        return main.SCRIPTS[name][0].name, words
    model, *words = words
    return ("vision_language_model.py", ["-m", model, *words]) if "/" in model else (f"{model}.py", words)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith(("python", "bap"))])
def test_every_script_command_parses(command):
    script, flags = script_and_flags(command)
    assert (EXTRACT / script).exists() or script in OTHERS
    parsed = parser_of(script).parse_args(flags)
    assert isinstance(parsed, argparse.Namespace)


def test_every_make_target_exists_and_ci_runs_the_test_command():
    makefile = (ROOT / "Makefile").read_text()
    targets = {command.split()[1] for command in COMMANDS if command.startswith("make")}
    assert {"demo", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    assert re.search(r"^check:.*\n(\t.*\n)*\t\$\(MAKE\) test$", makefile, re.MULTILINE)
    assert "make check" in (ROOT / ".ci" / "run").read_text()


def test_make_says_that_python_is_too_old_before_it_makes_an_environment_of_it(tmp_path):
    for name in ("Makefile", "setup.cfg", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    old = tmp_path / "old"
    old.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.version_info = (3, 10); exec(sys.argv[1])" "$2"\n'
    )
    old.chmod(0o755)
    alone = {
        name: value for name, value in os.environ.items() if not name.startswith("MAKE")
    }  # not as a part of make test
    command = ["make", "demo", "PYTHON=./old"]
    done = subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("Python 3.11 or later is needed: add PYTHON=")
    assert not (tmp_path / ".venv").exists()


def test_the_commands_that_fetch_nsd_name_every_folder_that_is_read():
    commands = re.search(
        r"^    cd \"\$BASE_DIR\"\n(    .*\n)+", (ROOT / "docs" / "study.md").read_text(), re.MULTILINE
    )[0]
    folders = {"subject": "subj01", "space": "func1pt8mm", "version": VERSIONS["b3"]}
    synthetic = (ROOT / "docs" / "datasets.md").read_text()
    for kind, paths in PATHS["official"].items():
        for path in () if kind.startswith("surface") else paths:
            folder = path.rpartition("/")[0].format(**folders)
            assert folder in (synthetic if kind.startswith("NSD-synthetic") else commands)


def test_the_downloaded_weights_belong_to_the_scripts_and_the_sweep_finds_them():
    commands = re.findall(
        r"^    hf download (\S+) --local-dir \"\$WEIGHTS\"/(\w[\w.]*)(/\S+)?$", "\n".join(PAGES), re.MULTILINE
    )
    assert len(commands) >= 4
    for model_id, script, part in commands:
        assert (EXTRACT / f"{script}.py").exists()
        source = PACKAGE / "models/openflamingo/weights.py" if part else EXTRACT / f"{script}.py"
        assert model_id in source.read_text()
        assert f"DIR{part}/ " in source.read_text() or not part


def test_every_file_that_is_named_exists():
    for folder, page in ((ROOT, README), *((ROOT / "docs", page) for page in PAGES[1:])):
        for path in re.findall(r"\]\(((?!http)[^)#]+)[^)]*\)", page):
            assert (folder / path).exists(), path
    for name in re.findall(r"`((?:benchmarks|docs|tests|extract_image_embeddings)/[\w./]+)`", "\n".join(PAGES)):
        assert (ROOT / name).exists() or (EXTRACT.parent / name).exists(), name
    for name in ("environment.yml", "constraints.txt"):
        assert name in README
        assert (ROOT / name).exists()


@pytest.mark.parametrize(("name", "model_id", "streams"), MODEL_ROWS)
def test_the_table_of_models_is_that_of_the_scripts(name, model_id, streams):
    script = load_script(name)
    assert model_id == script.MODEL_ID
    assert set(streams.split(", ")) == {*script.IMAGE_STREAMS, *getattr(script, "PROMPT_STREAMS", {})}


def test_all_six_models_are_in_the_tables_of_streams_and_of_costs():
    assert len(MODEL_ROWS) == 6
    assert {name for name, *_ in MODEL_ROWS} == set(re.findall(r"^\| `([\w.]+\.py)` \|", COST_PAGE, re.MULTILINE))


def test_every_bap_command_that_is_named_exists():
    named = {words for page in PAGES for words in re.findall(r"`bap ([a-z-]+)(?: [\w.]+)?`", page)}
    assert {"extract", "align", "report"} <= named
    assert named - {"--help", "--version"} <= {main.EXTRACT, *main.SCRIPTS}


def test_the_readme_fits_on_a_screen_and_a_half():
    assert len(README.splitlines()) <= 100


def test_every_page_is_linked_from_the_readme():
    linked = set(re.findall(r"\(docs/(\w+\.md)[)#]", README))
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"} == linked


def test_commands_name_the_data_folder_by_a_variable_that_can_be_pasted():
    for page in PAGES:
        for command in re.findall(r"^ {4,7}((?:python|aws|srun|cd|BASE_DIRECTORY=) ?.*)", page, re.MULTILINE):
            assert not re.search(r'(?<!["$_{])\bBASE_DIR\b|\$BASE_DIR(?!")', command), command


def test_the_readmes_picture_is_drawn_from_the_measured_figures():
    table = macaque_figure.measured()
    assert table["block"] == [2, 4, 7, 10, 13, 15]
    shown = re.search(r"!\[Median .*?: ([\d.]+) at block 2, ([\d.]+) at block 10, ([\d.]+) at block 15", README)
    measured = dict(zip(table["block"], table["r"], strict=True))
    assert shown.groups() == tuple(f"{measured[block]:.2f}" for block in (2, 10, 15))
    assert len(set(map(len, table.values()))) == 1


def test_every_direct_dependency_and_extra_has_a_line():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    for requirement in map(Requirement, setup["options"]["install_requires"].split()):
        assert re.search(rf"^\|[^|]*\b{re.escape(requirement.name)}\b[^|]*\| \w", DEPENDENCIES, re.MULTILINE), (
            requirement
        )
    for extra in setup["options.extras_require"]:
        assert f"| `[{extra}]`" in DEPENDENCIES


def test_the_ridge_runs_as_shown(capsys):
    shown = SOLVER_PAGE.split("## The ridge by itself")[1].split("\n## ")[0]
    code = "\n".join(line[4:] for line in shown.splitlines() if line.startswith("    "))
    exec(compile(code, "solver.md", "exec"), {})
    assert capsys.readouterr().out == "(2000,) (500, 2000)\n"


def test_what_is_said_when_something_goes_wrong_is_what_the_code_says():
    rows = re.findall(r"^\| (`.*?) \|", TROUBLESHOOTING, re.MULTILINE)
    said = [text for row in rows for text in re.findall(r"`(.*?)`", row)]
    assert len(said) >= 15
    sources = "".join(path.read_text() for path in (ROOT / EXTRACT.parent.name).rglob("*.py"))
    messages = re.sub(r'"\s*\n\s*f?"', "", sources) + os.strerror(errno.ENOSPC)
    for text in said:
        fixed = re.split(r"\.\.\.|\bN\b|\bM\b|[\d.]+ GB|\d+|SIGTERM|batch_|settings.json|dtype = |image ", text)
        for part in fixed:
            assert part.strip(" :(),;") in messages, f"{part!r} of {text!r}"


def test_conda_and_pip_install_the_versions_that_were_tested():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *others, from_pip = environment["dependencies"]
    assert from_pip == {"pip": ["--constraint constraints.txt", "--editable ."]}
    assert f"conda activate {environment['name']}" in README
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    python = next(name.removeprefix("python=") for name in others if name.startswith("python="))
    assert SpecifierSet(setup["options"]["python_requires"]).contains(python)
    required = setup["options"]["install_requires"]
    assert f"There are {len(required.split())} direct dependencies." in DEPENDENCIES
    wanted = [required, *setup["options.extras_require"].values()]
    for requirement in map(Requirement, "\n".join(wanted).split()):
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement
    of_torch = re.findall(r"(torch\w*)==([\d.]+)", "\n".join(PAGES))
    assert {name for name, _ in of_torch} == {"torch", "torchvision"}
    assert all(pins[name] == version for name, version in of_torch)
    commands = re.findall(r"pip install (?!--no-deps)[^`\n]*-e [^`\n]*", "\n".join([*PAGES, network.INSTALL]))
    assert len(commands) >= 4
    for command in commands:
        assert command.startswith("pip install -c constraints.txt -e ")


def test_contributing_names_modules_that_there_are():
    named = set(re.findall(r"`([\w./]+\.py)`", (ROOT / "CONTRIBUTING.md").read_text()))
    assert len(named) > 10
    there = ["/" + path.relative_to(ROOT).as_posix() for path in ROOT.glob("[bt]*/**/*.py")]
    assert not {name for name in named if not any(path.endswith("/" + name) for path in there)}
