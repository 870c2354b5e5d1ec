"""Regions: which part of an array an index names. Basic slices, single elements, gathers.

A region is a tuple of entries, one per axis of the array (`NEWAXIS` uses up none; an ellipsis is written
out by whoever makes the region). Its numbers are literals or `Arg(k)`: operand k of the node, counted
from the first index operand. Bounds mean what they mean in Python: negative ones count from the end,
slices are clamped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from gradc.ir.types import (
    Layout,
    Shape,
    Size,
    add_sizes,
    clamp_size,
    size_variable,
    subtract_sizes,
)


@dataclass(frozen=True, slots=True)
class Arg:
    """The k-th index operand of the node."""

    k: int

    def __str__(self) -> str:
        return f"#{self.k}"


Bound: TypeAlias = "int | Arg | None"


@dataclass(frozen=True, slots=True)
class At:
    """One position along an axis, which the result lacks."""

    position: int | Arg


@dataclass(frozen=True, slots=True)
class Span:
    """start:stop:step along an axis."""

    start: Bound = None
    stop: Bound = None
    step: Bound = None


@dataclass(frozen=True, slots=True)
class NewAxis:
    """An axis of size 1 in the result that the array lacks."""


@dataclass(frozen=True, slots=True)
class Gather:
    """An integer array, operand k, that picks positions along an axis."""

    k: int


FULL = Span()
NEWAXIS = NewAxis()
Entry: TypeAlias = At | Span | NewAxis | Gather
Region: TypeAlias = tuple[Entry, ...]


def span_length(size: Size, span: Span, value_of: Callable[[Arg], Size]) -> Size:
    """How many positions `span` picks along an axis of `size`; `value_of` tells what an operand is as a size.

    Where this cannot be written as a dimension, the result is a size variable that is named by the
    operands, so equal slices have equal lengths.
    """
    start, stop, step = (value_of(b) if isinstance(b, Arg) else b for b in (span.start, span.stop, span.step))
    if isinstance(size, int) and all(b is None or isinstance(b, int) for b in (start, stop, step)):
        return len(range(size)[start:stop:step])  # type: ignore[misc,index]  # every bound is an int or None here
    literal_start = 0 if start is None else start
    if step in (None, 1):
        from_front = isinstance(literal_start, int) and literal_start >= 0
        if from_front and stop is None:
            return clamp_size(subtract_sizes(size, literal_start))
        if from_front and isinstance(stop, int) and stop < 0:
            return clamp_size(subtract_sizes(add_sizes(size, stop), literal_start))
        if from_front and stop == size:
            return clamp_size(subtract_sizes(size, literal_start))
        if start is not None and stop is not None and not isinstance(start, int) and subtract_sizes(stop, start) == 1:
            return 1
        if isinstance(start, int) and start != -1 and stop == start + 1 or (start == -1 and stop is None):
            return 1  # whoever makes the region has checked that the axis is long enough
        if start is None and stop == 1:
            return 1
    elif step == -1 and start is None and stop is None:
        return size
    written = ":".join("" if b is None else str(b) for b in (start, stop, step))
    return size_variable(f"len({written} of {size})")


def region_shape(
    shape: Shape, region: Region, value_of: Callable[[Arg], Size], gather_shape: Shape = ()
) -> Shape:
    """Shape of `x[region]` for x of `shape`. `gather_shape`: what the integer arrays broadcast to.

    Adjacent gathers leave their axes in place, separated ones go first (NumPy's advanced indexing); an
    `At` among gathers counts as a gather of rank 0.
    """
    result: list[Size] = []
    gathers = [k for k, entry in enumerate(region) if isinstance(entry, Gather)]
    advanced = [k for k, entry in enumerate(region) if gathers and isinstance(entry, Gather | At)]
    adjacent = not advanced or advanced == list(range(advanced[0], advanced[-1] + 1))
    if gathers and not adjacent:
        result.extend(gather_shape)
    axis = 0
    for k, entry in enumerate(region):
        if isinstance(entry, NewAxis):
            result.append(1)
            continue
        if gathers and adjacent and k == advanced[0]:
            result.extend(gather_shape)
        if isinstance(entry, Span):
            result.append(span_length(shape[axis], entry, value_of))
        axis += 1
    return tuple(result)


def region_layout(layout: Layout, shape: Shape, region: Region) -> Layout:
    """Layout of a basic region of an array: C where only leading axes are cut, without a step; else A.

    Where a kept axis follows a cut one, the region is contiguous only if every later axis is whole.
    """
    if layout == "F":
        return "F" if all(entry == FULL for entry in region) else "A"
    if layout == "A":
        return "A"
    kept_before = False
    for entry in region:
        if isinstance(entry, NewAxis) or entry == FULL:
            kept_before = kept_before or entry == FULL
            continue
        if kept_before:
            return "A"
        if isinstance(entry, Span):
            if entry.step not in (None, 1):
                return "A"
            kept_before = True
    return "C"
