"""The documents that are made from the code are current."""

import re
from pathlib import Path

from conformance.requirements import CATALOGUE
from conformance.requirements import __main__ as requirements
from conformance.scenarios.judging import catalogue
from conformance.zoo import FAULTS, TRAINING_FAULTS
from conformance.zoo import __main__ as zoo

DOCS = Path(__file__).parents[1] / "docs"


def test_requirements_are_documented() -> None:
    """docs/requirements.md is what the catalogue says today."""
    expected = requirements.document()

    assert (DOCS / "requirements.md").read_text(encoding="utf-8") == expected


def test_the_zoo_is_documented() -> None:
    """docs/zoo.md lists the exhibits that there are today."""
    expected = zoo.document()

    assert (DOCS / "zoo.md").read_text(encoding="utf-8") == expected
    assert all(f'<a id="{fault.name}">' in expected for fault in (*FAULTS, *TRAINING_FAULTS))


def test_every_requirement_says_what_it_catches() -> None:
    """Under each requirement stand the faults that name it; all links lead to the page of the zoo."""
    text = requirements.document()

    drawn, training = text.split("\n## 9xx")
    assert drawn.count("\nCatches ") == len(CATALOGUE)
    assert set(re.findall(r"zoo\.md#([\w-]+)", drawn)) == {fault.name for fault in FAULTS if fault.caught_by}
    assert set(re.findall(r"zoo\.md#([\w-]+)", training)) == {fault.name for fault in TRAINING_FAULTS}
    assert training.count("\n**BN-9") == len(catalogue())
