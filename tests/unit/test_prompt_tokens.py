"""The tokens of a prompt as lines of text."""

from types import SimpleNamespace

import pytest

from brain_activity_prediction.models.prompt_tokens import PromptTokens, token_text


class Letters:
    """A tokenizer of single characters, in which 0 is a part of a character and 1 stands for a space before a word."""

    def convert_ids_to_tokens(self, token):
        return {0: "<0xE9>", 1: "\u2581a"}.get(token, chr(token))

    def decode(self, tokens):
        return {0: "\ufffd", 1: "a"}.get(tokens[0]) or chr(tokens[0])


@pytest.mark.parametrize(("token", "text"), [(0, "<0xE9>"), (1, " a"), (0x1B, "\x1b"), (233, "\u00e9")])
def test_a_token_s_text_keeps_its_space_and_parts_of_characters(token, text):
    assert token_text(Letters(), token) == text


def test_control_characters_of_a_prompt_do_not_reach_the_terminal():
    tokens = PromptTokens("language", Letters(), [0x1B, 0x202E, 10], [False] * 3, slice(0, 3))
    shown = "".join(tokens.lines())
    assert shown.isprintable()
    assert r"'\x1b' '\u202e'" in shown
    assert r"'\n'" in shown


def test_a_token_longer_than_a_line_is_divided():
    name = SimpleNamespace(convert_ids_to_tokens=lambda token: "x" * 300, decode=lambda tokens: "x" * 300)
    lines = list(PromptTokens("language", name, [5], [False], slice(0, 0)).lines())
    assert max(map(len, lines)) <= 100
    assert "".join(line[40:] for line in lines[1:]) == repr("x" * 300)
