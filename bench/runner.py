"""Timing side by side: interleaved rounds, medians, ratios; results as rows for a table and for JSON."""

from __future__ import annotations

import gc
import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Row:
    """One workload at one size: medians in seconds by contestant.

    error: largest relative difference of value and gradients from the reference contestant.
    first: seconds of the first call in this process (compilation included; imports not).
    tape: peak tape bytes, where known.
    """

    name: str
    kind: str
    size: str
    dtype: str
    seconds: dict[str, float] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    error: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    peers: tuple[str, ...] = ()
    tape: float | None = None


def interleaved(
    calls: dict[str, Callable[[], Any]],
    budget: float = 2.0,
    rounds: int = 25,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds per call of each contestant; they take turns, so that drift of the machine meets all alike.

    A turn is one call, or as many as fill half a millisecond. `budget` bounds the seconds per contestant. With one
    thread, `time.process_time` is a clock that a busy machine does not disturb.
    """
    repeats: dict[str, int] = {}
    longest = 0.0
    for name, call in calls.items():
        call()
        start = clock()
        call()
        once = clock() - start
        repeats[name] = max(1, math.ceil(5e-4 / max(once, 1e-7)))
        longest = max(longest, once * repeats[name])
    rounds = max(5, min(rounds, int(budget / max(longest, 1e-7))))
    times: dict[str, list[float]] = {name: [] for name in calls}
    enabled = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, call in calls.items():
                count = repeats[name]
                start = clock()
                for _ in range(count):
                    call()
                times[name].append((clock() - start) / count)
    finally:
        if enabled:
            gc.enable()
    return {name: statistics.median(t) for name, t in times.items()}


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(math.log(v) for v in values) / len(values)) if values else math.nan


def show_seconds(seconds: float | None) -> str:
    """Three digits and a unit."""
    if seconds is None:
        return "-"
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def text_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Columns aligned: the first to the left, the others to the right."""
    widths = [max(len(str(line[k])) for line in (header, *lines)) for k in range(len(header))]

    def layout(line: Sequence[str]) -> str:
        cells = [
            f"{cell:<{w}}" if k == 0 else f"{cell:>{w}}" for k, (cell, w) in enumerate(zip(line, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return "\n".join([layout(header), "  ".join("-" * w for w in widths), *(layout(line) for line in lines)])


def report(title: str, rows: Sequence[Row], against: str = "gradc") -> str:
    """Medians, then the ratio of each peer's time to ours (above 1: we are faster), then geometric means by class."""
    names = [n for n in rows[0].peers if any(n in row.seconds or row.missing.get(n) for row in rows)]
    peers = [n for n in names if n != against]
    header = ["workload", *names, *(f"{p}/{against}" for p in peers), "error", "first call"]
    lines = []
    for row in rows:
        base = row.seconds.get(against)
        ratios = [f"{row.seconds[p] / base:.2f}" if base and p in row.seconds else "-" for p in peers]
        worst = max(row.error.values(), default=math.nan)
        first = ", ".join(f"{n} {show_seconds(s)}" for n, s in row.first.items() if n == against or n.startswith("jax"))
        label = " ".join(part for part in (row.name, row.size, "f32" if row.dtype == "float32" else "") if part)
        cells = [show_seconds(row.seconds.get(n)) if n in row.seconds else "no baseline" for n in names]
        lines.append([label, *cells, *ratios, f"{worst:.0e}", first])
    text = f"{title}\n\n{text_table(header, lines)}\n"
    for kind in (*sorted({row.kind for row in rows}), None):
        chosen = [row for row in rows if kind is None or row.kind == kind]
        means = []
        for peer in peers:
            ratios_ = [
                r.seconds[peer] / r.seconds[against] for r in chosen if peer in r.seconds and against in r.seconds
            ]
            if ratios_:
                means.append(f"{peer}/{against} {geometric_mean(ratios_):.2f} (n={len(ratios_)})")
        if means and (kind is None or len({row.kind for row in rows}) > 1):
            text += f"\ngeometric mean, {'all' if kind is None else f'class {kind}'}: " + ", ".join(means)
    failures = [f"{row.name} {row.size}: {n}: {why}" for row in rows for n, why in row.missing.items() if why]
    if failures:
        text += "\n\n" + "\n".join(failures)
    return text + "\n"


def write_json(path: Path, title: str, rows: Sequence[Row], machine: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"title": title, "machine": machine, "rows": [asdict(r) for r in rows]}, indent=1))
