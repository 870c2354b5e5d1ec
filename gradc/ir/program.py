"""Program: what a front end makes of a user's function, and what a dispatcher needs to run it again.

`Program.func` has one parameter per leaf of the arguments, in order (frozen ones are there but unused), then one per
leaf of every capture. Its results are the leaves of `Program.result`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradc.errors import DTypeError, Loc
from gradc.ir.nodes import Func, Value
from gradc.ir.tree import Tree
from gradc.ir.types import Array, Layout, Scalar, Size, Type, scalar_of_python, size_variable

SUPPORTED_KINDS = "biufc"


@dataclass(frozen=True, slots=True)
class Typed:
    """Stands for a leaf of which only the type is known: an argument of a function called inside another one."""

    ty: Type


@dataclass(frozen=True, slots=True, eq=False)
class Capture:
    """A global, closure variable or attribute that the function reads. Its leaves are parameters of the program.

    `fetch()` gives the value of this moment; a call whose value has another tree (or leaves of other types)
    needs another program. `first` is the position of its first leaf among the parameters.
    """

    name: str
    fetch: Callable[[], Any]
    tree: Tree
    first: int
    count: int

    @property
    def is_address(self) -> bool:
        """Whether it is the address of a C function, which means nothing to another process."""
        return bool(getattr(self.fetch, "is_address", False))


@dataclass(frozen=True, slots=True, eq=False)
class Guard:
    """A function, module, class, string or other object whose identity the program was built on."""

    name: str
    fetch: Callable[[], Any]
    expected: Any
    code: Any = None

    def holds(self) -> bool:
        """Whether the name still means what it meant (functions: with the same code)."""
        try:
            value = self.fetch()
        except (AttributeError, KeyError, IndexError, NameError, ValueError):
            return False
        if value is not self.expected:
            plain = isinstance(value, str | bytes | int | float) and type(value) is type(self.expected)
            return plain and bool(value == self.expected)
        return self.code is None or getattr(value, "__code__", None) is self.code


@dataclass(eq=False, slots=True)
class Program:
    """A function specialised to the types of its arguments.

    args: one tree per parameter of the function's signature, with leaf numbers that run through all of them.
    static: positions of leaves (arguments and captures) whose *value* was needed while building, with that value;
        another value needs another program, and a derivative with respect to one of them is refused.
    rebinds: places where the function replaces items of a dict or list that its caller passed in. A derivative may
        ignore that; `jit` has to refuse it.
    outer: of a function defined inside another one that is being built: values of that one, which the last parameters
        stand for.
    """

    func: Func
    args: tuple[Tree, ...]
    result: Tree
    captures: tuple[Capture, ...] = ()
    guards: tuple[Guard, ...] = ()
    static: dict[int, Any] = field(default_factory=dict)
    rebinds: tuple[Loc, ...] = ()
    outer: tuple[Value, ...] = ()


@dataclass(eq=False, slots=True)
class Expansion:
    """What an object with `__gradc_expand__` becomes where a compiled function calls it.

    Parameters of `func`: one per leaf of the arguments, then one per leaf of `captures`, then one per value of `outer`;
    results: leaves of `result`.

    The protocol: `obj.__gradc_expand__(args, kwargs) -> Expansion`, where args and kwargs are trees whose leaves are
    Python numbers (known) or `Typed`; the object parses its function with `parse(function, bound_args)`, which
    takes `Typed` leaves, transforms, and answers. `obj.__gradc_function__`, where present, is instead a plain
    function that the call means (what `jit` returns). `obj.__gradc_interpret__(machine, args, kwargs)`, where present,
    is given bindings and answers with a binding, which may be such an object (`vjp`, whose pullback is one).
    """

    func: Func
    result: Tree
    captures: tuple[Capture, ...] = ()
    guards: tuple[Guard, ...] = ()
    outer: tuple[Value, ...] = ()


def leaf_type(leaf: Any, name: str) -> Type:
    """The type of an example value. A size is the literal 1, or a variable named for the leaf and the axis.

    Raises: DTypeError for arrays that do not hold numbers.
    """
    if isinstance(leaf, Typed):
        return leaf.ty
    if isinstance(leaf, np.ndarray):
        if type(leaf) is not np.ndarray:
            raise DTypeError(
                f"argument {name} is a {type(leaf).__name__}", why="only plain numpy.ndarray is compiled",
                hint=f"pass np.asarray({name})",
            )
        _require_numbers(leaf.dtype, name)
        shape: tuple[Size, ...] = tuple(
            1 if n == 1 else size_variable(f"{name}_{axis}") for axis, n in enumerate(leaf.shape)
        )
        layout: Layout = "C" if leaf.flags.c_contiguous else "F" if leaf.flags.f_contiguous else "A"
        return Array(leaf.dtype.name, shape, layout)
    if isinstance(leaf, np.generic):
        _require_numbers(leaf.dtype, name)
        return Scalar(leaf.dtype.name)
    return scalar_of_python(leaf)


def _require_numbers(dtype: np.dtype[Any], name: str) -> None:
    if dtype.kind not in SUPPORTED_KINDS or dtype.itemsize > 16 or dtype.name in ("longdouble", "float128"):
        raise DTypeError(
            f"argument {name} has dtype {dtype}", why="gradc compiles numbers and booleans only",
            hint="convert it to float64 or to integers first",
        )
