"""The prompt that the chat template of a vision-language model writes."""

import json
from types import SimpleNamespace

import pytest
from published_models import BERT, LLAVA, PUBLISHED, needs_published
from tiny_vision_language import OWN, processor_of
from transformers import BertTokenizer, CLIPImageProcessorPil, GitProcessor
from transformers.utils.chat_template_utils import render_jinja_template

from brain_activity_prediction.models.chat_template import marks_of
from brain_activity_prediction.models.vision_language.families import CARD_TEMPLATES, family
from brain_activity_prediction.models.vision_language.inputs import Reader
from brain_activity_prediction.models.vision_language.prompts import fill, read_template
from brain_activity_prediction.models.vision_language.reader import complete
from brain_activity_prediction.runtime.errors import InputError

USER = "{% for part in messages[0].content %}{{ part.text if part.type == 'text' else '<image>' }}{% endfor %}"


def processor(template):
    """A stand-in for a processor, which renders with transformers' own Jinja."""

    def apply_chat_template(messages, chat_template, add_generation_prompt, tokenize, **modes):
        rendered, _ = render_jinja_template(
            conversations=[messages], chat_template=chat_template, add_generation_prompt=add_generation_prompt, **modes
        )
        return rendered[0]

    return SimpleNamespace(chat_template=template, apply_chat_template=apply_chat_template)


def prompt_of(processor, system=None, thinking=False):
    """The template of prompts that a processor's chat template gives."""
    return fill(processor, "model", None, system, thinking)[0]


def published_template(name):
    for file in ("tokenizer_config.json", "chat_template.json"):
        path = PUBLISHED / name / file
        if path.exists() and (template := json.loads(path.read_text(encoding="utf-8")).get("chat_template")):
            return template
    raise AssertionError(f"{name} has no chat template")


def test_the_date_is_the_same_on_every_day():
    template = processor("{{ strftime_now('%d %B %Y') }} " + USER)
    assert prompt_of(template) == "01 January 2025 <image>{prompt}"


def test_braces_of_a_template_stay_themselves():
    template = prompt_of(processor("{{ '{x}' }}" + USER))
    assert template.format(prompt="What?") == "{x}<image>What?"


@pytest.mark.parametrize("written", ["messages[0].content | trim", "'' + messages[0].content"])
def test_a_system_message_that_a_template_takes_as_plain_text_is_given_so(written):
    """As Gemma 4's template takes it; of a list of parts Jinja would write Python's own notation."""
    system_as_text = "{% if messages[0].role == 'system' %}{{ " + written + " }}|{% endif %}"
    user = USER.replace("messages[0]", "messages[-1]")
    prompt = prompt_of(processor(system_as_text + user), system="Be brief.")
    assert prompt == "Be brief.|<image>{prompt}"


def test_a_template_that_refuses_a_system_message_with_an_image_says_so():
    """As Llama 3.2 Vision's does."""
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no system with images.') }}{% endif %}" + USER
    with pytest.raises(InputError, match=r"no system message \(no system with images.\): leave out --system"):
        prompt_of(processor(refusing), system="Be brief.")


def test_a_template_for_text_alone_is_refused():
    template = processor("{% for message in messages %}{{ message.role }}: {{ message.content }}{% endfor %}")
    with pytest.raises(InputError, match="model has no place for an image: give another one with --template FILE"):
        prompt_of(template)


@needs_published
def test_qwen2_5_is_asked_with_its_own_system_message():
    template = published_template("Qwen__Qwen2.5-VL-7B-Instruct")
    assert prompt_of(processor(template), system="Be brief.") == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>{prompt}"
        "<|im_end|>\n<|im_start|>assistant\n"
    )


@needs_published
@pytest.mark.parametrize(("thinking", "end"), [(False, "<think>\n\n</think>\n\n"), (True, "<think>\n")])
def test_the_thinking_that_qwen3_opens_is_closed_unless_it_is_wanted(thinking, end):
    template = published_template("Qwen__Qwen3-VL-4B-Thinking")
    prompt = prompt_of(processor(template), thinking=thinking)
    assert prompt.endswith("{prompt}<|im_end|>\n<|im_start|>assistant\n" + end)


def test_a_template_is_told_whether_to_think():
    template = processor(USER + "{% if not enable_thinking %} /no_think{% endif %}{# </think> #}")
    assert prompt_of(template).endswith(" /no_think")
    assert prompt_of(template, thinking=True).endswith("{prompt}")


