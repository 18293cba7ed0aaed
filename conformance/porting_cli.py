"""The command ``bn-conformance porting``."""

from pathlib import Path
from typing import Annotated

import typer

from conformance._console import Debug, clear_errors, say


def porting(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="What `conventions --json` printed.")],
    debug: Debug = False,
) -> None:
    """Tell how measured implementations differ, and what to set in B to get what A does, as Markdown."""
    with clear_errors(debug):
        from conformance.porting import conventions_table, porting_table, read

        measured = read(files)
        for line in (*conventions_table(measured), "", *porting_table(measured)):
            say(line)
