"""Adapter for programs in any language that speak the protocol of ``docs/wire-protocol.md``. Runs on Python 3.6."""

import contextlib
import faulthandler
import os
import signal
import subprocess
import weakref
from pathlib import Path
from typing import Any, Dict, List, NoReturn, Optional, Tuple

import numpy as np

from adapters.checks import CAPABILITIES, CONVENTIONS, nearest
from adapters.given import Given
from adapters.interface import (
    Array,
    Capabilities,
    Conventions,
    Description,
    Layer,
    Spec,
    State,
    Step,
    Unsupported,
)
from adapters.naming import AdapterError, Options, words

VERSION = 1
_STATE = ("gamma", "beta", "moving_mean", "moving_variance")
_STEP = ("y", "dx", "dgamma", "dbeta")
#: Bytes of a line at most: longer ones are no part of the protocol.
_LINE = 4096
#: Array elements cross under these names; bfloat16 as its 16 bits.
_ELEMENTS = {"float16": "<f2", "bfloat16": "<u2", "float32": "<f4", "float64": "<f8"}


class ProtocolError(Exception):
    """A program wrote what is no answer; the text says what, and what was expected."""


class _Program:
    """The running program, and the exchange of messages with it."""

    def __init__(self, command: Tuple[str, ...]) -> None:
        self.command = command
        self.process: Any = None

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, request: str, fields: List[str], arrays: Dict[str, Array]) -> Tuple[Dict[str, str], Dict[str, Array]]:
        """Send a request; return fields and arrays of its answer. Raises Unsupported or RuntimeError as it says."""
        if self.process is None or self.process.poll() is not None:
            self.close()
            self.start()
        try:
            self.send(request, fields, arrays)
            return self.receive(request)
        except (BrokenPipeError, EOFError):
            self.gone(request)
        except ProtocolError:
            self.process.kill()
            raise

    def send(self, request: str, fields: List[str], arrays: Dict[str, Array]) -> None:
        lines = [request, *fields]
        stream = self.process.stdin
        stream.write("".join(line + "\n" for line in lines).encode())
        for name, array in arrays.items():
            element = "bfloat16" if array.dtype.kind == "u" else array.dtype.name
            extents = "".join(" {}".format(n) for n in array.shape)
            stream.write("array {} {}{}\n".format(name, element, extents).encode())
            stream.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
        stream.write(b"end\n")
        stream.flush()

    def receive(self, request: str) -> Tuple[Dict[str, str], Dict[str, Array]]:
        status, _, text = self.line(request).partition(" ")
        if status not in ("ok", "unsupported", "error"):
            what = "answered {!r} to {!r}, expected ok, unsupported or error: standard output belongs to the protocol"
            raise ProtocolError(what.format((status + " " + text).strip()[:200], request))
        fields: Dict[str, str] = {}
        arrays: Dict[str, Array] = {}
        while True:
            key, _, value = self.line(request).partition(" ")
            if key == "end":
                break
            if key == "array":
                self.array(value, arrays, request)
            elif key:
                fields[key] = value.strip()
        if status == "unsupported":
            raise Unsupported(text or "no reason given")
        if status == "error":
            raise RuntimeError(text or "no reason given")
        return fields, arrays

    def line(self, request: str) -> str:
        found = self.process.stdout.readline(_LINE)
        if not found:
            raise EOFError
        if not found.endswith(b"\n"):
            raise ProtocolError("answered {!r}… to {!r}, expected a line".format(found[:60], request))
        return str(found.decode("utf-8", "backslashreplace").rstrip("\r\n"))

    def array(self, head: str, arrays: Dict[str, Array], request: str) -> None:
        parts = head.split()
        if len(parts) < 2 or parts[1] not in _ELEMENTS or not all(n.isdigit() for n in parts[2:]):
            what = "answered 'array {}' to {!r}, expected 'array NAME DTYPE EXTENT...' with a DTYPE of {}"
            raise ProtocolError(what.format(head[:100], request, ", ".join(_ELEMENTS)))
        shape = tuple(int(n) for n in parts[2:])
        element = np.dtype(_ELEMENTS[parts[1]])
        size = int(np.prod(shape, dtype=np.int64)) * element.itemsize
        content = self.process.stdout.read(size)
        if len(content) < size:
            raise EOFError
        arrays[parts[0]] = np.frombuffer(bytearray(content), element).reshape(shape)

    def gone(self, request: str) -> NoReturn:
        """Say how the program ended; what a signal killed takes this process along, so that it counts as a crash."""
        code = self.process.wait()
        self.close()
        if code < 0:
            os.write(2, "{} was killed by signal {} during {!r}\n".format(self.command[0], -code, request).encode())
            faulthandler.disable()
            with contextlib.suppress(OSError, ValueError):
                signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        raise RuntimeError("the program exited with code {} instead of answering {!r}".format(code, request))

    def close(self) -> None:
        """Let the program end: its input does."""
        if self.process is not None:
            for stream in (self.process.stdin, self.process.stdout):
                with contextlib.suppress(OSError):
                    stream.close()
            self.process.wait()
            self.process = None