def with_thoughts(past, ask):
    """A template that writes past thoughts as `past`, and then lets the model answer after `ask`."""
    answer = "{% for m in messages[1:] %}" + past + "{{ m.content[-1].text }}{% endfor %}"
    return USER + "|" + answer + "{% if add_generation_prompt %}" + ask + "{% endif %}"


COHERE = with_thoughts(
    "<|START_THINKING|>{{ m.reasoning_content }}<|END_THINKING|><|START_TEXT|>",
    "{% if reasoning is undefined or reasoning %}<|START_THINKING|>"
    "{% else %}<|START_THINKING|><|END_THINKING|>{% endif %}",
)
KIMI = with_thoughts(
    "<|open|>think<|sep|>{{ m.reasoning_content }}<|close|>think<|sep|><|open|>response<|sep|>",
    "{% if thinking is undefined %}{% set thinking = true %}{% endif %}"
    "<|open|>{{ 'think' if thinking else 'response' }}<|sep|>",
)
MINIMAX = with_thoughts(
    "<mm:think>{{ m.reasoning_content }}</mm:think>",
    "{% if thinking_mode == 'disabled' %}</mm:think>{% elif thinking_mode == 'enabled' %}<mm:think>{% endif %}",
)
MISTRAL = (
    "{{ reasoning_effort or 'none' }}{% if reasoning_effort not in ['none', 'high'] %}{{ raise_exception('') }}"
    "{% endif %}"
) + with_thoughts("{% for part in m.content if part.thinking %}[THINK]{{ part.thinking }}[/THINK]{% endfor %}", "")
GEMMA = "{{ '<|think|>' if enable_thinking }}" + with_thoughts(
    "{% if m.tool_calls %}<|channel>thought\n{{ m.reasoning_content }}\n<channel|>{% endif %}",
    "{% if not enable_thinking %}<|channel>thought\n<channel|>{% endif %}",
)
MUSE = with_thoughts(
    "assistant to=self<|message|>{{ m.reasoning_content }}<|eom|>assistant to=user<|message|>", "assistant"
)
APRIEL = with_thoughts("{{ m.reasoning_content }}\n[BEGIN FINAL RESPONSE]\n", "Here are my reasoning steps:\n")


@pytest.mark.parametrize(
    ("template", "off", "on", "closing"),
    [
        (COHERE, "|<|START_THINKING|><|END_THINKING|>", "|<|START_THINKING|>", "<|END_THINKING|><|START_TEXT|>"),
        (KIMI, "|<|open|>response<|sep|>", "|<|open|>think<|sep|>", "<|close|>think<|sep|><|open|>response<|sep|>"),
        (MINIMAX, "|</mm:think>", "|<mm:think>", "</mm:think>"),
        (MISTRAL, "|", "|", "[/THINK]"),
        (GEMMA, "|<|channel>thought\n<channel|>", "|", "\n<channel|>"),
        (MUSE, "|assistant", "|assistant", "<|eom|>assistant to=user<|message|>"),
        (
            APRIEL,
            "|Here are my reasoning steps:\n\n[BEGIN FINAL RESPONSE]\n",
            "|Here are my reasoning steps:\n",
            "\n[BEGIN FINAL RESPONSE]\n",
        ),
    ],
    ids=["Cohere", "Kimi", "MiniMax", "Mistral", "Gemma 4", "Muse", "Apriel"],
)
def test_thinking_is_let_and_closed_as_published_templates_do(template, off, on, closing):
    """Each family has a variable and marks of its own; a thought that `off` leaves open is closed."""
    assert prompt_of(processor(template)).partition("{prompt}")[2] == off
    filled, marks = fill(processor(template), "model", None, None, True)
    assert (filled.partition("{prompt}")[2], marks.closing) == (on, closing)


def test_a_template_that_names_its_reasoning_effort_is_told_none_or_high():
    assert prompt_of(processor(MISTRAL)).startswith("none<image>")
    assert prompt_of(processor(MISTRAL), thinking=True).startswith("high<image>")


def test_of_several_named_templates_the_default_one_is_taken():
    """As Cohere's tokenizers have them, next to those for tools and documents."""
    assert prompt_of(processor({"default": USER, "tool_use": "x"})) == "<image>{prompt}"
    with pytest.raises(InputError, match="model has no chat template"):
        prompt_of(processor({"tool_use": "x"}))


