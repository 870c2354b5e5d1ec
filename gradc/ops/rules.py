"""What op entries share: dtype rules, the `elementwise` helper, how calls of NumPy and of `math` bind, constants.

Precedence of emitted text (the field `precedence`), as in Python's grammar:

    or 1, and 2, not 3, comparison 4, | 5, ^ 6, & 7, + - 9, * / // % @ 10, unary - 11, ** 12, call or name 100

A printer puts parentheses around an operand whose own precedence is lower than its op's, and also where they are equal
and the operand stands on the right of a left-associative operator (all but **), on the left of **, or on either side of
a comparison; the right side of ** needs 11. Operands inside a call's parentheses (precedence 100) need none,
unless the text goes on with a dot or bracket after the operand (`{x}.copy()`), which needs 100.

A kernel computes an element in one dtype: comparisons in the promoted dtype of their operands, everything else in
the result's dtype (cast: the operand's own). The emitter converts operands to it before it fills in a template.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradc.errors import DTypeError, ShapeError, UnsupportedError
from gradc.ir.nodes import Value, current_builder
from gradc.ir.opdef import CALLS, TABLE, DtypeRule, OpDef, call, define
from gradc.ir.types import WEAK_FLOAT, WEAK_INT, Array, Scalar, Stack, promote_dtypes

Interval = tuple[float, float]

REALS: Interval = (-3.0, 3.0)
POSITIVE: Interval = (0.2, 3.0)
UNIT: Interval = (-0.9, 0.9)

# ---------------------------------------------------------------------------------------------- constants


def constant_of(value: Any) -> Any:
    """The number that a value is by its definition (a literal, also cast or broadcast), or None."""
    while isinstance(value, Value):
        node = value.node
        if node is None:
            return None
        if node.op.name == "const":
            return node.attrs["value"]
        if node.op.name not in ("cast", "broadcast_to"):
            return None
        value = node.operands[0]
    return value


def as_value(operand: Any) -> Value:
    """An operand of an array function: values as they are, numbers as constants, lists and tuples as arrays."""
    if isinstance(operand, Value):
        return operand
    if isinstance(operand, list | tuple | np.ndarray):
        return CALLS[np.array].build(operand)
    if isinstance(operand, bool | int | float | complex | np.generic):
        return current_builder().const(operand)
    raise UnsupportedError(f"{operand!r} is not a number or an array")


def strong(operand: Any) -> Value:
    """An operand as NumPy's array functions see it: Python's numbers become arrays, so they count in promotion."""
    x = as_value(operand)
    return convert(x, x.dtype) if isinstance(x.ty, Scalar) and x.ty.weak else x


def dtype_name(dtype: Any) -> str:
    """The name of a dtype argument: np.float32, "float32", float, np.dtype(...).

    Raises: UnsupportedError for dtypes that are not numbers.
    """
    try:
        found = np.dtype(dtype)
    except TypeError:
        raise UnsupportedError(f"{dtype!r} is not a dtype") from None
    if found.kind not in "biufc":
        raise UnsupportedError(f"dtype {found} is not numeric")
    return found.name


def normal_axis(axis: Any, rank: int) -> int:
    """An axis counted from the front.

    Raises: ShapeError where it is out of range; UnsupportedError where it is not known at compile time.
    """
    if isinstance(axis, Value) or not isinstance(axis, int | np.integer) or isinstance(axis, bool):
        raise UnsupportedError("an axis is a literal integer")
    if not -rank <= axis < rank:
        raise ShapeError(f"axis {axis} is out of bounds for an array with {rank} axes")
    return int(axis) % rank


def normal_axes(axis: Any, rank: int) -> tuple[int, ...]:
    """Axes counted from the front, ascending; None means all."""
    if axis is None:
        return tuple(range(rank))
    given = axis if isinstance(axis, tuple | list) else (axis,)
    axes = tuple(sorted(normal_axis(a, rank) for a in given))
    if len(set(axes)) != len(axes):
        raise ShapeError(f"duplicate axes in {axis}")
    return axes


# ---------------------------------------------------------------------------------------------- dtype rules


def promoted(values: Sequence[Value], attrs: dict[str, Any] | None = None) -> Scalar:
    """NumPy's common dtype of the operands; weak where all are."""
    return promote_dtypes(tuple(v.ty for v in values if not isinstance(v.ty, Stack)))


def arithmetic(values: Sequence[Value], attrs: dict[str, Any]) -> Scalar:
    """The promoted dtype; Python booleans count as integers, NumPy's stay booleans."""
    found = promoted(values)
    return WEAK_INT if found.dtype == "bool" and found.weak else found


