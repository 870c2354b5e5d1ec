"""The call in a straight line: a `__call__` made for one signature, which asks the general way where that is not met.

    def __call__(_self, x, y=_d0):
        if _type(x) is _float and _type(y) is _ndarray and 1 not in y.shape:
            try:
                return _kernel(x, y)
            except Exception as _error:
                return _failed(_self, (x, y), _error)
        return _general(_self, (x, y))

A call of a kernel from Python takes about 0.1 us, so what stands around it is written out, without loops. What
the conditions leave open (dtype, rank and layout of an array) Numba's dispatcher decides: it was told not to compile,
and says so where its one signature does not match. Where all leaves are numbers nothing is left open, and the
dispatcher is passed by. The globals of `__call__` are those of the user's function, since Python reads a global
faster than it looks it up in a dict; names of gradc's own are cells.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from gradc.frontends.bindings import AttributeFetch, CellFetch, DefaultFetch, GlobalFetch, ItemFetch, KnownFetch
from gradc.frontends.foreign import AddressFetch
from gradc.ir.program import Capture, Guard
from gradc.ir.tree import Branch, Leaf, Static, Tree, is_named_tuple, rebuild
from gradc.ir.types import Scalar, Type
from gradc.runtime.leaves import ArrayKey, LeafKey

_RESERVED = "_gradc_"


class Names:
    """The names that generated code refers to, and what they mean."""

    def __init__(self) -> None:
        # Builtins by names that those of the user's do not hide.
        self.space: dict[str, Any] = {f"{_RESERVED}{f.__name__}": f for f in (Exception, len, tuple, float, type)}
        self.globals: dict[str, Any] = {}  # those of the function that is made
        self.hidden: frozenset[str] = frozenset()  # names that mean something else in it

    def of(self, value: Any, label: str) -> str:
        """A name for `value`."""
        name = f"{_RESERVED}{label}{len(self.space)}"
        self.space[name] = value
        return name


def signature_text(signature: inspect.Signature, names: Names) -> tuple[str, str]:
    """The parameters as they stand in a `def`, and the tuple of their values."""
    parts: list[str] = []
    kinds = inspect.Parameter
    starred = False
    parameters = list(signature.parameters.values())
    for k, p in enumerate(parameters):
        if p.kind is kinds.KEYWORD_ONLY and not starred:
            parts.append("*")
            starred = True
        star = "*" if p.kind is kinds.VAR_POSITIONAL else "**" if p.kind is kinds.VAR_KEYWORD else ""
        starred = starred or p.kind is kinds.VAR_POSITIONAL
        default = "" if p.default is kinds.empty else f"={names.of(p.default, 'default')}"
        parts.append(f"{star}{p.name}{default}")
        positional_only = p.kind is kinds.POSITIONAL_ONLY
        if positional_only and (k + 1 == len(parameters) or parameters[k + 1].kind is not kinds.POSITIONAL_ONLY):
            parts.append("/")
    values = "(" + "".join(f"{p.name}, " for p in parameters) + ")"
    return ", ".join(parts), values


def define_function(text: str, name: str, names: Names, qualname: str) -> Callable[..., Any]:
    """The function `name` that `text` defines."""
    body = "".join(f"    {line}\n" for line in text.splitlines())
    outer = f"def define({', '.join(names.space)}):\n{body}    return {name}\n"
    scope: dict[str, Any] = {}
    exec(compile(outer, f"<gradc call of {qualname}>", "exec"), scope)
    inner = scope["define"](**names.space)
    # With builtins in any case: Numba's C code looks BLAS up with the `__import__` of the running frame.
    space = names.globals if "__builtins__" in names.globals else scope
    made = FunctionType(inner.__code__, space, name, inner.__defaults__, inner.__closure__)
    made.__kwdefaults__ = inner.__kwdefaults__
    made.__qualname__ = qualname
    return made


def general_call(signature: inspect.Signature, general: Callable[..., Any], qualname: str) -> Callable[..., Any]:
    """A `__call__` with this signature that always goes the general way."""
    names = Names()
    parameters, values = signature_text(signature, names)
    text = (
        f"def __call__({_RESERVED}self, {parameters}):\n"
        f"    return {names.of(general, 'general')}({_RESERVED}self, {values})\n"
    )
    return define_function(text, "__call__", names, qualname)


def binder(signature: inspect.Signature, qualname: str) -> Callable[..., tuple[Any, ...]]:
    """A function that takes arguments as the user's does and gives one value per parameter."""
    names = Names()
    parameters, values = signature_text(signature, names)
    return define_function(f"def bind({parameters}):\n    return {values}\n", "bind", names, qualname)


