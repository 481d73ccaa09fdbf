"""Attack what docs/faults.md promises: kill analyses, swap files, poison checkpoints, records and names.

    python tests/robustness/attack.py --kills 150 --swaps 100 --former 30 --hostile 100 --seed 1

Written from the promises alone, on commands, folders and file formats. Every trial is a command as a user types it, on
a copy of a small study. A trial is survived where the command ends as promised: after a kill the same command gives the
same tables and leaves nothing behind; a file put in another's place is refused or made again, never read as right; what
is hostile ends within seconds in a line, without a traceback, and runs nothing.
"""

import argparse
import json
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from study import (
    ALIGN,
    EXTRACT,
    FEW,
    MODELS,
    PACKAGE,
    VIT,
    Run,
    adopt_orphans,
    build,
    copied,
    differences,
    end_processes,
    running,
    tables,
    warm,
)  # fmt: skip

from brain_activity_prediction.storage.sealed_hdf5 import read_array, read_seal, write_sealed

LONGEST_REFUSAL_S, LARGEST_BYTES = 60, 4e9
SMALL_DEMO = """from brain_activity_prediction.demo import __main__ as demo, dataset, simulation
dataset.DEFAULT_RECIPE = simulation.Recipe(subjects=(1, 2), n_shared=26, n_unique=34, n_sessions=4, image_size=24)
demo.run_script(demo.main)
"""
LEFT_BEHIND = re.compile(r"~|claims|\.left$")
KILLED = ("compare", "partition", "across subjects", "ceiling", "similarity", "report", "sweep", "demo", "shell loop")


# -- kills ------------------------------------------------------------------------------------------------------------


def analyses(base, folder):
    """Name: script, flags, what it writes below BASE_DIR, and its share of the kills."""
    one = ["-d", base, "-g", "cpu"]
    two = ["--space", MODELS[0], "1", "language", "1", "--space", MODELS[1], "2", "language", "1"]
    spaces = [*two, "-n", "pair", "--bootstrap", "20", "--num-alphas", "5", "--random-weightings", "4"]
    sweep = ["local", *one, "--models", VIT, "-s", "1", "--checkpoints", folder / "weights"]
    sweep += ["--workers", "2", "-b", "8", "--align=--num-alphas 5"]
    demo = folder / "demo.py"
    demo.write_text(SMALL_DEMO)
    loop = {"BASE_DIRECTORY": base, "GPU_ID": "cpu", "PROMPTS": "1", "SUBJECTS": "1", "MODELS": VIT}
    loop |= {"CHECKPOINTS": folder / "weights", "PYTHON": sys.executable}
    loop = [*(f"{name}={value}" for name, value in loop.items()), "bash", EXTRACT / "run_experiments.sh"]
    return {
        "compare": (ALIGN / "compare.py", ["-d", base, "-m", *MODELS, "-p", "1", "2"], "alignment", 28),
        "partition": (ALIGN / "partition_variance.py", [*one, *spaces], "alignment", 35),
        "across subjects": (ALIGN / "across_subjects.py", ["-d", base, "-s", "1", "2"], "alignment", 20),
        "ceiling": (ALIGN / "cross_subject_ceiling.py", [*one, "-s", "1", "2", "--num-alphas", "5"], "alignment", 25),
        "similarity": (
            ALIGN / "compare_representations.py",
            [*one, "-m", MODELS[0], "-p", "1", "2", "--permutations", "99"],
            "alignment",
            15,
        ),
        "report": (PACKAGE / "report" / "report.py", ["-d", base, "--table-only"], "report", 13),
        "sweep": (PACKAGE / "sweep" / "sweep.py", sweep, "alignment", 10),
        "demo": (demo, ["-d", base / "demo"], "demo/alignment", 8),
        "shell loop": ("env", loop, "alignment", 8),
    }


def kill_trials(n, base, folder, rng, chosen):
    own = folder / "own"
    for name, (script, flags, written, share) in analyses(base, folder).items():
        if name not in chosen:
            continue
        flags = [str(flag).replace(str(base), str(own)) for flag in flags]
        copied(base, own)
        status, said, seconds = Run(script, flags, folder).wait()
        assert status == 0, f"{name}: {said}"
        expected = tables(own, written)
        for _ in range(round(n * share / 150)):
            copied(base, own)
            killed, after = Run(script, flags, folder), rng.uniform(0, 1.05 * seconds)
            time.sleep(after)
            killed.kill()
            status = killed.wait()[0]
            again, said, _ = Run(script, flags, folder).wait()
            problem = f"status {again}: {said[-500:]}" if again else differences(tables(own, written), expected)
            yield f"kill {name} after {after:.2f} s (status {status})", problem or left_behind(own)


