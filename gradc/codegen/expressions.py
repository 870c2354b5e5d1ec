"""Values as NumPy expressions: templates of op entries filled in, regions as indices, parentheses where needed.

Precedence of text, as in Python's grammar: conditional 0, or 1, and 2, not 3, comparison 4, | 5, ^ 6, & 7, + - 9,
* / // % @ 10, unary - 11, ** 12, call or name 100.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from string import Formatter
from typing import Any

import numpy as np

from gradc.codegen.folding import Folding
from gradc.codegen.naming import Variables
from gradc.codegen.python_numbers import NumberKinds, numpy_double
from gradc.errors import InternalError
from gradc.ir.nodes import Node, Value
from gradc.ir.opdef import OpDef
from gradc.ir.region import FULL, Arg, At, Gather, NewAxis, Region, Span
from gradc.ir.types import Array, Scalar

ATOM = 100
Text = tuple[str, int]

_SIMPLE = re.compile(r"-?[\w.]+")
_TIGHT = re.compile(r"([\w.\[\]]+) ([+-]) ([\w.]+)")
_LAST_WRITERS = '''def last_writers(x, index):
    """Whether each entry of x[index] is the last one that names its position: the one that x[index] = v keeps."""
    owner = np.zeros(x.shape, int)
    numbers = np.arange(owner[index].size).reshape(owner[index].shape)
    owner[index] = numbers
    return owner[index] == numbers
'''

# What stands next to an operand in a template, and the precedence that the operand then needs.
_BEFORE = (
    ("**", 11), ("//", 11), ("*", 11), ("/", 11), ("%", 11), ("@", 11), ("+", 10), ("<=", 5), (">=", 5), ("==", 5),
    ("!=", 5), ("<", 5), (">", 5), ("<<", 9), (">>", 9), ("&", 8), ("^", 7), ("|", 6), (" and", 3), (" or", 2),
    ("not", 3), ("~", 12), (" if", 1), (" else", 0),
)  # fmt: skip
_AFTER = (
    ("**", ATOM), ("*", 10), ("/", 10), ("%", 10), ("@", 10), ("+", 9), ("-", 9), ("<<", 8), (">>", 8), ("<", 5),
    (">", 5), ("==", 5), ("!=", 5), ("&", 7), ("^", 6), ("|", 5), ("and ", 2), ("or ", 1), ("if ", 1), (".", ATOM),
    ("[", ATOM), ("(", ATOM),
)  # fmt: skip


@functools.lru_cache(maxsize=4096)
def slot_minimum(before: str, after: str) -> int:
    """The precedence that an operand needs between these pieces of a template to stand without parentheses."""
    left, right = before.rstrip(), after.lstrip()
    need = 0
    if left.endswith("-"):
        rest = left[:-1].rstrip()
        need = (
            12
            if not rest or rest[-1] in "([,=*/+-%@<>&|^" or re.search(r"\b(return|and|or|not|if|else)$", rest)
            else 10
        )
    else:
        for token, minimum in sorted(_BEFORE, key=lambda item: -len(item[0])):
            if (left or " ").endswith(token) or (" " + left).endswith(token):
                need = minimum
                break
    for token, minimum in sorted(_AFTER, key=lambda item: -len(item[0])):
        if right.startswith(token):
            return max(need, minimum)
    return need


def number_text(value: Any) -> Text:
    """A Python number or NumPy scalar as a literal."""
    if isinstance(value, np.generic):
        plain = value.item()
        if isinstance(value, np.bool_):
            return f"np.bool_({plain})", ATOM
        return f"np.{value.dtype.name}({number_text(plain)[0]})", ATOM
    if isinstance(value, complex):
        if value.real == 0 and not np.signbit(value.real):
            return f"{value.imag!r}j" if np.isfinite(
                value.imag
            ) else f"complex(0.0, {number_text(value.imag)[0]})", ATOM
        return f"complex({number_text(value.real)[0]}, {number_text(value.imag)[0]})", ATOM
    if isinstance(value, float) and not np.isfinite(value):
        return ("np.nan", ATOM) if np.isnan(value) else ("np.inf", ATOM) if value > 0 else ("-np.inf", 11)
    text = repr(value)
    return text, 11 if text.startswith("-") else ATOM


class Expressions:
    """Text of values. `plain`: every inexact number of the program is double precision, so literals need no dtype."""

    def __init__(self, folding: Folding, variables: Variables, kinds: NumberKinds) -> None:
        self._folded = folding.folded
        self._variables = variables
        self._kinds = kinds
        self._read_at_once = folding.read_at_once()
        self.preludes: dict[str, str] = {}
        self._assumed: dict[str, bool] = {}  # tests that are decided where the text is evaluated

    def text(self, value: Value, minimum: int = 0) -> str:
        """The text of a value: its variable, or the expression where it is folded; parenthesised below `minimum`."""
        if value not in self._folded:
            return self._variables[value]
        assert value.node is not None
        text, precedence = self.node(value.node)
        return text if precedence >= minimum else f"({text})"

    def node(self, node: Node) -> Text:
        """The expression that computes a node, with its precedence."""
        text, precedence = self._node(node)
        wrap = self._kinds.wrapper(node)
        return (f"{wrap}({text})", ATOM) if wrap else (text, precedence)

    def _node(self, node: Node) -> Text:
        if node.op.name == "copy" and node.result in self._read_at_once:
            return self._side(node.operands[0])
        structural = _STRUCTURAL.get(node.op.name)
        if structural is not None:
            found = structural(self, node)
            if found is not None:
                return found
        return self._entry(node)

    def _entry(self, node: Node) -> Text:
        """The emission that the op's entry gives."""
        op = node.op
        if op.prelude:
            self.preludes.setdefault(op.name, op.prelude)
        if callable(op.emit):
            minima = callable_minima(op.emit, node)
            operands = [self.text(v, m) for v, m in zip(node.operands, minima, strict=True)]
            text = op.emit(node, *operands)
            return text, op.precedence
        if op.emit is None:
            raise InternalError(f"op {op.name} has no emission", node.loc)
        pieces: list[str] = []
        template = list(Formatter().parse(op.emit))
        names = list(op.operands)
        for k, (literal, field, _, _) in enumerate(template):
            pieces.append(literal)
            if field is None:
                continue
            if field in names:
                before = "".join(pieces)
                after = template[k + 1][0] if k + 1 < len(template) else ""
                operand = node.operands[names.index(field)]
                hazard = self._kinds.needs_numpy(node) and names.index(field) == 0
                pieces.append(
                    f"{numpy_double(operand)}({self.text(operand)})"
                    if hazard
                    else self.text(operand, slot_minimum(before, after))
                )
            else:
                pieces.append(attribute_text(node.attrs[field]))
        return "".join(pieces), op.precedence

    # ------------------------------------------------------------------------------------------- regions

    def index(self, region: Region, operands: Sequence[Value], call: bool = False) -> str:
        """What stands between the brackets; `call`: as an argument, where slices need `np.s_`."""
        entries = list(region)
        while len(entries) > 1 and entries[-1] == FULL:
            entries.pop()
        if not entries:
            return "()"
        parts = [self._index_entry(entry, operands) for entry in entries]
        text = ", ".join(parts)
        if not call:
            return text
        if any(isinstance(e, Span) for e in entries):
            return f"np.s_[{text}]"
        return parts[0] if len(parts) == 1 else f"({text})"

    def _index_entry(self, entry: Any, operands: Sequence[Value]) -> str:
        match entry:
            case At(position):
                return self._bound(position, operands)
            case Span(start, stop, step):
                first = "" if start is None else self._bound(start, operands)
                last = "" if stop is None else self._bound(stop, operands)
                return f"{first}:{last}" + ("" if step is None else f":{self._bound(step, operands)}")
            case NewAxis():
                return "None"
            case Gather(k):
                return self.text(operands[k])
        raise InternalError(f"{entry!r} is no region entry")

    def _bound(self, bound: int | Arg, operands: Sequence[Value]) -> str:
        if not isinstance(bound, Arg):
            return str(bound)
        text = self.text(operands[bound.k], 1)
        return _TIGHT.sub(r"\1\2\3", text) if _TIGHT.fullmatch(text) else text

    def sizes(self, shape: Sequence[int | Arg], operands: Sequence[Value], brackets: bool = True) -> str:
        """A shape: `(n, 3)`, or `n` for one axis."""
        parts = [str(s) if not isinstance(s, Arg) else self.text(operands[s.k]) for s in shape]
        if len(parts) == 1:
            return parts[0]
        return f"({', '.join(parts)})" if brackets or not parts else ", ".join(parts)

    # --------------------------------------------------------------------------------- structural operations

    def _const(self, node: Node) -> Text:
        value = node.attrs["value"]
        if self._kinds.only_doubles and isinstance(value, np.float64 | np.int64 | np.bool_):
            value = value.item()
        return number_text(value)

    def _index(self, node: Node) -> Text:
        return f"{self.text(node.operands[0], ATOM)}[{self.index(node.attrs['region'], node.operands[1:])}]", ATOM

    def _transpose(self, node: Node) -> Text:
        perm = tuple(node.attrs["perm"])
        base = self.text(node.operands[0], ATOM)
        if perm == tuple(reversed(range(len(perm)))):
            return f"{base}.T", ATOM
        moved = [k for k, p in enumerate(perm) if p != k]
        if len(moved) == 2:
            return f"{base}.swapaxes({moved[0]}, {moved[1]})", ATOM
        return f"{base}.transpose({', '.join(map(str, perm))})", ATOM

    def _reshape(self, node: Node) -> Text:
        sizes = [s if not isinstance(s, Arg) else node.operands[1 + s.k] for s in node.attrs["shape"]]
        parts = [self.text(s) if isinstance(s, Value) else str(s) for s in sizes]
        # One size that takes arithmetic to say is left to NumPy.
        computed = [k for k, s in enumerate(sizes) if isinstance(s, Value) and self._is_computed(s)]
        if len(computed) == 1:
            parts[computed[0]] = "-1"
        return f"{self.text(node.operands[0], ATOM)}.reshape({', '.join(parts)})", ATOM

    def _is_computed(self, size: Value) -> bool:
        return size in self._folded and size.node is not None and size.node.op.name not in ("const", "dim")

    def _select_ref(self, node: Node) -> Text:
        cond, a, b = node.operands
        return f"{self.text(a, 1)} if {self.text(cond, 1)} else {self.text(b)}", 0

    def _zeros(self, node: Node) -> Text:
        return self._allocation(f"np.{node.op.name}", self.sizes(node.attrs["shape"], node.operands), node), ATOM

    def _zeros_like(self, node: Node) -> Text:
        return self._allocation(f"np.{node.op.name}", self.text(node.operands[0]), node, node.operands[0]), ATOM

    def _broadcast_to(self, node: Node) -> Text:
        x, *sizes = node.operands
        shape = self.sizes(node.attrs["shape"], sizes)
        if isinstance(x.ty, Array):
            return f"np.broadcast_to({self.text(x)}, {shape}).copy()", ATOM
        if _is_one(x) and node.result.dtype == "float64":
            return f"np.ones({shape})", ATOM
        return self._allocation("np.full", f"{shape}, {self.text(x)}", node), ATOM

    def _full_like(self, node: Node) -> Text:
        like, x = node.operands
        if _is_one(x):
            return f"np.ones_like({self.text(like)})", ATOM
        return f"np.full_like({self.text(like)}, {self.text(x)})", ATOM

    def _allocation(self, function: str, arguments: str, node: Node, like: Value | None = None) -> str:
        dtype = node.result.dtype
        default = like.dtype if like is not None else "float64"
        if function == "np.full":
            # np.full takes the dtype of the number; a Python number gives NumPy's default of its kind.
            x = node.operands[0]
            assert isinstance(x.ty, Scalar)
            default = (
                {"complex128": "complex128", "bool": "bool", "int64": "int64"}.get(x.dtype, "float64")
                if (x.ty.weak or self._kinds.only_doubles)
                else x.dtype
            )
        if dtype == default:
            return f"{function}({arguments})"
        return f"{function}({arguments}, dtype={_dtype_text(dtype)})"

    def _mask_select(self, node: Node) -> Text:
        return f"{self.text(node.operands[0], ATOM)}[{self.text(node.operands[1])}]", ATOM

    def _last_writers(self, node: Node) -> Text:
        self.preludes.setdefault("last_writers", _LAST_WRITERS)
        index = self.index(node.attrs["region"], node.operands[1:], call=True)
        return f"last_writers({self.text(node.operands[0])}, {index})", ATOM

    def _cast(self, node: Node) -> Text | None:
        if not isinstance(node.result.ty, Array):
            return None
        return f"{self.text(node.operands[0], ATOM)}.astype({_dtype_text(node.result.dtype)})", ATOM

    def _part(self, node: Node) -> Text | None:
        """NumPy's parts are views: a copy of them, unless they are read at once or nobody else has what they are of."""
        (x,) = node.operands
        if not isinstance(x.ty, Array) or node.result in self._read_at_once:
            return None
        made = x.node
        if x in self._folded and made is not None and made.op.kind in ("elementwise", "product"):
            if made.op.emit != "{x}":
                return None
        return f"{self.text(x, ATOM)}.{node.op.name}.copy()", ATOM

    def _pop(self, node: Node) -> Text:
        return f"{self.text(node.operands[0])}.pop()", ATOM

    def _stack_new(self, node: Node) -> Text:
        return "[]", ATOM

    def _undef(self, node: Node) -> Text:
        return "None", ATOM

    def _let(self, node: Node) -> Text:
        (x,) = node.operands
        if x not in self._folded:
            return self._variables[x], ATOM
        assert x.node is not None
        return self.node(x.node)

    def _pow(self, node: Node) -> Text | None:
        base, exponent = (self.text(node.operands[0], 13), self.text(node.operands[1], 11))
        if self._kinds.needs_numpy(node):
            base = f"{numpy_double(node.operands[0])}({self.text(node.operands[0])})"
        if _SIMPLE.fullmatch(exponent) and (_SIMPLE.fullmatch(base) or base[-1] in ")]"):
            return f"{base}**{exponent}", 12
        return f"{base} ** {exponent}", 12

    def _mul(self, node: Node) -> Text | None:
        """A quotient times something stands in parentheses, though the order of evaluation does not need them."""
        a, b = node.operands
        if a.node is not None and a.node.op.name == "div" and a in self._folded:
            return f"({self.text(a)}) * {self.text(b, 11)}", 10
        return None

    def _extremum(self, node: Node) -> Text | None:
        """Python's `max` and `min` for integers."""
        if not isinstance(node.result.ty, Scalar) or any(np.dtype(v.dtype).kind not in "iu" for v in node.operands):
            return None
        return (
            f"{'max' if node.op.name == 'maximum' else 'min'}({', '.join(self.text(v) for v in node.operands)})",
            ATOM,
        )

    def _where(self, node: Node) -> Text | None:
        if not isinstance(node.result.ty, Scalar):
            return None
        condition, a, b = node.operands
        test = self.text(condition, 1)
        if test in self._assumed:
            # Inside a side of a conditional on the same test, of which Python evaluates the side that is taken only.
            return self._side(a if self._assumed[test] else b)
        self._assumed[test] = True
        first = self.text(a, 1)
        self._assumed[test] = False
        second = self.text(b)
        del self._assumed[test]
        return f"{first} if {test} else {second}", 0

    def _side(self, value: Value) -> Text:
        if value in self._folded and value.node is not None:
            return self.node(value.node)
        return self.text(value), ATOM

    def _boolean(self, node: Node) -> Text | None:
        """`and`, `or`, `not` where everything is a scalar boolean."""
        if any(not isinstance(v.ty, Scalar) or v.dtype != "bool" for v in node.operands):
            return None
        if node.op.name == "logical_not":
            return self.negation(node.operands[0])
        word, level = ("and", 2) if node.op.name == "logical_and" else ("or", 1)
        a, b = node.operands
        return f"{self.text(a, level)} {word} {self.text(b, level + 1)}", level

    def negation(self, value: Value) -> Text:
        """The opposite of a scalar boolean: the opposite comparison for integers, else `not`."""
        node = value.node
        if node is not None and value in self._folded:
            opposite = {"eq": "!=", "ne": "=="}
            if all(np.dtype(v.dtype).kind in "iub" for v in node.operands if isinstance(v.ty, Scalar)):
                opposite |= {"lt": ">=", "le": ">", "gt": "<=", "ge": "<"}
            if node.op.name in opposite:
                a, b = node.operands
                return f"{self.text(a, 5)} {opposite[node.op.name]} {self.text(b, 5)}", 4
            if node.op.name == "logical_not" and node.operands[0].dtype == "bool":
                return self.text(node.operands[0]), 0
        return f"not {self.text(value, 4)}", 3


