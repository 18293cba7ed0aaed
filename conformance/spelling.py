"""Asks an implementation's host how code without an adapter is used: its constructor, calls and names, as code."""

from adapters.given import spelled
from adapters.interface import Spec
from adapters.wire import WireError
from conformance.host_process import TimeLimitError
from conformance.introduction import FamiliarSession
from conformance.session import HostSession, InProcessSession, Session, SessionError


def spelling(session: Session, spec: Spec) -> dict[str, str]:
    """The pieces of code that ``adapters.given.Given.spelling`` tells of; empty where the host cannot be asked."""
    while isinstance(session, FamiliarSession):
        session = session.inner
    if isinstance(session, InProcessSession):
        return spelled(session.adapter, spec)
    return _asked(session, spec) if isinstance(session, HostSession) else {}


def _asked(session: HostSession, spec: Spec) -> dict[str, str]:
    try:
        process = session.living()
    except SessionError:
        return {}
    try:
        process.send("spell", spec, session.timeouts.later)
        answer = process.receive(session.timeouts.first)
    except (TimeLimitError, WireError, OSError):
        answer = None
    if answer is None or answer[0] != "spelled":
        session.drop()
        return {}
    return dict(answer[1])
