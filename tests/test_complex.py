"""Complex numbers: values against NumPy, derivatives against JAX and differences, the conventions, what is refused."""

from __future__ import annotations

import cmath
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np
import pytest
import scipy.linalg

import gradc
from gradc.ad.forward import jvp as forward
from gradc.frontends.from_python import bind_arguments, parse
from gradc.ir import interp
from gradc.ir.tree import flatten
from gradc.ir.verifier import verify
from tests import routes
from tests.oracle import copy_args, difference, is_float_leaf, make_weights, pair, random_direction
from tests.programs import PROGRAMS, Program
from tests.programs.complex_numbers import wave
from tests.programs.entry import signed

Z, W = wave(4), wave(4, seed=1)
A, B = wave(4, 4, seed=2), wave(4, 4, seed=3)
X = signed(4)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


# Functions of two complex vectors. `np` is NumPy or jax.numpy.
def functions(np: Any) -> dict[str, Callable[..., Any]]:
    return {
        # Elementwise.
        "exp": lambda z, w: np.exp(z),
        "exp2": lambda z, w: np.exp2(z),
        "expm1": lambda z, w: np.expm1(z),
        "log": lambda z, w: np.log(z),
        "log2": lambda z, w: np.log2(z),
        "log10": lambda z, w: np.log10(z),
        "log1p": lambda z, w: np.log1p(z),
        "sqrt": lambda z, w: np.sqrt(z),
        "sin": lambda z, w: np.sin(z),
        "cos": lambda z, w: np.cos(z),
        "tan": lambda z, w: np.tan(z),
        "sinh": lambda z, w: np.sinh(z),
        "cosh": lambda z, w: np.cosh(z),
        "tanh": lambda z, w: np.tanh(z),
        "arcsin": lambda z, w: np.arcsin(z),
        "arccos": lambda z, w: np.arccos(z),
        "arctan": lambda z, w: np.arctan(z),
        "arcsinh": lambda z, w: np.arcsinh(z),
        "arctanh": lambda z, w: np.arctanh(z),
        "square": lambda z, w: np.square(z),
        "reciprocal": lambda z, w: np.reciprocal(z),
        "sinc": lambda z, w: np.sinc(z),
        "add": lambda z, w: z + w * 2,
        "sub": lambda z, w: 1j - z - w,
        "mul": lambda z, w: z * w,
        "div": lambda z, w: z / w,
        "pow": lambda z, w: z**w,
        "pow_int": lambda z, w: z**3 + z**-2,
        "pow_real": lambda z, w: z**2.5,
        "pow_complex": lambda z, w: z ** (1 + 2j),
        "pow_of_real": lambda z, w: 2.0**z + np.abs(z) ** w,
        "float_power": lambda z, w: np.float_power(z, 2.0),
        "polyval": lambda z, w: np.polyval(z, w),
        "where": lambda z, w: np.where(z.real > 0, z, w) + np.where(z.imag > 0, z.imag, w),
        "comparisons": lambda z, w: (z == z) * w + (z != w) * z + np.isfinite(z) * w,
        "isreal": lambda z, w: np.isreal(z) * w + np.iscomplex(w) * z,
        "kinds": lambda z, w: z if np.iscomplexobj(z) and np.isrealobj(z.real) else w,
        # Parts.
        "abs": lambda z, w: np.abs(z),
        "angle": lambda z, w: np.angle(z) + np.angle(z.real) + np.angle(w, deg=True),
        "real": lambda z, w: z.real + np.real(w) + np.real(w.real),
        "imag": lambda z, w: z.imag + np.imag(w) + np.imag(w.real),
        "conj": lambda z, w: z.conj() * np.conjugate(w) + np.conj(z.real),
        "round": lambda z, w: np.round(z * 0, 1) * w,
        "nan_to_num": lambda z, w: np.nan_to_num(z) * w,
        # Reductions.
        "sum": lambda z, w: np.sum(z) * w,
        "mean": lambda z, w: np.mean(z) * w,
        "prod": lambda z, w: np.prod(z) * w,
        "var": lambda z, w: np.var(z) * w,
        "std": lambda z, w: np.std(z, ddof=1) * w,
        "cov": lambda z, w: np.cov(z, w)[0],
        "cumsum": lambda z, w: np.cumsum(z),
        "cumprod": lambda z, w: np.cumprod(z),
        "nansum": lambda z, w: np.nansum(z) * w,
        "any": lambda z, w: np.any(z) * w + np.all(z) * z + np.count_nonzero(z) * w,
        "average": lambda z, w: np.average(z, weights=w.real**2) * w,
        "trapezoid": lambda z, w: np.trapezoid(z) * w,
        # Shapes.
        "concatenate": lambda z, w: np.concatenate([z, w.real, 1j * w])[2:10],
        "stack": lambda z, w: np.stack([z, w.real])[:, 1] * np.array([z[0], 1.0]),
        "gather": lambda z, w: z[np.array([0, 1, 1, 3])] * w[::-1],
        "roll": lambda z, w: np.roll(z, 1) * np.repeat(w, 2)[1:5] * np.tile(z[:2], 2),
        "pad": lambda z, w: np.pad(z, 1),
        "diff": lambda z, w: np.diff(z) + np.ediff1d(w),
        "select": lambda z, w: np.select([z.real > 0], [z], w),
        "insert": lambda z, w: np.insert(z, 1, w[0]),
        "full": lambda z, w: np.full(3, z[0]) * w[:3],
        "tril": lambda z, w: np.tril(A * z) @ w + np.triu(A * w) @ z,
        "diag": lambda z, w: np.diag(z) @ w + np.trace(A * z),
        # Products.
        "matmul": lambda z, w: ((A * z) @ B) @ w + z @ A,
        "real_matmul": lambda z, w: A.real @ z + w.real @ B,
        "dot": lambda z, w: np.dot(z, w) * w + np.inner(z, z),
        "vdot": lambda z, w: np.vdot(z, w) * w + np.vdot(z.real, w) + np.vecdot(z, z),
        "outer": lambda z, w: np.outer(z, w) @ w + np.kron(z[:2], w[:2]),
        "cross": lambda z, w: np.cross(z[:3], w[:3]),
        "einsum": lambda z, w: np.einsum("ij,j,i->i", A, z, w.conj()) + np.einsum("i,i->", z, w),
        "tensordot": lambda z, w: np.tensordot(A * z, B, 1) @ w,
        "convolve": lambda z, w: np.convolve(z, w) + np.correlate(z, w, "full"),
        "multi_dot": lambda z, w: np.linalg.multi_dot([A * z, B, A]) @ w,
        "matrix_power": lambda z, w: np.linalg.matrix_power(A * z, 3) @ w,
        # Linear algebra.
        "solve": lambda z, w: np.linalg.solve(A + np.outer(z, w), z) + np.linalg.solve(A.real, w),
        "solve_matrix": lambda z, w: np.linalg.solve(A, B * z) @ w,
        "inv": lambda z, w: np.linalg.inv(A + np.outer(z, w)) @ z,
        "det": lambda z, w: np.linalg.det(A + np.outer(z, w)) * z,
        "slogdet": lambda z, w: np.linalg.slogdet(A + np.outer(z, w))[1] * np.linalg.slogdet(A * z)[0] * w,
        "norm": lambda z, w: np.linalg.norm(z) * w + np.linalg.norm(A * z),
        "norms": lambda z, w: np.linalg.norm(z, 1) * w + np.linalg.norm(z, 3) + np.linalg.norm(z, np.inf),
        "matrix_norms": lambda z, w: np.linalg.norm(A * z, 1) * w + np.linalg.norm(A * w, np.inf),
    }  # fmt: skip