@needs_published
def test_a_processor_of_llava_without_patches_takes_those_of_the_tower():
    """As LLaVA's processors of early 2024 are; the published file of today says the same."""
    older = processor_of("llava", OWN["llava"] | {"processor": {}}, None)
    assert older.patch_size is None
    complete(older, json.loads((LLAVA / "config.json").read_text(encoding="utf-8")))
    today = json.loads((LLAVA / "processor_config.json").read_text(encoding="utf-8"))
    for name in ("patch_size", "vision_feature_select_strategy"):
        assert getattr(older, name) == today[name]
    assert older.num_additional_image_tokens == 1  # CLIP's class token


def test_a_model_with_code_of_its_own_is_refused_as_such():
    with pytest.raises(InputError, match="model is a minicpmv with code of its own, which is never run here"):
        family({"model_type": "minicpmv", "auto_map": {"AutoModel": "modeling_minicpmv.MiniCPMV"}}, "model")


def test_a_template_that_writes_the_prompt_twice_is_refused():
    with pytest.raises(InputError, match="does not write the prompt once"):
        prompt_of(processor(USER + USER))


def test_one_line_end_of_a_template_file_is_left_out(tmp_path):
    for written, read in (("<image>{prompt}\n", "<image>{prompt}"), ("<image>{prompt}\n\n", "<image>{prompt}\n")):
        (tmp_path / "template.txt").write_text(written)
        assert read_template(tmp_path / "template.txt") == read


def test_braces_of_a_template_file_stay_themselves(tmp_path):
    (tmp_path / "template.txt").write_text("{x} <image>{prompt}")
    assert read_template(tmp_path / "template.txt").format(prompt="What?") == "{x} <image>What?"


def test_a_template_without_a_thinking_mode_cannot_be_let_think():
    with pytest.raises(InputError, match="has no thinking mode"):
        prompt_of(processor(USER), thinking=True)


def test_a_template_that_does_not_tell_how_thinking_ends_is_refused():
    template = USER + "{% if enable_thinking %}<|channel>{% endif %}"
    with pytest.raises(InputError, match="does not tell how its thinking ends"):
        fill(processor(template), "model", None, None, True)


@needs_published
def test_thinking_is_closed_as_the_template_writes_it():
    template = published_template("Qwen__Qwen3-VL-4B-Thinking")
    assert marks_of(processor(template), template).closing == "\n</think>\n\n"
    past = "{% set last = messages[-1] %}{{ last.reasoning_content }}◁/think▷ {{ last.content[0].text }}"
    assert marks_of(processor(past), past).closing == "◁/think▷ "


def test_a_think_that_a_plain_text_opens_is_closed_unless_it_is_wanted():
    text = "<image>{prompt}<think>"
    assert fill(None, "model", text, None, False)[0] == text + "\n</think>\n\n"
    assert fill(None, "model", text, None, True)[0] == text
    with pytest.raises(InputError, match="does not end in <think>"):
        fill(None, "model", "<image>{prompt}", None, True)


def read_ids(processor, model_type, prompt):
    """The ids that a model without a chat template reads of a grey image and a prompt."""
    return Reader(processor, CARD_TEMPLATES[model_type], ()).encoded(prompt)["input_ids"][0].tolist()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # transformers makes labels
def test_a_question_to_paligemma_ends_with_one_new_line():
    """As Google wrote it: the image, the first token, the question, one new line."""
    processor = processor_of("paligemma", OWN["paligemma"], None)
    ids = read_ids(processor, "paligemma", "What?")
    image, question = processor.tokenizer.convert_tokens_to_ids("<image>"), processor.tokenizer("What?\n").input_ids
    assert ids == [image] * 16 + [processor.tokenizer.bos_token_id, *question]


@needs_published
def test_a_question_to_git_is_not_ended():
    """As in the example of transformers' documentation: [CLS] and the question, which the answer follows."""
    words = (BERT / "vocab.txt").read_text(encoding="utf-8").splitlines()
    tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(words)})
    question = tokenizer("what is this?", add_special_tokens=False).input_ids
    processor = GitProcessor(CLIPImageProcessorPil(), tokenizer)
    assert read_ids(processor, "git", "what is this?") == [tokenizer.cls_token_id, *question]
