"""Invalid flags, and invalid names of models."""

from bad_input import ALIGN, LLAVA, PARTITION, TEXT, VISION, VIT, Case
from spoilt_data import beside

CAPTIONS_FILE = "nsd_id,caption\n" + "".join(f"{image_id},A dog.\n" for image_id in range(1, 400))
FLAGS = [
    Case("no base directory", VIT, [], ["-d/--base-dir", "--help"]),
    Case("a batch of no images", VIT, ["-b", "0"], ["--batch-size", "from 1"]),
    Case("a batch of more images than can be counted", VIT, ["-b", "9" * 5000], ["--batch-size", "from 1 to"]),
    Case("half an image", VIT, ["-b", "1.5"], ["--batch-size", "whole number"]),
    Case("a subject that NSD does not have", VIT, ["-s", "9"], ["--subject 9", "1, 2, 3, 4, 5, 6, 7, 8"]),
    Case("a subject in words", VIT, ["-s", "one"], ["--subject one", "NSD has no such subject"]),
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
    Case("a seed that is too large", VIT, ["--random-weights", str(2**32)], ["--random-weights", "4294967295"]),
    Case("3 bits", VIT, ["--quantize", "3bit"], ["--quantize", "8bit"]),
    Case("drawn weights in 8 bits", VIT, ["--quantize", "8bit", "--random-weights", "1"], ["leave one out"]),
    Case("8 bits without the library", VIT, ["--quantize", "8bit"], ["pip install bitsandbytes"]),
    Case("a repair that writes nothing", VIT, ["--repair", "--test-run"], ["leave one out"]),
    Case("a revision of a folder", VIT, ["--revision", "main"], ["--checkpoint", "leave one out"]),
    Case("a misspelt flag", VIT, ["--bacth-size", "8"], ["--bacth-size", "did you mean --batch-size"]),
    Case("a flag cut short", VIT, ["--batch", "8"], ["--batch", "did you mean --batch-size"]),
    Case("a misspelt flag that is required", VIT, ["--bas-dir", "x"], ["--bas-dir", "did you mean --base-dir"]),
    Case("a flag with one dash", VIT, ["-subject", "1"], ["-subject", "did you mean --subject"]),
    Case("a flag with an underscore", ALIGN, ["--layer_number", "1"], ["did you mean --layer-number"]),
    Case("a flag that two begin with", ALIGN, ["--prompt", "1"], ["did you mean --prompt-number or --prompts-file"]),
    Case("a misspelt choice", VIT, ["--dtype", "flaot32"], ["--dtype", "did you mean float32?", "bfloat16"]),
    Case("a choice in other letters", ALIGN, ["--criterion", "R2"], ["--criterion", "did you mean r2?"]),
    Case("two subjects where one is taken", ALIGN, ["-s", "1,2"], ["--subject", "1,2", "once for each"]),
    Case("a flag that there is not", VIT, ["--colour=blue"], ["--colour=blue", "--help"]),
    Case("a flag with a line end", VIT, ["--co\nlour"], ["--co\\nlour", "--help"]),
    Case("a word too many", VIT, ["everything"], ["everything", "--help"]),
    Case("no model to extract", VISION, [], ["-m/--model-id"]),
    Case("a grid of no cells", VISION, ["-m", "org/model", "--grid", "0"], ["--grid"]),
    Case("a GPU to fit on that there is not", ALIGN, ["-g", "640"], ["GPU 640"]),
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
CASES = [*FLAGS, *IDS]
