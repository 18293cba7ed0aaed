"""Writes Markdown in which other people's text stays text: no markup, no link, no mention of anybody."""

import re
from collections.abc import Iterable

from reports._format import clip, visible

#: Words, numbers and signs that are neither markup nor part of a link or a mention, and what they may not start with.
_HARMLESS = re.compile(
    r"(?:[A-Za-z0-9 .,;:%×÷→−–()…=²⁰¹³⁴⁵⁶⁷⁸⁹⁻-]|(?<=[A-Za-z0-9])_(?=[A-Za-z0-9])"
    r"|(?<=[A-Za-z0-9])@(?=[A-Za-z0-9]+(?:[ :,;]|$)))*"
)
_MARKER = re.compile(r"[-+=. ]|\d+[.)](?:\s|$)")


def words(text: str, length: int = 200) -> str:
    """A text on one line: as it is where it is harmless, else as code."""
    plain = len(text) <= length and _HARMLESS.fullmatch(text) and not _MARKER.match(text) and "www." not in text.lower()
    return text if plain else code(text, length)


def code(text: str, length: int = 200) -> str:
    """A text on one line, as code."""
    line = " ".join(visible(clip(text, length)).split()).replace("|", "\\|")
    ticks = "`" * (_longest(line) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{pad}{line}{pad}{ticks}" if line else "–"


def block(text: str, language: str = "") -> list[str]:
    """Lines of code in a fence that nothing in them can close."""
    fence = "`" * max(3, _longest(text) + 1)
    return [fence + language, *visible(text).rstrip("\n").split("\n"), fence]


def fitted(lines: Iterable[str], limit: int) -> str:
    """The lines as a text of at most so many bytes; what is left out is said."""
    end = "\n… and more, left out here since it would be too long.\n"
    found: list[str] = []
    size = len(end.encode())
    for line in lines:
        size += len(line.encode("utf-8", "backslashreplace")) + 1
        if size > limit:
            return "\n".join(found) + end
        found.append(line)
    return "\n".join(found) + "\n"


def _longest(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
