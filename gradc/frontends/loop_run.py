"""One interpretation of a loop's body under a plan; what the body leaves extends the plan until it holds."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gradc.errors import UnsupportedError
from gradc.frontends.bindings import (
    MISSING,
    Binding,
    MaybeUnbound,
    NeedUnroll,
    PathEnds,
    Poison,
    Unstable,
    carried_values,
    content_of,
    describe,
    is_array,
    is_mutable,
    is_number,
    replace_content,
)
from gradc.frontends.loop_plan import BOUND, Carried, Choice, ForHeader, Group, Path, Plan, Slots, Storage
from gradc.frontends.machine import Snapshot
from gradc.frontends.merge import Template, is_equal, sizes_clash
from gradc.ir.effects import roots
from gradc.ir.nodes import Block, Value
from gradc.ir.tree import children, is_structure, rebuild
from gradc.ir.types import WEAK_BOOL, WEAK_INT, Scalar, promote_dtypes
from gradc.ops.memory import copy, make_zeros, shape_values

if TYPE_CHECKING:
    from gradc.frontends.loops import Loops


class LoopRun:
    """One interpretation of a loop under a plan."""

    def __init__(
        self, m: Loops, s: ast.For | ast.While, key: Any, token: object, header: ForHeader | None, plan: Plan,
        before: Snapshot,
    ) -> None:
        self.m = m
        self.key = key
        self.s = s
        self.token = token
        self.header = header
        self.plan = plan
        self.before = before
        self.head, self.after = m._live(s)
        self.bound = m.frame.code.bound_in(s)
        names = self.bound & (self.head | self.after)
        # The target is bound at the top of every iteration.
        self.names = sorted(names)
        self.entry: dict[str, Binding] = {n: m.frame.env.get(n, MISSING) for n in self.names}
        self.containers = self._reach()
        self.slots = Slots()
        self.heads: dict[Path, Binding] = {}
        self.statics: dict[Path, Binding] = {}  # names first bound in the loop to something that is not carried
        self.written: frozenset[Value] = frozenset()
        self.found: dict[Value, Template] = {}  # views that the body leaves
        self.kept: list[Value] = []
        self.initial: dict[Path, Value] = {}
        self.pairs: list[tuple[Path, Path]] = []
        self.outer: dict[Path, tuple[frozenset[Value], Any]] = {}
        self.body = Block()
        plan.changed = False
        for n in self.names:
            b = self.entry[n]
            guess = m.scalar_type(b)
            if guess is not None and n in self.head and (("name", n) not in plan.leaves) and not n.startswith("$"):
                plan.leaves[("name", n)] = Carried(guess)

    def _reach(self) -> list[tuple[Path, Any]]:
        """Mutable structures that exist before the loop, with the path that leads to each first."""
        found: list[tuple[Path, Any]] = []
        seen: set[int] = set()

        def walk(path: Path, b: Binding) -> None:
            if isinstance(b, MaybeUnbound):
                b = b.inner
            if not is_structure(b) or id(b) in seen:
                return
            if is_mutable(b):
                seen.add(id(b))
                found.append((("heap", *path), b))
            for key, item in zip(*children(b), strict=True):
                walk((*path, key), item)

        for k, frame in enumerate(self.m.frames):
            for name, b in list(frame.env.items()):
                walk((k, name), b)
        for k, container in enumerate(self.m.containers()):
            walk(("other", k), container)
        return found

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
                holds = m.truth(m.eval(self.s.test))
                if holds is False:
                    return False
                cond.yields = [m.value(holds)]
        m.restore(self.before)
        self._apply_links()
        return True

    # ----------------------------------------------------------------------------------------- heads

    def _make_slots(self) -> None:
        """Initial values and storage, in the block before the loop."""
        m = self.m
        for path, b in self._planned_entries():
            leaf = self.plan.leaves[path]
            name = self._name_of(path)
            inner = b.inner if isinstance(b, MaybeUnbound) else b
            self._widen(leaf, inner)
            if path[-1] == BOUND:
                self.slots.where[path] = self.slots.add(m.builder.const(False), WEAK_BOOL, "")
            elif isinstance(leaf, Carried):
                number = m.scalar_type(inner) is not None or (is_array(inner) and inner.rank == 0)
                if inner is not MISSING and not number:
                    raise self._unstable(path, b, f"a number ({leaf.ty.dtype})")
                self.slots.where[path] = self.slots.add(m.cast_to(inner, leaf.ty), leaf.ty, name)
            elif isinstance(leaf, Storage):
                leaf.initial = is_array(inner) and inner.dtype == leaf.dtype and self._remedy(path) in m.decisions
                self.slots.storage[path] = self._make_storage(path, leaf, inner)
                if leaf.initial:
                    self.slots.moved[path] = self.slots.add(m.builder.const(False), WEAK_BOOL, "")
                    self.initial[path] = inner
                if name and not self.slots.storage[path].name:
                    self.slots.storage[path].name = name
            else:
                self._make_choice(path, leaf, inner, name)
            if leaf.flagged:
                bound = b.flag() if isinstance(b, MaybeUnbound) else m.builder.const(b is not MISSING)
                self.slots.flags[path] = self.slots.add(bound, WEAK_BOOL, "")

    def _widen(self, leaf: Carried | Storage | Choice, inner: Binding) -> None:
        """A plan from an earlier interpretation holds what is bound now, too."""
        ty = self.m.scalar_type(inner)
        if isinstance(leaf, Carried) and ty is not None:
            leaf.ty = promote_dtypes((leaf.ty, ty))
        elif isinstance(leaf, Storage) and is_array(inner):
            leaf.dtype = promote_dtypes((Scalar(leaf.dtype), Scalar(inner.dtype))).dtype

    def _make_choice(self, path: Path, leaf: Choice, inner: Binding, name: str) -> None:
        k = leaf.group.join(inner) if inner is not MISSING else 0
        candidates = leaf.group.candidates
        two = len(candidates) == 2
        if len(candidates) > 1:
            init = self.m.builder.const(bool(k) if two else k)
            ty = WEAK_BOOL if two else WEAK_INT
            self.slots.where[path] = self.slots.add(init, ty, f"which_{name}" if name else "")
        for n, candidate in enumerate(candidates):
            if isinstance(candidate, Template):
                slots = []
                for operand in candidate.operands:
                    assert isinstance(operand.ty, Scalar)
                    zero = self.m.cast_to(0, operand.ty)
                    slots.append(self.slots.add(zero, operand.ty, f"at_{name}" if name else ""))
                self.slots.positions[path, n] = slots

    def _make_storage(self, path: Path, leaf: Storage, inner: Binding) -> Value:
        m = self.m
        if leaf.initial:
            return make_zeros(shape_values(inner), leaf.dtype, filled=False)
        if is_array(inner):
            same = inner.dtype == leaf.dtype
            made: Value = copy(inner) if same else m.emit("cast", inner, dtype=leaf.dtype, weak=False)
            return made
        if inner is not MISSING:
            raise self._unstable(path, inner, "an array")
        assert leaf.shape is not None
        storage = m.make_storage(leaf.shape, leaf.dtype)
        if storage is None:
            m.refuse(
                f"`{self._name_of(path)}` is first made in this loop and its size is not known before",
                "a buffer for it must exist before the loop.",
                f"make it before the loop: {self._name_of(path) or 'x'} = np.zeros(shape).",
            )
        return storage

    def _planned_entries(self) -> Iterator[tuple[Path, Binding]]:
        """Planned paths with what they are bound to before the loop."""
        entries: dict[Path, Binding] = {}

        def walk(path: Path, b: Binding) -> None:
            if path in self.plan.leaves:
                entries[path] = b
                return
            if is_structure(b) and self.plan.touches(path):
                for key, item in zip(*children(b), strict=True):
                    walk((*path, key), item)
            elif b is MISSING:
                for p in self.plan.leaves:
                    if p[: len(path)] == path:
                        entries[p] = MISSING

        for n in self.names:
            walk(("name", n), self.entry[n])
        for path, container in self.containers:
            content = self.before.content(container)
            for key, item in content.items() if isinstance(content, dict) else enumerate(content):
                walk((*path, key), item)
        for path in [p for p in self.plan.leaves if p not in entries]:
            del self.plan.leaves[path]  # from an earlier interpretation with other names
        return iter(list(entries.items()))

    def _set_heads(self, params: Sequence[Value]) -> None:
        """Bind names to what they are at the top of an iteration."""
        m = self.m
        self.heads = {}
        for path, leaf in self.plan.leaves.items():
            if isinstance(leaf, Storage):
                head: Binding = self._stored(path, params)
            elif isinstance(leaf, Carried):
                head = params[self.slots.where[path]]
            else:
                head = self._chosen(path, leaf.group, params)
            if path in self.slots.flags:
                flag = params[self.slots.flags[path]]
                head = MaybeUnbound(head, lambda flag=flag: flag)  # type: ignore[misc]
            self.heads[path] = head
        for n in self.names:
            head = self._head_of_name(n)
            if head is MISSING or (n not in self.head and self.entry[n] is MISSING):
                m.frame.env.pop(n, None)
            else:
                m.frame.env[n] = head
        for path, container in self.containers:
            if self.plan.touches(path):
                replace_content(container, self._head_content(path, container))

    def _remedy(self, path: Path) -> Any:
        """The decision that an array starts as the one from before the loop, not as a copy of it."""
        return ("initial", self.key, path)

    def _stored(self, path: Path, values: Sequence[Value]) -> Value:
        """The array of a path: its storage, or what it was before the loop where nothing is stored yet."""
        storage = self.slots.storage[path]
        if path not in self.slots.moved:
            return storage
        made: Value = self.m.emit("select_ref", values[self.slots.moved[path]], storage, self.initial[path])
        return made

    def _chosen(self, path: Path, group: Group, values: Sequence[Value]) -> Value:
        """The reference that carried values stand for."""
        m = self.m
        made = [
            m.make_view(c, [values[k] for k in self.slots.positions[path, n]]) if isinstance(c, Template) else c
            for n, c in enumerate(group.candidates)
        ]
        if len(made) == 1:
            return made[0]
        selector = values[self.slots.where[path]]
        if len(made) == 2:
            chosen: Value = m.emit("select_ref", selector, made[1], made[0])
            return chosen
        found = made[-1]
        for k in range(len(made) - 2, -1, -1):
            found = m.emit("select_ref", m.emit("eq", selector, k), made[k], found)
        return found

    def _head_of_name(self, n: str) -> Binding:
        return self._head(("name", n), self.entry[n], {})

    def _head_content(self, path: Path, container: Any) -> Any:
        content = self.before.content(container)
        memo: dict[int, Any] = {}
        if isinstance(content, dict):
            return {k: self._head((*path, k), b, memo) for k, b in content.items()}
        return [self._head((*path, k), b, memo) for k, b in enumerate(content)]

    def _head(self, path: Path, b: Binding, memo: dict[int, Any], wrap: dict[Path, Binding] | None = None) -> Binding:
        """`b` with planned leaves replaced."""
        leaves = self.heads if wrap is None else wrap
        if path in leaves:
            return leaves[path]
        if b is MISSING:
            return self._assembled(path, leaves)
        if not is_structure(b) or not self.plan.touches(path):
            return b
        if is_mutable(b) and path not in self.plan.fresh:
            return b
        keys, items = children(b)
        return rebuild(type(b), keys, [self._head((*path, k), x, memo, wrap) for k, x in zip(keys, items, strict=True)])

    def _assembled(self, path: Path, leaves: dict[Path, Binding]) -> Binding:
        """A structure that does not exist before the loop, with a flag that says whether the loop has made it."""
        shape = self.plan.shapes.get(path)
        if shape is None:
            return self.statics.get(path, MISSING)
        cls, keys = shape
        items = [leaves[*path, k] if (*path, k) in leaves else self._assembled((*path, k), leaves) for k in keys]
        if any(item is MISSING for item in items):
            return MISSING
        made = rebuild(cls, keys, items)
        flag = leaves.get((*path, BOUND))
        return made if flag is None else MaybeUnbound(made, lambda: flag)

    # --------------------------------------------------------------------------------------- compare

    def _compare(self, env: dict[str, Binding], heap: dict[int, Any]) -> None:
        """Find out what one iteration changes, and extend the plan by it."""
        self.statics = {}
        for n in self.names:
            self._diff(("name", n), self.entry[n], self._head_of_name_after(n), env.get(n, MISSING))
        for path, container in self.containers:
            first, head, last = self.before.content(container), self._head_content(path, container), heap[id(container)]
            if isinstance(first, list):
                first, head, last = (dict(enumerate(x)) for x in (first, head, last))
            if list(first) != list(last):
                if self._unrollable():
                    raise NeedUnroll(self.token)
                self.m.refuse(
                    f"a {type(container).__name__} changes its length in a loop",
                    "how many items it has is known while compiling, and the number of iterations is not.",
                    "use an array of the final size and store into it.",
                )
            for key in first:
                self._diff((*path, key), first[key], head[key], last[key])

    def _head_of_name_after(self, n: str) -> Binding:
        if n not in self.head and self.entry[n] is MISSING:
            return MISSING
        return self._head_of_name(n)

    def _unrollable(self) -> bool:
        if self.header is None:
            return False
        return all(
            not isinstance(b, Value) or self.m.dependencies(b) is not None
            for b in (self.header.start, self.header.stop, self.header.step)
        )

    def _diff(self, path: Path, b0: Binding, head: Binding, b1: Binding) -> None:
        leaf = self.plan.leaves.get(path)
        if b1 is head and not (leaf is None and b0 is MISSING):
            return
        if b1 is MISSING:
            return  # bound on no path; what was there stays
        if isinstance(b1, Poison):
            if path[0] == "name" and path[1] not in self.head:
                self.statics[path] = b1
                return
            self.m.read("", b1)
        if isinstance(b1, MaybeUnbound) and is_structure(b1.inner) and b0 is MISSING:
            b1 = b1.inner
        if is_structure(b1):
            self._diff_structure(path, b0, head, b1)
            return
        if leaf is None:
            self._discover(path, b0, head, b1)
        else:
            self._reconcile(path, leaf, b0, b1)

    def _diff_structure(self, path: Path, b0: Binding, head: Binding, b1: Binding) -> None:
        keys, items = children(b1)
        if b0 is MISSING:
            if self.plan.shapes.get(path) != (type(b1), keys):
                self.plan.shapes[path] = (type(b1), keys)
                self.plan.changed = True
            if len(path) == 2 and (*path, BOUND) not in self.plan.leaves and not str(path[1]).startswith("$"):
                self.plan.set((*path, BOUND), Carried(WEAK_BOOL))
            for key, item in zip(keys, items, strict=True):
                self._diff((*path, key), MISSING, MISSING, item)
            return
        if type(b0) is not type(b1) or children(b0)[0] != keys:
            if self._unrollable():
                raise NeedUnroll(self.token)
            raise self._unstable(path, b0, describe(b1))
        if is_mutable(b1) and path not in self.plan.fresh:
            self.plan.fresh.add(path)
            self.plan.changed = True
        heads = children(head)[1] if is_structure(head) else children(b0)[1]
        for key, x, h, y in zip(keys, children(b0)[1], heads, items, strict=True):
            self._diff((*path, key), x, h, y)

    def _discover(self, path: Path, b0: Binding, head: Binding, b1: Binding) -> None:
        """A path that the plan does not have turns out to change."""
        m = self.m
        flagged = b0 is MISSING or any(isinstance(b, MaybeUnbound) for b in (b0, b1))
        if b0 is MISSING and (len(path) > 2 or str(path[1]).startswith("$")):
            flagged = False  # a part of a structure that has a flag of its own
        first, last = (b.inner if isinstance(b, MaybeUnbound) else b for b in (b0, b1))
        old, new = m.scalar_type(first), m.scalar_type(last)
        if new is not None and (old is not None or first is MISSING):
            if is_number(first) and is_number(last) and type(first) is type(last) and first == last and not flagged:
                return
            self.plan.set(path, Carried(promote_dtypes((old, new)) if old is not None else new, flagged))
        elif is_array(last) and (is_array(first) or first is MISSING):
            self._discover_array(path, first, last, flagged)
        elif is_array(last) and last.rank == 0 and old is not None:
            self.plan.set(path, Carried(promote_dtypes((old, Scalar(last.dtype))), flagged))
        elif first is MISSING and not isinstance(last, Value):
            if path[0] == "name":
                self.statics[path] = last if self._survives(last) else self._lost(path, last)
        elif (
            isinstance(last, Value) or isinstance(first, Value) or not is_equal(first, last) or not self._survives(last)
        ):
            raise self._unstable(path, b0, describe(b1))

    def _survives(self, b: Binding) -> bool:
        """Whether a binding can be used after the loop."""
        return all(self.m.builder.in_scope(v) for v in carried_values(b))

    def _lost(self, path: Path, b: Binding) -> Poison:
        error = UnsupportedError(
            f"`{self._name_of(path)}` is {describe(b)} that the loop made, and is used after it", self.m.builder.loc,
            "what it is made of exists inside an iteration only.", "make it again after the loop.",
        )
        return Poison(error)

    def _discover_array(self, path: Path, first: Binding, last: Value, flagged: bool) -> None:
        if first is MISSING:
            if self.m.builder.in_scope(last) and not self._is_storage(last):
                self.statics[path] = last  # the same array in every iteration
                return
            found = self._outer_references(last)
            if found is not None:
                self.plan.set(path, Choice(self._group_of(found), flagged))
                return
            self.plan.set(path, Storage(last.dtype, last.shape, flagged))
            return
        self._require_compatible(path, first, last)
        if first.dtype == last.dtype:
            found = self._outer_references(last)
            if found is not None:
                self.plan.set(path, Choice(self._group_of([first, *found]), flagged))
                return
        dtype = promote_dtypes((Scalar(first.dtype), Scalar(last.dtype))).dtype
        self.plan.set(path, Storage(dtype, None, flagged))

    def _require_compatible(self, path: Path, first: Value, last: Value) -> None:
        m = self.m
        if first.rank != last.rank:
            raise self._unstable(path, first, describe(last))
        for p, q in zip(first.shape, last.shape, strict=True):
            p, q = m.builder.canonical_size(p), m.builder.canonical_size(q)
            if sizes_clash(p, q):
                raise self._unstable(path, first, f"an array of another shape ({q} instead of {p})")

    def _is_storage(self, value: Value) -> bool:
        buffers = roots(value)
        return any(storage in buffers for storage in self.slots.storage.values())

    def _group_of(self, members: Sequence[Value | Template]) -> Group:
        """The group that has these candidates; groups that share one become one."""
        choices = [leaf for leaf in self.plan.leaves.values() if isinstance(leaf, Choice)]
        groups = list({id(leaf.group): leaf.group for leaf in choices}.values())
        sharing = [g for g in groups if any(g.find(v) is not None for v in members)]
        group = sharing[0] if sharing else Group()
        for other in sharing[1:]:
            for v in other.candidates:
                group.join(v)
            for leaf in self.plan.leaves.values():
                if isinstance(leaf, Choice) and leaf.group is other:
                    leaf.group = group
            self.plan.changed = True
        known = len(group.candidates)
        for v in members:
            group.join(v)
        if sharing and len(group.candidates) != known:
            self.plan.changed = True
        return group

    def _outer_references(self, value: Value) -> list[Value | Template] | None:
        """Buffers from before the loop, and views of them, that a reference may stand for; None for a new array."""
        for path, head in self.heads.items():
            if _bare(head) is value:
                leaf = self.plan.leaves[path]
                return list(leaf.group.candidates) if isinstance(leaf, Choice) else None
        if self._is_storage(value):
            return None
        if self.m.builder.in_scope(value):
            return [value]
        if value.node is not None and value.node.op.name == "select_ref":
            one = self._outer_references(value.node.operands[1])
            other = self._outer_references(value.node.operands[2])
            return None if one is None or other is None else [*one, *other]
        template = self.m.template(value)
        if template is None:
            return None
        self.found[value] = template
        self.kept.append(value)
        return [template]

    def _reconcile(self, path: Path, leaf: Carried | Storage | Choice, b0: Binding, b1: Binding) -> None:
        """A planned path: does what the body leaves fit the plan?"""
        m = self.m
        last = b1.inner if isinstance(b1, MaybeUnbound) else b1
        if isinstance(b1, MaybeUnbound) and not leaf.flagged:
            leaf.flagged = True
            self.plan.changed = True
        if isinstance(leaf, Carried):
            ty = m.scalar_type(last)
            if ty is None and is_array(last) and last.rank == 0:
                ty = Scalar(last.dtype)
            if ty is None:
                raise self._unstable(path, b0, describe(b1))
            merged = promote_dtypes((leaf.ty, ty))
            if merged != leaf.ty:
                self.plan.set(path, Carried(merged, leaf.flagged))
            return
        if not is_array(last):
            raise self._unstable(path, b0, describe(b1))
        if isinstance(leaf, Choice):
            references = self._outer_references(last)
            like = _bare(self.heads[path])
            self._require_compatible(path, like, last)
            if references is None or last.dtype != like.dtype:
                dtype = promote_dtypes((Scalar(like.dtype), Scalar(last.dtype))).dtype
                self.plan.set(path, Storage(dtype, last.shape if b0 is MISSING else None, leaf.flagged))
                return
            leaf.group = self._group_of([leaf.group.candidates[0], *references])
            return
        storage = self.slots.storage[path]
        self._require_compatible(path, storage, last)
        merged_dtype = promote_dtypes((Scalar(leaf.dtype), Scalar(last.dtype))).dtype
        if merged_dtype != leaf.dtype:
            self.plan.set(path, Storage(merged_dtype, leaf.shape, leaf.flagged))

    def _unstable(self, path: Path, before: Binding, after: str) -> Unstable:
        return Unstable(self._name_of(path) or "the result", describe(before), after)

    def _name_of(self, path: Path) -> str:
        parts = path[1:] if path[0] == "name" else path[2:]
        if parts and str(parts[0]).startswith("$"):
            return ""
        text = "_".join(str(p) for p in parts)
        return text if text.isidentifier() else "".join(c if c.isalnum() else "_" for c in text)

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
        self._keep_links()

    def _control(self, cond: Block, exits: bool) -> list[Value]:
        m = self.m
        operands = list(self.slots.inits)
        types = list(self.slots.types)
        if self.header is not None:
            bounds = [m.value(b) for b in (self.header.start, self.header.stop, self.header.step)]
            types += [WEAK_INT] if exits else []
            return list(m.builder.control("for", [*bounds, *operands], [self.body], types, exits=exits))
        types.append(WEAK_INT)
        return list(m.builder.control("while", operands, [cond, self.body], types, exits=exits))

    def _collect(self, env: dict[str, Binding], heap: dict[int, Any], last: dict[Path, Binding]) -> None:
        def walk(path: Path, b: Binding) -> None:
            if (*path, BOUND) in self.plan.leaves:
                last[*path, BOUND] = MaybeUnbound(True, b.flag) if isinstance(b, MaybeUnbound) else b is not MISSING
                b = b.inner if isinstance(b, MaybeUnbound) else b
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
            inner = b.inner if isinstance(b, MaybeUnbound) else b
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
        if value is _bare(self.heads[path]):
            return self.body.params[self.slots.moved[path] + (1 if self.header is not None else 0)]
        if value.node is not None and value.node.op.name == "select_ref":
            condition, one, other = value.node.operands
            left, right = self._moved(path, one), self._moved(path, other)
            made: Value = left if left is right else self.m.emit("where", condition, left, right)
            return made
        return self.m.builder.const(True)

    def _new_buffers(self, path: Path, value: Value) -> frozenset[Value]:
        """Buffers that an array which is stored may be in, apart from where it was at the top of the iteration."""
        if value is _bare(self.heads[path]):
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
            if _bare(head) is value and isinstance(leaf, Choice):
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
            inner = b.inner if isinstance(b, MaybeUnbound) else b
            if inner is MISSING or inner is _bare(self.heads[path]):
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
            b0 = _bare(entries.get(path, MISSING))
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
            inner = _bare(last[path])
            if not is_array(inner) or inner is _bare(self.heads[path]):
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

    def _keep_links(self) -> None:
        """Links that hold after the loop."""
        m = self.m
        storage = self.slots.storage
        if not (self.header is not None and self.header.runs):
            entries = dict(self._planned_entries())
            for path, buffer in storage.items():
                entry = _bare(entries.get(path, MISSING))
                if is_array(entry) and path not in self.slots.moved:
                    m.link(frozenset((buffer,)), roots(entry), self._name_of(path), self._remedy(path))
        for path, (outer, remedy) in self.outer.items():
            m.link(frozenset((storage[path],)), outer, self._name_of(path), remedy)
        for one, other in self.pairs:
            m.link(frozenset((storage[one],)), frozenset((storage[other],)), self._name_of(one))


def _bare(b: Binding) -> Binding:
    return b.inner if isinstance(b, MaybeUnbound) else b
