"""Numbers, arrays and tables as text; colours where a terminal shows them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

_CODES = {"green": "32", "red": "31", "yellow": "33", "bold": "1", "dim": "2"}


def on_terminal() -> bool:
    """Whether standard output is a terminal that wants colours (https://no-color.org)."""
    return bool(getattr(sys.stdout, "isatty", lambda: False)()) and "NO_COLOR" not in os.environ


def coloured(text: str, colour: str, colours: bool) -> str:
    """`text` in a colour of the terminal."""
    return f"\033[{_CODES[colour]}m{text}\033[0m" if colours and text.strip() else text


def html_text(text: str) -> str:
    """Text with the colours of a terminal as HTML, in one block of preformatted lines."""
    colour = {"32": "#1a7f37", "31": "#cf222e", "33": "#9a6700", "2": "#777777"}
    styles = {"1": "font-weight:bold", **{code: f"color:{c}" for code, c in colour.items()}}
    parts = re.split(r"\033\[(\d+)m", text)
    made = [escape(parts[0])]
    for code, piece in zip(parts[1::2], parts[2::2], strict=True):
        made.append("</span>" if code == "0" else f'<span style="{styles[code]}">')
        made.append(escape(piece))
    return f'<pre style="line-height:1.3">{"".join(made)}</pre>'


def number_text(x: Any) -> str:
    """A number in at most about ten characters."""
    if isinstance(x, bool | np.bool_):
        return str(bool(x))
    if isinstance(x, int | np.integer):
        return str(int(x))
    if isinstance(x, complex | np.complexfloating):
        return f"{complex(x):.4g}"
    return f"{float(x):.4g}"


def shape_text(shape: Sequence[int]) -> str:
    """`3×4`."""
    return "×".join(str(n) for n in shape)


def value_text(x: Any) -> str:
    """A number; or an array: its few entries, or its shape with the range of what it holds."""
    if isinstance(x, np.ndarray) and x.size == 0:
        return f"{shape_text(x.shape)}: empty"
    if not isinstance(x, np.ndarray):
        return number_text(x)
    if x.ndim == 0:
        return number_text(x[()])
    if x.ndim == 1 and 0 < x.size <= 3:
        return "[" + ", ".join(number_text(v) for v in x) + "]"
    if x.dtype == bool:
        return f"{shape_text(x.shape)}: {int(x.sum())} true"
    return f"{shape_text(x.shape)}: {range_text(*extent(x))}"


def range_text(low: float | None, high: float | None) -> str:
    """`low … high`; what is None is not a number."""
    if low is None or high is None:
        return "nan"
    return number_text(low) if low == high else f"{number_text(low)} … {number_text(high)}"


def extent(x: np.ndarray[Any, Any]) -> tuple[float | None, float | None]:
    """Least and greatest of what is not NaN; of complex numbers, of their absolute value."""
    flat = np.abs(x).ravel() if x.dtype.kind == "c" else x.ravel()
    if flat.dtype.kind == "f":
        flat = flat[~np.isnan(flat)]
    if flat.size == 0:
        return None, None
    return float(flat.min()), float(flat.max())


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Rows with aligned columns; those in `right` are aligned to the right."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if k in right else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
