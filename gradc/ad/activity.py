"""Which values are active: varied (they depend on a differentiated input) and useful (a seeded output depends on them).

    y = sin(x)        varied, useful
    n = floor(x)      not varied: floor has derivative 0
    print_me = y * 2  varied, not useful

Buffers are judged as a whole and without regard to order: a buffer is varied if anything varied is ever
written into it. That errs on the side of more activity, never of less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from gradc.errors import DTypeError
from gradc.ir.effects import own_write, roots, view_operands
from gradc.ir.nodes import Block, Func, Node, Value, walk_nodes
from gradc.ir.types import Array, Stack, is_inexact


def can_vary(value: Value) -> bool:
    """Whether a value of this type can have a derivative."""
    ty = value.ty
    return is_inexact(ty.item if isinstance(ty, Stack) else ty)


def check_inputs(func: Func, wrt: Sequence[int]) -> None:
    """Raise DTypeError where a parameter that is to be differentiated does not hold floating-point numbers."""
    for k in wrt:
        param = func.params[k]
        if not is_inexact(param.ty):
            raise DTypeError(
                f"cannot differentiate with respect to `{param.name}`, which holds {param.dtype}",
                func.loc,
                "integers and booleans have no derivative.",
                f"{param.name}.astype(float)",
            )


class Activity:
    """The active values of a function, for differentiating `outputs` with respect to `inputs`."""

    def __init__(self, func: Func, inputs: Sequence[Value], outputs: Sequence[Value]) -> None:
        self._nodes = list(walk_nodes(func.body))
        self._varied: set[Value] = set()
        self._useful: set[Value] = set()
        for value in inputs:
            self._varied |= places(value)
        for value in outputs:
            self._useful |= places(value)
        self._fixpoint(self._spread_varied, self._nodes)
        self._fixpoint(self._spread_useful, self._nodes[::-1])
        while self._tie_selected():
            self._fixpoint(self._spread_varied, self._nodes)
            self._fixpoint(self._spread_useful, self._nodes[::-1])

    def is_varied(self, value: Value) -> bool:
        """Whether the value, or any buffer it may name, depends on a differentiated input."""
        return not self._varied.isdisjoint(places(value))

    def is_active(self, value: Value) -> bool:
        """Whether the value (or any buffer that it may name) is varied and useful."""
        return any(p in self._varied and p in self._useful for p in places(value))

    # ------------------------------------------------------------------------------------------------

    def _fixpoint(self, spread: Callable[[Node], None], nodes: Sequence[Node]) -> None:
        before = -1
        while before != len(self._varied) + len(self._useful):
            before = len(self._varied) + len(self._useful)
            for node in nodes:
                spread(node)

    def _mark_varied(self, values: Iterable[Value]) -> None:
        for value in values:
            if can_vary(value):
                self._varied |= places(value)

    def _spread_varied(self, node: Node) -> None:
        op = node.op
        if op.kind == "control":
            for sources, targets in control_flow_of(node):
                if any(self.is_varied(s) for s in sources):
                    self._mark_varied(targets)
        elif op.kind == "write":
            if any(self.is_varied(v) for v in node.operands[1:] if can_vary(v)):
                self._mark_varied([node.operands[0]])
        elif op.name == "push":
            if self.is_varied(node.operands[1]):
                self._mark_varied([node.operands[0]])
        elif op.kind != "view" and not op.zero_derivative and any(self.is_varied(v) for v in node.operands):
            self._mark_varied(node.results)

    def _mark_useful(self, values: Iterable[Value]) -> None:
        for value in values:
            if can_vary(value):
                self._useful |= places(value)

    def _is_useful(self, value: Value) -> bool:
        return not self._useful.isdisjoint(places(value))

    def _spread_useful(self, node: Node) -> None:
        op = node.op
        if op.kind == "control":
            for sources, targets in control_flow_of(node):
                if any(self._is_useful(t) for t in targets):
                    self._mark_useful(sources)
        elif op.kind == "write":
            target = own_write(node)
            if target is not None and self._is_useful(target):
                self._mark_useful(node.operands[1:])
        elif op.name == "push":
            if self._is_useful(node.operands[0]):
                self._mark_useful([node.operands[1]])
        elif op.kind != "view" and not op.zero_derivative and any(self._is_useful(r) for r in node.results):
            self._mark_useful(node.operands)

    def _tie_selected(self) -> bool:
        """Where a reference may name several buffers and one is active, all are; whether any was not before."""
        changed = False
        for node in self._nodes:
            if node.op.kind == "view" and len(view_operands(node.op)) > 1 and self.is_active(node.result):
                for root in roots(node.result):
                    if root not in self._varied or root not in self._useful:
                        self._varied.add(root)
                        self._useful.add(root)
                        changed = True
        return changed


def places(value: Value) -> frozenset[Value]:
    """Where the value lives: its buffers for an array, itself otherwise."""
    return roots(value) if isinstance(value.ty, Array) else frozenset((value,))


def carried_params(node: Node, block: Block) -> list[Value]:
    """The parameters of a loop's block that are carried (the index of a `for` is not)."""
    return block.params[1:] if node.op.name == "for" else block.params


def carried_inits(node: Node) -> list[Value]:
    """The operands of a loop that its carried values start from."""
    return node.operands[3:] if node.op.name == "for" else node.operands


def carried_yields(node: Node) -> list[Value]:
    """What the body of a loop yields for its carried values (not the exit flag)."""
    body = node.blocks[-1]
    return body.yields[1:] if node.attrs.get("exits") else body.yields


def carried_results(node: Node) -> list[Value]:
    """The results of a loop that are carried values (not the number of trips)."""
    return node.results[: len(carried_inits(node))]


def control_flow_of(node: Node) -> list[tuple[list[Value], list[Value]]]:
    """(sources, targets) pairs: a target takes the value of one of its sources."""
    if node.op.name == "if":
        then, otherwise = node.blocks
        return [([a, b], [r]) for a, b, r in zip(then.yields, otherwise.yields, node.results, strict=True)]
    pairs: list[tuple[list[Value], list[Value]]] = []
    params = [carried_params(node, block) for block in node.blocks]
    for k, (init, result, out) in enumerate(
        zip(carried_inits(node), carried_results(node), carried_yields(node), strict=True)
    ):
        targets = [result, *(p[k] for p in params)]
        pairs.append(([init, out], targets))
    return pairs


def course_of(node: Node) -> list[Value]:
    """What decides how a control node runs."""
    if node.op.name == "if":
        return node.operands[:1]
    decides = node.operands[:3] if node.op.name == "for" else node.blocks[0].yields[:1]
    return [*decides, *(node.blocks[-1].yields[:1] if node.attrs.get("exits") else ())]
