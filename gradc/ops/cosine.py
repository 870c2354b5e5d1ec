"""Discrete cosine and sine transforms of types 1 to 4, by SciPy's names.

An op is the transform with its norm, printed as SciPy's call. Kernels compute it by `rfft` or `irfft` of as many points
(types 2 and 3: J. Makhoul, "A fast cosine transform in one and two dimensions", 1980), or of the sequence continued
evenly or oddly (type 1), or at double length (type 4). With C_t for the matrix of type t without factors:

    type 1   C_1 = S D with D = diag(1, 2, ... 2, 1) and a symmetric S    transpose D C_1 D^-1; of sines: symmetric
    type 2   entries 2 cos(pi k (2j + 1) / 2n)                            transpose C_3 diag(2, 1, ... 1)
    type 3   the transposed of type 2 with its first column halved        transpose diag(1/2, 1, ... 1) C_2
    type 4   symmetric

For sines of types 2 and 3 the last entry takes the part of the first. Orthogonalised ones are transposes of each other.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

from gradc.errors import ShapeError, UnsupportedError
from gradc.ir.nodes import Node, Value, current_builder
from gradc.ir.opdef import OpDef, call, define
from gradc.ir.region import FULL, NEWAXIS
from gradc.ir.types import Array, is_complex
from gradc.ops.elementary import cos, sin
from gradc.ops.elementwise import eq, where
from gradc.ops.fourier import (
    OPPOSITE,
    axes_and_sizes,
    half_value,
    make_fft,
    make_irfft,
    make_rfft,
    norm_of,
    part_along,
    points,
    resize,
    size_of,
    words_along,
)
from gradc.ops.memory import make_index, make_zeros, shape_values, store
from gradc.ops.parts import complex_of, imag, real
from gradc.ops.rules import as_value, convert, normal_axis, part_dtype
from gradc.ops.scans import make_positions

_PARTNER = {1: 1, 2: 3, 3: 2, 4: 4}


# -------------------------------------------------------------------------------------------- along an axis


def _along(values: Value, axis: int, rank: int) -> Value:
    """One-dimensional values as they meet an array along an axis."""
    return make_index(values, (FULL, *(NEWAXIS,) * (rank - 1 - axis))) if axis < rank - 1 else values


def _numbers(count: int | Value, x: Value) -> Value:
    """0, 1, ... in the precision of x."""
    return make_positions(count, part_dtype(x.dtype))


def _number(value: Any, x: Value) -> Value:
    return convert(current_builder().value(value), part_dtype(x.dtype))


def _turns(angles: Value) -> Value:
    """exp(1j * angles)."""
    made: Value = complex_of(cos(angles), sin(angles))
    return made


def _new_like(x: Value, axis: int, size: Any) -> Value:
    """A new array like x of unspecified content, with another size of an axis."""
    shape = shape_values(x)
    shape[axis] = size
    return make_zeros(shape, x.dtype, filled=False)


def _signs(x: Value, axis: int) -> Value:
    """x with every other entry negated."""
    k = make_positions(size_of(x, axis))
    one = _number(1, x)
    return x * _along(where(eq(k % 2, 0), one, -one), axis, x.rank)


def _flip(x: Value, axis: int) -> Value:
    return part_along(x, axis, step=-1)


# ----------------------------------------------------------------------------------- cosines without factors


def _cosine_1(x: Value, axis: int) -> Value:
    """x[0] + (-1)**k x[-1] + 2 sum x[j] cos(pi j k / (n - 1)): the spectrum of x continued evenly."""
    n = size_of(x, axis)
    longer = _new_like(x, axis, 2 * (n - 1))  # type: ignore[operator]
    store(part_along(longer, axis, 0, n), x)
    store(part_along(longer, axis, n), _flip(part_along(x, axis, 1, n - 1), axis))  # type: ignore[operator]
    made: Value = real(make_rfft(longer, (axis,)))
    return made


def _sine_1(x: Value, axis: int) -> Value:
    """2 sum x[j] sin(pi (j + 1)(k + 1) / (n + 1)): that of 0, x, 0, -x backwards."""
    n = size_of(x, axis)
    shape = shape_values(x)
    shape[axis] = 2 * (n + 1)  # type: ignore[operator]
    longer = make_zeros(shape, x.dtype)
    store(part_along(longer, axis, 1, n + 1), x)  # type: ignore[operator]
    store(part_along(longer, axis, n + 2), -_flip(x, axis))  # type: ignore[operator]
    made: Value = -imag(part_along(make_rfft(longer, (axis,)), axis, 1, n + 1))  # type: ignore[operator]
    return made


def _cosine_2(x: Value, axis: int) -> Value:
    """2 sum x[j] cos(pi k (2j + 1) / 2n)."""
    n = size_of(x, axis)
    m = half_value(n)
    shuffled = _new_like(x, axis, n)
    evens = (n + 1) // 2
    store(part_along(shuffled, axis, 0, evens), part_along(x, axis, step=2))
    store(part_along(shuffled, axis, evens), _flip(part_along(x, axis, 1, step=2), axis))
    angles = _numbers(m, x) * (_number(-math.pi / 2, x) / _number(n, x))
    turned = make_rfft(shuffled, (axis,)) * _along(_turns(angles), axis, x.rank)
    made = _new_like(x, axis, n)
    two = _number(2, x)
    store(part_along(made, axis, 0, m), two * real(turned))
    store(part_along(made, axis, m), -two * _flip(imag(part_along(turned, axis, 1, n - m + 1)), axis))  # type: ignore[operator]
    return made


def _cosine_3(x: Value, axis: int) -> Value:
    """x[0] + 2 sum x[j] cos(pi (2k + 1) j / 2n): `_cosine_2` backwards."""
    n = size_of(x, axis)
    m = half_value(n)
    mirrored = _new_like(x, axis, m)
    store(part_along(mirrored, axis, 0, 1), _number(0, x))
    store(part_along(mirrored, axis, 1), _flip(part_along(x, axis, n - m + 1), axis))  # type: ignore[operator]
    angles = _numbers(m, x) * (_number(math.pi / 2, x) / _number(n, x))
    spectrum = complex_of(part_along(x, axis, 0, m), -mirrored) * _along(_turns(angles), axis, x.rank)
    shuffled = make_irfft(spectrum, (axis,), (n,), "forward")
    made = _new_like(x, axis, n)
    evens = (n + 1) // 2
    store(part_along(made, axis, step=2), part_along(shuffled, axis, 0, evens))
    store(part_along(made, axis, 1, step=2), _flip(part_along(shuffled, axis, evens), axis))
    return made


def _cosine_4(x: Value, axis: int) -> Value:
    """2 sum x[j] cos(pi (2k + 1)(2j + 1) / 4n), from a transform of 2n points."""
    n = size_of(x, axis)
    step = _number(-math.pi / 4, x) / _number(n, x)
    turned = x * _along(_turns(_numbers(n, x) * (2 * step)), axis, x.rank)
    spectrum = part_along(make_fft(turned, (axis,), (2 * n,)), axis, 0, n)
    angles = _along(_turns((2 * _numbers(n, x) + 1) * step), axis, x.rank)
    made: Value = _number(2, x) * real(angles * spectrum)
    return made


def _bare(x: Value, kind: str, type: int, axis: int) -> Value:
    """A transform of real numbers without factors."""
    cosine = {1: _cosine_1, 2: _cosine_2, 3: _cosine_3, 4: _cosine_4}[type]
    if kind == "dct":
        return cosine(x, axis)
    if type == 1:
        return _sine_1(x, axis)
    if type == 2:
        return _flip(cosine(_signs(x, axis), axis), axis)
    return _signs(cosine(_flip(x, axis), axis), axis)


# --------------------------------------------------------------------------------------------------- factors


def _ends(x: Value, axis: int, first: float | None, last: float | None) -> Value:
    """x with its first and last entry along an axis times numbers; None: as it is."""
    n, one = size_of(x, axis), _number(1, x)
    factors = one
    k = make_positions(n)
    for at, factor in ((0, first), (n - 1, last)):  # type: ignore[operator]
        if factor is not None:
            factors = where(eq(k, at), _number(factor, x), factors)
    return x * _along(factors, axis, x.rank) if factors is not one else x


def _places(kind: str, type: int, factor: float) -> tuple[float | None, float | None]:
    """Where the factor of the end stands: both for cosines of type 1, else where the entry without a 2 is."""
    match kind, type:
        case "dct", 1:
            return factor, factor
        case "dct", 2 | 3:
            return factor, None
        case "dst", 2 | 3:
            return None, factor
    return None, None


def _period(n: Any, kind: str, type: int) -> Any:
    """The number of points of the Fourier transform that this one is: norms go by it."""
    return 2 * n if type != 1 else 2 * (n - 1) if kind == "dct" else 2 * (n + 1)


def _expand(x: Value, *, kind: str, type: int, axis: int, norm: str, orthogonalize: bool) -> Value:
    if is_complex(x.ty):
        attrs = {"kind": kind, "type": type, "axis": axis, "norm": norm, "orthogonalize": orthogonalize}
        made: Value = complex_of(*(_expand(part(x), **attrs) for part in (real, imag)))  # type: ignore[arg-type]
        return made
    root = math.sqrt(2.0)
    if orthogonalize and type in (1, 3):
        x = _ends(x, axis, *_places(kind, type, root))
    y = _bare(x, kind, type, axis)
    if orthogonalize and type in (1, 2):
        y = _ends(y, axis, *_places(kind, type, 1 / root))
    if norm == "backward":
        return y
    period = _number(_period(size_of(x, axis), kind, type), x)
    scale: Value = current_builder().emit("sqrt", (period,)) if norm == "ortho" else period
    return y * (1.0 / scale)


def _vjp(
    ct: Value, y: Value, x: Value, *, kind: str, type: int, axis: int, norm: str, orthogonalize: bool
) -> list[Value]:
    def ends(value: Value, factor: float) -> Value:
        return value if orthogonalize else _ends(value, axis, *_places(kind, type, factor))

    before, after = {1: (2.0, 0.5), 2: (2.0, 1.0), 3: (1.0, 0.5), 4: (1.0, 1.0)}[type]
    given = ends(ct, before) if before != 1 else ct
    back: Value = cosine_transform(
        given, kind=kind, type=_PARTNER[type], axis=axis, norm=norm, orthogonalize=orthogonalize
    )
    return [ends(back, after) if after != 1 else back]


def _run(x: Any, *, kind: str, type: int, axis: int, norm: str, orthogonalize: bool) -> Any:
    function = getattr(importlib.import_module("scipy.fft"), kind)
    return function(x, type, axis=axis, norm=norm, orthogonalize=orthogonalize)


def _emit(node: Node, x: str) -> str:
    attrs = node.attrs
    arguments = [x]
    arguments += [str(attrs["type"])] if attrs["type"] != 2 else []
    arguments += [f"axis={attrs['axis']}"] if attrs["axis"] != node.operands[0].rank - 1 else []
    arguments += [f'norm="{attrs["norm"]}"'] if attrs["norm"] != "backward" else []
    usual = attrs["norm"] == "ortho"
    arguments += [f"orthogonalize={attrs['orthogonalize']}"] if attrs["orthogonalize"] != usual else []
    return f"scipy.fft.{attrs['kind']}({', '.join(arguments)})"


cosine_transform: OpDef = define(
    OpDef(
        "cosine_transform", "product", ("x",), run=_run, emit=_emit, expand=_expand, vjp=_vjp, linear=("x",),
        infer=lambda types, attrs, require: [Array(types[0].dtype, types[0].shape)], takes_complex=True, cost=1000,
        depends=lambda words, operands, axis, **attrs: words_along(words, (axis,)),
        doc="The cosine or sine transform ({kind}) of {type} along {axis}, with SciPy's {norm} and {orthogonalize}.",
    )
)


# ----------------------------------------------------------------------------------------------------- calls


def _transform(
    x: Any, kind: str, type: Any, sizes: Any, axes: Any, norm: Any, orthogonalize: Any, inverse: bool
) -> Value:
    value = as_value(x)
    if not isinstance(value.ty, Array) or not value.rank:
        raise ShapeError("a cosine or sine transform takes arrays with one axis at least")
    if type not in (1, 2, 3, 4):
        raise ShapeError(f"invalid type of transform {type}", hint="1, 2, 3 or 4")
    name = norm_of(norm)
    if orthogonalize is None:
        orthogonalize = name == "ortho"
    if not isinstance(orthogonalize, bool):
        raise UnsupportedError("orthogonalize is True, False or None")
    if is_complex(value.ty) and orthogonalize != (name == "ortho"):
        raise UnsupportedError(
            f"a {kind} of complex numbers with orthogonalize={orthogonalize}",
            why="SciPy does not look at it for these.", hint="transform x.real and x.imag.",
        )
    if value.dtype not in ("float32", "float64", "complex64", "complex128"):
        value = convert(value, "float64")
    normal, kept = axes_and_sizes(value, sizes, axes)
    for axis, size in zip(normal, kept, strict=True):
        if size is not None:
            value = resize(value, axis, size)
        n = size_of(value, axis)
        least = 2 if type == 1 and kind == "dct" else 1
        if isinstance(n, int):
            if n < least:
                raise ShapeError(f"Invalid number of data points ({n}) specified.")
        elif current_builder().checks:
            message = f"Invalid number of data points specified: there have to be {least} at least."
            test = current_builder().emit("ge", (n, least))
            current_builder().emit("check", (test,), error="ShapeError", message=message)
    for axis in normal:
        value = cosine_transform(
            value, kind=kind, type=_PARTNER[type] if inverse else type, axis=axis,
            norm=OPPOSITE[name] if inverse else name, orthogonalize=orthogonalize,
        )  # fmt: skip
    return value


def _entries(name: str, kind: str, inverse: bool, what: str) -> None:
    """The calls of SciPy along one axis and along several."""

    def one(
        x: Any, type: Any = 2, n: Any = None, axis: Any = -1, norm: Any = None, overwrite_x: Any = False,
        workers: Any = None, orthogonalize: Any = None,
    ) -> Value:
        value = as_value(x)
        sizes = None if n is None else (points(n),)
        return _transform(value, kind, type, sizes, (normal_axis(axis, value.rank),), norm, orthogonalize, inverse)

    def several(
        x: Any, type: Any = 2, s: Any = None, axes: Any = None, norm: Any = None, overwrite_x: Any = False,
        workers: Any = None, *, orthogonalize: Any = None,
    ) -> Value:
        return _transform(x, kind, type, s, axes, norm, orthogonalize, inverse)

    for suffix, along, build in (("", "an axis", one), ("n", "several axes", several)):
        build.__doc__ = f"{what} of type 1, 2, 3 or 4 along {along}."
        call(f"scipy.fft.{name}{suffix}")(build)


_entries("dct", "dct", False, "The discrete cosine transform")
_entries("idct", "dct", True, "The inverse of the discrete cosine transform")
_entries("dst", "dst", False, "The discrete sine transform")
_entries("idst", "dst", True, "The inverse of the discrete sine transform")
