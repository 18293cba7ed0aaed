"""The gallery's script makes its pages from real runs, and pictures of them; pages of one implementation."""

from pathlib import Path

import pytest

from reports import selection
from reports.records import Results
from reports.store import ResultsError
from tests import gallery
from tests._chromium import CHROMIUM
from tests.sample_large import environments_side_by_side

FEW = ("--in-process", "--cases", "3", "-k", "BN-101 or BN-302 or BN-501", "--seed", "1")


@pytest.fixture(scope="module")
def results() -> Results:
    """Return results of three implementations in two environments."""
    return environments_side_by_side()


def test_pages_and_pictures_come_from_real_runs(tmp_path: Path) -> None:
    """A wrong implementation is run alone and beside the reference; both pages are made, and pictures of parts."""
    gallery.single(tmp_path, *FEW)
    gallery.matrix(tmp_path, *FEW, names=("numpy", gallery.WRONG))
    page = (tmp_path / "single.html").read_text("utf-8")
    assert "OnePassDeclaredTwoPass fails" in page
    assert 'id="matrix"' not in page
    assert 'id="matrix"' in (tmp_path / "matrix.html").read_text("utf-8")
    pytest.importorskip("playwright.sync_api", reason="no run: Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no run: no Chromium (apt-get install chromium)")
    shown = [picture for picture in gallery.SHOWN if picture.page != "nightly.html"]
    made = gallery.pictures(tmp_path, tmp_path / "pictures", shown)
    assert [file.name for file in made] == ["single.png", "failure.png", "ladder.png", "matrix.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") and file.stat().st_size > 5_000 for file in made)


def test_the_committed_pictures_are_small_and_shown() -> None:
    """What the script takes is in the repository, below 300 kB together, and the README shows it with a text."""
    files = [gallery.PICTURES / f"{picture.name}.png" for picture in gallery.SHOWN]
    assert sum(file.stat().st_size for file in files) < 300_000
    shown = "".join((gallery.ROOT / name).read_text("utf-8") for name in ("README.md", "docs/gallery/README.md"))
    assert all(f"{file.name})" in shown for file in files)
    assert "![](" not in shown


def test_a_page_of_one_implementation(results: Results) -> None:
    """A name stands for its environments, or with one for that alone; results and header are of it only."""
    assert [who.name for who in selection.only(results, ["keras"]).header.implementations] == ["keras", "keras@tf1.4"]
    found = selection.only(results, ["keras@tf1.4"])
    assert {result.implementation for result in found.results} == {"keras@tf1.4"}
    assert len(found.results) == 4


def test_an_unknown_implementation_is_refused(results: Results) -> None:
    """A name that the results do not have is answered with those that they have."""
    with pytest.raises(ResultsError, match=r"has no jax; it has tf_graph\.nn, "):
        selection.only(results, ["jax"])
