"""Index checks that cannot fail go, and those of a loop are made before it.

    for i in range(n):                          check(n > 0 implies k >= -m and k < m)
        check(k >= -m and k < m)        ->      check(... n - 1 + k ...)
        check(i + k < m)                        for i in range(n):
        ... x[k], y[i + k] ...                      ... x[k], y[i + k] ...

A check is provable from ranges of loop indices, sizes, branches and earlier checks (`ir/ranges.py`). A check of an
iteration that always runs, whose condition holds on an interval of the loop's index, holds in all iterations if it does
in the first and in the last; both are made before the loop, with the check's own error, message and place. This is
done only in loops that always run to their end, and that raise nothing of the user's.
"""

from __future__ import annotations

from gradc.ir.builder import Builder
from gradc.ir.nodes import Block, Func, Node, Value, clone_func, current_builder, walk_nodes
from gradc.ir.opdef import TABLE
from gradc.ir.ranges import Facts, is_signed, terms, walk_inner
from gradc.ir.types import Array, Atom, Dim, Monomial

_HOISTED = ("IndexError", "ShapeError", "ZeroDivisionError")
_AFFINE = {"add", "sub", "neg", "mul", "cast", "let"}
_COMPARISONS = {"lt", "le", "gt", "ge", "eq"}
_ROUNDS = 6


def ranges(func: Func) -> Func:
    """`func` without provable checks, and with checks moved out of loops where they may be."""
    if not any(node.op.name == "check" for node in walk_nodes(func.body)):
        return func
    copy = clone_func(func)
    changed = False
    for _ in range(_ROUNDS):
        remover = _Remover(copy)
        remover.run()
        if not remover.changed:
            break
        changed = True
    return copy if changed else func


class _Remover:
    def __init__(self, func: Func) -> None:
        self.func = func
        self.facts = Facts(func)
        self.builder = Builder(func, checks=False)
        self.changed = False

    def run(self) -> None:
        with self.builder:
            self._block(self.func.body)

    def _block(self, block: Block) -> None:
        waiting = block.nodes[::-1]
        block.nodes = []
        while waiting:
            node = waiting.pop()
            if node.op.name == "check" and not self._is_needed(node, block):
                continue
            walk_inner(node, self.facts, self._block)
            if node.op.name == "for":
                before = self._hoist(node)
                if before:
                    # They may be provable here, or move on.
                    self.changed = True
                    waiting.append(node)
                    waiting.extend(reversed(before))
                    continue
            block.nodes.append(node)
            self.facts.note_node(node)

    def _is_needed(self, node: Node, block: Block) -> bool:
        """Whether a check may fail; parts of its condition that are known to hold are dropped."""
        cond = node.operands[0]
        if self.facts.holds(cond):
            self.changed = True
            return False
        part = cond.node
        if part is not None and part.op.name == "logical_and":
            for k in (0, 1):
                if self.facts.holds(part.operands[k]):
                    node.operands[0] = part.operands[1 - k]
                    self.changed = True
                    return self._is_needed(node, block)
        return True

    # ---------------------------------------------------------------------------------------- hoisting

    def _hoist(self, loop: Node) -> list[Node]:
        """Nodes to run before the loop in the place of checks in its body, which lose them."""
        if loop.attrs.get("exits"):
            return []
        (body,) = loop.blocks
        if any(n.op.name == "check" and n.attrs["error"] not in _HOISTED for n in walk_nodes(body)):
            return []
        step = self.facts.polynomial(loop.operands[2])
        if not isinstance(step, int) or step == 0:
            return []
        shape = _Shape(loop)
        checks = [n for n in body.nodes if n.op.name == "check" and len(n.operands) == 1]
        moved = [n for n in checks if shape.is_convex(n.operands[0])]
        if not moved:
            return []
        made = Block()
        with self.builder.into(made):
            for check in moved:
                with self.builder.at(check.loc):
                    self._check_ends(check, loop, step, shape)
        gone = {id(n) for n in moved}
        body.nodes = [n for n in body.nodes if id(n) not in gone]
        return made.nodes

    def _check_ends(self, check: Node, loop: Node, step: int, shape: _Shape) -> None:
        """Add checks of the first and of the last iteration, each of the parts of the condition that decide there."""
        start, stop = loop.operands[:2]
        emit = self.builder.emit
        empty = emit("ge" if step > 0 else "le", (start, stop))
        runs = self.facts.fails(empty)
        parts = [(part, self._ends(part, shape, step)) for part in shape.parts(check.operands[0])]
        for end in (0, 1):
            conds: list[Value] = []
            index = start
            if end and any(end in ends for _, ends in parts):
                span = stop - start
                whole = (span - (1 if step > 0 else -1)) // abs(step) * abs(step) if abs(step) != 1 else None
                index = stop - step if whole is None else start + whole
            for (guards, leaf), ends in parts:
                if end in ends:
                    cond = shape.instance(leaf, index)
                    for guard in guards:
                        cond = emit("logical_or", (shape.instance(guard, index), cond))
                    conds.append(cond)
            if not conds:
                continue
            together = conds[0]
            for cond in conds[1:]:
                together = emit("logical_and", (together, cond))
            if not runs:
                together = emit("logical_or", (empty, together))
            self.builder.add(TABLE["check"], (together,), dict(check.attrs))

    def _ends(self, part: tuple[list[Value], Value], shape: _Shape, step: int) -> tuple[int, ...]:
        """Where a comparison is hardest to pass: in the first iteration (0), in the last (1), or either."""
        _, leaf = part
        if shape.degree(leaf) == 0:
            return (0,)
        required = self.facts.required(leaf)
        index = self.facts.polynomial(shape.index)
        if required is None or not isinstance(index, Dim):
            return (0, 1)
        atom = index.terms[0][0][0]
        ends: set[int] = set()
        for p in required:
            signs = {
                (c > 0) == (step > 0)
                for monomial, c in terms(p).items()
                if atom in monomial and self.facts.is_natural_product(tuple(a for a in monomial if a != atom))
            }
            if len(signs) != 1 or any(atom in m and not self._is_linear(m, atom) for m in terms(p)):
                return (0, 1)
            ends.add(0 if signs.pop() else 1)
        return tuple(sorted(ends))

    def _is_linear(self, monomial: Monomial, atom: Atom) -> bool:
        rest = tuple(a for a in monomial if a != atom)
        return len(rest) == len(monomial) - 1 and self.facts.is_natural_product(rest)