class CommandLayer(Layer):
    """A layer in the program, known there by a number."""

    def __init__(self, adapter: "GivenCommand", spec: Spec, number: int) -> None:
        self.adapter = adapter
        self.spec = spec
        self.number = number
        weakref.finalize(self, adapter.unwanted.append, number).atexit = False

    def step(self, request: str, x: Array, dy: Optional[Array]) -> Step:
        """Ask for a training step or for inference."""
        given = {"x": x} if dy is None else {"x": x, "dy": dy}
        _, arrays = self.adapter.ask("{} {}".format(request, self.number), [], given)
        return Step(**self.adapter.expected(request, arrays, _STEP))

    def train(self, x: Array, dy: Optional[Array] = None, update: bool = True) -> Step:
        """Ask for a training step."""
        return self.step("train", x, dy)

    def infer(self, x: Array, dy: Optional[Array] = None) -> Step:
        """Ask for inference."""
        return self.step("infer", x, dy)

    def state(self) -> State:
        """Ask for the state; arrays of other names are extra."""
        _, arrays = self.adapter.ask("state {}".format(self.number), [], {})
        extra = {name: array for name, array in arrays.items() if name not in _STATE}
        known: Dict[str, Any] = {name: array for name, array in arrays.items() if name in _STATE}
        return State(extra=extra, **known)

    def set_state(self, state: State) -> None:
        """Send what is given."""
        self.adapter.ask("set {}".format(self.number), [], arrays_of(state))


def arrays_of(state: State) -> Dict[str, Array]:
    """The arrays of a state by name."""
    named = {name: getattr(state, name) for name in _STATE}
    return {**{name: array for name, array in named.items() if array is not None}, **state.extra}


class GivenCommand(Given):
    """A program that is started once and then answers requests on its standard input and output."""

    def __init__(self, target: str, subject: Any, options: Options) -> None:
        super().__init__(target, subject, options)
        self.command = words(target.partition(":")[2])
        self.unwanted: List[int] = []
        self._count = 0
        self._program = _Program(self.command)
        weakref.finalize(self, self._program.close)
        if options.map:
            raise AdapterError("{}: --map is for arguments, and a program has none".format(target))
        try:
            self._said, _ = self.ask("hello {}".format(VERSION), [], {})
        except OSError as error:
            raise AdapterError("{}: cannot start {}: {}".format(target, self.command[0], error.strerror)) from error
        except (ProtocolError, RuntimeError, Unsupported) as error:
            raise AdapterError("{}: {}".format(target, error)) from error
        self._capabilities = self._declared(Capabilities(ranks=(2,), axes="last"), CAPABILITIES)
        self._conventions = self._declared(Conventions(), CONVENTIONS)
        known = ["name", "version", "device", *CAPABILITIES, *CONVENTIONS]
        for key in self._said:
            if key not in known:
                raise AdapterError(
                    "{}: hello says {!r}, which means nothing{}".format(target, key, nearest(key, known))
                )

    def ask(self, request: str, fields: List[str], arrays: Dict[str, Array]) -> Tuple[Dict[str, str], Dict[str, Array]]:
        """Send a request, after those that free layers that are gone."""
        while self.unwanted:
            self._program.ask("free {}".format(self.unwanted.pop()), [], {})
        return self._program.ask(request, fields, arrays)

    def expected(self, request: str, arrays: Dict[str, Array], names: Tuple[str, ...]) -> Dict[str, Any]:
        """The arrays of an answer, which must have known names."""
        for name in arrays:
            if name not in names:
                what = "answered an array {!r} to {!r}, expected {}"
                raise ProtocolError(what.format(name, request, ", ".join(names)))
        if names[0] not in arrays:
            raise ProtocolError("answered no array {!r} to {!r}".format(names[0], request))
        return dict(arrays)

    def _declared(self, record: Any, allowed: Dict[str, Any]) -> Any:
        """A declaration with what hello said of it."""
        given = {key: self._value(key, text, allowed[key]) for key, text in self._said.items() if key in allowed}
        return record._replace(**given)

    def _value(self, key: str, text: str, choices: Any) -> Any:
        if key == "ranks":
            return tuple(int(word) if word.isdigit() else word for word in text.split())
        if key == "dtypes":
            return tuple(text.split())
        if choices is bool and text in ("yes", "no"):
            return text == "yes"
        try:
            return float(text) if choices is float else text
        except ValueError as error:
            raise AdapterError("{}: hello says {} {!r}, expected a number".format(self.target, key, text)) from error

    def describe(self) -> Description:
        """What hello said."""
        named = any(key in CONVENTIONS for key in self._said)
        return Description(
            self._said.get("name", Path(self.command[0]).name),
            self._said.get("version", ""),
            self._said.get("device", "cpu"),
            self._capabilities,
            ("program: {}".format(" ".join(self.command)),),
            () if named else ("conventions",),
        )

    def conventions(self, spec: Spec) -> Conventions:
        """What hello said."""
        return self._conventions

    def build(self, spec: Spec, state: State) -> Layer:
        """Ask for a new layer."""
        self._count += 1
        fields = [
            "dtype {}".format(spec.dtype),
            "rank {}".format(spec.rank),
            "axes{}".format("".join(" {}".format(a) for a in spec.channel_axes)),
            "channels{}".format("".join(" {}".format(n) for n in spec.parameter_shape)),
            "epsilon {!r}".format(spec.epsilon),
            "decay {!r}".format(spec.decay),
            "center {}".format("yes" if spec.center else "no"),
            "scale {}".format("yes" if spec.scale else "no"),
        ]
        self.ask("build {}".format(self._count), fields, arrays_of(state))
        return CommandLayer(self, spec, self._count)
