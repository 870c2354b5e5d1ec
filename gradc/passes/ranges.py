"""Index checks that cannot fail go, and those of a loop are made before it.

    for i in range(n):                          check(n <= 0 or k >= -m)
        check(k + i >= -m and k + i < m)        check(n <= 0 or k + n - 1 < m)
        ... x[k + i] ...                ->      for i in range(n):
                                                    ... x[k + i] ...

A check is provable from ranges of loop indices, sizes, branches and earlier checks (`ir/ranges.py`). A check of an
iteration that always runs, whose condition holds on an interval of the loop's index, holds in all iterations if it does
in the first and in the last; what decides there is checked before the loop, with the check's own error, message and
place. This is done only in loops that always run to their end, and that raise nothing of the user's own.
"""

from __future__ import annotations

from gradc.ir.builder import Builder
from gradc.ir.nodes import Block, Func, Node, Value, clone_func, current_builder, walk_nodes
from gradc.ir.opdef import TABLE
from gradc.ir.ranges import Facts, is_signed, terms, walk_inner
from gradc.ir.types import Array, Atom, Dim, Monomial, Size

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


def _is_users(check: Node) -> bool:
    """Whether a check is a `raise` or an `assert` of the user's, whose turn among other errors may matter."""
    maker = check.operands[0].node
    literal = maker is not None and maker.op.name == "const"
    return literal or check.attrs["error"] == "AssertionError" or len(check.operands) > 1


class _Remover:
    def __init__(self, func: Func) -> None:
        self.func = func
        self.facts = Facts(func)
        self.builder = Builder(func, checks=False)
        self.changed = False
        self.sources: dict[str, tuple[Value, int | None]] = {}
        for param in func.params:
            for axis, size in enumerate(param.ty.shape if isinstance(param.ty, Array) else ()):
                self._note_source(size, param, axis)
            if is_signed(param):
                self._note_source(self.facts.polynomial(param), param, None)

    def _note_source(self, size: Size, param: Value, axis: int | None) -> None:
        """A size variable is the size of an axis of a parameter, or a parameter."""
        if isinstance(size, Dim) and size.terms[0][1] == 1 and len(size.terms) == len(size.terms[0][0]) == 1:
            self.sources.setdefault(size.terms[0][0][0].name, (param, axis))

    def run(self) -> None:
        with self.builder:
            self._block(self.func.body)

    def _block(self, block: Block) -> None:
        waiting = block.nodes[::-1]
        block.nodes = []
        while waiting:
            node = waiting.pop()
            if node.op.name == "check" and not self._is_needed(node):
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

    def _is_needed(self, node: Node) -> bool:
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
                    return self._is_needed(node)
        return True

    # ---------------------------------------------------------------------------------------- hoisting

    def _hoist(self, loop: Node) -> list[Node]:
        """Nodes to run before the loop in the place of checks in its body, which lose them."""
        (body,) = loop.blocks
        checks = [n for n in body.nodes if n.op.name == "check"]
        if not checks or loop.attrs.get("exits"):
            return []
        if any(n.op.name == "check" and _is_users(n) for n in walk_nodes(body)):
            return []
        step = self.facts.polynomial(loop.operands[2])
        if not isinstance(step, int) or step == 0:
            return []
        shape = _Shape(loop, self.facts, self.sources)
        moved = [n for n in checks if shape.is_convex(n.operands[0])]
        if not moved:
            return []
        made = Block()
        with self.builder.into(made):
            for check in moved:
                with self.builder.at(check.loc):
                    self._check_ends(check, loop, step, shape)
        gone = set(moved)
        body.nodes = [n for n in body.nodes if n not in gone]
        return made.nodes

    def _check_ends(self, check: Node, loop: Node, step: int, shape: _Shape) -> None:
        """Add checks of the first and of the last iteration, each of the parts of the condition that decide there."""
        start, stop = loop.operands[:2]
        emit = self.builder.emit
        empty = emit("ge" if step > 0 else "le", (start, stop))
        runs = self.facts.fails(empty)
        parts = shape.parts(check.operands[0])
        for end in (0, 1):
            index = start
            wanted = [part for part in parts if end in _ends(part, step)]
            if end and wanted:
                index = stop - step
                if abs(step) != 1:
                    span = stop - start if step > 0 else start - stop
                    index = start + (span - 1) // abs(step) * step
            conds = [shape.instance(part.cond, part.guards, index) for part in wanted]
            if not conds:
                continue
            together = conds[0]
            for cond in conds[1:]:
                together = emit("logical_and", (together, cond))
            if not runs:
                together = emit("logical_or", (empty, together))
            self.builder.add(TABLE["check"], (together,), dict(check.attrs))


class _Part:
    """A condition that must hold unless a guard does. `direction`: 0 it does not change in the loop; 1 it is easier to
    meet at larger indices, -1 at smaller ones; None: on an interval."""

    def __init__(self, cond: Value, direction: int | None, guards: tuple[Value, ...] = ()) -> None:
        self.cond = cond
        self.direction = direction
        self.guards = guards


def _ends(part: _Part, step: int) -> tuple[int, ...]:
    """Where a part is hardest to meet: in the first iteration (0), in the last (1), or in either."""
    match part.direction:
        case 0:
            return (0,)
        case None:
            return (0, 1)
    return (0,) if (part.direction > 0) == (step > 0) else (1,)


