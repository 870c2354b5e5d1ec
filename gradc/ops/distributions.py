"""Distributions of scipy.stats: each is a row of a table, from which the functions of loc and scale are made.

A row says what the standard distribution (loc 0, scale 1) has: its logarithmic density or probability, its distribution
function, and others where they have better formulas than the general ones. `_functions` makes SciPy's methods of it:
broadcasting, float64 results, -inf and 0 outside the support (with zero derivatives), NaN for parameters that are not
valid. Counts (`k` of a discrete distribution) have no derivative.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gradc.errors import DTypeError
from gradc.ir.nodes import Value
from gradc.ir.opdef import OpDef, Prepared, call
from gradc.ir.types import is_complex, is_inexact
from gradc.ops.elementary import arctan2, exp, expm1, log, log1p, log_sigmoid, sigmoid, sin, sqrt
from gradc.ops.elementwise import abs as abs_op
from gradc.ops.elementwise import eq, floor, ge, gt, isnan, le, logical_and, lt, sign, where
from gradc.ops.incomplete import (
    betainc,
    betainc_slope_a,
    betainc_slope_b,
    betaincinv,
    gammainc,
    gammaincc,
    gammainccinv,
    gammaincinv,
)
from gradc.ops.rules import POSITIVE, REALS, as_value, constant_of, convert, elementwise
from gradc.ops.special import betaln, gammaln, log_ndtr, ndtr, ndtri, poch, special, xlog1py, xlogy

Function = Callable[..., Any]

_LOG_ROOT_TWO_PI = 0.5 * math.log(2 * math.pi)
_LOG_PI = math.log(math.pi)
_LOG_2 = math.log(2.0)


@dataclass(frozen=True, slots=True, eq=False)
class Distribution:
    """A distribution with location 0 and scale 1; functions are of the variable and the shape parameters.

    log_density: of a density, or of a probability where `discrete`. shapes: parameters with a test of whether one is
    valid. support: its ends, of the parameters; None: all numbers. open: the density is 0 at the ends, where the
    formula is not defined. inside: a point that is always in the support, at which nothing is singular. more: further
    functions by SciPy's names.
    """

    name: str
    log_density: Function
    shapes: tuple[tuple[str, Callable[[Any], Any]], ...] = ()
    support: Callable[..., tuple[Any, Any]] | None = None
    inside: float = 1.0
    discrete: bool = False
    open: bool = False
    more: dict[str, Function] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The methods of SciPy's object that are known."""
        mass = "pmf" if self.discrete else "pdf"
        found = [mass, f"log{mass}"]
        if "cdf" in self.more:
            found += ["cdf", "sf", "logcdf", "logsf"]
        return found + [n for n in ("ppf", "isf") if n in self.more]

    def standard(self, name: str) -> Function:
        """A function of the standard distribution, by its own formula or from others."""
        if name in self.more:
            return self.more[name]
        match name:
            case "logpdf" | "logpmf":
                return self.log_density
            case "pdf" | "pmf":
                return lambda *args: exp(self.log_density(*args))
            case "sf":
                return lambda *args: 1.0 - self.more["cdf"](*args)
            case _:
                return lambda *args: self._logarithm(name, args)

    def _logarithm(self, name: str, args: tuple[Any, ...]) -> Value:
        """log of the distribution function or of its complement: by the other one where that is the smaller."""
        own, other = ("cdf", "sf") if name == "logcdf" else ("sf", "cdf")
        value, rest = self.standard(own)(*args), self.standard(other)(*args)
        large = gt(value, 0.5)
        return where(large, log1p(-where(large, rest, 0.0)), log(where(large, 1.0, value)))


# -------------------------------------------------------------------------------- from a row to SciPy's methods


def double(x: Any) -> Value:
    """A parameter in double precision, in which SciPy computes."""
    value = as_value(x)
    if is_complex(value.ty):
        raise DTypeError("distributions are of real numbers")
    return convert(value, "float64")


def _all(conditions: Sequence[Any]) -> Any:
    """The conjunction of truth values; None where all are known to hold."""
    left = None
    for condition in conditions:
        if condition is True:
            continue
        left = condition if left is None else logical_and(left, condition)
    return left


