"""Elementwise ops: arithmetic, comparisons, elementary functions. Conventions at kinks and ties stand in the entries.

Partials are IR and are differentiated in turn, so each is written to be right to every order. A mask that stands
for a 0/1 factor stays boolean (`dy * (x > 0)`), which keeps the dtype of what it multiplies.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from gradc.errors import UnsupportedError
from gradc.ir.nodes import Node, Value, current_builder
from gradc.ir.opdef import CALLS, OpDef, call
from gradc.ir.types import Array, Scalar, is_inexact, is_integer
from gradc.ops.rules import (
    POSITIVE,
    REALS,
    UNIT,
    arithmetic,
    as_value,
    boolean,
    constant_of,
    convert,
    dtype_name,
    elementwise,
    integral,
    promoted,
    python_float,
    quotient,
    real_part,
    signed_arithmetic,
    write_out,
)

# ------------------------------------------------------------------------------------- casts and choices


def _cast_dtype(values: Any, attrs: dict[str, Any]) -> Scalar:
    return Scalar(attrs["dtype"], attrs["weak"])


def _run_cast(x: Any, dtype: str, weak: bool) -> Any:
    return np.asarray(x).astype(dtype)[()] if isinstance(x, np.ndarray) else np.dtype(dtype).type(x)


_PYTHON_NAMES = {"b": "bool", "i": "int", "u": "int", "f": "float", "c": "complex"}


def _emit_cast(node: Node, x: str) -> str:
    dtype = node.attrs["dtype"]
    written = {"bool": "bool_"}.get(dtype, dtype)
    if isinstance(node.result.ty, Array):
        return f"({x}).astype(np.{written})" if not x.isidentifier() else f"{x}.astype(np.{written})"
    return f"{_PYTHON_NAMES[np.dtype(dtype).kind]}({x})" if node.attrs["weak"] else f"np.{written}({x})"


cast: OpDef = elementwise(
    "cast(x)", run=_run_cast, emit=_emit_cast, kernel="{dtype}({x})", dtype=_cast_dtype,
    partials=lambda y, x, **attrs: [1 if is_inexact(y.ty) else None],
    doc="x in {dtype}, a Python number where {weak}. To a float the derivative is 1, to an integer or boolean 0.",
)


def _where_dtype(values: Any, attrs: dict[str, Any]) -> Scalar:
    return promoted(values[1:])


def _run_where(c: Any, a: Any, b: Any) -> Any:
    return np.asarray(np.where(c, a, b))[()]


def _where_jvp(tangents: Any, y: Value, c: Value, a: Value, b: Value) -> Value:
    return where(c, 0.0 if tangents[1] is None else tangents[1], 0.0 if tangents[2] is None else tangents[2])


where: OpDef = elementwise(
    "where(c, a, b)", run=_run_where, emit="np.where({c}, {a}, {b})",
    kernel="({a} if {c} else {b})", dtype=_where_dtype, conditions=(0,),
    partials=lambda y, c, a, b: [None, as_bool(c), logical_not(c)],
    vjp=lambda ct, y, c, a, b: [None, where(c, ct, 0.0), where(c, 0.0, ct)], jvp=_where_jvp,
    doc="a where c holds, else b. The side not taken gets exact zeros: the cotangent is chosen, not multiplied.",
)


def as_bool(c: Value) -> Value:
    """c as a boolean (nonzero)."""
    return c if c.dtype == "bool" else ne(c, 0)


@call(np.where)
def _where_call(condition: Any, x: Any = None, y: Any = None, /) -> Any:
    if x is None or y is None:
        return CALLS[np.nonzero].build(condition)
    values = [as_bool(as_value(condition)), as_value(x), as_value(y)]
    return current_builder().add(where, values, {}, weak=False)


stop_gradient: OpDef = elementwise(
    "stop_gradient(x)", run=lambda x: np.positive(x) if not isinstance(x, bool | np.bool_) else x, emit="{x}",
    kernel="{x}",
    dtype=promoted, partials=lambda y, x: [None], zero_derivative=True,
    doc="x, counted as a constant by derivatives.",
)

strong_mul: OpDef = elementwise(
    "strong_mul(ct, p)", run=lambda ct, p: np.where(ct == 0, np.zeros((), np.result_type(ct, p)), ct * p)[()],
    emit="strong_mul({ct}, {p})", kernel="({ct} * {p} if {ct} != 0 else {ct})", dtype=arithmetic,
    partials=lambda y, ct, p: [p, ct], singular=True,
    prelude='''def strong_mul(ct, partial):
    """ct * partial, and exactly 0 where ct is 0: an infinite partial does not turn a zero into NaN."""
    return np.where(ct == 0, 0.0, ct * np.where(ct == 0, 1.0, partial))[()]
''',
    doc="ct * p, but exactly 0 where ct is 0, also against an infinite or undefined p.",
)


# ------------------------------------------------------------------------------------------- arithmetic


def _divide(x: Any, y: Any) -> Any:
    """NumPy's division, also for Python floats: by zero it gives inf or nan."""
    return np.true_divide(x, y)


