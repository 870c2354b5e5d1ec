"""Where things stand in a function: which block defines a value, which loops enclose a node, what comes after what."""

from __future__ import annotations

from gradc.ir.effects import own_write, roots
from gradc.ir.nodes import Block, Func, Node, Value


class Structure:
    """Positions of all nodes, values and blocks of one function, which must not change meanwhile."""

    def __init__(self, func: Func) -> None:
        self.func = func
        self.block_of: dict[Node, Block] = {}
        self.owner_of: dict[Block, Node | None] = {func.body: None}
        self.def_block: dict[Value, Block] = {}
        self.order: dict[Node, int] = {}
        self._ends: dict[Node, int] = {}  # of control nodes: the order of the last node inside
        self.writes_to: dict[Value, list[Node]] = {}
        self._scan(func.body)

    def _scan(self, block: Block) -> None:
        for param in block.params:
            self.def_block[param] = block
        for node in block.nodes:
            self.block_of[node] = block
            self.order[node] = len(self.order)
            for result in node.results:
                self.def_block[result] = block
            target = own_write(node)
            if target is not None:
                for root in roots(target):
                    self.writes_to.setdefault(root, []).append(node)
            for inner in node.blocks:
                self.owner_of[inner] = node
                self._scan(inner)
            self._ends[node] = len(self.order) - 1

    def owners(self, block: Block) -> list[Node]:
        """Control nodes around a block, the outermost first."""
        found: list[Node] = []
        owner = self.owner_of[block]
        while owner is not None:
            found.append(owner)
            owner = self.owner_of[self.block_of[owner]]
        return found[::-1]

    def owners_of(self, node: Node) -> list[Node]:
        """Control nodes around a node, the outermost first."""
        return self.owners(self.block_of[node])

    def loops(self, block: Block) -> list[Node]:
        """Loops around a block, the outermost first."""
        return [n for n in self.owners(block) if n.op.name != "if"]

    def is_inside(self, value: Value, node: Node) -> bool:
        """Whether the value is defined in a block of `node`."""
        return self._block_inside(self.def_block[value], node)

    def node_inside(self, inner: Node, outer: Node) -> bool:
        """Whether `inner` stands in a block of `outer`."""
        return self._block_inside(self.block_of[inner], outer)

    def place(self, value: Value) -> int:
        """The order of the control node that a value is defined inside of; -1 where there is none."""
        owner = self.owner_of[self.def_block[value]]
        return -1 if owner is None else self.order[owner]

    def span(self, node: Node) -> tuple[int, int]:
        """The order of a node, and that of the last one inside it."""
        return self.order[node], self._ends[node]

    def _block_inside(self, block: Block, node: Node) -> bool:
        owner = self.owner_of[block]
        return owner is not None and self.order[node] <= self.order[owner] <= self._ends[node]

    def encloses(self, outer: Block, inner: Block) -> bool:
        """Whether `inner` is `outer` or lies inside it."""
        while True:
            if outer is inner:
                return True
            owner = self.owner_of[inner]
            if owner is None:
                return False
            inner = self.block_of[owner]

    def ancestor_in(self, block: Block, node: Node) -> Node | None:
        """The node of `block` that is `node` or contains it; None where `node` is not below `block`."""
        while self.block_of[node] is not block:
            owner = self.owner_of[self.block_of[node]]
            if owner is None:
                return None
            node = owner
        return node

    def may_follow(self, later: Node, earlier: Node, root: Value, within: Node | None = None) -> bool:
        """Whether an execution of `later` may come after one of `earlier`, while `root` is one and the same buffer.

        `within`: only executions in one iteration of this loop, which is around both, count.
        """
        return self.order[later] > self.order[earlier] or bool(self.shared_loops(later, earlier, root, within))

    def shared_loops(self, one: Node, other: Node, root: Value, within: Node | None = None) -> list[Node]:
        """Loops around both nodes (inside `within`, if given) in which `root` is one and the same buffer.

        A loop around the definition of `root` makes a new buffer in each iteration.
        """
        home = self.def_block[root]
        around = self.owners_of(other)
        shared = [n for n in self.owners_of(one) if n.op.name != "if" and n in around]
        if within is not None:
            shared = shared[shared.index(within) + 1 :]
        return [n for n in shared if self.encloses(home, self.block_of[n])]

    def written_between(self, root: Value, definition: Node, use: Node) -> bool:
        """Whether `root` may be written after `definition`, up to the end of `use`, in one run of the former's block.

        Where `use` lies deeper, the whole node of that block which holds it counts: what the reverse sweep computes
        for it may be placed before that node's reverse, when its writes have not been undone.
        """
        block = self.block_of[definition]
        anchor = self.ancestor_in(block, use)
        if anchor is None:
            return True
        for write in self.writes_to.get(root, ()):
            there = self.ancestor_in(block, write)
            if there is not None and self.order[definition] < self.order[there] <= self.order[anchor]:
                return True
        return False
