"""Elementwise ops: arithmetic, comparisons, rounding, choices. Conventions at kinks and ties stand in the entries.

Partials are IR and are differentiated in turn, so each is written to be right to every order. A mask that stands
for a 0/1 factor stays boolean (`dy * (x > 0)`), which keeps the dtype of what it multiplies.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from gradc.errors import DTypeError, UnsupportedError
from gradc.ir.nodes import Node, Value, current_builder
from gradc.ir.opdef import CALLS, TABLE, OpDef, call
from gradc.ir.types import Array, Scalar, is_complex, is_inexact
from gradc.ops.rules import (
    POSITIVE,
    REALS,
    arithmetic,
    as_value,
    boolean,
    composed,
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
    strong,
    write_out,
)

# ------------------------------------------------------------------------------------- casts and choices


def _cast_dtype(values: Any, attrs: dict[str, Any]) -> Scalar:
    if is_complex(values[0].ty) and np.dtype(attrs["dtype"]).kind not in "cb":
        raise DTypeError(
            f"complex numbers are converted to {attrs['dtype']}",
            why="that drops the imaginary part, of which NumPy warns.",
            hint="write z.real.",
        )
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
    takes_complex=True,
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
    takes_complex=True,
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
    takes_complex=True,
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
    takes_complex=True,
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
    reassociable="reassoc_add({x}, {y})",
    takes_complex=True,
    doc="x + y; on NumPy booleans it is `or`.",
)
sub: OpDef = elementwise(
    "sub(x, y)", calls=(np.subtract, operator.sub), run=operator.sub, emit="{x} - {y}", kernel="{x} - {y}",
    precedence=9, reassociable="reassoc_add({x}, -{y})",
    dtype=signed_arithmetic, partials=lambda z, x, y: [1, -1], linear=("x", "y"), takes_complex=True, doc="x - y.",
)
mul: OpDef = elementwise(
    "mul(x, y)", calls=(np.multiply, operator.mul), sympy="Mul", run=operator.mul, emit="{x} * {y}", kernel="{x} * {y}",
    precedence=10, dtype=arithmetic, commutative=True, partials=lambda z, x, y: [y, x],
    takes_complex=True,
    doc="x * y; on NumPy booleans it is `and`.",
)
div: OpDef = elementwise(
    "div(x, y)", calls=(np.divide, operator.truediv), run=_divide, emit="{x} / {y}", kernel="{x} / {y}", precedence=10,
    dtype=quotient, domain=(REALS, POSITIVE), edge=(0.0, 1.0), partials=lambda z, x, y: [1 / y, -z / y],
    cost=4, takes_complex=True, doc="x / y; float division by zero gives inf or nan. d/dy is -z/y, from the result z.",
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
    dtype=signed_arithmetic, partials=lambda y, x: [-1], linear=("x",), takes_complex=True, doc="-x.",
)


# ------------------------------------------------------------------------------- absolute values, rounding

def _abs_partials(y: Value, x: Value) -> list[Any]:
    if not is_complex(x.ty):
        return [sign(x)]
    # d|z| = Re(conj(z) dz) / |z|
    return [TABLE["conj"](x) / where(eq(y, 0), 1.0, y)]


abs: OpDef = elementwise(
    "abs(x)", calls=(np.abs, operator.abs), sympy="Abs", run=np.abs, emit="np.abs({x})", kernel="abs({x})",
    dtype=real_part, takes_complex=True,
    edge=(0.0, -2.0), partials=_abs_partials, doc="Absolute value; the derivative at 0 is 0.",
)


def _abs2_kernel(known: Any, compute: str) -> str:
    return "({x}.real * {x}.real + {x}.imag * {x}.imag)" if compute.startswith("complex") else "({x} * {x})"


abs2: OpDef = elementwise(
    "abs2(x)", run=lambda x: np.real(x) * np.real(x) + np.imag(x) * np.imag(x), emit="np.abs({x})**2", precedence=12,
    kernel=_abs2_kernel,
    dtype=real_part, takes_complex=True,
    partials=lambda y, x: [2 * TABLE["conj"](x) if is_complex(x.ty) else 2 * x],
    doc="|x|**2, which NumPy is asked for by np.abs(x)**2: without the root, by which its derivative would divide.",
)
sign: OpDef = elementwise(
    "sign(x)", sympy="sign", run=np.sign, emit="np.sign({x})", dtype=signed_arithmetic,
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
                 takes_complex=True,
                 doc="x == y.")
ne: OpDef = elementwise("ne(x, y)", calls=(np.not_equal, operator.ne), sympy="Unequality", run=operator.ne,
                        emit="{x} != {y}",
                 kernel="{x} != {y}", precedence=4, dtype=boolean, zero_derivative=True, commutative=True,
                 takes_complex=True,
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
                    dtype=boolean, zero_derivative=True, takes_complex=True, doc="x is NaN.")
isfinite: OpDef = elementwise("isfinite(x)", calls=(np.isfinite, math.isfinite), run=np.isfinite,
                              emit="np.isfinite({x})",
                       kernel="{x} - {x} == 0", dtype=boolean, zero_derivative=True,
                       takes_complex=True,
                       doc="x is neither infinite nor NaN.")


def _isinf_kernel(known: tuple[Any, ...], compute: str) -> str:
    if compute.startswith("complex"):
        return "(abs({x}.real) == np.inf or abs({x}.imag) == np.inf)"
    return "({x} == {x} and {x} - {x} != 0)"


isinf: OpDef = elementwise("isinf(x)", calls=(np.isinf, math.isinf), run=np.isinf, emit="np.isinf({x})",
                    kernel=_isinf_kernel, dtype=boolean, zero_derivative=True,
                    takes_complex=True,
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
    if isinstance(x.ty, Scalar) and x.ty.weak and not is_inexact(x.ty):
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
    x = strong(a)
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


# ------------------------------------------------------------------------------ calls made of other ops


@call(operator.pos)
def _pos(x: Any, /) -> Value:
    return as_value(x)


@composed(np.positive)
def _positive(x: Value, /) -> Value:
    if isinstance(x.ty, Scalar):
        return x
    return TABLE["copy"](x) if x.rank else TABLE["load"](x, region=())


@composed(np.signbit)
def _signbit(x: Value, /) -> Value:
    if is_complex(x.ty):
        raise DTypeError("np.signbit takes real numbers")
    return lt(copysign(1.0, x) if is_inexact(x.ty) else x, 0)


def _infinite(target: Any, above: bool) -> None:
    def build(x: Any, out: Any = None) -> Value:
        value = as_value(x)
        side = gt(value, 0) if above else lt(value, 0)
        result = logical_and(isinf(value), side)
        return result if out is None else write_out(result, out)

    call(target)(build)


_infinite(np.isposinf, True)
_infinite(np.isneginf, False)


@composed(np.sign)
def _sign(x: Value, /) -> Value:
    if not is_complex(x.ty):
        return current_builder().add(sign, (x,), {}, weak=False)
    size = abs(x)
    nothing = eq(size, 0)
    return where(nothing, 0.0, x / where(nothing, 1.0, size))


@call(math.fabs)
def _math_fabs(x: Any, /) -> Value:
    return current_builder().add(abs, (python_float(as_value(x), math.fabs),), {}, weak=True)


@composed(np.fabs)
def _fabs(x: Value, /) -> Value:
    if is_complex(x.ty):
        raise DTypeError("np.fabs takes real numbers", hint="write np.abs")
    return abs(x if is_inexact(x.ty) else convert(x, "float64"))


@call(np.nan_to_num)
def _nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Value:
    x = as_value(x)
    if is_complex(x.ty):
        re, im = (_nan_to_num(TABLE[part](x), copy, nan, posinf, neginf) for part in ("real", "imag"))
        return TABLE["complex_of"](re, im)
    if not is_inexact(x.ty):
        return x
    if not copy:
        made = _nan_to_num(x, True, nan, posinf, neginf)
        return write_out(made, x) if isinstance(x.ty, Array) else made
    limits = np.finfo(x.dtype)
    high, low, other = (
        convert(as_value(v), x.dtype)
        for v in (float(limits.max) if posinf is None else posinf, float(limits.min) if neginf is None else neginf, nan)
    )
    return where(isnan(x), other, where(isinf(x), where(gt(x, 0.0), high, low), x))


@call(np.round, np.around, method="round")
def _round(a: Any, decimals: Any = 0, out: Any = None) -> Value:
    x = strong(a)
    if is_complex(x.ty):
        rounded = TABLE["complex_of"](*(_round(TABLE[part](x), decimals) for part in ("real", "imag")))
        return rounded if out is None else write_out(rounded, out)
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
    if not copy and isinstance(x.ty, Array) and x.dtype == dtype_name(dtype):
        return x
    return cast(x, dtype=dtype_name(dtype), weak=False)
