"""Rewrites of a copy of a function that change how it reads and not what it computes: scalars and algebra.

    dnum = mul(1.0, invden)           dnum = let(invden)             prints `dnum = invden`
    add(a, neg(b))                    sub(a, b)
    mul(dy, sub(1, mul(y, y)))        mul(sub(1, mul(y, y)), dy)     the partial first, in the reverse sweep
    dx = add(mul(dy, x), mul(dy, x))  dx = mul(mul(2, x), dy)
    index(index(A, [i]), [1:])        index(A, [i, 1:])

Arrays are the business of `array_cosmetics`. Values that nobody uses any more are dropped at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from gradc.codegen import array_cosmetics, idioms
from gradc.codegen.checks import drop_checks
from gradc.codegen.python_numbers import has_only_doubles
from gradc.codegen.rebinding import save_first
from gradc.codegen.shapes import equal_sizes, same_shape
from gradc.ir.effects import has_effect
from gradc.ir.nodes import Block, Func, Node, Value, clone_func, walk_blocks, walk_nodes
from gradc.ir.region import FULL, Arg, At, NewAxis, Region, Span
from gradc.ir.types import WEAK_FLOAT, WEAK_INT, Array, Scalar, is_inexact, is_integer
from gradc.ops import TABLE

LET = TABLE["let"]


def prepare(func: Func) -> Func:
    """A copy of `func` to print: rewritten, and without values that nobody uses."""
    copy = clone_func(func)
    copy.notes["equal_sizes"] = drop_checks(copy)
    only_doubles = has_only_doubles(copy)
    equal = equal_sizes(copy)
    for rules in ((_drop_cast,), _RULES, _RULES):  # a product with 1.0 that goes may leave another one
        for block in walk_blocks(copy.body):
            _rewrite(block, _Scene(array_cosmetics.use_counts(copy), only_doubles, equal), rules)
        drop_nameless_lets(copy)
    _drop_unused(copy)
    array_cosmetics.prepare(copy)
    idioms.prepare(copy, replace)
    save_first(copy)
    _merge_views(copy)
    for block in walk_blocks(copy.body):
        scene = _Scene(array_cosmetics.use_counts(copy), only_doubles, equal)
        _rewrite(block, scene, (_fold_constants, _multiply_by_one, _signs, _two_first))
        _rewrite(block, scene, (_subtract_product,))
        _subtract_in_place(block, scene)
    drop_nameless_lets(copy)
    _keep_exit_flags(copy)
    _drop_unused(copy)
    return copy


def drop_lets(func: Func, gone: set[Value]) -> None:
    """Replace the `let` and `alias` values in `gone` by what they name."""
    replace(func, {n.result: n.operands[0] for n in walk_nodes(func.body) if len(n.results) == 1 and n.result in gone})


def replace(func: Func, mapping: dict[Value, Value]) -> None:
    """Use other values in the place of some, and drop the nodes that made those, if they do nothing else."""

    def resolve(value: Value) -> Value:
        while value in mapping:
            value = mapping[value]
        return value

    for block in walk_blocks(func.body):
        block.nodes = [n for n in block.nodes if n.blocks or not (len(n.results) == 1 and n.result in mapping)]
        for node in block.nodes:
            node.operands = [resolve(v) for v in node.operands]
        block.yields = [resolve(v) for v in block.yields]


def drop_nameless_lets(func: Func) -> None:
    """A `let` without a name is the value itself; one that is a result stands for a conversion at the end."""
    results = set(func.results)
    drop_lets(
        func,
        {
            n.result
            for n in walk_nodes(func.body)
            if n.op is LET and not n.result.name and n.result not in results
        },
    )


# ------------------------------------------------------------------------------------------------ algebra


def constant(value: Value) -> Any:
    """The number that a value is, or None."""
    node = value.node
    return node.attrs["value"] if node is not None and node.op.name == "const" else None


def _is_number(value: Value, number: int) -> bool:
    known = constant(value)
    return known is not None and not isinstance(known, bool | np.bool_) and bool(known == number)


@dataclass(slots=True)
class _Scene:
    """What the rules know: how often values are used, and whether all inexact numbers are double."""

    uses: dict[Value, int]
    only_doubles: bool
    equal: dict[str, str]
    made: list[Node] = field(default_factory=list)

    def const(self, value: Any, like: Node) -> Value:
        """A constant in front of the node that is being rewritten."""
        node = Node(TABLE["const"], [], [], {"value": value}, [], like.loc)
        node.results = [Value(WEAK_FLOAT if isinstance(value, float) else WEAK_INT, "", node)]
        self.made.append(node)
        return node.result

    def same_type(self, a: Value, b: Value) -> bool:
        """Whether one may stand for the other: weak and strong doubles may where there are only doubles."""
        if isinstance(a.ty, Scalar) and isinstance(b.ty, Scalar):
            return a.dtype == b.dtype and (a.ty.weak == b.ty.weak or (self.only_doubles and is_inexact(a.ty)))
        if isinstance(a.ty, Array) and isinstance(b.ty, Array):
            same = a.ty.dtype == b.ty.dtype and a.ty.layout == b.ty.layout
            return same and same_shape(a.ty.shape, b.ty.shape, self.equal)
        return a.ty == b.ty

    def is_single(self, value: Value) -> bool:
        """Whether an unnamed value is used once: it is printed inside what uses it."""
        return not value.name and value.node is not None and self.uses.get(value) == 1


def _rewrite(block: Block, scene: _Scene, rules: Sequence[Rule]) -> None:
    scene.made = []
    for node in block.nodes:
        if len(node.results) == 1:
            for rule in rules:
                if rule(node, scene):
                    break
        scene.made.append(node)
    block.nodes = scene.made


Rule: TypeAlias = Callable[[Node, _Scene], bool]


def _fold_constants(node: Node, scene: _Scene) -> bool:
    if node.op.name not in ("add", "sub", "mul", "neg"):
        return False
    known = [_plain(constant(v), scene) for v in node.operands]
    if any(type(k) not in (int, float) for k in known):
        return False
    a, *b = known
    value = {"add": lambda: a + b[0], "sub": lambda: a - b[0], "mul": lambda: a * b[0], "neg": lambda: -a}[
        node.op.name
    ]()
    node.op, node.operands, node.attrs = TABLE["const"], [], {"value": value}
    return True


def _plain(value: Any, scene: _Scene) -> Any:
    """NumPy's double as Python's, where that makes no difference."""
    return value.item() if scene.only_doubles and isinstance(value, np.float64) else value


def _multiply_by_one(node: Node, scene: _Scene) -> bool:
    if node.op.name == "strong_mul" and constant(node.operands[0]):
        node.op = TABLE["mul"]  # the cotangent is known not to be 0
    if node.op.name != "mul":
        return False
    for one, other in ((node.operands[0], node.operands[1]), (node.operands[1], node.operands[0])):
        if not scene.same_type(node.result, other) or not isinstance(one.ty, Scalar):
            continue
        if _is_number(one, -1):
            node.op, node.operands = TABLE["neg"], [other]
            return True
        if not _is_number(one, 1):
            continue
        if isinstance(other.ty, Scalar):
            node.op, node.operands = LET, [other]
        elif (
            scene.is_single(other)
            and other.node is not None
            and other.node.op.kind in ("elementwise", "product", "reduce")
        ):
            # The array that was made for this product is the product.
            node.op, node.operands = LET, [other]
            other.name, node.result.name = node.result.name, ""
        else:
            node.op, node.operands = TABLE["copy"], [other]
        return True
    return False


def _exact_quotient(node: Node, scene: _Scene) -> bool:
    """n * m // m is n."""
    if node.op.name != "floordiv" or node.operands[0].node is None or not isinstance(node.result.ty, Scalar):
        return False
    product = node.operands[0].node
    if product.op.name != "mul" or not _same_size(product.operands[1], node.operands[1]):
        return False
    node.op, node.operands = LET, [product.operands[0]]
    return True


