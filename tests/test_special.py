"""Functions of scipy.special in kernels: values against SciPy, derivatives against mpmath, and what is refused."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from scipy import special as sc

import gradc
from gradc.ops.parameter_slopes import betainc_derivative, gammainc_derivative


def each(x):
    """Every function at an entry of its own."""
    return np.array([
        sc.erfinv(x[0]), sc.erfcinv(x[1]), sc.ndtr(x[2]), sc.log_ndtr(x[3]), sc.ndtri(x[4]),
        sc.gamma(x[5]), sc.rgamma(x[6]), sc.gammaln(x[7]), sc.digamma(x[8]), sc.polygamma(1, x[9]),
        sc.polygamma(2, x[10]), sc.beta(x[11], 2.5), sc.betaln(1.5, x[12]), sc.binom(x[13], 2.2), sc.poch(1.3, x[14]),
        sc.gammainc(2.5, x[15]), sc.gammaincc(2.5, x[16]), sc.gammaincinv(2.5, x[17]), sc.betainc(2.5, 1.5, x[18]),
        sc.betaincinv(2.5, 1.5, x[19]), sc.xlogy(x[20], 2.0), sc.xlog1py(1.5, x[21]), sc.entr(x[22]),
        sc.rel_entr(x[23], 0.4), sc.kl_div(x[24], 0.4), sc.huber(1.0, x[25]), sc.pseudo_huber(1.5, x[26]),
        sc.j0(x[27]), sc.j1(x[28]), sc.jn(3, x[29]), sc.jv(0.5, x[30]), sc.y0(x[31]), sc.y1(x[32]), sc.yn(2, x[33]),
        sc.yv(1.5, x[34]), sc.i0(x[35]), sc.i1(x[36]), sc.i0e(x[37]), sc.i1e(x[38]), sc.iv(1.5, x[39]),
        sc.ive(2, x[40]), sc.k0(x[41]), sc.k1(x[42]), sc.k0e(x[43]), sc.k1e(x[44]), sc.kv(1.5, x[45]), sc.kn(2, x[46]),
        sc.kve(0.3, x[47]), sc.exp1(x[48]), sc.expi(x[49]), sc.expn(3, x[50]), sc.spence(x[51]), sc.zeta(3.0, x[52]),
        sc.zeta(x[53]), sc.zeta(x[54]), sc.ellipk(x[55]), sc.ellipe(x[56]), sc.ellipkm1(x[57]), sc.expit(x[58]),
        sc.logit(x[59]), sc.log_expit(x[60]), sc.erfcx(x[61]), sc.erfi(x[62]), sc.dawsn(x[63]), sc.airy(x[64])[0],
        sc.airy(x[65])[3], sc.sici(x[66])[0], sc.sici(x[67])[1], sc.shichi(x[68])[0], sc.fresnel(x[69])[1],
        sc.hyp2f1(0.5, 1.5, 2.5, x[70]),
        sc.hyp1f1(0.5, 1.5, x[71]), sc.eval_legendre(3, x[72]), sc.eval_chebyt(4, x[73]), sc.eval_hermite(3, x[74]),
        sc.eval_genlaguerre(3, 0.5, x[75]), sc.eval_jacobi(3, 0.5, 1.5, x[76]), sc.struve(1.5, x[77]),
        sc.modstruve(0.5, x[78]), sc.spherical_jn(2, x[79]), sc.ellipkinc(x[80], 0.3), sc.multigammaln(x[81], 2),
        sc.hyperu(0.5, 1.5, x[82]), sc.factorial(x[83]),
    ])  # fmt: skip


LEGENDRE = 3
# For each entry: mpmath's function, and the point.
ORACLE: list[tuple[Any, float]] = [
    (mp.erfinv, 0.3), (lambda x: mp.erfinv(1 - x), 0.4), (mp.ncdf, -0.7), (lambda x: mp.log(mp.ncdf(x)), -30.0),
    (lambda x: mp.sqrt(2) * mp.erfinv(2 * x - 1), 0.2), (mp.gamma, -2.5), (mp.rgamma, -3.0),
    (lambda x: mp.log(abs(mp.gamma(x))), -4.3), (mp.digamma, 0.7), (lambda x: mp.polygamma(1, x), -20.4),
    (lambda x: mp.polygamma(2, x), -2.7), (lambda x: mp.beta(x, 2.5), -0.5), (lambda x: mp.log(mp.beta(1.5, x)), 40.0),
    (lambda x: mp.binomial(x, 2.2), 4.5), (lambda x: mp.rf(1.3, x), 2.2),
    (lambda x: mp.gammainc(2.5, 0, x, regularized=True), 1.7), (lambda x: mp.gammainc(2.5, x, regularized=True), 8.0),
    (lambda y: mp.findroot(lambda x: mp.gammainc(2.5, 0, x, regularized=True) - y, 2.0), 0.4),
    (lambda x: mp.betainc(2.5, 1.5, 0, x, regularized=True), 0.3),
    (lambda y: mp.findroot(lambda x: mp.betainc(2.5, 1.5, 0, x, regularized=True) - y, 0.5), 0.4),
    (lambda x: x * mp.log(2), 0.6), (lambda x: 1.5 * mp.log(1 + x), 0.4), (lambda x: -x * mp.log(x), 0.3),
    (lambda x: x * mp.log(x / 0.4), 0.9), (lambda x: x * mp.log(x / 0.4) - x + 0.4, 0.9),
    (lambda x: abs(x) - 0.5, -1.8), (lambda x: 2.25 * (mp.sqrt(1 + (x / 1.5) ** 2) - 1), 0.8),
    (mp.j0, 1.3), (mp.j1, 0.0), (lambda x: mp.besselj(3, x), 2.4), (lambda x: mp.besselj(0.5, x), 1.1),
    (lambda x: mp.bessely(0, x), 0.9), (lambda x: mp.bessely(1, x), 1.9), (lambda x: mp.bessely(2, x), 2.9),
    (lambda x: mp.bessely(1.5, x), 0.6), (lambda x: mp.besseli(0, x), 1.2), (lambda x: mp.besseli(1, x), 0.0),
    (lambda x: mp.exp(-x) * mp.besseli(0, x), 30.0), (lambda x: mp.exp(x) * mp.besseli(1, x), -0.8),
    (lambda x: mp.besseli(1.5, x), 0.7), (lambda x: mp.exp(-x) * mp.besseli(2, x), 3.0),
    (lambda x: mp.besselk(0, x), 0.7), (lambda x: mp.besselk(1, x), 1.7),
    (lambda x: mp.exp(x) * mp.besselk(0, x), 20.0), (lambda x: mp.exp(x) * mp.besselk(1, x), 2.0),
    (lambda x: mp.besselk(1.5, x), 0.9), (lambda x: mp.besselk(2, x), 1.4),
    (lambda x: mp.exp(x) * mp.besselk(0.3, x), 1.4), (mp.e1, 0.8), (mp.ei, -1.8), (lambda x: mp.expint(3, x), 0.9),
    (lambda x: mp.polylog(2, 1 - x), 1.000001), (lambda x: mp.zeta(3, x), 0.7), (mp.zeta, 2.2), (mp.zeta, -1.3),
    (mp.ellipk, -0.6), (mp.ellipe, 1e-9), (lambda x: mp.ellipk(1 - x), 1e-12), (lambda x: 1 / (1 + mp.exp(-x)), 0.3),
    (lambda x: mp.log(x / (1 - x)), 0.3), (lambda x: -mp.log(1 + mp.exp(-x)), -2.0),
    (lambda x: mp.exp(x * x) * mp.erfc(x), 0.6), (mp.erfi, 0.6),
    (lambda x: mp.sqrt(mp.pi) / 2 * mp.exp(-x * x) * mp.erfi(x), 0.9), (mp.airyai, -1.4),
    (lambda x: mp.airybi(x, derivative=1), 0.7), (mp.si, 0.0), (mp.ci, 1.4), (mp.shi, 1.1), (mp.fresnelc, 0.8),
    (lambda x: mp.hyp2f1(0.5, 1.5, 2.5, x), 0.4),
    (lambda x: mp.hyp1f1(0.5, 1.5, x), -0.9), (lambda x: mp.legendre(3, x), 1.0), (lambda x: mp.chebyt(4, x), 0.3),
    (lambda x: mp.hermite(3, x), 0.4), (lambda x: mp.laguerre(3, 0.5, x), 0.4),
    (lambda x: mp.jacobi(3, 0.5, 1.5, x), 0.2), (lambda x: mp.struveh(1.5, x), 0.8),
    (lambda x: mp.struvel(0.5, x), 0.8),
    (lambda x: mp.sqrt(mp.pi / 2 / x) * mp.besselj(2.5, x), 1.8), (lambda x: mp.ellipf(x, 0.3), 0.7),
    (lambda x: mp.log(mp.sqrt(mp.pi) * mp.gamma(x) * mp.gamma(x - 0.5)), 2.1), (lambda x: mp.hyperu(0.5, 1.5, x), 1.1),
    (lambda x: mp.gamma(x + 1), 2.2),
]  # fmt: skip
POINTS = np.array([point for _, point in ORACLE])


def total(x):
    return np.sum(each(x))


def slopes(x):
    return np.sum(gradc.grad(total)(x))


def by_mpmath(order: int) -> Any:
    with mp.workdps(40):
        return np.array([float(mp.diff(f, mp.mpf(x), order)) for f, x in ORACLE])


def close(found: Any, wanted: Any, tol: float) -> None:
    for k, (a, b) in enumerate(zip(found, wanted, strict=True)):
        assert math.isclose(a, b, rel_tol=tol, abs_tol=tol), (k, a, b)


def test_values_are_scipys() -> None:
    compiled = gradc.jit(each)
    close(compiled(POINTS), each(POINTS), 2e-13)


def test_gradients_are_those_of_mpmath() -> None:
    close(gradc.grad(total)(POINTS), by_mpmath(1), 1e-12)


def test_second_derivatives_are_those_of_mpmath() -> None:
    close(gradc.grad(slopes)(POINTS), by_mpmath(2), 1e-10)


def test_single_precision_stays_single() -> None:
    def f(x):
        return np.sum(sc.jv(1, x) * sc.erfcx(x) + sc.gammainc(np.float32(2.0), x))

    x = np.array([0.3, 0.9], np.float32)
    value, slope = gradc.value_and_grad(f)(x)
    assert slope.dtype == np.float32
    assert math.isclose(value, f(x), rel_tol=1e-6)
    assert np.allclose(slope, gradc.grad(f)(x.astype(float)), rtol=1e-5)


def test_orders_may_be_arrays_and_loop_indices() -> None:
    def f(x, n):
        s = np.sum(sc.jv(np.arange(3), x))
        for k in range(n):
            s += sc.expn(k, x) * sc.eval_legendre(k, x)
        return s

    with mp.workdps(30):

        def exact(x):
            first = sum(mp.besselj(k, x) for k in range(3))
            return first + sum(mp.expint(k, x) * mp.legendre(k, x) for k in range(4))

        wanted = mp.diff(exact, 0.6)
    assert math.isclose(gradc.grad(f)(0.6, 4), float(wanted), rel_tol=1e-13)


@pytest.mark.parametrize("mode", ["fwd", "rev"])
def test_orders_that_are_differentiated_are_refused(mode: str) -> None:
    def f(v, x):
        return sc.jv(v * x, x)

    with pytest.raises(gradc.NonDifferentiableError, match="no derivative in `v`") as caught:
        gradc.jacobian(f, argnums=1, mode=mode)(1.0, 2.0)
    assert "sc.jv(v * x, x)" in str(caught.value)

    def stopped(v, x):
        return sc.jv(gradc.stop_gradient(v * x), x)

    assert math.isclose(gradc.grad(stopped, 1)(0.5, 2.0), sc.jvp(1.0, 2.0), rel_tol=1e-12)


def test_source_runs_under_scipy() -> None:
    derivative = gradc.grad(total)
    derivative(POINTS)
    namespace: dict[str, Any] = {}
    exec(derivative.source, namespace)
    with np.errstate(all="ignore"):
        found = namespace["total_grad"](POINTS)
    close(found, derivative(POINTS), 2e-13)


PROGRAM = """
import numpy as np, gradc
from scipy import special as sc
def f(x):
    return sc.jv(2, x) * sc.airy(x)[0]