# ------------------------------------------------------------------------------------------ conditions


class _Conditions:
    """What has to hold of a call, as text; collects the expressions of the leaves on the way."""

    def __init__(self, names: Names, keys: Sequence[LeafKey], static: dict[int, Any]) -> None:
        self.names = names
        self.keys = keys
        self.static = static
        self.tests: list[str] = []
        self.leaves: list[str] = []
        self.possible = True

    def item(self, tree: Tree, expression: str) -> None:
        """The same, for an expression that is to be evaluated once."""
        name = f"{_RESERVED}item{len(self.tests)}_"
        first = len(self.tests)
        self.add(tree, name)
        self.tests[first] = self.tests[first].replace(name, f"({name} := {expression})", 1)

    def add(self, tree: Tree, expression: str) -> None:
        """`expression` has the structure `tree`; its leaves have the next keys."""
        match tree:
            case Leaf():
                self._leaf(expression)
            case Static(value):
                self.tests.append(f"{expression} is {self.names.of(value, 'static')}")
            case Branch():
                self._branch(tree, expression)

    def _branch(self, tree: Branch, expression: str) -> None:
        cls = self.names.of(tree.cls, "class")
        self.tests.append(f"{_RESERVED}type({expression}) is {cls}")
        if issubclass(tree.cls, dict):
            self.tests.append(f"{_RESERVED}tuple({expression}) == {self.names.of(tree.keys, 'keys')}")
            for key, item in zip(tree.keys, tree.items, strict=True):
                self.item(item, f"{expression}[{self.names.of(key, 'key')}]")
        elif issubclass(tree.cls, tuple | list):
            if not is_named_tuple(tree.cls):
                self.tests.append(f"{_RESERVED}len({expression}) == {len(tree.items)}")
            for k, item in enumerate(tree.items):
                self.item(item, f"{expression}[{k}]")
        else:
            for key, item in zip(tree.keys, tree.items, strict=True):
                self.item(item, f"{expression}.{key}")

    def _leaf(self, expression: str) -> None:
        k = len(self.leaves)
        self.leaves.append(expression)
        key = self.keys[k]
        if isinstance(key, ArrayKey):
            self.tests.append(f"{_RESERVED}type({expression}) is {self.names.of(np.ndarray, 'ndarray')}")
            if len(key.ones) == 1 and not key.ones[0]:
                self.tests.append(f"{_RESERVED}len({expression}) != 1")  # 21 ns; comparing shapes takes 54
            elif any(key.ones):
                ones = self.names.of(list(key.ones), "ones")
                self.tests.append(f"[n == 1 for n in {expression}.shape] == {ones}")
            elif key.ones:
                self.tests.append(f"1 not in {expression}.shape")
            if k in self.static:
                self.possible = False
            return
        self.tests.append(f"{_RESERVED}type({expression}) is {self.names.of(key, 'class')}")
        if k in self.static:
            self.tests.append(f"{expression} == {self.names.of(self.static[k], 'value')}")
        elif key is int:
            # Numba takes larger ones for unsigned and would convert them.
            self.tests.append(f"{expression}.bit_length() < 64")


