"""The command ``export-vectors``: golden vectors for implementations without Python."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from conformance._console import Debug, clear_errors, fail, say


def export_vectors(
    out: Annotated[Path, typer.Option("-o", metavar="FOLDER", help="Folder to write.")],
    count: Annotated[int, typer.Option("-n", min=1, metavar="N", help="Vectors, evenly over the families.")] = 500,
    dtype: Annotated[
        Literal["float32", "float64", "float16", "bfloat16"], typer.Option(help="Element type of the inputs.")
    ] = "float32",
    grade: Annotated[
        Literal["A", "B", "C"],
        typer.Option(help="Whose errors are allowed: two passes (A), updating formulas (B), E[x²] − E[x]² (C)."),
    ] = "A",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the cases.")] = 1,
    debug: Debug = False,
) -> None:
    """Write single steps with expected values and the allowed error of every element, for any language.

    FOLDER gets vectors.npz; the same as vectors.json with inputs.bin, expected.bin and allowed.bin (raw
    little-endian); and vectors.hpp and check_vectors.cpp, which read and check them in C++.
    """
    with clear_errors(debug):
        from conformance.vectors import export, vectors

        found = vectors(count, dtype, seed, grade)
        try:
            export(found, out)
        except OSError as error:
            fail(f"cannot write to {out}: {error.strerror}", 2)
        say(f"{len(found)} vectors of {dtype} in {out}")
