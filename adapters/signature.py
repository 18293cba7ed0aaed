"""What the arguments of somebody's code stand for: found by their names, or told with ``--map``. Runs on Python 3.6."""

import ast
import inspect
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from adapters.checks import nearest
from adapters.naming import AdapterError, Options

#: Names by which the field calls each role. "decay" is the weight of the old moving value, "1-decay" of the new one.
SYNONYMS: Dict[str, Tuple[str, ...]] = {
    "channels": (
        *("channels", "num_features", "num_channels", "n_features", "n_channels", "features", "num_feature", "dim"),
        *("in_channels", "in_features", "input_dim", "size", "c", "d", "n_in", "n_out", "normalized_shape"),
    ),
    "epsilon": ("epsilon", "eps", "variance_epsilon"),
    "decay": ("decay", "decay_rate", "moving_average_decay"),
    "1-decay": ("exponential_average_factor", "exponential_avg_factor", "average_factor"),
    "axis": ("axis", "channel_axis", "axes", "feature_axis", "channel_dim"),
    "rank": ("rank", "ndim", "num_dims", "dims"),
    "affine": ("affine", "elementwise_affine"),
    "center": ("center", "use_bias", "use_beta", "use_offset", "bias"),
    "scale": ("scale", "use_scale", "use_gamma", "weight"),
    "dtype": ("dtype",),
    "device": ("device",),
    "x": ("x", "input", "inputs", "input_", "data"),
    "dy": ("dy", "dout", "d_out", "grad_output", "grad_y", "grad_out", "grad", "upstream", "delta", "g"),
    "gamma": ("gamma", "weight", "scale", "w", "g"),
    "beta": ("beta", "bias", "shift", "offset", "b"),
    "moving_mean": ("moving_mean", "running_mean", "moving_avg", "running_mu", "mean", "mu"),
    "moving_variance": (
        *("moving_variance", "moving_var", "running_variance", "running_var", "variance", "var"),
        *("sigma2", "running_sigma2"),
    ),
    "training": ("training", "train", "is_training", "is_train", "training_mode", "train_mode"),
    "inference": ("inference", "use_running_average", "use_global_stats", "test", "testing", "is_test", "eval"),
    "dx": ("dx", "grad_x", "grad_input", "d_x"),
    "dgamma": ("dgamma", "grad_gamma", "d_gamma", "dweight", "grad_weight", "dscale", "gamma_grad", "weight_grad"),
    "dbeta": ("dbeta", "grad_beta", "d_beta", "dbias", "grad_bias", "dshift", "beta_grad", "bias_grad"),
}
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_STATE = ("gamma", "beta", "moving_mean", "moving_variance")


class Constant(NamedTuple):
    """A value that the user gave for an argument."""

    value: Any


def role_of(name: str, wanted: Iterable[str], momentum: str) -> Optional[str]:
    """The first of the wanted roles that a name stands for; ``momentum`` is what that word means here."""
    lower = name.lower().strip("_")
    wanted = list(wanted)
    if lower in ("momentum", "alpha") and momentum in wanted:
        return momentum
    return next((role for role in wanted if lower == role or lower in SYNONYMS[role]), None)


class Meanings:
    """The ``--map`` of a target: what the user says, and which of it was used."""

    def __init__(self, target: str, options: Options) -> None:
        self.target = target
        self._told = dict(options.map)
        self._used: List[str] = []

    def told(self, name: str, wanted: Iterable[str], momentum: str) -> Any:
        """A role or a Constant for an argument of that name, where the user told one; otherwise None.

        ``eps=epsilon`` may be meant either way around: one side is the target's name, the other one ours.
        """
        wanted = list(wanted)
        for theirs, ours in self._told.items():
            if theirs == name:
                value = self._value(theirs, ours, wanted, momentum)
                if value is not None:
                    self._used.append(theirs)
                    return value
            elif ours == name and role_of(theirs, wanted, momentum) is not None:
                self._used.append(theirs)
                return role_of(theirs, wanted, momentum)
        return None

    def _value(self, theirs: str, ours: str, wanted: List[str], momentum: str) -> Any:
        role = ours if ours in wanted else role_of(ours, wanted, momentum)
        if role is not None:
            return role
        if ours in SYNONYMS:
            return None
        try:
            return Constant(ast.literal_eval(ours))
        except (ValueError, SyntaxError):
            if any(role_of(ours, [role], momentum) for role in SYNONYMS):
                return None
            what = "{}: --map {}={}: {!r} is neither a value nor a meaning{}"
            raise AdapterError(what.format(self.target, theirs, ours, ours, nearest(ours, SYNONYMS))) from None

    def check(self, where: str, known: Sequence[str]) -> None:
        """Raise AdapterError for a ``--map`` that met nothing of that name."""
        for theirs, ours in self._told.items():
            if theirs not in self._used:
                what = "{}: --map {}={}: {} has nothing of that name{}"
                raise AdapterError(what.format(self.target, theirs, ours, where, nearest(theirs, known)))


