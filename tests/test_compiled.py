"""Tests of compiled templates: they are kept, and a folder that cannot be written costs nothing but time."""

from pathlib import Path

import jinja2
import pytest

from reports._compiled import compiled


def _rendered(cache: jinja2.BytecodeCache | None, templates: Path) -> str:
    loader = jinja2.FileSystemLoader(templates)
    return jinja2.Environment(loader=loader, bytecode_cache=cache, autoescape=True).get_template("t").render(a="<b>")


@pytest.fixture
def templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one template; the user's cache is beside it."""
    (tmp_path / "t").write_text("{{ a }}!", encoding="utf-8")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: tmp_path / "cache")
    return tmp_path


def test_templates_are_compiled_once(templates: Path) -> None:
    """The second time nothing is written; a template that has changed is compiled anew."""
    assert _rendered(compiled(), templates) == "&lt;b&gt;!"
    (kept,) = (templates / "cache" / "templates").iterdir()
    written = kept.stat().st_mtime_ns
    assert _rendered(compiled(), templates) == "&lt;b&gt;!"
    assert kept.stat().st_mtime_ns == written
    (templates / "t").write_text("{{ a }}?", encoding="utf-8")
    assert _rendered(compiled(), templates) == "&lt;b&gt;?"


def test_no_folder_costs_time_alone(templates: Path) -> None:
    """A file where the folder should be, or one that vanishes, is no error."""
    (templates / "cache").mkdir()
    (templates / "cache" / "templates").write_text("a file")
    assert compiled() is None
    (templates / "cache" / "templates").unlink()
    cache = compiled()
    (templates / "cache" / "templates").rmdir()
    assert _rendered(cache, templates) == "&lt;b&gt;!"