def _same_size(a: Value, b: Value) -> bool:
    p, q = a.node, b.node
    if a is b or p is None or q is None:
        return a is b
    return p.op.name == q.op.name == "dim" and p.operands[0] is q.operands[0] and p.attrs == q.attrs


def _integer_identity(node: Node, scene: _Scene) -> bool:
    if node.op.name not in ("add", "sub") or not is_integer(node.result.ty) or not isinstance(node.result.ty, Scalar):
        return False
    left, right = node.operands
    for zero, other in ((right, left), (left, right))[: 2 if node.op.name == "add" else 1]:
        if _is_number(zero, 0) and other.ty == node.result.ty:
            node.op, node.operands = LET, [other]
            return True
    return False


def _size_is_natural(node: Node, scene: _Scene) -> bool:
    """max(n, 0) is n for a size, and for a number that is not negative."""
    if node.op.name == "maximum" and all(type(constant(v)) is int for v in node.operands):
        value = max(constant(v) for v in node.operands)
        node.op, node.operands, node.attrs = TABLE["const"], [], {"value": value}
        return True
    if node.op.name != "maximum" or not _is_number(node.operands[1], 0) or node.operands[0].node is None:
        return False
    if node.operands[0].node.op.name != "dim" or node.result.ty != node.operands[0].ty:
        return False
    node.op, node.operands = LET, node.operands[:1]
    return True


