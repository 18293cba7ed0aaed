"""Tests of the HTML report as text; test_report_browser.py drives it in a browser."""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.html import render
from reports.records import OUTCOMES, Counterexample, Examples, Histogram, Mismatch, Number, Results
from reports.verdict import verdict
from tests.sample_results import HOSTILE, hostile, only, sample

replace = msgspec.structs.replace


@pytest.fixture(scope="module")
def results() -> Results:
    """Return sample results."""
    return sample()


class Page(HTMLParser):
    """The tags, attributes, texts and scripts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag and its attributes."""
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._inside = tag if tag in self.raw else ""

    def handle_data(self, data: str) -> None:
        """Note text, and what scripts and styles hold."""
        (self.raw[self._inside] if self._inside else self.texts).append(data)

    def handle_endtag(self, tag: str) -> None:
        """Leave a script or style."""
        self._inside = ""

    def of(self, name: str) -> list[str]:
        """Return all values of an attribute."""
        return [value for _, attribute, value in self.attributes if attribute == name]


class TestContents:
    """What the page says."""

    def test_everything_is_on_the_page_without_scripts(self, results: Results) -> None:
        """Names, claims, reasons, causes, messages, code, commands and conventions are in the static HTML."""
        text = " ".join(" ".join(Page(render(results)).texts).split())
        expected = [who.name for who in results.header.implementations]
        expected += [info.id for info in results.header.requirements]
        expected += [result.reason for result in results.results if result.outcome not in ("pass", "no run")]
        expected += [result.cause for result in results.results if result.outcome == "fail"]
        expected += ["bn-conformance replay results/cases/worst.npz", "98112.03125", "0x1.e666666666666p+0"]
        expected += ["AVX512", "separate update", "second order", "by convention", "checks per second".capitalize()]
        expected += ["seen: raised to 1.001e-05", "but seen: biased"]
        assert [words for words in expected if " ".join(words.split()) not in text] == []

    def test_every_outcome_has_its_own_sign(self, results: Results) -> None:
        """Shape and word differ by outcome, so that colour is never the only sign."""
        html = render(results)
        shapes = dict(re.findall(r'<symbol id="i:([a-z-]+)"[^>]*>(.*?)</symbol>', html))
        assert len(set(shapes.values())) == len(OUTCOMES)
        for outcome in OUTCOMES:
            kind = outcome.replace(" ", "-")
            assert f'href="#i:{kind}"' in html
            assert f".c.{kind}" in html or kind == "pass"

    def test_smallest_and_worst_are_told_apart(self, results: Results) -> None:
        """Both counterexamples are shown with their ratios, and it is said which is which."""
        text = " ".join(Page(render(results)).texts)
        assert "Smallest counterexample" in text
        assert "Worst counterexample" in text
        assert "Smallest counterexample seen, not shrunk" in text

    def test_scripts_are_shown_or_it_is_said_why_not(self, results: Results) -> None:
        """A script is on the page, a long one by its file's name; where there is none, the reason is."""
        said = {"a script": {"script": "import norm"}, "long": {"script_file": "cases/long.py"}}
        said["none"] = {"no_script": "there are no words for it"}
        for changes in said.values():
            changed = [
                msgspec.structs.replace(
                    result,
                    counterexamples=[msgspec.structs.replace(c, **changes) for c in result.counterexamples],
                )
                for result in results.results
            ]
            text = " ".join(Page(render(msgspec.structs.replace(results, results=changed))).texts)
            assert ("With the framework and NumPy alone." in text) == ("script" in changes)
            assert ("cases/long.py" in text) == ("script_file" in changes)
            assert ("No script without the suite: there are no words for it." in text) == ("no_script" in changes)

    def test_failures_of_one_cause_stand_together(self, results: Results) -> None:
        """Three failures with one likely cause make one article with two further entries."""
        html = render(results)
        article = html[html.index('<article class="fa fail" id="BN-301-tf_graph.fused"') :].split("</article>")[0]
        assert 'id="BN-302-tf_graph.fused"' in article
        assert 'id="BN-304-tf_graph.fused"' in article
        assert article.count("are swapped") == 1

    def test_all_links_lead_somewhere(self, results: Results) -> None:
        """Every fragment link names an element of the page, and no id is used twice."""
        page = Page(render(results))
        ids = page.of("id")
        assert len(ids) == len(set(ids))
        assert {link[1:] for link in page.of("href") if link.startswith("#")} <= set(ids)

    def test_proven_ratio_is_explained(self, results: Results) -> None:
        """Beyond the proven bound the page says that no order of summation explains the error."""
        failing = next(r for r in results.results if r.outcome == "fail" and r.worst_ratio != "nan")
        beyond, within = "Wrong whatever the order of summation", "some order of summation could explain it"
        for ratio, words, other in ((3.5, beyond, within), (0.25, within, beyond)):
            html = render(replace(results, results=[replace(failing, proven_ratio=ratio)]))
            assert words in html
            assert other not in html

    def test_incomplete_runs_say_so(self, results: Results) -> None:
        """A cut-off file's note, the headline and the accounting all say that the run is incomplete."""
        cut = replace(results, footer=None, results=results.results[:20], notes=["x.gz was cut off after line 21."])
        text = " ".join(Page(render(cut)).texts)
        assert "Incomplete run:" in text
        assert "x.gz was cut off after line 21." in text
        assert "before it could account for itself" in text

    def test_one_implementation_needs_no_matrix(self, results: Results) -> None:
        """A single implementation shows its open list of requirements instead of a matrix with one column."""
        html = render(only(results, "torch", requirements=30))
        assert 'id="matrix"' not in html
        assert '<details class="listing" open>' in html

    def test_an_unfinished_run_of_nothing_renders(self, results: Results) -> None:
        """A file that holds nothing but its header still makes a page."""
        header = replace(results.header, implementations=[], requirements=[])
        assert "Nothing was checked" in render(Results(header=header, results=[], agreements=[], footer=None))


