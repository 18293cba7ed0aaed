"""The laboratory: one implementation with the samples, in which scenarios train networks and look at them."""

import dataclasses
import functools
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, TypeVar

import numpy as np

from adapters.interface import Array, Conventions
from adapters.network import Act, Course, Done, NetworkSpec
from adapters.program import Failure, Program, Trace
from conformance.scenarios import networks
from conformance.scenarios.conducting import Attended, conduct
from conformance.scenarios.data import Samples
from conformance.session import Session

T = TypeVar("T")


class Effort(NamedTuple):
    """How much is done: steps of a training, of a trajectory followed step by step, and seeds of a demonstration."""

    steps: int
    followed: int
    seeds: int


EFFORTS = {"quick": Effort(100, 5, 1), "default": Effort(300, 10, 3)}
#: Samples in a batch: that of the document on the sigmoid network.
BATCH = 60


class BrokenError(Exception):
    """A course that did not come to its end."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class DivergedError(Exception):
    """A training whose loss does not stay finite; the message names the step, counted from 0."""

    def __init__(self, step: int) -> None:
        super().__init__(f"the loss of the training is not finite from step {step} on")


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """A trained network: the losses on the way, its state, its layers' conventions. Only itself is equal to it."""

    spec: NetworkSpec
    losses: Array
    state: dict[str, Array]
    conventions: tuple[Conventions, ...]

    @property
    def diverged(self) -> int:
        """The step at which the loss was no longer finite, counted from 0; -1 if it always was."""
        return -1 if np.isfinite(self.losses[-1]) else len(self.losses) - 1


class Known:
    """What the reference does: worked out once for all implementations of the same conventions."""

    def __init__(self) -> None:
        self._found: dict[Hashable, Any] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """What was made under the key, or is now."""
        if key not in self._found:
            self._found[key] = make()
        return self._found[key]


def matters(conventions: Conventions) -> tuple[str, float, str]:
    """The conventions that a trajectory depends on."""
    return conventions.moving_variance, conventions.epsilon_floor, conventions.decay_dtype


class Lab:
    """One implementation, its session, the samples and the effort."""

    def __init__(self, session: Session, samples: Samples, effort: Effort, known: Known | None = None) -> None:
        self.session = session
        #: What the reference does, and what has been found out about this implementation.
        self.known, self.own = known or Known(), Known()
        self.samples = samples
        self.effort = effort
        self.seconds = 0.0
        self.steps = 0
        self._inputs = functools.cache(samples.inputs)

    @property
    def dtype(self) -> str:
        """The type of exact comparisons: float64 where the implementation has it."""
        dtypes = self.session.description.capabilities.dtypes
        return "float64" if "float64" in dtypes else "float32"

    def in_either(self, dtype: str, examine: Callable[[str], T]) -> T:
        """What comes out in a type, or in float32 where a framework lacks an operation in that type."""
        try:
            return examine(dtype)
        except BrokenError as error:
            if error.failure.kind != "unsupported" or dtype == "float32":
                raise
            return examine("float32")

    @property
    def labels(self) -> Array:
        """The labels of all samples."""
        return self.samples.labels

    @property
    def test(self) -> Array:
        """The rows of the test samples."""
        return np.arange(self.samples.training, len(self.labels))

    def inputs(self, spec: NetworkSpec) -> Array:
        """All samples as a network takes them."""
        return self._inputs(spec.inputs, spec.dtype)

    def batches(self, steps: int, size: int = BATCH, seed: int = 1) -> Array:
        """The rows of each batch of the training samples."""
        return networks.batches(self.samples.training, size, steps, seed)

    def taken(self, spec: NetworkSpec, start: dict[str, Array], acts: tuple[Act, ...], own: bool = True) -> Attended:
        """Take a network through a course. Raises BrokenError where it breaks."""
        attended = conduct(self.session, Course(spec, start, self.inputs(spec), self.labels, acts, own))
        self.seconds += attended.seconds
        self.steps += sum(len(done.losses) for done in attended.done if done.losses is not None)
        if attended.failure is not None:
            raise BrokenError(attended.failure)
        return attended

    def attend(
        self, spec: NetworkSpec, start: dict[str, Array], acts: tuple[Act, ...], own: bool = True
    ) -> tuple[Done, ...]:
        """The same, where only what the acts gave is of interest."""
        return self.taken(spec, start, acts, own).done

    def run(self, program: Program) -> Trace:
        """Run a program of single layers. Raises BrokenError where it breaks."""
        trace = self.session.run(program)
        self.seconds += trace.seconds
        if trace.failure is not None:
            raise BrokenError(trace.failure)
        return trace

    def train(
        self,
        spec: NetworkSpec,
        start: dict[str, Array],
        rows: Array,
        *,
        update: bool = True,
        own: bool = True,
        finite: bool = True,
    ) -> Trained:
        """Train a network. Raises BrokenError where that breaks, DivergedError where the loss must stay finite."""
        attended = self.taken(spec, start, (Act("fit", rows, update=update), Act("state")), own)
        fit, state = attended.done
        assert fit.losses is not None
        trained = Trained(spec, fit.losses, state.states[0], attended.over.conventions)
        if finite and trained.diverged >= 0:
            raise DivergedError(trained.diverged)
        return trained

    def predict(self, trained: Trained, rows: Array, *, size: int = 0, training: bool = False) -> Array:
        """The logits of a trained network, asked for once. Raises BrokenError where it refuses."""
        key = ("logits", trained, rows.tobytes(), size, training)
        return self.own.get(key, lambda: self._predicted(trained, Act("predict", rows, size=size, training=training)))

    def _predicted(self, trained: Trained, act: Act) -> Array:
        (done,) = self.attend(trained.spec, trained.state, (act,))
        assert done.logits is not None
        return done.logits

    def accuracy(self, logits: Array, rows: Array) -> float:
        """The share of samples whose largest logit is that of their label; one that is not finite is wrong."""
        right = (logits.argmax(axis=1) == self.labels[rows]) & np.isfinite(logits).all(axis=1)
        return float(right.mean())

    def loss(self, logits: Array, rows: Array) -> float:
        """The mean cross entropy."""
        shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
        return float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(rows)), self.labels[rows]]))

    @functools.cached_property
    def model(self) -> Trained:
        """The sigmoid network of the wrapper's document, trained as there: what most scenarios look at."""
        spec = networks.SIGMOID._replace(dtype=self.dtype)
        return self.train(spec, networks.start(spec, 1, 1.0), self.batches(self.effort.steps))
