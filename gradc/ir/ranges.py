"""What is known of integers: polynomials over sizes and unknowns, and inequalities that hold at a place.

An integer scalar is a polynomial (`Size`) over size variables and unknowns. Facts are polynomials that are not
negative: the range of a loop's index, conditions of branches, checks that were passed. `proves(p)` looks for a
combination of facts that leaves no negative term: p >= 0 where k*p = sum of facts (times sizes) + something >= 0.
Arithmetic is taken not to overflow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gradc.ir.nodes import Block, Func, Node, Value, walk_blocks
from gradc.ir.region import Arg, At, NewAxis
from gradc.ir.types import (
    Array,
    Atom,
    Dim,
    Monomial,
    Scalar,
    Size,
    add_sizes,
    multiply_sizes,
    negate_size,
    size_variable,
    size_variables,
    subtract_sizes,
)

# Limits of the search for a proof, and of what is searched: steps in a row and in all, facts, terms of a polynomial.
_DEPTH = 5
_STEPS = 400
_FACTS = 60
_TERMS = 12


def terms(p: Size) -> dict[Monomial, int]:
    """Coefficients of a polynomial by monomial."""
    return dict(p.terms) if isinstance(p, Dim) else {(): p} if p else {}


class Facts:
    """Polynomials of the integers of one function, and what is known to hold at the place where a walk stands.

    A walk calls `assume` for conditions that hold from there on, `enter_loop` for bodies, and undoes both at the end
    of a block with `scope`.
    """

    def __init__(self, func: Func) -> None:
        self.facts: list[tuple[Size, dict[Monomial, int]]] = []
        self._disjunctions: list[tuple[Value, Value]] = []
        self._polynomials: dict[Value, Size] = {}
        self._unknowns = 0
        self._budget = 0
        self._distrusted, claimed = _claims(func)
        sizes = {s for p in func.params if isinstance(p.ty, Array) for s in p.ty.shape}
        self._natural = {a.name for s in sizes if isinstance(s, Dim) and _is_atom(s) for a in s.terms[0][0][:1]}
        arrays = [v for b in walk_blocks(func.body) for v in (*b.params, *(r for n in b.nodes for r in n.results))]
        for value in arrays:
            if isinstance(value.ty, Array):
                for size in value.ty.shape:
                    if isinstance(size, Dim) and _is_atom(size) and size.terms[0][0][0].name not in claimed:
                        self._natural.add(size.terms[0][0][0].name)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """What is learnt inside is forgotten afterwards."""
        known, either = len(self.facts), len(self._disjunctions)
        try:
            yield
        finally:
            del self.facts[known:]
            del self._disjunctions[either:]

    # -------------------------------------------------------------------------------------- polynomials

    def polynomial(self, value: Value) -> Size:
        """An integer scalar as a polynomial."""
        known = self._polynomials
        waiting = [value]
        while value not in known:
            current = waiting[-1]
            # Operands first, without recursion: chains of additions may be long.
            maker = current.node
            missing = [v for v in maker.operands if v not in known] if maker and _is_arithmetic(current) else []
            if missing:
                waiting += missing
                continue
            waiting.pop()
            if current not in known:
                known[current] = self._derive(current)
        return known[value]

    def _derive(self, value: Value) -> Size:
        if value.size is not None and not (isinstance(value.size, Dim) and self._mentions_distrusted(value.size)):
            return value.size
        node = value.node
        if node is None or not is_signed(value):
            return self._unknown()
        operands = node.operands
        match node.op.name:
            case "const":
                return int(node.attrs["value"])
            case "dim":
                size: Size = operands[0].shape[node.attrs["axis"]]
                return size
            case "cast" | "let" if is_signed(operands[0]):
                return self.polynomial(operands[0])
            case "neg":
                return negate_size(self.polynomial(operands[0]))
            case "add" | "sub" | "mul" if all(map(is_signed, operands)):
                combine = {"add": add_sizes, "sub": subtract_sizes, "mul": multiply_sizes}[node.op.name]
                combined = combine(*map(self.polynomial, operands))
                if isinstance(combined, int) or len(combined.terms) <= _TERMS:
                    return combined
        return self._unknown()

    def _unknown(self) -> Size:
        self._unknowns += 1
        return size_variable(f"%{self._unknowns}")

    def _mentions_distrusted(self, size: Dim) -> bool:
        return bool(self._distrusted) and not self._distrusted.isdisjoint(size_variables(size))

    # -------------------------------------------------------------------------------------------- facts

    def learn(self, p: Size) -> None:
        """p >= 0 from here on."""
        if not isinstance(p, int):
            self.facts.append((p, terms(p)))

    def assume(self, cond: Value, truth: bool = True) -> None:
        """A boolean has this truth from here on."""
        node = cond.node
        if node is None:
            return
        match node.op.name:
            case "logical_and" | "logical_or":
                if (node.op.name == "logical_and") == truth:
                    for operand in node.operands:
                        self.assume(operand, truth)
                elif truth:
                    self._disjunctions.append((node.operands[0], node.operands[1]))
            case "logical_not":
                self.assume(node.operands[0], not truth)
            case "cast" | "let":
                self.assume(node.operands[0], truth)
            case name:
                for p in self._comparison(name if truth else _OPPOSITE.get(name, ""), node) or ():
                    self.learn(p)

    def _comparison(self, name: str, node: Node) -> list[Size] | None:
        if name not in _OPPOSITE or name == "ne" or not all(map(is_signed, node.operands)):
            return None
        a, b = (self.polynomial(v) for v in node.operands)
        match name:
            case "ge":
                return [subtract_sizes(a, b)]
            case "gt":
                return [add_sizes(subtract_sizes(a, b), -1)]
            case "le":
                return [subtract_sizes(b, a)]
            case "lt":
                return [add_sizes(subtract_sizes(b, a), -1)]
        return [subtract_sizes(a, b), subtract_sizes(b, a)]

    def required(self, cond: Value) -> list[Size] | None:
        """What must not be negative for a comparison of integers to hold; None for other booleans."""
        return None if cond.node is None else self._comparison(cond.node.op.name, cond.node)

    def note_node(self, node: Node) -> None:
        """What a node that has run says: a check that was passed, sizes of arrays, ranges of remainders."""
        for value in node.results:
            if isinstance(value.ty, Array):
                for size in value.ty.shape:
                    if not isinstance(size, int) and not self._is_natural(size):
                        self.learn(size)
        match node.op.name:
            case "check":
                self.assume(node.operands[0])
            case "if":
                for cond, block in ((True, node.blocks[0]), (False, node.blocks[1])):
                    if _always_raises(block):
                        self.assume(node.operands[0], not cond)
            case "index":
                self._note_slices(node)
            case "mod" if self._is_positive(node.operands[1]) and is_signed(node.result):
                r = self.polynomial(node.result)
                self.learn(r)
                self.learn(add_sizes(subtract_sizes(self.polynomial(node.operands[1]), r), -1))
            case "floordiv" if self._is_positive(node.operands[1]) and is_signed(node.result):
                a, b = (self.polynomial(v) for v in node.operands)
                rest = subtract_sizes(a, multiply_sizes(b, self.polynomial(node.result)))
                self.learn(rest)
                self.learn(add_sizes(subtract_sizes(b, rest), -1))
                if self.proves(a):
                    self.learn(self.polynomial(node.result))
            case "minimum" | "maximum" if is_signed(node.result):
                sign = 1 if node.op.name == "minimum" else -1
                r = self.polynomial(node.result)
                for operand in node.operands:
                    self.learn(multiply_sizes(subtract_sizes(self.polynomial(operand), r), sign))
                if all(self.is_nonnegative(v) for v in node.operands):
                    self.learn(r)
            case "abs" if is_signed(node.result):
                self.learn(self.polynomial(node.result))
            case "argmax" | "argmin" if isinstance(node.result.ty, Scalar) and node.operands[0].rank == 1:
                r = self.polynomial(node.result)
                self.learn(r)
                self.learn(add_sizes(subtract_sizes(node.operands[0].shape[0], r), -1))

    def _note_slices(self, node: Node) -> None:
        """The length of x[a:b] is b - a where 0 <= a <= b <= n."""
        x, first = node.operands[0], len(node.op.operands)
        lengths = iter(node.result.shape)
        sizes = iter(x.shape)
        for entry in node.attrs["region"]:
            if isinstance(entry, NewAxis):
                next(lengths)
                continue
            size = next(sizes)
            if isinstance(entry, At):
                continue
            length = next(lengths)
            if isinstance(length, int) or entry.step not in (None, 1):
                continue
            start, stop = (self._bound(node, first, b, size, e) for b, e in ((entry.start, 0), (entry.stop, size)))
            if start is None or stop is None or length == subtract_sizes(stop, start):
                continue
            span = subtract_sizes(stop, start)
            if self.proves(start) and self.proves(subtract_sizes(size, stop)) and self.proves(span):
                self.learn(subtract_sizes(length, span))
                self.learn(subtract_sizes(span, length))

    def _bound(self, node: Node, first: int, bound: int | Arg | None, size: Size, default: Size) -> Size | None:
        """A bound of a slice as a polynomial."""
        if bound is None:
            return default
        if isinstance(bound, int):
            return bound if bound >= 0 else add_sizes(size, bound)
        value = node.operands[first + bound.k]
        return self.polynomial(value) if is_signed(value) else None

    def _is_positive(self, value: Value) -> bool:
        return is_signed(value) and self.proves(add_sizes(self.polynomial(value), -1))

    def enter_loop(self, node: Node) -> None:
        """The range of a `for` loop's index in its body, and carried integers that only grow or only shrink."""
        body = node.blocks[-1]
        exits = int(bool(node.attrs.get("exits")))
        initial = node.operands
        first = 0
        if node.op.name == "for":
            start, stop, step = (self.polynomial(v) for v in node.operands[:3])
            initial, first = node.operands[3:], 1
            index = self.polynomial(body.params[0])
            if isinstance(step, int):
                sign = 1 if step > 0 else -1
                self.learn(multiply_sizes(subtract_sizes(index, start), sign))
                self.learn(add_sizes(multiply_sizes(subtract_sizes(stop, index), sign), -1))
        else:
            for outer, inner in zip(node.blocks[0].params, body.params, strict=True):
                if is_signed(inner):
                    self._polynomials[inner] = self.polynomial(outer)
        self._use_disjunctions()
        for k, start_value in enumerate(initial):
            param, after = body.params[first + k], body.yields[exits + k]
            if not (is_signed(param) and is_signed(after)):
                continue
            change = subtract_sizes(self.polynomial(after), self.polynomial(param))
            total = subtract_sizes(self.polynomial(param), self.polynomial(start_value))
            if isinstance(change, int):
                self.learn(total if change >= 0 else negate_size(total))
            elif self.proves(change):
                self.learn(total)

    def _use_disjunctions(self) -> None:
        """Of conditions of which one holds, the one that is left where the other cannot hold."""
        for pair in self._disjunctions[-_FACTS:]:
            for one, other in (pair, pair[::-1]):
                if self.fails(one):
                    self.assume(other)
                    break

    # ------------------------------------------------------------------------------------------- proofs

    def is_nonnegative(self, value: Value) -> bool:
        """Whether an integer scalar is known not to be negative."""
        return is_signed(value) and self.proves(self.polynomial(value))

    def holds(self, cond: Value) -> bool:
        """Whether a boolean is known to be true."""
        return self._decide(cond, True)

    def fails(self, cond: Value) -> bool:
        """Whether a boolean is known to be false."""
        return self._decide(cond, False)

    def _decide(self, cond: Value, truth: bool) -> bool:
        node = cond.node
        if node is None:
            return False
        match node.op.name:
            case "const":
                return bool(node.attrs["value"]) == truth
            case "logical_and" | "logical_or":
                a, b = node.operands
                if (node.op.name == "logical_and") == truth:
                    return self._decide(a, truth) and self._decide(b, truth)
                if self._decide(a, truth):
                    return True
                with self.scope():
                    self.assume(a, not truth)
                    return self._decide(b, truth)
            case "logical_not":
                return self._decide(node.operands[0], not truth)
            case "cast" | "let":
                return self._decide(node.operands[0], truth)
        required = self._comparison(node.op.name if truth else _OPPOSITE.get(node.op.name, ""), node)
        return required is not None and all(self.proves(p) for p in required)

    def proves(self, p: Size) -> bool:
        """Whether p >= 0 follows from the facts. False means that no proof was found."""
        if isinstance(p, int):
            return p >= 0
        self._budget = _STEPS
        return self._search(p, _DEPTH, set())

    def _search(self, p: Size, depth: int, seen: set[Size]) -> bool:
        if isinstance(p, int):
            return p >= 0
        if self._is_natural(p):
            return True
        if depth == 0 or self._budget == 0 or p in seen:
            return False
        self._budget -= 1
        seen.add(p)
        own = terms(p)
        bad = [m for m, c in own.items() if m and not (c > 0 and self.is_natural_product(m))]
        # The first bad term has to go; where only the constant is negative, a fact that bounds a good term may help.
        wanted = bad[:1] or [m for m in own if m]
        for monomial in wanted:
            c = own[monomial]
            for fact, parts in (*reversed(self.facts[-_FACTS:]), *self._size_facts(monomial)):
                for scaled, d in self._multiples(fact, parts, monomial):
                    if (c > 0) != (d > 0):
                        continue
                    rest = subtract_sizes(multiply_sizes(p, abs(d)), multiply_sizes(scaled, abs(c)))
                    if self._search(rest, depth - 1, seen):
                        return True
        return self._unclamped(p, depth, seen)

    def _unclamped(self, p: Dim, depth: int, seen: set[Size]) -> bool:
        """max(q, 0) is q where q >= 0."""
        for monomial in terms(p):
            for atom in monomial:
                if atom.inner is not None and self._search(atom.inner, depth - 1, set()):
                    return self._search(_replace_atom(p, atom), depth - 1, seen)
        return False

    def _multiples(self, fact: Size, parts: dict[Monomial, int], monomial: Monomial) -> Iterator[tuple[Size, int]]:
        """A fact, or its product with sizes, that has `monomial` as a term, with the coefficient."""
        if monomial in parts:
            yield fact, parts[monomial]
        if len(monomial) < 2:
            return
        for candidate, c in parts.items():
            if not candidate or len(candidate) >= len(monomial):
                continue
            rest = list(monomial)
            if all(a in rest and (rest.remove(a) or True) for a in candidate) and self.is_natural_product(tuple(rest)):  # type: ignore[func-returns-value]
                yield multiply_sizes(fact, Dim(((tuple(rest), 1),))), c

    def _size_facts(self, monomial: Monomial) -> Iterator[tuple[Size, dict[Monomial, int]]]:
        """max(q, 0) >= q, and sizes >= 0, for the atoms of a term."""
        for atom in monomial:
            own: Size = Dim((((atom,), 1),))
            if atom.inner is not None:
                above = subtract_sizes(own, atom.inner)
                yield above, terms(above)
                yield own, terms(own)
            elif atom.name in self._natural:
                yield own, terms(own)

    def is_natural_product(self, monomial: Monomial) -> bool:
        """Whether a term has only factors that are not negative."""
        return all(a.inner is not None or a.name in self._natural for a in monomial)

    def _is_natural(self, p: Size) -> bool:
        return all(c >= 0 and self.is_natural_product(m) for m, c in terms(p).items())


