"""The command ``bn-conformance bisect``."""

from pathlib import Path
from typing import Annotated

import typer

from conformance._console import CacheFolder, Debug, EnvironmentsFile, clear_errors, say


def bisect(
    file: Annotated[Path, typer.Argument(metavar="CASE", help="A case file, as written beside the results.")],
    package: Annotated[str, typer.Option(metavar="NAME", help="The package whose releases are tried.")],
    good: Annotated[str, typer.Option(metavar="VERSION", help="In which it held (default: the oldest).")] = "",
    bad: Annotated[str, typer.Option(metavar="VERSION", help="In which it fails (default: the newest).")] = "",
    with_: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="REQUIREMENT", help="Installed beside it, such as 'numpy<2'. Can be repeated."),
    ] = None,
    python: Annotated[
        str,
        typer.Option(metavar="VERSION", help="Python of the environments (default: that of the case)."),
    ] = "",
    pre: Annotated[bool, typer.Option("--pre", help="Try release candidates and nightly builds, too.")] = False,
    implementation: Annotated[
        str, typer.Option(help="Run it on this one instead of the implementation that the file names.")
    ] = "",
    path: Annotated[
        list[str] | None, typer.Option("--path", metavar="FOLDER", help="Folder to import adapters from, as for `run`.")
    ] = None,
    environments: EnvironmentsFile = None,
    cache: CacheFolder = None,
    debug: Debug = False,
) -> None:
    """Name the first release of a package in which a saved case fails, by bisection.

    Every release that is tried gets an environment of its own in the cache folder.

    Exit codes: 0 it was found; 2 a request that makes no sense; 3 it holds in all releases, fails in all, or none could
    be tried.
    """
    with clear_errors(debug):
        from conformance import bisect as bisecting
        from conformance.environments import cache_folder, read

        target = bisecting.named(file, implementation)
        given = bisecting.setting(target, package, python, with_ or [], read(environments))
        versions = bisecting.within(bisecting.releases(package, given.python, pre=pre), good, bad)
        say(f"{len(versions)} releases of {package} for Python {given.python}, with {', '.join(given.others)}")
        test = bisecting.tester(file, target, package, given, cache_folder(cache), tuple(path or ()), say)
        found = bisecting.first_bad(versions, test)
        say(f"{bisecting.conclusion(found, package, file)} ({found.tried} tried)")
    raise typer.Exit(0 if found.good and found.bad else 3)
