"""Blocks as Python statements.

Each node that is not folded into another one becomes a statement. What control nodes yield becomes assignments at the
end of their blocks, left out where both sides are one variable already.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from gradc.codegen.expressions import ATOM, Expressions
from gradc.codegen.folding import Folding
from gradc.codegen.liveness import carried_inputs, carried_params, carried_yields, loop_body, trip_count
from gradc.codegen.naming import Variables
from gradc.codegen.rebinding import Rebinding
from gradc.errors import NOWHERE, Loc
from gradc.ir.effects import roots
from gradc.ir.nodes import Block, Node, Value
from gradc.ir.region import At, Span
from gradc.ir.types import Array, Scalar

# Targets, sources and the node of a parallel assignment.
Closing: TypeAlias = tuple[Sequence[Value], Sequence[Value], Node]

_AUGMENTED = {"add": "+=", "sub": "-=", "mul": "*=", "div": "/=", "floordiv": "//=", "mod": "%=", "pow": "**="}


@dataclass(slots=True)
class Line:
    """One line of text. `node` is what it was made of, None for closing assignments."""

    depth: int
    text: str
    loc: Loc = NOWHERE
    node: Node | None = None
    reverse: bool = False


@dataclass(slots=True)
class Scope:
    """Where statements go: the lines so far and the depth of the next."""

    lines: list[Line] = field(default_factory=list)
    depth: int = 1

    def add(self, text: str, node: Node | None) -> None:
        loc = node.loc if node is not None else NOWHERE
        self.lines.append(Line(self.depth, text, loc, node, loc.reverse and not _fills_tape(node)))


class Statements:
    """Writes the blocks of one function. `used` are the values that some text reads."""

    def __init__(
        self,
        folding: Folding,
        rebinding: Rebinding,
        variables: Variables,
        expressions: Expressions,
        used: set[Value],
    ) -> None:
        self._folding = folding
        self._rebinding = rebinding
        self._variables = variables
        self._text = expressions
        self._used = used
        self._told: dict[Node, list[Value]] = {}  # of each loop, the variables that say whether it was left
        self._chained = False  # the `if` that comes next may become an `elif`

    def block(self, block: Block, scope: Scope) -> None:
        """The statements of a block, without what becomes of its yields."""
        for node in block.nodes:
            self._node(node, scope)

    # ------------------------------------------------------------------------------------------ one node

    def _node(self, node: Node, scope: Scope) -> None:
        match node.op.name:
            case "if":
                self._branch(node, scope)
            case "for":
                self._for(node, scope)
            case "while":
                self._while(node, scope)
            case "check" | "check_indices":
                self._check(node, scope)
            case "push":
                self._push(node, scope)
            case _ if node.op.kind == "write":
                self._write(node, scope)
            case _ if (node.op.emit is None and len(node.results) > 1) or len(node.results) == 1:
                self._assignment(node, scope)
            case _:
                self._several(node, scope)

    def _assignment(self, node: Node, scope: Scope) -> None:
        result = node.result
        if result in self._folding.folded:
            return
        if result not in self._used and node.op.name != "pop":
            return
        if node.op.name == "undef":
            return
        if node.op.name in ("empty", "empty_like") and self._rebinding.is_set_at_once(result):
            return
        if (
            node.op.emit == "{x}"
            and node.operands[0] not in self._folding.folded
            and self._variables.same(result, node.operands[0])
        ):
            return
        if node.op.name == "copy" and self._takes_over(node):
            return
        if node in self._rebinding.passing and self._variables.same(result, node.operands[0]):
            return
        name = self._variables[result] if result in self._used else ""
        augmented = self._augmented(node, name)
        text = self._text.text(node.operands[0]) if node in self._rebinding.passing else self._text.node(node)[0]
        if isinstance(result.ty, Array) and node.op.emit == "{x}" and node.op.kind != "view":
            text = self._text.text(node.operands[0], ATOM) + ".copy()"
        scope.add(augmented or (f"{name} = {text}" if name else text), node)

    def _takes_over(self, node: Node) -> bool:
        """Whether a copy is the array itself: it has the variable of what is copied, which alone holds that array."""
        (base,) = node.operands
        if base in self._folding.folded or not self._variables.same(base, node.result):
            return False
        return self._is_own_buffer(base, node)

    def _several(self, node: Node, scope: Scope) -> None:
        """An op with several results."""
        targets = ", ".join(self._variables[r] if r in self._used else "_" for r in node.results)
        scope.add(f"{targets} = {self._text.node(node)[0]}", node)

    def _augmented(self, node: Node, name: str) -> str:
        """`x += c` for `x = x + c`, where that changes no array that somebody else sees."""
        if node.op.name == "let" and node.operands[0] in self._folding.folded and node.operands[0].node is not None:
            return self._augmented_by(node.operands[0].node, node.result, name)
        return self._augmented_by(node, node.result, name)

    def _augmented_by(self, node: Node, result: Value, name: str) -> str:
        if node.op.name not in _AUGMENTED or not name:
            return ""
        first, second = node.operands
        sides = [(first, second)]
        if node.op.name in ("add", "mul"):
            sides.append((second, first))
        for base, other in sides:
            if base in self._folding.folded or not self._variables.same(base, result):
                continue
            if isinstance(node.result.ty, Array) and not self._is_own_buffer(base, node):
                continue
            if any(self._variables.same(leaf, base) for leaf in self._folding.leaves(other)) and base is second:
                continue
            if node.op.name == "add":
                return self._signed(name, self._text.text(other), other)
            return f"{name} {_AUGMENTED[node.op.name]} {self._text.text(other)}"
        return ""

    def _is_own_buffer(self, base: Value, user: Node) -> bool:
        """Whether `base` is an array that only its own variable names and that has the type of the result."""
        node = base.node
        if node is None or node.op.kind not in ("elementwise", "reduce", "product", "fresh") or node.op.name == "let":
            return False
        if self._rebinding.is_shared(base):
            return False
        same_type = (
            isinstance(base.ty, Array)
            and isinstance(user.result.ty, Array)
            and (base.ty.dtype == user.result.ty.dtype and base.ty.shape == user.result.ty.shape)
        )
        if base in self._rebinding.targets:
            return same_type and self._rebinding.is_owned(base, self._variables)
        return same_type and self._folding.is_private(base)

    # ------------------------------------------------------------------------------------------- writes

    def _push(self, node: Node, scope: Scope) -> None:
        stack, x = node.operands
        text = self._text.text(x)
        if isinstance(x.ty, Array):
            made_here = x in self._folding.folded and x.node is not None and x.node.op.kind not in ("view", "query")
            text = text if made_here else self._text.text(x, ATOM) + ".copy()"
        scope.add(f"{self._text.text(stack)}.append({text})", node)

    def target(self, x: Value, in_place: bool) -> str:
        """An array as the left side of an assignment; `in_place`: of an augmented one, for which a name will do."""
        node = x.node
        is_name = x not in self._folding.folded
        if not is_name and node is not None and node.op.name == "index":
            return self._text.node(node)[0]
        base = self._text.text(x, ATOM)
        if is_name and in_place:
            return base
        return base + ("[:]" if x.rank else "[()]") if is_name else f"{base}[...]"

    def _write(self, node: Node, scope: Scope) -> None:
        x, value, *rest = node.operands
        if node in self._rebinding.stores:
            if value in self._folding.folded:
                assert value.node is not None
                name = self._variables[x]
                if value.node in self._rebinding.passing:
                    scope.add(f"{name} = {self._text.text(value.node.operands[0])}", node)
                else:
                    augmented = self._augmented_by(value.node, x, name)
                    scope.add(augmented or f"{name} = {self._text.text(value)}", node)
            elif not self._variables.same(x, value):
                scope.add(f"{self._variables[x]} = {self._variables[value]}", node)
            return
        match node.op.name:
            case "store":
                self._store(self.target(x, False), node, value, scope, self.target(x, True))
            case "accumulate":
                text = self._text.text(value)
                extra = value.rank - x.rank
                if extra > 0:
                    text = self._text.text(value, ATOM) + f"[{', '.join('0' * extra)}]"
                scope.add(self._signed(self.target(x, True), text, value), node)
            case "store_at" | "scatter":
                place = f"{self._text.text(x, ATOM)}[{self._text.index(node.attrs['region'], rest)}]"
                self._store(place, node, value, scope, place if node.op.name == "store_at" else "")
            case "accumulate_at":
                place = f"{self._text.text(x, ATOM)}[{self._text.index(node.attrs['region'], rest)}]"
                scope.add(self._signed(place, self._text.text(value), value), node)
            case "scatter_add":
                place = self._text.index(node.attrs["region"], rest, call=True)
                scope.add(f"np.add.at({self._text.text(x)}, {place}, {self._text.text(value)})", node)
            case "scatter_mask":
                scope.add(f"{self._text.text(x, ATOM)}[{self._text.text(rest[0])}] = {self._text.text(value)}", node)
            case "accumulate_mask":
                scope.add(f"{self._text.text(x, ATOM)}[{self._text.text(rest[0])}] += {self._text.text(value)}", node)
            case _:
                scope.add(self._text.node(node)[0], node)

    def _signed(self, place: str, text: str, value: Value) -> str:
        """`place += text`, or `-=` where the value is a negation."""
        node = value.node
        if node is not None and node.op.name == "neg" and value in self._folding.folded:
            return f"{place} -= {self._text.text(node.operands[0], 10)}"
        return f"{place} += {text}"

    def _store(self, place: str, node: Node, value: Value, scope: Scope, updated: str) -> None:
        """`place = value`, or `place += other` where the value is that place with something done to it."""
        source = value.node
        into = node.operands[0]
        is_update = source is not None and source.op.name in _AUGMENTED and value in self._folding.folded
        if updated and is_update and value.dtype == into.dtype:
            assert source is not None
            first, second = source.operands
            for base, other in [(first, second)] + ([(second, first)] if source.op.name in ("add", "mul") else []):
                if self._text.text(base) in (updated, place):
                    scope.add(f"{updated} {_AUGMENTED[source.op.name]} {self._text.text(other)}", node)
                    return
        read = value
        if source is not None and source.op.name == "copy" and value in self._folding.folded:
            read = source.operands[0]  # the text is that of what is copied
        copied = node.op.name == "store" and _copies_wrongly(into, read)
        text = self._text.text(value, ATOM) + ".copy()" if copied else self._text.text(value)
        scope.add(f"{place} = {text}", node)

    # ------------------------------------------------------------------------------------------- checks

    def _check(self, node: Node, scope: Scope) -> None:
        condition, *carried = node.operands
        error = {"ShapeError": "ValueError", "DTypeError": "TypeError", "UnsupportedError": "TypeError",
                 "NonDifferentiableError": "ValueError"}.get(node.attrs["error"], node.attrs["error"])  # fmt: skip
        message = node.attrs["message"]
        test = condition.node
        if node.attrs["error"] == "ShapeError" and message.startswith("sizes ") and test is not None:
            if test.op.name == "eq":  # sizes by the names that they have in the text
                message = " and ".join(self._text.text(v) for v in test.operands) + " differ"
        arguments = ([json.dumps(message, ensure_ascii=False)] if message else []) + [
            self._text.text(v) for v in carried
        ]
        known = (
            condition.node.attrs["value"] if condition.node is not None and condition.node.op.name == "const" else None
        )
        if known is not None:
            if not known:
                scope.add(f"raise {error}({', '.join(arguments)})" if arguments else f"raise {error}", node)
            return
        if error == "AssertionError" and len(arguments) < 2:
            text = self._text.text(condition, 1)
            scope.add(f"assert {text}" + (f", {arguments[0]}" if arguments else ""), node)
            return
        scope.add(f"if {self._text.negation(condition)[0]}:", node)
        scope.depth += 1
        scope.add(f"raise {error}({', '.join(arguments)})", node)
        scope.depth -= 1

    # ------------------------------------------------------------------------------------------- control

    def _pairs(self, targets: Sequence[Value], sources: Sequence[Value]) -> list[tuple[Value, Value]]:
        """What really has to be assigned."""
        found = []
        for target, source in zip(targets, sources, strict=True):
            if target not in self._used:
                continue
            if source.node is not None and source.node.op.name == "undef" and source in self._folding.folded:
                continue
            if source in self._folding.folded:
                if self._text.text(source) != self._variables[target]:
                    found.append((target, source))
            elif not self._variables.same(target, source):
                found.append((target, source))
        return found

    def copies(self, targets: Sequence[Value], sources: Sequence[Value], scope: Scope, node: Node) -> None:
        """Parallel assignment, in an order that overwrites nothing still to be read, where there is one."""
        pending = self._pairs(targets, sources)
        reads = [{self._variables[leaf] for leaf in self._folding.leaves(source)} for _, source in pending]
        names = [self._variables[target] for target, _ in pending]
        left = list(range(len(pending)))
        while left:
            # Free to go: its target is read by no other assignment that is left.
            free = [k for k in left if not any(names[k] in reads[j] for j in left if j != k)]
            if free:
                k = free[0]
                left.remove(k)
                scope.add(self._copy_text(names[k], pending[k][1]), replace_loc(node, pending[k][1]))
                continue
            cycle = _cycle(left, names, reads)
            sides = [[names[k] for k in cycle], [self._text.text(pending[k][1], 1) for k in cycle]]
            scope.add(f"{', '.join(sides[0])} = {', '.join(sides[1])}", replace_loc(node, pending[cycle[0]][1]))
            left = [k for k in left if k not in cycle]

    def _copy_text(self, name: str, source: Value) -> str:
        node = source.node
        if source in self._folding.folded and node is not None and node.op.name in _AUGMENTED:
            first, second = node.operands
            if (
                isinstance(source.ty, Scalar)
                and first not in self._folding.folded
                and self._variables[first] == name
            ):
                return f"{name} {_AUGMENTED[node.op.name]} {self._text.text(second)}"
        return f"{name} = {self._text.text(source)}"

    def _inner(self, scope: Scope) -> Scope:
        return Scope([], scope.depth + 1)

    def _branch(self, node: Node, scope: Scope) -> None:
        then, other = self._inner(scope), self._inner(scope)
        chained = self._chained
        for block, inner in zip(node.blocks, (then, other), strict=True):
            self._chained = block is node.blocks[1] and len(block.nodes) > 0 and block.nodes[-1].op.name == "if"
            self.block(block, inner)
            self._chained = False
            self.copies(node.results, block.yields, inner, node)
        condition = node.operands[0]
        if not then.lines and not other.lines:
            return
        if not chained and self._conditional(node, then, other, scope):
            return
        if not then.lines:
            scope.add(f"if {self._text.negation(condition)[0]}:", node)
            scope.lines += other.lines
            return
        scope.add(f"if {self._text.text(condition)}:", node)
        scope.lines += then.lines
        if not other.lines:
            return
        first = other.lines[0]
        is_chain = first.text.startswith("if ") and all(
            line.depth > first.depth or line.text.startswith(("else:", "elif ")) for line in other.lines[1:]
        )
        if is_chain:
            for line in other.lines:
                line.depth -= 1
            first.text = "el" + first.text
        else:
            scope.add("else:", node)
        scope.lines += other.lines

    def _conditional(self, node: Node, then: Scope, other: Scope, scope: Scope) -> bool:
        """`y = a if c else b` where each side only assigns the one result and both are short."""
        if len(then.lines) != 1 or len(other.lines) != 1:
            return False
        results = [r for r in node.results if r in self._used]
        if len(results) != 1 or not is_simple(then.lines[0].text) or not is_simple(other.lines[0].text):
            return False
        name = self._variables[results[0]]
        heads = [line.text.startswith(f"{name} = ") for line in (then.lines[0], other.lines[0])]
        if not all(heads):
            return False
        a, b = (line.text[len(name) + 3 :] for line in (then.lines[0], other.lines[0]))
        if (a, b) == ("True", "False"):
            scope.add(f"{name} = {self._text.text(node.operands[0])}", node)
            return True
        condition = self._text.text(node.operands[0], 1)
        if len(a) + len(b) + len(condition) > 60 or " if " in a or " if " in b:
            return False
        scope.add(f"{name} = {a} if {condition} else {b}", node)
        return True

    def _range(self, node: Node) -> str:
        start, stop, step = node.operands[:3]
        zero, one = (_literal(start) == 0, _literal(step) == 1)
        if one:
            arguments = [stop] if zero else [start, stop]
        else:
            arguments = [start, stop, step]
        text = f"range({', '.join(self._text.text(v) for v in arguments)})"
        return f"reversed({text})" if node.attrs.get("reversed") else text

    def _for(self, node: Node, scope: Scope) -> None:
        body = loop_body(node)
        self.copies(carried_params(node), carried_inputs(node), scope, node)
        index = body.params[0]
        inner = self._inner(scope)
        self._loop_body(node, body, inner, scope)
        name = self._variables[index] if index in self._used or index.name else "_"
        scope.add(f"for {name} in {self._range(node)}:", node)
        scope.lines += inner.lines or [Line(inner.depth, "pass", node.loc, node)]

    def _loop_body(self, node: Node, body: Block, inner: Scope, outer: Scope) -> None:
        count = trip_count(node)
        if count is not None and count in self._used:
            outer.add(f"{self._variables[count]} = 0", node)
            inner.add(f"{self._variables[count]} += 1", node)
        if node.attrs.get("exits"):
            told = self._told_exits(node, body)
            self._told[node] = [carried_params(node)[k] for k in told]
            kept = [k for k in range(len(carried_params(node))) if k not in told]
            params, yields = carried_params(node), carried_yields(node)
            due: Closing = ([params[k] for k in kept], [yields[k] for k in kept], node)
            if not self._with_exit(body, body.yields[0], inner, [due]):
                self.copies(*due[:2], inner, node)
            return
        self.block(body, inner)
        self.copies(carried_params(node), carried_yields(node), inner, node)

    def _told_exits(self, node: Node, body: Block) -> list[int]:
        """Carried values that say after the loop whether it was left: False before it, and True at each `break`."""
        flag, inputs = body.yields[0], carried_inputs(node)
        last = body.nodes[-1] if body.nodes else None
        same = [k for k, y in enumerate(carried_yields(node)) if y is flag and _literal(inputs[k]) is False]
        decided = last is not None and last.op.name == "if" and flag in last.results
        read = any(self._folding.use_count(carried_params(node)[k]) for k in same)
        return same if decided and not read and self._folding.use_count(flag) == 1 + len(same) else []

    def _with_exit(self, block: Block, flag: Value, scope: Scope, closing: list[Closing]) -> bool:
        """A block of a loop body whose exit flag is `flag`; `closing`: assignments due when the iteration ends.

        Where the flag is decided by an `if` at the end of the block, `break` stands in its branches. Returns whether
        the assignments are made; if not, the iteration goes on after the block and they are still due.
        """
        last = block.nodes[-1] if block.nodes else None
        known = _literal(flag)
        decided = last is not None and last.op.name == "if" and flag in last.results
        told = len(self._told[closing[0][2]]) if len(closing) == 1 else 0
        if last is None or not decided or self._folding.use_count(flag) != 1 + told:
            self.block(block, scope)
            if known is False:
                return False
            if known is None and len(closing) > 1:
                scope.add(f"if {self._text.text(flag)}:", closing[-1][2])
                leaving = self._inner(scope)
                self._leave(closing, leaving)
                scope.lines += leaving.lines
                return False
            if known is True:
                self._leave(closing, scope)
                return True
            self.copies(*closing[0][:2], scope, closing[0][2])
            scope.add(f"if {self._text.text(flag)}:", closing[0][2])
            scope.lines.append(Line(scope.depth + 1, "break", closing[0][2].loc, closing[0][2]))
            return True
        for node in block.nodes[:-1]:
            self._node(node, scope)
        k = last.results.index(flag)
        others = [j for j in range(len(last.results)) if j != k]
        branches, leaves = [], []
        for inner_block in last.blocks:
            inner = self._inner(scope)
            due: Closing = ([last.results[j] for j in others], [inner_block.yields[j] for j in others], last)
            leaves.append(self._with_exit(inner_block, inner_block.yields[k], inner, [due, *closing]))
            if not leaves[-1]:
                self.copies(*due[:2], inner, last)
            branches.append(inner)
        condition = last.operands[0]
        head = f"if {self._text.text(condition)}:"
        if (leaves[1] and not leaves[0]) or not branches[0].lines:
            branches.reverse()
            head = f"if {self._text.negation(condition)[0]}:"
        if branches[0].lines:
            scope.add(head, last)
            scope.lines += branches[0].lines
        if branches[1].lines:
            if any(leaves):
                for line in branches[1].lines:
                    line.depth -= 1
            else:
                scope.add("else:", last)
            scope.lines += branches[1].lines
        return all(leaves)

    def _leave(self, closing: Sequence[Closing], scope: Scope) -> None:
        """Everything that is due, and `break`."""
        for targets, sources, node in closing:
            self.copies(targets, sources, scope, node)
        for value in self._told[closing[-1][2]]:
            if value in self._used:
                scope.add(f"{self._variables[value]} = True", closing[-1][2])
        scope.add("break", closing[-1][2])

    def _while(self, node: Node, scope: Scope) -> None:
        condition, body = node.blocks
        self.copies(carried_params(node), carried_inputs(node), scope, node)
        test, inner = self._inner(scope), self._inner(scope)
        self.block(condition, test)
        held = condition.yields[0]
        self._loop_body(node, body, inner, scope)
        if not test.lines:
            scope.add(f"while {self._text.text(held)}:", node)
            scope.lines += inner.lines or [Line(inner.depth, "pass", node.loc, node)]
            return
        scope.add("while True:", node)
        test.add(f"if {self._text.negation(held)[0]}:", node)
        test.lines.append(Line(test.depth + 1, "break", node.loc, node))
        scope.lines += test.lines + inner.lines


def replace_loc(node: Node, source: Value) -> Node:
    """A node that stands for a closing assignment: at the place where the value was made, if that is known."""
    made = source.node
    if made is None or not made.loc.lineno or made.blocks or made.loc.reverse is not node.loc.reverse:
        return node
    return made


def view_base(value: Value) -> Value:
    """The array that a chain of views starts from."""
    while value.node is not None and value.node.op.kind == "view":
        value = value.node.operands[0]
    return value


def is_tape_read(node: Node) -> bool:
    """Whether a node takes back what the forward sweep put on a tape."""
    if node.op.name == "copy":
        inner = node.operands[0].node
        return inner is not None and is_tape_read(inner)
    return node.op.name == "pop" or (
        node.op.kind in ("view", "read") and view_base(node.operands[0]).name.endswith("_tape")
    )


def _fills_tape(node: Node | None) -> bool:
    """Whether a node makes a tape or saves something: that is of the forward sweep."""
    if node is None:
        return False
    if node.op.name in ("stack_new", "push"):
        return True
    if node.op.name in ("store", "store_at"):
        return view_base(node.operands[0]).name.endswith("_tape")
    saved = [r.name for r in node.results]
    return any(name.endswith("_tape") for name in saved) or (
        node.op.name != "pop" and any(name.endswith("_old") for name in saved) and not is_tape_read(node)
    )


def _copies_wrongly(target: Value, value: Value) -> bool:
    """Whether `target[...] = value` depends on NumPy's order: vectors in one buffer that step through it differently.

    NumPy makes a copy of what overlaps except where both are vectors: `a[:, 2] = a[1]` reads what it has written.
    """
    if target.rank != 1 or value.rank != 1 or roots(target).isdisjoint(roots(value)):
        return False
    one, other = _step_in_buffer(target), _step_in_buffer(value)
    return one is None or other is None or one != other


def _step_in_buffer(vector: Value) -> tuple[Value, int, int] | None:
    """Buffer, axis and step (its absolute value) of a vector; None where that is not to be seen."""
    node = vector.node
    if node is None or node.op.kind != "view":
        return vector, 0, 1
    base = node.operands[0]
    if node.op.name != "index" or base.node is not None and base.node.op.kind == "view":
        return None
    spans = [(axis, e) for axis, e in enumerate(node.attrs["region"]) if not isinstance(e, At)]
    if len(spans) != 1 or not isinstance(spans[0][1], Span):
        return None
    axis, span = spans[0]
    step = 1 if span.step is None else span.step
    return (base, axis, abs(step)) if isinstance(step, int) else None


def is_simple(text: str) -> bool:
    """Whether a line is a plain assignment that can become a part of a conditional expression."""
    return not text.startswith(("if ", "for ", "while ", "raise ", "assert "))


def _literal(value: Value) -> Any:
    node = value.node
    return node.attrs["value"] if node is not None and node.op.name == "const" else None


def _cycle(left: Sequence[int], names: Sequence[str], reads: Sequence[set[str]]) -> list[int]:
    """Assignments that read each other's targets in a circle, and those that must happen with them."""
    for start in left:
        path, seen = [start], {start}
        while True:
            following = [k for k in left if k != path[-1] and names[path[-1]] in reads[k]]
            if not following:
                break
            step = following[0]
            if step in seen:
                return sorted(path[path.index(step) :])
            path.append(step)
            seen.add(step)
    return list(left)
