"""Functions of scipy.special, entered by name: SciPy is imported only where a user has imported it, or to interpret."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gradc.errors import UnsupportedError
from gradc.ir.nodes import Value
from gradc.ir.opdef import OpDef, call
from gradc.ir.types import Array
from gradc.ops import elementary
from gradc.ops.elementary import cos, exp, log, log1p, log_sigmoid, sigmoid, sin, sqrt, tan
from gradc.ops.elementwise import abs as abs_op
from gradc.ops.elementwise import (
    eq,
    floor,
    gt,
    isfinite,
    le,
    logical_and,
    logical_or,
    lt,
    stop_gradient,
    where,
)
from gradc.ops.reduce import max as max_over
from gradc.ops.reduce import sum as sum_over
from gradc.ops.rules import (
    POSITIVE,
    UNIT,
    as_value,
    constant_of,
    convert,
    elementwise,
    floating,
    normal_axes,
    numpy_call,
)


def scipy_special(name: str) -> Callable[..., Any]:
    """scipy.special's function, imported when it is called."""

    def run(*args: Any) -> Any:
        return getattr(importlib.import_module("scipy.special"), name)(*args)

    return run


def special(name: str, **more: Any) -> dict[str, Any]:
    """The fields that entries of this module share: how SciPy calls the function, runs it, and writes it."""
    operands = more.pop("operands", "{x}")
    return {
        "calls": (f"scipy.special.{name}", *more.pop("also", ())), "run": scipy_special(name),
        "emit": f"scipy.special.{name}({operands})", **more,
    }


for _name, _op in (("expit", sigmoid), ("log_expit", log_sigmoid)):
    call(f"scipy.special.{_name}")(numpy_call(_op, None))
for _name in ("cbrt", "exp2", "expm1", "log1p"):
    call(f"scipy.special.{_name}")(numpy_call(getattr(elementary, _name), None))

_TWO_OVER_ROOT_PI = 2.0 / math.sqrt(math.pi)
_ROOT_HALF = math.sqrt(0.5)
_ROOT_TWO_PI = math.sqrt(2.0 * math.pi)

