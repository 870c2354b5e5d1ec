"""Functions defined by integrals and series: exponential, Fresnel's, elliptic integrals, dilogarithm, zeta, Lambert W.

Source of the derivatives, where they are not the integrand: NIST Digital Library of Mathematical Functions, 15.5.1
(hypergeometric functions, of which the complete elliptic integrals are cases: 19.5.1-2), 25.11.17 (zeta), 4.13.4 (W).
"""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np

from gradc.errors import UnsupportedError
from gradc.ir.nodes import Value
from gradc.ir.opdef import OpDef, call
from gradc.ir.types import Scalar
from gradc.ops.elementary import cos, cosh, exp, log, log1p, sin, sinh, sqrt
from gradc.ops.elementwise import abs as abs_op
from gradc.ops.elementwise import eq, ge, le, lt, where
from gradc.ops.rules import POSITIVE, REALS, as_value, constant_of, convert, elementwise
from gradc.ops.special import gamma, scipy_special, special

# ----------------------------------------------------------------------------------- exponential integrals

exp1: OpDef = elementwise(
    "exp1(x)", **special("exp1"), kernel="special_exp1({x})", domain=POSITIVE, cost=50,
    partials=lambda y, x: [-exp(-x) / x], doc="The exponential integral E1.",
)
expi: OpDef = elementwise(
    "expi(x)", **special("expi"), sympy="Ei", kernel="special_expi({x})", domain=POSITIVE, cost=50,
    partials=lambda y, x: [exp(x) / x], doc="The exponential integral Ei.",
)


def _expn_slope(n: Value, x: Value) -> Value:
    # E0(x) = exp(-x) / x.
    first = le(n, 0)
    return where(first, -exp(-x) * (1 + 1 / x) / x, -expn(where(first, 0, n - 1), x))


expn: OpDef = elementwise(
    "expn(n, x)", **special("expn", operands="{n}, {x}"), fixed=("n",), kernel="special_expn({n}, {x})", cost=80,
    domain=((0.0, 4.0), POSITIVE), partials=lambda y, n, x: [None, _expn_slope(n, x)], tests={"whole": (0,)},
    doc="The exponential integral En for a natural number n, which is fixed.",
)


def ratio(f: OpDef, x: Value) -> Value:
    """f(x) / x for an odd f with f(x) = x +- x**3 / 6 + ...: by its series near 0, where further derivatives cancel."""
    sign = -1.0 if f.name == "sin" else 1.0
    near = lt(abs_op(x), 0.3)
    square = sign * x * x
    series: Any = 1.0
    for k in range(8, 0, -1):
        series = 1.0 + square / ((2 * k) * (2 * k + 1)) * series
    return where(near, series, f(where(near, 1.0, x)) / where(near, 1.0, x))


def _pair(name: str, place: int, call_name: str, slope: Any, doc: str, sympy: str, domain: Any = REALS) -> OpDef:
    """One of two functions that SciPy gives together."""
    return elementwise(
        f"{name}(x)", run=lambda x: scipy_special(call_name)(x)[place], domain=domain, sympy=sympy, cost=60, doc=doc,
        emit=f"scipy.special.{call_name}({{x}})[{place}]", kernel=f"special_{call_name}_{place}({{x}})",
        partials=lambda y, x: [slope(x)], edge=(0.0,) if domain is REALS else (),
    )


sine_integral: OpDef = _pair("sine_integral", 0, "sici", lambda x: ratio(sin, x), "The sine integral Si.", "Si")
cosine_integral: OpDef = _pair(
    "cosine_integral", 1, "sici", lambda x: cos(x) / x, "The cosine integral Ci.", "Ci", POSITIVE
)
sinh_integral: OpDef = _pair(
    "sinh_integral", 0, "shichi", lambda x: ratio(sinh, x), "The hyperbolic sine integral Shi.", "Shi"
)
cosh_integral: OpDef = _pair(
    "cosh_integral", 1, "shichi", lambda x: cosh(x) / x, "The hyperbolic cosine integral Chi.", "Chi", POSITIVE
)
fresnel_sine: OpDef = _pair(
    "fresnel_sine", 0, "fresnel", lambda x: sin(0.5 * math.pi * x * x), "Fresnel's integral S.", "fresnels"
)
fresnel_cosine: OpDef = _pair(
    "fresnel_cosine", 1, "fresnel", lambda x: cos(0.5 * math.pi * x * x), "Fresnel's integral C.", "fresnelc"
)


