"""Distributions of scipy.stats: values are SciPy's, derivatives those of differences of SciPy's, or exact ones."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import scipy.stats
from scipy import stats
from scipy.stats import dirichlet, multivariate_normal, norm, poisson

import gradc
from gradc.ops.distributions import DISTRIBUTIONS

SHAPES: dict[str, tuple[float, ...]] = {
    "t": (3.2,), "gamma": (2.3,), "beta": (2.2, 1.4), "chi2": (3.3,), "lognorm": (0.7,), "pareto": (2.1,),
    "weibull_min": (1.7,), "invgamma": (2.4,), "poisson": (3.1,), "binom": (9, 0.3), "bernoulli": (0.3,),
    "geom": (0.3,), "nbinom": (3.5, 0.4),
}  # fmt: skip
EVERYWHERE = np.array([-np.inf, -3.0, -0.5, 0.0, 0.2, 0.5, 1.0, 1.7, 3.0, 5.0, 40.0, np.inf, np.nan])
COUNTS = np.array([-1.0, 0.0, 1.0, 2.0, 2.5, 3.0, 9.0, 10.0, np.nan, 30.0])
SHARES = np.array([-0.1, 0.0, 0.01, 0.3, 0.5, 0.9, 1.0, 1.2, np.nan])
# SciPy's logsf of halfnorm and logcdf of Laplace's are the logarithm of what underflows far out; gradc's are not.
DETAILED = {"halfnorm_logsf", "laplace_logcdf"}
IDS = pytest.mark.parametrize("d", DISTRIBUTIONS, ids=lambda d: d.name)


def together(d: Any, inverse: bool) -> Any:
    """All functions of a distribution at once, in one kernel."""
    dist = getattr(stats, d.name)
    methods = [getattr(dist, n) for n in d.names if (n in ("ppf", "isf")) == inverse]
    if d.discrete:
        return lambda x, shapes, loc, scale: [m(x, *shapes, loc) for m in methods]
    return lambda x, shapes, loc, scale: [m(x, *shapes, loc=loc, scale=scale) for m in methods]


@IDS
def test_values_are_scipys(d: Any) -> None:
    shapes = SHAPES.get(d.name, ())
    for inverse in (False, True):
        names = [n for n in d.names if (n in ("ppf", "isf")) == inverse]
        if not names:
            continue
        x = SHARES if inverse else COUNTS if d.discrete else EVERYWHERE
        f = together(d, inverse)
        compiled = gradc.jit(f)
        for loc, scale in ((0, 1), (2.0, 1.5), (2.0, -1.0)) if not d.discrete else ((0, 1), (1, 1)):
            with np.errstate(all="ignore"):
                wanted = f(x, shapes, loc, scale)
            for name, have, want in zip(names, compiled(x, shapes, loc, scale), wanted, strict=True):
                assert have.dtype == np.float64
                if f"{d.name}_{name}" in DETAILED:
                    have = np.where(np.isinf(want), want, have)
                np.testing.assert_allclose(have, want, rtol=4e-14, atol=1e-15, err_msg=f"{name} {loc} {scale}")


def by_differences(f: Any, v: float) -> np.ndarray:
    h = 1e-3 * max(abs(v), 0.1)
    return (8 * (f(v + h) - f(v - h)) - (f(v + 2 * h) - f(v - 2 * h))) / (12 * h)


@IDS
def test_slopes_are_those_of_scipys_functions(d: Any) -> None:
    shapes = SHAPES.get(d.name, ())
    whole = {"binom": 1}.get(d.name, 0)  # counts among the parameters
    for inverse in (False, True):
        if inverse and "ppf" not in d.names:
            continue
        f = together(d, inverse)
        x = np.array([0.07, 0.4, 0.8]) if inverse else np.array([1.0, 2.0, 4.0]) if d.discrete else np.array(
            [1.3, 1.6, 2.9] if d.name == "pareto" else [0.2, 0.5, 0.8] if d.name in ("beta", "uniform") else
            [0.3, 1.1, 2.6]
        )
        if d.name == "bernoulli":
            x = np.array([0.0, 1.0])
        loc, scale = (0, 1) if d.discrete else (0.01, 1.02)
        kept, moving = shapes[:whole], shapes[whole:]
        start = [*moving] if d.discrete else [*moving, loc, scale]

        def at(p: Any, x: Any, f: Any = f, kept: Any = kept, count: int = len(moving), d: Any = d) -> Any:
            rest = (0, 1) if d.discrete else (p[count], p[count + 1])
            return np.array(f(x, [*kept, *[p[k] for k in range(count)]], *rest))

        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = np.stack(
                [by_differences(lambda v, k=k: at([*start[:k], v, *start[k + 1 :]], x), start[k])
                 for k in range(len(start))], axis=-1,
            )
        found = gradc.jacobian(at)(np.array(start, dtype=float), x)
        finite = np.isfinite(wanted)
        np.testing.assert_allclose(found[finite], wanted[finite], rtol=2e-8, atol=1e-9)
        assert np.all(np.isfinite(found[finite]))
        if not d.discrete:
            forward = gradc.jacfwd(at, argnums=1)(np.array(start, dtype=float), x)
            wanted = np.stack([by_differences(lambda v, k=k: at(start, np.where(np.arange(3) == k, v, x)), x[k])
                               for k in range(3)], axis=-1)
            np.testing.assert_allclose(forward, wanted, rtol=2e-8, atol=1e-9)


@pytest.mark.slow
@IDS
def test_second_derivatives(d: Any) -> None:
    shapes = SHAPES.get(d.name, ())
    whole = {"binom": 1}.get(d.name, 0)
    f = together(d, False)
    x = np.array([1.0, 2.0, 4.0]) if d.discrete else np.array([0.3, 0.6]) + (1.0 if d.name == "pareto" else 0.0)
    x = np.array([0.0]) if d.name == "bernoulli" else x
    if not shapes[whole:] and d.discrete:
        return

    def total(p: Any) -> Any:
        rest = (0, 1) if d.discrete else (p[-2], p[-1])
        made = f(x, [*shapes[:whole], *[p[k] for k in range(len(shapes) - whole)]], *rest)
        return sum(np.sum(v) for v in made)

    start = np.array([*shapes[whole:], *(() if d.discrete else (0.02, 1.1))])
    found = gradc.hessian(total)(start)
    slope = gradc.grad(total)
    wanted = np.stack([by_differences(lambda v, k=k: slope(np.where(np.arange(start.size) == k, v, start)), start[k])
                       for k in range(start.size)])
    np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-8)


def test_outside_the_support_nothing_changes() -> None:
    def f(x, a, s):
        return np.array([
            stats.gamma.pdf(x, a, scale=s), stats.gamma.cdf(x, a, scale=s), stats.lognorm.sf(x, a),
            stats.beta.pdf(x, a, 2.0), stats.uniform.pdf(x, 0.0, s), stats.expon.cdf(x, scale=s),
            stats.pareto.sf(x, a), stats.weibull_min.pdf(x, a),
        ])  # fmt: skip

    value, slopes = gradc.jit(f)(-1.0, 0.5, 2.0), gradc.jacobian(f, argnums=(0, 1, 2))(-1.0, 0.5, 2.0)
    np.testing.assert_array_equal(value, [0, 0, 1, 0, 0, 0, 1, 0])
    for slope in slopes:
        np.testing.assert_array_equal(slope, np.zeros(8))
    logarithm = gradc.value_and_grad(lambda x: stats.gamma.logpdf(x, 2.0))
    assert logarithm(-1.0) == (-np.inf, 0.0)
    assert math.isnan(gradc.jit(lambda x, s: norm.logpdf(x, scale=s))(0.0, -1.0))


def test_calls_are_written_in_many_ways() -> None:
    x = np.linspace(-1.0, 2.0, 6).reshape(2, 3)
    mu = np.array([0.1, 0.5, -0.3])
    wanted = -(x - mu) / 1.7**2

    def keywords(x, mu, s):
        return np.sum(scipy.stats.norm.logpdf(x, loc=mu, scale=s))

    def positional(x, mu, s):
        return np.sum(norm.logpdf(x, mu, s))

    def frozen(x, mu, s):
        return np.sum(norm(mu, scale=s).logpdf(x))

    def kept(x, mu, s):
        total = 0.0
        for k in range(x.shape[0]):
            model = norm(loc=mu, scale=s)
            total += np.sum(model.logpdf(x[k]))
        return total

    def chosen(x, mu, s):
        model = norm(mu, s) if s > 0 else norm(mu, -s)
        return np.sum(model.logpdf(x))

    for f in (keywords, positional, frozen, kept, chosen):
        value, slope = gradc.value_and_grad(f)(x, mu, 1.7)
        np.testing.assert_allclose(slope, wanted, rtol=1e-14)
        assert math.isclose(value, keywords(x, mu, 1.7), rel_tol=1e-14)


OUTSIDE = stats.gamma(2.5, scale=0.5)


def test_distributions_fixed_outside_are_read_at_each_call() -> None:
    global OUTSIDE

    def f(x):
        return OUTSIDE.logpdf(x)

    slope = gradc.grad(f)
    assert math.isclose(slope(0.7), 1.5 / 0.7 - 2.0, rel_tol=1e-14)
    OUTSIDE = stats.gamma(3.5, scale=0.25)
    assert math.isclose(slope(0.7), 2.5 / 0.7 - 4.0, rel_tol=1e-14)
    OUTSIDE = stats.expon(scale=0.5)
    assert slope(0.7) == -2.0


def test_counts_are_not_differentiated() -> None:
    counts = np.array([0, 2, 5])
    slope = gradc.grad(lambda rate: np.sum(poisson.logpmf(counts, rate)))
    assert math.isclose(slope(2.0), 7 / 2.0 - 3, rel_tol=1e-14)
    with pytest.raises(gradc.NonDifferentiableError, match="no derivative in `k`"):
        gradc.grad(lambda k: poisson.logpmf(k, 2.0))(3.0)
    with pytest.raises(gradc.NonDifferentiableError, match="no derivative in `k`"):
        gradc.grad(lambda n: stats.binom.logpmf(2, n, 0.5))(3.0)


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(gradc.UnsupportedError, match="rvs"):
        gradc.jit(lambda x: norm.rvs(x))(1.0)
    with pytest.raises(gradc.UnsupportedError):
        gradc.jit(lambda x: stats.levy.pdf(x))(1.0)
    with pytest.raises(gradc.UnsupportedError):
        gradc.jit(lambda x: norm(x).rvs())(1.0)


def test_single_precision_is_computed_in_double_as_scipy_does() -> None:
    x = np.array([0.3, 1.5], np.float32)

    def f(x):
        return np.sum(norm.logcdf(x) + stats.t.cdf(x, 3.0))

    value, slope = gradc.value_and_grad(f)(x)
    assert slope.dtype == np.float32
    assert math.isclose(value, f(x), rel_tol=1e-14)


def test_tails() -> None:
    slope = gradc.grad(lambda x: norm.logcdf(x) + norm.logsf(-x))
    assert math.isclose(slope(-40.0), 2 * 40.0249688, rel_tol=1e-8)
    value, slope_in_df = gradc.value_and_grad(lambda df, x: stats.t.cdf(x, df))(3.0, 0.0)
    assert value == 0.5
    assert slope_in_df < 1e-14
    mixed = gradc.grad(lambda x: gradc.grad(lambda df: stats.t.cdf(x, df))(3.0))
    density = gradc.grad(lambda df, x: stats.t.pdf(x, df))
    for x in (0.0, 1e-6, -0.3, 5.0, -200.0):
        assert math.isclose(mixed(x), density(3.0, x), rel_tol=1e-9), x


# ------------------------------------------------------------------------------------------------ vectors

ROOT = np.random.default_rng(1).normal(size=(3, 3))
COVARIANCE = ROOT @ ROOT.T + np.eye(3)
MEAN = np.array([0.3, -0.2, 1.0])
POINTS = np.random.default_rng(2).normal(size=(5, 3))


def agrees(f: Any, *args: Any, order: int = 1) -> None:
    """Value, shape and dtype as in Python; derivatives as differences."""
    wanted, found = f(*args), gradc.jit(f)(*args)
    single = np.asarray(wanted).dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=3e-7 if single else 1e-13, atol=1e-15)
    assert np.shape(found) == np.shape(wanted)
    assert np.asarray(found).dtype == np.asarray(wanted).dtype
    if order:
        gradc.check_grads(lambda *a: np.sum(f(*a)), args, order=order)


def test_normal_vectors() -> None:
    agrees(multivariate_normal.logpdf, POINTS, MEAN, COVARIANCE, order=2)
    agrees(multivariate_normal.logpdf, POINTS[0], MEAN, COVARIANCE)
    agrees(lambda x, m, s: multivariate_normal.pdf(x, mean=m, cov=s), POINTS[:1], MEAN, np.array([0.5, 1.0, 2.0]))
    agrees(lambda x, m, s: multivariate_normal(m, s).logpdf(x), POINTS[:4].reshape(2, 2, 3), MEAN, 1.7)
    agrees(lambda x, s: multivariate_normal.logpdf(x, cov=s), POINTS[:4].reshape(2, 2, 3), COVARIANCE)
    agrees(multivariate_normal.logpdf, 0.3, 0.1, 2.0)
    agrees(lambda x: multivariate_normal.logpdf(x, 0.1), MEAN)
    agrees(lambda s: multivariate_normal.entropy(cov=s), COVARIANCE, order=2)
    agrees(lambda m, s: multivariate_normal(m, s).entropy(), MEAN, 0.4)
    with pytest.raises(gradc.UnsupportedError, match="allow_singular"):
        gradc.jit(lambda x: multivariate_normal.logpdf(x, allow_singular=True))(0.1)
    with pytest.raises(gradc.ShapeError):
        gradc.jit(lambda x, m: multivariate_normal.logpdf(x, m))(POINTS, MEAN[:2])


def test_dirichlets_distribution() -> None:
    x = np.array([[0.2, 0.3], [0.5, 0.1], [0.3, 0.6]])
    alpha = np.array([2.0, 3.0, 4.0])
    agrees(lambda a: dirichlet.logpdf(x, a), alpha, order=2)
    agrees(lambda a: dirichlet.pdf(x[:, 0], a), alpha)
    agrees(lambda a: dirichlet(a).entropy() + dirichlet.entropy(a), alpha)
    slope = gradc.grad(lambda x: dirichlet.logpdf(x, alpha))(x[:, 0])
    np.testing.assert_allclose(slope, (alpha - 1) / x[:, 0], rtol=1e-14)
    with pytest.raises(ValueError, match="normal simplex"):
        gradc.jit(lambda x: dirichlet.logpdf(x, alpha))(np.array([0.5, 0.5, 0.1]))
    with pytest.raises(ValueError, match="greater than 0"):
        gradc.jit(lambda a: dirichlet.logpdf(x, a))(-alpha)


def test_entropy() -> None:
    rng = np.random.default_rng(3)
    p, q = rng.random((2, 3, 4))
    agrees(lambda p: stats.entropy(p), p, order=2)
    agrees(lambda p, q: stats.entropy(p, q, 2), p, q)
    agrees(lambda p, q: stats.entropy(p, q, axis=1), p, q[:1])
    agrees(lambda p: stats.entropy(p, axis=-1, keepdims=True), p)
    agrees(lambda p: stats.entropy(p), p.astype(np.float32), order=0)
    agrees(lambda p: stats.entropy(p), np.array([1, 2, 0]), order=0)
