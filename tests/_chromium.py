"""Chromium for the tests of pages: how it is started, and what is asked of every page."""

import shutil
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SWITCHED_OFF = ("gpu", "quic", "background-networking", "component-update", "sync")
ARGUMENTS = ["--headless", "--no-sandbox", "--no-first-run", *(f"--disable-{name}" for name in SWITCHED_OFF)]
WIDTHS = (1440, 390)
Page = Any


class Observed:
    """What a page did that it must not do."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.requests: list[str] = []

    def watch(self, page: Page) -> None:
        """Note errors, dialogs and requests of a page."""
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", lambda dialog: self.errors.append(f"dialog: {dialog.message}"))
        page.on("console", lambda message: self.errors.append(message.text))
        page.on("request", lambda request: self.requests.append(request.url))


def open_everything(page: Page) -> None:
    """Open all details."""
    page.evaluate("() => { for (const d of document.querySelectorAll('details')) d.open = true; }")


def violations(page: Page) -> list[tuple[str, list[str]]]:
    """Return the accessibility rules that axe-core finds violated, with the start of the elements concerned."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no run: axe-core is not installed")
    found = axe.Axe().run(page).response["violations"]
    return [(rule["id"], [node["html"][:120] for node in rule["nodes"][:3]]) for rule in found]


def passed_by_tab(page: Page, holders: str) -> set[str]:
    """Press Tab through the whole page; return the ids of the elements of these kinds that it came through."""
    reached: list[str] = []
    here = f"document.activeElement.closest('{holders}, body').id"
    while page.keyboard.press("Tab") or page.evaluate("document.activeElement !== document.body"):
        reached.append(page.evaluate(here))
        assert len(reached) < 1000
    return set(reached)


def clipped_rings(page: Page) -> list[str]:
    """Return what could have the focus, but with its ring cut off by what is laid out late around it."""
    found: list[str] = page.evaluate(
        """() => {
          const late = [...document.querySelectorAll("*")].filter(
            (element) => getComputedStyle(element).contentVisibility === "auto");
          for (const element of late) element.style.contentVisibility = "visible";
          return late.flatMap((around) => {
            const room = around.getBoundingClientRect();
            return [...around.querySelectorAll("a[href], button, summary, [tabindex='0']")].filter((element) => {
              const box = element.getBoundingClientRect();
              const within = element.parentElement.closest(".scroll, pre");
              if (!box.width || (within && around.contains(within))) return false;
              element.focus({ focusVisible: true, preventScroll: true });
              const style = getComputedStyle(element);
              const ring = parseFloat(style.outlineWidth) + parseFloat(style.outlineOffset);
              return box.left - ring < room.left || box.right + ring > room.right
                || box.top - ring < room.top || box.bottom + ring > room.bottom;
            }).map((element) => element.outerHTML.slice(0, 120));
          });
        }"""
    )
    return found
