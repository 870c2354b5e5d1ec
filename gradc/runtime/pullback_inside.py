"""`gradc.vjp` inside a compiled function: the primal run, and a pullback that exists while the function is compiled.

    out, pullback = gradc.vjp(f, x)         %kept = copy(%x);  %out = <f of %kept>
    (dx,) = pullback(ct)               ->   %dx = <reverse of f, at %kept, of %ct>

The pullback runs the primal again where common subexpressions do not make it one. It keeps copies of its arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gradc.errors import GradcError, ShapeError, UnsupportedError
from gradc.ir.nodes import Value
from gradc.ir.program import Expansion
from gradc.ir.tree import LEAF_TYPES, Tree, children, flatten, is_structure, unflatten
from gradc.ir.types import WEAK_INT, Array, is_inexact
from gradc.ops import memory
from gradc.runtime.dispatch import compiled
from gradc.runtime.higher import ARGUMENT_LEAVES, as_tangent, with_call_parameters
from gradc.runtime.ownership import Slot
from gradc.runtime.plan import Transform

_BINDINGS = (*LEAF_TYPES, Value)


def interpret_vjp(machine: Any, args: Sequence[Any], keywords: dict[str, Any]) -> Any:
    """What `gradc.vjp(f, *primals)` becomes inside a compiled function."""
    if keywords or not args:
        raise UnsupportedError("gradc.vjp takes a function and its arguments", machine.builder.loc)
    function, *given = args
    leaves, tree = flatten(tuple(given), _BINDINGS)
    values = [machine.value(leaf) if isinstance(leaf, Value | float | complex) else leaf for leaf in leaves]
    kept = [memory.copy(v) if isinstance(v, Value) and isinstance(v.ty, Array) else v for v in values]
    primals = unflatten(tree, kept)
    floats = tuple(k for k, v in enumerate(kept) if isinstance(v, Value) and is_inexact(v.ty))
    numbers = tuple(k for k, v in enumerate(kept) if k in floats or type(v) is int or _is_int(v))

    def run(wrt: tuple[int, ...]) -> Any:
        out = machine.expand(compiled(function, Transform("vjp", leaves=wrt)), primals, {})
        return out, Pullback(function, primals, tree, wrt, out)

    if numbers != floats:
        try:
            return run(numbers)
        except (GradcError, TypeError):  # it needs an int: a count, an index, an option
            if not floats:
                raise
    return run(floats)


def _is_int(v: Any) -> bool:
    return isinstance(v, Value) and v.ty == WEAK_INT


class Pullback:
    """A pullback while the function around it is compiled."""

    of_interpretation = True

    def __init__(
        self, function: Callable[..., Any], primals: tuple[Any, ...], tree: Tree, wrt: tuple[int, ...], out: Any
    ) -> None:
        self.function = function
        self.primals = primals
        self.tree = tree
        self.wrt = wrt
        self.out = out

    def __gradc_interpret__(self, machine: Any, args: Sequence[Any], keywords: dict[str, Any]) -> Any:
        """pullback(ct)."""
        if keywords or len(args) != 1:
            raise UnsupportedError("a pullback takes one cotangent", machine.builder.loc)
        try:
            pairs = [(machine.value(ct), machine.value(out)) for ct, out in self._pairs(args[0], self.out)]
            seeds = [as_tangent(ct, out, "cotangent", "result") for ct, out in pairs]
        except GradcError as error:
            raise error if error.loc else type(error)(error.what, machine.builder.loc, error.why, error.hint) from None
        found = machine.expand(self, [self.primals, tuple(seeds)], {})
        gradients: list[Any] = [None] * len(flatten(self.primals, _BINDINGS)[0])
        for k, gradient in zip(self.wrt, found, strict=True):
            gradients[k] = gradient
        return unflatten(self.tree, gradients)

    def __repr__(self) -> str:
        return f"the pullback of {getattr(self.function, '__name__', 'a function')}"

    def _pairs(self, ct: Any, out: Any) -> Iterator[tuple[Any, Any]]:
        """The leaves of a cotangent with those of the result that have a derivative."""
        if is_structure(out):
            keys, items = children(out)
            if not is_structure(ct) or type(ct) is not type(out) or children(ct)[0] != keys:
                raise ShapeError(
                    "cotangent has another structure than the result", hint="pass one with the structure of the result."
                )
            for inner, item in zip(children(ct)[1], items, strict=True):
                yield from self._pairs(inner, item)
        elif isinstance(out, float | complex) or (isinstance(out, Value) and is_inexact(out.ty)):
            if not isinstance(ct, _BINDINGS):
                raise ShapeError("cotangent has another structure than the result")
            yield ct, out

    def __gradc_expand__(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Expansion:
        """The reverse sweep, as a function of primals and cotangents."""
        leaves, tree = flatten(tuple(args), ARGUMENT_LEAVES)
        primals, seeds = unflatten(tree, [Slot(k) for k in range(len(leaves))])
        made = compiled(self.function, Transform("pullback", leaves=self.wrt))
        bound, given = flatten(made._bind(*primals), (*LEAF_TYPES, Slot))
        staged, _ = made._expanded(unflatten(given, [leaves[s.k] if isinstance(s, Slot) else s for s in bound]))
        program = staged.program
        func = with_call_parameters(staged.func, leaves, bound, [s.k for s in seeds], None)
        return Expansion(func, staged.result, program.captures, program.guards, program.outer)
