"""Discrete Fourier transforms of one or more axes: NumPy's and SciPy's names, made of three linear ops.

`fft` transforms numbers, `rfft` real numbers to half of their spectrum, `irfft` half a spectrum to real numbers. Their
transposes are of the same three. The matrix of `fft` is symmetric, so its transpose is itself. With c_k = 1 where k is
0 or n/2, and 2 elsewhere (how often the spectrum of n real numbers has entry k of its half)

    irfft(Y)_j = s * sum_k c_k Re(Y_k exp(2 pi i jk/n))        rfft(x)_k = s * sum_j x_j exp(-2 pi i jk/n)

and as cotangents pair with tangents as Re(ct * t), the transpose of rfft is ct -> irfft(conj(ct) / c), that of irfft is
ct -> c * conj(rfft(ct)), with the same factor s.

Kernels are made of `dft`, `dft_of_real` and `dft_to_real`, one call of NumPy's own transforms for each axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradc.errors import DTypeError, ShapeError, UnsupportedError
from gradc.ir.nodes import Node, Value, current_builder
from gradc.ir.opdef import OpDef, call, define
from gradc.ir.region import FULL, NEWAXIS, Arg, Span
from gradc.ir.types import Array, Dim, Size, add_sizes, is_complex, multiply_sizes, size_variable
from gradc.ops.arrange import slice_along
from gradc.ops.creation import sizes_of
from gradc.ops.elementwise import gt, lt, minimum, where
from gradc.ops.memory import make_index, make_zeros, shape_values, size_value, store
from gradc.ops.parts import conj
from gradc.ops.rules import as_value, constant_of, convert, normal_axis, part_dtype, whole_dtype, write_out
from gradc.ops.scans import make_positions
from gradc.ops.shape import make_zeros_type, roll
from gradc.ops.words import over, whole

Sizes = tuple[int | Arg | None, ...]
OPPOSITE = {"backward": "forward", "ortho": "ortho", "forward": "backward"}
"""The norm of an inverse transform that has the factor of a transform with this norm."""


# ------------------------------------------------------------------------------------------------- sizes


def half_size(n: Size) -> Size:
    """n // 2 as a dimension: exact where every coefficient is even, else a size variable named for it."""
    if isinstance(n, int):
        return n // 2
    if all(c % 2 == 0 for _, c in n.terms):
        return Dim(tuple((atoms, c // 2) for atoms, c in n.terms))
    return size_variable(f"({n})//(2)")


def half_value(n: int | Value) -> int | Value:
    """n // 2 + 1, the entries of half a spectrum."""
    if isinstance(n, int):
        return n // 2 + 1
    half = n // 2
    half.size = half_size(current_builder().size_of(n))
    return half + 1


def _given(size: int | Arg, operands: Sequence[Value]) -> int | Value:
    return operands[size.k] if isinstance(size, Arg) else size


def _of_shape(x: Value, axis: int, size: Size, dtype: str = "") -> Array:
    """The type of x with another size of an axis, in memory of its own."""
    shape = current_builder().canonical_type(x.ty).shape  # type: ignore[union-attr]
    return Array(dtype or x.dtype, tuple(size if k == axis else s for k, s in enumerate(shape)))


def _resized_emit(node: Node, x: str, *k: str) -> str:
    size, axis = node.attrs["size"], node.attrs["axis"]
    return f"resized({x}, {k[0] if isinstance(size, Arg) else size}{f', axis={axis}' if axis else ''})"


_RESIZED = '''def resized(x, n, axis=0):
    """x with n entries along an axis: without those behind them, or with zeros at the end."""
    shape = list(x.shape)
    shape[axis] = n
    y = np.zeros(shape, x.dtype)
    part = (slice(None),) * axis + (slice(min(n, x.shape[axis])),)
    y[part] = x[part]
    return y
'''


def _run_resized(x: Any, *k: Any, axis: int, size: int | Arg, type: Array) -> Any:
    n = int(k[0]) if isinstance(size, Arg) else size
    shape = list(x.shape)
    shape[axis] = n
    y = np.zeros(shape, x.dtype)
    part = (slice(None),) * axis + (slice(min(n, x.shape[axis])),)
    y[part] = x[part]
    return y


def _expand_resized(x: Value, *k: Value, axis: int, size: int | Arg, type: Array) -> Value:
    new, old = _given(size, k), size_value(x, axis)
    shape = shape_values(x)
    shape[axis] = new
    y = make_zeros(shape, x.dtype)
    count = minimum(new, old)
    like = make_zeros_type(x, axis, current_builder().new_size("kept"))
    store(slice_along(y, axis, 0, count, like), slice_along(x, axis, 0, count, like))
    return y


def resize(x: Value, axis: int, size: int | Value) -> Value:
    """x with another number of entries along an axis; a view, or x itself, where it is known to need no zeros."""
    builder = current_builder()
    old, new = builder.canonical_size(x.shape[axis]), builder.size_of(size)
    if old == new:
        return x
    if isinstance(old, int) and isinstance(new, int) and new < old:
        return slice_along(x, axis, 0, new, make_zeros_type(x, axis, new))
    operands = (size,) if isinstance(size, Value) else ()
    made: Value = resized(
        x, *operands, axis=axis, size=Arg(0) if operands else size, type=_of_shape(x, axis, new)
    )
    return made


resized: OpDef = define(
    OpDef(
        "resized", "fresh", ("x",), infer=lambda types, attrs, require: [attrs["type"]], run=_run_resized,
        emit=_resized_emit, prelude=_RESIZED, expand=_expand_resized, moves="first", linear=("x",), takes_complex=True,
        vjp=lambda ct, y, x, *k, axis, size, type: [resize(ct, axis, size_of(x, axis)), *(None for _ in k)],
        doc="x with another number of entries along {axis}, {size}: those behind are left out, missing ones are 0.",
    )
)


def size_of(x: Value, axis: int) -> int | Value:
    """x.shape[axis], as an int where it is known."""
    return shape_values(x)[axis]


# --------------------------------------------------------------------------------------------------- text


def _emit(name: str) -> Callable[..., str]:
    """`np.fft.fft(x, n, axis=0)`, `np.fft.rfft2(x)`, `np.fft.ifftn(x, s=(8, n), axes=(0, 2))`."""

    def emit(node: Node, x: str, *k: str) -> str:
        attrs = node.attrs
        axes, rank = attrs["axes"], node.operands[0].rank
        sizes = [None if s is None else k[s.k] if isinstance(s, Arg) else str(s) for s in attrs["sizes"]]
        function = f"i{name}" if attrs.get("inverse") else name
        arguments = [x]
        sized = any(s is not None for s in sizes)
        if len(axes) == 1:
            arguments += [sizes[0]] if sizes[0] is not None else []
            arguments += [f"axis={axes[0]}"] if axes[0] != rank - 1 else []
        else:
            # NumPy takes -1 for a size that stays; irfftn's own last size is another.
            written = ["-1" if s is None else s for s in sizes]
            plane = axes == (rank - 2, rank - 1)
            function += "2" if plane else "n"
            arguments += [f"s=({', '.join(written)})"] if sized else []
            arguments += [f"axes={axes}"] if not plane and (sized or axes != tuple(range(rank))) else []
        arguments += [f'norm="{attrs["norm"]}"'] if attrs["norm"] != "backward" else []
        return f"np.fft.{function}({', '.join(arguments)})"

    return emit


def _runner(name: str) -> Callable[..., Any]:
    """NumPy's function on the attributes of an op."""

    def run(
        x: Any, *k: Any, axes: tuple[int, ...], sizes: Sizes, norm: str, type: Array, inverse: bool = False
    ) -> Any:
        function = getattr(np.fft, f"i{name}n" if inverse else f"{name}n")
        s: list[Any] = [x.shape[a] if n is None else int(k[n.k]) if isinstance(n, Arg) else n
                        for a, n in zip(axes, sizes, strict=True)]
        if name == "irfft" and sizes[-1] is None:
            s[-1] = 2 * (s[-1] - 1)
        return function(x, s=s, axes=axes, norm=norm)

    return run


def words_along(words: Sequence[Value | None], axes: Sequence[int]) -> Value:
    """What a transform along axes depends on: every entry along them on every one."""
    (word,) = [w for w in words if w is not None]
    if word.rank < 2:
        return whole(word)
    for axis in axes:
        region: list[Any] = [FULL] * (word.rank - 1)
        region.insert(axis, NEWAXIS)
        joined = over(word, axis)
        word = make_index(joined, tuple(region)) if isinstance(joined.ty, Array) else joined
    return word


def _common(name: str) -> dict[str, Any]:
    """Fields that the three ops share."""
    return {
        "infer": lambda types, attrs, require: [attrs["type"]], "run": _runner(name), "emit": _emit(name),
        "linear": ("x",), "takes_complex": True, "cost": 1000,
        "depends": lambda words, operands, axes, **attrs: words_along(words, axes),
    }


# ---------------------------------------------------------------------------------------------------- fft


def _apply(op: OpDef, x: Value, axes: Sequence[int], sizes: Sequence[Any], result: Array, **attrs: Any) -> Value:
    operands = [s for s in sizes if isinstance(s, Value)]
    places = iter(range(len(operands)))
    attr = tuple(Arg(next(places)) if isinstance(s, Value) else s for s in sizes)
    made: Value = op(x, *operands, axes=tuple(axes), sizes=attr, type=result, **attrs)
    return made


def _needed(x: Value, axes: Sequence[int], sizes: Sequence[Any]) -> list[Any]:
    """Sizes without those that an axis is known to have."""
    builder = current_builder()
    return [
        None if s is None or builder.size_of(s) == builder.canonical_size(x.shape[a]) else s
        for a, s in zip(axes, sizes, strict=True)
    ]


def _resized_to(x: Value, axes: Sequence[int], sizes: Sequence[Any]) -> Value:
    for axis, size in zip(axes, sizes, strict=True):
        if size is not None:
            x = resize(x, axis, size)
    return x


def make_fft(
    x: Value, axes: Sequence[int], sizes: Sequence[Any] | None = None, inverse: bool = False, norm: str = "backward"
) -> Value:
    """The transform along axes that differ, which get these sizes (None: stay as they are) first."""
    sizes = [None] * len(axes) if sizes is None else _needed(x, axes, sizes)
    result = _of_shape(x, -1, 0, whole_dtype(part_dtype(x.dtype)))
    for axis, size in zip(axes, sizes, strict=True):
        if size is not None:
            result = _replaced(result, axis, current_builder().size_of(size))
    return _apply(fft, x, axes, sizes, result, inverse=inverse, norm=norm)


def _replaced(ty: Array, axis: int, size: Size) -> Array:
    return Array(ty.dtype, tuple(size if k == axis else s for k, s in enumerate(ty.shape)))


def _expand_fft(
    x: Value, *k: Value, axes: tuple[int, ...], sizes: Sizes, inverse: bool, norm: str, type: Array
) -> Value:
    x = _resized_to(x, axes, [None if s is None else _given(s, k) for s in sizes])
    made: Value
    if is_complex(x.ty):
        made = dft(x, axes=axes, inverse=inverse, norm=norm)
        return made
    made = _spectrum_of_real(x, axes[-1], inverse, norm, type.dtype)
    return made if len(axes) == 1 else dft(made, axes=axes[:-1], inverse=inverse, norm=norm)


def _spectrum_of_real(x: Value, axis: int, inverse: bool, norm: str, dtype: str) -> Value:
    """The transform of real numbers along an axis: half of it is computed, the rest are conjugates."""
    n = size_of(x, axis)
    m = half_value(n)
    size = add_sizes(half_size(current_builder().canonical_size(x.shape[axis])), 1)
    # The inverse transform is the conjugate of the transform.
    factor = OPPOSITE[norm] if inverse else norm
    half = dft_of_real(x, axis=axis, norm=factor, type=_of_shape(x, axis, size, dtype))
    made = make_zeros(shape_values(x), dtype, filled=False)
    rest = part_along(part_along(half, axis, 1, n - m + 1), axis, step=-1)  # type: ignore[operator]
    store(part_along(made, axis, 0, m), conj(half) if inverse else half)
    store(part_along(made, axis, m), rest if inverse else conj(rest))
    return made


def part_along(x: Value, axis: int, start: Any = None, stop: Any = None, step: int | None = None) -> Value:
    """x[..., start:stop:step, ...] along an axis: a view."""
    operands = [v for v in (start, stop) if isinstance(v, Value)]
    bounds = [Arg(operands.index(v)) if isinstance(v, Value) else v for v in (start, stop)]
    region: list[Any] = [FULL] * x.rank
    region[axis] = Span(bounds[0], bounds[1], step)
    return make_index(x, tuple(region), *operands)


def _fft_vjp(
    ct: Value, y: Value, x: Value, *k: Value, axes: tuple[int, ...], sizes: Sizes, inverse: bool, norm: str, type: Array
) -> list[Value | None]:
    back = make_fft(ct, axes, None, inverse, norm)
    own = [None if s is None else size_of(x, a) for a, s in zip(axes, sizes, strict=True)]
    return [_resized_to(back, axes, own), *(None for _ in k)]


fft: OpDef = define(
    OpDef(
        "fft", "product", ("x",), **_common("fft"), expand=_expand_fft, vjp=_fft_vjp,
        doc="The discrete Fourier transform along {axes}, or the {inverse} one, scaled by {norm}; {sizes}: entries "
        "along each (None: as there are).",
    )
)


# --------------------------------------------------------------------------------------------------- rfft


def make_rfft(
    x: Value, axes: Sequence[int], sizes: Sequence[Any] | None = None, norm: str = "backward"
) -> Value:
    """Half the spectrum of real numbers along the last of `axes`, all of it along the others."""
    builder = current_builder()
    sizes = [None] * len(axes) if sizes is None else _needed(x, axes, sizes)
    result = _of_shape(x, -1, 0, whole_dtype(x.dtype))
    for axis, size in zip(axes, sizes, strict=True):
        if size is not None:
            result = _replaced(result, axis, builder.size_of(size))
    half = add_sizes(half_size(builder.canonical_size(result.shape[axes[-1]])), 1)
    return _apply(rfft, x, axes, sizes, _replaced(result, axes[-1], half), norm=norm)


def _expand_rfft(x: Value, *k: Value, axes: tuple[int, ...], sizes: Sizes, norm: str, type: Array) -> Value:
    x = _resized_to(x, axes, [None if s is None else _given(s, k) for s in sizes])
    half = type.shape[axes[-1]]
    made: Value = dft_of_real(x, axis=axes[-1], norm=norm, type=_of_shape(x, axes[-1], half, type.dtype))
    return made if len(axes) == 1 else dft(made, axes=axes[:-1], inverse=False, norm=norm)


_MULTIPLICITY = '''def multiplicity(n):
    """How often the spectrum of n real numbers has each entry of its half: once for 0 and n/2, else twice."""
    count = np.full(n // 2 + 1, 2.0)
    count[0] = count[n - n // 2 :] = 1.0
    return count
'''


def _run_multiplicity(n: Any, type: Array) -> Any:
    k = np.arange(int(n) // 2 + 1)
    return np.where((k == 0) | (2 * k == n), 1, 2).astype(type.dtype)


def _expand_multiplicity(n: Value, type: Array) -> Value:
    builder = current_builder()
    known = constant_of(n)
    k = make_positions(half_value(n if known is None else int(known)))
    one, two = (builder.const(np.dtype(type.dtype).type(v)) for v in (1, 2))
    made: Value = where(builder.emit("logical_and", (gt(k, 0), lt(2 * k, n))), two, one)
    return made


def _emit_multiplicity(node: Node, n: str) -> str:
    dtype = node.attrs["type"].dtype
    return f"multiplicity({n})" + ("" if dtype == "float64" else f".astype(np.{dtype})")


multiplicity: OpDef = define(
    OpDef(
        "multiplicity", "fresh", ("n",), infer=lambda types, attrs, require: [attrs["type"]], run=_run_multiplicity,
        emit=_emit_multiplicity, prelude=_MULTIPLICITY, expand=_expand_multiplicity, zero_derivative=True,
        vjp=lambda ct, y, n, type: [None],
        doc="How often the spectrum of n real numbers has each entry of the half that `rfft` gives: 1 or 2.",
    )
)


def _counts(n: int | Value, spectrum: Value, axis: int) -> Value:
    """`multiplicity` along an axis of half a spectrum."""
    builder = current_builder()
    size = builder.canonical_size(spectrum.shape[axis])
    made: Value = multiplicity(n, type=Array(part_dtype(spectrum.dtype), (size,)))
    return make_index(made, (FULL, *(NEWAXIS,) * (spectrum.rank - 1 - axis))) if axis < spectrum.rank - 1 else made


def _rfft_vjp(
    ct: Value, y: Value, x: Value, *k: Value, axes: tuple[int, ...], sizes: Sizes, norm: str, type: Array
) -> list[Value | None]:
    last = sizes[-1]
    n = size_of(x, axes[-1]) if last is None else _given(last, k)
    back = make_irfft(conj(ct) / _counts(n, ct, axes[-1]), axes, [*(None for _ in axes[:-1]), n], OPPOSITE[norm])
    own = [None if s is None else size_of(x, a) for a, s in zip(axes, sizes, strict=True)]
    return [_resized_to(back, axes, own), *(None for _ in k)]


rfft: OpDef = define(
    OpDef(
        "rfft", "product", ("x",), **_common("rfft"), expand=_expand_rfft, vjp=_rfft_vjp,
        doc="The discrete Fourier transform of real numbers along {axes}, of the last one its half that is not the "
        "conjugate of another part. {sizes}: entries to transform along each axis (None: as there are). {norm}.",
    )
)


# -------------------------------------------------------------------------------------------------- irfft


def make_irfft(
    x: Value, axes: Sequence[int], sizes: Sequence[Any] | None = None, norm: str = "backward"
) -> Value:
    """Real numbers from half a spectrum along the last of `axes`, of the last size (None: 2(m - 1) for m entries)."""
    builder = current_builder()
    last = axes[-1]
    given = None if sizes is None else sizes[-1]
    natural = multiply_sizes(add_sizes(builder.canonical_size(x.shape[last]), -1), 2)
    whole = natural if given is None else builder.size_of(given)
    if given is not None and whole == natural:
        given = None
    kept = [None] * (len(axes) - 1) if sizes is None else _needed(x, axes[:-1], sizes[:-1])
    result = _of_shape(x, last, whole, part_dtype(x.dtype))
    for axis, size in zip(axes[:-1], kept, strict=True):
        if size is not None:
            result = _replaced(result, axis, builder.size_of(size))
    return _apply(irfft, x, axes, [*kept, given], result, norm=norm)


def _expand_irfft(x: Value, *k: Value, axes: tuple[int, ...], sizes: Sizes, norm: str, type: Array) -> Value:
    last, axis = sizes[-1], axes[-1]
    n = None if last is None else _given(last, k)
    x = _resized_to(x, axes[:-1], [None if s is None else _given(s, k) for s in sizes[:-1]])
    if n is not None:
        x = resize(x, axis, half_value(n))
    if len(axes) > 1:
        x = dft(x, axes=axes[:-1], inverse=True, norm=norm)
    operands = (n,) if isinstance(n, Value) else ()
    result = _of_shape(x, axis, type.shape[axis], type.dtype)
    made: Value = dft_to_real(x, *operands, axis=axis, size=Arg(0) if operands else n, norm=norm, type=result)
    return made


def _irfft_vjp(
    ct: Value, y: Value, x: Value, *k: Value, axes: tuple[int, ...], sizes: Sizes, norm: str, type: Array
) -> list[Value | None]:
    spectrum = make_rfft(ct, axes, None, OPPOSITE[norm])
    back = conj(spectrum) * _counts(size_of(ct, axes[-1]), spectrum, axes[-1])
    own = [None if s is None else size_of(x, a) for a, s in zip(axes, sizes, strict=True)]
    return [_resized_to(back, axes, own), *(None for _ in k)]


irfft: OpDef = define(
    OpDef(
        "irfft", "product", ("x",), **_common("irfft"), expand=_expand_irfft, vjp=_irfft_vjp,
        doc="The real numbers whose `rfft` along {axes} this is; of entry 0, and n/2 of n, the real part only is read. "
        "{sizes}: entries of the result along each axis; None: as there are, 2(m - 1) along the last one. {norm}.",
    )
)


# ------------------------------------------------------------------------------------ what kernels are made of


def _run_dft(x: Any, *, axes: tuple[int, ...], inverse: bool, norm: Any) -> Any:
    for axis in axes:
        x = (np.fft.ifft if inverse else np.fft.fft)(x, axis=axis, norm=norm)
    return x


def _run_to_real(x: Any, *k: Any, axis: int, size: Any, norm: Any, type: Array) -> Any:
    return np.fft.irfft(x, int(k[0]) if isinstance(size, Arg) else size, axis=axis, norm=norm)


dft: OpDef = define(
    OpDef(
        "dft", "product", ("x",), infer=lambda types, attrs, require: [Array(types[0].dtype, types[0].shape)],
        run=_run_dft, takes_complex=True, cost=1000,
        doc="In kernels: `fft` of complex numbers along {axes}, {inverse}, {norm}.",
    )
)
dft_of_real: OpDef = define(
    OpDef(
        "dft_of_real", "product", ("x",), infer=lambda types, attrs, require: [attrs["type"]],
        run=lambda x, axis, norm, type: np.fft.rfft(x, axis=axis, norm=norm), takes_complex=True, cost=1000,
        doc="In kernels: `rfft` along {axis}, {norm}.",
    )
)
dft_to_real: OpDef = define(
    OpDef(
        "dft_to_real", "product", ("x",), infer=lambda types, attrs, require: [attrs["type"]], run=_run_to_real,
        takes_complex=True, cost=1000,
        doc="In kernels: `irfft` along {axis}, from as many entries as {size} numbers need; {norm}.",
    )
)


# ------------------------------------------------------------------------------------------------- calls


def norm_of(norm: Any) -> str:
    """A norm argument; None is "backward"."""
    if norm is None:
        return "backward"
    if not isinstance(norm, str) or norm not in OPPOSITE:
        raise ShapeError(f'Invalid norm value {norm}; should be "backward", "ortho" or "forward".')
    return norm


def points(n: Any) -> int | Value | None:
    """A number of points to transform; None stays.

    Raises: ShapeError (a ValueError, as NumPy's) where it is less than 1.
    """
    if n is None:
        return None
    (size,) = sizes_of(n) if not isinstance(n, int | np.integer) else (int(n),)
    if isinstance(size, int):
        if size < 1:
            raise ShapeError(f"Invalid number of FFT data points ({size}) specified.")
        return size
    _require_points(size)
    return size


def _require_points(size: int | Value) -> None:
    builder = current_builder()
    known = builder.size_of(size)
    if isinstance(known, int) and known < 1:
        raise ShapeError(f"Invalid number of FFT data points ({known}) specified.")
    if builder.checks and not isinstance(known, int):
        message = "Invalid number of FFT data points specified: there has to be one at least."
        builder.emit("check", (builder.emit("ge", (size, 1)),), error="ShapeError", message=message)


def _operand(a: Any, kind: str) -> Value:
    """An operand in the dtype that NumPy transforms it in; kind: "real", "complex", or "any" (real ones stay real)."""
    x = as_value(a)
    if not isinstance(x.ty, Array) or not x.rank:
        raise ShapeError("a Fourier transform takes arrays with one axis at least")
    if is_complex(x.ty):
        if kind == "real":
            raise DTypeError("this transform takes real numbers", hint="use np.fft.fft for complex ones")
        return x
    x = x if x.dtype in ("float32", "float64") else convert(x, "float64")
    return convert(x, whole_dtype(x.dtype)) if kind == "complex" else x


def _sized(x: Value, axis: int, size: Any) -> Any:
    if size is None:
        _require_points(size_of(x, axis))
    return size


def _out(result: Value, out: Any) -> Value:
    return result if out is None else write_out(result, out)


def transform(a: Any, n: Any, axis: Any, norm: Any, kind: str, inverse: bool = False) -> Value:
    """A transform along one axis; kind: fft, rfft or irfft."""
    x = _operand(a, {"fft": "any", "rfft": "real", "irfft": "complex"}[kind])
    size, name = points(n), norm_of(norm)
    where_ = normal_axis(axis, x.rank)
    if kind == "fft":
        return make_fft(x, (where_,), (_sized(x, where_, size),), inverse, name)
    if kind == "rfft":
        return make_rfft(x, (where_,), (_sized(x, where_, size),), name)
    if size is None:
        _require_points(2 * (size_of(x, where_) - 1))  # type: ignore[operator]
    return make_irfft(x, (where_,), (size,), name)


def axes_and_sizes(x: Value, s: Any, axes: Any) -> tuple[list[int], list[Any]]:
    """Axes and sizes of a transform along several, as NumPy and SciPy pair them."""
    sizes = None if s is None else list(s) if isinstance(s, tuple | list) else [s]
    if axes is None:
        given: list[Any] = list(range(x.rank)) if sizes is None else list(range(-len(sizes), 0))
    else:
        given = list(axes) if isinstance(axes, tuple | list) else [axes]
    if sizes is not None and len(sizes) != len(given):
        raise ShapeError("Shape and axes have different lengths.")
    if not given:
        raise UnsupportedError("a Fourier transform along no axis", hint="give one axis at least")
    normal = [normal_axis(axis, x.rank) for axis in given]
    kept = [None if v is None or (isinstance(v, int) and v == -1) else points(v) for v in sizes or [None] * len(normal)]
    return normal, kept


def transform_several(a: Any, s: Any, axes: Any, norm: Any, kind: str, inverse: bool = False) -> Value:
    """A transform along several axes; kind: fft, rfft or irfft."""
    x = _operand(a, {"fft": "any", "rfft": "real", "irfft": "complex"}[kind])
    name = norm_of(norm)
    normal, sizes = axes_and_sizes(x, s, axes)
    if kind == "irfft" and sizes[-1] is None:
        _require_points(2 * (size_of(x, normal[-1]) - 1))  # type: ignore[operator]
    for axis, size in zip(normal, sizes, strict=True):
        if kind != "irfft" or axis != normal[-1]:
            _sized(x, axis, size)
    if len(set(normal)) < len(normal):
        if kind != "fft":
            raise UnsupportedError("a transform of real numbers along one axis twice")
        for axis, size in zip(reversed(normal), reversed(sizes), strict=True):
            x = make_fft(x, (axis,), (size,), inverse, name)
        return x
    if kind == "fft":
        return make_fft(x, normal, sizes, inverse, name)
    return (make_rfft if kind == "rfft" else make_irfft)(x, normal, sizes, name)


def _conjugate(a: Any) -> Value:
    x = as_value(a)
    made: Value = conj(x) if is_complex(x.ty) else x
    return made


def _hermitian(a: Any, n: Any, axis: Any, norm: Any, inverse: bool) -> Value:
    """np.fft.hfft and ihfft: `irfft` and `rfft` of conjugates, scaled the other way."""
    opposite = OPPOSITE[norm_of(norm)]
    if inverse:
        made: Value = conj(transform(a, n, axis, opposite, "rfft"))
        return made
    return transform(_conjugate(a), n, axis, opposite, "irfft")


def _entries(name: str, kind: str, inverse: bool, what: str) -> None:
    """The calls of NumPy and SciPy for a transform along one axis, two, and several."""

    def one(a: Any, n: Any = None, axis: Any = -1, norm: Any = None, out: Any = None) -> Value:
        return _out(transform(a, n, axis, norm, kind, inverse), out)

    def two(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None, out: Any = None) -> Value:
        return _out(transform_several(a, s, axes, norm, kind, inverse), out)

    def several(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: Any = None) -> Value:
        return _out(transform_several(a, s, axes, norm, kind, inverse), out)

    def scipy_one(
        x: Any, n: Any = None, axis: Any = -1, norm: Any = None, overwrite_x: Any = False, workers: Any = None,
        *, plan: Any = None,
    ) -> Value:
        return transform(x, n, axis, norm, kind, inverse)

    def scipy_two(
        x: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None, overwrite_x: Any = False, workers: Any = None,
        *, plan: Any = None,
    ) -> Value:
        return transform_several(x, s, axes, norm, kind, inverse)

    def scipy_several(
        x: Any, s: Any = None, axes: Any = None, norm: Any = None, overwrite_x: Any = False, workers: Any = None,
        *, plan: Any = None,
    ) -> Value:
        return transform_several(x, s, axes, norm, kind, inverse)

    for suffix, along, of_numpy, of_scipy in (
        ("", "one axis", one, scipy_one), ("2", "two axes", two, scipy_two), ("n", "axes", several, scipy_several)
    ):  # fmt: skip
        for build in (of_numpy, of_scipy):
            build.__doc__ = f"{what} along {along}."
        call(getattr(np.fft, name + suffix))(of_numpy)
        call(f"scipy.fft.{name}{suffix}")(of_scipy)


_entries("fft", "fft", False, "The discrete Fourier transform")
_entries("ifft", "fft", True, "The inverse Fourier transform")
_entries("rfft", "rfft", False, "Half the spectrum of real numbers")
_entries("irfft", "irfft", False, "The real numbers that have half a spectrum,")


@call(np.fft.hfft)
def _hfft_call(a: Any, n: Any = None, axis: Any = -1, norm: Any = None, out: Any = None) -> Value:
    """The real spectrum of numbers that are conjugates about 0, from half of them."""
    return _out(_hermitian(a, n, axis, norm, inverse=False), out)


@call(np.fft.ihfft)
def _ihfft_call(a: Any, n: Any = None, axis: Any = -1, norm: Any = None, out: Any = None) -> Value:
    """The inverse of hfft."""
    return _out(_hermitian(a, n, axis, norm, inverse=True), out)


@call("scipy.fft.hfft")
def _scipy_hfft_call(
    x: Any, n: Any = None, axis: Any = -1, norm: Any = None, overwrite_x: Any = False, workers: Any = None,
    *, plan: Any = None,
) -> Value:
    """The real spectrum of numbers that are conjugates about 0, from half of them."""
    return _hermitian(x, n, axis, norm, inverse=False)


@call("scipy.fft.ihfft")
def _scipy_ihfft_call(
    x: Any, n: Any = None, axis: Any = -1, norm: Any = None, overwrite_x: Any = False, workers: Any = None,
    *, plan: Any = None,
) -> Value:
    """The inverse of hfft."""
    return _hermitian(x, n, axis, norm, inverse=True)


# ------------------------------------------------------------------------------------ shifts, frequencies


def _shifted(a: Any, axes: Any, back: bool) -> Value:
    x = as_value(a)
    given = range(x.rank) if axes is None else axes if isinstance(axes, tuple | list) else (axes,)
    for axis in (normal_axis(axis, x.rank) for axis in given):
        n = size_of(x, axis)
        x = roll(x, -(n // 2) if back else n // 2, axis=axis)
    return x


@call(np.fft.fftshift, "scipy.fft.fftshift")
def _fftshift_call(x: Any, axes: Any = None) -> Value:
    """Frequency 0 in the middle."""
    return _shifted(x, axes, back=False)


@call(np.fft.ifftshift, "scipy.fft.ifftshift")
def _ifftshift_call(x: Any, axes: Any = None) -> Value:
    """Frequency 0 at the start again."""
    return _shifted(x, axes, back=True)


def _steps(k: Sequence[Any], size: int | Arg, half: bool) -> Value:
    """The frequencies as integers: 0, 1, ... n/2, or 0, 1, ... -2, -1."""
    n = _given(size, k)
    if half:
        return make_positions(half_value(n))
    i = make_positions(n)
    last = (n - 1) // 2 + 1
    steps: Value = where(lt(i, last), i, i - n)
    return steps


def _expand_frequencies(d: Value, *k: Value, size: int | Arg, half: bool, type: Array) -> Value:
    n = _given(size, k)
    scale = 1.0 / (convert(current_builder().value(n), "float64") * d)
    made: Value = convert(_steps(k, size, half), "float64") * scale
    return made


def _run_frequencies(d: Any, *k: Any, size: int | Arg, half: bool, type: Array) -> Any:
    n = int(k[0]) if isinstance(size, Arg) else size
    return (np.fft.rfftfreq if half else np.fft.fftfreq)(n, d)


def _emit_frequencies(node: Node, d: str, *k: str) -> str:
    size = node.attrs["size"]
    spacing = constant_of(node.operands[0])
    suffix = "" if spacing == 1.0 else f", {d}"
    return f"np.fft.{'r' if node.attrs['half'] else ''}fftfreq({k[0] if isinstance(size, Arg) else size}{suffix})"


frequencies: OpDef = define(
    OpDef(
        "frequencies", "fresh", ("d",), infer=lambda types, attrs, require: [attrs["type"]], run=_run_frequencies,
        emit=_emit_frequencies, expand=_expand_frequencies, cost=10,
        vjp=lambda ct, y, d, *k, **attrs: [
            current_builder().emit("sum", (ct * y,), axes=(0,), keepdims=False) / -d, *(None for _ in k)
        ],
        jvp=lambda tangents, y, d, *k, **attrs: y * (tangents[0] / -d),
        doc="The frequencies of a transform of {size} samples at distance d, or of {half} its spectrum.",
    )
)


def _frequencies(n: Any, d: Any, half: bool) -> Value:
    size = points(n)
    if size is None:
        raise ShapeError("n should be an integer")
    spacing = as_value(d)
    if spacing.rank or is_complex(spacing.ty):
        raise UnsupportedError("a sample spacing that is not a real number")
    if isinstance(spacing.ty, Array):
        spacing = current_builder().emit("load", (spacing,), region=())
    spacing = current_builder().const(float(constant_of(spacing))) if constant_of(spacing) is not None else convert(
        spacing, "float64", weak=True
    )
    known = current_builder().size_of(size)
    count = add_sizes(half_size(known), 1) if half else known
    operands = (size,) if isinstance(size, Value) else ()
    made: Value = frequencies(
        spacing, *operands, size=Arg(0) if operands else size, half=half, type=Array("float64", (count,))
    )
    return made


@call(np.fft.fftfreq, "scipy.fft.fftfreq")
def _fftfreq_call(n: Any, d: Any = 1.0, device: Any = None) -> Value:
    """The frequencies of a transform."""
    return _frequencies(n, d, half=False)


@call(np.fft.rfftfreq, "scipy.fft.rfftfreq")
def _rfftfreq_call(n: Any, d: Any = 1.0, device: Any = None) -> Value:
    """The frequencies of half a spectrum."""
    return _frequencies(n, d, half=True)
