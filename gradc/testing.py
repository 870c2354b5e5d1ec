"""Derivatives compared with differences: for tests, also of your own functions."""

from __future__ import annotations

import functools
import inspect
import itertools
import linecache
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradc.api import Argnums, Function
from gradc.errors import DTypeError, GradientMismatch, ReverseOnlyError, ShapeError
from gradc.ir.tree import Branch, Tree, flatten, unflatten
from gradc.runtime.dispatch import Compiled, compiled, plain_function, signature_of
from gradc.runtime.leaves import check_differentiable, plain_leaf
from gradc.runtime.plan import Transform, check_argnums, leaf_paths, make_plan
from gradc.runtime.pullback import jvp_of_leaves, vjp_of_leaves

_PER_LEAF = 64  # entries of an array that are looked at one by one; more are drawn at random


def numerical_grad(f: Function, argnums: Argnums = 0, eps: float | None = None) -> Function:
    """A function returning the gradient of `f` by central differences: slow and inexact, for comparison only.

    Args:
        f: a function, which is run as plain Python, on copies of the arrays.
        argnums: as in `gradc.grad`.
        eps: the step; by default the cube root of the dtype's precision, scaled by the size of the entry.

    Returns:
        A function of the arguments of `f`, with results as those of `gradc.grad`; of a complex argument x + iy the
        gradient is df/dx - i df/dy. Source of the step: Numerical Recipes, on numerical derivatives: there the errors
        of rounding and of the quotient balance.

    Examples:
        >>> import numpy as np, gradc
        >>> bool(np.allclose(gradc.numerical_grad(lambda x: (x * x).sum())(np.array([1.0, 3.0])), [2.0, 6.0]))
        True
    """
    single = isinstance(argnums, int | str)
    chosen: tuple[int | str, ...] = (argnums,) if isinstance(argnums, int | str) else tuple(argnums)
    function, signature, name = _runnable(f), signature_of(f), getattr(f, "__qualname__", repr(f))
    check_argnums(chosen, signature, name)

    @functools.wraps(f)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        leaves, tree = flatten(tuple(bound.arguments[p] for p in signature.parameters))
        assert isinstance(tree, Branch)
        plan = make_plan(tree.items, signature, Transform("grad", chosen, single), name)
        point = _Point.of(lambda *v: _apply(function, signature, v), tree, leaves, plan.names, plan.wrt)
        return unflatten(plan.gradient, [point.gradient(k, eps) for k in plan.wrt])

    return gradient


def check_grads(
    f: Function,
    args: Sequence[Any],
    order: int = 1,
    modes: Sequence[str] = ("fwd", "rev"),
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
) -> None:
    """Compare the derivatives of `f` at `args` with central differences, up to `order`.

    Every floating-point argument is looked at: along random directions, and entry by entry (64 random ones of a
    larger array), complex ones along both axes. Integers are data; where there are no floats, Python ints count as
    floats.

    Args:
        f: a function as `gradc.jit` takes it; it may return numbers, arrays and structures of them.
        args: its arguments.
        order: 1 for derivatives, 2 for those of the derivatives as well, and so on.
        modes: "fwd" (`jvp`), "rev" (`vjp`). Where both are asked for and `f` calls functions with a `custom_vjp` rule,
            which forward mode cannot use, only "rev" is checked.
        atol: absolute tolerance; by default by the dtype.
        rtol: relative tolerance, likewise.
        eps: the step of the differences, as in `numerical_grad`.

    Returns:
        None: silence means that they agree.

    Raises:
        GradientMismatch: names the worst entry. NaN and infinities always mismatch.

    Examples:
        >>> import numpy as np, gradc
        >>> gradc.check_grads(lambda x: np.tanh(x) * 2, (np.array([0.5, -1.0]),))
    """
    if isinstance(modes, str):
        modes = (modes,)
    for mode in modes:
        if mode not in _MODES:
            raise ValueError(f"modes are 'fwd' and 'rev', not {mode!r}")
    if order < 1:
        raise ValueError(f"order is 1 or more, not {order}")
    leaves, tree = flatten(tuple(args))
    wrt = _chosen_leaves(leaves)
    _check(f, tree, leaves, wrt, modes, (atol, rtol, eps))
    if order > 1:
        out = _runnable(f)(*unflatten(tree, _copies(leaves, True)))
        slope = compiled(_weighted(f, out), Transform("grad", leaves=wrt))
        check_grads(slope, args, order - 1, modes, atol, rtol, eps)


# ------------------------------------------------------------------------------------------ the comparison


