"""Write docs/numpy.md from the op table: `python docs/make_numpy.py`. A test compares the file with what this makes."""

from __future__ import annotations

import importlib
import inspect
import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gradc.frontends import array_calls, builtin_calls
from gradc.ir.opdef import Call, OpDef
from gradc.ops import ATTRIBUTES, CALLS, METHODS, TABLE

MODULES = {
    "numpy": "np",
    "numpy.linalg": "np.linalg",
    "numpy.lib.stride_tricks": "np.lib.stride_tricks",
    "numpy.polynomial.polynomial": "np.polynomial.polynomial",
    "math": "math",
    "cmath": "cmath",
    "builtins": "",
    "scipy.special": "scipy.special",
    "scipy.linalg": "scipy.linalg",
    "scipy.integrate": "scipy.integrate",
    "scipy.signal": "scipy.signal",
    "numpy.fft": "np.fft",
    "scipy.fft": "scipy.fft",
    "scipy.stats": "scipy.stats",
}
HEAD = """# What NumPy, SciPy, math and Python offer inside a differentiated function

Made from the op table by `python docs/make_numpy.py`; do not edit by hand. A function that is not listed is refused
with a message, and so is a parameter that is not listed, or is given what gradc cannot honour (`out=`, say). Besides
these, the language itself is supported as [the tutorial](tutorial.md) says: operators, indexing and stores of every
kind, loops, branches.

"Zero" in the last column means that the derivative is 0 everywhere by decision, "real" that complex numbers are
refused; a function that is made of others takes them where those do. The conventions are in
[conventions.md](conventions.md).
"""


def names_of(call: Call) -> Iterator[tuple[str, str]]:
    """(module, name) under which users find what `call` belongs to."""
    for target, entry in CALLS.items():
        if entry is not call:
            continue
        for module in MODULES:
            namespace = vars(importlib.import_module(module))
            for name, held in namespace.items():
                if held is target and not name.startswith("_") and not hasattr(target, "rvs"):  # those stand apart
                    yield module, name


def parameters(call: Call) -> str:
    """The parameters that are understood."""
    if isinstance(call.build, OpDef):
        return ", ".join(call.build.operands)
    shown = []
    for parameter in inspect.signature(call.build).parameters.values():
        star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        # A bare object() says that nothing was given; its text is an address.
        plain = parameter.default in (parameter.empty, None) or type(parameter.default) is object
        shown.append(f"{star}{parameter.name}" if plain else f"{star}{parameter.name}={parameter.default!r}")
    return ", ".join(shown)


def op_of(call: Call) -> OpDef | None:
    """The op that the call is a front for, if it is one."""
    if isinstance(call.build, OpDef):
        return call.build
    return TABLE.get(call.name.strip("_").removesuffix("_call"))


def sentence(call: Call) -> str:
    """What is said of it: the first sentence of its documentation."""
    op = op_of(call)
    text = inspect.getdoc(call.build) or "" if op is None else op.doc
    return " ".join(text.split(". ")[0].split()).rstrip(".").replace("|", "\\|")


def derivative(call: Call) -> str:
    """"zero" and "real" where the op says so."""
    op = op_of(call)
    if op is None:
        return ""
    words = ["zero"] if op.zero_derivative else []
    if not op.takes_complex and op.kind in ("elementwise", "reduce", "product", "fresh"):
        words.append("real")
    return ", ".join(words)


def distributions() -> str:
    """The methods of SciPy's distributions, which are made from a table."""
    text = "\n## Distributions of scipy.stats\n\n"
    text += "Also with their parameters fixed, `norm(mu, s).logpdf(x)`, inside the function or outside of it.\n\n"
    text += "| distribution | parameters | methods |\n|---|---|---|\n"
    for name, owner in sorted(vars(importlib.import_module("scipy.stats")).items()):
        methods = [t.__name__ for t in CALLS if inspect.ismethod(t) and t.__self__ is owner]
        if methods:
            text += f"| `{name}` | `{parameters(CALLS[owner])}` | {', '.join(f'`{n}`' for n in methods)} |\n"
    return text


def functions_of_functions() -> str:
    """What the front end interprets itself."""
    found = []
    for target in array_calls.TABLE:
        name = getattr(target, "__name__", "")
        module = getattr(target, "__module__", None) or ""
        if not isinstance(getattr(target, "__self__", None), np.ufunc):
            found.append(f"`{module.replace('numpy', 'np', 1)}.{name}`")
    text = "\n## Functions that take functions, or dtypes\n\n"
    return text + ", ".join(sorted(found)) + "\n"


def methods_of_ufuncs() -> str:
    """Which ufuncs have which methods."""
    text = "\n## Methods of ufuncs\n\n| method | of |\n|---|---|\n"
    for method in ("outer", "reduce", "accumulate", "reduceat", "at"):
        table = array_calls.TABLE if method == "at" else CALLS
        names = {t.__self__.__name__ for t in table if isinstance(getattr(t, "__self__", None), np.ufunc)
                 and t.__name__ == method}
        text += f"| `{method}` | {', '.join(f'`np.{n}`' for n in sorted(names))} |\n"
    return text


def table() -> str:
    """The document."""
    for module in MODULES:
        importlib.import_module(module)
    operator.add(1, 1)  # the operators are entries too; they are not listed
    CALLS.get(None)  # lets the names of modules that are imported now arrive
    rows: dict[str, dict[str, Any]] = {module: {} for module in MODULES}
    for call in dict.fromkeys(CALLS.values()):
        for module, name in names_of(call):
            rows[module][name] = call
    text = HEAD
    for module, shown in MODULES.items():
        if not rows[module]:
            continue
        text += f"\n## {shown or 'Python'}\n\n| function | parameters | what | derivative |\n|---|---|---|---|\n"
        for name in sorted(rows[module]):
            call = rows[module][name]
            full = f"{shown}.{name}" if shown else name
            text += f"| `{full}` | `{parameters(call)}` | {sentence(call)} | {derivative(call)} |\n"
    text += distributions()
    text += functions_of_functions() + methods_of_ufuncs()
    methods, attributes = {*METHODS, *builtin_calls.METHODS}, {*ATTRIBUTES, "flat"}
    for title, entries in (("Methods of arrays", methods), ("Attributes of arrays", attributes)):
        text += f"\n## {title}\n\n" + ", ".join(f"`.{name}`" for name in sorted(entries)) + "\n"
    return text


if __name__ == "__main__":
    Path(__file__).with_name("numpy.md").write_text(table())
