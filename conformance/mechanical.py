"""Mutates the reference's source mechanically: one small change at a time, each a module of its own to be run.

Where a mutant survives, either the change makes no difference, or the suite cannot see one that does.
"""

import ast
import copy
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from conformance.mutants import Subject

SOURCE = "adapters.numpy_reference"
CLASS, OTHERWISE = "NumpyReference", "Otherwise"
#: A decorator that the stale-cache mutants use: it gives the first result again, for arrays of the same shapes.
_STALE = """
def _stale(function):
    def first(self, *arguments):
        kept = self.__dict__.setdefault("_kept", {})
        key = (function.__name__, *[getattr(a, "shape", None) for a in arguments])
        if key not in kept:
            kept[key] = function(self, *arguments)
        return kept[key]
    return first
"""
#: The reference under other conventions, so that what depends on them is not dead code; appended to every mutant.
_OTHERWISE = """

class Otherwise(NumpyReference):
    declared = NumpyReference.declared._replace(moving_variance="unbiased", epsilon_floor=2.0**-7)
"""
_SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.Gt: ast.LtE,
    ast.In: ast.NotIn,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
#: Functions and the ones that stand in for them.
_FUNCTIONS = {
    "sum": ("mean",),
    "square": ("abs",),
    "sqrt": ("square", "cbrt"),
    "ones": ("zeros",),
    "zeros": ("ones",),
    "max": ("min",),
    "prod": ("sum", "max"),
    "zip": (),
}
#: Attributes of the same kind, which somebody may take for each other.
_ATTRIBUTES = {
    "reduction_axes": ("channel_axes",),
    "channel_axes": ("reduction_axes",),
    "gamma": ("beta",),
    "beta": ("gamma",),
    "moving_mean": ("moving_variance",),
    "moving_variance": ("moving_mean",),
    "scale": ("center",),
    "center": ("scale",),
    "epsilon": ("decay",),
    "decay": ("epsilon",),
    "dtype": (),
}


class Change(NamedTuple):
    """One mutation: where, what kind, and the source's lines before and after."""

    kind: str
    line: int
    before: str
    after: str
    source: str


#: What makes other nodes of a node, each with the kind of the change.
Operator = Callable[[ast.AST], Iterator[tuple[str, ast.AST]]]


