"""Golden vectors: single steps with expected values and the allowed error per element, for suites without Python.

The cases are those that a run draws, spread evenly over the families; each step starts from a state that the
reference came to. What is expected is the oracle's, what is allowed follows from the declared conventions.
"""

import json
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import ml_dtypes
import msgspec
import numpy as np

from adapters.interface import Array, Conventions, Spec
from conformance.case import Case
from conformance.diagnosis_facts import RESULTS
from conformance.families import FAMILIES
from conformance.judge import Judge, Run, View
from conformance.oracle import from_channels, unbiased
from conformance.pool import draw
from conformance.session import Session, open_session
from conformance.specs import spec_pool

REFERENCE = "adapters.numpy_reference:NumpyReference"
DTYPES = ("float32", "float64", "float16", "bfloat16")
#: Elements of an input.
LARGEST = 8192
#: Files of C++ that are put beside the vectors.
SOURCES = ("vectors.hpp", "check_vectors.cpp")


Add = Callable[[str, Array, Array], None]


class Vector(NamedTuple):
    """One step. ``expected`` and ``allowed`` are float64, ``allowed`` infinite where nothing can be said."""

    name: str
    op: str
    spec: Spec
    inputs: dict[str, Array]
    expected: dict[str, Array]
    allowed: dict[str, Array]


def vectors(count: int, dtype: str, seed: int, grade: str = "A") -> list[Vector]:
    """That many vectors, as many of each family as of any other; ``grade`` is the variance grade of the errors."""
    found: list[Vector] = []
    families = sorted(FAMILIES)
    # Some data are meant to overflow.
    with np.errstate(all="ignore"), open_session(REFERENCE, in_process=True) as session:
        for place, family in enumerate(families):
            wanted = (count - len(found)) // (len(families) - place)
            found += _family(family, wanted, dtype, seed, grade, session)
    return found


def _family(family: int, wanted: int, dtype: str, seed: int, grade: str, session: Session) -> list[Vector]:
    specs = tuple(dict.fromkeys(spec._replace(dtype=dtype) for spec in spec_pool(family, seed)))
    found: list[Vector] = []
    attempt = 0
    # Most cases give several steps, so that the first round is nearly always enough.
    while len(found) < wanted and attempt < 8:
        for pooled in draw(family, seed + attempt, wanted, specs).cases:
            steps = list(_steps(pooled.case, grade, session))[: wanted - len(found)][:2]
            found += [v._replace(name=f"{family}xx-{len(found) + n:04}-{v.op}") for n, v in enumerate(steps)]
        attempt += 1
    return found[:wanted]


def _steps(case: Case, grade: str, session: Session) -> Iterator[Vector]:
    """The vectors that a case's program gives: a training and an inference step, where it has them."""
    case = msgspec.structs.replace(case, read="every", repeat=False)
    trace = session.run(case.expanded)
    if trace.failure is not None:
        return
    conventions = (trace.conventions or Conventions())._replace(variance_grade=grade, affine_grade="F")
    run = Run(case, trace._replace(conventions=conventions))
    done: set[str] = set()
    for view in run.views:
        if view.call.op in ("train", "infer") and view.call.op not in done and view.call.update:
            vector = _vector(run, view)
            if vector is not None:
                done.add(view.call.op)
                yield vector


def _vector(run: Run, view: View) -> Vector | None:
    x = view.call.x
    before = run.before(view.number, "panel")
    if x is None or not 0 < x.size <= LARGEST or view.trace.step is None or view.call.times > 1:
        return None
    given = {"gamma": before.gamma, "beta": before.beta, "moving_mean": before.mean, "moving_variance": before.variance}
    shape, kind = run.spec.parameter_shape, np.dtype(run.spec.parameter_dtype)
    inputs = {"x": x} | ({} if view.call.dy is None else {"dy": view.call.dy})
    inputs |= {name: np.asarray(a).astype(kind).reshape(shape) for name, a in given.items() if a is not None}
    expected, allowed = _results(run, view, x)
    if not any(np.isfinite(a).any() for a in allowed.values()):
        return None
    return Vector("", view.call.op, run.spec, inputs, expected, allowed)


