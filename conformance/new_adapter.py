"""The command ``bn-conformance new-adapter``: writes an adapter that runs, to be changed line by line, and its test."""

import keyword
import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from conformance._console import Debug, clear_errors, say

Kind = Literal["torch", "keras", "jax", "numpy", "tf1", "generic"]
_TEMPLATES = Path(__file__).parent / "templates"


def new_adapter(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the adapter's class, such as MyBatchNorm.")],
    kind: Annotated[Kind, typer.Option(help="What the implementation is written in.")] = "generic",
    out: Annotated[Path, typer.Option("-o", metavar="FOLDER", help="Where to write the two files.")] = Path(),
    debug: Debug = False,
) -> None:
    """Write a commented adapter that runs as it is, and its test; existing files are left alone."""
    with clear_errors(debug):
        adapter, test = write(name, kind, out)
        say(f"{adapter}: change the lines marked TODO\n{test}\n\nTry it: bn-conformance run {adapter}:{name}")


def write(name: str, kind: Kind, folder: Path) -> tuple[Path, Path]:
    """Write the adapter and its test; UsageError where that cannot be."""
    from conformance.targets import UsageError

    if not name.isidentifier() or keyword.iskeyword(name):
        raise UsageError(f"new-adapter {name}: expected the name of a class, such as MyBatchNorm")
    file = _snake(name) + ".py"
    paths = folder / file, folder / f"test_{file}"
    for path in paths:
        if path.exists():
            raise UsageError(f"new-adapter {name}: {path} exists; choose another name or folder with -o")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, template in zip(paths, (kind, "test"), strict=True):
            text = (_TEMPLATES / f"{template}.py.txt").read_text(encoding="utf-8")
            path.write_text(_filled(text, name, file), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"new-adapter {name}: cannot write to {folder}: {error.strerror}") from error
    return paths


def _snake(name: str) -> str:
    """MyBatchNorm2d becomes my_batch_norm2d; the framework's own names would be shadowed, so they get a tail."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return words + "_adapter" if words in ("torch", "keras", "jax", "numpy", "tensorflow", "adapters") else words


def _filled(text: str, name: str, file: str) -> str:
    for field, value in (("name", name), ("file", file), ("lower", _snake(name))):
        text = text.replace("{" + field + "}", value)
    return text
