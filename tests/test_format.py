"""Tests of how reports print numbers and other people's text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import _format
from reports.records import Number


@pytest.mark.parametrize(
    ("value", "long", "short"),
    [
        (0.0, "0", "0"),
        (0.0123, "0.012", ".012"),
        (0.87, "0.87", ".87"),
        (0.9999, "1", "1.0"),
        (1.0, "1.0", "1.0"),
        (38.4, "38.4", "38"),
        (4803.0, "4803", "4803"),
        (1.6e7, "1.6 × 10⁷", "2e7"),
        (3e-9, "3.0 × 10⁻⁹", "3e-9"),
        ("nan", "NaN", "NaN"),
        ("inf", "∞", "∞"),
    ],
)
def test_ratios_are_printed_alike_everywhere(value: Number, long: str, short: str) -> None:
    """Ratios keep two digits, need no more than a cell's width in short form, and name what is not finite."""
    assert _format.ratio(value) == long
    assert _format.short_ratio(value) == short


@pytest.mark.parametrize(
    ("value", "printed"), [(-0.5, "−0.5"), ("nan", "NaN"), ("-inf", "−∞"), ("inf", "∞"), (1e-7, "1e-07"), (2.0, "2")]
)
def test_elements_are_printed_with_true_minus_signs(value: Number, printed: str) -> None:
    """Elements of arrays keep seven digits."""
    assert _format.element(value) == printed


@given(st.text())
def test_visible_text_stays_as_it_is(text: str) -> None:
    """Only control, format and surrogate characters change; what results is visible and printable."""
    seen = _format.visible(text)
    assert _format.visible(seen) == seen
    if text.isprintable():
        assert seen == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/ann/src/norm.py", "~/src/norm.py"),
        ("/root/x", "~/x"),
        ("in '/Users/bob/a b/c.py', line 3", "in '~/a b/c.py', line 3"),
        (r"C:\Users\bob\x.py", r"~\x.py"),
        ("/srv/home/ann/x", "/srv/home/ann/x"),
        ("/rootless/x and ~/root/x", "/rootless/x and ~/root/x"),
        ("/home/ann", "/home/ann"),
    ],
)
def test_a_home_folder_is_shortened(text: str, shown: str) -> None:
    """Where a path begins with somebody's home folder a tilde stands for it, and nowhere else."""
    assert _format.without_home(text) == shown