_STRUCTURAL: dict[str, Callable[[Expressions, Node], Text | None]] = {
    "const": Expressions._const,
    "index": Expressions._index,
    "load": Expressions._index,
    "gather": Expressions._index,
    "last_writers": Expressions._last_writers,
    "mask_select": Expressions._mask_select,
    "transpose": Expressions._transpose,
    "reshape": Expressions._reshape,
    "select_ref": Expressions._select_ref,
    "zeros": Expressions._zeros,
    "empty": Expressions._zeros,
    "zeros_like": Expressions._zeros_like,
    "empty_like": Expressions._zeros_like,
    "full_like": Expressions._full_like,
    "broadcast_to": Expressions._broadcast_to,
    "stack_new": Expressions._stack_new,
    "pop": Expressions._pop,
    "real": Expressions._part,
    "imag": Expressions._part,
    "undef": Expressions._undef,
    "let": Expressions._let,
    "pow": Expressions._pow,
    "cast": Expressions._cast,
    "where": Expressions._where,
    "maximum": Expressions._extremum,
    "minimum": Expressions._extremum,
    "mul": Expressions._mul,
    "logical_and": Expressions._boolean,
    "logical_or": Expressions._boolean,
    "logical_not": Expressions._boolean,
}


def attribute_text(value: Any) -> str:
    """A static attribute in a template: an axis tuple of one axis is written as the axis."""
    if isinstance(value, tuple) and len(value) == 1:
        return repr(value[0])
    return repr(value)