def _guard_tests(guard: Guard, names: Names) -> list[str]:
    expected = names.of(guard.expected, "expected")
    tests = [] if isinstance(guard.fetch, KnownFetch) else [f"{_fetched(guard.fetch, names)} is {expected}"]
    if guard.code is not None:
        tests.append(f"{expected}.__code__ is {names.of(guard.code, 'code')}")
    return tests


def _globals_read_most(fetches: Sequence[Callable[[], Any]]) -> dict[str, Any]:
    """The globals that most of the fetches read."""
    spaces: dict[int, dict[str, Any]] = {}
    counts: Counter[int] = Counter()
    for fetch in fetches:
        while isinstance(fetch, AttributeFetch):
            fetch = fetch.base
        if isinstance(fetch, GlobalFetch):
            spaces[id(fetch.namespace)] = fetch.namespace
            counts[id(fetch.namespace)] += 1
    return spaces[counts.most_common(1)[0][0]] if counts else {}


def _has_plain_defaults(function: Any) -> bool:
    return isinstance(function, FunctionType) and not hasattr(function, "__signature__")


def _fetched(fetch: Callable[[], Any], names: Names) -> str:
    """What a fetch gives, as an expression."""
    match fetch:
        case GlobalFetch(namespace, name):
            if namespace is names.globals and name not in names.hidden:
                return name
            return f"{names.of(namespace, 'globals')}[{name!r}]"
        case CellFetch(cell):
            return f"{names.of(cell, 'cell')}.cell_contents"
        case AttributeFetch(base, name) if name.isidentifier():
            return f"{_fetched(base, names)}.{name}"
        case ItemFetch(base, item) if type(item) in (int, str):
            return f"{_fetched(base, names)}[{item!r}]"
        case DefaultFetch(base, name) if _has_plain_defaults(function := base()):
            code = function.__code__
            positional = code.co_varnames[: code.co_argcount]
            if name in positional:  # defaults belong to the last parameters
                return f"{_fetched(base, names)}.__defaults__[{positional.index(name) - len(positional)}]"
            return f"{_fetched(base, names)}.__kwdefaults__[{name!r}]"
        case KnownFetch(value) | AddressFetch(value):
            return names.of(value, "known")
    return f"{names.of(fetch, 'fetch')}()"


# ----------------------------------------------------------------------------------------------- results


def pack_of(tree: Tree, types: Sequence[Type]) -> Any:
    """How the kernel can nest its results so that nothing is left to do: numbers in tuples; None where it cannot."""
    match tree:
        case Leaf(k):
            return None if _converter(types[k]) else k
        case Branch(cls, _, items) if cls is tuple:
            packed = [pack_of(item, types) for item in items]
            return None if any(p is None for p in packed) else tuple(packed)
    return None


def _converter(ty: Type) -> str:
    """The NumPy scalar class that Python's number is converted to; empty where it stays."""
    return ty.dtype if isinstance(ty, Scalar) and not ty.weak else ""


def finisher(tree: Tree, types: Sequence[Type]) -> Callable[[tuple[Any, ...]], Any]:
    """From the flat results of a kernel to what the call returns."""
    names = Names()
    text = f"def finish(r):\n    return {_result_text(tree, types, names)}\n"
    return define_function(text, "finish", names, "finish")


def _result_text(tree: Tree, types: Sequence[Type], names: Names) -> str:
    match tree:
        case Leaf(k):
            scalar = _converter(types[k])
            cls = np.bool_ if scalar == "bool" else getattr(np, scalar) if scalar else None
            return f"{names.of(cls, scalar)}(r[{k}])" if cls else f"r[{k}]"
        case Static(value):
            return names.of(value, "static")
        case Branch(cls, keys, items):
            inner = [_result_text(item, types, names) for item in items]
            if cls is tuple:
                return "(" + "".join(f"{i}, " for i in inner) + ")"
            if cls is list:
                return "[" + ", ".join(inner) + "]"
            if cls is dict:
                pairs = (f"{names.of(key, 'key')}: {i}" for key, i in zip(keys, inner, strict=True))
                return "{" + ", ".join(pairs) + "}"
            structure = f"{names.of(cls, 'class')}, {names.of(keys, 'keys')}"
            return f"{names.of(rebuild, 'rebuild')}({structure}, [{', '.join(inner)}])"


