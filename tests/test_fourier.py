"""Fourier transforms: values against NumPy and SciPy, derivatives against the maps themselves, JAX, and differences.

A weighted sum of transforms is a linear function of what is transformed, so its gradient g is exact if the function of
every unit vector e (and of 1j * e) is Re(g * e): NumPy's own transforms are the oracle of the derivatives.
"""

from __future__ import annotations

import itertools
import os
import runpy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
import scipy.fft

import gradc
from gradc.codegen.fourier import UNAVAILABLE, loop_addresses
from gradc.ir import interp
from gradc.ops.cosine import cosine_transform
from gradc.passes.expand import expand
from tests.test_ops import build

SHAPES = [(6, 7), (5, 4), (1, 3), (3, 1)]
TOLERANCE = {"float64": 1e-12, "complex128": 1e-12, "float32": 2e-5, "complex64": 2e-5}


def draw(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape)
    return (values + 1j * rng.standard_normal(shape) if dtype.startswith("complex") else values).astype(dtype)


def assert_linear_gradient(program: Any, x: Any, *rest: Any) -> None:
    """Value and gradient of a program that is linear in x over the real numbers."""
    tolerance = TOLERANCE[x.dtype.name]
    value, gradient = gradc.value_and_grad(program)(x, *rest)
    np.testing.assert_allclose(value, program(x, *rest), rtol=tolerance, atol=tolerance * 50)
    assert gradient.dtype == x.dtype
    assert np.all(np.isfinite(gradient))
    for place in np.ndindex(*x.shape):
        for step in (1, 1j) if np.iscomplexobj(x) else (1,):
            unit = np.zeros_like(x)
            unit[place] = step
            np.testing.assert_allclose(
                (gradient[place] * step).real, program(unit, *rest), rtol=tolerance, atol=tolerance * 50
            )


def weighted(*parts: Any) -> Any:
    """A real number that is linear in the parts, every entry with another weight."""
    total = 0.0
    for p in parts:
        k = np.arange(p.shape[0])[:, None] * 0.37 + np.arange(p.shape[1]) * 0.21
        total = total + np.sum(p * np.cos(k)).real + np.sum(p * np.sin(2 * k)).imag
    return total


def of_complex(x):
    return weighted(
        np.fft.fft(x), np.fft.ifft(x, axis=0), np.fft.fft(x, 5), np.fft.ifft(x, 3, 0, "ortho"),
        np.fft.fft(x, axis=0, norm="forward"), np.fft.ifft(x, norm="forward"), np.fft.fft2(x, norm="ortho"),
        np.fft.ifftn(x, (4, 9), (0, 1)), np.fft.fftn(x, axes=(0,)), np.fft.fftshift(x), np.fft.ifftshift(x, axes=(1,)),
    )


def whole_spectrum_of_real(x):
    return weighted(
        np.fft.fft(x), np.fft.ifft(x, axis=0, norm="ortho"), np.fft.fft2(x), np.fft.ifftn(x, (5, 3), (1, 0)),
        np.fft.ifft(x, 1), np.fft.fft(x, 2 * x.shape[1] - 1, norm="forward"),
    )


def to_real(x):
    return weighted(
        np.fft.irfft(x, 5), np.fft.irfft(x, 6, axis=0), np.fft.irfft(x, 9, norm="ortho"), np.fft.irfft(x, 1),
        np.fft.irfft2(x, (4, 7)), np.fft.irfftn(x, (3, 8), axes=(1, 0), norm="forward"), np.fft.hfft(x, 7),
        np.fft.irfft(x, 2 * x.shape[1], norm="forward"),
    )


def of_real(x):
    return weighted(
        np.fft.rfft(x), np.fft.rfft(x, axis=0), np.fft.rfft(x, 5, norm="ortho"), np.fft.rfft(x, 12, 0, "forward"),
        np.fft.rfft2(x), np.fft.rfftn(x, (5, 6), axes=(1, 0)), np.fft.rfftn(x, norm="ortho"), np.fft.ihfft(x, 6),
        np.fft.rfft(x, 1),
    )


def by_scipy(x):
    return weighted(
        scipy.fft.fft(x), scipy.fft.ifft(x, 5, axis=0, norm="ortho"), scipy.fft.fft2(x), scipy.fft.ifftn(x, axes=(0,)),
        scipy.fft.fftn(x, (4, 5)), scipy.fft.fftshift(x, axes=0), scipy.fft.irfft(x, 7), scipy.fft.hfft(x, 6),
        scipy.fft.irfft2(x, (4, 6)),
    )


def by_scipy_of_real(x):
    return weighted(
        scipy.fft.rfft(x), scipy.fft.rfft(x, 9, 0, "ortho"), scipy.fft.rfft2(x), scipy.fft.rfftn(x, axes=(1, 0)),
        scipy.fft.ihfft(x),
    )


