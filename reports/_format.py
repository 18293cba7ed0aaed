"""Turns numbers, counts and other people's text into what a reader sees."""

import math
import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime

from reports.records import Number, real

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
#: Format characters that do no harm: zero-width (non-)joiners build the letters of several scripts.
_JOINERS = "\u200c\u200d"
#: Home folders of Linux, macOS and Windows, where a path begins with one.
_HOME = re.compile(r"(?<![\w~./\\-])(?:/(?:home|Users)/[^/\s\"']+|/root|[A-Za-z]:\\Users\\[^\\\s\"']+)(?=[/\\])")


def power_of_two(exponent: int) -> str:
    """Print 2 to an integer power; 0 prints as 1."""
    return "2" + str(exponent).translate(_SUPERSCRIPT) if exponent else "1"


def power_of_ten(exponent: int) -> str:
    """Print 10 to an integer power; 0 prints as 1."""
    return "10" + str(exponent).translate(_SUPERSCRIPT) if exponent else "1"


def ratio(value: Number | None) -> str:
    """Print an error / bound: two digits below 1, none from 100, a power of ten from 10⁵."""
    if value is None:
        return "–"
    x = real(value)
    if not math.isfinite(x):
        return "NaN" if math.isnan(x) else "∞"
    if x == 0:
        return "0"
    if 1e-4 <= abs(x) < 1:
        return f"{x:.2g}"
    if abs(x) < 1e5 and abs(x) >= 1:
        return f"{x:.1f}" if abs(x) < 100 else f"{x:.0f}"
    mantissa, exponent = f"{x:.1e}".split("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPT)}"


def short_ratio(value: Number | None) -> str:
    """Print an error / bound for a narrow cell: ``.065``, ``38``, ``2e7``."""
    if value is None:
        return ""
    x = real(value)
    if not math.isfinite(x) or x == 0:
        return ratio(value)
    if abs(x) < 0.001 or abs(x) >= 10_000:
        mantissa, exponent = f"{x:.0e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    if abs(x) < 0.995:
        return f"{x:.2f}".removeprefix("0") if abs(x) >= 0.0995 else f"{x:.3f}".removeprefix("0")
    return f"{x:.1f}" if abs(x) < 10 else f"{x:.0f}"


def times_bound(value: Number | None) -> str:
    """Say an error / bound in words."""
    if value is None:
        return "no error measured"
    x = real(value)
    if not math.isfinite(x):
        return "not finite" if math.isnan(x) else "infinitely far beyond the bound"
    if x == 0:
        return "exact"
    return f"{ratio(value)} of the bound" if x <= 1 else f"{ratio(value)} times the bound"


def element(value: Number) -> str:
    """Print one element of an array with up to seven digits."""
    x = real(value)
    if not math.isfinite(x):
        return ("NaN" if math.isnan(x) else "∞") if not x < 0 else "−∞"
    return f"{x:.7g}".replace("-", "−", 1) if x < 0 else f"{x:.7g}"


def seconds(value: float) -> str:
    """Print a duration: ``0.04 s``, ``12.3 s``, ``2 min 05 s``."""
    if value >= 120:
        return f"{int(value) // 60} min {int(value) % 60:02d} s"
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def thousands(value: float) -> str:
    """Print a count with thin spaces."""
    return f"{value:,.0f}".replace(",", "\u202f")


def count(number: int, noun: str, plural: str = "") -> str:
    """Print a number with its noun."""
    return f"{thousands(number)} {noun if number == 1 else plural or noun + 's'}"


def listing(words: Sequence[str]) -> str:
    """Join words as English does: ``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else list(words))


def date(text: str) -> str:
    """Print an ISO date and time for a reader; anything else as it is."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return text
    zone = when.tzname()
    return f"{when.day} {when:%B %Y, %H:%M}" + (f" {zone}" if zone else "")


def clip(text: str, length: int) -> str:
    """Cut a text that is longer than anyone reads, and say so."""
    return text if len(text) <= length else f"{text[:length]}… ({thousands(len(text) - length)} more characters)"


def without_home(text: str) -> str:
    """Write "~" for a home folder: whose it was does not matter to a reader."""
    return _HOME.sub("~", text)


def visible(text: str) -> str:
    """Show what is invisible or misleading on a page: control, bidirectional-override and surrogate characters."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(character) if _hidden(character) else character for character in text)


def _hidden(character: str) -> bool:
    return character not in "\n\t" + _JOINERS and unicodedata.category(character) in ("Cc", "Cf", "Cs")


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
