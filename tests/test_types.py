"""Element types end to end: bfloat16 with NumPy alone, what is drawn in which type, and what adapters declare."""

from functools import cache

import ml_dtypes
import numpy as np
import pytest

from adapters import bfloat16
from adapters.interface import Capabilities, Spec
from conformance._data import Channel, Drawn, Gradient, expand_gradient, expand_input, in_range
from conformance.case import Case
from conformance.families import FAMILIES
from conformance.pool import Pool, draw, fitted, fitted_specs
from conformance.session import open_session
from conformance.specs import OTHER_DTYPES, recast, spec_pool
from tests._judged import REFERENCE


class TestBfloat16:
    """Conversion with NumPy alone, as adapters do it."""

    def test_all_numbers_widen_as_ml_dtypes_has_them(self) -> None:
        """Each of the 65,536 bit patterns is the number that ml_dtypes reads, and comes back as it was."""
        bits = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)
        wide = bfloat16.widen(bits)
        assert np.array_equal(wide, bits.view(ml_dtypes.bfloat16).astype(np.float32), equal_nan=True)
        numbers = ~np.isnan(wide)
        assert np.array_equal(bfloat16.narrow(wide)[numbers], bits[numbers])
        assert np.isnan(bfloat16.widen(bfloat16.narrow(wide))[~numbers]).all()

    def test_float32_rounds_as_ml_dtypes_does(self) -> None:
        """Random bits, ties among them, round to the nearest, ties to even; overflow is infinite."""
        rng = np.random.default_rng(0)
        bits = rng.integers(0, 1 << 32, 200_000, dtype=np.uint32)
        bits[::3] = (bits[::3] & np.uint32(0xFFFF0000)) | np.uint32(0x8000)
        a = bits.view(np.float32)
        with np.errstate(all="ignore"):
            expected = a.astype(ml_dtypes.bfloat16).astype(np.float32)
        assert np.array_equal(bfloat16.widen(bfloat16.narrow(a)), expected, equal_nan=True)

    def test_float64_is_rounded_once(self) -> None:
        """A float64 just beside a tie goes to its own side, where a way through float32 would take it for the tie."""
        ties = np.array([1 + 2.0**-8, -(1 + 3 * 2.0**-8), 2.0**-100 * (1 + 2.0**-8)])
        for tie in ties:
            for side in (-1, 1):
                near = np.array([tie * (1 + side * 2.0**-40)])
                steps = np.abs(near) > np.abs(tie)
                down = bfloat16.narrow(np.array([tie * (1 - 2.0**-12)]))
                assert bfloat16.narrow(near)[0] == down[0] + int(steps[0])

    def test_strides_are_respected(self) -> None:
        """A reversed, permuted view converts element by element."""
        a = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
        view = bfloat16.narrow(a).transpose(2, 0, 1)[::-1]
        assert np.array_equal(bfloat16.widen(view), a.transpose(2, 0, 1)[::-1])


@cache
def pool(family: int) -> Pool:
    """A family's cases."""
    return draw(family, 4, 96)


class TestShares:
    """What comes in which element type."""

    @pytest.mark.parametrize("family", FAMILIES)
    def test_every_type_is_drawn(self, family: int) -> None:
        """Each family has cases in every type; float32 keeps most, but where types are the matter."""
        by_type = [pooled.case.spec.dtype for pooled in pool(family).cases]
        assert set(by_type) == {"float32", *OTHER_DTYPES}
        if family not in (6, 8):
            assert 0.7 <= by_type.count("float32") / len(by_type) <= 0.9

    def test_the_simplest_spec_is_float32(self) -> None:
        """Shrinking ends at a spec in float32."""
        assert all(spec_pool(family, seed)[0].dtype == "float32" for family in FAMILIES for seed in range(9))

    @pytest.mark.parametrize("dtypes", [("float32",), ("float32", "float16"), ("float64",)])
    def test_nothing_is_lost_where_a_type_is_missing(self, dtypes: tuple[str, ...]) -> None:
        """Whoever lacks a type is given the same cases, in float32 or else the first type of its own."""
        capabilities = Capabilities(axes="several", dtypes=dtypes)
        own = fitted(pool(2), capabilities)
        assert len(own.cases) == len(pool(2).cases)
        assert {p.case.spec.dtype for p in own.cases} == set(dtypes)
        assert own.specs == fitted_specs(pool(2), capabilities)
        for mine, shared in zip(own.cases, pool(2).cases, strict=True):
            assert mine.case.program == shared.case.program
            assert mine.case.spec == recast(shared.case.spec, capabilities)

    def test_who_declares_all_gets_the_shared_pool(self) -> None:
        """A pool is the very same for an implementation of all types."""
        everything = Capabilities(axes="several", dtypes=("float32", *OTHER_DTYPES))
        assert fitted(pool(2), everything) is pool(2)


class TestRange:
    """Data that fit into their element type."""

    @pytest.mark.parametrize("pattern", ["normal", "outlier", "heavy", "lognormal", "bytes", "constant"])
    @pytest.mark.parametrize("spread", [2.0**50, 8.0, 1.0, 1e-6, 2.0**-96])
    def test_float16_neither_overflows_nor_loses_its_digits(self, pattern: str, spread: float) -> None:
        """Whatever the recipe, data and gradients in float16 are finite, and hardly any number is subnormal."""
        spec = Spec((None, 5), (-1,), 1e-3, 0.9, dtype="float16")
        for offset in (0.0, 1.5, -1e7):
            x = expand_input(Drawn((100,), (Channel(pattern, offset, spread),), 3), spec)  # type: ignore[arg-type]
            assert np.isfinite(x).all()
            assert np.abs(x).max() <= 2.0**13
            assert np.mean((x != 0) & (np.abs(x) < 2.0**-14)) < 0.1
            dy = expand_gradient(Gradient("one-signed", spread, 2), x)
            assert np.isfinite(dy).all()
            assert np.all(dy > 0)

    def test_other_types_take_recipes_as_they_are(self) -> None:
        """Only float16 limits what is drawn."""
        wild = Channel("normal", 1e7, 2.0**50)
        assert all(in_range(wild, dtype) is wild for dtype in ("float32", "float64", "bfloat16"))


@pytest.mark.parametrize("dtype", ["float32", *OTHER_DTYPES])
def test_results_come_in_the_inputs_type(dtype: str) -> None:
    """The reference gives y and dx in the input's type, and everything else in float32 or float64."""
    case: Case = next(p.case for p in pool(4).cases if p.case.spec.dtype == dtype)
    with open_session(REFERENCE, in_process=True) as session, np.errstate(all="ignore"):
        trace = session.run(case.expanded)
    assert trace.failure is None
    for step in trace.steps:
        if step.step is not None:
            assert step.step.y.dtype.name == dtype
        if step.state is not None and step.state.moving_mean is not None:
            assert step.state.moving_mean.dtype.name == case.spec.parameter_dtype
