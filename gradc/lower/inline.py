"""Forward substitution: a scalar that is used once is written where it is used, if nothing it reads changes in between.

    t = a[i] * b[i]                       s = reassoc_add(s, a[i] * b[i])
    s = reassoc_add(s, t)          =>

So chains of the program read as one expression, Numba has fewer variables to type, and what only one side of a
`where` needs is computed on that side alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gradc.ir.loops import (
    Assign,
    Bind,
    Buffer,
    CallC,
    Expr,
    For,
    Grow,
    If,
    Int,
    Lin,
    Load,
    Move,
    Product,
    Put,
    Raise,
    Stmt,
    Text,
    Transform,
    Var,
    While,
    rebuild,
    walk,
)

LONGEST = 24
"""Nodes that an expression may grow to: beyond, a line is hard to read."""

FARTHEST = 200
"""Statements that an expression may be moved over: looking for its use over any distance took time quadratic in the
length of a block."""


def inline(body: list[Stmt], results: Sequence[Any]) -> None:
    """Substitute in all lists of statements below `body`. Scalar buffers count as variables."""
    counts: dict[str, int] = {}
    writes: dict[str, int] = {}
    for stmt in _all(body):
        for expr in _exprs(stmt):
            _count(expr, counts)
        for name in _names_written(stmt):
            writes[name] = writes.get(name, 0) + 1
        for name in _lin_names(stmt):
            counts[name] = counts.get(name, 0) + 2
    for result in results:
        if isinstance(result, Buffer):
            counts[result.name] = counts.get(result.name, 0) + 2
        else:
            _count(result, counts)
    _List(counts, writes).run(body)


def _all(body: Sequence[Stmt]) -> Iterator[Stmt]:
    for stmt in body:
        yield stmt
        for inner in _bodies(stmt):
            yield from _all(inner)


def _bodies(stmt: Stmt) -> list[list[Stmt]]:
    match stmt:
        case For() | While():
            return [stmt.body]
        case If():
            return [stmt.then, stmt.orelse]
        case _:
            return []


def _exprs(stmt: Stmt) -> list[Expr]:
    """Expressions that a statement itself evaluates, indices included."""
    match stmt:
        case Assign():
            return [stmt.expr]
        case Put():
            old: list[Expr] = [Load(stmt.buffer, stmt.index)] if stmt.add else []
            index: list[Expr] = [Int(p) if isinstance(p, Lin) else p for p in stmt.index]
            return [stmt.expr, *index, *old]
        case Move():
            return list(stmt.exprs)
        case If():
            return [stmt.cond]
        case For():
            return [Int(b) if isinstance(b, Lin) else b for b in (stmt.start, stmt.stop, stmt.step)]
        case Bind():
            return [stmt.cond] if stmt.cond is not None else []
        case _:
            return []


def _lin_names(stmt: Stmt) -> Iterator[str]:
    """Variables in places where only an affine integer can stand."""
    lins: list[Lin] = []
    match stmt:
        case Product():
            lins = [*stmt.sizes]
            for operand in (stmt.a, stmt.b, stmt.c):
                lins.extend(operand[1])
                lins.extend(operand[0].extents)
        case Transform():
            lins = [*stmt.sizes]
            for place in (stmt.a, stmt.c):
                lins.extend((*place[1], *place[0].extents))
        case Bind():
            lins = [*stmt.buffer.extents]
            for source in (stmt.source, stmt.other):
                if source is not None:
                    lins.extend((*source.starts, *source.extents, *source.buffer.extents))
        case Grow():
            lins = [stmt.size]
        case CallC():
            yield from (a for a in stmt.args if isinstance(a, str))
            for given in stmt.args:
                lins.extend(given.extents if isinstance(given, Buffer) else (given,) if isinstance(given, Lin) else ())
        case Raise():
            lins = []
        case _:
            if hasattr(stmt, "buffer"):
                lins = list(stmt.buffer.extents)
    for lin in lins:
        yield from (n for n, _ in lin.terms)


def _count(expr: Expr, counts: dict[str, int]) -> None:
    for part in walk(expr):
        if isinstance(part, Var):
            counts[part.name] = counts.get(part.name, 0) + 1
        elif isinstance(part, Int):
            for name, _ in part.lin.terms:
                counts[name] = counts.get(name, 0) + 2
        elif isinstance(part, Load):
            if part.buffer.scalar:
                counts[part.buffer.name] = counts.get(part.buffer.name, 0) + 1
            for p in part.index:
                if isinstance(p, Lin):
                    for name, _ in p.terms:
                        counts[name] = counts.get(name, 0) + 2


def _names_written(stmt: Stmt) -> list[str]:
    match stmt:
        case Assign() | CallC():
            return [stmt.name]
        case Move():
            return list(stmt.names)
        case Put() if stmt.buffer.scalar:
            return [stmt.buffer.name]
        case For():
            return [stmt.var]
        case _:
            return []


class _List:
    def __init__(self, counts: dict[str, int], writes: dict[str, int]) -> None:
        self.counts = counts
        self.writes = writes
        self.reads: dict[Stmt, tuple[dict[str, int], int]] = {}

    def _reads(self, stmt: Stmt) -> tuple[dict[str, int], int]:
        """How often a statement itself uses each name, and how many nodes its expressions have."""
        found = self.reads.get(stmt)
        if found is None:
            used: dict[str, int] = {}
            size = 0
            for expr in _exprs(stmt):
                _count(expr, used)
                size += sum(1 for _ in walk(expr))
            found = self.reads[stmt] = used, size
        return found

    def run(self, body: list[Stmt]) -> None:
        """Substitute backwards through one list, then inside its statements."""
        for stmt in body:
            for inner in _bodies(stmt):
                self.run(inner)
        k = 0
        while k < len(body):
            stmt = body[k]
            name = self._candidate(stmt)
            if name is not None:
                target = self._use(body, k, name)
                if target is not None:
                    assert isinstance(stmt, Assign | Put)
                    dtype = stmt.dtype if isinstance(stmt, Assign) else stmt.buffer.dtype
                    _substitute(body[target], name, stmt.expr, dtype)
                    self.reads.pop(body[target], None)
                    del body[k]
                    continue
            k += 1

    def _candidate(self, stmt: Stmt) -> str | None:
        if isinstance(stmt, Assign):
            name = stmt.name
        elif isinstance(stmt, Put) and stmt.buffer.scalar and not stmt.add:
            name = stmt.buffer.name
        else:
            return None
        alone = self.counts.get(name, 0) == 1 and self.writes.get(name, 0) == 1
        return name if alone else None

    def _use(self, body: list[Stmt], start: int, name: str) -> int | None:
        """The statement of the list that uses `name`, if the expression means the same there."""
        stmt = body[start]
        assert isinstance(stmt, Assign | Put)
        names: set[str] = set()
        memory: set[str] = set()  # by name, since buffers may share memory by now
        size = 0
        for part in walk(stmt.expr):
            size += 1
            if isinstance(part, Var):
                names.add(part.name)
            elif isinstance(part, Int):
                names.update(n for n, _ in part.lin.terms)
            elif isinstance(part, Load):
                if part.buffer.scalar:
                    names.add(part.buffer.name)
                else:
                    memory.update(root.name for root in part.buffer.roots)
                    names.add(part.buffer.name)
                for p in part.index:
                    if isinstance(p, Lin):
                        names.update(n for n, _ in p.terms)
        if size >= LONGEST:
            return None
        for k in range(start + 1, min(start + 1 + FARTHEST, len(body))):
            other = body[k]
            used, inside = self._reads(other)
            if name in used:
                return k if not isinstance(other, For) and inside + size <= LONGEST else None
            if _bodies(other) or isinstance(other, Product | Transform | Bind | Grow | CallC):
                return None
            if not names.isdisjoint(_names_written(other)):
                return None
            if isinstance(other, Put) and not memory.isdisjoint(root.name for root in other.buffer.roots):
                return None
        return None


def _substitute(stmt: Stmt, name: str, expr: Expr, dtype: str) -> None:
    value = expr if expr.dtype == dtype else _cast(expr, dtype)

    def change(part: Expr) -> Expr | None:
        if isinstance(part, Var) and part.name == name:
            return value
        if isinstance(part, Load) and part.buffer.scalar and part.buffer.name == name:
            return value
        return None

    def same(lin: Lin) -> Lin:
        return lin

    match stmt:
        case Assign():
            stmt.expr = rebuild(stmt.expr, change, same)
        case Put():
            stmt.expr = rebuild(stmt.expr, change, same)
            stmt.index = tuple(p if isinstance(p, Lin) else rebuild(p, change, same) for p in stmt.index)
        case Move():
            stmt.exprs = tuple(rebuild(e, change, same) for e in stmt.exprs)
        case If() | Bind():
            assert stmt.cond is not None
            stmt.cond = rebuild(stmt.cond, change, same)


def _cast(expr: Expr, dtype: str) -> Expr:
    return Text("{x}", {"x": expr}, dtype, dtype)
