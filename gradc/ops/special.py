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
from gradc.ops.elementary import exp, log, log1p, log_sigmoid, sigmoid, sin, sqrt, tan
from gradc.ops.elementwise import abs as abs_op
from gradc.ops.elementwise import eq, isfinite, le, lt, stop_gradient, where
from gradc.ops.reduce import max as max_over
from gradc.ops.reduce import sum as sum_over
from gradc.ops.rules import POSITIVE, as_value, constant_of, convert, elementwise, floating, normal_axes, numpy_call


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
    return where(left, right - math.pi / tan(math.pi * x), right)


digamma: OpDef = elementwise(
    "digamma(x)", **special("digamma", also=("scipy.special.psi",)), kernel="digamma({x})", domain=(0.3, 5.0),
    partials=lambda y, x: [polygamma(x, n=1)], expand=_expand_digamma, cost=60, sympy="digamma",
    doc="Logarithmic derivative of the gamma function.",
)


def _run_polygamma(x: Any, n: int) -> Any:
    return np.asarray(scipy_special("polygamma")(n, x)).astype(np.asarray(x).dtype)[()]


def _expand_polygamma(x: Value, *, n: int) -> Value:
    return _series(n, x)


polygamma: OpDef = elementwise(
    "polygamma(x)", run=_run_polygamma, emit="scipy.special.polygamma({n}, {x})",
    kernel="polygamma({x})", domain=(0.3, 5.0), partials=lambda y, x, *, n: [polygamma(x, n=n + 1)],
    expand=_expand_polygamma, cost=100, tests={"attrs": {"n": 1}},
    doc="The {n}-th derivative of digamma, n > 0, for positive x.",
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


@call("scipy.special.rgamma")
def _rgamma(x: Any) -> Value:
    return 1.0 / gamma(as_value(x))


@call("scipy.special.betaln")
def betaln(a: Any, b: Any) -> Value:
    """log of the beta function."""
    a, b = as_value(a), as_value(b)
    return gammaln(a) + gammaln(b) - gammaln(a + b)


@call("scipy.special.beta")
def _beta(a: Any, b: Any) -> Value:
    return exp(betaln(a, b))


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
    x, y = as_value(x), as_value(y)
    return xlogy(x, x / y)


@call("scipy.special.kl_div")
def _kl_div(x: Any, y: Any) -> Value:
    x, y = as_value(x), as_value(y)
    return xlogy(x, x / y) - x + y


@call("scipy.special.huber")
def _huber(delta: Any, r: Any) -> Value:
    delta, r = as_value(delta), as_value(r)
    size = abs_op(r)
    return where(le(size, delta), 0.5 * (r * r), delta * (size - 0.5 * delta))


@call("scipy.special.pseudo_huber")
def _pseudo_huber(delta: Any, r: Any) -> Value:
    delta, r = as_value(delta), as_value(r)
    ratio = r / delta
    return delta * delta * (sqrt(1 + ratio * ratio) - 1)


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
    if not isinstance(x.ty, Array):
        return x if b is None else x + log(as_value(b))
    x = x if np.dtype(x.dtype).kind in "fc" else convert(x, floating([x], {}).dtype)
    moved, top, axes = _shifted(x, axis)
    terms = exp(moved) if b is None else as_value(b) * exp(moved)
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
