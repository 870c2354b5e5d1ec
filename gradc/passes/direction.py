"""Loops of the reverse sweep run forwards where their iterations do not see each other.

    for j in reversed(range(n)):                for j in range(n):
        dx[j] += c * y[j]            ->             dx[j] += c * y[j]

Memory is then run through as it lies, which is how loops vectorise best. The same is required of the body as by
`batch`: known operations without branches or tapes that grow; buffers that are only added to, or reached in one slice
of one axis in each iteration; carried numbers that are only added to.
"""

from __future__ import annotations

from gradc.ir.nodes import Block, Func, clone_func, walk_nodes
from gradc.ir.ranges import walk_inner
from gradc.passes.batch import LoopWalk
from gradc.passes.loop_axis import LoopAxis

_KINDS = frozenset(("elementwise", "reduce", "product", "fresh", "view", "read", "write", "query"))


def direction(func: Func) -> Func:
    """`func` with reversed loops forwards, where that is the same."""
    if not any(node.op.name == "for" and node.attrs.get("reversed") for node in walk_nodes(func.body)):
        return func
    walk = _Turner(clone_func(func))
    walk.run()
    return walk.func if walk.changed else func


class _Turner(LoopWalk):
    """Visits every loop where what is known of its integers is known."""

    def _block(self, block: Block) -> None:
        for node in block.nodes:
            walk_inner(node, self.facts, self._block)
            if node.op.name == "for" and node.attrs.get("reversed") and not node.attrs.get("exits"):
                body = node.blocks[0].nodes
                if "checkpoint" not in node.attrs and all(n.op.kind in _KINDS and not n.blocks for n in body):
                    with self.facts.scope():
                        self.facts.enter_loop(node)
                        if LoopAxis(self, node, body, {}).is_free():
                            node.attrs = {**node.attrs, "reversed": False}
                            self.changed = True
            self.facts.note_node(node)