def _double(node: Node, scene: _Scene) -> bool:
    """`ct*x + ct*x`, which is what the derivative of `x * x` gives, as `2*x*ct`."""
    if node.op.name != "add" or not is_inexact(node.result.ty):
        return False
    a, b = (v.node for v in node.operands)
    if node.loc.reverse and _content(node.operands[0]) is _content(node.operands[1]):
        node.op, node.operands = TABLE["mul"], [scene.const(2, node), node.operands[1]]
        return True
    if _add_once(node, scene):
        return True
    if a is None or b is None or a is b or a.op.name != "mul" or b.op.name != "mul" or not a.loc.reverse:
        return False
    same = all(p is q for p, q in zip(a.operands, b.operands, strict=True))
    if (
        not same
        or scene.uses.get(a.result) != 1
        or scene.uses.get(b.result) != 1
        or b.result.name
        or node.result.ty != a.result.ty
    ):
        return False
    ct, x = a.operands if _is_cotangent(a.operands[0]) or not _is_cotangent(a.operands[1]) else a.operands[::-1]
    b.op, b.operands = TABLE["mul"], [scene.const(2, node), x]
    b.result.ty = x.ty
    node.op, node.operands = TABLE["mul"], [b.result, ct]
    return True


def _content(value: Value) -> Value:
    while value.node is not None and value.node.op is LET and isinstance(value.ty, Scalar):
        value = value.node.operands[0]
    return value


def _add_once(node: Node, scene: _Scene) -> bool:
    """x + ct*y, and then + ct*y, is x + 2*y*ct."""
    total, second = (v.node for v in node.operands)
    if total is None or second is None or total.op.name != "add" or scene.uses.get(total.result) != 1:
        return False
    first = total.operands[1].node
    if first is None or first.op.name != "mul" or second.op.name != "mul" or not node.loc.reverse:
        return False
    singles = scene.is_single(first.result) and scene.is_single(second.result)
    if not singles or any(p is not q for p, q in zip(first.operands, second.operands, strict=True)):
        return False
    ct, x = second.operands if _is_cotangent(second.operands[0]) else second.operands[::-1]
    doubled = Node(TABLE["mul"], [scene.const(2, node), x], [], {}, [], node.loc)
    doubled.results = [Value(x.ty, "", doubled)]
    scene.made.append(doubled)
    second.operands = [doubled.result, ct]
    scene.made.remove(second)
    scene.made.append(second)
    node.operands = [total.operands[0], second.result]
    return True


def _partial_first(node: Node, scene: _Scene) -> bool:
    if node.op.name != "mul" or not node.loc.reverse:
        return False
    ct, partial = node.operands
    if constant(partial) is not None and constant(ct) is None:
        node.operands = [partial, ct]
        return True
    ranks_differ = isinstance(ct.ty, Scalar) and not isinstance(partial.ty, Scalar)
    is_partial = _is_partial(partial, scene) and (ranks_differ or not _is_partial(ct, scene))
    if constant(ct) is None and (is_partial or (_is_cotangent(ct) and not _is_cotangent(partial))):
        node.operands = [partial, ct]
        return True
    return False


def _is_cotangent(value: Value) -> bool:
    """Whether a value is a cotangent, going by where it was made and by its name."""
    node = value.node
    if node is None:
        return value.name.startswith("d")
    if not node.loc.reverse:
        return False
    if value.name:
        return value.name.startswith("d")
    if node.op.kind in ("view", "read"):
        return _is_cotangent(node.operands[0])
    return node.op.name != "pop"


