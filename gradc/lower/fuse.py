"""Fusion: units of a block become a tree of loops.

At every depth units are grouped by the length of their outermost remaining loop; a unit joins a group where all that
it depends on in there happens in the same iteration. Inside a group the same is done with the loops that remain. So
nests share as many outer loops as dependences allow, row-wise chains share the row loop, and stencil adjoints share
outer loops while each `+=` keeps an inner loop of its own.

    t[i, j] = f(x[i, j])                for i:                       for i:
    s[i] = sum_j t[i, j]          =>      for j: t, s += t     =>      s = 0; for j: s += t[j] = f(x[i, j])
    y[i, j] = t[i, j] / s[i]              for j: y                     for j: y[i, j] = t[j] / s
"""

from __future__ import annotations

import math
from collections.abc import Callable, Set
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gradc.ir.loops import (
    Apply,
    Assign,
    Buffer,
    Expr,
    For,
    Int,
    Lin,
    Lit,
    Load,
    Put,
    Stmt,
    Text,
    Var,
    axis,
    rebuild,
    var,
    walk,
)
from gradc.lower.units import ADD, READ, Touch, Unit, keep, names_in

if TYPE_CHECKING:
    from gradc.ir.types import Size

FREE, COMMUTE, SAME, APART = 0, 1, 2, 3
"""How two units relate at a depth: independent; in either order, but not in one group; dependent within one iteration;
one group after the other."""

CHEAP = 10
"""Price of all that a loop computes anew rather than reads what another one stored; a load or an addition is 1."""

COPIES = 3
"""In how many loops the same may be computed."""


@dataclass(eq=False, slots=True)
class Group:
    """Units that share a loop (`size` is its length, `extent` that at run time), or straight code (`size` None).

    copied: the price of what it computes anew.
    """

    size: Size | None
    extent: Lin
    members: list[Unit] = field(default_factory=list)
    position: int = 0
    copied: float = 0.0


def _group_of(unit: Unit) -> Group:
    """An empty group that the unit may join."""
    return Group(unit.axes[0].size, unit.axes[0].extent) if unit.axes else Group(None, Lin())


# --------------------------------------------------------------------------------------------- dependence


def relate(earlier: Unit, later: Unit) -> int:
    """How `later` depends on `earlier`, program order, at their outermost remaining loops."""
    result = FREE
    if earlier.makes & later.needs or earlier.needs & later.makes or earlier.makes & later.makes:
        result = SAME if not earlier.axes and not later.axes else APART
    for a in earlier.touches():
        roots = a.buffer.roots
        for b in later.touches():
            if a.mode == READ and b.mode == READ:
                continue
            if a.buffer is not b.buffer and roots.isdisjoint(b.buffer.roots):
                continue
            found = _relate_touches(earlier, a, later, b)
            if found == APART:
                return APART
            result = max(result, found)
    return result


def _relate_touches(earlier: Unit, a: Touch, later: Unit, b: Touch) -> int:
    if not earlier.axes and not later.axes:
        return SAME
    if a.buffer is not b.buffer or a.index is None or b.index is None:
        return APART
    if a.mode == ADD and b.mode == ADD:
        # Additions commute; but the innermost loop vectorises only if it adds to one place of the buffer.
        last = len(earlier.axes) == 1 or len(later.axes) == 1
        if last and not _same_index(earlier, a, later, b):
            return COMMUTE if earlier.axes and later.axes else APART
        return SAME
    if not earlier.axes or not later.axes:
        return APART
    if _disjoint(a, b):
        return FREE
    first, second = f"@{earlier.axes[0].k}", f"@{later.axes[0].k}"
    for p, q in zip(a.index, b.index, strict=True):
        if not isinstance(p, Lin) or not isinstance(q, Lin):
            continue
        step = p.coefficient(first)
        if step and step == q.coefficient(second):
            left, right = p.without(first), q.without(second)
            if left.same(right) and not any(n[0] == "@" for n, _ in left.terms):
                return SAME
    return APART


def _same_index(earlier: Unit, a: Touch, later: Unit, b: Touch) -> bool:
    """Whether two touches name the same element where the units' remaining loops run in step."""
    if len(earlier.axes) != len(later.axes):
        return False
    replace = {f"@{y.k}": axis(x.k) for x, y in zip(earlier.axes, later.axes, strict=True)}
    assert a.index is not None and b.index is not None
    return all(
        isinstance(p, Lin) and isinstance(q, Lin) and p.same(q.substitute(replace))
        for p, q in zip(a.index, b.index, strict=True)
    )


