"""Arrays that a loop replaces as a whole: in text they are names that are bound anew, as in the user's program.

    h = zeros(n)                          h = np.zeros(n)
    for ...:                              for ...:
        h1 = tanh(matmul(W, h))               h = np.tanh(W @ h)
        store(h, h1)

The IR stores into one buffer, because arrays do not flow through blocks. The text may say `h = h1` instead of
`h[:] = h1` where nobody can tell the difference: nothing else names the buffer while it is stored to, all writes to it
replace it as a whole, and what is stored is of its type, is not written itself, and outlives the name.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradc.codegen.folding import Folding
from gradc.codegen.naming import Variables
from gradc.ir.effects import buffers_written, own_write, roots
from gradc.ir.nodes import Block, Func, Node, Value, used_values, walk_blocks, walk_nodes
from gradc.ir.types import Array

_OWN = ("elementwise", "reduce", "product", "fresh")


class Rebinding:
    """`stores`: those that bind the name of their target anew; `targets`: what is stored to each target."""

    def __init__(self, func: Func, folding: Folding) -> None:
        self.stores: set[Node] = set()
        self.targets: dict[Value, list[Value]] = {}
        self._func = func
        self._folding = folding
        self._results = frozenset().union(*(roots(v) for v in func.results))
        self._written = buffers_written(func.body)
        self._users: dict[Value, list[Node]] = {}
        for node in walk_nodes(func.body):
            for value in dict.fromkeys(node.operands):
                self._users.setdefault(value, []).append(node)
        self._block_of = {n: block for block in walk_blocks(func.body) for n in block.nodes}
        writes: dict[Value, list[Node]] = {}
        for node in walk_nodes(func.body):
            target = own_write(node)
            for root in roots(target) if target is not None else ():
                writes.setdefault(root, []).append(node)
        for root, stores in writes.items():
            if self._is_name_only(root) and all(self._is_rebinding(n, root) for n in stores):
                self.stores.update(stores)
                self.targets[root] = [n.operands[1] for n in stores]
        # Copies of what is only bound anew need not be made: `before = h`. Then two names may hold one array.
        self.passing = {n for n in walk_nodes(func.body) if self._passes_on(n)}
        self._shared = {n.operands[0] for n in self.passing} | {n.result for n in self.passing}
        self._shared |= {t for t, values in self.targets.items() if self._shared & set(values)}

    def _is_name_only(self, root: Value) -> bool:
        """Whether the array is the function's own, and its variable is the only one that holds it."""
        made = root.node
        if made is None or made.op.kind not in _OWN or made.op.name in ("let", "alias") or made.op.emit == "{x}":
            if made is None or made.op.name != "copy":
                return False
        return all(self._is_passing(user, root) for user in self._users.get(root, ()))

    def _is_passing(self, user: Node, value: Value) -> bool:
        """Whether a user of an array keeps no second name of it: views are printed where they are read."""
        if user.op.name in ("let", "alias", "select_ref"):
            return False
        if user.op.kind != "view":
            return True
        return user.result in self._folding.folded and all(
            self._is_passing(n, user.result) for n in self._users.get(user.result, ())
        )

    def _is_rebinding(self, store: Node, root: Value) -> bool:
        if store.op.name != "store" or store.operands[0] is not root:
            return False
        value = store.operands[1]
        if not isinstance(value.ty, Array) or not isinstance(root.ty, Array):
            return False
        if value.ty.dtype != root.ty.dtype or len(value.ty.shape) != len(root.ty.shape):
            return False
        if any((a == 1) != (b == 1) for a, b in zip(value.ty.shape, root.ty.shape, strict=True)):
            return False
        found = roots(value)
        if root in found:
            return False
        if found & self._written:
            if found == {value} and self._is_finished(value, store):
                return True
            return bool(store.loc.reverse) and root not in self._results and self._is_over(found, store)
        return not (root in self._results and any(r.node is None or r in self._results for r in found))

    def _is_finished(self, value: Value, store: Node) -> bool:
        """Whether a new array of the same block is not used any more, under any name, once it is stored."""
        made = value.node
        block = self._block_of.get(store)
        if made is None or block is None or made not in block.nodes or made.op.kind not in _OWN:
            return False
        if made.op.name in ("let", "alias") or value in self._results:
            return False
        after = block.nodes[block.nodes.index(store) + 1 :]
        return not any(value in roots(v) for n in after for v in used_values(n)) and value not in block.yields

    def _is_over(self, buffers: frozenset[Value], store: Node) -> bool:
        """Whether nothing writes into tapes any more when the statement that holds `store` begins."""
        if not all(b.name.endswith("_tape") for b in buffers):
            return False
        nodes = self._func.body.nodes
        start = next(k for k, n in enumerate(nodes) if n is store or store in set(_inner(n)))
        return not buffers & buffers_written(Block(nodes=nodes[start:]))

    def _passes_on(self, node: Node) -> bool:
        if node.op.name != "copy" or node.operands[0] not in self.targets:
            return False
        if node.loc.reverse and (node.result in self._written or self._block_of[node] is self._func.body):
            return False
        users = self._users.get(node.result, ())
        if node.result in self._folding.folded and not all(n in self.stores for n in users):
            return False  # read at once: no name holds it
        changed = node.result in self._written and node.result not in self.targets
        views = any(n.op.kind in ("view", "stack") for n in users)
        return not (changed or views or node.result in self._results)

    def is_set_at_once(self, target: Value) -> bool:
        """Whether a target is bound anew before anything reads it: what it was made as is not needed."""
        if target not in self.targets or target.node is None:
            return False
        block = self._block_of[target.node]
        after = block.nodes[block.nodes.index(target.node) + 1 :]
        return next((n for n in after if target in used_values(n)), None) in self.stores

    def is_shared(self, value: Value) -> bool:
        """Whether two names may hold the array that `value` names."""
        return value in self._shared

    def is_owned(self, target: Value, variables: Variables) -> bool:
        """Whether no other variable holds the array of a target: then it may be changed in place."""
        if target in self._shared:
            return False
        for value in self.targets[target]:
            made = value.node
            if made is None or made.op.kind not in _OWN or made.op.name in ("let", "alias") or value in self._results:
                return False
            shares = value not in self._folding.folded and variables.same(value, target)
            if self._folding.use_count(value) > 1 and not (shares and self._folding.is_private(value)):
                return False
        return True


