"""Sparsity patterns from sweeps over words: 64 sets of entries at a time, refined until each set is one entry.

The first sweep tells which of 64 blocks of entries each result depends on. Blocks that no result shares have one color
and can be refined together, each into the same number of parts: a bit then stands for a part of every block of a color,
and which of them a result means is known from the sweep before. So an n-column matrix of p colors takes about
p * log(n) / 64 sweeps instead of n / 64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from scipy.sparse import coo_array, csr_array

from gradc.errors import InternalError
from gradc.runtime.coloring import column_colors

Ints: TypeAlias = "np.ndarray[Any, Any]"
_BITS = 64


def find_pattern(sweep: Callable[[Ints], Ints], entries: int, results: int) -> csr_array:
    """The pattern (results, entries), True where there may be a derivative; columns ascend in each row.

    sweep: from the words of the entries, uint64, to those of the results.
    """
    size = 1 << max(0, (max(entries, 1) - 1).bit_length() - 6)  # of a block: powers of two, so that parts fit
    rows, found = _bits(sweep(_as_bits(np.arange(entries) // size)))
    while size > 1:
        coarse = _matrix(rows, found, results, -(-entries // size))
        colors = column_colors(coarse, 1)
        used = int(colors.max(initial=-1)) + 1
        parts = min(size, max(2, 1 << max(0, (_BITS // max(used, 1)).bit_length() - 1)))
        rows, found = _refined(sweep, coarse, colors, size, parts, entries)
        size //= parts
    return _matrix(rows, found, results, entries)


def _refined(
    sweep: Callable[[Ints], Ints], coarse: csr_array, colors: Ints, size: int, parts: int, entries: int
) -> tuple[Ints, Ints]:
    """Rows and blocks that they depend on, from those of blocks `parts` times as large."""
    numbers = np.arange(entries)
    block, part = numbers // size, numbers % size // (size // parts)
    at_once = _BITS // parts
    rows, found = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for first in range(0, int(colors.max(initial=-1)) + 1, at_once):
        color = colors[block] - first
        words = sweep(_as_bits(np.where((color >= 0) & (color < at_once), color * parts + part, -1)))
        hits, meant = _meant(words, coarse.indptr, coarse.indices, colors, first, at_once, parts)
        if meant.min(initial=0) < 0:
            raise InternalError("a result depends on a part of what it does not depend on")
        rows.append(hits)
        found.append(meant)
    return np.concatenate(rows), np.concatenate(found)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _meant(
    words: Ints, starts: Ints, blocks: Ints, colors: Ints, first: int, at_once: int, parts: int
) -> tuple[Ints, Ints]:
    """Rows and new blocks that the bits of words stand for; -1 for a bit that stands for nothing in its row."""
    rows, bits = _bits(words)
    owner = np.full(at_once, -1, np.int64)  # which block a color means in a row
    seen = np.full(at_once, -1, np.int64)
    row = -1
    for k in range(len(rows)):
        if rows[k] != row:
            row = rows[k]
            for m in range(starts[row], starts[row + 1]):
                color = colors[blocks[m]] - first
                if 0 <= color < at_once:
                    owner[color] = blocks[m]
                    seen[color] = row
        color = bits[k] // parts
        bits[k] = owner[color] * parts + bits[k] % parts if seen[color] == row else -1
    return rows, bits


def _as_bits(numbers: Ints) -> Ints:
    """A word for each entry with the bit of its number set; none for -1."""
    words = np.left_shift(np.uint64(1), np.maximum(numbers, 0).astype(np.uint64))
    return np.where(numbers >= 0, words, np.uint64(0))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _bits(words: Ints) -> tuple[Ints, Ints]:
    """(position, bit) of all bits that are set, in order."""
    one = np.uint64(1)
    total = 0
    for word in words:
        rest = word
        while rest:
            rest &= rest - one
            total += 1
    positions, bits = np.empty(total, np.int64), np.empty(total, np.int64)
    place = 0
    for k in range(len(words)):
        rest = words[k]
        bit = 0
        while rest:
            if rest & one:
                positions[place], bits[place] = k, bit
                place += 1
            rest >>= one
            bit += 1
    return positions, bits


def _matrix(rows: Ints, columns: Ints, results: int, count: int) -> csr_array:
    small = np.int32 if max(results, count, len(columns)) < 2**31 else np.int64  # what SciPy's solvers take
    places = rows.astype(small), columns.astype(small)
    made = coo_array((np.ones(len(columns), bool), places), shape=(results, count)).tocsr()
    made.sort_indices()
    return made