print(gradc.grad(f)(0.7))
"""


def test_kernels_on_disk_find_scipy_again(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    root = str(Path(gradc.__file__).parents[1])
    for native in ("1", "0"):
        environment = {**os.environ, "GRADC_CACHE_DIR": str(tmp_path), "GRADC_NATIVE": native, "PYTHONPATH": root}
        outputs = {
            subprocess.run([sys.executable, str(tmp_path / "program.py")], capture_output=True, text=True, check=True,
                           env=environment).stdout.split()[0]
            for _ in range(2)
        }  # fmt: skip
        (number,) = outputs
        wanted = sc.jvp(2, 0.7) * sc.airy(0.7)[0] + sc.jv(2, 0.7) * sc.airy(0.7)[1]
        assert math.isclose(float(number), wanted, rel_tol=1e-13)


def test_poles_and_limits() -> None:
    def f(x):
        return sc.rgamma(x[0] - 2.0) + sc.jv(0, x[0]) + sc.jv(1, x[1]) + sc.i0e(x[2]) + sc.entr(1 + x[3])

    assert np.allclose(gradc.grad(f)(np.zeros(4)), [2.0, 0.5, 0.0, -1.0], rtol=1e-14)

    def zeta(s):
        return sc.zeta(s, 1.0)

    assert math.isnan(gradc.jit(zeta)(0.5))
    assert math.isnan(zeta(0.5))


# ------------------------------------------------------------------------------- derivatives in parameters


def parameter_points() -> list[tuple[float, float, float]]:
    """a, b and x: small and large parameters; both tails and the middle."""
    rng = np.random.default_rng(0)
    made = []
    for k in range(40):
        a, b = 10.0 ** rng.uniform(-4, 2.5, 2)
        middle, width = a / (a + b), math.sqrt(a * b / (a + b + 1)) / (a + b)
        tail = 10.0 ** rng.uniform(-7, -0.05)
        x = (tail, 1 - tail, middle + 3 * width * rng.normal())[k % 3]
        made.append((a, b, min(max(x, 1e-9), 1 - 1e-9)))
    return made


def test_derivatives_in_parameters_are_those_of_mpmath() -> None:
    points = parameter_points()
    with mp.workdps(60):
        for a, b, x in points:
            t = x * 2 * a
            wanted = [
                mp.diff(lambda p, t=t: mp.gammainc(p, 0, t, regularized=True), a, m) if t < a else
                -mp.diff(lambda p, t=t: mp.gammainc(p, t, regularized=True), a, m) for m in (1, 2)
            ]
            found = [gammainc_derivative(a, t, m) for m in (1, 2)]
            below = x < a / (a + b)
            for m, n in ((1, 0), (0, 1), (2, 0), (1, 1), (0, 2)):
                def integral(p: Any, q: Any, x: float = x, below: bool = below) -> Any:
                    if below:
                        return mp.betainc(p, q, 0, x, regularized=True)
                    return -mp.betainc(q, p, 0, 1 - mp.mpf(x), regularized=True)

                wanted.append(mp.diff(integral, (a, b), (m, n)))
                found.append(betainc_derivative(a, b, x, m, n))
            for k, (have, want) in enumerate(zip(found, wanted, strict=True)):
                assert abs(have - want) <= 1e-11 * abs(want) + 1e-290, (a, b, x, k, have, want)


def in_parameters(a, b, x):
    return np.sum(sc.gammainc(a, x) * sc.betainc(a, b, x) + sc.gammaincc(b, x) + sc.betaincinv(a, b, x)) + np.sum(
        sc.gammaincinv(a, x) * sc.gammainccinv(b, x)
    )


PARAMETERS = np.array([0.5, 2.0, 11.0]), np.array([1.5, 0.3, 14.0]), np.array([0.2, 0.9, 0.55])


def test_gradients_in_parameters() -> None:
    gradc.check_grads(in_parameters, PARAMETERS, order=2, rtol=1e-5)
    derivative = gradc.grad(in_parameters, argnums=(0, 1, 2))
    found = derivative(*PARAMETERS)
    namespace: dict[str, Any] = {}
    exec(derivative.source, namespace)
    for have, want in zip(namespace["in_parameters_grad"](*PARAMETERS), found, strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-12)
    single = derivative(*(p.astype(np.float32) for p in PARAMETERS))
    for have, want in zip(single, found, strict=True):
        assert have.dtype == np.float32
        np.testing.assert_allclose(have, want, rtol=3e-4)


def test_parameter_derivatives_at_the_ends() -> None:
    slope = gradc.grad(lambda a, x: sc.gammainc(a, x) + sc.betainc(a, 2.0, x / (1 + x)))
    assert slope(1.5, 0.0) == 0.0
    slope = gradc.grad(lambda a, x: sc.betainc(a, 2.0, x) + sc.gammaincc(a, np.inf))
    assert slope(1.5, 1.0) == 0.0
    assert math.isnan(gradc.grad(lambda a: sc.gammainc(a, 1.0))(-1.0))
    mixed = gradc.grad(lambda x: gradc.grad(lambda a: sc.gammainc(a, x))(2.0))
    assert mixed(0.0) == 0.0
    mixed = gradc.grad(lambda x: gradc.grad(lambda b: sc.betainc(1.5, b, x))(2.0))
    assert mixed(1.0) == 0.0


def test_third_derivatives_in_parameters_are_refused() -> None:
    def bent(a):
        return gradc.grad(gradc.grad(lambda a: sc.gammainc(a, 1.0)))(a)

    with pytest.raises(gradc.NonDifferentiableError, match="gammainc_curvature` has no derivative in `a`"):
        gradc.grad(bent)(1.0)


PARAMETER_PROGRAM = """
import numpy as np, gradc
from scipy import special as sc
f = gradc.grad(lambda a, x: sc.gammainc(a, x) + sc.betainc(x, a, 0.3))
print(f(1.7, 0.7))
f.lower(1.7, 0.7)
"""


@pytest.mark.slow
def test_kernels_on_disk_hold_the_quadratures(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PARAMETER_PROGRAM)
    environment = {**os.environ, "GRADC_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path(gradc.__file__).parents[1])}
    outputs = {
        subprocess.run([sys.executable, str(tmp_path / "program.py")], capture_output=True, text=True, check=True,
                       env=environment).stdout
        for _ in range(2)
    }  # fmt: skip
    (number,) = outputs
    wanted = gammainc_derivative(1.7, 0.7, 1) + betainc_derivative(0.7, 1.7, 0.3, 0, 1)
    assert math.isclose(float(number), wanted, rel_tol=1e-13)


@pytest.mark.slow
def test_modules_for_numba_hold_the_quadratures(tmp_path: Path) -> None:
    derivative = gradc.grad(lambda a, x: sc.gammainc(a, x) + sc.betainc(x, a, 0.3))
    value = derivative(1.7, 0.7)
    path = tmp_path / "saved.py"
    derivative.source.save(path, numba=True)
    namespace: dict[str, Any] = {"__name__": "saved"}
    exec(compile(path.read_text(), str(path), "exec"), namespace)
    (name,) = [n for n in namespace if n.endswith("_grad")]
    assert math.isclose(namespace[name](1.7, 0.7), value, rel_tol=1e-13)


# ---------------------------------------------------------------------------------- options and their forms


def test_sums_of_exponentials_in_all_forms() -> None:
    x, b = np.arange(12.0).reshape(3, 4) / 7, np.arange(12.0).reshape(3, 4) % 5
    for axis in (None, 0, -1, (0, 1)):
        for kept in (False, True):
            def f(x, b, axis=axis, kept=kept):
                return sc.logsumexp(x, axis=axis, keepdims=kept), sc.logsumexp(x, axis=axis, b=b, keepdims=kept)

            for found, wanted in zip(gradc.jit(f)(x, b), f(x, b), strict=True):
                assert np.shape(found) == np.shape(wanted)
                np.testing.assert_allclose(found, wanted, rtol=1e-14)
    forms = [
        lambda x, b: sc.logsumexp(x, b=b[0]), lambda x, b: sc.logsumexp(x[0, 0], b=b[1]),
        lambda x, b: sc.logsumexp([x[0, 1], x[1, 0]]), lambda x, b: sc.logsumexp(x, b=2.0),
    ]
    for form in forms:
        assert math.isclose(gradc.jit(form)(x, b), form(x, b), rel_tol=1e-14)
    far = np.array([1.0, 1000.0, 2.0])
    value, slope = gradc.value_and_grad(lambda x: sc.logsumexp(x, b=np.array([1.0, 0.0, 3.0])))(far)
    assert math.isclose(value, math.log(math.e + 3 * math.e**2), rel_tol=1e-14)
    assert slope[1] == 0.0
    gradc.check_grads(lambda x, b: sc.logsumexp(x, axis=1, b=b + 1).sum(), (x, b))


def test_zeta_at_zero_and_the_logarithm_of_gamma() -> None:
    f = gradc.value_and_grad(lambda s: sc.zeta(s))
    for s in (0.0, -1e-8, 1e-9, -0.5, -0.7, -2.0, 0.7):
        value, slope = f(s)
        assert math.isclose(value, float(mp.zeta(s)), rel_tol=1e-13, abs_tol=1e-16), s
        assert math.isclose(slope, float(mp.zeta(s, 1, 1)), rel_tol=1e-12), s
    value, slope = gradc.value_and_grad(lambda x: sc.loggamma(x))(3.5)
    assert value == sc.loggamma(3.5)
    assert math.isclose(slope, sc.digamma(3.5), rel_tol=1e-14)
    assert math.isnan(gradc.jit(lambda x: sc.loggamma(x))(-1.5))


def test_ends_of_the_definition() -> None:
    x = np.array([-1.0, 0.0, 0.0, 0.0, 1.0, 2.0, np.nan, 7.0, 1e-9])
    y = np.array([1.0, 0.0, 1.0, -1.0, 0.0, -1.0, 1.0, 1.0, 2.0])
    pairs = (sc.rel_entr, sc.kl_div, sc.huber, sc.pseudo_huber, sc.xlogy, sc.xlog1py)

    def each(x, y):
        return [f(x, y) for f in pairs] + [f(y, x) for f in pairs]

    for found, wanted in zip(gradc.jit(each)(x, y), each(x, y), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-13)

    def poles(x):
        return sc.digamma(x), sc.polygamma(1, x), sc.polygamma(2, x), sc.gamma(x), sc.rgamma(x), sc.zeta(-x)

    x = np.array([-3.0, -1.0, -0.5, np.nan, -np.inf])
    for found, wanted in zip(gradc.jit(poles)(x), poles(x), strict=True):
        finite = np.isfinite(wanted) | (x == np.round(x))
        np.testing.assert_allclose(found[finite], wanted[finite], rtol=1e-13)
    slopes = gradc.grad(lambda x, y: sc.kl_div(x, y) + sc.pseudo_huber(y, x), argnums=(0, 1))
    np.testing.assert_allclose(slopes(0.3, 0.4), [math.log(0.75) + 0.24, 0.25 + 0.4 * (1.25 + 0.8 - 2)], rtol=1e-13)
