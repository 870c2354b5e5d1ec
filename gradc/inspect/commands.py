"""Passes on the text of an IR: what makes a dump of a stage, or the report of an internal error, run again."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

from gradc.ad.forward import jvp
from gradc.ad.jacobian import jacobian
from gradc.ad.reverse import reverse
from gradc.codegen.kernel import kernel_source
from gradc.codegen.naming import fresh_name, identifier
from gradc.codegen.readable import source
from gradc.ir.custom import calls_in_place
from gradc.ir.nodes import Func
from gradc.ir.parser import parse_func
from gradc.ir.printer import print_func
from gradc.ir.tree import Branch, Leaf
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
    "jacobian": lambda func: jacobian(func, _floats(func), "fwd"),
    "calls": calls_in_place,
    "results": own_results,
    "expand": expand,
}
_TEXTS = ("lower", "kernel", "source")  # these give text, and come last


def _source(func: Func) -> str:
    """`.source` of a function whose parameters are its arguments, one leaf each."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    taken: set[str] = set()
    signature = inspect.Signature([inspect.Parameter(fresh_name(p.name or "x", taken), kind) for p in func.params])
    leaves = [Leaf(k) for k in range(len(func.results))]
    result = leaves[0] if len(leaves) == 1 else Branch(tuple, tuple(range(len(leaves))), tuple(leaves))
    return source(func, identifier(func.name), signature, [Leaf(k) for k in range(len(func.params))], result)


def run_passes(text: str, names: Sequence[str], verified: bool = False) -> str:
    """The text of the IR after the passes; `lower` and `kernel`, which come last, give the text of the kernel, `source`
    the readable program.

    Raises: LookupError for a pass that is not known.
    """
    for k, name in enumerate(names):
        if name not in STAGES and not (name in _TEXTS and k == len(names) - 1):
            raise LookupError(f"there is no pass {name!r}; the passes are {', '.join((*STAGES, *_TEXTS))}")
    func = parse_func(text)
    if verified:
        verify(func, "parse")
    for name in names:
        if name == "source":
            return _source(func)
        if name in _TEXTS:
            return kernel_source(lower(expand(func)), func.name)
        func = STAGES[name](func)
        if verified:
            verify(func, name)
    return print_func(func)
