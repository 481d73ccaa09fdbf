"""The sweep without SLURM: what is left by the files, the run on this machine, and what is said of it."""

import fcntl
import os
import pty
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scripts import EXTRACT, load_script
from torch.utils.flop_counter import FlopCounterMode

from brain_activity_prediction.align_image_embeddings.results import QUANTITIES, Results
from brain_activity_prediction.embedding_store import EmbeddingStore
from brain_activity_prediction.errors import InputError
from brain_activity_prediction.extract_image_embeddings.torchvision_import import import_torchvision
from brain_activity_prediction.folders import alignment_folder, embeddings_folder
from brain_activity_prediction.nsd.design import read_design
from brain_activity_prediction.nsd.layout import find_layout
from brain_activity_prediction.sweep import commands, estimate, sweep
from brain_activity_prediction.sweep.architectures import ARCHITECTURES, Transformer
from brain_activity_prediction.sweep.local_run import LocalRun, Worker
from brain_activity_prediction.sweep.records import (
    Record,
    alone,
    last_lines,
    lock_holder,
    log_of,
    read_record,
    remember,
    remembered,
    write_record,
)
from brain_activity_prediction.sweep.status import states_of, text_of
from brain_activity_prediction.sweep.units import ModelUnits, Plan, Unit

VIT, LLAVA = "vit_huge_patch14_224_in21k", "llava_1.5_13b"
VIT_ID, LLAVA_ID = "google/vit-huge-patch14-224-in21k", "llava-hf/llava-1.5-13b-hf"
SWEEP_FOLDER = Path(sweep.__file__).parent


def planned(base_dir, *flags):
    return commands.planned_units(parsed("plan", base_dir, "-s", 1, 2, "-p", 1, 2, *flags))


def parsed(command, base_dir, *flags):
    return sweep.flags().parse_args([command, "-d", str(base_dir), *map(str, flags)])


def image_ids(base_dir):
    return read_design(find_layout(base_dir).design()).image_ids_of_any([1, 2]).tolist()


def until(ready, seconds=120):
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def store(base_dir, model_id, prompt, ids, n_layers=2, **streams):
    states = np.zeros((len(ids), n_layers, 4), dtype=np.float32)
    folder = embeddings_folder(base_dir, model_id, prompt)
    EmbeddingStore(folder).write(ids, dict.fromkeys(streams or ["vision"], states))


# -- what is left ---------------------------------------------------------------------------------------------------


def test_the_plan_counts_the_images_of_all_subjects_that_have_no_states_shard_by_shard(own_nsd):
    ids = image_ids(own_nsd)
    assert len(ids) == 12 + 28 + 28
    store(own_nsd, VIT_ID, None, ids[::2])
    for n_shards, left in ((1, [34]), (2, [0, 34]), (4, [0, 17, 0, 17])):
        (model,) = planned(own_nsd, "--models", VIT, "--shards", n_shards).models
        assert [unit.n_left for unit in model.extract] == left
        assert sum(unit.n for unit in model.extract) == 68
    assert len(planned(own_nsd, "--models", VIT, "--shards", 100).models[0].extract) == 68
    store(own_nsd, VIT_ID, None, ids[1::2])
    assert not any(unit.n_left for unit in planned(own_nsd, "--models", VIT).models[0].extract)


def test_an_image_is_left_until_it_has_all_prompts_and_the_plan_knows_how_many_each_lacks(own_nsd):
    ids = image_ids(own_nsd)
    store(own_nsd, LLAVA_ID, None, ids)
    store(own_nsd, LLAVA_ID, 1, ids[:60], language=True)
    (model,) = planned(own_nsd, "--models", LLAVA).models
    assert [unit.n_left for unit in model.extract] == [68]
    assert model.lacking == {None: 0, 1: 8, 2: 68}


