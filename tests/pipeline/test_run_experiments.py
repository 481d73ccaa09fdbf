"""The shell loop, with a stand-in for Python that notes what it was asked for, and once for real."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from scripts import EXTRACT
from sweeping import until

from brain_activity_prediction.demo.models import write_vit
from brain_activity_prediction.models.library_imports import import_torchvision

pytestmark = pytest.mark.slow

LOOP = EXTRACT / "run_experiments.sh"
STAND_IN = """#!/bin/bash
echo "$(basename "$1") ${*:2}" >>"$CALLS"
echo "a first line of $1"
case "$(basename "$1") $*" in
  $FAILS) printf ' 10%%\\r 20%%\\nCUDA out of memory\\n' >&2; exit 1 ;;
  $STOPS) exit 75 ;;
  $WAITS) trap 'echo finished; exit 75' INT TERM; touch "$CALLS.waiting"; for _ in {1..200}; do sleep 0.05; done ;;
esac
"""


@pytest.fixture
def loop(tmp_path):
    """Starts the loop over two models and two subjects; `said` and `calls` tell what became of it."""
    stand_in, calls = tmp_path / "python", tmp_path / "calls"
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)

    def start(**settings):
        calls.write_text("")
        settings = {
            "BASE_DIRECTORY": str(tmp_path / "base"),
            "PYTHON": str(stand_in),
            "MODELS": "vit_huge_patch14_224_in21k llava_1.5_13b",
            "SUBJECTS": "1 2",
            "CALLS": str(calls),
            **dict.fromkeys(("FAILS", "STOPS", "WAITS"), "nothing"),
        } | settings
        return subprocess.Popen(
            ["bash", LOOP],
            env=os.environ | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # Tests that were started in the background ignore it, and bash would, too.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def run(**settings):
        process = start(**settings)
        said, _ = process.communicate(timeout=60)
        return process.returncode, said.split("\n\n")[-1].splitlines(), calls.read_text().splitlines()

    return run, start, calls


def test_the_loop_extracts_all_prompts_in_one_pass_then_aligns_then_reports(loop):
    status, (counts, *rows), calls = loop[0](GPU_ID="3", PROMPTS="1-4 9")
    assert status == 0
    assert counts == "9 succeeded, 0 failed, 0 left"
    assert all(row.startswith("done ") for row in rows)
    kinds = [call.split()[0] for call in calls]
    models = ["vit_huge_patch14_224_in21k.py"] * 2 + ["llava_1.5_13b.py"] * 2
    assert kinds == [*models, *["align_model.py"] * 4, "report.py"]
    assert " -s 2 -p 1-4 9 -b 8 -g 3" in calls[1]
    assert " -s 2 -p 1-4 9 -m llava-hf/llava-1.5-13b-hf -g 3" in calls[7]


def test_the_loop_writes_results_and_logs_to_another_folder(loop, tmp_path):
    (tmp_path / "base").mkdir()
    status, _, calls = loop[0](OUTPUT=str(tmp_path / "out"), SUBJECTS="1", MODELS="llava_1.5_13b")
    assert status == 0
    assert not list((tmp_path / "base").iterdir())
    assert len(list((tmp_path / "out/logs").iterdir())) == len(calls) == 3
    assert all(f" -d {tmp_path}/base --output {tmp_path}/out" in call for call in calls)


def test_the_loop_takes_ids_on_the_hub_next_to_scripts(loop):
    status, (counts, *rows), calls = loop[0](MODELS="Qwen/Qwen2.5-VL-7B-Instruct llava_1.5_13b", SUBJECTS="1")
    assert status == 0
    assert counts == "5 succeeded, 0 failed, 0 left"
    assert rows[0].split() == ["done", "extract_Qwen_Qwen2.5-VL-7B-Instruct_subj01"]
    assert calls[0].startswith("main.py extract Qwen/Qwen2.5-VL-7B-Instruct -d ")
    assert " -m Qwen/Qwen2.5-VL-7B-Instruct " in calls[2]
    assert " -m llava-hf/llava-1.5-13b-hf " in calls[3]


def alone(*words, **settings):
    """The loop where a start would be noticed: every step fails at once, and BASE_DIRECTORY is not set."""
    environment = {name: value for name, value in os.environ.items() if name not in ("BASE_DIRECTORY", "BASE_DIR")}
    command = ["bash", LOOP, *words]
    return subprocess.run(
        command, env=environment | {"PYTHON": "false"} | settings, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_every_setting_with_its_default_and_starts_nothing(flag, tmp_path):
    done = alone(flag, BASE_DIR=str(tmp_path))
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: BASE_DIRECTORY=DIR ")
    for name, default in re.findall(r"^(\w+)=\$\{\1:-(.*)\}", LOOP.read_text(), re.MULTILINE):
        assert re.search(rf"^  {name}: .+ \(default: {re.escape(default)}\)$", done.stdout, re.MULTILINE), name
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "settings", "said"),
    [
        (["--hlep"], {}, "it takes no --hlep"),
        (["llava_1.5_13b"], {}, "it takes no llava_1.5_13b"),
        ([], {"BASE_DIRECTORY": "elsewhere"}, "BASE_DIRECTORY is elsewhere and BASE_DIR is"),
        ([], {"MODELS": "llava"}, "no model script llava.py"),
        ([], {"SUBJECTS": "1-2"}, "SUBJECTS is 1-2"),
    ],
)
def test_what_the_loop_does_not_understand_is_refused_before_it_starts(words, settings, said, tmp_path):
    done = alone(*words, **{"BASE_DIR": str(tmp_path)} | settings)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("layout", ["official_nsd", "flat_nsd"])
def test_subjects_without_betas_are_named_before_anything_is_computed(layout, request, tmp_path):
    base = shutil.copytree(request.getfixturevalue(layout), tmp_path / "nsd")
    done = alone(BASE_DIR=str(base), SUBJECTS="1 2 5", MODELS="llava_1.5_13b")
    assert done.stderr.splitlines() == [
        f"run_experiments.sh: subject 5 has no betas in {base}: its alignments will fail"
    ]


def test_base_dir_is_read_as_well_as_base_directory_and_lists_may_have_commas(tmp_path):
    done = alone(BASE_DIR=str(tmp_path), SUBJECTS="1,2", MODELS="llava_1.5_13b,vit_huge_patch14_224_in21k")
    assert {path.name for path in tmp_path.iterdir()} == {"logs"}
    assert "0 succeeded, 3 failed, 6 left" in done.stdout


def test_after_a_failure_the_next_model_runs_and_the_table_shows_what_is_left(loop):
    status, (counts, *rows), _ = loop[0](FAILS="vit*.py*-s?2*")
    assert status == 1
    assert counts == "7 succeeded, 1 failed, 1 left"
    assert "FAILED  extract_vit_huge_patch14_224_in21k_subj02: CUDA out of memory" in rows
    assert "left    align_vit_huge_patch14_224_in21k_subj02" in rows
    assert "done    align_vit_huge_patch14_224_in21k_subj01" in rows

    _, (counts, *rows), calls = loop[0](FAILS="vit*.py*-s?1*")
    assert counts == "5 succeeded, 1 failed, 3 left"
    assert "left    extract_vit_huge_patch14_224_in21k_subj02" in rows
    assert len(calls) == 6


def test_a_step_that_was_stopped_ends_the_loop_and_all_others_are_left(loop):
    status, (counts, *rows), calls = loop[0](STOPS="llava*-s?1*")
    assert status == 75
    assert counts == "2 succeeded, 0 failed, 7 left"
    assert "left    report" in rows
    assert len(calls) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_lets_the_step_in_hand_end_and_shows_the_table(loop, number):
    _, start, calls = loop
    process = start(WAITS="llava*-s?1*")
    until(Path(f"{calls}.waiting").exists)
    os.killpg(process.pid, number)  # as a terminal sends Ctrl-C, and a machine that goes down SIGTERM
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 75
    assert "\nfinished\n" in said
    assert "2 succeeded, 0 failed, 7 left" in said


def test_the_shell_scripts_are_clean_by_shellcheck():
    shellcheck = shutil.which("shellcheck") or shutil.which("shellcheck", path=Path(sys.executable).parent)
    if shellcheck is None:
        pytest.skip('no shellcheck: pip install -e ".[test]"')
    root = EXTRACT.parents[1]
    scripts = [*root.glob("brain_activity_prediction/*/*.sh"), root / ".ci/run"]
    checked = subprocess.run([shellcheck, *scripts], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_logs_of_the_loop_follow_no_links_and_send_nothing_to_the_terminal(tmp_path):
    (tmp_path / "private").write_text("mine")
    (tmp_path / "logs").mkdir()
    log = tmp_path / "logs" / "extract_llava_1.5_13b_subj01.log"
    log.symlink_to(tmp_path / "private")
    failing = tmp_path / "failing"
    failing.write_text("#!/bin/bash\nprintf 'fails \\e[31mred\\a'\nexit 1\n")
    failing.chmod(0o755)
    done = alone(BASE_DIR=str(tmp_path), SUBJECTS="1", MODELS="llava_1.5_13b", PYTHON=str(failing))
    assert (tmp_path / "private").read_text() == "mine"
    assert log.read_text() == "fails \x1b[31mred\a"
    assert not log.is_symlink()
    assert "FAILED  extract_llava_1.5_13b_subj01: fails [31mred\n" in done.stdout


@pytest.mark.very_slow
def test_the_loop_does_every_step_and_says_which_failed(own_nsd):
    """Subject 3 has no betas: its alignment fails, and nothing else does."""
    import_torchvision()
    write_vit(own_nsd / "checkpoints" / "vit_huge_patch14_224_in21k", num_hidden_layers=2)
    settings = {
        "BASE_DIRECTORY": own_nsd,
        "GPU_ID": "cpu",
        "PROMPTS": "1",
        "SUBJECTS": "1 3",
        "BATCH_SIZE": "64",
        "MODELS": "vit_huge_patch14_224_in21k",
        "CHECKPOINTS": own_nsd / "checkpoints",
        "PYTHON": sys.executable,
    }
    environment = os.environ | {name: str(value) for name, value in settings.items()}
    done = subprocess.run(["bash", LOOP], env=environment, capture_output=True, text=True, check=False)
    *_, counts, _, _, _, report, failed = done.stdout.splitlines()
    assert counts == "4 succeeded, 1 failed, 0 left"
    assert report == "done    report"
    assert "subject 3 has no betas" in failed
    assert done.returncode == 1
