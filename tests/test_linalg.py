"""Linear algebra: values against NumPy and SciPy, derivatives against differences and JAX, both orders, on all routes.

Vectors of eigenvalues and singular values are compared in functions that do not depend on signs and phases.
"""

from __future__ import annotations

import functools
import linecache
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg

import gradc
from gradc.ad.forward import jvp as forward
from gradc.ad.reverse import reverse
from gradc.frontends.from_python import bind_arguments, parse
from gradc.ir import interp
from gradc.ir.tree import flatten, unflatten
from gradc.ir.verifier import verify
from gradc.passes.expand import expand
from tests import routes
from tests.oracle import difference

RNG = np.random.default_rng(5)


def draw(*shape: int, dtype: Any = float) -> Any:
    x = RNG.normal(size=shape)
    return x + 1j * RNG.normal(size=shape) if dtype is complex else x


def regular(*lead: int, n: int = 4, dtype: Any = float) -> Any:
    """Well conditioned, with eigenvalues that are apart."""
    return draw(*lead, n, n, dtype=dtype) + np.diag(np.arange(3.0, 3.0 + 2 * n, 2))


A, B, V = regular(), draw(4, 2), draw(4)
AS, BS = regular(2), draw(2, 4, 3)
Z, ZB, ZS = regular(dtype=complex), draw(4, 2, dtype=complex), regular(2, n=3, dtype=complex)
TALL, WIDE, TALLS = draw(5, 3), draw(3, 5), draw(2, 4, 3)
ZTALL, ZWIDE = draw(4, 3, dtype=complex), draw(3, 4, dtype=complex)
W4, W5 = draw(4, 4), draw(5, 5)


def positive(a):
    return a @ np.conj(np.swapaxes(a, -1, -2)) + 2.0 * np.eye(a.shape[-1])


def eigh_function(a):
    """A function of a Hermitian matrix."""
    w, v = np.linalg.eigh(positive(a))
    return (v * np.sqrt(w)[..., None, :]) @ np.conj(np.swapaxes(v, -1, -2))


def squared_vectors(a):
    w, v = np.linalg.eigh(positive(a))
    return np.abs(v) ** 2 * w[..., None, :]


def low_rank(a):
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    return (u[..., :2] * s[..., None, :2] ** 2) @ vh[..., :2, :]


def left_only(a):
    u = np.linalg.svd(a, full_matrices=False)[0]
    return np.abs(u) ** 3


def right_only(a):
    return np.abs(np.linalg.svd(a, full_matrices=False).Vh) ** 3


def whole_square(a):
    u, s, vh = np.linalg.svd(a)
    return (u * s**3) @ vh


def projected(a):
    q, r = np.linalg.qr(a)
    return q * 2.0 + np.sum(np.abs(r) ** 3), r


def eig_product(a):
    w, v = np.linalg.eig(a)
    return (v * w**3) @ np.linalg.inv(v), np.abs(v) ** 2


def lu_parts(a, b):
    f, p = scipy.linalg.lu_factor(a)
    return f, scipy.linalg.lu_solve((f, p), b), scipy.linalg.lu_solve((f, p), b, trans=1)


CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "solve": (np.linalg.solve, (A, B)),
    "solve_vector": (np.linalg.solve, (A, V)),
    "solve_stack": (np.linalg.solve, (AS, BS)),
    "solve_broadcast": (lambda a, b: np.linalg.solve(a, b), (A, BS)),
    "solve_stack_one": (lambda a, b: np.linalg.solve(a, b), (AS, B)),
    "solve_complex": (np.linalg.solve, (Z, ZB)),
    "solve_mixed": (np.linalg.solve, (A, ZB)),
    "inv": (np.linalg.inv, (A,)),
    "inv_stack": (np.linalg.inv, (AS,)),
    "inv_complex": (np.linalg.inv, (ZS,)),
    "det": (np.linalg.det, (A,)),
    "det_stack": (lambda a: np.linalg.det(a) / 100.0, (AS,)),
    "det_complex": (lambda a: np.linalg.det(a) / 100.0, (ZS,)),
    "slogdet": (lambda a: np.linalg.slogdet(a).logabsdet * np.linalg.slogdet(a)[0], (A,)),
    "slogdet_stack": (lambda a: np.linalg.slogdet(a)[1], (AS,)),
    "slogdet_complex": (lambda a: np.linalg.slogdet(a)[1] * np.linalg.slogdet(a).sign, (ZS,)),
    "cholesky": (lambda a: np.linalg.cholesky(positive(a)), (A,)),
    "cholesky_stack": (lambda a: np.linalg.cholesky(positive(a)), (AS,)),
    "cholesky_complex": (lambda a: np.linalg.cholesky(positive(a)), (Z,)),
    "cholesky_upper": (lambda a: np.linalg.cholesky(positive(a), upper=True), (ZS,)),
    "eigvalsh": (lambda a: np.linalg.eigvalsh(positive(a)), (A,)),
    "eigvalsh_upper": (lambda a: np.linalg.eigvalsh(a, UPLO="U"), (ZS,)),
    "eigh": (squared_vectors, (A,)),
    "eigh_stack": (eigh_function, (AS,)),
    "eigh_complex": (eigh_function, (Z,)),
    "eigh_complex_vectors": (squared_vectors, (ZS,)),
    "eigvals": (lambda a: np.linalg.eigvals(a).real ** 2, (np.diag([1.0, 3.0, 7.0, 12.0]) + 0.3 * W4,)),
    "eigvals_complex": (lambda a: np.sum(np.linalg.eigvals(a) ** 3) / 100, (ZS,)),
    "eig": (eig_product, (A,)),
    "eig_complex": (eig_product, (Z,)),
    "svd_tall": (low_rank, (TALL,)),
    "svd_wide": (low_rank, (WIDE,)),
    "svd_stack": (low_rank, (TALLS,)),
    "svd_complex": (low_rank, (ZTALL,)),
    "svd_complex_wide": (low_rank, (ZWIDE,)),
    "svd_left": (left_only, (TALL,)),
    "svd_left_wide": (left_only, (WIDE,)),
    "svd_right": (right_only, (TALL,)),
    "svd_right_complex": (right_only, (ZTALL,)),
    "svd_whole": (whole_square, (A,)),
    "svd_whole_complex": (whole_square, (Z,)),
    "svdvals": (np.linalg.svdvals, (TALL,)),
    "svd_values": (lambda a: np.linalg.svd(a, compute_uv=False), (ZWIDE,)),
    "svd_values_of_whole": (lambda a: np.linalg.svd(a)[1], (TALL,)),
    "qr": (projected, (TALL,)),
    "qr_square": (projected, (A,)),
    "qr_wide": (projected, (WIDE,)),
    "qr_stack": (lambda a: np.linalg.qr(a).R, (TALLS,)),
    "qr_complex": (projected, (ZTALL,)),
    "qr_complex_wide": (lambda a: np.linalg.qr(a)[0], (ZWIDE,)),
    "qr_r": (lambda a: np.linalg.qr(a, "r"), (TALL,)),
    "qr_complete": (lambda a: np.linalg.qr(a, mode="complete").R, (TALL,)),
    "qr_complete_wide": (lambda a: np.linalg.qr(a, mode="complete").Q, (WIDE,)),
    "pinv": (np.linalg.pinv, (TALL,)),
    "pinv_wide": (np.linalg.pinv, (ZWIDE,)),
    "pinv_stack": (np.linalg.pinv, (TALLS,)),
    "lstsq": (lambda a, b: np.linalg.lstsq(a, b)[0], (TALL, draw(5, 2))),
    "lstsq_vector": (lambda a, b: np.linalg.lstsq(a, b)[:2], (TALL, draw(5))),
    "lstsq_wide": (lambda a, b: np.linalg.lstsq(a, b, rcond=None)[0], (ZWIDE, draw(3, dtype=complex))),
    "lstsq_values": (lambda a, b: (np.linalg.lstsq(a, b)[1], np.linalg.lstsq(a, b)[3]), (TALL, draw(5, 2))),
    "cond": (lambda a: np.linalg.cond(a) + np.linalg.cond(a, 1) + np.linalg.cond(a, -2), (A,)),
    "cond_stack": (lambda a: np.linalg.cond(a), (TALLS,)),
    "matrix_power": (lambda a: np.linalg.matrix_power(a, -2) + np.linalg.matrix_power(a, 0), (AS,)),
    "scipy_solve": (lambda a, b: scipy.linalg.solve(a, b, assume_a="sym", lower=True), (A, B)),
    "scipy_solve_her": (lambda a, b: scipy.linalg.solve(a, b, assume_a="her"), (Z + 8 * np.eye(4), ZB)),
    "scipy_solve_pos": (lambda a, b: scipy.linalg.solve(positive(a), b, assume_a="pos"), (Z, ZB)),
    "scipy_solve_transposed": (lambda a, b: scipy.linalg.solve(a, b, transposed=True), (A, V)),
    "solve_triangular": (lambda a, b: scipy.linalg.solve_triangular(a, b), (A, V)),
    "solve_triangular_lower": (lambda a, b: scipy.linalg.solve_triangular(a, b, lower=True, trans="C"), (Z, ZB)),
    "solve_triangular_unit": (
        lambda a, b: scipy.linalg.solve_triangular(a, b, trans=1, unit_diagonal=True), (A / 5, B)
    ),
    "cho_solve": (lambda a, b: scipy.linalg.cho_solve(scipy.linalg.cho_factor(positive(a)), b), (Z, ZB)),
    "cho_solve_lower": (lambda a, b: scipy.linalg.cho_solve((np.linalg.cholesky(positive(a)), True), b), (A, V)),
    "lu": (lu_parts, (A[::-1].copy(), B)),
    "lu_complex": (lu_parts, (Z, ZB)),
    "lu_matrices": (lambda a: scipy.linalg.lu(a)[1] @ scipy.linalg.lu(a, permute_l=True)[0], (A[::-1].copy(),)),
    "solve_banded": (
        lambda a, b: scipy.linalg.solve_banded((1, 2), a, b), (draw(4, 6) + 3 * np.eye(4)[2][:, None], draw(6, 2))
    ),
    "solve_banded_complex": (
        lambda a, b: scipy.linalg.solve_banded((1, 1), a, b),
        (draw(3, 5, dtype=complex) + 3 * np.eye(3)[1][:, None], draw(5)),
    ),
    "solveh_banded": (
        lambda a, b, c: scipy.linalg.solveh_banded(np.stack([a, b**2 + 4.0]), c), (draw(5), draw(5), draw(5))
    ),
    "solveh_banded_lower": (
        lambda a, b, c: scipy.linalg.solveh_banded(np.stack([np.abs(b) ** 2 + 5.0, a]), c, lower=True),
        (draw(5, dtype=complex), draw(5), draw(5, 2)),
    ),
    "block_diag": (lambda a, b: scipy.linalg.block_diag(a, b, a[0], b[:, :1]), (A, TALL)),
    "toeplitz": (lambda a, b: (scipy.linalg.toeplitz(a), scipy.linalg.toeplitz(a, b)), (V, draw(3))),
    "toeplitz_complex": (lambda a: scipy.linalg.toeplitz(a), (ZTALL[:, 0].copy(),)),
    "circulant": (
        lambda a, b: (scipy.linalg.circulant(a), scipy.linalg.hankel(a, b), scipy.linalg.hankel(b)), (V, draw(3))
    ),
    "polyfit": (lambda a, b: np.polyfit(a, b, 2), (np.linspace(0.0, 2.0, 6), draw(6))),
    "polyfit_weights": (
        lambda a, b, c: np.polyfit(a, b, 1, w=c**2 + 1.0), (np.linspace(0.0, 2.0, 6), draw(6, 2), draw(6))
    ),
    "norm_nuc": (lambda a: np.linalg.norm(a, "nuc") * np.linalg.norm(a, 2) + np.linalg.norm(a, -2), (TALL,)),
    "norm_stack": (lambda a: np.linalg.norm(a, 2, axis=(0, 2), keepdims=True), (draw(3, 2, 4),)),
    "norm_complex": (lambda a: np.linalg.matrix_norm(a, ord="nuc", keepdims=True), (ZWIDE,)),
    "scipy_norm": (lambda a: scipy.linalg.norm(a, 2) + scipy.linalg.norm(a), (A,)),
    "expm": (scipy.linalg.expm, (A,)),
    "expm_small": (scipy.linalg.expm, (W4 / 9,)),
    "expm_stack": (lambda a: scipy.linalg.expm(a / 3), (AS,)),
    "expm_complex": (scipy.linalg.expm, (ZTALL[:3],)),
    "sylvester": (scipy.linalg.solve_sylvester, (A, draw(2, 2) + 3 * np.eye(2), B)),
    "sylvester_complex": (scipy.linalg.solve_sylvester, (Z, draw(2, 2, dtype=complex) + 3 * np.eye(2), ZB)),
    "sqrtm": (scipy.linalg.sqrtm, (A @ A,)),
    "sqrtm_positive": (lambda a: scipy.linalg.sqrtm(positive(a)), (A,)),
    "sqrtm_complex": (scipy.linalg.sqrtm, (Z,)),
    "lyapunov": (scipy.linalg.solve_continuous_lyapunov, (A, W4)),
    "discrete_lyapunov": (scipy.linalg.solve_discrete_lyapunov, (W4 / 9, A)),
    "scipy_qr": (lambda a: scipy.linalg.qr(a, mode="economic"), (TALL,)),
    "scipy_eigh": (lambda a: scipy.linalg.eigh(positive(a), eigvals_only=True, subset_by_index=[1, 2]), (A,)),
    "scipy_eigh_general": (lambda a, b: scipy.linalg.eigvalsh(positive(a), positive(b)), (A, W4)),
    "scipy_svdvals": (scipy.linalg.svdvals, (TALL,)),
    "scipy_pinv": (lambda a: scipy.linalg.pinv(a), (TALL,)),
    "scipy_det": (lambda a: scipy.linalg.det(a) + scipy.linalg.inv(a)[0, 0], (A,)),
}  # fmt: skip
NAMES = sorted(CASES)


