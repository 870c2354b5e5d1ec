"""The outside of an emitted function: its signature, how structured arguments are taken apart, and what it returns."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradc.codegen.expressions import number_text
from gradc.codegen.naming import fresh_name, identifier
from gradc.ir.program import Capture
from gradc.ir.tree import Branch, Leaf, Static, Tree, flatten, is_named_tuple, leaf_names, tree_leaves

# Captured arrays of at most this many elements are written out as constants.
SMALL_ARRAY = 32


@dataclass(slots=True)
class Leaves:
    """What the text says about each parameter of the Func.

    names: the variable of a parameter; paths: the expression that takes it out of an argument, "" for arguments
    themselves; constants: definitions at module level; extra: parameters beyond the user's signature.
    """

    names: list[str]
    paths: list[str]
    constants: list[str]
    extra: list[str]


class _Raw:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def default_text(value: Any) -> str:
    """A default value as Python text; None for objects that have none."""
    if isinstance(value, bool | int | float | complex) and not isinstance(value, np.generic):
        return number_text(value)[0]
    if value is None or isinstance(value, str | bytes):
        return repr(value)
    if isinstance(value, np.generic):
        return number_text(value)[0]
    if type(value) in (tuple, list):
        inner = ", ".join(default_text(v) for v in value)
        if type(value) is list:
            return f"[{inner}]"
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if type(value) is dict:
        return "{" + ", ".join(f"{k!r}: {default_text(v)}" for k, v in value.items()) + "}"
    return "None"


def signature_text(signature: inspect.Signature, extra: Sequence[str]) -> str:
    """The parameter list: the user's, without annotations, then the extra ones by keyword where they cannot follow."""
    parameters = []
    for p in signature.parameters.values():
        default = p.default if p.default is inspect.Parameter.empty else _Raw(default_text(p.default))
        parameters.append(p.replace(annotation=inspect.Parameter.empty, default=default))
    positional = all(
        p.default is inspect.Parameter.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        for p in parameters
    )
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD if positional else inspect.Parameter.KEYWORD_ONLY
    added = [inspect.Parameter(name, kind) for name in extra]
    if parameters and parameters[-1].kind is inspect.Parameter.VAR_KEYWORD:
        parameters[-1:-1] = added
    else:
        parameters += added
    return str(inspect.Signature(parameters))


def describe_leaves(
    signature: inspect.Signature, args: Sequence[Tree], captures: Sequence[Capture], params: Sequence[str]
) -> Leaves:
    """Names and origins of the parameters `params` (their names in the Func): arguments, captures, and the rest."""
    count = len(params)
    found = Leaves([""] * count, [""] * count, [], [])
    used = set(signature.parameters)
    structured: list[tuple[int, str, str]] = []
    for argument, tree in zip(signature.parameters, args, strict=True):
        if isinstance(tree, Leaf):
            found.names[tree.k] = argument
            continue
        for k, path, last in _paths(tree, argument, argument):
            found.paths[k] = path
            structured.append((k, last, params[k]))
    lasts = [last for _, last, _ in structured]
    for k, last, full in structured:
        found.names[k] = fresh_name(last if lasts.count(last) == 1 else full, used)
    taken = {k for k, name in enumerate(found.names) if name}
    for capture in captures:
        leaves, _ = flatten(capture.fetch())
        names = leaf_names(capture.tree, identifier(capture.name))
        for k, (leaf, name) in enumerate(zip(leaves, names, strict=True), start=capture.first):
            name = fresh_name(name, used)
            taken.add(k)
            found.names[k] = name
            text = "" if capture.is_address else constant_text(leaf)
            if text:
                found.constants.append(f"{name} = {text}")
            else:
                found.extra.append(name)
    for k in range(count):
        if k not in taken:
            found.names[k] = fresh_name(params[k], used)
            found.extra.append(found.names[k])
    return found


def constant_text(value: Any) -> str:
    """A number or small array as the right side of a module constant; "" for larger arrays."""
    if not isinstance(value, np.ndarray):
        return number_text(value)[0]
    if value.size > SMALL_ARRAY:
        return ""
    text = re.sub(r"\s+", " ", repr(value.tolist())).replace("nan", "np.nan").replace("inf", "np.inf")
    dtype = "" if value.dtype.name in ("float64", "int64", "bool") and value.size else f", dtype=np.{value.dtype.name}"
    order = "" if value.flags.c_contiguous or not value.flags.f_contiguous else ', order="F"'
    return f"np.array({text}{dtype}{order})"


def _paths(tree: Tree, path: str, last: str) -> Iterator[tuple[int, str, str]]:
    """For each leaf its number, the expression that reaches it, and the name that its last step suggests."""
    if isinstance(tree, Leaf):
        yield tree.k, path, last
    elif isinstance(tree, Branch):
        for key, item in zip(tree.keys, tree.items, strict=True):
            named = isinstance(key, str)
            if issubclass(tree.cls, dict):
                step = f"{path}[{key!r}]".replace("'", '"')
            elif issubclass(tree.cls, list) or tree.cls is tuple:
                step = f"{path}[{key}]"
            else:
                field = tree.cls._fields[key] if is_named_tuple(tree.cls) else key  # type: ignore[attr-defined]
                step, key, named = f"{path}.{field}", field, True
            yield from _paths(
                item,
                step,
                identifier(str(key)) if named else f"{last}{key}" if not last[-1:].isdigit() else f"{last}_{key}",
            )


