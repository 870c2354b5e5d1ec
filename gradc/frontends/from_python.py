"""A plain Python function and example arguments -> a program.

    program = parse(loss, (params, x, y))

`parse` interprets the function's syntax once, with run-time numbers and arrays as IR values and everything else
(structure, strings, functions, literals) as the Python objects they are. Where the value of an argument turns out to be
needed, such as an axis or a count of layers, it starts again with that value known and says so in `Program.static`.
"""

from __future__ import annotations

import inspect
import sys
import threading
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradc.errors import UnsupportedError
from gradc.frontends.bindings import (
    Binding,
    Closure,
    Collected,
    DynamicRange,
    Frame,
    Generator,
    Iteration,
    Key,
    KnownFetch,
    MaybeUnbound,
    Method,
    NeedDecision,
    NeedStatic,
    NeedUnroll,
    Partial,
    PathEnds,
    Poison,
    describe,
    is_mutable,
    walk_binding,
)
from gradc.frontends.calls import LEAVES, code_of
from gradc.frontends.jumps import RETURN
from gradc.frontends.snapshots import check_snapshots
from gradc.frontends.source import function_source
from gradc.frontends.statements import Statements
from gradc.ir.builder import new_func
from gradc.ir.nodes import Func
from gradc.ir.program import Program, Typed
from gradc.ir.tree import LEAF_TYPES, Tree, flatten, leaf_names, shift_leaves, unflatten

_MAX_RESTARTS = 200
_RECURSION_LIMIT = 12_000
_ARGUMENT_LEAVES = (*LEAF_TYPES, Typed)


class Interpreter(Statements):
    """All parts of the interpretation together."""


def plain_function(function: Any) -> types.FunctionType:
    """The Python function behind a callable: functions, Numba dispatchers, compiled gradc functions.

    Raises: UnsupportedError for what has no Python code.
    """
    plain = getattr(function, "__gradc_function__", None)
    if plain is not None and not isinstance(function, type):
        return plain_function(plain)
    if isinstance(function, types.FunctionType):
        return function
    inner = getattr(function, "py_func", None)
    if isinstance(inner, types.FunctionType):
        return inner
    name = getattr(function, "__name__", type(function).__name__)
    raise UnsupportedError(
        f"{name} is not a Python function", None, "gradc compiles the source of plain Python functions.",
        "wrap it: def f(x): return …",
    )


def bind_arguments(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Any, ...]:
    """One value per parameter of the signature, defaults filled in; `*args` is a tuple, `**kwargs` a dict."""
    bound = inspect.signature(plain_function(function), follow_wrapped=False).bind(*args, **kwargs)
    bound.apply_defaults()
    return tuple(bound.arguments.values())


def parse(function: Callable[..., Any], args: Sequence[Any]) -> Program:
    """The program of `function` for arguments like `args`.

    args: one value per parameter of the signature (`bind_arguments`), as trees of numbers and arrays. A leaf
        may be `Typed`, where only the type is known.
    Raises: GradcError at the user's line for what cannot be compiled; `NeedStatic` with keys ("leaf", position) where
        the value of a `Typed` leaf is needed.
    """
    plain = plain_function(function)
    flat: list[Any] = []
    trees: list[Tree] = []
    names = list(inspect.signature(plain, follow_wrapped=False).parameters)
    if len(names) != len(args):
        raise UnsupportedError(f"{plain.__name__} takes {len(names)} arguments, not {len(args)}")
    labels: list[str] = []
    for name, arg in zip(names, args, strict=True):
        leaves, tree = flatten(arg, _ARGUMENT_LEAVES)
        trees.append(shift_leaves(tree, len(flat)))
        flat += leaves
        labels += leaf_names(tree, name)
    frozen: dict[Key, Any] = {}
    decisions: frozenset[Any] = frozenset()
    _allow_deep_recursion()
    for _ in range(_MAX_RESTARTS):
        try:
            return _interpret(plain, names, trees, flat, labels, frozen, decisions)
        except NeedDecision as request:
            decisions |= {request.decision}
        except NeedStatic as request:
            unknown = frozenset(k for k in request.keys if k[0] == "leaf" and isinstance(flat[k[1]], Typed))
            if unknown:
                again = NeedStatic(unknown)
                again.leaves = [flat[k[1]] for k in unknown]
                raise again from None
            new = request.values
            if new.keys() <= frozen.keys():
                raise
            frozen.update(new)
    raise UnsupportedError(f"{plain.__name__} needs too many of its values while compiling")


_recursion_lock = threading.Lock()


def _allow_deep_recursion() -> None:
    """Calls inside calls of the user are calls inside calls here, some twenty for each."""
    with _recursion_lock:
        if sys.getrecursionlimit() < _RECURSION_LIMIT:
            sys.setrecursionlimit(_RECURSION_LIMIT)


def _interpret(
    function: types.FunctionType, names: list[str], trees: list[Tree], flat: list[Any], labels: list[str],
    frozen: Mapping[Key, Any], decisions: frozenset[Any],
) -> Program:
    source = function_source(function)
    code = code_of(source)
    func = new_func(function.__name__, [], source.loc(source.node))
    machine = Interpreter(func, frozen, decisions)
    bindings = [machine.add_leaf(("leaf", k), leaf, labels[k]) for k, leaf in enumerate(flat)]
    arguments = {n: unflatten(tree, bindings) for n, tree in zip(names, trees, strict=True)}
    machine.outside += [b for root in arguments.values() for b in walk_binding(root) if is_mutable(b)]
    for root in arguments.values():
        for b in walk_binding(root):
            if callable(b):
                machine.fetch_of.setdefault(id(b), (b, KnownFetch(b, getattr(b, "__name__", "function"))))
    frame = Frame(source, function, None, code.locals, dict(arguments), code=code)
    machine.frames.append(frame)
    try:
        with machine.builder, machine.at(source.node):
            try:
                machine.run_body(code.body)
                result = machine.read("the result", frame.env.get(RETURN))
            except PathEnds:
                result = None
            tree = _finish_result(machine, func, result)
    except NeedStatic as request:
        request.values = {k: machine.examples[k] for k in request.keys}
        raise
    except NeedUnroll:
        raise UnsupportedError(
            "a value that a loop computes must be known when the function is compiled", func.loc
        ) from None
    static = {machine.position_of[k]: frozen[k] for k in machine.used_frozen}
    captures, guards = tuple(machine.captures), tuple(machine.guards.values())
    check_snapshots(func, machine.builder.snapshots)
    return Program(func, tuple(trees), tree, captures, guards, static, tuple(machine.rebinds))


def _finish_result(machine: Interpreter, func: Func, result: Binding) -> Tree:
    """The result's leaves become the function's results."""
    result = _plain_result(machine, result)
    leaves, tree = flatten(result, LEAVES)
    func.body.yields = [machine.value(leaf) for leaf in leaves]
    return tree


def _plain_result(machine: Interpreter, b: Binding) -> Binding:
    """A result without the interpreter's own objects."""
    for part in walk_binding(b):
        match part:
            case Poison() | MaybeUnbound():
                machine.read("the result", part)
            case Collected():
                machine.as_list(part)
            case Closure() | Partial() | Method() | DynamicRange() | Iteration() | Generator():
                machine.refuse(
                    f"{describe(part)} cannot be a result", "results are numbers, arrays and structures of them.",
                    "return what it computes.",
                )
        if getattr(part, "of_interpretation", False):
            machine.refuse(
                f"{part!r} cannot be a result", "it exists only while the function is compiled.",
                "call it, and return what it gives.",
            )
    return b

