"""Rewrites of a copy of a function into what a person would have written in NumPy.

    cast(eq(positions(n)[:, None], positions(n)))           np.eye(n)
    0.5 * (cast(a > b) + cast(a >= b))                      is_above(a, b)        what a maximum gives to a
    np.sum(x, axis=1, keepdims=True).reshape(n, m)          np.sum(x, axis=1)
    np.full(n, c)[:, None] * x                              c * x
    if c: t = f(x)                                          if c:
    if c: dx = t * dy                                           t = f(x)
                                                                dx = t * dy
    A.T.T; dB = dA.T, and later dB = dA.T again             A; the first dB
    t = i + 0, in a loop over a nameless i                  the loop is over t
    t1 = copy(t2), where neither is written any more        t2
    tapes                                                   in the order in which the loop fills them
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradc.codegen.shapes import equal_sizes, same_shape
from gradc.ir.effects import buffers_written, roots
from gradc.ir.nodes import Block, Func, Node, Value, walk_blocks, walk_nodes
from gradc.ir.opdef import OpDef
from gradc.ir.region import FULL, NewAxis
from gradc.ir.types import Array, Scalar

_ABOVE = '''def is_above(a, b):
    """1 where a > b, 0.5 where they are equal, else 0: what the larger of the two passes on to a."""
    return 0.5 * (np.greater(a, b) + np.float64(1.0) * np.greater_equal(a, b))
'''

# Operations of the emitted text only; they are not in the table.
_EYES = ("np.eye({n})", "np.eye({n}, dtype=bool)")
EYES = {text: OpDef("eye", "fresh", ("n",), reads=(), emit=text, doc="np.eye(n).") for text in _EYES}
EYES_OF = {text: OpDef("eye_of", "fresh", (), reads=(), emit=text, doc="np.eye(n) of a number n.") for text in _EYES}
IS_ABOVE = OpDef(
    "is_above", "elementwise", ("a", "b"), emit="is_above({a}, {b})", prelude=_ABOVE, doc="The share of a in max(a, b)."
)


def prepare(func: Func, drop: Callable[[Func, dict[Value, Value]], None]) -> None:
    """Apply all of them to `func`, in place; `drop` puts other values in the place of some."""
    equal = equal_sizes(func)
    for block in walk_blocks(func.body):
        _numbers_for_arrays(block)
    for node in walk_nodes(func.body):
        _recognise_identity(node)
        _recognise_share(node)
        _compose_transposes(node)
        _drop_axes(node, equal)
    for node in walk_nodes(func.body):
        _recognise_diagonal(node)
    drop(func, _same_transposes(func))
    drop(func, _loop_indices(func))
    drop(func, _repeated_views(func.body, {}))
    drop(func, _idle_copies(func))
    _same_on_both_sides(func, drop)
    for block in list(walk_blocks(func.body)):
        _join_branches(func, block)
    _order_tapes(func)


# ------------------------------------------------------------------------------------------------- patterns


def _made_by(value: Value, op: str) -> Node | None:
    """The node that makes an unnamed value, if it is of that op."""
    node = value.node
    return node if node is not None and node.op.name == op and not value.name else None


def _diagonal(test: Node | None) -> Node | None:
    """The node of the positions, where `test` compares positions in rows with those in columns of a square."""
    if test is None or test.op.name != "eq":
        return None
    row, column = (_made_by(v, op) for v, op in zip(test.operands, ("index", "positions"), strict=True))
    if row is None or column is None or row.attrs["region"] != (FULL, NewAxis()):
        return None
    first = _made_by(row.operands[0], "positions")
    same = first is not None and first.attrs["shape"] == column.attrs["shape"] and first.operands == column.operands
    return first if same else None


def _recognise_identity(node: Node) -> None:
    if node.op.name != "cast" or node.result.dtype != "float64" or not isinstance(node.result.ty, Array):
        return
    positions = _diagonal(_made_by(node.operands[0], "eq"))
    if positions is not None:
        _set_identity(node, positions, "np.eye({n})")


def _recognise_diagonal(node: Node) -> None:
    positions = _diagonal(node) if node.op.name == "eq" and isinstance(node.result.ty, Array) else None
    if positions is not None:
        _set_identity(node, positions, "np.eye({n}, dtype=bool)")


def _set_identity(node: Node, positions: Node, text: str) -> None:
    (size,) = positions.attrs["shape"]
    if positions.operands:
        node.op, node.operands, node.attrs = EYES[text], list(positions.operands), {}
    else:
        node.op, node.operands, node.attrs = EYES_OF[text], [], {"n": size}


def _recognise_share(node: Node) -> None:
    """0.5 * (float(a > b) + float(a >= b)), the partial of a maximum or minimum of two variables."""
    if node.op.name != "mul" or not node.loc.reverse or node.result.dtype != "float64":
        return
    half, total = node.operands
    known = half.node.attrs["value"] if half.node is not None and half.node.op.name == "const" else None
    added = _made_by(total, "add")
    if known != 0.5 or added is None:
        return
    sides: list[Node] = []
    for operand in added.operands:
        cast = _made_by(operand, "cast")
        test = cast.operands[0].node if cast is not None and not cast.operands[0].name else None
        if test is None or test.op.name not in ("gt", "ge", "lt", "le"):
            return
        sides.append(test)
    one, other = sides
    above = (one.op.name, other.op.name) == ("gt", "ge")
    below = (one.op.name, other.op.name) == ("lt", "le")
    if (above or below) and one.operands == other.operands and node.result.ty == added.result.ty:
        node.op, node.operands, node.attrs = IS_ABOVE, list(one.operands if above else one.operands[::-1]), {}


def _drop_axes(node: Node, equal: dict[str, str]) -> None:
    """A sum that keeps its axes, and is reshaped to be without them."""
    if node.op.name != "reshape" or not isinstance(node.result.ty, Array):
        return
    total = _made_by(node.operands[0], "sum")
    if total is None or not total.attrs["keepdims"] or not isinstance(total.operands[0].ty, Array):
        return
    left = tuple(s for k, s in enumerate(total.operands[0].ty.shape) if k not in total.attrs["axes"])
    if left and same_shape(left, node.result.ty.shape, equal):
        node.op, node.operands = total.op, list(total.operands)
        node.attrs = {**total.attrs, "keepdims": False}


_ARITHMETIC = ("add", "sub", "mul", "div", "neg")


def _numbers_for_arrays(block: Block) -> None:
    """An array of one number that meets an array of the shape of the result is that number."""
    number: dict[Value, Value] = {}
    made: list[Node] = []
    written = {v for n in walk_nodes(block) if n.op.kind == "write" for v in roots(n.operands[0])}
    for node in block.nodes:
        made.append(node)
        if node.op.name in ("accumulate", "store") and node.operands[1] in number:
            node.operands = [node.operands[0], number[node.operands[1]]]
        if len(node.results) != 1 or not isinstance(node.result.ty, Array) or node.result.dtype != "float64":
            continue
        if roots(node.result) & written:
            continue
        if node.op.name == "broadcast_to" and isinstance(node.operands[0].ty, Scalar):
            if node.operands[0].dtype == "float64":
                number[node.result] = node.operands[0]
        elif node.op.name == "index" and node.operands[0] in number:
            if all(e == FULL or isinstance(e, NewAxis) for e in node.attrs["region"]):
                number[node.result] = number[node.operands[0]]
        elif node.op.name in _ARITHMETIC and not node.result.name:
            single = [number.get(v) if isinstance(v.ty, Array) else v for v in node.operands]
            if all(v is not None for v in single):
                scalar = Node(node.op, [v for v in single if v is not None], [], dict(node.attrs), [], node.loc)
                scalar.results = [Value(Scalar("float64"), "", scalar)]
                made.insert(len(made) - 1, scalar)
                number[node.result] = scalar.result
        if node.op.name in _ARITHMETIC and any(v in number for v in node.operands):
            if any(v not in number and v.ty == node.result.ty for v in node.operands):
                node.operands = [number.get(v, v) for v in node.operands]
    block.nodes = made


def _compose_transposes(node: Node) -> None:
    """x.swapaxes(1, 2).swapaxes(1, 2) is x: two transpositions in a row are one."""
    while node.op.name == "transpose":
        inner = _made_by(node.operands[0], "transpose")
        if inner is None:
            return
        perm = tuple(inner.attrs["perm"][k] for k in node.attrs["perm"])
        node.operands, node.attrs = [inner.operands[0]], {**node.attrs, "perm": perm}


def _same_transposes(func: Func) -> dict[Value, Value]:
    return {
        n.result: n.operands[0]
        for n in walk_nodes(func.body)
        if n.op.name == "transpose" and list(n.attrs["perm"]) == sorted(n.attrs["perm"]) and not n.result.name
    }


# ---------------------------------------------------------------------------------------------- names, views


def _loop_indices(func: Func) -> dict[Value, Value]:
    """A user's variable that is the index of a loop without one: `for t, v in enumerate(x)`."""
    found: dict[Value, Value] = {}
    for node in walk_nodes(func.body):
        if node.op.name != "for" or node.blocks[0].params[0].name:
            continue
        index = node.blocks[0].params[0]
        for inner in node.blocks[0].nodes:
            same = inner.op.name in ("let", "alias") and inner.operands[0] is index
            if same and inner.result.name and isinstance(inner.result.ty, Scalar):
                index.name = index.name or inner.result.name
                if inner.result.name == index.name:
                    found[inner.result] = index
    return found


