"""Texts that gradc makes of many programs, with the order of sets of values and nodes scattered: see test_determinism.

    python -m tests.scattered FACTOR        prints a JSON object of texts
"""

from __future__ import annotations

import inspect
import json
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import sympy

import gradc
from gradc.ir import loops, nodes
from tests.oracle import copy_args
from tests.programs import PROGRAMS
from tests.workloads import WORKLOADS


def scatter(factor: int) -> None:
    """Values, nodes and buffers are hashed by their address: multiply it, so that sets are walked in another order."""
    for module in (nodes, loops):
        for cls in vars(module).values():
            if inspect.isclass(cls) and cls.__module__ == module.__name__ and cls.__hash__ is object.__hash__:
                cls.__hash__ = lambda self: (id(self) >> 4) * factor % ((1 << 61) - 1)  # type: ignore[method-assign]


@gradc.custom_vjp
def rooted(x):
    return np.sqrt(x)


def _rooted_fwd(x):
    y = np.sqrt(x)
    return y, (y, x)


def _rooted_bwd(residuals, ct):
    y, _ = residuals
    return (ct / (2 * y),)


rooted.defvjp(_rooted_fwd, _rooted_bwd)


@gradc.checkpoint
def block(h, w):
    return np.tanh(w * h) + h


def with_rules(x, w):
    h = rooted(x * x + 1.0)
    for k in range(3):
        h = block(h, w[k])
    return np.sum(h * x)


def objects() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Name, compiled object, arguments."""
    chosen = [p for p in PROGRAMS if p.raises is None and not p.refused][::16]
    for program in chosen:
        args = copy_args(program.inputs[0])
        active = program.active(args)
        if not active:
            continue
        yield f"jit {program.name}", gradc.jit(program.function), args
        yield f"jacrev {program.name}", gradc.jacrev(program.function, active), args
        yield f"jacfwd {program.name}", gradc.jacfwd(program.function, active), args
    for name in ("staged", "mlp", "cholesky", "gmm", "lstm"):
        workload = WORKLOADS[name]
        args = workload.args(workload.sizes[0])
        yield f"gradient {name}", gradc.value_and_grad(workload.loss, workload.argnums), args
    x, w = np.linspace(0.5, 1.5, 4), np.ones((3, 4))
    yield "rules", gradc.grad(with_rules, (0, 1)), (x, w)
    yield "second order", gradc.hessian(with_rules), (x, w)
    yield "nested", gradc.grad(lambda a: np.sum(gradc.grad(with_rules)(a, w) ** 2)), (x,)
    a, b, c = sympy.symbols("a b c")
    expression = sympy.sin(a * b) ** 2 + sympy.exp(c * a) * sympy.Piecewise((b, a > 0), (c**2, True)) + sympy.cos(a * b)
    yield "expression", gradc.grad(gradc.lambdify((a, b, c), expression), (0, 1, 2)), (0.3, 0.2, 0.1)


def main() -> None:
    """Print the texts."""
    scatter(int(sys.argv[1]))
    found: dict[str, list[str]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, compiled, args in objects():
            try:
                lowered = compiled.lower(*args)
                found[name] = [lowered.kernel_source, lowered.source]
            except gradc.GradcError as refusal:
                found[name] = [str(refusal)]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
