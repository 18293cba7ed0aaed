"""Adapters for code that has none: one class per kind, made from what the target names. Runs on Python 3.6."""

import importlib
from typing import Any, Dict, List, Sequence

from adapters.interface import BatchNormAdapter, Conventions, Spec, Unsupported
from adapters.naming import AdapterError, Options
from adapters.signature import Binding, Meanings, bind

#: Module and class of each kind; imported when asked for, since each imports its framework.
CLASSES = {
    "torch": ("adapters.given_torch", "GivenTorchModule"),
    "torch-function": ("adapters.given_torch", "GivenTorchFunction"),
    "keras": ("adapters.given_keras", "GivenKerasLayer"),
    "jax": ("adapters.given_jax", "GivenJaxFunction"),
    "numpy": ("adapters.given_numpy", "GivenNumpyObject"),
    "onnx": ("adapters.given_onnx", "GivenOnnxModel"),
    "cmd": ("adapters.given_command", "GivenCommand"),
}
#: Roles that a constructor's arguments can have, the first argument's first.
CONSTRUCTOR = (
    *("channels", "epsilon", "decay", "1-decay", "axis", "rank", "affine", "center", "scale"),
    *("dtype", "device"),
)


def make(kind: str, target: str, subject: Any, options: Options) -> BatchNormAdapter:
    """Return an adapter for a class, function, model or program; AdapterError where it cannot be one."""
    module, name = CLASSES[kind]
    try:
        adapter = getattr(importlib.import_module(module), name)
    except ImportError as error:
        missing = getattr(error, "name", None) or str(error)
        raise AdapterError("{}: needs {}, which is not installed here".format(target, missing)) from error
    made: BatchNormAdapter = adapter(target, subject, options)
    return made


def spelled(adapter: Any, spec: Spec) -> Dict[str, str]:
    """How an adapter's subject is used, as code; empty where that cannot be told."""
    if not isinstance(adapter, Given):
        return {}
    try:
        return adapter.spelling(spec)
    except (Exception, SystemExit):
        return {}


class Given(BatchNormAdapter):
    """What the adapters of all kinds share: a target, its subject, what the user said of both."""

    #: What the word "momentum" means in the field that the kind comes from.
    momentum = "decay"
    default_device = ""

    def __init__(self, target: str, subject: Any, options: Options) -> None:
        self.target = target
        self.subject = subject
        self.options = options
        self.device = options.device or self.default_device
        self.meanings = Meanings(target, options)
        #: Attributes that are set after construction, with their roles.
        self.attributes: Dict[str, str] = {}
        if options.device and not self.default_device:
            raise AdapterError("{}: cannot be told --device {}".format(target, options.device))

    def again(self) -> BatchNormAdapter:
        """Another adapter for the same subject, as a new process would make it."""
        return type(self)(self.target, self.subject, self.options)

    @property
    def who(self) -> str:
        """The subject's name in messages."""
        return str(getattr(self.subject, "__name__", type(self.subject).__name__))

    def conventions(self, spec: Spec) -> Conventions:
        """Nothing is declared: the weakest grades, until they are measured."""
        return Conventions()

    def constructor(self, wanted: Sequence[str] = CONSTRUCTOR) -> Binding:
        """Which argument of the subject's constructor is what."""
        if not callable(self.subject):
            raise AdapterError(
                "{}: {!r} cannot be called: it is no class and no function".format(self.target, self.who)
            )
        return bind(self.subject, "the constructor of " + self.who, wanted, self.meanings, self.momentum)

    def configured(self, made: Any, values: Dict[str, Any], binding: Binding) -> None:
        """See to it that epsilon and decay took effect: by an argument, else by an attribute of that name."""
        from adapters.signature import role_of

        for role in ("epsilon", "decay"):
            if binding.takes(role) or (role == "decay" and binding.takes("1-decay")):
                continue
            roles = ["decay", "1-decay"] if role == "decay" else [role]
            for name in [n for n in vars(made) if not n.startswith("_")]:
                meaning = self.meanings.told(name, roles, self.momentum) or role_of(name, roles, self.momentum)
                if isinstance(meaning, str):
                    setattr(made, name, values[meaning])
                    self.attributes[name] = meaning
                    break
            else:
                what = "{} cannot be told its {}: it has neither an argument nor an attribute of such a name ({})"
                raise Unsupported(what.format(self.who, role, "--map ITS_NAME=" + role))

    def spelling(self, spec: Spec) -> Dict[str, str]:
        """How a layer of the spec is made, called and read, in code: pieces by name, which the scripts are made of.

        In them ``$layer``, ``$x`` and ``$dy`` stand for variables.
        """
        return {}

    def spelled_making(self, binding: Binding, texts: Dict[str, str]) -> Dict[str, str]:
        """The constructor's arguments, and the attributes that are set afterwards, from expressions by role."""
        lines = ["$layer.{} = {}".format(name, texts[role]) for name, role in self.attributes.items()]
        return {"arguments": binding.text(texts), "attributes": "\n".join(lines)}


def texts_of(spec: Spec) -> Dict[str, str]:
    """What a constructor may be told, by role, as code."""
    return {role: repr(value) for role, value in values_of(spec).items()}


def tiny(spec: Spec) -> List[int]:
    """Extents of a small input of the spec."""
    return [extent or 2 for extent in spec.shape]


def values_of(spec: Spec) -> Dict[str, Any]:
    """What a constructor may be told, by role."""
    shape = spec.parameter_shape
    return {
        "channels": shape[0] if len(shape) == 1 else shape,
        "epsilon": spec.epsilon,
        "decay": spec.decay,
        "1-decay": 1 - spec.decay,
        "rank": spec.rank,
        "center": spec.center,
        "scale": spec.scale,
    }