class _Reverse:
    """The slope of <cotangents, f> along directions, from the pullback."""

    mode = "rev"

    def __init__(self, f: Function, args: tuple[Any, ...], wrt: tuple[int, ...], cotangents: Sequence[Any]) -> None:
        _, pullback = vjp_of_leaves(f, args, wrt)
        self.gradients = dict(zip(wrt, pullback.of_leaves(cotangents), strict=True))

    def __call__(self, directions: dict[int, Any]) -> Any:
        return sum(np.sum(np.real(np.asarray(self.gradients[k]) * d)) for k, d in directions.items())


class _Forward:
    """The slope of <cotangents, f> along directions, from tangents."""

    mode = "fwd"

    def __init__(self, f: Function, args: tuple[Any, ...], wrt: tuple[int, ...], cotangents: Sequence[Any]) -> None:
        self.f, self.args, self.wrt, self.cotangents = f, args, wrt, cotangents
        self.leaves = flatten(args)[0]

    def __call__(self, directions: dict[int, Any]) -> Any:
        tangents = [directions.get(k, np.zeros(np.shape(self.leaves[k]))) for k in self.wrt]
        tangents = [np.asarray(t).astype(_float_dtype(self.leaves[k])) for k, t in zip(self.wrt, tangents, strict=True)]
        out, moved = jvp_of_leaves(self.f, self.args, self.wrt, tangents)
        floats = [c for c, x in zip(self.cotangents, flatten(out)[0], strict=True) if np.asarray(x).dtype.kind in "fc"]
        return _dot(floats, flatten(moved)[0])


def _float_dtype(x: Any) -> Any:
    dtype = np.asarray(x).dtype
    return dtype if dtype.kind in "fc" else np.float64


_MODES: dict[str, type[_Reverse] | type[_Forward]] = {"rev": _Reverse, "fwd": _Forward}


def _check(
    f: Function,
    tree: Tree,
    leaves: list[Any],
    wrt: tuple[int, ...],
    modes: Sequence[str],
    options: Sequence[float | None],
) -> None:
    atol, rtol, eps = options
    random = np.random.default_rng(0)
    name = getattr(f, "__qualname__", repr(f))
    names = list(leaf_paths(tree, "args"))
    function = _runnable(f)
    results, _ = flatten(function(*unflatten(tree, _copies(leaves, True))))
    cotangents = [_random_like(x, random) for x in results]
    point = _Point.of(lambda *v: _dot(cotangents, flatten(function(*v))[0]), tree, leaves, names, wrt)
    tolerance = _Tolerance.of([*(point.leaves[k] for k in wrt), *results], atol, rtol)
    rows = [
        (k, index, unit)
        for k in wrt
        for index in _entries(np.shape(point.leaves[k]), random)
        for unit in ((1.0, 1j) if np.iscomplexobj(point.leaves[k]) else (1.0,))
    ]
    steps = [_step(point.leaves[k], index, eps) for k, index, _ in rows]
    basis = [{k: _one_at(point.leaves[k], index, unit)} for k, index, unit in rows]
    numerical = [point.difference(direction, step) for direction, step in zip(basis, steps, strict=True)]
    directions = [{k: _random_like(point.leaves[k], random) for k in wrt} for _ in range(2)]
    step = min(_step(point.leaves[k], None, eps) for k in wrt)
    along = [point.difference(direction, step) for direction in directions]
    for mode in modes:
        slope = _MODES[mode](f, unflatten(tree, point.leaves), wrt, cotangents)
        try:
            given_entries = [float(slope(direction)) for direction in basis]
        except ReverseOnlyError:
            if set(modes) == {mode}:
                raise
            continue
        table = [
            _Entry(names[k], index, unit, given, quotient, tolerance)
            for (k, index, unit), given, quotient in zip(rows, given_entries, numerical, strict=True)
        ]
        # NaN first, then the largest disagreement.
        worst = max(table, key=lambda entry: float("inf") if np.isnan(entry.excess) else entry.excess, default=None)
        if worst is not None and not worst.excess <= 0:
            raise GradientMismatch(
                f"the derivative of {name} (mode {mode!r}) disagrees with central differences\n{worst}",
                why=f"it is more than atol={tolerance.atol:g} plus rtol={tolerance.rtol:g} times its size away.",
                hint="a kink at this point, or a step (eps=) that is too large or too small, can be the reason too.",
            )
        size = sum(abs(entry.given) for entry in table)
        for direction, quotient in zip(directions, along, strict=True):
            given = float(slope(direction))
            if not abs(given - quotient) <= 10 * (tolerance.atol + tolerance.rtol * max(size, abs(quotient))):
                raise GradientMismatch(
                    f"the derivative of {name} (mode {mode!r}) disagrees with central differences\n"
                    f"  along a random direction of all arguments: {given:.10g}, by differences {quotient:.10g}",
                    why="the entries that were looked at one by one agree.",
                )


