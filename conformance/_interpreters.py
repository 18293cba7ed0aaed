"""Finding the Python of a version: on PATH, under pyenv's versions, then with uv's help."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import uv

_SECONDS = 20
#: For uv, which may download an interpreter.
_DOWNLOAD_SECONDS = 300
_ASK = "import sys; print('%d.%d.%d' % sys.version_info[:3]); print(sys.executable)"


class MissingInterpreterError(Exception):
    """There is no such Python; the text says where it was looked for, and how to get it."""


class Interpreter(NamedTuple):
    """A Python that answered when it was asked for its version."""

    executable: str
    version: str
    #: Where it was found: "PATH", "pyenv" or "uv".
    place: str


def find(wanted: str, *, download: bool) -> Interpreter:
    """Return an interpreter of a version such as "3.7"; raises MissingInterpreterError.

    ``download`` lets uv fetch one where there is none.
    """
    for place, candidates in (("PATH", _on_path(wanted)), ("pyenv", _under_pyenv(wanted))):
        for candidate in candidates:
            version, executable = _ask(candidate)
            if _is(version, wanted):
                return Interpreter(executable, version, place)
    found, why = _uvs(wanted, download=download)
    version, executable = _ask(Path(found)) if found else ("", "")
    if _is(version, wanted):
        return Interpreter(executable, version, "uv")
    remedy = f"`pyenv install {wanted}` or `uv python install {wanted}` may give you one"
    raise MissingInterpreterError(
        f"there is no Python {wanted} on PATH or under pyenv's versions, and uv knows of none"
        + (f" ({why})" if why else "")
        + f": {remedy}"
    )


def _is(version: str, wanted: str) -> bool:
    return version == wanted or version.startswith(wanted + ".")


def _on_path(wanted: str) -> list[Path]:
    name = "python" + ".".join(wanted.split(".")[:2])
    folders = os.environ.get("PATH", "").split(os.pathsep)
    found = [shutil.which(name, path=folder) for folder in folders if folder]
    return [Path(executable) for executable in found if executable]


def _under_pyenv(wanted: str) -> list[Path]:
    """The newest first."""
    root = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    folders = [f for f in root.glob(f"{wanted}*") if re.fullmatch(rf"{re.escape(wanted)}(\.\d+)*", f.name)]
    folders.sort(key=lambda folder: [int(part) for part in folder.name.split(".")], reverse=True)
    return [folder / "bin" / "python" for folder in folders]


def _ask(candidate: Path) -> tuple[str, str]:
    """Its version and true place; empty for a shim without a Python behind it, or whatever else does not answer."""
    try:
        command = [str(candidate), "-I", "-c", _ASK]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "", ""
    version, _, executable = answer.stdout.strip().partition("\n")
    return (version, executable) if answer.returncode == 0 else ("", "")


def _uvs(wanted: str, *, download: bool) -> tuple[str, str]:
    """The executable that uv finds or, else, what it says."""
    commands = [["python", "find", "--no-project", "--no-python-downloads", wanted]]
    if download:
        commands += [["python", "install", wanted], commands[0]]
    why = ""
    for command in commands:
        try:
            answer = subprocess.run(
                [uv.find_uv_bin(), *command], capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return "", str(error)
        if command[1] == "find" and answer.returncode == 0:
            return answer.stdout.strip(), ""
        if answer.returncode:
            why = answer.stderr.strip().removeprefix("error: ").splitlines()[0] if answer.stderr.strip() else ""
    return "", why