def test_alignments_are_one_a_subject_and_prompt_and_one_for_what_no_prompt_changes(own_nsd):
    ids = image_ids(own_nsd)
    store(own_nsd, LLAVA_ID, None, ids, n_layers=5)
    units = planned(own_nsd, "--models", LLAVA).models[0].align
    names = [unit.name.removeprefix(f"align_{LLAVA}_") for unit in units]
    assert names == [
        f"{prompt}_subj0{subject}" for subject in (1, 2) for prompt in ("no_prompt", "prompt_1", "prompt_2")
    ]
    assert [unit.n for unit in units[:3]] == [5, 41, 41]  # as stored, else as LLaVA has them
    assert units[0].command[-2:] == ("--stream", "vision")
    assert shlex.join(units[2].command).endswith("-p 2 --stream language")
    assert units[2].on("3")[-2:] == ["-g", "3"]


def test_an_alignment_is_done_with_all_its_layers_and_its_table(own_nsd):
    store(own_nsd, VIT_ID, None, image_ids(own_nsd), n_layers=3)
    folder = alignment_folder(own_nsd, 2, VIT_ID, None)
    left, plain = [], "--permutations 0 --bootstrap 0"
    for layer in range(3):
        Results(folder).write("vision", layer, 3, dict.fromkeys(QUANTITIES, np.zeros(4)))
        left.append([unit.n_left for unit in planned(own_nsd, "--models", VIT, "--align", plain).models[0].align])
    assert left == [[3, 2], [3, 1], [3, 1]]
    (folder / "scores.csv").touch()
    assert [unit.n_left for unit in planned(own_nsd, "--models", VIT, "--align", plain).models[0].align] == [3, 0]
    os.utime(folder / "scores.csv", (0, 0))  # killed between a layer that was fitted again and its table
    assert [unit.n_left for unit in planned(own_nsd, "--models", VIT, "--align", plain).models[0].align] == [3, 1]
    (folder / "scores.csv").touch()
    permuted = planned(own_nsd, "--models", VIT, "--align", "--permutations 100 --bootstrap 0").models[0].align
    assert [unit.n_left for unit in permuted] == [3, 3]
    some = planned(own_nsd, "--models", VIT, "--align", f"{plain} -l 0 1").models[0].align
    assert [(unit.n, unit.n_left) for unit in some] == [(2, 2), (2, 0)]


@pytest.mark.parametrize("folder", ["alignment", "alignment_paper"])
def test_a_report_is_old_where_scores_of_any_protocol_are_newer(folder, own_nsd):
    store(own_nsd, VIT_ID, None, image_ids(own_nsd), n_layers=1)
    scores, report = own_nsd / folder / "subj01/no_prompt/a_model/scores.csv", own_nsd / "report/scores.csv"
    for path in (scores, report):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for newer, n_left in ((-60, 0), (60, 1)):
        os.utime(scores, (report.stat().st_mtime + newer,) * 2)
        assert planned(own_nsd, "--models", VIT, "--align=-l 9").report.n_left == n_left  # without that layer


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--models", "vision_model"], "vision_model is no model script"),
        (["--models", "nothing"], "nothing is no model script"),
        (["-p", "99"], "no prompt 99"),
    ],
)
def test_a_sweep_that_cannot_run_is_refused_in_one_line(flags, said, official_nsd):
    with pytest.raises(InputError, match=said):
        planned(official_nsd, *flags)


def test_flags_that_are_passed_on_are_checked_before_anything_runs(official_nsd, capsys):
    with pytest.raises(SystemExit):
        planned(official_nsd, "--extract", "--bogus 1")
    assert "--extract" in capsys.readouterr().err


def test_a_file_gives_flags_and_those_after_it_win(tmp_path):
    lab = tmp_path / "lab"
    lab.write_text("# our cluster\n--partition gpu  --time 24:00:00\n--sbatch='--qos=long -x n1'\n--models a b # two\n")
    arguments = parsed("slurm", tmp_path, f"@{lab}", "--partition", "other", "--sbatch=--exclusive")
    assert (arguments.partition, arguments.time, arguments.models) == ("other", "24:00:00", ["a", "b"])
    assert arguments.sbatch == ["--qos=long -x n1", "--exclusive"]


