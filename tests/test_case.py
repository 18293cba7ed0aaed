"""Cases: they print as code, hash, travel, are saved and loaded, and mean the same everywhere."""

import hashlib
import inspect
import json
import math
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import msgspec
import numpy as np
import pytest

import conformance.case
from adapters.interface import Array, Spec
from conformance._results import code
from conformance.case import (
    ApplyUpdates,
    Case,
    CaseError,
    Channel,
    Drawn,
    GetState,
    Given,
    Gradient,
    Infer,
    SetState,
    Start,
    Train,
    given,
    load,
    save,
)
from conformance.families import FAMILIES
from conformance.pool import draw

ROOT = Path(__file__).parent.parent
SPEC = Spec((None, 3, None), (1,), 1e-3, 0.9)
X = Drawn((4, 2), (Channel("normal", 0.5, 2.0), Channel("outlier", 1e3, 1.0)), 7)
CASE = Case(
    SPEC,
    (Start("distinct", "mixed", "random", "near", 3), Start()),
    (
        Train(X, Gradient("normal", 2.0, 5)),
        SetState(Start(None, "distinct", None, "random", 4), 1),
        Infer(X, Gradient("one-hot"), 1),
        GetState(1),
        Train(Drawn((1, 1), (Channel("ulp", 1e4, 1.0),), 1), None, 1, update=False),
        ApplyUpdates(1),
        Infer(Drawn((2, 3), (Channel("exact"),), 9)),
    ),
    "end",
    True,
)

ARRAYS = {
    "float32": np.array([0.1, 1 / 3, 1e-45, 3.4028235e38, 16777216.0], np.float32),
    "not finite": np.array([np.inf, -np.inf, np.nan, -0.0, 0.0], np.float32),
    "negative NaN": np.array([-np.nan, 1.0], np.float32),
    "other NaN": np.array([0x7FC00001, 0x3F800000], np.uint32).view(np.float32),
    "float16": np.array([[0.1, -2.5], [6e-8, 65504]], np.float16),
    "bfloat16": np.array([0.1, 3e38, -0.0], ml_dtypes.bfloat16),
    "float64": np.array([[[1 / 3]], [[5e-324]]], np.float64),
    "number": np.array(2.5, np.float32),
    "NaN alone": np.array(np.nan, np.float32),
    "no rows": np.zeros((0, 3), np.float32),
    "no columns": np.zeros((2, 0, 1), np.float64),
    "backwards": np.arange(6, dtype=np.float32).reshape(2, 3)[:, ::-1],
    "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "big-endian": np.array([1.5, -2.0], ">f4"),
}
#: What is put where in a saved CASE, and a part of the message that must come.
DAMAGES: list[tuple[str, Any, str]] = [
    ("read", "sometimes", "read"),
    ("program 0 type", "fly", "fly"),
    ("program 0 x shape", [4, 3, 3], "reshape"),
    ("program 0 x shape", [3, 4, 2], "step 0: x of shape (3, 4, 2)"),
    ("program 0 x shape", [12, 2], "step 0: x of shape (12, 2)"),
    ("program 0 x dtype", "float99", "float99"),
    ("program 0 x dtype", "object", "OBJECT"),
    ("program 0 x data", "AAAA", "buffer size"),
    ("program 0 dy shape", [2, 3, 4], "step 0: dy of shape (2, 3, 4)"),
    ("program 0 dy dtype", "int32", "step 0: dy is int32"),
    ("program 2 layer", 2, "step 2 is on layer 2 of 2"),
    ("program 2 layer", -1, "step 2 is on layer -1 of 2"),
    ("starts", [], "no layer"),
    ("starts 1 moving_mean", None, "layer 1 starts without moving_mean"),
    ("starts 0 beta shape", [2], "reshape"),
    ("starts 0", {"type": "start", "seed": -1}, "non-negative"),
    ("spec 1", [3], "not within rank 3"),
    ("spec 1", [1, -2], "one twice"),
    ("spec 1", [], "names no axis"),
    ("spec 1", [0], "unknown"),
    ("spec 0", [], "not within rank 0"),
    ("spec 2", -1.0, "epsilon -1.0"),
    ("spec 3", 1.5, "decay 1.5"),
    ("spec 6", "float99", "float99"),
    ("spec 6", "float64", "float32, not the spec's float64"),
    ("program 0 x", {"type": "drawn", "sizes": [10**15, 1]}, "allocate"),
    ("program 0 x", {"type": "drawn", "sizes": [-1, 1]}, "negative"),
    ("program 0 x", {"type": "drawn", "sizes": [1]}, "zip"),
    ("program 0 x", {"type": "drawn", "sizes": [2, 2], "channels": []}, "recipe"),
]


