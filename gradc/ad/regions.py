"""Whether a write may hit what was read before: by the parts of a buffer that both name.

    for t in range(n - 1):              the write of iteration t names row t + 1, the read of iteration s row s:
        y[t + 1] = f(y[t])              t + 1 = s for no t >= s, so no write destroys what a rule reads of y

Each axis of a buffer is cut to lo <= k < hi, polynomials over sizes and loop indices (`ir/ranges.py`), as far as views
and element accesses name it by basic indices. A write that runs later does so in the same iteration of all loops
around both, or in a later iteration of one of them; its indices, and whatever else may not be what it was when the
read ran, get names of their own. It misses what was read if on some axis lo of the one is proved to be at least hi of
the other. No proof counts as a hit.
Source: dependence tests on affine subscripts, as in Banerjee, Dependence Analysis for Supercomputing (1988).
"""

from __future__ import annotations

from typing import TypeAlias

from gradc.ad.structure import Structure
from gradc.ir.effects import own_reads, roots, view_operands
from gradc.ir.nodes import Func, Node, Value
from gradc.ir.ranges import Facts, is_signed
from gradc.ir.region import FULL, Arg, At, NewAxis, Region, Span
from gradc.ir.types import Array, Size, add_sizes, size_variable, size_variables, substitute_size, subtract_sizes

# What is read or written: an array (a view), or a node that accesses elements of its first operand.
Place: TypeAlias = "Value | Node"
Box: TypeAlias = "tuple[tuple[Size, Size] | None, ...]"  # per axis of a buffer: lo and hi; None: all of it

_ELEMENTS = frozenset(("load", "store_at", "accumulate_at"))
# Questions that are answered by proof, per function; later ones count as hits.
_LIMIT = 3000


