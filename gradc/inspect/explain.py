"""A table of what every stage of a program holds and what reaches it on the way back, with what is wrong about it.

A row is a value that has a name in the user's program; the last is the result. Flags:

saturated   most entries of a sigmoid or tanh lie where its derivative is next to nothing
dead        units of a ReLU that are off for every sample
vanishing   the cotangent of a layer is next to nothing against that of the last layer; or, in a loop, that of the
            first iteration against that of the last
exploding   the same, the other way round
nan, inf    the value or its cotangent holds such numbers
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradc.errors import Loc
from gradc.inspect.circuit import written_place
from gradc.inspect.observe import Observation, Record, activation, is_unit, observe, weight_axis, written_values
from gradc.inspect.text import coloured, html_text, number_text, on_terminal, range_text, shape_text, table
from gradc.ir.effects import buffers_read, roots
from gradc.ir.nodes import Block, Node, Value
from gradc.ir.types import is_inexact
from gradc.runtime.dispatch import Compiled
from gradc.runtime.nonfinite import Place

_FEW_SAMPLES = 8  # with fewer, that a unit is off says nothing about it
_FULL_SLOPE = {"tanh": 1.0, "sigmoid": 0.25}


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From where on something is flagged.

    saturated: share of the entries of a sigmoid or tanh whose derivative is below `flat` of its greatest.
    dead: share of the units of a ReLU that are off for every sample.
    vanishing, exploding: norm of a layer's cotangent, as a multiple of that of the last layer.
    along_loops: norm of the cotangent in the first iteration, as a multiple of that in the last; or the inverse of it.
    """

    saturated: float = 0.5
    flat: float = 0.02
    dead: float = 0.4
    vanishing: float = 1e-3
    exploding: float = 1e3
    along_loops: float = 1e-5


@dataclass(slots=True)
class Row:
    """One stage. Ranges are (least, greatest) or None; `zeros` is a share; `shares` says how much of it is flagged."""

    name: str
    filename: str
    line: int
    text: str
    shape: tuple[int, ...]
    value_range: tuple[float, float] | None
    cotangent_range: tuple[float, float] | None
    cotangent_norm: float | None
    zeros: float
    flags: tuple[str, ...] = ()
    shares: dict[str, float] = field(default_factory=dict)

    def flag(self, name: str, share: float | None = None) -> None:
        """Raise a flag, once."""
        if name not in self.flags:
            self.flags = (*self.flags, name)
        if share is not None:
            self.shares[name] = max(share, self.shares.get(name, 0.0))


class Explanation:
    """The table. `rows` holds it; `first_forward` and `first_backward` say where something not finite first appears."""

    def __init__(self, title: str, rows: list[Row], forward: Place | None, backward: Place | None) -> None:
        self.title = title
        self.rows = rows
        self.first_forward = forward
        self.first_backward = backward

    @property
    def flags(self) -> tuple[str, ...]:
        """All flags that are raised, each once, in the order of the rows."""
        return tuple(dict.fromkeys(flag for row in self.rows for flag in row.flags))

    def __str__(self) -> str:
        return self.text(on_terminal())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_text(self.text(True))

    def text(self, colours: bool = False) -> str:
        """The table as text."""
        head = ["stage", "line", "shape", "value", "cotangent", "norm", "zeros", "", ""]
        cells = [head, *(_cells(row) for row in self.rows)]
        flags = [row[-2] for row in cells]
        lines = table(cells, right=(1, 6))
        done = [coloured(lines[0], "bold", colours)]
        for line, flag in zip(lines[1:], flags[1:], strict=True):
            done.append(line.replace(f"  {flag}", "  " + coloured(flag, "red", colours), 1) if flag else line)
        for way, place in (("forward", self.first_forward), ("backward", self.first_backward)):
            if place is not None:
                code = place.loc.line().strip()
                done.append(coloured(f"first {place.what} {way}: {place.loc}: {code}", "red", colours))
        return "\n".join(done)


