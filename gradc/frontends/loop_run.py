"""One interpretation of a loop's body under a plan; what the body leaves extends the plan until it holds."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from gradc.frontends.bindings import (
    MISSING,
    Binding,
    MaybeUnbound,
    PathEnds,
    bare,
    content_of,
    is_array,
    replace_content,
)
from gradc.frontends.loop_plan import BOUND, Carried, Choice, Group, Path, Storage
from gradc.frontends.merge import Template
from gradc.ir.effects import roots
from gradc.ir.nodes import Block, Value
from gradc.ir.tree import children, is_structure
from gradc.ir.types import WEAK_INT, Scalar
from gradc.ops.memory import copy

if TYPE_CHECKING:
    pass

from gradc.frontends.loop_compare import LoopCompare


class LoopRun(LoopCompare):
    """One interpretation of a loop under a plan."""

    mark: tuple[str, int] | None = None

    # ---------------------------------------------------------------------------------------- passes

    def attempt(self) -> bool:
        """Interpret the loop; whether the plan held, in which case the loop is in place."""
        m = self.m
        self._make_slots()
        params = self.slots.params()
        cond = Block(params=self.slots.params())
        index = Value(WEAK_INT)
        self.body.params = [index, *params] if self.header is not None else params
        for p in (*self.body.params, *cond.params):
            m.loop_of[p] = self.token
        self._apply_links()
        if self.header is None and not self._condition(cond):
            m.restore(self.before, drop_nodes=True)
            return True
        with m.builder.into(self.body):
            self._set_heads(params)
            if self.header is not None:
                self._name_index(index)
                with m.at(self.s):
                    m.assign(self.header.target, self.header.item(index))
            outer_writes, m.written = m.written, set()
            ends = self._run_body()
            self.written = frozenset(m.written)
            m.written |= outer_writes
        env = dict(m.frame.env) if not ends else None
        heap = {id(c): content_of(c) for _, c in self.containers}
        if ends:
            # No iteration comes to its end: nothing is carried.
            env = {n: self._head_of_name(n) for n in self.names}
            heap = {id(c): self._head_content(p, c) for p, c in self.containers}
        assert env is not None
        self._compare(env, heap)
        last: dict[Path, Binding] = {}
        if not self.plan.changed:
            self._collect(env, heap, last)
            self._find_links(last)
        if self.plan.changed:
            return False
        self._finish(cond, env, last, ends)
        return True

    def _run_body(self) -> bool:
        m = self.m
        depth = len(m.frames)
        try:
            m.run_statements(self.s.body)
        except PathEnds:
            del m.frames[depth:]
            return True
        return False

    def _name_index(self, index: Value) -> None:
        assert self.header is not None
        if isinstance(self.header.target, ast.Name) and self.header.item(index) is index:
            index.name = self.header.target.id

    def _condition(self, cond: Block) -> bool:
        """Interpret the condition of a `while`; False where the loop never runs."""
        m = self.m
        assert isinstance(self.s, ast.While)
        with m.builder.into(cond):
            self._set_heads(cond.params)
            with m.at(self.s.test):
                holds, self.mark = m.loop_condition(self.s)
                if holds is False:
                    return False
                cond.yields = [m.value(holds)]
        m.restore(self.before)
        self._apply_links()
        return True

    # ---------------------------------------------------------------------------------------- finish

    def _finish(self, cond: Block, env: dict[str, Binding], last: dict[Path, Binding], ends: bool) -> None:
        """Yield, store, and put the loop in place; then bind names to what they are after it."""
        m = self.m
        flag = getattr(self.s, "exit_flag", None)
        left = env.get(flag, False) if flag and not ends else False
        exits = left is not False and left is not MISSING
        with m.builder.into(self.body):
            yields = self._yields(last)
            self._store_all(last)
            self.body.yields = [m.value(left), *yields] if exits else yields
        m.restore(self.before)
        results = self._control(cond, exits)
        for value, name in zip(results, self.slots.names, strict=False):
            value.name = name
        self._bind_after(results)
        self._keep_links(last)

    def _control(self, cond: Block, exits: bool) -> list[Value]:
        m = self.m
        operands = list(self.slots.inits)
        types = list(self.slots.types)
        mark = self.header.mark if self.header is not None else self.mark
        if mark is not None and mark[0] == "budget" and (self.header is None or exits):
            m.refuse(
                "gradc.checkpoint with a budget is for loops that run to their end",
                "how long blocks are follows from the number of iterations, which a `while`, or a loop that may be "
                "left early, does not tell before.",
                "gradc.checkpoint(..., every=k), or without a number.",
            )
        attrs: dict[str, Any] = {"exits": exits, **({"checkpoint": mark} if mark is not None else {})}
        if self.header is not None:
            bounds = [m.value(b) for b in (self.header.start, self.header.stop, self.header.step)]
            types += [WEAK_INT] if exits else []
            return list(m.builder.control("for", [*bounds, *operands], [self.body], types, **attrs))
        types.append(WEAK_INT)
        return list(m.builder.control("while", operands, [cond, self.body], types, **attrs))

    def _collect(self, env: dict[str, Binding], heap: dict[int, Any], last: dict[Path, Binding]) -> None:
        def walk(path: Path, b: Binding) -> None:
            if (*path, BOUND) in self.plan.leaves:
                last[*path, BOUND] = MaybeUnbound(True, b.flag) if isinstance(b, MaybeUnbound) else b is not MISSING
                b = bare(b)
            if path in self.plan.leaves:
                last[path] = b
            elif is_structure(b) and self.plan.touches(path):
                for key, item in zip(*children(b), strict=True):
                    walk((*path, key), item)

        for n in self.names:
            walk(("name", n), env.get(n, MISSING))
        for path, container in self.containers:
            content = heap[id(container)]
            for key, item in content.items() if isinstance(content, dict) else enumerate(content):
                walk((*path, key), item)
        for path in self.plan.leaves:
            # Bound on no path of the body: it stays what it was.
            if last.get(path, MISSING) is MISSING:
                last[path] = self.heads.get(path, MISSING)

    def _yields(self, last: dict[Path, Binding]) -> list[Value]:
        m = self.m
        yields: list[Value | None] = [None] * len(self.slots.inits)
        for path, leaf in self.plan.leaves.items():
            b = last[path]
            inner = bare(b)
            if path[-1] == BOUND:
                bound = b.flag() if isinstance(b, MaybeUnbound) else m.value(b)
                yields[self.slots.where[path]] = bound
            elif isinstance(leaf, Carried):
                yields[self.slots.where[path]] = m.cast_to(inner, leaf.ty)
            elif isinstance(leaf, Choice):
                selector, positions = self._selection(leaf.group, inner)
                if path in self.slots.where:
                    yields[self.slots.where[path]] = selector
                for n, candidate in enumerate(leaf.group.candidates):
                    if isinstance(candidate, Template):
                        given = positions.get(n, [self.m.builder.const(0)] * len(candidate.operands))
                        for k, v, old in zip(self.slots.positions[path, n], given, candidate.operands, strict=True):
                            assert isinstance(old.ty, Scalar)
                            yields[k] = m.cast_to(v, old.ty)
            if path in self.slots.moved:
                yields[self.slots.moved[path]] = self._moved(path, inner)
            if path in self.slots.flags:
                bound = b.flag() if isinstance(b, MaybeUnbound) else m.builder.const(b is not MISSING)
                yields[self.slots.flags[path]] = bound
        return [v for v in yields if v is not None]

    def _moved(self, path: Path, value: Value) -> Value:
        """Whether storage has taken over after this iteration."""
        if value is bare(self.heads[path]):
            return self.body.params[self.slots.moved[path] + (1 if self.header is not None else 0)]
        if value.node is not None and value.node.op.name == "select_ref":
            condition, one, other = value.node.operands
            left, right = self._moved(path, one), self._moved(path, other)
            made: Value = left if left is right else self.m.emit("where", condition, left, right)
            return made
        return self.m.builder.const(True)

    def _may_stay(self, path: Path, value: Binding) -> bool:
        """Whether an iteration may leave the array that was there at its top."""
        if not isinstance(value, Value) or value is bare(self.heads[path]):
            return True
        if value.node is not None and value.node.op.name == "select_ref":
            return any(self._may_stay(path, side) for side in value.node.operands[1:])
        return False

    def _new_buffers(self, path: Path, value: Value) -> frozenset[Value]:
        """Buffers that an array which is stored may be in, apart from where it was at the top of the iteration."""
        if value is bare(self.heads[path]):
            return frozenset()
        if value.node is not None and value.node.op.name == "select_ref":
            _, one, other = value.node.operands
            return self._new_buffers(path, one) | self._new_buffers(path, other)
        return roots(value)

    def _selection(self, group: Group, value: Binding) -> tuple[Value, dict[int, list[Value]]]:
        """Which candidate a reference is, and the positions of those that are views."""
        m = self.m
        shift = 1 if self.header is not None else 0
        params = self.body.params
        two = len(group.candidates) == 2
        if value is MISSING:
            return m.builder.const(False if two else 0), {}
        for path, head in self.heads.items():
            leaf = self.plan.leaves[path]
            if bare(head) is value and isinstance(leaf, Choice):
                held = {
                    n: [params[k + shift] for k in slots] for (p, n), slots in self.slots.positions.items() if p == path
                }
                known = self.slots.where.get(path)
                return (params[known + shift] if known is not None else m.builder.const(0)), held
        k = group.find(value)
        if k is not None:
            return m.builder.const(bool(k) if two else k), {}
        assert value.node is not None
        if value.node.op.name == "select_ref":
            condition, a, b = value.node.operands
            one, left = self._selection(group, a)
            other, right = self._selection(group, b)
            merged = dict(left)
            for n, positions in right.items():
                if n in merged:
                    pairs = zip(merged[n], positions, strict=True)
                    merged[n] = [m.emit("where", condition, x, y) for x, y in pairs]
                else:
                    merged[n] = positions
            return m.emit("where", condition, one, other), merged
        template = self.found[value]
        k = group.find(template)
        assert k is not None
        return m.builder.const(bool(k) if two else k), {k: template.operands}

    def _store_all(self, last: dict[Path, Binding]) -> None:
        """All arrays of the iteration go to their storage at once: what another store would change is copied."""
        m = self.m
        stores: list[tuple[Path, Value, Value]] = []
        for path, storage in self.slots.storage.items():
            b = last[path]
            inner = bare(b)
            if inner is MISSING or inner is bare(self.heads[path]):
                continue
            stores.append((path, storage, inner))
        targets = [storage for _, storage, _ in stores]
        ready: list[tuple[Value, Value]] = []
        for path, storage, value in stores:
            self._require_same_shape(path, storage, value)
            if any(t in roots(value) and t is not storage for t in targets):
                value = copy(value)
            ready.append((storage, value))
        for storage, value in ready:
            m.store_quietly(storage, value)

    def _require_same_shape(self, path: Path, storage: Value, value: Value) -> None:
        m = self.m
        for axis in range(storage.rank):
            p, q = m.builder.canonical_size(storage.shape[axis]), m.builder.canonical_size(value.shape[axis])
            if p == q:
                continue
            name = self._name_of(path) or "the result"
            same = m.emit("eq", m.emit("dim", storage, axis=axis), m.emit("dim", value, axis=axis))
            m.fail(
                "ShapeError",
                f"the shape of `{name}` changes from one iteration to the next (axis {axis}: {p}, then {q})", same,
            )
            m.builder.learn_equal(p, q)

    def _bind_after(self, results: list[Value]) -> None:
        m = self.m
        final: dict[Path, Binding] = {}
        for path, leaf in self.plan.leaves.items():
            if isinstance(leaf, Storage):
                b: Binding = self._stored(path, results)
            elif isinstance(leaf, Carried):
                b = results[self.slots.where[path]]
            else:
                b = self._chosen(path, leaf.group, results)
            if path in self.slots.flags:
                flag = results[self.slots.flags[path]]
                b = MaybeUnbound(b, lambda flag=flag: flag)  # type: ignore[misc]
            final[path] = b
        for n in self.bound:
            if n not in self.names:
                m.frame.env.pop(n, None)
        for n in self.names:
            path = ("name", n)
            if n not in self.after and not n.startswith("$"):
                m.frame.env.pop(n, None)
                continue
            if path in self.statics and path not in self.plan.leaves:
                m.frame.env[n] = self._static_after(self.statics[path])
                continue
            b = self._head(path, self.entry[n], {}, final)
            if b is MISSING:
                m.frame.env.pop(n, None)
            else:
                m.frame.env[n] = b
        for path, container in self.containers:
            if not self.plan.touches(path):
                continue
            content = self.before.content(container)
            memo: dict[int, Any] = {}
            if isinstance(content, dict):
                items: Any = {k: self._head((*path, k), x, memo, final) for k, x in content.items()}
            else:
                items = [self._head((*path, k), x, memo, final) for k, x in enumerate(content)]
            replace_content(container, items)

    def _static_after(self, b: Binding) -> Binding:
        """A name that the loop binds to one known thing: unbound where it did not run."""
        m = self.m
        if self.header is not None and not self.header.runs:
            count = m.length(self.header.range)
            return MaybeUnbound(b, lambda: m.emit("gt", m.value(count), 0))
        return b

    # ----------------------------------------------------------------------------------------- links

    def _apply_links(self) -> None:
        """What a loop's storage is a copy of: buffers that may still be in use elsewhere."""
        m = self.m
        entries = dict(self._planned_entries())
        for path, storage in self.slots.storage.items():
            b0 = bare(entries.get(path, MISSING))
            if is_array(b0) and path not in self.slots.moved:
                m.link(frozenset((storage,)), roots(b0), self._name_of(path), self._remedy(path))
            outer, remedy = self.plan.outer_links.get(path, (frozenset(), None))
            m.link(frozenset((storage,)), outer, self._name_of(path), remedy)
        for one, other in self.plan.links:
            if one in self.slots.storage and other in self.slots.storage:
                m.link(
                    frozenset((self.slots.storage[one],)), frozenset((self.slots.storage[other],)), self._name_of(one)
                )

    def _find_links(self, last: dict[Path, Binding]) -> None:
        """Storage that takes over a buffer which something else names too at the end of an iteration.

        Where the body writes into either, it is interpreted again with the link known, so that the write is
        judged by what is in use at that point.
        """
        m = self.m
        stored: list[tuple[Path, Value, frozenset[Value]]] = []
        storages = frozenset(self.slots.storage.values())
        for path, storage in self.slots.storage.items():
            inner = bare(last[path])
            if not is_array(inner) or inner is bare(self.heads[path]):
                continue
            buffers = m.aliases(self._new_buffers(path, inner))
            outer = frozenset(v for v in buffers if m.builder.in_scope(v)) - storages
            if outer:
                found = self.outer[path] = (outer, m.remedy_for(buffers))
                if self.written & (outer | {storage}) and self.plan.outer_links.get(path) != found:
                    self.plan.outer_links[path] = found
                    self.plan.changed = True
            for other_path, other_storage, other_buffers in stored:
                if not buffers & other_buffers:
                    continue
                pair = (other_path, path)
                self.pairs.append(pair)
                if self.written & {storage, other_storage} and pair not in self.plan.links:
                    self.plan.links.add(pair)
                    self.plan.changed = True
            stored.append((path, storage, buffers))

    def _keep_links(self, last: dict[Path, Binding]) -> None:
        """Links that hold after the loop."""
        m = self.m
        storage = self.slots.storage
        runs = self.header is not None and self.header.runs
        entries = dict(self._planned_entries())
        for path, buffer in storage.items():
            if runs and not self._may_stay(path, bare(last[path])):
                continue
            entry = bare(entries.get(path, MISSING))
            if is_array(entry) and path not in self.slots.moved:
                m.link(frozenset((buffer,)), roots(entry), self._name_of(path), self._remedy(path))
        for path, (outer, remedy) in self.outer.items():
            m.link(frozenset((storage[path],)), outer, self._name_of(path), remedy)
        for one, other in self.pairs:
            m.link(frozenset((storage[one],)), frozenset((storage[other],)), self._name_of(one))
