"""A function -> SymPy expressions of its results: the IR is run on symbols.

    %t = sin(%x)                     x*sin(x)
    return mul(%t, %x)         =>

Integers are known, so loops and branches that only they decide are run; a branch that data decides becomes a
`Piecewise`. Arrays are arrays of expressions. This module imports SymPy, and is itself imported when it is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import sympy

from gradc.errors import UnsupportedError
from gradc.ir.nodes import Block, Func, Node, Value, walk_nodes
from gradc.ir.opdef import TABLE
from gradc.ir.types import Array, is_inexact, is_integer

_EXACT = 64  # floats that are fractions with at most this denominator are written as such


def expressions(func: Func, arguments: Sequence[Any]) -> list[Any]:
    """The results for arguments that are numbers, expressions, or arrays of expressions.

    Raises: UnsupportedError where data decides how often a loop runs, or an op has no counterpart in SymPy.
    """
    env: dict[Value, Any] = dict(zip(func.params, arguments, strict=True))
    return [env_value(r, v) for r, v in zip(func.results, _run(func.body, env), strict=True)]


def env_value(value: Value, found: Any) -> Any:
    """A result as SymPy's: a number, a Matrix for one or two axes, else an array."""
    if isinstance(value.ty, Array):
        if found.ndim == 0:
            return sympy.sympify(found[()])
        if found.ndim <= 2:
            return sympy.ImmutableMatrix(found.tolist())
        return sympy.ImmutableDenseNDimArray(found.tolist())
    return exact(found) if is_inexact(value.ty) else sympy.sympify(found)


def exact(number: Any) -> Any:
    """A Python float as SymPy's number: 0.5 as 1/2, pi as pi."""
    if isinstance(number, complex | np.complexfloating):
        return exact(number.real) + sympy.I * exact(number.imag)
    if not isinstance(number, float | np.floating):
        return sympy.sympify(number)
    x = float(number)
    for constant in (sympy.pi, sympy.E):
        if x == float(constant):
            return constant
    if math.isnan(x) or math.isinf(x):
        return sympy.nan if math.isnan(x) else sympy.oo if x > 0 else -sympy.oo
    numerator, denominator = x.as_integer_ratio()
    return sympy.Rational(numerator, denominator) if denominator <= _EXACT else sympy.Float(x)


def _refuse(node: Node, what: str, why: str = "", hint: str = "") -> NoReturn:
    raise UnsupportedError(what, node.loc, why or "to_sympy writes straight-line functions as expressions.", hint)


def _run(block: Block, env: dict[Value, Any]) -> list[Any]:
    for node in block.nodes:
        _RUN.get(node.op.kind, _compute)(node, env)
    return [env[v] for v in block.yields]


def _compute(node: Node, env: dict[Value, Any]) -> None:
    operands = [env[v] for v in node.operands]
    op = node.op
    if op.kind == "elementwise":
        env[node.result] = _elementwise(node, operands)
        return
    special = _SPECIAL.get(op.name)
    run = special or op.run
    if run is None:
        _refuse(node, f"`{op.name}` has no counterpart in SymPy")
    try:
        made = run(*operands, **node.attrs)
    except UnsupportedError:
        raise
    except Exception as error:
        raise UnsupportedError(
            f"`{op.name}` has no counterpart in SymPy", node.loc, f"on expressions it fails: {error}"
        ) from None
    if not node.results:
        return
    if len(node.results) > 1:
        env.update(zip(node.results, made, strict=True))
    elif isinstance(node.result.ty, Array):
        env[node.result] = made if isinstance(made, np.ndarray) else np.array(made, object)
    else:
        env[node.result] = made.item() if isinstance(made, np.generic) else made


def _elementwise(node: Node, operands: list[Any]) -> Any:
    name = node.op.name
    if name == "const":
        value = node.attrs["value"]
        value = value.item() if isinstance(value, np.generic) else value
        return exact(value) if isinstance(value, float | complex) else value
    if name == "undef":
        return sympy.nan
    if name == "cast":
        rounds = is_integer(node.result.ty) and is_inexact(node.operands[0].ty)
        one: Callable[..., Any] = _truncated if rounds else _same
    elif name == "polygamma":
        one = lambda x: sympy.polygamma(node.attrs["n"], x)  # noqa: E731
    elif name == "lambertw":
        one = lambda x: sympy.LambertW(x, node.attrs["k"])  # noqa: E731
    elif name == "hurwitz_zeta" and not node.attrs["m"]:
        one = sympy.zeta
    elif all(isinstance(x, int) for x in operands) and not is_inexact(node.result.ty) and node.op.run is not None:
        found = node.op.run(*operands, **node.attrs)
        return found.item() if isinstance(found, np.generic) else found
    else:
        found_rule = _FUNCTIONS.get(name)
        if found_rule is None:
            _refuse(node, f"`{name}` has no counterpart in SymPy")
        one = found_rule
    if any(isinstance(x, np.ndarray) for x in operands):
        made = np.frompyfunc(lambda *xs: one(*map(sympy.sympify, xs)), len(operands), 1)(*operands)
        return made if isinstance(made, np.ndarray) else np.array(made, object)
    return one(*map(sympy.sympify, operands))


