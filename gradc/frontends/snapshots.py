"""Arrays that NumPy gives as views and gradc as copies: refused where the difference shows.

    d = np.diag(A)      a view in NumPy
    A[0, 0] = 5.0       so d[0] is 5.0 from here on
    return d            gradc's copy would hold what was there before
"""

from __future__ import annotations

from collections.abc import Iterable

from gradc.errors import UnsupportedError
from gradc.ir.effects import own_write, roots
from gradc.ir.nodes import Block, Func, Node, Value


def check_snapshots(func: Func, snapshots: Iterable[Value]) -> None:
    """Raise UnsupportedError where what a snapshot was taken of is written, and the snapshot used after that."""
    taken = [v for v in snapshots if v.node is not None]
    if not taken:
        return
    order: dict[Node, int] = {}
    loops: dict[Node, frozenset[Node]] = {}
    _number(func.body, frozenset(), order, loops)
    nodes = list(order)
    for value in taken:
        node = value.node
        if node is None or node not in order:  # of an attempt that was given up
            continue
        bases = roots(node.operands[0])
        uses = [n for n in nodes if any(value in roots(v) for v in n.operands)]
        returned = any(value in roots(v) for v in func.results)
        for write in nodes:
            target = own_write(write)
            if target is None or order[write] < order[node] or not roots(target) & bases:
                continue
            again = loops[write] - loops[node]  # loops that come back to uses before the write
            if returned or any(order[use] > order[write] or again & loops[use] for use in uses):
                copied = _KINDS.get(node.op.name, "a diagonal, a broadcast or a window")
                raise UnsupportedError(
                    f"an array is written of which {copied} is still used",
                    write.loc,
                    f"NumPy's (line {node.loc.lineno}) is a view and would change; gradc's is a copy.",
                    "take a .copy() of it before the write, or take it again after.",
                )


_KINDS = {"real": "the real part", "imag": "the imaginary part"}


def _number(block: Block, around: frozenset[Node], order: dict[Node, int], loops: dict[Node, frozenset[Node]]) -> None:
    for node in block.nodes:
        order[node] = len(order)
        loops[node] = around
        inner = around if node.op.name == "if" else around | {node}
        for nested in node.blocks:
            _number(nested, inner, order, loops)
