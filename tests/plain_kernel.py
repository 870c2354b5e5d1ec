"""Kernel text run by plain Python: every function of `codegen/intrinsics.py` has a stand-in made of NumPy.

It shows what the text means without compiling it, so hundreds of programs can be compared with the interpreter.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special

from gradc import errors
from gradc.codegen.kernel import kernel_source
from gradc.ir.loops import KERNEL_DTYPES
from gradc.ir.nodes import Func
from gradc.lower.program import lower
from gradc.passes.expand import expand


def kernel_text(func: Func, name: str = "kernel") -> str:
    """The module text for a function."""
    return kernel_source(lower(expand(func)), name)


def run_text(text: str, args: Sequence[Any], name: str = "kernel") -> Any:
    """What the function in `text` returns, in plain Python."""
    text = text[text.index("@njit") :]
    namespace = {**STAND_INS, **vars(errors)}
    # np.bool_ has no minus; Numba's booleans do.
    exec(text[text.index("\n") + 1 :].replace("> 0) - (", "> 0) + 0 - ("), namespace)
    args = [np.float64(a) if type(a) is float else a for a in args]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return namespace[name](*args)


def view(array: Any, offset: int, shape: tuple[int, ...]) -> Any:
    count = int(np.prod(shape))
    return array.reshape(-1)[offset : offset + count].reshape(shape)


def product(
    a: Any, at: Any, row_a: int, col_a: int, b: Any, bt: Any, row_b: int, col_b: int,
    c: Any, ct: Any, row_c: int, col_c: int, sizes: tuple[int, int, int], add: int,
) -> None:  # fmt: skip
    m, n, k = sizes

    def matrix(array: Any, start: Any, row: int, column: int, rows: int, columns: int) -> Any:
        if not rows or not columns:
            return np.zeros((rows, columns), array.dtype)
        first = array[tuple(slice(p, None) for p in start)]
        strides = [array.strides[axis] if axis >= 0 else 0 for axis in (row, column)]
        return np.lib.stride_tricks.as_strided(first, (rows, columns), strides)

    left, right = matrix(a, at, row_a, col_a, m, k), matrix(b, bt, row_b, col_b, k, n)
    result = matrix(c, ct, row_c, col_c, m, n)
    result[...] = left @ right + (result if add else 0)


def grow(data: Any, size: int) -> Any:
    longer = np.empty(max(size, 2 * len(data)), data.dtype)
    longer[: len(data)] = data
    return longer


def sigmoid(x: Any) -> Any:
    e = np.exp(-abs(x))
    return (1 if x >= 0 else e) / (1 + e)


STAND_INS: dict[str, Any] = {
    "np": np, "view": view, "product": product, "grow": grow, "sigmoid": sigmoid, "reassoc_add": lambda a, b: a + b,
    "reassoc_mul": lambda a, b: a * b, "larger": np.maximum, "smaller": np.minimum, "floordiv": np.floor_divide,
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-abs(x))), "mod": np.remainder, "fmod": np.fmod,
    "pow": np.power, "erf": special.erf, "erfc": special.erfc, "lgamma": special.gammaln, "tgamma": special.gamma,
    "fabs": np.abs, "atan2": np.arctan2, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "asinh": np.arcsinh,
    "acosh": np.arccosh, "atanh": np.arctanh,
}  # fmt: skip
STAND_INS |= {
    name: getattr(np, name)
    for name in (
        "sqrt", "floor", "ceil", "rint", "trunc", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "cbrt",
        "sin", "cos", "tan", "sinh", "cosh", "tanh", "hypot", "nextafter", "copysign", "logaddexp", "logaddexp2",
    )
}  # fmt: skip
STAND_INS |= {f"empty_{d}": lambda shape, d=d: np.empty(shape, d) for d in KERNEL_DTYPES}
