"""Derives cases for requirements on gradients: other upstream gradients, other gammas, the cotangent of a penalty."""

import msgspec
import numpy as np

from adapters.interface import Array
from conformance.case import Case, Given, Infer, SecondOrder, Start, Train
from conformance.derive import exponent, map_arrays, on_grid, with_starts
from conformance.oracle import TrainingTruth, from_channels, to_channels
from conformance.rewrite import rebuilt


def gradient_parts(case: Case) -> tuple[Case, ...]:
    """The case with upstream gradients a, b and a + b, all exact; nothing where it has none."""
    if not any(isinstance(step, Train | Infer) and step.dy is not None for step in case.program):
        return ()

    def parts(rows: Array) -> tuple[Array, Array]:
        first, _ = on_grid(case, rows, exponent(rows) + 2)
        return first, np.roll(first[:, ::-1], 1, axis=1) * 2

    return (
        map_arrays(case, dy=lambda rows, _: parts(rows)[0]),
        map_arrays(case, dy=lambda rows, _: parts(rows)[1]),
        map_arrays(case, dy=lambda rows, _: sum(parts(rows), np.zeros(()))),
    )


def penalty_cotangent(truth: TrainingTruth) -> Array:
    """WᵀW·dx, (C, m): the gradient of ½·|W·dx|² with respect to dx, W a linear layer to three units."""
    channels = truth.channels
    weights = np.random.default_rng([channels, 7]).integers(-4, 5, (3, channels)) / 4.0
    with np.errstate(all="ignore"):
        cotangent: Array = weights.T @ (weights @ truth.dx)
    return cotangent


def penalized(case: Case) -> tuple[Case, ...]:
    """The first second-order step with the cotangent of a gradient penalty; nothing where there is none."""
    found = [(s, c) for s, c in zip(case.held.program, case.expanded.calls, strict=True) if isinstance(s, SecondOrder)]
    if not found:
        return ()
    step, call = found[0]
    assert call.x is not None
    assert call.dy is not None
    start = case.held.starts[step.layer]
    gamma, beta = (a.array.reshape(-1) if isinstance(a, Given) else None for a in (start.gamma, start.beta))
    x, dy = to_channels(call.x, case.spec), to_channels(call.dy, case.spec)
    cotangent = penalty_cotangent(TrainingTruth(x, gamma, beta, case.spec.epsilon, dy))
    with np.errstate(all="ignore"):
        v = Given.of(from_channels(cotangent, case.spec, call.x.shape).astype(call.x.dtype))
    made = msgspec.structs.replace(step, v=v, layer=0)
    return (rebuilt(case, [made], starts=(start,), read="every"),)


def gamma_factors(channels: int) -> Array:
    """Per channel (C, 1): what ``other_gamma`` multiplies gamma with."""
    return np.resize(np.array([-2.0, 0.0, 2.0**-20, 2.0**12]), channels).reshape(-1, 1)


def other_gamma(case: Case) -> tuple[Case, ...]:
    """The case's training steps with gamma times powers of two, of both signs, and zero; nothing without gamma."""
    if not case.spec.scale or not any(isinstance(step, Train) and step.dy is not None for step in case.program):
        return ()

    def change(start: Start, _: int) -> Start:
        assert isinstance(start.gamma, Given)
        held = start.gamma.array
        with np.errstate(all="ignore"):
            changed = held * gamma_factors(held.size).reshape(held.shape).astype(held.dtype)
        return msgspec.structs.replace(start, gamma=Given.of(changed.astype(held.dtype)))

    program = [step for step in case.held.program if isinstance(step, Train)]
    return (with_starts(rebuilt(case, program), change),)
