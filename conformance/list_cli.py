"""The command ``bn-conformance list``: implementations and requirements, for people or as data."""

import json as encoder
from typing import Annotated

import typer

from conformance._console import Debug, clear_errors, say


def list_(
    implementations: Annotated[
        list[str] | None, typer.Argument(metavar="[IMPLEMENTATION]...", help="Those to list (default: all known).")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print names, requirements and families as JSON.")] = False,
    debug: Debug = False,
) -> None:
    """List the implementations, whether each can run here, and the requirements."""
    with clear_errors(debug):
        from adapters.registry import GROUPS, REGISTRY
        from conformance.plan import sorted_catalogue
        from conformance.targets import resolve

        summaries = {entry.name: entry.summary for entry in REGISTRY}
        targets = resolve(implementations or summaries)
        if json:
            say(_encoded([target.name for target in targets]))
            return
        say("Implementations")
        for target in targets:
            say(f"  {target.name:16} {summaries.get(target.name, target.target)}")
            if target.missing:
                say(f"  {'':16} not available: {target.missing}")
        for name, members in GROUPS.items() if not implementations else ():
            say(f"  {name:16} all of {', '.join(members)}")
        family = 0
        for requirement in sorted_catalogue():
            if requirement.family != family:
                family = requirement.family
                say(f"\n{family}xx {_title(family)}")
            say(f"  {requirement.id}  {requirement.claim}")


def _title(family: int) -> str:
    from conformance.families import FAMILIES

    return FAMILIES[family].title


def _encoded(names: list[str]) -> str:
    from conformance.plan import sorted_catalogue

    requirements = [
        {"id": r.id, "name": r.name, "claim": r.claim, "family": _title(r.family)} for r in sorted_catalogue()
    ]
    return encoder.dumps({"implementations": names, "requirements": requirements}, ensure_ascii=False)
