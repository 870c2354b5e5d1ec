"""Orthogonal polynomials at numbers, by SciPy's names: degrees and parameters are fixed, derivatives are in x.

Source of the derivatives: NIST Digital Library of Mathematical Functions, 18.9.15-25.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradc.ir.nodes import Value
from gradc.ir.opdef import OpDef
from gradc.ir.types import Scalar
from gradc.ops.elementwise import le, where
from gradc.ops.rules import POSITIVE, REALS, UNIT, elementwise, floating
from gradc.ops.special import scipy_special, special

Slope = Callable[[Value, Value, tuple[Value, ...]], Value]  # (degree less 1, x, parameters)


def _double(values: Any, attrs: dict[str, Any]) -> Scalar:
    """Functions that SciPy has in double precision only."""
    return Scalar("float64", weak=floating(values, attrs).weak)


def _polynomial(
    name: str, parameters: tuple[str, ...], slope: Slope, domain: Any, doc: str, sympy: str, whole: bool = False
) -> OpDef:
    """A polynomial of degree n: `slope` is its derivative where n is 1 or more. `whole`: SciPy takes an integer n."""
    names = ("n", *parameters, "x")
    holes = ", ".join(f"{{{name}}}" for name in names)

    def partials(y: Value, n: Value, *rest: Value) -> list[Value | None]:
        constant = le(n, 0)
        given = slope(where(constant, 0, n - 1), rest[-1], rest[:-1])
        return [*(None for _ in names[:-1]), where(constant, 0.0, given)]

    fields = special(name, operands=holes)
    if whole:
        fields |= {"run": lambda n, x: scipy_special(name)(np.asarray(n).astype(np.int64), x), "dtype": _double}
    return elementwise(
        f"{name}({', '.join(names)})", **fields, fixed=names[:-1], partials=partials,
        kernel=f"special_{name}({holes})", domain=((0.0, 4.0), *(POSITIVE for _ in parameters), domain), cost=80,
        sympy=sympy, tests={"whole": (0,)}, doc=f"{doc} of degree n.",
    )


eval_gegenbauer: OpDef = _polynomial(
    "eval_gegenbauer", ("alpha",), lambda m, x, p: 2.0 * p[0] * eval_gegenbauer(m, p[0] + 1, x), UNIT,
    "Gegenbauer's polynomial", "gegenbauer",
)
eval_jacobi: OpDef = _polynomial(
    "eval_jacobi", ("alpha", "beta"),
    lambda m, x, p: 0.5 * (m + p[0] + p[1] + 2) * eval_jacobi(m, p[0] + 1, p[1] + 1, x), UNIT, "Jacobi's polynomial",
    "jacobi",
)
eval_legendre: OpDef = _polynomial(
    "eval_legendre", (), lambda m, x, p: eval_gegenbauer(m, 1.5, x), UNIT, "Legendre's polynomial", "legendre"
)
eval_chebyu: OpDef = _polynomial(
    "eval_chebyu", (), lambda m, x, p: 2.0 * eval_gegenbauer(m, 2.0, x), UNIT,
    "Chebyshev's polynomial of the second kind", "chebyshevu",
)
eval_chebyt: OpDef = _polynomial(
    "eval_chebyt", (), lambda m, x, p: (m + 1) * eval_chebyu(m, x), UNIT, "Chebyshev's polynomial", "chebyshevt"
)
eval_genlaguerre: OpDef = _polynomial(
    "eval_genlaguerre", ("alpha",), lambda m, x, p: -eval_genlaguerre(m, p[0] + 1, x), REALS,
    "Laguerre's polynomial with a parameter", "assoc_laguerre",
)
eval_laguerre: OpDef = _polynomial(
    "eval_laguerre", (), lambda m, x, p: -eval_genlaguerre(m, 1.0, x), REALS, "Laguerre's polynomial", "laguerre"
)
eval_hermite: OpDef = _polynomial(
    "eval_hermite", (), lambda m, x, p: 2.0 * (m + 1) * eval_hermite(m, x), REALS, "Hermite's polynomial", "hermite",
    whole=True,
)
eval_hermitenorm: OpDef = _polynomial(
    "eval_hermitenorm", (), lambda m, x, p: (m + 1) * eval_hermitenorm(m, x), REALS,
    "Hermite's polynomial of probability", "hermite_prob", whole=True,
)