@call("scipy.special.sici")
def _sici(x: Any) -> tuple[Value, Value]:
    """The sine and the cosine integral."""
    x = as_value(x)
    return sine_integral(x), cosine_integral(x)


@call("scipy.special.shichi")
def _shichi(x: Any) -> tuple[Value, Value]:
    """The hyperbolic sine and cosine integrals."""
    x = as_value(x)
    return sinh_integral(x), cosh_integral(x)


@call("scipy.special.fresnel")
def _fresnel(z: Any) -> tuple[Value, Value]:
    """Fresnel's integrals S and C."""
    z = as_value(z)
    return fresnel_sine(z), fresnel_cosine(z)


def _spence_slope(x: Value) -> Value:
    # log(x) / (1 - x), by its series near 1.
    u = x - 1
    near = lt(abs_op(u), 0.02)
    series: Any = 1.0 / 12
    for k in range(11, 0, -1):
        series = 1.0 / k - u * series
    safe = where(near, 1.0, u)
    return where(near, -series, -log1p(safe) / safe)


spence: OpDef = elementwise(
    "spence(x)", **special("spence"), kernel="special_spence({x})", domain=POSITIVE, edge=(1.0, 1.0001), cost=50,
    singular=True, partials=lambda y, x: [_spence_slope(x)], doc="The dilogarithm of 1 - x.",
)

# ------------------------------------------------------------------- hypergeometric and elliptic functions

hyp2f1: OpDef = elementwise(
    "hyp2f1(a, b, c, x)", **special("hyp2f1", operands="{a}, {b}, {c}, {x}"), fixed=("a", "b", "c"), cost=200,
    kernel="special_hyp2f1({a}, {b}, {c}, {x})", domain=((0.3, 2.0), (0.3, 2.0), (1.0, 3.0), (-0.9, 0.8)),
    partials=lambda y, a, b, c, x: [None, None, None, a * b / c * hyp2f1(a + 1, b + 1, c + 1, x)],
    doc="Gauss's hypergeometric function; its parameters are fixed.",
)
hyp1f1: OpDef = elementwise(
    "hyp1f1(a, b, x)", **special("hyp1f1", operands="{a}, {b}, {x}"), fixed=("a", "b"), cost=200,
    kernel="special_hyp1f1({a}, {b}, {x})", domain=((0.3, 2.0), (1.0, 3.0), REALS),
    partials=lambda y, a, b, x: [None, None, a / b * hyp1f1(a + 1, b + 1, x)],
    doc="Kummer's confluent hypergeometric function; its parameters are fixed.",
)
hyp0f1: OpDef = elementwise(
    "hyp0f1(v, x)", **special("hyp0f1", operands="{v}, {x}"), fixed=("v",), cost=150, domain=((0.5, 3.0), REALS),
    kernel="special_hyp0f1({v}, {x})", partials=lambda y, v, x: [None, hyp0f1(v + 1, x) / v],
    doc="The confluent hypergeometric limit function; its parameter is fixed.",
)
hyperu: OpDef = elementwise(
    "hyperu(a, b, x)", **special("hyperu", operands="{a}, {b}, {x}"), fixed=("a", "b"), cost=200,
    kernel="special_hyperu({a}, {b}, {x})", domain=((0.3, 2.0), (1.0, 3.0), (0.5, 3.0)),
    partials=lambda y, a, b, x: [None, None, -a * hyperu(a + 1, b + 1, x)],
    doc="Tricomi's confluent hypergeometric function; its parameters are fixed.",
)
ellipk: OpDef = elementwise(
    "ellipk(m)", **special("ellipk", operands="{m}"), kernel="special_ellipk({m})", domain=(-2.0, 0.9), edge=(0.0,),
    partials=lambda y, m: [math.pi / 8 * hyp2f1(1.5, 1.5, 2.0, m)], cost=40,
    doc="Complete elliptic integral of the first kind, of the parameter m.",
)
ellipkm1: OpDef = elementwise(
    "ellipkm1(p)", **special("ellipkm1", operands="{p}"), kernel="special_ellipkm1({p})", domain=POSITIVE, cost=40,
    edge=(1.0, 1e-200), partials=lambda y, p: [-math.pi / 8 * hyp2f1(0.5, 0.5, 2.0, 1 - p) / p],
    doc="ellipk(1 - p), exact for small p.",
)
ellipe: OpDef = elementwise(
    "ellipe(m)", **special("ellipe", operands="{m}"), kernel="special_ellipe({m})", domain=(-2.0, 0.9), edge=(0.0,),
    partials=lambda y, m: [-math.pi / 8 * hyp2f1(0.5, 1.5, 2.0, m)], singular=True, cost=40,
    doc="Complete elliptic integral of the second kind, of the parameter m.",
)
ellipkinc: OpDef = elementwise(
    "ellipkinc(phi, m)", **special("ellipkinc", operands="{phi}, {m}"), fixed=("m",), domain=((-1.0, 1.0), (0.1, 0.9)),
    kernel="special_ellipkinc({phi}, {m})", partials=lambda y, phi, m: [1 / sqrt(1 - m * sin(phi) * sin(phi)), None],
    edge=(0.0, 0.5), cost=100, doc="Incomplete elliptic integral of the first kind; the parameter m is fixed.",
)
ellipeinc: OpDef = elementwise(
    "ellipeinc(phi, m)", **special("ellipeinc", operands="{phi}, {m}"), fixed=("m",), domain=((-1.0, 1.0), (0.1, 0.9)),
    kernel="special_ellipeinc({phi}, {m})", partials=lambda y, phi, m: [sqrt(1 - m * sin(phi) * sin(phi)), None],
    edge=(0.0, 0.5), cost=100, doc="Incomplete elliptic integral of the second kind; the parameter m is fixed.",
)