def _test(valid: Callable[[Any], Any], parameter: Value) -> Any:
    """Whether a parameter is valid: True where that is known."""
    known = constant_of(parameter)
    if known is not None and bool(_of_number(valid, float(known))):
        return True
    return valid(parameter)


def _of_number(valid: Callable[[Any], Any], number: float) -> bool:
    return bool(_NUMERIC[valid](number))


def _positive(x: Any) -> Any:
    return gt(x, 0)


def _not_negative(x: Any) -> Any:
    return ge(x, 0)


def _probability(x: Any) -> Any:
    return logical_and(ge(x, 0), le(x, 1))


def _chance(x: Any) -> Any:
    return logical_and(gt(x, 0), le(x, 1))


def _count(x: Any) -> Any:
    return logical_and(ge(x, 0), eq(x, floor(x)))


_NUMERIC: dict[Any, Callable[[float], bool]] = {
    _positive: lambda x: x > 0,
    _not_negative: lambda x: x >= 0,
    _probability: lambda x: 0 <= x <= 1,
    _chance: lambda x: 0 < x <= 1,
    _count: lambda x: x >= 0 and x == math.floor(x),
}

count_op: OpDef = elementwise(
    "count(k)", run=lambda k: k, emit="{k}", kernel="{k}", fixed=("k",), partials=lambda y, k: [None],
    doc="A number of events: itself, without a derivative.",
)


def _counted(k: Value) -> Value:
    """A count, which refuses to be differentiated."""
    return count_op(k) if is_inexact(k.ty) else k


def _one(d: Distribution, name: str, args: dict[str, Any]) -> Value:
    """A method of SciPy's on its arguments."""
    (first, x), *rest = args.items()
    given = dict(rest)
    loc, scale = given.pop("loc"), given.pop("scale", 1)
    variable = as_value(x)
    if d.discrete:
        variable = _counted(variable)
        given |= {n: _counted(as_value(given[n])) for n, valid in d.shapes if valid is _count}
    variable = double(variable)
    shapes = [double(v) for v in given.values()]
    width = double(scale)
    valid = _all([_test(test, v) for (_, test), v in zip(d.shapes, shapes, strict=True)] + [_test(_positive, width)])
    if first == "q":
        result = _of_probability(d, name, variable, shapes)
        if constant_of(width) != 1:
            result = result * width
        if constant_of(as_value(loc)) != 0:
            result = result + double(loc)
    else:
        z = variable
        if constant_of(as_value(loc)) != 0:
            z = z - double(loc)
        if constant_of(width) != 1:
            z = z / width
        result = _of_variable(d, name, z, shapes, width)
    return result if valid is None else where(valid, result, math.nan)


def _of_variable(d: Distribution, name: str, z: Value, shapes: list[Value], width: Value) -> Value:
    """A function of the variable: its own value inside the support, constants outside."""
    function = d.standard(name)
    dense = name in ("pdf", "logpdf", "pmf", "logpmf")
    logarithmic = name.startswith("log")
    low, high = d.support(*shapes) if d.support is not None else (None, None)
    at = floor(z) if d.discrete and not dense else z
    conditions = []
    closed = dense and not d.open
    if low is not None:
        conditions.append(ge(at, low) if closed or d.discrete else gt(at, low))
    if high is not None and (high != math.inf or (dense and d.open)):
        conditions.append(le(at, high) if closed else lt(at, high))
    if d.discrete and dense:
        conditions.append(eq(z, floor(z)))
    within = _all(conditions)
    # Where the value is not used, the formula is evaluated at a point where neither it nor its derivative is infinite.
    made = function(at if within is None else where(within, at, d.inside), *shapes)
    if dense and constant_of(width) != 1:
        made = made - log(width) if logarithmic else made / width
    if within is None:
        return made
    none, whole = (-math.inf, 0.0) if logarithmic else (0.0, 1.0)
    outside: Any = none
    if not dense:
        above = high is not None and high != math.inf
        low, high = (whole, none) if "sf" in name else (none, whole), high
        below, over = low
        outside = where(ge(at, high), over, below) if above else below
    return where(within, made, where(isnan(z), math.nan, outside))


