"""What users get wrong, one case each: a script, flags, what is done to the data, and what the one line must say.

In flags and in what is said {base} is the base directory, {here} a folder beside it for other files, and {vit} and
{llava} are checkpoints.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scripts import ALIGN, PACKAGE
from spoilt_data import (
    beside,
    bomb,
    damaged,
    design,
    file_for,
    loop,
    model_files,
    over,
    read_only,
    spoilt,
    states,
    stimuli,
    volume,
    without,
)

from brain_activity_prediction.nsd.layout import find_layout

VIT, LLAVA, VISION, TEXT = "vit_huge_patch14_224_in21k.py", "llava_1.5_13b.py", "vision_model.py", "clip_text.py"
IDEFICS, BLIP = "idefics_9b_instruct.py", "instruct_blip_13b.py"
OWL, FLAMINGO = "mplug_owl_llama_7b.py", "openflamingo_9b.py"
REPORT, SWEEP = PACKAGE / "report/report.py", PACKAGE / "sweep/sweep.py"
PARTITION, COMPARE = ALIGN.with_name("partition_variance.py"), ALIGN.with_name("compare_representations.py")
PAIRS, ACROSS = ALIGN.with_name("compare.py"), ALIGN.with_name("across_subjects.py")
CEILING = ALIGN.with_name("cross_subject_ceiling.py")
USUAL = {
    VIT: ["-d", "{base}", "-g", "cpu", "--checkpoint", "{vit}"],
    LLAVA: ["-d", "{base}", "-g", "cpu", "--checkpoint", "{llava}"],
    VISION: ["-d", "{base}", "-g", "cpu", "--checkpoint", "{vit}"],
    TEXT: ["-d", "{base}", "-g", "cpu", "--checkpoint", "{vit}", "--captions", "{here}/captions.csv"],
    ALIGN: ["-d", "{base}", "-g", "cpu", "-m", "test/two-layers"],
    PARTITION: ["-d", "{base}", "-g", "cpu", "-n", "parts"],
    REPORT: ["-d", "{base}"],
    SWEEP: ["plan", "-d", "{base}", "-g", "cpu"],
    COMPARE: ["-d", "{base}", "-g", "cpu", "-m", "test/two-layers"],
    PAIRS: ["-d", "{base}", "-m", "test/two-layers"],
    ACROSS: ["-d", "{base}"],
    CEILING: ["-d", "{base}", "-g", "cpu", "-s", "1", "2"],
    **{script: ["-d", "{base}", "-g", "cpu", "--checkpoint", "{llava}"] for script in (IDEFICS, BLIP, OWL, FLAMINGO)},
}
CAPTIONS_FILE = "nsd_id,caption\n" + "".join(f"{image_id},A dog.\n" for image_id in range(1, 400))
SCORES = "alignment/*/*/*/scores.parquet"
HTML = b"<!DOCTYPE html><html><head><title>404 Not Found</title></head></html>\n" * 40


class Case(NamedTuple):
    what: str
    script: object
    flags: list[str]
    said: list[str]  # each must be in the line
    change: Callable = lambda base: None
    may_load: bool = False
    as_root: bool = True


FLAGS = [
    Case("no base directory", VIT, [], ["-d/--base-dir", "--help"]),
    Case("a batch of no images", VIT, ["-b", "0"], ["--batch-size", "from 1"]),
    Case("a batch of more images than can be counted", VIT, ["-b", "9" * 5000], ["--batch-size", "from 1 to"]),
    Case("half an image", VIT, ["-b", "1.5"], ["--batch-size", "whole number"]),
    Case("a subject that NSD does not have", VIT, ["-s", "9"], ["--subject", "1, 2, 5, 7"]),
    Case("a subject in words", VIT, ["-s", "one"], ["--subject", "'one'"]),
    Case("a prompt that there is not", LLAVA, ["-p", "99"], ["no prompt 99", "1, 2, 3"]),
    Case("prompts counted backwards", LLAVA, ["-p", "9-1"], ["9-1", "range like 1-9"]),
    Case("a GPU that there is not", VIT, ["-g", "640"], ["GPU 640"]),
    Case("a GPU by its name", VIT, ["-g", "A100"], ["A100", "number nor cpu"]),
    Case("the fifth of four shards", VIT, ["--shard", "4/4"], ["4/4", "3/4"]),
    Case("a dtype that models do not come in", VIT, ["--dtype", "float64"], ["--dtype", "float32"]),
    Case("a pooling that there is not", VIT, ["--pooling", "max"], ["--pooling", "mean"]),
    Case("a pooling that this model does not have", VIT, ["--pooling", "last"], ["no last pooling", "cls, mean"]),
    Case("answers of a model that gives none", VIT, ["--response"], ["leave out --response"]),
    Case("an answer of no tokens", LLAVA, ["--response", "--max-new-tokens", "0"], ["--max-new-tokens", "from 1"]),
    Case("a seed below 0", VIT, ["--random-weights", "-1"], ["--random-weights"]),
    Case("a seed that is too large", VIT, ["--random-weights", str(2**32)], ["--random-weights", "2^32 - 1"]),
    Case("3 bits", VIT, ["--quantize", "3bit"], ["--quantize", "8bit"]),
    Case("drawn weights in 8 bits", VIT, ["--quantize", "8bit", "--random-weights", "1"], ["leave one out"]),
    Case("8 bits without the library", VIT, ["--quantize", "8bit"], ["pip install bitsandbytes"]),
    Case("a repair that writes nothing", VIT, ["--repair", "--test-run"], ["leave one out"]),
    Case("a revision of a folder", VIT, ["--revision", "main"], ["--checkpoint", "leave one out"]),
    Case("a misspelt flag", VIT, ["--bacth-size", "8"], ["--bacth-size", "did you mean --batch-size"]),
    Case("a flag cut short", VIT, ["--batch", "8"], ["--batch", "did you mean --batch-size"]),
    Case("a flag that there is not", VIT, ["--colour=blue"], ["--colour=blue", "--help"]),
    Case("a flag with a line end", VIT, ["--co\nlour"], ["--co\\nlour", "--help"]),
    Case("a word too many", VIT, ["everything"], ["everything", "--help"]),
    Case("a grid of no cells", VISION, ["-m", "org/model", "--grid", "0"], ["--grid"]),
    Case("no model", ALIGN, ["-m"], ["--model-id"]),
    Case("an alpha that is no number", ALIGN, ["--max-log-10-alpha", "nan"], ["--max-log-10-alpha", "-30 to 30"]),
    Case("an infinite alpha", ALIGN, ["--max-log-10-alpha", "inf"], ["--max-log-10-alpha", "-30 to 30"]),
    Case("an alpha beyond all numbers", ALIGN, ["--max-log-10-alpha", "1e300"], ["--max-log-10-alpha", "-30 to 30"]),
    Case("a grid upside down", ALIGN, ["--min-log-10-alpha", "5"], ["--min-log-10-alpha", "--max-log-10-alpha"]),
    Case("no alphas", ALIGN, ["--num-alphas", "0"], ["--num-alphas", "1 to 1000"]),
    Case("a billion alphas", ALIGN, ["--num-alphas", "1000000000"], ["--num-alphas", "1 to 1000"]),
    Case("session 0", ALIGN, ["--sessions", "0"], ["--sessions", "from 1"]),
    Case("a ceiling that is no number", ALIGN, ["--min-noise-ceiling", "nan"], ["--min-noise-ceiling", "0 to below 1"]),
    Case("fewer permutations than none", ALIGN, ["--permutations", "-1"], ["--permutations"]),
    Case("a criterion that there is not", ALIGN, ["--criterion", "r"], ["--criterion", "correlation"]),
    Case("one feature space", PARTITION, ["--space", "test/two-layers", "none", "vision", "0"], ["two to 4"]),
    Case("results outside the base directory", PARTITION, ["-n", "../parts", "--space", *"abcd"], ["../parts"]),
]
IDS = [
    Case(
        f"the model {model!r}",
        script,
        [*flags, model],
        ["not a model id", "org/model"],
        beside("captions.csv", CAPTIONS_FILE),
    )
    for script, flags in ((ALIGN, ["-m"]), (VISION, ["-m"]), (TEXT, ["-m"]))
    for model in ("../../x", "/etc/passwd", "a/../../b", "org/model\n", "org/mo\0del", "o" * 300)
]
FOLDERS = [
    Case("a base directory that is not there", VIT, ["-d", "{base}/nowhere"], ["{base}/nowhere", "does not exist"]),
    Case("a file for a base directory", VIT, ["-d", "{here}/file"], ["{here}/file"], beside("file", "")),
    Case("an empty base directory", VIT, ["-d", "{here}/empty"], ["no NSD under {here}/empty"], beside("empty", None)),
    Case("a link to itself for a base directory", VIT, ["-d", "{base}/me"], ["{base}/me"], loop("me")),
    Case(
        "both layouts at once",
        VIT,
        [],
        ["two layouts", "keep only one"],
        lambda base: beside("nsd/nsd_expdesign.mat", "")(base),
    ),
    Case(
        "a design file that links to itself",
        VIT,
        [],
        ["nsd_expdesign.mat"],
        loop("nsddata/experiments/nsd/nsd_expdesign.mat"),
    ),
    Case(
        "results in a folder that cannot be written to",
        VIT,
        [],
        ["{base}/image_embeddings", "read-only"],
        read_only("image_embeddings"),
        as_root=False,
    ),
    Case(
        "results where a file is",
        VIT,
        [],
        ["{base}/image_embeddings"],
        file_for("image_embeddings"),
    ),
    Case(
        "scores in a folder that cannot be written to",
        ALIGN,
        [],
        ["{base}/alignment", "read-only"],
        read_only("alignment"),
        as_root=False,
    ),
    Case(
        "a folder that may not be entered", VIT, [], ["{base}"], lambda base: (base / "nsddata").chmod(0), as_root=False
    ),
]
DESIGN = [
    Case("an empty design file", VIT, [], ["nsd_expdesign.mat", "fetch it again"], over("design", b"")),
    Case("a web page for a design file", VIT, [], ["nsd_expdesign.mat", "fetch it again"], over("design", HTML)),
    Case("a design file cut off", VIT, [], ["nsd_expdesign.mat", "fetch it again"], over("design", 5000)),
    Case(
        "another MATLAB file",
        VIT,
        [],
        ["holds no masterordering, subjectim"],
        design(masterordering=None, subjectim=None),
    ),
    Case(
        "fewer subjects",
        ALIGN,
        [],
        ["nsd_expdesign.mat", "4 rows instead of 8"],
        design(subjectim=lambda values: values[:4]),
    ),
    Case(
        "orderings counted from 0",
        ALIGN,
        [],
        ["masterordering", "from 1"],
        design(masterordering=lambda values: values - 1),
    ),
    Case(
        "images that are not in the file",
        VIT,
        [],
        ["not in", "nsd_stimuli.hdf5"],
        design(subjectim=lambda v: v + 400, sharedix=lambda v: v + 400),
    ),
    Case("no sessions", ALIGN, [], ["0 sessions"], design(basiccnt=lambda values: values[:, :0])),
]
STIMULI = [
    Case("no stimuli", VIT, [], ["no stimuli file", "nsd_stimuli.hdf5"], over("stimuli", None)),
    Case("a web page for the stimuli", VIT, [], ["nsd_stimuli.hdf5", "fetch it again"], over("stimuli", HTML)),
    Case("an empty file for the stimuli", VIT, [], ["nsd_stimuli.hdf5", "fetch it again"], over("stimuli", b"")),
    Case("stimuli cut off", VIT, [], ["nsd_stimuli.hdf5", "fetch it again"], over("stimuli", 9000)),
    Case("images under another name", VIT, [], ["nsd_stimuli.hdf5", "'imgBrick'"], stimuli("images")),
    Case("images as floats", VIT, [], ["float32 instead of uint8"], stimuli(dtype="float32")),
    Case("images with the channels first", VIT, [], ["(500, 3, 24, 24)"], stimuli(shape=(500, 3, 24, 24))),
    Case(
        "images of a gigapixel",
        VIT,
        [],
        ["4096 pixels"],
        stimuli(shape=(500, 30000, 30000, 3), chunks=(1, 100, 100, 3)),
    ),
    Case("too few images", VIT, [], ["images 1 to 3", "nsd_stimuli.hdf5"], stimuli(shape=(3, 24, 24, 3))),
]
CHECKPOINTS = [
    Case(
        "a checkpoint that is not there", VIT, ["--checkpoint", "{here}/no"], ["{here}/no", "folder of a saved model"]
    ),
    Case("a folder without a model", VIT, ["--checkpoint", "{here}/x"], ["{here}/x", "config.json"], beside("x", None)),
    Case(
        "a file for a checkpoint",
        VIT,
        ["--checkpoint", "{here}/w.bin"],
        ["{here}/w.bin", "folder"],
        beside("w.bin", ""),
    ),
    Case("another model's checkpoint", VIT, ["--checkpoint", "{llava}"], ["{llava}", "ViTModel"], may_load=True),
    *(
        Case(f"{script}: {what}", script, flags, said, may_load=may_load)
        for script, *said, may_load in (
            (IDEFICS, "{llava}", "IdeficsForVisionText2Text", True),
            (BLIP, "{llava}", "lacks", "InstructBlipForConditionalGeneration", True),
            (OWL, "{llava}", "no tokenizer.model", False),
            (FLAMINGO, "{llava}", "no checkpoint.[ps]*", False),
        )
        for what, flags, said, may_load in (
            ("LLaVA's checkpoint", [], said, may_load),
            ("a folder without a model", ["--checkpoint", "{base}/nsddata"], ["{base}/nsddata", "saved model"], False),
            ("a prompt that there is not", ["-p", "12"], ["no prompt 12", "1, 2, 3"], False),
            ("a pooling that there is not", ["--pooling", "first"], ["--pooling", "first", "mean"], False),
        )
    ),
    *(
        Case(
            f"{script}: a web page for {name}",
            script,
            ["--checkpoint", "{here}/model"],
            ["{here}/model", *said],
            model_files(*files, page=name),
            may_load=True,
        )
        for script, name, said, files in (
            (IDEFICS, "config.json", ["IdeficsForVisionText2Text"], ["config.json", "model.safetensors"]),
            (BLIP, "config.json", ["InstructBlipForConditionalGeneration"], ["config.json", "model.safetensors"]),
            (OWL, "tokenizer.model", ["LlamaTokenizer"], ["config.json", "tokenizer.model", "model.safetensors"]),
            (
                FLAMINGO,
                "checkpoint.pt",
                ["checkpoint.pt", "fetch it again"],
                ["checkpoint.pt", "mpt-7b/config.json", "clip/open_clip_model.safetensors"],
            ),
        )
    ),
    Case(
        "an OpenFlamingo over several cards",
        FLAMINGO,
        ["--checkpoint", "{here}/model", "--device-map", "auto"],
        ["leave out --quantize and --device-map"],
        model_files("checkpoint.pt", "mpt-7b/config.json", "clip/open_clip_model.safetensors"),
        may_load=True,
    ),
]
PROMPTS = [
    Case("no file of prompts", LLAVA, ["--prompts-file", "{here}/no.yml"], ["{here}/no.yml", "no such file"]),
    *(
        Case(
            f"prompts: {what}",
            LLAVA,
            ["--prompts-file", "{here}/p.yml"],
            ["{here}/p.yml", *said],
            beside("p.yml", content),
        )
        for what, content, said in (
            ("a syntax error", "1: [unclosed\n2: b\n", ["line 1", "write a number and its text"]),
            ("a list", "- Describe it.\n", ["a number and its text"]),
            ("the same number twice", "1: a\n1: b\n", ["a number of its own"]),
            ("a number for a text", "1: 7\n", ["line 1", "quotes"]),
            ("nothing", "", ["a number and its text"]),
            ("a web page", HTML, ["a number and its text"]),
            ("bytes", b"\xff\xfe\0\x01", ["a number and its text"]),
            ("an image's token", "1: What is <image>?\n", ["<image>", "leave it out"]),
            ("an object", "1: !!python/object/apply:os.system ['x']\n", ["line 1"]),
            ("no end of brackets", "[" * 10**5, ["a number and its text"]),
            ("a folder", None, ["not a file"]),
        )
    ),
    Case(
        "only other prompts",
        LLAVA,
        ["-p", "3", "--prompts-file", "{here}/p.yml"],
        ["no prompt 3", "there are 1"],
        beside("p.yml", "1: a\n"),
    ),
]
CAPTIONS = [
    Case("no captions", TEXT, [], ["{here}/captions.csv", "cannot be read"]),
    *(
        Case(f"captions: {what}", TEXT, [], ["{here}/captions.csv", *said], beside("captions.csv", content))
        for what, content, said in (
            ("other columns", "id,text\n1,A dog.\n", ["id, text", "nsd_id,caption"]),
            ("a web page", HTML, ["nsd_id,caption"]),
            ("an id of 5000 digits", "nsd_id,caption\n" + "9" * 5000 + ",A dog.\n", ["line 2"]),
            ("bytes", b"\xff\xfe\0\x01", ["UTF-8"]),
            ("too few", "nsd_id,caption\n1,A dog.\n", ["of 40 images have no caption", "add them"]),
        )
    ),
]
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
        ["of 40 images have no vision states", "run the extraction again"],
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
    Case("a misspelt stream", ALIGN, ["--stream", "vison"], ["vison", "vision"]),
    Case("one of two streams misspelt", ALIGN, ["--stream", "vision", "language"], ["language", "vision"]),
    Case("a layer that there is not", ALIGN, ["-l", "2"], ["layer 2", "0 to 1"]),
    Case("a layer below the first", ALIGN, ["-l", "0", "-1"], ["layer -1", "0 to 1"]),
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
    Case("scores of another grid", ALIGN, ["--num-alphas", "7"], ["num_alphas = 60, this run has 7", "--redo"]),
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
        ["no vision states in {base}", "run the extraction of org/a"],
    ),
]
RESPONSES = [
    Case("a subject without sessions", ALIGN, ["-s", "7"], ["subject 7 has no betas", "betas_session01"]),
    Case("a session that is not there", ALIGN, ["--sessions", "9"], ["session 9", "4 sessions"]),
    Case(
        "too few sessions",
        ALIGN,
        ["--sessions", "1"],
        ["add sessions"],
        design(masterordering=lambda v: np.tile(v[:, :30] % 5 + 1, 4)),
    ),
    Case("betas cut off", ALIGN, [], ["betas_session01.nii.gz", "fetch it again"], over("betas", 4000, 1, 1)),
    Case("empty betas", ALIGN, [], ["betas_session02.nii.gz", "fetch it again"], over("betas", b"", 1, 2)),
    Case("a web page for betas", ALIGN, [], ["betas_session01.nii.gz", "fetch it again"], over("betas", HTML, 1, 1)),
    Case(
        "a web page saved as .hdf5",
        ALIGN,
        [],
        ["betas_session01.hdf5", "fetch it again"],
        lambda base: find_layout(base).betas(1, 1).with_name("betas_session01.hdf5").write_bytes(HTML),
    ),
    Case(
        "betas of another subject",
        ALIGN,
        [],
        ["betas_session03.nii.gz", "(11, 12, 9)", "the mask has"],
        volume("betas", lambda v: np.pad(v, ((0, 1), (0, 0), (0, 0), (0, 0))), 1, 3),
    ),
    Case(
        "betas of fewer trials",
        ALIGN,
        [],
        ["betas_session03.nii.gz", "29 trials"],
        volume("betas", lambda v: v[..., 1:], 1, 3),
    ),
    Case(
        "betas with damage within",
        ALIGN,
        [],
        ["betas_session01.nii.gz", "fetch it again"],
        lambda base: (lambda path: path.write_bytes(path.read_bytes()[:-8] + bytes(8)))(find_layout(base).betas(1, 1)),
    ),
    Case("no mask", ALIGN, [], ["nsdgeneral.nii.gz"], over("nsdgeneral", None, 1)),
    Case(
        "a mask of no voxels",
        ALIGN,
        [],
        ["nsdgeneral.nii.gz", "marks no voxel"],
        volume("nsdgeneral", lambda v: v * 0, 1),
    ),
    Case(
        "a mask of another subject",
        ALIGN,
        [],
        ["prf-visualrois.nii.gz", "(10, 13, 9)"],
        volume("nsdgeneral", lambda v: np.pad(v, ((0, 0), (0, 1), (0, 0))), 1),
    ),
    Case(
        "a mask that inflates to 32 GB",
        ALIGN,
        [],
        ["nsdgeneral.nii.gz", "larger than any of NSD's"],
        lambda base: bomb(find_layout(base).nsdgeneral(1)),
    ),
    Case(
        "a misspelt region",
        ALIGN,
        ["--roi", "prf-visualroi"],
        ["prf-visualroi.nii.gz", "floc-faces, floc-places, prf-visualrois"],
    ),
    Case("a region outside the base directory", ALIGN, ["--roi", "../../../x"], ["../../../x", "prf-visualrois"]),
    Case(
        "a region of another shape",
        ALIGN,
        [],
        ["floc-faces.nii.gz", "(10, 12, 10)"],
        volume("roi", lambda v: np.pad(v, ((0, 0), (0, 0), (0, 1))), 1, "floc-faces"),
    ),
    Case(
        "a region of no whole numbers",
        ALIGN,
        [],
        ["floc-faces.nii.gz", "whole numbers"],
        volume("roi", lambda v: v * np.float32(np.nan), 1, "floc-faces"),
    ),
    Case(
        "a label without a name",
        ALIGN,
        [],
        ["label 99", "label table"],
        volume("roi", lambda v: np.where(v > 0, 99, v).astype(np.int16), 1, "floc-faces"),
    ),
    Case(
        "a label table that is none",
        ALIGN,
        [],
        ["floc-faces.mgz.ctab", "number name"],
        over("label_table", b"V1v 1\n", 1, "floc-faces"),
    ),
    Case(
        "bytes for a label table",
        ALIGN,
        [],
        ["floc-faces.mgz.ctab", "fetch it again"],
        over("label_table", b"\xff\xfe\0", 1, "floc-faces"),
    ),
    Case("no ceilings of NSD's own", ALIGN, ["--ncsnr", "nsd"], ["ncsnr.nii.gz"], over("ncsnr", None, 1)),
    Case(
        "ceilings of another shape",
        ALIGN,
        ["--ncsnr", "nsd"],
        ["ncsnr.nii.gz", "(9, 12, 9)"],
        volume("ncsnr", lambda v: v[1:], 1),
    ),
]


SCORED = [
    Case("one condition to compare", PAIRS, [], ["only test/two-layers vision", "name two or more"]),
    Case("a model to compare that was not scored", PAIRS, ["-m", "org/other"], ["no scores of org/other"]),
    Case("a comparison outside the base directory", PAIRS, ["-n", "../x"], ["--name", "../x"]),
    Case("a web page for scores to compare", PAIRS, [], ["scores.parquet", "align again"], spoilt(SCORES)),
    Case("no subject's scores", ACROSS, ["-d", "{here}"], ["no scores under {here}", "align_model.py"]),
    Case("scores of other subjects", ACROSS, ["-s", "5", "7"], ["no scores under {base} of these subjects"]),
    Case("a misspelt model across subjects", ACROSS, ["-m", "test/two-layer"], ["two-layer:", "test/two-layers"]),
    Case("a misspelt stream across subjects", ACROSS, ["--stream", "vison"], ["stream vison", "there are vision"]),
    Case("a prompt that was not scored", ACROSS, ["-p", "1-3"], ["prompt 1", "there are none"]),
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
    Case("a sweep of a script that there is not", SWEEP, ["--models", "llava"], ["llava"]),
    Case("a sweep of nothing", SWEEP, ["-d", "{here}/no"], ["{here}/no"]),
    Case("a sweep of a prompt that there is not", SWEEP, ["-p", "12"], ["no prompt 12"]),
    Case("a sweep on a GPU by its name", SWEEP, ["-g", "A100"], ["A100", "cpu"]),
    *(
        Case(f"a sweep with --extract={flags}", SWEEP, [f"--extract={flags}"], [f"cannot pass on {named}", f"{VIT} by"])
        for flags, named in (
            ("--repair", "--repair"),
            ("--test-run", "--test-run"),
            ("-t --response", "--test-run"),
        )
    ),
    Case(
        "a sweep that fits all anew", SWEEP, ["--align=--redo"], ["--align cannot pass on --redo", "align_model.py by"]
    ),
    Case("a sweep of weights that are not there", SWEEP, ["--checkpoints", "{here}/no"], ["{here}/no is no folder"]),
    Case("a step of a sweep that there is not", SWEEP, ["paln"], ["paln"]),
]
CASES = [
    *(*FLAGS, *IDS, *FOLDERS, *DESIGN, *STIMULI, *CHECKPOINTS, *PROMPTS, *CAPTIONS, *STORED, *RESPONSES),
    *(*SCORED, *WHOLE),
]
