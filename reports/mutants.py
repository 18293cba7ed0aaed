"""Makes the page of a run over the zoo: which requirements caught which fault, how soon, and what got away."""

import math
from collections import Counter
from statistics import median
from typing import NamedTuple

from reports._format import count, date, listing, seconds
from reports._references import links
from reports.html import environment
from reports.mutant_records import FATES, WRONG, Exhibit, Fate, Mutants
from reports.records import RequirementInfo

#: The sign of each fate, of those that the report has.
KINDS: dict[Fate, str] = {
    "survivor": "fail",
    "false alarm": "crash",
    "caught elsewhere": "deviates",
    "caught": "pass",
    "passes": "pass",
}
#: What the legend says of a number of them.
WORDS: dict[Fate, str] = {
    "survivor": "survive",
    "false alarm": "false alarms",
    "caught elsewhere": "caught, but not by the requirement that names them",
    "caught": "caught",
    "passes": "correct variants pass",
}
#: Error / bound from which a correct variant is near its bound.
HALF = 0.5
#: Pixels of a column of the matrix, and the height of a row.
PITCH, HEIGHT = 13, 14


class Row(NamedTuple):
    """A fault in the matrix: SVG paths for what caught it and should, what caught it too, and what should have."""

    exhibit: Exhibit
    kind: str
    named: str
    others: str
    missed: str
    label: str
    cases: str
    seconds: str


class Bin(NamedTuple):
    """Faults whose first kill fell into a range."""

    label: str
    number: int
    #: Of the fullest bin, and of all faults up to here, in percent.
    width: int
    share: int


class Close(NamedTuple):
    """How near to its bound a quantity of the correct variants came: the nearest, and how many came half way."""

    quantity: str
    ratio: float
    name: str
    requirement: str
    half: int


class Strength(NamedTuple):
    """What a requirement did."""

    info: RequirementInfo
    kills: int
    first: int
    alone: int


def sentence(mutants: Mutants) -> str:
    """The verdict."""
    fates = Counter(exhibit.fate for exhibit in mutants.exhibits)
    faults = sum(1 for exhibit in mutants.exhibits if exhibit.faulty)
    variants = len(mutants.exhibits) - faults
    survivors, alarms = fates["survivor"], fates["false alarm"]
    parts = []
    if faults:
        caught = f"{faults - survivors} of {count(faults, 'fault')} caught"
        parts.append(f"all {count(faults, 'fault')} caught" if not survivors else caught)
    if variants:
        flagged = f"{alarms} of {count(variants, 'correct variant')} flagged"
        parts.append(f"none of {count(variants, 'correct variant')} flagged" if not alarms else flagged)
    text = ", ".join(parts) or "nothing was run"
    return text[:1].upper() + text[1:]


def by_theme(exhibits: list[Exhibit]) -> list[tuple[str, Counter[Fate], float]]:
    """Each theme's fates, and its median seconds to the first kill (NaN where there is none)."""
    themes: dict[str, list[Exhibit]] = {}
    for exhibit in exhibits:
        themes.setdefault(exhibit.theme, []).append(exhibit)
    return [
        (
            theme,
            Counter(e.fate for e in members),
            median([e.kills[0].seconds for e in members if e.faulty and e.kills] or [math.nan]),
        )
        for theme, members in themes.items()
    ]


def closest(exhibits: list[Exhibit]) -> list[Close]:
    """Each quantity's smallest margin over all correct variants, the smallest first."""
    found: dict[str, list[tuple[float, str, str]]] = {}
    for exhibit in exhibits:
        for margin in exhibit.margins:
            entry = (float(margin.ratio), exhibit.name, margin.requirement)
            found.setdefault(margin.quantity, []).append(entry)
    return sorted(
        (Close(quantity, *max(entries), sum(r > HALF for r, _, _ in entries)) for quantity, entries in found.items()),
        key=lambda close: -close.ratio,
    )