def _inner(node: Node) -> Iterator[Node]:
    for block in node.blocks:
        yield from walk_nodes(block)


def save_first(func: Func) -> None:
    """What is saved of an array before `h = tanh(W @ h)` replaces it is saved before the right side is computed.

    Then the new array and the old one are not needed at the same time, and may be one variable.
    """
    for block in walk_blocks(func.body):
        for store in [n for n in block.nodes if n.op.name == "store"]:
            target, value = store.operands
            made = value.node
            if made is None or made not in block.nodes or made.op.kind not in _OWN or target.node is None:
                continue
            if target.node.op.kind == "view" or not isinstance(value.ty, Array):
                continue
            first = block.nodes.index(made)
            between = block.nodes[first + 1 : block.nodes.index(store)]
            for save in between:
                if _saves(save, target):
                    _move_before(block, save, first)


def _saves(node: Node, array: Value) -> bool:
    """Whether a node puts a copy of the whole array on a tape."""
    if node.op.name not in ("store", "push"):
        return False
    held = node.operands[1].node
    tape = node.operands[0] if node.op.name == "push" else next(iter(roots(node.operands[0])))
    return held is not None and held.op.name == "copy" and held.operands[0] is array and tape.name.endswith("_tape")


def _move_before(block: Block, save: Node, first: int) -> None:
    """Move a save, and what it needs, before position `first` of its block, if that changes nothing."""
    at = block.nodes.index(save)
    between = block.nodes[first:at]
    wanted, moved = set(save.operands), [save]
    for node in reversed(between):
        if any(r in wanted for r in node.results):
            if node.op.kind not in ("view", "query") and node.op.name not in ("copy", "const", "add", "sub", "mul"):
                return
            wanted.update(node.operands)
            moved.insert(0, node)
    if save.op.name == "push" and any(n.op.kind in ("stack", "control") for n in between):
        return
    touched = frozenset().union(*(roots(v) for n in moved for v in n.operands))
    stays = [n for n in between if n not in moved]
    if any(own_write(n) is not None and touched & buffers_written(Block(nodes=[n])) for n in stays):
        return
    tape = frozenset(roots(save.operands[0]))
    if any(tape & roots(v) for n in stays for v in used_values(n)) or any(n.blocks for n in stays):
        return
    block.nodes[first : at + 1] = [*moved, *stays]
