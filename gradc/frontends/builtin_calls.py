"""Python's own functions and the methods of its containers, on bindings."""

from __future__ import annotations

import builtins
import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradc.errors import DTypeError
from gradc.frontends import written
from gradc.frontends.bindings import (
    Binding,
    Closure,
    Collected,
    DynamicRange,
    Generator,
    Items,
    Iteration,
    Partial,
    contains_value,
    describe,
    is_array,
    is_number,
    is_scalar,
    item_of,
)
from gradc.ir.nodes import Value
from gradc.ir.tree import is_structure
from gradc.ir.types import Array, Scalar, clamp_size, is_bool, is_complex, is_float, is_integer
from gradc.ops import CALLS
from gradc.ops.memory import dim, size_value

if TYPE_CHECKING:
    from gradc.frontends.calls import Calls

Handler = Callable[["Calls", "list[Binding]", "dict[str, Binding]"], Binding]
TABLE: dict[Any, Handler] = {}
super_type = super


def _handles(*targets: Any) -> Callable[[Handler], Handler]:
    def enter(handler: Handler) -> Handler:
        for target in targets:
            TABLE[target] = handler
        return handler

    return enter


def _only(m: Calls, name: str, args: Sequence[Any], keywords: dict[str, Any], least: int, most: int) -> None:
    if keywords or not least <= len(args) <= most:
        m.refuse(f"{name}() with these arguments cannot be compiled")


# -------------------------------------------------------------------------------------------- lengths


def length(m: Calls, b: Binding) -> Binding:
    """len(b): an int where known."""
    if is_array(b):
        if b.rank == 0:
            m.refuse("len() of an array without axes")
        size = m.builder.canonical_size(b.shape[0])
        return size if isinstance(size, int) else dim(b, axis=0)
    if isinstance(b, Collected):
        return length(m, b.array)
    if isinstance(b, DynamicRange):
        start, stop, step = b.start, b.stop, b.step
        span = m.binary(operator.sub, stop, start)
        if step == 1 and is_number(step):
            span = m.value(span)
            if span.node is not None and span.node.op.name == "dim":
                return span
            count = m.emit("maximum", span, 0)
            # No array has a negative size, so where sizes are compared, the length is the span.
            count.size = clamp_size(m.builder.size_of(span))
            return count
        sign = 1 if not isinstance(step, Value) and step > 0 else -1
        if isinstance(step, Value):
            up = m.emit("gt", step, 0)
            rounded = m.binary(operator.add, span, m.binary(operator.sub, step, m.emit("where", up, 1, -1)))
        else:
            rounded = m.binary(operator.add, span, step - sign)
        return m.emit("maximum", m.value(m.binary(operator.floordiv, rounded, step)), 0)
    if isinstance(b, Iteration):
        return b.length
    if isinstance(b, list | tuple | dict | str | range | frozenset):
        return len(b)
    return m.refuse(f"{describe(b)} has no length")


