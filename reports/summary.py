"""A run as Markdown for the summary of a CI step, and as the JSON of a badge."""

import msgspec

from reports._format import count
from reports._grid import complete_grid
from reports._markdown import code, fitted, words
from reports._plots import log2
from reports._text import WORDS
from reports.records import OUTCOMES, Result, Results
from reports.verdict import EXIT_1, EXIT_3, Verdict, verdict

#: Bytes of a summary.
LIMIT = 20_000
#: Rows of the table of failures.
LISTED = 60


def summary(results: Results) -> str:
    """The verdict on a run, the tally, and what fails."""
    found = verdict(results)
    grid = complete_grid(results)
    failing = [result for result in grid.all() if result.outcome in EXIT_1]
    failing.sort(key=lambda result: (OUTCOMES.index(result.outcome), -log2(result.worst_ratio)))
    lines = [f"## {words(found.sentence, 400)}", "", words(found.say, 1000), "", tally(found)]
    lines += [words(note, 400) for note in results.notes]
    if failing:
        lines += ["", "| requirement | implementation | outcome | why |", "|---|---|---|---|"]
        lines += [_row(result) for result in failing[:LISTED]]
    if len(failing) > LISTED:
        lines += ["", f"and {count(len(failing) - LISTED, 'more failure', 'more failures')}."]
    return fitted(lines, LIMIT)


def tally(found: Verdict) -> str:
    """How many checks came to what."""
    return ", ".join(f"**{number}** {WORDS[outcome]}" for outcome, number in found.tally.items() if number)


def badge(found: Verdict, new: int | None = None) -> str:
    """The JSON that a badge is made from (shields.io's endpoint format); ``new`` is how many newly fail in a night."""
    failing = sum(found.tally[outcome] for outcome in EXIT_1)
    open_ = sum(found.tally[outcome] for outcome in EXIT_3)
    held = sum(found.tally.values()) - failing - open_
    if failing:
        message = f"{failing} fail" + (f", {new} new" if new else "")
        colour = "red" if new is None or new else "orange"
    elif not held:
        message, colour = "nothing judged", "lightgrey"
    else:
        message, colour = f"{held} of {held + open_} hold", "yellow" if open_ else "brightgreen"
    made = {"schemaVersion": 1, "label": "BN conformance", "message": message, "color": colour}
    return msgspec.json.format(msgspec.json.encode(made), indent=1).decode() + "\n"


def _row(result: Result) -> str:
    why = result.reason or result.cause
    where = f"{code(result.requirement)} | {code(result.implementation)}"
    return f"| {where} | {result.outcome} | {words(why.partition(chr(10))[0], 160)} |"
