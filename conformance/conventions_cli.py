"""The command ``bn-conformance conventions``: what implementations declare beside what they were seen to do."""

from typing import TYPE_CHECKING, Annotated

import typer

from conformance._console import (
    CacheFolder,
    Debug,
    DeviceOption,
    EnvironmentsFile,
    InProcess,
    MapOption,
    PathOption,
    PythonOption,
    clear_errors,
    ready,
    say,
)

if TYPE_CHECKING:
    from conformance.measured import Row
    from conformance.session import Session

Names = Annotated[
    list[str],
    typer.Argument(
        metavar="IMPLEMENTATION...",
        help="Names (see `list`), adapter classes (package.module:Class or path/to/file.py:Class) or code without "
        "an adapter; NAME@ENV names one in an environment.",
    ),
]
#: Characters of what was observed that a line of the table holds.
LONGEST = 72
MARKS = {True: "=", False: "≠", None: "?"}


def conventions(
    implementations: Names,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    in_process: InProcess = False,
    path: PathOption = None,
    map_: MapOption = None,
    python: PythonOption = "",
    device: DeviceOption = "",
    environments: EnvironmentsFile = None,
    cache: CacheFolder = None,
    debug: Debug = False,
) -> None:
    """Measure the conventions of implementations, and print them beside the declared ones.

    Each is measured from results alone, on every rank and element type that is declared, and shown where it differs:
    the estimator of the moving variance, the meaning and type of decay, the floor of ε, what happens at m = 1 and with
    an empty batch, the types of arithmetic and statistics, when the statistics change, what a frozen layer does, and
    the grades of accuracy. "=" agrees, "≠" contradicts, "?" cannot be told, and the reason is there.

    Exit codes: 0 all that can be told is as declared; 1 something contradicts its declaration; 2 no such
    implementation; 3 it cannot be run.
    """
    with clear_errors(debug):
        from conformance.introduction import meet
        from conformance.measured import measure
        from conformance.targets import resolve, told

        targets = told(resolve(implementations), python, map_ or (), device)
        found = []
        for target in ready(targets, in_process, environments, cache):
            with meet(target, path=tuple(path or ()), in_process=in_process, smoked=False) as session:
                rows = measure(session)
                found.append((target.name, session, rows))
                if not json:
                    _print(target.name, session, rows)
        if json:
            _dump(found)
    raise typer.Exit(int(any(row.agrees is False for _, _, rows in found for row in rows)))


def _print(name: str, session: "Session", rows: "list[Row]") -> None:
    who = session.description
    say(f"{name}: {who.framework} {who.version}, Python {session.details.get('python', '')}\n")
    table = [("convention", "declared", "", "observed", "where")]
    title = ""
    for row in rows:
        shown = "" if row.title == title else row.title
        title = row.title
        observed = row.observed if len(row.observed) <= LONGEST else row.observed[: LONGEST - 1] + "…"
        table.append((shown, row.declared, MARKS[row.agrees], observed, row.where))
    widths = [max(len(line[column]) for line in table) for column in range(4)]
    for line in table:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=False))
        say("  " + "  ".join([*cells, line[4]]).rstrip())
    wrong = [row for row in rows if row.agrees is False]
    say("")
    for row in wrong:
        say(f"  {row.message}" + (f" ({row.where})" if row.where else ""))
    if wrong:
        say("")


def _dump(found: "list[tuple[str, Session, list[Row]]]") -> None:
    import msgspec

    records = [
        {
            "implementation": name,
            "framework": session.description.framework,
            "version": session.description.version,
            "conventions": [row._asdict() for row in rows],
        }
        for name, session, rows in found
    ]
    say(msgspec.json.format(msgspec.json.encode(records), indent=1).decode())
