"""Finding the adapter that a target names, and saying clearly why it cannot be used. Runs on Python 3.6."""

import functools
import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, List, Sequence, Tuple

from adapters.checks import Malformed, check_conventions, check_description, kind_of, nearest
from adapters.interface import BatchNormAdapter, Capabilities, Conventions, Description, Execution, Spec, Unsupported
from adapters.naming import NO_OPTIONS, WHOLE, AdapterError, Options, is_file, parse

__all__ = ["AdapterError", "describe", "described", "last_lines", "load"]

_REQUIRED = ("describe", "conventions", "build")
_UNKNOWN = re.compile(r"(?:(\w+)\.)?__new__\(\) got an unexpected keyword argument '(\w+)'")


#: Characters of an exception that are looked at: some carry whole arrays.
_LONGEST = 20000


def last_lines(error: BaseException, count: int = 12) -> Tuple[str, ...]:
    """Return the last lines of an exception's traceback, without the frame that caught it."""
    trace = error.__traceback__
    inner = trace.tb_next if trace is not None and trace.tb_next is not None else trace
    text = "".join(traceback.format_exception(type(error), error, inner))[-_LONGEST:]
    return tuple(text.rstrip("\n").split("\n")[-count:])


def described(error: BaseException) -> str:
    """Return "ValueError: text", the text shortened; what is our own message stands for itself."""
    if isinstance(error, AdapterError):
        return str(error)
    text = " ".join(str(error)[:_LONGEST].split())
    return type(error).__name__ + (": " + text[:500] if text else "")


def load(target: str, path: Sequence[str] = (), options: Options = NO_OPTIONS) -> BatchNormAdapter:
    """Return an adapter for a target: an instance of the class that it names, or one made for its kind of code.

    ``path`` is appended to ``sys.path``; where it is empty, the file's folder is, or the current one for a dotted
    name. Raises AdapterError.
    """
    kind, name, member = parse(target)
    default = Path(name).absolute().parent if is_file(name) and kind not in WHOLE else Path.cwd()
    folders = [str(Path(folder).absolute()) for folder in path] or [str(default)]
    sys.path.extend(folder for folder in folders if folder not in sys.path)
    if kind in WHOLE:
        return _made(kind, target, name, options)
    module = _file_module(name, target) if is_file(name) else _named_module(name, target, folders)
    if kind:
        return _made(kind, target, _member(module, member, target), options)
    return _instance(_adapter_class(module, member, target), target, options)


def _made(kind: str, target: str, subject: Any, options: Options) -> BatchNormAdapter:
    """An adapter for code without one."""
    from adapters import given

    try:
        return given.make(kind, target, subject, options)
    except AdapterError:
        raise
    except (Exception, SystemExit) as error:
        lines = "\n  ".join(last_lines(error))
        raise AdapterError("{}: {}\n  {}".format(target, described(error), lines)) from error


def _member(module: ModuleType, name: str, target: str) -> Any:
    found = getattr(module, name, None)
    if found is None:
        own = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        what = "{}: {} has no {}{}"
        raise AdapterError(what.format(target, _place(module), name, nearest(name, own)))
    return found


