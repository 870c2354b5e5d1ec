"""Rewrites that make the handling of arrays read well and change nothing that is computed.

t = dim(tanh(x), 0)                     t = dim(x, 0)               sizes are asked of arguments, or are the user's n
zeros(dim(x, 0), dim(x, 1))             zeros_like(x)               where x has that very shape and is dense
t = zeros(n); accumulate(t, 1.0)        t = full(n, 1.0)
dA = zeros(n); accumulate(dA, f(x))     dA = f(x)                   where f(x) is a new array of that type
dA = mul(t, A); accumulate(dA, mul(t, A))   dA = mul(mul(2, A), t)
t = copy(dA[1:-1]); store(dA[1:-1], 0)  u = mul(dA[1:-1], c)        the copy is taken by what is done to it
u = mul(t, c)                           store(dA[1:-1], 0)
dp = copy(de)                           dp = let(de)                where neither is written any more
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from gradc.ir.effects import buffers_written, own_reads, roots
from gradc.ir.nodes import Block, Func, Node, Value, used_values, walk_blocks, walk_nodes
from gradc.ir.opdef import TABLE, OpDef
from gradc.ir.types import WEAK_INT, Array, Dim, Scalar, Size

# Operations of the emitted text only; they are not in the table.
SIZE = OpDef("size", "query", ("x",), emit="{x}.size", doc="x.size.")
ZEROS_LIKE = OpDef("zeros_like", "fresh", ("x",), reads=(), doc="np.zeros_like(x).")
EMPTY_LIKE = OpDef("empty_like", "fresh", ("x",), reads=(), doc="np.empty_like(x).")
FULL_LIKE = OpDef("full_like", "fresh", ("x", "value"), reads=(), doc="np.full_like(x, value).")

_WHOLE = ("elementwise", "reduce", "product")


def prepare(func: Func) -> None:
    """Apply all of them to `func`, in place."""
    for block in walk_blocks(func.body):
        _start_with_first_contribution(block)
        _double(block)
        _add_twice(block)
        _take_copies(block)
        _start_again_with_first_contribution(block)
        _drop_idle_stores(block)
    _broadcast_numbers(func)
    _drop_last_copies(func)
    _name_copies(func)
    _count_elements(func)
    _use_copies_of_arguments(func)
    lengths: dict[Size, Value] = {
        p.size: p for p in func.params if isinstance(p.ty, Scalar) and isinstance(p.size, Dim)
    }
    _ask_arguments_for_sizes(func.body, _sizes_of_params(func), lengths)
    counts = use_counts(func)
    _write_like(func.body, [v for v in func.params if _is_dense(v)], counts)


def _users(block: Block, value: Value) -> list[tuple[int, Node]]:
    """Positions and nodes of a block that use a value; nodes whose inner blocks use it included."""
    found = []
    for k, node in enumerate(block.nodes):
        if (
            value in node.operands
            or any(value in n.operands for b in node.blocks for n in walk_nodes(b))
            or any(value in inner.yields for b in node.blocks for inner in walk_blocks(b))
        ):
            found.append((k, node))
    return found


# ------------------------------------------------------------------------------------ zeros, then a sum


def _start_with_first_contribution(block: Block) -> None:
    """Zeros whose first use adds to all of them start with what is added."""
    for node in list(block.nodes):
        if node.op.name != "zeros" or node not in block.nodes:
            continue
        buffer = node.result
        users = _users(block, buffer)
        if not users:
            continue
        _, add = users[0]
        if add.op.name != "accumulate" or add.operands[0] is not buffer or add.operands[1] is buffer:
            continue
        value = add.operands[1]
        source = value.node
        if isinstance(value.ty, Scalar):
            node.op = TABLE["broadcast_to"]
            node.operands = [value, *node.operands]
            block.nodes.remove(node)
            block.nodes[block.nodes.index(add)] = node
        elif (
            source is not None and source in block.nodes and source.op.kind in _WHOLE and source.op.name != "let"
            and not value.name and value.ty == buffer.ty and _only_user(block, value, add)
        ):  # fmt: skip
            block.nodes.remove(node)
            block.nodes.remove(source)
            source.results = [buffer]
            buffer.node = source
            block.nodes[block.nodes.index(add)] = source


def _start_again_with_first_contribution(block: Block) -> None:
    """`store(D, 0)`, then `accumulate(D, v)`: `store(D, v)`, if nothing looks at that part of D between."""
    pairs = {"store": "accumulate", "store_at": "accumulate_at"}
    for clear in list(block.nodes):
        if clear.op.name not in pairs or clear.operands[1].node is None:
            continue
        if clear.operands[1].node.op.name != "const" or clear.operands[1].node.attrs["value"] != 0:
            continue
        target = clear.operands[0]
        for node in block.nodes[block.nodes.index(clear) + 1 :]:
            if node.op.name == pairs[clear.op.name] and _same(node.operands[0], target) and _same_place(clear, node):
                if not roots(node.operands[1]) & roots(target):
                    node.op = clear.op
                    block.nodes.remove(clear)
                break
            touched = any(roots(v) & roots(target) for v in own_reads(node)) or node.blocks
            if touched or buffers_written(Block(nodes=[node])) & roots(target):
                break


def _place(node: Node) -> tuple[Value, Any, list[Value]] | None:
    """The array, region and index operands of an access to one element."""
    if node.op.name == "load":
        return node.operands[0], node.attrs["region"], node.operands[1:]
    if node.op.name in ("store_at", "accumulate_at"):
        return node.operands[0], node.attrs["region"], node.operands[2:]
    return None


def _same_place(one: Node, other: Node) -> bool:
    a, b = _place(one), _place(other)
    if a is None or b is None:
        return a is b
    return a[1] == b[1] and all(_same_position(p, q) for p, q in zip(a[2], b[2], strict=True))


def _same_position(a: Value, b: Value) -> bool:
    """Whether two index operands are one number: the same value, or the same arithmetic with it."""
    p, q = a.node, b.node
    if a is b or p is None or q is None or p.op is not q.op or p.attrs != q.attrs:
        return a is b
    if p.op.name == "const":
        return True
    return p.op.name in ("add", "sub") and all(
        _same_position(x, y) for x, y in zip(p.operands, q.operands, strict=True)
    )


def _drop_idle_stores(block: Block) -> None:
    """A store of what was just copied from there."""
    for node in list(block.nodes):
        if node.op.name != "store":
            continue
        source = node.operands[1].node
        if source is None or source.op.name != "copy" or source not in block.nodes:
            continue
        target = node.operands[0]
        between = block.nodes[block.nodes.index(source) + 1 : block.nodes.index(node)]
        written = any((roots(target) | {node.operands[1]}) & buffers_written(Block(nodes=[n])) for n in between)
        if _same(source.operands[0], target) and not written:
            block.nodes.remove(node)


def _same(a: Value, b: Value, written: frozenset[Value] | None = None) -> bool:
    """Whether two values are one by construction: equal views, numbers, and elements of arrays other than `written`."""
    if a is b:
        return True
    p, q = a.node, b.node
    if p is None or q is None or p.op is not q.op:
        return False
    element = p.op.name == "load" and written is not None and not roots(p.operands[0]) & written
    if p.op.kind != "view" and p.op.name not in ("const", "dim") and not element:
        return False
    return p.attrs == q.attrs and all(
        _same(x, y) or _same_position(x, y) for x, y in zip(p.operands, q.operands, strict=True)
    )


def _add_twice(block: Block) -> None:
    """The same added twice in a row is twice that, added once."""
    adds = [n for n in block.nodes if n.op.name in ("accumulate", "accumulate_at") and n.loc.reverse]
    for one, other in pairwise(adds):
        first, second = one.operands[1].node, other.operands[1].node
        if (
            first is None
            or second is None
            or first.op.name != "mul"
            or second.op is not first.op
            or first not in block.nodes
        ):
            continue
        target = roots(one.operands[0])
        if second not in block.nodes or one.op is not other.op or one.attrs != other.attrs:
            continue
        places = [(one.operands[0], other.operands[0]), *zip(one.operands[2:], other.operands[2:], strict=True)]
        if not all(_same(a, b) or _same_position(a, b) for a, b in places):
            continue
        if not all(_same(a, b, target) for a, b in zip(first.operands, second.operands, strict=True)):
            continue
        between = block.nodes[block.nodes.index(one) + 1 : block.nodes.index(other)]
        single = _only_user(block, first.result, one) and _only_user(block, second.result, other)
        if not single or any(n.op.kind in ("write", "control", "stack", "check") for n in between):
            continue
        if any(roots(v) & target for v in first.operands):
            continue
        two = Node(TABLE["const"], [], [], {"value": 2}, [], first.loc)
        two.results = [Value(WEAK_INT, "", two)]
        k = 0 if isinstance(first.operands[0].ty, Scalar) else 1
        second.operands = [two.result, first.operands[k]]
        second.result.ty = first.operands[k].ty
        first.operands = [second.result, first.operands[1 - k]]
        block.nodes.remove(second)
        block.nodes.remove(other)
        place = block.nodes.index(first)
        block.nodes[place:place] = [two, second]


def _double(block: Block) -> None:
    """A new array to which the same is added once more is twice that."""
    for first in list(block.nodes):
        if (
            first.op.name not in ("mul", "copy")
            or not first.loc.reverse
            or not first.results
            or not isinstance(first.result.ty, Array)
        ):
            continue
        users = _users(block, first.result)
        if not users or users[0][1].op.name != "accumulate" or users[0][1].operands[0] is not first.result:
            continue
        add = users[0][1]
        second = add.operands[1].node
        if (
            second is None
            or second not in block.nodes
            or second.op is not first.op
            or not _only_user(block, second.result, add)
        ):
            continue
        if any(a is not b for a, b in zip(first.operands, second.operands, strict=True)):
            continue
        if not _unwritten_between(block, first, second):
            continue
        two = Node(TABLE["const"], [], [], {"value": 2}, [], first.loc)
        two.results = [Value(WEAK_INT, "", two)]
        block.nodes.insert(block.nodes.index(first), two)
        block.nodes.remove(add)
        block.nodes.remove(second)
        if first.op.name == "copy":
            first.op, first.operands = TABLE["mul"], [two.result, first.operands[0]]
            continue
        ct, x = (
            first.operands
            if first.operands[0].node is not None and first.operands[0].node.loc.reverse
            else first.operands[::-1]
        )
        second.operands = [two.result, x]
        second.result.ty = x.ty
        block.nodes.insert(block.nodes.index(first), second)
        first.operands = [second.result, ct]


def _only_user(block: Block, value: Value, user: Node) -> bool:
    """Whether `user` alone uses the value, once, and nothing that the value is made of is written before that."""
    users = _users(block, value)
    if len(users) != 1 or users[0][1] is not user or list(user.operands).count(value) != 1 or value in block.yields:
        return False
    assert value.node is not None
    return _unwritten_between(block, value.node, user)


def _unwritten_between(block: Block, made: Node, use: Node) -> bool:
    read = frozenset(root for v in own_reads(made) for root in roots(v))
    between = block.nodes[block.nodes.index(made) + 1 : block.nodes.index(use)]
    return not any(read & buffers_written(Block(nodes=[n])) for n in between)


# -------------------------------------------------------------------------------------------- copies


def _take_copies(block: Block) -> None:
    """A copy that one elementwise op reads is left out: the op moves up to where the copy was taken."""
    for node in list(block.nodes):
        if (
            node.op.name not in ("copy", "load")
            or node.result.name
            or not node.loc.reverse
            or node.result in block.yields
        ):
            continue
        users = _users(block, node.result)
        if len(users) != 1:
            continue
        user = users[0][1]
        if (
            user.op.kind not in _WHOLE
            or user.blocks
            or user.operands.count(node.result) != 1
            or user.op.name in ("let", "cast")
        ):
            continue
        here, there = block.nodes.index(node), block.nodes.index(user)
        between = block.nodes[here + 1 : there]
        needed = _feeding(user, between)
        if any(n.op.kind != "query" and (n.op.kind != "elementwise" or any(own_reads(n))) for n in needed):
            continue
        if _unwritten_between(block, node, user) or not _others_unwritten(user, node.result, between):
            continue
        if any(n.op.kind in ("control", "check", "stack") for n in between):
            continue
        for moved in (*needed, user):
            block.nodes.remove(moved)
        if node.op.name == "load":
            block.nodes[here + 1 : here + 1] = [*needed, user]
            continue
        block.nodes[here : here + 1] = [*needed, user]
        user.operands = [node.operands[0] if v is node.result else v for v in user.operands]


def _feeding(user: Node, between: list[Node]) -> list[Node]:
    """The nodes of `between` that `user` is computed from, in order."""
    wanted = set(user.operands)
    found = []
    for node in reversed(between):
        if any(r in wanted for r in node.results):
            wanted.update(node.operands)
            found.append(node)
    return found[::-1]


def _others_unwritten(user: Node, taken: Value, between: list[Node]) -> bool:
    read = frozenset(root for v in own_reads(user) if v is not taken for root in roots(v))
    return not any(read & buffers_written(Block(nodes=[n])) for n in between)


def _name_copies(func: Func) -> None:
    """A named copy of an array is another name for it, where neither is written and neither leaves the function."""
    kept: set[Value] = set(buffers_written(func.body)) | set(func.params)
    for value in func.results:
        kept |= roots(value)
    for node in walk_nodes(func.body):
        if node.op.name == "copy" and node.loc.reverse and node.result.name:
            source = node.operands[0]
            own = source.node is not None and source.node.op.kind in _WHOLE and not roots(source) & kept
            if own and node.result not in kept and isinstance(source.ty, Array) and source.ty.layout == "C":
                node.op = TABLE["alias"]


def _broadcast_numbers(func: Func) -> None:
    """An array of one number that is only added or stored somewhere is that number."""
    uses: dict[Value, int] = {}
    for block in walk_blocks(func.body):
        for value in (*block.yields, *(v for n in block.nodes for v in n.operands)):
            uses[value] = uses.get(value, 0) + 1
    for node in walk_nodes(func.body):
        if node.op.name not in ("accumulate", "store", "scatter", "scatter_add"):
            continue
        source = node.operands[1].node
        if source is None or source.op.name != "broadcast_to" or uses.get(source.result) != 1:
            continue
        if isinstance(source.operands[0].ty, Scalar) and not source.result.name:
            node.operands[1] = source.operands[0]


def _drop_last_copies(func: Func) -> None:
    """A result copied from an array of the function's own, which nobody else returns or changes, is that array."""
    nodes = func.body.nodes
    for value in func.results:
        node = value.node
        if node is None or node.op.name != "copy" or node not in nodes:
            continue
        source = node.operands[0]
        own = roots(source)
        ty = source.ty
        after = nodes[nodes.index(node) + 1 :]
        shared = any(own & roots(other) for other in func.results if other is not value)
        local = all(r.node is not None and r.node.op.kind in (*_WHOLE, "fresh") for r in own)
        whole = isinstance(ty, Array) and ty.layout == "C" and all(r.ty == ty or _is_reshaped(source, r) for r in own)
        rest = Block(nodes=after)
        written = buffers_written(rest)
        seen = any(roots(v) & own for n in after for v in used_values(n)) if value in written else False
        if local and whole and not shared and not own & written and not seen:
            node.op = TABLE["alias"]


