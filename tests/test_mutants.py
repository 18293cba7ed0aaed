"""Tests of the run over the zoo: what counts as caught, what is recorded, and what the terminal and the page say."""

import re
import time
from pathlib import Path

import msgspec
import pytest

from conformance.families import FAMILIES, in_turn
from conformance.mutants import Options, Subject, TooLongError, fate, judge_all, judge_block, time_limit, zoo
from conformance.pool import Pool, draw
from conformance.zoo import FAULTS, TRAINING_FAULTS, VARIANTS
from reports._references import links
from reports.mutant_records import Exhibit, Margin, read, write
from reports.mutants import closest, render, sentence
from tests._commands import invoke
from tests.sample_mutants import exhibit, mutants


def subject(name: str) -> Subject:
    """An exhibit of the zoo."""
    return next(s for s in zoo() if s.name == name)


def pools(cases: int = 4) -> dict[int, Pool]:
    """A few cases of two families."""
    return {family: draw(family, 1, cases) for family in (1, 3)}


# What an exhibit comes to


@pytest.mark.parametrize(
    ("faulty", "named", "killers", "expected"),
    [
        (True, ("BN-101",), ["BN-102", "BN-101"], "caught"),
        (True, ("BN-101",), ["BN-102"], "caught elsewhere"),
        (True, (), ["BN-102"], "caught"),
        (True, ("BN-101",), [], "survivor"),
        (False, (), [], "passes"),
        (False, (), ["BN-102"], "false alarm"),
    ],
)
def test_fates(faulty: bool, named: tuple[str, ...], killers: list[str], expected: str) -> None:
    """A fault counts as caught where a requirement that names it failed; any failure of a correct one is an alarm."""
    assert fate(Subject("s", "m:C", "", "", faulty, "1", named), killers) == expected


def test_zoo_is_whole() -> None:
    """All faults and variants take part, unless one kind is left out."""
    assert len(zoo()) == len(FAULTS) + len(TRAINING_FAULTS) + len(VARIANTS)
    assert all(s.faulty for s in zoo(variants=False))
    assert not any(s.faulty for s in zoo(faults=False))


def test_families_in_turn() -> None:
    """The order of the families loses none."""
    assert sorted(in_turn(FAMILIES)) == sorted(FAMILIES)
    assert sorted(in_turn(FAMILIES, rest=True)) == sorted(FAMILIES)
    assert sorted(in_turn([9, 1, 8])) == [1, 8, 9]


@pytest.mark.parametrize("workers", [1, 2])
def test_judges_faults_and_variants(workers: int) -> None:
    """A fault ends once all that name it have failed; a variant, and with ``whole`` a fault, sees every case."""
    chosen = [subject("decay-reversed"), subject("reciprocal-of-count")]
    blocks = judge_all(chosen, pools(), Options(seen=2), workers)
    found = {e.name: e for block in blocks for e in block}
    caught, passing = found["decay-reversed"], found["reciprocal-of-count"]

    assert caught.fate == "caught"
    assert set(caught.named) <= {k.requirement for k in caught.kills}
    assert [k.cases for k in caught.kills] == sorted(k.cases for k in caught.kills)
    assert caught.cases < passing.cases == 8
    assert passing.fate == "passes"
    assert passing.checks > 8 * 10
    ratios = [float(margin.ratio) for margin in passing.margins]
    assert ratios == sorted(ratios, reverse=True)
    assert {"y", "dx", "moving_mean"} <= {margin.quantity for margin in passing.margins}
    assert 0 < ratios[0] <= 1
    assert not caught.margins

    (whole,) = judge_block([subject("decay-reversed")], pools(), Options(seen=2, whole=True))
    assert whole.cases == 8
    assert {k.requirement for k in whole.kills} >= {k.requirement for k in caught.kills}


def test_a_neighbour_changes_nothing() -> None:
    """What a fault comes to does not depend on the exhibits that share the oracle's work with it."""
    names = ("decay-reversed", "unbiased-normalization", "unbiased-moving-variance", "one-pass")
    together = judge_block([subject(name) for name in names], pools(), Options(whole=True))
    alone = [judge_block([subject(name)], pools(), Options(whole=True))[0] for name in names]

    for a, b in zip(together, alone, strict=True):
        assert [(k.requirement, k.cases, k.ratio) for k in a.kills] == [
            (k.requirement, k.cases, k.ratio) for k in b.kills
        ]
        assert (a.fate, a.cases, a.checks) == (b.fate, b.cases, b.checks)


def test_time_limit() -> None:
    """What takes too long is stopped, and the limit is gone afterwards."""
    with pytest.raises(TooLongError, match="more than"), time_limit(0.05):
        time.sleep(5)
    with time_limit(0.05):
        pass
    time.sleep(0.1)


# The command


