"""Reductions over axes of one array. Attrs: {axes}, normalised and ascending; {keepdims}.

A reduction of a scalar is the scalar: calls return it without a node. Over no axes of a rank-0 array it is its element.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradc.errors import ShapeError, UnsupportedError
from gradc.ir.loops import Fold
from gradc.ir.nodes import Value, current_builder
from gradc.ir.opdef import OpDef, call, define
from gradc.ir.region import FULL, NEWAXIS
from gradc.ir.types import Array, Scalar, Shape, is_complex, with_shape
from gradc.ops.elementwise import as_bool, eq, gt, maximum, minimum, where
from gradc.ops.memory import (
    make_broadcast,
    make_index,
    make_reshape,
    shape_values,
    size_value,
    transpose,
)
from gradc.ops.rules import as_value, convert, dtype_name, normal_axes, normal_axis, write_out
from gradc.ops.scans import exclusive_cumprod

# ------------------------------------------------------------------------------------------------- loops


def lowest(dtype: str) -> Any:
    """What no number of a dtype is below."""
    kind = np.dtype(dtype).kind
    return False if kind == "b" else -np.inf if kind == "f" else int(np.iinfo(dtype).min)


def highest(dtype: str) -> Any:
    """What no number of a dtype is above."""
    kind = np.dtype(dtype).kind
    return True if kind == "b" else np.inf if kind == "f" else int(np.iinfo(dtype).max)


def _extremum_fold(initial: Any, pick: str) -> Fold:
    # `larger` and `smaller` keep a NaN, and LLVM vectorises reductions by them (8 times a conditional expression).
    return Fold((("m", "y", initial),), (("m", f"{pick}({{m}}, {{x}})"),), "{m}")


def _position_fold(initial: Any, ahead: str) -> Fold:
    return Fold(
        (("best", "x", initial), ("at", "y", 0)),
        (
            ("better", f"({{x}} {ahead} {{best}} or {{x}} != {{x}}) and {{best}} == {{best}}"),
            ("at", "({i} if {better} else {at})"),
            ("best", "({x} if {better} else {best})"),
        ),
        "{at}",
    )


_TOTAL = (("s", "y", 0),), (("s", "reassoc_add({s}, {x})"),)

# --------------------------------------------------------------------------------------------- type rules


def reduced_shape(shape: Shape, axes: Sequence[int], keepdims: bool) -> Shape:
    """The shape after a reduction."""
    if keepdims:
        return tuple(1 if k in axes else s for k, s in enumerate(shape))
    return tuple(s for k, s in enumerate(shape) if k not in axes)


def _rule(dtype_of: Callable[[str], str]) -> Any:
    def infer(types: Sequence[Any], attrs: dict[str, Any], require: Any) -> list[Any]:
        (x,) = types
        return [with_shape(dtype_of(x.dtype), reduced_shape(x.shape, attrs["axes"], attrs["keepdims"]))]

    return infer


def _summed(dtype: str) -> str:
    kind = np.dtype(dtype).kind
    return "int64" if kind in "bi" else "uint64" if kind == "u" else dtype


def _averaged(dtype: str) -> str:
    return dtype if np.dtype(dtype).kind in "fc" else "float64"


def _same(dtype: str) -> str:
    return dtype


def _flag(dtype: str) -> str:
    return "bool"


def _position_rule(types: Sequence[Any], attrs: dict[str, Any], require: Any) -> list[Any]:
    (x,) = types
    axes = attrs["axes"] or tuple(range(len(x.shape)))
    return [with_shape("int64", reduced_shape(x.shape, axes, attrs["keepdims"]))]


def expand(value: Value, axes: Sequence[int], keepdims: bool) -> Value:
    """A reduced value with the axes of the reduction put back as size 1, so that it broadcasts against the operand."""
    if keepdims or not value.rank:
        return value
    region: list[Any] = [FULL] * value.rank
    for axis in sorted(axes):
        region.insert(axis, NEWAXIS)
    return make_index(value, tuple(region))


def count_over(x: Value, axes: Sequence[int]) -> Value:
    """Number of elements that a reduction over `axes` combines, as a Python int."""
    total: Value = current_builder().const(1)
    for axis in axes:
        size = size_value(x, axis)
        total = size if total.node is not None and total.node.attrs.get("value") == 1 else total * size
    return total


# ---------------------------------------------------------------------------------------------------- ops


def _sum_vjp(ct: Value, y: Value, x: Value, *, axes: tuple[int, ...], keepdims: bool) -> list[Value]:
    return [expand(ct, axes, keepdims)]


def _run_sum(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    return np.sum(x, axis=axes, keepdims=keepdims)


def emit_reduction(name: str) -> Callable[..., str]:
    """`np.sum(x)`, `np.sum(x, axis=0)`, `np.sum(x, axis=(0, 1), keepdims=True)`."""

    def emit(node: Any, x: str) -> str:
        axes, keepdims = node.attrs["axes"], node.attrs["keepdims"]
        everything = len(axes) == node.operands[0].rank or not axes
        axis = "" if everything else f", axis={axes[0] if len(axes) == 1 else axes}"
        return f"{name}({x}{axis}{', keepdims=True' if keepdims else ''})"

    return emit


sum: OpDef = define(
    OpDef(
        "sum", "reduce", ("x",), lower=Fold(*_TOTAL, "{s}"), infer=_rule(_summed), run=_run_sum,
        emit=emit_reduction("np.sum"), linear=("x",),
        vjp=_sum_vjp,
        takes_complex=True,
        doc="Sum over {axes}; booleans and integers add up in 64 bits.",
    )
)


def _mean_vjp(ct: Value, y: Value, x: Value, *, axes: tuple[int, ...], keepdims: bool) -> list[Value]:
    return [expand(ct / count_over(x, axes), axes, keepdims)]


mean: OpDef = define(
    OpDef(
        "mean", "reduce", ("x",), lower=Fold(*_TOTAL, "{s} / {count}"), infer=_rule(_averaged),
        emit=emit_reduction("np.mean"), linear=("x",), vjp=_mean_vjp,
        run=lambda x, axes, keepdims: np.mean(x, axis=axes, keepdims=keepdims),
        takes_complex=True,
        doc="Arithmetic mean over {axes}; NaN of no elements.",
    )
)


def _winners(y: Value, x: Value, axes: tuple[int, ...], keepdims: bool) -> tuple[Value, Value]:
    """Where x attains its extremum y, and how often it does along the axes."""
    hits = eq(x, expand(y, axes, keepdims))
    return hits, sum(hits, axes=axes, keepdims=keepdims)


def _extremum_vjp(ct: Value, y: Value, x: Value, *, axes: tuple[int, ...], keepdims: bool) -> list[Value]:
    hits, ties = _winners(y, x, axes, keepdims)
    return [where(hits, expand(ct / convert(ties, ct.dtype), axes, keepdims), 0.0)]


def _extremum_jvp(tangents: Any, y: Value, x: Value, *, axes: tuple[int, ...], keepdims: bool) -> Value:
    hits, ties = _winners(y, x, axes, keepdims)
    return sum(where(hits, tangents[0], 0.0), axes=axes, keepdims=keepdims) / convert(ties, x.dtype)


max: OpDef = define(
    OpDef(
        "max", "reduce", ("x",), lower=_extremum_fold(lowest, "larger"), infer=_rule(_same),
        emit=emit_reduction("np.max"),
        vjp=_extremum_vjp,
        jvp=_extremum_jvp,
        run=lambda x, axes, keepdims: np.max(x, axis=axes, keepdims=keepdims),
        doc="Largest element, NaN if there is one; k elements that tie have 1/k of the derivative each.",
    )
)
min: OpDef = define(
    OpDef(
        "min", "reduce", ("x",), lower=_extremum_fold(highest, "smaller"), infer=_rule(_same),
        emit=emit_reduction("np.min"),
        vjp=_extremum_vjp,
        jvp=_extremum_jvp,
        run=lambda x, axes, keepdims: np.min(x, axis=axes, keepdims=keepdims),
        doc="Smallest element; as `max`.",
    )
)


def products_of_others(x: Value, axes: tuple[int, ...]) -> Value:
    """For each element the product of all others along `axes`: what came before times what comes after.

    No division, so zeros need no case, and derivatives are right where several factors are 0.
    """
    kept = [k for k in range(x.rank) if k not in axes]
    perm = (*kept, *axes)
    moved = x if perm == tuple(range(x.rank)) else transpose(x, perm=perm)
    sizes = shape_values(moved)
    if len(axes) != 1:
        moved = make_reshape(moved, (*sizes[: len(kept)], -1) if axes else (*sizes, 1))
    last = moved.rank - 1
    others = exclusive_cumprod(moved, last, reverse=False) * exclusive_cumprod(moved, last, reverse=True)
    if len(axes) != 1:
        others = make_reshape(others, sizes)
    inverse = tuple(int(k) for k in np.argsort(perm))
    return others if inverse == tuple(range(x.rank)) else transpose(others, perm=inverse)


def _prod_vjp(ct: Value, y: Value, x: Value, *, axes: tuple[int, ...], keepdims: bool) -> list[Value]:
    return [expand(ct, axes, keepdims) * products_of_others(x, axes)]


def _prod_jvp(tangents: Any, y: Value, x: Value, *, axes: tuple[int, ...], keepdims: bool) -> Value:
    return sum(tangents[0] * products_of_others(x, axes), axes=axes, keepdims=keepdims)


prod: OpDef = define(
    OpDef(
        "prod", "reduce", ("x",), lower=Fold((("p", "y", 1),), (("p", "{p} * {x}"),), "{p}"), infer=_rule(_summed),
        emit=emit_reduction("np.prod"), vjp=_prod_vjp, jvp=_prod_jvp,
        run=lambda x, axes, keepdims: np.prod(x, axis=axes, keepdims=keepdims),
        takes_complex=True,
        doc="Product over {axes}. Each factor's derivative is the product of the others, also where some are 0.",
    )
)
all: OpDef = define(
    OpDef(
        "all", "reduce", ("x",), lower=Fold((("t", "y", True),), (("t", "{t} and {x}"),), "{t}"), infer=_rule(_flag),
        emit=emit_reduction("np.all"), zero_derivative=True,
        run=lambda x, axes, keepdims: np.all(x, axis=axes, keepdims=keepdims), doc="Every element is nonzero.",
    )
)
any: OpDef = define(
    OpDef(
        "any", "reduce", ("x",), lower=Fold((("t", "y", False),), (("t", "{t} or {x}"),), "{t}"), infer=_rule(_flag),
        emit=emit_reduction("np.any"), zero_derivative=True,
        run=lambda x, axes, keepdims: np.any(x, axis=axes, keepdims=keepdims), doc="Some element is nonzero.",
    )
)


def _run_position(name: str) -> Callable[..., Any]:
    def run(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
        return getattr(np, name)(x, axis=axes[0] if axes else None, keepdims=keepdims)

    return run


argmax: OpDef = define(
    OpDef(
        "argmax", "reduce", ("x",), lower=_position_fold(lowest, ">"), infer=_position_rule,
        emit=emit_reduction("np.argmax"), zero_derivative=True,
        run=_run_position("argmax"),
        doc="Position of the first largest element along the one axis in {axes}; in C order where it is (). NaN wins.",
    )
)
argmin: OpDef = define(
    OpDef(
        "argmin", "reduce", ("x",), lower=_position_fold(highest, "<"), infer=_position_rule,
        emit=emit_reduction("np.argmin"), zero_derivative=True,
        run=_run_position("argmin"), doc="Position of the first smallest element; as `argmax`.",
    )
)


bits_over: OpDef = define(
    OpDef(
        "bits_over", "reduce", ("x",), lower=Fold((("t", "y", 0),), (("t", "{t} | {x}"),), "{t}"), infer=_rule(_same),
        run=lambda x, axes, keepdims: np.bitwise_or.reduce(x, axis=axes, keepdims=keepdims),
        emit=emit_reduction("np.bitwise_or.reduce"), zero_derivative=True,
        doc="Bitwise or over {axes} of integers; 0 of no elements.",
    )
)


# ------------------------------------------------------------------------------------------------- calls


def _operand(a: Any, dtype: Any = None) -> Value:
    x = as_value(a)
    return x if dtype is None else convert(x, dtype_name(dtype))


def reduce_call(
    op: OpDef, a: Any, axis: Any, dtype: Any = None, out: Any = None, keepdims: Any = False, where_mask: Any = True,
    neutral: Any = None,
) -> Value:
    """What NumPy's function for a reduction does. `neutral` stands in for what `where=` leaves out."""
    x = _operand(a, dtype)
    if op in (all, any) and is_complex(x.ty):
        x = as_bool(x)
    if where_mask is not True:
        x = where(as_bool(as_value(where_mask)), x, neutral)
    if not isinstance(x.ty, Array):
        x = _of_scalar(op, x, axis)
        return x if out is None else write_out(x, out)
    result: Value = op(x, axes=normal_axes(axis, x.rank), keepdims=bool(keepdims))
    return result if out is None else write_out(result, out)


