"""Structured arguments and results <-> flat leaves.

A leaf is a number, a NumPy scalar or an array. Tuples, lists, dicts, named tuples and dataclasses are structure.
Everything else (None, strings, functions, types, other objects) is static: a part of the tree itself. Trees
compare by structure and hash, so a tree can be part of a signature.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

LEAF_TYPES = (bool, int, float, complex, np.generic, np.ndarray)
_COMPARED_BY_VALUE = (str, bytes, bool, int, float, complex, type(None), type(...), slice, range, np.dtype, frozenset)


@dataclass(frozen=True, slots=True)
class Leaf:
    """Leaf number k."""

    k: int


@dataclass(frozen=True, slots=True, eq=False)
class Static:
    """A value that is part of the structure: strings and None compare by value, other objects by identity."""

    value: Any

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Static):
            return NotImplemented
        if self.value is other.value:
            return True
        same_type = type(self.value) is type(other.value)
        return same_type and isinstance(self.value, _COMPARED_BY_VALUE) and bool(self.value == other.value)

    def __hash__(self) -> int:
        if isinstance(self.value, _COMPARED_BY_VALUE) and not isinstance(self.value, slice):
            return hash((type(self.value), self.value))
        return hash(type(self.value)) if isinstance(self.value, slice) else id(self.value)


@dataclass(frozen=True, slots=True)
class Branch:
    """A tuple, list, dict, named tuple or dataclass; `keys` are positions, keys or field names."""

    cls: type
    keys: tuple[Any, ...]
    items: tuple[Tree, ...]


Tree: TypeAlias = "Leaf | Static | Branch"


def is_named_tuple(cls: type) -> bool:
    """Whether a class was made by `namedtuple` or `typing.NamedTuple`."""
    return issubclass(cls, tuple) and hasattr(cls, "_fields") and hasattr(cls, "_make")


def is_structure(obj: object) -> bool:
    """Whether `obj` is structure: a container whose items are looked at."""
    cls = type(obj)
    if cls in (tuple, list, dict, OrderedDict) or is_named_tuple(cls):
        return True
    # gradc's own dataclasses (values, among others) are not the user's structure.
    return dataclasses.is_dataclass(cls) and not cls.__module__.startswith("gradc.")


def children(obj: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Keys and items of a structure, in order."""
    if isinstance(obj, dict):
        return tuple(obj.keys()), tuple(obj.values())
    if isinstance(obj, tuple | list):
        return tuple(range(len(obj))), tuple(obj)
    names = tuple(f.name for f in dataclasses.fields(obj))
    return names, tuple(getattr(obj, name) for name in names)


def rebuild(cls: type, keys: Sequence[Any], items: Sequence[Any]) -> Any:
    """A structure of class `cls` with these items. A dataclass's `__init__` is not run again."""
    if cls is tuple:
        return tuple(items)
    if cls is list:
        return list(items)
    if issubclass(cls, dict):
        return cls(zip(keys, items, strict=True))
    if is_named_tuple(cls):
        return cls._make(items)  # type: ignore[attr-defined]
    made = object.__new__(cls)
    for name, item in zip(keys, items, strict=True):
        object.__setattr__(made, name, item)
    return made


def flatten(obj: Any, leaf_types: tuple[type, ...] = LEAF_TYPES) -> tuple[list[Any], Tree]:
    """Leaves of `obj` from left to right, and its tree."""
    leaves: list[Any] = []
    return leaves, _flatten(obj, leaves, leaf_types)


def _flatten(obj: Any, leaves: list[Any], leaf_types: tuple[type, ...]) -> Tree:
    if isinstance(obj, leaf_types):
        leaves.append(obj)
        return Leaf(len(leaves) - 1)
    if is_structure(obj):
        keys, items = children(obj)
        return Branch(type(obj), keys, tuple(_flatten(item, leaves, leaf_types) for item in items))
    return Static(obj)


def unflatten(tree: Tree, leaves: Sequence[Any]) -> Any:
    """The structure of `tree` with `leaves` in it."""
    match tree:
        case Leaf(k):
            return leaves[k]
        case Static(value):
            return value
        case Branch(cls, keys, items):
            return rebuild(cls, keys, [unflatten(item, leaves) for item in items])


def tree_leaves(tree: Tree) -> Iterator[int]:
    """Numbers of the leaves of a tree, from left to right."""
    if isinstance(tree, Leaf):
        yield tree.k
    elif isinstance(tree, Branch):
        for item in tree.items:
            yield from tree_leaves(item)


def shift_leaves(tree: Tree, offset: int) -> Tree:
    """The tree with every leaf number raised by `offset`."""
    if isinstance(tree, Leaf):
        return Leaf(tree.k + offset)
    if isinstance(tree, Branch):
        return Branch(tree.cls, tree.keys, tuple(shift_leaves(item, offset) for item in tree.items))
    return tree


def leaf_names(tree: Tree, prefix: str) -> list[str]:
    """A readable identifier for every leaf: `params_w`, `layers_0_b`."""
    if isinstance(tree, Leaf):
        return [prefix]
    names: list[str] = []
    if isinstance(tree, Branch):
        for key, item in zip(tree.keys, tree.items, strict=True):
            part = "".join(c if c.isalnum() else "_" for c in str(key))
            names += leaf_names(item, f"{prefix}_{part}")
    return names
