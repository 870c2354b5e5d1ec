"""Hypothesis strategy of IR programs: scalars, arrays, views, writes, branches, loops; with values to run them on."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import gradc.ops  # noqa: F401  # loads the table
from gradc.errors import Loc
from gradc.ir.builder import Builder, new_func
from gradc.ir.nodes import Block, Func, Value
from gradc.ir.printer import print_func
from gradc.ir.region import FULL, Arg, At, Span
from gradc.ir.types import BOOL, FLOAT, INT, WEAK_INT, Array, Scalar, size_variable
from gradc.ops.memory import copy, make_index, make_reshape, size_value, zeros_like

N = size_variable("n")
VECTOR = Array("float64", (N,))
NUMBERS = [0.0, -0.0, 1.0, -1.0, 2.0, -2.5, 0.5, np.inf, np.nan]
UNARY = ["neg", "abs", "square", "exp", "sin", "sigmoid", "sqrt"]
BINARY = ["add", "sub", "mul", "div", "maximum", "minimum"]
COMPARE = ["lt", "le", "gt", "ge", "eq", "ne"]
STATEMENTS = ["scalar", "scalar", "array", "array", "int", "bool", "view", "write", "write", "element", "checked",
              "fresh", "reduce", "matrix", "stack", "select"]  # fmt: skip
BLOCKS = ["if", "for", "for", "while"]
BOUNDS = [(0, 2, 1), (2, -1, -1), (0, 1, 1), (1, 1, 1), (0, 5, 2)]


class _Maker:
    """Adds random statements; `floats`, `ints`, `bools`, `arrays` are what is in scope."""

    def __init__(self, draw: Any, func: Func) -> None:
        self.draw = draw
        self.b = Builder(func, checks=False)
        self.line = 1
        x, y, m, s, k = func.params
        self.arrays = [x, y]
        self.matrices = [m]
        self.floats = [s]
        self.ints = [k]
        self.indices = [k]
        self.bools: list[Value] = []

    def pick(self, values: list[Any]) -> Any:
        return self.draw(st.sampled_from(values))

    def float(self) -> Value:
        if self.draw(st.integers(0, 4)) == 0:
            return self.b.const(self.pick(NUMBERS))
        return self.pick(self.floats)

    def int(self) -> Value:
        return self.b.const(self.pick([0, 1, 2, -1])) if self.draw(st.integers(0, 2)) == 0 else self.pick(self.ints)

    def index(self) -> Value:
        """A position that is in range: an index of a loop over n, 0 or -1."""
        return self.b.const(self.pick([0, -1])) if self.draw(st.integers(0, 2)) == 0 else self.pick(self.indices)

    def bool(self) -> Value:
        if self.bools and self.draw(st.booleans()):
            return self.pick(self.bools)
        return self.b.emit(self.pick(COMPARE), self.pick([(self.float(), self.float()), (self.int(), self.int())]))

    def operand(self) -> Value:
        return self.float() if self.draw(st.booleans()) else self.pick(self.arrays)

    def statements(self, depth: int, most: int) -> None:
        for _ in range(self.draw(st.integers(1, most))):
            self.line += 1
            with self.b.at(Loc("model.py", "f", self.line, 4, 9)):
                getattr(self, "make_" + self.pick(STATEMENTS + BLOCKS[: 4 * depth]))()
                if depth and self.draw(st.integers(0, 3)) == 0:
                    getattr(self, "block_" + self.pick(["if", "for", "while"]))(depth - 1)

    def name(self, value: Value) -> Value:
        value.name = self.pick(["", "a", "b", "h"])
        return value

    def make_scalar(self) -> None:
        op = self.pick(UNARY + BINARY + ["where"])
        if op in UNARY:
            value = self.b.emit(op, (self.float(),))
        elif op == "where":
            value = self.b.emit(op, (self.bool(), self.float(), self.float()))
        else:
            value = self.b.emit(op, (self.float(), self.float()))
        if value.ty != FLOAT:
            value = self.b.emit("cast", (value,), dtype="float64", weak=False)
        self.floats.append(self.name(value))

    def make_int(self) -> None:
        value = self.b.emit(self.pick(["add", "sub", "mul"]), (self.int(), self.int()))
        self.ints.append(self.name(value))

    def make_bool(self) -> None:
        op = self.pick(["logical_and", "logical_or", "logical_not"])
        operands = (self.bool(),) if op == "logical_not" else (self.bool(), self.bool())
        self.bools.append(self.b.emit(op, operands))

    def make_array(self) -> None:
        op = self.pick(UNARY + BINARY)
        operands = (self.pick(self.arrays), *(() if op in UNARY else (self.operand(),)))
        if self.draw(st.booleans()):
            operands = operands[::-1]
        self.arrays.append(self.name(self.b.emit(op, operands)))

    def make_view(self) -> None:
        x = self.pick(self.arrays)
        region = self.pick([(FULL,), (Span(None, None, -1),), (Span(0, None),)])
        self.arrays.append(self.name(make_index(x, region)))

    def make_select(self) -> None:
        value = self.b.emit("select_ref", (self.bool(), self.pick(self.arrays), self.pick(self.arrays)))
        self.arrays.append(value)

    def make_matrix(self) -> None:
        m = self.pick(self.matrices)
        match self.pick(["transpose", "row", "new", "reshape"]):
            case "transpose":
                self.matrices.append(self.b.emit("transpose", (m,), perm=(1, 0)))
            case "new":
                self.matrices.append(self.b.emit(self.pick(["mul", "add"]), (m, self.pick([m, self.float()]))))
            case "reshape":
                c = copy(m)
                rows = [s if isinstance(s, int) else size_value(c, k) for k, s in enumerate(c.shape)]
                self.matrices.append(make_reshape(c, rows))
            case _:
                axis = 0 if m.shape[0] == 2 else 1
                region = [FULL, FULL]
                region[axis] = At(self.pick([0, 1, -1]))
                self.arrays.append(make_index(m, tuple(region)))

    def make_write(self) -> None:
        target = self.pick(self.arrays + [make_index(self.pick(self.arrays), (At(Arg(0)),), self.index())])
        if target.rank == 0:
            self.b.emit(self.pick(["store", "accumulate"]), (target, self.float()))
        else:
            self.b.emit(self.pick(["store", "store", "accumulate"]), (target, self.operand()))

    def make_element(self) -> None:
        x, i = self.pick(self.arrays), self.index()
        op = self.pick(["load", "load", "store_at", "accumulate_at"])
        region = (At(Arg(0)),)
        if op == "load":
            self.floats.append(self.name(self.b.emit("load", (x, i), region=region)))
        else:
            self.b.emit(op, (x, self.float(), i), region=region)

    def make_checked(self) -> None:
        """An element at any position, with the check that a front end puts before it."""
        x, i = self.pick(self.arrays), self.int()
        if self.draw(st.booleans()):
            i = self.b.emit(self.pick(["add", "sub"]), (self.pick(self.indices), i))
        n = size_value(x, 0)
        inside = self.b.emit(
            "logical_and", (self.b.emit("ge", (i, self.b.emit("neg", (n,)))), self.b.emit("lt", (i, n)))
        )
        self.b.emit("check", (inside,), error="IndexError", message="index is out of bounds")
        self.floats.append(self.name(self.b.emit("load", (x, i), region=(At(Arg(0)),))))

    def make_fresh(self) -> None:
        x = self.pick(self.arrays)
        made = zeros_like(x) if self.draw(st.booleans()) else copy(x)
        self.arrays.append(self.name(made))

    def make_reduce(self) -> None:
        value = self.b.emit(self.pick(["sum", "max"]), (self.pick(self.arrays),), axes=(0,), keepdims=False)
        self.floats.append(value)

    def make_stack(self) -> None:
        stack = self.b.emit("stack_new", (), item=FLOAT)
        self.b.emit("push", (stack, self.b.emit("cast", (self.float(),), dtype="float64", weak=False)))
        popped = self.b.emit("pop", (stack,))
        if self.draw(st.booleans()):
            self.floats.append(popped)

    def make_if(self) -> None:
        self.block_if(0)

    def make_for(self) -> None:
        self.block_for(0)

    def make_while(self) -> None:
        self.block_while(0)

    def scoped(self, block: Block, depth: int) -> list[Value]:
        """Fill `block` with statements; a float and a boolean that it can yield."""
        saved = {k: list(getattr(self, k)) for k in ("arrays", "matrices", "floats", "ints", "indices", "bools")}
        with self.b.into(block):
            for p in block.params:
                assert isinstance(p.ty, Scalar)
                {"f": self.floats, "i": self.ints, "b": self.bools}[np.dtype(p.ty.dtype).kind].append(p)
            self.statements(depth, 4)
            value = self.pick(self.floats)
            done = self.bool()
        for k, v in saved.items():
            setattr(self, k, v)
        return [value, done]

    def block_if(self, depth: int) -> None:
        cond = self.bool() if self.draw(st.integers(0, 3)) else self.b.const(self.draw(st.booleans()))
        blocks = [Block(), Block()]
        for block in blocks:
            block.yields = self.scoped(block, depth)
        value, flag = self.b.control("if", [cond], blocks, [FLOAT, BOOL])
        self.floats.append(self.name(value))
        self.bools.append(flag)

    def block_for(self, depth: int) -> None:
        body = Block([Value(WEAK_INT, "i"), Value(FLOAT, "c"), Value(FLOAT, "unused")])
        over_n = self.draw(st.booleans())
        size = size_value(self.arrays[0], 0)
        forward, backward = (0, size, 1), (self.b.emit("sub", (size, 1)), -1, -1)
        bounds = self.pick([forward, backward, (1, size, 1), (0, size, 2)]) if over_n else self.pick(BOUNDS)
        exits = self.draw(st.booleans())
        initial = [self.b.emit("cast", (self.float(),), dtype="float64", weak=False) for _ in range(2)]
        indices = list(self.indices)
        if over_n:
            self.indices.append(body.params[0])
        value, done = self.scoped(body, depth)
        self.indices = indices
        second = self.pick([body.params[2], body.params[1], initial[1]])
        body.yields = [*([done] if exits else []), value, second]
        types: list[Any] = [FLOAT, FLOAT, *([WEAK_INT] if exits else [])]
        made = self.b.control("for", [*bounds, *initial], [body], types, exits=exits, reversed=self.draw(st.booleans()))
        self.floats.extend(made[:2])
        self.ints.extend(made[2:])

    def block_while(self, depth: int) -> None:
        start = self.b.emit("cast", (self.b.const(0),), dtype="int64", weak=True)
        initial = [start, self.b.emit("cast", (self.float(),), dtype="float64", weak=False)]
        cond, body = (Block([Value(WEAK_INT, "t"), Value(FLOAT, "w")]) for _ in range(2))
        with self.b.into(cond):
            cond.yields = [self.b.emit("lt", (cond.params[0], self.pick([0, 2, 3])))]
        value, done = self.scoped(body, depth)
        with self.b.into(body):
            step = self.b.emit("add", (body.params[0], 1))
        exits = self.draw(st.booleans())
        body.yields = [*([done] if exits else []), step, value]
        made = self.b.control("while", initial, [cond, body], [WEAK_INT, FLOAT, WEAK_INT], exits=exits)
        self.ints.extend([made[0], made[2]])
        self.floats.append(made[1])


class Example:
    """A function and arguments for it, shown as text."""

    def __init__(self, func: Func, args: list[Any]) -> None:
        self.func = func
        self.args = args

    def __repr__(self) -> str:
        return f"{print_func(self.func)}\n{self.args}"


@st.composite
def programs(draw: Any) -> Example:
    """A function of (x, y, m, s, k) with arguments for it; `run` copies of the arguments, since it may write."""
    n = draw(st.integers(1, 4))
    func = new_func(
        "f",
        [("x", VECTOR), ("y", VECTOR), ("m", Array("float64", (2, N))), ("s", FLOAT), ("k", INT)],
        Loc("model.py", "f", 1, 0, 3),
    )
    maker = _Maker(draw, func)
    with maker.b:
        maker.statements(2, 10)
        func.body.yields = [maker.pick(maker.floats), maker.pick(maker.arrays), maker.pick(maker.arrays)]
    number = st.sampled_from(NUMBERS)
    values = [np.array(draw(st.lists(number, min_size=n, max_size=n))) for _ in range(2)]
    matrix = np.array(draw(st.lists(number, min_size=2 * n, max_size=2 * n))).reshape(2, n)
    return Example(func, [*values, matrix, draw(number), draw(st.integers(-n, n - 1))])
