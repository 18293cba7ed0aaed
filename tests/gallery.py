"""Makes the gallery of reports from real runs: ``python -m tests.gallery [FOLDER]``.

Runs a wrong implementation alone, several implementations in two environments, and three nights of which the second
brings a fault; makes their pages in FOLDER (default: results/gallery) and takes the pictures in docs/gallery.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests._chromium import ARGUMENTS, CHROMIUM

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "gallery"
WIDTH = 1000

WRONG = "conformance.zoo.numerics:OnePassDeclaredTwoPass"
MATRIX = ("numpy", "torch", "tf_graph.fused", "tf_graph.fused@tf1.4", WRONG)
#: The layer of the nights, before and after somebody keeps the decay in half precision.
LAYER = '''"""A layer of somebody's own."""

import numpy as np
from adapters.numpy_reference import NumpyLayer, NumpyReference


class MyLayer(NumpyLayer):
    """Keeps moving statistics."""

    def moving(self, old, batch):
        """The new moving value."""
        decay = self.compute.type({decay})
        return decay * old + (1 - decay) * batch.reshape(old.shape)


class MyNorm(NumpyReference):
    """Plain two-pass NumPy."""

    layer = MyLayer
'''
RIGHT_LAYER, WRONG_LAYER = (LAYER.format(decay=decay) for decay in ("self.spec.decay", "np.float16(self.spec.decay)"))
NIGHTS = (RIGHT_LAYER, WRONG_LAYER, WRONG_LAYER)


class Picture(NamedTuple):
    """A part of a page: what to show, and how much of it."""

    name: str
    page: str
    selector: str
    height: int
    scheme: str = "light"


SHOWN = (
    Picture("single", "single.html", "#requirements", 520),
    Picture("failure", "single.html", "article.fa", 560),
    Picture("ladder", "single.html", "#accuracy .pairs", 380, "dark"),
    Picture("matrix", "matrix.html", "#matrix", 480),
    Picture("nightly", "nightly.html", "main", 520),
)


def command(*words: str, expected: Sequence[int] = (0, 1, 3)) -> None:
    """Run a command of the suite from the root of the repository. Raises RuntimeError where it cannot be done."""
    code = subprocess.run([sys.executable, "-m", "conformance", *words], cwd=ROOT, check=False).returncode
    if code not in expected:
        raise RuntimeError(f"bn-conformance {' '.join(words)} ended with exit code {code}")


def single(folder: Path, *more: str) -> None:
    """Run a wrong implementation alone."""
    command("run", WRONG, "--profile", "quick", "--out", str(folder / "single"), *more)
    shutil.copy(folder / "single" / "report.html", folder / "single.html")


def matrix(folder: Path, *more: str, names: Sequence[str] = MATRIX) -> None:
    """Run several implementations in two environments."""
    command("run", *names, "--profile", "quick", "--timeout", "120", "--out", str(folder / "matrix"), *more)
    shutil.copy(folder / "matrix" / "report.html", folder / "matrix.html")


def nights(folder: Path, *more: str) -> None:
    """Run three nights; the second brings a fault."""
    layer = folder / "layer.py"
    history = ["--history", str(folder / "history")]
    for number, text in enumerate(NIGHTS, 1):
        layer.write_text(text, encoding="utf-8")
        out = folder / f"night{number}"
        names = ["numpy", f"{layer}:MyNorm"]
        command("run", *names, "--profile", "quick", "--seed", str(number), "--out", str(out), *more)
        pages = ["--out", str(folder / f"pages{number}")]
        command("history", "add", str(out), "--night", f"2026110{number}T050000Z", *history, *pages)
    shutil.copy(folder / "pages2" / "nightly.html", folder / "nightly.html")


def pictures(folder: Path, out: Path, shown: Sequence[Picture] = SHOWN) -> list[Path]:
    """Take the pictures of the pages in a folder."""
    from playwright.sync_api import sync_playwright

    out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        made = [_taken(browser, picture, folder, out) for picture in shown]
        browser.close()
    return made


def _taken(browser: Any, picture: Picture, folder: Path, out: Path) -> Path:
    view = {"width": WIDTH, "height": picture.height}
    page = browser.new_page(viewport=view, color_scheme=picture.scheme, reduced_motion="reduce")
    page.goto((folder / picture.page).absolute().as_uri())
    box = page.locator(picture.selector).first.bounding_box()
    top, height = box["y"], min(box["height"], picture.height)
    clip = {"x": box["x"], "y": top, "width": box["width"], "height": height}
    file = out / f"{picture.name}.png"
    page.screenshot(path=file, full_page=True, clip=clip)
    page.close()
    return file


def main(folder: Path) -> None:
    """Make all pages, then their pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    single(folder)
    matrix(folder, "--cases", "5")
    nights(folder, "--cases", "40")
    for file in pictures(folder, PICTURES):
        print(f"{file.stat().st_size / 1000:6.1f} kB  {file.name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "results" / "gallery")
