"""What an iteration left, compared with what it found: where they differ, the plan of the loop is extended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gradc.errors import UnsupportedError
from gradc.frontends.bindings import (
    MISSING,
    Binding,
    MaybeUnbound,
    NeedUnroll,
    Poison,
    bare,
    carried_values,
    describe,
    is_array,
    is_mutable,
    is_number,
)
from gradc.frontends.loop_plan import BOUND, Carried, Choice, Group, Path, Storage
from gradc.frontends.merge import Template, is_equal, sizes_clash
from gradc.ir.effects import roots
from gradc.ir.nodes import Value
from gradc.ir.tree import children, is_structure
from gradc.ir.types import WEAK_BOOL, Scalar, promote_dtypes

if TYPE_CHECKING:
    pass

from gradc.frontends.loop_heads import LoopHeads


class LoopCompare(LoopHeads):
    """Finds what a loop has to carry."""

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
        first, last = (bare(b) for b in (b0, b1))
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
            if bare(head) is value:
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
            like = bare(self.heads[path])
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
