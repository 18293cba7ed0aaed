"""The command line: ``bn-conformance run``, ``list``, ``replay`` and ``report``.

What a command needs beyond its options is imported when it runs, so that help and mistakes are answered at once.
"""

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from conformance import (
    checkpoints_cli,
    conventions_cli,
    env_cli,
    list_cli,
    mutants_cli,
    new_adapter,
    night_cli,
    porting_cli,
    scenarios_cli,
    updates_cli,
    vectors_cli,
)
from conformance._console import (
    ANNOUNCED,
    CacheFolder,
    Debug,
    DeviceOption,
    EnvironmentsFile,
    Implementations,
    InProcess,
    KeptCases,
    MapOption,
    OnlyOption,
    PathOption,
    PythonOption,
)
from conformance._console import clear_errors as _clear_errors
from conformance._console import fail as _fail
from conformance._console import make_writable as _make_writable
from conformance._console import ready as _ready
from conformance._console import say as _say
from conformance._console import version as _version

if TYPE_CHECKING:
    from conformance.plan import Plan
    from conformance.targets import Target
    from reports.records import Results

app = typer.Typer(
    name="bn-conformance",
    help="Check implementations of batch normalization against one precise definition.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.callback()(_version)
app.add_typer(env_cli.app, name="env")
app.command()(conventions_cli.conventions)
app.command()(mutants_cli.mutants)
app.command("new-adapter")(new_adapter.new_adapter)
app.command("list")(list_cli.list_)
app.command()(vectors_cli.export_vectors)
app.command()(scenarios_cli.scenarios)
app.command()(updates_cli.updates)
app.command()(porting_cli.porting)
app.command()(checkpoints_cli.checkpoints)
night_cli.add_to(app)


@app.command()
def run(
    implementations: Implementations = None,
    env: Annotated[
        list[str] | None,
        typer.Option(
            "--env",
            metavar="NAME",
            help="Run in this environment (see `env list`), built where need be; 'current' is this one. Can be "
            "repeated. Without names, all implementations that it has. NAME@ENV names one in one environment.",
        ),
    ] = None,
    profile: Annotated[
        Literal["quick", "default", "nightly"],
        typer.Option(help="How many cases are run, and how long failures may be shrunk."),
    ] = "default",
    cases: Annotated[int | None, typer.Option(min=1, metavar="N", help="Cases per family, for the profile's.")] = None,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder for the results, the report and the failing cases.")
    ] = Path("results"),
    keyword: Annotated[
        str, typer.Option("-k", metavar="EXPR", help="Requirements to run, as for pytest: 'BN-1 and not shift'.")
    ] = "",
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the cases (default: 1; with nightly a fresh one).")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "-n",
            min=1,
            metavar="WORKERS",
            help="Worker processes. Default: one per processor, 4 at most; one where there is little to do.",
        ),
    ] = None,
    threads: Annotated[
        int, typer.Option(min=1, metavar="N", help="Threads that the implementation's libraries may use.")
    ] = 1,
    kept: KeptCases = None,
    in_process: InProcess = False,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first failure that is not a known one.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="Time for a call; three times that for a first one.")
    ] = 20.0,
    path: PathOption = None,
    map_: MapOption = None,
    python: PythonOption = "",
    device: DeviceOption = "",
    environments: EnvironmentsFile = None,
    cache: CacheFolder = None,
    debug: Debug = False,
) -> None:
    """Run the requirements on implementations; write results and report.

    Exit codes: 0 all pass, deviate as declared or are unsupported; 1 something fails; 2 a request that makes no sense;
    3 something could not be judged, or the run ended early.
    """
    with _clear_errors(debug):
        from conformance import runner
        from conformance.conversation import Timeouts
        from conformance.plan import PROFILES, SHORT_EXPLAINING
        from conformance.progress import watch
        from conformance.sampling import with_kin
        from conformance.targets import told
        from conformance.workers import fitting_workers

        if in_process and workers and workers > 1:
            _fail("--in-process runs everything in this process: it cannot be combined with -n", 2)
        if in_process and python:
            _fail("--in-process runs everything in this process: it cannot be combined with --python", 2)
        names = _spread(implementations or [], env or [], environments)
        plan = _plan(names, keyword, out)
        ready = _ready(told(plan.targets, python, map_ or (), device), in_process, environments, cache)
        plan = plan._replace(
            targets=with_kin(ready) if PROFILES[profile].samples and cases is None and not fail_fast else ready,
            explaining=SHORT_EXPLAINING if fail_fast else PROFILES[profile].explaining,
            sought=PROFILES[profile].sought if cases is None else 0,
            kept=kept,
            in_process=in_process,
            threads=threads,
            fail_fast=fail_fast,
            path=tuple(path or ()),
            timeouts=Timeouts(first=3 * timeout, later=timeout),
        )
        head = runner.header(plan, profile, _seed(profile, seed), cases or PROFILES[profile].cases)
        with watch() as tell:
            results = runner.run(plan, head, workers or fitting_workers(plan, head.cases_per_family), tell)
        code = _conclude([out / runner.FILE_NAME], out / "report.html", results, debug)
    raise typer.Exit(code)