@dataclass(frozen=True)
class _Tolerance:
    atol: float
    rtol: float

    @staticmethod
    def of(leaves: Sequence[Any], atol: float | None, rtol: float | None) -> _Tolerance:
        single = any(np.asarray(x).dtype in (np.float32, np.complex64) for x in leaves)
        default = 2e-2 if single else 1e-5
        return _Tolerance(default if atol is None else atol, default if rtol is None else rtol)


@dataclass(frozen=True)
class _Entry:
    """One entry of a gradient beside its difference quotient; of a complex one the slope along 1 or 1j."""

    name: str
    index: tuple[int, ...]
    unit: complex
    given: float
    numerical: float
    tolerance: _Tolerance

    @property
    def excess(self) -> float:
        """By how much the disagreement is above the tolerance; NaN where a number is not finite."""
        if not (np.isfinite(self.given) and np.isfinite(self.numerical)):
            return float("nan")
        return abs(self.given - self.numerical) - self.tolerance.atol - self.tolerance.rtol * abs(self.numerical)

    def __str__(self) -> str:
        where = self.name + (f"[{', '.join(map(str, self.index))}]" if self.index else "")
        along = " along 1j" if self.unit == 1j else ""
        return f"  worst entry: {where}{along}: gradient {self.given:.10g}, by differences {self.numerical:.10g}"


@dataclass(frozen=True)
class _Point:
    """A function of leaves, and the point at which differences are taken.

    shared: the function writes into its arguments, so an array that is given twice stays one array. Then `moving` has
        only the first leaf of it: gradients of arguments add up to the derivative of the array.
    """

    function: Callable[..., Any]
    tree: Tree
    leaves: list[Any]
    shared: bool
    moving: frozenset[int]

    @staticmethod
    def of(
        function: Callable[..., Any], tree: Tree, leaves: Sequence[Any], names: Sequence[str], wrt: Sequence[int]
    ) -> _Point:
        found = [plain_leaf(x, name) for x, name in zip(leaves, names, strict=True)]
        for k in wrt:
            found[k] = check_differentiable(found[k], names[k])
        shared = _writes(function, tree, found)
        moving: dict[object, int] = {}
        for k in wrt:
            moving.setdefault(id(found[k]) if shared and isinstance(found[k], np.ndarray) else k, k)
        return _Point(function, tree, found, shared, frozenset(moving.values()))

    def gradient(self, k: int, eps: float | None) -> Any:
        """The gradient in leaf k, of its kind."""
        x = self.leaves[k]
        if not isinstance(x, np.ndarray):
            return type(x)(self._entry(k, (), eps))
        result = np.zeros(x.shape, x.dtype)
        for index in np.ndindex(x.shape):
            result[index] = self._entry(k, index, eps)
        return result

    def _entry(self, k: int, index: tuple[int, ...], eps: float | None) -> complex:
        x = self.leaves[k]
        step = _step(x, index, eps)
        real = self.difference({k: _one_at(x, index)}, step)
        return real - 1j * self.difference({k: _one_at(x, index, 1j)}, step) if np.iscomplexobj(x) else real

    def difference(self, directions: dict[int, Any], step: float) -> float:
        """(f(x + step * directions) - f(x - step * directions)) / (2 * step)."""
        return (self._value(directions, step) - self._value(directions, -step)) / (2 * step)

    def _value(self, directions: dict[int, Any], step: float) -> float:
        copies = _copies(self.leaves, self.shared)
        for k in self.moving & directions.keys():
            x, direction = copies[k], directions[k]
            if isinstance(x, np.ndarray):
                x += np.asarray(step * direction).astype(x.dtype)
            else:
                copies[k] = type(x)(x + step * direction)
        with np.errstate(all="ignore"):
            value = np.asarray(self.function(*unflatten(self.tree, copies)))
        if value.shape != ():
            raise ShapeError(
                f"the function returns an array of shape {value.shape}, not a number",
                why="a gradient is that of one number.",
                hint="sum the result, or see gradc.check_grads.",
            )
        if value.dtype.kind == "c":
            raise DTypeError(
                "the function returns a complex number",
                why="a gradient is that of a real number.",
                hint="return the real part, or see gradc.check_grads.",
            )
        return float(value[()])


def _copies(leaves: Sequence[Any], shared: bool) -> list[Any]:
    """The leaves with arrays copied; `shared`: an array that is there twice stays one."""
    made: dict[int, Any] = {}
    copies: list[Any] = []
    for k, x in enumerate(leaves):
        if isinstance(x, np.ndarray):
            key = id(x) if shared else k
            if key not in made:
                made[key] = x.copy(order="K")
            x = made[key]
        copies.append(x)
    return copies


