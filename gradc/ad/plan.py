"""What the residual plan says, and what it asks of single nodes: prices, active parts, induction variables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from gradc.ad.activity import Activity, can_vary, carried_inits, carried_params, carried_yields
from gradc.ad.regions import Place
from gradc.ad.slices import Slice
from gradc.ad.structure import Structure
from gradc.ir.effects import own_write
from gradc.ir.nodes import Node, Value, walk_nodes
from gradc.ir.types import Stack, is_integer

Provision: TypeAlias = Literal["keep", "recompute", "escape", "stored", "tape"]

# Above this many units (an addition or a load is 1, a division 3, an exp about 10) taping a value is cheaper. What
# the reverse sweep has anyway counts as a load, and each value is computed anew once at most, so arithmetic
# between residuals is repeated and functions are not.
RECOMPUTE_LIMIT = 9
_COSTS = {"div": 3, "sqrt": 4, "floordiv": 3, "mod": 3, "pow": 20}
_CHEAP = {
    "add", "sub", "mul", "neg", "abs", "square", "maximum", "minimum", "where", "cast", "sign", "clip",
    "rule_input", "lt", "le", "gt", "ge", "eq", "ne", "logical_and", "logical_or", "logical_not",
}  # fmt: skip


def cost_of(node: Node) -> int:
    """Rough price of an op per element, in additions."""
    name = node.op.name
    if name == "pow" and node.operands[1].node is not None and node.operands[1].node.op.name == "const":
        exponent = node.operands[1].node.attrs["value"]
        if isinstance(exponent, int) and 0 <= exponent <= 4:
            return 2
    if name in _CHEAP or (node.op.kind in ("read", "query", "view") and node.op.cost < 100):
        return 1
    return _COSTS.get(name, max(10, node.op.cost))


@dataclass
class State:
    """What the reverse of a loop in blocks restores before it runs a block again: carried scalars, and buffers.

    buffers: with a marker that stands for the content of each at the start of a block. put_back: those that must hold
    that content after the reverse of the block, too.
    """

    carried: list[Value] = field(default_factory=list)
    buffers: dict[Value, Value] = field(default_factory=dict)
    put_back: set[Value] = field(default_factory=set)


@dataclass
class Plan:
    """The residual plan of one function.

    needed: scalars and arrays whose content the reverse sweep reads, with the nodes whose reverse reads them.
    restored: buffers whose content the reverse sweep must find as the forward sweep had it, with the nodes whose
    reverse reads them; content: the parts of them that each of these nodes reads.
    saved: writes before which the region is taped.
    joint: control nodes whose reverse runs their forward part again; state: loops in blocks among them. live: what of
    each joint node is run again; advance: what takes a loop with a budget from block to block. stored: the write that
    puts a value where the reverse sweep finds it.
    """

    needed: dict[Value, list[Node]] = field(default_factory=dict)
    restored: dict[Value, list[Node]] = field(default_factory=dict)
    saved: set[Node] = field(default_factory=set)
    joint: set[Node] = field(default_factory=set)
    content: dict[tuple[Value, Node], dict[Place, None]] = field(default_factory=dict)
    state: dict[Node, State] = field(default_factory=dict)
    live: dict[Node, Slice] = field(default_factory=dict)
    advance: dict[Node, Slice] = field(default_factory=dict)
    provision: dict[Value, Provision] = field(default_factory=dict)
    stored: dict[Value, Node] = field(default_factory=dict)


def induction_of(value: Value, structure: Structure) -> tuple[Value, ...] | None:
    """Start and step of an integer that a `for` carries and changes by the same amount in every iteration.

    With them come the operands that number the iterations. None for any other value.
    """
    home = structure.def_block.get(value)
    owner = structure.owner_of[home] if home is not None else None
    if value.node is not None or owner is None or owner.op.name != "for" or not is_integer(value.ty):
        return None
    params = carried_params(owner, owner.blocks[0])
    if value not in params:
        return None
    k = params.index(value)
    step = carried_yields(owner)[k].node
    if step is None or step.op.name != "add" or value not in step.operands:
        return None
    amount = step.operands[1] if step.operands[0] is value else step.operands[0]
    if amount is value or (not _is_constant(amount) and structure.is_inside(amount, owner)):
        return None
    return carried_inits(owner)[k], amount, *owner.operands[:3], owner.blocks[0].params[0]


def _is_constant(value: Value) -> bool:
    return value.node is not None and value.node.op.name == "const"


MEMORY_READS = frozenset({"load", "gather", "mask_select"})


def wanted_operands(node: Node, activity: Activity) -> list[bool]:
    """Which operands of an active node get a contribution."""
    return [can_vary(v) and not isinstance(v.ty, Stack) and activity.is_varied(v) for v in node.operands]


def contains_active(node: Node, activity: Activity) -> bool:
    """Whether the reverse sweep has anything to do in the blocks of a control node."""
    if any(activity.is_active(r) for r in node.results) or any(
        activity.is_active(v) for v in (carried_inits(node) if node.op.name != "if" else [])
    ):
        return True
    for block in node.blocks:
        for inner in walk_nodes(block):
            target = own_write(inner)
            if target is not None and activity.is_active(target):
                return True
            if inner.op.name == "push" and activity.is_active(inner.operands[0]):
                return True
            if any(activity.is_active(r) for r in inner.results):
                return True
    return False