erf: OpDef = elementwise(
    "erf(x)", **special("erf", also=(math.erf,)), sympy="erf", kernel="erf({x})", edge=(0.0, 30.0), cost=20,
    partials=lambda y, x: [_TWO_OVER_ROOT_PI * exp(-(x * x))], doc="The error function.",
)
erfc: OpDef = elementwise(
    "erfc(x)", **special("erfc", also=(math.erfc,)), sympy="erfc", kernel="erfc({x})", edge=(0.0, 30.0), cost=25,
    partials=lambda y, x: [-_TWO_OVER_ROOT_PI * exp(-(x * x))], doc="1 - erf(x), exact in the right tail.",
)
ndtr: OpDef = elementwise(
    "ndtr(x)", **special("ndtr"), kernel="0.5 * erfc(-{x} * 0.7071067811865476)", edge=(0.0, -30.0), cost=25,
    partials=lambda y, x: [exp(-0.5 * (x * x)) / _ROOT_TWO_PI], doc="Distribution function of the normal distribution.",
)
ndtri: OpDef = elementwise(
    "ndtri(p)", **special("ndtri", operands="{p}"), kernel="special_ndtri({p})", domain=(0.1, 0.9), edge=(0.5,),
    cost=30, singular=True, partials=lambda y, p: [_ROOT_TWO_PI * exp(0.5 * (y * y))], doc="The inverse of ndtr.",
)
log_ndtr: OpDef = elementwise(
    "log_ndtr(x)", **special("log_ndtr"), kernel="special_log_ndtr({x})", edge=(0.0, -30.0, 30.0), cost=40,
    partials=lambda y, x: [exp(-0.5 * (x * x) - y) / _ROOT_TWO_PI], doc="log(ndtr(x)), exact in both tails.",
)
erfinv: OpDef = elementwise(
    "erfinv(y)", **special("erfinv", operands="{y}"), sympy="erfinv", kernel="special_erfinv({y})", domain=UNIT,
    edge=(0.0, 0.5), singular=True, partials=lambda x, y: [1.0 / _TWO_OVER_ROOT_PI * exp(x * x)], cost=30,
    doc="The inverse of erf.",
)
erfcinv: OpDef = elementwise(
    "erfcinv(y)", **special("erfcinv", operands="{y}"), sympy="erfcinv", kernel="special_erfcinv({y})",
    domain=(0.1, 1.9), edge=(1.0, 1e-200), singular=True, cost=30,
    partials=lambda x, y: [-1.0 / _TWO_OVER_ROOT_PI * exp(x * x)], doc="The inverse of erfc.",
)
erfcx: OpDef = elementwise(
    "erfcx(x)", **special("erfcx"), kernel="special_erfcx({x})", edge=(0.0, 10.0), cost=30,
    partials=lambda y, x: [2.0 * x * y - _TWO_OVER_ROOT_PI],
    doc="exp(x**2) * erfc(x). The derivative 2*x*y - 2/sqrt(pi) cancels for large x: half of its digits go by x = 1e4.",
)
erfi: OpDef = elementwise(
    "erfi(x)", **special("erfi"), sympy="erfi", kernel="special_erfi({x})", edge=(0.0,), cost=30,
    partials=lambda y, x: [_TWO_OVER_ROOT_PI * exp(x * x)], doc="The imaginary error function.",
)
dawsn: OpDef = elementwise(
    "dawsn(x)", **special("dawsn"), kernel="special_dawsn({x})", edge=(0.0, 10.0), cost=30,
    partials=lambda y, x: [1.0 - 2.0 * x * y], doc="Dawson's integral, exp(-x**2) times that of exp(t**2) from 0 to x.",
)
logit: OpDef = elementwise(
    "logit(x)", **special("logit"), kernel="log({x} / (1 - {x}))", domain=(0.1, 0.9), cost=15,
    partials=lambda y, x: [1 / (x * (1 - x))], doc="log(x / (1 - x)), the inverse of the sigmoid.",
)


# ----------------------------------------------------------------------------------- gamma and its kin

# Bernoulli numbers B2 ... B16, for the asymptotic series of polygamma (Abramowitz and Stegun 6.4.11).
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)
_SHIFT = 10


def _series(n: int, x: Value) -> Value:
    """psi^(n)(x) for x >= 1/2 or so: moved up by the recurrence to where the asymptotic series has full precision."""
    y = x + _SHIFT
    if n == 0:
        total = log(y) - 0.5 / y
        power, square = 1 / (y * y), y * y
        for j, b in enumerate(_BERNOULLI, 1):
            total = total - (b / (2 * j)) * power
            power = power / square
        for k in range(_SHIFT):
            total = total - 1 / (x + k)
        return total
    sign = (-1.0) ** (n + 1)
    total = math.factorial(n - 1) * y**-n + 0.5 * math.factorial(n) * y ** -(n + 1)
    for j, b in enumerate(_BERNOULLI, 1):
        total = total + (b * math.factorial(2 * j + n - 1) / math.factorial(2 * j)) * y ** -(2 * j + n)
    for k in range(_SHIFT):
        total = total + math.factorial(n) * (x + k) ** -(n + 1)
    return sign * total


def _expand_digamma(x: Value) -> Value:
    # psi(x) = psi(1 - x) - pi / tan(pi x), for the left half.
    left = lt(x, 0.5)
    right = _series(0, where(left, 1 - x, x))
    return where(_is_pole(x), math.nan, where(left, right - math.pi / tan(math.pi * x), right))


def _is_pole(x: Value) -> Value:
    """Whether x is a negative whole number."""
    return logical_and(lt(x, 0), eq(x, floor(x)))


digamma: OpDef = elementwise(
    "digamma(x)", **special("digamma", also=("scipy.special.psi",)), kernel="digamma({x})", domain=(0.3, 5.0),
    partials=lambda y, x: [polygamma(x, n=1)], expand=_expand_digamma, cost=60, sympy="digamma",
    doc="Logarithmic derivative of the gamma function.",
)