def evaluated(text: str) -> Any:
    """The value of a printed case, after ``from conformance.case import *``."""
    names = {name: getattr(conformance.case, name) for name in conformance.case.__all__}
    return eval(text, names)


def arrays(case: Case) -> list[bytes]:
    """Bytes of every array of the expanded case."""
    program = case.expanded
    found = [a for state in program.states for a in state[:4]]
    for call in program.calls:
        found += [call.x, call.dy, *(call.state[:4] if call.state is not None else ())]
    return [b"" if a is None else a.tobytes() for a in found]


class TestPrinting:
    """A case prints as code."""

    @pytest.mark.parametrize("family", FAMILIES)
    def test_recipes_and_arrays_evaluate_to_equal_cases(self, family: int) -> None:
        """What a drawn case prints, as a recipe and with its arrays, evaluates to that case."""
        for pooled in draw(family, 3, 12).cases:
            assert evaluated(repr(pooled.case)) == pooled.case
            if sum(call.x.size for call in pooled.case.expanded.calls if call.x is not None) < 3000:
                assert evaluated(repr(pooled.case.held)) == pooled.case.held

    def test_every_instruction_is_known_to_the_star_import(self) -> None:
        """All instructions, ApplyUpdates included, can be evaluated from their printed form."""
        assert evaluated(repr(CASE)) == CASE
        assert evaluated(repr(CASE.held)) == CASE.held

    def test_the_code_of_a_record_makes_the_case(self) -> None:
        """The program text in a record, which is broken into lines, defines ``case`` with its arrays."""
        names: dict[str, Any] = {}
        exec(code(CASE), names)
        assert names["case"] == CASE.held
        assert max(map(len, code(CASE).splitlines())) < len(repr(CASE.held))

    @pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
    def test_arrays_come_back_to_the_bit(self, array: Array) -> None:
        """Whatever its values, type, shape and layout, a held array prints as code that makes the same bits."""
        held = Given.of(array)
        again = evaluated(repr(held))
        assert again == held
        assert again.array.shape == array.shape
        assert again.array.tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()

    def test_random_floats_print_with_their_shortest_digits(self) -> None:
        """Random bit patterns survive printing, and no float32 needs more than nine digits."""
        bits = np.random.default_rng(1).integers(0, 2**32, 4000, dtype=np.uint32).view(np.float32)
        finite = bits[np.isfinite(bits)]
        text = repr(Given.of(finite))
        assert evaluated(text).data == finite.tobytes()
        digits = [re.sub(r"e.*|[.-]", "", number).strip("0") for number in text.split("[")[1].split("]")[0].split(", ")]
        assert max(map(len, digits)) <= 9

    def test_a_held_array_is_a_copy_that_nobody_can_change(self) -> None:
        """A later change of the array does not change what holds it, and what it gives out is read-only."""
        array = np.ones(3, np.float32)
        held = Given.of(array)
        array[0] = 5
        assert held.array.tolist() == [1, 1, 1]
        assert not held.array.flags.writeable


class TestIdentity:
    """Cases are values."""

    def test_equal_cases_hash_alike_whatever_was_expanded(self) -> None:
        """Equality and hash depend on the recipe alone, not on what has been computed from it."""
        other = msgspec.structs.replace(CASE)
        assert CASE.expanded is CASE.expanded
        assert "expanded" not in vars(other)
        assert other == CASE
        assert hash(other) == hash(CASE)
        assert len({CASE, other, CASE.held}) == 2

    def test_any_change_makes_another_case(self) -> None:
        """Each field counts for equality."""
        changes: list[dict[str, Any]] = [
            {"spec": SPEC._replace(epsilon=1e-5)},
            {"starts": CASE.starts[::-1]},
            {"program": CASE.program[:-1]},
            {"read": "every"},
            {"repeat": False},
        ]
        changed = [msgspec.structs.replace(CASE, **change) for change in changes]
        assert len({CASE, *changed}) == 6
        assert len({hash(case) for case in (CASE, *changed)}) > 4

    def test_a_replaced_case_does_not_keep_the_old_arrays(self) -> None:
        """Replacing a field of a case that was expanded forgets what was expanded, held or hashed."""
        case = Case(SPEC, (Start(),), (Train(X),))
        assert case.held.expanded.calls[0].x is not None
        hash(case)
        changed = msgspec.structs.replace(case, program=(Train(Drawn((5, 1))),))
        assert vars(changed) == {}
        x = changed.expanded.calls[0].x
        assert x is not None
        assert x.shape == (5, 3, 1)

    @pytest.mark.parametrize("expanded", [False, True])
    def test_a_pickled_case_is_small_and_equal(self, expanded: bool) -> None:
        """Pickling takes the recipe and leaves the arrays, and what is cached of the hash, behind."""
        case = msgspec.structs.replace(CASE, program=(Train(Drawn((1000, 5))),))
        if expanded:
            assert case.held.starts
            hash(case)
        pickled = pickle.dumps(case)
        again = pickle.loads(pickled)
        assert again == case
        assert hash(again) == hash(case)
        assert vars(pickle.loads(pickled)) == {}
        assert len(pickled) < 1000
        assert arrays(again) == arrays(case)