def _writes(function: Callable[..., Any], tree: Tree, leaves: Sequence[Any]) -> bool:
    """Whether a function writes into an array that it is given twice."""
    arrays = [id(x) for x in leaves if isinstance(x, np.ndarray)]
    if len(set(arrays)) == len(arrays):
        return False
    trial = _copies(leaves, True)
    for x in trial:
        if isinstance(x, np.ndarray):
            x.flags.writeable = False
    try:
        with np.errstate(all="ignore"):
            function(*unflatten(tree, trial))
    except ValueError as error:
        if "read-only" in str(error):
            return True
        raise
    return False


def _step(x: Any, index: tuple[int, ...] | None, eps: float | None) -> float:
    """The step for an entry of x (None: for all of it): the error of rounding and that of the quotient balance."""
    if eps is not None:
        return eps
    array = np.asarray(x)
    size = float(np.max(np.abs(array), initial=0.0)) if index is None else float(np.abs(array[index]))
    if not np.isfinite(size):
        size = 1.0
    return float(np.cbrt(np.finfo(array.dtype).eps)) * max(1.0, size)


def _one_at(x: Any, index: tuple[int, ...], unit: complex = 1.0) -> Any:
    if not isinstance(x, np.ndarray):
        return unit
    direction = np.zeros(x.shape, type(unit))
    direction[index] = unit
    return direction


def _entries(shape: tuple[int, ...], random: np.random.Generator) -> Iterator[tuple[int, ...]]:
    """All indices of a small array, some of a large one."""
    total = int(np.prod(shape))
    chosen = range(total) if total <= _PER_LEAF else sorted(random.choice(total, _PER_LEAF, replace=False).tolist())
    for flat in chosen:
        yield tuple(int(i) for i in np.unravel_index(flat, shape)) if shape else ()


def _random_like(x: Any, random: np.random.Generator) -> Any:
    """Random numbers of the shape of x; complex where x is, zero where x holds no floats."""
    array = np.asarray(x)
    if array.dtype.kind not in "fc":
        return np.zeros(array.shape) if array.shape else 0.0
    made = np.asarray(random.standard_normal(array.shape))
    if array.dtype.kind == "c":
        made = made + 1j * random.standard_normal(array.shape)
    return made if array.shape else made[()]


def _dot(cotangents: Sequence[Any], leaves: Sequence[Any]) -> float:
    """Real part of the sum of the products of all entries: what the pullback of `cotangents` differentiates."""
    products = [float(np.sum(np.real(np.asarray(x) * c))) for c, x in zip(cotangents, leaves, strict=True)]
    return float(sum(products))


# ------------------------------------------------------------------------------------------- the function


def _runnable(f: Any) -> Callable[..., Any]:
    """What runs as plain Python: the function itself; an object that computes a derivative runs as it is."""
    if isinstance(f, Compiled) and f._transform.kind != "jit":
        return f
    return plain_function(f)  # type: ignore[no-any-return]


def _apply(function: Callable[..., Any], signature: inspect.Signature, values: Sequence[Any]) -> Any:
    """Call a function with one value for each of its parameters."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for p, value in zip(signature.parameters.values(), values, strict=True):
        if p.kind is p.VAR_POSITIONAL:
            args += value
        elif p.kind is p.VAR_KEYWORD:
            kwargs.update(value)
        elif p.kind is p.KEYWORD_ONLY:
            kwargs[p.name] = value
        else:
            args.append(value)
    return function(*args, **kwargs)


def _chosen_leaves(leaves: Sequence[Any]) -> tuple[int, ...]:
    """The floating-point leaves; the Python ints where there are none."""
    floats = tuple(k for k, x in enumerate(leaves) if np.asarray(x).dtype.kind in "fc")
    chosen = floats or tuple(k for k, x in enumerate(leaves) if type(x) is int)
    if not chosen:
        raise DTypeError("check_grads was given no floating-point argument", hint="pass at least one float.")
    return chosen


_numbers = itertools.count()


def _weighted(f: Function, out: Any) -> Function:
    """A function of the same arguments that sums the entries of what `f` returns, with fixed random weights."""
    leaves, tree = flatten(out)
    random = np.random.default_rng(1)
    terms: list[str] = []
    space: dict[str, Any] = {"f": f, "np": np}
    for k, (x, path) in enumerate(zip(leaves, leaf_paths(tree, "out"), strict=True)):
        if np.asarray(x).dtype.kind in "fc":
            space[f"w{k}"] = _random_like(x, random)
            term = f"np.sum(w{k} * {path})" if np.ndim(x) else f"w{k} * {path}"
            terms.append(f"({term}).real" if np.iscomplexobj(x) else term)
    text = f"def weighted(*args):\n    out = f(*args)\n    return {' + '.join(terms) or '0.0'}\n"
    filename = f"<gradc weighted sum {next(_numbers)}>"
    # The front end reads a function's text where Python's tracebacks do.
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    exec(compile(text, filename, "exec"), space)
    return space["weighted"]  # type: ignore[no-any-return]
