"""What to write instead of functions of NumPy that gradc does not compile."""

from __future__ import annotations

_OUTSIDE = "call it outside, and pass its result in as an argument."
_PRINTING = "print outside of the compiled function: return the value."
_STATE = "set it outside of the compiled function."

# By module and name, as NumPy has it.
INSTEAD: dict[str, str] = {
    "numpy.array_equiv": "write np.all(x == y).",
    "numpy.as_strided": "write sliding_window_view, or index with integer arrays.",
    "numpy.asmatrix": "use arrays and @.",
    "numpy.bitwise_count": _OUTSIDE,
    "numpy.bmat": "write np.block.",
    "numpy.common_type": "write np.result_type.",
    "numpy.einsum_path": "give optimize=True to np.einsum.",
    "numpy.frexp": "write np.exp2(np.floor(np.log2(np.abs(x)))) for the power of two.",
    "numpy.frombuffer": _OUTSIDE,
    "numpy.fromiter": "write np.array([...]).",
    "numpy.frompyfunc": "write np.vectorize(function), or a loop.",
    "numpy.gcd": "write math.gcd outside, or a loop.",
    "numpy.histogram2d": "find the bins with np.digitize, and add the weights with np.add.at.",
    "numpy.histogramdd": "find the bins with np.digitize, and add the weights with np.add.at.",
    "numpy.lcm": "write math.lcm outside, or a loop.",
    "numpy.loadtxt": _OUTSIDE,
    "numpy.mask_indices": "write np.nonzero(mask).",
    "numpy.matrix": "use arrays and @.",
    "numpy.may_share_memory": _OUTSIDE,
    "numpy.nditer": "write nested loops over range(n), or one over np.ndindex.",
    "numpy.nextafter": _OUTSIDE,
    "numpy.packbits": _OUTSIDE,
    "numpy.poly1d": "keep the coefficients in an array, and write np.polyval(p, x).",
    "numpy.polydiv": "write the division as a loop over the coefficients.",
    "numpy.require": "write np.ascontiguousarray.",
    "numpy.set_printoptions": _STATE,
    "numpy.seterr": "write `with np.errstate(...):`.",
    "numpy.shares_memory": _OUTSIDE,
    "numpy.sort_complex": "sort by an order of your own: z[np.argsort(z.real)].",
    "numpy.spacing": "write np.finfo(x.dtype).eps * np.abs(x).",
    "numpy.unique_values": "write np.unique, which sorts.",
    "numpy.array2string": _PRINTING,
    "numpy.array_repr": _PRINTING,
    "numpy.array_str": _PRINTING,
    "numpy.lib.stride_tricks.as_strided": "write sliding_window_view, or index with integer arrays.",
    "numpy.polynomial.polynomial.polyadd": "write np.polyadd on coefficients from the highest power.",
    "numpy.polynomial.polynomial.polysub": "write np.polysub on coefficients from the highest power.",
    "numpy.polynomial.polynomial.polymul": "write np.convolve.",
    "numpy.polynomial.polynomial.polyder": "write (c * np.arange(len(c)))[1:].",
    "numpy.polynomial.polynomial.polyint": "write c / np.arange(1, len(c) + 1) after a constant.",
    "numpy.Polynomial": "keep the coefficients in an array, and write np.polynomial.polynomial.polyval(x, c).",
}
for _name in ("sqrt", "log", "log2", "log10", "power", "arcsin", "arccos", "arctanh", "logn"):
    INSTEAD[f"numpy.lib.scimath.{_name}"] = f"write np.{_name} of x + 0j where x may leave its real domain."


def instead_of(callee: object) -> str | None:
    """What to write instead of a function or class, where gradc knows."""
    name = getattr(callee, "__name__", type(callee).__name__)
    module = getattr(callee, "__module__", None) or "numpy"
    return INSTEAD.get(f"{module}.{name}") or INSTEAD.get(f"numpy.{name}")


__all__ = ["INSTEAD", "instead_of"]
