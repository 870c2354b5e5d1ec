"""Incomplete gamma and beta functions and their inverses, by SciPy's names."""

from __future__ import annotations

from gradc.ir.nodes import Value
from gradc.ir.opdef import OpDef
from gradc.ops.elementary import exp
from gradc.ops.rules import POSITIVE, elementwise
from gradc.ops.special import betaln, gammaln, special, xlog1py, xlogy


def gamma_density(a: Value, x: Value) -> Value:
    """The derivative of gammainc in x: x**(a - 1) * exp(-x) / gamma(a)."""
    return exp(xlogy(a - 1, x) - x - gammaln(a))


def beta_density(a: Value, b: Value, x: Value) -> Value:
    """The derivative of betainc in x: x**(a - 1) * (1 - x)**(b - 1) / beta(a, b)."""
    return exp(xlogy(a - 1, x) + xlog1py(b - 1, -x) - betaln(a, b))


gammainc: OpDef = elementwise(
    "gammainc(a, x)", **special("gammainc", operands="{a}, {x}"), kernel="special_gammainc({a}, {x})", fixed=("a",),
    domain=POSITIVE, singular=True, cost=100, partials=lambda y, a, x: [None, gamma_density(a, x)],
    doc="Regularised lower incomplete gamma function; a is fixed.",
)
gammaincc: OpDef = elementwise(
    "gammaincc(a, x)", **special("gammaincc", operands="{a}, {x}"), kernel="special_gammaincc({a}, {x})", fixed=("a",),
    domain=POSITIVE, singular=True, cost=100, partials=lambda y, a, x: [None, -gamma_density(a, x)],
    doc="Regularised upper incomplete gamma function; a is fixed.",
)
gammaincinv: OpDef = elementwise(
    "gammaincinv(a, y)", **special("gammaincinv", operands="{a}, {y}"), kernel="special_gammaincinv({a}, {y})",
    fixed=("a",), domain=(POSITIVE, (0.1, 0.9)), singular=True, cost=200,
    partials=lambda x, a, y: [None, 1 / gamma_density(a, x)], doc="The inverse of gammainc in x; a is fixed.",
)
gammainccinv: OpDef = elementwise(
    "gammainccinv(a, y)", **special("gammainccinv", operands="{a}, {y}"), kernel="special_gammainccinv({a}, {y})",
    fixed=("a",), domain=(POSITIVE, (0.1, 0.9)), singular=True, cost=200,
    partials=lambda x, a, y: [None, -1 / gamma_density(a, x)], doc="The inverse of gammaincc in x; a is fixed.",
)
betainc: OpDef = elementwise(
    "betainc(a, b, x)", **special("betainc", operands="{a}, {b}, {x}"), kernel="special_betainc({a}, {b}, {x})",
    fixed=("a", "b"), domain=(POSITIVE, POSITIVE, (0.1, 0.9)), singular=True, cost=150,
    partials=lambda y, a, b, x: [None, None, beta_density(a, b, x)],
    doc="Regularised incomplete beta function; a and b are fixed.",
)
betaincinv: OpDef = elementwise(
    "betaincinv(a, b, y)", **special("betaincinv", operands="{a}, {b}, {y}"), fixed=("a", "b"), cost=300,
    kernel="special_betaincinv({a}, {b}, {y})", domain=(POSITIVE, POSITIVE, (0.1, 0.9)), singular=True,
    partials=lambda x, a, b, y: [None, None, 1 / beta_density(a, b, x)],
    doc="The inverse of betainc in x; a and b are fixed.",
)
