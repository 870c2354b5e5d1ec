"""Forms in which people write NumPy's functions: one line each, over a pool of named arguments.

A form is Python text, `statements; expression`: the expression is the result. What of the pool it names are its arguments.
"""

from __future__ import annotations

import ast
import builtins
import functools
import itertools
import linecache
import math
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

_RNG = np.random.default_rng(5)


def _normal(*shape: int) -> np.ndarray:
    return _RNG.normal(size=shape)


def _positive(*shape: int) -> np.ndarray:
    return 0.3 + 2 * _RNG.random(shape)


def _holes(values: np.ndarray, *places: int) -> np.ndarray:
    values.flat[list(places)] = np.nan
    return values


# Floating-point arguments are differentiated. Lower case: numbers and vectors; upper case: more axes.
POOL: dict[str, Any] = {
    "a": 0.7, "b": 1.3, "c": -0.4,
    "d": np.array(0.6), "h": np.float64(0.45),
    "x": _normal(5), "y": _normal(5), "w": _normal(4), "v": _normal(3),
    "p": _positive(5), "r": _positive(5), "u": _RNG.uniform(-0.9, 0.9, 5),
    "o": np.array([0.8]), "e": np.zeros(0), "nv": _holes(_normal(6), 1, 4), "zv": np.array([1.5, 0.0, -0.7, 0.0, 2.0]),
    "t": np.array([-1.1, -0.3, 0.2, 0.9, 1.6]),
    "A": _normal(3, 4), "B": _normal(3, 4), "C": _normal(4, 2), "S": _normal(4, 4), "V": _normal(2, 3),
    "P": _positive(3, 4), "R": _positive(3, 4), "Q": _RNG.uniform(-0.9, 0.9, (3, 4)),
    "T": _normal(2, 3, 4), "U": _normal(2, 3, 4), "W": _normal(2, 4, 3), "H": _normal(2, 1, 3, 4),
    "O": np.array([[1.2]]), "E": np.zeros((0, 3)), "G": np.zeros((3, 0)), "ROW": _normal(1, 4), "COL": _normal(3, 1),
    "N": _holes(_normal(3, 4), 1, 6, 7), "ZP": _normal(3, 4) * np.array([[1, 1, 0, 1], [1, 1, 1, 1], [0, 1, 0, 1]]),
    "FO": np.asfortranarray(_normal(3, 4)), "ST": _normal(6, 8)[::2, ::2],
    "z": _normal(5) + 1j * _normal(5), "Z": _normal(3, 4) + 1j * _normal(3, 4), "ZS": _normal(4, 4) + 1j * _normal(4, 4),
    "m": np.array([True, False, True, True, False]),
    "M": np.array([[1, 0, 1, 1], [0, 0, 1, 0], [1, 1, 0, 1]], bool),
    "i": np.array([0, -1, 2, 2]), "j": np.array([1, 3, 0, 1]), "I": np.array([[1, 0], [2, 1]]),
    "n": 2, "k": np.array([4, 0, 7, 4, 1]), "K": np.arange(12).reshape(3, 4) % 5,
}  # fmt: skip

_GLOBALS = {
    "np": np, "math": math, "operator": operator, "functools": functools, "itertools": itertools,
    "sliding_window_view": sliding_window_view, "__builtins__": builtins.__dict__, "__name__": "forms",
}


@dataclass(frozen=True)
class Form:
    """One line, the function that it makes, and its arguments."""

    text: str
    function: Callable[..., Any]
    names: tuple[str, ...]
    tags: frozenset[str] = frozenset()

    def arguments(self) -> tuple[Any, ...]:
        """Fresh arguments."""
        return tuple(POOL[n].copy("K") if isinstance(POOL[n], np.ndarray) else POOL[n] for n in self.names)


_count = itertools.count()


def form(text: str, *tags: str) -> Form:
    """The form that a line means."""
    *statements, result = (s.strip() for s in text.split(";"))
    used = {n.id for n in ast.walk(ast.parse("\n".join((*statements, result)))) if isinstance(n, ast.Name)}
    names = tuple(n for n in POOL if n in used)
    body = "".join(f"    {s}\n" for s in statements)
    source = f"def form({', '.join(names)}):\n{body}    return {result}\n"
    return Form(text, define(source, "form"), names, frozenset(tags))


def define(source: str, name: str) -> Callable[..., Any]:
    """The function that a text defines, with the text where tools look for it."""
    filename = f"<form {next(_count)}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    namespace = dict(_GLOBALS)
    exec(compile(source, filename, "exec", dont_inherit=True), namespace)
    return namespace[name]


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    text: str
    tags: tuple[str, ...]

    def every(self) -> Iterator[Form]:
        """A form for each combination of the alternatives."""
        for choice in itertools.product(*self._groups()):
            yield form("".join(choice), *self.tags)

    def some(self) -> Iterator[Form]:
        """Forms in which every alternative occurs: as many as the longest list of alternatives."""
        groups = self._groups()
        for k in range(max(map(len, groups))):
            yield form("".join(g[k % len(g)] for g in groups), *self.tags)

    def _groups(self) -> list[list[str]]:
        parts = re.split(r"\{\{(.*?)\}\}", self.text)
        return [[c.strip() for c in p.split("|")] if k % 2 else [p] for k, p in enumerate(parts)]


def rows(table: str) -> list[Row]:
    """The rows of a table: a line each; `# …` is a comment, `  !tag` at the end of a line is a tag.

    `{{…|…}}` in a line stands for one line with each of the alternatives. Tags: `value`: only values are compared, at a
    kink or a NaN; `f64`: in double precision only; `interpreted`: the kernel differs in what is not defined.
    """
    found = []
    for line in table.splitlines():
        line = line.strip()
        if line and not line.startswith("#"):
            text, *tags = (part.strip() for part in line.split("  !"))
            found.append(Row(text, tuple(tags)))
    return found


__all__ = ["POOL", "Form", "Row", "define", "form", "rows"]
