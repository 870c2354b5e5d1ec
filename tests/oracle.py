"""Outside oracles for gradients: differences of high order, and walks over structured arguments."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

# Central differences of sixth order: weights of f(x + k h) - f(x - k h), k = 1, 2, 3 (Fornberg 1988).
_WEIGHTS = (3 / 4, -3 / 20, 1 / 60)


def is_float_leaf(leaf: Any) -> bool:
    """Whether a leaf of the arguments can have a gradient: a Python or NumPy float, or an array of them."""
    if isinstance(leaf, np.ndarray | np.generic):
        return leaf.dtype.kind in "fc"
    return isinstance(leaf, float | complex)


def tree_map(fn: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """`fn` on each leaf of a structure of tuples, lists, dicts, named tuples and dataclasses."""
    if isinstance(tree, dict):
        return {k: tree_map(fn, v, *(r[k] for r in rest)) for k, v in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(tree_map(fn, v, *(r[i] for r in rest)) for i, v in enumerate(tree)))
    if isinstance(tree, tuple | list):
        return type(tree)(tree_map(fn, v, *(r[i] for r in rest)) for i, v in enumerate(tree))
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        fields = [f.name for f in dataclasses.fields(tree)]
        return type(tree)(**{f: tree_map(fn, getattr(tree, f), *(getattr(r, f) for r in rest)) for f in fields})
    return fn(tree, *rest)


def leaves(tree: Any) -> Iterator[Any]:
    """The leaves of a structure, in order."""
    found: list[Any] = []
    tree_map(found.append, tree)
    yield from found


def copy_args(args: Sequence[Any]) -> tuple[Any, ...]:
    """A deep copy with each array's layout, and with one copy for an array that occurs twice.

    Arrays that overlap otherwise share memory in the copy as they do in the original.
    """
    copies: dict[int, np.ndarray] = {}

    def copy(leaf: Any) -> Any:
        if not isinstance(leaf, np.ndarray):
            return leaf
        base = leaf
        while isinstance(base.base, np.ndarray):
            base = base.base
        if id(base) not in copies:
            copies[id(base)] = np.array(base, order="K", copy=True, subok=False)
        fresh = copies[id(base)]
        if leaf is base:
            twin = fresh
        else:
            offset = leaf.__array_interface__["data"][0] - base.__array_interface__["data"][0]
            memory = fresh if fresh.flags.c_contiguous else fresh.T
            twin = np.ndarray(leaf.shape, leaf.dtype, memory.reshape(-1), offset, leaf.strides)
        if not leaf.flags.writeable:
            twin = twin.view()
            twin.flags.writeable = False
        return twin

    return tuple(tree_map(copy, a) for a in args)


def contract(out: Any, weights: Any) -> float:
    """sum_k <R_k, out_k> over all float leaves of a result; `weights` has the result's structure, None for others.

    Of complex numbers it is the real part of the sum of the products.
    """
    total = 0.0
    for leaf, weight in zip(leaves(out), leaves(weights), strict=True):
        if weight is not None:
            total += float(np.sum(np.real(np.asarray(leaf) * weight)))
    return total


def make_weights(out: Any, seed: int = 0) -> Any:
    """Fixed random cotangents for a result: each of the leaf's shape and dtype; None where it has no derivative."""
    rng = np.random.default_rng(seed)

    def weight(leaf: Any) -> Any:
        if not is_float_leaf(leaf):
            return None
        value = rng.standard_normal(np.shape(leaf))
        if np.iscomplexobj(leaf):
            value = value + 1j * rng.standard_normal(np.shape(leaf))
        if isinstance(leaf, np.ndarray):
            return value.astype(leaf.dtype)
        return leaf.dtype.type(value) if isinstance(leaf, np.generic) else type(leaf)(value)

    return tree_map(weight, out)


def step_scale(leaf: Any) -> float:
    """The size of a leaf: what a step is relative to."""
    largest = float(np.max(np.abs(leaf), initial=0.0))
    return largest if largest > 0 else 1.0


