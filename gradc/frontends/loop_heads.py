"""What a loop carries, as its body finds it: variables, buffers and choices at the top of an iteration."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gradc.frontends.bindings import (
    MISSING,
    Binding,
    MaybeUnbound,
    Unstable,
    bare,
    describe,
    is_array,
    is_mutable,
    replace_content,
)
from gradc.frontends.loop_plan import BOUND, Carried, Choice, ForHeader, Group, Path, Plan, Slots, Storage
from gradc.frontends.machine import Snapshot
from gradc.frontends.merge import Template
from gradc.ir.nodes import Block, Value
from gradc.ir.tree import children, is_structure, rebuild
from gradc.ir.types import WEAK_BOOL, WEAK_INT, Scalar, promote_dtypes
from gradc.ops.memory import copy, make_zeros, shape_values

if TYPE_CHECKING:
    from gradc.frontends.loops import Loops


class LoopHeads:
    """The state of one interpretation of a loop, and what names and structures are at the top of an iteration."""

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

    def _make_slots(self) -> None:
        """Initial values and storage, in the block before the loop."""
        m = self.m
        for path, b in self._planned_entries():
            leaf = self.plan.leaves[path]
            name = self._name_of(path)
            inner = bare(b)
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

    def _unstable(self, path: Path, before: Binding, after: str) -> Unstable:
        return Unstable(self._name_of(path) or "the result", describe(before), after)

    def _name_of(self, path: Path) -> str:
        parts = path[1:] if path[0] == "name" else path[2:]
        if parts and str(parts[0]).startswith("$"):
            return ""
        text = "_".join(str(p) for p in parts)
        return text if text.isidentifier() else "".join(c if c.isalnum() else "_" for c in text)
