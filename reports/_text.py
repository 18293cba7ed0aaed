"""Names what a report shows: outcomes, requirements, links and commands."""

import re
import shlex
from typing import NamedTuple

from markupsafe import Markup, escape

from reports._format import visible
from reports._grid import Grid
from reports.records import Header, Implementation, Outcome, RequirementInfo, Result
from reports.verdict import EXIT_1

#: How the tally words a count of each outcome.
WORDS: dict[Outcome, str] = {
    "fail": "fail",
    "crash": "crash",
    "timeout": "time out",
    "error": "error",
    "stale known failure": "stale known failure",
    "mistrusted": "mistrusted",
    "no run": "no run",
    "known failure": "known failure",
    "deviates": "deviate as declared",
    "unsupported": "unsupported",
    "pass": "pass",
}

#: Outcomes that have an article of their own.
WITH_ARTICLE: frozenset[Outcome] = EXIT_1 | {"known failure"}

_TOKEN = re.compile(
    r'''(?P<o>\#[^\n]*)|(?P<s>"""[\s\S]*?"""|"[^"\n]*"|\'[^\'\n]*\')'''
    r"|(?P<k>\b(?:import|from|as|def|return|for|in|if|None|True|False)\b)"
)


def slug(outcome: str) -> str:
    """Return an outcome as a CSS class."""
    return outcome.replace(" ", "-")


def title(info: RequirementInfo) -> str:
    """Return a requirement's name as words: ``moving_mean_step`` reads "Moving mean step"."""
    words = info.name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


class Places(NamedTuple):
    """Where on the page each cell of the grid is, and which number it has in the page's data."""

    anchors: dict[tuple[str, str], str]
    numbers: dict[tuple[str, str], int]
    #: Whether every cell has a row in a list; else what has no article is in the matrix only.
    listed: bool = True

    def has_article(self, result: Result) -> bool:
        """Whether a result has an article of its own."""
        return result.outcome in WITH_ARTICLE

    def target(self, result: Result) -> str:
        """Return the fragment that tells most about a result: its article, its row in a list, or its cell."""
        name = self.anchors[result.requirement, result.implementation]
        return name if self.has_article(result) else f"{'row' if self.listed else 'cell'}:{name}"


#: Cells up to which every one has a row in a list, with the distribution of its examples.
LISTED = 1500


def places(grid: Grid) -> Places:
    """Give every cell a number and a distinct fragment, such as ``BN-101-torch``."""
    pairs = [(result.requirement, result.implementation) for result in grid.all()]
    return Places(_anchors(pairs), {pair: number for number, pair in enumerate(pairs)}, len(pairs) <= LISTED)


def families(requirements: list[RequirementInfo]) -> list[tuple[str, list[RequirementInfo]]]:
    """Group requirements by family, in the order in which the families first appear."""
    groups: dict[str, list[RequirementInfo]] = {}
    for info in requirements:
        groups.setdefault(info.family_title or info.family, []).append(info)
    return list(groups.items())


def about(who: Implementation) -> str:
    """Return framework, version, device and Python of an implementation in a line."""
    parts = [f"{who.framework} {who.version}".strip(), who.device, f"Python {who.python}" if who.python else ""]
    return ", ".join(part for part in parts if part)


def rerun(header: Header, requirement: str, by: Implementation) -> str:
    """Return the command that runs one cell again, safe to paste into a shell."""
    before, between, after = rerun_parts(header)
    return before + shlex.quote(by.target or by.name) + between + shlex.quote(requirement) + after


def rerun_parts(header: Header) -> tuple[str, str, str]:
    """Return that command without the implementation and the requirement, which go between the parts."""
    return "bn-conformance run ", " -k ", f" --profile {shlex.quote(header.profile)} --seed {header.seed}"


def highlighted(code: str) -> Markup:
    """Colour the comments, strings and keywords of Python code; everything is escaped."""
    code = visible(code)
    parts, end = [], 0
    for match in _TOKEN.finditer(code):
        parts += [
            escape(code[end : match.start()]),
            Markup('<span class="{}">{}</span>').format(match.lastgroup, match[0]),
        ]
        end = match.end()
    return Markup("").join([*parts, escape(code[end:])])


def plain_anchor(requirement: str, implementation: str) -> str:
    """Return what a fragment can hold of two names; the page's scripts do the same."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{requirement}-{implementation}")[:80]


def _anchors(pairs: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
    taken: set[str] = set()
    found = {}
    for pair in pairs:
        plain = plain_anchor(*pair)
        name, number = plain, 2
        while name in taken:
            name, number = f"{plain}-{number}", number + 1
        taken.add(name)
        found[pair] = name
    return found
