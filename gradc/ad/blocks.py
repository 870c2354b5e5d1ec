"""Loops whose reverse keeps the state at the start of each block of iterations, and runs a block again.

    for i in range(n):        ->    for first in range(0, n, k):                  the state is taped here
        x[:] = f(x)                     for i in range(first, min(first + k, n)):
                                            x[:] = f(x)

The inner loop tapes nothing in the forward sweep. In reverse, each block starts from its state, runs forward with
tapes of its own, and is reversed; so at any time there are n/k states and the tapes of k iterations. With k = sqrt(n)
that grows like sqrt(n), and each iteration runs twice. A `while`, whose trips nobody knows, has blocks of 1, 2, 3, ...
iterations: n of them make about sqrt(2*n) blocks, and the last is the longest.

Which loops: those that a front end has marked with the attribute `checkpoint`, ("auto", 0), ("every", k) or ("budget",
bytes). What is made has the mark ("state", 0) or ("revolve", bytes) on the outer loop, which `ad/residuals.py` looks
for, and ("block", 0) on the inner one of a `for`, which runs at most as often as the step of the outer one says.
Source: Griewank, Walther, Evaluating Derivatives (2008), sec. 12.1 (two-level checkpointing).
"""

from __future__ import annotations

from collections.abc import Callable

from gradc.ad.activity import carried_inits
from gradc.ad.tapes import BLOCK, REVOLVE, STATE, trip_count
from gradc.ir.builder import Builder
from gradc.ir.nodes import Block, Func, Node, Value, clone_block, walk_nodes
from gradc.ir.types import WEAK_BOOL, WEAK_INT


def is_marked(node: Node) -> bool:
    """Whether the user asked for blocks of this loop's iterations."""
    mark = node.attrs.get("checkpoint")
    return mark is not None and mark[0] in ("auto", "every", "budget")


def is_block_loop(node: Node) -> bool:
    """Whether the reverse of this loop keeps the state at the start of each iteration, and runs it again."""
    return node.attrs.get("checkpoint") == STATE or budget_of(node) is not None


def budget_of(node: Node) -> int | None:
    """The bytes that a loop over blocks may keep, where the user has given a budget."""
    mark = node.attrs.get("checkpoint")
    return mark[1] if mark is not None and mark[0] == REVOLVE else None


def in_blocks(func: Func, wanted: Callable[[Node], bool]) -> tuple[Func, dict[Value, Value]]:
    """A copy of `func` in which marked loops that are `wanted` go block by block; and the value each is a copy of."""
    mapping: dict[Value, Value] = {}
    copy = Func(func.name, clone_block(func.body, mapping), func.loc, dict(func.notes))
    chosen = {
        new
        for old, new in zip(walk_nodes(func.body), walk_nodes(copy.body), strict=True)
        if is_marked(old) and wanted(old)
    }
    builder = Builder(copy, checks=False)
    builder.avoid_sizes_of(func)
    with builder:
        _rewrite(copy.body, chosen, builder)
    return copy, {new: old for old, new in mapping.items()}


def _rewrite(block: Block, chosen: set[Node], builder: Builder) -> None:
    nodes, block.nodes = block.nodes, []
    for node in nodes:
        for inner in node.blocks:
            _rewrite(inner, chosen, builder)
        if node in chosen:
            with builder.into(block), builder.at(node.loc):
                if node.op.name == "for":
                    _split_for(node, builder)
                else:
                    _split_while(node, builder)
        block.nodes.append(node)


def _split_for(node: Node, builder: Builder) -> None:
    """Make `node` the loop over blocks, with the loop over iterations inside; its results stay."""
    start, stop, step = node.operands[:3]
    inits = carried_inits(node)
    exits, backwards = bool(node.attrs.get("exits")), bool(node.attrs.get("reversed"))
    trips = trip_count(start, stop, step, builder)
    length = _block_length(node, trips, builder)
    first = Value(WEAK_INT, "first")
    body = Block(params=[first, *(Value(p.ty, p.name) for p in node.blocks[0].params[1:])])
    with builder.into(body):
        last = builder.emit("minimum", (first + length, trips))
        last.name = "last"
        low, high = (trips - last, trips - first) if backwards else (first, last)
        bounds = [start + low * step, start + high * step, step]
        carried = _inner_for(node, bounds, body.params[1:], builder)
        ran = carried.pop() if exits else None
        left = carried.pop() if exits else None
        body.yields = [v for v in (left, *carried) if v is not None]
        if ran is not None:
            count = Value(WEAK_INT)
            body.params.append(count)
            body.yields.append(count + ran)
    node.operands = [builder.const(0), trips, length, *inits, *([builder.const(0)] if exits else [])]
    node.blocks = [body]
    kind, size = node.attrs["checkpoint"]
    node.attrs = {**node.attrs, "reversed": False, "checkpoint": (REVOLVE, size) if kind == "budget" else STATE}
    if exits:  # what was the number of trips is carried now
        node.results.append(Value(WEAK_INT, "", node))


