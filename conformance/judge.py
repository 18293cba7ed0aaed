"""Puts a trace beside the oracle: what each step should have given from the state before it, and how nearly.

Each step is judged from the implementation's own state before it where that was read, since the rounding of the state
is no fault of the step; where it was not read, from the oracle's state carried through the program with its bounds.
"""

from collections.abc import Iterator

from adapters.interface import Array, Spec
from conformance.belief import Belief
from conformance.bounds import InferenceBounds, Kind, TrainingBounds
from conformance.evidence import NOTHING, Evidence, compare
from conformance.oracle import InferenceTruth, TrainingTruth
from conformance.run import Run, View

__all__ = ["Belief", "Judge", "Run", "View"]


class Judge:
    """Answers a requirement's questions on one run, and on the runs of the derived cases, with bounds of one kind."""

    def __init__(self, run: Run, kind: Kind = "prob", derived: tuple[Run, ...] = ()) -> None:
        self.run = run
        self.kind: Kind = kind
        self.derived = tuple(Judge(d, kind) for d in derived)

    @property
    def spec(self) -> Spec:
        """The case's spec."""
        return self.run.spec

    def steps(self, *ops: str) -> Iterator[View]:
        """The completed steps of these operations, in order."""
        return (v for v in self.run.views if v.call.op in ops)

    def inferences(self) -> Iterator[View]:
        """Inference steps from a state that is known, not carried from earlier steps: theirs alone is the error."""
        return (v for v in self.steps("infer") if self.run.before(v.number, self.kind).certain)

    def truth(self, view: View) -> TrainingTruth | InferenceTruth:
        """What the step should have given."""
        return self.run.truth(view.number, self.kind)

    def training(self, view: View) -> tuple[TrainingTruth, TrainingBounds]:
        """Truth and bounds of a training step."""
        bounds = self.run.bounds(view.number, self.kind)
        assert isinstance(bounds, TrainingBounds)
        return bounds.truth, bounds

    def inference(self, view: View) -> tuple[InferenceTruth, InferenceBounds]:
        """Truth and bounds of an inference step."""
        bounds = self.run.bounds(view.number, self.kind)
        assert isinstance(bounds, InferenceBounds)
        return bounds.truth, bounds

    def got(self, view: View, quantity: str) -> Array | None:
        """A result of the step: y and dx as (C, m), dgamma and dbeta as (C, 1); None where there is none."""
        return self.run.got(view, quantity)

    def bound(self, view: View, quantity: str) -> Array:
        """The bound of a result, in the shape of ``got``."""
        value: Array = getattr(self.run.bounds(view.number, self.kind), quantity)
        return value

    def variation(self, view: View) -> Array:
        """Root mean square of y - beta per channel (C, 1): the size of what normalization does."""
        return self.truth(view).variation

    def against_truth(self, view: View, quantity: str) -> Evidence:
        """Compare one result of a step with the oracle."""
        key = (view.number, quantity, self.kind)
        if key not in self.run.found:
            self.run.found[key] = self._against_truth(view, quantity)
        return self.run.found[key]

    def _against_truth(self, view: View, quantity: str) -> Evidence:
        got = self.got(view, quantity)
        if got is None:
            return NOTHING
        expected = getattr(self.truth(view), quantity)
        scale = self.variation(view) if quantity == "y" else None
        return self.compare(quantity, got, expected, self.bound(view, quantity), view, scale=scale)

    def compare(
        self,
        quantity: str,
        got: Array,
        expected: Array,
        bound: Array,
        view: View,
        *,
        scale: Array | None = None,
        message: str = "",
    ) -> Evidence:
        """Compare (C, n) matrices that belong to a step."""
        like = view.call.dy if view.call.x is None else view.call.x
        shape = like.shape if like is not None and quantity.split(maxsplit=1)[0] in ("y", "dx") else ()
        return compare(
            quantity, got, expected, bound, step=view.number, scale=scale, spec=self.spec, shape=shape, message=message
        )
