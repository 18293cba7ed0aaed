"""Joins the headers and footers of results that were made in several environments or shards."""

from collections import Counter

import msgspec

from reports.records import Footer, Header, Implementation, RequirementInfo


def merge_headers(headers: list[Header], notes: list[str]) -> Header:
    """Join headers, and note what differs although it should not."""
    first = headers[0]
    for field in ("profile", "seed", "cases_per_family", "suite_version"):
        values = list(dict.fromkeys(str(getattr(header, field)) for header in headers))
        if len(values) > 1:
            notes.append(f"The parts differ in {field.replace('_', ' ')}: {', '.join(values)}.")
    return msgspec.structs.replace(
        first,
        run=", ".join(dict.fromkeys(header.run for header in headers)),
        started=min(header.started for header in headers),
        environment=_merge_facts([header.environment for header in headers]),
        implementations=_merge_implementations([i for h in headers for i in h.implementations], notes),
        requirements=_merge_requirements([r for h in headers for r in h.requirements], notes),
        command="; ".join(dict.fromkeys(header.command for header in headers if header.command)),
    )


def merge_footers(footers: list[Footer | None]) -> Footer | None:
    """Add up the accounting; None when any part has none."""
    present = [footer for footer in footers if footer is not None]
    if len(present) < len(footers) or not present:
        return None
    sums = {
        name: sum(getattr(footer, name) for footer in present)
        for name in Footer.__struct_fields__
        if name.startswith("seconds_") or name in ("cases", "steps", "checks")
    }
    by_implementation: dict[str, Counter[str]] = {}
    for footer in present:
        for name, share in footer.by_implementation.items():
            by_implementation.setdefault(name, Counter()).update(share)
    return Footer(
        complete=all(footer.complete for footer in present),
        reason="; ".join(dict.fromkeys(footer.reason for footer in present if footer.reason)),
        exit_code=1 if any(footer.exit_code == 1 for footer in present) else max(f.exit_code for f in present),
        workers=max(footer.workers for footer in present),
        peak_memory_mib=max(footer.peak_memory_mib for footer in present),
        by_implementation={name: dict(share) for name, share in by_implementation.items()},
        **sums,
    )


def _merge_facts(parts: list[dict[str, str]]) -> dict[str, str]:
    facts: dict[str, list[str]] = {}
    for part in parts:
        for name, value in part.items():
            facts.setdefault(name, []).append(value)
    return {name: "; ".join(dict.fromkeys(values)) for name, values in facts.items()}


def _merge_implementations(implementations: list[Implementation], notes: list[str]) -> list[Implementation]:
    kept: dict[str, Implementation] = {}
    for new in implementations:
        old = kept.get(new.name)
        if old is None or old == new:
            kept[new.name] = new
        elif old.no_run or new.no_run:
            kept[new.name] = old if new.no_run else new
        else:
            if (old.version, old.python, old.device) != (new.version, new.python, new.device):
                notes.append(
                    f"{new.name} comes from two environments: {old.framework} {old.version} on Python {old.python}, "
                    f"and {new.framework} {new.version} on Python {new.python}."
                )
            kept[new.name] = msgspec.structs.replace(
                new,
                conventions=_merge_values(old.conventions, new.conventions),
                observed=_merge_values(old.observed, new.observed),
                contradicted=sorted({*old.contradicted, *new.contradicted}),
                accuracy=new.accuracy or old.accuracy,
                settling=new.settling or old.settling,
            )
    return list(kept.values())


def _merge_values(old: dict[str, list[str]], new: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: list(dict.fromkeys(old.get(name, []) + new.get(name, []))) for name in {**old, **new}}


def _merge_requirements(requirements: list[RequirementInfo], notes: list[str]) -> list[RequirementInfo]:
    kept: dict[str, RequirementInfo] = {}
    for new in requirements:
        old = kept.setdefault(new.id, new)
        if old.revision != new.revision:
            notes.append(f"{new.id} was judged by revisions {old.revision} and {new.revision}.")
            kept[new.id] = max(old, new, key=lambda info: info.revision)
    return sorted(kept.values(), key=lambda info: info.id)
