"""Evidence: what counts as an error, what counts as a check, and where the worst element is."""

import itertools
import math

import numpy as np
import pytest

from adapters.interface import Array, Spec
from conformance.evidence import KEPT, NOTHING, Evidence, Worst, combine, compare, element_index, require
from conformance.oracle import to_channels


def column(*values: float) -> Array:
    """One value per channel, (C, 1)."""
    return np.array(values, np.float64).reshape(-1, 1)


class TestRatio:
    """The largest error over its bound."""

    def test_within_bounds(self) -> None:
        """An error of half its bound gives half, the largest decides, and nothing fails."""
        found = compare("y", column(1.5, 2.0, 3.1), column(1, 2, 3), column(1, 1, 1))
        assert found.ratio == 0.5
        assert not found.fails
        assert found.worst == (Worst("y", -1, (0,), 1.5, 1.0, 1.0, 0.5),)

    def test_beyond_bounds(self) -> None:
        """An error of more than its bound fails, with the message given; one of exactly its bound does not."""
        found = compare("y", column(1, 5), column(1, 2), column(1, 2), message="too far", step=3)
        assert (found.ratio, found.fails, found.message) == (1.5, True, "too far")
        assert found.worst[0][:3] == ("y", 3, (1,))
        equal = compare("y", column(3), column(1), column(2), message="too far")
        assert (equal.ratio, equal.fails, equal.message) == (1.0, False, "")

    def test_equal_values_have_no_worst_element(self) -> None:
        """Where nothing differs the ratio is zero and there is nothing to show."""
        found = compare("y", column(1, 2), column(1, 2), column(0, 1))
        assert (found.ratio, found.worst, found.compared) == (0.0, (), 2)

    def test_zero_bounds(self) -> None:
        """Within a bound of zero, equality passes and any difference is infinitely far off."""
        assert compare("y", column(1), column(1), column(0)).ratio == 0
        assert compare("y", column(1 + 2**-52), column(1), column(0)).ratio == math.inf

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_what_is_not_finite(self, value: float) -> None:
        """A result that is not finite within a finite bound is infinitely far off, wherever it stands."""
        for place in range(3):
            got = column(1, 2, 3)
            got[place] = value
            found = compare("y", got, column(1, 2, 3), column(1, 1, 1))
            assert found.ratio == math.inf
            assert found.fails
            assert found.worst[0].place == (place,)
            assert found.worst[0].got == value or math.isnan(value)

    @pytest.mark.parametrize("value", [0.0, 1e30, math.nan, math.inf, -math.inf])
    def test_infinite_bounds_check_nothing(self, value: float) -> None:
        """Whatever comes where nothing can be said, it is no error, no comparison and no evidence."""
        found = compare("y", column(value), column(1), column(math.inf))
        assert (found.ratio, found.compared, found.unbounded, found.informative) == (0.0, 0, 1, 0)
        assert found.applies
        assert not found.fails

    def test_infinite_bounds_do_not_hide_their_neighbours(self) -> None:
        """Beside an unbounded NaN, an error in the same or another channel is found."""
        got, expected = np.array([[math.nan, 2.0], [4.0, 5.0]]), np.array([[1.0, 2.0], [4.0, 5.5]])
        bound = np.array([[math.inf, 1.0], [1.0, 0.25]])
        found = compare("y", got, expected, bound)
        assert (found.ratio, found.compared, found.unbounded) == (2.0, 3, 1)
        assert found.worst[0].place == (1,)
        assert compare("y", got, expected + np.array([[0, 9], [0, 0]]), bound).ratio == 9

    def test_an_empty_array_is_no_evidence(self) -> None:
        """An empty batch says nothing."""
        empty = np.zeros((3, 0))
        assert compare("y", empty, empty, empty) == NOTHING
        assert not NOTHING.applies

    def test_the_element_and_not_the_channel_decides(self) -> None:
        """Bounds hold element by element: a small error beyond its bound counts for more than a large one within."""
        got, expected = np.array([[100.0, 1.0]]), np.array([[0.0, 0.0]])
        found = compare("y", got, expected, np.array([[1000.0, 0.25]]))
        assert found.ratio == 4
        assert found.worst[0].expected == 0
        assert found.worst[0].allowed == 0.25


class TestInformative:
    """Channels whose bound is narrower than the values."""

    def test_bounds_wider_than_the_values_are_no_evidence(self) -> None:
        """A channel is evidence where its widest bound is below the root mean square of what was expected."""
        expected = np.array([[3.0, 4.0], [3.0, 4.0], [0.0, 0.0]])
        bound = np.array([[0.1, 3.5], [0.1, 3.6], [0.1, 0.1]])
        assert compare("y", expected, expected, bound).informative == 1

    def test_the_scale_given_decides_instead(self) -> None:
        """A given scale replaces the root mean square, channel by channel; NaN is no scale."""
        expected, bound = np.full((3, 2), 100.0), np.ones((3, 2))
        assert compare("y", expected, expected, bound).informative == 3
        assert compare("y", expected, expected, bound, scale=column(0.5, 2, math.nan)).informative == 1


