"""How targets are spelled: adapter classes, and the kinds of code that need no adapter. Runs on Python 3.6."""

import os
import shlex
import shutil
from pathlib import Path
from typing import Dict, NamedTuple, Tuple

#: What each kind names, as a user writes it. The first part of a target that is none of these names an adapter class.
KINDS: Dict[str, str] = {
    "torch": "torch:package.module:Class (an nn.Module, or a function that makes one)",
    "torch-function": "torch-function:package.module:function (with the arguments of F.batch_norm)",
    "keras": "keras:package.module:Class (a layer)",
    "jax": "jax:package.module:function (pure: returns y and, in training, the new moving statistics)",
    "numpy": "numpy:package.module:Class (with forward and backward)",
    "onnx": "onnx:model.onnx (inference)",
    "cmd": "cmd:PROGRAM ARGUMENTS (speaks the protocol of docs/wire-protocol.md)",
}
#: Kinds that name a file or a program, and nothing in it.
WHOLE = ("onnx", "cmd")
ADAPTER = "package.module:Class or path/to/file.py:Class"


class AdapterError(Exception):
    """A target that cannot be used; its text names the offender and is meant for the person who wrote it."""


class Options(NamedTuple):
    """What a user says of a target: names that inspection cannot guess, and a device."""

    #: (argument or attribute of the target, what it stands for or the value it is to have), as written.
    map: Tuple[Tuple[str, str], ...] = ()
    device: str = ""


NO_OPTIONS = Options()


class Reference(NamedTuple):
    """A target taken apart: its kind ("" for an adapter class), module or file, and the name in it."""

    kind: str
    module: str
    name: str

    @property
    def label(self) -> str:
        """A short name for reports."""
        if self.kind == "cmd":
            return Path(words(self.module)[0]).name
        return Path(self.module).stem if self.kind == "onnx" else self.name

    @property
    def file(self) -> str:
        """The file that must exist for it; empty where only an import will tell."""
        if self.kind == "onnx":
            return self.module
        return self.module if self.kind != "cmd" and is_file(self.module) else ""


def is_file(module: str) -> bool:
    """Whether the part of a target before the colon is a file rather than a dotted name."""
    return module.endswith(".py") or os.sep in module or "/" in module


def words(command: str) -> Tuple[str, ...]:
    """The program and arguments of a ``cmd:`` target; AdapterError where its quotes do not match."""
    try:
        found = tuple(shlex.split(command))
    except ValueError as error:
        raise AdapterError("cmd:{}: {}".format(command, error)) from error
    if not found:
        raise AdapterError("'cmd:' names no program: expected {}".format(KINDS["cmd"]))
    return found


def parse(target: str) -> Reference:
    """Take a target apart; AdapterError where it names nothing."""
    kind, colon, rest = target.partition(":")
    if not colon or kind not in KINDS:
        return Reference("", *split(target))
    if kind == "cmd":
        words(rest)
    if kind in WHOLE:
        if not rest:
            raise AdapterError("{!r} names nothing: expected {}".format(target, KINDS[kind]))
        return Reference(kind, rest, "")
    module, _, name = rest.rpartition(":")
    if not module and not is_file(rest):
        module, _, name = rest.rpartition(".")
    if not module or not name.isidentifier():
        raise AdapterError("{!r} names nothing: expected {}".format(target, KINDS[kind]))
    return Reference(kind, module, name)


def split(target: str) -> Tuple[str, str]:
    """Return module (or file) and class of an adapter."""
    module, _, name = target.rpartition(":")
    if not module or not name.isidentifier():
        raise AdapterError("{!r} names no adapter: expected {}".format(target, ADAPTER))
    return module, name


def absolute(target: str) -> str:
    """The target with absolute paths, so that a host started elsewhere or later finds the same files."""
    kind, module, name = parse(target)
    if kind == "cmd":
        program, *arguments = words(module)
        place = str(Path(program).absolute()) if "/" in program else shutil.which(program) or program
        return "cmd:" + " ".join(shlex.quote(word) for word in (place, *arguments))
    if kind == "onnx" or is_file(module):
        module = str(Path(module).absolute())
    return ":".join(part for part in (kind, module, name) if part)


def needs_here(target: str) -> bool:
    """Whether the current folder is to be searched for it: it has a dotted name."""
    kind, module, _ = parse(target)
    return kind not in WHOLE and not is_file(module)