def test_status_knows_what_was_started_and_says_where_nothing_was(own_nsd, tmp_path):
    arguments = parsed("slurm", own_nsd, "--models", VIT, "--checkpoints", tmp_path, "--shards", 3, "-g", "0,2")
    with pytest.raises(InputError, match="no sweep was started"):
        remembered(own_nsd)
    remember(arguments)
    assert vars(remembered(own_nsd)) == vars(arguments)


# -- how long and how much ------------------------------------------------------------------------------------------


def test_the_operations_of_a_transformer_are_those_that_torch_counts():
    import_torchvision()
    from transformers import ViTConfig, ViTModel

    sizes = {"hidden_size": 32, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 2}
    model = ViTModel(ViTConfig(**sizes, image_size=32, patch_size=4, attn_implementation="eager"), False)
    hidden = torch.zeros(1, 65, 32)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        for layer in model.layers:
            hidden = layer(hidden)
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden
    assert Transformer(3, 32, 96).operations(65) == pytest.approx(counter.get_total_flops(), rel=1e-9)


@pytest.mark.parametrize("model", ARCHITECTURES)
def test_the_streams_of_an_architecture_are_those_of_its_script(model):
    script = load_script(f"{model}.py")
    streams = {*script.IMAGE_STREAMS, *getattr(script, "PROMPT_STREAMS", {})}
    assert all(ARCHITECTURES[model].states(stream) for stream in streams)
    assert bool(ARCHITECTURES[model].bridge) == bool(streams - {"vision", "language", "response"})


def test_the_weights_of_the_architectures_are_about_what_their_names_say():
    billions = {model: ARCHITECTURES[model].n_weights() / 1e9 for model in ARCHITECTURES}
    assert billions[VIT] == pytest.approx(0.63, rel=0.02)
    assert billions[LLAVA] == pytest.approx(13.0, rel=0.02)
    assert billions["idefics_9b_instruct"] == pytest.approx(8.5, rel=0.1)
    assert billions["openflamingo_9b"] == pytest.approx(8, rel=0.1)


def test_the_gigabytes_are_those_of_the_images_and_prompts_that_lack_states(own_nsd):
    ids = image_ids(own_nsd)
    store(own_nsd, LLAVA_ID, 1, ids[:60], n_layers=41, language=True)
    (model,) = planned(own_nsd, "--models", LLAVA).models
    values = 68 * 25 * 1024 + 8 * 41 * 4 + 68 * 41 * 5120  # prompt 1 as it is stored here, 4 wide
    assert estimate.extraction(own_nsd, model, "gpu").gigabytes == pytest.approx(values * 2 / 1e9)


def test_hours_follow_what_earlier_units_took_on_such_a_device(own_nsd):
    (model,) = planned(own_nsd, "--models", VIT, "--shards", 2).models
    assumed = estimate.extraction(own_nsd, model, "gpu")
    assert not assumed.measured
    record = Record("here", 1, None, "gpu", None, amount=10, started=0, seconds=36000, status=0)
    write_record(own_nsd, model.extract[0].name, record)
    assert estimate.extraction(own_nsd, model, "gpu").hours == pytest.approx(68)
    assert estimate.extraction(own_nsd, model, "gpu").measured
    assert not estimate.extraction(own_nsd, model, "cpu").measured
    (in_other_shards,) = planned(own_nsd, "--models", VIT, "--shards", 3).models
    assert estimate.extraction(own_nsd, in_other_shards, "gpu").hours == pytest.approx(68)
    write_record(own_nsd, f"extract_{VIT}_1_of_2_1_of_4", replace(record, seconds=9e9))  # another model's
    assert estimate.extraction(own_nsd, model, "gpu").hours == pytest.approx(68)