def _refuse_zero_divisor(x: Value, y: Value) -> None:
    """Integer division by zero raises; a literal divisor is known not to be 0."""
    if is_inexact(x.ty) or is_inexact(y.ty):
        return
    known = constant_of(y)
    if known is not None and known != 0:
        return
    builder = current_builder()
    nonzero = ne(y, 0)
    if y.rank:
        nonzero = builder.emit("all", (nonzero,), axes=tuple(range(y.rank)), keepdims=False)
    builder.emit("check", (nonzero,), error="ZeroDivisionError", message="integer division or modulo by zero")


add: OpDef = elementwise(
    "add(x, y)", calls=(np.add, operator.add), sympy="Add", run=operator.add, emit="{x} + {y}", kernel="{x} + {y}",
    precedence=9, dtype=arithmetic, commutative=True, partials=lambda z, x, y: [1, 1], linear=("x", "y"),
    doc="x + y; on NumPy booleans it is `or`.",
)
sub: OpDef = elementwise(
    "sub(x, y)", calls=(np.subtract, operator.sub), run=operator.sub, emit="{x} - {y}", kernel="{x} - {y}",
    precedence=9,
    dtype=signed_arithmetic, partials=lambda z, x, y: [1, -1], linear=("x", "y"), doc="x - y.",
)
mul: OpDef = elementwise(
    "mul(x, y)", calls=(np.multiply, operator.mul), sympy="Mul", run=operator.mul, emit="{x} * {y}", kernel="{x} * {y}",
    precedence=10, dtype=arithmetic, commutative=True, partials=lambda z, x, y: [y, x],
    doc="x * y; on NumPy booleans it is `and`.",
)
div: OpDef = elementwise(
    "div(x, y)", calls=(np.divide, operator.truediv), run=_divide, emit="{x} / {y}", kernel="{x} / {y}", precedence=10,
    dtype=quotient, domain=(REALS, POSITIVE), edge=(0.0, 1.0), partials=lambda z, x, y: [1 / y, -z / y],
    cost=4, doc="x / y; float division by zero gives inf or nan. d/dy is -z/y, from the result z.",
)
floordiv: OpDef = elementwise(
    "floordiv(x, y)", calls=(np.floor_divide, operator.floordiv), run=np.floor_divide, emit="{x} // {y}",
    kernel="floordiv({x}, {y})", precedence=10, dtype=integral, guard=_refuse_zero_divisor, zero_derivative=True,
    domain=(REALS, POSITIVE), cost=5, doc="Floor of x / y; integers by zero raise ZeroDivisionError.",
)
mod: OpDef = elementwise(
    "mod(x, y)", calls=(np.remainder, operator.mod), run=np.remainder, emit="{x} % {y}", kernel="mod({x}, {y})",
    precedence=10, dtype=integral, guard=_refuse_zero_divisor, domain=(REALS, POSITIVE),
    partials=lambda z, x, y: [1, -floordiv(x, y)], cost=5, tests={"step": 1e-6},
    doc="x - y*floor(x/y), with y's sign. At the jumps the derivative is that of the branch which the value is on.",
)
fmod: OpDef = elementwise(
    "fmod(x, y)", calls=(np.fmod, math.fmod), run=np.fmod, emit="np.fmod({x}, {y})", kernel="fmod({x}, {y})",
    dtype=integral, guard=_refuse_zero_divisor, domain=(REALS, POSITIVE),
    partials=lambda z, x, y: [1, -trunc(x / y)], cost=5, tests={"step": 1e-6},
    doc="x - y*trunc(x/y), with x's sign.",
)
neg: OpDef = elementwise(
    "neg(x)", calls=(np.negative, operator.neg), run=operator.neg, emit="-{x}", kernel="-{x}", precedence=11,
    dtype=signed_arithmetic, partials=lambda y, x: [-1], linear=("x",), doc="-x.",
)


# ------------------------------------------------------------------------------------------------ powers


def _power_dtype(values: Any, attrs: dict[str, Any]) -> Scalar:
    found = integral(values, attrs)
    exponent = constant_of(values[1])
    if found.weak and is_integer(found) and exponent is not None and exponent < 0:
        return Scalar("float64", weak=True)
    return found


def _refuse_negative_exponent(x: Value, y: Value) -> None:
    """Integers to negative integer powers raise ValueError, as in NumPy."""
    if is_inexact(x.ty) or is_inexact(y.ty):
        return
    weak = all(isinstance(v.ty, Scalar) and v.ty.weak for v in (x, y))
    known = constant_of(y)
    if known is not None and (known >= 0 or weak):
        return
    builder = current_builder()
    natural = ge(y, 0)
    if y.rank:
        natural = builder.emit("all", (natural,), axes=tuple(range(y.rank)), keepdims=False)
    message = "Integers to negative integer powers are not allowed."
    builder.emit("check", (natural,), error="ValueError", message=message)


def _run_power(x: Any, y: Any) -> Any:
    if isinstance(x, int) and isinstance(y, int):
        return x**y
    return np.power(x, y)


def _power_partials(z: Value, x: Value, y: Value) -> list[Any]:
    exponent = constant_of(y)
    if exponent is not None:
        return [_fixed_power_partial(x, exponent), z * log(x)]
    in_base = where(eq(y, 0), 0.0, y * x ** (y - 1))
    in_exponent = where(eq(x, 0), 0.0, z * log(where(eq(x, 0), 1.0, x)))
    return [in_base, in_exponent]