def _disjoint(a: Touch, b: Touch) -> bool:
    """Whether some axis is at two fixed positions that differ."""
    assert a.index is not None and b.index is not None
    for p, q in zip(a.index, b.index, strict=True):
        if isinstance(p, Lin) and isinstance(q, Lin):
            difference = p - q
            if difference.is_const and difference.const and not any(n[0] == "@" for n, _ in p.terms):
                return True
    return False


def _reads_in_step(maker: Unit, reader: Unit, made: Buffer) -> bool:
    """Whether the reader names elements of `made` in the iterations that make them."""
    mine = next(t for t in maker.touches() if t.buffer is made)
    return all(
        t.buffer is made and t.index is not None and _same_index(maker, mine, reader, t)
        for t in reader.touches()
        if made in t.buffer.roots
    )


def _only_fills(unit: Unit) -> Expr | None:
    """The expression with which a unit fills its `made`, where it does nothing else."""
    if len(unit.body) != 1 or unit.folding is not None or unit.emit is not None or unit.effects or unit.makes:
        return None
    (put,) = unit.body
    return put.expr if isinstance(put, Put) and not put.add and put.buffer is unit.made else None


def _price(expr: Expr) -> float:
    """What an expression costs, in additions; infinity where it is more than arithmetic of elements."""
    price = 0.0
    for part in walk(expr):
        if isinstance(part, Apply):
            exponent = part.args[1] if part.op.name == "pow" else None
            small = isinstance(exponent, Int) and exponent.lin.is_const and 0 <= exponent.lin.const <= 4
            price += 2 if small else part.op.cost if part.op.cost < CHEAP else math.inf
        elif isinstance(part, Load):
            price += 1 if all(isinstance(p, Lin) for p in part.index) else math.inf
        elif isinstance(part, Text):
            return math.inf
    return price


# --------------------------------------------------------------------------------------------- grouping


