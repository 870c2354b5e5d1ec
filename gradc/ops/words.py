"""Words: what a number depends on, as bits of an int64. They flow through a program beside its floats.

`ad/dependence.py` carries them; here is what they are made with. An entry of the table says how they pass it:
elementwise ops and reductions combine those of what they combine; `OpDef.moves` and `OpDef.depends` say the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.ir.builder import Builder
from gradc.ir.nodes import Block, Value, current_builder
from gradc.ir.region import FULL, NEWAXIS, Arg, At, Gather, Region
from gradc.ir.types import WEAK_INT, Array, Scalar
from gradc.ops.elementwise import bitor
from gradc.ops.memory import (
    copy,
    element_count,
    load,
    make_broadcast,
    make_gather,
    make_index,
    make_reshape,
    shape_values,
    store,
    store_at,
)
from gradc.ops.reduce import bits_over
from gradc.ops.scans import make_positions

WORD = Scalar("int64")

def no_bits() -> Value:
    """The word of a constant."""
    return current_builder().const(np.int64(0))


def joined(words: list[Value]) -> Value:
    """What any of them depends on; they broadcast."""
    if not words:
        return no_bits()
    total = words[0]
    for word in words[1:]:
        total = bitor(total, word)
    return total


def whole(word: Value) -> Value:
    """What any element depends on: a scalar."""
    if not isinstance(word.ty, Array):
        return word
    if not word.rank:
        return load(word, region=())
    return bits_over(word, axes=tuple(range(word.rank)), keepdims=False)


def over(word: Value, axis: int) -> Value:
    """What any element along an axis depends on."""
    return bits_over(word, axes=(axis % word.rank,), keepdims=False)


def of_product(words: Sequence[Value | None], factors: Sequence[Value]) -> Value:
    """The words of a matrix product from those of its factors, None for a constant: of a row, of a column, or of both.

    Axes that only one factor has are of size 1 or missing.
    """
    found: list[Value] = []
    for word, other, axis in ((words[0], factors[1], -1), (words[1], factors[0], -2)):
        if word is None:
            continue
        if word.rank == 1:
            found.append(whole(word))
            continue
        line = over(word, axis)
        if other.rank != 1:
            region: list[Any] = [FULL] * line.rank
            region.insert(line.rank if axis == -1 else line.rank - 1, NEWAXIS)
            line = make_index(line, tuple(region))
        found.append(line)
    return joined(found)


def join_at(target: Value, region: Region, words: Value, operands: list[Value]) -> None:
    """Add `words` to what elements that integer arrays name depend on; positions may repeat."""
    builder: Builder = current_builder()
    direct = target.node is not None and target.node.op.kind != "view"
    flat = target if direct else copy(target)
    sizes = shape_values(target)
    numbers = make_reshape(make_positions(element_count(target)), sizes)
    at = make_gather(numbers, region, *operands) if any(isinstance(e, Gather) for e in region) else None
    assert at is not None
    count = element_count(at)
    places = make_reshape(at, (count,)) if at.rank != 1 else at
    given = make_broadcast(words, shape_values(at))
    given = make_reshape(given, (count,)) if given.rank != 1 else given
    line = make_reshape(flat, (element_count(flat),)) if flat.rank != 1 else flat
    one = (At(Arg(0)),)
    with builder.into(Block(params=[Value(WEAK_INT, "k")])) as body:
        (k,) = body.params
        place = load(places, k, region=one)
        store_at(line, bitor(load(line, place, region=one), load(given, k, region=one)), place, region=one)
    builder.control("for", (0, count, 1), (body,), (), reversed=False, exits=False)
    if not direct:
        store(target, flat)