def test_command(tmp_path: Path) -> None:
    """A run over part of the zoo prints themes, kills and the verdict, and writes records and page."""
    arguments = ["mutants", "decay-reversed", "reciprocal-of-count", "--cases", "3", "--out", str(tmp_path / "new")]
    ended = invoke(*arguments)

    assert ended.code == 0, ended.err
    assert re.search(r"moving +1 ", ended.out)
    assert re.search(r"decay-reversed .*301\*", ended.out)
    assert "All 1 fault caught, none of 1 correct variant flagged." in ended.out
    found = read(tmp_path / "new" / "mutants.jsonl")
    assert [e.name for e in found.exhibits] == ["decay-reversed", "reciprocal-of-count"]
    assert "decay-reversed" in (tmp_path / "new" / "mutants.html").read_text(encoding="utf-8")


def test_survivors_end_with_1() -> None:
    """A fault that no case shows makes the exit code 1 and is named."""
    ended = invoke("mutants", "gradient-buffer-reused", "single-element-view-of-beta", "--cases", "1")

    survivors = re.findall(r"^survivor: ([\w-]+)", ended.out, re.MULTILINE)
    assert survivors
    assert ended.code == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["moveing"], "'moveing': did you mean moving or"),
        (["--faults-only", "--variants-only"], "leave nothing"),
        (["--out", __file__], "cannot write to the output folder"),
    ],
)
def test_mistakes(arguments: list[str], message: str) -> None:
    """What makes no sense ends with code 2 and one message."""
    ended = invoke("mutants", *arguments)

    assert ended.code == 2
    assert message in ended.err


# Records and page


def test_records_come_back(tmp_path: Path) -> None:
    """What is written is read again; a file without its footer is refused."""
    run = mutants(exhibit(), exhibit("two", "survivor", kills=[]))
    write(run, tmp_path / "m.jsonl")
    assert read(tmp_path / "m.jsonl") == run

    lines = (tmp_path / "m.jsonl").read_bytes().splitlines()
    (tmp_path / "m.jsonl").write_bytes(b"\n".join(lines[:-1]))
    with pytest.raises(ValueError, match="no whole file"):
        read(tmp_path / "m.jsonl")


def test_page_escapes_and_names_all() -> None:
    """The page has every exhibit, escapes what others wrote, and is the same for the same run."""
    run = mutants(
        exhibit("a<script>"),
        exhibit("two", "survivor", kills=[]),
        exhibit("three", "caught elsewhere", named=["BN-102"]),
        exhibit("four", "false alarm", faulty=False, family="", named=[]),
    )
    page = render(run)

    assert page == render(run)
    assert "<script" not in page
    assert "a&lt;script&gt;" in page
    assert "&lt;b&gt;far &amp; off&lt;/b&gt;" in page
    assert "<i>wrong" not in page
    assert all(page.count(name) >= 2 for name in ("two", "three", "four"))
    assert "not by BN-102, which name it" in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page


def test_smallest_margins() -> None:
    """Of each quantity the page names the variant that came closest to its bound, and counts those above a half."""

    def variant(name: str, **ratios: float) -> Exhibit:
        margins = [Margin(quantity=quantity, requirement="BN-101", ratio=ratio) for quantity, ratio in ratios.items()]
        return exhibit(
            name, "passes", faulty=False, family="", named=[], kills=[], margins=msgspec.to_builtins(margins)
        )

    run = mutants(exhibit(), variant("near", y=0.9, dx=0.2), variant("far", y=0.6, dx=0.3))

    assert closest(run.exhibits) == [("y", 0.9, "near", "BN-101", 2), ("dx", 0.3, "far", "BN-101", 0)]
    assert '<a href="#x:near">near</a>' in render(run)
    assert "Margins" not in render(mutants(exhibit()))


def test_sentences() -> None:
    """The verdict counts survivors and false alarms."""
    assert sentence(mutants(exhibit())) == "All 1 fault caught"
    missed = mutants(exhibit(), exhibit("b", "survivor"), exhibit("c", "false alarm", faulty=False))
    assert sentence(missed) == "1 of 2 faults caught, 1 of 1 correct variant flagged"
    assert missed.footer.exit_code == 1


def test_references_become_links() -> None:
    """Issues of known repositories get their address; everything else stays as it is."""
    assert links("tensorflow#11965, #14809, Li 2020") == [
        ("tensorflow#11965", "https://github.com/tensorflow/tensorflow/issues/11965"),
        ("#14809", "https://github.com/tensorflow/tensorflow/issues/14809"),
        ("Li 2020", ""),
    ]
    assert links("pytorch/examples#289") == [
        ("pytorch/examples#289", "https://github.com/pytorch/examples/issues/289"),
    ]
    assert links("") == []


def test_references_of_the_zoo_have_addresses() -> None:
    """Every reference of the zoo to an issue leads somewhere."""
    found = [link for fault in FAULTS for link in links(fault.reference)]

    assert found
    assert all(address for text, address in found if "#" in text)