def _of_probability(d: Distribution, name: str, q: Value, shapes: list[Value]) -> Value:
    """The inverse of a distribution function: the ends of the support at 0 and 1, NaN outside."""
    low, high = d.support(*shapes) if d.support is not None else (-math.inf, math.inf)
    low = -math.inf if low is None else low
    if name == "isf":
        low, high = high, low
    within = logical_and(gt(q, 0), lt(q, 1))
    made = d.standard(name)(where(within, q, 0.5), *shapes)
    return where(within, made, where(eq(q, 0), low, where(eq(q, 1), high, math.nan)))


def _method(d: Distribution, name: str) -> Function:
    """The function that `scipy.stats.<name of d>.<name>` is compiled to."""
    first = "q" if name in ("ppf", "isf") else "k" if d.discrete else "x"
    parameters = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in (first, *_shape_names(d))]
    parameters += _place(d)
    signature = inspect.Signature(parameters)

    def build(*args: Any, **keywords: Any) -> Value:
        bound = signature.bind(*args, **keywords)
        bound.apply_defaults()
        return _one(d, name, dict(bound.arguments))

    build.__signature__ = signature  # type: ignore[attr-defined]
    build.__name__ = f"{d.name}_{name}"
    return build


def _shape_names(d: Distribution) -> list[str]:
    return [n for n, _ in d.shapes]


def _place(d: Distribution) -> list[inspect.Parameter]:
    """The parameters `loc` and `scale`, which discrete distributions have not."""
    found = [inspect.Parameter("loc", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=0)]
    if not d.discrete:
        found.append(inspect.Parameter("scale", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=1))
    return found


def _frozen(d: Distribution) -> Function:
    """What `scipy.stats.norm(mu, s)` is: the object whose methods are called with these parameters."""
    parameters = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in _shape_names(d)]
    signature = inspect.Signature([*parameters, *_place(d)])

    def build(*args: Any, **keywords: Any) -> Prepared:
        return Prepared(f"scipy.stats:{d.name}", dict(signature.bind(*args, **keywords).arguments))

    build.__signature__ = signature  # type: ignore[attr-defined]
    build.__name__ = f"{d.name}_frozen"
    return build


# --------------------------------------------------------------------------------------------- Student's t


def _t_log_density(x: Value, df: Value) -> Value:
    return log(poch(0.5 * df, 0.5)) - 0.5 * (log(df) + _LOG_PI) - 0.5 * (df + 1) * log1p(x * x / df)


def _t_partials(y: Value, df: Value, t: Value) -> list[Value]:
    """With z = t**2 / (df + t**2), stdtr is 1/2 + sign(t) / 2 * betainc(1/2, df/2, z).

    The derivatives of z and of the incomplete beta function in z give t / (2 df) times the density.
    """
    density = exp(_t_log_density(t, df))
    # At 0, |t| is replaced by what is 0 beside it: the terms below have infinite slopes there that cancel.
    t = where(eq(t, 0), t + 1e-15, t)
    square = t * t
    near = lt(square, df)
    whole = df + square
    close = betainc_slope_b(0.5, 0.5 * df, square / whole)
    far = -betainc_slope_a(0.5 * df, 0.5, df / whole)
    return [0.25 * sign(t) * where(near, close, far) - 0.5 * density * t / df, density]


stdtr: OpDef = elementwise(
    "stdtr(df, t)", **special("stdtr", operands="{df}, {t}"), kernel="special_stdtr({df}, {t})", cost=200,
    domain=(POSITIVE, REALS), partials=_t_partials, doc="Distribution function of Student's t distribution.",
)


def _stdtrit_partials(t: Value, df: Value, p: Value) -> list[Value]:
    in_df, density = _t_partials(p, df, t)
    return [-in_df / density, 1 / density]