# ------------------------------------------------------------------------------------------ zeta functions


def hurwitz_zeta(s: Any, q: Any, m: int, log: Any = np.log) -> Any:
    """The m-th derivative in s of the sum of (q + k)**-s over k = 0, 1, 2 ..., by Euler's and Maclaurin's formula."""
    bernoulli = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)
    count, end, total = 10, q + 10.0, 0.0
    choose = [math.comb(m, j) for j in range(m + 1)]
    for k in range(count):
        total = total + (q + k) ** -s * (-log(q + k)) ** m if m else total + (q + k) ** -s
    down = -log(end)
    # Derivatives of end**(1 - s) / (s - 1): products of those of its factors.
    for j in range(m + 1):
        term = choose[j] * (-1.0) ** j * math.factorial(j) * end ** (1.0 - s) / (s - 1.0) ** (j + 1)
        total = total + (term * down ** (m - j) if m > j else term)
    last = 0.5 * end**-s
    total = total + (last * down**m if m else last)
    rising = [0.0, 1.0]  # coefficients in s of s * (s + 1) * ... * (s + 2i - 2)
    for i, b in enumerate(bernoulli, 1):
        if i > 1:
            for step in (2 * i - 3, 2 * i - 2):
                rising = [(rising[k - 1] if k else 0.0) + step * (rising[k] if k < len(rising) else 0.0)
                          for k in range(len(rising) + 1)]
        slope = rising
        for j in range(m + 1):
            value = 0.0
            for c in reversed(slope):
                value = value * s + c
            term = choose[j] * b / math.factorial(2 * i) * value * end ** (1.0 - 2 * i - s)
            total = total + (term * down ** (m - j) if m > j else term)
            slope = [k * c for k, c in enumerate(slope)][1:] or [0.0]
    return total


def _run_hurwitz(s: Any, q: Any, m: int) -> Any:
    made = hurwitz_zeta(np.asarray(s), np.asarray(q), m)
    return np.asarray(made).astype(np.result_type(s, q, 1.0))[()]


def _hurwitz_slopes(y: Value, s: Value, q: Value, m: int) -> list[Value]:
    in_q = -s * zeta(s + 1, q, m=m)
    if m:
        in_q = in_q - m * zeta(s + 1, q, m=m - 1)
    return [zeta(s, q, m=m + 1), in_q]


