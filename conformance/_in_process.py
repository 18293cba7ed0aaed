"""An implementation in this process, where a debugger can follow it and a crash ends everything."""

import io
import sys
import time
import warnings
from collections.abc import Sequence
from typing import Any, Literal

from adapters import host, wire
from adapters.executor import AdapterError, describe, execute, load
from adapters.naming import NO_OPTIONS, Options
from adapters.program import Program, Trace
from conformance._session import Session, SessionError
from conformance.conversation import Collector


class InProcessSession(Session):
    """Runs the adapter in this process."""

    #: What becomes of the adapter's warnings.
    warnings: Literal["default", "ignore"] = "default"

    def __init__(self, target: str, path: Sequence[str], options: Options = NO_OPTIONS) -> None:
        self.target = target
        begin = time.perf_counter()
        try:
            self.adapter = load(target, path, options)
            self.description = describe(self.adapter)
        except AdapterError as error:
            raise SessionError(f"{error} (in this process, {sys.executable})") from error
        self.import_seconds = time.perf_counter() - begin
        self.details = host.details()

    def run(self, program: Program) -> Trace:
        """Run a program here."""
        hosted = program.spec.dtype == "bfloat16"
        collector = Collector()
        given = _crossed("run", program, None) if hosted else program
        with warnings.catch_warnings():
            # What warns in a host does so on its standard error; a test runner may have made it an error here.
            warnings.simplefilter(self.warnings)
            for event in execute(self.adapter, given, self.description.capabilities):
                collector.add(event)
        trace = collector.trace()
        return _crossed("trace", trace, wire.bfloat16_dtype()) if hosted else trace


def _crossed(kind: str, value: Any, bfloat16: Any) -> Any:
    """Take a value over the wire and back: bfloat16 reaches adapters as uint16, in this process too."""
    stream = io.BytesIO(b"".join(wire.pack(kind, value, bfloat16=True)))
    frame = wire.Reader(stream.readinto, bfloat16).frame()
    return None if frame is None else frame[1]
