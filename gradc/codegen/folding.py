"""Which values are printed inside the statement that uses them, and which are statements of their own.

    t = mul(x, y)              z = x * y + 1.0         unnamed, used once: folded
    z = add(t, 1.0)
    t = load(a, i)             t1 = a[i]               not folded past a write into `a`
    store_at(a, i, 0.0)        a[i] = 0.0
    y = mul(t, 2.0)            y = t1 * 2.0

A value that the user named is always a statement. Views, sizes and index arithmetic are printed wherever they are used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from gradc.ir.effects import buffers_written, own_reads, own_write, roots
from gradc.ir.nodes import Block, Func, Node, Value, walk_blocks, walk_nodes
from gradc.ir.types import Scalar, Stack, is_integer

# An expression of about this many characters is split: nobody reads it on one line.
LONGEST = 84
_OWN_LENGTH = {"view": 3, "read": 2, "query": 9, "fresh": 12, "stack": 6}

# Their texts leave some of their operands unevaluated.
_LAZY = frozenset(("select_ref", "where", "logical_and", "logical_or"))


class Folding:
    """The folded values of a function. `repeats(node, k)`: how often the text of `node` shows operand k."""

    def __init__(self, func: Func, repeats: Callable[[Node, int], int], named: dict[Value, str]) -> None:
        self.func = func
        self.folded: set[Value] = set()
        self._repeats = repeats
        self._named = named
        self._uses: dict[Value, list[tuple[Block, int, Node | None, int]]] = {}
        self._block_of: dict[Node, Block] = {}
        self._place: dict[Node, int] = {}
        for block in walk_blocks(func.body):
            for position, node in enumerate(block.nodes):
                self._block_of[node] = block
                self._place[node] = position
                for k, operand in enumerate(node.operands):
                    self._uses.setdefault(operand, []).append((block, position, node, k))
            for k, value in enumerate(block.yields):
                self._uses.setdefault(value, []).append((block, len(block.nodes), None, k))
        self._exits = {
            b.yields[0]: (b.yields[0], b)
            for n in walk_nodes(func.body)
            if n.attrs.get("exits")
            for b in n.blocks[-1:]
        }
        self._written = buffers_written(func.body)
        self._staged = any(n.loc.reverse for n in walk_nodes(func.body))
        self._conditions = {n.blocks[0] for n in walk_nodes(func.body) if n.op.name == "while"}
        self._fold_block(func.body)
        self._fold_exits()
        self._split_long(func.body)

    def use_count(self, value: Value) -> int:
        """How many operands and yields a value is."""
        return len(self._uses.get(value, ()))

    def leaves(self, value: Value) -> Iterator[Value]:
        """The variables that the text of a value reads."""
        if value not in self.folded:
            yield value
            return
        assert value.node is not None
        for operand in value.node.operands:
            yield from self.leaves(operand)

    def read_at_once(self) -> set[Value]:
        """Folded values that an operation reads as it is evaluated: a copy of an array need not be made for it."""
        return {
            key
            for key in self.folded
            if (uses := self._uses.get(key, ()))
            and all(
                user is not None
                and (
                    (user.op.kind in ("elementwise", "reduce", "product") and user.op.emit != "{x}")
                    or (user.op.name in ("store", "store_at", "accumulate", "accumulate_at") and k == 1)
                )
                for _, _, user, k in uses
            )
        }

    def is_private(self, value: Value) -> bool:
        """Whether only the variable of `value` names its buffer: nothing views it, keeps it or yields it."""
        for _, _, user, _ in self._uses.get(value, ()):
            if user is None or user.op.kind in ("view", "stack") or user.op.name == "let":
                return False
        return True

    def fold_yield(self, value: Value) -> bool:
        """Print a value that a block yields in the assignment at the end of the block, if it can move there."""
        node = value.node
        uses = self._uses.get(value, [])
        if node is None or value in self.folded or len(uses) != 1 or len(node.results) != 1:
            return False
        block, position, user, _ = uses[0]
        if (
            user is not None
            or self._block_of[node] is not block
            or node.blocks
            or node.op.kind in ("stack", "view")
        ):
            return False
        if value in self._exits or not self._can_all_move(node, block, position):
            return False
        self.folded.add(value)
        return True

    # ------------------------------------------------------------------------------------------------

    def _fold_block(self, block: Block) -> None:
        """Decide for every value of a block, the last one first: a value moves to where its user is printed."""
        for node in reversed(block.nodes):
            for inner in reversed(node.blocks):
                self._fold_block(inner)
            if len(node.results) == 1 and self._is_folded(node, node.results[0], block):
                self.folded.add(node.results[0])

    def _fold_exits(self) -> None:
        """Exit flags are printed in the `if ...: break`, where they do not read what has just moved on."""
        for flag in self._exits.values():
            value, body = flag
            node = value.node
            if node is None or node.blocks or self._named.get(value) or self.use_count(value) != 1:
                continue
            if node not in body.nodes or node.op.kind == "stack" or not self._can_all_move(node, body, len(body.nodes)):
                continue
            self.folded.add(value)
            carried = set(body.params)
            if any(leaf in carried for leaf in self.leaves(value)):
                self.folded.discard(value)

    def _is_folded(self, node: Node, value: Value, block: Block) -> bool:
        if node.op.name in ("const", "undef"):
            return not self._named.get(value)
        if self._is_first_term(node, value):
            return True
        if node.blocks or isinstance(value.ty, Stack) or self._named.get(value):
            return False
        if self._is_cheap(node):
            return True
        uses = self._uses.get(value, [])
        if len(uses) != 1:
            return False
        plain = not self._staged
        user_block, position, user, k = uses[0]
        if user_block is not block:
            return False
        if user is not None:
            if self._repeats(user, k) > 1 or (user.op.name == "push" and k == 0):
                return False
            if user.op.kind == "write" and k == 0 and node.op.kind != "view":
                return False
            if node.op.kind == "stack" and (user.op.name in _LAZY or any(r in self.folded for r in user.results)):
                return False  # what changes a tape happens in every case: not in one arm of `a if c else b`
        elif block not in self._conditions and not (block is self.func.body and (plain or node.op.name == "let")):
            # A yield shares the variable of what it becomes; it is folded only where that fails (`fold_yield`).
            return False
        return self._can_move(node, block, self._printed_at(user, position))

    def _is_first_term(self, node: Node, value: Value) -> bool:
        """`dx = dy`, then `dx = dx + c`, of arrays: the first is said with the second, `dx = dy + c`."""
        name = self._named.get(value)
        if isinstance(value.ty, Scalar) or not self._named.get(node.operands[0] if node.operands else value):
            return False
        uses = self._uses.get(value, [])
        if node.op.name not in ("let", "alias") or not node.loc.reverse or not name or len(uses) != 1:
            return False
        _, _, user, k = uses[0]
        (source,) = node.operands
        if user is None or user.op.name not in ("add", "sub") or self._named.get(user.results[0]) != name or k:
            return False
        return self._block_of[user] is self._block_of[node] and self._named.get(source) != name

    def _is_cheap(self, node: Node) -> bool:
        """Whether the text may be repeated: views, sizes, and index arithmetic of one step, over names."""
        if node.op.kind == "query" or (node.op.kind == "view" and node.op.name != "select_ref"):
            return all(self._is_plain(v) for v in node.operands)
        if node.op.name == "load" and node.operands[0] in self.func.params and node.operands[0] not in self._written:
            return all(self._is_plain(v) and not self._is_arithmetic(v) for v in node.operands[1:])
        if node.op.name in ("lt", "le", "gt", "ge", "eq", "ne") and isinstance(node.result.ty, Scalar):
            return all(self._is_fixed(v) for v in node.operands)
        if (
            node.op.name in ("add", "sub", "mul", "neg")
            and isinstance(node.result.ty, Scalar)
            and is_integer(node.result.ty)
        ):
            return all(self._is_plain(v) and not self._is_arithmetic(v) for v in node.operands)
        return False

    def _is_plain(self, value: Value) -> bool:
        """Whether the text of a value is a name, a number, or cheap itself."""
        node = value.node
        if node is None or self._named.get(value) or node.op.name == "const" or node.blocks:
            return True
        if self._is_cheap(node):
            return True
        return self.use_count(value) > 1

    def _is_fixed(self, value: Value) -> bool:
        """Whether a value is a number, an argument, or a size: a test of these may be written twice."""
        node = value.node
        if node is None:
            return value in self.func.params
        return node.op.name in ("const", "dim") and (node.op.name == "const" or self._is_fixed_array(node.operands[0]))

    def _is_fixed_array(self, value: Value) -> bool:
        return value in self.func.params

    def _is_arithmetic(self, value: Value) -> bool:
        node = value.node
        return (
            node is not None
            and node.op.kind == "elementwise"
            and node.op.name != "const"
            and not self._named.get(value)
        )

    def _printed_at(self, user: Node | None, position: int) -> int:
        """Position of the statement that a node is printed in, inside its block."""
        while user is not None and len(user.results) == 1 and user.results[0] in self.folded:
            _, position, user, _ = self._uses[user.results[0]][0]
        return position

    def _can_move(self, node: Node, block: Block, position: int) -> bool:
        """Whether the node may be evaluated at `position` of its block instead of where it stands."""
        read = frozenset(root for value in own_reads(node) for root in roots(value))
        stacks = [v for v in node.operands if isinstance(v.ty, Stack)]
        for between in block.nodes[self._place[node] + 1 : position]:
            for inner in _with_inner(between):
                target = own_write(inner)
                if target is not None and read & roots(target):
                    return False
                if any(s in inner.operands for s in stacks):
                    return False
        return True

    def _can_all_move(self, node: Node, block: Block, position: int) -> bool:
        """`_can_move` for a node and everything that is folded into it."""
        inner = [v.node for v in node.operands if v in self.folded and v.node is not None]
        own = self._block_of[node] is not block or self._can_move(node, block, position)
        return own and all(self._can_all_move(n, block, position) for n in inner)

    def _split_long(self, block: Block) -> None:
        """Take the largest parts out of expressions that are too long."""
        lengths: dict[Value, int] = {}

        def length(value: Value) -> int:
            if value not in self.folded or value.node is None:
                return len(self._named.get(value, "t1"))
            if value not in lengths:
                node = value.node
                own = len(str(node.attrs["value"])) if node.op.name == "const" else _OWN_LENGTH.get(node.op.kind, 3)
                if isinstance(node.op.emit, str):
                    own = len(re.sub(r"\{\w+\}", "", node.op.emit))
                elif node.op.emit is not None:
                    own = len(node.op.name) + 5 + sum(len(str(k)) + 2 for k in node.attrs)
                lengths[value] = own + sum(length(v) for v in node.operands)
            return lengths[value]

        for node in walk_nodes(block):
            if len(node.results) == 1 and node.results[0] in self.folded:
                continue
            while sum(length(v) for v in node.operands) > LONGEST:
                part = max(node.operands, key=length)
                while part.node is not None and length(part) > LONGEST // 2:
                    heaviest = max(part.node.operands, key=lambda v: length(v) if self._is_split(v) else 0)
                    if not self._is_split(heaviest) or length(heaviest) <= LONGEST // 3:
                        break
                    part = heaviest
                if not self._is_split(part):
                    break
                self.folded.discard(part)
                lengths.clear()

    def _is_split(self, value: Value) -> bool:
        """Whether a folded value can become a statement of its own."""
        node = value.node
        return (
            value in self.folded
            and node is not None
            and node.op.kind in ("elementwise", "reduce", "product", "fresh")
            and (node.op.name != "const" and self.use_count(value) == 1)
        )


def _with_inner(node: Node) -> Iterator[Node]:
    yield node
    for block in node.blocks:
        yield from walk_nodes(block)