def _fixed_power_partial(x: Value, exponent: Any) -> Any:
    exponent = exponent.item() if isinstance(exponent, np.generic) else exponent
    match exponent:
        case 0:
            return 0
        case 1:
            return 1
        case 2:
            return 2 * x
        case _:
            return exponent * x ** (exponent - 1)


def _has_steep_power(x: Value, y: Value) -> bool:
    """Whether x ** y can be finite with an infinite derivative: not for a literal y that is < 0, 0 or >= 1."""
    exponent = constant_of(y)
    return exponent is None or 0 < exponent < 1


def _power_kernel(known: tuple[Any, ...], compute: str) -> str:
    """Small literal exponents as products and roots, which libm's pow does not get near in speed."""
    products = {1: "{x}", 2: "{x} * {x}", 3: "{x} * {x} * {x}", 4: "({x} * {x}) * ({x} * {x})"}
    exponent = known[1]
    if exponent in products:
        return products[exponent]
    if compute in ("float64", "float32"):
        if exponent == 0.5:
            return "sqrt({x})"
        if exponent == -1:
            return "1 / {x}"
        if exponent == -2:
            return "1 / ({x} * {x})"
    return "pow({x}, {y})"


pow: OpDef = elementwise(
    "pow(x, y)", calls=(np.power, np.float_power, operator.pow, math.pow), sympy="Pow", run=_run_power,
    emit="{x} ** {y}", kernel=_power_kernel, precedence=12, dtype=_power_dtype, guard=_refuse_negative_exponent,
    domain=(POSITIVE, REALS), partials=_power_partials, singular=_has_steep_power, cost=20,
    doc="x ** y. A literal exponent is treated on its own. Else at x = 0 the derivative in y is 0, and where y = 0 the "
    "derivative in x is 0; a negative base has a NaN derivative in y. Small integer exponents become products.",
)

square: OpDef = elementwise(
    "square(x)", calls=(np.square,), run=np.square, emit="np.square({x})", kernel="{x} * {x}", dtype=arithmetic,
    partials=lambda y, x: [2 * x], doc="x * x.",
)
reciprocal: OpDef = elementwise(
    "reciprocal(x)", calls=(np.reciprocal,), run=np.reciprocal, emit="np.reciprocal({x})", kernel="1 / {x}",
    dtype=arithmetic, domain=POSITIVE, partials=lambda y, x: [-y * y], cost=4, doc="1 / x.",
)
sqrt: OpDef = elementwise(
    "sqrt(x)", calls=(np.sqrt, math.sqrt), sympy="sqrt", run=np.sqrt, emit="np.sqrt({x})", kernel="sqrt({x})",
    domain=POSITIVE, edge=(0.0, 4.0), partials=lambda y, x: [0.5 / y], singular=True, cost=4,
    doc="Square root; the derivative at 0 is inf.",
)
root: OpDef = elementwise(
    "root(x)", run=np.sqrt, emit="np.sqrt({x})", kernel="sqrt({x})", domain=POSITIVE, edge=(0.0, 4.0), cost=4,
    partials=lambda y, x: [where(eq(y, 0), 0.0, 0.5 / where(eq(y, 0), 1.0, y))],
    doc="Square root of a sum of squares (std, norms): the derivative at 0 is 0, because such a sum is flat there.",
)
cbrt: OpDef = elementwise(
    "cbrt(x)", calls=(np.cbrt, *((math.cbrt,) if hasattr(math, "cbrt") else ())), sympy="cbrt", run=np.cbrt,
    emit="np.cbrt({x})", kernel="cbrt({x})", domain=POSITIVE, edge=(0.0, -8.0), singular=True, cost=10,
    partials=lambda y, x: [1 / (3 * (y * y))], doc="Cube root; the derivative at 0 is inf.",
)


def _hypot_partials(h: Value, x: Value, y: Value) -> list[Any]:
    length = where(eq(h, 0), 1.0, h)
    return [x / length, y / length]


hypot: OpDef = elementwise(
    "hypot(x, y)", calls=(np.hypot, math.hypot), run=np.hypot, emit="np.hypot({x}, {y})", kernel="hypot({x}, {y})",
    edge=(0.0, 1e200), partials=_hypot_partials, cost=10,
    doc="sqrt(x*x + y*y) without overflow; at (0, 0) the derivative is 0.",
)


# ------------------------------------------------------------------------------- absolute values, rounding

