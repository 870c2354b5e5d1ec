"""SymPy's special functions by ops, where one op of the same name and operands does not do.

A rule gives the subexpressions that it needs and what to do with their values; a rewrite gives another expression.
This module imports SymPy, and is itself imported when an expression arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import sympy

from gradc.ir.opdef import TABLE
from gradc.ops.integrals import ratio, riemann_zeta

Rule: TypeAlias = "Callable[[Any, Any], tuple[Sequence[Any], Callable[..., Any]]]"


def _op(name: str, *args: Any, **attrs: Any) -> Any:
    return TABLE[name](*args, **attrs)


def _sinc(machine: Any, e: Any) -> Any:
    return e.args, lambda x: ratio(TABLE["sin"], machine.as_float(x))


def _polygamma(machine: Any, e: Any) -> Any:
    n, x = e.args
    if not n.is_Integer or n < 0:
        machine.refuse(e, f"polygamma of order {n} has no rule", "the order must be a number.")
    if n == 0:
        return (x,), lambda v: _op("digamma", machine.as_float(v))
    return (x,), lambda v: _op("polygamma", machine.as_float(v), n=int(n))


def _expint(machine: Any, e: Any) -> Any:
    n, x = e.args
    if n.is_Integer and n >= 0:
        return (n, x), lambda k, v: _op("expn", k, machine.as_float(v))
    if n.is_number and n < 1:
        return (x ** (n - 1) * sympy.uppergamma(1 - n, x),), lambda v: v
    return machine.refuse(
        e, f"expint of order {n} has no rule", "the order must be a natural number, or a number below 1.",
        "expr.rewrite(uppergamma) has one for others.",
    )


def _incomplete(name: str) -> Rule:
    """lowergamma, uppergamma: SciPy's are divided by gamma(a)."""

    def rule(machine: Any, e: Any) -> Any:
        a, x = e.args
        return (a, x, sympy.gamma(a)), lambda v, w, g: _op(name, machine.as_float(v), machine.as_float(w)) * g

    return rule


def _betainc(machine: Any, e: Any) -> Any:
    a, b, low, high = e.args

    def make(p: Any, q: Any, x: Any, y: Any) -> Any:
        upper = _op("betainc", machine.as_float(p), machine.as_float(q), machine.as_float(y))
        if low == 0:
            return upper
        return upper - _op("betainc", machine.as_float(p), machine.as_float(q), machine.as_float(x))

    return (a, b, low, high), make


def _zeta(machine: Any, e: Any) -> Any:
    if len(e.args) == 1 or e.args[1] == 1:
        return e.args[:1], lambda s: riemann_zeta(machine.as_float(s))
    return e.args, lambda s, q: _op("hurwitz_zeta", machine.as_float(s), machine.as_float(q), m=0)


def _lambertw(machine: Any, e: Any) -> Any:
    branch = e.args[1] if len(e.args) > 1 else sympy.S.Zero
    if branch not in (0, -1):
        machine.refuse(e, f"branch {branch} of LambertW is not real", "the real ones are 0 and -1.")
    return e.args[:1], lambda x: _op("lambertw", machine.as_float(x), k=int(branch))


def _elliptic_e(machine: Any, e: Any) -> Any:
    if len(e.args) == 1:
        return e.args, lambda m: _op("ellipe", machine.as_float(m))
    return e.args, lambda phi, m: _op("ellipeinc", machine.as_float(phi), machine.as_float(m))


def _hyper(machine: Any, e: Any) -> Any:
    above, below, z = e.args
    known = {(0, 1): "hyp0f1", (1, 1): "hyp1f1", (2, 1): "hyp2f1"}
    if (len(above), len(below)) not in known:
        machine.refuse(
            e, f"a hypergeometric function of {len(above)} and {len(below)} parameters has no rule",
            "SciPy has 0F1, 1F1 and 2F1.", "sympy.hyperexpand(expr) may write it by others.",
        )
    name = known[len(above), len(below)]
    return (*above, *below, z), lambda *xs: _op(name, *xs[:-1], machine.as_float(xs[-1]))


def _polylog(machine: Any, e: Any) -> Any:
    s, z = e.args
    if s == 2:
        return (1 - z,), lambda x: _op("spence", machine.as_float(x))
    if s.is_Integer and s < 2:
        return (sympy.expand_func(e),), lambda x: x
    return machine.refuse(e, f"polylog of order {s} has no rule", "SciPy has the dilogarithm, order 2.")


def _spherical(bessel: Any) -> Callable[..., Any]:
    return lambda n, x: sympy.sqrt(sympy.pi / (2 * x)) * bessel(n + sympy.S.Half, x)


def _harmonic(n: Any, m: Any = sympy.S.One) -> Any:
    if m == 1:
        return sympy.digamma(n + 1) + sympy.EulerGamma
    return sympy.zeta(m) - sympy.zeta(m, n + 1)


RULES: Mapping[str, Rule] = {
    "sinc": _sinc,
    "polygamma": _polygamma,
    "expint": _expint,
    "lowergamma": _incomplete("gammainc"),
    "uppergamma": _incomplete("gammaincc"),
    "betainc_regularized": _betainc,
    "zeta": _zeta,
    "LambertW": _lambertw,
    "elliptic_k": lambda machine, e: (e.args, lambda m: _op("ellipk", machine.as_float(m))),
    "elliptic_f": lambda machine, e: (e.args, lambda phi, m: _op("ellipkinc", *map(machine.as_float, (phi, m)))),
    "elliptic_e": _elliptic_e,
    "hyper": _hyper,
    "polylog": _polylog,
}

REWRITES: Mapping[str, Callable[..., Any]] = {
    "factorial": lambda x: sympy.gamma(x + 1),
    "binomial": lambda n, k: sympy.gamma(n + 1) / (sympy.gamma(k + 1) * sympy.gamma(n - k + 1)),
    "RisingFactorial": lambda x, n: sympy.gamma(x + n) / sympy.gamma(x),
    "FallingFactorial": lambda x, n: sympy.gamma(x + 1) / sympy.gamma(x - n + 1),
    "betainc": lambda a, b, x, y: sympy.beta(a, b) * sympy.betainc_regularized(a, b, x, y),
    "harmonic": _harmonic,
    "multigamma": lambda x, p: sympy.multigamma(x, p).doit(),
    "dirichlet_eta": lambda s, a=sympy.S.One: sympy.dirichlet_eta(s, a).rewrite(sympy.zeta),
    "erf2": lambda x, y: sympy.erf(y) - sympy.erf(x),
    "li": lambda x: sympy.Ei(sympy.log(x)),
    "Li": lambda x: sympy.Ei(sympy.log(x)) - sympy.Ei(sympy.log(2)),
    "jn": _spherical(sympy.besselj),
    "yn": _spherical(sympy.bessely),
    "SingularityFunction": lambda *xs: sympy.SingularityFunction(*xs).rewrite(sympy.Piecewise),
}
