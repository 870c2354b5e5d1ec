"""The normal and Dirichlet's distribution of vectors, and entropy: scipy.stats."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradc.errors import ShapeError, UnsupportedError
from gradc.ir.nodes import Value, current_builder
from gradc.ir.opdef import CALLS, Prepared, call
from gradc.ir.region import FULL, NEWAXIS, At
from gradc.ir.types import Array
from gradc.ops.distributions import double
from gradc.ops.elementary import exp, log
from gradc.ops.elementwise import abs as abs_op
from gradc.ops.elementwise import ge, gt, le, where
from gradc.ops.factors import cholesky
from gradc.ops.memory import make_index, make_reshape, shape_values, size_value
from gradc.ops.products import swap_last
from gradc.ops.reduce import sum as sum_over
from gradc.ops.rules import as_value, convert, floating, normal_axis
from gradc.ops.special import digamma, gammaln, xlogy
from gradc.ops.systems import solve_triangular

_LOG_TWO_PI = math.log(2 * math.pi)


def _refuse_options(allow_singular: Any, seed: Any = None) -> None:
    if allow_singular not in (None, False):
        raise UnsupportedError("allow_singular=True", why="the derivative of a pseudo-inverse is not known here.")
    if seed is not None:
        raise UnsupportedError("a seed", hint="draw random numbers outside, and pass them in.")


# ----------------------------------------------------------------------------------- normal distribution


class _Normal:
    """Mean and covariance of a normal distribution as SciPy understands them: numbers, vectors, a matrix.

    mean: a vector, or a number. dim: the length of vectors (an int, or a value of the program). one: whether it is 1.
    """

    def __init__(self, mean: Any, cov: Any) -> None:
        self.mean = None if mean is None else double(mean)
        self.cov = double(1.0 if cov is None else cov)
        if self.cov.rank > 2:
            raise ShapeError(f"a covariance with {self.cov.rank} axes", hint="pass a number, a vector or a matrix.")
        if self.mean is not None and self.mean.rank > 1:
            raise ShapeError(f"a mean with {self.mean.rank} axes", hint="pass a vector.")
        builder = current_builder()
        if self.cov.rank == 2:
            builder.require_equal(self.cov, 0, self.cov, 1)
        given = [v for v in (self.mean, self.cov) if v is not None and v.rank]
        if len(given) == 2:
            builder.require_equal(given[0], 0, given[1], 0)
        self.dim: Any = size_value(given[0], 0) if given else 1
        self.one = not given or any(builder.canonical_size(v.shape[0]) == 1 for v in given)
        self.factor = cholesky(self.cov) if self.cov.rank == 2 else None

    def log_determinant(self) -> Value:
        """That of the covariance."""
        if self.factor is not None:
            diagonal = CALLS[np.diagonal].build(self.factor)
            return 2.0 * sum_over(log(diagonal), axes=(0,), keepdims=False)
        size = log(self.cov)
        return sum_over(size, axes=(0,), keepdims=False) if self.cov.rank else size * convert(self._count(), "float64")

    def _count(self) -> Value:
        return as_value(self.dim)

    def distances(self, x: Value) -> Value:
        """(x - mean) @ inv(covariance) @ (x - mean) of every vector along the last axis of x."""
        off = x if self.mean is None else x - self.mean
        last = off.rank - 1
        if self.factor is None:
            return sum_over(off * off / self.cov, axes=(last,), keepdims=False)
        lead = shape_values(off)[:-1]
        table = make_reshape(off, (-1, self.dim)) if last != 1 else off
        z = solve_triangular(self.factor, swap_last(table), lower=True, unit=False)
        made = sum_over(z * z, axes=(0,), keepdims=False)
        return made if last == 1 else make_reshape(made, lead)


def _vectors(x: Value, model: _Normal) -> Value:
    """The argument as vectors along its last axis."""
    if x.rank == 0:
        return make_reshape(make_index(x, (NEWAXIS,)) if isinstance(x.ty, Array) else _as_array(x), (1, 1))
    if x.rank == 1:
        return make_index(x, (FULL, NEWAXIS) if model.one else (NEWAXIS, FULL))
    current_builder().require_equal(x, x.rank - 1, *_dimension(model)) if not model.one else None
    return x


def _as_array(x: Value) -> Value:
    return as_value([x])


def _dimension(model: _Normal) -> tuple[Value, int]:
    return (model.mean, 0) if model.mean is not None and model.mean.rank else (model.cov, 0)


def _squeezed(x: Value) -> Value:
    """x without axes of size 1; a number where none is left."""
    builder = current_builder()
    kept = tuple(At(0) if builder.canonical_size(n) == 1 else FULL for n in x.shape)
    if not any(isinstance(k, At) for k in kept):
        return x
    if all(isinstance(k, At) for k in kept):
        return builder.emit("load", (x,), region=kept)
    return make_index(x, kept)


@call("scipy.stats:multivariate_normal.logpdf")
def _normal_logpdf(x: Any, mean: Any = None, cov: Any = 1, allow_singular: Any = False) -> Value:
    """The covariance is a number, a vector or a matrix, of which the lower triangle is read; NaN where not positive."""
    _refuse_options(allow_singular)
    model = _Normal(mean, cov)
    vectors = _vectors(double(x), model)
    constant = convert(as_value(model.dim), "float64") * _LOG_TWO_PI
    return _squeezed(-0.5 * (constant + model.log_determinant() + model.distances(vectors)))


@call("scipy.stats:multivariate_normal.pdf")
def _normal_pdf(x: Any, mean: Any = None, cov: Any = 1, allow_singular: Any = False) -> Value:
    return exp(_normal_logpdf(x, mean, cov, allow_singular))


@call("scipy.stats:multivariate_normal.entropy")
def _normal_entropy(mean: Any = None, cov: Any = 1) -> Value:
    model = _Normal(mean, cov)
    return 0.5 * (convert(as_value(model.dim), "float64") * (_LOG_TWO_PI + 1.0) + model.log_determinant())


@call("scipy.stats:multivariate_normal")
def _normal_frozen(mean: Any = None, cov: Any = 1, allow_singular: Any = False, seed: Any = None) -> Prepared:
    _refuse_options(allow_singular, seed)
    return Prepared("scipy.stats:multivariate_normal", {"mean": mean, "cov": cov})


# ------------------------------------------------------------------------------- Dirichlet's distribution


def _check(condition: Value, message: str) -> None:
    """Raise ValueError with a message where a condition does not hold everywhere."""
    builder = current_builder()
    if builder.checks:
        whole = builder.emit("all", (condition,), axes=tuple(range(condition.rank)), keepdims=False)
        builder.emit("check", (whole if condition.rank else condition,), error="ValueError", message=message)


def _concentrations(alpha: Any) -> Value:
    a = double(alpha)
    if a.rank != 1:
        raise ShapeError(f"Dirichlet's parameter `alpha` with {a.rank} axes", hint="pass a vector.")
    _check(gt(a, 0), "All parameters must be greater than 0")
    return a


def _log_beta(a: Value) -> Value:
    return sum_over(gammaln(a), axes=(0,), keepdims=False) - gammaln(sum_over(a, axes=(0,), keepdims=False))


@call("scipy.stats:dirichlet.logpdf")
def _dirichlet_logpdf(x: Any, alpha: Any) -> Value:
    """Vectors stand along the first axis of x, as long as `alpha`."""
    a, shares = _concentrations(alpha), double(x)
    if shares.rank not in (1, 2):
        raise ShapeError(f"points of Dirichlet's distribution with {shares.rank} axes", hint="pass one or two axes.")
    current_builder().require_equal(shares, 0, a, 0)
    _check(ge(shares, 0), "Each entry in 'x' must be greater than or equal to zero.")
    _check(le(shares, 1), "Each entry in 'x' must be smaller or equal one.")
    total = sum_over(shares, axes=(0,), keepdims=False)
    _check(le(abs_op(total - 1.0), 10e-10), "The input vector 'x' must lie within the normal simplex.")
    powers = make_index(a - 1.0, (FULL, NEWAXIS)) if shares.rank == 2 else a - 1.0
    return sum_over(xlogy(powers, shares), axes=(0,), keepdims=False) - _log_beta(a)


@call("scipy.stats:dirichlet.pdf")
def _dirichlet_pdf(x: Any, alpha: Any) -> Value:
    return exp(_dirichlet_logpdf(x, alpha))


@call("scipy.stats:dirichlet.entropy")
def _dirichlet_entropy(alpha: Any) -> Value:
    a = _concentrations(alpha)
    total = sum_over(a, axes=(0,), keepdims=False)
    count = convert(as_value(size_value(a, 0)), "float64")
    rest = sum_over((a - 1.0) * digamma(a), axes=(0,), keepdims=False)
    return _log_beta(a) + (total - count) * digamma(total) - rest


@call("scipy.stats:dirichlet")
def _dirichlet_frozen(alpha: Any, seed: Any = None) -> Prepared:
    _refuse_options(None, seed)
    return Prepared("scipy.stats:dirichlet", {"alpha": alpha})


# ------------------------------------------------------------------------------------------------ entropy


@call("scipy.stats.entropy")
def _entropy_call(
    pk: Any, qk: Any = None, base: Any = None, axis: Any = 0, *, nan_policy: Any = "propagate", keepdims: Any = False
) -> Value:
    """Of weights, which are divided by their sum; relative to `qk` where it is given."""
    if nan_policy != "propagate":
        raise UnsupportedError(f"nan_policy={nan_policy!r}", hint="take the NaN out first.")

    def shares(w: Any) -> Value:
        weights = as_value(w)
        weights = convert(weights, floating([weights], {}).dtype)
        return weights / sum_over(weights, axes=(normal_axis(axis, weights.rank),), keepdims=True)

    p = shares(pk)
    if qk is None:
        terms = where(ge(p, 0), -xlogy(p, p), -math.inf)
    else:
        q = shares(qk)
        zero = le(p, 0)
        terms = where(zero, where(ge(p, 0), 0.0, math.inf), p * log(where(zero, 1.0, p / q)))
    total = sum_over(terms, axes=(normal_axis(axis, terms.rank),), keepdims=bool(keepdims))
    return total if base is None else total / log(as_value(base))