def _is_partial(value: Value, scene: _Scene) -> bool:
    """Whether a value is a local derivative that is printed where it is multiplied by the cotangent, or a number."""
    node = value.node
    if node is None or value.name:
        return False
    return node.op.name == "const" or (node.loc.reverse and node.op.kind == "elementwise" and scene.is_single(value))


def _signs(node: Node, scene: _Scene) -> bool:
    """-(-a / b * c) is a / b * c, and 2 * -a is -2 * a: a sign is a bit of its own."""
    if node.op.name == "mul" and node.loc.reverse:
        known, negation = constant(node.operands[0]), node.operands[1].node
        turned = negation is not None and negation.op.name == "neg" and scene.is_single(node.operands[1])
        if turned and type(known) in (int, float):
            assert negation is not None
            node.operands = [scene.const(-known, node), negation.operands[0]]
            return True
    if node.op.name != "neg" or not is_inexact(node.result.ty):
        return False
    value = node.operands[0]
    while scene.is_single(value) and value.node is not None:
        inner = value.node
        if inner.op.name == "neg" and is_inexact(inner.operands[0].ty):
            inner.op = LET
            node.op = LET
            return True
        if inner.op.name not in ("mul", "div"):
            return False
        value = next((v for v in inner.operands if _leads_to_negation(v, scene)), inner.operands[0])
    return False


def _leads_to_negation(value: Value, scene: _Scene) -> bool:
    node = value.node
    if node is None or not scene.is_single(value):
        return False
    return node.op.name == "neg" or (
        node.op.name in ("mul", "div") and any(_leads_to_negation(v, scene) for v in node.operands)
    )


def _subtract(node: Node, scene: _Scene) -> bool:
    if node.op.name not in ("add", "sub"):
        return False
    opposite = TABLE["sub" if node.op.name == "add" else "add"]
    left, right = node.operands
    inner = right.node
    if inner is not None and inner.op.name == "neg" and not right.name and scene.uses.get(right) == 1:
        node.op, node.operands = opposite, [left, inner.operands[0]]
        return True
    known = constant(right)
    if type(known) in (int, float) and known < 0 and not right.name:
        node.op, node.operands = opposite, [left, scene.const(-known, node)]
        return True
    return False


def _two_first(node: Node, scene: _Scene) -> bool:
    """2 * (a * b) is 2 * a * b: twice a number is exact."""
    if node.op.name != "mul" or not node.loc.reverse or constant(node.operands[0]) not in (2, -2):
        return False
    two, product = node.operands
    inner = product.node
    if inner is None or inner.op.name != "mul" or not scene.is_single(product) or not is_inexact(product.ty):
        return False
    a, b = inner.operands
    if type(constant(two)) is not int or not is_inexact(a.ty):
        return False
    inner.operands, product.ty = [two, a], a.ty
    node.operands = [product, b]
    return True


def _turn_sign(value: Value, scene: _Scene) -> bool:
    """Take the sign out of a product or quotient that is printed where it is used, if a factor has one."""
    node = value.node
    if node is None or not scene.is_single(value) or not is_inexact(value.ty):
        return False
    if node.op.name == "neg":
        node.op = LET
        return True
    if node.op.name not in ("mul", "div"):
        return False
    first, second = node.operands
    known = constant(first)
    if type(known) in (int, float) and known < 0:
        node.operands = [scene.const(-known, node), second]
        place = scene.made.index(node)
        scene.made.insert(place, scene.made.pop())
        return True
    return _turn_sign(first, scene) or _turn_sign(second, scene)


def _subtract_product(node: Node, scene: _Scene) -> bool:
    """a + (-b / c * d) is a - b / c * d."""
    if node.op.name not in ("add", "sub") or not node.loc.reverse or not is_inexact(node.result.ty):
        return False
    if not _turn_sign(node.operands[1], scene):
        return False
    node.op = TABLE["sub" if node.op.name == "add" else "add"]
    return True


