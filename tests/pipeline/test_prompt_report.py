"""A test run shows what the model reads: each token, the poolings' spans, the ends of an answer, the context."""

import re

import pytest
import tiny_models
import tiny_vision_language
from published_models import needs_published
from published_vision_language import write
from scripts import run_here

from brain_activity_prediction.demo.dataset import write_dataset
from brain_activity_prediction.demo.simulation import Recipe

pytestmark = pytest.mark.slow
GENERIC, LLAVA = "vision_language_model.py", "llava_1.5_13b.py"
PICTURES = Recipe(subjects=(), n_shared=1, n_unique=1, n_sessions=1, image_size=425)


@pytest.fixture(scope="module")
def nsd(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "nsd"
    write_dataset(folder, lambda pictures: {}, PICTURES)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The folder of a tiny published model by its name."""
    folder = tmp_path_factory.mktemp("published")

    def written(name):
        if not (folder / name).exists():
            write(name, folder / name)
        return folder / name

    return written


def shown_by(nsd, checkpoint, *flags, script=GENERIC):
    where = ("-d", nsd, "-m", "org/model", "-g", "cpu", "--checkpoint", checkpoint, "-p", 1)
    done = run_here(script, *where, "--response", "--max-new-tokens", 3, "--test-run", *flags)
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stdout.splitlines() if len(line) > 100]
    return done.stdout


@needs_published
@pytest.mark.parametrize("script", [GENERIC, LLAVA])
def test_llava_s_prompt_is_shown_token_by_token(script, nsd, checkpoint, tmp_path):
    (tmp_path / "template.txt").write_text("USER: <image>\n{prompt} ASSISTANT:")
    flags = ["--template", tmp_path / "template.txt"] if script == GENERIC else []
    shown = shown_by(nsd, checkpoint("llava-hf__llava-1.5-7b-hf"), *flags, script=script)
    assert (
        """\
prompt 1: 596 tokens in language (positions, poolings, tokens):
        0-4  mean                       '<s>' ' US' 'ER' ':' ' '
      5-580  mean image                 <image> x 576
    581-582  mean                       ' ' '\\n'
    583-590  mean prompt                'Write' ' one' ' sentence' ' that' ' describes' ' this'
                                        ' photograph' '.'
    591-594  mean                       ' A' 'SS' 'IST' 'ANT'
        595  mean last response         ':'
context of the language model: 4,096 positions, at most 3 for the answer
ends of an answer: 2 '</s>'
number format: float32; states are stored as float32
"""
        in shown
    )
    assert re.search(r"prompt 1   answer to image \d+: '", shown)


@needs_published
def test_qwen_s_template_image_tokens_and_two_ends_are_shown(nsd, checkpoint):
    shown = shown_by(nsd, checkpoint("Qwen__Qwen2.5-VL-7B-Instruct"))
    assert (
        """\
prompt 1: 254 tokens in language (positions, poolings, tokens):
       0-14  mean                       '<|im_start|>' 'system' '\\n' 'You' ' are' ' a' ' helpful'
                                        ' assistant' '.' '<|im_end|>' '\\n' '<|im_start|>' 'user'
                                        '\\n' '<|vision_start|>'
     15-239  mean image                 <|image_pad|> x 225
        240  mean                       '<|vision_end|>'
    241-248  mean prompt                'Write' ' one' ' sentence' ' that' ' describes' ' this'
                                        ' photograph' '.'
    249-252  mean                       '<|im_end|>' '\\n' '<|im_start|>' 'assistant'
        253  mean last response         '\\n'
context of the language model: 128,000 positions, at most 3 for the answer
ends of an answer: 151643 '<|endoftext|>' 151645 '<|im_end|>'
"""
        in shown
    )


def test_both_readers_of_instruct_blip_are_shown(nsd, tmp_path):
    tiny_models.write_instruct_blip(tmp_path / "model")
    shown = shown_by(nsd, tmp_path / "model", script="instruct_blip_13b.py")
    assert "tokens in qformer (positions" in shown
    assert "  mean image                 <image> x 6\n" in shown
    assert "  mean prompt last response  " in shown
    assert "context of the Q-Former" in shown


def test_thinking_is_shown_to_precede_the_response(nsd, tmp_path):
    tiny_vision_language.write("llava", tmp_path / "model")
    (tmp_path / "template.txt").write_text("USER: <image>\n{prompt} ASSISTANT: <think>")
    flags = ("--template", tmp_path / "template.txt", "--thinking", "on", "--max-thinking-tokens", 4)
    shown = shown_by(nsd, tmp_path / "model", *flags)
    assert "response begins after the thinking\n" in shown
    assert "at most 15 for thinking and 3 for the answer" in shown