abs: OpDef = elementwise(
    "abs(x)", calls=(np.abs, operator.abs), sympy="Abs", run=np.abs, emit="np.abs({x})", kernel="abs({x})",
    dtype=real_part,
    edge=(0.0, -2.0), partials=lambda y, x: [sign(x)], doc="Absolute value; the derivative at 0 is 0.",
)
sign: OpDef = elementwise(
    "sign(x)", calls=(np.sign,), sympy="sign", run=np.sign, emit="np.sign({x})", dtype=signed_arithmetic,
    kernel="({x} / {x} if {x} != {x} else ({x} > 0) - ({x} < 0))", zero_derivative=True,
    doc="-1, 0 or 1, NaN of NaN; the derivative is 0.",
)
copysign: OpDef = elementwise(
    "copysign(x, y)", calls=(np.copysign, math.copysign), run=np.copysign, emit="np.copysign({x}, {y})",
    kernel="copysign({x}, {y})", partials=lambda z, x, y: [sign(x) * copysign(1.0, y), None],
    doc="|x| with y's sign; no derivative in y.",
)
floor: OpDef = elementwise(
    "floor(x)", calls=(np.floor,), sympy="floor", run=np.floor, emit="np.floor({x})", kernel="floor({x})",
    dtype=arithmetic,
    zero_derivative=True, doc="The next integer below; integers stay. The derivative is 0.",
)
ceil: OpDef = elementwise(
    "ceil(x)", calls=(np.ceil,), sympy="ceiling", run=np.ceil, emit="np.ceil({x})", kernel="ceil({x})",
    dtype=arithmetic,
    zero_derivative=True, doc="The next integer above; integers stay. The derivative is 0.",
)
trunc: OpDef = elementwise(
    "trunc(x)", calls=(np.trunc, np.fix), run=np.trunc, emit="np.trunc({x})", kernel="trunc({x})", dtype=arithmetic,
    zero_derivative=True, doc="The integer towards zero; integers stay. The derivative is 0.",
)
rint: OpDef = elementwise(
    "rint(x)", calls=(np.rint,), run=np.rint, emit="np.rint({x})", kernel="rint({x})", zero_derivative=True,
    doc="The nearest integer, halves to even. The derivative is 0.",
)
heaviside: OpDef = elementwise(
    "heaviside(x, y)", calls=(np.heaviside,), run=np.heaviside, emit="np.heaviside({x}, {y})",
    kernel="({x} if {x} != {x} else {y} if {x} == 0 else 1.0 if {x} > 0 else 0.0)",
    partials=lambda z, x, y: [None, eq(x, 0)], doc="0 below 0, y at 0, 1 above; the derivative in x is 0.",
)


# ------------------------------------------------------------------------------- comparisons, predicates

lt: OpDef = elementwise("lt(x, y)", calls=(np.less, operator.lt), sympy="StrictLessThan", run=operator.lt,
                        emit="{x} < {y}",
                 kernel="{x} < {y}", precedence=4, dtype=boolean, zero_derivative=True, doc="x < y.")
le: OpDef = elementwise("le(x, y)", calls=(np.less_equal, operator.le), sympy="LessThan", run=operator.le,
                        emit="{x} <= {y}",
                 kernel="{x} <= {y}", precedence=4, dtype=boolean, zero_derivative=True, doc="x <= y.")
gt: OpDef = elementwise("gt(x, y)", calls=(np.greater, operator.gt), sympy="StrictGreaterThan", run=operator.gt,
                        emit="{x} > {y}",
                 kernel="{x} > {y}", precedence=4, dtype=boolean, zero_derivative=True, doc="x > y.")
ge: OpDef = elementwise("ge(x, y)", calls=(np.greater_equal, operator.ge), sympy="GreaterThan", run=operator.ge,
                        emit="{x} >= {y}",
                 kernel="{x} >= {y}", precedence=4, dtype=boolean, zero_derivative=True, doc="x >= y.")
eq: OpDef = elementwise("eq(x, y)", calls=(np.equal, operator.eq), sympy="Equality", run=operator.eq, emit="{x} == {y}",
                 kernel="{x} == {y}", precedence=4, dtype=boolean, zero_derivative=True, commutative=True,
                 doc="x == y.")
ne: OpDef = elementwise("ne(x, y)", calls=(np.not_equal, operator.ne), sympy="Unequality", run=operator.ne,
                        emit="{x} != {y}",
                 kernel="{x} != {y}", precedence=4, dtype=boolean, zero_derivative=True, commutative=True,
                 doc="x != y.")
logical_and: OpDef = elementwise(
    "logical_and(x, y)", calls=(np.logical_and,), sympy="And", run=np.logical_and, emit="np.logical_and({x}, {y})",
    kernel="(bool({x}) and bool({y}))", dtype=boolean, zero_derivative=True, commutative=True,
    doc="Both are nonzero.",
)
logical_or: OpDef = elementwise(
    "logical_or(x, y)", calls=(np.logical_or,), sympy="Or", run=np.logical_or, emit="np.logical_or({x}, {y})",
    kernel="(bool({x}) or bool({y}))", dtype=boolean, zero_derivative=True, commutative=True,
    doc="At least one is nonzero.",
)
logical_not: OpDef = elementwise(
    "logical_not(x)", calls=(np.logical_not,), sympy="Not", run=np.logical_not, emit="np.logical_not({x})",
    kernel="(not {x})", dtype=boolean, zero_derivative=True, doc="x is zero.",
)
logical_xor: OpDef = elementwise(
    "logical_xor(x, y)", calls=(np.logical_xor,), sympy="Xor", run=np.logical_xor, emit="np.logical_xor({x}, {y})",
    kernel="(bool({x}) != bool({y}))", dtype=boolean, zero_derivative=True, commutative=True,
    doc="Exactly one is nonzero.",
)
isnan: OpDef = elementwise("isnan(x)", calls=(np.isnan, math.isnan), run=np.isnan, emit="np.isnan({x})",
                           kernel="{x} != {x}",
                    dtype=boolean, zero_derivative=True, doc="x is NaN.")
isfinite: OpDef = elementwise("isfinite(x)", calls=(np.isfinite, math.isfinite), run=np.isfinite,
                              emit="np.isfinite({x})",
                       kernel="{x} - {x} == 0", dtype=boolean, zero_derivative=True,
                       doc="x is neither infinite nor NaN.")