_OPPOSITE = {"lt": "ge", "ge": "lt", "gt": "le", "le": "gt", "eq": "ne", "ne": "eq"}


def is_signed(value: Value) -> bool:
    """Whether a value is an integer scalar that is as good as a mathematical integer (64 bits, with a sign)."""
    return isinstance(value.ty, Scalar) and value.ty.dtype == "int64"


def _is_arithmetic(value: Value) -> bool:
    """Whether a polynomial is made from those of the operands."""
    if value.node is None or not is_signed(value):
        return False
    return value.node.op.name in ("cast", "let", "neg", "add", "sub", "mul")


def _is_atom(size: Dim) -> bool:
    return len(size.terms) == 1 and size.terms[0][1] == 1 and len(size.terms[0][0]) == 1


def _claims(func: Func) -> tuple[set[str], set[str]]:
    """Size variables that unrelated scalars share, which no proof may use; and all that scalars stand for."""
    owners: dict[str, set[Value]] = {}
    values = (v for b in walk_blocks(func.body) for v in (*b.params, *(r for n in b.nodes for r in n.results)))
    for value in values:
        size = value.size
        if not isinstance(size, Dim) or not _is_atom(size) or not isinstance(value.ty, Scalar):
            continue
        derived = value.node is not None and value.node.op.name in ("dim", "cast", "let", "add", "sub", "mul")
        if not derived:
            owners.setdefault(size.terms[0][0][0].name, set()).add(value)
    return {name for name, who in owners.items() if len(who) > 1}, set(owners)