def leaves_of(out: Any) -> list[Any]:
    return [np.asarray(x) for x in flatten(out)[0]]


def cotangents_of(out: Any) -> list[Any]:
    rng = np.random.default_rng(1)

    def cotangent(x: Any) -> Any:
        made = rng.normal(size=x.shape) + 1j * rng.normal(size=x.shape)
        return (made if np.iscomplexobj(x) else made.real).astype(x.dtype)[()]

    return [cotangent(x) for x in leaves_of(out)]


def directions_of(args: Any, seed: int = 3) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [
        (rng.normal(size=x.shape) + (1j * rng.normal(size=x.shape) if np.iscomplexobj(x) else 0)).astype(x.dtype)
        for x in args
    ]


@functools.cache
def parsed(name: str) -> tuple[Any, list[Any]]:
    function, args = CASES[name]
    program = parse(wrapped(function, len(args)), bind_arguments(wrapped(function, len(args)), args, {}))
    captured = [leaf for capture in program.captures for leaf in flatten(capture.fetch())[0]]
    return program, captured


@functools.cache
def wrapped(function: Any, count: int) -> Any:
    """A plain function of the arguments, also for functions of NumPy itself."""
    if function.__module__ == __name__:
        return function
    space: dict[str, Any] = {"function": function}
    listed = ", ".join("abc"[:count])
    return readable(f"def f({listed}):\n    return function({listed})\n", space)


