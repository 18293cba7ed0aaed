"""What all commands share: options, messages, and errors that become one line and an exit code."""

import functools
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from conformance.targets import Target

#: What is run where nothing is named.
ANNOUNCED = ("numpy", "tf_graph", "keras", "torch")

Implementations = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[IMPLEMENTATION]...",
        help="Names (see `list`); code that needs no adapter: torch:package.module:Class, torch:path/to/file.py:Class, "
        "torch-function:...:function, keras:...:Class, jax:...:function, numpy:...:Class, onnx:model.onnx, "
        "'cmd:PROGRAM ARGUMENTS'; or adapter classes: package.module:Class or path/to/file.py:Class. "
        f"Default: {' '.join(ANNOUNCED)}.",
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.")]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Show this implementation only, in all its environments; can be repeated."),
]
PathOption = Annotated[
    list[str] | None,
    typer.Option(
        "--path",
        metavar="FOLDER",
        help="Folder to import adapters from (default: the current one; for a file its own). Can be repeated.",
    ),
]
EnvironmentsFile = Annotated[
    Path | None,
    typer.Option(
        "--environments",
        metavar="FILE",
        help="List of environments (default: environments.toml here, else the suite's own).",
    ),
]
CacheFolder = Annotated[
    Path | None,
    typer.Option("--cache", metavar="FOLDER", help="Where environments are kept (default: the user's cache folder)."),
]
MapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="NAME=MEANING",
        help="For code without an adapter: what an argument or attribute stands for (eps=epsilon, momentum=decay), or "
        "its value (groups=4). Can be repeated.",
    ),
]
PythonOption = Annotated[
    str,
    typer.Option(
        "--python",
        metavar="PATH",
        help="Run them under this interpreter, which needs NumPy beside what they need.",
    ),
]
DeviceOption = Annotated[
    str, typer.Option("--device", metavar="DEVICE", help="Device for adapters that can be told one, such as cuda.")
]
KeptCases = Annotated[
    Path | None,
    typer.Option("--kept", metavar="FOLDER", help="Run the cases in this folder, too: case files of earlier runs."),
]
InProcess = Annotated[bool, typer.Option("--in-process", help="Run adapters in this process, for a debugger.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        try:
            installed = metadata.version("bn-conformance")
        except metadata.PackageNotFoundError:
            installed = "not installed"
        say(f"bn-conformance {installed}, Python {platform.python_version()}")
        raise typer.Exit


def version(
    _: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Say which version this is.")
    ] = False,
) -> None:
    """Check implementations of batch normalization against one precise definition."""


def say(text: str) -> None:
    """Print, though the reader of a pipe may have gone: that changes neither the results nor the exit code."""
    try:
        typer.echo(text)
    except BrokenPipeError:
        # What is still in the buffer would raise again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class clear_errors:
    """Turns the errors that users can cause into one message and an exit code, unless they asked for the traceback."""

    def __init__(self, debug: bool) -> None:
        self.debug = debug

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is None or self.debug:
            return
        if isinstance(error, KeyboardInterrupt):
            fail("interrupted", 3)
        from conformance.case import CaseError
        from conformance.known_failures import KnownFailureError
        from conformance.session import SessionError
        from conformance.targets import UsageError
        from reports.store import ResultsError

        if isinstance(error, UsageError | CaseError | KnownFailureError | ResultsError):
            fail(str(error), 2)
        if isinstance(error, SessionError):
            # The lines after the first are a traceback of the adapter's.
            fail(str(error).split("\n", maxsplit=1)[0], 3)


def fail(message: str, code: int) -> NoReturn:
    typer.echo(f"bn-conformance: {message}", err=True)
    raise typer.Exit(code)


def ready(
    targets: tuple["Target", ...], in_process: bool, file: Path | None, cache: Path | None
) -> tuple["Target", ...]:
    """The targets with their environments, built where need be."""
    if not any(target.environment for target in targets):
        return targets
    from conformance import environments

    if in_process:
        fail("--in-process runs everything in this process: it cannot be combined with an environment", 2)
    listed = environments.read(file)
    environments.check(targets, listed)
    tell = functools.partial(typer.echo, err=True)
    return environments.ready(targets, listed, environments.cache_folder(cache), tell)


def make_writable(folder: Path) -> None:
    """Make a folder where there is none; raises UsageError where nothing can be written to it."""
    from conformance.targets import UsageError

    probe = folder / ".writable"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(f"cannot write to the output folder {folder}: {error.strerror}") from error