stdtrit: OpDef = elementwise(
    "stdtrit(df, p)", **special("stdtrit", operands="{df}, {p}"), kernel="special_stdtrit({df}, {p})", cost=400,
    domain=(POSITIVE, (0.1, 0.9)), partials=_stdtrit_partials, doc="The inverse of stdtr in t.",
)

# ---------------------------------------------------------------------------------------------- the table


def _from_zero(*shapes: Any) -> tuple[Any, Any]:
    return 0.0, math.inf


def _from_one(*shapes: Any) -> tuple[Any, Any]:
    return 1.0, math.inf


def _unit(*shapes: Any) -> tuple[Any, Any]:
    return 0.0, 1.0


def _laplace_cdf(x: Value) -> Value:
    small = 0.5 * exp(-abs_op(x))
    return where(gt(x, 0), 1.0 - small, small)


def _laplace_logcdf(x: Value) -> Value:
    right = gt(x, 0)
    return where(right, log1p(-0.5 * exp(-where(right, x, 0.0))), x - _LOG_2)


def _laplace_ppf(q: Value) -> Value:
    high = gt(q, 0.5)
    return where(high, -log(2.0 * (1.0 - q)), log(2.0 * q))


def _cauchy_log_density(x: Value) -> Value:
    # By 1 / x where x * x would overflow.
    size = abs_op(x)
    near = lt(size, 1)
    small = where(near, x, 0.0)
    big = where(near, 1.0, size)
    rest = where(near, log1p(small * small), 2.0 * log(big) + log1p(1.0 / (big * big)))
    return -_LOG_PI - rest


def _cauchy_isf(q: Value) -> Value:
    return sin(math.pi * (0.5 - q)) / sin(math.pi * q)


def _lognorm_log_density(x: Value, s: Value) -> Value:
    at = log(x)
    return -0.5 * (at / s) ** 2 - at - log(s) - _LOG_ROOT_TWO_PI


def _gumbel_log_density(x: Value) -> Value:
    return -x - exp(-x)


def _binomial_log_density(k: Value, n: Value, p: Value) -> Value:
    ways = gammaln(n + 1) - (gammaln(k + 1) + gammaln(n - k + 1))
    return ways + xlogy(k, p) + xlog1py(n - k, -p)


_SHAPE = {name: (name, _positive) for name in ("a", "b", "c", "s", "df")}

