"""The commands of ``bn-conformance env``: list, create and remove framework environments."""

from typing import Annotated

import typer

from conformance._console import CacheFolder, Debug, EnvironmentsFile, clear_errors, say

app = typer.Typer(help="Environments with other versions of the frameworks.", no_args_is_help=True)
Names = Annotated[list[str] | None, typer.Argument(metavar="NAME...", help="Environments, or labels of several.")]


@app.command("list")
def list_(environments: EnvironmentsFile = None, cache: CacheFolder = None, debug: Debug = False) -> None:
    """List the environments, whether each is built or can be, and what it has."""
    with clear_errors(debug):
        from conformance import _env_commands
        from conformance._env_commands import Place

        _env_commands.show(Place(environments, cache), say)


@app.command("create")
def create(
    names: Names = None,
    upgrade: Annotated[bool, typer.Option("--upgrade", help="Resolve anew instead of following the lock.")] = False,
    environments: EnvironmentsFile = None,
    cache: CacheFolder = None,
    debug: Debug = False,
) -> None:
    """Build environments; exit code 3 where one could not be had, with the reason and the remedy."""
    with clear_errors(debug):
        from conformance import _env_commands
        from conformance._env_commands import Place

        code = _env_commands.create(names or [], Place(environments, cache), say, upgrade=upgrade)
    raise typer.Exit(code)


@app.command("remove")
def remove(
    names: Names = None,
    environments: EnvironmentsFile = None,
    cache: CacheFolder = None,
    debug: Debug = False,
) -> None:
    """Delete environments and their locks."""
    with clear_errors(debug):
        from conformance import _env_commands
        from conformance._env_commands import Place

        _env_commands.remove(names or [], Place(environments, cache), say)
