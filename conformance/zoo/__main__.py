"""Writes the zoo as a document: ``python -m conformance.zoo > docs/zoo.md``."""

from itertools import groupby

from conformance.zoo import FAULTS, TRAINING_FAULTS, VARIANTS, Fault, Variant
from reports._references import links

HEAD = """# The zoo

The faulty implementations that the suite must catch, and the correct ones that it must let pass; `bn-conformance
mutants` runs them all. Each is a subclass of the reference; the themes are the modules of `conformance/zoo/`. After
each fault stand the requirements that must catch it, and, where it is known from the field, the issue. This page is
made by `python -m conformance.zoo`.
"""


def document() -> str:
    """The zoo in Markdown, theme by theme."""
    parts = [HEAD, f"\n{len(FAULTS)} faults, {len(VARIANTS)} correct variants.\n"]
    halls: tuple[tuple[str, tuple[Fault | Variant, ...]], ...] = (
        ("Faults", FAULTS),
        ("Faults that only training shows, to `bn-conformance scenarios`", TRAINING_FAULTS),
        ("Correct variants", VARIANTS),
    )
    for title, exhibits in halls:
        parts.append(f"\n## {title}\n")
        for theme, members in groupby(exhibits, key=lambda exhibit: _theme(exhibit.target)):
            parts.append(f"\n### {theme.capitalize()}\n\n")
            parts += [_entry(member) for member in members]
    return "".join(parts)


def _theme(target: str) -> str:
    return target.partition(":")[0].rpartition(".")[2].replace("_", " ")


def _entry(exhibit: Fault | Variant) -> str:
    line = f'- <a id="{exhibit.name}"></a>**{exhibit.name}**: {exhibit.description}'
    if isinstance(exhibit, Fault):
        known = [f"[{text}]({address})" if address else text for text, address in links(exhibit.reference)]
        facts = [", ".join(exhibit.caught_by), f"known from {', '.join(known)}" if known else ""]
        line += f" *{'; '.join(filter(None, facts))}*" if any(facts) else ""
    return line + "\n"


if __name__ == "__main__":
    print(document(), end="")
