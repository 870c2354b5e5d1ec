"""NumPy functions that take functions, as Python: a call of one is interpreted like a call of a helper of the user.

What goes wrong inside is reported at the user's call. Differences from NumPy's own: functions are called with parts of
arrays once per row, never with an empty one to find out what they give.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.polynomial


def apply_along_axis(func1d: Any, axis: Any, arr: Any, *args: Any, **kwargs: Any) -> Any:
    """np.apply_along_axis."""
    whole = np.asarray(arr)
    if whole.ndim == 1:
        return np.asarray(func1d(whole, *args, **kwargs))
    moved = np.moveaxis(whole, axis, -1)
    lead = moved.shape[:-1]
    made = np.array([func1d(row, *args, **kwargs) for row in np.reshape(moved, (-1, moved.shape[-1]))])
    result = np.reshape(made, lead + made.shape[1:])
    first = axis + whole.ndim if axis < 0 else axis
    count = made.ndim - 1
    return np.moveaxis(result, tuple(range(len(lead), len(lead) + count)), tuple(range(first, first + count)))


def apply_over_axes(func: Any, a: Any, axes: Any) -> Any:
    """np.apply_over_axes."""
    whole = np.asarray(a)
    for axis in axes if isinstance(axes, tuple | list) else (axes,):
        at = axis + whole.ndim if axis < 0 else axis
        made = func(whole, at)
        whole = made if np.ndim(made) == whole.ndim else np.expand_dims(made, at)
    return whole


def vectorized(function: Any, *args: Any, **kwargs: Any) -> Any:
    """np.vectorize(function)(*args), for a function with one number as its result."""
    parts = np.broadcast_arrays(*[np.asarray(a) for a in args])
    rows = [np.ravel(p) for p in parts]
    made = np.array([function(*items, **kwargs) for items in zip(*rows, strict=False)])
    return np.reshape(made, parts[0].shape)


def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    """np.piecewise: each function gets the elements where its condition holds, later ones win."""
    whole = np.atleast_1d(np.asarray(x))
    conditions = [np.reshape(np.asarray(c), whole.shape) for c in condlist]
    if len(funclist) == len(conditions) + 1:
        any_of = conditions[0]
        for c in conditions[1:]:
            any_of = np.logical_or(any_of, c)
        conditions = [*conditions, np.logical_not(any_of)]
    if len(funclist) != len(conditions):
        raise ValueError("there are as many functions as conditions, or one more")
    out = np.zeros(whole.shape, whole.dtype)
    for c, f in zip(conditions, funclist, strict=True):
        if callable(f):
            out[c] = f(whole[c], *args, **kw)
        else:
            out[c] = f
    return np.reshape(out, np.asarray(x).shape)


def fromfunction(function: Any, shape: Any, *, dtype: Any = float, **kwargs: Any) -> Any:
    """np.fromfunction."""
    return function(*np.indices(shape, dtype=dtype), **kwargs)


def updated_at(function: Any, whole: Any, places: Any, values: Any) -> None:
    """ufunc.at for positions that may repeat, one after the other. places: for each axis an index array of one axis."""
    for k in range(len(values)):
        at = tuple([p[k] for p in places])
        whole[at] = function(whole[at], values[k])


def negated_at(function: Any, whole: Any, places: Any) -> None:
    """ufunc.at of a ufunc of one operand."""
    for k in range(len(places[0])):
        at = tuple([p[k] for p in places])
        whole[at] = function(whole[at])


def mapped(function: Any, *parts: Any) -> Any:
    """map(function, *parts) as a list."""
    return [function(*items) for items in zip(*parts, strict=False)]


def largest_by(items: Any, key: Any) -> Any:
    """max(items, key=key): the first of those whose key is largest."""
    keys = np.array([key(item) for item in items])
    return items[np.argmax(keys)]


def smallest_by(items: Any, key: Any) -> Any:
    """min(items, key=key)."""
    keys = np.array([key(item) for item in items])
    return items[np.argmin(keys)]


def _series(x: Any, c: Any, first: Any, factors: Any) -> Any:
    """The sum of c[k] * P_k(x), where P_0 is 1, P_1 is `first` and P_(k+1) = alpha * P_k + beta * P_(k-1).

    factors(k) is alpha and beta for k. Source: C. W. Clenshaw (1955), A note on the summation of Chebyshev series.
    """
    terms = np.asarray(c)
    ahead = 0.0 * x
    behind = 0.0 * x
    for k in range(len(terms) - 1, 0, -1):
        alpha, _ = factors(k)
        _, beta = factors(k + 1)
        ahead, behind = terms[k] + alpha * ahead + beta * behind, ahead
    _, beta = factors(1)
    return terms[0] + first * ahead + beta * behind


def chebval(x: Any, c: Any) -> Any:
    """np.polynomial.chebyshev.chebval for one axis of coefficients."""
    return _series(x, c, x, lambda k: (2.0 * x, -1.0))


def legval(x: Any, c: Any) -> Any:
    """np.polynomial.legendre.legval for one axis of coefficients."""
    return _series(x, c, x, lambda k: ((2.0 * k + 1.0) / (k + 1.0) * x, -k / (k + 1.0)))


def hermval(x: Any, c: Any) -> Any:
    """np.polynomial.hermite.hermval for one axis of coefficients."""
    return _series(x, c, 2.0 * x, lambda k: (2.0 * x, -2.0 * k))


def hermeval(x: Any, c: Any) -> Any:
    """np.polynomial.hermite_e.hermeval for one axis of coefficients."""
    return _series(x, c, x, lambda k: (1.0 * x, -1.0 * k))


def lagval(x: Any, c: Any) -> Any:
    """np.polynomial.laguerre.lagval for one axis of coefficients."""
    return _series(x, c, 1.0 - x, lambda k: ((2.0 * k + 1.0 - x) / (k + 1.0), -k / (k + 1.0)))


WRITTEN: Sequence[tuple[Callable[..., Any], Callable[..., Any]]] = (
    (np.apply_along_axis, apply_along_axis), (np.apply_over_axes, apply_over_axes), (np.fromfunction, fromfunction),
    (np.polynomial.chebyshev.chebval, chebval), (np.polynomial.legendre.legval, legval),
    (np.polynomial.hermite.hermval, hermval), (np.polynomial.hermite_e.hermeval, hermeval),
    (np.polynomial.laguerre.lagval, lagval),
)
