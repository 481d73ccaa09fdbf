"""Invalid checkpoints, files of prompts and files of captions."""

from bad_input import BLIP, FLAMINGO, HTML, IDEFICS, LLAVA, OWL, TEXT, VIT, Case
from spoilt_data import beside, model_files

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
    Case(
        "another model's checkpoint",
        VIT,
        ["--checkpoint", "{llava}"],
        ["{llava} is a llava model", "reads vit"],
        may_load=True,
    ),
    *(
        Case(f"{script}: {what}", script, flags, said, may_load=may_load)
        for script, *said, may_load in (
            (IDEFICS, "{llava} is a llava model", "reads idefics", True),
            (BLIP, "{llava} is a llava model", "reads instructblip", True),
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
            (IDEFICS, "config.json", ["config.json"], ["config.json", "model.safetensors"]),
            (BLIP, "config.json", ["config.json"], ["config.json", "model.safetensors"]),
            (
                OWL,
                "tokenizer.model",
                ["tokenizer.model", "copy the checkpoint again"],
                ["config.json", "tokenizer.model", "model.safetensors"],
            ),
            (
                FLAMINGO,
                "mpt-7b/config.json",
                ["mpt-7b/config.json"],
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
    Case("no file of prompts", LLAVA, ["--prompts-file", "{here}/no.yml"], ["{here}/no.yml does not exist"]),
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
            ("a text alone", "Describe it.", ["a number and its text"]),
            ("a word for a number", "one: Describe it.", ["a different number"]),
            ("no text", "1:\n", ["line 1", "quotes"]),
            ("an empty text", "1: ''", ["its text"]),
            ("a list for a text", "1: [a]", ["line 1"]),
            ("JSON cut off", '{"1": "Describe it."', ["line 1"]),
            ("the same number twice", "1: a\n1: b\n", ["a different number"]),
            ("a number for a text", "1: 7\n", ["line 1", "quotes"]),
            ("nothing", "", ["a number and its text"]),
            ("a web page", HTML, ["a number and its text"]),
            ("bytes", b"\xff\xfe\0\x01", ["a number and its text"]),
            ("an image's token", "1: What is <image>?\n", ["<image>", "remove it"]),
            ("an object", "1: !!python/object/apply:os.system ['x']\n", ["line 1"]),
            ("no end of brackets", "[" * 10**5, ["a number and its text"]),
            ("a folder", None, ["not a file"]),
        )
    ),
    Case(
        "only other prompts",
        LLAVA,
        ["-p", "3", "--prompts-file", "{here}/p.yml"],
        ["no prompt 3", "available: 1"],
        beside("p.yml", "1: a\n"),
    ),
]
CAPTIONS = [
    Case("no captions", TEXT, [], ["{here}/captions.csv", "does not exist"]),
    *(
        Case(f"captions: {what}", TEXT, [], ["{here}/captions.csv", *said], beside("captions.csv", content))
        for what, content, said in (
            ("other columns", "id,text\n1,A dog.\n", ["id, text", "nsd_id,caption"]),
            ("a web page", HTML, ["nsd_id,caption"]),
            ("an id of 5000 digits", "nsd_id,caption\n" + "9" * 5000 + ",A dog.\n", ["line 2"]),
            ("bytes", b"\xff\xfe\0\x01", ["UTF-8"]),
            ("too few", "nsd_id,caption\n1,A dog.\n", ["no caption for", "of 40 images", "add them"]),
        )
    ),
]
CASES = [*CHECKPOINTS, *PROMPTS, *CAPTIONS]