class TestExpansion:
    """Recipes mean the same arrays wherever they are expanded."""

    def test_the_same_in_another_process(self, tmp_path: Path) -> None:
        """Another process, with another seed of Python's hashes, expands the same bytes."""
        cases = [CASE, *(pooled.case for family in (1, 7) for pooled in draw(family, 2, 10).cases)]
        (tmp_path / "cases.pickle").write_bytes(pickle.dumps(cases))
        script = (
            "import pickle, sys, hashlib\nimport conformance.case\nfrom conformance.case import Case\n"
            f"{inspect.getsource(arrays)}"
            "cases = pickle.load(open(sys.argv[1], 'rb'))\n"
            "print(hashlib.sha256(b'|'.join(a for case in cases for a in arrays(case))).hexdigest())\n"
            "print(hash(cases[0]) == hash(eval(repr(cases[0]), vars(conformance.case))))\n"
        )
        environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": str(ROOT)}
        arguments = [sys.executable, "-c", script, str(tmp_path / "cases.pickle")]
        answer = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True).stdout.split()
        here = hashlib.sha256(b"|".join(a for case in cases for a in arrays(case))).hexdigest()
        assert answer == [here, "True"]

    def test_shapes_and_types_follow_the_spec(self) -> None:
        """Inputs, gradients and states have the shapes and element types that the spec asks for."""
        spec = Spec((None, 2, None, 3), (-1, 1), 1e-3, 0.9, center=False, dtype="float16")
        case = Case(spec, (Start("mixed"),), (Train(Drawn((5, 4)), Gradient()),))
        state, call = case.expanded.states[0], case.expanded.calls[0]
        assert call.x is not None
        assert call.dy is not None
        assert (call.x.shape, call.dy.shape) == ((5, 2, 4, 3), (5, 2, 4, 3))
        assert (call.x.dtype, call.dy.dtype) == (np.float16, np.float16)
        assert state.beta is None
        assert state.gamma is not None
        assert (state.gamma.shape, state.gamma.dtype) == ((2, 3), np.float32)

    def test_each_channel_holds_its_own_recipe(self) -> None:
        """Three recipes are dealt to the channels in turn, and no two channels hold the same values."""
        channels = (Channel("constant", 3.0, 2.0), Channel("normal"), Channel("alternating", 0.0, 0.5))
        case = Case(Spec((None, 7), (1,), 1e-3, 0.9), (Start(),), (Train(Drawn((6,), channels, 5)),))
        x = case.expanded.calls[0].x
        assert x is not None
        assert np.all(x[:, 0::3] == 6)
        assert np.all(np.abs(x[:, 2::3]) <= 0.5)
        assert np.all(x[0::2, 2::3] == -x[1::2, 2::3])
        assert not np.array_equal(x[:, 1], x[:, 4])

    def test_states_near_the_data(self) -> None:
        """A moving statistic drawn near the first input's is: within a few tenths of mean and variance."""
        case = Case(
            Spec((None, 200), (1,), 1e-3, 0.9),
            (Start(moving_mean="near", moving_variance="near"),),
            (GetState(), Train(Drawn((64,), (Channel("normal", 10.0, 4.0), Channel("normal", -5.0, 0.5))))),
        )
        state, x = case.expanded.states[0], case.expanded.calls[1].x
        assert state.moving_mean is not None
        assert state.moving_variance is not None
        assert x is not None
        assert np.all(np.abs(state.moving_mean / x.mean(axis=0) - 1) < 0.6)
        assert np.all(np.abs(np.log(state.moving_variance / x.var(axis=0))) < 2)

    def test_partial_states_leave_the_rest(self) -> None:
        """A parameter that a SetState does not name is None in its call."""
        state = CASE.expanded.calls[1].state
        assert state is not None
        assert [a is None for a in state[:4]] == [True, False, True, False]

    def test_an_input_without_channel_recipes_is_refused(self) -> None:
        """A recipe that says nothing of its channels is an error, not whatever memory holds."""
        with pytest.raises(ValueError, match="without a recipe"):
            _ = Case(SPEC, (Start(),), (Train(Drawn((4, 2), ())),)).expanded

    def test_holding_is_idempotent_and_changes_nothing(self) -> None:
        """A case that holds its arrays expands to the very same bytes, and holding it again gives itself."""
        assert arrays(CASE.held) == arrays(CASE)
        assert CASE.held.held == CASE.held


