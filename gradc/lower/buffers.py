"""Buffer reuse: an array whose last reader is past gives its memory to a later one of the same dtype and sizes.

t = np.empty((n, m)); product(x, w, t)          t = np.empty((n, m)); product(x, w, t)
z = np.empty((n, m))                      =>    for i: for j: t[i, j] = t[i, j] + b[j]
for i: for j: z[i, j] = t[i, j] + b[j]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gradc.ir.loops import (
    Alloc,
    Assign,
    Bind,
    Buffer,
    CallC,
    Expr,
    For,
    Grow,
    If,
    Index,
    Lin,
    Load,
    Move,
    Product,
    Put,
    Size,
    Stmt,
    Transform,
    While,
    walk,
)


@dataclass(frozen=True, eq=False, slots=True)
class Use:
    """A touch in text order. `index` is None where more than an element may be meant."""

    buffer: Buffer
    index: tuple[Index, ...] | None
    write: bool
    at: int


def uses(stmt: Stmt, count: list[int]) -> Iterator[Use]:
    """Touches of a statement and of what is inside it, reads of a line before its write."""
    count[0] += 1
    at = count[0]

    def reads(*exprs: Expr) -> Iterator[Use]:
        for expr in exprs:
            for part in walk(expr):
                if isinstance(part, Load):
                    yield Use(part.buffer, part.index, False, at)

    match stmt:
        case Assign():
            yield from reads(stmt.expr)
        case Move():
            yield from reads(*stmt.exprs)
        case Put():
            yield from reads(stmt.expr, *(p for p in stmt.index if not isinstance(p, Lin)))
            if stmt.add:
                yield Use(stmt.buffer, stmt.index, False, at)
            yield Use(stmt.buffer, stmt.index, True, at)
        case Product():
            for operand, write in ((stmt.a, False), (stmt.b, False), (stmt.c, True)):
                yield Use(operand[0], None, write, at)
        case Transform():
            yield Use(stmt.a[0], None, False, at)
            yield Use(stmt.c[0], None, True, at)
        case CallC():
            for buffer in stmt.args:
                if isinstance(buffer, Buffer):
                    yield Use(buffer, None, False, at)
            for buffer in stmt.written:
                yield Use(buffer, None, True, at)
        case Bind():
            for source in (stmt.source, stmt.other):
                if source is not None:
                    yield Use(source.buffer, None, True, at)
        case Grow() | Size():
            yield Use(stmt.buffer, None, True, at)
        case For():
            yield from reads(*(b for b in (stmt.start, stmt.stop, stmt.step) if not isinstance(b, Lin)))
            for inner in stmt.body:
                yield from uses(inner, count)
        case While():
            for inner in stmt.body:
                yield from uses(inner, count)
        case If():
            yield from reads(stmt.cond)
            for inner in (*stmt.then, *stmt.orelse):
                yield from uses(inner, count)


@dataclass(eq=False, slots=True)
class _Life:
    first: int
    last: int
    uses: dict[int, list[Use]]


def reuse(body: list[Stmt], local: set[Buffer], lasting: set[Buffer], places: Sequence[list[Stmt]]) -> None:
    """Let buffers of a block share memory. `lasting` ones are results; `places` hold the allocations."""
    lives: dict[Buffer, _Life] = {}
    count = [0]
    for k, stmt in enumerate(body):
        for use in uses(stmt, count):
            for root in use.buffer.roots:
                if root not in local or root.scalar:
                    continue
                life = lives.setdefault(root, _Life(k, k, {}))
                life.last = k
                exact = use if use.buffer is root else Use(root, None, use.write, use.at)
                life.uses.setdefault(k, []).append(exact)
    free: list[Buffer] = []
    gone: set[Buffer] = set()
    ends: dict[Buffer, _Life] = {}
    for buffer, life in sorted(lives.items(), key=lambda item: item[1].first):
        for old in free:
            before = ends[old]
            fits = old.dtype == buffer.dtype and _same_sizes(old, buffer)
            if fits and (
                before.last < life.first or (before.last == life.first and _in_place(before, life, before.last))
            ):
                buffer.name = old.name
                gone.add(buffer)
                for k, more in life.uses.items():
                    before.uses.setdefault(k, []).extend(more)
                before.last = life.last
                if buffer in lasting:
                    free.remove(old)
                break
        else:
            ends[buffer] = life
            if buffer not in lasting:
                free.append(buffer)
    for place in places:
        place[:] = [s for s in place if not (isinstance(s, Alloc) and s.buffer in gone)]


def _sizes(buffer: Buffer) -> list[Lin]:
    return [buffer.extents[k] for k in (range(len(buffer.extents)) if buffer.kept is None else buffer.kept)]


def _same_sizes(a: Buffer, b: Buffer) -> bool:
    left, right = _sizes(a), _sizes(b)
    return len(left) == len(right) and all(p.same(q) for p, q in zip(left, right, strict=True))


def _in_place(before: _Life, after: _Life, k: int) -> bool:
    """Whether in statement k every element of the old buffer is read last before that of the new one is written."""
    old, new = before.uses[k], after.uses[k]
    index = new[0].index
    if index is None or any(u.index is None for u in (*old, *new)):
        return False
    if not all(_same_index(u.index, index) for u in (*old, *new)):
        return False
    first_write = min((u.at for u in new if u.write), default=0)
    return all(not u.write and u.at <= first_write for u in old) and all(u.at >= first_write for u in new)


def _same_index(a: Any, b: Any) -> bool:
    return len(a) == len(b) and all(
        isinstance(p, Lin) and isinstance(q, Lin) and p.same(q) for p, q in zip(a, b, strict=True)
    )