def signed_arithmetic(values: Sequence[Value], attrs: dict[str, Any]) -> Scalar:
    """As `arithmetic`, but NumPy refuses booleans."""
    found = arithmetic(values, attrs)
    if found.dtype == "bool":
        raise DTypeError("subtraction and negation are not defined for booleans",
                         hint="write ~x, x ^ y or x.astype(int)")
    return found


def floating(values: Sequence[Value], attrs: dict[str, Any]) -> Scalar:
    """The dtype of NumPy's functions that give floats: small integers give small floats."""
    found = promoted(values)
    kind = np.dtype(found.dtype)
    if kind.kind in "fc":
        return found
    if found.weak:
        return WEAK_FLOAT
    if kind.itemsize == 1:
        raise DTypeError(f"NumPy computes this in float16 for {found.dtype}",
                         hint="convert first: x.astype(np.float64)")
    return Scalar("float32" if kind.itemsize == 2 else "float64")


def quotient(values: Sequence[Value], attrs: dict[str, Any]) -> Scalar:
    """True division: integers and booleans give float64."""
    found = promoted(values)
    if np.dtype(found.dtype).kind in "fc":
        return found
    return WEAK_FLOAT if found.weak else Scalar("float64")


def integral(values: Sequence[Value], attrs: dict[str, Any]) -> Scalar:
    """Floor division and remainder: the promoted dtype; booleans become int8 (NumPy), or Python integers."""
    found = arithmetic(values, attrs)
    return Scalar("int8") if found.dtype == "bool" else found


def boolean(values: Sequence[Value], attrs: dict[str, Any]) -> Scalar:
    """Predicates and comparisons."""
    return Scalar("bool", weak=promoted(values).weak)


def real_part(values: Sequence[Value], attrs: dict[str, Any]) -> Scalar:
    """The promoted dtype; the real one of a complex dtype (abs)."""
    found = arithmetic(values, attrs)
    return Scalar(part_dtype(found.dtype), found.weak)


_PARTS = {"complex128": "float64", "complex64": "float32"}


def part_dtype(dtype: str) -> str:
    """The dtype of the parts of a complex dtype; another one as it is."""
    return _PARTS.get(dtype, dtype)


def whole_dtype(dtype: str) -> str:
    """The complex dtype whose parts have this dtype."""
    return "complex64" if dtype == "float32" else "complex128"


# ---------------------------------------------------------------------------------------------- calls


def numpy_call(op: OpDef, target: Any) -> Callable[..., Value]:
    """What NumPy's function for an elementwise op does: lists count as arrays; `out=`, `where=`, `dtype=` work."""
    names = op.operands

    def build(*args: Any, out: Any = None, where: Any = True, dtype: Any = None) -> Value:
        if len(args) > len(names):
            *args, out = args  # type: ignore[assignment]
        operands = [as_value(a) for a in args]
        if dtype is not None:
            operands = [convert(v, dtype_name(dtype)) for v in operands]
        result: Value = current_builder().add(op, operands, {}, weak=False)
        if out is None and where is True:
            return result
        return write_out(result, out, where)

    build.__signature__ = ufunc_signature(names)  # type: ignore[attr-defined]
    build.__name__ = op.name
    return build


def composed(*targets: Any) -> Callable[[Callable[..., Value]], Callable[..., Value]]:
    """Decorator: a ufunc that is made of other ops; `out=`, `where=` and `dtype=` work as those of any ufunc."""

    def enter(build: Callable[..., Value]) -> Callable[..., Value]:
        names = list(inspect.signature(build).parameters)

        def finished(*args: Any, out: Any = None, where: Any = True, dtype: Any = None) -> Value:
            if len(args) > len(names):
                *args, out = args  # type: ignore[assignment]
            operands = [as_value(a) for a in args]
            if dtype is not None:
                operands = [convert(v, dtype_name(dtype)) for v in operands]
            result = strong(build(*operands))
            return result if out is None and where is True else write_out(result, out, where)

        finished.__signature__ = ufunc_signature(names)  # type: ignore[attr-defined]
        finished.__name__ = targets[0].__name__
        call(*targets)(finished)
        return build

    return enter


def ufunc_signature(names: Sequence[str]) -> inspect.Signature:
    """The parameters of a ufunc with these operands."""
    parameters = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_ONLY) for n in names]
    output = inspect.Parameter("out", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None)
    keywords = [
        inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=default)
        for n, default in (("where", True), ("dtype", None))
    ]
    return inspect.Signature([*parameters, output, *keywords])