def cosines(x):
    return weighted(
        scipy.fft.dct(x), scipy.fft.dct(x, 3, axis=0), scipy.fft.dct(x, 2, 5, norm="ortho"), scipy.fft.dct(x, 4),
        scipy.fft.idct(x), scipy.fft.idct(x, 3, axis=0, norm="forward"), scipy.fft.dctn(x, norm="ortho"),
        scipy.fft.dct(x, 1, 6, 0), scipy.fft.idctn(x, 2, (4, 3)), scipy.fft.idct(x, 1, 5, norm="ortho"),
    )


def sines(x):
    return weighted(
        scipy.fft.dst(x), scipy.fft.dst(x, 3, axis=0), scipy.fft.dst(x, 1, 5, norm="ortho"), scipy.fft.dst(x, 4),
        scipy.fft.idst(x, 1), scipy.fft.idst(x, 3, axis=0, norm="ortho"), scipy.fft.dstn(x, 2, axes=(0,)),
        scipy.fft.idst(x, 2, norm="ortho"),
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("program", [of_complex, to_real, of_real, whole_spectrum_of_real], ids=lambda f: f.__name__)
def test_transforms_of_doubles(program: Any, shape: tuple[int, ...]) -> None:
    assert_linear_gradient(program, draw(shape, "complex128" if program in (of_complex, to_real) else "float64"))


@pytest.mark.parametrize("kind", ["dct", "dst"])
@pytest.mark.parametrize("n", [1, 2, 3, 8, 9])
def test_cosine_and_sine_transforms_are_scipys_and_their_rules_the_transposed_matrices(kind: str, n: int) -> None:
    x = draw((n, 3), "float64")
    for number, norm, orthogonalize in itertools.product((1, 2, 3, 4), ("backward", "ortho", "forward"), (False, True)):
        if kind == "dct" and number == n == 1:
            continue
        attrs = {"kind": kind, "type": number, "axis": 0, "norm": norm, "orthogonalize": orthogonalize}
        whole = getattr(scipy.fft, kind)(np.eye(n), number, axis=0, norm=norm, orthogonalize=orthogonalize)
        forward = expand(build(lambda v, attrs=attrs: cosine_transform(v, **attrs), x))
        back = expand(build(lambda ct, v, attrs=attrs: cosine_transform.vjp(ct, None, v, **attrs)[0], x, x))
        np.testing.assert_allclose(interp.run(forward, (x,))[0], whole @ x, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(interp.run(back, (x, x))[0], whole.T @ x, rtol=1e-12, atol=1e-12)


@pytest.mark.slow  # three seconds for each kernel
@pytest.mark.parametrize("dtype", ["float32", "complex64", "float64", "complex128"])
@pytest.mark.parametrize(
    "program", [of_complex, to_real, of_real, whole_spectrum_of_real, by_scipy, by_scipy_of_real, cosines, sines],
    ids=lambda f: f.__name__,
)
def test_transforms_of_other_dtypes(program: Any, dtype: str) -> None:
    if dtype.startswith("complex") and program in (of_real, by_scipy_of_real):
        pytest.skip("of real numbers only")
    for shape in SHAPES[:2]:
        assert_linear_gradient(program, draw(shape, dtype))


# -------------------------------------------------------------------------------------------------- messages


def misspelt(x):
    return np.fft.fft(x, norm="orthogonal").real


def no_points(x):
    return np.fft.rfft(x, 0).real


def no_such_axis(x):
    return np.fft.ifft(x, axis=2).real


def sizes_of_other_axes(x):
    return np.fft.fftn(x, (3, 4), axes=(0,)).real


def half_a_point(x):
    return np.fft.fft(x, 2.5).real


def real_transform_of_complex(x):
    return np.fft.rfft(x * 1j).real


def number(x):
    return np.fft.fft(x[0, 0]).real


def unknown_type(x):
    return scipy.fft.dct(x, 5)


def too_short_for_type_1(x):
    return scipy.fft.dct(x[:, :1], 1)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (misspelt, 'Invalid norm value orthogonal; should be "backward"'),
        (no_points, r"Invalid number of FFT data points \(0\) specified"),
        (no_such_axis, "axis 2 is out of bounds"),
        (sizes_of_other_axes, "Shape and axes have different lengths"),
        (half_a_point, "a shape is an integer"),
        (real_transform_of_complex, "this transform takes real numbers"),
        (number, "takes arrays with one axis at least"),
        (unknown_type, "invalid type of transform 5"),
        (too_short_for_type_1, r"Invalid number of data points \(1\) specified"),
    ],
    ids=lambda v: getattr(v, "__name__", None),
)
def test_what_numpy_refuses_is_refused_at_its_place(program: Any, message: str) -> None:
    x = draw((3, 4), "float64")
    with pytest.raises(Exception) as by_numpy:  # noqa: PT011  # whatever NumPy raises
        program(x)
    with pytest.raises(gradc.GradcError, match=message) as found:
        gradc.jit(program)(x)
    if isinstance(by_numpy.value, ValueError | TypeError):
        assert isinstance(found.value, ValueError if isinstance(by_numpy.value, ValueError) else TypeError)
    assert "^" in str(found.value)
    assert "fft." in str(found.value)


