"""The command ``bn-conformance scenarios``: trains networks, checks family 9xx and draws its figures."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from conformance._console import (
    CacheFolder,
    Debug,
    EnvironmentsFile,
    InProcess,
    PathOption,
    PythonOption,
    clear_errors,
    make_writable,
    ready,
    say,
)

if TYPE_CHECKING:
    from conformance.scenarios.running import Tell

ANNOUNCED = ("numpy", "tf_graph", "keras", "torch")


def scenarios(
    implementation: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help=f"A name, or an adapter class, as for `run`. Can be repeated. Default: {' '.join(ANNOUNCED)}.",
        ),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", metavar="NAME", help="Run in this environment, as for `run`. Can be repeated."),
    ] = None,
    profile: Annotated[
        Literal["quick", "default"], typer.Option(help="How long networks are trained, and from how many seeds.")
    ] = "default",
    mnist: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of MNIST's four IDX files. Default: scikit-learn's digits."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for results, figures and the report.")] = Path(
        "scenarios"
    ),
    path: PathOption = None,
    python: PythonOption = "",
    in_process: InProcess = False,
    environments: EnvironmentsFile = None,
    cache: CacheFolder = None,
    debug: Debug = False,
) -> None:
    """Train small networks around implementations: trajectories, evaluation, and the traps of wrong use, with figures.

    Exit codes: 0 all pass or are unsupported; 1 something fails; 2 a request that makes no sense; 3 something could not
    be judged.
    """
    # Small matrices: several threads would only wait for each other.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with clear_errors(debug):
        from conformance import known_failures
        from conformance.environments import read as listed
        from conformance.environments import spread
        from conformance.plan import check_known
        from conformance.scenarios import data, running
        from conformance.targets import resolve, told
        from reports.html import render
        from reports.verdict import verdict

        names = implementation or []
        chosen = spread(names, env, ANNOUNCED, listed(environments)) if env else tuple(names or ANNOUNCED)
        targets = ready(told(resolve(chosen), python), in_process, environments, cache)
        samples = data.mnist(mnist) if mnist else data.digits()
        file = known_failures.default_file()
        known = known_failures.read(file)
        check_known(known, file)
        make_writable(out)
        request = running.Request(targets, samples, profile, tuple(path or ()), in_process, known)
        with _progress(len(targets) * running.count(profile)) as tell:
            found = running.run(request, out, tell)
        page = out / "report.html"
        page.write_text(render(found.results, found.figures), encoding="utf-8")
        judgement = verdict(found.results)
        for line in running.summary(found.results):
            say(line)
        say(f"\n{judgement.sentence}\n{judgement.say}")
        say(f"\nResults: {found.results_file}\nFigures: {found.figures_file}\nReport:  {page}")
        code = judgement.exit_code
    raise typer.Exit(code)


@contextlib.contextmanager
def _progress(total: int) -> Iterator["Tell"]:
    """A bar on a terminal, plain lines elsewhere."""
    if not sys.stderr.isatty():
        started = time.perf_counter()

        def plain(doing: str, _: int) -> None:
            # Whoever read the progress may have gone: the run goes on.
            with contextlib.suppress(BrokenPipeError):
                if doing:
                    print(f"{time.perf_counter() - started:6.1f} s  {doing}", file=sys.stderr, flush=True)

        yield plain
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)

        def tell(doing: str, done: int) -> None:
            bar.update(task, advance=done, description=doing or None)

        yield tell
