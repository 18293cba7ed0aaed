"""A made-up run over a zoo, for the tests of its records and its page."""

import msgspec

from reports.mutant_records import Exhibit, Kill, Mutants, MutantsFooter, MutantsHeader, exit_code
from reports.records import RequirementInfo

KILL = Kill(requirement="BN-101", cases=3, seconds=0.2, ratio="inf", message="<b>far & off</b>")


def exhibit(name: str = "one", fate: str = "caught", **changes: object) -> Exhibit:
    """A record."""
    fields: dict[str, object] = {"faulty": True, "family": "1", "named": ["BN-101"], "kills": [KILL]}
    base = {"name": name, "target": "m:C", "description": "Is <i>wrong</i>.", "theme": "a theme", "fate": fate}
    return msgspec.convert(base | fields | changes, Exhibit)


def mutants(*exhibits: Exhibit) -> Mutants:
    """A whole run."""
    infos = [
        RequirementInfo(
            id=id_, name=id_, claim=f"Claim of {id_}.", source="", revision=1, family=f"{id_[3]}xx", family_title="T"
        )
        for id_ in ("BN-101", "BN-102", "BN-301")
    ]
    head = MutantsHeader(
        started="2026-01-01T00:00:00+00:00",
        suite_version="1",
        profile="quick",
        seed=1,
        cases_per_family=60,
        seen=12,
        requirements=infos,
        environment={},
    )
    footer = MutantsFooter(seconds=1.0, drawing=0.5, workers=1, exit_code=exit_code(list(exhibits)))
    return Mutants(header=head, exhibits=list(exhibits), footer=footer)
