"""Elementary functions: powers, exponentials, logarithms, sigmoids, circular and hyperbolic functions."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from gradc.errors import DTypeError
from gradc.ir.nodes import Value, current_builder
from gradc.ir.opdef import TABLE, OpDef, call
from gradc.ir.types import Scalar, is_complex, is_inexact, is_integer
from gradc.ops.elementwise import abs, eq, ge, lt, where
from gradc.ops.rules import (
    POSITIVE,
    REALS,
    UNIT,
    arithmetic,
    as_value,
    composed,
    constant_of,
    convert,
    elementwise,
    integral,
    numpy_call,
    python_float,
    strong,
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
    if isinstance(exponent, complex | np.complexfloating):
        return True
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
    "pow(x, y)", calls=(np.power, operator.pow, math.pow), sympy="Pow", run=_run_power,
    emit="{x} ** {y}", kernel=_power_kernel, precedence=12, dtype=_power_dtype, guard=_refuse_negative_exponent,
    domain=(POSITIVE, REALS), partials=_power_partials, singular=_has_steep_power, cost=20,
    takes_complex=True,
    doc="x ** y. A literal exponent is treated on its own. Else at x = 0 the derivative in y is 0, and where y = 0 the "
    "derivative in x is 0; a negative base has a NaN derivative in y. Small integer exponents become products.",
)

square: OpDef = elementwise(
    "square(x)", calls=(np.square,), run=np.square, emit="np.square({x})", kernel="{x} * {x}", dtype=arithmetic,
    partials=lambda y, x: [2 * x], takes_complex=True, doc="x * x.",
)


def absolute_square(x: Value) -> Value:
    """|x|**2, as a real number."""
    if not is_complex(x.ty):
        return square(x)
    return square(TABLE["real"](x)) + square(TABLE["imag"](x))


reciprocal: OpDef = elementwise(
    "reciprocal(x)", calls=(np.reciprocal,), run=np.reciprocal, emit="np.reciprocal({x})", kernel="1 / {x}",
    dtype=arithmetic, domain=POSITIVE, partials=lambda y, x: [-y * y], cost=4, takes_complex=True, doc="1 / x.",
)
sqrt: OpDef = elementwise(
    "sqrt(x)", calls=(np.sqrt, math.sqrt), sympy="sqrt", run=np.sqrt, emit="np.sqrt({x})", kernel="sqrt({x})",
    domain=POSITIVE, edge=(0.0, 4.0), partials=lambda y, x: [0.5 / y], singular=True, cost=4,
    takes_complex=True,
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
    "hypot(x, y)", calls=(np.hypot,), run=np.hypot, emit="np.hypot({x}, {y})", kernel="hypot({x}, {y})",
    edge=(0.0, 1e200), partials=_hypot_partials, cost=10,
    doc="sqrt(x*x + y*y) without overflow; at (0, 0) the derivative is 0.",
)


# ------------------------------------------------------------------------------ exponentials, logarithms

_LN2 = math.log(2.0)
_LN10 = math.log(10.0)

exp: OpDef = elementwise(
    "exp(x)", calls=(np.exp, math.exp), sympy="exp", run=np.exp, emit="np.exp({x})", kernel="exp({x})",
    edge=(0.0, -750.0),
    partials=lambda y, x: [y], cost=10, takes_complex=True, doc="e**x. The derivative is the result.",
)
exp2: OpDef = elementwise(
    "exp2(x)", calls=(np.exp2, *((math.exp2,) if hasattr(math, "exp2") else ())), run=np.exp2, emit="np.exp2({x})",
    kernel="exp2({x})", partials=lambda y, x: [y * _LN2], cost=10, takes_complex=True, doc="2**x.",
)
expm1: OpDef = elementwise(
    "expm1(x)", calls=(np.expm1, math.expm1), run=np.expm1, emit="np.expm1({x})", kernel="expm1({x})",
    edge=(0.0, 1e-12),
    partials=lambda y, x: [exp(x)], cost=12,
    takes_complex=True,
    doc="e**x - 1, exact near 0. The derivative is exp(x), because y + 1 has no digits left where x < -37.",
)
log: OpDef = elementwise(
    "log(x)", calls=(np.log,), sympy="log", run=np.log, emit="np.log({x})", kernel="log({x})", domain=POSITIVE,
    edge=(1.0, 1e-300), partials=lambda y, x: [1 / x], cost=10, takes_complex=True, doc="Natural logarithm.",
)
log2: OpDef = elementwise(
    "log2(x)", calls=(np.log2, math.log2), run=np.log2, emit="np.log2({x})", kernel="log2({x})", domain=POSITIVE,
    partials=lambda y, x: [1 / (x * _LN2)], cost=10, takes_complex=True, doc="Logarithm to base 2.",
)
log10: OpDef = elementwise(
    "log10(x)", calls=(np.log10, math.log10), run=np.log10, emit="np.log10({x})", kernel="log10({x})", domain=POSITIVE,
    partials=lambda y, x: [1 / (x * _LN10)], cost=10, takes_complex=True, doc="Logarithm to base 10.",
)
log1p: OpDef = elementwise(
    "log1p(x)", calls=(np.log1p, math.log1p), run=np.log1p, emit="np.log1p({x})", kernel="log1p({x})",
    domain=(-0.8, 3.0),
    edge=(0.0, 1e-12), partials=lambda y, x: [1 / (1 + x)], cost=12, takes_complex=True,
    doc="log(1 + x), exact near 0.",
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
                  partials=lambda y, x: [cos(x)], cost=12, takes_complex=True, doc="Sine.")
cos: OpDef = elementwise("cos(x)", calls=(np.cos, math.cos), sympy="cos", run=np.cos, emit="np.cos({x})",
                         kernel="cos({x})",
                  partials=lambda y, x: [-sin(x)], cost=12, takes_complex=True, doc="Cosine.")
tan: OpDef = elementwise("tan(x)", calls=(np.tan, math.tan), sympy="tan", run=np.tan, emit="np.tan({x})",
                         kernel="tan({x})",
                  domain=(-1.3, 1.3), partials=lambda y, x: [1 + y * y], cost=20, takes_complex=True, doc="Tangent.")
def _arc_root(x: Value) -> Value:
    """sqrt(1 - x*x) with its digits near 1 and -1, and for complex numbers on the sheet that arcsin is on."""
    # For complex numbers the root of the product is on the wrong side of the cuts: at 2 + 0j both factors have one.
    root: Value = sqrt(1 - x) * sqrt(1 + x) if is_complex(x.ty) else sqrt((1 - x) * (1 + x))
    return root


arcsin: OpDef = elementwise(
    "arcsin(x)", calls=(np.arcsin, math.asin), sympy="asin", run=np.arcsin, emit="np.arcsin({x})", kernel="asin({x})",
    domain=UNIT, edge=(1.0, 0.0), partials=lambda y, x: [1 / _arc_root(x)], singular=True, cost=15,
    takes_complex=True,
    doc="Inverse sine; the derivative is inf at -1 and 1, and (1 - x)*(1 + x) keeps its digits near them.",
)
arccos: OpDef = elementwise(
    "arccos(x)", calls=(np.arccos, math.acos), sympy="acos", run=np.arccos, emit="np.arccos({x})", kernel="acos({x})",
    domain=UNIT, edge=(1.0, 0.0), partials=lambda y, x: [-1 / _arc_root(x)], singular=True, cost=15,
    takes_complex=True,
    doc="Inverse cosine; the derivative is -inf at -1 and 1.",
)
arctan: OpDef = elementwise(
    "arctan(x)", calls=(np.arctan, math.atan), sympy="atan", run=np.arctan, emit="np.arctan({x})", kernel="atan({x})",
    edge=(0.0, 1e200), partials=lambda y, x: [1 / (1 + x * x)], cost=15, takes_complex=True, doc="Inverse tangent.",
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
                   kernel="sinh({x})", partials=lambda y, x: [cosh(x)], cost=20, takes_complex=True,
                   doc="Hyperbolic sine.")
cosh: OpDef = elementwise("cosh(x)", calls=(np.cosh, math.cosh), sympy="cosh", run=np.cosh, emit="np.cosh({x})",
                   kernel="cosh({x})", partials=lambda y, x: [sinh(x)], cost=20, takes_complex=True,
                   doc="Hyperbolic cosine.")
tanh: OpDef = elementwise(
    "tanh(x)", calls=(np.tanh, math.tanh), sympy="tanh", run=np.tanh, emit="np.tanh({x})", kernel="tanh({x})",
    edge=(0.0, -0.0, 19.0, 800.0), partials=lambda y, x: [1 - y * y], cost=15,
    takes_complex=True,
    doc="Hyperbolic tangent. 1 - y*y needs only y, and pays for it: its absolute error is 1e-16, so relative digits go "
    "as |x| grows: an error of 3e-9 at |x| = 9, 2e-4 at 15, all digits at 19 (1/cosh(x)**2 keeps them, and needs x).",
)
def _arcsinh_partials(y: Value, x: Value) -> list[Any]:
    return [1 / (sqrt(1 + x * x) if is_complex(x.ty) else hypot(1.0, x))]


arcsinh: OpDef = elementwise(
    "arcsinh(x)", calls=(np.arcsinh, math.asinh), sympy="asinh", run=np.arcsinh, emit="np.arcsinh({x})",
    kernel="asinh({x})",
    edge=(0.0, 1e200), partials=_arcsinh_partials, cost=20, takes_complex=True,
    doc="Inverse hyperbolic sine.",
)
arccosh: OpDef = elementwise(
    "arccosh(x)", calls=(np.arccosh, math.acosh), sympy="acosh", run=np.arccosh, emit="np.arccosh({x})",
    kernel="acosh({x})", domain=(1.2, 4.0), edge=(1.0,), partials=lambda y, x: [1 / (sqrt(x - 1) * sqrt(x + 1))],
    singular=True, cost=20, takes_complex=True, doc="Inverse hyperbolic cosine; the derivative at 1 is inf.",
)
arctanh: OpDef = elementwise(
    "arctanh(x)", calls=(np.arctanh, math.atanh), sympy="atanh", run=np.arctanh, emit="np.arctanh({x})",
    kernel="atanh({x})", domain=UNIT, partials=lambda y, x: [1 / ((1 - x) * (1 + x))], singular=True, cost=20,
    takes_complex=True,
    doc="Inverse hyperbolic tangent; the derivative is inf at -1 and 1.",
)


# ------------------------------------------------------------------------------ calls made of other ops


def _angle(x: Any) -> Value:
    value = as_value(x)
    if is_complex(value.ty):
        raise DTypeError("an angle is a real number", hint="write z * (np.pi / 180)")
    return value


@composed(np.deg2rad, np.radians)
def _radians(x: Value, /) -> Value:
    return _angle(x) * (math.pi / 180.0)


@composed(np.rad2deg, np.degrees)
def _degrees(x: Value, /) -> Value:
    return _angle(x) * (180.0 / math.pi)


@call(np.sinc)
def _sinc(x: Any, /) -> Value:
    # At 0 the argument is replaced before the division, and the series gives what derivatives need there.
    t = strong(x) * math.pi
    near = lt(abs(t), 1e-3)
    safe = where(near, 1.0, t)
    series = 1 - t * t / 6.0 * (1 - t * t / 20.0 * (1 - t * t / 42.0))
    return where(near, series, sin(safe) / safe)


@composed(np.float_power)
def _float_power(x1: Value, x2: Value, /) -> Value:
    base, exponent = x1, x2
    dtype = "complex128" if is_complex(base.ty) or is_complex(exponent.ty) else "float64"
    return numpy_call(pow, None)(convert(base, dtype), convert(exponent, dtype))
