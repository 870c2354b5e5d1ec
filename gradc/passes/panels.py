"""Products of a triangular loop, a panel of rows at a time.

    for i in range(n):                          T = empty((32, m))
        C[i, i + 1:] = x[i] @ V[:, i + 1:]      for i in range(n):
                                                    r = i % 32
                                       ->           if r == 0:
                                                        T[:, i + 32:] = x[i:i + 32] @ V[:, i + 32:]
                                                    T[r, i + 1:i - r + 32] = x[i] @ V[:, i + 1:i - r + 32]
                                                    C[i, i + 1:] = T[r, i + 1:]

A vector times a matrix reads the matrix once for every row; a panel of rows reads it once for all of them. What 32
iterations have in common is one product, made in the first of them; the triangle that is left stays with its
iteration, so that every number is made of the same products as before. That is done for slices that start, or end, at a
distance after the loop's index, of arrays that the loop does not write into. The derivative follows: cotangents of the
panel are gathered, and multiplied at once.
Source: the blocked forms of LAPACK's algorithms; Golub, Van Loan, Matrix Computations (2013), sec. 1.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from gradc.errors import GradcError
from gradc.ir.effects import buffers_written, own_reads, roots
from gradc.ir.nodes import Block, Func, Node, Value, clone_func, walk_blocks, walk_nodes
from gradc.ir.ranges import walk_inner
from gradc.ir.region import Arg, At, Entry, NewAxis, Region, Span
from gradc.ir.types import Array, Size, subtract_sizes
from gradc.ops.memory import make_index, make_zeros, size_value
from gradc.passes.batch import LoopWalk
from gradc.passes.cse import cse
from gradc.passes.dce import dce
from gradc.passes.loop_axis import LoopAxis, Refused

_Ends: TypeAlias = "tuple[Value | int, Value | int | None]"

ROWS = 32
"""Rows of a panel: enough for BLAS, few enough for what a panel computes beside BLAS."""


def panels(func: Func) -> Func:
    """`func` with the products of triangular loops made panel by panel."""
    if not any(node.op.name == "matmul" for node in walk_nodes(func.body)):
        return func
    if not any(node.op.name == "for" for node in walk_nodes(func.body)):
        return func
    walk = _Panels(clone_func(func))
    walk.run()
    return dce(cse(walk.func)) if walk.changed else func


@dataclass(eq=False, slots=True)
class _Slice:
    """The matrix of a product as a slice of `base` along `axis`, one end of which follows the loop's index.

    matrix_first: the matrix is the first operand; turned: it is the transposed slice.
    """

    base: Value
    region: Region
    operands: list[Value]
    axis: int
    entry: int
    start: Value | int
    stop: Value | int | None
    starts_after: bool
    matrix_first: bool
    turned: bool


class _Panels(LoopWalk):
    """Visits loops from the outside in."""

    def _block(self, block: Block) -> None:
        nodes, block.nodes = block.nodes, []
        for node in nodes:
            if node.op.name == "for":
                self._panels_of(node, block)
            walk_inner(node, self.facts, self._block)
            block.nodes.append(node)
            self.facts.note_node(node)

    def _panels_of(self, loop: Node, before: Block) -> None:
        """Change the loop's products; what they need before it goes to the end of `before`."""
        if loop.attrs.get("exits") or loop.attrs.get("reversed") or "checkpoint" in loop.attrs:
            return
        if self.facts.polynomial(loop.operands[2]) != 1:
            return
        with self.facts.scope():
            self.facts.enter_loop(loop)
            self._before = self.facts.facts
            self._products(loop, loop.blocks[0], loop.blocks[0], before)

    def _products(self, loop: Node, body: Block, block: Block, before: Block) -> None:
        """Look for products in `block`: the body, or a part of it under a condition that the loop does not change."""
        made = {r for n in walk_nodes(body) for r in n.results} | set(body.params)
        for node in list(block.nodes):
            if node.op.name == "if" and node.operands[0] not in made:
                for inner in node.blocks:
                    self._products(loop, body, inner, before)
            if node.op.name == "matmul" and node.result not in buffers_written(body):
                new, allocation = Block(), Block()
                try:
                    found = self._slice(loop, body, node)
                    with self.builder.into(allocation), self.builder.at(node.loc):
                        matrix = found.base
                        panel = make_zeros((ROWS, size_value(matrix, found.axis)), node.result.dtype, filled=False)
                    with self.builder.into(new), self.builder.at(node.loc):
                        value = self._panel(loop, node, found, panel)
                except (Refused, GradcError):
                    self.facts.note_node(node)
                    continue
                self.changed = True
                before.nodes.extend(allocation.nodes)
                at = block.nodes.index(node)
                block.nodes[at : at + 1] = new.nodes
                for inner in walk_blocks(body):
                    inner.yields = [value if v is node.result else v for v in inner.yields]
                    for user in inner.nodes:
                        user.operands = [value if v is node.result else v for v in user.operands]
                continue
            self.facts.note_node(node)

    # ----------------------------------------------------------------------------------------- what fits

    def _slice(self, loop: Node, body: Block, product: Node) -> _Slice:
        """The matrix of the product. Raises: Refused where it is of another kind."""
        a, b = product.operands
        if sorted((a.rank, b.rank)) != [1, 2]:
            raise Refused
        matrix = a if a.rank == 2 else b
        made = {r for n in walk_nodes(body) for r in n.results} | set(body.params)
        view, free = matrix.node, 0 if matrix is a else 1
        turned = view is not None and view.op.name == "transpose" and matrix in made
        if turned and view is not None:
            free = view.attrs["perm"][free]
            view = view.operands[0].node
        if view is None or view.op.name != "index" or view.result not in made or view.operands[0] in made:
            raise Refused
        base, region = view.operands[0], view.attrs["region"]
        if any(isinstance(e, NewAxis) for e in region) or roots(base) & buffers_written(body):
            raise Refused
        kept = [k for k, e in enumerate(region) if isinstance(e, Span)]
        entry = kept[free]
        span = region[entry]
        operands = view.operands[1:]
        for k, e in enumerate(region):
            bounds = (e.position,) if isinstance(e, At) else (e.start, e.stop, e.step)
            if k != entry and any(isinstance(v, Arg) and operands[v.k] in made for v in bounds):
                raise Refused
        if span.step not in (None, 1):
            raise Refused
        start, stop = (operands[v.k] if isinstance(v, Arg) else v for v in (span.start, span.stop))
        start = 0 if start is None else start
        follows = [v for v in (start, stop) if isinstance(v, Value) and self._distance(loop, v) is not None]
        fixed = [v for v in (start, stop) if v is not None and v not in follows]
        if len(follows) != 1 or any(isinstance(v, Value) and v in made for v in fixed):
            raise Refused
        for v in (start, stop):
            if v is not None and not (v >= 0 if isinstance(v, int) else self.facts.is_nonnegative(v)):
                raise Refused
        return _Slice(
            base, region, list(operands), entry, entry, start, stop, follows[0] is start, matrix is a, turned
        )

    def _distance(self, loop: Node, value: Value) -> Size | None:
        """value - index, where the loop does not change it."""
        index = loop.blocks[0].params[0]
        if value is index:
            return 0
        node = value.node
        if node is None or node.op.name not in ("add", "sub") or index not in node.operands:
            return None
        inner = {r for n in walk_nodes(loop.blocks[0]) for r in n.results} | set(loop.blocks[0].params)
        others = [v for v in node.operands if v is not index]
        constant = all(v not in inner or (v.node is not None and v.node.op.name == "const") for v in others)
        if len(others) != 1 or not constant or (node.op.name == "sub" and node.operands[0] is not index):
            return None
        return subtract_sizes(self.facts.polynomial(value), self.facts.polynomial(index))

    # ------------------------------------------------------------------------------------------- making it

    def _panel(self, loop: Node, product: Node, part: _Slice, panel: Value) -> Value:
        """The nodes in the place of a product; its row of the panel."""
        emit, index = self.builder.emit, loop.blocks[0].params[0]
        start, stop = loop.operands[:2]
        row = emit("mod", (index - start, ROWS))
        first = emit("eq", (row, 0))
        end = emit("minimum", (index - row + ROWS, stop))  # of the panel's rows
        follows = part.start if part.starts_after else part.stop
        assert isinstance(follows, Value)
        if part.starts_after:
            edge = follows + (end - index) - 1
            common: _Ends = (edge, part.stop)
            own: _Ends = (follows, edge if part.stop is None else emit("minimum", (edge, part.stop)))
        else:
            edge = follows - row
            common = (part.start, edge)
            own = (edge if part.start == 0 else emit("maximum", (edge, part.start)), follows)
        vector = product.operands[1] if part.matrix_first else product.operands[0]
        then = Block()
        with self.builder.into(then):
            rows = self._rows(loop, vector, index, end)
            matrix = self._matrix(part, common)
            whole = emit("matmul", (rows, matrix))
            target = make_index(
                panel, (Span(0, Arg(0)), *_span(common, 1)), end - index, *(v for v in common if isinstance(v, Value))
            )
            emit("store", (target, whole))
        self.builder.control("if", (first,), (then, Block()), ())
        triangle = emit("matmul", (vector, self._matrix(part, own)))
        emit("store", (self._row(panel, row, own), triangle))
        value = self._row(panel, row, (part.start, part.stop))
        assert value.node is not None and isinstance(value.ty, Array)
        value.ty = value.node.attrs["type"] = Array(value.dtype, product.result.shape, value.ty.layout)
        return value

    def _row(self, panel: Value, row: Value, ends: _Ends) -> Value:
        return make_index(panel, (At(Arg(0)), *_span(ends, 1)), row, *(v for v in ends if isinstance(v, Value)))

    def _matrix(self, part: _Slice, ends: _Ends) -> Value:
        """The slice between other ends, as the second operand of a product."""
        values: list[Value] = []
        entries: list[Entry] = []

        def operand(bound: int | Arg | None) -> int | Arg | None:
            if not isinstance(bound, Arg):
                return bound
            values.append(part.operands[bound.k])
            return Arg(len(values) - 1)

        for k, entry in enumerate(part.region):
            if k == part.entry:
                entries.extend(_span(ends, len(values)))
                values.extend(v for v in ends if isinstance(v, Value))
            elif isinstance(entry, At):
                position = operand(entry.position)
                assert position is not None
                entries.append(At(position))
            else:
                assert isinstance(entry, Span)
                entries.append(Span(operand(entry.start), operand(entry.stop), operand(entry.step)))
        matrix = make_index(part.base, tuple(entries), *values)
        if part.matrix_first != part.turned:
            matrix = self.builder.emit("transpose", (matrix,), perm=(1, 0))
        return matrix

    def _rows(self, loop: Node, vector: Value, low: Value, high: Value) -> Value:
        """What the vector is in the iterations from `low` to `high`, as rows. Raises: Refused."""
        body = loop.blocks[0]
        nodes = list(walk_nodes(body))
        axis = LoopAxis(self, loop, nodes, {})
        axis.low, axis.high = low, high
        axis.length = subtract_sizes(self.builder.size_of(high), self.builder.size_of(low))
        needed: set[Value] = set()
        waiting = [vector]
        while waiting:
            value = waiting.pop()
            if value in needed or value not in axis.made:
                continue
            if value.node is None:
                if value is not axis.index:
                    raise Refused
                continue
            needed.add(value)
            waiting.extend(value.node.operands)
            if roots(value) & axis.written or any(roots(v) & axis.written for v in own_reads(value.node)):
                raise Refused  # later rows may be others by then
        for node in nodes:
            if any(r in needed for r in node.results):
                if node.blocks or node.op.kind == "write":
                    raise Refused
                axis.translate(node)
        held = axis.held.get(vector)
        if held is None or not held.varies or held.value is None:
            raise Refused
        return held.value


def _span(ends: _Ends, first: int) -> tuple[Span]:
    """A span whose ends are operands from `first` on, where they are not literals."""
    bounds: list[int | Arg | None] = []
    for end in ends:
        if isinstance(end, Value):
            bounds.append(Arg(first))
            first += 1
        else:
            bounds.append(end)
    return (Span(*bounds),)