def readable(text: str, space: dict[str, Any]) -> Any:
    name = f"<case {len(linecache.cache)}>"
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    exec(compile(text, name, "exec"), space)
    return space["f"]


def along(leaves: list[Any], cts: list[Any]) -> float:
    return sum(float(np.sum(np.real(np.asarray(c) * x))) for c, x in zip(cts, leaves, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_values_and_expansions(name: str) -> None:
    """The interpreter's values are NumPy's, and so are those of what kernels are made from."""
    function, args = CASES[name]
    program, captured = parsed(name)
    expected = leaves_of(function(*args))
    expanded = expand(program.func)
    verify(expanded)
    for func in (program.func, expanded):
        values = interp.run(func, [*args, *captured])
        for value, want in zip(values, expected, strict=True):
            assert np.shape(value) == want.shape
            np.testing.assert_allclose(value, want, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", NAMES)
def test_both_modes_and_differences(name: str) -> None:
    """<ct, jvp(t)> is the slope along t and <vjp(ct), t>; the derivative of <vjp(ct), .> along t is its slope."""
    function, args = CASES[name]
    program, captured = parsed(name)
    cts, tangents = cotangents_of(function(*args)), directions_of(args)
    moving = range(len(args))
    ahead = forward(program.func, moving, keep_value=False)
    verify(ahead)
    moved = along(interp.run(ahead, [*args, *captured, *tangents]), cts)
    slope, _ = difference(lambda s: along(leaves_of(function(*moved_by(args, tangents, s))), cts), 2e-3)
    np.testing.assert_allclose(moved, slope, rtol=1e-6, atol=1e-7)
    back = reverse(program.func, moving, keep_value=False, seeds="params")
    verify(back)
    pulled = interp.run(back, [*args, *captured, *cts])
    np.testing.assert_allclose(along(pulled, tangents), moved, rtol=1e-9, atol=1e-10)
    second = forward(back, moving, keep_value=False)
    verify(second)
    twice = along(interp.run(second, [*args, *captured, *cts, *tangents]), tangents)

    def pulled_at(s: float) -> float:
        return along(interp.run(back, [*moved_by(args, tangents, s), *captured, *cts]), tangents)

    slope, _ = difference(pulled_at, 2e-3)
    np.testing.assert_allclose(twice, slope, rtol=1e-5, atol=1e-6)


TOGETHER = ["solve", "det", "cholesky_complex", "eigh_stack", "svd_wide", "qr_complex", "lstsq_vector", "lu", "eig"]


@pytest.mark.parametrize(
    "name", [n if n in TOGETHER else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
)
def test_kernels(name: str) -> None:
    """Compiled values and cotangents are those of the interpreter, also for arrays that lie otherwise in memory."""
    function, args = CASES[name]
    plain = wrapped(function, len(args))
    expected = function(*args)
    cts = cotangents_of(expected)
    program, captured = parsed(name)
    back = reverse(program.func, range(len(args)), keep_value=False, seeds="params")
    wanted = interp.run(back, [*args, *captured, *cts])
    for given in (args, tuple(np.asfortranarray(x) for x in args), tuple(x[::-1][::-1] for x in args)):
        out, pullback = gradc.vjp(plain, *given)
        for value, want in zip(leaves_of(out), leaves_of(expected), strict=True):
            np.testing.assert_allclose(value, want, rtol=1e-9, atol=1e-10)
        for value, want in zip(pullback(unflatten(flatten(expected)[1], cts)), wanted, strict=True):
            np.testing.assert_allclose(value, want, rtol=1e-8, atol=1e-9)
        if name not in TOGETHER:
            break


def moved_by(args: Any, tangents: Any, s: float) -> list[Any]:
    return [x + s * t for x, t in zip(args, tangents, strict=True)]


@pytest.mark.parametrize("n", [0, 1, 2, 30])
def test_sizes(n: int) -> None:
    """No, one and many elements: LAPACK takes over from loops at some size."""
    draw_ = np.random.default_rng(n)
    a, b = draw_.normal(size=(n, n)) + 2 * np.sqrt(n) * np.eye(n), draw_.normal(size=(n, 3))

    def f(a, b):
        x = np.linalg.solve(a, b) + np.linalg.solve(a.T, b)
        factor = np.linalg.cholesky(a @ a.T + np.eye(len(a)))
        w = np.linalg.eigvalsh(a @ a.T)
        y = scipy.linalg.solve_triangular(factor, b, lower=True) + scipy.linalg.solve_triangular(factor.T, b)
        q, r = np.linalg.qr(a)
        s = np.linalg.svd(a, full_matrices=False)[1]
        return x, y, np.log(w).sum(), np.linalg.det(a / 4), np.linalg.slogdet(a)[1], q @ r, np.log(s).sum()

    for value, want in zip(leaves_of(gradc.jit(f)(a, b)), leaves_of(f(a, b)), strict=True):
        assert value.shape == want.shape
        np.testing.assert_allclose(value, want, rtol=1e-9, atol=1e-10)

    def loss(a, b):
        x, y, logs, det, logdet, product, more = f(a, b)
        return np.sum(x**2) + np.sum(y**3) + logs + det + logdet + np.sum(product**2) + more

    gradients = gradc.grad(loss, argnums=(0, 1))(a, b)
    assert [g.shape for g in gradients] == [a.shape, b.shape]
    directions = directions_of((a, b))
    slope, _ = difference(lambda s: loss(*moved_by((a, b), directions, s)), 1e-3)
    np.testing.assert_allclose(along(list(gradients), directions), slope, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
def test_single_precision(dtype: Any) -> None:
    a = (Z if dtype is np.complex64 else A).astype(dtype)

    def f(a):
        w, v = np.linalg.eigh(a @ np.conj(a.T))
        return np.linalg.inv(a), w, np.linalg.svd(a)[1], np.linalg.cholesky(a @ np.conj(a.T)), np.linalg.qr(a)[1]

    for value, want in zip(gradc.jit(f)(a), f(a), strict=True):
        assert value.dtype == want.dtype
        np.testing.assert_allclose(value, want, rtol=1e-3, atol=1e-4)

    def loss(a):
        return np.sum(np.abs(np.linalg.inv(a)) ** 2) + np.sum(np.linalg.svd(a)[1] ** 2)

    gradient = gradc.grad(loss)(a)
    assert gradient.dtype == dtype
    wide = gradc.grad(loss)(a.astype(np.result_type(dtype, np.float64)))
    np.testing.assert_allclose(gradient, wide, rtol=1e-3, atol=1e-4)


FAILING = [
    (lambda a: np.linalg.inv(a), np.ones((3, 3))),
    (lambda a: np.linalg.solve(a, np.ones(3)), np.zeros((3, 3))),
    (lambda a: np.linalg.solve(a, np.ones(40)), np.ones((40, 40))),
    (lambda a: np.linalg.cholesky(a), -np.eye(3)),
    (lambda a: np.linalg.cholesky(a), np.diag(np.arange(40.0) - 1)),
    (lambda a: scipy.linalg.solve_triangular(a, np.ones(3)), np.diag([1.0, 0.0, 2.0])),
]


@pytest.mark.parametrize("k", range(len(FAILING)))
def test_what_numpy_raises(k: int) -> None:
    function, a = FAILING[k]
    with pytest.raises(np.linalg.LinAlgError):
        function(a)
    for derived in (gradc.jit(function), gradc.grad(lambda a: np.sum(function(a)))):
        with pytest.raises(np.linalg.LinAlgError):
            derived(a)


@pytest.mark.parametrize("n", [3, 30])
def test_nan_goes_where_numpy_lets_it(n: int) -> None:
    a = np.full((n, n), np.nan)
    for function in (np.linalg.inv, np.linalg.cholesky, np.linalg.det):
        with np.errstate(all="ignore"):
            expected = function(a)
        np.testing.assert_array_equal(np.isnan(gradc.jit(wrapped(function, 1))(a)), np.isnan(expected))
    for function in (np.linalg.eigvalsh, np.linalg.svdvals):
        with pytest.raises(np.linalg.LinAlgError):
            function(a)
        with pytest.raises(np.linalg.LinAlgError):
            gradc.jit(wrapped(function, 1))(a)


def test_loops_that_do_not_run_raise_nothing() -> None:
    """What may fail is not computed before the loop that it stands in."""

    def f(a, n):
        total = 0.0
        for _ in range(n):
            total += np.sum(np.linalg.inv(a))
        return total

    assert gradc.grad(f)(np.zeros((2, 2)), 0).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    with pytest.raises(np.linalg.LinAlgError):
        gradc.grad(f)(np.zeros((2, 2)), 1)


def test_matrices_that_do_not_fit() -> None:
    for function, args in (
        (np.linalg.inv, (np.ones((2, 3)),)),
        (np.linalg.solve, (A, np.ones(3))),
        (np.linalg.det, (np.ones(3),)),
        (np.linalg.cholesky, (np.ones((2, 2, 3)),)),
    ):
        with pytest.raises(gradc.ShapeError):
            gradc.jit(wrapped(function, len(args)))(*args)


def test_one_factorization_for_all() -> None:
    """A system, the transposed one of its derivative, and determinants share one LU."""

    def f(a, b):
        return np.sum(np.linalg.solve(a, b) ** 2) + np.linalg.slogdet(a)[1]

    text = gradc.value_and_grad(f).lower(A, B).kernel_source
    assert text.count("= linalg_lu_float64(") == 1


def test_determinants_of_singular_matrices() -> None:
    """The derivative of a determinant is the matrix of cofactors, whatever the rank."""
    for a in (np.ones((3, 3)), np.diag([2.0, 3.0, 0.0]), np.diag([2.0, 0.0, 0.0]), np.zeros((1, 1))):
        n = len(a)
        minors = np.array(
            [
                [(-1) ** (i + j) * np.linalg.det(np.delete(np.delete(a, i, 0), j, 1)) for j in range(n)]
                for i in range(n)
            ]
        )
        np.testing.assert_allclose(gradc.grad(lambda a: np.linalg.det(a))(a), minors, atol=1e-12)


def test_a_file_for_numba(tmp_path: Any) -> None:
    def f(a, b, t):
        w, v = np.linalg.eigh(a @ a.T)
        u, s, vh = np.linalg.svd(t, full_matrices=False)
        q, r = np.linalg.qr(t)
        factor = np.linalg.cholesky(a @ a.T)
        value = np.sum(np.linalg.solve(a, b) ** 2) + np.sum(v[:, 0] ** 4 * w) + np.sum(u[:, 0] ** 4 * s[0])
        value += np.sum(r**2)
        value += np.linalg.slogdet(a)[1] + np.linalg.det(a) + np.sum(np.abs(np.linalg.eigvals(a)))
        return value + np.sum(scipy.linalg.solve_triangular(factor, b, lower=True) ** 2)

    args = (A, V, TALL[:, :3])
    derived = gradc.value_and_grad(f, argnums=(0, 1, 2))
    value, gradients = derived(*args)
    lowered = derived.lower(*args)
    for k, numba in enumerate((False, True)):
        path = tmp_path / f"saved_{k}.py"
        lowered.source.save(path, numba=numba)
        space: dict[str, Any] = {"__name__": f"saved_{k}", "__file__": str(path)}
        text = path.read_text().replace("cache=True, ", "")
        exec(compile(text, str(path), "exec"), space)
        found, others = space["f_value_and_grad"](*args)
        np.testing.assert_allclose(found, value, rtol=1e-10)
        for g, other in zip(gradients, others, strict=True):
            np.testing.assert_allclose(other, g, rtol=1e-8, atol=1e-9)


# ------------------------------------------------------------------------------------------------ programs


def gp_likelihood(log_scale, log_noise, x, y):
    """Log likelihood of a Gaussian process."""
    scaled = x / np.exp(log_scale)
    away = scaled[:, None, :] - scaled[None, :, :]
    k = np.exp(-0.5 * np.sum(away**2, axis=-1)) + np.exp(2.0 * log_noise) * np.eye(len(y))
    factor = scipy.linalg.cho_factor(k, lower=True)
    alpha = scipy.linalg.cho_solve(factor, y)
    return -0.5 * y @ alpha - np.sum(np.log(np.diag(factor[0]))) - 0.5 * len(y) * np.log(2 * np.pi)


def kalman(a, c, q, r, observed):
    """Log likelihood of a linear system by a Kalman filter."""
    mean, cov, total = np.zeros(len(a)), np.eye(len(a)), 0.0
    for t in range(len(observed)):
        mean, cov = a @ mean, a @ cov @ a.T + q @ q.T
        away = observed[t] - c @ mean
        s = c @ cov @ c.T + r @ r.T
        gain = np.linalg.solve(s, c @ cov).T
        total -= 0.5 * (away @ np.linalg.solve(s, away) + np.linalg.slogdet(s)[1])
        mean, cov = mean + gain @ away, cov - gain @ c @ cov
    return total


def pca_loss(x):
    """What two principal components leave."""
    centred = x - np.mean(x, axis=0)
    w, v = np.linalg.eigh(centred.T @ centred / len(x))
    top = v[:, -2:]
    return np.sum((centred - centred @ top @ top.T) ** 2) + np.log(w[-1])


def ridge_three_ways(x, y, penalty):
    u, s, vh = np.linalg.svd(x, full_matrices=False)
    first = vh.T @ (s / (s**2 + penalty) * (u.T @ y))
    wide = np.concatenate((x, np.sqrt(penalty) * np.eye(x.shape[1])))
    tall = np.concatenate((y, np.zeros(x.shape[1])))
    second = np.linalg.lstsq(wide, tall, rcond=None)[0]
    q, r = np.linalg.qr(wide)
    third = scipy.linalg.solve_triangular(r, q.T @ tall)
    return np.sum(first**2) + np.sum(second**3) + np.sum(third**4)


def exponential_ode(a, x0, wanted):
    """A linear differential equation at a few times."""
    total = 0.0
    for k in range(3):
        total += np.sum((scipy.linalg.expm(0.3 * (k + 1) * a) @ x0 - wanted[k]) ** 2)
    return total


def control(a, b, gain):
    """The cost of a controller by Lyapunov's equation."""
    closed = a - b @ gain - 6.0 * np.eye(len(a))
    cost = scipy.linalg.solve_sylvester(closed.T, closed, -np.eye(len(a)) - gain.T @ gain)
    return np.trace(cost)


def whitened(x):
    centred = x - np.mean(x, axis=0)
    cov = centred.T @ centred / len(x) + 0.1 * np.eye(x.shape[1])
    return np.sum((centred @ np.linalg.inv(scipy.linalg.sqrtm(cov))) ** 4)


def leading_pair(a):
    """A function of some eigenvectors only."""
    w, v = np.linalg.eigh(a + a.T)
    kept = (v[:, :2] * w[:2]) @ v[:, :2].T
    return np.sum(kept**3)


def batch_of_gaussians(means, roots, x):
    """Log densities of several normal distributions at several points."""
    cov = roots @ np.swapaxes(roots, -1, -2) + 0.5 * np.eye(roots.shape[-1])
    factor = np.linalg.cholesky(cov)
    away = np.swapaxes(x[None] - means[:, None], -1, -2)
    z = np.linalg.solve(factor, away)
    logdet = np.sum(np.log(np.diagonal(factor, axis1=1, axis2=2)), axis=-1)
    return np.sum(np.log(np.sum(np.exp(-0.5 * np.sum(z**2, axis=1) - logdet[:, None]), axis=0)))


PROGRAMS: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    (gp_likelihood, (np.array([0.1, 0.4]), -0.5, draw(8, 2), draw(8))),
    (kalman, (0.4 * draw(3, 3), draw(2, 3), np.eye(3), np.eye(2), draw(5, 2))),
    (pca_loss, (draw(10, 4) * np.array([1.0, 2.0, 3.0, 4.0]),)),
    (ridge_three_ways, (draw(7, 3), draw(7), 0.7)),
    (exponential_ode, (0.5 * draw(3, 3), draw(3), draw(3, 3))),
    (control, (draw(3, 3), draw(3, 1), draw(1, 3))),
    (whitened, (draw(9, 3),)),
    (leading_pair, (draw(5, 5),)),
    (batch_of_gaussians, (draw(3, 2), draw(3, 2, 2), draw(6, 2))),
]


@pytest.mark.parametrize(("program", "args"), PROGRAMS, ids=lambda v: getattr(v, "__name__", ""))
def test_programs(program: Any, args: Any) -> None:
    """Gradients in all arguments by kernel and by readable source, against differences."""
    argnums = tuple(range(len(args)))
    value, gradients = gradc.value_and_grad(program, argnums)(*args)
    np.testing.assert_allclose(value, program(*args), rtol=1e-10)
    directions = [RNG.normal(size=np.shape(a)) for a in args]
    slope, _ = difference(lambda s: program(*(a + s * d for a, d in zip(args, directions, strict=True))), 1e-3)
    total = sum(float(np.sum(g * d)) for g, d in zip(gradients, directions, strict=True))
    np.testing.assert_allclose(total, slope, rtol=1e-6, atol=1e-7)
    again, others = routes.gradient_by_source(program, args, argnums)
    np.testing.assert_allclose(again, value, rtol=1e-10)
    for g, other in zip(gradients, others, strict=True):
        np.testing.assert_allclose(other, g, rtol=1e-7, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize(("program", "args"), PROGRAMS[:4], ids=lambda v: getattr(v, "__name__", ""))
def test_second_derivatives_of_programs(program: Any, args: Any) -> None:
    gradc.check_grads(program, args, order=2, rtol=1e-4, atol=1e-4)


# ------------------------------------------------------------------------------------------ degenerate cases

ROTATION = np.linalg.qr(np.random.default_rng(8).normal(size=(4, 4)))[0]
TWICE = (ROTATION * np.array([1.0, 2.0, 2.0, 5.0])) @ ROTATION.T
LOW_RANK = draw(5, 2) @ draw(2, 4)


def test_values_that_are_equal_have_derivatives() -> None:
    for a in (np.eye(3), TWICE, np.zeros((2, 2))):
        gradient = gradc.grad(lambda a: np.sum(np.linalg.eigvalsh(a) ** 2))(a)
        np.testing.assert_allclose(gradient, 2 * np.tril(a) + 2 * np.tril(a, -1), atol=1e-12)
        gradient = gradc.grad(lambda a: np.sum(np.linalg.svdvals(a) ** 2))(a)
        np.testing.assert_allclose(gradient, 2 * a, atol=1e-12)
    gradient = gradc.grad(lambda a: np.linalg.norm(a, "nuc"))(np.eye(3))
    np.testing.assert_allclose(gradient, np.eye(3), atol=1e-12)
    assert gradc.grad(lambda a: np.linalg.norm(a, "nuc"))(np.zeros((2, 3))).tolist() == [[0.0] * 3] * 2


def test_vectors_of_equal_values_have_none() -> None:
    """Where a derivative would be a rounding error over another one it is NaN, near equality too."""

    def root(a):
        w, v = np.linalg.eigh(a)
        return np.sum(W4 * ((v * np.sqrt(w)) @ v.T))

    for a in (np.eye(4), TWICE):
        assert np.isnan(gradc.grad(root)(a)).any()
        assert np.isnan(gradc.jvp(root, (a,), (W4,))[1])

    def restored(a):
        u, s, vh = np.linalg.svd(a)
        return np.sum(W4 * ((u * s) @ vh))

    for a in (np.eye(4), np.diag([3.0, 2.0, 0.0, 0.0])):
        assert np.isnan(gradc.grad(restored)(a)).any()
    assert np.isnan(gradc.grad(lambda a: np.sum(np.abs(np.linalg.eig(a)[1][0])))(np.eye(3))).any()


def test_leading_vectors_of_low_rank() -> None:
    """The other singular values are nearly equal, 0 up to rounding, and nothing depends on their vectors."""

    def kept(a):
        u, s, vh = np.linalg.svd(a, full_matrices=False)
        return np.sum(((u[:, :2] * np.sqrt(s[:2])) @ vh[:2]) ** 3)

    direction = draw(5, 2) @ draw(2, 4)
    gradient = gradc.grad(kept)(LOW_RANK)
    slope, _ = difference(lambda s: kept(LOW_RANK + s * direction), 1e-3)
    np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=1e-5)

    def components(a):
        w, v = np.linalg.eigh(a.T @ a)
        return np.sum((v[:, -1:] @ v[:, -1:].T) ** 3)

    gradient = gradc.grad(components)(LOW_RANK)
    slope, _ = difference(lambda s: components(LOW_RANK + s * direction), 1e-3)
    np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=1e-5)


def test_further_vectors_have_no_derivative() -> None:
    gradient = gradc.grad(lambda a: np.sum(np.linalg.svd(a)[0][:, :2] ** 3))(TALL)
    other = gradc.grad(lambda a: np.sum(np.linalg.svd(a, full_matrices=False)[0][:, :2] ** 3))(TALL)
    np.testing.assert_allclose(gradient, other, rtol=1e-9)
    for function in (lambda a: np.sum(np.linalg.svd(a)[0] ** 3), lambda a: np.sum(np.linalg.qr(a, "complete")[0] ** 3)):
        with pytest.raises(gradc.NonDifferentiableError, match="full_matrices=False|reduced"):
            gradc.grad(function)(TALL)
        assert np.isfinite(gradc.grad(function)(A)).all()


def test_a_real_matrix_with_a_complex_root() -> None:
    for function in (gradc.jit(lambda a: scipy.linalg.sqrtm(a)), gradc.grad(lambda a: np.sum(scipy.linalg.sqrtm(a)))):
        with pytest.raises(np.linalg.LinAlgError, match="complex"):
            function(-np.eye(2))
    with pytest.raises(np.linalg.LinAlgError, match="no single solution"):
        gradc.jit(lambda a: scipy.linalg.solve_sylvester(a, -a, a))(np.eye(2))


def test_results_have_names() -> None:
    def f(a):
        s = np.linalg.slogdet(a).sign
        return np.linalg.eigh(a + a.T).eigenvalues, np.linalg.svd(a).S, np.linalg.qr(a)[1], s, np.linalg.eigh(a)

    made, want = gradc.jit(f)(A), f(A)
    assert type(made[-1]) is type(want[-1])
    for value, expected in zip(leaves_of(made), leaves_of(want), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.slow
def test_derivatives_are_jaxs() -> None:
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        jnp = jax.numpy
        theirs = {
            "solve": jnp.linalg.solve, "inv": jnp.linalg.inv, "det": jnp.linalg.det, "pinv": jnp.linalg.pinv,
            "solve_complex": jnp.linalg.solve, "inv_complex": jnp.linalg.inv, "solve_stack": jnp.linalg.solve,
            "svdvals": lambda a: jnp.linalg.svd(a, compute_uv=False), "expm": jax.scipy.linalg.expm,
            "qr_complex": lambda a: (jnp.linalg.qr(a)[0] * 2.0 + jnp.sum(jnp.abs(jnp.linalg.qr(a)[1]) ** 3),
                                     jnp.linalg.qr(a)[1]),
        }  # fmt: skip
        for name, function in theirs.items():
            ours, args = CASES[name]
            out, pullback = jax.vjp(function, *args)
            cts = cotangents_of(ours(*args))
            expected = pullback(jax.tree.unflatten(jax.tree.structure(out), [jnp.asarray(c) for c in cts]))
            program, captured = parsed(name)
            back = reverse(program.func, range(len(args)), keep_value=False, seeds="params")
            for value, want in zip(interp.run(back, [*args, *captured, *cts]), expected, strict=True):
                np.testing.assert_allclose(value, want, rtol=1e-8, atol=1e-9)
    finally:
        jax.config.update("jax_enable_x64", before)


def test_calls_from_numba() -> None:
    import numba

    gradient = gradc.value_and_grad(gp_likelihood, argnums=(0, 1))
    args = PROGRAMS[0][1]
    value, gradients = gradient(*args)

    @numba.njit
    def outer(a, b, x, y):
        return gradient(a, b, x, y)

    again, others = outer(*args)
    np.testing.assert_allclose(again, value)
    np.testing.assert_allclose(others[0], gradients[0])
