"""The commands of ``bn-conformance history``: add a night, rebuild the digests, show the nights or a cell."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conformance._console import Debug, clear_errors, fail, say

if TYPE_CHECKING:
    from reports.history import History
    from reports.records import Results

app = typer.Typer(help="The nights that were run: their results, and what was derived from them.", no_args_is_help=True)
HistoryFolder = Annotated[Path, typer.Option("--history", metavar="FOLDER", help="Where the nights are kept.")]


def together(places: list[Path]) -> "Results":
    """The results of these files or folders of runs, merged."""
    from conformance.environments import results_below
    from reports.store import merge, read

    parts = [read(file) for place in places for file in results_below(place)]
    return merge(parts) if len(parts) > 1 else parts[0]


@app.command()
def add(
    results: Annotated[list[Path], typer.Argument(metavar="RESULTS...", help="Results files, or folders of runs.")],
    night: Annotated[
        str, typer.Option(metavar="NAME", help="Join this night instead of making one named by when it began.")
    ] = "",
    history: HistoryFolder = Path("history"),
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Write page, summary, issue and badge there.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Add results as a night. Exit codes: 0; 1 something newly fails; 3 nothing was judged."""
    with clear_errors(debug):
        from conformance.environments import results_below
        from conformance.night import write
        from reports.history import History
        from reports.nightly import sentence
        from reports.nightly_changes import night as beside

        kept = History(history)
        added = kept.add([file for place in results for file in results_below(place)], night)
        found = beside(kept, added)
        if out is not None:
            write(found, out)
        say(f"{added.digest.night}: {sentence(found)}")
        for problem in added.digest.skipped.values():
            say(f"not used: {problem}")
    raise typer.Exit(found.exit_code)


@app.command()
def rebuild(history: HistoryFolder = Path("history"), debug: Debug = False) -> None:
    """Derive everything anew from the results files. Exit codes: 0; 3 a file could not be used."""
    with clear_errors(debug):
        from reports.history import History

        problems = History(history).rebuild()
        for night, files in problems.items():
            for name, problem in files.items():
                say(f"not used: {f'{night}/{name}: ' if name else ''}{problem}")
        say(f"{len(problems)} nights rebuilt")
    raise typer.Exit(3 if any(problems.values()) else 0)


@app.command()
def show(
    requirement: Annotated[str, typer.Argument(metavar="[REQUIREMENT]", help="Show this cell, night by night.")] = "",
    implementation: Annotated[str, typer.Argument(metavar="[IMPLEMENTATION]")] = "",
    history: HistoryFolder = Path("history"),
    debug: Debug = False,
) -> None:
    """List the nights with what failed in each; or one requirement on one implementation, night by night."""
    with clear_errors(debug):
        from reports.history import History

        kept = History(history)
        if not kept.nights():
            fail(f"{history} holds no night yet", 2)
        lines = _nights(kept) if not requirement else _cell(kept, requirement, implementation)
        for line in lines:
            say(line)


def _nights(kept: "History") -> list[str]:
    from reports.nightly_strips import when

    lines = []
    for digest in kept.digests():
        failing = sum(digest.failing(name) for name in digest.rows)
        rows = f"{failing} failing, {len(digest.rows)} implementations, {len(digest.sources)} files"
        lines.append(f"{digest.night}  {when(digest.night):14} {digest.profile}, seed {digest.seed}: {rows}")
        lines += [f"{'':18}not used: {problem}" for problem in digest.skipped.values()]
    return lines


def _cell(kept: "History", requirement: str, implementation: str) -> list[str]:
    import math

    from conformance.targets import UsageError, nearest
    from reports.nightly import size

    lines, names = [], set()
    for digest in kept.digests():
        cell = digest.cell(requirement, implementation)
        names |= set(digest.rows)
        if cell is not None:
            about = digest.about(implementation)
            version = f"{about.get('framework', '')} {about.get('version', '')}".strip()
            far = "" if math.isnan(cell.ratio) or cell.outcome not in ("pass", "deviates") else f", {size(cell)}"
            what = size(cell) if cell.outcome == "fail" else cell.outcome
            lines.append(f"{digest.night}  {what}{far}  {version}".rstrip())
    if not lines:
        hint = nearest(implementation, names)
        raise UsageError(f"no night has {requirement} on {implementation or 'an implementation to be named'}: {hint}")
    return lines