FUNCTIONS = functions(np)
NAMES = list(FUNCTIONS)
T = A + 3 * np.eye(4)
OF_SCIPY: dict[str, Callable[..., Any]] = {
    "triangular": lambda z, w: scipy.linalg.solve_triangular(T * z, w, lower=True),
    "adjoint_triangular": lambda z, w: scipy.linalg.solve_triangular(T * z, w, trans="C"),
    "scipy_solve": lambda z, w: scipy.linalg.solve(T * z, w) * scipy.linalg.det(T) + scipy.linalg.inv(T * w) @ z,
}


@pytest.fixture(scope="module")
def jax() -> Any:
    """JAX in double precision, where it is installed: it is the oracle of the conventions."""
    found = pytest.importorskip("jax")
    before = found.config.jax_enable_x64
    found.config.update("jax_enable_x64", True)
    yield found
    found.config.update("jax_enable_x64", before)


def cotangent_of(out: Any, seed: int = 0) -> Any:
    """A random cotangent of the type of a result."""
    rng = np.random.default_rng(seed)
    value = rng.standard_normal(np.shape(out)) + 1j * rng.standard_normal(np.shape(out))
    return (value if np.iscomplexobj(out) else value.real).astype(np.asarray(out).dtype)


def tangents_by_interpreter(function: Any, args: Any, tangents: Any) -> Any:
    program = parse(function, bind_arguments(function, args, {}))
    captured = [leaf for capture in program.captures for leaf in flatten(capture.fetch())[0]]
    func = forward(program.func, range(len(args)), keep_value=False)
    verify(func)
    return interp.run(func, [*args, *captured, *tangents])[0]


