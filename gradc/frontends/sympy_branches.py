"""SymPy's `Piecewise` and `ITE` as branches: what is not taken is not computed, and what is shared is built once.

    Piecewise((f, a), (g, b), (h, True))        if a: f                few pairs, nothing shared: nested branches
                                                else: if b: g else: h

    e1 = Piecewise((sin(e0), a), (e0, True))    k1 = 0 if a else 1     which branch; indices of outer ones first,
    e2 = Piecewise((x, b), (cos(e1), True))     v0 = if k1 ...         then values of inner ones first, each in a
                                                v1 = if k2 == 1: ...   branch of its own that asks whether it is wanted

Nested as written, the second form has twice as much code for every level. So what stands in several branches, and
every sixth level of what is nested deeper, is computed before the branches, where it will be wanted; and a
`Piecewise` of many pairs finds its index first, a few conditions at a time, and chooses by bisection. Code grows as the
expression does. This module imports SymPy, and is itself imported when an expression arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import sympy

from gradc.ir.nodes import Block, Value
from gradc.ir.opdef import TABLE
from gradc.ir.types import WEAK_INT, Scalar, promote_dtypes
from gradc.ops.rules import convert

_FEW = 4  # pairs that are nested as they are
_CHUNK = 8  # conditions that are nested where there are more
_DEEP = 6  # levels that are nested as they are
_UNREACHED, _NONE = -2, -1  # indices: the Piecewise is not wanted; no condition holds
_LAZY = ("Piecewise", "ITE")
_LOOPS = ("Sum", "Product")
_OPAQUE = (*_LOOPS, "Indexed", "MatrixElement")  # what they hold are not values
Pair: TypeAlias = "tuple[Any, Any]"
Place: TypeAlias = "tuple[Any, int]"


def pairs_of(e: Any) -> list[Pair]:
    """(expression, condition) of a Piecewise, or of an ITE."""
    if type(e).__name__ == "ITE":
        return [(e.args[1], e.args[0]), (e.args[2], sympy.true)]
    pairs: list[Pair] = []
    for arg in e.args:
        pairs.append((arg.expr, arg.cond))
        if arg.cond == sympy.true:
            break
    return pairs


def _is_lazy(e: Any) -> bool:
    return type(e).__name__ in _LAZY


def _is_exhaustive(pairs: Sequence[Pair]) -> bool:
    return bool(pairs[-1][1] == sympy.true)


class Branches:
    """Builds the branches of one expression. `machine`: what builds the rest, with its scopes of known values."""

    def __init__(self, machine: Any) -> None:
        self.machine = machine
        self._outermost: dict[Any, tuple[Any, ...]] = {}
        self._depths: dict[Any, int] = {}

    def parts(self, e: Any) -> list[Any]:
        """Expressions that `e` wants whichever branch is taken, in conditions also those that may not be asked."""
        pairs = pairs_of(e)
        if self.machine.elementwise or any(getattr(x, "is_Matrix", False) for x, _ in pairs):
            return [part for pair in pairs for part in pair]
        if self._index(e) is not None:
            return []
        wanted = [pairs[0][1]]
        for _, condition in pairs[1:]:
            wanted += self._inside(condition)
        if _is_exhaustive(pairs):
            wanted += self._common([x for x, _ in pairs])
        return wanted

    def make(self, e: Any) -> Value:
        """The value of `e`, once its parts are known."""
        pairs = pairs_of(e)
        if self.machine.elementwise or any(getattr(x, "is_Matrix", False) for x, _ in pairs):
            return self._everywhere(pairs)
        if self._index(e) is None:
            users = self._users(e)
            hoisted = {q for q, places in users.items() if len(places) > 1 or self._depth(q) % _DEEP == 0}
            if len(pairs) <= _FEW and not hoisted:
                return self._nested(pairs, 0, lambda k: [self._branch(e, pairs, k)])[0]
            self._hoist(e, users, hoisted)
        return self._chosen(e, pairs)

    # --------------------------------------------------------------------------------------- what is inside

    def _inside(self, e: Any) -> tuple[Any, ...]:
        """The outermost Piecewise in an expression, itself perhaps."""
        found = self._outermost.get(e)
        if found is None:
            listed: dict[Any, None] = {}
            waiting, seen = [e], {e}
            while waiting:
                part = waiting.pop()
                if _is_lazy(part):
                    listed[part] = None
                elif type(part).__name__ not in _LOOPS:
                    for arg in part.args:
                        if arg not in seen:
                            seen.add(arg)
                            waiting.append(arg)
            found = self._outermost[e] = tuple(listed)
        return found

    def _common(self, branches: Sequence[Any]) -> list[Any]:
        """What stands in all of these expressions, and not inside another Piecewise of theirs only."""
        shared: dict[Any, None] | None = None
        for branch in branches:
            seen: dict[Any, None] = {}
            waiting = [branch]
            while waiting:
                part = waiting.pop()
                if part in seen or not part.args or self.machine.is_known(part) or not isinstance(part, sympy.Expr):
                    continue
                seen[part] = None
                if not _is_lazy(part) and type(part).__name__ not in _OPAQUE:
                    waiting += part.args
            shared = seen if shared is None else {part: None for part in shared if part in seen}
            if not shared:
                return []
        return list(shared or ())

    def _depth(self, e: Any) -> int:
        """How many levels of Piecewise are in the branches of one."""
        waiting = [e]
        while waiting:
            part = waiting[-1]
            if part in self._depths:
                waiting.pop()
                continue
            below = [q for x, _ in pairs_of(part) for q in self._inside(x)]
            missing = [q for q in below if q not in self._depths]
            if missing:
                waiting += missing
            else:
                waiting.pop()
                self._depths[part] = 1 + max((self._depths[q] for q in below), default=0)
        return self._depths[e]

    def _users(self, e: Any) -> dict[Any, list[Place]]:
        """In which branches, (Piecewise, position), every Piecewise below `e` stands whose value is not known."""
        users: dict[Any, list[Place]] = {}
        waiting = [e]
        while waiting:
            part = waiting.pop()
            for k, (x, _) in enumerate(pairs_of(part)):
                for q in self._inside(x):
                    if self.machine.is_known(q):
                        continue
                    if q not in users:
                        users[q] = []
                        waiting.append(q)
                    users[q].append((part, k))
        return users

    # -------------------------------------------------------------------------------------------- building

    def _hoist(self, e: Any, users: dict[Any, list[Place]], hoisted: set[Any]) -> None:
        """Indices of `e` and of all that has some of `hoisted` inside, outer ones first; then the values of those."""
        above = {e}
        waiting = list(hoisted)
        while waiting:
            for around, _ in users.get(waiting.pop(), ()):
                if around not in above:
                    above.add(around)
                    waiting.append(around)
        order = sorted(above | hoisted, key=self._depth, reverse=True)
        wanted: dict[Any, Value | None] = {e: None}
        for q in order:
            if q is not e:
                wanted[q] = self._is_wanted(users[q])
                for _, condition in pairs_of(q)[1:]:
                    for inner in self._inside(condition):
                        self._guarded(inner, wanted[q])
            if q in above:
                self.machine.scopes[-1]["index", q] = self._found_index(pairs_of(q), wanted[q])
        for q in reversed(order):
            if q in hoisted:
                self._guarded(q, wanted[q])

    def _is_wanted(self, places: Sequence[Place]) -> Value:
        eq, either = TABLE["eq"], TABLE["logical_or"]
        asked = [eq(self._index(around), k) for around, k in places]
        total = asked[0]
        for v in asked[1:]:
            total = either(total, v)
        return convert(total, "bool", weak=True)

    def _guarded(self, q: Any, wanted: Value | None) -> None:
        """Make `q` known, computed where it is wanted (None: always)."""
        machine = self.machine
        if machine.is_known(q):
            return
        if wanted is None:
            machine.value(q)
            return
        blank = False if type(q).__name__ == "ITE" else 0.0
        (made,) = self._if(wanted, lambda: [machine.value(q)], lambda: [machine.builder.const(blank)])
        machine.scopes[-1][q] = made

    def _found_index(self, pairs: Sequence[Pair], wanted: Value | None) -> Value:
        """Which condition is the first that holds."""
        const = self.machine.builder.const

        def few(start: int) -> list[Value]:
            some = pairs[start : start + _CHUNK]
            return self._nested(some, 0, lambda k: [const(_NONE if k is None else start + k)])

        index = few(0)[0] if wanted is None else self._if(wanted, lambda: few(0), lambda: [const(_UNREACHED)])[0]
        for start in range(_CHUNK, len(pairs), _CHUNK):
            open_ = convert(TABLE["eq"](index, _NONE), "bool", weak=True)
            (index,) = self._if(open_, lambda start=start: few(start), lambda index=index: [index])  # type: ignore[misc]
        return index

    def _chosen(self, e: Any, pairs: Sequence[Pair]) -> Value:
        """The value of the branch that the index says, found by bisection."""
        index = self._index(e)

        def among(low: int, high: int) -> list[Value]:
            if high - low == 1:
                return [self._branch(e, pairs, low if low < len(pairs) else None)]
            middle = (low + high) // 2
            lower = convert(TABLE["lt"](index, middle), "bool", weak=True)
            return self._if(lower, lambda: among(low, middle), lambda: among(middle, high))

        if _is_exhaustive(pairs):
            return among(0, len(pairs))[0]
        none = convert(TABLE["lt"](index, 0), "bool", weak=True)
        return self._if(none, lambda: [self._branch(e, pairs, None)], lambda: among(0, len(pairs)))[0]

    def _branch(self, e: Any, pairs: Sequence[Pair], k: int | None) -> Value:
        """The value of a branch; NaN where no condition holds."""
        machine = self.machine
        if k is None:
            made: Value = machine.builder.const(float("nan"))
            return made
        value: Value = machine.value(pairs[k][0])
        return value if type(e).__name__ == "ITE" else machine.as_float(value)  # type: ignore[no-any-return]

    def _nested(self, pairs: Sequence[Pair], k: int, leaf: Callable[[int | None], list[Value]]) -> list[Value]:
        """leaf(k) for the first of the pairs, from `k` on, whose condition holds; leaf(None) where none does."""
        if k == len(pairs):
            return leaf(None)
        condition = pairs[k][1]
        if condition == sympy.true:
            return leaf(k)
        return self._if(self.machine.value(condition), lambda: leaf(k), lambda: self._nested(pairs, k + 1, leaf))

    def _if(
        self, condition: Value, then: Callable[[], list[Value]], otherwise: Callable[[], list[Value]]
    ) -> list[Value]:
        builder = self.machine.builder
        made = [self._in_block(then), self._in_block(otherwise)]
        types = [_common_type([a.ty, b.ty]) for a, b in zip(made[0][1], made[1][1], strict=True)]
        for block, values in made:
            with builder.into(block):
                block.yields = [convert(v, ty.dtype, ty.weak) for v, ty in zip(values, types, strict=True)]
        return list(builder.control("if", (condition,), [block for block, _ in made], types))

    def _in_block(self, run: Callable[[], list[Value]]) -> tuple[Block, list[Value]]:
        machine = self.machine
        machine.scopes.append({})
        try:
            with machine.builder.into(Block()) as block:
                return block, run()
        finally:
            machine.scopes.pop()

    def _everywhere(self, pairs: Sequence[Pair]) -> Value:
        """Some symbols stand for arrays: all branches are computed, and those not taken have no derivative."""
        machine = self.machine
        total = machine.builder.const(float("nan"))
        for x, condition in reversed(pairs):
            value = machine.as_float(machine.value(x))
            total = value if condition == sympy.true else TABLE["where"](machine.value(condition), value, total)
        return total  # type: ignore[no-any-return]

    def _index(self, e: Any) -> Value | None:
        found: Value | None = self.machine.known(("index", e))
        return found


def _common_type(types: Sequence[Any]) -> Scalar:
    """The type of a scalar that is one of several; Python numbers only where all are."""
    if all(t == WEAK_INT for t in types):
        return WEAK_INT
    dtype = promote_dtypes(tuple(types)).dtype
    return Scalar(dtype, all(t.weak for t in types))
