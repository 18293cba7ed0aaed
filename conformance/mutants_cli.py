"""The command ``bn-conformance mutants``: runs the zoo and tells which faults were caught, by what and how soon."""

import datetime as dt
import itertools
import math
import os
import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from conformance._console import Debug, clear_errors, fail, say

if TYPE_CHECKING:
    from conformance.mutants import Options, Subject
    from conformance.plan import ProfileName
    from reports.mutant_records import Exhibit, Mutants, MutantsHeader

FILE_NAME, PAGE_NAME = "mutants.jsonl", "mutants.html"


def mutants(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Exhibits, or themes such as `moving`. Default: the whole zoo."),
    ] = None,
    profile: Annotated[Literal["quick", "default", "nightly"], typer.Option(help="How many cases are run.")] = "quick",
    cases: Annotated[int | None, typer.Option(min=1, metavar="N", help="Cases per family, for the profile's.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the cases.")] = 1,
    workers: Annotated[int, typer.Option("-n", min=1, metavar="WORKERS", help="Worker processes.")] = 1,
    faults_only: Annotated[bool, typer.Option("--faults-only", help="Leave out the correct variants.")] = False,
    variants_only: Annotated[bool, typer.Option("--variants-only", help="Leave out the faults.")] = False,
    whole: Annotated[
        bool, typer.Option("--whole", help="Run all cases on every fault, even when all that name it have caught it.")
    ] = False,
    mechanical: Annotated[
        bool,
        typer.Option("--mechanical", help="Run all small changes of the reference's source instead of the zoo."),
    ] = False,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help=f"Folder for {FILE_NAME} and {PAGE_NAME}.")] = None,
    debug: Debug = False,
) -> None:
    """Run the shipped zoo: faulty implementations, which must be caught, and correct ones, which must not be flagged.

    Exit codes: 0 no fault survives and no correct variant is flagged; 1 otherwise; 2 a request that makes no sense.
    Mechanical mutants may be equivalent to the reference: they may survive (see docs/mutation.md).
    """
    # Small matrices: several threads would only wait for each other.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with clear_errors(debug):
        if faults_only and variants_only:
            fail("--faults-only and --variants-only leave nothing", 2)
        from conformance.mutants import Options
        from conformance.plan import PROFILES
        from reports.mutant_records import exit_code

        if out is not None:
            _make(out)
        options = Options(seen=1, whole=whole, mechanical=True) if mechanical else Options(whole=whole)
        with tempfile.TemporaryDirectory(prefix="bn-mutants-") as folder:
            if mechanical:
                subjects = mutated(names or [], Path(folder))
            else:
                subjects = chosen(names or [], faults=not variants_only, variants=not faults_only)
            head = _header(profile, seed, cases or PROFILES[profile].cases, options, subjects)
            found = run(subjects, head, options, workers)
        for line in summary(found):
            say(line)
        if out is not None:
            _write(found, out)
        code = 0 if mechanical else exit_code(found.exhibits)
    raise typer.Exit(code)


def chosen(names: list[str], *, faults: bool, variants: bool) -> "list[Subject]":
    """The exhibits of these names and themes; raises UsageError for what is neither."""
    from conformance.mutants import zoo
    from conformance.targets import UsageError, nearest

    subjects = zoo(faults=faults, variants=variants)
    known = [s.name for s in subjects] + sorted({s.theme for s in subjects})
    for name in names:
        if name not in known:
            raise UsageError(f"no exhibit or theme of the zoo is called {name!r}: {nearest(name, known)}")
    return [s for s in subjects if not names or s.name in names or s.theme in names]


def mutated(kinds: list[str], folder: Path) -> "list[Subject]":
    """The mechanical mutants of these kinds, written into a folder; raises UsageError for what is no kind."""
    from conformance.mechanical import subjects
    from conformance.targets import UsageError, nearest

    made = subjects(folder)
    known = sorted({s.theme for s in made})
    for kind in kinds:
        if kind not in known:
            raise UsageError(f"no kind of change is called {kind!r}: {nearest(kind, known)}")
    return [s for s in made if not kinds or s.theme in kinds]


def _header(
    profile: "ProfileName", seed: int, cases: int, options: "Options", subjects: "list[Subject]"
) -> "MutantsHeader":
    from conformance._header import environment, requirement_info, suite_version
    from conformance.plan import sorted_catalogue
    from conformance.training_mutants import is_trained, requirements
    from reports.mutant_records import MutantsHeader

    trained = requirements() if any(map(is_trained, subjects)) else []
    return MutantsHeader(
        started=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        suite_version=suite_version(),
        profile=profile,
        seed=seed,
        cases_per_family=cases,
        seen=cases if options.whole else min(options.seen, cases),
        requirements=[*(requirement_info(r.id) for r in sorted_catalogue()), *trained],
        environment=environment(),
        command=shlex.join(["bn-conformance", *sys.argv[1:]]),
    )