def _plan(names: tuple[str, ...], keyword: str, out: Path) -> "Plan":
    """Check a request as far as that is possible without running anything."""
    from conformance import known_failures
    from conformance.plan import Plan, check_known, select, sorted_catalogue
    from conformance.targets import resolve

    targets = resolve(names)
    requirements = tuple(r.id for r in sorted_catalogue())
    if keyword:
        targets, requirements = select(keyword, targets)
    file = known_failures.default_file()
    known = known_failures.read(file)
    check_known(known, file)
    _make_writable(out)
    return Plan(targets, requirements, {}, out, known)


def _spread(implementations: list[str], env: list[str], file: Path | None) -> tuple[str, ...]:
    """The names to run, each with its environment."""
    if not env:
        return tuple(implementations or ANNOUNCED)
    from conformance.environments import read, spread

    return spread(implementations, env, ANNOUNCED, read(file))


def _seed(profile: str, seed: int | None) -> int:
    import secrets

    if seed is not None:
        return seed
    return secrets.randbelow(2**31) if profile == "nightly" else 1


def _conclude(files: list[Path], page: Path, results: "Results", debug: bool) -> int:
    """Write the report, print the verdict, and return the exit code."""
    from conformance.progress import summary
    from conformance.targets import UsageError
    from reports.html import render
    from reports.scenario_records import beside
    from reports.verdict import verdict

    try:
        page.write_text(render(results, beside(files)), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write the report {page}: {error.strerror}") from error
    found = verdict(results)
    for line in summary(results, found, whole=debug):
        _say(line)
    _say(f"\nResults: {', '.join(str(f) for f in files)}\nReport:  {page}")
    return found.exit_code


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A case file, as written beside the results.")],
    implementation: Annotated[
        str, typer.Option(help="Run it on this one instead of the implementation that the file names.")
    ] = "",
    shrink: Annotated[
        bool, typer.Option("--shrink", help="Look for a smaller case that still fails, and save it beside FILE.")
    ] = False,
    in_process: InProcess = False,
    path: PathOption = None,
    map_: MapOption = None,
    python: PythonOption = "",
    device: DeviceOption = "",
    environments: EnvironmentsFile = None,
    cache: CacheFolder = None,
    debug: Debug = False,
) -> None:
    """Run a saved case again and judge it by every requirement of its family.

    Exit codes: 0 all hold; 1 something fails; 2 no such file or implementation; 3 nothing could be judged.
    """
    with _clear_errors(debug):
        from conformance.replay import replay_file
        from conformance.targets import told

        def ready(targets: tuple["Target", ...]) -> tuple["Target", ...]:
            return _ready(told(targets, python, map_ or (), device), in_process, environments, cache)

        code = replay_file(
            file, implementation, ready, in_process=in_process, path=tuple(path or ()), say=_say, smaller=shrink
        )
    raise typer.Exit(code)


@app.command()
def report(
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULTS...", help="Results files, or folders of runs; several are merged."),
    ],
    out: Annotated[Path, typer.Option("-o", metavar="FILE", help="The page to write.")] = Path("report.html"),
    only: OnlyOption = None,
    debug: Debug = False,
) -> None:
    """Make one HTML report from results files; the exit code is that of the run or runs."""
    with _clear_errors(debug):
        from conformance.environments import results_below
        from reports import selection
        from reports.store import merge, read

        results = [file for place in results for file in results_below(place)]
        if any(out.resolve() == file.resolve() for file in results):
            _fail(f"the report would overwrite the results file {out}", 2)
        parts = [read(file) for file in results]
        _make_writable(out.parent)
        whole = merge(parts) if len(parts) > 1 else parts[0]
        code = _conclude(results, out, selection.only(whole, only) if only else whole, debug)
    raise typer.Exit(code)


def _make_printable() -> None:
    """Let output hold γ and σ: as UTF-8 where the locale is plain C, and escaped where the encoding lacks them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            ascii_only = stream.encoding.lower().replace("_", "-") in ("ascii", "us-ascii", "ansi-x3.4-1968")
            stream.reconfigure(encoding="utf-8" if ascii_only else stream.encoding, errors="backslashreplace")


def main() -> None:
    """Run the command line."""
    _make_printable()
    try:
        app()
    finally:
        # Progress that its reader did not wait for would make Python end with an error of its own.
        try:
            sys.stderr.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
