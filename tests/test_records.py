"""Tests of the results' schema."""

import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import records
from tests.sample_results import sample

SCHEMA = Path(__file__).parent.parent / "docs" / "results.schema.json"


@given(st.floats())
def test_every_float_survives_json(value: float) -> None:
    """Finite numbers, infinities and NaN come back from JSON as they were; JSON itself has no non-finite numbers."""
    text = msgspec.json.encode(records.number(value))
    back = records.real(msgspec.json.decode(text, type=records.Number))
    assert back == value or (math.isnan(back) and math.isnan(value))


@pytest.mark.parametrize("text", ['"NaN"', '"infinity"', '"1.5"', "null", "true"])
def test_other_spellings_of_numbers_are_refused(text: str) -> None:
    """Only the three documented names stand for non-finite numbers."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=records.Number)


def test_published_schema_is_current() -> None:
    """docs/results.schema.json is what `python -m reports.records` prints."""
    assert json.loads(SCHEMA.read_text("utf-8")) == json.loads(msgspec.json.encode(records.json_schema()))


def test_sample_fulfils_the_published_schema() -> None:
    """Another program can validate our lines with the JSON Schema alone; here jsonschema does."""
    results = sample()
    validator = jsonschema.validators.validator_for(records.json_schema())(json.loads(SCHEMA.read_text("utf-8")))
    lines: list[Any] = [results.header, *results.results[:60], *results.agreements, results.footer]
    for line in lines:
        validator.validate(json.loads(msgspec.json.encode(line)))


def test_published_schema_refuses_an_unknown_outcome() -> None:
    """The schema is strict enough to notice a misspelt outcome."""
    validator = jsonschema.validators.validator_for(records.json_schema())(json.loads(SCHEMA.read_text("utf-8")))
    line = {**json.loads(msgspec.json.encode(sample().results[0])), "outcome": "passed"}
    assert not validator.is_valid(line)


def test_outcomes_are_listed_worst_first() -> None:
    """Tallies and the order of failures rely on this order."""
    assert records.OUTCOMES[0] == "fail"
    assert records.OUTCOMES[-1] == "pass"
    assert len(set(records.OUTCOMES)) == 11
