"""Keeps compiled templates in the user's cache: compiling them took a third of a second of every run."""

import contextlib
import os

import jinja2
import platformdirs
from jinja2.bccache import Bucket


class Compiled(jinja2.FileSystemBytecodeCache):
    """A cache that may be lost at any time: where it cannot be written, templates are compiled in every run."""

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Write a template's code, if that can be done."""
        with contextlib.suppress(OSError):
            super().dump_bytecode(bucket)


def compiled() -> jinja2.BytecodeCache | None:
    """The cache, in a folder of its own; None where there can be none."""
    folder = platformdirs.user_cache_path("bn-conformance", appauthor=False) / "templates"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return Compiled(str(folder)) if os.access(folder, os.W_OK) else None
