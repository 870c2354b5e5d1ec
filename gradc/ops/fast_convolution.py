"""Convolution by Fourier transforms (scipy.signal.fftconvolve), and lengths that are transformed fast."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from gradc.errors import ShapeError, UnsupportedError
from gradc.ir.nodes import Block, Value, current_builder
from gradc.ir.opdef import OpDef, call, define
from gradc.ir.types import WEAK_INT, is_complex
from gradc.ops.creation import sizes_of
from gradc.ops.elementwise import ge, lt, maximum, minimum
from gradc.ops.fourier import make_fft, make_irfft, make_rfft, part_along, size_of
from gradc.ops.rules import as_value, convert, normal_axis

# ------------------------------------------------------------------------------------------- fast lengths


def _while_less(start: Value, factor: int, limit: Any, step: Any, *carried: Value) -> list[Value]:
    """`while f < limit(*carried): carried = step(f, *carried); f *= factor` from f = start; f and what is carried."""
    builder = current_builder()
    params = [[Value(WEAK_INT) for _ in range(1 + len(carried))] for _ in range(2)]
    with builder.into(Block(params=params[0])) as test:
        f, *rest = test.params
        test.yields = [lt(f, limit(*rest))]
    with builder.into(Block(params=params[1])) as body:
        f, *rest = body.params
        made = step(f, *rest)
        body.yields = [f * factor, *made]
    types = [WEAK_INT] * (2 + len(carried))
    return builder.control("while", (start, *carried), (test, body), types, exits=False)


def _expand_fast_length(n: Value, *, real: bool) -> Value:
    """The least product of powers of small primes that is not below n: all products of odd ones, each doubled to n."""

    def best_of(primes: tuple[int, ...], product: Value, best: Value) -> Value:
        if not primes:
            found: Value = _while_less(product, 2, lambda: n, lambda f: [])[0]
            return minimum(best, found)
        step = lambda f, best: [best_of(primes[1:], f, best)]  # noqa: E731
        return _while_less(product, primes[0], lambda best: best, step, best)[1]

    n = convert(n, "int64", weak=True)
    return best_of((5, 3) if real else (11, 7, 5, 3), current_builder().const(1), 2 * n)


fast_length: OpDef = define(
    OpDef(
        "fast_length", "read", ("n",), reads=(), infer=lambda types, attrs, require: [WEAK_INT],
        run=lambda n, real: int(importlib.import_module("scipy.fft").next_fast_len(int(n), real)),
        emit=lambda node, n: f"scipy.fft.next_fast_len({n}{', True' if node.attrs['real'] else ''})",
        expand=_expand_fast_length, cost=1000,
        doc="The least number that is not below n and has prime factors up to 11 (5 for {real} transforms) only.",
    )
)


def fast(n: int | Value, real: bool) -> int | Value:
    """The next fast length: an int where n is known."""
    if isinstance(n, int):
        return int(importlib.import_module("scipy.fft").next_fast_len(n, real))
    made: Value = fast_length(n, real=real)
    return made


@call("scipy.fft.next_fast_len")
def _next_fast_len_call(target: Any, real: Any = False) -> int | Value:
    """The next length that transforms are fast for."""
    if not isinstance(real, bool):
        raise UnsupportedError("scipy.fft.next_fast_len takes a literal real=")
    (n,) = sizes_of(target)
    return fast(n, real)


# -------------------------------------------------------------------------------------------- convolution


def _require(test: Value, message: str) -> None:
    builder = current_builder()
    if builder.checks:
        builder.emit("check", (test,), error="ShapeError", message=message)


def _middle(full: Value, axis: int, start: Any, count: Any) -> Value:
    return part_along(full, axis, start, start + count)


def _all_at_least(a: Value, b: Value, axes: Sequence[int]) -> Value:
    builder = current_builder()
    tests = [ge(builder.value(size_of(a, k)), builder.value(size_of(b, k))) for k in axes]
    total = tests[0]
    for test in tests[1:]:
        total = builder.emit("logical_and", (total, test))
    return total


def _cut(full: Value, a: Value, b: Value, axes: Sequence[int], mode: str) -> Value:
    if mode == "valid" and len(axes) > 1:
        test = current_builder().emit("logical_or", (_all_at_least(a, b, axes), _all_at_least(b, a, axes)))
        _require(test, "For 'valid' mode, one must be at least as large as the other in every dimension")
    for axis in axes:
        n, m = (current_builder().value(size_of(v, axis)) for v in (a, b))
        if mode == "same":
            full = _middle(full, axis, (m - 1) // 2, n)
        else:
            full = _middle(full, axis, minimum(n, m) - 1, maximum(n, m) - minimum(n, m) + 1)
    return full


@call("scipy.signal.fftconvolve", "scipy.signal.oaconvolve")
def _fftconvolve_call(in1: Any, in2: Any, mode: Any = "full", axes: Any = None) -> Value:
    """The convolution of two arrays, by Fourier transforms."""
    a, b = as_value(in1), as_value(in2)
    if mode not in ("full", "same", "valid"):
        raise ShapeError("acceptable mode flags are 'valid', 'same', or 'full'")
    if a.rank != b.rank:
        raise ShapeError("in1 and in2 should have the same dimensionality")
    if not a.rank:
        return a * b
    given = range(a.rank) if axes is None else axes if isinstance(axes, tuple | list) else (axes,)
    chosen = [normal_axis(k, a.rank) for k in given]
    if not chosen:
        raise ShapeError("when provided, axes cannot be empty")
    # Axes of length 1 are broadcast.
    long = [k for k in chosen if a.shape[k] != 1 and b.shape[k] != 1]
    if not long:
        return _cut(a * b, a, b, chosen, mode) if mode != "full" else a * b
    for v in (a, b):
        for k in long:
            _require(ge(current_builder().value(size_of(v, k)), 1), "fftconvolve of an empty array")
    whole = is_complex(a.ty) or is_complex(b.ty)
    a, b = (v if v.dtype[:5] in ("float", "compl") else convert(v, "float64") for v in (a, b))
    sizes = [size_of(a, k) + size_of(b, k) - 1 for k in long]  # type: ignore[operator]
    points = [fast(n, not whole) for n in sizes]
    made: Value
    if whole:
        made = make_fft(make_fft(a, long, points) * make_fft(b, long, points), long, None, inverse=True)
    else:
        spectrum = make_rfft(a, long, points) * make_rfft(b, long, points)
        made = make_irfft(spectrum, long, [*[None] * (len(long) - 1), points[-1]])
    for k, n in zip(long, sizes, strict=True):
        made = part_along(made, k, 0, n)
    return made if mode == "full" else _cut(made, a, b, chosen, mode)
