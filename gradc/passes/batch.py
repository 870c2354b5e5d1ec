"""Loops of products become larger products: a loop whose iterations meet in sums only is one more axis of its body.

    for k in range(m):                                      %v = index(%A, %i) {region=[:#0, :]}
        %a = load(%A, %i, %k)                               %w = index(%A, %i) {region=[#0, :]}
        %v = index(%A, %i, %k) {region=[:#0, #1]}    ->     %s = matmul(%v, %w)
        %t = mul(%a, %v)                                    accumulate(%c, %s)
        accumulate(%c, %t)

What changes from one iteration to the next gets the loop's axis as its first; what stands at the index's position along
an axis becomes a slice of it. A product gets more rows or columns; what is added to one place in all iterations is
summed over the new axis, where it can be by a product. Inner loops come first, so three loops around
`C[i, j] += A[i, k] * B[k, j]` end as one matrix product. Nothing is done unless a product of a matrix comes of it.

When this is the same program: the body is a list of operations that are known here, without branches; every buffer that
it writes into is only added to, or is reached in iteration k, by whatever reads or writes it, in one and the same slice
k of one axis alone, so that iterations do not see each other; numbers that it carries are only added to. Then each
operation may be done for all iterations before the next one is. Sums are made in another order than the user's, as in
all loops that only add (docs/performance.md). Slices whose ends depend on the index (`x[:k]`) and positions that are
not proved to be counted from the front leave a loop as it is. What holds only where a loop runs is done under that
condition.
Source: loop distribution and vectorization; Allen, Kennedy, Automatic translation of Fortran programs to vector form
(1987).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from gradc.errors import GradcError
from gradc.ir.builder import Builder
from gradc.ir.nodes import Block, Func, Node, Value, clone_func, walk_blocks, walk_nodes
from gradc.ir.ranges import Facts, walk_inner
from gradc.ir.region import Arg, At, NewAxis, Span
from gradc.ir.types import Monomial, Size, add_sizes, is_integer, subtract_sizes
from gradc.passes.cse import cse
from gradc.passes.dce import dce
from gradc.passes.loop_axis import LoopAxis, Refused


def batch(func: Func) -> Func:
    """`func` with loops of products as larger products."""
    if not any(node.op.name == "for" for node in walk_nodes(func.body)):
        return func
    mover = LoopWalk(clone_func(func))
    mover.run()
    return dce(cse(mover.func)) if mover.changed else func


@dataclass(eq=False, slots=True)
class _Made:
    """What may stand in the place of a loop: its nodes, its results by what they replace, whether it is worth it.

    must_run: (low, high) of loops that became axes and without an iteration of which the nodes may not be run: sizes
        may differ and elements be missing that nobody looked at. `outer`: the same of the loops around this one.
    """

    nodes: list[Node]
    results: dict[Value, Value]
    gain: bool
    must_run: list[tuple[Value, Value]]
    outer: bool


class _Sizes(Builder):
    """A builder that notes whether it has taken sizes to be equal of which `proves` knows no proof."""

    taken = False
    proves: Callable[[Size, Size], bool]

    def learn_equal(self, a: Size, b: Size) -> None:
        self.taken = self.taken or not (self.proves(a, b) and self.proves(b, a))
        super().learn_equal(a, b)


class LoopWalk:
    def __init__(self, func: Func) -> None:
        self.func = func
        self.facts = Facts(func)
        self.builder = _Sizes(func, checks=False)
        self.builder.proves = self.proves_before
        self.changed = False
        self._before: list[tuple[Size, dict[Monomial, int]]] = []
        self._refused: set[Node] = set()

    def run(self) -> None:
        with self.builder:
            self._block(self.func.body)

    def _block(self, block: Block) -> None:
        """Rewrite the loops of a block, inner ones where their owner stays."""
        nodes, block.nodes = block.nodes, []
        replaced: dict[Value, Value] = {}
        for node in nodes:
            made = None
            if node.op.name == "for":
                self._before = list(self.facts.facts)
                made = self._loop(node)
            if made is not None and made.gain and _pays(node, made.nodes):
                self.changed = True
                start = len(block.nodes)
                with self.builder.into(block), self.builder.at(node.loc):
                    replaced.update(self._guarded(node, made))
                for new in block.nodes[start:]:
                    self.facts.note_node(new)
                continue
            walk_inner(node, self.facts, self._block)
            block.nodes.append(node)
            self.facts.note_node(node)
        if replaced:
            for inner in walk_blocks(block):
                inner.yields = [replaced.get(v, v) for v in inner.yields]
                for node in inner.nodes:
                    node.operands = [replaced.get(v, v) for v in node.operands]

    def _guarded(self, loop: Node, made: _Made) -> dict[Value, Value]:
        """Add the nodes to the block at hand, under a condition where they need one; what the loop's results are."""
        emit = self.builder.emit
        unsure = self._unsure(made)
        if not unsure:
            self.builder.block.nodes.extend(made.nodes)
            return made.results
        # Where the loops start and end comes first; it cannot fail.
        bounds: set[Node] = set()
        waiting = [v.node for pair in unsure for v in pair]
        while waiting:
            node = waiting.pop()
            if node is not None and node not in bounds:
                bounds.add(node)
                waiting.extend(v.node for v in node.operands)
        self.builder.block.nodes.extend(n for n in made.nodes if n in bounds)
        made.nodes = [n for n in made.nodes if n not in bounds]
        cond = emit("lt", unsure[0])
        for pair in unsure[1:]:
            cond = emit("logical_and", (cond, emit("lt", pair)))
        then, orelse = Block(nodes=made.nodes), Block()
        then.yields = [made.results[r] for r in loop.results]
        orelse.yields = list(loop.operands[3:])
        new = self.builder.control("if", (cond,), (then, orelse), [r.ty for r in loop.results])
        for old, value in zip(loop.results, new, strict=True):
            value.name = old.name
        return dict(zip(loop.results, new, strict=True))

    def _unsure(self, made: _Made) -> list[tuple[Value, Value]]:
        """The loops that must run, and may not."""
        polynomial = self.facts.polynomial
        return [
            (low, high)
            for low, high in dict.fromkeys(made.must_run)
            if not self.proves_before(add_sizes(polynomial(high), -1), polynomial(low))
        ]

    def proves_before(self, high: Size, low: Size) -> bool:
        """Whether high >= low follows from what holds before the outermost loop that is tried."""
        with self._outside():
            return self.facts.proves(subtract_sizes(high, low))

    def note_before(self, node: Node | None) -> None:
        """Note what a node says that is made before that loop."""
        if node is not None:
            with self._outside():
                self.facts.note_node(node)

    @contextmanager
    def _outside(self) -> Iterator[None]:
        inside, self.facts.facts = self.facts.facts, self._before
        try:
            yield
        finally:
            self.facts.facts = inside

    def _loop(self, loop: Node) -> _Made | None:
        """What the loop may become; None: it stays a loop."""
        (body,) = loop.blocks
        if loop in self._refused or loop.attrs.get("exits") or "checkpoint" in loop.attrs:
            return None
        if any(n.op.name in ("if", "while") or n.op.kind == "stack" for n in walk_nodes(body)):
            return None
        result = _Made([], {}, False, [], False)
        around = False
        with self.facts.scope():
            self.facts.enter_loop(loop)
            nodes: list[Node] = []
            inner: dict[Value, Value] = {}
            for node in body.nodes:
                if not node.blocks:
                    nodes.append(node)
                    self.facts.note_node(node)
                    continue
                made = self._loop(node) if node.op.name == "for" else None
                if made is None or (not _is_all(body, node) and self._unsure(made)):
                    return None
                nodes.extend(made.nodes)
                inner.update(made.results)
                result.gain = result.gain or made.gain
                result.must_run.extend(made.must_run)
                around = around or made.outer
            block = Block()
            taken, self.builder.taken = self.builder.taken, False
            try:
                with self.builder.into(block):
                    axis = LoopAxis(self, loop, nodes, inner)
                    result.results = axis.run()
                result.must_run = [(axis.outside(low), axis.outside(high)) for low, high in result.must_run]
            except (Refused, GradcError):
                self._refused.add(loop)  # whatever loop around it is tried
                return None
            finally:
                own, self.builder.taken = self.builder.taken, taken
        result.nodes = block.nodes
        result.gain = result.gain or axis.gain
        result.outer = around or own or axis.must_run or axis.outer_must_run
        if around or own or axis.must_run:
            result.must_run.append((axis.low, axis.high))
        return result