@pytest.mark.parametrize("name", NAMES)
def test_values_are_numpys(name: str) -> None:
    for dtype in ("complex128", "complex64"):
        z, w = Z.astype(dtype), W.astype(dtype)
        expected = FUNCTIONS[name](z, w)
        value = routes.primal_by_interpreter(FUNCTIONS[name], (z.copy(), w.copy()))
        assert np.asarray(value).dtype == np.asarray(expected).dtype
        np.testing.assert_allclose(value, expected, rtol=1e-12 if dtype == "complex128" else 2e-4)


@pytest.mark.parametrize("name", [*NAMES, *OF_SCIPY])
def test_tangents_are_differences_and_cotangents_their_adjoint(name: str) -> None:
    """Re(ct * jvp(t)) is the slope along t, and Re(vjp(ct) * t): for every t this settles both."""
    function = {**FUNCTIONS, **OF_SCIPY}[name]
    ct = cotangent_of(function(Z, W))
    _, gradients = routes.vjp_by_interpreter(function, (Z.copy(), W.copy()), (0, 1), ct)
    for seed in (7, 17):
        t, u = wave(4, seed=seed), wave(4, seed=seed + 1)
        moved = tangents_by_interpreter(function, (Z.copy(), W.copy()), (t, u))

        def along(s: float, t: Any = t, u: Any = u) -> float:
            return float(np.sum(np.real(ct * function(Z + s * t, W + s * u))))

        slope, _ = difference(along, 2e-3)
        np.testing.assert_allclose(np.sum(np.real(ct * moved)), slope, rtol=1e-7, atol=1e-8)
        pulled = np.sum(np.real(gradients[0] * t)) + np.sum(np.real(gradients[1] * u))
        np.testing.assert_allclose(np.sum(np.real(ct * moved)), pulled, rtol=1e-9, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_derivatives_are_jaxs(name: str, jax: Any) -> None:
    ours, theirs = FUNCTIONS[name], functions(jax.numpy)[name]
    ct, tangents = cotangent_of(ours(Z, W)), (wave(4, seed=7), wave(4, seed=8))
    _, gradients = routes.vjp_by_interpreter(ours, (Z.copy(), W.copy()), (0, 1), ct)
    moved = tangents_by_interpreter(ours, (Z.copy(), W.copy()), tangents)
    out, pullback = jax.vjp(theirs, Z, W)
    for ours_, theirs_ in zip(gradients, pullback(jax.numpy.asarray(ct, out.dtype)), strict=True):
        np.testing.assert_allclose(ours_, theirs_, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(moved, jax.jvp(theirs, (Z, W), tangents)[1], rtol=1e-8, atol=1e-9)


def test_derivatives_that_jax_has_otherwise() -> None:
    """JAX's arccosh has the other sign of the derivative in half of the plane, and its sign the derivative 0."""
    gradc.check_grads(lambda z: (np.arccosh(z), np.sign(z)), (Z,), modes="rev")


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, len(NAMES), 12))
def test_kernels(start: int) -> None:
    """Values and cotangents of compiled code, a dozen functions in each kernel."""
    chosen = [FUNCTIONS[n] for n in NAMES[start : start + 12]]

    def together(z, w):
        return [f(z, w) for f in chosen]

    expected = together(Z, W)
    for value, want in zip(gradc.jit(together)(Z, W), expected, strict=True):
        assert np.asarray(value).dtype == np.asarray(want).dtype
        np.testing.assert_allclose(value, want, rtol=1e-11)
    cts = [cotangent_of(out) for out in expected]
    _, gradients = routes.vjp_by_interpreter(together, (Z, W), (0, 1), cts)
    for ours, want in zip(gradc.vjp(together, Z, W)[1](cts), gradients, strict=True):
        np.testing.assert_allclose(ours, want, rtol=1e-9, atol=1e-10)


