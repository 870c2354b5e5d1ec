"""A buffer that every iteration of a loop fills anew belongs to the iteration: it is made inside the loop.

    %t = empty(%d)                          for k in range(n):
    for k in range(n):                          %t = empty(%d)
        for i in range(d):                      for i in range(d):
            store_at(%t, ..., i)      ->            store_at(%t, ..., i)
        ... reads of %t                         ... reads of %t

Nothing passes from one iteration to the next through such a buffer, so iterations do not overwrite what the reverse
sweep needs of others, and may be reversed one by one. (Lowering makes the memory once, before the loop.) The buffer is
used inside one loop only, and the first thing that an iteration does with it writes all of it: a `store`, or
a nest of `for` loops over its whole shape.
Source: array privatization; Tu, Padua, Automatic array privatization (1993).
"""

from __future__ import annotations

from gradc.ir.builder import Builder
from gradc.ir.effects import own_reads, own_write, roots
from gradc.ir.nodes import Block, Func, Node, Value, clone_func, walk_nodes
from gradc.ir.region import FULL, Arg, At, Region
from gradc.ir.types import Size


def privatize(func: Func) -> Func:
    """`func` with buffers made inside the innermost loop that they belong to."""
    if not any(n.op.name in ("zeros", "empty") for n in func.body.nodes) or not _has_loops(func.body):
        return func
    mover = _Mover(clone_func(func))
    mover.block(mover.func.body)
    return mover.func if mover.moved else func


def _has_loops(block: Block) -> bool:
    return any(n.op.name in ("for", "while") for n in walk_nodes(block))


class _Mover:
    def __init__(self, func: Func) -> None:
        self.func = func
        self.moved = False
        self.sizes = Builder(func, checks=False)
        self.results = frozenset(r for v in func.results for r in roots(v))

    def block(self, block: Block) -> None:
        """Move allocations of a block into its loops, then look into the loops."""
        for node in list(block.nodes):
            if node.op.name in ("zeros", "empty") and node.result not in self.results:
                self._move(node, block)
        for node in block.nodes:
            for inner in node.blocks:
                self.block(inner)

    def _move(self, allocation: Node, block: Block) -> None:
        body = self._owner(allocation.result, block)
        if body is None:
            return
        block.nodes.remove(allocation)
        root = allocation.result
        body.nodes.insert(min(k for k, n in enumerate(body.nodes) if _mentions(n, root)), allocation)
        self.moved = True

    def _owner(self, root: Value, block: Block) -> Block | None:
        """The loop body below `block` that fills `root` anew in every iteration and is alone in using it."""
        users = [n for n in block.nodes if _mentions(n, root)]
        if len(users) != 1 or users[0].op.name not in ("for", "while"):
            return None
        body = users[0].blocks[-1]
        if any(_mentions_in(inner, root) for inner in users[0].blocks[:-1]):
            return None
        first = next((n for n in body.nodes if _touches(n, root)), None)
        if first is not None and (_stores_all(first, root) or self._fills(first, root, {})):
            return body
        return self._owner(root, body)

    def _fills(self, node: Node, root: Value, indices: dict[Value, Size]) -> bool:
        """Whether a `for` nest stores into every element of `root`, and reads none.

        `indices`: those of enclosing loops, with the number of iterations.
        """
        if node.op.name != "for" or node.attrs.get("exits"):
            return False
        start, stop, step = node.operands[:3]
        if _constant(start) != 0 or _constant(step) != 1:
            return False
        indices = {**indices, node.blocks[0].params[0]: self.sizes.size_of(stop)}
        filled = False
        for inner in node.blocks[0].nodes:
            if any(root in roots(array) for array in own_reads(inner)):
                return False
            target = own_write(inner)
            if target is not None and root in roots(target):
                filled = filled or self._stores_element(inner, root, indices)
            elif inner.blocks and _touches(inner, root):
                filled = self._fills(inner, root, indices)
                if not filled:
                    return False
        return filled

    def _stores_element(self, write: Node, root: Value, indices: dict[Value, Size]) -> bool:
        """Whether the write, over all values of `indices`, hits every element."""
        target = write.operands[0]
        if write.op.name == "store_at" and target is root:
            return self._ranges_over(write.attrs["region"], write.operands[2:], root, indices)
        view = target.node
        if write.op.name == "store" and view is not None and view.op.name == "index" and view.operands[0] is root:
            return self._ranges_over(view.attrs["region"], view.operands[1:], root, indices)
        return False

    def _ranges_over(self, region: Region, operands: list[Value], root: Value, indices: dict[Value, Size]) -> bool:
        used: set[Value] = set()
        for entry, size in zip(region, root.shape, strict=False):
            if entry == FULL:
                continue
            if not isinstance(entry, At) or not isinstance(entry.position, Arg):
                return False
            index = operands[entry.position.k]
            if index in used or indices.get(index) != self.sizes.canonical_size(size):
                return False
            used.add(index)
        return len(region) == len(root.shape)


def _constant(value: Value) -> int | None:
    node = value.node
    return int(node.attrs["value"]) if node is not None and node.op.name == "const" else None


def _stores_all(node: Node, root: Value) -> bool:
    return node.op.name == "store" and node.operands[0] is root and root not in roots(node.operands[1])


def _mentions(node: Node, root: Value) -> bool:
    """Whether the node, or one inside it, has `root` or a view of it as an operand."""
    return any(root in roots(v) for v in node.operands) or any(_mentions_in(b, root) for b in node.blocks)


def _mentions_in(block: Block, root: Value) -> bool:
    return any(root in roots(v) for v in block.yields) or any(_mentions(n, root) for n in block.nodes)


def _touches(node: Node, root: Value) -> bool:
    """Whether the node, or one inside it, reads or writes the content of `root`."""
    if any(root in roots(array) for array in own_reads(node)):
        return True
    target = own_write(node)
    if target is not None and root in roots(target):
        return True
    return any(_touches(inner, root) for block in node.blocks for inner in block.nodes)