@_handles(len)
def _len(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    _only(m, "len", args, keywords, 1, 1)
    return m.length(args[0])


@_handles(range)
def _range(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    _only(m, "range", args, keywords, 1, 3)
    bounds = [m.scalar(b, "a bound of range()") for b in args]
    for b in bounds:
        whole = isinstance(b, int | np.integer) if is_number(b) else is_integer(b.ty) or is_bool(b.ty)
        if not whole:
            m.refuse(f"range() takes integers, not {describe(b)}", hint="convert it with int().")
    start, stop, step = (0, bounds[0], 1) if len(bounds) == 1 else (*bounds, 1) if len(bounds) == 2 else bounds
    if is_number(step) and step == 0:
        m.fail("ValueError", "range() arg 3 must not be zero")
    if isinstance(step, Value):
        m.fail("ValueError", "range() arg 3 must not be zero", m.emit("ne", step, 0))
    if any(isinstance(b, Value) for b in (start, stop, step)):
        return DynamicRange(start, stop, step)
    return range(int(start), int(stop), int(step))


# ------------------------------------------------------------------------------------------- iterables


def _minimum(m: Calls, lengths: Sequence[Any]) -> Any:
    """The least of some lengths; equal sizes are counted once."""
    known = [n for n in lengths if not isinstance(n, Value)]
    unknown: list[Value] = []
    for n in lengths:
        if isinstance(n, Value):
            size = m.builder.size_of(n)
            if not any(m.builder.size_of(other) == size for other in unknown):
                unknown.append(n)
    total: Any = unknown[0] if unknown else min(known)
    for n in unknown[1:]:
        total = m.emit("minimum", total, n)
    if unknown and known:
        total = m.emit("minimum", total, min(known))
    return total


def _items_or_iteration(m: Calls, b: Binding) -> list[Binding] | Iteration:
    return m.iterate(b)


@_handles(enumerate)
def _enumerate(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    start = keywords.pop("start", args[1] if len(args) > 1 else 0)
    _only(m, "enumerate", args, keywords, 1, 2)
    found = m.iterate(args[0])
    if isinstance(found, list):
        listed = found
        return Items(len(found), lambda k: (m.binary(operator.add, k, start), item_of(listed, k)), (found,))
    inner = found
    return Iteration(inner.length, lambda k: (m.binary(operator.add, k, start), inner.item(k)), (inner,))


@_handles(zip)
def _zip(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    keywords.pop("strict", None)
    _only(m, "zip", args, keywords, 0, 99)
    parts = [m.iterate(a) for a in args]
    if all(isinstance(p, list) and not isinstance(p, Items) for p in parts):
        return list(zip(*parts, strict=False))  # type: ignore[arg-type]
    shortest = _minimum(m, [len(p) if isinstance(p, list) else p.length for p in parts])
    if any(isinstance(p, list) for p in parts):
        # Items of a list are known one by one, so the list decides how often the loop runs.
        count = min(len(p) for p in parts if isinstance(p, list))
        if isinstance(shortest, Value):
            message = f"zip() of {count} items with a shorter array cannot be compiled"
            m.fail("UnsupportedError", message, m.emit("ge", shortest, count))
        else:
            count = int(shortest)
        return Items(
            count, lambda k: tuple(item_of(p, k) if isinstance(p, list) else p.item(k) for p in parts), tuple(parts)
        )
    iterations = [p for p in parts if isinstance(p, Iteration)]
    return Iteration(shortest, lambda k: tuple(p.item(k) for p in iterations), tuple(iterations))


@_handles(reversed)
def _reversed(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    _only(m, "reversed", args, keywords, 1, 1)
    b = args[0]
    if isinstance(b, range):
        return b[::-1]
    if isinstance(b, DynamicRange):
        if is_number(b.step) and b.step in (1, -1):
            back = -int(b.step)
            return DynamicRange(m.binary(operator.add, b.stop, back), m.binary(operator.add, b.start, back), back)
        count = m.length(b)
        return Iteration(count, lambda k: m.item(b, m.binary(operator.sub, m.binary(operator.sub, count, 1), k)), ())
    found = m.iterate(b)
    if isinstance(found, list):
        listed = found
        return Items(len(found), lambda k: item_of(listed, len(listed) - 1 - k), (found,))
    last = m.binary(operator.sub, found.length, 1)
    inner = found
    return Iteration(inner.length, lambda k: inner.item(m.binary(operator.sub, last, k)), (inner,))


@_handles(list, tuple)
def _unknown_sequence(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    raise AssertionError("replaced below")


def _sequence(cls: type) -> Handler:
    def handler(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
        _only(m, cls.__name__, args, keywords, 0, 1)
        if args and isinstance(args[0], Generator):
            args = [m.comprehended(args[0].node)]
        if args and isinstance(args[0], Collected):
            return args[0]
        return cls(m.known_items(args[0], f"what {cls.__name__}() takes") if args else ())

    return handler


TABLE[list], TABLE[tuple] = _sequence(list), _sequence(tuple)


@_handles(dict)
def _dict(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    if not args:
        return dict(keywords)
    source = args[0]
    if isinstance(source, dict):
        return {**source, **keywords}
    pairs = [m.known_items(p, "a pair") for p in m.known_items(source, "what dict() takes")]
    return {**{m.key(k): v for k, v in pairs}, **keywords}


@_handles(map)
def _map(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    _only(m, "map", args, keywords, 2, 99)
    found = [m.iterate(a) for a in args[1:]]
    if any(isinstance(p, Iteration) and isinstance(p.length, Value) for p in found):
        return m.call(written.mapped, args, {})
    parts = [m.known_items(a, "what map() goes through") for a in args[1:]]
    return [m.call(args[0], list(items), {}) for items in zip(*parts, strict=False)]


@_handles(filter)
def _filter(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    _only(m, "filter", args, keywords, 2, 2)
    items = m.known_items(args[1], "what filter() goes through")
    test = args[0]
    return [b for b in items if m.static_truth(m.truth(b if test is None else m.call(test, [b], {})))]


@_handles(sorted)
def _sorted(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    items = m.known_items(args[0], "what sorted() goes through")
    if contains_value(items) or set(keywords) - {"reverse"}:
        m.refuse("sorted() of run-time values cannot be compiled", hint="use np.sort on an array.")
    return sorted(items, **keywords)


@_handles(functools.reduce)
def _reduce(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    _only(m, "reduce", args, keywords, 2, 3)
    items = m.known_items(args[1], "what reduce() goes through")
    items = [args[2], *items] if len(args) > 2 else items
    total = items[0]
    for b in items[1:]:
        total = m.call(args[0], [total, b], {})
    return total


@_handles(functools.partial)
def _partial(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    return Partial(args[0], tuple(args[1:]), keywords)


@_handles(slice)
def _slice(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    _only(m, "slice", args, keywords, 1, 3)
    return slice(*args)


# -------------------------------------------------------------------------------------------- numbers


@_handles(sum)
def _sum(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    start = keywords.pop("start", args[1] if len(args) > 1 else 0)
    _only(m, "sum", args, keywords, 1, 2)
    if isinstance(args[0], Generator):
        found = m.sum_generator(args[0], start)
    elif is_array(args[0]) or isinstance(args[0], Collected):
        total = m.call_table(np.sum, m.as_array(args[0]), axis=0)
        found = total if is_number(start) and start == 0 else m.binary(operator.add, total, start)
    else:
        found = start
        for b in m.known_items(args[0], "what sum() goes through"):
            found = m.binary(operator.add, found, b)
    return found


def _extremum(name: str, ufunc: Any, reduction: Any, function: Any) -> Handler:
    def handler(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
        if "key" in keywords and keywords["key"] is not None:
            if len(args) != 1 or set(keywords) != {"key"}:
                args = [list(args)] if len(args) > 1 else args
            pick = written.largest_by if name == "max" else written.smallest_by
            items = args[0] if is_array(args[0]) else m.known_items(args[0], f"what {name}() goes through")
            return m.call(pick, [items, keywords["key"]], {})
        keywords.pop("key", None)
        default = keywords.pop("default", None)
        if keywords:
            m.refuse(f"{name}() with these arguments cannot be compiled")
        args = [m.as_array(m.comprehended(a.node) if isinstance(a, Generator) else a) for a in args]
        if len(args) == 1 and is_array(args[0]):
            if args[0].rank != 1:
                m.refuse("the truth value of an array is ambiguous", hint=f"use np.{name}.")
            return m.call_table(reduction, args[0])
        items = m.known_items(args[0], f"what {name}() goes through") if len(args) == 1 else args
        if not items:
            if default is None:
                m.fail("ValueError", f"{name}() arg is an empty sequence")
            return default
        items = [m.scalar(b, f"an argument of {name}()") for b in items]
        if all(is_number(b) for b in items):
            return function(items)
        if len(items) == 1:
            return items[0]
        if function in CALLS:
            return m.build(CALLS[function].build, items, {}, name)
        total = items[0]
        for b in items[1:]:
            weak = all(ty is not None and ty.weak for ty in map(m.scalar_type, (total, b)))
            op = "maximum" if name == "max" else "minimum"
            total = m.builder.add(_op(op), (m.value(total), m.value(b)), {}, weak=weak)
        return total

    return handler


def _op(name: str) -> Any:
    from gradc.ops import TABLE as OPS

    return OPS[name]


TABLE[max] = _extremum("max", np.maximum, np.max, builtins.max)
TABLE[min] = _extremum("min", np.minimum, np.min, builtins.min)


def _quantifier(name: str) -> Handler:
    def handler(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
        _only(m, name, args, keywords, 1, 1)
        args = [m.as_array(m.comprehended(a.node) if isinstance(a, Generator) else a) for a in args]
        if is_array(args[0]):
            if args[0].rank != 1:
                m.refuse("the truth value of an array is ambiguous", hint=f"use np.{name}.")
            return m.call_table(np.any if name == "any" else np.all, args[0])
        found: Binding = name == "all"
        for b in m.known_items(args[0], f"what {name}() goes through"):
            combine = m.both if name == "all" else m.either
            found = combine(found, lambda b=b: m.truth(b))  # type: ignore[misc]
        return found

    return handler


TABLE[any], TABLE[all] = _quantifier("any"), _quantifier("all")


def _conversion(name: str, dtype: str) -> Handler:
    def handler(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
        _only(m, name, args, keywords, 0, 1)
        if not args:
            return {"float": 0.0, "int": 0}[name]
        b = args[0]
        if isinstance(b, str):
            return m.fold({"float": float, "int": int}[name], b)
        if is_array(b) and all(s == 1 for s in b.shape):
            b = m.element(b, [0] * b.rank)
        b = m.scalar(b, f"the argument of {name}()")
        if is_number(b):
            return m.fold({"float": float, "int": int}[name], b)
        if is_complex(b.ty):
            raise DTypeError(f"{name}() takes a real number, not a complex one", hint="write z.real.")
        if name == "int" and is_float(b.ty):
            b = m.emit("trunc", b)
        if b.ty == Scalar(dtype, True):
            return b
        return m.emit("cast", b, dtype=dtype, weak=True)

    return handler


TABLE[float], TABLE[int] = _conversion("float", "float64"), _conversion("int", "int64")


@_handles(bool)
def _bool(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    _only(m, "bool", args, keywords, 0, 1)
    return m.truth(args[0]) if args else False


@_handles(complex)
def _complex(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    _only(m, "complex", args, keywords, 0, 2)
    if all(is_number(a) for a in args):
        return m.fold(complex, *args)
    parts = [m.scalar(a, "an argument of complex()") for a in args]
    if any(isinstance(p, Value) and is_complex(p.ty) for p in parts):
        if len(parts) == 1:
            return m.emit("cast", parts[0], dtype="complex128", weak=True)
        m.refuse("complex() of complex parts", hint="write a + 1j*b.")
    doubles = [p if is_number(p) else m.emit("cast", p, dtype="float64", weak=True) for p in parts]
    return m.emit("complex_of", *(doubles if len(doubles) == 2 else (*doubles, 0.0)))


@_handles(pow)
def _pow(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    _only(m, "pow", args, keywords, 2, 2)
    return m.binary(operator.pow, *args)


@_handles(divmod)
def _divmod(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    _only(m, "divmod", args, keywords, 2, 2)
    return m.binary(operator.floordiv, *args), m.binary(operator.mod, *args)


def _rounding(name: str, op: str, function: Any) -> Handler:
    def handler(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
        _only(m, name, args, keywords, 1, 1)
        b = m.scalar(args[0], f"the argument of {name}()")
        if is_number(b):
            return m.fold(function, b)
        return b if is_integer(b.ty) else m.emit("cast", m.emit(op, b), dtype="int64", weak=True)

    return handler


for _name, _operation, _function in (
    ("math.floor", "floor", math.floor), ("math.ceil", "ceil", math.ceil), ("math.trunc", "trunc", math.trunc)
):
    TABLE[_function] = _rounding(_name, _operation, _function)


@_handles(round)
def _round(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    digits = keywords.pop("ndigits", args[1] if len(args) > 1 else None)
    _only(m, "round", args, keywords, 1, 2)
    b = args[0] if is_array(args[0]) and args[0].rank else m.scalar(args[0], "the argument of round()")
    if digits is not None:
        digits = m.static_int(digits, "the number of digits")
    if is_number(b):
        return m.fold(round, b) if digits is None else m.fold(round, b, digits)
    if digits is None and isinstance(b.ty, Scalar):
        return b if is_integer(b.ty) else m.emit("cast", m.emit("rint", b), dtype="int64", weak=True)
    made = m.call_table(np.round, b, digits or 0)
    own = m.scalar_type(b)
    return m.emit("cast", made, dtype=own.dtype, weak=True) if own is not None and own.weak else made


@_handles(abs)
def _abs(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    _only(m, "abs", args, keywords, 1, 1)
    return m.fold(abs, args[0]) if is_number(args[0]) else m.emit("abs", m.value(args[0]))


# ------------------------------------------------------------------------------------------ questions


_KINDS: tuple[tuple[type, Callable[[Any], bool]], ...] = (
    (bool, lambda ty: isinstance(ty, Scalar) and ty.weak and is_bool(ty)),
    (int, lambda ty: isinstance(ty, Scalar) and ty.weak and (is_integer(ty) or is_bool(ty))),
    (float, lambda ty: isinstance(ty, Scalar) and ty.dtype == "float64"),
    (complex, lambda ty: isinstance(ty, Scalar) and ty.dtype == "complex128"),
    (np.ndarray, lambda ty: isinstance(ty, Array)),
    (np.generic, lambda ty: isinstance(ty, Scalar) and not ty.weak),
)


def is_instance(m: Calls, b: Binding, cls: Any) -> bool:
    """isinstance, decided by types."""
    if isinstance(cls, tuple):
        return any(is_instance(m, b, c) for c in cls)
    if hasattr(cls, "__args__") and not isinstance(cls, type):
        return any(is_instance(m, b, c) for c in cls.__args__)
    if not isinstance(cls, type):
        m.refuse(f"isinstance() with {describe(cls)} cannot be compiled")
    if isinstance(b, Value):
        for kind, holds in _KINDS:
            if cls is kind:
                return holds(b.ty)
        if isinstance(b.ty, Scalar):
            sample: Any = np.dtype(b.ty.dtype).type(0)
            return isinstance(sample.item() if b.ty.weak else sample, cls)
        return issubclass(np.ndarray, cls)
    if isinstance(b, Closure | Partial):
        return issubclass(type(is_instance), cls)
    if isinstance(b, DynamicRange):
        return issubclass(range, cls)
    return isinstance(b, cls)


@_handles(isinstance)
def _isinstance(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    _only(m, "isinstance", args, keywords, 2, 2)
    return is_instance(m, args[0], args[1])


@_handles(callable)
def _callable(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    return not isinstance(args[0], Value) and (isinstance(args[0], Closure | Partial) or callable(args[0]))


@_handles(type)
def _type(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    _only(m, "type", args, keywords, 1, 1)
    b = args[0]
    if isinstance(b, Value):
        if isinstance(b.ty, Array):
            return np.ndarray
        sample = np.dtype(b.dtype).type(0)
        return type(sample.item()) if isinstance(b.ty, Scalar) and b.ty.weak else type(sample)
    return type(b)


@_handles(getattr)
def _getattr(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    _only(m, "getattr", args, keywords, 2, 3)
    if len(args) == 3 and is_structure(args[0]) and not hasattr(args[0], args[1]):
        return args[2]
    return m.attribute(args[0], m.static(args[1], "the name of an attribute"))


@_handles(hasattr)
def _hasattr(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    _only(m, "hasattr", args, keywords, 2, 2)
    if isinstance(args[0], Value):
        return hasattr(np.ndarray if is_array(args[0]) else np.float64, args[1])
    return hasattr(args[0], args[1])


@_handles(str, repr)
def _str(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    if contains_value(args):
        m.refuse("run-time values cannot become strings", "strings are known while compiling.")
    return str(*args, **keywords)


@_handles(np.shape)
def _shape(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    _only(m, "np.shape", args, keywords, 1, 1)
    return m.attribute(args[0] if isinstance(args[0], Value) else m.value(args[0]), "shape")


@_handles(np.ndim)
def _ndim(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    _only(m, "np.ndim", args, keywords, 1, 1)
    return m.value(args[0]).rank


@_handles(np.size)
def _size(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    axis = keywords.pop("axis", args[1] if len(args) > 1 else None)
    _only(m, "np.size", args, keywords, 1, 2)
    value = m.value(args[0])
    if axis is None:
        return m.attribute(value, "size")
    return m.attribute(value, "shape")[m.static_int(axis, "an axis")]


@_handles(np.isscalar)
def _isscalar(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    return is_number(args[0]) or is_scalar(args[0]) or isinstance(args[0], str)


def _refused(name: str, why: str, hint: str) -> Handler:
    def handler(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
        m.refuse(f"`{name}` cannot be compiled", why, hint)

    return handler


_REFUSED: tuple[tuple[tuple[Any, ...], str, str], ...] = (
    ((print, input, open), "a compiled function does no input or output.", "return the value and print it outside."),
    (
        (eval, exec, compile, globals, locals, vars, setattr, delattr, iter, next, id),
        "what it does is not known when the function is compiled.", "",
    ),
    ((set, bytearray, memoryview, object), "data are numbers and arrays.", "use an array, a list or a dict."),
)
for _targets, _why, _hint in _REFUSED:
    for _target in _targets:
        TABLE[_target] = _refused(_target.__name__, _why, _hint)


# ------------------------------------------------------------------------- joining the items of an array


def _stack(m: Calls, items: Value, axis: Any = 0) -> Binding:
    k = m.static_int(axis, "an axis")
    return items if k == 0 else m.call_table(np.moveaxis, items, 0, k)


def _concatenate(m: Calls, items: Value, axis: Any = 0) -> Binding:
    k = m.static_int(axis, "an axis")
    if items.rank < 2:
        m.refuse("numbers cannot be joined", hint="write np.array([…]).")
    k = k % (items.rank - 1)
    moved = items if k == 0 else m.call_table(np.moveaxis, items, 0, k)
    shape = list(m.attribute(moved, "shape"))
    shape[k : k + 2] = [m.binary(operator.mul, shape[k], shape[k + 1])]
    return m.call_table(np.reshape, moved, tuple(shape))


def _vstack(m: Calls, items: Value) -> Binding:
    if items.rank == 1:
        return m.call_table(np.reshape, items, (-1, 1))
    return items if items.rank == 2 else _concatenate(m, items)


def _hstack(m: Calls, items: Value) -> Binding:
    return items if items.rank == 1 else _concatenate(m, items, 0 if items.rank == 2 else 1)


# What these do with a list whose items are already along the first axis of an array.
JOINS: dict[Any, Callable[..., Binding]] = {
    np.stack: _stack, np.concatenate: _concatenate, np.vstack: _vstack, np.hstack: _hstack,
    np.column_stack: lambda m, items: _hstack(m, items) if items.rank > 2 else m.call_table(np.transpose, items),
}


# -------------------------------------------------------------------------------------------- methods


def _item(m: Calls, base: Binding, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    if is_number(base):
        return base.item() if isinstance(base, np.generic) else base
    if is_scalar(base):
        found = base
    elif args:
        one = args[0] if len(args) == 1 else tuple(args)
        flat = base.rank > 1 and not isinstance(one, tuple)
        found = m.item(m.call_table(np.ravel, base) if flat else base, one)
    else:
        if any(s != 1 for s in base.shape):
            m.refuse(".item() needs an array with one element", f"this is {describe(base)}.", "index it.")
        found = m.element(base, [0] * base.rank)
    dtype = {"f": "float64", "i": "int64", "u": "int64", "b": "bool", "c": "complex128"}[np.dtype(found.dtype).kind]
    return m.emit("cast", found, dtype=dtype, weak=True)


def _tolist(m: Calls, base: Binding, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    if not is_array(base):
        return _item(m, base, [], {})
    if base.rank == 0:
        return _item(m, base, [()], {})
    return [_tolist(m, row, [], {}) for row in m.known_items(base, "an array that becomes a list")]


def _fill(m: Calls, base: Binding, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    _only(m, "fill", args, keywords, 1, 1)
    if not is_array(base):
        m.refuse("only arrays can be filled")
    m.emit("store", base, m.value(m.scalar(args[0], "the value")))
    return None


METHODS: dict[str, Callable[[Calls, Binding, list[Binding], dict[str, Binding]], Binding]] = {
    "item": _item, "tolist": _tolist, "fill": _fill,
}


def call_container_method(
    m: Calls, base: Any, name: str, args: list[Binding], keywords: dict[str, Binding]
) -> Binding:
    """A method of a list or dict."""
    if name in ("append", "extend", "insert", "pop", "clear", "update", "setdefault", "reverse", "remove", "popitem"):
        m.note_rebind(base)
    if isinstance(base, list):
        match name:
            case "append":
                base.append(args[0])
                return None
            case "extend":
                base.extend(m.known_items(args[0], "what extend() takes"))
                return None
            case "insert":
                base.insert(m.static_int(args[0], "a position"), args[1])
                return None
            case "pop":
                k = m.static_int(args[0], "a position") if args else -1
                if not -len(base) <= k < len(base):
                    m.fail("IndexError", "pop index out of range")
                return base.pop(k)
            case "copy" | "clear" | "reverse":
                return getattr(base, name)()
        if not contains_value(base) and not contains_value(args) and name in ("index", "count", "sort"):
            return getattr(base, name)(*args, **keywords)
        m.refuse(f"list.{name} cannot be compiled here")
    if keywords and name != "update":
        m.refuse(f"dict.{name} with keywords cannot be compiled")
    match name:
        case "keys" | "values" | "items":
            return [tuple(p) if name == "items" else p for p in getattr(base, name)()]
        case "get":
            return base.get(m.key(args[0]), args[1] if len(args) > 1 else None)
        case "update":
            base.update(*[dict(a) for a in args], **keywords)
            return None
        case "setdefault":
            return base.setdefault(m.key(args[0]), args[1] if len(args) > 1 else None)
        case "pop":
            key = m.key(args[0])
            if key not in base and len(args) < 2:
                m.fail("KeyError", repr(key))
            return base.pop(key, *args[1:])
        case "copy":
            return dict(base)
        case "clear":
            base.clear()
            return None
    return m.refuse(f"dict.{name} cannot be compiled here")


__all__ = ["METHODS", "TABLE", "call_container_method", "is_instance", "length", "size_value"]
