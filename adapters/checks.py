"""Whether what an adapter returned is a result, a state or a declaration at all: types, shapes, dtypes and names.

Each check raises Malformed with a message that says what was expected and what was there. Runs on Python 3.6.
"""

import difflib
import math
import numbers
from functools import lru_cache
from typing import Any, Dict, Tuple

import numpy as np

from adapters.interface import Capabilities, Conventions, Description, Spec, State, Step
from adapters.program import Call, Second

_DTYPES = ("float16", "bfloat16", "float32", "float64", "longdouble")
#: What a declaration may say, by field; a Python type stands for its values.
CAPABILITIES: Dict[str, Any] = {
    "ranks": (1, 2, 3, 4, 5, 6, 7, 8),
    "axes": ("last", "second", "single", "several", "activations"),
    "dtypes": _DTYPES,
    "flags": bool,
    "training_gradients": bool,
    "inference_gradients": bool,
    "separate_update": bool,
    "tape": bool,
    "second_order": bool,
    "save": bool,
    "deterministic": bool,
    "transposes": bool,
    "training": bool,
}
CONVENTIONS: Dict[str, Any] = {
    "moving_variance": ("biased", "unbiased"),
    "moving_variance_single": ("zero", "nan"),
    "single": ("beta", "refused"),
    "empty": ("nan", "unchanged", "refused"),
    "epsilon_floor": float,
    "compute_dtype": ("", *_DTYPES),
    "statistics_dtype": ("", *_DTYPES),
    "decay_dtype": ("", *_DTYPES),
    "variance_grade": ("A", "B", "C"),
    "affine_grade": ("S", "F"),
    "update_timing": ("forward", "separate"),
    "frozen": ("inference", "batch", "training", "absent"),
}
_LISTS = ("ranks", "dtypes")


#: Names of a state's arrays, in order; extra arrays are named by their key.
STATE_FIELDS = ("gamma", "beta", "moving_mean", "moving_variance")


class Malformed(Exception):
    """Something came back that is not what the interface promises; the text says what."""


def nearest(name: str, names: Any) -> str:
    """Return "; did you mean ...?" for the nearest known names, or the list of all of them."""
    close = difflib.get_close_matches(name, list(names), 3, 0.5)
    if close:
        return "; did you mean {}?".format(" or ".join(close))
    return "; known are " + (", ".join(sorted(names)) or "none")


def kind_of(value: Any) -> str:
    """Name a value for a message: its type, with dtype and shape for an array."""
    if isinstance(value, np.ndarray):
        prefix = "" if type(value) is np.ndarray else type(value).__name__ + " of "
        return "{}{}{}".format(prefix, value.dtype.name, value.shape)
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    name = type(value).__name__
    module = type(value).__module__
    return name if module in ("builtins", None) else "{}.{}".format(module, name)


def _declared(where: str, record: Any, allowed: Dict[str, Any]) -> Any:
    """Return the record with plain values; each must be one that its field allows."""
    values = {}
    for field in record._fields:
        value, choices = getattr(record, field), allowed[field]
        if field in _LISTS:
            if not isinstance(value, (tuple, list)):
                raise Malformed("{}: {} must be a tuple, got {}".format(where, field, kind_of(value)))
            values[field] = tuple(_choice(where, field, v, choices) for v in value)
        else:
            values[field] = _choice(where, field, value, choices)
    return type(record)(**values)


def _choice(where: str, field: str, value: Any, choices: Any) -> Any:
    if choices is bool:
        if not isinstance(value, (bool, np.bool_)):
            raise Malformed("{}: {} must be True or False, got {}".format(where, field, kind_of(value)))
        return bool(value)
    if choices is float:
        if not isinstance(value, numbers.Real) or not 0 <= float(value) < math.inf:
            raise Malformed("{}: {} must be a finite number from 0, got {}".format(where, field, kind_of(value)))
        return float(value)
    if type(value) is not bool and isinstance(value, (str, numbers.Integral)) and value in choices:
        return choices[choices.index(value)]
    known = ", ".join(repr(c) for c in choices)
    raise Malformed("{}: {} is {}, which is none of {}".format(where, field, kind_of(value), known))


def check_description(value: Any) -> Description:
    """Return what describe() returned, its capabilities checked value by value."""
    if not isinstance(value, Description):
        raise Malformed("describe() returned {}, expected a Description".format(kind_of(value)))
    fields: Any = value  # nothing in it is sure to be what its annotation says
    for field in ("framework", "version", "device"):
        if not isinstance(getattr(value, field), str):
            found = kind_of(getattr(value, field))
            raise Malformed("describe(): Description.{} must be a string, got {}".format(field, found))
    if not isinstance(fields.capabilities, Capabilities):
        found = kind_of(fields.capabilities)
        raise Malformed("describe(): Description.capabilities must be Capabilities, got {}".format(found))
    if not isinstance(fields.notes, (tuple, list)) or not all(isinstance(note, str) for note in fields.notes):
        raise Malformed("describe(): Description.notes must be a tuple of strings, got {!r}".format(value.notes))
    if not set(value.undeclared) <= {"capabilities", "conventions"}:
        raise Malformed("describe(): Description.undeclared is {!r}".format(value.undeclared))
    capabilities = _declared("describe(): Capabilities", value.capabilities, CAPABILITIES)
    return value._replace(capabilities=capabilities, notes=tuple(value.notes), undeclared=tuple(value.undeclared))