class TestPlace:
    """Where the worst element is in the array that the caller knows."""

    @pytest.mark.parametrize("rank", [2, 3, 4, 5])
    def test_any_rank_and_axis(self, rank: int) -> None:
        """For every channel axis, counted from either end, the place is that of the one element that is wrong."""
        for axis in range(-rank, rank):
            shape = tuple(range(2, 2 + rank))
            extents: list[int | None] = [None] * rank
            extents[axis] = shape[axis]
            self.find_each(Spec(tuple(extents), (axis,), 1e-3, 0.9), shape)

    @pytest.mark.parametrize("axes", [(1, 3), (-1, 0), (2, -4, 1)])
    def test_several_axes(self, axes: tuple[int, ...]) -> None:
        """The same holds where several axes are the channels'."""
        shape = (2, 3, 4, 5)
        extents = [shape[a] if a in {b % 4 for b in axes} else None for a in range(4)]
        self.find_each(Spec(tuple(extents), axes, 1e-3, 0.9), shape)

    @pytest.mark.parametrize("shape", [(1, 3), (1, 1)])
    def test_single_elements(self, shape: tuple[int, ...]) -> None:
        """The same holds with one element per channel."""
        self.find_each(Spec((None, shape[1]), (-1,), 1e-3, 0.9), shape)

    def find_each(self, spec: Spec, shape: tuple[int, ...]) -> None:
        """Put an error in some places, and expect to be told each."""
        places = list(itertools.product(*map(range, shape)))
        for place in places[:: max(1, len(places) // 7)]:
            wrong = np.zeros(shape)
            wrong[place] = 2
            rows = to_channels(wrong, spec)
            zero, one = np.zeros_like(rows), np.ones_like(rows)
            found = compare("y", rows, zero, one, spec=spec, shape=shape)
            assert found.worst[0].place == place
            channel, position = np.argwhere(rows)[0]
            assert element_index(spec, channel, position, shape) == place


class TestCombine:
    """Several comparisons are one piece of evidence."""

    def test_counts_add_and_the_worst_decides(self) -> None:
        """Counts are sums; ratio, message and worst elements are those of the largest ratio, whatever the order."""
        small = compare("mean", column(1.5, 1), column(1, 1), column(1, math.inf))
        large = compare("y", column(9.0), column(1), column(2), message="far off", step=1)
        for parts in ([small, large], [large, NOTHING, small]):
            found = combine(parts)
            assert (found.ratio, found.message) == (4.0, "far off")
            assert (found.compared, found.unbounded) == (2, 1)
            assert found.informative == small.informative + large.informative
            assert [w.quantity for w in found.worst] == ["y", "mean"]

    def test_nothing_and_one(self) -> None:
        """Nothing combines to nothing, one piece of evidence to itself."""
        one = compare("y", column(2), column(1), column(2))
        assert combine([]) is NOTHING
        assert combine([one]) is one

    def test_a_message_is_found_where_the_worst_has_none(self) -> None:
        """A failure that explains itself is heard beside a worse one that does not; one that passes is not."""
        silent = compare("y", column(9), column(1), column(1))
        telling = compare("y", column(5), column(1), column(1), message="too many updates")
        passing = Evidence(0.5, 1, message="all is well")
        assert combine([silent, passing, telling]).message == "too many updates"
        assert combine([silent, passing]).message == ""

    def test_few_elements_are_kept(self) -> None:
        """However many comparisons fail, the record keeps the worst few, in order."""
        parts = [compare("y", column(k), column(0), column(1)) for k in range(1, 9)]
        assert [w.ratio for w in combine(parts).worst] == [8, 7, 6, 5][:KEPT]


class TestRequire:
    """Claims without tolerance."""

    def test_a_claim_that_holds(self) -> None:
        """What holds is a comparison, and evidence."""
        found = require(True, "changed", "gamma", 2)
        assert (found.ratio, found.compared, found.informative, found.message) == (0.0, 1, 1, "")

    def test_a_claim_that_does_not(self) -> None:
        """What does not hold fails with its message and the step it belongs to."""
        found = require(False, "changed", "gamma", 2)
        assert found.fails
        assert (found.ratio, found.message) == (math.inf, "changed")
        assert found.worst[0][:3] == ("gamma", 2, ())
        assert require(False, "changed").worst == ()