class _Shape:
    """How values of a loop's body depend on its index: 0 not at all, 1 affinely or on an interval, None otherwise."""

    def __init__(self, loop: Node) -> None:
        (body,) = loop.blocks
        self.index = body.params[0]
        self._inner = {id(v): node for node in body.nodes for v in node.results}
        self._params = {id(p) for p in body.params[1:]}
        self._degrees: dict[int, int | None] = {id(self.index): 1}

    def degree(self, value: Value) -> int | None:
        """Degree of an integer in the index; 0 for any value that does not depend on it and can be made before."""
        if id(value) not in self._degrees:
            self._degrees[id(value)] = self._find_degree(value)
        return self._degrees[id(value)]

    def _find_degree(self, value: Value) -> int | None:
        if id(value) in self._params:
            return None
        node = self._inner.get(id(value))
        if node is None:
            return 0
        if node.op.name == "dim":
            return 0 if id(node.operands[0]) not in self._inner else None
        if node.op.kind != "elementwise" or isinstance(value.ty, Array):
            return None
        degrees = [self.degree(v) for v in node.operands]
        if any(d is None for d in degrees):
            return None
        known = [d for d in degrees if d is not None]
        if not any(known):
            return 0
        if node.op.name in _COMPARISONS or node.op.name in ("logical_and", "logical_or"):
            return 1 if self.is_convex(value) else None
        if node.op.name not in _AFFINE or not is_signed(value):
            return None
        total = sum(known) if node.op.name == "mul" else max(known)
        return total if total <= 1 else None

    def is_convex(self, cond: Value) -> bool:
        """Whether a condition holds on an interval of the index, or does not depend on it."""
        node = self._inner.get(id(cond))
        if node is None:
            return id(cond) not in self._params
        if node.op.name == "logical_and":
            return all(self.is_convex(v) for v in node.operands)
        if node.op.name == "logical_or":
            a, b = node.operands
            return (self.degree(a) == 0 and self.is_convex(b)) or (self.degree(b) == 0 and self.is_convex(a))
        if node.op.name in _COMPARISONS and all(is_signed(v) for v in node.operands):
            return all(self.degree(v) is not None for v in node.operands)
        return self.degree(cond) == 0

    def parts(self, cond: Value) -> list[tuple[list[Value], Value]]:
        """A convex condition as comparisons that all hold, each unless one of its guards does, which do not change."""
        node = self._inner.get(id(cond))
        if node is not None and node.op.name == "logical_and":
            return [part for v in node.operands for part in self.parts(v)]
        if node is not None and node.op.name == "logical_or" and self.degree(cond) != 0:
            a, b = node.operands
            guard, other = (a, b) if self.degree(a) == 0 else (b, a)
            return [([guard, *guards], leaf) for guards, leaf in self.parts(other)]
        return [([], cond)]

    def instance(self, value: Value, index: Value) -> Value:
        """`value` for one index, made with the current builder."""
        made: dict[int, Value] = {id(self.index): index}

        def build(v: Value) -> Value:
            node = self._inner.get(id(v))
            if id(v) in made or node is None:
                return made.get(id(v), v)
            builder = current_builder()
            if node.op.name == "const":
                made[id(v)] = builder.const(node.attrs["value"])
            else:
                made[id(v)] = builder.add(node.op, [build(o) for o in node.operands], dict(node.attrs))
            return made[id(v)]

        return build(value)