LOOPS = [p for p in PROGRAMS if p.group == "complex_numbers" and not p.refused]


@pytest.mark.parametrize("program", LOOPS, ids=lambda p: p.name)
def test_forward_mode_of_programs_is_the_adjoint_of_reverse_mode(program: Program) -> None:
    """Re <ct, jvp(t)> is Re <vjp(ct), t> through loops, branches and buffers; reverse mode is compared elsewhere."""
    for args in program.inputs:
        active = program.active(args)
        weights = make_weights(program.function(*copy_args(args)))
        _, gradients = routes.vjp_by_interpreter(program.function, copy_args(args), active, weights)
        directions = random_direction(args, active, 3)
        bound = bind_arguments(program.function, copy_args(args), {})
        parsed = parse(program.function, bound)
        leaves = [leaf for arg in bound for leaf in flatten(arg)[0]]
        moving = [leaf for d in directions for leaf in flatten(d)[0] if leaf is not None]
        owner = [k for k, arg in enumerate(args) for _ in flatten(arg)[0]]
        wrt = [k for k, leaf in enumerate(leaves[: len(owner)]) if owner[k] in active and is_float_leaf(leaf)]
        tangents = [np.asarray(t).astype(np.asarray(leaves[k]).dtype) for k, t in zip(wrt, moving, strict=True)]
        tangents = [t if isinstance(leaves[k], np.ndarray) else t[()] for k, t in zip(wrt, tangents, strict=True)]
        captured = [leaf for capture in parsed.captures for leaf in flatten(capture.fetch())[0]]
        func = forward(parsed.func, wrt, keep_value=False)
        verify(func)
        moved = interp.run(func, [*leaves, *captured, *tangents])
        cts = [leaf for leaf in flatten(weights)[0] if leaf is not None]
        along = sum(float(np.sum(np.real(np.asarray(m) * c))) for m, c in zip(moved, cts, strict=True))
        single = any(np.asarray(leaf).dtype in (np.float32, np.complex64) for leaf in leaves)
        tolerance = 1e-4 if single else 1e-9
        np.testing.assert_allclose(along, pair(gradients, directions), rtol=tolerance, atol=tolerance)


# ------------------------------------------------------------------------------------------------- values

POINTS = [
    complex(x, y) for x, y in (
        (0.0, 0.0), (-0.0, 0.0), (0.0, -0.0), (1.0, 0.0), (-1.0, 0.0), (-1.0, -0.0), (2.0, 0.0), (2.0, -0.0),
        (-2.0, 0.0), (-2.0, -0.0), (0.0, 1.0), (0.0, -1.0), (0.0, 2.0), (-0.0, 2.0), (0.0, -2.0), (1e-9, 1e-9),
        (300.0, 1.0), (-300.0, 1.0), (1000.0, 1.0), (-1000.0, 1.0), (1e-200, 1e-200), (0.0, 800.0), (1.0, 800.0),
        (50.0, 1.0), (0.6, 0.8), (np.inf, 1.0), (-np.inf, 0.5), (0.3, np.inf), (np.nan, 1.0),
    )
]  # fmt: skip
FINITE = np.array([p for p in POINTS if cmath.isfinite(p)])
ELEMENTARY = [
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh",
    "arcsin", "arccos", "arctan", "arcsinh", "arccosh", "arctanh",
]  # fmt: skip