class Binding:
    """Which argument of a function takes which role."""

    def __init__(
        self, function: Callable[..., Any], who: str, roles: Dict[str, str], constants: Dict[str, Any]
    ) -> None:
        self.function = function
        self.who = who
        #: Argument by role.
        self.roles = roles
        self.constants = constants

    def takes(self, role: str) -> bool:
        """Whether there is an argument for the role."""
        return role in self.roles

    def arguments(self, values: Dict[str, Any]) -> Dict[str, Any]:
        """The named arguments of a call that carries these values by role; those without an argument are left out."""
        named = {self.roles[role]: value for role, value in values.items() if role in self.roles}
        return {**named, **self.constants}

    def text(self, texts: Dict[str, str]) -> str:
        """The arguments of a call as code, from expressions by role."""
        named = {self.roles[role]: text for role, text in texts.items() if role in self.roles}
        named.update({name: repr(value) for name, value in self.constants.items()})
        return ", ".join("{}={}".format(name, text) for name, text in named.items())

    def __call__(self, **values: Any) -> Any:
        """Call the function."""
        return self.function(**self.arguments(values))


def names(function: Callable[..., Any]) -> List[str]:
    """Names of a function's arguments; none where it cannot be inspected."""
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return []


def bind(
    function: Callable[..., Any],
    who: str,
    wanted: Sequence[str],
    meanings: Meanings,
    momentum: str,
    needed: Sequence[str] = (),
) -> Binding:
    """Find out which argument takes which of the wanted roles.

    The first argument takes the first wanted role where nothing else does. Raises AdapterError for an argument that
    must be given and stands for nothing known, and for a needed role without an argument.
    """
    try:
        parameters = [p for p in inspect.signature(function).parameters.values() if p.kind in _NAMED]
    except (TypeError, ValueError) as error:
        what = "{}: the arguments of {} cannot be inspected ({}): wrap it in a function with named arguments"
        raise AdapterError(what.format(meanings.target, who, error)) from error
    roles: Dict[str, str] = {}
    constants: Dict[str, Any] = {}
    unknown: List[str] = []
    for parameter in parameters:
        left = [role for role in wanted if role not in roles]
        meaning = meanings.told(parameter.name, left, momentum) or role_of(parameter.name, left, momentum)
        if isinstance(meaning, Constant):
            constants[parameter.name] = meaning.value
        elif meaning is not None:
            roles[meaning] = parameter.name
        elif parameter.default is parameter.empty:
            unknown.append(parameter.name)
    if wanted[0] not in roles and unknown and unknown[0] == parameters[0].name:
        roles[wanted[0]] = unknown.pop(0)
    _complain(meanings.target, who, [p.name for p in parameters], unknown, [n for n in needed if n not in roles])
    return Binding(function, who, roles, constants)


def _complain(target: str, who: str, present: List[str], unknown: List[str], missing: List[str]) -> None:
    listed = ", ".join(present) or "none"
    if unknown:
        what = (
            "{}: {} needs an argument {!r}, which stands for nothing known: give its value or its meaning with "
            "--map {}=VALUE (its arguments: {})"
        )
        raise AdapterError(what.format(target, who, unknown[0], unknown[0], listed))
    if missing:
        what = "{}: {} has no argument for {}: name it with --map ITS_NAME={} (its arguments: {})"
        raise AdapterError(what.format(target, who, " and ".join(missing), missing[0], listed))


def find_state(
    target: str, who: str, names: Iterable[str], meanings: Meanings, wanted: Sequence[str]
) -> Dict[str, str]:
    """Which of the names (dotted ones by their last part) holds each wanted part of the state.

    The order of synonyms decides where several would do.
    """
    known = list(names)
    found: Dict[str, str] = {}
    for name in known:
        last = name.rpartition(".")[2]
        told = meanings.told(name, _STATE, "") or meanings.told(last, _STATE, "")
        if isinstance(told, str):
            found.setdefault(told, name)
    for role in wanted:
        if role not in found:
            ranked = [
                (place, name)
                for name in known
                for place, synonym in enumerate((role, *SYNONYMS[role]))
                if name.rpartition(".")[2].lower().strip("_") == synonym and name not in found.values()
            ]
            if ranked:
                found[role] = min(ranked, key=lambda pair: pair[0])[1]
    missing = [role for role in wanted if role not in found]
    if missing:
        what = "{}: {} has no {} among {}: name it with --map ITS_NAME={}"
        listed = ", ".join(known) or "no parameters, buffers or attributes at all"
        raise AdapterError(what.format(target, who, " and no ".join(missing), listed, missing[0]))
    return found
