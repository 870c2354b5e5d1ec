"""Where NaN and infinities come from: `GRADC_DEBUG=nan` runs every call in the interpreter first and stops there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradc.errors import Loc, NonFiniteError
from gradc.ir.interp import run
from gradc.ir.nodes import Func, Node, Value, walk_blocks, walk_nodes


@dataclass(frozen=True, slots=True)
class Place:
    """Where something first appears that is not finite: `nan` or `inf`."""

    what: str
    loc: Loc


def bad_place(node: Node, operands: Sequence[Any], results: Sequence[Any]) -> Place | None:
    """Where a node makes NaN or infinities of numbers that are all finite. Constants and masks may hold infinities."""
    if node.op.kind not in ("elementwise", "reduce", "product"):
        return None
    for x in results:
        array = np.asarray(x)
        if array.dtype.kind in "fc" and not np.isfinite(array).all() and all(map(is_finite, operands)):
            return Place(_kind(array), node.loc)
    return None


def is_finite(x: Any) -> bool:
    """Whether a number or array holds neither NaN nor infinities."""
    array = np.asarray(x)
    return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())


def stop_where_not_finite(func: Func, args: Sequence[Any]) -> None:
    """Run `func` on copies of `args`.

    What only a side of `np.where` uses may be anything; what `np.where` picks may not.

    Raises: NonFiniteError at the user's line where NaN or an infinity first appears.
    """
    for param, x in zip(func.params, args, strict=True):
        array = np.asarray(x)
        if array.dtype.kind in "fc" and np.isnan(array).any():
            raise NonFiniteError(f"argument `{param.name}` holds nan", func.loc)
    excused = _excused(func)

    def see(node: Node, operands: Sequence[Any], results: Sequence[Any]) -> None:
        if node in excused:
            return
        place = bad_place(node, operands, results)
        picks = node.op.name == "where" and _picks_bad(node, operands, results[0])
        if place is None and (picks or node.op.name == "strong_mul" and is_finite(operands[0])):
            place = None if is_finite(results[0]) else Place(_kind(results[0]), node.loc)
        if place is None:
            return
        way = "its derivative" if place.loc.reverse else "it"
        seen = ", ".join(_describe(x) for x in operands)
        why = f"{way} computes {node.op.name.removeprefix('strong_')} of {seen}."
        raise NonFiniteError(f"{place.what} appears here", place.loc, why=why)

    run(func, [np.array(x, order="K") if isinstance(x, np.ndarray) else x for x in args], see)


def _excused(func: Func) -> set[Node]:
    """Nodes that may make anything: a `where` picks from their results, or a cotangent of exactly 0 takes them out.

    All uses have to be such.
    """
    nodes = list(walk_nodes(func.body))
    plain: set[Value] = {v for block in walk_blocks(func.body) for v in block.yields}
    found: set[Node] = set()
    for node in reversed(nodes):
        if node.op.kind == "elementwise" and not any(r in plain for r in node.results):
            found.add(node)
            continue
        picks = {"where": (0,), "strong_mul": (0,)}.get(node.op.name)
        plain.update(node.operands if picks is None else [node.operands[k] for k in picks])
    return found


def _kind(x: Any) -> str:
    return "nan" if np.isnan(x).any() else "inf"


def _picks_bad(node: Node, operands: Sequence[Any], result: Any) -> bool:
    """Whether a `where` picks something that is not finite from what a guarded node computed."""
    if is_finite(result):
        return False
    picked = np.asarray(operands[0], bool)
    for side, x, chosen in zip(node.operands[1:], operands[1:], (picked, ~picked), strict=True):
        computed = side.node is not None and side.node.op.name != "const"
        if computed and not np.isfinite(np.where(chosen, x, 0.0)).all():
            return True
    return False


def _describe(x: Any) -> str:
    array = np.asarray(x)
    if array.ndim == 0:
        return f"{array[()]:.6g}" if array.dtype.kind == "f" else str(array[()])
    if array.size == 0 or array.dtype.kind not in "fiub":
        return f"an array of shape {array.shape}"
    return f"an array of shape {array.shape} from {array.min():.6g} to {array.max():.6g}"