isinf: OpDef = elementwise("isinf(x)", calls=(np.isinf, math.isinf), run=np.isinf, emit="np.isinf({x})",
                    kernel="({x} == {x} and {x} - {x} != 0)", dtype=boolean, zero_derivative=True,
                    doc="x is infinite.")


def _bitwise_dtype(values: Any, attrs: dict[str, Any]) -> Scalar:
    found = promoted(values)
    if is_inexact(found):
        raise UnsupportedError("bitwise operators take integers and booleans")
    return found


bitand: OpDef = elementwise("bitand(x, y)", calls=(np.bitwise_and, operator.and_), run=operator.and_, emit="{x} & {y}",
                     kernel="{x} & {y}", precedence=7, dtype=_bitwise_dtype, zero_derivative=True, commutative=True,
                     doc="x & y on integers; `and` on booleans.")
bitor: OpDef = elementwise("bitor(x, y)", calls=(np.bitwise_or, operator.or_), run=operator.or_, emit="{x} | {y}",
                    kernel="{x} | {y}", precedence=5, dtype=_bitwise_dtype, zero_derivative=True, commutative=True,
                    doc="x | y on integers; `or` on booleans.")
bitxor: OpDef = elementwise("bitxor(x, y)", calls=(np.bitwise_xor, operator.xor), run=operator.xor, emit="{x} ^ {y}",
                     kernel="{x} ^ {y}", precedence=6, dtype=_bitwise_dtype, zero_derivative=True, commutative=True,
                     doc="x ^ y on integers; exclusive `or` on booleans.")
lshift: OpDef = elementwise("lshift(x, y)", calls=(np.left_shift, operator.lshift), run=operator.lshift,
                            emit="{x} << {y}",
                     kernel="{x} << {y}", precedence=8, dtype=_bitwise_dtype, zero_derivative=True,
                     doc="x << y.")
rshift: OpDef = elementwise("rshift(x, y)", calls=(np.right_shift, operator.rshift), run=operator.rshift,
                            emit="{x} >> {y}",
                     kernel="{x} >> {y}", precedence=8, dtype=_bitwise_dtype, zero_derivative=True,
                     doc="x >> y.")


@call(np.bitwise_not, operator.invert)
def _invert(x: Any, /) -> Value:
    x = as_value(x)
    if isinstance(x.ty, Scalar) and x.ty.weak:
        return -1 - x  # Python's ~True is -2
    if x.dtype == "bool":
        return logical_not(x)
    return bitxor(x, -1)


# --------------------------------------------------------------------------- maximum, minimum and clip


def _tie_partials(x: Value, y: Value, ahead: Any, level: Any, z: Value) -> list[Any]:
    """Masks for the winner: half each at a tie of two variables, 0 at a tie with a literal."""
    if constant_of(x) is not None or constant_of(y) is not None:
        return [ahead(x, y), ahead(y, x)]

    def share(a: Value, b: Value) -> Value:
        sides = (convert(m(a, b), z.dtype, isinstance(z.ty, Scalar) and z.ty.weak) for m in (ahead, level))
        return sum_of_halves(*sides)

    return [share(x, y), share(y, x)]


def sum_of_halves(a: Value, b: Value) -> Value:
    """(a + b) / 2."""
    return 0.5 * (a + b)


maximum: OpDef = elementwise(
    "maximum(x, y)", calls=(np.maximum,), sympy="Max", run=np.maximum, emit="np.maximum({x}, {y})",
    kernel="({x} if {x} >= {y} or {x} != {x} else {y})", dtype=promoted, commutative=True, edge=(0.0, 1.0),
    partials=lambda z, x, y: _tie_partials(x, y, gt, ge, z),
    doc="The larger, NaN if either is. At a tie of two variables each has half the derivative; with a literal it is 0.",
)
minimum: OpDef = elementwise(
    "minimum(x, y)", calls=(np.minimum,), sympy="Min", run=np.minimum, emit="np.minimum({x}, {y})",
    kernel="({x} if {x} <= {y} or {x} != {x} else {y})", dtype=promoted, commutative=True, edge=(0.0, 1.0),
    partials=lambda z, x, y: _tie_partials(x, y, lt, le, z),
    doc="The smaller, NaN if either is. Ties as for `maximum`.",
)


def _ignoring_nan(ahead: Any, level: Any) -> Any:
    def partials(z: Value, x: Value, y: Value) -> list[Any]:
        weak = isinstance(z.ty, Scalar) and z.ty.weak
        in_x, in_y = (convert(p, z.dtype, weak) for p in _tie_partials(x, y, ahead, level, z))
        return [
            where(isnan(y), 1.0, in_x),
            where(logical_and(isnan(x), logical_not(isnan(y))), 1.0, in_y),
        ]

    return partials


fmax: OpDef = elementwise(
    "fmax(x, y)", calls=(np.fmax,), run=np.fmax, emit="np.fmax({x}, {y})",
    kernel="({x} if {x} >= {y} or {y} != {y} else {y})", dtype=promoted, commutative=True,
    partials=_ignoring_nan(gt, ge), doc="The larger; a NaN loses against a number. Ties as for `maximum`.",
)
fmin: OpDef = elementwise(
    "fmin(x, y)", calls=(np.fmin,), run=np.fmin, emit="np.fmin({x}, {y})",
    kernel="({x} if {x} <= {y} or {y} != {y} else {y})", dtype=promoted, commutative=True,
    partials=_ignoring_nan(lt, le), doc="The smaller; a NaN loses against a number. Ties as for `maximum`.",
)