def check_conventions(value: Any) -> Conventions:
    """Return what conventions() returned, checked value by value."""
    if not isinstance(value, Conventions):
        raise Malformed("conventions() returned {}, expected Conventions".format(kind_of(value)))
    try:
        return _checked_conventions(value)
    except TypeError:  # a field that is not hashable is no declaration either
        return _conventions(value)


def _conventions(value: Conventions) -> Conventions:
    result: Conventions = _declared("conventions()", value, CONVENTIONS)
    return result


#: An adapter declares the same few conventions for program after program.
_checked_conventions = lru_cache(maxsize=256, typed=True)(_conventions)


def _array(where: str, name: str, value: Any, shape: Tuple[int, ...]) -> None:
    if type(value) is not np.ndarray and (
        not isinstance(value, np.ndarray) or isinstance(value, (np.ma.MaskedArray, np.matrix))
    ):
        raise Malformed("{}: {} must be a numpy.ndarray, got {}".format(where, name, kind_of(value)))
    if value.shape != shape:
        raise Malformed("{}: {} must have shape {}, got {}".format(where, name, shape, kind_of(value)))


def _plain(value: Any) -> Any:
    """bfloat16 of ml_dtypes, where a framework brings it along, is uint16 on this side of the wire."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "V" and value.dtype.name == "bfloat16":
        return value.view(np.uint16)
    return value


class ResultChecks:
    """The checks of results for one spec."""

    def __init__(self, spec: Spec, capabilities: Capabilities) -> None:
        self.spec = spec
        self.bfloat16 = spec.dtype == "bfloat16"
        self.parameter_shape = spec.parameter_shape
        training, inference = capabilities.training_gradients, capabilities.inference_gradients
        self.gradients = {"train": training, "infer": inference, "backward": True}

    def step(self, value: Any, call: Call) -> Step:
        """Return the Step that train(), infer() or backward() returned."""
        like = call.dy if call.x is None else call.x
        where = "{}()".format(call.op)
        if not isinstance(value, tuple) or len(value) != 4:
            raise Malformed("{} returned {}, expected a Step of y, dx, dgamma, dbeta".format(where, kind_of(value)))
        step = Step(*[_plain(v) for v in value]) if self.bfloat16 else Step(*value)
        self._like_input(where, "y", step.y, like)
        asked = call.dy is not None and self.gradients[call.op]
        if step.dx is not None or asked:
            self._like_input(where, "dx", step.dx, like)
        self._parameter(where, "dgamma", step.dgamma, self.spec.scale, asked)
        self._parameter(where, "dbeta", step.dbeta, self.spec.center, asked)
        # Gradients that nobody asked for are gradients of nothing.
        return step if call.dy is not None else Step(step.y)

    def second(self, value: Any, call: Call) -> Second:
        """Return what second_order() returned."""
        where = "second_order()"
        if not isinstance(value, tuple) or len(value) != 3:
            raise Malformed("{} returned {}, expected three gradients".format(where, kind_of(value)))
        second = Second(*[_plain(v) for v in value]) if self.bfloat16 else Second(*value)
        self._like_input(where, "the gradient of x", second.x, call.x)
        self._like_input(where, "the gradient of dy", second.dy, call.x)
        self._parameter(where, "the gradient of gamma", second.gamma, self.spec.scale, True)
        return second

    def state(self, value: Any, start: State) -> State:
        """Return the state that was read from a layer built from ``start``."""
        if not isinstance(value, State):
            raise Malformed("state() returned {}, expected a State".format(kind_of(value)))
        self._parameter("state()", "gamma", value.gamma, self.spec.scale, True)
        self._parameter("state()", "beta", value.beta, self.spec.center, True)
        self._parameter("state()", "moving_mean", value.moving_mean, True, start.moving_mean is not None)
        self._parameter("state()", "moving_variance", value.moving_variance, True, start.moving_variance is not None)
        if not isinstance(value.extra, dict):
            raise Malformed("state(): extra must be a dict of arrays, got {}".format(kind_of(value.extra)))
        extra: Dict[Any, Any] = value.extra
        for key, array in extra.items():
            if not isinstance(key, str) or not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
                raise Malformed("state(): extra[{!r}] must be a numeric array, got {}".format(key, kind_of(array)))
        if self.bfloat16:
            return value._replace(**{name: _plain(getattr(value, name)) for name in STATE_FIELDS})
        return value

    def _like_input(self, where: str, name: str, value: Any, x: Any) -> None:
        _array(where, name, value, x.shape)
        if value.dtype != x.dtype and value.dtype.newbyteorder("=") != x.dtype.newbyteorder("="):
            expected = "{}, the input's dtype".format(x.dtype.name)
            raise Malformed("{}: {} must be {}, got {}".format(where, name, expected, kind_of(value)))

    def _parameter(self, where: str, name: str, value: Any, exists: bool, required: bool) -> None:
        if not exists:
            if value is not None:
                flag = "scale" if name.endswith("gamma") else "center"
                raise Malformed("{}: {} must be None with {}=False, got {}".format(where, name, flag, kind_of(value)))
            return
        if value is None and not required:
            return
        _array(where, name, value, self.parameter_shape)
        floats = "fu" if self.bfloat16 and value.dtype.itemsize == 2 else "f"
        if value.dtype.kind not in floats:
            raise Malformed("{}: {} must hold floating-point numbers, got {}".format(where, name, kind_of(value)))
