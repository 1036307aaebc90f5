"""Documents: the generated one is current, links lead somewhere, the README keeps its length."""

import re

import pytest

from tests import config_reference
from tests.support import ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / ".github" / "CONTRIBUTING.md", ROOT / "conf" / "README.md"]


@pytest.mark.long
def test_the_options_document_is_what_the_yaml_files_say():
    """``python tests/config_reference.py --write`` updates it."""
    assert config_reference.DOCUMENT.read_text() == config_reference.document()


@pytest.mark.long
def test_the_options_document_has_a_row_for_every_option(composed):
    """None of the cell's own options is missing."""
    text = config_reference.document()
    for option, value in composed().config.items():
        rows = [f"`{option}`"] if not hasattr(value, "items") else [f"`{option}.", f"{option}="]
        assert any(row in text for row in rows), option


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(path):
    """Relative ones."""
    links = re.findall(r"\]\(([^)#\s]+)", path.read_text())
    missing = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert missing == []


def test_the_readme_is_short():
    """At most 160 lines, and it defines the five terms that the others use."""
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 160
    for term in ("cell", "split point", "aux images", "adaptive", "blind baseline"):
        assert f"| {term} | " in text