class Regions:
    """Answers for one function, which must not change meanwhile."""

    def __init__(self, func: Func, structure: Structure) -> None:
        self.func = func
        self.structure = structure
        self.asked = 0
        self._facts: Facts | None = None
        self._boxes: dict[tuple[Place, Value], Box | None] = {}
        self._answers: dict[tuple[Node, Node, Place, Value, Node | None, bool], bool] = {}
        self._homes: dict[str, list[Value]] = {}

    @property
    def facts(self) -> Facts:
        """What is known of integers, apart from the place."""
        if self._facts is None:
            self._facts = Facts(self.func)
            for value in self.structure.def_block:
                sizes = value.ty.shape if isinstance(value.ty, Array) else ()
                if is_signed(value):
                    sizes = (self._facts.polynomial(value),)
                for size in sizes:
                    if not isinstance(size, int):
                        for name in size_variables(size):
                            self._homes.setdefault(name, []).append(value)
        return self._facts

    def may_hit(
        self, write: Node, use: Node, place: Place, root: Value, within: Node | None = None, itself: bool = False
    ) -> bool:
        """Whether `write`, running after `use`, may change what `place` named of the buffer `root` when `use` ran.

        `within`: only runs in one iteration of this loop count. `itself`: where both are one node, its write follows.
        """
        key = (write, use, place, root, within, itself)
        held = self._answers.get(key)
        if held is None:
            held = self._answers[key] = self._may_hit(*key)
        return held

    def _may_hit(
        self, write: Node, use: Node, place: Place, root: Value, within: Node | None, itself: bool
    ) -> bool:
        structure = self.structure
        follows: list[Node | None] = [*structure.shared_loops(write, use, root, within)]
        if write is use and itself or structure.order[write] > structure.order[use]:
            follows.append(None)
        if not follows:
            return False
        one, other = self._box(write, root), self._box(place, root)
        if one is None or other is None:
            return True
        pairs = [(p, q) for p, q in zip(one, other, strict=True) if p is not None and q is not None]
        if not pairs or self.asked > _LIMIT:
            return True
        self.asked += 1
        return not all(self._apart(pairs, write, use, loop) for loop in follows)

    # ------------------------------------------------------------------------------------------- boxes

    def _box(self, place: Place, root: Value) -> Box | None:
        key = (place, root)
        if key not in self._boxes:
            self._boxes[key] = self._find_box(place, root)
        return self._boxes[key]

    def _find_box(self, place: Place, root: Value) -> Box | None:
        """What `place` names of `root`; None where that is not known, or all of it."""
        view = place if isinstance(place, Value) else place.operands[0]
        chain: list[Node] = []
        while view is not root:
            node = view.node
            if node is None or node.op.kind != "view":
                return None
            chain.append(node)
            bases = [node.operands[k] for k in view_operands(node.op)]
            found = [v for v in bases if root in roots(v)]
            if len(found) != 1:
                return None
            view = found[0]
        assert isinstance(root.ty, Array)
        box: list[tuple[Size, Size] | None] = [None for _ in root.ty.shape]
        axes: list[int | None] = list(range(len(box)))  # of the view at hand: which axis of the buffer, if it is that
        for node in reversed(chain):
            if node.op.name == "transpose":
                axes = [axes[k] for k in node.attrs["perm"]]
            elif node.op.name == "index":
                axes = self._cut(node, node.attrs["region"], root, axes, box)
            elif node.op.name not in ("select_ref", "alias"):
                break
        else:
            if isinstance(place, Node) and place.op.name in _ELEMENTS:
                self._cut(place, place.attrs["region"], root, axes, box)
        return tuple(box) if any(cut is not None for cut in box) else None

    def _cut(
        self, node: Node, region: Region, root: Value, axes: list[int | None], box: list[tuple[Size, Size] | None]
    ) -> list[int | None]:
        """Cut `box` by the region of a node; the axes of its result."""
        made: list[int | None] = []
        given = iter(axes)
        first = 2 if node.op.kind == "write" else 1
        with self.facts.scope():
            self._enter(node)
            for entry in region:
                if isinstance(entry, NewAxis):
                    made.append(None)
                    continue
                axis = next(given)
                if isinstance(entry, Span):
                    made.append(axis if entry == FULL else None)
                if axis is not None and box[axis] is None and entry != FULL:
                    box[axis] = self._bounds(node, entry, root.shape[axis], first)
        return made

    def _bounds(self, node: Node, entry: object, size: Size, first: int) -> tuple[Size, Size] | None:
        """lo and hi of an entry: what it names lies between them."""

        def number(bound: int | Arg | None, default: Size) -> Size | None:
            """The position that a bound stands for; None where it may count from the end."""
            if bound is None:
                return default
            if isinstance(bound, int):
                return bound if bound >= 0 else add_sizes(size, bound)
            value = node.operands[first + bound.k]
            if not is_signed(value):
                return None
            p = self.facts.polynomial(value)
            return p if self.facts.proves(p) else None

        if isinstance(entry, At):
            at = number(entry.position, 0)
            return None if at is None else (at, add_sizes(at, 1))
        if isinstance(entry, Span) and (entry.step is None or isinstance(entry.step, int) and entry.step > 0):
            lo, hi = number(entry.start, 0), number(entry.stop, size)
            return (0 if lo is None else lo, size if hi is None else hi)
        return None

    # ------------------------------------------------------------------------------------------ proofs

    def _enter(self, node: Node) -> None:
        """Learn what holds where `node` stands: ranges of the loops around it, conditions of the branches."""
        for owner in self.structure.owners_of(node):
            self._enter_owner(owner, node)

    def _enter_owner(self, owner: Node, node: Node) -> None:
        if owner.op.name == "for":
            self.facts.enter_loop(owner)
        elif owner.op.name == "if":
            taken = self.structure.encloses(owner.blocks[0], self.structure.block_of[node])
            self.facts.assume(owner.operands[0], taken)

    def _apart(
        self, pairs: list[tuple[tuple[Size, Size], tuple[Size, Size]]], write: Node, use: Node, loop: Node | None
    ) -> bool:
        """Whether the boxes of a write and of a read are apart on some axis, with the write later in `loop`.

        loop: None for the same iteration of all loops around both.
        """
        facts = self.facts
        with facts.scope():
            self._enter(use)
            known = len(facts.facts)
            for owner in self.structure.owners_of(write):
                if owner is loop or owner not in self.structure.owners_of(use) or self._is_within(owner, loop):
                    self._enter_owner(owner, write)
            learnt = [p for p, _ in facts.facts[known:]]
            del facts.facts[known:]
            names: dict[str, Size] = {}

            def later(p: Size) -> Size:
                """A polynomial of the write, with other names for what may be other numbers than at the read."""
                for name in size_variables(p) - names.keys():
                    own = self._is_one(name, write, use, loop)
                    names[name] = size_variable(name if own else f"{name}'")
                return substitute_size(p, names)

            for p in learnt:
                facts.learn(later(p))
            if loop is not None and loop.op.name == "for":
                index, step = facts.polynomial(loop.blocks[0].params[0]), facts.polynomial(loop.operands[2])
                if isinstance(step, int) and step:
                    ahead = subtract_sizes(later(index), index)
                    if (step < 0) != bool(loop.attrs.get("reversed")):
                        ahead = subtract_sizes(0, ahead)
                    facts.learn(add_sizes(ahead, -abs(step)))
            for (lo, hi), (low, high) in pairs:
                lo, hi = later(lo), later(hi)
                if facts.proves(subtract_sizes(lo, high)) or facts.proves(subtract_sizes(low, hi)):
                    return True
        return False

    def _is_within(self, owner: Node, loop: Node | None) -> bool:
        return loop is not None and self.structure.node_inside(owner, loop)

    def _is_one(self, name: str, write: Node, use: Node, loop: Node | None) -> bool:
        """Whether a name is of one number at `use` and at `write`, which runs in a later iteration of `loop`.

        That is so for what is defined around both, and outside `loop`. Copies of a loop have names in common.
        """
        structure = self.structure
        blocks = (structure.block_of[write], structure.block_of[use])
        return any(
            all(structure.encloses(structure.def_block[v], block) for block in blocks)
            and not (loop is not None and structure.is_inside(v, loop))
            for v in self._homes.get(name, ())
        )


def reads_of(node: Node, root: Value) -> list[Place]:
    """What a node reads of a buffer: elements that it names, or arrays."""
    if node.op.name == "load":
        return [node] if root in roots(node.operands[0]) else []
    places: list[Place] = []
    for array in own_reads(node):
        if root in roots(array):
            places.append(node if node.op.name == "accumulate_at" and array is node.operands[0] else array)
    return places