# ---------------------------------------------------------------------------------------- other ways to run


def spectrum_energy(x, gain):
    y = np.fft.irfft(np.fft.rfft(x, axis=0) * gain[:, None], x.shape[0], axis=0)
    return np.sum(y**2 * x) + np.sum(np.abs(np.fft.fft2(y)) ** 2)


GRADIENT = gradc.value_and_grad(spectrum_energy, (0, 1))
ARGS = (draw((6, 5), "float64"), draw((4,), "float64", 1))


@numba.njit
def from_numba(x, gain):
    value, (dx, dgain) = GRADIENT(x, gain)
    return value, dx, dgain


def test_calls_from_numba() -> None:
    value, (dx, dgain) = GRADIENT(*ARGS)
    for got, want in zip(from_numba(*ARGS), (value, dx, dgain), strict=True):
        np.testing.assert_allclose(got, want)


@pytest.mark.parametrize("by_numba", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_saved_modules(by_numba: bool, tmp_path: Path) -> None:
    path = GRADIENT.lower(*ARGS).source.save(tmp_path / "saved.py", numba=by_numba)
    assert "import gradc" not in path.read_text()
    space = runpy.run_path(str(path))
    value, gradients = space["spectrum_energy_value_and_grad"](*ARGS)
    expected = GRADIENT(*ARGS)
    np.testing.assert_allclose(value, expected[0])
    for got, want in zip(gradients, expected[1], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("native", ["1", pytest.param("0", marks=pytest.mark.slow)])
def test_machine_code_from_the_disk_cache_finds_the_transforms(native: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import numpy as np, gradc, numba\n"
        "f = gradc.grad(lambda x: np.sum(np.abs(np.fft.rfft(x)) ** 4))\n"
        "@numba.njit(cache=True)\n"
        "def twice(x):\n"
        "    return f(f(x))\n"
        "print(repr(twice(np.arange(4.0)).tolist()), repr(f(np.arange(4.0)).tolist()))\n"
    )
    root = Path(gradc.__file__).parents[1]
    cache = {"GRADC_CACHE_DIR": str(tmp_path / "cache"), "GRADC_NATIVE": native}
    environment = {**os.environ, **cache, "PYTHONPATH": str(root)}
    runs = [
        subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert runs[0].startswith("[")


def test_threads_share_the_transforms() -> None:
    rng = np.random.default_rng(0)
    step = gradc.grad(lambda x: np.sum(np.abs(np.fft.fft(x)) ** 4))
    inputs = [rng.standard_normal(n) for n in (64, 63, 128, 100, 97, 81) * 4]
    expected = [step(x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            for got, want in zip(pool.map(step, inputs), expected, strict=True):
                np.testing.assert_array_equal(got, want)


def test_sparse_patterns_stay_in_rows_that_are_not_transformed() -> None:
    def rows(x):
        return (np.abs(np.fft.fft(x.reshape(3, 4))) ** 2).reshape(-1)

    def columns(x):
        return np.fft.irfft2(np.fft.rfft(x.reshape(2, 3, 2), axis=1), (4, 2), axes=(1, 2)).reshape(-1)

    x = draw((12,), "float64")
    pattern = gradc.sparse_jacobian(rows)(x)
    np.testing.assert_allclose(pattern.toarray(), gradc.jacobian(rows)(x), atol=1e-12)
    assert pattern.nnz == 48
    found = gradc.sparse_jacobian(columns)(x)
    np.testing.assert_allclose(found.toarray(), gradc.jacobian(columns)(x), atol=1e-12)
    assert found.nnz == 2 * 6 * 8


def test_source_is_what_one_would_write() -> None:
    text = GRADIENT.lower(*ARGS).source
    assert "np.fft.rfft(x, axis=0)" in text
    assert "np.fft.irfft(t1 * gain[:, None], x.shape[0], axis=0)" in text
    assert "np.fft.fft2(" in text
    assert "raise" not in text


def test_fast_lengths_are_scipys() -> None:
    of_complex = gradc.jit(lambda n: scipy.fft.next_fast_len(n))
    of_real = gradc.jit(lambda n: scipy.fft.next_fast_len(n, True))
    for n in (*range(1, 300), 1699, 65537, 1_000_003):
        assert of_complex(n) == scipy.fft.next_fast_len(n)
        assert of_real(n) == scipy.fft.next_fast_len(n, True)


def test_layout_of_numpys_ufuncs_is_checked() -> None:
    with pytest.raises(ImportError, match="sin is not laid out as gradc expects"):
        loop_addresses(np.sin)
    assert not UNAVAILABLE
