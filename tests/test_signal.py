"""scipy.signal: values are SciPy's in every mode and at every boundary, derivatives those of differences and of JAX."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import signal

import gradc

RNG = np.random.default_rng(0)
MODES = pytest.mark.parametrize("mode", ["full", "same", "valid"])


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


def agrees(f: Any, *args: Any, order: int = 1) -> None:
    """Value, shape and dtype as in Python; derivatives as differences."""
    wanted, found = f(*args), gradc.jit(f)(*args)
    single = np.asarray(wanted).dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-5 if single else 1e-11, atol=1e-13)
    assert np.shape(found) == np.shape(wanted)
    assert np.asarray(found).dtype == np.asarray(wanted).dtype
    if order:
        gradc.check_grads(lambda *a: np.sum(f(*a) ** 2), args, order=order)


@MODES
@pytest.mark.slow
def test_convolutions(mode: str) -> None:
    agrees(lambda a, v: signal.convolve(a, v, mode), normal(7), normal(3), order=2)
    agrees(lambda a, v: signal.convolve(a, v, mode=mode, method="fft"), normal(5, 6), normal(3, 2))
    agrees(lambda a, v: signal.fftconvolve(a, v, mode), normal(3, 4, 5), normal(2, 3, 2))
    agrees(lambda a, v: signal.correlate(a, v, mode), normal(7), normal(4))
    agrees(lambda a, v: signal.correlate(a, v, mode), normal(5, 6), normal(3, 2))


@MODES
def test_planes_and_their_boundaries(mode: str) -> None:
    def each(a, v):
        return [f(a, v, mode, boundary) for f in (signal.convolve2d, signal.correlate2d)
                for boundary in ("fill", "wrap", "symm")]

    compiled = gradc.jit(each)
    for shape in ((3, 3), (2, 4), (1, 2)):
        a, v = normal(5, 6), normal(*shape)
        for found, wanted in zip(compiled(a, v), each(a, v), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-13)
    gradc.check_grads(lambda a, v: sum(np.sum(x**2) for x in each(a, v)), (normal(5, 6), normal(2, 4)))
    agrees(lambda a, v, f: signal.convolve2d(a, v, mode, fillvalue=f), normal(5, 6), normal(3, 2), 1.5)


def test_sizes_and_types() -> None:
    agrees(lambda a, v: signal.convolve(a, v), normal(3), normal(7))
    agrees(lambda a, v: signal.convolve(a, v, "same"), normal(3), normal(7), order=0)
    agrees(lambda a, v: signal.correlate(a, v), normal(1, 4), normal(3, 1))
    agrees(lambda a, v: signal.convolve(a, v), np.arange(5), np.arange(3), order=0)
    agrees(lambda a, v: signal.fftconvolve(a, v), np.arange(5), np.arange(3), order=0)
    agrees(lambda a, v: signal.convolve(a, v), normal(5).astype(np.float32), normal(3).astype(np.float32), order=0)
    agrees(lambda a, v: np.abs(signal.correlate(a + 1j * v[0], v * 1j + a[:3])), normal(5), normal(3))


def test_gradients_of_an_image_are_jaxs() -> None:
    jax = pytest.importorskip("jax", reason="JAX is the oracle here, and is not installed")
    jax.config.update("jax_enable_x64", True)
    from jax.scipy.signal import convolve2d

    image, kernel, weights = normal(12, 15), normal(4, 3), normal(12, 15)
    found = gradc.grad(lambda a, v: np.sum(weights * signal.convolve2d(a, v, "same")), argnums=(0, 1))(image, kernel)
    wanted = jax.grad(lambda a, v: (weights * convolve2d(a, v, "same")).sum(), argnums=(0, 1))(image, kernel)
    for have, want in zip(found, wanted, strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-12, atol=1e-13)


def test_source_runs_under_scipy() -> None:
    def f(a, v):
        return np.sum(signal.convolve(a, v, "valid") ** 2)

    derivative = gradc.grad(f, argnums=(0, 1))
    a, v = normal(5, 6), normal(2, 3)
    found = derivative(a, v)
    namespace: dict[str, Any] = {}
    exec(derivative.source, namespace)
    for have, want in zip(namespace["f_grad"](a, v), found, strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-12)


def test_filters() -> None:
    below = np.array([1.5, 0.3, -0.2])
    agrees(lambda b, a, x: signal.lfilter(b, a, x), normal(3), below, normal(8), order=2)
    agrees(lambda b, a, x: signal.lfilter(b, a, x, axis=0), normal(2), below, normal(8, 3))
    agrees(lambda b, a, x: signal.lfilter(b, a, x), normal(2), below, normal(2, 3, 4))
    agrees(lambda p, x: signal.lfilter([1 - p], [1.0, -p], x), 0.3, normal(5))
    agrees(lambda p, x: signal.lfilter([1 - p], 2.0, x), 0.3, normal(1))
    agrees(lambda b, x: signal.lfilter(b, below, x), normal(2), normal(0), order=0)


def test_what_is_refused() -> None:
    a, v = normal(3), normal(5)
    with pytest.raises(gradc.ShapeError, match="larger array first"):
        gradc.jit(lambda a, v: signal.convolve(a, v, "valid"))(a, v)
    with pytest.raises(gradc.ShapeError, match="same number of axes"):
        gradc.jit(lambda a, v: signal.convolve(a, v))(normal(3, 3), v)
    with pytest.raises(gradc.ShapeError, match="empty array"):
        gradc.jit(lambda a, v: signal.convolve(a, v))(normal(0), v)
    with pytest.raises(gradc.UnsupportedError, match="initial conditions"):
        gradc.jit(lambda a, v: signal.lfilter(a, a, v, zi=a))(a, v)
    with pytest.raises(gradc.ShapeError, match="same dimensionality"):
        gradc.jit(lambda a, v: signal.fftconvolve(a, v))(normal(3, 3), v)
    with pytest.raises(gradc.UnsupportedError, match="mode 'some'"):
        gradc.jit(lambda a, v: signal.convolve(a, v, "some"))(a, v)
