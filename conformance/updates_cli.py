"""The command ``bn-conformance updates``."""

from typing import Annotated

import typer

from conformance._console import CacheFolder, Debug, EnvironmentsFile, clear_errors, say


def updates(
    env: Annotated[
        list[str] | None,
        typer.Option("--env", metavar="NAME", help="Try them in this environment (default: current). Can be repeated."),
    ] = None,
    environments: EnvironmentsFile = None,
    cache: CacheFolder = None,
    debug: Debug = False,
) -> None:
    """Tell what counts as a step: when TensorFlow's systems change their moving statistics, seen by trying.

    Exit codes: 0 every claim holds where its part exists; 1 one does not; 3 an environment could not be had.
    """
    with clear_errors(debug):
        from conformance import environments as known
        from conformance.updates import exit_code, report, tried

        listed, folder = known.read(environments), known.cache_folder(cache)
        names = listed.expand(env or [known.CURRENT])
        columns = [tried(name, listed, folder, lambda text: typer.echo(text, err=True)) for name in names]
        for line in report(columns):
            say(line)
        code = exit_code(columns)
    raise typer.Exit(code)
