"""Array programs, networks and ADBench's objectives: values, and all argument gradients at once, at three sizes.

The oracle is the derivative along random directions over all float arguments, by differences of sixth order with an
error estimate; where JAX is installed, also every entry of the gradient of a port.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import gradc
from tests import routes
from tests.oracle import copy_args, directional, leaves, pair, random_direction, tree_map
from tests.workloads import WORKLOADS, Workload

QUICK = ("staged", "mlp", "jacobi_2d", "cholesky", "gmm", "spmv")
# Programs whose interpretation, node by node, takes long at the third size.
SLOW_INTERPRETED = {"gmm", "lenet5", "lstm", "channel_flow", "cholesky", "gramschmidt", "symm", "syrk", "seidel_2d"}
ALL = list(WORKLOADS.values())


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def check_gradients(workload: Workload, args: tuple[Any, ...], value: Any, gradients: tuple[Any, ...]) -> None:
    """Against the differences of the plain function in float64."""
    expected = float(workload.loss(*copy_args(args)))
    assert abs(float(value) - expected) <= 1e-11 * max(1.0, abs(expected))
    for k, gradient in zip(workload.argnums, gradients, strict=True):
        tree_map(lambda leaf, g: _same_kind(workload.name, leaf, g), args[k], gradient)
    for seed in range(3):
        direction = random_direction(args, workload.argnums, seed)
        slope, uncertainty = directional(workload.loss, args, workload.argnums, direction)
        # What entries of the gradient could add up to without cancellation: the scale of rounding in the pairing.
        scale = sum(
            float(np.sum(np.abs(np.asarray(g) * d))) for g, d in zip(leaves(gradients), leaves(direction), strict=True)
        )
        assert uncertainty <= 1e-5 * max(scale, 1e-6), "the differences are no oracle here"
        assert abs(pair(gradients, direction) - slope) <= 1e-9 * scale + 4 * uncertainty, workload.name


def _same_kind(name: str, leaf: Any, gradient: Any) -> None:
    assert np.shape(leaf) == np.shape(gradient), name
    assert np.all(np.isfinite(gradient)), name
    if isinstance(leaf, np.ndarray):
        assert gradient.dtype == leaf.dtype, name


@pytest.mark.parametrize("workload", ALL, ids=lambda w: w.name)
def test_by_interpreter(workload: Workload) -> None:
    for size in workload.sizes[:1] if workload.name in SLOW_INTERPRETED else workload.sizes[:2]:
        args = workload.args(size)
        passed = copy_args(args)
        value, gradients = routes.vjp_by_interpreter(workload.loss, passed, workload.argnums, 1.0)
        check_gradients(workload, args, value, gradients)


def check_kernel(workload: Workload) -> None:
    derivative = gradc.value_and_grad(workload.loss, workload.argnums)
    for size in workload.sizes:
        args = workload.args(size)
        passed = copy_args(args)
        value, gradients = derivative(*passed)
        check_gradients(workload, args, value, gradients)
        for before, after in zip(leaves(args), leaves(passed), strict=True):
            np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("workload", [WORKLOADS[n] for n in QUICK], ids=lambda w: w.name)
def test_by_kernel(workload: Workload) -> None:
    check_kernel(workload)


@pytest.mark.slow
@pytest.mark.parametrize("workload", [w for w in ALL if w.name not in QUICK], ids=lambda w: w.name)
def test_by_kernel_all(workload: Workload) -> None:
    check_kernel(workload)


@pytest.mark.slow
@pytest.mark.parametrize("workload", [w for w in ALL if w.float32], ids=lambda w: w.name)
def test_float32(workload: Workload) -> None:
    """Single precision stays single and is right to 1e-4."""
    size = workload.sizes[1]
    double, single = workload.args(size), workload.args(size, "float32")
    value, gradients = gradc.value_and_grad(workload.loss, workload.argnums)(*single)
    value64, gradients64 = gradc.value_and_grad(workload.loss, workload.argnums)(*double)
    assert abs(value - value64) <= 1e-4 * max(1.0, abs(value64))
    for leaf, ours, theirs in zip(
        leaves(tuple(single[k] for k in workload.argnums)), leaves(gradients), leaves(gradients64), strict=True
    ):
        _same_kind(workload.name, leaf, ours)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * max(1.0, float(np.max(np.abs(theirs)))))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_against_jax(name: str) -> None:
    """Every entry of every gradient."""
    jax = pytest.importorskip("jax")
    from tests.workloads import jax_ports

    port = jax_ports.CLOSE.get(name) or jax_ports.GOOD.get(name)
    if port is None:
        pytest.skip("no port")
    workload = WORKLOADS[name]
    args = workload.args(workload.sizes[1], seed=1)
    value, gradients = gradc.value_and_grad(workload.loss, workload.argnums)(*copy_args(args))
    jax_value, jax_gradients = jax.value_and_grad(port, workload.argnums)(*args)
    np.testing.assert_allclose(value, jax_value, rtol=1e-11)

    def compare(ours: Any, theirs: Any) -> None:
        theirs = np.asarray(theirs)
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-10 * max(1.0, float(np.max(np.abs(theirs)))))

    tree_map(compare, gradients, jax_gradients)


def test_untouched_entries_get_exactly_zero() -> None:
    """symm reads one triangle of A only; the other's gradient is 0, not nearly."""
    workload = WORKLOADS["symm"]
    args = workload.args(workload.sizes[1])
    gradients = gradc.grad(workload.loss, workload.argnums)(*args)
    assert np.all(np.triu(gradients[3], 1) == 0.0)
    assert np.all(gradients[3][np.tril_indices(len(gradients[3]))] != 0.0)
