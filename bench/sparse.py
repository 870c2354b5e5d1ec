"""Jacobians: bundle adjustment's, sparse, against `vmap(jacfwd)` per observation; hand tracking's, dense.

A row's contestants give the same matrix: for the sparse ones a `csr_array` in NumPy's memory, the pattern known.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import csr_array

import gradc
from bench.runner import Row, interleaved
from tests.workloads.bundle import CAMERA, ba_loops, ba_vectorised, make_ba
from tests.workloads.hand import hand, make_hand

BA_SIZES = {"49 cameras": (49, 7776, 31843), "93 cameras": (93, 61203, 287451)}
HAND_SIZES = {"26 x 500": (22, 500), "26 x 10000": (22, 10_000)}


def ba_by_jax(x: Any, n: int, m: int, observed: Any, features: Any) -> Callable[[], Any]:
    """The Jacobian of one observation in its 15 numbers, for all of them at once; entries sorted into CSR."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def residual(numbers: Any, feature: Any) -> Any:
        cam, point, w = numbers[:CAMERA], numbers[CAMERA : CAMERA + 3], numbers[CAMERA + 3]
        theta = jnp.sqrt(jnp.sum(cam[:3] ** 2))
        axis = cam[:3] / theta
        d = point - cam[3:6]
        cos, sin = jnp.cos(theta), jnp.sin(theta)
        moved = d * cos + jnp.cross(axis, d) * sin + axis * (jnp.dot(axis, d) * (1.0 - cos))
        seen = moved[:2] / moved[2]
        r = jnp.dot(seen, seen)
        error = seen * ((1.0 + cam[9] * r + cam[10] * r * r) * cam[6]) + cam[7:9] - feature
        return jnp.concatenate((error * w, jnp.array([1.0 - w * w])))

    p = len(observed)
    columns = np.concatenate(
        [CAMERA * observed[:, :1] + np.arange(CAMERA), CAMERA * n + 3 * observed[:, 1:] + np.arange(3),
         CAMERA * n + 3 * m + np.arange(p)[:, None]], axis=1,
    )  # fmt: skip
    rows = np.stack((2 * np.arange(p), 2 * np.arange(p) + 1, 2 * p + np.arange(p)), axis=1)
    # Entries that are zero by the formula are left out: the other coordinate of the principal point, 1 - w^2 but in w.
    kept = np.ones((p, 3, 15), bool)
    kept[:, 0, 8] = kept[:, 1, 7] = False
    kept[:, 2, :14] = False
    places = np.flatnonzero(kept)
    at = np.broadcast_to(rows[:, :, None], kept.shape).reshape(-1)[places]
    which = np.broadcast_to(columns[:, None, :], kept.shape).reshape(-1)[places]
    order = np.lexsort((which, at))
    indptr = np.concatenate(([0], np.cumsum(np.bincount(at, minlength=3 * p))))
    indices, taken = which[order], jnp.asarray(places[order])

    @jax.jit
    def entries(x: Any, columns: Any, features: Any) -> Any:
        blocks = jax.vmap(jax.jacfwd(residual))(x[columns], features)
        return blocks.reshape(-1)[taken]

    def call() -> Any:
        data = np.asarray(entries(x, columns, features))
        return csr_array((data, indices.copy(), indptr.copy()), shape=(3 * p, x.size))

    return call


def hand_by_jax(*args: Any) -> Callable[[], Any]:
    """`jacfwd` of the residuals written for JAX."""
    import jax

    from tests.workloads.jax_ports import hand as port

    theta, parents, *rest = args
    jax.config.update("jax_enable_x64", True)
    made = jax.jit(jax.jacfwd(lambda theta, *rest: port(theta, parents, *rest)))
    return lambda: np.asarray(made(theta, *rest))


def sparse_rows(budget: float, clock: Callable[[], float] = time.perf_counter) -> list[Row]:
    """The rows of the table."""
    rows: list[Row] = []
    for size, shape in BA_SIZES.items():
        args = make_ba(np.random.default_rng(0), *shape)
        for function in (ba_loops, ba_vectorised):
            jac = gradc.sparse_jacobian(function)
            rows.append(_row(function.__name__, size, lambda j=jac, a=args: j(*a), ba_by_jax(*args), budget, clock))
    for size, shape in HAND_SIZES.items():
        args = make_hand(np.random.default_rng(0), *shape)
        dense = gradc.jacobian(hand)
        rows.append(_row("hand", size, lambda j=dense, a=args: j(*a), hand_by_jax(*args), budget, clock))
    return rows


def _row(
    name: str, size: str, ours: Callable[[], Any], jax: Callable[[], Any], budget: float, clock: Callable[[], float]
) -> Row:
    calls = {"gradc": ours, "jax good": jax}
    row = Row(name, "A", size, "float64", peers=tuple(calls))
    results = {}
    for peer, call in calls.items():
        start = time.perf_counter()
        results[peer] = call()
        row.first[peer] = time.perf_counter() - start
    gap = abs(results["gradc"] - results["jax good"]).max() / abs(results["jax good"]).max()
    row.error["gradc"] = float(gap)
    row.seconds = interleaved(calls, budget, clock=clock)
    return row