def _is_reshaped(value: Value, root: Value) -> bool:
    """Whether `value` is all of `root` in another shape."""
    while value.node is not None and value.node.op.name == "reshape":
        value = value.node.operands[0]
    return value is root


# --------------------------------------------------------------------------------------------- sizes


def _count_elements(func: Func) -> None:
    """The product of all sizes of an array is its size: of a named one, by preference."""
    uses: dict[Value, int] = {}
    for node in walk_nodes(func.body):
        for value in node.operands:
            uses[value] = uses.get(value, 0) + 1
    for node in walk_nodes(func.body):
        sizes = _factors(node)
        if len(sizes) < 2 or any(s.node is None or s.node.op.name != "dim" or s.name for s in sizes):
            continue
        dims = [s.node for s in sizes if s.node is not None]
        base = dims[0].operands[0]
        if any(d.operands[0] is not base for d in dims) or [d.attrs["axis"] for d in dims] != list(range(base.rank)):
            continue
        while (
            base.node is not None
            and not base.name
            and base.node.op.kind == "elementwise"
            and uses[base] < base.rank + 2
        ):
            same = [v for v in base.node.operands if v.ty == base.ty]
            if not same:
                break
            base = same[0]
        node.op, node.operands = SIZE, [base]


def _factors(node: Node) -> list[Value]:
    """The factors of an integer product, from left to right."""
    if node.op.name != "mul" or not isinstance(node.result.ty, Scalar) or node.result.dtype != "int64":
        return []
    left, right = node.operands
    inner = _factors(left.node) if left.node is not None else []
    return [*(inner or [left]), right]