# ------------------------------------------------------------------------------------------------ the call


def _machine_code(kernel: Any) -> Callable[..., Any]:
    """What Numba's dispatcher calls once it has found out what its arguments are."""
    (compiled,) = kernel.overloads.values()
    return compiled.entry_point  # type: ignore[no-any-return]


def fast_call(
    signature: inspect.Signature,
    qualname: str,
    trees: Sequence[Tree],
    keys: Sequence[LeafKey],
    converted: frozenset[int],
    captures: Sequence[Capture],
    guards: Sequence[Guard],
    static: dict[int, Any],
    written: Sequence[int],
    kernel: Callable[..., Any],
    finish: Callable[[tuple[Any, ...]], Any] | None,
    general: Callable[..., Any],
    failed: Callable[..., Any],
) -> Callable[..., Any] | None:
    """A `__call__` for one signature; None where its conditions cannot be written in a line.

    keys: of the leaves of the arguments, then of the captures. converted: leaves that are given as Python ints and
    go on as floats. written: leaves that the kernel writes into, whose memory no other array may share.
    """
    names = Names()
    names.globals = _globals_read_most([guard.fetch for guard in guards] + [capture.fetch for capture in captures])
    names.hidden = frozenset(signature.parameters)
    parameters, values = signature_text(signature, names)
    conditions = _Conditions(names, keys, static)
    # `np.exp` being what it was, it does not matter whether `np` is.
    bases = {g.fetch.base.key() for g in guards if isinstance(g.fetch, AttributeFetch)}
    for guard in guards:
        is_base = isinstance(guard.fetch, GlobalFetch) and guard.fetch.key() in bases
        if not (is_base and isinstance(guard.expected, ModuleType)):
            conditions.tests += _guard_tests(guard, names)
    for tree, name in zip(trees, signature.parameters, strict=True):
        conditions.add(tree, name)
    for capture in captures:
        conditions.item(capture.tree, _fetched(capture.fetch, names))
    arrays = [k for k, key in enumerate(keys) if isinstance(key, ArrayKey)]
    share = ""
    for w in written:
        for k in arrays:
            if k != w and not (k in written and k < w):
                share = share or names.of(np.may_share_memory, "share")
                conditions.tests.append(f"not {share}({conditions.leaves[w]}, {conditions.leaves[k]})")
    if not conditions.possible:
        return None
    arguments = ", ".join(f"{_RESERVED}float({x})" if k in converted else x for k, x in enumerate(conditions.leaves))
    call = f"{names.of(kernel if arrays else _machine_code(kernel), 'kernel')}({arguments})"
    result = f"{names.of(finish, 'finish')}({call})" if finish is not None else call
    this = f"{_RESERVED}self"
    run = (
        f"try:\n            return {result}\n"
        f"        except {_RESERVED}Exception as {_RESERVED}error:\n"
        f"            return {names.of(failed, 'failed')}({this}, {values}, {_RESERVED}error)\n"
    )
    tests = " and ".join(conditions.tests) or "1"
    # A name that is gone, an empty cell, an array without axes: the general way says what is wrong.
    check = (
        f"    try:\n        {_RESERVED}met = {tests}\n"
        f"    except {_RESERVED}Exception:\n        {_RESERVED}met = 0\n"
        f"    if {_RESERVED}met:\n        {run}"
    )
    text = f"def __call__({this}, {parameters}):\n{check}    return {names.of(general, 'general')}({this}, {values})\n"
    return define_function(text, "__call__", names, qualname)