def _of_scalar(op: OpDef, x: Value, axis: Any) -> Value:
    """A reduction of a number: the number, in the dtype of the result."""
    if axis not in (None, 0, -1, ()):
        raise ShapeError(f"axis {axis} is out of bounds for a number")
    assert op.infer is not None
    (ty,) = op.infer((x.ty,), {"axes": (), "keepdims": False}, lambda *axes: None)
    if op in (all, any):
        return convert(as_bool(x), "bool")
    assert isinstance(ty, Scalar)
    return convert(x, ty.dtype)


def _not_empty(x: Value, axes: Sequence[int], what: str) -> None:
    """max and its like have no value for zero elements: NumPy raises ValueError."""
    builder = current_builder()
    for axis in axes:
        size = builder.canonical_size(x.shape[axis])
        message = f"zero-size array to reduction operation {what} which has no identity"
        if isinstance(size, int):
            if size == 0:
                raise ShapeError(message)
        elif builder.checks:
            builder.emit("check", (gt(size_value(x, axis), 0),), error="ValueError", message=message)


@call(np.sum, method="sum")
def _sum_call(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = 0,
    where: Any = True,
) -> Value:
    result = reduce_call(sum, a, axis, dtype, None, keepdims, where, 0)
    if isinstance(initial, Value) or initial != 0:
        result = result + initial
    return result if out is None else write_out(result, out)


