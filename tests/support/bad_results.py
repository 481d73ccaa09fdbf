"""What is wrong with stored states and scores, or with what is asked of them; and with sweeps."""

from bad_input import ACROSS, ALIGN, CEILING, COMPARE, HTML, LLAVA, PAIRS, PARTITION, REPORT, SWEEP, VIT, Case
from spoilt_data import beside, damaged, spoilt, states, without

SCORES = "alignment/*/*/*/scores.parquet"
STORED = [
    Case(
        "states of another precision",
        VIT,
        ["--dtype", "bfloat16"],
        ["dtype = float32", "another --base-dir"],
        states({"dtype": "float32"}, slice(5), model="google_vit-huge-patch14-224-in21k"),
    ),
    Case(
        "states of another prompt",
        LLAVA,
        [],
        ["prompt = Other words.", "another --base-dir"],
        states({"prompt": "Other words."}, slice(5), "prompt_1", "llava-hf_llava-1.5-13b-hf", "language"),
    ),
    Case(
        "settings that were changed",
        ALIGN,
        [],
        ["settings.json", "--repair"],
        damaged("image_embeddings/no_prompt/test*/settings.json"),
    ),
    Case(
        "states of too few images",
        ALIGN,
        [],
        ["no vision states for", "of 40 images", "run the extraction again"],
        states(keep=slice(3, None)),
    ),
    Case(
        "a model that was not extracted",
        ALIGN,
        ["-m", "org/other"],
        ["no hidden states of org/other", "extraction script"],
    ),
    Case(
        "a misspelt model",
        ALIGN,
        ["-m", "test/two-layer"],
        ["no hidden states of test/two-layer", "did you mean test/two-layers"],
    ),
    Case("a misspelt stream", ALIGN, ["--stream", "vison"], ["vison (did you mean vision?)"]),
    Case("one of two streams misspelt", ALIGN, ["--stream", "vision", "language"], ["language", "vision"]),
    Case("a layer that there is not", ALIGN, ["-l", "2"], ["layer 2", "0 to 1"]),
    Case("a layer below the first", ALIGN, ["-l", "0", "-1"], ["--layer-number", "'-1'"]),
    Case(
        "prompts of another wording",
        ALIGN,
        ["--prompts-file", "{here}/p.yml"],
        ["Other words.", "--prompts-file"],
        lambda base: (
            states({"prompt": "Other words.", "template": "{prompt}"}, part="prompt_1", stream="language")(base),
            beside("p.yml", "1: a\n")(base),
        ),
    ),
    Case(
        "a prompt that was not extracted",
        ALIGN,
        ["-p", "3"],
        ["under prompt 3", "-p 3"],
        states({"template": "{prompt}"}),
    ),
    Case("scores of another grid", ALIGN, ["--num-alphas", "7"], ["num_alphas = 60, but this run has 7", "--redo"]),
    Case("a misspelt model to compare", COMPARE, ["-m", "test/two-layer"], ["did you mean test/two-layers"]),
    Case("a stream to compare that there is not", COMPARE, ["--stream", "text"], ["text", "vision"]),
    *(
        Case(
            f"no such region, said before betas are read: {script.stem}",
            script,
            ["--roi", "V1"],
            ["V1.nii.gz", "prf-visualrois"],
            without("alignment/responses"),
        )
        for script in (ALIGN, COMPARE, CEILING)
    ),
    Case("one subject's brain to be predicted from", CEILING, ["-s", "1"], ["name two or more with -s"]),
    Case("the brain of a subject without sessions", CEILING, ["-s", "1", "7"], ["subject 7 has no betas"]),
    Case(
        "spaces that were not extracted",
        PARTITION,
        ["--space", "org/a", "none", "vision", "0", "--space", "org/b", "none", "vision", "0"],
        ["no_prompt/org_a holds no hidden states", "run an extraction script first, or choose from {base}"],
    ),
]
SCORED = [
    Case("one condition to compare", PAIRS, [], ["only test/two-layers vision", "name two or more"]),
    Case("a model to compare that was not scored", PAIRS, ["-m", "org/other"], ["no scores of org/other"]),
    Case("a comparison outside the base directory", PAIRS, ["-n", "../x"], ["--name", "../x"]),
    Case("a web page for scores to compare", PAIRS, [], ["scores.parquet", "align again"], spoilt(SCORES)),
    Case("no subject's scores", ACROSS, ["-d", "{here}"], ["no scores under {here}", "align_model.py"]),
    Case("scores of other subjects", ACROSS, ["-s", "5", "7"], ["no scores under {base} of these subjects"]),
    Case(
        "a subject without scores", ACROSS, ["-s", "1", "2"], ["no scores of subject 2", "-s 2", "leave it out of -s"]
    ),
    Case(
        "a misspelt model across subjects",
        ACROSS,
        ["-m", "test/two-layer"],
        ["(did you mean test/two-layers?)"],
    ),
    Case("a misspelt model of a pair", PAIRS, ["-m", "test/two-layer"], ["(did you mean test/two-layers?)"]),
    Case(
        "a misspelt stream across subjects",
        ACROSS,
        ["--stream", "vison"],
        ["vison (did you mean vision?); available: vision"],
    ),
    Case("a prompt that was not scored", ACROSS, ["-p", "1-3"], ["prompt 1", "available: none"]),
    Case("a protocol that was not scored", ACROSS, ["--protocol", "paper"], ["no scores under {base}"]),
    Case("a web page for scores across subjects", ACROSS, [], ["scores.parquet", "align again"], spoilt(SCORES)),
    Case(
        "damaged settings across subjects",
        ACROSS,
        [],
        ["settings.json", "align again"],
        damaged("alignment/*/*/*/settings.json"),
    ),
    Case(
        "a web page for what other brains predict",
        ACROSS,
        [],
        ["cross_subject_ceiling.parquet", "run cross_subject_ceiling.py again"],
        lambda base: (
            (base / "alignment/across_subjects").mkdir(),
            (base / "alignment/across_subjects/cross_subject_ceiling.parquet").write_bytes(HTML),
        ),
    ),
]
WHOLE = [
    Case("a report of no scores", REPORT, ["-d", "{here}"], ["no scores in {here}/alignment", "align_model.py"]),
    Case("a report of a model that was not scored", REPORT, ["-m", "org/other"], ["org/other", "test/two-layers"]),
    Case("a report of a region that there is not", REPORT, ["--roi", "V9"], ["V9", "V1v"]),
    Case(
        "a report of a web page",
        REPORT,
        [],
        ["scores.parquet", "align again"],
        spoilt(SCORES),
    ),
    Case("a sweep of a script that there is not", SWEEP, ["--models", "llava"], ["llava is no model script"]),
    Case(
        "a sweep of a script of no one model",
        SWEEP,
        ["--models", "vision_model"],
        ["vision_model.py reads many models", "give --models a model's id"],
    ),
    Case("a sweep of nothing", SWEEP, ["-d", "{here}/no"], ["{here}/no"]),
    Case("a sweep of a prompt that there is not", SWEEP, ["-p", "12"], ["no prompt 12"]),
    Case("a sweep on a GPU by its name", SWEEP, ["-g", "A100"], ["A100", "cpu"]),
    *(
        Case(
            f"a sweep with --extract={flags}",
            SWEEP,
            [f"--extract={flags}"],
            [f"cannot contain {named}", f"{VIT} itself"],
        )
        for flags, named in (
            ("--repair", "--repair"),
            ("--test-run", "--test-run"),
            ("-t --response", "--test-run"),
        )
    ),
    Case(
        "a sweep that fits all anew",
        SWEEP,
        ["--align=--redo"],
        ["--align cannot contain --redo", "align_model.py itself"],
    ),
    Case("a sweep of a region that is not there", SWEEP, ["-s", "1", "--align=--roi V9"], ["--align", "V9.nii.gz"]),
    Case(
        "a sweep of sessions that are not there", SWEEP, ["-s", "1", "--align=--sessions 9"], ["--align", "session09"]
    ),
    Case("a sweep of a misspelt stream", SWEEP, ["-s", "1", "--align=--stream vison"], ["--align", "vison", "vision"]),
    Case("a sweep of weights that are not there", SWEEP, ["--checkpoints", "{here}/no"], ["{here}/no is not a folder"]),
    Case("a step of a sweep that there is not", SWEEP, ["paln"], ["paln"]),
]
CASES = [*STORED, *SCORED, *WHOLE]