def _control(node: Node, env: dict[Value, Any]) -> None:
    if node.op.name == "if":
        _branch(node, env)
    elif node.op.name == "for":
        _for(node, env)
    else:
        _refuse(
            node, "a `while` loop is no expression", "data decides how often it runs.",
            "write a `for` loop over a known range.",
        )


def _branch(node: Node, env: dict[Value, Any]) -> None:
    cond = env[node.operands[0]]
    known = cond if isinstance(cond, bool) else {sympy.true: True, sympy.false: False}.get(cond)
    if known is not None:
        made = _run(node.blocks[0 if known else 1], env)
    else:
        if any(n.op.kind in ("write", "stack") for block in node.blocks for n in walk_nodes(block)):
            _refuse(node, "a branch that data decides writes into an array")
        sides = [_run(block, env) for block in node.blocks]
        made = [_where(cond, exact(a), exact(b)) for a, b in zip(*sides, strict=True)]
    env.update(zip(node.results, made, strict=True))


def _for(node: Node, env: dict[Value, Any]) -> None:
    if node.attrs.get("exits"):
        _refuse(node, "a loop that `break` leaves is no expression")
    bounds = [env[v] for v in node.operands[:3]]
    if not all(isinstance(b, int) for b in bounds):
        _refuse(node, "a loop whose length data decides is no expression")
    steps = range(*bounds)
    carried = [env[v] for v in node.operands[3:]]
    (body,) = node.blocks
    for k in reversed(steps) if node.attrs.get("reversed") else steps:
        env.update(zip(body.params, [k, *carried], strict=True))
        carried = _run(body, env)
    env.update(zip(node.results, carried, strict=True))


def _check(node: Node, env: dict[Value, Any]) -> None:
    """Conditions on data cannot be decided; those on sizes have been, where the function was called."""


_RUN: Mapping[str, Callable[[Node, dict[Value, Any]], None]] = {"control": _control, "check": _check}


# ------------------------------------------------------------------------------------------------ ops


def _same(x: Any) -> Any:
    return x


def _truncated(x: Any) -> Any:
    return sympy.sign(x) * sympy.floor(sympy.Abs(x))


def _where(cond: Any, a: Any, b: Any) -> Any:
    return sympy.Piecewise((a, cond), (b, True))


def _shape(shape: Sequence[Any], operands: Sequence[Any]) -> list[int]:
    return [s if isinstance(s, int) else int(operands[s.k]) for s in shape]


def _zeros(*operands: Any, shape: Any, type: Any) -> Any:
    return np.full(_shape(shape, operands), sympy.Integer(0), object)


def _broadcast(x: Any, *operands: Any, shape: Any, type: Any) -> Any:
    return np.array(np.broadcast_to(np.asarray(x, object), _shape(shape, operands)), object)


def _array_of(*xs: Any, shape: Any, type: Any) -> Any:
    made = np.empty(len(xs), object)
    made[:] = xs
    return made.reshape(shape)


def _folded(pick: Callable[..., Any]) -> Callable[..., Any]:
    def fold(x: Any, axes: tuple[int, ...], keepdims: bool = False, **_: Any) -> Any:
        moved = np.moveaxis(x, axes, range(len(axes)))
        flat = moved.reshape(-1, *moved.shape[len(axes) :])
        made = np.frompyfunc(lambda *xs: pick(*map(sympy.sympify, xs)), len(flat), 1)(*flat)
        return np.expand_dims(np.asarray(made, object), axes) if keepdims else made

    return fold