def _cells(row: Row) -> list[str]:
    flags = ", ".join(f"{f} {row.shares[f]:.0%}" if f in row.shares else f for f in row.flags)
    return [
        row.name,
        str(row.line) if row.line else "",
        shape_text(row.shape),
        range_text(*row.value_range) if row.value_range else "nan" if "nan" in row.flags else "",
        range_text(*row.cotangent_range) if row.cotangent_range else "nan" if row.cotangent_norm is not None else "",
        number_text(row.cotangent_norm) if row.cotangent_norm is not None else "",
        f"{row.zeros:.0%}" if row.shape else "",
        flags,
        row.text if flags else "",
    ]


def explain(compiled: Compiled, args: Sequence[Any], kwargs: dict[str, Any]) -> Explanation:
    """Run `compiled` for these arguments and explain what it does; keyword arguments of `Thresholds` are taken out."""
    names = set(Thresholds.__dataclass_fields__) - set(compiled.inspected_names)
    limits = Thresholds(**{k: float(v) for k, v in kwargs.items() if k in names})
    return _Explainer(observe(compiled, args, {k: v for k, v in kwargs.items() if k not in names}), limits).run()


def _row(name: str, loc: Loc, record: Record, ct: Record | None) -> Row:
    def known(r: Record | None) -> tuple[float, float] | None:
        return None if r is None or r.low is None or r.high is None else (r.low, r.high)

    norm = max(ct.norms) if ct is not None and ct.norms else None
    text = loc.line().strip() if loc.lineno else ""
    return Row(name, loc.filename, loc.lineno, text, record.shape, known(record), known(ct), norm, record.zeros)


