"""Passes on the text of an IR: what makes a dump of a stage, or the report of an internal error, run again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gradc.ad.forward import jvp
from gradc.ad.reverse import reverse
from gradc.codegen.kernel import kernel_source
from gradc.ir.nodes import Func
from gradc.ir.parser import parse_func
from gradc.ir.printer import print_func
from gradc.ir.types import is_float
from gradc.ir.verifier import verify
from gradc.lower.program import lower
from gradc.passes.expand import expand
from gradc.runtime.ownership import copy_on_entry, own_results
from gradc.runtime.pipeline import PASSES


def _floats(func: Func) -> list[int]:
    return [k for k, p in enumerate(func.params) if is_float(p.ty)]


STAGES: dict[str, Callable[[Func], Func]] = {
    **dict(PASSES),
    "entry": copy_on_entry,
    "reverse": lambda func: reverse(func, _floats(func)),
    "forward": lambda func: jvp(func, _floats(func), keep_value=True),
    "results": own_results,
    "expand": expand,
}


def run_passes(text: str, names: Sequence[str], verified: bool = False) -> str:
    """The text of the IR after the passes; `lower` and `kernel`, which come last, give the text of the kernel.

    Raises: LookupError for a pass that is not known.
    """
    last = ("lower", "kernel")
    for k, name in enumerate(names):
        if name not in STAGES and not (name in last and k == len(names) - 1):
            raise LookupError(f"there is no pass {name!r}; the passes are {', '.join((*STAGES, *last))}")
    func = parse_func(text)
    if verified:
        verify(func, "parse")
    for name in names:
        if name in last:
            return kernel_source(lower(expand(func)), func.name)
        func = STAGES[name](func)
        if verified:
            verify(func, name)
    return print_func(func)
