"""Each model is asked as it was trained to be: the exact text, the exact tokens, the image's pixels through PIL."""

import pytest
from tiny_models import bert_tokenizer, llama_tokenizer

from brain_activity_prediction.extract_image_embeddings.prompts import PROMPTS
from brain_activity_prediction.models import decoding

pytestmark = pytest.mark.slow

QUESTION = "What is it?"


def test_llava_is_asked_as_a_user_of_vicuna(tiny_model):
    assert tiny_model("llava").script.TEMPLATE.format(prompt=QUESTION) == "USER: <image>\nWhat is it? ASSISTANT:"


def test_instruct_blip_is_given_the_bare_prompt(tiny_model):
    assert tiny_model("instruct_blip").script.TEMPLATE.format(prompt=QUESTION) == "What is it?"


def test_idefics_is_given_a_users_turn_that_ends(tiny_model):
    assert tiny_model("idefics").script.TEMPLATE.format(prompt=QUESTION) == (
        "<s>User:<fake_token_around_image><image><fake_token_around_image>What is it?<end_of_utterance>\nAssistant:"
    )


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_llava_reads_the_tokens_of_its_processor(tiny_model, photographs, prompt):
    tiny = tiny_model("llava")
    image_id = tiny.model.config.image_token_id
    inputs = tiny.reference(photographs[:1], prompt).inputs
    before, after, own = decoding.split_template(tiny.processor.tokenizer, tiny.script.TEMPLATE, prompt, image_id)
    assert [*before, *[image_id] * 16, *after] == inputs.input_ids[0].tolist()
    assert tiny.processor.tokenizer.decode(after[own]).strip() == prompt


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_idefics_reads_the_tokens_of_its_processor(tiny_model, photographs, prompt):
    tiny = tiny_model("idefics")
    tokenizer = tiny.processor.tokenizer
    image_id = tokenizer.convert_tokens_to_ids("<image>")
    inputs = tiny.reference(photographs[:1], prompt).inputs
    before, after, own = tiny.script.split(tiny.processor, prompt)
    assert [*before, image_id, *after] == inputs.input_ids[0].tolist()
    assert tokenizer.decode(after[own]).strip() == prompt
    tokens = tokenizer.convert_ids_to_tokens([*before, image_id, *after])
    assert tokens[0] == "<s>"
    assert [tokens.count(name) for name in ("<s>", "<image>", "<fake_token_around_image>")] == [1, 1, 2]
    assert tokens.count("<end_of_utterance>") == 1


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_instruct_blip_reads_the_tokens_of_its_processor_twice(tiny_model, photographs, prompt):
    tiny = tiny_model("instruct_blip")
    inputs = tiny.reference(photographs[:1], prompt).inputs
    ids, own = decoding.tokenise(tiny.processor.tokenizer, tiny.script.TEMPLATE, prompt)
    assert [*[tiny.model.config.image_token_id] * 6, *ids] == inputs.input_ids[0].tolist()
    assert tiny.processor.tokenizer.decode(ids[own]) == prompt
    ids, own = decoding.tokenise(tiny.processor.reader, tiny.script.TEMPLATE, prompt)
    assert ids == inputs.qformer_input_ids[0].tolist()
    assert own == slice(1, len(ids) - 1)  # all but [CLS] and [SEP]


@pytest.mark.parametrize("name", ["llava", "idefics"])
def test_what_precedes_the_question_is_the_same_whatever_the_question(tiny_model, name):
    tiny = tiny_model(name)
    template, tokenizer = tiny.script.TEMPLATE, tiny.processor.tokenizer
    image_id = tokenizer.convert_tokens_to_ids("<image>")
    special = name == "llava"  # IDEFICS' template writes its <s> itself
    prefixes = {
        tuple(decoding.split_template(tokenizer, template, prompt, image_id, special)[0])
        for prompt in ("", " ", "...", "<s>", *PROMPTS.values())
    }
    assert len(prefixes) == 1


def test_text_after_a_special_token_begins_with_a_blank_as_in_llamas_tokenizer(tiny_model):
    tiny = tiny_model("idefics")
    before, after, own = tiny.script.split(tiny.processor, QUESTION)
    tokens = tiny.processor.tokenizer.convert_ids_to_tokens
    assert tokens(before)[1].startswith("▁")  # <s>, then "User:"
    assert tokens(after[own])[0].startswith("▁")


def test_the_end_of_an_idefics_turn_is_not_left_to_the_processor(tiny_model, photographs):
    """transformers 5 adds none of its own accord, though the checkpoint's tokenizer has the token."""
    tiny = tiny_model("idefics")
    end = tiny.processor.tokenizer.convert_tokens_to_ids("<end_of_utterance>")
    inputs = tiny.whole(text=[["User:", photographs[0], QUESTION, "\nAssistant:"]], return_tensors="pt")
    _, after, _ = tiny.script.split(tiny.processor, QUESTION)
    assert (inputs.input_ids == end).sum() == 0
    assert after.count(end) == 1


def test_a_token_of_the_prompt_and_the_template_counts_as_the_prompts():
    tokenizer = llama_tokenizer("<s>", "<unk>", ())
    ids, own = decoding.tokenise(tokenizer, "Is {prompt}e?", "her")
    assert tokenizer.convert_ids_to_tokens(ids)[own] == ["here"]


def test_tokens_of_the_prompt_are_found_in_lower_case():
    ids, own = decoding.tokenise(bert_tokenizer(), "{prompt}", "What KIND")
    assert own == slice(1, len(ids) - 1)


@pytest.mark.parametrize("name", ["vit", "llava", "instruct_blip", "idefics"])
def test_pixels_are_prepared_by_pil_whatever_else_is_installed(tiny_model, name):
    processor = tiny_model(name).processor
    assert type(getattr(processor, "image_processor", processor)).__name__.endswith("Pil")
