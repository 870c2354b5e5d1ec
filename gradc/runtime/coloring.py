"""Colorings of sparsity patterns: which columns share a seed.

Columns of a Jacobian that have no row in common share one (Curtis, Powell, Reid 1974: "greedy distance-2 coloring");
of a Hessian, by its symmetry, more do: a star coloring, in which neighbors differ and no path of four vertices has two
colors, lets every entry be read from one of its two places (Coleman, Moré 1984; Gebremedhin, Manne, Pothen, What color
is your Jacobian? (2005), sec. 4). Greedy in a given order; the fewest colors of several orders are taken.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from scipy.sparse import csr_array

Ints: TypeAlias = "np.ndarray[Any, Any]"
_MOST_PATHS = 300_000_000  # that the search for a star coloring goes through


def column_colors(pattern: csr_array, orders: int = 3) -> Ints:
    """A color for each column such that columns of one color have no row in common; the best of some orders."""
    turned = pattern.T.tocsr()
    rows, columns = _plain(pattern), _plain(turned)
    tried = itertools.islice(_orders(pattern, turned), orders)
    return _fewest(tried, lambda order: _color_columns(*rows, *columns, order), fullest_row(pattern))


def fullest_row(pattern: csr_array) -> int:
    """The length of the longest row: so many colors any coloring of the columns has."""
    return int(np.diff(pattern.indptr).max(initial=0))


def _fewest(orders: Iterator[Ints], colored: Callable[[Ints], Ints], least: int) -> Ints:
    """The coloring with the fewest colors; no further order is tried when there are only `least`."""
    best = colored(next(orders))
    for order in orders:
        if best.max(initial=-1) + 1 <= least:
            break
        found = colored(order)
        if found.max(initial=-1) < best.max(initial=-1):
            best = found
    return best


def symmetric_colors(pattern: csr_array) -> Ints:
    """A star coloring of the graph of a symmetric pattern whose diagonal counts as full."""
    degrees = np.diff(pattern.indptr).astype(np.float64)
    if float(np.sum(degrees[pattern.indices] * np.repeat(degrees, np.diff(pattern.indptr)))) > _MOST_PATHS:
        return column_colors(pattern)  # which is a star coloring too
    graph = _plain(pattern)
    return _fewest(_orders(pattern, pattern), lambda order: _color_star(*graph, order), 2)


def _plain(matrix: csr_array) -> tuple[Ints, Ints]:
    return matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64)


def _orders(pattern: csr_array, turned: csr_array) -> Iterator[Ints]:
    """Orders of the columns: as they are, those with most neighbors first, and smallest last."""
    count = pattern.shape[1]
    yield np.arange(count)
    lengths = np.diff(pattern.indptr).astype(np.int64)
    per_entry = np.repeat(lengths, lengths)
    neighbors = np.zeros(count, np.int64)
    np.add.at(neighbors, pattern.indices, per_entry - 1)  # with repeats: an upper bound, as in practice
    yield np.argsort(-neighbors, kind="stable")
    if float(neighbors.sum()) < _MOST_PATHS:
        yield _smallest_last(*_plain(pattern), *_plain(turned), neighbors)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _color_columns(row_starts: Ints, row_entries: Ints, column_starts: Ints, column_entries: Ints, order: Ints) -> Ints:
    count = len(column_starts) - 1
    colors = np.full(count, -1, np.int64)
    taken = np.full(count + 1, -1, np.int64)  # by which column a color was last seen to be taken
    for column in order:
        for k in range(column_starts[column], column_starts[column + 1]):
            row = column_entries[k]
            for m in range(row_starts[row], row_starts[row + 1]):
                color = colors[row_entries[m]]
                if color >= 0:
                    taken[color] = column
        color = 0
        while taken[color] == column:
            color += 1
        colors[column] = color
    return colors


@njit(cache=True)  # type: ignore[untyped-decorator]
def _smallest_last(
    row_starts: Ints, row_entries: Ints, column_starts: Ints, column_entries: Ints, degrees: Ints
) -> Ints:
    """Columns so that each has the fewest neighbors, with repeats, among itself and those before it (Matula 1968)."""
    count = len(degrees)
    degree = degrees.copy()
    most = 0
    for d in degree:
        most = max(most, d)
    # Buckets of columns by degree, as doubly linked lists.
    first = np.full(most + 1, -1, np.int64)
    after = np.full(count, -1, np.int64)
    before = np.full(count, -1, np.int64)
    for column in range(count):
        d = degree[column]
        after[column] = first[d]
        if first[d] >= 0:
            before[first[d]] = column
        first[d] = column
    gone = np.zeros(count, np.bool_)
    order = np.empty(count, np.int64)
    least = 0
    for place in range(count - 1, -1, -1):
        while first[least] < 0:
            least += 1
        column = first[least]
        first[least] = after[column]
        if after[column] >= 0:
            before[after[column]] = -1
        gone[column] = True
        order[place] = column
        for k in range(column_starts[column], column_starts[column + 1]):
            row = column_entries[k]
            for m in range(row_starts[row], row_starts[row + 1]):
                other = row_entries[m]
                if gone[other]:
                    continue
                d = degree[other]
                if before[other] >= 0:
                    after[before[other]] = after[other]
                else:
                    first[d] = after[other]
                if after[other] >= 0:
                    before[after[other]] = before[other]
                d = max(d - 1, 0)
                degree[other] = d
                before[other] = -1
                after[other] = first[d]
                if first[d] >= 0:
                    before[first[d]] = other
                first[d] = other
                least = min(least, d)
    return order


@njit(cache=True)  # type: ignore[untyped-decorator]
def _color_star(starts: Ints, entries: Ints, order: Ints) -> Ints:
    count = len(starts) - 1
    colors = np.full(count, -1, np.int64)
    taken = np.full(count + 1, -1, np.int64)
    seen = np.full(count + 1, -1, np.int64)  # by which vertex a color was seen among its neighbors, once
    twice = np.full(count + 1, -1, np.int64)
    for v in order:
        for k in range(starts[v], starts[v + 1]):
            w = entries[k]
            if w != v and colors[w] >= 0:
                color = colors[w]
                taken[color] = v
                if seen[color] == v:
                    twice[color] = v
                seen[color] = v
        for k in range(starts[v], starts[v + 1]):
            w = entries[k]
            if w == v or colors[w] < 0:
                continue
            for m in range(starts[w], starts[w + 1]):
                x = entries[m]
                if x in (v, w) or colors[x] < 0:
                    continue
                if twice[colors[w]] == v:  # w' - v - w - x with w' and w of one color
                    taken[colors[x]] = v
                    continue
                for p in range(starts[x], starts[x + 1]):  # v - w - x - y with w and y of one color
                    y = entries[p]
                    if y != w and y != x and y != v and colors[y] == colors[w]:
                        taken[colors[x]] = v
                        break
        color = 0
        while taken[color] == v:
            color += 1
        colors[v] = color
    return colors


@njit(cache=True)  # type: ignore[untyped-decorator]
def places_by_symmetry(starts: Ints, entries: Ints, colors: Ints) -> Ints:
    """For each entry (i, j), in order, where it is read from in a table (color, row), as color * rows + row; or -1.

    From row i under the color of j where no other entry of row i has that color; else from row j under that of i.
    """
    count = len(starts) - 1
    # How often a color occurs in a row, for one row at a time; the diagonal counts as present.
    alone = np.zeros(len(entries), np.bool_)
    times = np.zeros(count + 1, np.int64)
    for i in range(count):
        has_diagonal = False
        for k in range(starts[i], starts[i + 1]):
            times[colors[entries[k]]] += 1
            has_diagonal = has_diagonal or entries[k] == i
        if not has_diagonal:
            times[colors[i]] += 1
        for k in range(starts[i], starts[i + 1]):
            alone[k] = times[colors[entries[k]]] == 1
        for k in range(starts[i], starts[i + 1]):
            times[colors[entries[k]]] = 0
        times[colors[i]] = 0
    places = np.full(len(entries), -1, np.int64)
    for i in range(count):
        for k in range(starts[i], starts[i + 1]):
            j = entries[k]
            if alone[k]:
                places[k] = colors[j] * count + i
                continue
            low, high = starts[j], starts[j + 1]  # the entry (j, i); columns ascend
            while low < high:
                middle = (low + high) // 2
                if entries[middle] < i:
                    low = middle + 1
                else:
                    high = middle
            if low < starts[j + 1] and entries[low] == i and alone[low]:
                places[k] = colors[i] * count + j
    return places
