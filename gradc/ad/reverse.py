"""Reverse mode: a function in, a function out that also computes gradients.

    def f(x, a):                     def f_vjp(x, a, ct_0):
        for i in range(n):               forward sweep: the same nodes, residuals put on tapes
            x[i] = x[i] * a              reverse sweep: the same structure backwards
        return x                         return x, dx, da

Three invariants hold (tests/test_ad.py checks each):

memory  at the reverse of a node, every buffer that its rule reads holds what it held when the node ran
shadow  each active buffer has one cotangent buffer, with the same views over it
forks   each use of a value contributes; the first contribution may assign

The plan of `ad/residuals.py` says how residuals reach the reverse sweep; the rules come from the op entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from gradc.ad.activity import (
    Activity,
    check_inputs,
)
from gradc.ad.blocks import in_blocks, is_marked
from gradc.ad.control import ControlAdjoints
from gradc.ad.cotangents import Shadow
from gradc.ad.custom import has_rules, opened, without_marks
from gradc.ad.primals import Frame, Sweep
from gradc.ad.residuals import Planner
from gradc.ad.structure import Structure
from gradc.ir.effects import roots, written_params
from gradc.ir.nodes import Block, Func, Node, Value, walk_nodes
from gradc.ir.types import Array, Dim, Scalar, Size, Type, add_sizes, is_inexact
from gradc.ops import memory


def reverse(
    func: Func,
    wrt: Sequence[int],
    *,
    keep_value: bool = True,
    seeds: Literal["ones", "params"] = "ones",
    outputs: Sequence[int] | None = None,
    watched: dict[Value, Value] | None = None,
) -> Func:
    """The function that computes `func` and the gradients of its outputs with respect to parameters `wrt`.

    Parameters: those of `func`; with seeds="params" one cotangent per seeded output follows, named ct_<k>. Results:
    those of `func` if `keep_value`, then one gradient per entry of `wrt`, of the type of that parameter (an array: new,
    C-contiguous). `outputs`: positions of the seeded results (default: all floating-point ones). With seeds="ones" they
    are seeded with 1. Parameters that `func` writes into are copied first.
    `watched` gains an entry for each computed value of `func` that gets a cotangent: from a value of the derivative
    that holds the whole cotangent (or what broadcasts to it) to that value of `func`.

    Raises: DTypeError where a parameter in `wrt` is not floating point; NonDifferentiableError where an active value
    passes through an op that has no derivative.
    """
    check_inputs(func, wrt)
    if outputs is None:
        outputs = [k for k, r in enumerate(func.results) if is_inexact(r.ty)]
    if not has_rules(func):
        return _reversed(func, wrt, keep_value, seeds, outputs, watched)
    seen: dict[Value, Value] = {}
    open_func, of_new = opened(func, wrt, outputs, reverse)
    made = without_marks(_reversed(open_func, wrt, keep_value, seeds, outputs, seen))
    if watched is not None:
        watched.update((ct, of_new[v]) for ct, v in seen.items() if v in of_new)
    return made


def _reversed(
    func: Func,
    wrt: Sequence[int],
    keep_value: bool,
    seeds: str,
    outputs: Sequence[int],
    watched: dict[Value, Value] | None,
) -> Func:
    reverser = Reverser(func, list(wrt), keep_value, seeds, list(outputs))
    if any(is_marked(node) and reverser.tapes_inside(node) for node in walk_nodes(func.body)):
        func, of_new = in_blocks(func, reverser.tapes_inside)
        reverser = Reverser(func, list(wrt), keep_value, seeds, list(outputs))
        if watched is None:
            return reverser.run()
        seen: dict[Value, Value] = {}
        reverser.cts.watched = seen
        made = reverser.run()
        watched.update((ct, of_new[v]) for ct, v in seen.items() if v in of_new)
        return made
    reverser.cts.watched = watched
    return reverser.run()


def guarded_nodes(func: Func) -> set[Node]:
    """Nodes whose value is used, by way of scalars and new arrays, as a side of a `where`."""
    guarded: set[Node] = set()
    work: list[Value] = []
    for node in walk_nodes(func.body):
        if node.op.name == "where":
            work.extend(node.operands[1:])
    while work:
        node_of = work.pop().node
        if node_of is None or node_of in guarded or node_of.op.kind in ("control", "stack", "read"):
            continue
        guarded.add(node_of)
        work.extend(node_of.operands)
    return guarded


class Reverser(ControlAdjoints):
    """The state of one reverse-mode transformation."""

    def __init__(self, func: Func, wrt: list[int], keep_value: bool, seeds: str, outputs: list[int]) -> None:
        structure = Structure(func)
        activity = Activity(func, [func.params[k] for k in wrt], [func.results[k] for k in outputs])
        guarded = guarded_nodes(func)
        plan = Planner(func, activity, structure, guarded).make()
        new = Func(f"{func.name}_vjp", Block(), func.loc, dict(func.notes))
        super().__init__(func, new, structure, plan, activity, guarded)
        self.wrt = wrt
        self.keep_value = keep_value
        self.seeds = seeds
        self.outputs = outputs

    def tapes_inside(self, loop: Node) -> bool:
        """Whether the plan tapes anything in the iterations of a loop that blocks of them would tape for one block."""
        structure, plan = self.structure, self.plan
        if any(p == "tape" and structure.is_inside(v, loop) for v, p in plan.provision.items()):
            return True
        return any(
            structure.node_inside(write, loop) and structure.node_inside(use, loop)
            for write in plan.saved
            for root in roots(write.operands[0])
            for use in plan.restored.get(root, ())
        )

    # ------------------------------------------------------------------------------------------- whole

    def run(self) -> Func:
        """Build the function."""
        front, back = Block(), Block()
        sweep = Sweep(self.func.body, front)
        self.frame = Frame(self.func.body, sweep, back, Block(), None)
        with self.builder:
            with self.builder.into(front):
                self._copy_params(sweep)
                self._copy_nodes(self.func.body, front, sweep, None)
                if self.keep_value:
                    self.values = tuple(self._result(r, sweep) for r in self.func.results)
            with self.builder.into(back):
                self._seed()
                self._open_stacks(self.func.body)
                self._reverse_block(self.func.body)
                gradients = self._gradients()
        self.new.body.nodes = front.nodes + back.nodes
        self.new.body.yields = [*self.values, *gradients]
        self.new.notes["residuals"] = self._describe()
        return self.new

    def _copy_params(self, sweep: Sweep) -> None:
        written = set(written_params(self.func))
        for k, param in enumerate(self.func.params):
            new = Value(param.ty, param.name, None, param.size)
            self.new.params.append(new)
            sweep.values[param] = new
            if k in written:
                held = memory.copy(new)
                held.name = param.name
                sweep.values[param] = held

    def _result(self, result: Value, sweep: Sweep) -> Value:
        """A result of the function: copied where the reverse sweep restores its buffer, or it is a parameter's."""
        value = self.primal(result)
        if isinstance(result.ty, Array) and any(
            r in self.func.params
            or any(r in state.buffers for state in self.plan.state.values())
            or any(self._is_undone(write) for write in self.structure.writes_to.get(r, ()))
            for r in roots(result)
        ):
            value = memory.copy(value)
            value.name = result.name
        return value

    def _is_undone(self, write: Node) -> bool:
        """Whether the reverse sweep may change what a write writes: it puts back what was there, or runs it again."""
        again = [*(self.plan.live[n] for n in self.plan.state if n in self.plan.live), *self.plan.advance.values()]
        return write in self.plan.saved or any(write in live.nodes for live in again)

    def _seed(self) -> None:
        for k in self.outputs:
            result = self.func.results[k]
            if self.seeds == "params":
                ct = Value(_ct_type(result.ty), f"ct_{k}" if len(self.outputs) > 1 else "ct")
                self.new.params.append(ct)
                if self.activity.is_active(result):
                    self.cts.add(result, ct)
            elif self.activity.is_active(result):
                one = self._number(1, result)
                if isinstance(result.ty, Array):
                    one = memory.make_broadcast(one, self.shape(result))
                self.cts.add(result, one, fresh=True)

    def _gradients(self) -> list[Value]:
        found: list[Value] = []
        for k in self.wrt:
            param = self.func.params[k]
            assert isinstance(param.ty, Scalar | Array)
            if isinstance(param.ty, Scalar):
                ct = self.cts.scalars.get(param)
                found.append(ct if ct is not None else self._zero(param))
                continue
            shadow = self.cts.shadows.get(param)
            if shadow is not None and _is_new(shadow) and not any(shadow.buffer is v for v in found):
                found.append(shadow.buffer)
                continue
            buffer = shadow.buffer if shadow is not None and shadow.whole else self.cts.ensure(param)
            assert isinstance(buffer.ty, Array)
            made_here = shadow is None or buffer is not shadow.buffer
            gradient = buffer if made_here and buffer.ty.layout == "C" else memory.copy(buffer)
            gradient.name = f"d{param.name}"
            found.append(gradient)
        return found

    def _describe(self) -> dict[str, Any]:
        taped = [v.name or "a value" for v, p in self.plan.provision.items() if p == "tape"]
        sizes = [tape.size_in_bytes() for tape in self.tapes]
        total: Size = 0
        for size in sizes:
            total = total if size is None else add_sizes(total, size)
        return {
            "taped": taped,
            "saved_writes": len(self.plan.saved),
            "joint": len(self.plan.joint),
            "tape bytes": total,
            "counts": self._counts(),
            "growing tapes": sum(size is None for size in sizes),
        }


    def _counts(self) -> dict[str, Value]:
        """What lengths of tapes are, by their names in `tape bytes`: numbers of iterations, of blocks, of slots."""
        found: dict[str, Value] = {}
        for tape in self.tapes:
            for value in tape.storage.node.operands if tape.storage.node is not None else ():
                if isinstance(value.size, Dim) and self._is_known_at_entry(value):
                    found.setdefault(str(value.size), value)
        return found

    def _is_known_at_entry(self, value: Value) -> bool:
        if value.node is None:
            return value in self.new.params
        return value.node.op.name == "dim" or not value.node.blocks and all(
            map(self._is_known_at_entry, value.node.operands)
        )


def _ct_type(ty: Type) -> Type:
    return Array(ty.dtype, ty.shape) if isinstance(ty, Array) else ty


def _is_new(shadow: Shadow) -> bool:
    """Whether the buffer can be given away as a gradient: nobody else's, and C-contiguous."""
    return shadow.owned and shadow.whole and isinstance(shadow.buffer.ty, Array) and shadow.buffer.ty.layout == "C"