def test_plan_prints_what_is_left_in_hours_and_gigabytes(own_nsd, capsys):
    store(own_nsd, VIT_ID, None, image_ids(own_nsd)[:8])
    commands.plan(parsed("plan", own_nsd, "-g", "0,1", "--models", VIT, LLAVA, "-s", 1, 2))
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if VIT in line).split()
    assert row[:6] == ["extract", VIT, "2", "2", "68", "60"]
    assert "with 2;" in lines[-2]
    commands.plan(parsed("plan", own_nsd, "--models", VIT, "-s", 1, "--units"))
    listed = capsys.readouterr().out.splitlines()[-3:]
    assert listed[0].startswith(f"extract_{VIT}_1_of_1: ")
    assert listed[0].endswith("--shard 0/1 -g 0")


# -- on this machine ------------------------------------------------------------------------------------------------


def unit(tmp_path, name, code, stage="extract", model="m"):
    """A unit whose script is `code`."""
    script = tmp_path / f"{name}.py"
    script.write_text(code)
    return Unit(name, stage, model, 5, 5, (sys.executable, str(script)))


def plan_of(*models, report=None):
    nothing = Unit("report", "report", "", 1, 0, ())
    return Plan([ModelUnits(extract[0].model, extract, align, {}, {}) for extract, align in models], report or nothing)


def run(base_dir, plan, n_workers=2):
    with alone(base_dir) as lock:
        local = LocalRun(base_dir, plan, [Worker(f"CPU {number}", "cpu") for number in range(n_workers)], lock)
        return local.run(), [unit.name for unit in local.waiting]


def test_a_failing_unit_stops_only_what_needs_it_and_status_shows_its_traceback(tmp_path):
    good = [unit(tmp_path, f"good_{number}", "print('fine')") for number in range(2)]
    bad = [unit(tmp_path, "bad", "def broken():\n    return 1 / 0\nbroken()", model="other")]
    written = tmp_path / "aligned.csv"
    aligned = unit(tmp_path, "aligned", f"import time\ntime.sleep(1)\nopen({str(written)!r}, 'w')", "align")
    never = unit(tmp_path, "never", "", "align", "other")
    report = unit(tmp_path, "the_report", f"open({str(written)!r})", "report", "")
    plan = plan_of((good, [aligned]), (bad, [never]), report=report)
    outcome, waiting = run(tmp_path, plan)
    assert outcome.failed == ["bad"]
    assert set(outcome.done) == {"good_0", "good_1", "aligned", "the_report"}
    assert outcome.done[-1] == "the_report"
    assert waiting == ["never"]

    states = {state.unit.name: state for state in states_of(tmp_path, plan, {})}
    assert states["bad"].state == "failed"
    assert states["never"].state == "left"
    text = text_of(tmp_path, list(states.values()))
    assert "in broken" in text
    assert "ZeroDivisionError: division by zero" in text


def test_an_alignment_waits_for_the_extraction_it_needs_while_a_worker_is_idle(tmp_path):
    states = str(tmp_path / "states")
    extract = unit(tmp_path, "extract", f"import time\ntime.sleep(1)\nopen({states!r}, 'w')")
    outcome, _ = run(tmp_path, plan_of(([extract], [unit(tmp_path, "align", f"open({states!r})", "align")])))
    assert outcome.done == ["extract", "align"]


def test_workers_run_side_by_side_each_on_its_own_device(tmp_path):
    wait_for_the_other = (
        "import os, sys, time, pathlib\n"
        "assert os.getsid(0) == os.getpid()  # Ctrl-C on the terminal is the sweep's to pass on\n"
        "here = pathlib.Path(__file__)\n"
        "here.with_suffix('.begun').write_text(sys.argv[-1])\n"
        "other = here.with_name({'a': 'b', 'b': 'a'}[here.stem] + '.begun')\n"
        "deadline = time.monotonic() + 60\n"
        "while not other.exists(): assert time.monotonic() < deadline; time.sleep(0.01)\n"
    )
    plan = plan_of(([unit(tmp_path, name, wait_for_the_other) for name in "ab"], []))
    with alone(tmp_path) as lock:
        outcome = LocalRun(tmp_path, plan, [Worker("GPU 4", "4"), Worker("GPU 7", "7")], lock).run()
    assert sorted(outcome.done) == ["a", "b"]
    assert {(tmp_path / f"{name}.begun").read_text() for name in "ab"} == {"4", "7"}


