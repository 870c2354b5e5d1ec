"""OpDef: the one entry that holds everything about an op. The entries themselves live in `gradc/ops/`.

An op is a node of the IR: it has a type rule, an interpreter, emission, and derivative rules. What a front
end calls (`np.sum`, `math.exp`, the method `.sum`) is a *call*: a Python function with NumPy's own signature
that adds nodes with the current builder. An elementwise op makes its own call; other calls are written with
`@call(np.sum, method="sum")`, and a call that only combines other ops (`np.std`) needs no op at all.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from gradc.errors import InternalError
from gradc.ir.nodes import Value, current_builder
from gradc.ir.types import Array, Scalar, Type

Kind: TypeAlias = Literal[
    "elementwise",  # one number per element, broadcasting; scalar operands give a scalar
    "reduce",  # over axes of one array
    "product",  # matmul and its like: a new array, to be handed to BLAS or a loop nest of its own
    "fresh",  # makes a new array by copying or arranging operands (concatenate, gather, zeros, copy)
    "view",  # names a part of operand 0's buffer (or of any operand in `views`)
    "read",  # reads elements of an array and gives a scalar
    "write",  # writes into operand 0's buffer, no result
    "query",  # asks for a size; reads no content
    "control",  # if, for, while
    "stack",  # tape operations
    "check",  # may raise; no result
]

# infer(types, attrs, require) -> result types. `require(i, axis_i, j, axis_j)` states that two axes must have
# equal sizes; the builder proves it, or adds a check.
Require: TypeAlias = Callable[[int, int, int, int], None]
Infer: TypeAlias = Callable[[Sequence[Any], dict[str, Any], Require], Sequence[Type]]
# The dtype (and weakness) of an elementwise result; the builder works out the shape by broadcasting.
DtypeRule: TypeAlias = Callable[[Sequence[Value], dict[str, Any]], Scalar]


@dataclass(frozen=True, eq=False)
class OpDef:
    """All about one op. Fields that a kind does not need stay None.

    partials(y, *operands): for elementwise ops, the derivative of the result in each operand, as IR; None for an
        operand in which there is no derivative by decision (the cotangent stops there).
    vjp(ct, y, *operands, **attrs): for the others, one cotangent (or None) per operand, of the operand's shape or
        broadcast-compatible with it; `ct` and `y` are tuples where the op has several results.
    jvp(tangents, y, *operands, **attrs): the result's tangent; `tangents` has None for inactive operands.
    linear: names of operands in which the op is linear (jointly): the jvp is the op on the tangents.
    fixed: operands in which the op has no derivative rule (the order of a Bessel function): differentiating in them is
        refused. Their partials are None.
    zero_derivative: the derivative is 0 everywhere (sign, floor, comparisons): not an error on an active path.
    singular: some partial can be infinite or NaN where the result is finite (sqrt at 0), so a cotangent that is exactly
        0 stays 0; or a predicate of the operands.
    vjp, jvp of an elementwise op: where given they are used instead of the partials (`where`, which must not multiply).
    dtype_rule(operands, attrs): dtype of an elementwise op; None: the promoted one. The weakness of a scalar result is
        not settled by the rule: NumPy's functions give NumPy scalars and math's give Python floats, see `Builder.add`.
    guard(*operands): adds the run-time checks that the op needs (front ends only, where `Builder.checks` holds).
    emit: NumPy text with operands and attrs by name, `"{x} + {y}"`; or a callable of (node, *operand texts).
        `precedence` is that of the outermost operator of the text, as in `ops/rules.py`.
    expand(*operands, **attrs): the op by simpler ops and loops, as IR. Such ops print as one NumPy call, and kernels
        are made from their expansion (`passes/expand.py`), so they need no other emission.
    moves: which operands the elements of the result are those of, or zeros; the others say where they go.
    depends(words, operands, **attrs): the words of the result (`ops/words.py`) from those of the operands, None for a
        constant. Without it, and for ops that do not move elements, an element of what is neither elementwise nor a
        reduction may depend on every element of every operand.
    prelude: definition of a Python function that `emit` calls and NumPy lacks.
    lower: how reductions, products and arranged arrays are written as loops: Fold, Contraction, Cells of `ir/loops.py`.
    reassociable: the kernel text for steps of a sum or product that a loop carries, whose order does not matter.
    may_fail: it raises for some contents of its operands (singular matrices), and runs only where the program runs it.
    takes_complex: operands and results may be complex, and all rules of the entry hold for them: a partial is the
        complex derivative, a vjp the transpose without conjugation (docs/conventions.md). Other ops refuse them.
    conditions: positions of operands that are truth values, which are not converted to the dtype of the result.
    kernel: text of one element for Numba; operands and attrs by name, which may occur more than once, so the emitter
        fills in names or literals, already of the dtype in which the op computes (`ops/rules.py`). Or a function of
        (the operands' numbers, None where they are not literals; the dtype in which it computes) that gives the text.
    """

    name: str
    kind: Kind
    operands: tuple[str, ...] = ()
    calls: tuple[Any, ...] = ()
    sympy: str | None = None
    infer: Infer | None = None
    run: Callable[..., Any] | None = None
    emit: str | Callable[..., str] | None = None
    kernel: str | Callable[..., str] | None = None
    lower: Any = None
    reassociable: str = ""
    conditions: tuple[int, ...] = ()
    precedence: int = 100
    partials: Callable[..., Sequence[Value | float | int | None]] | None = None
    vjp: Callable[..., Sequence[Value | None]] | None = None
    jvp: Callable[..., Value | None] | None = None
    linear: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    zero_derivative: bool = False
    may_fail: bool = False
    takes_complex: bool = False
    singular: bool | Callable[..., bool] = False
    dtype_rule: DtypeRule | None = None
    guard: Callable[..., None] | None = None
    prelude: str = ""
    expand: Callable[..., Any] | None = None
    moves: Literal["", "first", "all"] = ""
    depends: Callable[..., Value] | None = None
    views: tuple[int, ...] = ()
    reads: tuple[int, ...] | None = None
    commutative: bool = False
    cost: int = 1
    domain: tuple[tuple[float, float], ...] = ()
    edge: tuple[float, ...] = ()
    tol: float = 1e-6
    doc: str = ""
    tests: dict[str, Any] = field(default_factory=dict)

    def __call__(self, *operands: Any, **attrs: Any) -> Any:
        """Add a node of this op with the current builder; the result value (a tuple of them, if several)."""
        return current_builder().add(self, operands, attrs)

    def is_singular(self, operands: Sequence[Value]) -> bool:
        """Whether a partial can be infinite or NaN where the result on these operands is finite."""
        return self.singular(*operands) if callable(self.singular) else self.singular

    def __repr__(self) -> str:
        return f"<op {self.name}>"


TABLE: dict[str, OpDef] = {}


def define(op: OpDef, build: Callable[[OpDef, Any], Callable[..., Any]] | None = None) -> OpDef:
    """Enter `op` into the table. `build(op, target)`: what a call of `target` does, where that is not the bare op."""
    if op.name in TABLE:
        raise InternalError(f"op {op.name} is defined twice")
    TABLE[op.name] = op
    for target in op.calls:
        _enter_call(target, Call(op.name, op if build is None else build(op, target)))
    return op


# ------------------------------------------------------------------------------------------------- calls


@dataclass(frozen=True, eq=False)
class Call:
    """What the front ends do for a Python callable: `build` has the callable's own signature.

    Static arguments reach `build` as Python objects (int, str, tuple, None, dtype), run-time ones as `Value`s; tuples
    and lists may hold both. `build` raises GradcError with `loc` None for what it cannot do; the front end
    adds the place.
    """

    name: str
    build: Callable[..., Any]

    def signature(self) -> inspect.Signature | None:
        """Signature to bind arguments with; None for an op, which takes its operands by position."""
        return None if isinstance(self.build, OpDef) else inspect.signature(self.build)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What a call gives whose methods are calls: that of "scipy.stats:norm" has loc and scale for its methods.

    A front end calls a method of it as that of the object which `name` names, with `keywords` added.
    """

    name: str
    keywords: dict[str, Any]

    def target(self) -> Any:
        """The object that it is made from."""
        module, _, attribute = self.name.partition(":")
        return getattr(sys.modules[module], attribute)


class CallTable(dict[Any, Call]):
    """Calls by callable. A callable may be entered by its dotted name, "scipy.special.erf": it is looked up
    once its module has been imported by somebody, so that gradc does not import modules that nobody uses.
    "scipy.stats:norm.pdf" is a method of an object in a module."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[str, dict[str, Call]] = {}

    def enter_late(self, name: str, entry: Call) -> None:
        """Enter what `name` will be."""
        module, _, attribute = name.partition(":") if ":" in name else name.rpartition(".")
        self._waiting.setdefault(module, {})[attribute] = entry

    def _arrivals(self) -> bool:
        arrived = [module for module in self._waiting if module in sys.modules]
        for module in arrived:
            for attribute, entry in self._waiting.pop(module).items():
                target: Any = sys.modules[module]
                for part in attribute.split("."):
                    target = getattr(target, part, None)
                if target is not None:
                    self[target] = entry
        return bool(arrived)

    def __contains__(self, target: object) -> bool:
        return super().__contains__(target) or (self._arrivals() and super().__contains__(target))

    def __missing__(self, target: Any) -> Call:
        if target in self:
            return self[target]
        raise KeyError(target)

    def get(self, target: Any, default: Any = None) -> Any:
        """The call of `target`, or `default`."""
        return self[target] if target in self else default


CALLS = CallTable()
METHODS: dict[str, Call] = {}
ATTRIBUTES: dict[str, Call] = {}


def _enter_call(target: Any, entry: Call) -> None:
    if isinstance(target, str):
        CALLS.enter_late(target, entry)
        return
    if target in CALLS:
        raise InternalError(f"{target} has two entries")
    CALLS[target] = entry


def call(
    *targets: Any, method: str | tuple[str, ...] = (), attribute: str | tuple[str, ...] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: the function below is what the callables `targets` (and array methods, attributes) mean."""

    def enter(build: Callable[..., Any]) -> Callable[..., Any]:
        entry = Call(build.__name__, build)
        for target in dict.fromkeys(targets):  # NumPy has several names for some functions
            _enter_call(target, entry)
        for table, names in ((METHODS, method), (ATTRIBUTES, attribute)):
            for name in (names,) if isinstance(names, str) else names:
                if name in table:
                    raise InternalError(f"method or attribute {name} has two entries")
                table[name] = entry
        return build

    return enter


# ------------------------------------------------------------------------------------- common type rules


def is_array(ty: Type) -> bool:
    """Whether values of this type are arrays."""
    return isinstance(ty, Array)


def rank_of(ty: Type) -> int:
    """Number of axes; 0 for a scalar."""
    return len(ty.shape) if isinstance(ty, Scalar | Array) else 0