def left_behind(own):
    """What a command leaves that it should not: hidden files, claims, processes still there after a second."""
    if running():
        time.sleep(1)
    files = [str(path) for path in own.rglob("*") if LEFT_BEHIND.search(path.name)]
    processes = [process.name() for process in running()]
    end_processes()
    return f"left behind {(files + processes)[:3]}" if files or processes else ""


# -- swaps ------------------------------------------------------------------------------------------------------------

SWAPPED = {  # what is put in the place of another of its kind; the command that then reads it
    "batches": ("image_embeddings/*/*/batch_*.h5", True),
    "settings of states": ("image_embeddings/*/*/settings.json", True),
    "voxels": ("alignment/*/*/*/voxels/*.h5", False),
    "best layers": ("alignment/*/*/*/best_layers/*.h5", False),
    "noise ceilings": ("alignment/*/*/*/noise_ceiling.h5", False),
    "tables": ("alignment/*/*/*/scores.parquet", False),
    "settings of scores": ("alignment/*/*/*/settings.json", False),
    "responses": ("alignment/responses/*.h5", True),
}


WITHOUT_SETTINGS = ("voxels", "best layers", "noise ceilings")  # as version 1.0.0 wrote them


def former_trials(n, base, folder, rng, _):
    return swap_trials(n, base, folder, rng, (), former=True)


def as_1_0_0(path):
    """Rewrite a score file without its settings."""
    seal = read_seal(path)
    arrays = {name: read_array(path, name) for name in seal.datasets}
    write_sealed(path, arrays, {name: value for name, value in seal.about.items() if name != "settings"})


def swap_trials(n, base, folder, rng, _, former=False):
    own, expected = folder / "own", tables(base, "alignment")
    kinds = [kind for kind in SWAPPED if kind in WITHOUT_SETTINGS or not former]
    for number in range(n):
        kind = kinds[number % len(kinds)]
        pattern, align_anew = SWAPPED[kind]
        copied(base, own)
        there = sorted(own.glob(pattern))
        place, other = rng.choice(len(there), 2, replace=False)
        place, other = there[place], there[other]
        shutil.copy(other, place)
        if former:
            as_1_0_0(place)
        if align_anew:
            for scores in own.glob("alignment/subj*"):
                shutil.rmtree(scores)
        model = MODELS["test_two" in str(place)]
        subject = 2 if "subj02" in str(place) else 1
        flags = ["-d", own, "-s", subject, "-m", model, "-p", "1", "2", *FEW]
        ended = [Run(ALIGN / "align_model.py", flags, folder).wait()]
        ended.append(Run(PACKAGE / "report" / "report.py", ["-d", own, "--table-only"], folder).wait())
        noticed = any(status == 2 or place.name in said for status, said, _ in ended)
        bad = [(status, said) for status, said, _ in ended if status not in (0, 2) or "Traceback" in said]
        problem = f"status {bad[0][0]}: {bad[0][1][-500:]}" if bad else ""
        found = tables(own, "alignment")
        if wrong := [name for name in found if not found[name].equals(expected[name])]:
            problem = problem or f"{'noticed, but' if noticed else 'not noticed, and'} other numbers in {wrong[:3]}"
        yield f"swap {kind}: {other.relative_to(own)} over {place.relative_to(own)}", problem


# -- hostile checkpoints, records and names ---------------------------------------------------------------------------

EVIL_NAMES = (
    "=cmd|' /C calc'!A0", "@SUM(1)", "+1", "-1", "\x1b[31mred\x1b[0m", "$\\frac$", "a" * 240, "<script>",
    "new\nline", "tab\tname", "per%cent", "'quote\"", "\u202erevers", "..", "a/b", "$(touch MARKER)", "`touch MARKER`",
)  # fmt: skip
EVIL_VALUES = (
    None, True, -1, 10**30, 1e400, "", "x" * 10**5, [], {}, [[]], {"a": {"b": 1}}, "../../evil", "/tmp/evil",
    "$(touch MARKER)", "\x1b]0;x\x07", ["-c", "import os"], float("nan"),
)  # fmt: skip


def hostile_trials(n, base, folder, rng, _):
    kinds = (hostile_checkpoint, hostile_record, hostile_name)
    for number in range(n):
        own = folder / "own"
        copied(base, own)
        marker = folder / "MARKER"
        what, script, flags = kinds[number % len(kinds)](own, folder, rng)
        run = Run(script, flags, folder)
        status, said, seconds = run.wait()
        problem = f"status {status}: {said[-500:]}" if status not in (0, 2) or "Traceback" in said else ""
        problem = problem or ("" if run.n_bytes < LARGEST_BYTES else f"took {run.n_bytes / 1e9:.1f} GB")
        problem = problem or ("control characters reached the terminal" if re.search("[\x00-\x08\x1b]", said) else "")
        problem = problem or ("code was run" if marker.exists() else "")
        problem = problem or (f"took {seconds:.0f} s" if seconds > LONGEST_REFUSAL_S else "")
        problem = problem or ("advice to unpickle" if "weights_only" in said else "")
        yield what, problem