class _Schedule:
    """Groups of one depth, in order, and where each unit went.

    lasting: buffers whose whole content somebody reads later. local: the new buffers of the block.
    """

    def __init__(self, new_name: Callable[[str], str], lasting: Set[Buffer], local: set[Buffer]) -> None:
        self.new_name = new_name
        self.lasting = lasting
        self.local = local
        self.groups: list[Group] = []
        self.group_of: dict[Unit, Group] = {}
        self.by_root: dict[Buffer, list[Unit]] = {}
        self.by_name: dict[str, list[Unit]] = {}
        self.checks: list[Unit] = []
        self.lasting_writes: dict[Unit, None] = {}

    def place(self, unit: Unit) -> None:
        lowest, same, barred = self._lowest(unit)
        loop = bool(unit.axes)
        chosen: Group | None = None
        for group in self.groups[lowest:]:
            if group in barred:
                continue
            if not loop:
                if group.size is None:
                    chosen = group
                    break
                continue
            if group.size == unit.axes[0].size and (group in same or self._shares(group, unit)):
                chosen = group
                break
        if chosen is None:
            chosen = _group_of(unit)
            at = len(self.groups) if loop or (unit.emit is not None and not unit.early) else lowest
            self.groups.insert(at, chosen)
            for k in range(at, len(self.groups)):
                self.groups[k].position = k
        chosen.members.append(unit)
        self.group_of[unit] = chosen
        self._enter(unit)

    def _enter(self, unit: Unit) -> None:
        for touch in unit.touches():
            for root in touch.buffer.roots:
                units = self.by_root.setdefault(root, [])
                if not units or units[-1] is not unit:
                    units.append(unit)
                if touch.mode != READ and root.param:
                    self.lasting_writes[unit] = None
        for name in unit.makes | unit.needs:
            self.by_name.setdefault(name, []).append(unit)
        if unit.raises:
            self.checks.append(unit)

    def _lowest(self, unit: Unit) -> tuple[int, list[Group], list[Group]]:
        """The first group that the unit may join or precede, groups with which it shares an iteration, and groups that
        it may precede or follow but not join.
        """
        lowest = 0
        same: list[Group] = []
        barred: list[Group] = []
        related: dict[Unit, None] = {}
        for touch in unit.touches():
            for root in touch.buffer.roots:
                for other in self.by_root.get(root, ()):
                    related[other] = None
        for name in unit.needs:
            for other in self.by_name.get(name, ()):
                if name in other.makes:
                    related[other] = None
        for name in unit.makes:
            for other in self.by_name.get(name, ()):
                related[other] = None
        for other in related:
            found = relate(other, unit)
            if found == FREE:
                continue
            group = self.group_of[other]
            if found == COMMUTE:
                barred.append(group)
                continue
            joinable = found == SAME and bool(unit.axes) == bool(other.axes)
            lowest = max(lowest, group.position + (0 if joinable else 1))
            if joinable:
                same.append(group)
        ordered: list[Unit] = []
        if unit.raises:
            ordered = [*self.checks, *self.lasting_writes]
        elif unit.guarded:
            ordered = self.checks
        for other in ordered:
            group = self.group_of[other]
            lowest = max(lowest, group.position + (0 if not unit.axes and not other.axes else 1))
        return lowest, same, barred

    def _shares(self, group: Group, unit: Unit) -> bool:
        mine = {root for t in unit.touches() for root in t.buffer.roots}
        return any(not mine.isdisjoint(t.buffer.roots) for member in group.members for t in member.touches())

    def start(self, unit: Unit, update: Unit) -> None:
        """Place what starts accumulators right before the loop that adds to them."""
        group = self.group_of[update]
        at = group.position
        size = unit.axes[0].size if unit.axes else None
        before = self.groups[at - 1] if at else None
        if (
            before is not None
            and before.size == size
            and (size is None or all(m.starts is not None for m in before.members))
        ):
            before.members.append(unit)
            return
        self.groups.insert(at, _group_of(unit))
        self.groups[at].members.append(unit)
        for k in range(at, len(self.groups)):
            self.groups[k].position = k

    def sink(self) -> None:
        """Move a unit whose value later groups alone read into them, where it is computed in passing.

        A group may run over less than the unit would: what nobody reads need not be computed. Into several groups goes
        what is cheap, as a copy each.
        """
        for group in reversed(self.groups):
            for unit in sorted(group.members, key=lambda u: u.order, reverse=True):
                if unit.axes and unit.made is not None and not unit.keep:
                    self._sink_unit(group, unit, unit.made)
        self.groups = [g for g in self.groups if g.members]
        for k, group in enumerate(self.groups):
            group.position = k

    def _sink_unit(self, group: Group, unit: Unit, made: Buffer) -> None:
        users = self._users(unit, made)
        if not users and made in self.local and made not in self.lasting and len(self.by_root.get(made, ())) > 1:
            self._leave(group, unit)  # copies have been put in place of its readers
            return
        if not users or any(made in t.buffer.roots and t.mode != READ for u in users for t in u.touches()):
            return
        targets = list(dict.fromkeys(self.group_of[u] for u in users))
        if len(targets) == 1:
            if targets[0] is not group and self._may_move(group, unit, targets[0], users):
                self._leave(group, unit)
                self._join(targets[0], unit)
        elif len(targets) <= COPIES and made not in self.lasting:
            by_target = {target: [u for u in users if self.group_of[u] is target] for target in targets}
            own = by_target.pop(group, None)
            expr, since = self._in_itself(unit, group)
            if expr is None or not all(_reads_in_step(unit, u, made) for u in users):
                return
            spent = {target: target.copied + _price(expr) for target in by_target}
            if max(spent.values()) > CHEAP:
                return
            (put,) = unit.body
            assert isinstance(put, Put)
            whole = replace(unit, body=[replace(put, expr=expr)], _touches=None)
            if not all(self._may_move(group, whole, target, readers, since) for target, readers in by_target.items()):
                return
            if own is None:
                self._leave(group, unit)
            for target, readers in by_target.items():
                target.copied = spent[target]
                copy = self._copy(whole, made, readers)
                self._join(target, copy)
                self._enter(copy)

    def _users(self, unit: Unit, made: Buffer) -> list[Unit]:
        return [u for u in self.by_root.get(made, ()) if u is not unit and u in self.group_of]

    def _in_itself(self, unit: Unit, group: Group) -> tuple[Expr | None, tuple[int, ...]]:
        """The expression of a unit with what else its group makes for it in passing put in; None where that fails.

        Second: the place in the program of the first of all these.
        """
        expr = _only_fills(unit)
        if expr is None:
            return None, unit.order
        failed, order = False, unit.order

        def change(part: Expr) -> Expr | None:
            nonlocal failed, order
            if not isinstance(part, Load):
                return None
            maker = next((m for m in group.members if m.made is part.buffer and m is not unit), None)
            if maker is None or part.buffer in self.lasting:
                return None
            users = self._users(maker, part.buffer)
            if any(self.group_of[u] is not group for u in users):
                return None  # it lies in memory anyway
            if any(part.buffer in t.buffer.roots and t.mode != READ for u in users for t in u.touches()):
                failed = True  # something is added to what the maker put there
                return None
            made, first = self._in_itself(maker, group)
            if made is None or not _reads_in_step(maker, unit, part.buffer) or _price(made) > CHEAP:
                failed = True
                return None
            order = min(order, first)
            rename = {f"@{y.k}": axis(x.k) for x, y in zip(unit.axes, maker.axes, strict=True)}
            return rebuild(made, keep, lambda lin: lin.substitute(rename))

        whole = rebuild(expr, change, lambda lin: lin)
        return None if failed else whole, order

    def _leave(self, group: Group, unit: Unit) -> None:
        group.members.remove(unit)
        del self.group_of[unit]

    def _join(self, group: Group, unit: Unit) -> None:
        group.members.append(unit)
        self.group_of[unit] = group

    def _may_move(
        self, group: Group, unit: Unit, target: Group, users: list[Unit], since: tuple[int, ...] | None = None
    ) -> bool:
        """Whether the unit, which is in `group`, means the same in `target`, where its `users` are.

        since: from where in the program on what it reads must not change, if that is not the unit's own place.
        """
        since = since or unit.order
        if target.size is None or target.position < group.position:
            return False
        if unit.made in self.lasting and target.size != unit.axes[0].size:
            return False
        if any(relate(unit, u) in (COMMUTE, APART) for u in users):
            return False
        read = {root for t in unit.touches() if t.buffer is not unit.made for root in t.buffer.roots}
        # Writes that come after the unit in the program must still come after it.
        for between in self.groups[group.position : target.position + 1]:
            for other in between.members:
                if other.order < since or other.order == unit.order:
                    continue
                writes = any(t.mode != READ and not read.isdisjoint(t.buffer.roots) for t in other.touches())
                if writes and (
                    between is not target or other.order < unit.order or relate(unit, other) in (COMMUTE, APART)
                ):
                    return False
        return True

    def _copy(self, unit: Unit, made: Buffer, readers: list[Unit]) -> Unit:
        """The unit once more, with a buffer of its own that `readers` read instead of `made`."""
        (put,) = unit.body
        assert isinstance(put, Put)
        buffer = Buffer(self.new_name(made.name), made.dtype, made.extents, made.layout, fresh=True)
        self.local.add(buffer)

        def change(expr: Expr) -> Expr | None:
            return Load(buffer, expr.index) if isinstance(expr, Load) and expr.buffer is made else None

        for reader in readers:
            reader.substitute(change)
        return replace(unit, body=[replace(put, buffer=buffer)], made=buffer, _touches=None)