def _repeated_views(block: Block, seen: dict[Any, Value]) -> dict[Value, Value]:
    """Views that are made a second time where the first is in scope."""
    found: dict[Value, Value] = {}
    seen = dict(seen)
    for node in block.nodes:
        node.operands = [found.get(v, v) for v in node.operands]
        if node.op.kind == "view" and len(node.results) == 1:
            key = (node.op.name, tuple(node.operands), repr(sorted(node.attrs.items())), node.result.name)
            first = seen.setdefault(key, node.result)
            if first is not node.result:
                found[node.result] = first
        for inner in node.blocks:
            found.update(_repeated_views(inner, seen))
    return found


# --------------------------------------------------------------------------------------------------- memory


def _idle_copies(func: Func) -> dict[Value, Value]:
    """Unnamed copies of arrays that nobody changes, and that nobody changes themselves."""
    written = buffers_written(func.body)
    returned = {r for v in func.results for r in roots(v)}
    kept = {v for node in walk_nodes(func.body) if node.op.kind == "stack" for v in node.operands}
    found: dict[Value, Value] = {}
    for node in walk_nodes(func.body):
        if node.op.name != "copy" or node.result.name:
            continue
        source = node.operands[0]
        unchanged = node.result not in written and not roots(source) & written
        if unchanged and node.result not in returned and node.result not in kept:
            found[node.result] = source
    return found