def _is_one(value: Value) -> bool:
    node = value.node
    return node is not None and node.op.name == "const" and not value.name and bool(node.attrs["value"] == 1)


def _dtype_text(dtype: str) -> str:
    return {"bool": "bool", "int64": "int"}.get(dtype, f"np.{dtype}")


def _markers(node: Node) -> list[str]:
    return [f"operand_{k}_" for k in range(len(node.operands))]


def callable_minima(emit: Callable[..., str], node: Node) -> list[int]:
    """The precedence that each operand needs in text made by a function, found by rendering it with names."""
    markers = _markers(node)
    rendered = emit(node, *markers)
    minima: list[int] = []
    for marker in markers:
        need = 0
        for match in re.finditer(re.escape(marker), rendered):
            need = max(need, slot_minimum(rendered[: match.start()], rendered[match.end() :]))
        minima.append(need)
    return minima


def repeats(node: Node, k: int) -> int:
    """How often the text of `node` shows operand k."""
    op: OpDef = node.op
    if op.name in _STRUCTURAL or op.emit is None:
        return 1
    if callable(op.emit):
        return op.emit(node, *_markers(node)).count(f"operand_{k}_")
    if k >= len(op.operands):
        return 1
    return sum(field == op.operands[k] for _, field, _, _ in Formatter().parse(op.emit))