class Fuser:
    """Puts the units of a block into loops. `placed`: the units as they were placed, each with its `path` of loops.

    local: the new buffers of the block, to which it adds its own.
    """

    def __init__(self, new_name: Callable[[str], str], local: set[Buffer]) -> None:
        self.new_name = new_name
        self.local = local
        self.placed: list[Unit] = []

    def level(
        self, units: list[Unit], depth: int, path: tuple[str, ...], lasting: Set[Buffer]
    ) -> list[Stmt | Unit]:
        """The loops for these units, which share the loops of `path`.

        lasting: buffers whose whole content is read by others.
        """
        units = [part for unit in units for part in self._expanded(unit)]
        if not any(u.axes for u in units):
            return self._straight(sorted(units, key=lambda u: u.order), path)
        schedule = _Schedule(self.new_name, lasting, self.local)
        here = set(units)
        starts = [u for u in units if u.starts is not None and u.starts in here]
        for unit in units:
            if unit not in starts:
                schedule.place(unit)
        schedule.sink()
        for unit in starts:
            assert unit.starts is not None
            schedule.start(unit, unit.starts)
        out: list[Stmt | Unit] = []
        users: dict[Buffer, set[Group]] = {}
        for group in schedule.groups:
            for unit in group.members:
                for touch in unit.touches():
                    for root in touch.buffer.roots:
                        users.setdefault(root, set()).add(group)
        shared = {root for root, groups in users.items() if len(groups) > 1}.union(lasting)
        for group in schedule.groups:
            members = sorted(group.members, key=lambda u: u.order)
            if group.size is None:
                out.extend(self._straight(members, path))
                continue
            name = self.new_name("ijklpq"[depth] if depth < 6 else f"i{depth}")
            for unit in members:
                unit.bind({f"@{unit.axes[0].k}": var(name)})
                unit.axes = unit.axes[1:]
            loop = For(name, Lin(), group.extent, Lin(1))
            inner = self.level(members, depth + 1, (*path, name), shared)
            loop.body = [s for s in inner if not isinstance(s, Unit)]  # units with code of their own have no loops
            out.append(loop)
        return out

    def _straight(self, units: list[Unit], path: tuple[str, ...]) -> list[Stmt | Unit]:
        out: list[Stmt | Unit] = []
        for unit in units:
            unit.path = path
            self.placed.append(unit)
            if unit.emit is not None:
                out.append(unit)
            else:
                out.extend(unit.body)
        return out

    def _expanded(self, unit: Unit) -> list[Unit]:
        """A unit that reduces, at its first summed loop: what starts the accumulators, adds to them, and uses them."""
        f = unit.folding
        if f is None or (unit.axes and not unit.axes[0].summed):
            return [unit]
        rest = tuple(a for a in unit.axes if not a.summed)
        summed = tuple(a for a in unit.axes if a.summed)
        index = tuple(axis(a.k) for a in rest)
        extents = tuple(a.extent for a in rest)
        result_dtype = f.dtype
        states: dict[str, Load] = {}
        start: list[Assign | Put] = []
        alone = len(f.fold.state) == 1 and f.result is not None and bool(rest)
        for name, dtype, initial in f.fold.state:
            dtype = {"y": result_dtype, "x": f.operand.dtype}.get(dtype, dtype)
            if alone and dtype == result_dtype and f.result is not None:
                state = Load(f.result, f.index)
            else:
                buffer = Buffer(self.new_name(name), dtype, extents, fresh=True)
                if not rest:
                    buffer.kept, buffer.scalar = (), True
                state = Load(buffer, index)
            states[name] = state
            value = initial(dtype) if callable(initial) else initial
            start.append(Put(state.buffer, state.index, Lit(value, dtype)))
        position: Int | Text = Int(axis(summed[0].k)) if summed else Int(Lin())
        for a in summed[1:]:
            parts_of = {"p": position, "n": Int(a.extent), "k": Int(axis(a.k))}
            position = Text("({p}) * ({n}) + {k}", parts_of, "int64", "int64")
        known: dict[str, Load | Var | Int] = dict(states)
        step: list[Assign | Put] = []
        for name, text in f.fold.step:
            args = {**known, "x": f.operand, "i": position}
            used = {k: v for k, v in args.items() if f"{{{k}}}" in text}
            if name in states:
                dtype = states[name].dtype
                step.append(Put(states[name].buffer, states[name].index, Text(text, used, dtype, dtype)))
            else:
                fresh = self.new_name(name)
                step.append(Assign(fresh, Text(text, used, "bool", f.operand.dtype), "bool"))
                known[name] = Var(fresh, "bool")
        product_of: list[Lin] = [a.extent for a in summed]
        used_result: dict[str, Load | Text] = dict(states)
        if "{count}" in f.fold.result:
            text = " * ".join(f"{{e{k}}}" for k in range(len(product_of))) or "1"
            used_result["count"] = Text(text, {f"e{k}": Int(e) for k, e in enumerate(product_of)}, "int64", "int64")
        value = Text(
            f.fold.result,
            {k: v for k, v in used_result.items() if f"{{{k}}}" in f.fold.result},
            result_dtype,
            result_dtype,
        )
        finish: list[Assign | Put] = []
        makes: set[str] = set()
        if f.result is None:
            finish.append(Assign(f.name, value, result_dtype))
            makes = {f.name}
        elif not (alone and f.fold.result == f"{{{f.fold.state[0][0]}}}"):
            finish.append(Put(f.result, f.index, value))
        names = names_in([f.operand, *(a.extent for a in unit.axes)]) | unit.needs
        update = Unit((*unit.order, 1), unit.axes, step, guarded=unit.guarded, needs=set(names))
        # The accumulators' own sizes, since a check that the operand's are the same may come in between.
        sized = rest
        if alone and f.result is not None:
            own = {f"@{a.k}": a for a in rest}
            for p, extent in zip(f.index, f.result.extents, strict=True):
                if isinstance(p, Lin) and p.terms and p.terms[0][0] in own:
                    own[p.terms[0][0]] = replace(own[p.terms[0][0]], extent=extent)
            sized = tuple(own.values())
        parts = [Unit((*unit.order, 0), sized, start, needs=names_in([*extents]), starts=update), update]
        if finish:
            parts.append(Unit((*unit.order, 2), rest, finish, guarded=unit.guarded, needs=set(names), makes=makes))
        return parts
