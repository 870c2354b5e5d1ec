"""Random smooth IR programs with loops, branches, views, writes and stacks, for checking derivatives by differences.

A program takes x (n), y (n), m (n, n) and two numbers, and returns a number. Values stay of moderate size: every new
one goes through a bounded function now and then. The same seed gives the same program.
"""

from __future__ import annotations

import numpy as np

import gradc.ops  # noqa: F401  # loads the table
from gradc.ir.builder import Builder, new_func
from gradc.ir.nodes import Block, Func, Value
from gradc.ir.opdef import TABLE
from gradc.ir.region import FULL, Arg, At, Span
from gradc.ir.types import BOOL, FLOAT, WEAK_FLOAT, WEAK_INT, Array, Scalar, size_variable
from gradc.ops import memory

N = size_variable("n")
AT0 = (At(Arg(0)),)
AT01 = (At(Arg(0)), At(Arg(1)))


class Maker:
    """Adds random statements to a function; what is in scope is in `numbers`, `vectors`, `matrices`, `indices`."""

    def __init__(self, seed: int, stacks: bool = False) -> None:
        self.rng = np.random.default_rng(seed)
        vector, matrix = Array("float64", (N,)), Array("float64", (N, N))
        params = [("x", vector), ("y", vector), ("m", matrix), ("a", WEAK_FLOAT), ("b", FLOAT)]
        self.func = new_func("f", params)
        self.b = Builder(self.func, checks=False)
        x, y, m, a, b = self.func.params
        self.vectors, self.matrices, self.numbers = [x, y], [m], [a, b]
        self.indices: list[Value] = []
        self.names = 0

    def make(self, statements: int) -> Func:
        """The function."""
        with self.b:
            self.statements(statements, 0)
            # Where the result is linear in what loops and branches give, their reverse may run inside them.
            linear = self.rng.random() < 0.5
            total = self.number() * 1.5 if linear else self.tamed(self.number())
            for v in self.vectors[-3:]:
                total = total + TABLE["sum"](v if linear else v * self.tamed_array(v), axes=(0,), keepdims=False)
            for v in self.matrices[-2:]:
                total = total + TABLE["sum"](v if linear else TABLE["sin"](v), axes=(0, 1), keepdims=False)
            for v in self.numbers[-3:]:
                total = total + (v * 0.7 if linear else self.tamed(v))
        self.func.body.yields = [total]
        return self.func

    def pick(self, items: list) -> Value:
        return items[self.rng.integers(len(items))]

    def number(self) -> Value:
        if self.rng.random() < 0.15:
            return self.b.const(float(np.round(self.rng.normal(), 2)))
        return self.pick(self.numbers)

    def index(self) -> Value:
        if not self.indices or self.rng.random() < 0.2:
            return self.b.const(int(self.rng.choice([0, -1, 1])))
        return self.pick(self.indices)

    def tamed(self, v: Value) -> Value:
        return TABLE[str(self.rng.choice(["sin", "tanh", "sigmoid"]))](v)

    def tamed_array(self, v: Value) -> Value:
        return TABLE[str(self.rng.choice(["sin", "tanh"]))](v)

    def named(self, v: Value) -> Value:
        if self.rng.random() < 0.6 and not v.name:
            self.names += 1
            v.name = f"t{self.names}"
        return v

    def statements(self, count: int, depth: int) -> None:
        kinds = ["number", "number", "load", "vector", "vector", "store_at", "store", "accumulate", "view", "sum"]
        kinds += ["dot", "matvec", "fresh", "outer", "mask"]
        if depth < 3:
            kinds += ["for", "for", "if", "while", "select"]
        for _ in range(count):
            getattr(self, f"do_{self.rng.choice(kinds)}")(depth)

    def do_number(self, depth: int) -> None:
        op = self.rng.choice(["add", "sub", "mul", "mulsin", "square", "exp", "div", "plain"])
        p, q = self.number(), self.number()
        if op == "mulsin":
            v = TABLE["sin"](p) * TABLE["cos"](q)
        elif op == "square":
            v = TABLE["square"](self.tamed(p))
        elif op == "exp":
            v = TABLE["exp"](self.tamed(p))
        elif op == "plain":
            v = p + 0.5 * q
        elif op == "div":
            v = self.tamed(p) / (2.0 + TABLE["square"](q))
        else:
            v = self.tamed(TABLE[str(op)](p, q))
        self.numbers.append(self.named(v))

    def do_load(self, depth: int) -> None:
        if self.rng.random() < 0.6:
            v = TABLE["load"](self.pick(self.vectors), self.index(), region=AT0)
        else:
            v = TABLE["load"](self.pick(self.matrices), self.index(), self.index(), region=AT01)
        self.numbers.append(self.named(v))

    def do_vector(self, depth: int) -> None:
        p, q = self.pick(self.vectors), self.pick(self.vectors)
        v = self.rng.choice(["mul", "add", "scaled", "sin"])
        made = {
            "mul": lambda: self.tamed_array(p * q),
            "add": lambda: p + q,
            "scaled": lambda: self.tamed_array(p) * self.number(),
            "sin": lambda: TABLE["sin"](p),
        }[str(v)]()
        self.vectors.append(self.named(made))

    def do_fresh(self, depth: int) -> None:
        make = memory.zeros_like if self.rng.random() < 0.5 else memory.copy
        v = make(self.pick(self.vectors))
        self.vectors.append(self.named(v))

    def do_store_at(self, depth: int) -> None:
        value = self.tamed(self.number())
        op = "store_at" if self.rng.random() < 0.6 else "accumulate_at"
        if self.rng.random() < 0.6:
            TABLE[op](self.pick(self.vectors), value, self.index(), region=AT0)
        else:
            TABLE[op](self.pick(self.matrices), value, self.index(), self.index(), region=AT01)

    def do_store(self, depth: int) -> None:
        value = self.tamed_array(self.pick(self.vectors)) if self.rng.random() < 0.7 else self.tamed(self.number())
        TABLE["store"](self.pick(self.vectors), value)

    def do_accumulate(self, depth: int) -> None:
        kind = self.rng.random()
        if kind < 0.4:
            TABLE["accumulate"](self.pick(self.vectors), self.tamed_array(self.pick(self.vectors)) * 0.5)
            return
        v = self.pick(self.vectors)
        left = memory.make_index(v, (Span(None, -1, None),))
        right = memory.make_index(self.pick([v, self.pick(self.vectors)]), (Span(1, None, None),))
        if kind < 0.7:
            TABLE["accumulate"](left, TABLE["sin"](right))
        else:
            TABLE["store"](right, left)

    def do_view(self, depth: int) -> None:
        m = self.pick(self.matrices)
        kind = self.rng.random()
        if kind < 0.4:
            self.vectors.append(memory.make_index(m, (At(Arg(0)), FULL), self.index()))
        elif kind < 0.7:
            self.vectors.append(memory.make_index(m, (FULL, At(Arg(0))), self.index()))
        elif kind < 0.85:
            self.matrices.append(TABLE["transpose"](m, perm=(1, 0)))
        else:
            self.vectors.append(memory.make_index(self.pick(self.vectors), (Span(None, None, -1),)))

    def do_sum(self, depth: int) -> None:
        v = TABLE["sum"](self.pick(self.vectors) * 0.3, axes=(0,), keepdims=False)
        self.numbers.append(self.named(self.tamed(v)))

    def do_dot(self, depth: int) -> None:
        self.numbers.append(self.named(self.tamed(self.pick(self.vectors) @ self.pick(self.vectors))))

    def do_matvec(self, depth: int) -> None:
        self.vectors.append(self.named(self.tamed_array(self.pick(self.matrices) @ self.pick(self.vectors))))

    def do_outer(self, depth: int) -> None:
        column = memory.make_index(self.pick(self.vectors), (FULL, memory.NewAxis()))
        self.matrices.append(self.named(self.tamed_array(column * self.pick(self.vectors))))

    def do_mask(self, depth: int) -> None:
        v, w = self.pick(self.vectors), self.pick(self.vectors)
        self.vectors.append(self.named(TABLE["where"](TABLE["gt"](v, 0.1), w, TABLE["sin"](v))))

    def do_select(self, depth: int) -> None:
        p, q = self.pick(self.vectors), self.pick(self.vectors)
        cond = TABLE["gt"](self.number(), 0.05)
        self.vectors.append(TABLE["select_ref"](cond, p, q))

    # ------------------------------------------------------------------------------------- control flow

    def inside(self, block: Block, depth: int, count: int) -> tuple[int, ...]:
        kept = (len(self.numbers), len(self.vectors), len(self.matrices), len(self.indices))
        self.statements(count, depth + 1)
        return kept

    def forget(self, kept: tuple[int, ...]) -> None:
        del self.numbers[kept[0] :], self.vectors[kept[1] :], self.matrices[kept[2] :], self.indices[kept[3] :]

    def do_if(self, depth: int) -> None:
        cond = TABLE["gt"](self.number(), 0.1)
        blocks = []
        for _ in range(2):
            block = Block()
            with self.b.into(block):
                kept = self.inside(block, depth, int(self.rng.integers(0, 4)))
                block.yields = [self.b.value(self.tamed(self.number()) * np.float64(1.0))]
                self.forget(kept)
            blocks.append(block)
        self.numbers.append(self.named(self.b.control("if", [cond], blocks, [FLOAT])[0]))

    def do_for(self, depth: int) -> None:
        n = memory.size_value(self.func.params[0], 0)
        start: Value | int = 0
        stop: Value | int = n
        step = 1
        style = self.rng.random()
        if style < 0.2 and self.indices:
            stop = self.pick(self.indices)
        elif style < 0.35:
            start, stop, step = 2, 0, -1
        elif style < 0.45:
            stop, step = 3, 2
        elif style < 0.5:
            stop = 0
        exits = self.rng.random() < 0.2
        inits = [TABLE["cast"](self.number(), dtype="float64", weak=False) for _ in range(self.rng.integers(0, 3))]
        if self.rng.random() < 0.5:
            inits.append(self.b.const(np.float64(0.0)))
        block = Block(params=[Value(WEAK_INT, "i"), *(Value(FLOAT, f"c{k}") for k in range(len(inits)))])
        accumulate_only = self.rng.random() < 0.4
        with self.b.into(block):
            before = (len(self.numbers), len(self.vectors), len(self.matrices), len(self.indices))
            if step == 1 and start == 0 and stop is n or step == -1 or step == 2:
                self.indices.append(block.params[0])
            if not accumulate_only:
                self.numbers.extend(block.params[1:])
            self.statements(int(self.rng.integers(1, 5)), depth + 1)
            outs = []
            for p in block.params[1:]:
                t = self.tamed(self.number())
                out = p + 0.3 * t if accumulate_only else 0.5 * p * t + t
                outs.append(TABLE["cast"](out, dtype="float64", weak=False))
            lead = [TABLE["cast"](TABLE["gt"](self.number(), 0.6), dtype="bool", weak=False)] if exits else []
            block.yields = [*lead, *outs]
            self.forget(before)
        types: list[Scalar] = [FLOAT] * len(inits) + ([WEAK_INT] if exits else [])
        made = self.b.control(
            "for", [start, stop, step, *inits], [block], types, reversed=bool(self.rng.random() < 0.2), exits=exits
        )
        self.numbers.extend(made[: len(inits)])

    def do_while(self, depth: int) -> None:
        init = TABLE["cast"](self.number(), dtype="float64", weak=False)
        count = self.b.const(0)
        cond = Block(params=[Value(FLOAT, "w"), Value(WEAK_INT, "k")])
        with self.b.into(cond):
            w, k = cond.params
            small = TABLE["lt"](TABLE["abs"](w), 5.0)
            few = TABLE["lt"](k, 3)
            cond.yields = [TABLE["cast"](TABLE["logical_and"](small, few), dtype="bool", weak=False)]
        body = Block(params=[Value(FLOAT, "w"), Value(WEAK_INT, "k")])
        with self.b.into(body):
            w, k = body.params
            before = (len(self.numbers), len(self.vectors), len(self.matrices), len(self.indices))
            self.numbers.append(w)
            self.statements(int(self.rng.integers(1, 4)), depth + 1)
            nxt = TABLE["cast"](w * 1.2 + self.tamed(self.number()), dtype="float64", weak=False)
            body.yields = [nxt, k + 1]
            self.forget(before)
        made = self.b.control("while", [init, count], [cond, body], [FLOAT, WEAK_INT, WEAK_INT])
        self.numbers.append(made[0])


