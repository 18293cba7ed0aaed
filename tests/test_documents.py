"""The documents that are made from the code are current."""

from pathlib import Path

from conformance.requirements.__main__ import document

DOCS = Path(__file__).parents[1] / "docs"


def test_requirements_are_documented() -> None:
    """docs/requirements.md is what the catalogue says today."""
    expected = document()

    assert (DOCS / "requirements.md").read_text(encoding="utf-8") == expected
