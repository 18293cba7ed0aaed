"""Family 4xx: gradients of gradients, and gradients against derivatives that come without a formula."""

import numpy as np

from adapters.interface import Array
from adapters.program import Trace
from conformance import derive_gradients
from conformance.case import Case
from conformance.complex_step import along, direction, input_gradient, normalized, output
from conformance.evidence import NOTHING, Evidence, combine, require
from conformance.judge import Judge, View
from conformance.requirements._catalogue import requirement

CHAIN = "The chain rule on Ioffe & Szegedy 2015, section 3"
NEEDED = "second_order training_gradients"
SECOND = ("second_order",)


def _against_truth(judge: Judge, view: View, name: str) -> Evidence:
    """Compare one of the three gradients of Σ v·dx with the oracle."""
    second = view.trace.second
    value = None if second is None else getattr(second, name)
    if value is None:
        return NOTHING
    truth, bounds = judge.run.second(view.number, judge.kind)
    got = np.asarray(value, np.float64).reshape(-1, 1) if name == "gamma" else judge.run.rows(value)
    label = {"x": "dx of Σ v·dx", "dy": "dy of Σ v·dx", "gamma": "dγ of Σ v·dx"}[name]
    return judge.compare(label, got, getattr(truth, name), getattr(bounds, name), view)


@requirement("BN-420", source=CHAIN, ops=SECOND, needs=NEEDED, rounded_away=True)
def second_order_of_input(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """∂/∂x Σ v·dx = γ·r²·(x̂·(3VG − cov(v, dy)) − (v − v̄)·G − (dy − mean(dy))·V) with G = mean(dy·x̂), V = mean(v·x̂)."""
    return combine([_against_truth(judge, view, "x") for view in judge.steps("second_order")])


@requirement("BN-421", source=CHAIN, ops=SECOND, needs=NEEDED, rounded_away=True)
def second_order_of_upstream(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """∂/∂dy Σ v·dx is the formula of dx with v in place of dy: the Jacobian of batch normalization is symmetric."""
    return combine([_against_truth(judge, view, "dy") for view in judge.steps("second_order")])


@requirement("BN-422", source=CHAIN, ops=SECOND, needs=NEEDED, rounded_away=True)
def second_order_of_gamma(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """∂/∂γ Σ v·dx = m·r·(cov(v, dy) − V·G): dx is proportional to γ."""
    return combine([_against_truth(judge, view, "gamma") for view in judge.steps("second_order")])


@requirement(
    "BN-423",
    source="Gulrajani et al. 2017: gradient penalty",
    ops=SECOND,
    derive=derive_gradients.penalized,
    needs=NEEDED,
    rounded_away=True,
)
def gradient_penalty(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """The gradient of the penalty ½·|W·dx|², W a linear layer over the channels, is its derivative in any direction."""
    parts = []
    for other in judge.derived:
        for view in other.steps("second_order"):
            second = view.trace.second
            if second is None:
                continue
            truth, bounds = other.run.second(view.number, other.kind)
            of_dy, exact = truth.of_dy, derive_gradients.penalty_cotangent(truth.of_dy)
            signs = direction(of_dy.x.shape, view.number).astype(of_dy.host)
            with np.errstate(all="ignore"):
                moved = along(input_gradient(of_dy), of_dy.x, signs)
                expected = np.sum(exact * moved, axis=1, keepdims=True)
                # The cotangent that was handed over is the penalty's, rounded.
                apart = np.abs(np.sum((truth.of_v.dy - exact) * moved, axis=1, keepdims=True))
                got = np.sum(other.run.rows(second.x) * signs, axis=1, keepdims=True)
                allowed = _where_finite(expected, np.sum(bounds.x, axis=1, keepdims=True) + apart)
            parts.append(other.compare("derivative of the penalty", got, expected, allowed, view))
    return combine(parts)


@requirement("BN-424", source="Differentiation has no side effects", ops=SECOND, needs=NEEDED)
def second_order_changes_no_state(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Computing gradients of gradients leaves γ, β and the moving statistics as they are, to the bit."""
    parts = []
    for view in judge.steps("second_order"):
        before, read = judge.run.before(view.number, judge.kind), view.trace.state
        if read is None or not before.certain:
            continue
        after = judge.run.after(view.number, judge.kind)
        for name in ("gamma", "beta", "mean", "variance"):
            one, two = getattr(before, name), getattr(after, name)
            holds = one is two or np.array_equal(one, two, equal_nan=True)
            parts.append(require(holds, f"second order changed {name}", name, view.number))
    return combine(parts)


def _where_finite(derivative: Array, bound: Array) -> Array:
    """The bound, infinite where there is no derivative, since an element of the channel is not finite."""
    return np.where(np.isfinite(derivative), bound, np.inf)


def _directional(judge: Judge, view: View) -> list[Evidence]:
    """Compare the gradients of a step, summed along a direction, with the derivative of Σ y·dy along it."""
    got, truth = judge.got(view, "dx"), judge.truth(view)
    if got is None or not truth.count:
        return []
    signs = direction(truth.x.shape, view.number).astype(truth.host)

    def total(a: Array) -> Array:
        return np.sum(a, axis=1, keepdims=True)

    with np.errstate(all="ignore"):
        expected = total(truth.dy * along(output(truth), truth.x, signs))
        allowed = _where_finite(expected, total(judge.bound(view, "dx")))
        parts = [
            judge.compare("Σ ±dx", total(got * signs), expected, allowed, view, scale=total(np.abs(truth.dx))),
        ]
        dgamma = judge.got(view, "dgamma")
        if dgamma is not None:
            # Σ y·dy is linear in γ: its derivative is its value for γ = 1 and β = 0.
            wanted = total(truth.dy * normalized(truth))
            allowed = _where_finite(wanted, judge.bound(view, "dgamma"))
            parts.append(judge.compare("dgamma", dgamma, wanted, allowed, view))
    return parts


@requirement("BN-430", source="Squire & Trapp 1998: complex-step differentiation", needs="training_gradients")
def gradients_are_derivatives(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Dx and dγ are derivatives of Σ y·dy as the output's definition gives them, without any formula of a gradient."""
    views = [*judge.steps("train"), *judge.inferences()]
    return combine([part for view in views for part in _directional(judge, view)])


@requirement("BN-431", source=CHAIN, ops=("train",), derive=derive_gradients.other_gamma, needs="training_gradients")
def gamma_scales_gradients(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """dγ and dβ do not depend on γ, be it zero, tiny, huge or negative, and dx is proportional to it."""
    parts = []
    for other in judge.derived:
        for mine, theirs in zip(judge.steps("train"), other.steps("train"), strict=False):
            for name in ("dgamma", "dbeta", "dx"):
                got, others = judge.got(mine, name), other.got(theirs, name)
                if got is None or others is None:
                    continue
                factor = derive_gradients.gamma_factors(len(got)) if name == "dx" else np.ones((len(got), 1))
                with np.errstate(all="ignore"):
                    bound = other.bound(theirs, name) + np.abs(factor) * judge.bound(mine, name)
                    expected = factor * got
                    truth = factor * getattr(judge.truth(mine), name)
                    # γ times the factor may be rounded: what the oracle makes of it is allowed for.
                    bound = bound + np.abs(truth - getattr(other.truth(theirs), name))
                parts.append(other.compare(name, others, expected, bound, theirs))
    return combine(parts)