class _Explainer:
    def __init__(self, seen: Observation, limits: Thresholds) -> None:
        self.seen = seen
        self.limits = limits
        self.rows: list[Row] = []
        self.row_of: dict[Value, Row] = {}
        self.nodes = list(_in_order(seen.func.body))
        self.written = written_values(seen.func)
        self.uses: dict[Value, list[Node]] = {}
        for node in self.nodes:
            for v in node.operands:
                self.uses.setdefault(v, []).append(node)

    def run(self) -> Explanation:
        func = self.seen.func
        for k, param in enumerate(func.params):
            if k < len(self.seen.names) and is_inexact(param.ty):
                self._add(param, self.seen.names[k], Loc(func.loc.filename))
        results = {r: k for k, r in enumerate(func.results)}
        counts: dict[str, int] = {}
        for node in self.nodes:
            if node.op.kind == "write" and node in self.seen.values and is_inexact(node.operands[1].ty):
                self._add_write(node)
            for value in node.results:
                if value not in self.seen.values or not is_inexact(value.ty):
                    continue
                name = self._name(node, value, results)
                inside = self._row_inside(node, value)
                if inside is not None:
                    self.row_of[value] = inside
                    continue
                if not name:
                    continue
                counts[name] = counts.get(name, 0) + 1
                self._add(value, name if counts[name] == 1 else f"{name} ({counts[name]})", node.loc)
        self._flag_activations()
        self._flag_flow()
        bad = any(not np.isfinite(self.seen.values[r].last).all() for r in results if r in self.seen.values)
        forward = self.seen.forward if bad or any({"nan", "inf"} & set(row.flags) for row in self.rows) else None
        spoilt = any(_not_finite(self.seen.cotangents.get(v)) for v in (*self.row_of, *func.params))
        backward = self.seen.backward if spoilt else None
        return Explanation(self.seen.title, self.rows, forward, backward)

    # -------------------------------------------------------------------------------------------- rows

    def _name(self, node: Node, value: Value, results: dict[Value, int]) -> str:
        if node.op.name in ("const", "empty", "zeros") or node.op.kind == "query":
            return ""
        if value.name:
            base = node.operands[0] if node.op.kind == "view" or node.op.name == "copy" else None
            return "" if base is not None and base.name == value.name else value.name
        if value in results:
            return "result" if len(results) == 1 else f"result {results[value]}"
        return ""

    def _row_inside(self, node: Node, value: Value) -> Row | None:
        """The row that a result of a loop or branch has there already, under the same name."""
        for block in node.blocks:
            for out in block.yields:
                if out in self.row_of and out.name and out.name == value.name:
                    return self.row_of[out]
        return None

    def _add_write(self, node: Node) -> None:
        """The row of what a write leaves, with the cotangent of what it writes."""
        target, value = node.operands[:2]
        if value.name and value.name == target.name or value.node is not None and value.node.op.name == "const":
            return
        place = written_place(node)
        if place.startswith("…"):  # a buffer that the user has no name for
            return
        row = _row(place, node.loc, self.seen.values[node], self.seen.cotangents.get(value))
        if self.seen.values[node].nan:
            row.flag("nan")
        self.rows.append(row)
        self.row_of.setdefault(value, row)

    def _add(self, value: Value, name: str, loc: Loc) -> None:
        record, ct = self.seen.values[value], self.seen.cotangents.get(value)
        row = _row(name, loc, record, ct)
        computed = value.node is not None
        if record.nan or (ct is not None and ct.nan):
            row.flag("nan")
        if (record.inf and computed and self._makes_inf(value)) or (ct is not None and ct.inf):
            row.flag("inf")
        self.rows.append(row)
        self.row_of[value] = row

    def _makes_inf(self, value: Value) -> bool:
        """Whether infinities of `value` come from computing, not from constants and arguments, such as masks."""
        work, seen = [value], set[Value]()
        while work:
            node = work.pop().node
            if node is None:
                continue
            operands = [v for v in node.operands if v in self.seen.values]
            bad = [v for v in operands if self.seen.values[v].inf]
            constants = [v for v in node.operands if v.node is not None and v.node.op.name == "const"]
            masked = any(np.isinf(v.node.attrs["value"]) for v in constants if v.node is not None)
            if not bad and not masked and node.op.kind in ("elementwise", "reduce", "product"):
                return True
            work += [v for v in bad if v not in seen]
            seen.update(bad)
        return False

    def _row_for(self, value: Value, node: Node) -> Row:
        """The row of a value; of the stage that it is a part of; or a new one."""
        if value in self.row_of:
            return self.row_of[value]
        at = self.nodes.index(node)
        for later in self.nodes[at + 1 :]:
            if (later.loc.filename, later.loc.lineno) != (node.loc.filename, node.loc.lineno):
                continue
            for r in later.results:
                if r in self.row_of and self._leads_to(value, r):
                    return self.row_of[r]
        # A stage of its own, at its place among the others.
        self._add(value, activation(node) or node.op.name, node.loc)
        row = self.rows.pop()
        before = [r for n in self.nodes[:at] for r in n.results if r in self.row_of and r is not value]
        position = next((k + 1 for v in reversed(before) for k, r in enumerate(self.rows) if r is self.row_of[v]), None)
        self.rows.insert(len(self.rows) if position is None else position, row)
        return row

    def _leads_to(self, value: Value, target: Value, steps: int = 12) -> bool:
        if value is target:
            return True
        if target.node is None or not steps:
            return False
        return any(self._leads_to(value, v, steps - 1) for v in target.node.operands)

    # ------------------------------------------------------------------------------------------- flags

    def _flag_activations(self) -> None:
        for node in self.nodes:
            kind = activation(node)
            if kind is None:
                continue
            value = node.results[0] if node.results else node.operands[0]
            record = self.seen.values.get(node.results[0] if node.results else node)
            if record is None or not record.count:
                continue
            if kind == "relu":
                flows = value in self.seen.cotangents or not node.results
                if record.on is None or not flows or not is_unit(node, self.written):
                    continue
                off = float(np.mean(~record.on)) if record.on.size else 0.0
                if off == 1.0 or (off >= self.limits.dead and record.rows >= _FEW_SAMPLES and record.on.ndim):
                    self._row_for(value, node).flag("dead", off)
            elif record.seen and not self._feeds_logarithm(value):
                y = np.concatenate(record.seen)
                slope = 1 - y * y if kind == "tanh" else y * (1 - y)
                flat = float(np.mean(slope < self.limits.flat * _FULL_SLOPE[kind])) if y.size else 0.0
                if flat > self.limits.saturated:
                    self._row_for(value, node).flag("saturated", flat)

    def _feeds_logarithm(self, value: Value, steps: int = 3) -> bool:
        """Whether a logarithm follows, whose infinite slope makes good for the flat one: probabilities."""
        for node in self.uses.get(value, ()):
            if node.op.name in ("log", "log1p", "log2", "log10", "logaddexp"):
                return True
            if steps and node.op.name in ("sub", "add", "clip", "maximum", "minimum", "where"):
                if any(self._feeds_logarithm(r, steps - 1) for r in node.results):
                    return True
        return False

    def _flag_flow(self) -> None:
        """Compare the cotangents of layers with that of the last one."""
        trained = frozenset(self.seen.func.params[k] for k in self.seen.wrt)
        found = [n for n in self.nodes if n.results and n.results[0] in self.seen.cotangents]
        products = [n for n in found if weight_axis(n, trained) is not None]
        active = [n for n in found if activation(n) is not None]
        layers = [n for n in found if n in products or n in active]
        if products:
            last = products[-1]
        elif len(active) > 1:
            last = active[-1]
        else:
            last = None
        for node in layers:
            if last is not None and self.nodes.index(node) < self.nodes.index(last):
                norms = self.seen.cotangents[node.results[0]].norms
                held = self.seen.cotangents[last.results[0]].norms
                if norms and held:
                    self._compare(node, max(norms), held[-1], self.limits.vanishing, self.limits.exploding)
        for node in _states(self.seen.func.body):
            record = self.seen.cotangents.get(node.results[0])
            if record is not None and len(record.norms) > 1 and self._follows(node, layers):
                far = self.limits.along_loops
                self._compare(node, record.norms[0], record.norms[-1], far, 1 / far)

    def _follows(self, node: Node, layers: list[Node], steps: int = 12) -> bool:
        """Whether a layer is among what a node computes from."""
        if node in layers:
            return True
        made = [v.node for v in node.operands if v.node is not None and v.node.op.kind != "control"]
        return steps > 0 and any(self._follows(n, layers, steps - 1) for n in made)

    def _compare(self, node: Node, norm: float, against: float, low: float, high: float) -> None:
        if not (np.isfinite(norm) and np.isfinite(against)) or against == 0.0:
            return
        if norm < low * against:
            self._row_for(node.results[0], node).flag("vanishing")
        elif norm > high * against:
            self._row_for(node.results[0], node).flag("exploding")


def _states(block: Block, loops: int = 0) -> list[Node]:
    """What computes the values that loops hand on to their next iteration: carried ones, and arrays that they read."""
    found: dict[Node, None] = {}
    read = buffers_read(block)
    for node in block.nodes:
        handed = node.op.kind == "write" and bool(roots(node.operands[0]) & read)
        if loops and handed and node.operands[1].node is not None:
            found[node.operands[1].node] = None
        is_loop = node.op.name in ("for", "while")
        for inner in node.blocks:
            found.update(dict.fromkeys(_states(inner, loops + is_loop)))
            if is_loop:
                found.update(dict.fromkeys(v.node for v in inner.yields if v.node is not None))
    return [n for n in found if n.results and n.op.name != "const"]


def _not_finite(record: Record | None) -> bool:
    return record is not None and (record.nan or record.inf)


def _in_order(block: Block) -> list[Node]:
    """The nodes of a block, those of inner blocks where their owner stands."""
    found: list[Node] = []
    for node in block.nodes:
        for inner in node.blocks:
            found += _in_order(inner)
        found.append(node)
    return found

