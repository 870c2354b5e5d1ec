"""np.einsum as sums, transpositions and batched matrix products, two operands at a time."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.errors import ShapeError, UnsupportedError
from gradc.ir.nodes import Value, current_builder
from gradc.ir.opdef import call
from gradc.ir.region import FULL, NEWAXIS, At
from gradc.ir.types import Array
from gradc.ops.elementwise import mul
from gradc.ops.memory import make_index, make_reshape, shape_values
from gradc.ops.products import matmul
from gradc.ops.reduce import sum as sum_over
from gradc.ops.rules import as_value, convert, dtype_name, write_out
from gradc.ops.shape import diagonal, permute

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def parse(subscripts: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """Letters of each operand and of the result; an ellipsis becomes letters of its own.

    Raises: ShapeError where letters and ranks do not fit.
    """
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ShapeError(f"einsum has {len(ranks)} operands for the subscripts {subscripts!r}")
    spare = [c for c in reversed(_LETTERS) if c not in text]
    pairs = list(zip(terms, ranks, strict=True))
    extra = max((rank - len(t.replace("...", "")) for t, rank in pairs if "..." in t), default=0)
    dots = "".join(spare[:extra])
    for k, (term, rank) in enumerate(zip(terms, ranks, strict=True)):
        named = len(term.replace("...", ""))
        if named > rank or (named < rank and "..." not in term):
            raise ShapeError(f"einsum: the subscripts {term!r} do not fit an operand with {rank} axes")
        terms[k] = term.replace("...", dots[len(dots) - (rank - named) :])
    if arrow:
        return terms, right.replace("...", dots)
    letters = "".join(terms)
    once = sorted(c for c in set(letters) if letters.count(c) == 1 and c not in dots)
    return terms, dots + "".join(once)


def _without_repeats(x: Value, term: str) -> tuple[Value, str]:
    """A letter that occurs twice means the diagonal."""
    for letter in dict.fromkeys(term):
        while term.count(letter) > 1:
            first = term.index(letter)
            second = term.index(letter, first + 1)
            current_builder().require_equal(x, first, x, second)
            x = diagonal(x, 0, first, second)
            term = "".join(c for k, c in enumerate(term) if k not in (first, second)) + letter
    return x, term


def _summed(x: Value, term: str, keep: str) -> tuple[Value, str]:
    """Sum over letters that nobody else needs."""
    axes = tuple(k for k, c in enumerate(term) if c not in keep)
    if not axes:
        return x, term
    return sum_over(x, axes=axes, keepdims=False), "".join(c for c in term if c in keep)


def _aligned(x: Value, term: str, letters: str) -> Value:
    """x with axes in the order of `letters`, size-1 axes where it has none."""
    order = [term.index(c) for c in letters if c in term]
    if not isinstance(x.ty, Array):
        return x
    moved = permute(x, order)
    region = tuple(FULL if c in term else NEWAXIS for c in letters)
    return moved if all(r is FULL for r in region) else make_index(moved, region)


def _pair(x: Value, a: str, y: Value, b: str, keep: str) -> tuple[Value, str]:
    """The product of two operands, summed over letters that are in both and not kept."""
    x, a = _summed(x, a, keep + b)
    y, b = _summed(y, b, keep + a)
    summed = [c for c in a if c in b and c not in keep]
    batch = [c for c in a if c in b and c in keep]
    rows, columns = [c for c in a if c not in b], [c for c in b if c not in a]
    sizes = {c: s for v, term in ((y, b), (x, a)) for c, s in zip(term, shape_values(v), strict=True)}
    ones = [c for c in summed + batch if 1 in (x.shape[a.index(c)], y.shape[b.index(c)])]
    if not summed or ones:
        letters = "".join(batch + rows + columns + summed)
        product = mul(_aligned(x, a, letters), _aligned(y, b, letters))
        return _summed(product, letters, "".join(batch + rows + columns))
    builder = current_builder()
    for c in summed + batch:
        builder.require_equal(x, a.index(c), y, b.index(c))

    def flat(v: Value, term: str, groups: Sequence[Sequence[str]]) -> Value:
        moved = permute(v, [term.index(c) for group in groups for c in group])
        if all(len(group) == 1 for group in groups[-2:]):
            return moved
        shape: list[Any] = [sizes[c] for c in groups[0]]
        shape += [functools.reduce(operator.mul, (sizes[c] for c in group), 1) for group in groups[1:]]
        return make_reshape(moved, shape)

    left, right = flat(x, a, (batch, rows, summed)), flat(y, b, (batch, summed, columns))
    product = matmul(left, right)
    letters = "".join(batch + rows + columns)
    if len(rows) == 1 and len(columns) == 1:
        return product, letters
    if not letters:
        return builder.emit("load", (make_reshape(product, (1,)),), region=(At(0),)), ""
    return make_reshape(product, [sizes[c] for c in letters]), letters


def einsum(subscripts: str, operands: Sequence[Value]) -> Value:
    """np.einsum, from left to right."""
    terms, result = parse(subscripts, [v.rank for v in operands])
    if any(c not in "".join(terms) for c in result) or len(set(result)) != len(result):
        raise ShapeError(f"einsum: the output {result!r} has letters that the operands lack, or repeats one")
    prepared = [_without_repeats(v, t) for v, t in zip(operands, terms, strict=True)]
    value, term = prepared[0]
    for k, (other, letters) in enumerate(prepared[1:], 1):
        keep = result + "".join(t for _, t in prepared[k + 1 :])
        value, term = _pair(value, term, other, letters, keep)
    value, term = _summed(value, term, result)
    return permute(value, [term.index(c) for c in result]) if isinstance(value.ty, Array) else value


@call(np.einsum)
def _einsum_call(*operands: Any, out: Any = None, optimize: Any = False, dtype: Any = None, order: str = "K") -> Value:
    if not operands:
        raise UnsupportedError("np.einsum without operands")
    if isinstance(operands[0], str):
        subscripts, arrays = operands[0], list(operands[1:])
    else:
        # einsum(x, [0, 1], y, [1, 2], [0, 2])
        pairs, last = len(operands) // 2, operands[-1] if len(operands) % 2 else None

        def letters(indices: Any) -> str:
            return "".join("..." if i is Ellipsis else _LETTERS[i] for i in indices)

        arrays = [operands[2 * k] for k in range(pairs)]
        subscripts = ",".join(letters(operands[2 * k + 1]) for k in range(pairs))
        subscripts += "" if last is None else "->" + letters(last)
    values = [as_value(v) for v in arrays]
    if dtype is not None:
        values = [convert(v, dtype_name(dtype)) for v in values]
    result = einsum(subscripts, [convert(v, v.dtype) for v in values])
    return result if out is None else write_out(result, out)