def _clip_partials(z: Value, x: Value, low: Value, high: Value) -> list[Any]:
    above = gt(maximum(x, low), high)
    return [
        logical_and(ge(x, low), le(x, high)),
        logical_and(lt(x, low), logical_not(above)),
        above,
    ]


clip: OpDef = elementwise(
    "clip(x, low, high)", run=np.clip, emit="np.clip({x}, {low}, {high})", dtype=promoted,
    kernel="({high} if ({x} if {x} >= {low} or {x} != {x} else {low}) > {high} else "
    "({x} if {x} >= {low} or {x} != {x} else {low}))",
    domain=(REALS, (-1.5, -0.5), (0.5, 1.5)), edge=(0.0,), partials=_clip_partials,
    doc="x within [low, high]; where low > high it is high. The derivative in x is 1 inside and at the bounds.",
)


@call(np.clip, method="clip")
def _clip_call(
    a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, *, min: Any = None, max: Any = None
) -> Value:
    x = as_value(a)
    low = a_min if a_min is not None else min
    high = a_max if a_max is not None else max
    add_node = current_builder().add
    if low is None and high is None:
        raise UnsupportedError("np.clip without bounds", hint="give a_min or a_max")
    if not is_inexact(x.ty) and (low is None or high is None):
        result = add_node(minimum if low is None else maximum, (x, as_value(high if low is None else low)), {},
                          weak=False)
    else:
        bounds = (as_value(-math.inf if low is None else low), as_value(math.inf if high is None else high))
        result = add_node(clip, (x, *bounds), {}, weak=False)
    return result if out is None else write_out(result, out)


# ------------------------------------------------------------------------------ exponentials, logarithms

_LN2 = math.log(2.0)
_LN10 = math.log(10.0)

exp: OpDef = elementwise(
    "exp(x)", calls=(np.exp, math.exp), sympy="exp", run=np.exp, emit="np.exp({x})", kernel="exp({x})",
    edge=(0.0, -750.0),
    partials=lambda y, x: [y], cost=10, doc="e**x. The derivative is the result.",
)
exp2: OpDef = elementwise(
    "exp2(x)", calls=(np.exp2, *((math.exp2,) if hasattr(math, "exp2") else ())), run=np.exp2, emit="np.exp2({x})",
    kernel="exp2({x})", partials=lambda y, x: [y * _LN2], cost=10, doc="2**x.",
)
expm1: OpDef = elementwise(
    "expm1(x)", calls=(np.expm1, math.expm1), run=np.expm1, emit="np.expm1({x})", kernel="expm1({x})",
    edge=(0.0, 1e-12),
    partials=lambda y, x: [exp(x)], cost=12,
    doc="e**x - 1, exact near 0. The derivative is exp(x), because y + 1 has no digits left where x < -37.",
)
log: OpDef = elementwise(
    "log(x)", calls=(np.log,), sympy="log", run=np.log, emit="np.log({x})", kernel="log({x})", domain=POSITIVE,
    edge=(1.0, 1e-300), partials=lambda y, x: [1 / x], cost=10, doc="Natural logarithm.",
)
log2: OpDef = elementwise(
    "log2(x)", calls=(np.log2, math.log2), run=np.log2, emit="np.log2({x})", kernel="log2({x})", domain=POSITIVE,
    partials=lambda y, x: [1 / (x * _LN2)], cost=10, doc="Logarithm to base 2.",
)
log10: OpDef = elementwise(
    "log10(x)", calls=(np.log10, math.log10), run=np.log10, emit="np.log10({x})", kernel="log10({x})", domain=POSITIVE,
    partials=lambda y, x: [1 / (x * _LN10)], cost=10, doc="Logarithm to base 10.",
)
log1p: OpDef = elementwise(
    "log1p(x)", calls=(np.log1p, math.log1p), run=np.log1p, emit="np.log1p({x})", kernel="log1p({x})",
    domain=(-0.8, 3.0),
    edge=(0.0, 1e-12), partials=lambda y, x: [1 / (1 + x)], cost=12, doc="log(1 + x), exact near 0.",
)


@call(math.log)
def _math_log(x: Any, base: Any = None, /) -> Value:
    builder = current_builder()
    result: Value = builder.add(log, (python_float(as_value(x), math.log),), {}, weak=True)
    if base is None:
        return result
    if isinstance(base, int | float):
        return result / math.log(base)
    return result / builder.add(log, (python_float(as_value(base), math.log),), {}, weak=True)


logaddexp: OpDef = elementwise(
    "logaddexp(x, y)", calls=(np.logaddexp,), run=np.logaddexp, emit="np.logaddexp({x}, {y})",
    kernel="logaddexp({x}, {y})",
    commutative=True, edge=(0.0, 800.0), partials=lambda z, x, y: [sigmoid(x - y), sigmoid(y - x)], cost=25,
    doc="log(e**x + e**y) without overflow. The derivatives are the two shares, sigmoid(x - y) and sigmoid(y - x).",
)
logaddexp2: OpDef = elementwise(
    "logaddexp2(x, y)", calls=(np.logaddexp2,), run=np.logaddexp2, emit="np.logaddexp2({x}, {y})",
    kernel="logaddexp2({x}, {y})",
    commutative=True, edge=(0.0, 1100.0), cost=25,
    partials=lambda z, x, y: [sigmoid((x - y) * _LN2), sigmoid((y - x) * _LN2)],
    doc="log2(2**x + 2**y) without overflow.",
)


