"""Calls of NumPy that need more of the front end than values: functions as arguments, indices of every kind."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from gradc.frontends import written
from gradc.frontends.bindings import Binding, Collected, Iteration, Partial, is_array, is_number
from gradc.ir.nodes import Value
from gradc.ir.types import Scalar, is_bool, is_integer, promote_dtypes
from gradc.ops import CALLS
from gradc.ops.memory import element_count, shape_values

if TYPE_CHECKING:
    from gradc.frontends.calls import Calls

Handler = Callable[["Calls", "list[Binding]", "dict[str, Binding]"], Binding]
TABLE: dict[Any, Handler] = {}


def _as_written(function: Any) -> Handler:
    def handler(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
        return m.call(function, args, keywords)

    return handler


for _target, _function in written.WRITTEN:
    TABLE[_target] = _as_written(_function)


def _piecewise(
    m: Calls, x: Binding, condlist: Binding, funclist: Binding, *args: Binding, **keywords: Binding
) -> Binding:
    """np.piecewise; one condition need not be in a list."""
    rank = m.value(x).rank
    given = condlist
    if isinstance(given, list | tuple) and given and not isinstance(given[0], list | tuple) and not is_array(given[0]):
        given = [given] if rank and len(given) and is_number(given[0]) else list(given)
    elif is_array(given) and given.rank == rank or not isinstance(given, list | tuple) and not is_array(given):
        given = [given]
    else:
        given = m.known_items(given, "the conditions of np.piecewise")
    return m.call(written.piecewise, [x, given, funclist, *args], keywords)


TABLE[np.piecewise] = lambda m, args, keywords: _piecewise(m, *args, **keywords)


def vectorized(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    """np.vectorize(f): what is called later with arrays."""
    if len(args) != 1 or set(keywords) - {"doc", "otypes", "cache"} or keywords.get("otypes") is not None:
        m.refuse("np.vectorize with these options cannot be compiled", hint="write np.vectorize(function), or a loop.")
    return Partial(written.vectorized, (args[0],), {})


TABLE[np.vectorize] = vectorized


# --------------------------------------------------------------------------------------- what dtypes are


def _dtype_of(m: Calls, b: Binding) -> Any:
    """A dtype argument: what it is, or that of an array."""
    return np.dtype(b.dtype) if isinstance(b, Value) else b


def _of_dtypes(function: Any) -> Handler:
    """A function of dtypes alone, whose result is known while compiling."""

    def handler(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
        try:
            return function(*(_dtype_of(m, b) for b in args), **keywords)
        except (TypeError, ValueError) as error:
            m.refuse(f"{function.__name__}: {error}")

    return handler


for _static in (np.finfo, np.iinfo, np.issubdtype, np.can_cast, np.promote_types, np.dtype):
    TABLE[_static] = _of_dtypes(_static)


def _result_type(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    types = []
    for b in args:
        if isinstance(b, Value | int | float | complex):
            own = m.scalar_type(b) if not is_array(b) else None
            types.append(own if own is not None else Scalar(b.dtype))  # type: ignore[union-attr]
        else:
            types.append(Scalar(np.dtype(b).name))  # type: ignore[arg-type]
    return np.dtype(promote_dtypes(tuple(types)).dtype)


TABLE[np.result_type] = _result_type
TABLE[np.iterable] = lambda m, args, keywords: (
    bool(args[0].rank) if isinstance(args[0], Value) else not is_number(args[0])
)

# -------------------------------------------------------------------------------- loops over positions


def _positions(m: Calls, sizes: list[Binding]) -> Iteration:
    """All positions of an array in C order, as tuples."""
    total: Binding = 1
    for size in sizes:
        total = m.binary(operator.mul, total, size)

    def item(k: Binding) -> Binding:
        parts: list[Binding] = []
        for size in reversed(sizes[1:]):
            parts.append(m.binary(operator.mod, k, size))
            k = m.binary(operator.floordiv, k, size)
        return (k, *reversed(parts)) if sizes else ()

    return Iteration(total, item, ())


def _ndindex(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    shape = args[0] if len(args) == 1 and isinstance(args[0], tuple | list) else args
    return _positions(m, [m.scalar(s, "a size") for s in shape])


def _ndenumerate(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
    if len(args) != 1 or keywords or not is_array(args[0]):
        m.refuse("np.ndenumerate takes an array")
    base = args[0]
    places = _positions(m, list(shape_values(base)))
    return Iteration(places.length, lambda k: (places.item(k), m.element(base, list(places.item(k)))), (base,))


TABLE[np.ndindex] = _ndindex
TABLE[np.ndenumerate] = _ndenumerate

# ------------------------------------------------------------------------------------------- ufunc.at


def _places(m: Calls, base: Value, key: Binding) -> list[Value]:
    """For each axis of `base` the positions that base[key] names, as arrays of the shape of base[key]."""
    numbers = m.call_table(np.reshape, m.call_table(np.arange, element_count(base)), tuple(shape_values(base)))
    picked = m.item(numbers, key)
    if not isinstance(picked, Value) or not picked.rank:
        picked = m.call_table(np.atleast_1d, picked)
    parts = m.call_table(np.unravel_index, picked, tuple(shape_values(base)))
    return list(parts)


def _is_plain(m: Calls, base: Value, key: Binding) -> bool:
    """Whether an index is integers and arrays of them only."""
    entries = key if isinstance(key, tuple) else (key,)
    for e in entries:
        if isinstance(e, list | Collected):
            e = m.value(e)
        number = is_number(e) and not isinstance(e, bool | float)
        if not number and not (isinstance(e, Value) and is_integer(e.ty) and not is_bool(e.ty)):
            return False
    return len(entries) <= base.rank


def _at(ufunc: np.ufunc) -> Handler:
    def handler(m: Calls, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
        if keywords or len(args) != ufunc.nin + 1:
            m.refuse(f"np.{ufunc.__name__}.at with these arguments cannot be compiled")
        base, key = m.as_array(args[0]), args[1]
        if not is_array(base):
            m.refuse(f"np.{ufunc.__name__}.at needs an array")
        adds = CALLS.get(ufunc.at)
        if adds is not None and _is_plain(m, base, key):
            built = m.value(key) if isinstance(key, Collected) else key
            return m.build(adds.build, [base, built, m.as_array(args[2])], {}, f"np.{ufunc.__name__}.at")
        places = _places(m, base, key)
        if adds is not None:
            return m.build(adds.build, [base, tuple(places), m.as_array(args[2])], {}, f"np.{ufunc.__name__}.at")
        rows = [m.call_table(np.reshape, p, -1) for p in places]
        if ufunc.nin == 1:
            return m.call(written.negated_at, [ufunc, base, rows], {})
        shape = tuple(shape_values(places[0]))
        values = m.call_table(np.reshape, m.call_table(np.broadcast_to, m.value(args[2]), shape), -1)
        return m.call(written.updated_at, [ufunc, base, rows, values], {})

    return handler


for _name in dir(np):
    _ufunc = getattr(np, _name)
    if isinstance(_ufunc, np.ufunc) and _ufunc.nout == 1 and _ufunc.signature is None and _ufunc in CALLS:
        TABLE[_ufunc.at] = _at(_ufunc)


__all__ = ["TABLE", "vectorized"]