def _subtract_in_place(block: Block, scene: _Scene) -> None:
    """The same where a product is added to a part of an array: a negation as a whole is printed as `-=`."""
    scene.made = list(block.nodes)
    for node in block.nodes:
        if node.op.name not in ("accumulate", "accumulate_at"):
            continue
        value = node.operands[1]
        if value.node is None or value.node.op.name == "neg" or not _turn_sign(value, scene):
            continue
        turned = Node(TABLE["neg"], [value], [], {}, [], node.loc)
        turned.results = [Value(value.ty, "", turned)]
        node.operands = [node.operands[0], turned.result, *node.operands[2:]]
        scene.made.insert(scene.made.index(node), turned)
    block.nodes = scene.made


def _drop_cast(node: Node, scene: _Scene) -> bool:
    """float64 to float64: where everything inexact is double, Python's and NumPy's numbers need no telling apart."""
    if node.op.name != "cast" or not isinstance(node.result.ty, Scalar) or not isinstance(node.operands[0].ty, Scalar):
        return False
    same = node.result.dtype == node.operands[0].dtype
    if scene.only_doubles and same:
        node.op, node.attrs = LET, {}
    return True


_RULES = (
    _fold_constants, _multiply_by_one, _integer_identity, _exact_quotient,
    _size_is_natural, _double, _partial_first, _signs, _subtract,
)  # fmt: skip


# -------------------------------------------------------------------------------------------------- views


def _merge_views(func: Func) -> None:
    """`A[i][1:]` becomes `A[i, 1:]` where the first index only takes single positions and whole axes."""
    for node in walk_nodes(func.body):
        if node.op.name == "reshape":
            inner = node.operands[0].node
            if inner is not None and inner.op.name == "reshape" and not node.operands[0].name:
                node.operands[0] = inner.operands[0]
        if node.op.name not in ("index", "load", "store_at", "accumulate_at"):
            continue
        first = 2 if node.op.kind == "write" else 1
        while True:
            inner = node.operands[0].node
            if inner is None or inner.op.name != "index" or node.operands[0].name:
                break
            merged = _merge_regions(inner.attrs["region"], node.attrs["region"], len(inner.operands) - 1)
            if merged is None:
                break
            node.attrs["region"] = merged
            node.operands = [inner.operands[0], *node.operands[1:first], *inner.operands[1:], *node.operands[first:]]


def _merge_regions(inner: Region, outer: Region, shift: int) -> Region | None:
    """The region of `x[inner][outer]`; the operands of `outer` come `shift` later. None where it takes two steps."""
    if any(isinstance(e, NewAxis) for e in (*inner, *outer)):
        return None

    def moved(bound: Any) -> Any:
        return Arg(bound.k + shift) if isinstance(bound, Arg) else bound

    rest: list[Any] = []
    for entry in outer:
        match entry:
            case At(position):
                rest.append(At(moved(position)))
            case Span(start, stop, step):
                rest.append(Span(moved(start), moved(stop), moved(step)))
            case _:
                return None
    merged: list[Any] = []
    for entry in inner:
        if isinstance(entry, At):
            merged.append(entry)
            continue
        follow = rest.pop(0) if rest else FULL
        if entry != FULL and follow != FULL:
            return None
        merged.append(entry if follow == FULL else follow)
    return (*merged, *rest)


# --------------------------------------------------------------------------------------------- loops, rest


def _keep_exit_flags(func: Func) -> None:
    """An exit flag that is itself carried is read before the carried values move on."""
    for node in walk_nodes(func.body):
        if not node.attrs.get("exits"):
            continue
        body = node.blocks[-1]
        flag = body.yields[0]
        if flag in body.params:
            let = Node(LET, [flag], [], {}, [], node.loc)
            let.results = [Value(flag.ty, "stop", let)]
            body.nodes.append(let)
            body.yields[0] = let.results[0]


def _drop_unused(func: Func) -> None:
    while True:
        counts = array_cosmetics.use_counts(func)
        dropped = False
        for block in walk_blocks(func.body):
            kept = [n for n in block.nodes if _is_needed(n, counts)]
            dropped = dropped or len(kept) != len(block.nodes)
            block.nodes = kept
        if not dropped:
            return


def _is_needed(node: Node, counts: dict[Value, int]) -> bool:
    if node.op.name == "stack_new" or not has_effect(node):
        return any(r in counts for r in node.results)
    return True