def _inner_for(node: Node, bounds: list[Value], carried: list[Value], builder: Builder) -> list[Value]:
    """The loop over the iterations of a block: carried values; where it may be left, whether it was, and trips."""
    body = node.blocks[0]
    operands = [*bounds, *carried]
    types = [p.ty for p in carried]
    attrs = {**node.attrs, "checkpoint": BLOCK}
    if node.attrs.get("exits"):
        _carry_exit(body, builder)
        operands.append(builder.const(False))
        types += [WEAK_BOOL, WEAK_INT]
    inner = builder.control("for", operands, [body], types, **attrs)
    return list(inner)


def _carry_exit(body: Block, builder: Builder) -> None:
    """Carry the flag that ends a loop out of it."""
    body.params.append(Value(WEAK_BOOL))
    flag = body.yields[0]
    with builder.into(body):
        body.yields.append(flag if flag.ty == WEAK_BOOL else builder.emit("cast", (flag,), dtype="bool", weak=True))


def _split_while(node: Node, builder: Builder) -> None:
    """The same for a `while`; blocks of a length that nobody asked for grow."""
    cond, body = node.blocks
    exits = bool(node.attrs.get("exits"))
    kind, size = node.attrs["checkpoint"]
    growing = kind != "every"
    nothing, length = builder.const(0), builder.const(1 if growing else size)
    outer_cond = clone_block(cond, {})
    outer = Block(params=[Value(p.ty, p.name) for p in body.params])
    carried = list(outer.params)
    count = Value(WEAK_INT)
    node.operands += [nothing]
    outer.params.append(count)
    if growing:
        node.operands.append(length)
        length = Value(WEAK_INT, "length")
        outer.params.append(length)
    outer_cond.params += [Value(p.ty) for p in outer.params[len(carried) :]]
    here, number = Value(WEAK_INT), Value(WEAK_INT)
    cond.params.append(here)
    body.params.append(number)
    with builder.into(cond):
        cond.yields = [builder.emit("logical_and", (cond.yields[0], builder.emit("lt", (here, length))))]
    with builder.into(body):
        body.yields.append(number + 1)
    operands, types = [*carried, nothing], [*(p.ty for p in carried), WEAK_INT]
    with builder.into(outer):
        if exits:
            cond.params.append(Value(WEAK_BOOL))
            _carry_exit(body, builder)
            operands.append(builder.const(False))
            types.append(WEAK_BOOL)
        attrs = {**node.attrs, "checkpoint": BLOCK}
        made = builder.control("while", operands, [cond, body], [*types, WEAK_INT], **attrs)
        left = [made[len(carried) + 1]] if exits else []
        outer.yields = [*left, *made[: len(carried)], count + made[-1]]
        if growing:
            outer.yields.append(length + 1)
    node.blocks = [outer_cond, outer]
    node.attrs = {**node.attrs, "checkpoint": STATE}
    # What was the number of trips is carried now; the trips of this loop are last.
    node.results += [Value(WEAK_INT, "", node) for _ in range(1 + growing)]


def _block_length(node: Node, trips: Value, builder: Builder) -> Value:
    """Iterations in a block, at least 1: as asked for, or the root of their number."""
    kind, size = node.attrs["checkpoint"]
    if kind == "every":
        return builder.const(size)
    if kind == "budget":  # decided when it is known what an iteration tapes
        placeholder: Value = builder.emit("let", (builder.const(1),))
        placeholder.name = "block"
        return placeholder
    root = builder.emit("sqrt", (builder.emit("cast", (trips,), dtype="float64", weak=True),))
    whole = builder.emit("cast", (builder.emit("floor", (root,)),), dtype="int64", weak=True)
    length: Value = builder.emit("maximum", (whole, 1))
    length.name = "block"
    return length