def hostile_checkpoint(own, folder, rng):
    weights = folder / "hostile"
    copied(folder / "weights" / VIT, weights)
    path = rng.choice(sorted(path for path in weights.glob("*.json")))
    content = json.loads(Path(path).read_text())
    key = str(rng.choice([*content, "attn_implementation", "architecture", "auto_map", "num_hidden_layers", "size"]))
    value = EVIL_VALUES[rng.integers(len(EVIL_VALUES))]
    Path(path).write_text(json.dumps(content | {key: value}))
    flags = ["-d", own, "-g", "cpu", "-b", "8", "--checkpoint", weights]
    flags += ["--random-weights", "1"] if rng.integers(2) else []
    what = f"checkpoint {Path(path).name}: {key} = {str(value)[:40]!r}"
    return what, EXTRACT / f"{VIT}.py", flags


def hostile_record(own, folder, rng):
    sweep = PACKAGE / "sweep" / "sweep.py"
    one = ["-d", own, "-g", "cpu", "--models", VIT, "-s", "1"]
    Run(sweep, ["local", *one, "--checkpoints", folder / "weights", "-b", "8"], folder).wait()
    records = [path for path in sorted(own.rglob("*.json")) if "nsddata" not in str(path)]
    path = records[rng.integers(len(records))]
    value = EVIL_VALUES[rng.integers(len(EVIL_VALUES))]
    content = json.loads(path.read_text())
    if isinstance(content, dict) and content and rng.integers(4):
        key = str(rng.choice(list(content)))
        content = content | {key: value}
    else:
        key, content = "all", value
    path.write_text(json.dumps(content))
    script, flags = (
        (sweep, ["status", "-d", own]),
        (sweep, ["plan", *one]),
        (sweep, ["cancel", "-d", own]),
        (PACKAGE / "report" / "report.py", ["-d", own, "--table-only"]),
        (ALIGN / "align_model.py", ["-d", own, "-m", MODELS[0], *FEW]),
    )[rng.integers(5)]
    return f"record {path.relative_to(own)}: {key} = {str(value)[:40]!r}, {script.name} {flags[0]}", script, flags


def hostile_name(own, folder, rng):
    name = EVIL_NAMES[rng.integers(len(EVIL_NAMES))]
    place = rng.integers(3)
    if place == 0:  # of a region
        table = own / "nsddata/freesurfer/subj01/label/floc-faces.mgz.ctab"
        table.parent.mkdir(parents=True, exist_ok=True)
        table.write_text("0 Unknown\n" + "".join(f"{number} {name}{number}\n" for number in range(1, 6)))
        flags = ["-d", own, "-m", MODELS[0], "-p", "1", *FEW, "--redo"]
        return f"region named {name[:40]!r}", ALIGN / "align_model.py", flags
    if place == 1:  # of an analysis
        flags = ["-d", own, "-m", *MODELS, "-p", "1", "2", "-n", name]
        return f"analysis named {name[:40]!r}", ALIGN / "compare.py", flags
    if "/" not in name and name != "..":
        (own / "image_embeddings/prompt_1/test_one").rename(own / "image_embeddings/prompt_1" / name)
    return f"model named {name[:40]!r}", ALIGN / "align_model.py", ["-d", own, "-m", name, *FEW]


def main():
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("kills", 150), ("swaps", 100), ("former", 0), ("hostile", 100), ("seed", 1)):
        flags.add_argument(f"--{name}", type=int, default=default)
    flags.add_argument("--of", nargs="+", choices=KILLED, default=KILLED, help="what is killed (default: all)")
    arguments = flags.parse_args()
    warm()
    adopt_orphans()
    all_survived = True
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        base = build(folder)
        for trials, n in (
            (swap_trials, arguments.swaps),
            (former_trials, arguments.former),
            (hostile_trials, arguments.hostile),
            (kill_trials, arguments.kills),
        ):
            rng, tried, survived = np.random.default_rng(arguments.seed), 0, 0
            for what, problem in trials(n, base, folder, rng, arguments.of) if n else ():
                tried, survived = tried + 1, survived + (not problem)
                print(f"NOT SURVIVED {what}: {problem}" if problem else f"survived {what}", flush=True)
            print(f"{trials.__name__}: {survived} of {tried} survived", flush=True)
            all_survived &= survived == tried
    sys.exit(not all_survived)


if __name__ == "__main__":
    main()
