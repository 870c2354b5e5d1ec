"""Incomplete gamma and beta functions and their inverses, by SciPy's names, with derivatives in their parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gradc.ir.loops import OWN_FUNCTIONS
from gradc.ir.nodes import Value
from gradc.ir.opdef import OpDef
from gradc.ops import parameter_slopes
from gradc.ops.elementary import exp, log, log1p
from gradc.ops.elementwise import eq, where
from gradc.ops.rules import POSITIVE, elementwise
from gradc.ops.special import betaln, digamma, gammaln, polygamma, special, xlog1py, xlogy

_TINY = 1e-30
_BETA_DOMAIN = (POSITIVE, POSITIVE, (0.1, 0.9))


def gamma_density(a: Value, x: Value) -> Value:
    """The derivative of gammainc in x: x**(a - 1) * exp(-x) / gamma(a)."""
    return exp(xlogy(a - 1, x) - x - gammaln(a))


def beta_density(a: Value, b: Value, x: Value) -> Value:
    """The derivative of betainc in x: x**(a - 1) * (1 - x)**(b - 1) / beta(a, b)."""
    return exp(xlogy(a - 1, x) + xlog1py(b - 1, -x) - betaln(a, b))


def _log(x: Value) -> Value:
    """log(x), finite at 0, where it is multiplied by a density that is mostly 0."""
    return log(where(eq(x, 0), _TINY, x))


def _by_quadrature(name: str, operands: str, partials: Callable[..., Any], doc: str, **more: Any) -> OpDef:
    """A derivative in a parameter, one of the functions of `ops/parameter_slopes.py`."""
    function, _, orders = OWN_FUNCTIONS[name]
    scalar = getattr(parameter_slopes, function)

    def run(*args: Any) -> Any:
        made = np.vectorize(lambda *numbers: scalar(*map(float, numbers), *orders), [float])(*args)
        return made.astype(np.result_type(*args, 1.0))[()]

    call = f"{name}({', '.join(f'{{{o}}}' for o in operands.split(', '))})"
    return elementwise(
        f"{name}({operands})", run=run, emit=call, kernel=call, partials=partials, cost=3000, singular=True, doc=doc,
        prelude=parameter_slopes.over_arrays(function, name, operands, orders), **more,
    )


# -------------------------------------------------------------------------------------------------- gamma

gammainc: OpDef = elementwise(
    "gammainc(a, x)", **special("gammainc", operands="{a}, {x}"), kernel="special_gammainc({a}, {x})",
    domain=POSITIVE, singular=True, cost=100, partials=lambda y, a, x: [gammainc_slope(a, x), gamma_density(a, x)],
    doc="Regularised lower incomplete gamma function; derivatives in a up to the second.",
)
gammaincc: OpDef = elementwise(
    "gammaincc(a, x)", **special("gammaincc", operands="{a}, {x}"), kernel="special_gammaincc({a}, {x})",
    domain=POSITIVE, singular=True, cost=100, partials=lambda y, a, x: [-gammainc_slope(a, x), -gamma_density(a, x)],
    doc="Regularised upper incomplete gamma function; derivatives in a up to the second.",
)
gammainc_slope: OpDef = _by_quadrature(
    "gammainc_slope", "a, x",
    lambda y, a, x: [gammainc_curvature(a, x), gamma_density(a, x) * (_log(x) - digamma(a))],
    "The derivative of gammainc in a.", domain=POSITIVE,
)


def _gamma_curvature_in_x(a: Value, x: Value) -> Value:
    slope = _log(x) - digamma(a)
    return gamma_density(a, x) * (slope * slope - polygamma(a, n=1))


gammainc_curvature: OpDef = _by_quadrature(
    "gammainc_curvature", "a, x", lambda y, a, x: [None, _gamma_curvature_in_x(a, x)],
    "The second derivative of gammainc in a, which has none in a itself.", fixed=("a",), domain=POSITIVE,
)


def _inverse_gamma_partials(sign: int) -> Callable[..., list[Value]]:
    def partials(x: Value, a: Value, y: Value) -> list[Value]:
        density = gamma_density(a, x)
        return [-gammainc_slope(a, x) / density, sign / density]

    return partials


gammaincinv: OpDef = elementwise(
    "gammaincinv(a, y)", **special("gammaincinv", operands="{a}, {y}"), kernel="special_gammaincinv({a}, {y})",
    domain=(POSITIVE, (0.1, 0.9)), singular=True, cost=200, partials=_inverse_gamma_partials(1),
    doc="The inverse of gammainc in x.",
)
gammainccinv: OpDef = elementwise(
    "gammainccinv(a, y)", **special("gammainccinv", operands="{a}, {y}"), kernel="special_gammainccinv({a}, {y})",
    domain=(POSITIVE, (0.1, 0.9)), singular=True, cost=200, partials=_inverse_gamma_partials(-1),
    doc="The inverse of gammaincc in x.",
)

# --------------------------------------------------------------------------------------------------- beta

betainc: OpDef = elementwise(
    "betainc(a, b, x)", **special("betainc", operands="{a}, {b}, {x}"), kernel="special_betainc({a}, {b}, {x})",
    domain=_BETA_DOMAIN, singular=True, cost=150,
    partials=lambda y, a, b, x: [betainc_slope_a(a, b, x), betainc_slope_b(a, b, x), beta_density(a, b, x)],
    doc="Regularised incomplete beta function; derivatives in a and b up to the second.",
)


def _log_slopes(a: Value, b: Value, x: Value) -> tuple[Value, Value]:
    """The derivatives of log(beta_density) in a and b."""
    both = digamma(a + b)
    end = eq(x, 1)
    log_rest = where(end, math.log(_TINY), log1p(-where(end, 0.0, x)))
    return _log(x) - digamma(a) + both, log_rest - digamma(b) + both


betainc_slope_a: OpDef = _by_quadrature(
    "betainc_slope_a", "a, b, x",
    lambda y, a, b, x: [
        betainc_curvature_aa(a, b, x), betainc_curvature_ab(a, b, x), beta_density(a, b, x) * _log_slopes(a, b, x)[0]
    ],
    "The derivative of betainc in a.", domain=_BETA_DOMAIN,
)
betainc_slope_b: OpDef = _by_quadrature(
    "betainc_slope_b", "a, b, x",
    lambda y, a, b, x: [
        betainc_curvature_ab(a, b, x), betainc_curvature_bb(a, b, x), beta_density(a, b, x) * _log_slopes(a, b, x)[1]
    ],
    "The derivative of betainc in b.", domain=_BETA_DOMAIN,
)


def _beta_curvature(name: str, first: int, second: int) -> OpDef:
    def in_x(a: Value, b: Value, x: Value) -> Value:
        slopes = _log_slopes(a, b, x)
        bend = polygamma(a + b, n=1)
        if first == second:
            bend = bend - polygamma((a, b)[first], n=1)
        return beta_density(a, b, x) * (slopes[first] * slopes[second] + bend)

    return _by_quadrature(
        name, "a, b, x", lambda y, a, b, x: [None, None, in_x(a, b, x)],
        "A second derivative of betainc in a and b, which has none in them itself.", fixed=("a", "b"),
        domain=_BETA_DOMAIN,
    )


betainc_curvature_aa: OpDef = _beta_curvature("betainc_curvature_aa", 0, 0)
betainc_curvature_ab: OpDef = _beta_curvature("betainc_curvature_ab", 0, 1)
betainc_curvature_bb: OpDef = _beta_curvature("betainc_curvature_bb", 1, 1)


def _inverse_beta_partials(x: Value, a: Value, b: Value, y: Value) -> list[Value]:
    density = beta_density(a, b, x)
    return [-betainc_slope_a(a, b, x) / density, -betainc_slope_b(a, b, x) / density, 1 / density]


betaincinv: OpDef = elementwise(
    "betaincinv(a, b, y)", **special("betaincinv", operands="{a}, {b}, {y}"), cost=300,
    kernel="special_betaincinv({a}, {b}, {y})", domain=_BETA_DOMAIN, singular=True, partials=_inverse_beta_partials,
    doc="The inverse of betainc in x.",
)
