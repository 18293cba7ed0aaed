"""Reads, writes and merges results files (``results.jsonl.gz``): one JSON object per line, compressed with gzip.

Every line is flushed with ``Z_SYNC_FLUSH``, so that a killed process leaves all its finished lines readable. Files can
be joined with ``cat``: a header within a file starts the next part. Same lines, same bytes: gzip's time stamp is zero.
"""

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from reports._merge import merge_footers, merge_headers
from reports.records import SCHEMA_VERSION, Agreement, Footer, Header, Implementation, Line, Result, Results, TaggedLine

#: Decompressed bytes that a file may hold: more is a damaged or hostile file.
SIZE_LIMIT = 1 << 30

_GZIP = 16 + zlib.MAX_WBITS
#: Compressed bytes read at once; small, since a damaged chunk is lost as a whole and its lines are not counted.
_CHUNK = 4096
_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(TaggedLine)

T = TypeVar("T", Result, Agreement)


class ResultsError(Exception):
    """A results file that cannot be written or read; the message names the file, the line and the JSON path."""

    def __init__(self, path: str | Path, problem: str, line: int = 0) -> None:
        self.path = str(path)
        self.line = line
        super().__init__(f"{path}, line {line}: {problem}" if line else f"{path}: {problem}")


class Writer:
    """A results file that grows line by line: a header, then results and agreements, then a footer.

    Raises:
        ResultsError: the file or its folder cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._last: Line | None = None
        self._gzip = zlib.compressobj(9, zlib.DEFLATED, _GZIP)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("wb", buffering=0)
        except OSError as error:
            raise ResultsError(path, f"cannot be written: {error.strerror}") from error

    def write(self, line: Line) -> None:
        """Append one line; when this returns, the line survives the end of the process.

        Raises:
            ResultsError: the disk is full, or the like.
            ValueError: out of order, or a line that could not be read back (a NaN outside of ``Number``, say).
        """
        if isinstance(line, Header) != (self._last is None) or isinstance(self._last, Footer):
            raise ValueError(f"misplaced {type(line).__name__}: a file starts with a Header and ends with a Footer")
        self._put(self._gzip.compress(_encode(line) + b"\n") + self._gzip.flush(zlib.Z_SYNC_FLUSH))
        self._last = line

    def close(self) -> None:
        """End the file. Without a footer it is readable and incomplete."""
        if not self._file.closed:
            with self._file:
                self._put(self._gzip.flush(zlib.Z_FINISH))

    def _put(self, data: bytes) -> None:
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            raise ResultsError(self.path, f"cannot be written: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def write(path: str | Path, results: Results) -> None:
    """Write whole results to a file."""
    with Writer(path) as writer:
        lines: list[Line] = [results.header, *results.results, *results.agreements]
        for line in lines if results.footer is None else [*lines, results.footer]:
            writer.write(line)


def read(path: str | Path) -> Results:
    """Read a results file, or several joined with ``cat``.

    A file that ends too early is returned as far as its lines are whole, with ``footer`` None and a note.

    Raises:
        ResultsError: not a results file, damaged, of another schema version, or without a header.
    """
    parts: list[Results] = []
    number = 0
    try:
        for text in _lines(Path(path)):
            number += 1
            _add(_decode(text, path, number), parts, path, number)
    except EOFError:
        if parts:
            note = f"{path} was cut off after line {number}."
            parts[-1] = msgspec.structs.replace(parts[-1], footer=None, notes=[note])
    except OSError as error:
        raise ResultsError(path, f"cannot be read: {error.strerror}") from error
    except zlib.error as error:
        foreign = number == 0 and "header" in str(error)
        problem = "is not a results file, since not compressed by gzip" if foreign else f"is damaged: {error}"
        raise ResultsError(path, problem, 0 if foreign else number + 1) from error
    if not parts:
        raise ResultsError(path, "is empty or was cut off before the end of its header")
    return merge(parts) if len(parts) > 1 else parts[0]


def merge(parts: list[Results]) -> Results:
    """Join the results of several environments or shards.

    Implementations keep their names. Where two parts hold the same cell the later one wins, and a note says so.
    """
    notes = [note for part in parts for note in part.notes]
    header = merge_headers([part.header for part in parts], notes)
    results = [result for part in parts for result in part.results]
    agreements = [agreement for part in parts for agreement in part.agreements]
    return Results(
        header=header,
        results=_later_wins(results, lambda r: f"{r.requirement} on {r.implementation}", notes),
        agreements=_later_wins(agreements, lambda a: f"{a.quantity} of {a.first} and {a.second}", notes),
        footer=merge_footers([part.footer for part in parts]),
        source=", ".join(dict.fromkeys(part.source for part in parts if part.source)),
        notes=list(dict.fromkeys(notes)),
    )


def _encode(line: Line) -> bytes:
    try:
        data = _encoder.encode(line)
    except UnicodeEncodeError:
        data = _encoder.encode(_without_surrogates(msgspec.to_builtins(line)))
    try:
        _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise ValueError(f"this {type(line).__name__} could not be read back: {error}") from error
    return data


def _without_surrogates(value: Any) -> Any:
    """Return builtins that UTF-8 can hold: what was not text in a framework's output is escaped."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_without_surrogates(k): _without_surrogates(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_surrogates(v) for v in value]
    return value


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the whole lines of a file of gzip members; raise EOFError where it is cut off, zlib.error where damaged."""
    rest = b""
    size = 0
    for chunk in _decompressed(path):
        size += len(chunk)
        if size > SIZE_LIMIT:
            raise ResultsError(path, f"holds more than {SIZE_LIMIT >> 20} MiB")
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    if rest:
        yield rest


def _decompressed(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        member, data = zlib.decompressobj(_GZIP), file.read(_CHUNK)
        while data:
            yield member.decompress(data)
            data = member.unused_data or file.read(_CHUNK)
            if member.eof:
                if not data:
                    return
                member = zlib.decompressobj(_GZIP)
        raise EOFError


def _decode(text: bytes, path: str | Path, number: int) -> Line:
    try:
        line = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ResultsError(path, _other_schema(text) or str(error), number) from error
    if isinstance(line, Header) and line.schema != SCHEMA_VERSION:
        raise ResultsError(path, _other_schema(text), number)
    return line


class _Version(msgspec.Struct):
    type: str
    schema: int


def _other_schema(text: bytes) -> str:
    """Say which schema a header was written with, if it is another than ours."""
    try:
        found = msgspec.json.decode(text, type=_Version)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    if found.type != "header" or found.schema == SCHEMA_VERSION:
        return ""
    return f"was written with schema {found.schema}, and this version reads schema {SCHEMA_VERSION}"


def _add(line: Line, parts: list[Results], path: str | Path, number: int) -> None:
    """Add a line to the part that it belongs to."""
    if isinstance(line, Header):
        parts.append(Results(header=line, results=[], agreements=[], footer=None, source=str(path)))
        return
    if not parts:
        raise ResultsError(path, "a results file starts with a header", number)
    part = parts[-1]
    if part.footer is not None:
        raise ResultsError(path, "after a footer only the next header may follow", number)
    if isinstance(line, Footer):
        parts[-1] = msgspec.structs.replace(part, footer=line)
        return
    known = {i.name for i in part.header.implementations}
    if isinstance(line, Implementation):
        if line.name not in known:
            raise ResultsError(path, f"the header names no implementation {line.name!r}", number)
        completed = [line if i.name == line.name else i for i in part.header.implementations]
        parts[-1] = msgspec.structs.replace(
            part, header=msgspec.structs.replace(part.header, implementations=completed)
        )
        return
    named = [line.implementation] if isinstance(line, Result) else [line.first, line.second]
    for name in named:
        if name not in known:
            raise ResultsError(path, f"the header names no implementation {name!r}", number)
    if isinstance(line, Agreement):
        part.agreements.append(line)
    elif all(r.id != line.requirement for r in part.header.requirements):
        raise ResultsError(path, f"the header names no requirement {line.requirement!r}", number)
    else:
        part.results.append(line)


def _later_wins(lines: list[T], key: Callable[[T], str], notes: list[str]) -> list[T]:
    kept: dict[str, T] = {}
    for line in lines:
        name = key(line)
        if name in kept and kept[name] != line:
            notes.append(f"{name} is there more than once; the later one counts.")
        kept[name] = line
    return list(kept.values())
