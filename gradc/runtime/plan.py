"""What follows from a transform and the structure of the arguments: names of leaves, and which are differentiated."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gradc.errors import DTypeError
from gradc.ir.tree import Branch, Leaf, Static, Tree, tree_leaves, unflatten
from gradc.runtime.pipeline import Kind


@dataclass(frozen=True, slots=True)
class Transform:
    """What an object computes. argnums: parameters by position or name; `single`: one that was not in a tuple.

    leaves: instead of argnums, positions of leaves; the gradient is a tuple with one item for each.
    """

    kind: Kind
    argnums: tuple[int | str, ...] = ()
    single: bool = False
    has_aux: bool = False
    leaves: tuple[int, ...] | None = None

    @property
    def named(self) -> bool:
        """Whether gradients come in a dict."""
        return not self.single and bool(self.argnums) and all(isinstance(a, str) for a in self.argnums)


@dataclass(frozen=True, slots=True)
class Plan:
    """What follows from the structure of the arguments alone."""

    names: tuple[str, ...]
    wrt: tuple[int, ...]
    gradient: Tree


def check_argnums(argnums: Sequence[int | str], signature: inspect.Signature, name: str) -> None:
    """Raises: ValueError or TypeError where argnums do not name parameters of the function."""
    parameters = signature.parameters
    kinds = inspect.Parameter
    positional = [p for p in parameters.values() if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
    has_rest = any(p.kind is kinds.VAR_POSITIONAL for p in parameters.values())
    has_options = any(p.kind is kinds.VAR_KEYWORD for p in parameters.values())
    for a in argnums:
        if isinstance(a, bool) or not isinstance(a, int | str):
            raise TypeError(f"argnums are positions (int) or names (str) of arguments, not {a!r}")
        if isinstance(a, str) and a not in parameters and not has_options:
            raise ValueError(f"{name} has no argument {a!r}; its arguments are {', '.join(parameters)}")
        if isinstance(a, int) and not has_rest and not -len(positional) <= a < len(positional):
            raise ValueError(f"argnums={a}, but {name} takes {len(positional)} positional arguments")
    if len(set(argnums)) != len(argnums):
        raise ValueError(f"argnums={tuple(argnums)} names an argument twice")
    if len({isinstance(a, str) for a in argnums}) > 1:
        raise TypeError(f"argnums={tuple(argnums)} mixes positions and names")


def argnums_text(transform: Transform) -> str:
    """argnums as the user wrote them."""
    return repr(transform.argnums[0] if transform.single else transform.argnums)


def make_plan(trees: tuple[Tree, ...], signature: inspect.Signature, transform: Transform, qualname: str) -> Plan:
    """Names of all leaves, the differentiated ones, and the structure of the gradient."""
    names: list[str] = []
    for parameter, tree in zip(signature.parameters, trees, strict=True):
        names += leaf_paths(tree, parameter)
    if transform.leaves is not None:
        picked = tuple(Leaf(k) for k in range(len(transform.leaves)))
        return Plan(tuple(names), transform.leaves, Branch(tuple, tuple(range(len(picked))), picked))
    chosen = [_argument_tree(a, trees, signature, qualname) for a in transform.argnums]
    wrt: list[int] = []
    gradients: list[Tree] = []
    for argnum, tree in zip(transform.argnums, chosen, strict=True):
        leaves = list(tree_leaves(tree))
        if not leaves and transform.kind != "jit":
            name = list(signature.parameters)[argnum] if isinstance(argnum, int) else argnum
            value = tree.value if isinstance(tree, Static) else None
            simple = value is None or isinstance(value, str)
            what = f": it is {value!r:.60}" if simple else f": it is an object of class {type(value).__name__}"
            raise DTypeError(
                f"argument `{name}` of {qualname} holds no numbers{what}",
                why="a gradient is taken in numbers and arrays, and structures of them.",
                hint="pass a float or an array of floats, or name another argument in argnums.",
            )
        gradients.append(_renumbered(tree, {k: len(wrt) + n for n, k in enumerate(leaves)}))
        wrt += leaves
    if len(set(wrt)) != len(wrt):
        raise ValueError(f"argnums={transform.argnums} name an argument of {qualname} twice")
    if transform.single:
        gradient = gradients[0]
    elif transform.named:
        gradient = Branch(dict, tuple(transform.argnums), tuple(gradients))
    else:
        gradient = Branch(tuple, tuple(range(len(gradients))), tuple(gradients))
    return Plan(tuple(names), tuple(wrt), gradient)


def _argument_tree(argnum: int | str, trees: Sequence[Tree], signature: inspect.Signature, qualname: str) -> Tree:
    kinds = inspect.Parameter
    parameters = list(signature.parameters.values())
    if isinstance(argnum, str):
        if argnum in signature.parameters:
            return trees[list(signature.parameters).index(argnum)]
        for p, tree in zip(parameters, trees, strict=True):
            if p.kind is kinds.VAR_KEYWORD and isinstance(tree, Branch) and argnum in tree.keys:
                return tree.items[tree.keys.index(argnum)]
        raise ValueError(f"{qualname} was called without the argument {argnum!r}, which argnums names")
    flat: list[Tree] = []
    for p, tree in zip(parameters, trees, strict=True):
        if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD):
            flat.append(tree)
        elif p.kind is kinds.VAR_POSITIONAL and isinstance(tree, Branch):
            flat += tree.items
    if not -len(flat) <= argnum < len(flat):
        raise ValueError(f"argnums={argnum}, but {qualname} was called with {len(flat)} positional arguments")
    return flat[argnum]


def _renumbered(tree: Tree, numbers: dict[int, int]) -> Tree:
    if isinstance(tree, Leaf):
        return Leaf(numbers[tree.k])
    if isinstance(tree, Branch):
        return Branch(tree.cls, tree.keys, tuple(_renumbered(item, numbers) for item in tree.items))
    return tree


def leaf_paths(tree: Tree, path: str) -> Iterator[str]:
    """How the user would write each leaf: `params['w']`, `layers[0].b`."""
    if isinstance(tree, Leaf):
        yield path
    elif isinstance(tree, Branch):
        by_item = issubclass(tree.cls, tuple | list | dict)
        for key, item in zip(tree.keys, tree.items, strict=True):
            yield from leaf_paths(item, f"{path}[{key!r}]" if by_item else f"{path}.{key}")


def rebuild_values(trees: Sequence[Tree], leaves: Sequence[Any]) -> tuple[Any, ...]:
    """The arguments again, from their structure and leaves."""
    return tuple(unflatten(tree, leaves) for tree in trees)
