"""The language of code and documents: words that are not used, and how docstrings open."""

import ast
import re
from pathlib import Path

import pytest

from tests.support import ROOT

BANNED = re.compile(r"\b(told|heard|mouth|whoever|nobody|knowing|beside)\b", re.IGNORECASE)
PREPOSITIONS = (
    "About|After|Against|Among|Around|As|At|Before|Behind|Below|Beside|Between|By|During|For|From|"
    "In|Inside|Into|Of|Off|On|Onto|Out|Over|Per|Since|Than|Through|To|Toward|Towards|Under|Until|"
    "Up|Upon|Via|With|Within|Without"
)
OPENINGS = re.compile(rf"(What|Where|Who|Whose|How|Whether|{PREPOSITIONS})\b")
SHARE = 0.02
GENERATED = ROOT / "sweeps" / "he2020" / "RESULTS.md"


def _files() -> list[Path]:
    code = (ROOT / "privbench").rglob("*")
    kinds = {".py", ".j2", ".js", ".css", ".html"}
    configs = [path for folder in ("conf", "sweeps") for path in (ROOT / folder).rglob("*.yaml")]
    documents = [*ROOT.glob("*.md"), *(ROOT / ".github").rglob("*.md")]
    for folder in ("privbench", "conf", "sweeps", "tests"):
        documents += (ROOT / folder).rglob("*.md")
    found = [*(path for path in code if path.suffix in kinds), *configs, *documents]
    return sorted(path for path in found if path != GENERATED)


def _docstrings(path: Path) -> list[str]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)]
    return [text for node in nodes if (text := ast.get_docstring(node))]


def test_no_banned_word_is_used():
    """Whole words; ordinary English such as "is not" passes."""
    files = _files()
    assert len(files) > 300
    texts = ((path, path.read_text().splitlines()) for path in files)
    lines = ((path, n, line) for path, held in texts for n, line in enumerate(held, 1))
    found = [f"{path}:{n}: {line.strip()}" for path, n, line in lines if BANNED.search(line)]
    assert found == []


def test_docstrings_open_with_a_verb_or_a_noun_phrase():
    """At most 2 % open with a question word or a bare preposition."""
    every = [
        (path, text) for path in (ROOT / "privbench").rglob("*.py") for text in _docstrings(path)
    ]
    wrong = [f"{path.name}: {text.splitlines()[0]}" for path, text in every if OPENINGS.match(text)]
    assert len(every) > 100
    assert len(wrong) <= SHARE * len(every), "\n".join(wrong)


@pytest.mark.parametrize("text", ["It is not there.", "No one cell", "I know it", "foretold"])
def test_ordinary_english_passes(text):
    """The check looks at whole words only."""
    assert not BANNED.search(text)


@pytest.mark.parametrize(
    "text", ["As told.", "Nobody", "knowing the defense", "the mouth", "heard", "beside it"]
)
def test_the_check_finds_what_it_looks_for(text):
    """In any case."""
    assert BANNED.search(text)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("What is sent.", True),
        ("With bars.", True),
        ("Forward pass.", False),
        ("Format it.", False),
    ],
)
def test_openings_are_words(text, wrong):
    """``For`` is a preposition, ``Format`` a verb."""
    assert bool(OPENINGS.match(text)) == wrong