@call(np.prod, method="prod")
def _prod_call(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = 1,
    where: Any = True,
) -> Value:
    result = reduce_call(prod, a, axis, dtype, None, keepdims, where, 1)
    if isinstance(initial, Value) or initial != 1:
        result = result * initial
    return result if out is None else write_out(result, out)


@call(np.mean, method="mean")
def _mean_call(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = True
) -> Value:
    if where is not True:
        x, mask = _operand(a, dtype), as_bool(as_value(where))
        total = reduce_call(sum, x, axis, None, None, keepdims, mask, 0)
        counted = make_broadcast(mask, shape_values(x)) if mask.shape != x.shape else mask
        result = total / convert(reduce_call(sum, counted, axis, None, None, keepdims), _averaged(total.dtype))
        return result if out is None else write_out(result, out)
    return reduce_call(mean, a, axis, dtype, out, keepdims)


def _extremum_call(
    op: OpDef, pick: OpDef, a: Any, axis: Any, out: Any, keepdims: Any, initial: Any, mask: Any
) -> Value:
    x = as_value(a)
    if mask is not True and initial is None:
        raise UnsupportedError(f"np.{op.name} with where= needs initial=, as in NumPy")
    if mask is not True:
        x = where(as_bool(as_value(mask)), x, initial)
    if isinstance(x.ty, Array) and initial is None:
        _not_empty(x, normal_axes(axis, x.rank), "maximum" if op is max else "minimum")
    if initial is not None and isinstance(x.ty, Array) and x.rank:
        # One more slice that holds `initial`: there may be no other.
        slab: list[Any] = shape_values(x)
        first = normal_axes(axis, x.rank)[0]
        slab[first] = 1
        more = make_broadcast(convert(as_value(initial), x.dtype), slab)
        x = current_builder().emit("concatenate", (x, more), axis=first)
    result = reduce_call(op, x, axis, None, None, keepdims)
    if initial is not None and not (isinstance(x.ty, Array) and x.rank):
        result = pick(result, initial)
    return result if out is None else write_out(result, out)


