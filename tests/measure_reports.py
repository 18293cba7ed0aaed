"""Measures the page of 12,000 cells against its budgets: ``python -m tests.measure_reports [FOLDER]``.

Printed are the size of the page, the time that it takes to make, to be ready in Chromium and to switch to another
environment, and its elements. On a busy machine only the size and the processor seconds mean anything.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from reports.html import render
from tests._chromium import ARGUMENTS, CHROMIUM
from tests.sample_large import FULL, large
from tests.sample_results import sample

READY = "performance.getEntriesByType('navigation')[0].domComplete"
SWITCH = """number => {
  const chooser = document.querySelector("select.place");
  chooser.value = number;
  const start = performance.now();
  chooser.dispatchEvent(new Event("change"));
  document.querySelector("table.mx").getBoundingClientRect();
  return performance.now() - start;
}"""
REPEATS = 7


def measured(page: Any, address: str) -> dict[str, float]:
    """Open the page several times; return medians, and the least of all: what others do on the machine only adds."""
    ready, switch = [], []
    for _ in range(REPEATS):
        page.goto(address)
        ready.append(page.evaluate(READY))
        switch += [page.evaluate(SWITCH, number) for number in (1, 2, 3)]
    return {
        "ready in ms (600)": statistics.median(ready),
        "at best": min(ready),
        "switch in ms (50)": statistics.median(switch),
        "switch at best": min(switch),
        "elements": page.evaluate("document.getElementsByTagName('*').length"),
    }


def main(folder: Path) -> None:
    """Make the page, look at it, print."""
    results = large(*FULL)
    render(sample())
    clock, processor = time.perf_counter(), time.process_time()
    html = render(results)
    spent = {"made in s (2)": time.perf_counter() - clock, "of processor": time.process_time() - processor}
    file = folder / "large.html"
    file.write_text(html, encoding="utf-8")
    print(f"{len(results.results)} cells of {FULL[0]} requirements, {FULL[1]} implementations, {FULL[2]} environments")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        found = measured(browser.new_page(viewport={"width": 1440, "height": 900}), file.absolute().as_uri())
        browser.close()
    for name, value in {"size in kB (400)": len(html.encode()) / 1000, **spent, **found}.items():
        print(f"{name:20} {value:8.2f}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made))
