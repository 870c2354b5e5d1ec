"""Products of triangular loops by panels of rows: the numbers stay, where it is done and where it must not be."""

from __future__ import annotations

import linecache
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradc
from gradc.frontends.from_python import parse
from gradc.ir.interp import run
from gradc.ir.nodes import Func, walk_nodes
from gradc.ir.verifier import verify
from gradc.passes import panels as panels_module
from gradc.passes.batch import batch
from gradc.passes.cse import cse
from gradc.passes.dce import dce
from gradc.passes.hoist import hoist
from gradc.passes.panels import panels
from gradc.passes.privatize import privatize
from gradc.passes.ranges import ranges
from gradc.passes.simplify import simplify
from tests.oracle import copy_args, directional, pair, random_direction

VECTORS = ("A[i]", "B[:, i]", "(s * A[i])", "(A[i] * x)", "(A[i] + B[i])", "(-B[i - 1])", "np.tanh(A[i])")
MATRICES = (
    "{v} @ B[:, i + 1 :]", "{v} @ B[:, :i]", "B[:i] @ {v}", "B[i:] @ {v}", "{v} @ B.T[:, i + 2 :]",
    "A[: i + 1, :] @ {v}", "{v} @ B[:, : i + 1]", "B[i + 1 : n] @ {v}", "{v} @ B[:, 1:i]", "B[2:i] @ {v}",
    "{v} @ B[:, i - 1 :]", "A.T[:i] @ {v}",
)  # fmt: skip
USES = (
    "C[i, : len(t)] += t", "C[: len(t), i] = t", "C[i, : len(t)] = np.sin(t) * t", "y[: len(t)] += t * C[i, : len(t)]",
    "u += np.sum(t * t)", "C[i, : len(t)] = t if s > 0 else 2.0 * t",
)  # fmt: skip
SPOILERS = ("", "", "", "", "B[i, 0] += 0.1", "x[:] = 0.5 * x + u", "A[:, i] *= 0.9", "s = 0.9 * s")
HEADS = (
    "range(n)", "range(1, n)", "range(n - 1)", "range(2, n - 2)", "range(n - 7)", "range(n - 1, -1, -1)",
    "range(0, n, 2)",
)  # fmt: skip


def source(seed: int) -> str:
    """def f(A, B, C, x, y, s, n): a loop around a product with a slice that grows or shrinks."""
    rng = np.random.default_rng(seed)
    product = str(rng.choice(MATRICES)).format(v=rng.choice(VECTORS))
    lines = ["def f(A, B, C, x, y, s, n):", "    u = 0.0", f"    for i in {rng.choice(HEADS)}:"]
    spoiler = str(rng.choice(SPOILERS))
    body = [f"t = {product}", str(rng.choice(USES)), *([spoiler] if spoiler else [])]
    if rng.random() < 0.2:
        body = ["if n > 3:", *("    " + line for line in body)]
    lines += ["        " + line for line in body]
    return "\n".join([*lines, "    return u", ""])


def compiled(text: str, name: str) -> Callable[..., Any]:
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    scope: dict[str, Any] = {"np": np}
    exec(compile(text, name, "exec"), scope)
    made: Callable[..., Any] = scope["f"]
    return made


def arguments(n: int, seed: int = 0) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    square = (rng.uniform(-1, 1, (n, n)) / n for _ in range(3))
    return (*square, rng.standard_normal(n), rng.standard_normal(n), 0.7, n)


def prepared(f: Callable[..., Any], args: tuple[Any, ...]) -> Func:
    func = parse(f, args).func
    for run_pass in (simplify, cse, ranges, hoist, dce, privatize, batch):
        func = run_pass(func)
    return func


@pytest.mark.parametrize("start", range(0, 240, 40))
def test_random_loops(start: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panels_module, "ROWS", 3)
    done = 0
    for seed in range(start, start + 40):
        text = source(seed)
        f = compiled(text, f"<panels {seed}>")
        args = arguments(8, seed)
        given, expected = copy_args(args), copy_args(args)
        try:
            value = f(*expected)
        except ValueError:
            continue
        func = prepared(f, args)
        result = panels(func)
        if result is func:
            continue
        done += 1
        order = ("A", "B", "C", "x", "y", "s", "n")
        (total,) = run(verify(result), [given[order.index(p.name)] for p in func.params])
        for ours, theirs in zip((total, *given), (value, *expected), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12, err_msg=text)
    assert done > 5


def test_what_must_stay() -> None:
    """The matrix, or the rows, are written in the loop; the loop ends early; rows come last first."""
    bodies = (
        "for i in range(n):\n        C[i, i:] = A[i] @ B[:, i:]\n        B[i, 0] += 1.0",
        "for i in range(1, n):\n        C[i, :i] = C[i - 1] @ B[:, :i]",
        "for i in range(n):\n        C[i, i:] = A[i] @ B[:, i:]\n        if C[i, 0] > 9.0:\n            break",
        "for i in range(n - 1, -1, -1):\n        C[i, i:] = A[i] @ B[:, i:]",
        "for i in range(n):\n        s = 0.5 * s\n        C[i, i:] = (s * A[i]) @ B[:, i:]",
        "for i in range(n):\n        if x[i] > 0:\n            C[i, i:] = A[i] @ B[:, i:]",
        "for i in range(n):\n        C[i, : i // 2] = A[i] @ B[:, : i // 2]",
    )
    for k, body in enumerate(bodies):
        f = compiled(f"def f(A, B, C, x, y, s, n):\n    {body}\n", f"<panels stay {k}>")
        func = prepared(f, arguments(5))
        assert panels(func) is func, body


def correlated(A, C):
    for i in range(A.shape[1] - 1):
        C[i + 1 :, i] = C[i, i + 1 :] = A[:, i] @ A[:, i + 1 :]
    return np.sum(C * C * C)


@pytest.mark.slow
@pytest.mark.parametrize("n", [5, 32, 33, 71])
def test_gradient_of_panels(n: int) -> None:
    rng = np.random.default_rng(2)
    args = (rng.standard_normal((9, n)), np.eye(n))
    value, gradients = gradc.value_and_grad(correlated, (0, 1))(*args)
    np.testing.assert_allclose(value, correlated(*copy_args(args)), rtol=1e-12)
    for seed in range(2):
        direction = random_direction(args, (0, 1), seed)
        expected, error = directional(lambda *a: correlated(*copy_args(a)), args, (0, 1), direction)
        assert abs(pair(gradients, direction) - expected) < 1e-9 * abs(expected) + error


def test_numbers_that_are_not_used_stay_out() -> None:
    """An infinite entry of the triangle that nobody reads reaches no gradient."""

    def f(A, B):
        total = 0.0
        for i in range(A.shape[0]):
            total += np.sum(A[i] @ B[:, i + 1 :])
        return total

    n = 6
    A, B = np.ones((n, 3)), np.ones((3, n))
    B[:, 0] = np.inf
    dA, dB = gradc.grad(f, (0, 1))(A, B)
    assert np.all(np.isfinite(dA))
    np.testing.assert_array_equal(dB[0], np.arange(n, dtype=float))


def test_loops_of_products_are_there() -> None:
    func = prepared(correlated, (np.ones((3, 4)), np.eye(4)))
    count = sum(n.op.name == "matmul" for n in walk_nodes(panels(func).body))
    assert count == 2
