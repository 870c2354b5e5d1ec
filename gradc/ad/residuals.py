"""The residual plan: what the reverse sweep needs of the forward sweep, and how each piece gets there.

    for i in range(n):          x[i] is read again (x is not written), i is the reverse loop's own index,
        t = exp(x[i] * a)       t is taped: an exp costs more than a load and a store
        s = s + t * t
        A[i] = t                so t is read from A, if it stays there; A's old content is taped if a rule reads it

Scalars are kept (same scope), recomputed (cheap, and what they read is unchanged), read from where an iteration has
stored them, carried out of an `if` by one more result, or taped. Array content that a rule reads is kept by the memory
invariant: where a write may later hit what a rule reads, the overwritten region is taped before it and put back in
reverse (to-be-recorded analysis, by region: `ad/regions.py`). A control node whose needed values depend on nothing that
it carries, or overwrites, is run again instead (`joint`): its reverse starts with its own forward part, and nothing of
it is taped. Loops in blocks (`ad/blocks.py`) are joint nodes with a state.

Sources: Hascoët, Naumann, Pascual, "To be recorded" analysis in reverse-mode automatic differentiation (2005);
Griewank, Walther, Evaluating Derivatives (2008), ch. 12.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from operator import itemgetter

from gradc.ad.activity import Activity, carried_inits, carried_params, carried_yields
from gradc.ad.apply import read_by_rule
from gradc.ad.blocks import budget_of, is_block_loop
from gradc.ad.plan import (
    MEMORY_READS,
    RECOMPUTE_LIMIT,
    Plan,
    State,
    contains_active,
    cost_of,
    induction_of,
    wanted_operands,
)
from gradc.ad.regions import Place, Regions, reads_of
from gradc.ad.slices import Slice, slice_of, written_from_inside
from gradc.ad.structure import Structure
from gradc.ir.effects import own_reads, roots
from gradc.ir.nodes import Block, Func, Node, Value, walk_nodes
from gradc.ir.types import Array, Scalar, Stack

MANY_ESCAPES = 32
"""Scalars of an `if` that leave it one by one; where there are more of them, and few at once, it is run again."""

_place, _number = itemgetter(0), itemgetter(1)


class Planner:
    """Makes the plan of a function for an activity."""

    def __init__(self, func: Func, activity: Activity, structure: Structure, guarded: set[Node]) -> None:
        self.func = func
        self.activity = activity
        self.structure = structure
        self.guarded = guarded
        self.plan = Plan()
        self.regions = Regions(func, structure)
        self._decided: dict[Value, int] = {}
        self._not_joint: set[Node] = set()
        self._by_place: list[tuple[int, int, Value]] = []  # needed values: where, a running number

    def make(self) -> Plan:
        """The plan: what rules and control flow need, joint regions, saved writes, and a provision for every scalar."""
        while True:
            spoilt = self._attempt()
            if spoilt is None:
                return self.plan
            # Something needed later depends on what a joint node carries: plan again without running that node again.
            self._not_joint.add(spoilt)
            self.plan, self._decided, self._by_place = Plan(), {}, []

    def _attempt(self) -> Node | None:
        for node in walk_nodes(self.func.body):
            self._collect(node)
            if is_block_loop(node) and node not in self._not_joint and contains_active(node, self.activity):
                self.plan.joint.add(node)
                self.plan.state[node] = State()
        self._choose_joint(self.func.body, self.func.body)
        self._choose_saved()
        changed = True
        while changed:
            before = self._progress()
            for node in self.plan.joint:
                if not self._can_run_again(node):
                    return node
            for value, uses in list(self.plan.needed.items()):
                if self._decided.get(value) != len(uses):
                    self._decided[value] = len(uses)
                    self._provide(value)
            self._choose_saved()
            changed = before != self._progress()
        return None

    def _progress(self) -> tuple[int, ...]:
        plan = self.plan
        held = sum(len(s.carried) + len(s.buffers) + len(s.put_back) for s in plan.state.values())
        return sum(map(len, plan.needed.values())), sum(map(len, plan.content.values())), len(plan.saved), held

    # ------------------------------------------------------------------------------- what rules read

    def need(self, value: Value, use: Node, places: Sequence[Place] | None = None) -> None:
        """The reverse of `use` reads the content of `value` (of the index operands, for a view).

        places: what of the buffers of an array it reads, if not all that the array names.
        """
        node = value.node
        if node is not None and node.op.name == "const":
            return
        if isinstance(value.ty, Array):
            for place in (value,) if places is None else places:
                self.restore(place, value, use)
        uses = self.plan.needed.setdefault(value, [])
        if use in uses:
            return
        uses.append(use)
        if isinstance(value.ty, Array):
            self.need_place(value, use)

    def need_place(self, value: Value, use: Node) -> None:
        """The reverse of `use` needs to know which part of its buffer the array `value` is."""
        node = value.node
        if node is None or node.op.kind != "view":
            return
        for operand in node.operands:
            if isinstance(operand.ty, Array):
                self.need_place(operand, use)
            else:
                self.need(operand, use)

    def restore(self, place: Place, array: Value, use: Node) -> None:
        """What `place` names of the buffers of `array` must hold at the reverse of `use` what it held then."""
        for root in roots(array):
            if root in self.structure.writes_to and root not in self._buffers_of(use):
                uses = self.plan.restored.setdefault(root, [])
                if use not in uses:
                    uses.append(use)
                self.plan.content.setdefault((root, use), {})[place] = None

    def _need_operands(self, node: Node, uses: Sequence[Node]) -> None:
        """The reverse of `uses` computes `node` anew."""
        for operand in node.operands:
            for use in list(uses):
                self.need(operand, use, [p for root in roots(operand) for p in reads_of(node, root)])

    def _collect(self, node: Node) -> None:
        op = node.op
        active = self.activity.is_active
        if op.kind == "control":
            if contains_active(node, self.activity):
                self.need_control(node)
            return
        if op.kind == "write":
            if active(node.operands[0]):
                for operand in node.operands[:2]:
                    self.need_place(operand, node)
                for operand in node.operands[2:]:
                    self.need(operand, node)
            return
        if op.name == "push" and active(node.operands[0]):
            self.need_place(node.operands[1], node)
        if op.kind in ("view", "query", "check", "stack"):
            return
        if not any(active(r) for r in node.results):
            return
        wanted = wanted_operands(node, self.activity)
        if not any(wanted):
            return
        for operand, want in zip(node.operands, wanted, strict=True):
            if want and isinstance(operand.ty, Array):
                self.need_place(operand, node)
        if op.name in MEMORY_READS:
            for operand in node.operands[1:]:
                self.need(operand, node)
            return
        operands, results = read_by_rule(node, wanted, node in self.guarded)
        for k in sorted(operands):
            self.need(node.operands[k], node)
        for k in sorted(results):
            self.need(node.results[k], node)

    def need_control(self, node: Node) -> None:
        """The reverse runs through `node`: it needs its condition, or its range and trip count."""
        if node.op.name == "if":
            self.need(node.operands[0], node)
        elif node.op.name == "for":
            for operand in node.operands[:3]:
                self.need(operand, node)
        if node.op.name == "while" or node.attrs.get("exits"):
            self.need(node.results[-1], node)

    # --------------------------------------------------------------------------------------- provisions

    def region_block(self, block: Block) -> Block:
        """Where the sweep that reverses `block` starts: the innermost joint block around it, or the body."""
        while True:
            owner = self.structure.owner_of[block]
            if owner is None or owner in self.plan.joint:
                return block
            block = self.structure.block_of[owner]

    def _provide(self, value: Value) -> None:
        # Later uses can only turn a recomputation into a tape, never the other way.
        if self.plan.provision.get(value, "recompute") != "recompute" or isinstance(value.ty, Stack):
            return
        home = self.structure.def_block.get(value)
        if home is None:  # made by the sweep itself
            return
        region = self.region_block(home)
        if home is region:
            self.plan.provision[value] = "keep"
            return
        if isinstance(value.ty, Array) and value.node is not None and value.node.op.kind == "view":
            self.plan.provision[value] = "recompute"
            for operand in value.node.operands:
                for use in list(self.plan.needed[value]):
                    self.need(operand, use, [])  # what of its base is read is known
            return
        if self._is_loop_index(value):
            self.plan.provision[value] = "recompute"
            return
        induction = induction_of(value, self.structure)
        if induction is not None:
            self.plan.provision[value] = "recompute"
            for part in induction:
                for use in list(self.plan.needed[value]):
                    self.need(part, use)
            return
        price = self.recompute_price(value, self.plan.needed[value])
        if price is not None and price <= RECOMPUTE_LIMIT:
            self.plan.provision[value] = "recompute"
            assert value.node is not None
            self._need_operands(value.node, self.plan.needed[value])
            return
        loops = self._loops_in_region(home, region)
        escapes = isinstance(value.ty, Scalar) and not loops
        write = self._where_stored(value) if not escapes else None
        if write is not None:
            self.plan.provision[value] = "stored"
            self.plan.stored[value] = write
            self.need_place(write.operands[0], write)
            for operand in write.operands[2:]:
                self.need(operand, write)
            self.restore(self._written(write), write.operands[0], write)
            return
        self.plan.provision[value] = "escape" if escapes else "tape"

    @staticmethod
    def _written(write: Node) -> Place:
        return write.operands[0] if write.op.name == "store" else write

    def _where_stored(self, value: Value) -> Node | None:
        """A write that puts all of `value` where it stays to the end of the block, at no cost to the reverse sweep.

        What overwrites it in later iterations is undone when the reverse of the block begins, which must be so anyway.
        """
        home = self.structure.def_block[value]
        if value in self.structure.writes_to:
            return None
        for write in home.nodes:
            if write.op.name not in ("store", "store_at") or write.operands[1] is not value:
                continue
            target = write.operands[0]
            (root, *others) = roots(target)
            if others or target.dtype != value.dtype or root not in self.structure.def_block:
                continue
            root_home = self.structure.def_block[root]
            if root_home is not self.region_block(root_home) or not all(map(self._follows, self._place_numbers(write))):
                continue
            if write.op.name == "store" and (
                target.rank != value.rank
                or any((p == 1) != (q == 1) for p, q in zip(target.shape, value.shape, strict=True))
            ):
                continue
            if all(self._spares(other, write, root, home) for other in self.structure.writes_to[root]):
                return write
        return None

    def _place_numbers(self, write: Node) -> list[Value]:
        """The numbers that say which part of its buffer a write writes."""
        found, array = list(write.operands[2:]), write.operands[0]
        while array.node is not None and array.node.op.kind == "view":
            found += [v for v in array.node.operands if not isinstance(v.ty, Array)]
            array = array.node.operands[0]
        return found

    def _follows(self, number: Value) -> bool:
        """Whether a number can be had at the start of the reverse of any block: from indices, sizes and constants."""
        node = number.node
        home = self.structure.def_block[number]
        if node is None or home is self.region_block(home):
            return home is self.region_block(home) or self._is_loop_index(number)
        if node.op.kind == "query":
            return not any(v in self.structure.writes_to for v in node.operands) and all(
                root in self.structure.def_block and self.structure.def_block[root] is self.func.body
                for v in node.operands
                for root in roots(v)
            )
        return node.op.kind == "elementwise" and cost_of(node) <= 3 and all(map(self._follows, node.operands))

    def _spares(self, other: Node, write: Node, root: Value, home: Block) -> bool:
        """Whether `other` spares what `write` has written, or is undone before the reverse of the block begins."""
        structure, place = self.structure, self._written(write)
        if other is not write and structure.order[other] > structure.order[write]:
            if structure.encloses(home, structure.block_of[other]) and self.regions.may_hit(other, write, place, root):
                return False
        if other in self.plan.saved or not self.regions.may_hit(other, write, place, root):
            return True
        return any(root in self._buffers_of(n) for n in structure.owners_of(write))

    def _is_loop_index(self, value: Value) -> bool:
        home = self.structure.def_block[value]
        owner = self.structure.owner_of[home]
        return value.node is None and owner is not None and owner.op.name == "for" and home.params[0] is value

    def _loops_in_region(self, home: Block, region: Block) -> list[Node]:
        return [n for n in self.structure.loops(home) if self.structure.encloses(region, self.structure.block_of[n])]

    def recompute_price(self, value: Value, uses: Sequence[Node], inner: bool = False) -> int | None:
        """Price of computing `value` anew at the reverse of each of `uses`; None where that is not possible.

        `inner`: it is an operand of what is computed anew, so if it is needed for itself it is at hand.
        """
        home = self.structure.def_block.get(value)
        if home is None or home is self.region_block(home) or self._is_loop_index(value):
            return 0
        if self.plan.provision.get(value) in ("tape", "escape", "keep") or inner and self._provided_anyway(value):
            return 1
        node = value.node
        if node is None and induction_of(value, self.structure) is not None:
            return 1
        if node is None or value in self.structure.writes_to:
            return None
        if node.op.name == "const":
            return 0
        kind = node.op.kind
        if kind not in ("elementwise", "read", "query", "view"):
            if node.op.name not in ("copy", "broadcast_to"):
                return None
        total = cost_of(node)
        for operand in node.operands:
            price = self.recompute_price(operand, uses, inner=True)
            if price is None or total + price > 4 * RECOMPUTE_LIMIT:
                return None
            total += price
        for array in own_reads(node):
            for root in roots(array):
                if not self._readable(root, node, uses):
                    return None
        # Integers (indices, sizes) are worth any recomputation that is possible at all.
        return min(total, 1) if isinstance(value.ty, Scalar) and value.ty.dtype in ("int64", "bool") else total

    def _provided_anyway(self, value: Value) -> bool:
        """Whether some rule reads the content of `value` itself."""
        if isinstance(value.ty, Array) and value.node is not None and value.node.op.kind == "view":
            return False
        return value in self.plan.needed

    def _readable(self, root: Value, read: Node, uses: Sequence[Node]) -> bool:
        """Whether `root` holds at the reverse of each use what `read` found in it."""
        if not isinstance(root.ty, Array):
            return True
        home = self.structure.def_block.get(root)
        if home is not None and home is not self.region_block(home) and root not in self.structure.writes_to:
            # A local array of a loop that is never written: there if it is provided itself.
            return self._provided_anyway(root) or self.recompute_price(root, uses) is not None
        places = reads_of(read, root)
        writes = [
            w for w in self.structure.writes_to.get(root, ())
            if any(self.regions.may_hit(w, read, place, root) for place in places)
        ]  # fmt: skip
        if not writes:
            return True
        if any(self.structure.written_between(root, read, use) for use in uses):
            return False
        if root in self.plan.restored:
            return True
        depth = len(self.structure.loops(self.structure.block_of[read]))
        return all(self._write_depth(w) <= depth for w in writes)

    def _write_depth(self, write: Node) -> int:
        return len(self.structure.loops(self.structure.block_of[write])) + write.operands[0].rank * (
            write.op.name in ("store", "accumulate")
        )

    # --------------------------------------------------------------------------- the memory invariant

    def _choose_saved(self) -> None:
        for root, uses in list(self.plan.restored.items()):
            for write in self.structure.writes_to[root]:
                if write in self.plan.saved:
                    continue
                if any(self._must_undo(write, use, root) for use in uses):
                    self.plan.saved.add(write)
                    self.need_place(write.operands[0], write)
                    for operand in write.operands[2:]:
                        self.need(operand, write)
                    targets = roots(write.operands[0])
                    if len(targets) > 1:  # put back through a choice of references: every buffer has to be there
                        for target in targets:
                            self.need(target, write)
                    for owner in self.structure.owners_of(write):
                        self.need_control(owner)

    def _must_undo(self, write: Node, use: Node, root: Value) -> bool:
        """Whether the reverse of `write` has to put back what it overwrote, so that `use` finds it.

        Not where a loop in blocks restores the buffer before the reverse of `use`, or after that of `write`.
        """
        structure, plan = self.structure, self.plan
        if use in plan.joint and structure.node_inside(write, use):
            return False  # what is run again reads nothing that the node itself may overwrite later
        holders = [n for n in structure.owners_of(use) if root in self._buffers_of(n)]
        holder = holders[-1] if holders else None
        if holder is not None and not structure.node_inside(write, holder):
            return False
        places = plan.content[root, use]
        if not any(self.regions.may_hit(write, use, place, root, holder) for place in places):
            return False
        for owner in structure.owners_of(write):
            state = plan.state.get(owner)
            if state is None or structure.node_inside(use, owner):
                continue
            if root in state.buffers or owner in plan.live and write in plan.live[owner].nodes:
                state.buffers.setdefault(root, Value(root.ty))
                state.put_back.add(root)
                return False
        return True

    def _buffers_of(self, node: Node) -> dict[Value, Value]:
        state = self.plan.state.get(node)
        return state.buffers if state is not None else {}

    # ------------------------------------------------------------------------------------ joint regions

    def _choose_joint(self, block: Block, region: Block) -> None:
        for node in block.nodes:
            if node.op.kind != "control":
                continue
            if node not in self._not_joint and self._would_tape(node) and self._can_run_again(node):
                self.plan.joint.add(node)
            for inner in node.blocks:
                self._choose_joint(inner, region)

    def _needed_inside(self, node: Node) -> list[tuple[Value, list[Node]]]:
        needed, structure = self.plan.needed, self.structure
        if len(self._by_place) != len(needed):  # values are added, and none is taken out
            known = (v for v in needed if v in structure.def_block)
            places = sorted((structure.place(v), k, v) for k, v in enumerate(known))
            self._by_place = [*places, *[(len(structure.order), -1, v) for v in needed if v not in structure.def_block]]
        start, end = structure.span(node)
        first = bisect_left(self._by_place, start, key=_place)
        last = bisect_right(self._by_place, end, key=_place)
        inside = sorted(self._by_place[first:last], key=_number)
        return [(v, needed[v]) for _, _, v in inside]

    def _would_tape(self, node: Node) -> bool:
        if node.op.name == "while" or node.attrs.get("exits"):
            return False
        for value, uses in self._needed_inside(node):
            if isinstance(value.ty, Array) and value.node is not None and value.node.op.kind == "view":
                continue
            if node.op.name == "if" and isinstance(value.ty, Scalar) and not self._loop_between(value, node):
                continue
            price = self.recompute_price(value, uses)
            if (price is None or price > RECOMPUTE_LIMIT) and self._where_stored(value) is None:
                return True
        for root in self.plan.restored:
            if root in self.structure.def_block and self.structure.is_inside(root, node):
                return True
        return node.op.name == "if" and self._escapes_on_few_paths(node)

    def _escapes_on_few_paths(self, node: Node) -> bool:
        """Whether many scalars would escape from an `if`, most of them from branches that are not taken.

        Each is a result of every `if` around it: of n branches that are found by bisection, n log(n) results.
        """
        count: dict[Block, int] = {}
        total = 0
        for value, _ in self._needed_inside(node):
            if isinstance(value.ty, Scalar) and (value.node is None or value.node.op.name != "const"):
                home = self.structure.def_block[value]
                count[home] = count.get(home, 0) + 1
                total += 1
        return total > MANY_ESCAPES and total >= 4 * max(_longest_path(block, count) for block in node.blocks)

    def _loop_between(self, value: Value, node: Node) -> bool:
        owners = self.structure.owners(self.structure.def_block[value])
        return any(n.op.name != "if" for n in owners[owners.index(node) :])

    def _can_run_again(self, node: Node) -> bool:
        """Whether the values needed inside `node` depend on nothing that it carries, or writes into outer buffers.

        Where they do not, what the slice takes from outside is needed from now on. A loop in blocks may depend on such
        things: they become its state.
        """
        structure = self.structure
        state = self.plan.state.get(node)
        written, mixed = written_from_inside(node, structure)
        if mixed and state is None:
            return False
        found = slice_of(node, self.seeds_inside(node), structure, through=state is not None)
        if any(n.op.kind == "stack" for n in found.nodes):
            return False
        carried = carried_params(node, node.blocks[-1]) if node.op.name != "if" else []
        if state is not None:
            self._extend_state(node, found, written)
        else:
            restored = [root for n in self._states_inside(node) for root in self._buffers_of(n)]
            if not found.values.isdisjoint(carried) or self._overwritten(node, found, found.outer_reads & written):
                return False
            if any(not structure.is_inside(root, node) for root in restored):
                return False
        self._need_captured(found, node)
        self.plan.live[node] = found
        if state is not None and budget_of(node) is not None:
            ahead = slice_of(node, self._state_after(node), structure, through=True)
            if any(n.op.kind == "stack" for n in ahead.nodes):
                return False
            self._extend_state(node, ahead, written)
            self._need_captured(ahead, node)
            self.plan.advance[node] = ahead
            for p, init in zip(carried, carried_inits(node), strict=True):
                if p in state.carried:
                    self.need(init, node)
        return True

    def _need_captured(self, found: Slice, node: Node) -> None:
        for value in found.captured:
            if value in self.structure.def_block:
                self.need(value, node, [p for root in roots(value) for p in self._reads_in(found, root)])

    def _extend_state(self, node: Node, found: Slice, written: set[Value]) -> None:
        """A slice of a loop in blocks is run again: what it starts from belongs to the state."""
        state = self.plan.state[node]
        for p in carried_params(node, node.blocks[-1]):
            if p in found.values and p not in state.carried:
                state.carried.append(p)
        spoilt = self._overwritten(node, found, found.outer_reads & written)
        # What is run again and undone must find what it found: its saves are made anew.
        undone = [n for n in found.nodes if n in self.plan.saved]
        spoilt |= {r for n in undone for r in roots(n.operands[0]) if not self.structure.is_inside(r, node)}
        for root in sorted(spoilt, key=self._position):
            state.buffers.setdefault(root, Value(root.ty))
            if any(root in roots(n.operands[0]) for n in undone):
                state.put_back.add(root)

    def _state_after(self, node: Node) -> list[Value]:
        """What the state of a loop in blocks is after a block: what is yielded, and the buffers."""
        state = self.plan.state[node]
        pairs = zip(carried_params(node, node.blocks[-1]), carried_yields(node), strict=True)
        return [*(out for p, out in pairs if p in state.carried), *state.buffers]

    def _reads_in(self, found: Slice, root: Value) -> list[Place]:
        return [place for inner in found.nodes for place in reads_of(inner, root)]

    def _overwritten(self, node: Node, found: Slice, candidates: set[Value]) -> set[Value]:
        """Buffers of which the blocks of `node` overwrite what their slice, or a rule, has read before."""
        structure, may_hit = self.structure, self.regions.may_hit
        spoilt: set[Value] = set()
        for root in candidates:
            reads = [(inner, place) for inner in found.nodes for place in reads_of(inner, root)]
            if node in self.plan.state:
                for use in self.plan.restored.get(root, ()):
                    if structure.node_inside(use, node):
                        reads += [(use, place) for place in self.plan.content[root, use]]
            for write in structure.writes_to[root]:
                if structure.node_inside(write, node) and any(
                    may_hit(write, use, place, root, itself=use in found.nodes) for use, place in reads
                ):
                    spoilt.add(root)
        return spoilt

    def _position(self, value: Value) -> int:
        return self.structure.order[value.node] if value.node is not None else -1 - self.func.params[::-1].index(value)

    def _states_inside(self, node: Node) -> list[Node]:
        return [n for n in self.plan.state if self.structure.node_inside(n, node)]

    def seeds_inside(self, node: Node) -> list[Value]:
        """Needed values of `node`, and what loops in blocks inside it start from; of these, needed buffers too."""
        seeds = [v for v, _ in self._needed_inside(node)]
        for value in list(seeds):  # what is read where it was stored is stored again
            write = self.plan.stored.get(value)
            if write is not None and all(self.structure.is_inside(r, node) for r in roots(write.operands[0])):
                seeds.append(write.operands[0])
        for inner in self._states_inside(node):
            seeds += [*self.plan.state[inner].carried, *self.plan.state[inner].buffers]
        if node in self.plan.state:
            inside = self.structure.node_inside
            seeds += [root for root, uses in self.plan.restored.items() if any(inside(use, node) for use in uses)]
        return seeds


def _longest_path(block: Block, count: dict[Block, int]) -> int:
    """The most values of a block and of what it runs inside that one run of it can have."""
    total = count.get(block, 0)
    for node in block.nodes:
        if node.op.name == "if":
            total += max(_longest_path(inner, count) for inner in node.blocks)
        else:
            total += sum(_longest_path(inner, count) for inner in node.blocks)
    return total
