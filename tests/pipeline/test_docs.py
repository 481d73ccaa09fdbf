"""The site agrees with the code: it lists every script and flag, and describes every file that a study writes."""

import argparse
import re
import subprocess
import sys

import base_dir
import pytest
import script_pages
import tutorial
import vision_language_pages
import vision_pages
from scripts import PACKAGE
from vision_table import OTHERS, PATCHES

from brain_activity_prediction.extract_image_embeddings.prompts import PROMPTS

pytestmark = pytest.mark.slow

HEAVY = {"torch", "transformers", "pandas", "sklearn", "scipy", "nibabel", "matplotlib", "pyarrow", "timm", "open_clip"}
SCRIPTS = script_pages.scripts()
DOCS = PACKAGE.parent / "docs"


def section_of(script):
    """What the page of flags says of one script, with what it refers to."""
    sections = list(script_pages.flag_pages())
    shared = next(section for section in sections if section.startswith("## The model scripts"))
    own = next(section for section in sections if f"`{script.name}`" in section)
    return own + shared if "#the-model-scripts" in own else own


def test_no_script_is_overlooked():
    """Whatever may be run with flags: found by another mark than the one that the site looks for."""
    with_flags = {
        path
        for path in PACKAGE.rglob("*.py")
        if re.search(
            r"^MODEL_ID\b.* = |(parse_args|read_flags|read_settings)\(\)|extraction_command\.read\(",
            path.read_text(),
            re.M,
        )
    }
    assert with_flags - {PACKAGE / "cli" / "extraction_command.py"} == {script.path for script in SCRIPTS}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_help_answers_at_once_and_every_flag_in_it_is_on_the_page_with_its_meaning(script):
    command = [sys.executable, "-X", "importtime", script.path, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "argparse" in imported
    assert not imported & HEAVY, "--help should answer in under a second"
    listed = re.findall(r"^  (-[\w-]+|--[\w-]+)[ ,\n]", done.stdout + "\n", re.MULTILINE)
    listed += re.findall(r", (--[\w-]+)", done.stdout)
    assert len(listed) > 2
    assert not re.search(r"\(default:\s*[)\[]", done.stdout), "a default is stated as it would be typed"
    section = section_of(script)
    for flag in set(listed) - {"-h", "--help"}:
        (row,) = [line for line in section.splitlines() if re.match(rf"\|[^|]*`{flag}`", line)]
        assert row.split("|")[-2].strip(), f"{flag} has no meaning"


def test_a_default_is_stated_also_where_it_is_zero():
    parser = argparse.ArgumentParser()
    action = parser.add_argument("--permutations", type=int, default=0, help="how many")
    assert script_pages._row(action)[2] == "`0`"


def test_every_prompt_pooling_and_stream_is_in_the_tables():
    models = script_pages.models()
    for script in SCRIPTS:
        for stream in getattr(script.module, "IMAGE_STREAMS", {}):
            assert f"`{stream}`" in models.split(f"`{script.name}`")[1]
    assert script_pages.prompts().count("\n") == 2 + len(PROMPTS)
    assert "`cls`" in script_pages.poolings()


def test_the_page_of_vision_networks_shows_the_tables_of_the_tests():
    tables, page = vision_pages.tables(), (DOCS / "vision_networks.md").read_text()
    assert re.findall(r"generated/(\w+).md", page) == list(tables)
    assert "| `YolosModel` | 1 | 100 | yes | yes |" in tables["vision_patches"]
    assert "| `SiglipVisionModel` |  |  | yes | yes |" in tables["vision_patches"]
    assert tables["vision_patches"].count("\n") == 2 + len(PATCHES)
    assert tables["vision_others"].count("\n") == 2 + len(OTHERS)


def test_the_page_of_vision_language_models_shows_the_tables_of_the_tests():
    tables = vision_language_pages.tables()
    pages = [(DOCS / name).read_text() for name in ("vision_language_models.md", "inside_layers.md")]
    assert re.findall(r"generated/(vision_\w+).md", "".join(pages)) == list(tables)
    assert "| `llava` | once for all prompts |" in tables["vision_language_families"]
    assert "| `florence2` (encoder-decoder) | for each prompt |" in tables["vision_language_families"]
    assert "| `pi0` | it returns movements of a robot, not text |" in tables["vision_language_refused"]


def test_a_file_that_nothing_describes_stops_the_site(tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "notes.md").touch()
    with pytest.raises(ValueError, match=r"written or described, not both: .*report/notes\.md.*report/scores\.csv"):
        list(base_dir.sections(tmp_path))


@pytest.mark.exhaustive  # the site is built from the same run
def test_every_file_that_a_study_writes_is_described(tmp_path):
    base_dir.write(tmp_path)
    page = "\n".join(base_dir.sections(tmp_path))
    assert "| `language` | (n, L, W) | float32 |" in page
    assert "| `r` | (V) | float32 |" in page
    assert "| `region_r` | (999, R) | float32 |" in page
    assert "| `predicted` | (n, " in page


def test_the_tutorials_check_sees_other_words_and_other_numbers():
    tutorial.check("layer 7   r 0.66\n", "layer 7   r 0.67\n")
    for said in ("layer 6   r 0.67\n", "layer 7   r 0.60\n", "layer 7\n"):
        with pytest.raises(AssertionError):
            tutorial.check(said, "layer 7   r 0.67\n")