def test_a_signal_lets_the_units_in_hand_end_and_begins_no_other(tmp_path):
    code = (
        "import os, signal, sys, time\n"
        "from brain_activity_prediction.stopping import until_stopped, Stopped\n"
        "try:\n"
        "    for step in until_stopped(range(1000)):\n"
        f"        os.kill({os.getpid()}, signal.SIGUSR1) if step == 0 else None\n"
        "        time.sleep(0.05)\n"
        "except Stopped:\n"
        "    print('finished the step')\n"
        "    sys.exit(75)\n"
    )
    plan = plan_of(([unit(tmp_path, "first", code), unit(tmp_path, "second", "")], []))
    outcome, waiting = run(tmp_path, plan, n_workers=1)
    assert outcome.stopped == ["first"]
    assert waiting == ["second"]
    assert last_lines(log_of(tmp_path, "first"), 1) == ["finished the step"]
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


def test_a_stop_while_the_unit_in_hand_ends_by_itself_leaves_the_others_and_says_so(tmp_path, monkeypatch, capsys):
    def it_ends_and_then_the_signal_comes(run, worker):
        worker.process.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        return ""

    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(LocalRun, "_progress", it_ends_and_then_the_signal_comes)
    for code, status in (("", 75), ("raise SystemExit(2)", 1)):
        plan = plan_of(([unit(tmp_path, "first", code), unit(tmp_path, "second", "")], []))
        monkeypatch.setattr(commands, "planned_units", lambda _, plan=plan: plan)
        with pytest.raises(SystemExit) as ended:
            commands.local(parsed("local", tmp_path, "-g", "cpu"))
        assert ended.value.code == status
        assert "left    second" in capsys.readouterr().out


def test_a_sweep_that_runs_is_not_started_again_even_when_only_a_unit_of_it_lives(tmp_path):
    with alone(tmp_path) as lock:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock])
    with pytest.raises(InputError, match="cancel"), alone(tmp_path):
        pass
    child.communicate(b"\n")
    with alone(tmp_path):
        pass


