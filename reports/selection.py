"""Takes some implementations out of whole results, so that they get a page of their own."""

from collections.abc import Collection

import msgspec

from reports._environments import split
from reports.records import Results
from reports.store import ResultsError


def only(results: Results, names: Collection[str]) -> Results:
    """Return the results of the named implementations; a name without an environment stands for all of its own.

    Raises:
        ResultsError: there is no such implementation; the text names it and those that there are.
    """
    known = [who.name for who in results.header.implementations]
    for name in names:
        if name not in known and name not in map(_base, known):
            raise ResultsError(results.source, f"has no {name}; it has {', '.join(known)}")
    kept = {name for name in known if name in names or _base(name) in names}
    implementations = [who for who in results.header.implementations if who.name in kept]
    return msgspec.structs.replace(
        results,
        header=msgspec.structs.replace(results.header, implementations=implementations),
        results=[result for result in results.results if result.implementation in kept],
        agreements=[one for one in results.agreements if {one.first, one.second} <= kept],
    )


def _base(name: str) -> str:
    return split(name)[0]
