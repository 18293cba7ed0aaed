"""One run of a case: its trace beside what the oracle says of each step, computed once and only when asked for."""

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from adapters.interface import Array, Capabilities, Conventions, Spec
from adapters.program import Call, StepTrace, Trace
from conformance.belief import Belief, column, known, overwritten
from conformance.bounds import InferenceBounds, Kind, Numerics, TrainingBounds, moving_bound
from conformance.case import Case
from conformance.evidence import Evidence
from conformance.formats import FORMATS, Format, compute_format, declared_format, host_dtype
from conformance.oracle import InferenceTruth, TrainingTruth, moving, to_channels, unbiased
from conformance.second_order import SecondBounds, SecondTruth
from conformance.shelf import Shelf


class View(NamedTuple):
    """One completed step: its number in the program, the call and what came back."""

    number: int
    call: Call
    trace: StepTrace


class Run:
    """A case and its trace, with everything that the oracle says of them, computed once and only when asked for."""

    def __init__(self, case: Case, trace: Trace, capabilities: Capabilities | None = None) -> None:
        self.case = case
        self.trace = trace
        self.capabilities = capabilities
        self.spec: Spec = case.spec
        self.program = case.expanded
        self.conventions = trace.conventions or Conventions()
        self.views = tuple(View(s.index, self.program.calls[s.index], s) for s in trace.steps)
        self._shelf: Shelf = vars(case).setdefault("shelf", Shelf())
        self._truths: dict[tuple[int, Kind], TrainingTruth | InferenceTruth] = {}
        self._bounds: dict[tuple[int, Kind], TrainingBounds | InferenceBounds] = {}
        self._beliefs: dict[tuple[int, bool, Kind], Belief] = {}
        self._expected: dict[tuple[int, bool, Kind], Belief] = {}
        self._got: dict[tuple[int, str], Array | None] = {}
        #: What ``Judge.against_truth`` found: several requirements ask for the same comparison.
        self.found: dict[tuple[int, str, Kind], Evidence] = {}

    @cached_property
    def numerics(self) -> Numerics:
        """Formats and grades that the conventions name."""
        conventions, dtype = self.conventions, self.spec.dtype
        compute = compute_format(dtype, conventions.compute_dtype)
        statistics = declared_format(conventions.statistics_dtype) if conventions.statistics_dtype else compute
        return Numerics(compute, FORMATS[dtype], statistics, conventions.variance_grade, conventions.affine_grade)

    @cached_property
    def decay_format(self) -> Format | None:
        """Format in which the decay is kept, where one is declared."""
        declared = self.conventions.decay_dtype
        return declared_format(declared) if declared else None

    @cached_property
    def host(self) -> np.dtype[np.floating[Any]]:
        """Element type of the oracle."""
        return host_dtype(self.numerics.compute.name)

    @cached_property
    def epsilon(self) -> float:
        """The epsilon that takes effect."""
        return max(self.spec.epsilon, self.conventions.epsilon_floor)

    def rows(self, a: Array) -> Array:
        """An array of the input's shape as (C, m), in the oracle's element type."""
        return to_channels(np.asarray(a), self.spec).astype(self.host)

    def got(self, view: View, quantity: str) -> Array | None:
        """A result of a step: see ``Judge.got``."""
        key = (view.number, quantity)
        if key not in self._got:
            step = view.trace.step
            value = None if step is None else getattr(step, quantity)
            self._got[key] = column(value) if value is None or quantity not in ("y", "dx") else self.rows(value)
        return self._got[key]

    def _previous(self, index: int) -> int:
        """The last step before this one on the same layer, or -1."""
        layer = self.program.calls[index].layer
        return next((i for i in range(index - 1, -1, -1) if self.program.calls[i].layer == layer), -1)

    def before(self, index: int, kind: Kind, own: bool = True) -> Belief:
        """State of the step's layer before the step; ``own=False`` carries it from the start of the program."""
        previous = self._previous(index)
        if previous >= 0:
            return self.after(previous, kind, own)
        return self.start(self.program.calls[index].layer, own)

    def start(self, layer: int, own: bool = True) -> Belief:
        """A layer's state before its first step."""
        read = self.trace.initial[layer] if self.trace.initial else None
        return known(read if own and read is not None else self.program.states[layer])

    def after(self, index: int, kind: Kind, own: bool = True) -> Belief:
        """State of the step's layer after the step: as read where it was, otherwise as it should be."""
        key = (index, own, kind)
        if key not in self._beliefs:
            read = self.views[index].trace.state
            self._beliefs[key] = known(read) if own and read is not None else self.expected_after(index, kind, own)
        return self._beliefs[key]

    def expected_after(self, index: int, kind: Kind, own: bool = True) -> Belief:
        """State of the step's layer after the step, as the definition has it."""
        key = (index, own, kind)
        if key not in self._expected:
            self._expected[key] = self._expected_after(index, kind, own)
        return self._expected[key]

    def _expected_after(self, index: int, kind: Kind, own: bool) -> Belief:
        before = self.before(index, kind, own)
        call = self.program.calls[index]
        if call.op == "set_state" and call.state is not None:
            return overwritten(before, call.state)
        if call.op == "train" and call.update:
            for _ in range(call.times):
                before = self._updated(before, index, kind)
        if call.op == "apply_updates":
            left = [v.number for v in self.views[:index] if v.call.layer == call.layer and not v.call.update]
            return self._updated(before, left[-1], kind) if left else before
        return before

    def _updated(self, before: Belief, index: int, kind: Kind) -> Belief:
        """The state after an update with the batch of a training step."""
        bounds = self.bounds(index, kind)
        assert isinstance(bounds, TrainingBounds)
        truth = bounds.truth
        variance, variance_bound = self.estimate(truth, bounds)
        zero = np.zeros_like(before.mean)
        decay, numerics, kept = self.spec.decay, self.numerics, self.decay_format
        mean_error = zero if before.mean_error is None else before.mean_error
        variance_error = zero if before.variance_error is None else before.variance_error
        return Belief(
            before.gamma,
            before.beta,
            moving(before.mean, truth.mean, decay),
            moving(before.variance, variance, decay),
            moving_bound(before.mean, mean_error, truth.mean, bounds.mean, decay, numerics, kept),
            moving_bound(before.variance, variance_error, variance, variance_bound, decay, numerics, kept),
        )

    def estimate(self, truth: TrainingTruth, bounds: TrainingBounds) -> tuple[Array, Array]:
        """The variance that enters the moving variance, by the declared estimator, and its bound."""
        if self.conventions.moving_variance != "unbiased":
            return truth.variance, bounds.variance
        if truth.count == 1 and self.conventions.moving_variance_single == "nan":
            return np.full_like(truth.variance, np.nan), np.full_like(truth.variance, np.inf)
        return unbiased(truth.variance, truth.count), bounds.unbiased_variance

    def _parameters(self, index: int) -> tuple[Array | None, Array | None]:
        """Gamma and beta before a step; unlike the statistics they ask for no oracle where they were not read."""
        previous = self._previous(index)
        if previous < 0:
            start = self.start(self.program.calls[index].layer)
            return start.gamma, start.beta
        read = self.views[previous].trace.state
        if read is not None:
            return column(read.gamma), column(read.beta)
        gamma, beta = self._parameters(previous)
        given = self.program.calls[previous].state
        if given is None:
            return gamma, beta
        return gamma if given.gamma is None else column(given.gamma), beta if given.beta is None else column(given.beta)

    def forward(self, index: int) -> int:
        """The forward step that a step belongs to: for a backward pass the one that was recorded, else itself."""
        calls, of = self.program.calls, self.program.calls[index]
        if of.op != "backward":
            return index
        earlier = range(index - 1, -1, -1)
        return next(
            i for i in earlier if (calls[i].tape, calls[i].layer) == (of.tape, of.layer) and calls[i].x is not None
        )

    def truth(self, index: int, kind: Kind = "prob") -> TrainingTruth | InferenceTruth:
        """What the step should have given from the state before it. ``kind`` matters where that was not read.

        A backward pass is judged from the state before the step that was recorded.
        """
        key = (index, kind if self.program.calls[self.forward(index)].op == "infer" else "prob")
        if key not in self._truths:
            self._truths[key] = self._truth(index, kind)
        return self._truths[key]

    def _truth(self, index: int, kind: Kind) -> TrainingTruth | InferenceTruth:
        forward, spec, epsilon, host = self.forward(index), self.spec, self.epsilon, self.host
        call, dy = self.program.calls[forward], self.program.calls[index].dy
        gamma, beta = (None if p is None else p.reshape(-1) for p in self._parameters(forward))

        def rows(a: Array | None) -> Array | None:
            return None if a is None else to_channels(a, spec)

        if call.op != "infer":
            return self._shelf.keep(
                lambda: TrainingTruth(rows(call.x), gamma, beta, epsilon, rows(dy), host),
                *(index, gamma, beta, epsilon, host),
            )
        before = self.before(forward, kind)
        mean, variance = before.mean.reshape(-1), before.variance.reshape(-1)
        return self._shelf.keep(
            lambda: InferenceTruth(rows(call.x), gamma, beta, mean, variance, epsilon, rows(dy), host),
            *(index, gamma, beta, mean, variance, epsilon, host),
        )

    def second(self, index: int, kind: Kind) -> tuple[SecondTruth, SecondBounds]:
        """What the gradients of a step's gradients should be, and how nearly."""
        of_dy, v = self.truth(index), self.program.calls[index].v
        assert isinstance(of_dy, TrainingTruth)
        assert v is not None
        cotangent = to_channels(v, self.spec)

        def made() -> SecondTruth:
            parameters = (of_dy.x, of_dy.gamma, of_dy.beta, self.epsilon)
            return SecondTruth(of_dy, TrainingTruth(*parameters, cotangent, self.host))

        truth = self._shelf.keep(made, "second", of_dy)
        numerics = self.numerics
        return truth, self._shelf.keep(lambda: SecondBounds(truth, numerics, kind), truth, numerics, kind)

    def bounds(self, index: int, kind: Kind) -> TrainingBounds | InferenceBounds:
        """How far from the truth the step's results may be."""
        key = (index, kind)
        if key not in self._bounds:
            self._bounds[key] = self._new_bounds(index, kind)
        return self._bounds[key]

    def _new_bounds(self, index: int, kind: Kind) -> TrainingBounds | InferenceBounds:
        truth, numerics = self.truth(index, kind), self.numerics
        if isinstance(truth, TrainingTruth):
            return self._shelf.keep(lambda: TrainingBounds(truth, numerics, kind), truth, numerics, kind)
        before = self.before(self.forward(index), kind)
        errors = before.mean_error, before.variance_error
        return self._shelf.keep(
            lambda: InferenceBounds(truth, numerics, kind, *errors), *(truth, numerics, kind, *errors)
        )