def _pays(loop: Node, nodes: Sequence[Node]) -> bool:
    """Whether products are faster than the loop that they stand for.

    Not where an operand takes as many steps to make, and memory to keep, as the product itself: distances
    `(x[j] - y[k, j])**2` added up by loops are one pass over y. A matrix times a vector is one pass over the matrix
    either way: it pays where the loop's own pass jumps from row to row.
    """
    new = {v for n in nodes for v in n.results}
    most = 0
    for node in nodes:
        if node.op.name != "matmul":
            continue
        steps = sum(v.rank for v in node.operands) - 1  # axes that are run over
        most = max(most, steps)
        for value in node.operands:
            while value.node is not None and value.node.op.kind == "view":
                value = value.node.operands[0]
            if value in new and value.node is not None and value.node.op.kind == "elementwise" and value.rank >= steps:
                return False
    return most > 2 or _jumps(loop)


def _jumps(loop: Node) -> bool:
    """Whether the innermost steps of a loop nest are not along the last axis of some array."""
    body = loop.blocks[0]
    if any(node.op.name == "for" and _jumps(node) for node in body.nodes):
        return True
    follows = {body.params[0]}
    for node in body.nodes:
        if node.op.kind == "elementwise" and not follows.isdisjoint(node.operands) and is_integer(node.result.ty):
            follows.add(node.result)
        region = node.attrs.get("region")
        if region is None or len(region) < 2:
            continue
        entries = [e for e in region if not isinstance(e, NewAxis)]
        steps = [isinstance(e, Span) for e in entries]
        if not any(steps):  # an element: the loop is the innermost step
            operands = node.operands[2 if node.op.kind == "write" else 1 :]
            steps = [
                isinstance(e, At) and isinstance(e.position, Arg) and operands[e.position.k] in follows for e in entries
            ]
        if any(steps) and not steps[-1]:
            return True
    return False


def _is_all(body: Block, loop: Node) -> bool:
    """Whether a loop is all that a loop around it does."""
    others = [n for n in body.nodes if n is not loop]
    passed = set(body.params) | set(loop.results)
    idle = not any(n.blocks or n.op.kind in ("write", "check") for n in others)
    return idle and all(v in passed for v in body.yields)
