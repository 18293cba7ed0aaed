"""A live implementation: in a host process of its own, which may crash or hang, or in this process for a debugger."""

import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from adapters import wire
from adapters.executor import AdapterError
from adapters.naming import NO_OPTIONS, Options
from conformance._host_session import HostSession, leave
from conformance._in_process import InProcessSession
from conformance._session import Session, SessionError
from conformance.conversation import Timeouts
from conformance.targets import Target

__all__ = [
    "HostSession",
    "InProcessSession",
    "Session",
    "SessionError",
    "Timeouts",
    "leave",
    "open_session",
    "open_target",
]

DEFAULT_TIMEOUTS = Timeouts()


def open_session(
    target: str,
    *,
    python: str | None = None,
    path: Sequence[str] = (),
    in_process: bool = False,
    timeouts: Timeouts = DEFAULT_TIMEOUTS,
    threads: int = 1,
    limit: int = wire.LIMIT,
    variables: Mapping[str, str] = MappingProxyType({}),
    options: Options = NO_OPTIONS,
) -> Session:
    """Return a session on ``package.module:Class``, ``path/to/file.py:Class`` or code of a kind (``adapters.naming``).

    ``python`` is the interpreter of the host (default: this one); ``path`` is appended to its ``sys.path`` (default:
    the current directory for a dotted name, the file's folder for a file); ``threads`` pins its numerical libraries;
    ``limit`` is the most that all arrays of one message may take, in bytes; ``variables`` are set for the host.
    Raises SessionError where the adapter cannot be loaded.
    """
    try:
        if in_process:
            return InProcessSession(target, path, options)
        return HostSession(target, path, python or sys.executable, timeouts, threads, limit, variables, options)
    except AdapterError as error:
        raise SessionError(str(error)) from error


def open_target(
    target: Target,
    *,
    path: Sequence[str] = (),
    in_process: bool = False,
    timeouts: Timeouts = DEFAULT_TIMEOUTS,
    threads: int = 1,
) -> Session:
    """Return a session on a target, in the environment that was made ready for it; SessionError where it is missing."""
    if target.missing:
        raise SessionError(f"{target.name}: {target.missing}")
    return open_session(
        target.target,
        python=target.python or None,
        path=path,
        in_process=in_process,
        timeouts=timeouts,
        threads=threads,
        variables=dict(target.variables),
        options=target.options,
    )