def _results(run: Run, view: View, x: Array) -> tuple[dict[str, Array], dict[str, Array]]:
    """Expected values and allowed errors of all that the step gives, in the arrays' own shapes."""
    judge, spec = Judge(run, "panel"), run.spec
    expected: dict[str, Array] = {}
    allowed: dict[str, Array] = {}

    def add(name: str, value: Array, bound: Array) -> None:
        for found, a in ((expected, value), (allowed, bound)):
            wide = np.asarray(a, np.float64)
            whole = from_channels(wide, spec, x.shape) if name in ("y", "dx") else wide.reshape(spec.parameter_shape)
            found[name] = np.ascontiguousarray(whole)

    with np.errstate(all="ignore"):
        for name in RESULTS if view.call.dy is not None else ("y",):
            if (name != "dgamma" or spec.scale) and (name != "dbeta" or spec.center):
                add(name, getattr(judge.truth(view), name), judge.bound(view, name))
        if view.call.op == "train":
            _add_moving(run, judge, view, add)
    return expected, allowed


def _add_moving(run: Run, judge: Judge, view: View, add: Add) -> None:
    """The moving statistics after the step, with both estimators of the variance."""
    after = run.expected_after(view.number, "panel")
    assert after.mean_error is not None
    assert after.variance_error is not None
    add("moving_mean", after.mean, after.mean_error)
    add("moving_variance", after.variance, after.variance_error)
    truth, bounds = judge.training(view)
    weight = 1 - run.spec.decay
    more = weight * (unbiased(truth.variance, truth.count) - truth.variance)
    wider = weight * (bounds.unbiased_variance - bounds.variance)
    add("moving_variance_unbiased", after.variance + more, after.variance_error + np.maximum(wider, 0))


def export(found: list[Vector], folder: Path) -> None:
    """Write the vectors as .npz, and as JSON with raw little-endian files; beside them the reader in C++."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "vectors.npz", allow_pickle=False, **_named(found))
    lines = []
    start = {"inputs": 0, "outputs": 0}
    with (
        (folder / "inputs.bin").open("wb") as inputs,
        (folder / "expected.bin").open("wb") as expected,
        (folder / "allowed.bin").open("wb") as allowed,
    ):
        for vector in found:
            places: dict[str, dict[str, tuple[int, int]]] = {"inputs": {}, "outputs": {}}
            for name, a in vector.inputs.items():
                places["inputs"][name] = (start["inputs"], a.size)
                start["inputs"] += inputs.write(_little(a))
            for name, a in vector.expected.items():
                places["outputs"][name] = (start["outputs"], a.size)
                start["outputs"] += a.size
                expected.write(_little(a))
                allowed.write(_little(vector.allowed[name]))
            lines.append(json.dumps(_described(vector) | places))
    head = {"format": "bn-conformance vectors", "version": 1, "count": len(found)}
    text = json.dumps(head)[:-1] + ', "vectors": [\n' + ",\n".join(lines) + "\n]}\n"
    (folder / "vectors.json").write_text(text, encoding="utf-8")
    for name in SOURCES:
        source = resources.files("conformance").joinpath("golden", name).read_text(encoding="utf-8")
        (folder / name).write_text(source, encoding="utf-8")


def _described(vector: Vector) -> dict[str, object]:
    spec = vector.spec
    return {
        "name": vector.name,
        "op": vector.op,
        "epsilon": spec.epsilon,
        "decay": spec.decay,
        "shape": list(vector.inputs["x"].shape),
        "axis": list(spec.channel_axes),
        "dtype": spec.dtype,
        "parameter_dtype": str(vector.inputs["moving_mean"].dtype),
    }


def _named(found: list[Vector]) -> dict[str, Array]:
    """All arrays by "vector/kind/name", and the vectors' descriptions as JSON."""
    arrays = {"descriptions": np.array([json.dumps(_described(vector)) for vector in found])}
    for vector in found:
        for kind in ("inputs", "expected", "allowed"):
            for name, a in getattr(vector, kind).items():
                # NumPy has no bfloat16: its bits as uint16.
                arrays[f"{vector.name}/{kind}/{name}"] = a.view(np.uint16) if a.dtype == ml_dtypes.bfloat16 else a
    return arrays


def _little(a: Array) -> bytes:
    plain = a.view(np.uint16) if a.dtype == ml_dtypes.bfloat16 else a
    return np.ascontiguousarray(plain).astype(plain.dtype.newbyteorder("<")).tobytes()