def _use_copies_of_arguments(func: Func) -> None:
    """Where an argument is copied on entry under its own name, sizes are asked of the copy."""
    copies = _entry_copies(func)
    seen: set[Value] = set()
    for node in walk_nodes(func.body):
        if node.op.name == "copy" and node.operands[0] in copies:
            seen.add(node.operands[0])
        elif node.op.name == "dim" and node.operands[0] in seen:
            node.operands = [copies[node.operands[0]]]


def _entry_copies(func: Func) -> dict[Value, Value]:
    """Copies of arguments under their own name that are made before anything else."""
    found: dict[Value, Value] = {}
    for node in func.body.nodes:
        if node.op.name == "copy" and node.operands[0] in func.params and not node.loc.reverse:
            if node.result.name == node.operands[0].name:
                found.setdefault(node.operands[0], node.result)
        elif node.op.name != "const":
            break
    return found


def _sizes_of_params(func: Func) -> dict[Size, tuple[Value, int]]:
    """For each size, the first argument and axis that has it."""
    found: dict[Size, tuple[Value, int]] = {}
    renamed = _entry_copies(func)
    for param in func.params:
        if isinstance(param.ty, Array):
            for axis, size in enumerate(param.ty.shape):
                if not isinstance(size, int):
                    found.setdefault(size, (renamed.get(param, param), axis))
    return found


