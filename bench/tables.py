"""The tables: which workloads, at which sizes, against whom."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.peers import PEERS, NoBaseline
from bench.runner import Row, interleaved
from tests.oracle import tree_map
from tests.workloads import WORKLOADS


@dataclass(frozen=True)
class Case:
    """A workload at one of its benchmark sizes, or at `shape`; argnums None means every float argument."""

    name: str
    size: str
    dtype: str = "float64"
    argnums: tuple[int, ...] | None = None
    shape: tuple[int, ...] | None = None


def growing(name: str, *shapes: tuple[int, ...]) -> tuple[Case, ...]:
    """One workload at growing sizes."""
    return tuple(
        Case(name, "x".join(map(str, shape)), argnums=(0,) if name == "mlp" else None, shape=shape) for shape in shapes
    )


def cases(names: str, size: str = "S") -> tuple[Case, ...]:
    return tuple(Case(name, size) for name in names.split())


# An MLP is trained: gradients in the parameters, not in the images.
MLP = tuple(Case("mlp", batch, dtype, (0,)) for dtype in ("float32", "float64") for batch in ("32", "128"))

TABLES: dict[str, tuple[str, tuple[Case, ...]]] = {
    "small": (
        "Small calls, value and gradient, from Python",
        (Case("staged", ""), Case("neuron", ""), Case("least_squares", "50"),
         *(Case("rosenbrock", n) for n in ("2", "10", "1000"))),
    ),
    "mlp": ("MLP 784-256-128-10 with cross entropy, value and gradient in the parameters", MLP),
    "jacobi_2d": ("jacobi_2d, value and gradient", (Case("jacobi_2d", "S"), Case("jacobi_2d", "M"))),
    "seidel_2d": ("seidel_2d, value and gradient", (Case("seidel_2d", "S"), Case("seidel_2d", "M"))),
    "cholesky": ("cholesky in loops, value and gradient", (Case("cholesky", "S"), Case("cholesky", "M"))),
    "gmm": (
        "ADBench GMM, value and gradient in all float arguments",
        tuple(Case(name, size) for name in ("gmm", "gmm_vectorised") for size in ("d2 K5", "d10 K25", "d20 K50")),
    ),
    "networks": (
        "Networks, value and gradient",
        (Case("net_231", "500"), *cases("lenet5 gru"), Case("softmax", "S", "float32")),
    ),
    "lstm": ("ADBench LSTM, value and gradient", tuple(Case(n, "l2 c1024") for n in ("lstm", "lstm_rows"))),
    "arrays": (
        "Array programs, value and gradient in all float arguments",
        cases(
            "gemver k2mm doitgen correlation durbin cholesky syrk symm gramschmidt seidel_2d jacobi_2d fdtd_2d deriche "
            "cavity_flow channel_flow hdiff nbody spmv arc_distance black_scholes"
        ),
    ),
    "spectral": (
        "Programs around Fourier transforms, value and gradient",
        (*(Case("spectrum", n) for n in ("1024", "65536")), Case("fft_convolution", "S"),
         *(Case("poisson", n) for n in ("128", "512")),
         *(Case(n, size) for n in ("schroedinger", "burgers") for size in ("S", "M"))),
    ),
    "growth": (
        "Growth with size, one workload of each class",
        (*growing("k2mm", (100, 110, 120, 130), (200, 220, 240, 260), (400, 440, 480, 520)),
         *growing("arc_distance", (1_000,), (10_000,), (100_000,)),
         *growing("jacobi_2d", (50, 75), (50, 150), (50, 300)),
         *growing("cavity_flow", (31, 31, 25, 5), (61, 61, 25, 5)),
         *growing("cholesky", (50,), (100,), (200,)), *growing("durbin", (250,), (500,), (1000,)),
         *growing("spmv", (1000, 1000, 2000), (4000, 4000, 8000), (16000, 16000, 32000)),
         *growing("mlp", (32, 784, 256, 128, 10), (128, 784, 256, 128, 10), (512, 784, 256, 128, 10)),
         *growing("gmm", (10, 25, 250), (10, 25, 1000)), *growing("lstm", (2, 256, 14), (2, 1024, 14))),
    ),
}  # fmt: skip


def run_case(case: Case, peers: Sequence[str], budget: float, clock: Callable[[], float] = time.perf_counter) -> Row:
    """Prepare every peer, check that they agree, then time them in turns."""
    workload = WORKLOADS[case.name]
    args = workload.args(case.shape or workload.bench[case.size], case.dtype)
    argnums = workload.argnums if case.argnums is None else case.argnums
    row = Row(case.name, workload.kind, case.size, case.dtype, peers=tuple(peers))
    calls: dict[str, Any] = {}
    results: dict[str, Any] = {}
    for peer in peers:
        try:
            call = PEERS[peer](workload, args, argnums)
            start = time.perf_counter()
            results[peer] = call()
            row.first[peer] = time.perf_counter() - start
            calls[peer] = call
        except NoBaseline as why:
            row.missing[peer] = str(why)
        except Exception as failure:  # a peer that breaks is reported, and the others are still timed
            row.missing[peer] = (
                f"{type(failure).__name__}: {str(failure).strip().splitlines()[0] if str(failure) else ''}"
            )
    reference = next((p for p in ("jax", "jax good", "by hand", "torch") if p in results), None)
    for peer, result in results.items():
        if reference is not None and peer != reference:
            row.error[peer] = difference(result, results[reference])
    row.seconds = interleaved(calls, budget, clock=clock)
    return row


def difference(result: Any, reference: Any) -> float:
    """Largest difference of value and gradients, each relative to the largest entry of the reference's."""
    worst = [0.0]

    def compare(ours: Any, theirs: Any) -> None:
        a, b = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
        scale = max(float(np.max(np.abs(b), initial=0.0)), 1e-30)
        gap = float(np.max(np.abs(a - b), initial=0.0)) / scale
        worst.append(gap if np.isfinite(gap) else float("inf"))

    value, gradients = reference
    compare(result[0], value)
    plain = tuple(result[1])
    tree_map(compare, plain, tuple(gradients))
    return max(worst)


__all__ = ["TABLES", "Case", "run_case"]