def _guarded(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call code of the target's author; whatever it raises becomes an AdapterError."""
    try:
        return function(*arguments)
    except (Exception, SystemExit) as error:
        lines = "\n  ".join(last_lines(error))
        raise AdapterError("{}: {}\n  {}".format(what, described(error), lines)) from error


def _named_module(name: str, target: str, folders: List[str]) -> ModuleType:
    try:
        found = importlib.import_module(name)
    except ImportError as error:
        missing = getattr(error, "name", None)
        if missing and (name == missing or name.startswith(missing + ".")):
            where = ", ".join(folders)
            raise AdapterError(
                "{}: no module named {!r} here or in {}; give its folder with --path".format(target, missing, where)
            ) from error
        lines = "\n  ".join(last_lines(error, 6))
        raise AdapterError("{}: importing it failed: {}\n  {}".format(target, described(error), lines)) from error
    except (Exception, SystemExit) as error:
        lines = "\n  ".join(last_lines(error))
        raise AdapterError("{}: importing it failed: {}\n  {}".format(target, described(error), lines)) from error
    return found


def _file_module(file: str, target: str) -> ModuleType:
    """Load a file under a private name, so that it shadows nothing; the module stays importable for pickle etc."""
    full = Path(file).absolute()
    if not full.is_file():
        raise AdapterError("{}: there is no file {}".format(target, full))
    digest = hashlib.sha256(str(full).encode("utf-8", "replace")).hexdigest()[:8]
    name = "_bn_target_{}_{}".format(digest, re.sub(r"\W", "_", full.stem))
    spec = importlib.util.spec_from_file_location(name, str(full))
    if spec is None or spec.loader is None:
        raise AdapterError("{}: {} is no Python file".format(target, full))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        _guarded("{}: importing it failed".format(target), spec.loader.exec_module, module)
    except AdapterError:
        sys.modules.pop(name, None)
        raise
    return module


def _adapter_class(module: ModuleType, name: str, target: str) -> Any:
    found = getattr(module, name, None)
    classes = [n for n, v in vars(module).items() if isinstance(v, type) and issubclass(v, BatchNormAdapter)]
    candidates = [n for n in classes if n != "BatchNormAdapter"]
    if found is None:
        raise AdapterError("{}: {} has no class {}{}".format(target, _place(module), name, nearest(name, candidates)))
    if not isinstance(found, type) or not issubclass(found, BatchNormAdapter):
        bases = " with bases " + ", ".join(b.__name__ for b in found.__bases__) if isinstance(found, type) else ""
        what = "the class {}{}".format(name, bases) if isinstance(found, type) else kind_of(found)
        raise AdapterError(
            "{}: {} is no subclass of adapters.interface.BatchNormAdapter, but {}".format(target, name, what)
        )
    missing = [m for m in _REQUIRED if getattr(found, m) is getattr(BatchNormAdapter, m)]
    if missing:
        signatures = "; ".join(m + str(inspect.signature(getattr(BatchNormAdapter, m))) for m in missing)
        raise AdapterError("{}: class {} ({}) lacks {}".format(target, name, _location(found), signatures))
    return found


def _place(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or module.__name__


def _location(subject: Any) -> str:
    try:
        return "{}:{}".format(inspect.getsourcefile(subject), inspect.getsourcelines(subject)[1])
    except (OSError, TypeError):
        return str(getattr(subject, "__module__", "?"))


def _instance(adapter: Any, target: str, options: Options) -> BatchNormAdapter:
    if options.map:
        what = "{}: --map is for code without an adapter; {} is one ({})"
        raise AdapterError(what.format(target, adapter.__name__, _location(adapter)))
    try:
        parameters = list(inspect.signature(adapter).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if needed:
        what = "{}: the constructor of {} ({}) needs {}; adapters are made without arguments"
        raise AdapterError(what.format(target, adapter.__name__, _location(adapter), ", ".join(needed)))
    if options.device and "device" not in [p.name for p in parameters]:
        what = "{}: the constructor of {} ({}) takes no device, so that it cannot be told --device {}"
        raise AdapterError(what.format(target, adapter.__name__, _location(adapter), options.device))
    named = {"device": options.device} if options.device else {}
    made = functools.partial(adapter, **named)
    result: BatchNormAdapter = _guarded("{}: {}() raised".format(target, adapter.__name__), made)
    return result


def describe(adapter: BatchNormAdapter) -> Description:
    """Return the adapter's checked description; its conventions are tried out on one spec for unknown names.

    Raises AdapterError.
    """
    who = "{} ({})".format(type(adapter).__name__, _location(type(adapter)))
    try:
        description = check_description(_naming(who, adapter.describe))
        _try_conventions(who, adapter, description)
    except Malformed as malformed:
        raise AdapterError("{}: {}".format(who, malformed)) from malformed
    return description


def _naming(who: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a declaring method; an unknown field gets a message that names the nearest known one."""
    try:
        return function(*arguments)
    except TypeError as error:
        message = _unknown_field(str(error))
        if message is None:
            return _guarded("{}: {}() raised".format(who, function.__name__), _raise, error)
        raise AdapterError("{}: {}(): {}".format(who, function.__name__, message)) from error
    except (Exception, SystemExit) as error:
        return _guarded("{}: {}() raised".format(who, function.__name__), _raise, error)


def _raise(error: BaseException) -> None:
    raise error


def _unknown_field(text: str) -> Any:
    """Old Pythons do not say which record refused the name: then all of them are looked through."""
    match = _UNKNOWN.search(text)
    if match is None:
        return None
    records = {r.__name__: r for r in (Capabilities, Conventions, Description, Execution)}
    record, field = match.group(1), match.group(2)
    if record in records:
        return "{} has no field {!r}{}".format(record, field, nearest(field, records[record]._fields))
    names = [name for r in (Capabilities, Conventions, Description) for name in r._fields]
    return "no declaration has a field {!r}{}".format(field, nearest(field, names))


def _try_conventions(who: str, adapter: BatchNormAdapter, description: Description) -> None:
    """What it raises here otherwise is left to the programs: it may be about this very spec."""
    capabilities = description.capabilities
    if not capabilities.ranks or not capabilities.dtypes:
        raise AdapterError("{}: describe(): Capabilities without any ranks or dtypes".format(who))
    rank = next((r for r in capabilities.ranks if r > 1), capabilities.ranks[0])
    axis = 1 if capabilities.axes == "second" and rank > 1 else rank - 1
    shape = tuple(4 if a == axis else None for a in range(rank))
    spec = Spec(shape, (axis,), 1e-3, 0.9, dtype=capabilities.dtypes[0])
    try:
        declared = adapter.conventions(spec)
    except Unsupported:
        return
    except TypeError as error:
        message = _unknown_field(str(error))
        if message is not None:
            raise AdapterError("{}: conventions(): {}".format(who, message)) from error
        return
    except (Exception, SystemExit):
        return
    check_conventions(declared)