def _run_polygamma(x: Any, n: int) -> Any:
    return np.asarray(scipy_special("polygamma")(n, x)).astype(np.asarray(x).dtype)[()]


def _expand_polygamma(x: Value, *, n: int) -> Value:
    # Right of 1/2 by the series; left of it psi_n(x) = (-1)**n psi_n(1 - x) - pi d^n/dx^n cot(pi x), A&S 6.4.7.
    left = lt(x, 0.5)
    right = _series(n, where(left, 1 - x, x))
    cot = 1 / tan(math.pi * where(left, x, 0.5))
    reflected = math.pi ** (n + 1) * _polynomial(_cotangent_derivative(n), cot)
    made = where(left, (right if n % 2 == 0 else -right) - reflected, right)
    return where(_is_pole(x), math.inf if n % 2 else -math.inf, made)


def _cotangent_derivative(n: int) -> list[int]:
    """Coefficients, lowest first, of the polynomial in cot(x) that is its n-th derivative: cot' = -(1 + cot**2)."""
    found = [0, 1]
    for _ in range(n):
        slope = [k * c for k, c in enumerate(found)][1:]
        found = [0] * (len(slope) + 2)
        for k, c in enumerate(slope):
            found[k] -= c
            found[k + 2] -= c
    return found


def _polynomial(coefficients: list[int], x: Value) -> Value:
    total: Any = float(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = total * x + float(c)
    return total


polygamma: OpDef = elementwise(
    "polygamma(x)", run=_run_polygamma, emit="scipy.special.polygamma({n}, {x})",
    kernel="polygamma({x})", domain=(0.3, 5.0), partials=lambda y, x, *, n: [polygamma(x, n=n + 1)],
    expand=_expand_polygamma, cost=100, tests={"attrs": {"n": 1}},
    doc="The {n}-th derivative of digamma, n > 0.",
)


@call("scipy.special.polygamma")
def _polygamma_call(n: Any, x: Any) -> Value:
    order = constant_of(n) if isinstance(n, Value) else n
    if not isinstance(order, int):
        raise UnsupportedError("polygamma takes a literal order")
    # SciPy computes this function in double precision whatever it is given.
    value = convert(as_value(x), "float64")
    return digamma(value) if order == 0 else polygamma(value, n=order)


gammaln: OpDef = elementwise(
    "gammaln(x)", **special("gammaln", also=(math.lgamma,)), sympy="loggamma", kernel="lgamma({x})", domain=(0.3, 5.0),
    partials=lambda y, x: [digamma(x)], cost=25, doc="log |gamma(x)|.",
)
gamma: OpDef = elementwise(
    "gamma(x)", **special("gamma", also=(math.gamma,)), sympy="gamma", kernel="tgamma({x})", domain=(0.3, 5.0),
    partials=lambda y, x: [y * digamma(x)], cost=25, doc="The gamma function.",
)


@call("scipy.special.loggamma")
def _loggamma(z: Any, *, out: None = None) -> Value:
    """The logarithm of gamma on the positive real axis; NaN where it is not real."""
    x = as_value(z)
    if np.dtype(x.dtype).kind == "c":
        raise UnsupportedError("loggamma of complex numbers", hint="take the real part of the argument first.")
    return where(lt(x, 0), math.nan, gammaln(x))


gammasgn: OpDef = elementwise(
    "gammasgn(x)", **special("gammasgn"), kernel="special_gammasgn({x})", zero_derivative=True, cost=10,
    doc="The sign of the gamma function.",
)


def _rgamma_partial(y: Value, x: Value) -> Value:
    # On the left by reflection, 1 / gamma(x) = gamma(1 - x) * sin(pi x) / pi, which has no poles there.
    left = lt(x, 0.5)
    up = where(left, 1 - x, 1.0)
    turned = gamma(up) * (cos(math.pi * x) - digamma(up) * sin(math.pi * x) / math.pi)
    return where(left, turned, -y * digamma(where(left, 1.0, x)))


rgamma: OpDef = elementwise(
    "rgamma(x)", **special("rgamma"), kernel="special_rgamma({x})", edge=(0.0, -1.0, -2.0), cost=30,
    partials=lambda y, x: [_rgamma_partial(y, x)], doc="1 / gamma(x), 0 at the poles of gamma.",
)
beta: OpDef = elementwise(
    "beta(a, b)", **special("beta", operands="{a}, {b}"), sympy="beta", kernel="special_beta({a}, {b})",
    domain=POSITIVE, commutative=True, cost=60, doc="The beta function, gamma(a) * gamma(b) / gamma(a + b).",
    partials=lambda y, a, b: [y * (digamma(a) - digamma(a + b)), y * (digamma(b) - digamma(a + b))],
)
betaln: OpDef = elementwise(
    "betaln(a, b)", **special("betaln", operands="{a}, {b}"), kernel="special_betaln({a}, {b})", domain=POSITIVE,
    commutative=True, cost=60, doc="log |beta(a, b)|.",
    partials=lambda y, a, b: [digamma(a) - digamma(a + b), digamma(b) - digamma(a + b)],
)


@call("scipy.special.multigammaln")
def _multigammaln(a: Any, d: Any) -> Value:
    """log of the gamma function of d-dimensional matrices; d is a literal."""
    order = constant_of(d) if isinstance(d, Value) else d
    if not isinstance(order, int) or order < 1:
        raise UnsupportedError("multigammaln takes a literal dimension, 1 or more")
    a = as_value(a)
    total = gammaln(a)
    for j in range(1, order):
        total = total + gammaln(a - 0.5 * j)
    return total + order * (order - 1) / 4.0 * math.log(math.pi)


@call("scipy.special.factorial")
def _factorial(n: Any) -> Value:
    n = as_value(n)
    return where(lt(n, 0), 0.0, gamma(convert(n, "float64") + 1))


def _binomial_partials(y: Value, n: Value, k: Value) -> list[Any]:
    rest = digamma(n - k + 1)
    return [y * (digamma(n + 1) - rest), y * (rest - digamma(k + 1))]


binom: OpDef = elementwise(
    "binom(n, k)", **special("binom", operands="{n}, {k}"), domain=((3.2, 5.0), (0.3, 2.5)), cost=80,
    kernel="special_binom({n}, {k})", partials=_binomial_partials,
    doc="The binomial coefficient of real numbers.",
)
poch: OpDef = elementwise(
    "poch(z, m)", **special("poch", operands="{z}, {m}"), kernel="special_poch({z}, {m})", domain=POSITIVE, cost=60,
    partials=lambda y, z, m: [y * (digamma(z + m) - digamma(z)), y * digamma(z + m)],
    doc="gamma(z + m) / gamma(z), the rising factorial.",
)


# ------------------------------------------------------------------------------------------- entropies


def _xlogy_partials(z: Value, x: Value, y: Value) -> list[Any]:
    nothing = eq(x, 0)
    return [log(y), where(nothing, 0.0, x / where(nothing, 1.0, y))]


xlogy: OpDef = elementwise(
    "xlogy(x, y)", **special("xlogy", operands="{x}, {y}"), domain=(POSITIVE, POSITIVE), edge=(0.0, 1.0), singular=True,
    kernel="({x} if {x} == 0 and {y} == {y} else {x} * log({y}))", partials=_xlogy_partials, cost=12,
    doc="x * log(y), and 0 where x is 0.",
)
xlog1py: OpDef = elementwise(
    "xlog1py(x, y)", **special("xlog1py", operands="{x}, {y}"), domain=(POSITIVE, POSITIVE), edge=(0.0, 1.0), cost=12,
    kernel="({x} if {x} == 0 and {y} == {y} else {x} * log1p({y}))", singular=True,
    partials=lambda z, x, y: [log1p(y), where(eq(x, 0), 0.0, x / (1 + where(eq(x, 0), 1.0, y)))],
    doc="x * log(1 + y), and 0 where x is 0.",
)


@call("scipy.special.entr")
def _entr(x: Any) -> Value:
    x = as_value(x)
    return where(lt(x, 0), -math.inf, -xlogy(x, x))


@call("scipy.special.rel_entr")
def _rel_entr(x: Any, y: Any) -> Value:
    return _relative(as_value(x), as_value(y), False)


@call("scipy.special.kl_div")
def _kl_div(x: Any, y: Any) -> Value:
    return _relative(as_value(x), as_value(y), True)


def _relative(x: Value, y: Value, balanced: bool) -> Value:
    """x * log(x / y), and `balanced` less x - y, for numbers that are not negative; infinite for others."""
    zero = eq(y, 0)
    made = xlogy(x, x / where(zero, 1.0, y))
    made = made - x + y if balanced else made
    return where(logical_or(lt(y, 0), logical_or(lt(x, 0), logical_and(zero, gt(x, 0)))), math.inf, made)


@call("scipy.special.huber")
def _huber(delta: Any, r: Any) -> Value:
    delta, r = as_value(delta), as_value(r)
    size = abs_op(r)
    made = where(le(size, delta), 0.5 * (r * r), delta * (size - 0.5 * delta))
    return where(lt(delta, 0), math.inf, made)


@call("scipy.special.pseudo_huber")
def _pseudo_huber(delta: Any, r: Any) -> Value:
    delta, r = as_value(delta), as_value(r)
    flat = eq(delta, 0)
    ratio = r / where(flat, 1.0, delta)
    made = r * r / (sqrt(1 + ratio * ratio) + 1)  # no digits cancel for small r
    return where(lt(delta, 0), math.inf, where(flat, 0.0, made))


@call("scipy.special.exp10")
def _exp10(x: Any) -> Value:
    return 10.0 ** as_value(x)


@call("scipy.special.sindg")
def _sindg(x: Any) -> Value:
    return sin(as_value(x) * (math.pi / 180.0))


# ------------------------------------------------------------------------------- sums of exponentials


def _shifted(x: Value, axis: Any) -> tuple[Value, Value, tuple[int, ...]]:
    """x less its maximum over axes, the maximum (kept as axes of size 1; 0 where it is infinite), the axes."""
    if not isinstance(x.ty, Array):
        return x - x, x, ()
    axes = normal_axes(axis, x.rank)
    top = stop_gradient(max_over(x, axes=axes, keepdims=True))
    top = where(isfinite(top), top, 0.0)
    return x - top, top, axes


@call("scipy.special.logsumexp")
def _logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: Any = False, return_sign: Any = False) -> Value:
    if return_sign:
        raise UnsupportedError("logsumexp with return_sign", hint="leave it out where the sum is positive")
    x = as_value(a)
    x = x if np.dtype(x.dtype).kind in "fc" else convert(x, floating([x], {}).dtype)
    factors = None if b is None else as_value(b)
    if factors is not None:
        # What counts 0 times does not count for the maximum either.
        x = where(eq(factors, 0), -math.inf, x)
    if not isinstance(x.ty, Array):
        return x if factors is None else x + log(factors)
    moved, top, axes = _shifted(x, axis)
    terms = exp(moved) if factors is None else factors * exp(moved)
    total = log(sum_over(terms, axes=axes, keepdims=True)) + top
    return total if keepdims else sum_over(total, axes=axes, keepdims=False)


@call("scipy.special.softmax")
def _softmax(x: Any, axis: Any = None) -> Value:
    x = as_value(x)
    moved, _, axes = _shifted(x, axis)
    e = exp(moved)
    return e / sum_over(e, axes=axes, keepdims=True) if isinstance(x.ty, Array) else e


@call("scipy.special.log_softmax")
def _log_softmax(x: Any, axis: Any = None) -> Value:
    x = as_value(x)
    moved, _, axes = _shifted(x, axis)
    return moved - log(sum_over(exp(moved), axes=axes, keepdims=True)) if isinstance(x.ty, Array) else moved
