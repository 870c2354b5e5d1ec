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
from scipy.sparse import csr_array

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
        colors = column_colors(coarse)
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
    row_of = np.repeat(np.arange(coarse.shape[0]), np.diff(coarse.indptr))
    for first in range(0, int(colors.max(initial=-1)) + 1, at_once):
        color = colors[block] - first
        hits, bits = _bits(sweep(_as_bits(np.where((color >= 0) & (color < at_once), color * parts + part, -1))))
        # Which block a color means in a row.
        owner = np.full((coarse.shape[0], at_once), -1, np.int64)
        entry_color = colors[coarse.indices] - first
        inside = (entry_color >= 0) & (entry_color < at_once)
        owner[row_of[inside], entry_color[inside]] = coarse.indices[inside]
        meant = owner[hits, bits // parts]
        if meant.min(initial=0) < 0:
            raise InternalError("a result depends on a part of what it does not depend on")
        rows.append(hits)
        found.append(meant * parts + bits % parts)
    return np.concatenate(rows), np.concatenate(found)


def _as_bits(numbers: Ints) -> Ints:
    """A word for each entry with the bit of its number set; none for -1."""
    words = np.left_shift(np.uint64(1), np.maximum(numbers, 0).astype(np.uint64))
    return np.where(numbers >= 0, words, np.uint64(0))


def _bits(words: Ints) -> tuple[Ints, Ints]:
    """(position, bit) of all bits that are set."""
    some = np.flatnonzero(words)
    spread = np.unpackbits(words[some].astype("<u8").view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
    which, bits = np.nonzero(spread)
    return some[which], bits


def _matrix(rows: Ints, columns: Ints, results: int, count: int) -> csr_array:
    order = np.lexsort((columns, rows))
    rows, columns = rows[order], columns[order]
    indptr = np.zeros(results + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=results), out=indptr[1:])
    made = csr_array((np.ones(len(columns), bool), columns, indptr), shape=(results, count))
    made.has_sorted_indices = True
    return made
