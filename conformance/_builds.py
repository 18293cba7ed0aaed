"""Building framework environments with uv, in a cache folder that all runs share, with a lock of what was resolved."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import platformdirs
import uv

from conformance._interpreters import MissingInterpreterError, find

#: The environment variable that names the cache folder.
CACHE = "BN_CONFORMANCE_CACHE"
_BUILD_SECONDS = 1800


class BuildError(Exception):
    """An environment that cannot be had; the text says why, and what to do about it."""


class Recipe(NamedTuple):
    """What an environment is built from."""

    name: str
    python: str
    requires: tuple[str, ...]
    overrides: tuple[str, ...]

    @property
    def folder(self) -> str:
        """The name of its folder in the cache: another one whenever the recipe changes."""
        text = json.dumps([self.python, self.requires, self.overrides])
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


class Built(NamedTuple):
    """An environment that is ready."""

    folder: Path
    #: Its Python and that one's version.
    python: Path
    version: str
    #: All distributions that were installed, as in a requirements file.
    lock: tuple[str, ...]
    #: Seconds that building took; 0 where it was there already.
    seconds: float = 0.0

    @property
    def digest(self) -> str:
        """Tells one resolution from another."""
        return hashlib.sha256("\n".join(self.lock).encode()).hexdigest()[:12]


def cache_folder(chosen: Path | None = None) -> Path:
    """The folder that environments are kept in: the chosen one, the variable's, else the user's cache."""
    named = chosen or os.environ.get(CACHE) or platformdirs.user_cache_path("bn-conformance", appauthor=False)
    return Path(named).expanduser().absolute() / "environments"


def existing(recipe: Recipe, cache: Path) -> Built | None:
    """The environment as it was built before, or None."""
    folder = cache / recipe.folder
    try:
        facts = json.loads((folder / "built.json").read_text(encoding="utf-8"))
        lock = (cache / f"{recipe.folder}.lock").read_text(encoding="utf-8").splitlines()
        built = Built(folder, _python(folder), facts["python"], tuple(lock))
    except (OSError, ValueError, KeyError):
        return None
    # Its base interpreter may have gone since.
    return built if built.python.exists() else None


def build(recipe: Recipe, cache: Path, *, upgrade: bool = False) -> Built:
    """Return the environment, built now where it is not there: from its lock, unless ``upgrade`` resolves it anew.

    Raises BuildError.
    """
    with _alone(cache, recipe):
        found = None if upgrade else existing(recipe, cache)
        return found or _build(recipe, cache, upgrade=upgrade)


def remove(recipe: Recipe, cache: Path) -> bool:
    """Delete the environment and its lock; False where there was none."""
    with _alone(cache, recipe):
        lock, folder = cache / f"{recipe.folder}.lock", cache / recipe.folder
        there = folder.exists() or lock.exists()
        shutil.rmtree(folder, ignore_errors=True)
        lock.unlink(missing_ok=True)
    return there


def size(folder: Path) -> int:
    """Bytes that a folder takes on disk, links not followed."""
    total = 0
    for place, _, names in os.walk(folder):
        total += sum(512 * (Path(place) / name).lstat().st_blocks for name in names)
    return total


@contextlib.contextmanager
def _alone(cache: Path, recipe: Recipe) -> Iterator[None]:
    """Keep other processes from building the same environment meanwhile."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        guard = (cache / f".{recipe.folder}.guard").open("w")
    except OSError as error:
        remedy = f"choose another folder with --cache or {CACHE}"
        raise BuildError(f"cannot write to the cache folder {cache}: {error.strerror}; {remedy}") from error
    with guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield


def _build(recipe: Recipe, cache: Path, *, upgrade: bool) -> Built:
    started = time.monotonic()
    folder, lock = cache / recipe.folder, cache / f"{recipe.folder}.lock"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        base = find(recipe.python, download=True)
    except MissingInterpreterError as error:
        raise BuildError(str(error)) from error
    python = _python(folder)
    try:
        _uv(recipe, "venv", "--no-project", "--no-config", "--python", base.executable, str(folder))
        _install(recipe, python, lock if lock.exists() and not upgrade else None, folder)
        frozen = _uv(recipe, "pip", "freeze", "--python", str(python)).splitlines()
    except BuildError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    lock.write_text("\n".join(frozen) + "\n", encoding="utf-8")
    facts = {"name": recipe.name, "python": base.version, "requires": recipe.requires, "overrides": recipe.overrides}
    (folder / "built.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    return Built(folder, python, base.version, tuple(frozen), time.monotonic() - started)


def _install(recipe: Recipe, python: Path, lock: Path | None, folder: Path) -> None:
    command = ["pip", "install", "--python", str(python)]
    if lock is not None:
        _uv(recipe, *command, "--no-deps", "--requirements", str(lock))
        return
    overrides = folder / "overrides.txt"
    overrides.write_text("\n".join(recipe.overrides), encoding="utf-8")
    _uv(recipe, *command, *(["--overrides", str(overrides)] if recipe.overrides else []), *recipe.requires)


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def uv_environment() -> dict[str, str]:
    """The environment that uv runs in: a folder of wheels that was given to pip is given to uv too."""
    links = os.environ.get("UV_FIND_LINKS") or ",".join(os.environ.get("PIP_FIND_LINKS", "").split())
    others = {
        k: v for k, v in os.environ.items() if k not in ("UV_FIND_LINKS", "VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT")
    }
    return {**others, "UV_FIND_LINKS": links} if links else others


def _uv(recipe: Recipe, *arguments: str) -> str:
    """Run uv and return what it printed; raises BuildError with what it complained of."""
    command = [uv.find_uv_bin(), "--no-progress", "--color", "never", *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False, env=uv_environment()
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{recipe.name} could not be built: {error}") from error
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        said = " ".join(line for line in lines if not line.startswith(("Using Python", "Resolved", "warning:")))
        remedy = (
            "see to what uv misses (index, network, disk, a folder of wheels in UV_FIND_LINKS), then "
            f"`bn-conformance env create {recipe.name}`"
        )
        raise BuildError(f"{recipe.name} could not be built: {said[:600] or done.returncode}; remedy: {remedy}")
    return done.stdout