class TestFiles:
    """Cases are saved with their arrays and loaded again, strictly."""

    def test_round_trip(self, tmp_path: Path) -> None:
        """What is loaded is the case with its arrays, and the names saved with it."""
        path = tmp_path / "new" / "case.json"
        save(CASE, path, requirement="BN-101", implementation="torch")
        assert load(path) == (CASE.held, "BN-101", "torch")

    def test_drawn_cases_round_trip(self, tmp_path: Path) -> None:
        """Cases of the pools pass the checks of a loaded file."""
        for number, pooled in enumerate(draw(7, 5, 8).cases):
            save(pooled.case, tmp_path / f"{number}.json")
            assert load(tmp_path / f"{number}.json")[0] == pooled.case.held

    def test_values_that_json_has_not(self, tmp_path: Path) -> None:
        """NaN, infinities, negative zero and half floats survive the file."""
        spec = SPEC._replace(dtype="float16")
        x = given([[[math.nan, math.inf], [-math.inf, -0.0], [6e-8, 1.0]]], "float16")
        case = Case(spec, (Start(),), (Train(x),))
        save(case, tmp_path / "case.json")
        assert load(tmp_path / "case.json")[0] == case.held

    def test_a_file_of_another_process_is_the_same_file(self, tmp_path: Path) -> None:
        """Saving the same case twice gives the same bytes."""
        for name in ("a.json", "b.json"):
            save(msgspec.structs.replace(CASE), tmp_path / name)
        assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        """Where there is no file, the message names it and says so."""
        with pytest.raises(CaseError, match=re.escape(f"{tmp_path / 'none.json'}: No such file")):
            load(tmp_path / "none.json")
        with pytest.raises(CaseError, match=re.escape(f"cannot read case file {tmp_path}")):
            load(tmp_path)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\x00\xff\xfe",
            b"[]",
            b"{}",
            b'{"format": "something else", "version": 1}',
            b'{"x": ' + b"[" * 100_000,
            b'"' + b"\xff" * 8 + b'"',
        ],
        ids=["empty", "binary", "list", "object", "foreign", "deep", "no UTF-8"],
    )
    def test_foreign_files_are_refused(self, tmp_path: Path, content: bytes) -> None:
        """What never was a case file is refused by name."""
        path = tmp_path / "case.json"
        path.write_bytes(content)
        with pytest.raises(CaseError, match=re.escape(f"{path} is no case file of this suite, or a damaged one")):
            load(path)

    def test_a_file_cut_anywhere_is_refused(self, tmp_path: Path) -> None:
        """However much of a file is missing, it is refused by name."""
        path = tmp_path / "case.json"
        save(CASE, path)
        whole = path.read_bytes()
        for length in range(0, len(whole), 97):
            path.write_bytes(whole[:length])
            with pytest.raises(CaseError, match=re.escape(str(path))):
                load(path)

    @pytest.mark.parametrize(("place", "value", "message"), DAMAGES, ids=[f"{d[0]} {d[2]}" for d in DAMAGES])
    def test_inconsistent_files_are_refused(self, tmp_path: Path, place: str, value: Any, message: str) -> None:
        """A file whose parts contradict each other is refused by name, with what does not fit."""
        path = tmp_path / "case.json"
        save(CASE, path)
        content = json.loads(path.read_bytes())
        part = content["case"]
        *parents, last = (int(key) if key.isdigit() else key for key in place.split())
        for key in parents:
            part = part[key]
        part[last] = value
        path.write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(CaseError) as caught:
            load(path)
        assert str(path) in str(caught.value)
        assert message in str(caught.value)