def _operators(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in _SWAPPED:
        yield "operator", _with(node, op=_SWAPPED[type(node.op)]())
    if isinstance(node, ast.BinOp):
        yield "operand dropped", node.left
        yield "operand dropped", node.right
    if isinstance(node, ast.UnaryOp):
        yield "operand dropped", node.operand
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _SWAPPED:
        yield "comparison", _with(node, ops=[_SWAPPED[type(node.ops[0])]()])
    if isinstance(node, ast.BoolOp):
        for value in node.values:
            yield "condition dropped", value
    if isinstance(node, ast.IfExp):
        yield "branch", node.body
        yield "branch", node.orelse


def _constants(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if not isinstance(node, ast.Constant):
        return
    value = node.value
    if isinstance(value, bool):
        yield "constant", ast.Constant(not value)
    elif isinstance(value, int | float):
        yield "constant", ast.Constant(value + 1)
        yield "constant", ast.Constant(value - 1)
    elif isinstance(value, str) and value.replace("_", "").isalnum():
        other = {"float32": "float64", "float64": "float32"}.get(value, value + "_")
        yield "constant", ast.Constant(other)


def _calls(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if not isinstance(node, ast.Call):
        return
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    for other in _FUNCTIONS.get(name, ()):
        changed = ast.Name(other, ast.Load()) if isinstance(function, ast.Name) else _with(function, attr=other)
        yield "function", _with(node, func=changed)
    if name == "astype" and isinstance(function, ast.Attribute):
        yield "cast dropped", function.value
        for dtype in ("float16", "float64"):
            yield "dtype", _with(node, args=[ast.Constant(dtype)])
    if name in ("_copy", "array", "type") and len(node.args) == 1:
        yield "copy dropped", node.args[0]
    if name in ("reshape", "square", "sqrt", "broadcast", "moving_estimate", "copy"):
        inner = node.args[0] if node.args and name != "reshape" else getattr(function, "value", None)
        if inner is not None:
            yield "call dropped", inner
    if len(node.args) >= 2:
        for first in range(len(node.args) - 1):
            order = list(node.args)
            order[first], order[first + 1] = order[first + 1], order[first]
            yield "arguments swapped", _with(node, args=order)
        if name in ("max", "min"):
            yield from (("bound dropped", argument) for argument in node.args)
    for index, keyword in enumerate(node.keywords):
        yield f"{keyword.arg} dropped", _with(node, keywords=node.keywords[:index] + node.keywords[index + 1 :])


def _attributes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
        for other in _ATTRIBUTES.get(node.attr, ()):
            yield "attribute", _with(node, attr=other)


def _statements(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.Assign | ast.AugAssign | ast.Expr | ast.Raise):
        yield "statement missing", ast.Pass()
    if isinstance(node, ast.If):
        yield "always", _with(node, test=ast.Constant(True))
        yield "never", _with(node, test=ast.Constant(False))
    if isinstance(node, ast.FunctionDef) and _computes(node):
        yield "stale cache", _with(node, decorator_list=[*node.decorator_list, ast.Name("_stale", ast.Load())])


def _computes(method: ast.FunctionDef) -> bool:
    """Whether a method's result may be kept by a cache that is stale: not a call of the interface's own."""
    whole_calls = ("__init__", "describe", "conventions", "build", "set_state", "train", "infer")
    return [a.arg for a in method.args.args[:1]] == ["self"] and method.name not in whole_calls


OPERATORS: tuple[Operator, ...] = (_operators, _constants, _calls, _attributes, _statements)


def _with(node: ast.AST, **changes: object) -> ast.AST:
    other = copy.copy(node)
    for name, value in changes.items():
        setattr(other, name, value)
    return other


class _Replace(ast.NodeTransformer):
    """Puts one node in the place of another."""

    def __init__(self, target: ast.AST, other: ast.AST) -> None:
        self.target, self.other = target, other

    def visit(self, node: ast.AST) -> ast.AST:
        """Replace the target, copy what leads to it, and leave everything else as it is."""
        if node is self.target:
            return ast.copy_location(self.other, node)
        return self.generic_visit(copy.copy(node))

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Copy lists too: the tree itself stays as it is."""
        for name, value in ast.iter_fields(node):
            if isinstance(value, list):
                setattr(node, name, [self.visit(v) if isinstance(v, ast.AST) else v for v in value])
            elif isinstance(value, ast.AST):
                setattr(node, name, self.visit(value))
        return node


@cache
def changes(source: str) -> tuple[Change, ...]:
    """All mutations of a module's classes and functions, each different from the module and from each other."""
    return tuple(_changes(source))


def _changes(source: str) -> Iterator[Change]:
    tree = ast.parse(source)
    plain = ast.unparse(tree)
    seen = {plain}
    for outer in tree.body:
        if not isinstance(outer, ast.ClassDef | ast.FunctionDef):
            continue
        hints = _annotations(outer)
        for node in ast.walk(outer):
            if id(node) in hints:
                continue
            for operator in OPERATORS:
                for kind, other in operator(node):
                    mutated = ast.unparse(ast.fix_missing_locations(_Replace(node, other).visit(tree)))
                    if mutated not in seen:
                        seen.add(mutated)
                        yield _change(kind, getattr(node, "lineno", 0), plain, mutated)


def _annotations(outer: ast.AST) -> set[int]:
    """The identities of all nodes within type hints."""
    hints: list[ast.AST | None] = []
    for parent in ast.walk(outer):
        if isinstance(parent, ast.FunctionDef):
            hints += [argument.annotation for argument in (*parent.args.args, *parent.args.kwonlyargs)]
            hints.append(parent.returns)
        elif isinstance(parent, ast.AnnAssign):
            hints.append(parent.annotation)
    return {id(node) for hint in hints if hint is not None for node in ast.walk(hint)}


def _change(kind: str, line: int, plain: str, mutated: str) -> Change:
    before, after = plain.splitlines(), mutated.splitlines()
    first = next((k for k, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
    old, new = before[first].strip(), after[first].strip()
    if kind == "stale cache":
        mutated = _STALE + "\n" + mutated
    return Change(kind, line, old, new, mutated)


def subjects(folder: Path) -> list[Subject]:
    """Write every mutant of the reference as a module into a folder; what may be run of them."""
    found = find_spec(SOURCE)
    assert found is not None
    assert found.origin is not None
    source = Path(found.origin).read_text(encoding="utf-8")
    made = []
    for number, change in enumerate(changes(source)):
        file = folder / f"mutant_{number:04}.py"
        file.write_text(change.source + _OTHERWISE, encoding="utf-8")
        name = f"{change.line}:{change.kind} #{number}"
        description = f"{change.before}  →  {change.after}"
        made.append(Subject(name, f"{file}:{CLASS}", description, change.kind, True))
    return made


def otherwise(subject: Subject) -> Subject:
    """The same mutant under other conventions."""
    return subject._replace(target=subject.target.rpartition(":")[0] + ":" + OTHERWISE)
