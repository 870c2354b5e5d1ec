"""Random nests of loops around products, sums and slices, as source text: many of them are no larger product."""

from __future__ import annotations

from typing import Any

import numpy as np

RANGES = (
    "range(4)", "range(3)", "range(1, 4)", "range(n)", "range(A.shape[1])", "range(B.shape[0])", "range(3, -1, -1)",
    "range(n - 1)", "range(n - 4)", "range(1, n - 3)", "range(0, 4, 2)", "range(i + 1)",
)  # fmt: skip
# All axes have 4 elements but for those of D, so that any index fits anywhere.
VECTORS = (
    "A[{a}]", "B[{a}]", "C[{a}]", "A[:, {a}]", "B[:, {a}]", "C[:, {a}]", "x", "y", "D[{a}, :4]", "A[{a}, ::-1]",
    "A[{a}] * s", "A[{a}] * x", "(A @ B[:, {a}])", "(B[{a}] @ C)", "A[{a}, 1:] @ B[1:]", "np.tanh(C[{a}])", "C.T[{a}]",
    "(A[{a}] + B[:, {b}])", "-A[{a}]",
)  # fmt: skip
NUMBERS = (
    "A[{a}, {b}]", "B[{a}, {b}]", "C[{a}, {b}]", "x[{a}]", "y[{a}]", "s", "2.0", "(A[{a}] @ B[:, {b}])", "x[{a} - 1]",
    "(C[{a}] @ x)", "np.sum(A[{a}])", "A[{a}, {a}]", "D[{a}, 5]", "t",
)  # fmt: skip
TARGETS = ("C[{a}]", "C[:, {a}]", "x[:4]", "y[:]", "D[{a}, :4]", "D[{a}, 1:5]", "C[{a}, :]", "B[:, {a}]")
PLACES = ("C[{a}, {b}]", "x[{a}]", "y[{b}]", "D[{a}, {b}]", "C[{b}, {a}]", "x[{a} - 1]", "A[{a}, {b}]", "C[1, {a}]")


def arguments(seed: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    return (*(rng.uniform(-0.5, 0.5, shape) for shape in ((4, 4), (4, 4), (4, 4), (4, 6), (4,), (4,))), 0.7, 4)


def program(seed: int) -> str:
    """def f(A, B, C, D, x, y, s, n), which writes into its arguments and returns a number."""
    rng = np.random.default_rng(seed)

    def pick(options: tuple[str, ...], names: list[str]) -> str:
        a, b = (str(rng.choice(names)) for _ in range(2))
        return str(rng.choice(options)).format(a=a, b=b)

    def number(names: list[str]) -> str:
        text = pick(NUMBERS, names)
        for _ in range(int(rng.integers(0, 3))):
            text += f" {rng.choice(['*', '*', '+'])} {pick(NUMBERS, names)}"
        return text

    def statement(names: list[str]) -> str:
        kind = rng.integers(0, 9)
        sign = rng.choice(["+=", "+=", "+=", "-=", "=", "*="])
        if kind < 4:
            return f"{pick(TARGETS, names)} {sign} {number(names)} * {pick(VECTORS, names)}"
        if kind < 6:
            return f"{pick(PLACES, names)} {sign} {number(names)}"
        if kind == 6:
            return f"t {rng.choice(['+=', '-=', '='])} {number(names)}"
        if kind == 7:
            return f"C {rng.choice(['+=', '-='])} {number(names)} * {pick(VECTORS, names)}[:, None] * A[{names[-1]}]"
        return f"C[{names[0]}] {sign} {pick(VECTORS, names)} @ {rng.choice(['A', 'B', 'C', 'A.T'])}"

    lines = ["def f(A, B, C, D, x, y, s, n):", "    t = 0.0"]

    def nest(depth: int, names: list[str]) -> None:
        indent = "    " * (depth + 1)
        for _ in range(int(rng.integers(0, 2 if depth < 2 else 1))):
            lines.append(indent + statement(names))
        options = RANGES if "i" in names else RANGES[:-1]
        name = "ijk"[depth]
        lines.append(f"{indent}for {name} in {rng.choice(options)}:")
        inner = [*(n for n in names if n != "0"), name]
        if depth < 2 and rng.random() < (0.6 if depth == 0 else 0.4):
            nest(depth + 1, inner)
        for _ in range(int(rng.integers(1, 3))):
            lines.append(f"{indent}    {statement(inner)}")

    nest(0, ["0"])
    lines.append("    return t")
    return "\n".join(lines) + "\n"
