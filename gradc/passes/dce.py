"""Dead code: what nobody reads, and nothing outside can see, goes.

    %a = mul(%x, %y)
    %t = exp(%a)            # unused
    store(%local, %a)       # nobody reads %local afterwards
    return %a
    ->
    %a = mul(%x, %y)
    return %a

One backward sweep finds which values are needed and which buffers are read later. Loops are swept again until
nothing is added: what an iteration reads, an earlier one may have written. Parameters and results are always read.
A loop that only computes unneeded values goes even if it would not end.
"""

from __future__ import annotations

from gradc.ir.effects import own_reads, own_write, roots
from gradc.ir.nodes import Block, Func, Node, Value


def dce(func: Func) -> Func:
    """`func` without dead nodes, carried scalars, branch results, stores and stacks."""
    live = _Liveness(func)
    return _Copy(func, live).func if live.finds_dead(func.body) else func


class _Liveness:
    """Which values and nodes are needed; `live` sets of buffers flow backward."""

    def __init__(self, func: Func) -> None:
        self.values: set[Value] = set()
        self.nodes: set[Node] = set()
        self._stacks: set[Value] = set()
        self._loops: dict[Node, frozenset[Value]] = {}
        self._changed = True
        at_end = frozenset(func.params).union(*(roots(v) for v in func.results))
        while self._changed:
            self._changed = False
            for value in func.results:
                self._need(value)
            self._block(func.body, at_end)

    def _need(self, value: Value) -> None:
        if value not in self.values:
            self.values.add(value)
            self._changed = True

    def _keep(self, node: Node) -> None:
        if node not in self.nodes:
            self.nodes.add(node)
            self._changed = True
        if node.op.kind != "control":
            for value in node.operands:
                self._need(value)

    def is_needed(self, value: Value) -> bool:
        return value in self.values

    def is_kept(self, node: Node) -> bool:
        return node in self.nodes

    def _block(self, block: Block, live: frozenset[Value]) -> frozenset[Value]:
        for node in reversed(block.nodes):
            live = self._node(node, live)
        return live

    def _node(self, node: Node, live: frozenset[Value]) -> frozenset[Value]:
        match node.op.name:
            case "if":
                return self._if(node, live)
            case "for":
                return self._loop(node, node.operands[3:], 1, live)
            case "while":
                return self._loop(node, node.operands, 0, live)
        target = own_write(node)
        if target is not None:
            if not roots(target) & live:
                return live
            if _overwrites(node, target):
                live = live - roots(target)
        elif node.op.kind == "stack" and node.operands:
            stack = node.operands[0]
            if any(self.is_needed(v) for v in node.results) and stack not in self._stacks:
                self._stacks.add(stack)
                self._changed = True
            if stack not in self._stacks:
                return live
        elif node.op.kind != "check" and not any(self.is_needed(v) for v in node.results):
            return live
        self._keep(node)
        live = live.difference(node.results)
        return live.union(*(roots(v) for v in own_reads(node)))

    def _if(self, node: Node, live: frozenset[Value]) -> frozenset[Value]:
        after: frozenset[Value] = frozenset()
        for block in node.blocks:
            for value, result in zip(block.yields, node.results, strict=True):
                if self.is_needed(result):
                    self._need(value)
            after |= self._block(block, live)
        if self._owner_is_kept(node):
            self._keep(node)
            self._need(node.operands[0])
            return after
        return live

    def _loop(self, node: Node, initial: list[Value], first: int, live: frozenset[Value]) -> frozenset[Value]:
        exits = int(bool(node.attrs.get("exits")))
        body = node.blocks[-1]
        live |= self._loops.get(node, frozenset())
        for k, start in enumerate(initial):
            params = [b.params[k + (first if b is body else 0)] for b in node.blocks]
            if self.is_needed(node.results[k]) or any(self.is_needed(p) for p in params):
                self._need(body.yields[k + exits])
                self._need(start)
                # The carried value is one thing: if any part of it is needed, all are.
                for part in (node.results[k], *params):
                    self._need(part)
        kept = self._owner_is_kept(node)
        if kept:
            self._keep(node)
            for value in node.operands[: 3 if first else 0]:
                self._need(value)
            for value in body.yields[:exits]:
                self._need(value)
            if not first:
                self._need(node.blocks[0].yields[0])
        at_start = live
        for block in reversed(node.blocks):
            at_start = self._block(block, at_start)
        before = live | at_start
        if before != self._loops.get(node):
            self._loops[node] = before
            self._changed = True
        return before

    def _owner_is_kept(self, node: Node) -> bool:
        if any(self.is_needed(v) for v in node.results):
            return True
        return any(self.is_kept(inner) for block in node.blocks for inner in block.nodes)

    def finds_dead(self, block: Block) -> bool:
        """Whether anything in `block` is not needed."""
        for node in block.nodes:
            if not self.is_kept(node):
                return True
            carried = node.results[: len(node.results) - _trips(node)]
            if node.op.kind == "control" and not all(self.is_needed(v) for v in carried):
                return True
            if any(self.finds_dead(inner) for inner in node.blocks):
                return True
        return False


def _trips(node: Node) -> int:
    """How many results of a node are not carried values: the number of trips of a loop."""
    return int(node.op.name == "while" or (node.op.name == "for" and bool(node.attrs.get("exits"))))


def _overwrites(node: Node, target: Value) -> bool:
    """Whether a write replaces all of the one buffer that `target` names."""
    if node.op.name != "store":
        return False
    while target.node is not None and target.node.op.name in ("transpose", "reshape"):
        target = target.node.operands[0]
    return roots(target) == {target}


class _Copy:
    """A copy of a function that leaves out what is not needed."""

    def __init__(self, func: Func, live: _Liveness) -> None:
        self.live = live
        self.mapping: dict[Value, Value] = {}
        self.func = Func(func.name, self._block(func.body, func.params, func.results), func.loc, dict(func.notes))

    def _value(self, old: Value, node: Node | None) -> Value:
        new = Value(old.ty, old.name, node, old.size)
        self.mapping[old] = new
        return new

    def _block(self, block: Block, params: list[Value], yields: list[Value]) -> Block:
        copy = Block([self._value(p, None) for p in params])
        copy.nodes = [self._node(n) for n in block.nodes if self.live.is_kept(n)]
        copy.yields = [self.mapping[v] for v in yields]
        return copy

    def _node(self, node: Node) -> Node:
        needed = self.live.is_needed
        copy = Node(node.op, [], [], dict(node.attrs), [], node.loc)
        operands, results = node.operands, node.results
        if node.op.kind == "control":
            trips = _trips(node)
            carried = [needed(v) for v in node.results[: len(node.results) - trips]]
            results = _pick(node.results, carried + [True] * trips)
            fixed = {"if": 1, "for": 3, "while": 0}[node.op.name]
            if node.op.name != "if":
                operands = _pick(operands, [True] * fixed + carried)
            exits = int(bool(node.attrs.get("exits")))
            for block in node.blocks:
                is_cond = node.op.name == "while" and block is node.blocks[0]
                first = len(block.params) - len(carried)
                params = _pick(block.params, [True] * first + carried) if node.op.name != "if" else []
                yields = block.yields if is_cond else _pick(block.yields, [True] * exits + carried)
                copy.blocks.append(self._block(block, params, yields))
        copy.operands = [self.mapping[v] for v in operands]
        copy.results = [self._value(v, copy) for v in results]
        return copy


def _pick(values: list[Value], keep: list[bool]) -> list[Value]:
    return [v for v, kept in zip(values, keep, strict=True) if kept]