_SPECIAL: dict[str, Callable[..., Any]] = {
    "zeros": _zeros,
    "empty": _zeros,
    "copy": lambda x: np.array(x, object),
    "broadcast_to": _broadcast,
    "array_of": _array_of,
    "max": _folded(sympy.Max),
    "min": _folded(sympy.Min),
    "sum": _folded(lambda *xs: sympy.Add(*xs)),
    "prod": _folded(lambda *xs: sympy.Mul(*xs)),
    "mean": _folded(lambda *xs: sympy.Add(*xs) / len(xs)),
    "det": lambda a: sympy.Matrix(a.tolist()).det(),
    "positions": lambda n, **_: np.array([sympy.Integer(k) for k in range(n)], object),
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    op.name: getattr(sympy, op.sympy) for op in TABLE.values() if op.sympy is not None and hasattr(sympy, op.sympy)
} | {
    "real": sympy.re,
    "imag": sympy.im,
    "conj": sympy.conjugate,
    "complex_of": lambda x, y: x + sympy.I * y,
    "pow": lambda x, y: x**y,
    "sub": lambda x, y: x - y,
    "div": lambda x, y: x / y,
    "neg": lambda x: -x,
    "square": lambda x: x**2,
    "reciprocal": lambda x: 1 / x,
    "root": sympy.sqrt,
    "exp2": lambda x: 2**x,
    "expm1": lambda x: sympy.exp(x) - 1,
    "log1p": lambda x: sympy.log(1 + x),
    "log2": lambda x: sympy.log(x) / sympy.log(2),
    "log10": lambda x: sympy.log(x) / sympy.log(10),
    "sigmoid": lambda x: 1 / (1 + sympy.exp(-x)),
    "log_sigmoid": lambda x: -sympy.log(1 + sympy.exp(-x)),
    "softplus": lambda x: sympy.log(1 + sympy.exp(x)),
    "logaddexp": lambda x, y: sympy.log(sympy.exp(x) + sympy.exp(y)),
    "hypot": lambda x, y: sympy.sqrt(x**2 + y**2),
    "floordiv": lambda x, y: sympy.floor(x / y),
    "mod": sympy.Mod,
    "trunc": _truncated,
    "clip": lambda x, low, high: sympy.Min(sympy.Max(x, low), high),
    "where": lambda cond, a, b: _where(cond, a, b),
    "strong_mul": lambda ct, partial: ct * partial,
    "stop_gradient": _same,
    "let": _same,
    "xlogy": lambda x, y: x * sympy.log(y),
    "xlog1py": lambda x, y: x * sympy.log(1 + y),
    "ndtr": lambda x: sympy.erfc(-x / sympy.sqrt(2)) / 2,
    "logit": lambda x: sympy.log(x / (1 - x)),
    "erfcx": lambda x: sympy.exp(x**2) * sympy.erfc(x),
    "dawsn": lambda x: sympy.sqrt(sympy.pi) / 2 * sympy.exp(-(x**2)) * sympy.erfi(x),
    "ndtri": lambda p: sympy.sqrt(2) * sympy.erfinv(2 * p - 1),
    "log_ndtr": lambda x: sympy.log(sympy.erfc(-x / sympy.sqrt(2)) / 2),
    "rgamma": lambda x: 1 / sympy.gamma(x),
    "betaln": lambda a, b: sympy.log(sympy.Abs(sympy.beta(a, b))),
    "binom": sympy.binomial,
    "poch": lambda z, m: sympy.gamma(z + m) / sympy.gamma(z),
    **{
        name: lambda x, bessel=bessel, v=v: bessel(v, x)
        for v in (0, 1)
        for name, bessel in (
            (f"j{v}", sympy.besselj), (f"y{v}", sympy.bessely), (f"i{v}", sympy.besseli), (f"k{v}", sympy.besselk),
        )
    },
    "exp1": lambda x: sympy.expint(1, x),
    "expn": sympy.expint,
    "spence": lambda x: sympy.polylog(2, 1 - x),
    "gammainc": lambda a, x: sympy.lowergamma(a, x) / sympy.gamma(a),
    "gammaincc": lambda a, x: sympy.uppergamma(a, x) / sympy.gamma(a),
    "betainc": lambda a, b, x: sympy.betainc_regularized(a, b, 0, x),
    "hyp2f1": lambda a, b, c, x: sympy.hyper((a, b), (c,), x),
    "hyp1f1": lambda a, b, x: sympy.hyper((a,), (b,), x),
    "hyp0f1": lambda v, x: sympy.hyper((), (v,), x),
    "ellipk": sympy.elliptic_k,
    "ellipkm1": lambda p: sympy.elliptic_k(1 - p),
    "ellipe": sympy.elliptic_e,
    "ellipkinc": sympy.elliptic_f,
    "ellipeinc": sympy.elliptic_e,
    "arctan2": sympy.atan2,
    "heaviside": sympy.Heaviside,
}  # fmt: skip