class TestSafety:
    """What comes from adapters is text and nothing else."""

    def test_hostile_strings_make_no_markup(self, results: Results) -> None:
        """With hostile strings in every field the page has the same tags, in the same order, as without."""
        free = {"span", "wbr"}  # highlighting and soft breaks depend on the text
        tame, wild = (
            [tag for tag in Page(render(found)).tags if tag not in free] for found in (results, hostile(results))
        )
        assert wild == tame

    def test_hostile_strings_make_no_attributes(self, results: Results) -> None:
        """There are no event handlers, and the only addresses are fragments and the page's own icon."""
        page = Page(render(hostile(results)))
        assert [name for _, name, _ in page.attributes if name.startswith("on")] == []
        assert page.of("src") == []
        assert {re.split("[,;]", link)[0] for link in page.of("href") if not link.startswith("#")} == {
            "data:image/svg+xml"
        }

    def test_hostile_strings_stay_out_of_identifiers_and_styles(self, results: Results) -> None:
        """Identifiers, classes and inline styles are ours or reduced to harmless characters."""
        page = Page(render(hostile(results)))
        for name in ("id", "class", "style", "href", "data-c"):
            allowed = r"[A-Za-z0-9_.:;#%(), /'+=-]*"
            assert [value for value in page.of(name) if not re.fullmatch(allowed, value)] == []

    def test_data_cannot_leave_its_script(self, results: Results) -> None:
        """The embedded JSON holds no "<" and decodes to what was put in."""
        data, _ = Page(render(hostile(results))).raw["script"]
        assert "<" not in data
        assert "<img src=x onerror=alert(1)>" in json.loads(data)["implementations"][0][0]

    def test_only_our_script_may_run(self, results: Results) -> None:
        """The content security policy allows no network, and of scripts only ours, by its hash."""
        html = render(hostile(results))
        _, script = Page(html).raw["script"]
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy = next(value for value in Page(html).of("content") if value.startswith("default-src"))
        assert policy.startswith("default-src 'none'; ")
        assert f"script-src 'sha256-{digest}';" in policy
        assert "http" not in policy

    def test_hidden_characters_are_shown(self, results: Results) -> None:
        """Bidirectional overrides, escape sequences and surrogates appear as escapes; the page is valid UTF-8."""
        html = render(hostile(results))
        html.encode("utf-8")
        assert not set("\u202e\x1b\x00\udc80") & set(html)
        assert "\\u202eevil\\x1b[31m\\x00\\udc80" in html

    def test_endless_strings_are_cut(self, results: Results) -> None:
        """A megabyte of output from an adapter does not make a megabyte of report."""
        long = "x" * 1_000_000
        first = next(result for result in results.results if result.outcome == "error")
        example = replace(first.counterexamples[0], code=long, message=long)
        cells = [replace(first, reason=long, stderr=[long], counterexamples=[example])]
        assert len(render(replace(results, results=cells))) < 400_000

    def test_commands_are_quoted(self, results: Results) -> None:
        """A command copied from the page into a shell runs no part of an implementation's name."""
        who = [replace(results.header.implementations[0], name="x; rm -rf ~")]
        cells = [replace(r, implementation="x; rm -rf ~") for r in results.results if r.outcome == "fail"][:1]
        evil = replace(results, header=replace(results.header, implementations=who), results=cells, agreements=[])
        assert f"bn-conformance run 'x; rm -rf ~' -k {cells[0].requirement}" in " ".join(Page(render(evil)).texts)


