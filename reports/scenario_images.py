"""Writes plots of scenarios as SVG: ``python -m reports.scenario_images figures.json IMPLEMENTATION FOLDER``."""

import sys
from pathlib import Path

from reports._scenarios import Drawn, Plot, groups
from reports.html import environment
from reports.scenario_records import Figures, read

#: Extents of one drawn panel.
PANEL = 356, 232


def images(found: Figures, implementation: str) -> dict[str, str]:
    """Each figure of an implementation that has plots, as a drawing by its name."""
    template = environment().get_template("scenario_image.svg.j2")
    made = {}
    for group in groups(found):
        for drawn in group.drawn:
            if drawn.figure.implementation == implementation and drawn.plots:
                made[drawn.figure.name] = template.render(_page(drawn))
    return made


def _page(drawn: Drawn) -> dict[str, object]:
    wide, high = PANEL
    plots: list[tuple[int, Plot]] = [(k * wide, plot) for k, plot in enumerate(drawn.plots)]
    return {"drawn": drawn, "plots": plots, "width": wide * len(plots), "height": high + 22}


def main(arguments: list[str]) -> None:
    """Write the drawings into a folder."""
    source, implementation, folder = arguments
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, drawing in images(read(Path(source)), implementation).items():
        (Path(folder) / f"{name}.svg").write_text(drawing, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
