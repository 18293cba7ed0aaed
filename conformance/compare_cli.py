"""The command ``bn-conformance compare``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conformance._console import Debug, clear_errors, say

if TYPE_CHECKING:
    from reports.records import Results

_SIDE = "A results file or folder of runs; of one implementation or environment in it: FOLDER::NAME."


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help=_SIDE)],
    second: Annotated[str, typer.Argument(metavar="B", help=_SIDE)],
    out: Annotated[Path | None, typer.Option("-o", metavar="FILE", help="Write a page, too.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also print the cells that do not differ.")] = False,
    debug: Debug = False,
) -> None:
    """Compare two runs, or two versions in one: results::torch@torch2.6 results::torch@torch2.13.

    Exit codes: 0 nothing newly fails in B; 1 something does; 2 no such results, or nothing in common.
    """
    with clear_errors(debug):
        from conformance.targets import UsageError
        from reports import compare as comparing

        found = comparing.compare(side(first), side(second))
        if not found.matches:
            raise UsageError(f"{first} and {second} have no implementation in common")
        for line in comparing.lines(found, everything=everything):
            say(line)
        if out is not None:
            try:
                out.parent.mkdir(parents=True, exist_ok=True)
                out.write_text(comparing.render(found), encoding="utf-8")
            except OSError as error:
                raise UsageError(f"cannot write the page {out}: {error.strerror}") from error
            say(f"\nPage: {out}")
    raise typer.Exit(found.exit_code)


def side(text: str) -> "Results":
    """The results that one side stands for: all of a place, or what it has under a name."""
    import msgspec

    from conformance.history_cli import together
    from conformance.targets import UsageError, nearest

    place, _, name = text.partition("::")
    results = together([Path(place)])
    if not name:
        return results
    names = [who.name for who in results.header.implementations]
    wanted = [known for known in names if name in (known, known.rpartition("@")[2])]
    if not wanted:
        raise UsageError(f"{place} has no implementation or environment {name!r}: {nearest(name, names)}")
    header = msgspec.structs.replace(
        results.header, implementations=[who for who in results.header.implementations if who.name in wanted]
    )
    cells = [result for result in results.results if result.implementation in wanted]
    return msgspec.structs.replace(results, header=header, results=cells, agreements=[])