def _ask_arguments_for_sizes(
    block: Block, known: dict[Size, tuple[Value, int]], named: dict[Size, Value] | None = None
) -> None:
    """The size of an intermediate array is asked of the argument that has the same, or is the user's own variable."""
    named = dict(named or {})
    known = dict(known)
    for node in block.nodes:
        if node.op.name == "dim":
            ty = node.operands[0].ty
            assert isinstance(ty, Array)
            size = ty.shape[node.attrs["axis"]]
            base = node.operands[0]
            if size in known and base is not known[size][0] and base.node is not None:
                node.operands, node.attrs = [known[size][0]], {"axis": known[size][1]}
            if node.result.name:
                named.setdefault(size, node.result)
        for inner in node.blocks:
            _ask_arguments_for_sizes(inner, known, named)
        node.operands = [_own_name(v, named) for v in node.operands]


def _own_name(value: Value, named: dict[Size, Value]) -> Value:
    node = value.node
    if node is None or node.op.name != "dim" or value.name:
        return value
    ty = node.operands[0].ty
    assert isinstance(ty, Array)
    return named.get(ty.shape[node.attrs["axis"]], value)


# ------------------------------------------------------------------------------------------- allocations


def _is_dense(value: Value) -> bool:
    return isinstance(value.ty, Array) and value.ty.layout == "C" and bool(value.ty.shape)