# ----------------------------------------------------------------------------- sigmoid and its relatives


def run_sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), by exp(-|x|) on both sides."""
    e = np.exp(-np.abs(x))
    return np.where(np.greater_equal(x, 0), 1 / (1 + e), e / (1 + e))[()]


def run_softplus(x: Any) -> Any:
    """log(1 + exp(x)) without overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


sigmoid: OpDef = elementwise(
    "sigmoid(x)", run=run_sigmoid, emit="sigmoid({x})", kernel="sigmoid({x})", edge=(0.0, 800.0, -800.0),
    partials=lambda y, x: [(1 - y) * y], cost=15,
    prelude='''def sigmoid(x):
    """1 / (1 + exp(-x)), without overflow on either side."""
    e = np.exp(-np.abs(x))
    return np.where(np.greater_equal(x, 0), 1 / (1 + e), e / (1 + e))[()]
''',
    doc="1 / (1 + exp(-x)). (1 - y)*y needs only y; its error is 1e-16 in absolute terms, so relative digits go as y "
    "nears 1: half of them at x = 18, all at 37. On the left side it is exact.",
)
softplus: OpDef = elementwise(
    "softplus(x)", run=run_softplus, emit="softplus({x})", kernel="softplus({x})",
    edge=(0.0, 800.0, -800.0),
    partials=lambda y, x: [sigmoid(x)], cost=20,
    prelude='''def softplus(x):
    """log(1 + exp(x)), without overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
''',
    doc="log(1 + exp(x)), as max(x, 0) + log1p(exp(-|x|)).",
)
log_sigmoid: OpDef = elementwise(
    "log_sigmoid(x)", run=lambda x: np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x))), emit="log_sigmoid({x})",
    kernel="-softplus(-{x})",
    edge=(0.0, 800.0, -800.0), partials=lambda y, x: [sigmoid(-x)], cost=20,
    prelude='''def log_sigmoid(x):
    """log(1 / (1 + exp(-x))), without overflow."""
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))
''',
    doc="log(sigmoid(x)), as min(x, 0) - log1p(exp(-|x|)).",
)


# ------------------------------------------------------------------------------- circular and hyperbolic

sin: OpDef = elementwise("sin(x)", calls=(np.sin, math.sin), sympy="sin", run=np.sin, emit="np.sin({x})",
                         kernel="sin({x})",
                  partials=lambda y, x: [cos(x)], cost=12, doc="Sine.")
cos: OpDef = elementwise("cos(x)", calls=(np.cos, math.cos), sympy="cos", run=np.cos, emit="np.cos({x})",
                         kernel="cos({x})",
                  partials=lambda y, x: [-sin(x)], cost=12, doc="Cosine.")
tan: OpDef = elementwise("tan(x)", calls=(np.tan, math.tan), sympy="tan", run=np.tan, emit="np.tan({x})",
                         kernel="tan({x})",
                  domain=(-1.3, 1.3), partials=lambda y, x: [1 + y * y], cost=20, doc="Tangent.")
arcsin: OpDef = elementwise(
    "arcsin(x)", calls=(np.arcsin, math.asin), sympy="asin", run=np.arcsin, emit="np.arcsin({x})", kernel="asin({x})",
    domain=UNIT, edge=(1.0, 0.0), partials=lambda y, x: [1 / sqrt((1 - x) * (1 + x))], singular=True, cost=15,
    doc="Inverse sine; the derivative is inf at -1 and 1, and (1 - x)*(1 + x) keeps its digits near them.",
)
arccos: OpDef = elementwise(
    "arccos(x)", calls=(np.arccos, math.acos), sympy="acos", run=np.arccos, emit="np.arccos({x})", kernel="acos({x})",
    domain=UNIT, edge=(1.0, 0.0), partials=lambda y, x: [-1 / sqrt((1 - x) * (1 + x))], singular=True, cost=15,
    doc="Inverse cosine; the derivative is -inf at -1 and 1.",
)
arctan: OpDef = elementwise(
    "arctan(x)", calls=(np.arctan, math.atan), sympy="atan", run=np.arctan, emit="np.arctan({x})", kernel="atan({x})",
    edge=(0.0, 1e200), partials=lambda y, x: [1 / (1 + x * x)], cost=15, doc="Inverse tangent.",
)


def _arctan2_partials(z: Value, y: Value, x: Value) -> list[Any]:
    h = hypot(x, y)
    length = where(eq(h, 0), 1.0, h)
    return [x / length / length, -y / length / length]


arctan2: OpDef = elementwise(
    "arctan2(y, x)", calls=(np.arctan2, math.atan2), sympy="atan2", run=np.arctan2, emit="np.arctan2({y}, {x})",
    kernel="atan2({y}, {x})", edge=(0.0, 1e200), partials=_arctan2_partials, cost=25,
    doc="The angle of the point (x, y); at (0, 0) the derivative is 0.",
)
sinh: OpDef = elementwise("sinh(x)", calls=(np.sinh, math.sinh), sympy="sinh", run=np.sinh, emit="np.sinh({x})",
                   kernel="sinh({x})", partials=lambda y, x: [cosh(x)], cost=20, doc="Hyperbolic sine.")
