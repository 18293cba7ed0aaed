"""The browser of all tests of pages, which is started once, and pages that must do nothing but be there."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests._chromium import ARGUMENTS, CHROMIUM, Observed, Page


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Start Chromium once."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no run: Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no run: no Chromium (apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def observed() -> Observed:
    """Return what the pages of this test did wrong; it must stay empty."""
    return Observed()


@pytest.fixture
def open_page(browser: Any, files: dict[str, Path], observed: Observed) -> Iterator[Callable[..., Page]]:
    """Return a function that opens a module's page; afterwards there must have been no error and no request."""
    contexts = []

    def opened(name: str = "sample", width: int = 1440, fragment: str = "", **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, reduced_motion="reduce", **options)
        contexts.append(context)
        page = context.new_page()
        observed.watch(page)
        page.goto(files[name].as_uri() + fragment)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert observed.errors == []
    assert {url.split("#")[0] for url in observed.requests} <= {path.as_uri() for path in files.values()}