def all_elementary(z):
    return (
        np.exp(z), np.exp2(z), np.expm1(z), np.log(z), np.log2(z), np.log10(z), np.log1p(z), np.sqrt(z), np.sin(z),
        np.cos(z), np.tan(z), np.sinh(z), np.cosh(z), np.tanh(z), np.arcsin(z), np.arccos(z), np.arctan(z),
        np.arcsinh(z), np.arccosh(z), np.arctanh(z), np.isnan(z), np.isinf(z), np.isfinite(z), np.abs(z),
    )  # fmt: skip


def test_kernels_at_branch_cuts_and_far_out() -> None:
    """Both parts at every finite point, on both sides of each cut; of infinities the predicates."""
    compiled = gradc.jit(all_elementary)
    for name, value, expected in zip(ELEMENTARY, compiled(FINITE), all_elementary(FINITE), strict=False):
        for point, ours, theirs in zip(FINITE, value, expected, strict=True):
            for part in ("real", "imag"):
                a, b = getattr(ours, part), getattr(theirs, part)
                close = (np.isnan(a) and np.isnan(b)) or a == b or abs(a - b) <= 1e-13 * abs(theirs)
                assert close, (name, point, ours, theirs)
    points = np.array(POINTS)
    for ours, theirs in zip(compiled(points)[-4:], all_elementary(points)[-4:], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-15)


def test_python_and_numpy_numbers() -> None:
    """Python numbers are weak: single precision stays single, and results are of Python's or NumPy's type as there."""

    def f(x, z):
        return x * 1j, z.real, z.conjugate(), np.conj(z), complex(z.imag, 2.0), cmath.exp(z), 1j * z

    for args in ((1.5, 1 + 2j), (np.float32(1.5), np.complex64(1 + 2j)), (np.float64(1.5), 2j)):
        for ours, theirs in zip(gradc.jit(f)(*args), f(*args), strict=True):
            assert type(ours) is type(theirs)
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)


# ----------------------------------------------------------------------------------------------- conventions


def test_gradient_of_a_complex_argument() -> None:
    """f(x + iy) has the gradient df/dx - i df/dy: the step that lowers f is -conj(gradient)."""
    assert gradc.grad(lambda z: abs(z) ** 2)(3 + 4j) == 6 - 8j
    value, gradient = gradc.value_and_grad(lambda z: (z * z).imag)(np.complex128(1 + 2j))
    assert (value, gradient) == (4.0, 4 - 2j) and type(gradient) is np.complex128
    assert gradc.grad(lambda z: np.sum(np.abs(z) ** 2))(Z.astype("complex64")).dtype == np.complex64
    z, gradient = 2 - 1j, gradc.grad(lambda v: abs(v * v + 1) ** 2)
    for _ in range(200):
        z -= gradient(z).conjugate() / 40
    np.testing.assert_allclose(z * z, -1, rtol=1e-6)


def test_pullbacks_do_not_conjugate() -> None:
    assert gradc.vjp(lambda z: z * z, 3 + 4j)[1](1j) == (2j * (3 + 4j),)
    assert gradc.vjp(lambda z: z.conjugate(), 3 + 4j)[1](1j) == (-1j,)
    assert gradc.vjp(lambda z: z.imag, 3 + 4j)[1](2.0) == (-2j,)
    assert gradc.vjp(lambda x: x * 1j, 3.0)[1](1 + 2j) == (-2.0,)  # a real number has the real part
    assert gradc.jvp(lambda z: z * z, (3 + 4j,), (1j,)) == (-7 + 24j, -8 + 6j)
    assert gradc.jvp(lambda z: z.conjugate(), (3 + 4j,), (1j,)) == (3 - 4j, -1j)
    assert gradc.jvp(lambda z: abs(z), (3 + 4j,), (1j,)) == (5.0, 0.8)


