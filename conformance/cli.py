"""The command line: ``bn-conformance run``, ``list``, ``replay`` and ``report``."""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from conformance.plan import PROFILES, Plan, ProfileName, UsageError, known_names, resolve, select, sorted_catalogue

app = typer.Typer(
    name="bn-conformance",
    help="Check implementations of batch normalization against one precise definition.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ANNOUNCED = ("numpy", "tf_graph", "keras", "torch")
Debug = Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.")]
PathOption = Annotated[
    list[str] | None,
    typer.Option("--path", help="Folder to import adapters from (default: the current one). Can be repeated."),
]


@app.command()
def run(
    implementations: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IMPLEMENTATION]...",
            help="Names (see `list`), or adapter classes: package.module:Class or path/to/file.py:Class. "
            f"Default: {' '.join(ANNOUNCED)}.",
        ),
    ] = None,
    profile: Annotated[ProfileName, typer.Option(help="How many cases are run.")] = "default",
    out: Annotated[Path, typer.Option(help="Folder for the results, the report and the failing cases.")] = Path(
        "results"
    ),
    keyword: Annotated[
        str, typer.Option("-k", metavar="EXPR", help="Requirements to run, as for pytest: 'BN-1 and not shift'.")
    ] = "",
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the cases (default: 1; with nightly a fresh one).")
    ] = None,
    workers: Annotated[int, typer.Option("-n", min=1, metavar="WORKERS", help="Worker processes.")] = 1,
    in_process: Annotated[
        bool, typer.Option("--in-process", help="Run adapters in this process, for a debugger.")
    ] = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failure.")] = False,
    path: PathOption = None,
    debug: Debug = False,
) -> None:
    """Run the requirements on implementations; write results and report.

    Exit codes: 0 all pass, deviate as declared or are unsupported; 1 something fails; 2 a request that makes no sense;
    3 something could not be judged, or the run ended early.
    """
    from conformance import runner
    from conformance.known_failures import read as read_known
    from conformance.progress import watch

    with _clear_errors(debug):
        targets = resolve(tuple(implementations or ANNOUNCED))
        requirements = tuple(r.id for r in sorted_catalogue())
        if keyword:
            targets, requirements = select(keyword, targets)
        if in_process and workers > 1:
            raise UsageError("--in-process runs everything in this process: it cannot be combined with -n")
        _make_writable(out)
        chosen = PROFILES[profile]
        number = _seed(profile, seed)
        known = read_known(Path("known_failures.toml"))
        pools, seconds = runner.draw_pools(requirements, number, chosen.cases)
        plan = Plan(
            targets, requirements, pools, out, known, chosen.explaining, in_process, fail_fast, tuple(path or ())
        )
        head = runner.header(targets, requirements, profile, number, chosen.cases)
        with watch() as tell:
            results = runner.run(plan, head, seconds, workers, tell)
        code = _conclude([out / runner.FILE_NAME], out / "report.html", results)
    raise typer.Exit(code)


def _seed(profile: str, seed: int | None) -> int:
    import secrets

    if seed is not None:
        return seed
    return secrets.randbelow(2**31) if profile == "nightly" else 1


def _make_writable(folder: Path) -> None:
    probe = folder / ".writable"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(f"cannot write to the output folder {folder}: {error.strerror}") from error


def _conclude(files: list[Path], page: Path, results: object) -> int:
    """Write the report, print the verdict, and return the exit code."""
    from conformance.progress import summary
    from reports.html import render
    from reports.records import Results
    from reports.verdict import verdict

    assert isinstance(results, Results)
    page.write_text(render(results), encoding="utf-8")
    found = verdict(results)
    for line in summary(results, found):
        typer.echo(line)
    typer.echo(f"\nResults: {', '.join(str(f) for f in files)}\nReport:  {page}")
    return found.exit_code


@app.command("list")
def list_(debug: Debug = False) -> None:
    """List the implementations, whether each can run here, and the requirements."""
    from adapters.registry import GROUPS, REGISTRY
    from conformance.strategies import FAMILIES

    with _clear_errors(debug):
        typer.echo("Implementations")
        for target, entry in zip(resolve(tuple(e.name for e in REGISTRY)), REGISTRY, strict=True):
            typer.echo(f"  {entry.name:16} {entry.summary}")
            if target.missing:
                typer.echo(f"  {'':16} not available: {target.missing}")
        for name, members in GROUPS.items():
            typer.echo(f"  {name:16} all of {', '.join(members)}")
        family = 0
        for requirement in sorted_catalogue():
            if requirement.family != family:
                family = requirement.family
                typer.echo(f"\n{family}xx {FAMILIES[family].title}")
            typer.echo(f"  {requirement.id}  {requirement.claim}")


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="A case file, as written beside the results.")],
    implementation: Annotated[
        str, typer.Option(help="Run it on this one instead of the implementation that the file names.")
    ] = "",
    in_process: Annotated[bool, typer.Option("--in-process", help="Run the adapter in this process.")] = False,
    path: PathOption = None,
    debug: Debug = False,
) -> None:
    """Run a saved case again and judge it by every requirement of its family."""
    from conformance.replay import replay_file

    with _clear_errors(debug):
        code = replay_file(file, implementation, in_process=in_process, path=tuple(path or ()), say=typer.echo)
    raise typer.Exit(code)


@app.command()
def report(
    results: Annotated[list[Path], typer.Argument(metavar="RESULTS...", help="Results files; several are merged.")],
    out: Annotated[Path, typer.Option("-o", metavar="FILE", help="The page to write.")] = Path("report.html"),
    debug: Debug = False,
) -> None:
    """Make one HTML report from results files."""
    from reports.store import merge, read

    with _clear_errors(debug):
        parts = [read(file) for file in results]
        _make_writable(out.parent)
        code = _conclude(results, out, merge(parts) if len(parts) > 1 else parts[0])
    raise typer.Exit(code)


class _clear_errors:  # noqa: N801 - reads as a statement
    """Turns the errors that users can cause into one message and an exit code, unless they asked for the traceback."""

    def __init__(self, debug: bool) -> None:
        self.debug = debug

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is None or self.debug:
            return
        from conformance.case import CaseError
        from conformance.known_failures import KnownFailureError
        from conformance.session import SessionError
        from reports.store import ResultsError

        if isinstance(error, UsageError | CaseError | KnownFailureError | ResultsError):
            _fail(str(error), 2)
        if isinstance(error, SessionError):
            _fail(str(error), 3)


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(f"bn-conformance: {message}", err=True)
    raise typer.Exit(code)


def main() -> None:
    """Run the command line."""
    # Output that a pipe's reader no longer wants is no error of the run.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    app()


__all__ = ["app", "known_names", "main"]
