"""A night as Markdown: the summary for a CI step, and the text of an issue on what newly fails."""

from reports._format import count, date, listing
from reports._markdown import block, code, fitted, words
from reports._text import about, rerun, title
from reports.nightly import Listing, lists, others, say, sentence, size
from reports.nightly_changes import Change, Night
from reports.nightly_strips import when
from reports.records import Counterexample, Header, Implementation, RequirementInfo, Result
from reports.summary import LIMIT, tally
from reports.verdict import verdict

#: Characters of an issue: GitHub takes 65,536.
ISSUE_LIMIT = 60_000
#: Entries of a list in the summary, and failures that an issue tells in full.
LISTED, IN_FULL = 12, 6


def summary(night: Night) -> str:
    """What a reader of the CI's page wants to know: the verdict and the changes, in at most 20 kB."""
    digest = night.digest
    said = [words(say(night), 800), ""] if say(night) else []
    lines = [f"## {words(sentence(night), 300)}", "", *said, tally(verdict(night.results)), ""]
    for found in [*lists(night), *others(night)]:
        lines += _listed(found)
    lines += [f"- not used: {words(problem, 300)}" for problem in digest.skipped.values()]
    lines.append(f"\n{_run(night)}.")
    return fitted(lines, LIMIT)


def _run(night: Night) -> str:
    """When the night was, and how to have the same again."""
    digest = night.digest
    profile = words(f"{digest.profile} profile, seed {digest.seed}")
    return f"{words(date(digest.started))}: {profile}, suite {words(digest.suite)}"


def _listed(found: Listing) -> list[str]:
    if not found.number:
        return [f"**{found.heading}**: none", ""]
    lines = [f"**{found.heading}** ({found.number})", ""]
    lines += [f"- {code(entry.text, 120)}: {words(entry.more, 160)}" for entry in found.entries[:LISTED]]
    if found.number > LISTED:
        lines.append(f"- and {found.number - LISTED} more")
    return [*lines, ""]


def issue(night: Night) -> str:
    """The text of an issue on what newly fails, its title in the first line; empty where nothing does."""
    new = night.changes.new
    if not new:
        return ""
    header = night.results.header
    names = list(dict.fromkeys(change.implementation for change in new))
    where = listing(names) if len(names) <= 3 else f"{len(names)} implementations"
    what = f"{new[0].requirement} newly fails" if len(new) == 1 else f"{count(len(new), 'check')} newly fail"
    lines = [
        f"# {words(f'{what} on {where}')}",
        "",
        f"Found by the night of {_run(night)}. {words(say(night), 600)}",
        "",
    ]
    found = {(r.requirement, r.implementation): r for r in night.results.results}
    infos = {info.id: info for info in header.requirements}
    who = {implementation.name: implementation for implementation in header.implementations}
    for change in new[:IN_FULL]:
        result = found[change.requirement, change.implementation]
        lines += _failure(change, result, infos[change.requirement], who[change.implementation], night)
    if len(new) > IN_FULL:
        lines += ["## Others", ""]
        lines += [f"- {code(f'{c.requirement} on {c.implementation}')}: {words(size(c.now))}" for c in new[IN_FULL:]]
    return fitted(lines, ISSUE_LIMIT)


def _failure(change: Change, result: Result, info: RequirementInfo, by: Implementation, night: Night) -> list[str]:
    """One failure: what it is, with which versions, and how to see it."""
    header = night.results.header
    before = "no earlier result" if change.before is None else f"before: {size(change.before)} ({when(change.night)})"
    versions = {**night.digest.about(change.implementation), **header.environment}
    shifts = [s for s in night.changes.shifts if change.implementation in s.implementations]
    lines = [
        f"## {code(f'{info.id} {title(info)} on {by.name}')}",
        "",
        words(info.claim, 400),
        "",
        f"- {result.outcome}: {words(result.reason or size(change.now), 400)}; {words(before)}",
        f"- {code(about(by) or by.name, 300)}",
    ]
    lines += [f"- likely cause: {words(result.cause, 500)}"] if result.cause else []
    lines += [f"- changed: {code(f'{s.fact} {s.before} → {s.now}', 300)}" for s in shifts[:LISTED]]
    if change.before is not None and not shifts:
        lines.append("- changed: nothing that is recorded of it; the cases are new every night")
    lines += ["", *_again(header, result, by), ""]
    lines += ["<details><summary>Versions</summary>", ""]
    lines += [f"- {code(name)}: {code(value, 300)}" for name, value in versions.items()]
    return [*lines, "", "</details>", ""]


def _again(header: Header, result: Result, by: Implementation) -> list[str]:
    """The script that shows it, or the case as code, and the command that runs the requirement again."""
    example: Counterexample | None = result.counterexamples[0] if result.counterexamples else None
    lines = ["Again:", "", *block(rerun(header, result.requirement, by), "sh")]
    if example is not None and example.script:
        return [*lines, "", "A script that needs only the framework and NumPy:", "", *block(example.script, "python")]
    if example is not None and example.code:
        return [*lines, "", "The case:", "", *block(example.code, "python")]
    return lines