cosh: OpDef = elementwise("cosh(x)", calls=(np.cosh, math.cosh), sympy="cosh", run=np.cosh, emit="np.cosh({x})",
                   kernel="cosh({x})", partials=lambda y, x: [sinh(x)], cost=20, doc="Hyperbolic cosine.")
tanh: OpDef = elementwise(
    "tanh(x)", calls=(np.tanh, math.tanh), sympy="tanh", run=np.tanh, emit="np.tanh({x})", kernel="tanh({x})",
    edge=(0.0, -0.0, 19.0, 800.0), partials=lambda y, x: [1 - y * y], cost=15,
    doc="Hyperbolic tangent. 1 - y*y needs only y, and pays for it: its absolute error is 1e-16, so relative digits go "
    "as |x| grows: an error of 3e-9 at |x| = 9, 2e-4 at 15, all digits at 19 (1/cosh(x)**2 keeps them, and needs x).",
)
arcsinh: OpDef = elementwise(
    "arcsinh(x)", calls=(np.arcsinh, math.asinh), sympy="asinh", run=np.arcsinh, emit="np.arcsinh({x})",
    kernel="asinh({x})",
    edge=(0.0, 1e200), partials=lambda y, x: [1 / hypot(1.0, x)], cost=20, doc="Inverse hyperbolic sine.",
)
arccosh: OpDef = elementwise(
    "arccosh(x)", calls=(np.arccosh, math.acosh), sympy="acosh", run=np.arccosh, emit="np.arccosh({x})",
    kernel="acosh({x})", domain=(1.2, 4.0), edge=(1.0,), partials=lambda y, x: [1 / (sqrt(x - 1) * sqrt(x + 1))],
    singular=True, cost=20, doc="Inverse hyperbolic cosine; the derivative at 1 is inf.",
)
arctanh: OpDef = elementwise(
    "arctanh(x)", calls=(np.arctanh, math.atanh), sympy="atanh", run=np.arctanh, emit="np.arctanh({x})",
    kernel="atanh({x})", domain=UNIT, partials=lambda y, x: [1 / ((1 - x) * (1 + x))], singular=True, cost=20,
    doc="Inverse hyperbolic tangent; the derivative is inf at -1 and 1.",
)


# ------------------------------------------------------------------------------ calls made of other ops


@call(np.positive, operator.pos)
def _positive(x: Any, /) -> Value:
    return as_value(x)


@call(np.fabs, math.fabs)
def _fabs(x: Any, /) -> Value:
    x = as_value(x)
    return abs(x if is_inexact(x.ty) else convert(x, "float64"))


@call(np.deg2rad, np.radians, math.radians)
def _radians(x: Any, /) -> Value:
    return as_value(x) * (math.pi / 180.0)


@call(np.rad2deg, np.degrees, math.degrees)
def _degrees(x: Any, /) -> Value:
    return as_value(x) * (180.0 / math.pi)


@call(np.sinc)
def _sinc(x: Any, /) -> Value:
    # At 0 the argument is replaced before the division, and the series gives what derivatives need there.
    t = as_value(x) * math.pi
    near = lt(abs(t), 1e-3)
    safe = where(near, 1.0, t)
    series = 1 - t * t / 6.0 * (1 - t * t / 20.0 * (1 - t * t / 42.0))
    return where(near, series, sin(safe) / safe)


@call(np.nan_to_num)
def _nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Value:
    x = as_value(x)
    if not is_inexact(x.ty):
        return x
    if not copy:
        raise UnsupportedError("np.nan_to_num(copy=False)", hint="write x[...] = np.nan_to_num(x)")
    limits = np.finfo(x.dtype)
    high, low, other = (
        convert(as_value(v), x.dtype)
        for v in (float(limits.max) if posinf is None else posinf, float(limits.min) if neginf is None else neginf, nan)
    )
    return where(isnan(x), other, where(isinf(x), where(gt(x, 0.0), high, low), x))


@call(np.round, np.around, method="round")
def _round(a: Any, decimals: Any = 0, out: Any = None) -> Value:
    x = as_value(a)
    if not isinstance(decimals, int):
        raise UnsupportedError("np.round takes a literal number of decimals")
    if not is_inexact(x.ty):
        if decimals < 0:
            raise UnsupportedError("np.round of integers to tens")
        return x
    scale = 10.0 ** builtin_abs(decimals)
    rounded = rint(x) if decimals == 0 else rint(x * scale) / scale if decimals > 0 else rint(x / scale) * scale
    return rounded if out is None else write_out(rounded, out)


def builtin_abs(value: int) -> int:
    """Python's abs, whose name the op of that name takes here."""
    return value if value >= 0 else -value


def _to_python_int(of: Any, target: Any) -> Any:
    def build(x: Any, /) -> Value:
        return cast(of(python_float(as_value(x), target)), dtype="int64", weak=True)

    return build


call(math.floor)(_to_python_int(floor, math.floor))
call(math.ceil)(_to_python_int(ceil, math.ceil))
call(math.trunc)(_to_python_int(trunc, math.trunc))


@call(method="astype")
def _astype(
    x: Any, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True, copy: bool = True
) -> Value:
    x = as_value(x)
    return cast(x, dtype=dtype_name(dtype), weak=False)
