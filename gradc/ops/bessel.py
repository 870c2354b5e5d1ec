"""Bessel functions, Airy's and Struve's: entered by SciPy's names. Derivatives are in x; orders are fixed.

Source of the derivatives: Abramowitz and Stegun, 9.1.27-28, 9.6.26-28, 10.4.1, 12.1.9, 12.2.5.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gradc.errors import UnsupportedError
from gradc.ir.nodes import Value
from gradc.ir.opdef import OpDef, call
from gradc.ops.elementary import sqrt
from gradc.ops.elementwise import sign
from gradc.ops.rules import POSITIVE, as_value, elementwise, numpy_call
from gradc.ops.special import rgamma, scipy_special, special

_ORDERS = ((0.3, 2.5), POSITIVE)


def _plain(name: str, slope: Callable[[Value, Value], Value], doc: str, **more: Any) -> OpDef:
    """A function of one operand."""
    return elementwise(
        f"{name}(x)", **special(name, also=more.pop("also", ())), kernel=f"special_{name}({{x}})", cost=50, doc=doc,
        partials=lambda y, x: [slope(y, x)], **more,
    )


def _ordered(name: str, slope: Callable[[Value, Value, Value], Value], doc: str, **more: Any) -> OpDef:
    """A function of an order and an operand."""
    return elementwise(
        f"{name}(v, x)", **special(name, operands="{v}, {x}", also=more.pop("also", ())), fixed=("v",), cost=150,
        kernel=f"special_{name}({{v}}, {{x}})", domain=_ORDERS, partials=lambda y, v, x: [None, slope(y, v, x)],
        singular=True, doc=f"{doc} of order v, which is fixed.", **more,
    )


jv: OpDef = _ordered(
    "jv", lambda y, v, x: 0.5 * (jv(v - 1, x) - jv(v + 1, x)), "Bessel function of the first kind", sympy="besselj",
    edge=(0.0, 1.0),
)
yv: OpDef = _ordered(
    "yv", lambda y, v, x: 0.5 * (yv(v - 1, x) - yv(v + 1, x)), "Bessel function of the second kind", sympy="bessely",
)
iv: OpDef = _ordered(
    "iv", lambda y, v, x: 0.5 * (iv(v - 1, x) + iv(v + 1, x)), "Modified Bessel function of the first kind",
    sympy="besseli", edge=(0.0, 1.0),
)
kv: OpDef = _ordered(
    "kv", lambda y, v, x: -0.5 * (kv(v - 1, x) + kv(v + 1, x)), "Modified Bessel function of the second kind",
    sympy="besselk",
)
ive: OpDef = _ordered(
    "ive", lambda y, v, x: 0.5 * (ive(v - 1, x) + ive(v + 1, x)) - sign(x) * y, "exp(-|x|) * iv(v, x)",
)
kve: OpDef = _ordered(
    "kve", lambda y, v, x: y - 0.5 * (kve(v - 1, x) + kve(v + 1, x)), "exp(x) * kv(v, x)",
)
# SciPy's functions of integer orders are those of real ones at integers.
for _name, _op in (("yn", yv), ("kn", kv)):
    call(f"scipy.special.{_name}")(numpy_call(_op, None))

j0: OpDef = _plain("j0", lambda y, x: -j1(x), "jv(0, x).", edge=(0.0,))
j1: OpDef = _plain("j1", lambda y, x: 0.5 * (j0(x) - jv(2.0, x)), "jv(1, x).", edge=(0.0,))
y0: OpDef = _plain("y0", lambda y, x: -y1(x), "yv(0, x).", domain=POSITIVE)
y1: OpDef = _plain("y1", lambda y, x: 0.5 * (y0(x) - yv(2.0, x)), "yv(1, x).", domain=POSITIVE)
i0: OpDef = _plain("i0", lambda y, x: i1(x), "iv(0, x).", also=(np.i0,), edge=(0.0,))
i0e: OpDef = _plain("i0e", lambda y, x: i1e(x) - sign(x) * y, "exp(-|x|) * iv(0, x).", edge=(0.0, 800.0))
i1: OpDef = _plain("i1", lambda y, x: 0.5 * (i0(x) + iv(2.0, x)), "iv(1, x).", edge=(0.0,))
i1e: OpDef = _plain(
    "i1e", lambda y, x: 0.5 * (i0e(x) + ive(2.0, x)) - sign(x) * y, "exp(-|x|) * iv(1, x).", edge=(0.0, 800.0),
)
k0: OpDef = _plain("k0", lambda y, x: -k1(x), "kv(0, x).", domain=POSITIVE)
k1: OpDef = _plain("k1", lambda y, x: -0.5 * (k0(x) + kv(2.0, x)), "kv(1, x).", domain=POSITIVE)
k0e: OpDef = _plain("k0e", lambda y, x: y - k1e(x), "exp(x) * kv(0, x).", domain=POSITIVE)
k1e: OpDef = _plain("k1e", lambda y, x: y - 0.5 * (k0e(x) + kve(2.0, x)), "exp(x) * kv(1, x).", domain=POSITIVE)


# ------------------------------------------------------------------------------------- Airy and Struve


def _airy(name: str, place: int, slope: Callable[[Value, Value], Value], doc: str) -> OpDef:
    """One of the four functions that scipy.special.airy gives."""
    return elementwise(
        f"{name}(x)", run=lambda x: scipy_special("airy")(x)[place], emit=f"scipy.special.airy({{x}})[{place}]",
        kernel=f"special_airy_{place}({{x}})", sympy=name, cost=150, edge=(0.0,), doc=doc,
        partials=lambda y, x: [slope(y, x)],
    )


airyai: OpDef = _airy("airyai", 0, lambda y, x: airyaiprime(x), "Airy's function Ai.")
airyaiprime: OpDef = _airy("airyaiprime", 1, lambda y, x: x * airyai(x), "The derivative of Ai: Ai'' = x * Ai.")
airybi: OpDef = _airy("airybi", 2, lambda y, x: airybiprime(x), "Airy's function Bi.")
airybiprime: OpDef = _airy("airybiprime", 3, lambda y, x: x * airybi(x), "The derivative of Bi: Bi'' = x * Bi.")


@call("scipy.special.airy")
def _airy_call(z: Any) -> tuple[Value, Value, Value, Value]:
    """Ai, Ai', Bi, Bi'."""
    z = as_value(z)
    return airyai(z), airyaiprime(z), airybi(z), airybiprime(z)


def _power_term(v: Value, x: Value) -> Value:
    return (0.5 * x) ** v * rgamma(v + 1.5) / math.sqrt(math.pi)


struve: OpDef = _ordered(
    "struve", lambda y, v, x: 0.5 * (struve(v - 1, x) - struve(v + 1, x) + _power_term(v, x)), "Struve's function",
)
modstruve: OpDef = _ordered(
    "modstruve", lambda y, v, x: 0.5 * (modstruve(v - 1, x) + modstruve(v + 1, x) + _power_term(v, x)),
    "Modified Struve function",
)


def _spherical(base: OpDef, n: Any, z: Any, derivative: Any) -> Value:
    n, z = as_value(n), as_value(z)
    if derivative:
        raise UnsupportedError("spherical Bessel functions with derivative=True", hint="differentiate the function.")
    return sqrt(0.5 * math.pi / z) * base(n + 0.5, z)


@call("scipy.special.spherical_jn")
def _spherical_jn(n: Any, z: Any, derivative: Any = False) -> Value:
    """Spherical Bessel function of the first kind, for z > 0."""
    return _spherical(jv, n, z, derivative)


@call("scipy.special.spherical_yn")
def _spherical_yn(n: Any, z: Any, derivative: Any = False) -> Value:
    """Spherical Bessel function of the second kind, for z > 0."""
    return _spherical(yv, n, z, derivative)
