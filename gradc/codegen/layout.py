"""What a saved module is for, as a literal that a person reads and the module checks its arguments against.

    ARGUMENTS = {
        "params": [("float64[n, m]", "float64[m]")],
        "x": "float64[p, n]",
        "axis": "== 1",
    }

A program is staged for dtypes, ranks, structure, axes of size 1, and values that decided what was compiled. A compiled
object looks at all that at each call and compiles another program where it differs; a file cannot, so it refuses.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradc.ir.nodes import Func, walk_nodes
from gradc.ir.tree import Leaf, Static, Tree, is_named_tuple
from gradc.ir.types import Array, Scalar, Size, Type


@dataclass(frozen=True, slots=True)
class ArgumentChecks:
    """What a file has to look at besides types. fixed: values by the positions of leaves whose value was needed to
    compile; written: positions of arrays that the user's function writes into."""

    fixed: Mapping[int, Any]
    written: Sequence[int]


_LETTERS = ("n", "m", "k", "p", "q", "r", "d", "h")

CHECK = '''\
def check_argument(name, value, wanted, sizes):
    """Raise unless `value` is what this module was made for: its structure, dtype, rank, or one value."""
    if isinstance(wanted, (tuple, list, dict)):
        fields = isinstance(wanted, dict) and all(str(key).startswith(".") for key in wanted)
        keys = list(wanted) if isinstance(wanted, dict) else range(len(wanted))
        if not fields:
            same = isinstance(value, type(wanted)) and len(value) == len(wanted)
            if not same or (isinstance(wanted, dict) and set(value) != set(wanted)):
                raise TypeError(f"{name}: this module was made for {wanted!r}")
        for key in keys:
            item = getattr(value, key[1:]) if fields else value[key]
            check_argument(f"{name}{key}" if fields else f"{name}[{key!r}]", item, wanted[key], sizes)
    elif wanted.startswith("== "):
        if repr(np.asarray(value).tolist()) != wanted[3:]:
            raise ValueError(f"{name} is {value!r}: this module was made for {wanted[3:]}")
    elif wanted.startswith("is "):
        if getattr(value, "__name__", type(value).__name__) != wanted[3:]:
            raise ValueError(f"{name} is {value!r}: this module was made for {wanted[3:]}")
    elif wanted == "function":
        if not callable(value):
            raise TypeError(f"{name} is {type(value).__name__}: this module takes a function there")
    elif wanted.endswith("]"):
        dtype, _, axes = wanted[:-1].partition("[")
        axes = axes.split(", ") if axes else []
        if not isinstance(value, np.ndarray) or value.dtype != dtype or value.ndim != len(axes):
            found = f"{value.dtype} of rank {value.ndim}" if isinstance(value, np.ndarray) else type(value).__name__
            raise TypeError(f"{name} is {found}: this module was made for {wanted}")
        for axis, (size, letter) in enumerate(zip(value.shape, axes)):
            needed = 1 if letter == "1" else sizes.setdefault(letter, size)
            if size != needed:
                raise ValueError(f"{name} has size {size} along axis {axis}, not {needed}: it should be {wanted}")
    elif isinstance(value, np.ndarray) or np.ndim(value) or (wanted == "int" and value != int(value)):
        raise TypeError(f"{name} is {type(value).__name__}: this module was made for {wanted}")


def check_arguments(**arguments):
    """Raise unless all arguments fit `ARGUMENTS`; a letter stands for the same size everywhere."""
    sizes = {}
    for name, value in arguments.items():
        check_argument(name, value, ARGUMENTS[name], sizes)
'''

APART = '''\
def check_apart(name, array, *others):
    """Raise where an array that the program writes into lies in the memory of another argument."""
    for other in others:
        if np.shares_memory(array, other):
            raise ValueError(f"{name} is written to, and shares its memory with another argument: pass a copy")
'''


def apart_lines(func: Func, names: Sequence[str], written: Sequence[int]) -> list[str]:
    """Calls of `check_apart` for the arrays that the user's function writes into."""
    arrays = [k for k, p in enumerate(func.params) if isinstance(p.ty, Array)]
    lines = []
    for k in written:
        others = [names[other] for other in arrays if other != k]
        if others:
            lines.append(f'check_apart("{names[k]}", {", ".join([names[k], *others])})')
    return lines