zeta: OpDef = elementwise(
    "hurwitz_zeta(s, q)", run=_run_hurwitz, kernel="hurwitz_zeta({s}, {q})", cost=200, tests={"attrs": {"m": 0}},
    emit="hurwitz_zeta({s}, {q}, {m})",
    prelude=inspect.getsource(hurwitz_zeta).replace("(s: Any, q: Any, m: int, log: Any = np.log) -> Any", "(s, q, m)")
    .replace("log(", "np.log("),
    domain=((1.5, 4.0), POSITIVE), expand=lambda s, q, *, m: hurwitz_zeta(s, q, m, log),
    partials=lambda y, s, q, *, m: _hurwitz_slopes(y, s, q, m),
    doc="The sum of (q + k)**-s over the natural numbers k, or its {m}-th derivative in s, for s > 1 and q > 0.",
)


def riemann_zeta(s: Any) -> Value:
    """The zeta function of Riemann."""
    s = as_value(s)
    left = lt(s, -0.5)  # closer to 0 the formula below has a pole that cancels
    right = zeta(where(left, 1 - s, s), 1.0, m=0)
    # zeta(s) = 2**s pi**(s - 1) sin(pi s / 2) gamma(1 - s) zeta(1 - s)
    factor = (2 * math.pi) ** s / math.pi * sin(0.5 * math.pi * s) * gamma(where(left, 1 - s, 1.0))
    return where(eq(s, math.inf), 1.0, where(left, factor * right, right))


@call("scipy.special.zeta")
def _zeta(x: Any, q: Any = None) -> Value:
    """The zeta function of Hurwitz, for q > 0; that of Riemann where there is no q."""
    if q is None:
        return riemann_zeta(x)
    s = as_value(x)
    below = lt(s, 1)  # SciPy does not continue it there
    return where(below, math.nan, zeta(where(below, 2.0, s), as_value(q), m=0))


# ------------------------------------------------------------------------------------------------ Lambert W


def _expand_lambertw(x: Value, *, k: int) -> Value:
    """Halley's iteration; its start is good to a few percent, and the error is cubed four times.

    Source: R. Corless and others, On the Lambert W function, Adv. Comput. Math. 5 (1996); S. Winitzki (2003).
    """
    from_branch = math.e * x + 1
    inside = ge(from_branch, 0)
    p = sqrt(where(inside, 2 * from_branch, 0.0))
    p = p if k == 0 else -p
    near = -1 + p - p * p / 3 + 11 / 72 * (p * p * p)
    if k == 0:
        by_series = lt(x, -0.2)
        size = log1p(where(by_series, 0.0, x))
        start = where(by_series, near, size * (1 - log1p(size) / (2 + size)))
    else:
        by_series = lt(x, -0.25)
        first = log(where(by_series, 0.1, -x))
        second = log(-first)
        start = where(by_series, near, first - second + second / first)
    close = lt(abs_op(p), 1e-4)
    w = where(close, 1.0, start)
    for _ in range(4):
        e = exp(w)
        f = w * e - x
        w = w - f / (e * (w + 1) - (w + 2) * f / (2 * w + 2))
    return where(inside, where(close, near, w), math.nan)


lambertw: OpDef = elementwise(
    "lambertw(x)", run=lambda x, k: np.asarray(scipy_special("lambertw")(x, k).real).astype(np.asarray(x).dtype)[()],
    emit="scipy.special.lambertw({x}, {k}).real", kernel="lambertw({x})", expand=_expand_lambertw, cost=200,
    domain=(-0.3, 3.0), edge=(0.0,), tests={"attrs": {"k": 0}}, singular=True,
    partials=lambda w, x, *, k: [exp(-w) / (1 + w)],
    doc="The real branch {k} (0 or -1) of Lambert's W; NaN where it is not real.",
)


@call("scipy.special.lambertw")
def _lambertw(z: Any, k: Any = 0, tol: Any = None) -> Value:
    """Lambert's W on its real branches, 0 and -1: complex numbers whose imaginary part is 0."""
    branch = constant_of(k) if isinstance(k, Value) else k
    if branch not in (0, -1):
        raise UnsupportedError("lambertw has a real value on the branches 0 and -1 only", hint="pass k=0 or k=-1.")
    value = as_value(z)
    if np.dtype(value.dtype).kind == "c":
        raise UnsupportedError("lambertw of complex numbers", hint="take the real part of the argument first.")
    value = convert(value, "float64", isinstance(value.ty, Scalar) and value.ty.weak)
    return convert(lambertw(value, k=int(branch)), "complex128")