@call(np.max, np.amax, method="max")
def _max_call(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None, where: Any = True
) -> Value:
    return _extremum_call(max, maximum, a, axis, out, keepdims, initial, where)


@call(np.min, np.amin, method="min")
def _min_call(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None, where: Any = True
) -> Value:
    return _extremum_call(min, minimum, a, axis, out, keepdims, initial, where)


@call(np.all, method="all")
def _all_call(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = True) -> Value:
    return reduce_call(all, a, axis, None, out, keepdims, where, True)


@call(np.any, method="any")
def _any_call(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = True) -> Value:
    return reduce_call(any, a, axis, None, out, keepdims, where, False)


def _ufunc_reduction(build: Callable[..., Value], *, starts: bool, neutral: Any = None) -> Callable[..., Value]:
    """What a ufunc's `reduce` does: as NumPy's function of the same kind, but over the first axis by default."""

    def reduce(
        array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = neutral,
        where: Any = True,
    ) -> Value:
        if not starts and initial is not None:
            raise UnsupportedError("initial= of a logical ufunc's reduce", hint="combine the result with it")
        more = {"initial": initial} if starts else {}
        return build(_operand(array, dtype), axis=axis, out=out, keepdims=keepdims, where=where, **more)

    return reduce


call(np.add.reduce)(_ufunc_reduction(_sum_call, starts=True, neutral=0))
call(np.multiply.reduce)(_ufunc_reduction(_prod_call, starts=True, neutral=1))
call(np.maximum.reduce)(_ufunc_reduction(_max_call, starts=True))
call(np.minimum.reduce)(_ufunc_reduction(_min_call, starts=True))
call(np.logical_and.reduce)(_ufunc_reduction(_all_call, starts=False))
call(np.logical_or.reduce)(_ufunc_reduction(_any_call, starts=False))


def _position_call(op: OpDef, a: Any, axis: Any, out: Any, keepdims: Any) -> Value:
    x = as_value(a)
    if not isinstance(x.ty, Array):
        return current_builder().const(np.int64(0))
    _not_empty(x, normal_axes(axis, x.rank), op.name)
    axes = () if axis is None else (normal_axis(axis, x.rank),)
    if x.rank == 1:
        axes = (0,)
    result: Value = op(x, axes=axes, keepdims=bool(keepdims))
    return result if out is None else write_out(result, out)


@call(np.argmax, method="argmax")
def _argmax_call(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Value:
    return _position_call(argmax, a, axis, out, keepdims)


@call(np.argmin, method="argmin")
def _argmin_call(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Value:
    return _position_call(argmin, a, axis, out, keepdims)


@call(np.count_nonzero)
def _count_nonzero(a: Any, axis: Any = None, *, keepdims: Any = False) -> Value:
    return reduce_call(sum, as_bool(as_value(a)), axis, None, None, keepdims)


