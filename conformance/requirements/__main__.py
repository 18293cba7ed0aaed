"""Writes the catalogue as a document: ``python -m conformance.requirements > docs/requirements.md``."""

from conformance.families import FAMILIES
from conformance.requirements import CATALOGUE, Requirement
from conformance.scenarios.catalogue import FAMILY, FAMILY_TITLE
from conformance.scenarios.judging import catalogue
from conformance.zoo import FAULTS, TRAINING_FAULTS, Fault
from reports.records import RequirementInfo

HEAD = """# Requirements

What the suite requires of batch normalization. x is the input, m the number of elements per channel, μ and σ² the mean
and the biased variance of a channel over the batch, ε epsilon, γ and β scale and shift, x̂ = (x − μ)/√(σ² + ε), M and V
the moving mean and variance, dy the upstream gradient; dx, dγ and dβ are the gradients of Σ y·dy.

Every result is judged within a bound on the rounding errors of a correct implementation, derived for the very case; "to
the bit" means without one. Under each requirement stand the faults of the [zoo](zoo.md) that it must catch. This page
is made by `python -m conformance.requirements`.
"""


def document() -> str:
    """The catalogue in Markdown, family by family."""
    parts = [HEAD]
    for family in FAMILIES.values():
        parts.append(f"\n## {family.number}xx {family.title}\n")
        parts += [_entry(r) for id_, r in sorted(CATALOGUE.items()) if r.family == family.number]
    parts.append(
        f"\n## {FAMILY} {FAMILY_TITLE}\n\nRun by `bn-conformance scenarios`: see [scenarios.md](scenarios.md).\n"
    )
    parts += [_scenario(scenario.info) for scenario in catalogue()]
    return "".join(parts)


def _scenario(info: RequirementInfo) -> str:
    """An entry of the family that trains networks."""
    named = [fault for fault in TRAINING_FAULTS if info.id in fault.caught_by]
    return f"\n**{info.id} {info.name}.** {info.claim} *Source: {info.source}.*\n" + _links(named)


def _entry(requirement: Requirement) -> str:
    facts = [f"Source: {requirement.source}."]
    if requirement.conventions:
        facts.append(f"As declared in: {', '.join(f'`{name}`' for name in requirement.conventions)}.")
    if requirement.needs:
        needed = " and ".join(f"`{name}`" for name in requirement.needs.split())
        facts.append(f"Asked of those who declare {needed}.")
    claim = f"\n**{requirement.id} {requirement.name}.** {requirement.claim} *{' '.join(facts)}*\n"
    return claim + _catches(requirement)


def _catches(requirement: Requirement) -> str:
    """The faults that name the requirement: those that name it first before the others."""
    named = [fault for fault in FAULTS if requirement.id in fault.caught_by]
    named.sort(key=lambda fault: (fault.caught_by.index(requirement.id), fault.name))
    return _links(named)


def _links(named: list[Fault]) -> str:
    links = [f"[{fault.name}](zoo.md#{fault.name})" for fault in named]
    return f"\nCatches {', '.join(links)}.\n" if links else ""


if __name__ == "__main__":
    print(document(), end="")