def write_out(result: Value, out: Any, where: Any = True) -> Value:
    """Store a result into `out` (where a mask holds) and return `out`, as ufuncs do.

    Raises: UnsupportedError for a mask without `out`; DTypeError where NumPy's same-kind casting forbids it.
    """
    if isinstance(out, tuple) and len(out) == 1:
        (out,) = out
    if out is None:
        raise UnsupportedError("where= without out= leaves elements unset", hint="write np.where(mask, result, other)")
    if not isinstance(out, Value) or not isinstance(out.ty, Array):
        raise UnsupportedError("out= must be an array")
    if not np.can_cast(result.dtype, out.dtype, "same_kind"):
        raise DTypeError(f"a result of dtype {result.dtype} cannot be written into {out.dtype}")
    value = result if where is True else TABLE["where"](as_value(where), result, out)
    TABLE["store"](out, value)
    return out


def math_call(op: OpDef, target: Any) -> Callable[..., Value]:
    """What `math`'s function for an elementwise op does: Python floats in and out, computed in double precision."""

    def build(*args: Any) -> Value:
        operands = [python_float(as_value(a), target) for a in args]
        return current_builder().add(op, operands, {}, weak=True)

    build.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(n, inspect.Parameter.POSITIONAL_ONLY) for n in op.operands]
    )
    build.__name__ = op.name
    return build


def python_float(x: Value, target: Any) -> Value:
    """A scalar operand as `math` sees it: a double.

    Raises: UnsupportedError for an array.
    """
    if isinstance(x.ty, Array):
        if x.rank:
            raise UnsupportedError(
                f"math.{target.__name__} takes numbers, not arrays",
                hint=f"write np.{NUMPY_TWINS.get(target, target.__name__)}"
            )
        x = TABLE["load"](x, region=())
    if x.dtype in ("complex128", "complex64"):
        raise DTypeError(f"math.{target.__name__} takes real numbers", hint="use NumPy's function")
    return x if x.dtype == "float64" else TABLE["cast"](x, dtype="float64", weak=True)


NUMPY_TWINS: dict[Any, str] = {
    math.asin: "arcsin", math.acos: "arccos", math.atan: "arctan", math.atan2: "arctan2", math.asinh: "arcsinh",
    math.acosh: "arccosh", math.atanh: "arctanh", math.fabs: "abs", math.pow: "power",
}


def convert(x: Value, dtype: str, weak: bool = False) -> Value:
    """x in another dtype; x itself where it has it."""
    if x.dtype == dtype and (isinstance(x.ty, Array) or (isinstance(x.ty, Scalar) and x.ty.weak == weak)):
        return x
    return TABLE["cast"](x, dtype=dtype, weak=weak)


def _call_of(op: OpDef, target: Any) -> Callable[..., Any]:
    module = getattr(target, "__module__", "")
    if module == "_operator":
        return op  # Python numbers stay Python numbers, which `np.add` makes NumPy's
    return math_call(op, target) if module == "math" else numpy_call(op, target)


# ---------------------------------------------------------------------------------------------- the helper


def elementwise(
    signature: str,
    *,
    run: Callable[..., Any],
    emit: str | Callable[..., str],
    kernel: str | Callable[..., str],
    doc: str,
    dtype: DtypeRule = floating,
    calls: tuple[Any, ...] = (),
    domain: Interval | tuple[Interval, ...] = REALS,
    edge: Sequence[float] = (),
    **more: Any,
) -> OpDef:
    """Enter an elementwise op: `elementwise("tanh(x)", calls=(np.tanh, math.tanh), run=np.tanh, ...)`.

    `domain`: where tests sample, one interval for every operand or one for each. Other fields as in `OpDef`.
    """
    match = re.fullmatch(r"(\w+)\((.*)\)", signature)
    assert match is not None, signature
    operands = tuple(name.strip() for name in match[2].split(","))
    if isinstance(kernel, str) and not re.fullmatch(r"\w*\(.*\)|\{\w+\}", kernel):
        kernel = f"({kernel})"  # kernels nest
    intervals: Any = (domain,) * len(operands) if isinstance(domain[0], float) else domain
    return define(
        OpDef(
            match[1], "elementwise", operands, calls=calls, run=run, emit=emit, kernel=kernel, dtype_rule=dtype,
            domain=intervals, edge=tuple(edge), doc=doc, **more,
        ),
        _call_of,
    )