def render(mutants: Mutants) -> str:
    """The page; the same run gives the same bytes."""
    header, exhibits = mutants.header, mutants.exhibits
    faults = [exhibit for exhibit in exhibits if exhibit.faulty]
    infos = sorted(header.requirements, key=lambda info: info.id)
    places = {info.id: place for place, info in enumerate(infos)}
    fates = Counter(exhibit.fate for exhibit in exhibits)
    edges = [place for place, info in enumerate(infos) if place and info.family != infos[place - 1].family]
    page = {
        "sentence": sentence(mutants),
        "meta": [
            date(header.started),
            f"{header.profile} profile, seed {header.seed}",
            f"suite {header.suite_version}",
            seconds(mutants.footer.seconds),
        ],
        "say": _say(mutants),
        "tally": [(KINDS[fate], WORDS[fate], fates[fate]) for fate in FATES if fates[fate] or fate in WRONG],
        "wrong": [exhibit for exhibit in exhibits if exhibit.fate in WRONG],
        "elsewhere": [exhibit for exhibit in exhibits if exhibit.fate == "caught elsewhere"],
        "columns": [(PITCH * place + PITCH // 2, info.id.removeprefix("BN-")) for info, place in _placed(infos)],
        "grid": "".join(f"M{PITCH * edge} 0v{HEIGHT}" for edge in edges),
        "width": PITCH * len(infos),
        "height": HEIGHT,
        "families": _families(faults, places, infos),
        "times": _bins([e.kills[0].cases for e in faults if e.kills], len(faults)),
        "themes": [(theme, members, "–" if math.isnan(t) else seconds(t)) for theme, members, t in by_theme(exhibits)],
        "closest": closest(exhibits),
        "strengths": _strengths(faults, infos),
        "exhibits": sorted(exhibits, key=lambda e: (e.faulty is False, e.theme, e.name)),
        "links": links,
        "kinds": KINDS,
        "footer": mutants.footer,
        "command": header.command,
    }
    return environment().get_template("mutants.html.j2").render(page)


def _placed(infos: list[RequirementInfo]) -> list[tuple[RequirementInfo, int]]:
    return [(info, place) for place, info in enumerate(infos)]


def _say(mutants: Mutants) -> str:
    header = mutants.header
    first = sorted(e.kills[0].cases for e in mutants.exhibits if e.faulty and e.kills)
    if not first:
        return ""
    return (
        f"Half of the caught faults were seen within {count(math.ceil(median(first)), 'case')}. Every fault ran on the "
        f"first {header.seen} of {header.cases_per_family} cases of each family at least, and on more until all "
        "requirements that name it had caught it; a requirement that may catch it later shows no mark."
    )


def _families(
    faults: list[Exhibit], places: dict[str, int], infos: list[RequirementInfo]
) -> list[tuple[str, list[Row]]]:
    """The faults by family; those that the same requirements caught are neighbours."""
    titles = {info.family[:1]: f"{info.family} {info.family_title}" for info in infos}
    groups: dict[str, list[Exhibit]] = {}
    for exhibit in faults:
        groups.setdefault(exhibit.family, []).append(exhibit)
    return [
        (titles.get(family, family), [_row(e, places) for e in sorted(groups[family], key=lambda e: _order(e, places))])
        for family in sorted(groups)
    ]


def _order(exhibit: Exhibit, places: dict[str, int]) -> tuple[object, ...]:
    killers = {kill.requirement for kill in exhibit.kills}
    expected = [places.get(id_, -1) for id_ in exhibit.named[:1]]
    return (exhibit.fate not in WRONG, expected, sorted(places.get(id_, -1) for id_ in killers), exhibit.name)


def _row(exhibit: Exhibit, places: dict[str, int]) -> Row:
    killers = [kill.requirement for kill in exhibit.kills]
    named = [id_ for id_ in killers if id_ in exhibit.named]
    missed = [id_ for id_ in exhibit.named if id_ not in killers]
    others = [id_ for id_ in killers if id_ not in exhibit.named]
    label = f"caught by {listing(killers)}" if killers else "caught by none"
    if missed:
        label += f"; not by {listing(missed)}, which name it"
    first = exhibit.kills[0] if exhibit.kills else None
    return Row(
        exhibit,
        KINDS[exhibit.fate],
        _squares(named, places, 9),
        _squares(others, places, 5),
        _squares(missed, places, 7),
        label,
        str(first.cases) if first else "–",
        f"{first.seconds:.2f}" if first else "–",
    )


def _squares(ids: list[str], places: dict[str, int], size: int) -> str:
    inset, top = (PITCH - size) / 2, (HEIGHT - size) / 2
    known = sorted(places[id_] for id_ in ids if id_ in places)
    return "".join(f"M{PITCH * place + inset:g} {top:g}h{size}v{size}h-{size}z" for place in known)


def _bins(cases: list[int], faults: int) -> list[Bin]:
    """Faults by the number of cases until the first kill, in powers of two."""
    if not cases:
        return []
    ends = [2**k for k in range(max(cases).bit_length() + 1)]
    ends = ends[: next(k for k, end in enumerate(ends) if end >= max(cases)) + 1]
    numbers = [sum(1 for c in cases if (ends[k - 1] if k else 0) < c <= end) for k, end in enumerate(ends)]
    most = max(numbers)
    bins = []
    for k, end in enumerate(ends):
        low = ends[k - 1] + 1 if k else 1
        label = str(end) if low == end else f"{low} to {end}"
        bins.append(Bin(label, numbers[k], round(100 * numbers[k] / most), round(100 * sum(numbers[: k + 1]) / faults)))
    return bins


def _strengths(faults: list[Exhibit], infos: list[RequirementInfo]) -> list[Strength]:
    kills = Counter(kill.requirement for e in faults for kill in e.kills)
    first = Counter(kill.requirement for e in faults for kill in e.kills if kill.cases == e.kills[0].cases)
    alone = Counter(e.kills[0].requirement for e in faults if len(e.kills) == 1)
    return [Strength(info, kills[info.id], first[info.id], alone[info.id]) for info in infos]
