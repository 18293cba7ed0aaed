"""The history: a folder per night with its results files, which are never changed, and the digest derived from them."""

import contextlib
import gzip
import re
import shutil
import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from reports import history_digest
from reports.history_digest import Digest
from reports.records import Header, Results
from reports.store import ResultsError, merge, read

SUFFIX = ".jsonl.gz"
DIGEST = "digest.msgpack"
#: The file of a run's results, which is named after its folder in the history.
RUN_FILE = "results.jsonl.gz"
_NIGHT = re.compile(r"\d{8}T\d{6}Z")


class Added(NamedTuple):
    """A night that was added: its digest, and the results that it was made of, merged."""

    digest: Digest
    results: Results


class History:
    """A folder of nights."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def nights(self) -> list[str]:
        """The nights, oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(entry.name for entry in self.folder.iterdir() if _NIGHT.fullmatch(entry.name))

    def add(self, files: Iterable[Path], night: str = "") -> Added:
        """Add results files as a night, named by when it began; a file of that name in the night must be the same.

        Only the files of that night are read. Damaged and half-written ones are kept, named in the digest and not used.

        Raises:
            ResultsError: none of the files can be used, or a different one is there already.
        """
        files = list(files)
        night = night or _name(files)
        if not _NIGHT.fullmatch(night):
            raise ResultsError(self.folder, f"{night!r} is no name of a night: expected one such as 20261122T050100Z")
        if night in self.nights():
            _copy(files, self.folder / night)
            return self._digested(night)
        # A night is there as a whole or not at all.
        making = self.folder / f".{night}.part"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        try:
            _copy(files, making)
            added = _derived(night, making)
            making.rename(self.folder / night)
        finally:
            shutil.rmtree(making, ignore_errors=True)
        return added

    def last_with(self, name: str) -> str:
        """The last night that has results of an environment; empty where none has."""
        files = (night for night in reversed(self.nights()) if (self.folder / night / f"{name}{SUFFIX}").exists())
        return next(files, "")

    def digest(self, night: str) -> Digest:
        """A night's digest: as it was derived, or derived anew where its files are others than then.

        Raises:
            ResultsError: there is no such night, or none of its files can be used.
        """
        found = history_digest.read(self.folder / night / DIGEST, _sources(self.folder / night))
        return found or self._digested(night).digest

    def digests(self, last: int | None = None, before: str = "") -> Iterator[Digest]:
        """The digests of the last nights, or of those before one, newest first.

        A night of which nothing can be used is left out.
        """
        nights = [night for night in self.nights() if not before or night < before]
        for night in reversed(nights if last is None else nights[-last:]):
            try:
                yield self.digest(night)
            except ResultsError:
                continue

    def night(self, night: str) -> Added:
        """A night's digest and its results, merged; its files are read.

        Raises:
            ResultsError: there is no such night, or none of its files can be used.
        """
        return self._digested(night)

    def rebuild(self) -> dict[str, dict[str, str]]:
        """Derive all digests anew; the files that are not used, by night, with the reason."""
        problems = {}
        for night in self.nights():
            try:
                problems[night] = self._digested(night).digest.skipped
            except ResultsError as error:
                (self.folder / night / DIGEST).unlink(missing_ok=True)
                problems[night] = {"": str(error)}
        return problems

    def prune(self, most: int) -> list[str]:
        """Delete the oldest of more nights than that; return their names."""
        gone = self.nights()[:-most]
        for night in gone:
            shutil.rmtree(self.folder / night)
        return gone

    def _digested(self, night: str) -> Added:
        return _derived(night, self.folder / night)


def _derived(night: str, folder: Path) -> Added:
    """Read a night's files and write their digest beside them."""
    results, skipped = _read(folder)
    made = history_digest.digest(night, results, _sources(folder), skipped)
    history_digest.write(folder / DIGEST, made)
    return Added(made, results)


def _read(folder: Path) -> tuple[Results, dict[str, str]]:
    """A night's results, merged, and why some of its files are not used."""
    parts: list[Results] = []
    skipped: dict[str, str] = {}
    for name in _sources(folder):
        try:
            found = read(folder / name)
        except ResultsError as error:
            skipped[name] = str(error).replace(f"{folder / name}", name)
            continue
        if found.footer is None:
            skipped[name] = f"{name} is half-written: the run ended before it was done"
        else:
            parts.append(msgspec.structs.replace(found, source=name))
    if not parts:
        why = "; ".join(skipped.values()) or "there are no results files"
        raise ResultsError(folder, f"nothing of this night can be used: {why}")
    return merge(parts) if len(parts) > 1 else parts[0], skipped


def _copy(files: list[Path], folder: Path) -> None:
    """Copy results files into a night, each named after its environment."""
    for file in files:
        place = folder / _kept_name(file)
        try:
            data = file.read_bytes()
            if not place.exists():
                part = place.with_suffix(".part")
                part.write_bytes(data)
                part.chmod(0o444)
                part.replace(place)
            elif place.read_bytes() != data:
                raise ResultsError(file, f"{place} is there already and differs: a night is never changed")
        except OSError as error:
            raise ResultsError(file, f"cannot be copied to {folder}: {error.strerror}") from error


def _sources(folder: Path) -> dict[str, int]:
    """The results files of a night with their sizes."""
    if not folder.is_dir():
        return {}
    return {file.name: file.stat().st_size for file in sorted(folder.iterdir()) if file.name.endswith(SUFFIX)}


def _kept_name(file: Path) -> str:
    """A file's name in the history: that of its environment, which a run has as its folder."""
    plain = file.absolute().parent.name if file.name == RUN_FILE else file.name.removesuffix(SUFFIX)
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", plain).lstrip(".") + SUFFIX


def _name(files: list[Path]) -> str:
    """A night's name by when the first of its runs began."""
    times = []
    for file in files:
        with contextlib.suppress(OSError, EOFError, zlib.error, ValueError), gzip.open(file) as lines:
            times.append(datetime.fromisoformat(msgspec.json.decode(lines.readline(), type=Header).started))
    if not times:
        raise ResultsError(", ".join(map(str, files)) or "history", "no night can be made of what is no results file")
    return f"{min(times):%Y%m%dT%H%M%SZ}"