def _replace_atom(p: Size, atom: Atom) -> Size:
    """p with max(q, 0) replaced by q."""
    assert atom.inner is not None
    total: Size = 0
    for monomial, c in terms(p).items():
        term: Size = c
        for factor in monomial:
            term = multiply_sizes(term, atom.inner if factor == atom else Dim((((factor,), 1),)))
        total = add_sizes(total, term)
    return total


def _always_raises(block: Block) -> bool:
    """Whether a block ends in a check that fails."""
    return any(
        node.op.name == "check"
        and node.operands[0].node is not None
        and node.operands[0].node.op.name == "const"
        and not node.operands[0].node.attrs["value"]
        for node in block.nodes
    )


def nonnegative_positions(func: Func) -> set[tuple[Node, Value]]:
    """Pairs (node with a region, index operand) where the position is known not to be negative."""
    tapes = _natural_tapes(func)
    facts = Facts(func)
    found: set[tuple[Node, Value]] = set()

    def walk(block: Block) -> None:
        for node in block.nodes:
            if node.op.name == "load" and node.operands[0] in tapes:
                facts.learn(facts.polynomial(node.result))
            if "region" in node.attrs:
                for value in node.operands[1:]:
                    if is_signed(value) and facts.is_nonnegative(value):
                        found.add((node, value))
            walk_inner(node, facts, walk)
            facts.note_node(node)

    walk(func.body)
    return found


