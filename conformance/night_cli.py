"""The commands ``bn-conformance night``, ``summary`` and ``badge``, and how all commands on nights come to be there."""

import signal
from pathlib import Path
from typing import Annotated, Literal

import typer

from conformance import bisect_cli, compare_cli, history_cli
from conformance._console import CacheFolder, Debug, EnvironmentsFile, clear_errors, say
from conformance.history_cli import HistoryFolder

Files = Annotated[list[Path], typer.Argument(metavar="RESULTS...", help="Results files, or folders of runs.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the suite's."""
    app.command()(night)
    app.command()(summary)
    app.command()(badge)
    app.add_typer(history_cli.app, name="history")
    app.command()(compare_cli.compare)
    app.command()(bisect_cli.bisect)


def night(
    implementations: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMPLEMENTATION]...", help="As for `run`. Default: all that each environment has."),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(
            "--env", metavar="NAME", help="Environments or labels (default: current and all listed). Can be repeated."
        ),
    ] = None,
    profile: Annotated[
        Literal["quick", "default", "nightly"], typer.Option(help="How many cases are run.")
    ] = "nightly",
    cases: Annotated[int | None, typer.Option(min=1, metavar="N", help="Cases per family, for the profile's.")] = None,
    keyword: Annotated[str, typer.Option("-k", metavar="EXPR", help="Requirements to run, as for `run`.")] = "",
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the cases (default: a fresh one).")] = None,
    workers: Annotated[int, typer.Option("-n", min=1, metavar="WORKERS", help="Worker processes.")] = 1,
    path: Annotated[
        list[str] | None, typer.Option("--path", metavar="FOLDER", help="Folder to import adapters from, as for `run`.")
    ] = None,
    minutes: Annotated[
        float, typer.Option(min=0, metavar="M", help="End after that long, with what there is then; 0: no limit.")
    ] = 0.0,
    nights: Annotated[
        int, typer.Option("--keep", min=0, metavar="N", help="Keep the last N nights in the history; 0: all.")
    ] = 0,
    history: HistoryFolder = Path("history"),
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder for page, summary, issue and badge, and the runs.")
    ] = Path("results/night"),
    environments: EnvironmentsFile = None,
    cache: CacheFolder = None,
    debug: Debug = False,
) -> None:
    """Run all environments with a fresh seed, and tell what changed since the nights before.

    Exit codes: 0 nothing newly fails; 1 something does; 2 a request that makes no sense; 3 nothing could be judged.
    """
    with clear_errors(debug):
        from conformance import night as running
        from conformance._console import ANNOUNCED
        from conformance.environments import read

        own = running.work(implementations or [], env or [], ANNOUNCED, read(environments))
        options = ["--profile", profile, "--seed", str(running.seed() if seed is None else seed), "-n", str(workers)]
        options += ["-k", keyword] if keyword else []
        options += ["--cases", str(cases)] if cases is not None else []
        options += [f"--path={folder}" for folder in path or ()]
        order = running.Order(history, out, own, tuple(options), environments, cache, minutes, nights)
        for number in (signal.SIGINT, signal.SIGTERM):
            # A night that is cancelled tells what there is, also one in the background, where SIGINT is ignored.
            signal.signal(number, signal.default_int_handler)
        found = running.run_night(order, lambda text: typer.echo(text, err=True))
        _tell(found.exit_code, out)
    raise typer.Exit(found.exit_code)


def _tell(code: int, out: Path) -> None:
    say((out / "summary.md").read_text(encoding="utf-8"))
    say(f"Page:    {out / 'nightly.html'}\nSummary: {out / 'summary.md'}")
    if code == 1:
        say(f"Issue:   {out / 'issue.md'}")


def summary(
    results: Files,
    out: Annotated[Path | None, typer.Option("-o", metavar="FILE", help="Write it there instead of printing.")] = None,
    debug: Debug = False,
) -> None:
    """Write a run's verdict, tally and failures as Markdown of at most 20 kB, as for the summary of a CI step."""
    with clear_errors(debug):
        from conformance.history_cli import together
        from reports.summary import summary as text

        _put(text(together(results)), out)


def badge(
    results: Files,
    out: Annotated[Path | None, typer.Option("-o", metavar="FILE", help="Write it there instead of printing.")] = None,
    debug: Debug = False,
) -> None:
    """Write the JSON of a badge, in the format of shields.io's endpoint."""
    with clear_errors(debug):
        from conformance.history_cli import together
        from reports.summary import badge as made
        from reports.verdict import verdict

        _put(made(verdict(together(results))), out)


def _put(text: str, out: Path | None) -> None:
    from conformance.targets import UsageError

    if out is None:
        say(text.rstrip("\n"))
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}") from error