DISTRIBUTIONS: tuple[Distribution, ...] = (
    Distribution(
        "norm", lambda x: -0.5 * (x * x) - _LOG_ROOT_TWO_PI,
        more={
            "cdf": ndtr, "logcdf": log_ndtr, "sf": lambda x: ndtr(-x), "logsf": lambda x: log_ndtr(-x), "ppf": ndtri,
            "isf": lambda q: -ndtri(q), "pdf": lambda x: exp(-0.5 * (x * x)) / math.sqrt(2 * math.pi),
        },
    ),
    Distribution(
        "t", _t_log_density, (_SHAPE["df"],),
        more={
            "cdf": lambda x, df: stdtr(df, x), "sf": lambda x, df: stdtr(df, -x),
            "ppf": lambda q, df: stdtrit(df, q), "isf": lambda q, df: -stdtrit(df, q),
        },
    ),
    Distribution(
        "gamma", lambda x, a: xlogy(a - 1, x) - x - gammaln(a), (_SHAPE["a"],), _from_zero,
        more={
            "cdf": lambda x, a: gammainc(a, x), "sf": lambda x, a: gammaincc(a, x),
            "ppf": lambda q, a: gammaincinv(a, q), "isf": lambda q, a: gammainccinv(a, q),
        },
    ),
    Distribution(
        "beta", lambda x, a, b: xlog1py(b - 1, -x) + xlogy(a - 1, x) - betaln(a, b), (_SHAPE["a"], _SHAPE["b"]), _unit,
        inside=0.5,
        more={
            "cdf": lambda x, a, b: betainc(a, b, x), "sf": lambda x, a, b: betainc(b, a, 1.0 - x),
            "ppf": lambda q, a, b: betaincinv(a, b, q), "isf": lambda q, a, b: 1.0 - betaincinv(b, a, q),
        },
    ),
    Distribution(
        "chi2", lambda x, df: xlogy(0.5 * df - 1, x) - 0.5 * x - gammaln(0.5 * df) - 0.5 * _LOG_2 * df,
        (_SHAPE["df"],), _from_zero,
        more={
            "cdf": lambda x, df: gammainc(0.5 * df, 0.5 * x), "sf": lambda x, df: gammaincc(0.5 * df, 0.5 * x),
            "ppf": lambda q, df: 2.0 * gammaincinv(0.5 * df, q), "isf": lambda q, df: 2.0 * gammainccinv(0.5 * df, q),
        },
    ),
    Distribution(
        "expon", lambda x: -x, support=_from_zero,
        more={
            "cdf": lambda x: -expm1(-x), "sf": lambda x: exp(-x), "logsf": lambda x: -x,
            "ppf": lambda q: -log1p(-q), "isf": lambda q: -log(q),
        },
    ),
    Distribution(
        "laplace", lambda x: -_LOG_2 - abs_op(x),
        more={
            "cdf": _laplace_cdf, "sf": lambda x: _laplace_cdf(-x), "logcdf": _laplace_logcdf,
            "logsf": lambda x: _laplace_logcdf(-x), "ppf": _laplace_ppf, "isf": lambda q: -_laplace_ppf(q),
            "pdf": lambda x: 0.5 * exp(-abs_op(x)),
        },
    ),
    Distribution(
        "cauchy", _cauchy_log_density,
        more={
            "cdf": lambda x: arctan2(1.0, -x) / math.pi, "sf": lambda x: arctan2(1.0, x) / math.pi,
            "ppf": lambda q: -_cauchy_isf(q), "isf": _cauchy_isf, "pdf": lambda x: 1.0 / (math.pi * (1.0 + x * x)),
        },
    ),
    Distribution(
        "logistic", lambda x: log_sigmoid(x) + log_sigmoid(-x),
        more={
            "cdf": sigmoid, "sf": lambda x: sigmoid(-x), "logcdf": log_sigmoid, "logsf": lambda x: log_sigmoid(-x),
            "ppf": lambda q: log(q / (1.0 - q)), "isf": lambda q: -log(q / (1.0 - q)),
        },
    ),
    Distribution(
        "uniform", lambda x: 0.0 * x, support=_unit, inside=0.5,
        more={"cdf": lambda x: x, "ppf": lambda q: q, "isf": lambda q: 1.0 - q},
    ),
    Distribution(
        "lognorm", _lognorm_log_density, (_SHAPE["s"],), _from_zero, open=True,
        more={
            "cdf": lambda x, s: ndtr(log(x) / s), "sf": lambda x, s: ndtr(-log(x) / s),
            "logcdf": lambda x, s: log_ndtr(log(x) / s), "logsf": lambda x, s: log_ndtr(-log(x) / s),
            "ppf": lambda q, s: exp(s * ndtri(q)), "isf": lambda q, s: exp(-s * ndtri(q)),
        },
    ),
    Distribution(
        "pareto", lambda x, b: log(b) - (b + 1) * log(x), (_SHAPE["b"],), _from_one,
        more={
            "cdf": lambda x, b: 1.0 - x ** (-b), "sf": lambda x, b: x ** (-b), "logsf": lambda x, b: -b * log(x),
            "ppf": lambda q, b: (1.0 - q) ** (-1.0 / b), "isf": lambda q, b: q ** (-1.0 / b),
        },
    ),
    Distribution(
        "weibull_min", lambda x, c: log(c) + xlogy(c - 1, x) - x**c, (_SHAPE["c"],), _from_zero,
        more={
            "cdf": lambda x, c: -expm1(-(x**c)), "sf": lambda x, c: exp(-(x**c)), "logsf": lambda x, c: -(x**c),
            "ppf": lambda q, c: (-log1p(-q)) ** (1.0 / c), "isf": lambda q, c: (-log(q)) ** (1.0 / c),
        },
    ),
    Distribution(
        "halfnorm", lambda x: 0.5 * math.log(2 / math.pi) - 0.5 * (x * x), support=_from_zero,
        more={
            "cdf": lambda x: 1.0 - 2.0 * ndtr(-x), "sf": lambda x: 2.0 * ndtr(-x),
            "logsf": lambda x: _LOG_2 + log_ndtr(-x), "ppf": lambda q: ndtri(0.5 * (1.0 + q)),
            "isf": lambda q: -ndtri(0.5 * q),
        },
    ),
    Distribution(
        "rayleigh", lambda x: log(x) - 0.5 * (x * x), support=_from_zero, open=True,
        more={
            "cdf": lambda x: -expm1(-0.5 * (x * x)), "sf": lambda x: exp(-0.5 * (x * x)),
            "logsf": lambda x: -0.5 * (x * x), "ppf": lambda q: sqrt(-2.0 * log1p(-q)),
            "isf": lambda q: sqrt(-2.0 * log(q)),
        },
    ),
    Distribution(
        "gumbel_r", _gumbel_log_density,
        more={
            "cdf": lambda x: exp(-exp(-x)), "sf": lambda x: -expm1(-exp(-x)), "logcdf": lambda x: -exp(-x),
            "ppf": lambda q: -log(-log(q)), "isf": lambda q: -log(-log1p(-q)),
        },
    ),
    Distribution(
        "gumbel_l", lambda x: x - exp(x),
        more={
            "cdf": lambda x: -expm1(-exp(x)), "sf": lambda x: exp(-exp(x)), "logsf": lambda x: -exp(x),
            "ppf": lambda q: log(-log1p(-q)), "isf": lambda q: log(-log(q)),
        },
    ),
    Distribution(
        "invgamma", lambda x, a: -(a + 1) * log(x) - gammaln(a) - 1.0 / x, (_SHAPE["a"],), _from_zero, open=True,
        more={
            "cdf": lambda x, a: gammaincc(a, 1.0 / x), "sf": lambda x, a: gammainc(a, 1.0 / x),
            "ppf": lambda q, a: 1.0 / gammainccinv(a, q), "isf": lambda q, a: 1.0 / gammaincinv(a, q),
        },
    ),
    Distribution(
        "poisson", lambda k, mu: xlogy(k, mu) - gammaln(k + 1) - mu, (("mu", _not_negative),), _from_zero,
        discrete=True,
        more={"cdf": lambda k, mu: gammaincc(k + 1, mu), "sf": lambda k, mu: gammainc(k + 1, mu)},
    ),
    Distribution(
        "binom", _binomial_log_density, (("n", _count), ("p", _probability)), lambda n, p: (0.0, n), inside=0.0,
        discrete=True,
        more={
            "cdf": lambda k, n, p: betainc(n - k, k + 1, 1.0 - p), "sf": lambda k, n, p: betainc(k + 1, n - k, p),
        },
    ),
    Distribution(
        "bernoulli", lambda k, p: xlogy(k, p) + xlog1py(1 - k, -p), (("p", _probability),), _unit, inside=0.0,
        discrete=True, more={"cdf": lambda k, p: 1.0 - p, "sf": lambda k, p: p},
    ),
    Distribution(
        "geom", lambda k, p: xlog1py(k - 1, -p) + log(p), (("p", _chance),), _from_one, discrete=True,
        more={
            "cdf": lambda k, p: -expm1(xlog1py(k, -p)), "sf": lambda k, p: exp(xlog1py(k, -p)),
            "logsf": lambda k, p: xlog1py(k, -p),
        },
    ),
    Distribution(
        "nbinom", lambda k, n, p: gammaln(n + k) - gammaln(k + 1) - gammaln(n) + n * log(p) + xlog1py(k, -p),
        (("n", _positive), ("p", _chance)), _from_zero, discrete=True,
        more={"cdf": lambda k, n, p: betainc(n, k + 1, p), "sf": lambda k, n, p: betainc(k + 1, n, 1.0 - p)},
    ),
)
"""The table."""

for _row in DISTRIBUTIONS:
    call(f"scipy.stats:{_row.name}")(_frozen(_row))
    for _name in _row.names:
        call(f"scipy.stats:{_row.name}.{_name}")(_method(_row, _name))
