"""Text for readers is plain English: docstrings, help texts and pages without known kinds of riddles."""

import ast
import re

import pytest
import script_pages
from scripts import PACKAGE

ROOT = PACKAGE.parent
MODULES = sorted(PACKAGE.rglob("*.py"))
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(set((ROOT / "docs").glob("*.md")) - {ROOT / "docs" / "cost.md"}),
]

# Phrases that readers had to read twice, by kind; each has a plain alternative.
UNIT = "model|region|stream|layer|voxel|image|prompt|subject|session|fold|unit|GPU|batch|table|line|trial|token|pair"
LINK = "of|in|to|at|for|with|from|or|and|than|as|against|per|is"
RIDDLES = {
    "say what exists": r"\bwhat (is|are) (not )?there\b|\b(that|which) (is|are) (not )?there\b|\bthere is there\b",
    "use 'for each' or 'per'": rf"\b(an?|one) (?!({LINK})\b)[\w-]+ an? ({UNIT})\b",
    "use 'is in', 'is at' or 'follows'": r"\bstands? (in|at|beside|behind|before|above|below|last|first|up)\b",
    "use 'next to' or 'with'": r"\bbeside\b",
    "use 'result' or 'outcome'": r"\b(comes?|came) (to|of) (it|them|that)\b|\bwhat (it|they) comes? to\b",
    "say who reports it": r"\b(is|are) said\b|\bsaid (of|once)\b|\bsays? of (it|how|what|which|whom)\b",
    "use 'number of'": r"\bof how many\b|\bhow many (it|they) (is|are)\b",
    "use 'fix' or 'repair'": r"\bmend(s|ed|ing)?\b",
    "name the subject": r"\bthat (one|which) (is|are) of\b|\bis that of what\b|\bwhat is of\b",
    "use 'requested'": r"\basked of\b|\bis asked\b",
    "use 'list' or 'show'": r"\banswered with\b",
    "use 'again'": r"\bmade anew\b|\bcomputed anew\b|\bdone anew\b",
}
# A first line names a thing or begins with an imperative. These words begin a clause without a subject.
CLAUSE = re.compile(
    r"(What|Whether|Where|How|Whose|Which|When|Why|By|Of|As|From|In|With|Says|And|But|It|Its|That|Their|These|Those|None|Not|"
    r"Nothing|Everything|Whatever|Is|Are)\b"
)
FRAGMENT = re.compile(r"(of|that|these|those|which|whose|as|with|what|how|where|for|in|on|by|more)\b")


def room(path):
    return path.relative_to(PACKAGE).as_posix()


def docstrings(path):
    """Pairs of name and docstring of a module."""
    tree = ast.parse(path.read_text())
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
    return [(getattr(node, "name", "module"), text) for node in nodes if (text := ast.get_docstring(node))]


def riddles(text):
    """The phrases of a text that need a second reading, with the plain alternative."""
    prose = re.sub(r"`[^`]*`|^ {4,}.*$", "", text, flags=re.MULTILINE)
    prose = " ".join(prose.split())
    return [
        f"{match[0]!r}: {plain}"
        for plain, pattern in RIDDLES.items()
        for match in re.finditer(pattern, prose, re.IGNORECASE)
    ]


@pytest.mark.parametrize("path", MODULES, ids=room)
def test_docstrings_are_read_once(path):
    for name, text in docstrings(path):
        assert not riddles(text), f"{room(path)}, {name}: {riddles(text)}"
        assert not CLAUSE.match(text), f"{room(path)}, {name}: {text.splitlines()[0]}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_pages_are_read_once(path):
    assert not riddles(path.read_text())


@pytest.mark.parametrize(
    "script",
    script_pages.scripts(),
    ids=lambda script: script.name,
)
def test_help_texts_are_full_phrases(script):
    for action in script.actions:
        flag, text = action.option_strings[-1:] or action.dest, action.help or ""
        assert len(text.split()) > 1, f"{flag}: {text!r}"
        assert not riddles(text), f"{flag}: {riddles(text)}"
        assert not FRAGMENT.match(text), f"{flag}: {text!r} only continues the flag's name"


@pytest.mark.parametrize(
    "text",
    [
        "what is not there is answered with what there is",
        "a row a model, stream and layer",
        "how, stands in the page",
        "2: something to be mended",
        "others say of how many they are",
        "the tables beside the scores",
    ],
)
def test_a_riddle_is_recognised(text):
    assert riddles(text)


def test_code_and_plain_sentences_are_not_riddles():
    assert not riddles("Errors list the available names. `what is there` is a name.\n\n    a row a model\n")
