"""The command ``bn-conformance checkpoints``."""

from typing import Annotated

import typer

from conformance._console import CacheFolder, Debug, EnvironmentsFile, PathOption, clear_errors, ready, say


def checkpoints(
    first: Annotated[str, typer.Argument(metavar="FROM", help="Who saves, as NAME@ENV.")],
    second: Annotated[str, typer.Argument(metavar="TO", help="Who restores, as NAME@ENV.")],
    path: PathOption = None,
    environments: EnvironmentsFile = None,
    cache: CacheFolder = None,
    debug: Debug = False,
) -> None:
    """Tell whether a layer that FROM trained and saved goes on in TO: the same state, inference and training.

    Exit codes: 0 all layers go on; 1 one is not what it was; 2 no such implementation; 3 one cannot be restored.
    """
    with clear_errors(debug):
        from conformance.checkpoints import carry
        from conformance.introduction import meet
        from conformance.targets import resolve

        code = 0
        (one,), (other,) = [ready(resolve([name]), False, environments, cache) for name in (first, second)]
        places = tuple(path or ())
        with meet(one, path=places, smoked=False) as mine, meet(other, path=places, smoked=False) as theirs:
            for found in carry(mine, theirs):
                spec = found.spec
                who = f"shape {spec.shape} axis {spec.axis[0]} center={spec.center} scale={spec.scale}"
                say(f"{who}: {found.absent or found.refused or found.differs or 'goes on as it was'}")
                code = 1 if found.differs or code == 1 else 3 if found.refused or code == 3 else 0
    raise typer.Exit(code)
