"""Mistakes of users. A case has a script, flags, a change of the data, and texts that the one-line error must contain.

In flags and expected texts, {base} is the base directory, {here} the folder that contains it and other files, and {vit}
and {llava} are checkpoints.
"""

from collections.abc import Callable
from typing import NamedTuple

from scripts import ALIGN, PACKAGE

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
HTML = b"<!DOCTYPE html><html><head><title>404 Not Found</title></head></html>\n" * 40


class Case(NamedTuple):
    what: str
    script: object
    flags: list[str]
    said: list[str]  # texts that must be in the error
    change: Callable = lambda base: None
    may_load: bool = False
    as_root: bool = True