def test_cancel_ends_a_sweep_on_this_machine(own_nsd, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")  # where no SLURM is
    remember(parsed("local", own_nsd, "--models", VIT))
    commands.cancel(parsed("cancel", own_nsd))
    assert "nothing runs" in capsys.readouterr().out
    code = (
        "import pathlib, signal, sys\n"
        "from brain_activity_prediction.sweep.records import alone\n"
        f"with alone(pathlib.Path({str(own_nsd)!r})):\n"
        "    print('running', flush=True)\n"
        "    signal.sigwait([signal.SIGUSR2])\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout.readline() == "running\n"
            commands.cancel(parsed("cancel", own_nsd))
            assert running.wait(120) == -signal.SIGTERM
        finally:
            running.kill()
    assert f"process {running.pid}" in capsys.readouterr().out


def test_cancel_ends_the_units_of_a_sweep_that_was_killed(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    script = tmp_path / "slow.py"
    script.write_text("import time\nprint('begun', flush=True)\ntime.sleep(600)\n")
    unit = [sys.executable, str(SWEEP_FOLDER / "run_unit.py"), str(tmp_path), "slow", "5", sys.executable, str(script)]
    code = (
        "import pathlib, signal, subprocess\n"
        "from brain_activity_prediction.sweep.records import alone\n"
        f"with alone(pathlib.Path({str(tmp_path)!r})) as lock:\n"
        f"    print(subprocess.Popen({unit!r}, pass_fds=[lock]).pid, flush=True)\n"
        "    signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as sweeping:
        pid = int(sweeping.stdout.readline())
        until(lambda: last_lines(log_of(tmp_path, "slow"), 1) == ["begun"])
        sweeping.kill()
    with pytest.raises(InputError, match="is being run by process"), alone(tmp_path):
        pass
    commands.cancel(parsed("cancel", tmp_path))
    assert capsys.readouterr().out == "ended: slow\n"
    until(lambda: read_record(tmp_path, "slow").status == 75)
    until(lambda: lock_holder(tmp_path) is None)
    assert pid == read_record(tmp_path, "slow").pid


def run_unit(base_dir, name, *command, amount=5, **options):
    words = [sys.executable, SWEEP_FOLDER / "run_unit.py", base_dir, name, amount, *command]
    return subprocess.Popen([str(word) for word in words], **options)


def test_a_signal_before_the_script_listens_ends_the_unit_as_one_to_be_continued(tmp_path):
    script = tmp_path / "slow.py"
    script.write_text("import time, pathlib\npathlib.Path(__file__).with_suffix('.on').touch()\ntime.sleep(60)\n")
    process = run_unit(tmp_path, "slow", sys.executable, script)
    until(script.with_suffix(".on").exists)
    assert read_record(tmp_path, "slow").runs_here()
    process.send_signal(signal.SIGUSR1)
    assert process.wait(30) == 75
    first = read_record(tmp_path, "slow")
    assert first.status == 75
    assert not first.runs_here()

    script.write_text("raise SystemExit(0)")
    for amount, both in ((5, True), (4, False)):  # its time is of both runs, unless it was planned anew
        write_record(tmp_path, "slow", replace(first, seconds=1000))
        assert run_unit(tmp_path, "slow", sys.executable, script, amount=amount).wait(30) == 0
        assert (read_record(tmp_path, "slow").seconds > 1000) == both


def test_a_script_is_run_as_python_itself_would(tmp_path):
    (tmp_path / "beside.py").write_text("name = 'beside'")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, beside\nassert __name__ == '__main__'\nprint(beside.name, *sys.argv)\nsys.exit('no')"
    )
    assert run_unit(tmp_path, "script", sys.executable, script, "-x", "1").wait(30) == 1
    assert last_lines(log_of(tmp_path, "script"), 9) == [f"beside {script} -x 1", "no"]


def test_a_killed_unit_counts_as_failed_and_its_last_lines_are_those_of_its_last_run(tmp_path):
    script = tmp_path / "dies.py"
    script.write_text("import os\nprint('10 %\\r20 %\\rthe end', end='', flush=True)\nos.kill(os.getpid(), 9)\n")
    for _ in range(2):
        assert run_unit(tmp_path, "dies", sys.executable, script).wait(30) == -9
    dead = Unit("dies", "extract", "m", 5, 5, ())
    (state, _) = states_of(tmp_path, plan_of(([dead], [])), {})
    assert state.state == "failed"
    assert "out of memory?" in state.why
    assert last_lines(log_of(tmp_path, "dies"), 12) == ["the end"]


def test_every_model_of_the_study_is_a_script():
    assert all((EXTRACT / f"{model}.py").is_file() for model in ARCHITECTURES)
    assert len(ARCHITECTURES) == 6


def test_on_a_terminal_every_worker_has_a_line_and_what_ended_stays(tmp_path):
    code = (
        "from brain_activity_prediction.sweep.screen import Screen\n"
        "with Screen(2, ['GPU 0', 'GPU 1']) as screen:\n"
        "    screen.show(['llava 10%', ''])\n"
        "    screen.ended('done    vit')\n"
        "    screen.show(['llava 90%', 'idefics 1%'])\n"
    )
    terminal, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    done = subprocess.run([sys.executable, "-c", code], stderr=theirs, check=False)
    os.close(theirs)
    said = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert done.returncode == 0
    for line in ("GPU 0: llava 10%", "GPU 1: idle", "done    vit", "GPU 0: llava 90%", "GPU 1: idefics 1%", "1/2"):
        assert line in said