class _Shape:
    """How values of a loop's body depend on its index."""

    def __init__(self, loop: Node, facts: Facts, sources: dict[str, tuple[Value, int | None]]) -> None:
        (body,) = loop.blocks
        self.index = body.params[0]
        self._facts = facts
        self._sources = sources
        self._inner = {v: node for node in body.nodes for v in node.results}
        self._params = set(body.params[1:])
        self._degrees: dict[Value, int | None] = {self.index: 1}
        atom = facts.polynomial(self.index)
        self._atom = atom.terms[0][0][0] if isinstance(atom, Dim) else None

    def degree(self, value: Value) -> int | None:
        """Degree of an integer in the index, 0 for any value that is the same in all iterations and can be made before.

        None: it cannot be made from the index and from what is there before.
        """
        if value not in self._degrees:
            self._degrees[value] = self._find_degree(value)
        return self._degrees[value]

    def _find_degree(self, value: Value) -> int | None:
        if value in self._params:
            return None
        node = self._inner.get(value)
        if node is None:
            return 0
        if node.op.name == "dim":
            x = node.operands[0]
            return 0 if x not in self._inner or self._can_make(x.shape[node.attrs["axis"]]) else None
        if node.op.kind != "elementwise" or isinstance(value.ty, Array) or node.op.guard is not None:
            return None
        degrees = [self.degree(v) for v in node.operands]
        known = [d for d in degrees if d is not None]
        if len(known) < len(degrees):
            return None
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
        node = self._inner.get(cond)
        if node is None:
            return cond not in self._params
        if node.op.name == "logical_and":
            return all(self.is_convex(v) for v in node.operands)
        if node.op.name == "logical_or":
            if self.direction(cond) is not None:
                return True
            a, b = node.operands
            return (self.degree(a) == 0 and self.is_convex(b)) or (self.degree(b) == 0 and self.is_convex(a))
        if node.op.name in _COMPARISONS and all(is_signed(v) for v in node.operands):
            return all(self.degree(v) is not None for v in node.operands)
        return self.degree(cond) == 0

    def direction(self, cond: Value) -> int | None:
        """See `_Part`."""
        node = self._inner.get(cond)
        if node is None:
            return None if cond in self._params else 0
        if node.op.name in ("logical_and", "logical_or"):
            found = {self.direction(v) for v in node.operands} - {0}
            return found.pop() if len(found) == 1 else None if found else 0
        if node.op.name not in _COMPARISONS or not all(is_signed(v) for v in node.operands):
            return 0 if self.degree(cond) == 0 else None
        degrees = [self.degree(v) for v in node.operands]
        if None in degrees:
            return None
        signs = {sign for p in self._facts.required(cond) or () for sign in self._signs(p)}
        return 0 if not any(degrees) or not signs else signs.pop() if len(signs) == 1 else None

    def _signs(self, p: Size) -> set[int | None]:
        """Signs of the coefficients of the index in an affine polynomial; None for one that is not known."""
        return {
            None if not self._facts.is_natural_product(self._others(monomial)) else 1 if c > 0 else -1
            for monomial, c in terms(p).items()
            if self._atom in monomial
        }

    def _others(self, monomial: Monomial) -> tuple[Atom, ...]:
        return tuple(a for a in monomial if a != self._atom)

    def parts(self, cond: Value) -> list[_Part]:
        """A convex condition as parts that all hold, each unless one of its guards does, which do not change."""
        direction = self.direction(cond)
        node = self._inner.get(cond)
        if node is None or direction == 0:
            return [_Part(cond, 0)]
        if node.op.name == "logical_and":
            return [part for v in node.operands for part in self.parts(v)]
        if node.op.name == "logical_or" and direction is None:
            a, b = node.operands
            guard, other = (a, b) if self.degree(a) == 0 else (b, a)
            return [_Part(p.cond, p.direction, (guard, *p.guards)) for p in self.parts(other)]
        return [_Part(cond, direction)]

    # --------------------------------------------------------------------------------- outside the loop

    def _can_make(self, size: Size) -> bool:
        """Whether a dimension can be computed from sizes of parameters."""
        return isinstance(size, int) or all(
            a.name in self._sources if a.inner is None else self._can_make(a.inner) for m, _ in size.terms for a in m
        )

    def _make(self, size: Size) -> Value:
        """A dimension, computed from sizes of parameters with the current builder."""
        builder = current_builder()
        total: Value | None = None
        for monomial, c in terms(size).items():
            term: Value = builder.const(abs(c))
            for k, atom in enumerate(monomial):
                factor = self._make_atom(atom)
                term = factor if k == 0 and abs(c) == 1 else term * factor
            total = (term if c > 0 else -term) if total is None else total + term if c > 0 else total - term
        return builder.const(0) if total is None else total

    def _make_atom(self, atom: Atom) -> Value:
        builder = current_builder()
        if atom.inner is not None:
            return builder.emit("maximum", (self._make(atom.inner), 0))
        param, axis = self._sources[atom.name]
        return param if axis is None else builder.emit("dim", (param,), axis=axis)

    def instance(self, cond: Value, guards: tuple[Value, ...], index: Value) -> Value:
        """A guarded condition for one index, made with the current builder."""
        made: dict[Value, Value] = {self.index: index}
        builder = current_builder()

        def build(v: Value) -> Value:
            node = self._inner.get(v)
            if v in made or node is None:
                return made.get(v, v)
            if node.op.name == "const":
                made[v] = builder.const(node.attrs["value"])
            elif node.op.name == "dim" and node.operands[0] in self._inner:
                made[v] = self._make(node.operands[0].shape[node.attrs["axis"]])
            else:
                made[v] = builder.add(node.op, [build(o) for o in node.operands], dict(node.attrs))
            return made[v]

        result = build(cond)
        for guard in reversed(guards):
            result = builder.emit("logical_or", (build(guard), result))
        return result