def arguments_text(
    func: Func,
    trees: Mapping[str, Tree],
    extra: Mapping[str, int],
    fixed: Mapping[int, Any],
    functions: Collection[int] = (),
) -> str:
    """The definition of `ARGUMENTS`.

    func: has one parameter per leaf. trees: of the user's arguments; extra: positions of parameters beyond these, by
    name. fixed: values by the positions of leaves whose value was needed to compile. functions: positions of addresses
    of C functions, for which the module takes the functions.
    """
    letters = _letters(func)

    def leaf(k: int) -> str:
        if k in functions:
            return '"function"'
        if k in fixed:
            return repr(f"== {np.asarray(fixed[k]).tolist()!r}")
        return f'"{_type_text(func.params[k].ty, letters)}"'

    def text(tree: Tree) -> str:
        if isinstance(tree, Leaf):
            return leaf(tree.k)
        if isinstance(tree, Static):
            return repr(static_text(tree.value))
        items = [text(item) for item in tree.items]
        if issubclass(tree.cls, list):
            return f"[{', '.join(items)}]"
        if tree.cls is tuple:
            return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
        keys: Sequence[Any] = [repr(key) for key in tree.keys]
        if not issubclass(tree.cls, dict):
            fields = tree.cls._fields if is_named_tuple(tree.cls) else tree.keys  # type: ignore[attr-defined]
            keys = [f'".{field}"' for field in fields]
        return "{" + ", ".join(f"{key}: {item}" for key, item in zip(keys, items, strict=True)) + "}"

    rows = [(name, text(tree)) for name, tree in trees.items()] + [(name, leaf(k)) for name, k in extra.items()]
    lines = [line for name, row in rows for line in _wrapped(f'"{name}": {row},')]
    return "\n".join(["ARGUMENTS = {", *lines, "}"])


def static_text(value: Any) -> str:
    """How a value that is part of the structure is asked for again."""
    if value is None or isinstance(value, str | bytes | bool | int | float | complex):
        return f"== {value!r}"
    return f"is {getattr(value, '__name__', type(value).__name__)}"


def _wrapped(line: str) -> Iterator[str]:
    """The line, or lines that break between strings."""
    whole = re.sub(r'"[^"]*"|\'[^\']*\'', lambda m: m[0].replace(" ", "\0"), line)
    for part in textwrap.wrap(
        whole, 116, initial_indent="    ", subsequent_indent=" " * 8, break_long_words=False, break_on_hyphens=False
    ):
        yield part.replace("\0", " ")


def _type_text(ty: Type, letters: Mapping[Size, str]) -> str:
    if isinstance(ty, Scalar):
        return {"float64": "float", "int64": "int", "complex128": "complex"}.get(ty.dtype, ty.dtype)
    assert isinstance(ty, Array)
    return f"{ty.dtype}[{', '.join(letters.get(size, str(size)) for size in ty.shape)}]"


def _letters(func: Func) -> dict[Size, str]:
    """A name for each size variable of the parameters; sizes that the function requires to be equal share one."""
    equal: dict[Size, Size] = {}

    def root(size: Size) -> Size:
        while size in equal:
            size = equal[size]
        return size

    for node in walk_nodes(func.body):
        if node.op.name != "check" or node.attrs.get("error") != "ShapeError":
            continue
        test = node.operands[0].node
        if test is None or test.op.name != "eq":
            continue
        dims = [v.node for v in test.operands if v.node is not None and v.node.op.name == "dim"]
        if len(dims) == 2:
            a, b = (root(n.operands[0].shape[int(n.attrs["axis"])]) for n in dims)
            if a != b and not isinstance(a, int) and not isinstance(b, int):
                equal[b] = a
    names: dict[Size, str] = {}
    for param in func.params:
        for size in param.ty.shape if isinstance(param.ty, Array) else ():
            if not isinstance(size, int) and size not in names:
                known = names.get(root(size))
                count = len(set(names.values()))
                names[size] = known or (_LETTERS[count] if count < len(_LETTERS) else f"n{count}")
                names.setdefault(root(size), names[size])
    return names