class TestBudget:
    """Same data, same bytes; small and fast."""

    def test_same_data_same_bytes(self, results: Results) -> None:
        """Two renderings are equal, also in another process with other hash seeds."""
        code = (
            "import hashlib, sys; sys.path.insert(0, sys.argv[1])\n"
            "from reports.html import render; from tests.sample_results import sample\n"
            "print(hashlib.sha256(render(sample()).encode()).hexdigest())"
        )
        root = str(Path(__file__).parent.parent)
        digests = {hashlib.sha256(render(results).encode()).hexdigest()}
        for seed in "12":
            environment = {**os.environ, "PYTHONHASHSEED": seed}
            run = subprocess.run([sys.executable, "-c", code, root], env=environment, capture_output=True, check=True)
            digests.add(run.stdout.decode().strip())
        assert len(digests) == 1

    def test_size_and_time(self, results: Results) -> None:
        """Five implementations and 35 requirements stay below 400 kB, and render within two seconds."""
        start = time.perf_counter()
        size = len(render(results).encode())
        assert time.perf_counter() - start < 2
        assert size < 400_000


numbers: st.SearchStrategy[Number] = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["nan", "inf", "-inf"])
)
counts = st.integers(0, 2**62)
texts = st.text(max_size=20) | st.just(HOSTILE)
examples = st.builds(Examples, **dict.fromkeys(Examples.__struct_fields__, counts))
histograms = st.builds(
    Histogram, low=st.integers(-(2**62), 2**62), counts=st.lists(counts, max_size=30), exact=counts, nonfinite=counts
)
mismatches = st.builds(
    Mismatch,
    quantity=texts,
    step=st.integers(-1, 9),
    index=st.lists(counts, max_size=5),
    got=numbers,
    expected=numbers,
    allowed=numbers,
    ratio=numbers,
)
counterexamples = st.builds(
    Counterexample,
    kind=st.sampled_from(["smallest", "smallest seen", "worst"]),
    ratio=numbers,
    code=texts,
    message=texts,
    mismatches=st.lists(mismatches, max_size=3),
    facts=st.dictionaries(texts, texts, max_size=2),
)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_valid_record_renders(data: st.DataObject) -> None:
    """Whatever the schema allows makes a page with balanced numbers and no exception: extremes, NaN, odd texts."""
    found = only(sample(), "torch", "keras", requirements=2)
    cells = [
        replace(
            cell,
            outcome=data.draw(st.sampled_from(OUTCOMES)),
            reason=data.draw(texts),
            cause=data.draw(texts),
            worst_ratio=data.draw(st.none() | numbers),
            proven_ratio=data.draw(st.none() | numbers),
            smallest_ratio=data.draw(st.none() | numbers),
            examples=data.draw(examples),
            histogram=data.draw(histograms),
            counterexamples=data.draw(st.lists(counterexamples, max_size=3)),
        )
        for cell in found.results
    ]
    page = Page(render(replace(found, results=cells)))
    assert sum(verdict(replace(found, results=cells)).tally.values()) == 4
    assert page.tags.count("article") == page.tags.count("h3")
