"""Completes the grid of requirements and implementations, so that a missing record is never read as a pass."""

from typing import NamedTuple

from reports.records import Implementation, RequirementInfo, Result, Results


class Grid(NamedTuple):
    """Every requirement on every implementation."""

    requirements: list[RequirementInfo]
    implementations: list[Implementation]
    #: (requirement, implementation) -> result, for all pairs.
    cells: dict[tuple[str, str], Result]

    def of(self, implementation: str) -> list[Result]:
        """Return one implementation's results, in the order of the requirements."""
        return [self.cells[requirement.id, implementation] for requirement in self.requirements]

    def all(self) -> list[Result]:
        """Return all results, requirement by requirement."""
        return [self.cells[r.id, i.name] for r in self.requirements for i in self.implementations]


def complete_grid(results: Results) -> Grid:
    """Return a result for every pair; pairs without a record are "no run", with the reason."""
    requirements = {info.id: info for info in results.header.requirements}
    implementations = {who.name: who for who in results.header.implementations}
    cells: dict[tuple[str, str], Result] = {}
    for result in results.results:
        name = result.requirement
        unknown = RequirementInfo(
            id=name,
            name=name,
            claim="",
            source="",
            revision=result.revision,
            family="",
            family_title="Not in the header",
        )
        requirements.setdefault(name, unknown)
        implementations.setdefault(result.implementation, Implementation(name=result.implementation))
        cells[name, result.implementation] = result
    for info in requirements.values():
        for who in implementations.values():
            if (info.id, who.name) not in cells:
                cells[info.id, who.name] = _no_run(info, who, results)
    return Grid(list(requirements.values()), list(implementations.values()), cells)


def _no_run(info: RequirementInfo, who: Implementation, results: Results) -> Result:
    ended_early = results.footer is None or not results.footer.complete
    reason = who.no_run or ("The run ended before this." if ended_early else "The results file has no record of this.")
    return Result(requirement=info.id, revision=info.revision, implementation=who.name, outcome="no run", reason=reason)