def run(subjects: "list[Subject]", head: "MutantsHeader", options: "Options", workers: int) -> "Mutants":
    """Draw the cases and put the subjects to the test, telling standard error how far that is."""
    from conformance.families import FAMILIES
    from conformance.mechanical import otherwise
    from conformance.mutants import judge_all
    from conformance.pool import draw
    from conformance.training_mutants import is_trained, judge_training
    from reports.mutant_records import Mutants, MutantsFooter, exit_code

    started = time.perf_counter()
    trained = [subject for subject in subjects if is_trained(subject)]
    others = [subject for subject in subjects if not is_trained(subject)]
    numbers = FAMILIES if others else {}
    pools = {number: draw(number, head.seed, f.count(head.cases_per_family)) for number, f in numbers.items()}
    drawing = time.perf_counter() - started
    exhibits: list[Exhibit] = []
    blocks = (judge_all(others, pools, options, workers), ([exhibit] for exhibit in judge_training(trained, options)))
    for block in itertools.chain(*blocks):
        exhibits += block
        passed = time.perf_counter() - started
        print(f"{passed:6.1f} s  {len(exhibits)} of {len(subjects)} exhibits", file=sys.stderr, flush=True)
    if options.mechanical:
        survivors = {exhibit.name for exhibit in exhibits if exhibit.fate == "survivor"}
        again = [otherwise(subject) for subject in subjects if subject.name in survivors]
        caught = {e.name: e for block in judge_all(again, pools, options, workers) for e in block if e.kills}
        exhibits = [caught.get(exhibit.name, exhibit) for exhibit in exhibits]
    order = {subject.name: place for place, subject in enumerate(subjects)}
    exhibits.sort(key=lambda exhibit: order[exhibit.name])
    footer = MutantsFooter(
        seconds=round(time.perf_counter() - started, 1),
        drawing=round(drawing, 1),
        workers=workers,
        exit_code=exit_code(exhibits),
    )
    return Mutants(header=head, exhibits=exhibits, footer=footer)


def summary(found: "Mutants") -> list[str]:
    """What the terminal shows: themes, kill matrix, what got away, the verdict."""
    from reports.mutant_records import WRONG
    from reports.mutants import by_theme, closest, sentence

    head = ("theme", "caught", "elsewhere", "survive", "pass", "flagged", "median s to kill")
    rows = [
        (
            theme,
            *(str(fates[f] or "-") for f in ("caught", "caught elsewhere", "survivor", "passes", "false alarm")),
            "-" if math.isnan(seconds) else f"{seconds:.2f}",
        )
        for theme, fates, seconds in by_theme(found.exhibits)
    ]
    widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) for row in [head, *rows]]
    lines.append("")
    lines += [_kills(exhibit) for exhibit in found.exhibits if exhibit.faulty and exhibit.fate != "survivor"]
    open_ = [e for e in found.exhibits if e.fate in WRONG or e.fate == "caught elsewhere"]
    lines += ["", *(_away(exhibit) for exhibit in open_)] if open_ else []
    near = closest(found.exhibits)
    lines += (
        ["", *(f"closest to its bound: {c.quantity} {c.ratio:.2f}, {c.name}, {c.requirement}" for c in near)]
        if near
        else []
    )
    cases = sum(exhibit.cases for exhibit in found.exhibits)
    checks = sum(exhibit.checks for exhibit in found.exhibits)
    work = f"{cases} cases, {checks} requirement checks in {found.footer.seconds:.1f} s."
    return [*lines, "", sentence(found) + ".", work]


def _kills(exhibit: "Exhibit") -> str:
    """One row of the matrix: seconds to the first kill and the killers, those that name the fault with a star."""
    first = exhibit.kills[0]
    killers = (k.requirement.removeprefix("BN-") + "*" * (k.requirement in exhibit.named) for k in exhibit.kills)
    return f"{exhibit.name:40} {first.seconds:6.2f} s, case {first.cases:3}: {' '.join(sorted(killers))}"


def _away(exhibit: "Exhibit") -> str:
    failed = f"; failed {', '.join(kill.requirement for kill in exhibit.kills)}" if exhibit.kills else ""
    named = f"; named by {', '.join(exhibit.named)}" if exhibit.named else ""
    return f"{exhibit.fate}: {exhibit.name} ({exhibit.theme}). {exhibit.description}{named}{failed}"


def _make(folder: Path) -> None:
    from conformance.targets import UsageError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write to the output folder {folder}: {error.strerror}") from error


def _write(found: "Mutants", folder: Path) -> None:
    from reports.mutant_records import write
    from reports.mutants import render

    write(found, folder / FILE_NAME)
    (folder / PAGE_NAME).write_text(render(found), encoding="utf-8")
    say(f"\nRecords: {folder / FILE_NAME}\nPage:    {folder / PAGE_NAME}")