def test_at_zero() -> None:
    assert gradc.grad(lambda z: abs(z))(0j) == 0
    assert gradc.grad(lambda z: np.angle(z))(0j) == 0
    assert gradc.grad(lambda z: np.sign(z).real)(0j) == 0
    assert gradc.grad(lambda z: np.linalg.norm(z))(np.zeros(2, complex)).tolist() == [0, 0]
    assert gradc.grad(lambda a: abs(a * 1j))(0.0) == 0.0


def wiggle(x):
    z = np.exp(1j * x) * (x + 2j)
    z = z / (1 + z * z)
    return np.sum(np.abs(z) ** 2 + np.angle(z) * z.real)


@pytest.mark.slow
def test_second_order(jax: Any) -> None:
    """Forward over reverse, reverse over reverse, products: real functions through complex numbers."""
    jnp = jax.numpy

    def theirs(x):
        z = jnp.exp(1j * x) * (x + 2j)
        z = z / (1 + z * z)
        return jnp.sum(jnp.abs(z) ** 2 + jnp.angle(z) * z.real)

    expected = jax.hessian(theirs)(X)
    np.testing.assert_allclose(gradc.hessian(wiggle)(X), expected, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(gradc.jacrev(gradc.grad(wiggle))(X), expected, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(gradc.hvp(wiggle)(X, X), expected @ X, rtol=1e-11)


def test_third_order_of_a_number() -> None:
    # Re(a * exp(ia)) three times: Re((i**3 * a + 3 * i**2) * exp(ia)).
    third = gradc.grad(gradc.grad(gradc.grad(lambda a: (np.exp(1j * a) * a).real)))
    np.testing.assert_allclose(third(0.7), (np.exp(0.7j) * (-0.7j - 3)).real, rtol=1e-14)


def test_jacobians() -> None:
    def f(x):
        return np.abs(np.exp(1j * x) + x[::-1])

    expected = gradc.jacfwd(f)(X)
    np.testing.assert_allclose(gradc.jacrev(f)(X), expected, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(gradc.jacfwd(lambda x: np.exp(1j * x) * x[0])(X)[1, 1], 1j * np.exp(1j * X[1]) * X[0])
    sparse = gradc.sparse_jacobian(f)(X).toarray()
    np.testing.assert_allclose(sparse, expected, rtol=1e-13, atol=1e-14)


def test_comparison_with_differences() -> None:
    """check_grads and numerical_grad move complex arguments along both axes."""

    def f(z, x):
        return np.sum(np.abs(z) ** 2 * z.real) * x

    def wrong(z):
        return np.sum((gradc.stop_gradient(z) * z).imag)

    gradc.check_grads(f, (Z, 1.5), order=2)
    gradc.check_grads(lambda z: (z * z + np.conj(z) * abs(z), z.imag), (Z,), order=2, modes="rev")
    np.testing.assert_allclose(gradc.numerical_grad(f)(Z, 1.5), gradc.grad(f)(Z, 1.5), rtol=1e-7)
    assert type(gradc.numerical_grad(abs)(3 + 4j)) is complex
    with pytest.raises(gradc.GradientMismatch, match="disagrees"):
        gradc.check_grads(wrong, (Z,))
    with pytest.raises(gradc.DTypeError, match="complex"):
        gradc.numerical_grad(lambda x: x * 1j)(1.0)


# ---------------------------------------------------------------------------------------------- other routes


def test_calls_from_numba() -> None:
    gradient = gradc.value_and_grad(lambda z: np.sum(np.abs(z) ** 2 * z.real))
    scalar = gradc.jit(lambda a: np.exp(1j * a))

    @numba.njit
    def use(z, a):
        return gradient(z), scalar(a)

    (value, dz), turned = use(Z, 0.3)
    expected, dz_expected = gradient(Z)
    assert value == expected
    np.testing.assert_array_equal(dz, dz_expected)
    assert turned == scalar(0.3)


def test_pictures() -> None:
    """The circuit and the table of stages show complex values: numbers as they are, arrays by their size."""
    text = str(gradc.grad(lambda a: (np.exp(1j * a) * a).real).diagram(0.3))
    assert "0.9553+0.2955j" in text
    assert len(gradc.grad(wiggle).explain(X).rows) > 2


def test_checkpoint_and_custom_rules() -> None:
    @gradc.custom_vjp
    def doubled(z):
        return z * 2

    doubled.defvjp(lambda z: (z * 2, None), lambda residuals, ct: (ct * 20j,))
    assert gradc.vjp(lambda z: doubled(z), 1 + 1j)[1](1.0 + 0j) == (20j,)
    inner = gradc.checkpoint(lambda x: np.exp(1j * x) + x)
    plain = gradc.grad(lambda x: np.sum(np.abs(np.exp(1j * x) + x)))(X)
    np.testing.assert_allclose(gradc.grad(lambda x: np.sum(np.abs(inner(x))))(X), plain, rtol=1e-14)


def test_sympy_expressions() -> None:
    """The imaginary unit, parts and conjugates, there and back."""
    sympy = pytest.importorskip("sympy")
    x, z = sympy.Symbol("x", real=True), sympy.Symbol("z")
    expression = sympy.re(z) * sympy.im(z) + sympy.conjugate(z) ** 2 + sympy.arg(z)
    expression += sympy.exp(sympy.I * z) + z**sympy.I
    f = gradc.lambdify((z,), expression)
    np.testing.assert_allclose(f(1 + 2j), sympy.lambdify((z,), expression)(1 + 2j), rtol=1e-14)
    assert gradc.grad(gradc.lambdify((z,), sympy.Abs(z) ** 2))(1 + 2j) == 2 - 4j
    slope = gradc.to_sympy(gradc.grad(lambda x: (np.exp(1j * x) * x).real), x)
    assert sympy.simplify(slope - sympy.cos(x) + x * sympy.sin(x)) == 0


# ------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("function", "error", "hint"),
    [
        (lambda z: np.max(z).real, gradc.DTypeError, "abs(z)"),
        (lambda z: np.maximum(z, 1.0).real.sum(), gradc.DTypeError, "abs(z)"),
        (lambda z: np.floor(z).real.sum(), gradc.DTypeError, "z.real"),
        (lambda z: np.sum(z < 1j), gradc.DTypeError, "abs(z)"),
        (lambda z: np.sort(z).real.sum(), gradc.DTypeError, "abs(z)"),
        (lambda z: np.sum(z % 2).real, gradc.DTypeError, "z.real"),
        (lambda z: np.arctan2(z, z).real.sum(), gradc.DTypeError, "z.real"),
        (lambda z: float(z[0]), gradc.DTypeError, "z.real"),
        (lambda z: np.sum(z.astype(float)), gradc.DTypeError, "z.real"),
        (lambda z: np.sum(z), gradc.DTypeError, "vjp"),
    ],
    ids=lambda v: getattr(v, "__name__", None),
)
def test_refused_with_a_hint(function: Any, error: type[Exception], hint: str) -> None:
    with pytest.raises(error) as caught:
        gradc.grad(function)(Z)
    assert hint in caught.value.hint and caught.value.lineno


def test_real_if_close_is_real_or_raises() -> None:
    """The dtype of a compiled result cannot depend on the numbers: NumPy's would be complex."""
    f = gradc.value_and_grad(lambda x, y: np.sum(np.real_if_close((x + 1j * y) ** 2) * x))
    value, gradient = f(X, 0 * X)
    assert value == np.sum(X**3)
    np.testing.assert_allclose(gradient, 3 * X**2)
    assert gradc.grad(lambda x: np.real_if_close(x) ** 2)(3.0) == 6.0
    with pytest.raises(gradc.DTypeError, match="not close to real"):
        f(X, X)


def test_jacobians_in_complex_arguments_are_refused() -> None:
    for derivative in (gradc.jacfwd, gradc.jacrev, gradc.sparse_jacobian):
        with pytest.raises(gradc.DTypeError, match="complex"):
            derivative(lambda z: z.real * 2.0)(Z)


def test_complex_into_a_real_array_is_refused() -> None:
    def f(x):
        y = np.zeros(4)
        y[0] = x[0] * 1j
        return y.sum()

    with pytest.raises(gradc.DTypeError, match="real array"):
        gradc.grad(f)(X)