def use_counts(func: Func) -> dict[Value, int]:
    """How many operands and yields each value is."""
    counts: dict[Value, int] = {}
    for block in walk_blocks(func.body):
        for value in (*block.yields, *(v for n in block.nodes for v in n.operands)):
            counts[value] = counts.get(value, 0) + 1
    return counts


def _write_like(block: Block, scope: list[Value], uses: dict[Value, int]) -> None:
    """`np.zeros((x.shape[0], x.shape[1]))` becomes `np.zeros_like(x)`, if x is of that shape for sure.

    An array of layout C is chosen, because `zeros_like` keeps the order of the elements in memory.
    """
    scope = list(scope)
    for node in block.nodes:
        for inner in node.blocks:
            _write_like(inner, scope, uses)
        name = node.op.name
        if name in ("zeros", "empty", "broadcast_to"):
            first = 1 if name == "broadcast_to" else 0
            if first and isinstance(node.operands[0].ty, Array):
                continue
            like = _find_like(node, scope, node.operands[first:])
            if like is not None:
                node.op = {"zeros": ZEROS_LIKE, "empty": EMPTY_LIKE, "broadcast_to": FULL_LIKE}[name]
                node.operands = [like, *node.operands[:first]]
        for result in node.results:
            if _is_dense(result) and result.name and node.op.kind != "view" and result in uses:
                scope.append(result)


def _find_like(node: Node, scope: list[Value], sizes: list[Value]) -> Value | None:
    ty = node.result.ty
    assert isinstance(ty, Array)
    matches = [v for v in scope if isinstance(v.ty, Array) and v.ty.dtype == ty.dtype and v.ty.shape == ty.shape]
    if not matches or all(isinstance(s, int) for s in ty.shape):
        return None
    wanted = node.result.name
    for value in reversed(matches):
        if wanted and wanted == "d" + value.name:
            return value
    # Else the array whose own sizes the program asks for, all of them and in order.
    asked = [
        (v.node.operands[0], v.node.attrs["axis"]) for v in sizes if v.node is not None and v.node.op.name == "dim"
    ]
    for value in matches:
        own = [(value, axis) for axis in range(len(ty.shape))]
        if len(asked) == len(own) and all(a is b and i == j for (a, i), (b, j) in zip(asked, own, strict=True)):
            return value
    return None