def difference(f: Callable[[float], float], h: float) -> tuple[float, float]:
    """f'(0) by differences of sixth order, and an estimate of its error from half the step.

    Smaller steps are tried where the estimate is poor: near a kink, or where f is far from a polynomial.
    """
    best = (float("nan"), float("inf"))
    value = abs(f(0.0))
    for scale in (1.0, 1 / 16, 1 / 256, 1 / 4096):
        s = h * scale
        coarse, fine = (sum(w * (f(k * t) - f(-k * t)) for k, w in enumerate(_WEIGHTS, 1)) / t for t in (s, s / 2))
        # Cancellation in the values themselves limits both steps alike.
        error = abs(fine - coarse) + 8 * np.finfo(float).eps * value / s
        if error < best[1]:
            best = (fine, error)
        if error < 1e-10 * max(abs(fine), 1e-3 * value):
            break
    return best


def directional(
    loss: Callable[..., Any], args: Sequence[Any], argnums: Sequence[int], direction: Sequence[Any], h: float = 2e-3
) -> tuple[float, float]:
    """Derivative of `loss` along a direction (a tuple of structures, one per argnum; None for leaves left alone)."""

    def along(s: float) -> float:
        moved = list(copy_args(args))
        for k, d in zip(argnums, direction, strict=True):
            moved[k] = tree_map(lambda leaf, v: leaf if v is None else leaf + s * v, moved[k], d)
        return float(loss(*moved))

    return difference(along, h)


def random_direction(args: Sequence[Any], argnums: Sequence[int], seed: int) -> tuple[Any, ...]:
    """A random direction over all float leaves of the arguments named, relative to each leaf's size."""
    rng = np.random.default_rng([seed, 77])

    def pick(leaf: Any) -> Any:
        if not is_float_leaf(leaf):
            return None
        drawn = rng.standard_normal(np.shape(leaf))
        if np.iscomplexobj(leaf):
            drawn = drawn + 1j * rng.standard_normal(np.shape(leaf))
        moved = step_scale(leaf) * drawn
        return moved if isinstance(leaf, np.ndarray) else moved.item() if isinstance(moved, np.generic) else moved

    return tuple(tree_map(pick, args[k]) for k in argnums)


def pair(gradient: Any, direction: Any) -> float:
    """Re <gradient, direction> over structures of the same form."""
    terms: list[float] = []

    def term(d: Any, g: Any) -> None:
        if d is not None:
            terms.append(float(np.sum(np.asarray(g) * d).real))

    tree_map(term, tuple(direction), tuple(gradient))
    return sum(terms)


def full_gradient(
    loss: Callable[..., Any], args: Sequence[Any], argnums: Sequence[int], h: float = 2e-3
) -> tuple[Any, ...]:
    """Every entry of the gradient by differences (for small arguments), as structures of float64.

    In a complex number x + iy it is df/dx - i df/dy.
    """
    result = []
    for k in argnums:
        flat = list(leaves(args[k]))
        entries: list[Any] = []
        for position, leaf in enumerate(flat):
            if not is_float_leaf(leaf):
                entries.append(None)
                continue
            units = (1.0, 1j) if np.iscomplexobj(leaf) else (1.0,)
            found = np.zeros(np.shape(leaf), complex if len(units) > 1 else float)
            for index, unit in itertools.product(np.ndindex(found.shape), units):

                def along(
                    s: float, position: int = position, index: tuple[int, ...] = index, k: int = k, unit: Any = unit
                ) -> float:
                    moved = list(copy_args(args))
                    counter = iter(range(len(flat)))

                    def shift(value: Any) -> Any:
                        if next(counter) != position:
                            return value
                        if not isinstance(value, np.ndarray):
                            return value + s * unit
                        writeable = value.flags.writeable
                        if not writeable:
                            value = np.array(value, order="K")
                        value[index] += s * unit
                        value.flags.writeable = writeable
                        return value

                    moved[k] = tree_map(shift, moved[k])
                    return float(loss(*moved))

                slope, _ = difference(along, h * max(1.0, float(np.abs(np.asarray(leaf)[index]))))
                found[index] += slope / unit
            entries.append(found if isinstance(leaf, np.ndarray) else found[()])
        supply = iter(entries)
        result.append(tree_map(lambda _leaf, supply=supply: next(supply), args[k]))
    return tuple(result)