def unpack_lines(leaves: Leaves, args: Mapping[str, Tree], needed: Callable[[int], bool]) -> list[str]:
    """Statements that take structured arguments apart: `W, b = layer`, `W1 = params["W1"]`. Only what is needed."""
    lines: list[str] = []
    for argument, tree in args.items():
        if isinstance(tree, Leaf):
            continue
        whole = isinstance(tree, Branch) and tree.items and all(isinstance(i, Leaf) for i in tree.items)
        plain = isinstance(tree, Branch) and (tree.cls in (tuple, list) or is_named_tuple(tree.cls))
        numbers = list(tree_leaves(tree))
        if whole and plain and all(needed(k) for k in numbers) and len(numbers) <= 8:
            targets = ", ".join(leaves.names[k] for k in numbers)
            lines.append(f"{targets}{',' if len(numbers) == 1 else ''} = {argument}")
            continue
        lines += [f"{leaves.names[k]} = {leaves.paths[k]}" for k in numbers if needed(k)]
    return lines


# ------------------------------------------------------------------------------------------------ results


class Results:
    """Writes the result: a tree whose leaf k is `texts[k]`."""

    def __init__(self, texts: Sequence[str], args: Mapping[str, Tree]) -> None:
        self._texts = texts
        self._args = args
        self.definitions: list[str] = []

    def text(self, tree: Tree, outermost: bool = False) -> str:
        """The expression that builds `tree`."""
        if isinstance(tree, Leaf):
            return self._texts[tree.k]
        if isinstance(tree, Static):
            return default_text(tree.value)
        items = [self.text(item) for item in tree.items]
        if tree.cls is tuple:
            inner = ", ".join(items) + ("," if len(items) == 1 else "")
            return inner if outermost and len(items) > 1 else f"({inner})"
        if tree.cls is list:
            return f"[{', '.join(items)}]"
        if issubclass(tree.cls, dict):
            return (
                "{"
                + ", ".join(f"{key!r}: {item}".replace("'", '"', 2) for key, item in zip(tree.keys, items, strict=True))
                + "}"
            )
        if is_named_tuple(tree.cls):
            return f"{self._class(tree)}({', '.join(items)})"
        names = [f.name for f in dataclasses.fields(tree.cls)]  # type: ignore[arg-type]  # neither tuple nor dict: a dataclass
        pairs = zip(names, items, strict=True)
        return f"{self._class(tree)}({', '.join(f'{f}={item}' for f, item in pairs)})"

    def lines(self, tree: Tree, indent: str, start: str, width: int) -> list[str]:
        """`start` and the expression, over several lines where one does not hold it."""
        text = self.text(tree, outermost=start == "return ")
        last = "" if start == "return " else ","
        if len(indent) + len(start) + len(text) + len(last) <= width or not isinstance(tree, Branch) or not tree.items:
            return [f"{indent}{start}{text}{last}"]
        if issubclass(tree.cls, dict):
            heads, brackets = [json.dumps(k) + ": " if isinstance(k, str) else f"{k!r}: " for k in tree.keys], "{}"
        elif tree.cls in (tuple, list):
            heads, brackets = [""] * len(tree.items), "()" if tree.cls is tuple else "[]"
        else:
            return [f"{indent}{start}{text}{last}"]
        found = [f"{indent}{start}{brackets[0]}"]
        for head, item in zip(heads, tree.items, strict=True):
            found += self.lines(item, indent + "    ", head, width)
        return [*found, f"{indent}{brackets[1]}{last}"]

    def _class(self, tree: Branch) -> str:
        """The class of a structure, by way of an argument that is one; else a named tuple of its own."""
        for argument, argument_tree in self._args.items():
            path = _find_class(argument_tree, argument, tree.cls)
            if path:
                return f"type({path})"
        fields = list(tree.cls._fields) if is_named_tuple(tree.cls) else list(tree.keys)  # type: ignore[attr-defined]
        definition = f"{tree.cls.__name__} = collections.namedtuple({tree.cls.__name__!r}, {fields!r})".replace(
            "'", '"'
        )
        if definition not in self.definitions:
            self.definitions.append(definition)
        return tree.cls.__name__


def _find_class(tree: Tree, path: str, cls: type) -> str:
    if not isinstance(tree, Branch):
        return ""
    if tree.cls is cls:
        return path
    for key, item in zip(tree.keys, tree.items, strict=True):
        attribute = not issubclass(tree.cls, dict | list) and tree.cls is not tuple and isinstance(key, str)
        found = _find_class(item, f"{path}.{key}" if attribute else f"{path}[{key!r}]", cls)
        if found:
            return found
    return ""