def _order_tapes(func: Func) -> None:
    """Tapes that are allocated side by side, in the order in which they are written."""
    first: dict[Value, int] = {}
    for k, node in enumerate(walk_nodes(func.body)):
        if node.op.name in ("store", "store_at", "push"):
            for root in roots(node.operands[0]) or (node.operands[0],):
                first.setdefault(root, k)
    for block in walk_blocks(func.body):
        places = [
            k for k, n in enumerate(block.nodes)
            if n.op.name in ("empty", "stack_new", "empty_like") and n.result.name.endswith("_tape")
        ]  # fmt: skip
        start = 0
        while start < len(places):
            end = start + 1
            while end < len(places) and all(
                n.op.kind == "query" or n.op.name in ("const", "maximum", "sub", "add", "mul", "floordiv", "neg")
                for n in block.nodes[places[end - 1] + 1 : places[end]]
            ):
                end += 1
            run = places[start:end]
            nodes = sorted((block.nodes[k] for k in run), key=lambda n: first.get(n.result, 0))
            if nodes != [block.nodes[k] for k in run]:
                # What their sizes are made of stays in front of all of them.
                between = [n for n in block.nodes[run[0] : run[-1] + 1] if n not in nodes]
                block.nodes[run[0] : run[-1] + 1] = [*between, *nodes]
            start = end


def _same_on_both_sides(func: Func, drop: Callable[[Func, dict[Value, Value]], None]) -> None:
    """A number that both blocks of an `if` yield is that number."""
    found: dict[Value, Value] = {}
    for block in walk_blocks(func.body):
        for node in list(block.nodes):
            if node.op.name != "if":
                continue
            for k, result in enumerate(node.results):
                one, other = (b.yields[k].node for b in node.blocks)
                if one is None or other is None or one.op.name != "const" or other.op.name != "const":
                    continue
                a, b = one.attrs["value"], other.attrs["value"]
                if type(a) is type(b) and repr(a) == repr(b):
                    same = Node(one.op, [], [], dict(one.attrs), [], node.loc)
                    same.results = [Value(result.ty, result.name, same)]
                    block.nodes.insert(block.nodes.index(node), same)
                    found[result] = same.result
    drop(func, found)


def _join_branches(func: Func, block: Block) -> None:
    """What one `if` computes only for a later one on the same condition is computed in that."""
    for first in [n for n in block.nodes if n.op.name == "if"]:
        at = block.nodes.index(first)
        later = (n for n in block.nodes[at + 1 :] if n.op.name == "if" and n.operands == first.operands)
        second = next(later, None)
        if second is None or not first.results or any(_is_effect(n) for b in first.blocks for n in walk_nodes(b)):
            continue
        read = {r for b in first.blocks for n in walk_nodes(b) for v in n.operands for r in roots(v)}
        if read & buffers_written(Block(nodes=block.nodes[at + 1 : block.nodes.index(second)])):
            continue
        everywhere = _uses(func.body)
        inside = [_uses(b) for b in second.blocks]
        if any(everywhere.get(r, 0) != sum(u.get(r, 0) for u in inside) for r in first.results):
            continue
        if read & buffers_written(Block(nodes=[second])):
            continue
        for k, (source, target) in enumerate(zip(first.blocks, second.blocks, strict=True)):
            used = {r: source.yields[j] for j, r in enumerate(first.results) if r in inside[k]}
            for result, value in used.items():
                value.name = value.name or result.name
            if used:
                target.nodes[:0] = source.nodes
            for inner in walk_blocks(target):
                inner.yields = [used.get(v, v) for v in inner.yields]
                for node in inner.nodes:
                    node.operands = [used.get(v, v) for v in node.operands]
        block.nodes.remove(first)


def _is_effect(node: Node) -> bool:
    return node.op.kind in ("write", "check", "stack") or bool(node.blocks)


def _uses(block: Block) -> dict[Value, int]:
    counts: dict[Value, int] = {}
    for inner in walk_blocks(block):
        for value in (*inner.yields, *(v for n in inner.nodes for v in n.operands)):
            counts[value] = counts.get(value, 0) + 1
    return counts