def random_smooth(seed: int, statements: int = 8) -> Func:
    """The program of a seed."""
    return Maker(seed).make(statements)


def sample_arguments(seed: int, n: int = 3) -> list:
    """Arguments for any of the programs."""
    rng = np.random.default_rng(seed + 1000)
    arrays = [rng.normal(size=n), rng.normal(size=n), rng.normal(size=(n, n))]
    return [*arrays, float(rng.normal()), np.float64(rng.normal())]


__all__ = ["BOOL", "random_accumulator", "random_smooth", "sample_arguments"]


class Accumulator(Maker):
    """Programs of loops and branches that mostly accumulate, so that their reverse can often run inside them."""

    def make(self, statements: int) -> Func:
        """The function."""
        with self.b:
            self.outputs = [self.named(memory.zeros_like(self.vectors[0])) for _ in range(2)]
            self.locals: list[Value] = []
            for _ in range(statements):
                getattr(
                    self, str(self.rng.choice(["do_sum_loop", "do_sum_loop", "do_choice", "do_number", "do_touch"]))
                )(0)
            total = self.number() * 1.5
            for v in (*self.numbers[-4:], *self.numbers[:2]):
                total = total + (v * 0.7 if self.rng.random() < 0.8 else self.tamed(v))
            for v in (*self.outputs, self.vectors[0]):
                w = v if self.rng.random() < 0.7 else TABLE["sin"](v)
                total = total + TABLE["sum"](w, axes=(0,), keepdims=False)
        self.func.body.yields = [total]
        return self.func

    def do_touch(self, depth: int) -> None:
        """Change an outer array between loops."""
        target = self.pick([*self.outputs, *self.vectors[:2]])
        op = "accumulate" if self.rng.random() < 0.6 else "store"
        TABLE[op](target, TABLE["tanh"](self.pick([*self.outputs, *self.vectors[:2]])))

    def step(self, depth: int) -> None:
        """One statement of a body."""
        kind = str(self.rng.choice(["load", "exp", "exp", "number", "local", "output", "choice", "loop"]))
        if kind == "load":
            source = self.pick([*self.vectors[:2], *self.locals, *(self.outputs if self.rng.random() < 0.15 else [])])
            self.numbers.append(TABLE["load"](source, self.index(), region=AT0))
        elif kind == "exp":
            self.numbers.append(self.named(TABLE["exp"](self.tamed(self.number()) * 0.7)))
        elif kind == "number":
            self.do_number(depth)
        elif kind == "local":
            made = memory.copy(self.pick(self.vectors[:2])) * self.number()
            if self.rng.random() < 0.6:
                TABLE["store_at"](made, TABLE["exp"](self.tamed(self.number())), self.index(), region=AT0)
            self.locals.append(made)
            self.numbers.append(TABLE["sum"](TABLE["tanh"](made), axes=(0,), keepdims=False))
        elif kind == "output":
            op = "accumulate_at" if self.rng.random() < 0.7 else "store_at"
            TABLE[op](self.pick(self.outputs), self.number() * 1.1, self.index(), region=AT0)
        elif depth < 3:
            (self.do_choice if kind == "choice" else self.do_sum_loop)(depth)

    def scope(self) -> tuple[int, ...]:
        return len(self.numbers), len(self.vectors), len(self.matrices), len(self.indices), len(self.locals)

    def leave(self, kept: tuple[int, ...]) -> None:
        self.forget(kept[:4])
        del self.locals[kept[4] :]

    def do_choice(self, depth: int) -> None:
        cond = TABLE["gt"](self.number(), 0.2)
        blocks = []
        for _ in range(2):
            block = Block()
            with self.b.into(block):
                kept = self.scope()
                for _ in range(self.rng.integers(0, 3)):
                    self.step(depth + 1)
                block.yields = [self.b.value(self.number() * np.float64(1.0)) for _ in range(2)]
                self.leave(kept)
            blocks.append(block)
        self.numbers.extend(self.b.control("if", [cond], blocks, [FLOAT, FLOAT]))

    def do_sum_loop(self, depth: int) -> None:
        n = memory.size_value(self.func.params[0], 0)
        count = int(self.rng.integers(1, 3))
        inits = [self.b.const(np.float64(self.rng.choice([0.0, 0.5]))) for _ in range(count)]
        if self.rng.random() < 0.3:
            inits[0] = TABLE["cast"](self.number(), dtype="float64", weak=False)
        block = Block(params=[Value(WEAK_INT, "i"), *(Value(FLOAT, f"s{k}") for k in range(count))])
        with self.b.into(block):
            kept = self.scope()
            self.indices.append(block.params[0])
            for _ in range(self.rng.integers(1, 5)):
                self.step(depth + 1)
            for param in block.params[1:]:
                odd = self.rng.random()
                term = self.number() * 0.4
                if odd < 0.75:
                    out = param + term if odd < 0.4 else term + param if odd < 0.6 else param - term
                elif odd < 0.85:
                    out = term * 1.0
                else:
                    out = TABLE["sin"](param) + term
                block.yields.append(TABLE["cast"](out, dtype="float64", weak=False) if out.ty != FLOAT else out)
            self.leave(kept)
        backwards = bool(self.rng.random() < 0.2)
        self.numbers.extend(self.b.control("for", [0, n, 1, *inits], [block], [FLOAT] * count, reversed=backwards))


def random_accumulator(seed: int, statements: int = 4) -> Func:
    """The accumulating program of a seed."""
    return Accumulator(seed).make(statements)