def _natural_tapes(func: Func) -> set[Value]:
    """Tapes of integers onto which only numbers are put that are known not to be negative.

    What is read of a tape has been put there, which is not so of a user's `np.empty`.
    """
    tapes: dict[Value, bool] = {
        n.result: True
        for b in walk_blocks(func.body)
        for n in b.nodes
        if n.op.name == "empty" and n.result.dtype == "int64" and n.result.name.endswith("_tape")
    }
    if not tapes:
        return set()
    facts = Facts(func)

    def walk(block: Block) -> None:
        for node in block.nodes:
            if node.op.kind in ("write", "view") and node.operands[0] in tapes:
                single = node.op.name == "store_at" and facts.is_nonnegative(node.operands[1])
                tapes[node.operands[0]] = tapes[node.operands[0]] and single
            walk_inner(node, facts, walk)
            facts.note_node(node)

    walk(func.body)
    return {tape for tape, natural in tapes.items() if natural}


def walk_inner(node: Node, facts: Facts, walk: Callable[[Block], None]) -> None:
    """Call `walk` for each block of a node with what is known in it."""
    match node.op.name:
        case "if":
            for truth, block in ((True, node.blocks[0]), (False, node.blocks[1])):
                with facts.scope():
                    facts.assume(node.operands[0], truth)
                    walk(block)
        case "for":
            with facts.scope():
                facts.enter_loop(node)
                walk(node.blocks[0])
        case "while":
            with facts.scope():
                facts.enter_loop(node)
                walk(node.blocks[0])
                facts.assume(node.blocks[0].yields[0])
                walk(node.blocks[1])
