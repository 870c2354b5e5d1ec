"""What a user calls: compile and differentiate plain NumPy functions."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeAlias, TypeVar, overload

import numpy as np
from numba.extending import overload as overload_in_numba

from gradc.errors import UnsupportedError
from gradc.frontends.bindings import InBlocks
from gradc.ir.custom import RuledFunction
from gradc.ir.nodes import Value
from gradc.ir.opdef import call
from gradc.ir.tree import children, is_structure, rebuild
from gradc.ir.types import is_inexact
from gradc.ops import TABLE
from gradc.runtime import cfunc as _cfunc  # noqa: F401  # Compiled.cfunc
from gradc.runtime import in_numba as _in_numba  # noqa: F401  # tells Numba about compiled objects
from gradc.runtime import pullback as _pullback
from gradc.runtime.dispatch import Compiled, compiled
from gradc.runtime.gradients import Gradient, ValueAndGradient
from gradc.runtime.higher import HessianProduct, HessianProducts, check_jvp, expand_jvp
from gradc.runtime.lambdify import expression_of
from gradc.runtime.lambdify import to_sympy as _to_sympy
from gradc.runtime.made_in_numba import derivative_in_numba, derivatives_in_numba, function_of, refused_in_numba
from gradc.runtime.pickling import reduce_ruled
from gradc.runtime.plan import Transform
from gradc.runtime.pullback_inside import interpret_vjp
from gradc.runtime.sparse import SparseDerivative, SparseHessian
from gradc.runtime.typevars import P, Q, R_co, X

Argnums: TypeAlias = "int | str | Sequence[int | str]"
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
Function: TypeAlias = Callable[..., Any]


class JitDecorator(Protocol):
    """What `jit()` returns."""

    def __call__(self, f: Callable[Q, T], /) -> Compiled[Q, T]: ...


class Decorator(Protocol):
    """What a derivative with options but without a function returns."""

    def __call__(self, f: Callable[Q, Any], /) -> Compiled[Q, Any]: ...


@overload
def jit(f: Callable[Q, T]) -> Compiled[Q, T]: ...
@overload
def jit(f: None = None) -> JitDecorator: ...
def jit(f: Function | None = None) -> Any:
    """A compiled `f`: the same arguments, the same result, the same changes to arrays that it is given.

    Args:
        f: a function of numbers, NumPy arrays and structures of them: a `def`, a lambda, a closure, a method, a partial
            object, an object with `__call__`, or a function under `numba.njit`.

    Returns:
        The compiled function. Programs are made at calls, one for each kind of arguments.

    Raises:
        UnsupportedError: at a call, where `f` contains what gradc has no rule for. So do all functions below.

    Examples:
        >>> import gradc
        >>> @gradc.jit
        ... def mean_square(x, y):
        ...     return (x * x + y * y) / 2
        >>> mean_square(1.0, 3.0)
        5.0
    """
    if f is None:
        return jit
    return compiled(f, Transform("jit"))


@overload
def grad(f: Callable[Q, Any], argnums: Literal[0] = 0, has_aux: Literal[False] = False) -> Gradient[Q]: ...
@overload
def grad(f: Callable[Q, Any], argnums: Argnums = 0, has_aux: bool = False) -> Compiled[Q, Any]: ...
@overload
def grad(f: None = None, argnums: Argnums = 0, has_aux: bool = False) -> Decorator: ...
def grad(f: Function | None = None, argnums: Argnums = 0, has_aux: bool = False) -> Any:
    """A function returning the gradient of `f`, which returns a number.

    Reverse mode: the cost is a small multiple of that of `f`, whatever the number of variables.

    Args:
        f: a function as `jit` takes it, that returns a real floating-point number, or (number, aux) with `has_aux`.
        argnums: which arguments: a position or a name gives the bare gradient, a tuple of positions a tuple, a tuple
            of names a dict.
        has_aux: `f` returns (value, aux), and the result is (gradient, aux).

    Returns:
        A function of the arguments of `f`. The gradient in an array has its shape and dtype, in a structure (tuple,
        list, dict, named tuple, dataclass) that structure, in a Python number it is a float. Arguments are never
        changed.

    Raises:
        DTypeError: at a call, where integers or booleans are to be differentiated (a Python int counts as a float).
        ShapeError: at a call, where `f` returns something else than a number.

    Examples:
        >>> import gradc
        >>> gradc.grad(lambda x, y: x * y * y)(3.0, 2.0)
        4.0
        >>> gradc.grad(lambda x, y: x * y * y, argnums=("x", "y"))(3.0, 2.0)
        {'x': 4.0, 'y': 12.0}
    """
    if f is None:
        return functools.partial(grad, argnums=argnums, has_aux=has_aux)
    return compiled(f, _transform("grad", argnums, has_aux), Compiled if argnums or has_aux else Gradient)


@overload
def value_and_grad(
    f: Callable[Q, T], argnums: Literal[0] = 0, has_aux: Literal[False] = False
) -> ValueAndGradient[Q, T]: ...
@overload
def value_and_grad(f: Callable[Q, T], argnums: Argnums = 0, has_aux: bool = False) -> Compiled[Q, tuple[T, Any]]: ...
@overload
def value_and_grad(f: None = None, argnums: Argnums = 0, has_aux: bool = False) -> Decorator: ...
def value_and_grad(f: Function | None = None, argnums: Argnums = 0, has_aux: bool = False) -> Any:
    """A function returning `(value, gradient)` of `f`: `grad` with the value that it computes anyway.

    Args:
        f: as in `grad`.
        argnums: as in `grad`.
        has_aux: `f` returns (value, aux), and the result is ((value, aux), gradient).

    Returns:
        A function of the arguments of `f`. `scipy.optimize.minimize` takes it with `jac=True`.

    Raises:
        DTypeError, ShapeError: at a call, as in `grad`.

    Examples:
        >>> import gradc
        >>> gradc.value_and_grad(lambda x, y: x * y * y, argnums=(0, 1))(3.0, 2.0)
        (12.0, (4.0, 12.0))
    """
    if f is None:
        return functools.partial(value_and_grad, argnums=argnums, has_aux=has_aux)
    base = Compiled if argnums or has_aux else ValueAndGradient
    return compiled(f, _transform("value_and_grad", argnums, has_aux), base)


def vjp(f: Callable[..., T], *primals: Any) -> tuple[T, _pullback.Pullback]:
    """What `f` returns, and its pullback: the function from a cotangent of the result to cotangents of the arguments.

    Args:
        f: a function as `jit` takes it, of any result.
        *primals: its arguments.

    Returns:
        `(out, pullback)`. `pullback(ct)` takes a cotangent with the structure and shapes of `out`, and returns a tuple
        with one entry per primal. Integers are data: their entry is None, but a Python int counts as a float where
        `f` does not need an int. The pullback keeps what it needs: later writes to the primals do not reach it.

    Raises:
        ShapeError, DTypeError: from the pullback, for a cotangent that does not fit `out`.

    Examples:
        >>> import numpy as np, gradc
        >>> out, pullback = gradc.vjp(lambda x, y: x * y, np.array([1.0, 2.0]), 3.0)
        >>> pullback(np.array([1.0, 10.0]))
        (array([ 3., 30.]), 21.0)
    """
    return _pullback.vjp(f, primals)


def jvp(f: Callable[..., T], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[T, T]:
    """What `f` returns, and its derivative along tangents of the arguments: forward mode.

    Args:
        f: a function as `jit` takes it, of any result.
        primals: its arguments, a tuple or list.
        tangents: one for each, of its structure and shapes. Integers are data: their tangent may be None.

    Returns:
        `(out, tangent_out)`, of one structure; the tangent of integers in the result is None.

    Raises:
        ShapeError, DTypeError: for tangents that do not fit the primals.

    Examples:
        >>> import numpy as np, gradc
        >>> gradc.jvp(lambda x, y: x * y, (np.array([1.0, 2.0]), 3.0), (np.array([1.0, 0.0]), 1.0))
        (array([3., 6.]), array([4., 2.]))
    """
    check_jvp(primals, tangents)
    return _pullback.jvp(f, tuple(primals), tuple(tangents))


@overload
def jacfwd(f: Callable[Q, Any], argnums: Argnums = 0) -> Compiled[Q, Any]: ...
@overload
def jacfwd(f: None = None, argnums: Argnums = 0) -> Decorator: ...
def jacfwd(f: Function | None = None, argnums: Argnums = 0) -> Any:
    """A function returning the Jacobian of `f`, by forward sweeps, one for every entry of the arguments in `argnums`.

    Args:
        f: a function as `jit` takes it, of floating-point results.
        argnums: as in `grad`.

    Returns:
        A function of the arguments of `f`. A Jacobian has the shape of the result followed by that of the argument.
        Structures of results hold Jacobians, or where several arguments or a structure are differentiated, structures
        of these in turn.

    Raises:
        DTypeError: at a call, where the result or a differentiated argument is not floating-point.

    Examples:
        >>> import numpy as np, gradc
        >>> gradc.jacfwd(lambda x: x * x)(np.array([1.0, 2.0]))
        array([[2., 0.],
               [0., 4.]])
    """
    if f is None:
        return functools.partial(jacfwd, argnums=argnums)
    return compiled(f, _transform("jacfwd", argnums, False))


@overload
def jacrev(f: Callable[Q, Any], argnums: Argnums = 0) -> Compiled[Q, Any]: ...
@overload
def jacrev(f: None = None, argnums: Argnums = 0) -> Decorator: ...
def jacrev(f: Function | None = None, argnums: Argnums = 0) -> Any:
    """A function returning the Jacobian of `f`, by reverse sweeps, one for every entry of the result.

    Args:
        f: as in `jacfwd`.
        argnums: as in `grad`.

    Returns:
        A function as `jacfwd` gives it.

    Raises:
        DTypeError: at a call, as in `jacfwd`.

    Examples:
        >>> import numpy as np, gradc
        >>> gradc.jacrev(lambda x: x.sum() * x)(np.array([1.0, 2.0]))
        array([[4., 1.],
               [2., 5.]])
    """
    if f is None:
        return functools.partial(jacrev, argnums=argnums)
    return compiled(f, _transform("jacrev", argnums, False))


@overload
def jacobian(f: Callable[Q, Any], argnums: Argnums = 0, mode: str | None = None) -> Compiled[Q, Any]: ...
@overload
def jacobian(f: None = None, argnums: Argnums = 0, mode: str | None = None) -> Decorator: ...
def jacobian(f: Function | None = None, argnums: Argnums = 0, mode: str | None = None) -> Any:
    """A function returning the Jacobian of `f`, in the mode that is cheaper.

    Args:
        f: as in `jacfwd`.
        argnums: as in `grad`.
        mode: "fwd" for `jacfwd`, "rev" for `jacrev`, None for the cheaper of them at the sizes of the first call.

    Returns:
        A function as `jacfwd` gives it.

    Raises:
        DTypeError: at a call, as in `jacfwd`.
        ValueError: for another mode.

    Examples:
        >>> import numpy as np, gradc
        >>> gradc.jacobian(lambda x: (x * x).sum())(np.array([1.0, 2.0]))
        array([2., 4.])
    """
    kinds = {None: "jacobian", "fwd": "jacfwd", "rev": "jacrev"}
    if mode not in kinds:
        raise ValueError(f"mode is 'fwd', 'rev' or None, not {mode!r}")
    if f is None:
        return functools.partial(jacobian, argnums=argnums, mode=mode)
    return compiled(f, _transform(kinds[mode], argnums, False))


@overload
def hessian(f: Callable[Q, Any], argnums: Argnums = 0) -> Compiled[Q, Any]: ...
@overload
def hessian(f: None = None, argnums: Argnums = 0) -> Decorator: ...
def hessian(f: Function | None = None, argnums: Argnums = 0) -> Any:
    """A function returning the Hessian of `f`, which returns a number: the forward Jacobian of its gradient.

    Args:
        f: as in `grad`.
        argnums: as in `grad`.

    Returns:
        A function of the arguments of `f`. The Hessian has the shape of the argument, twice. Several arguments and
        structures nest, the gradient's structure outside.

    Raises:
        DTypeError, ShapeError: at a call, as in `grad`.

    Examples:
        >>> import numpy as np, gradc
        >>> gradc.hessian(lambda x: x[0] * x[0] * x[1])(np.array([1.0, 2.0]))
        array([[4., 2.],
               [2., 0.]])
    """
    if f is None:
        return functools.partial(hessian, argnums=argnums)
    return compiled(grad(f, argnums), _transform("hessian", argnums, False))


@overload
def sparse_jacobian(f: Callable[Q, Any], argnums: int | str = 0) -> SparseDerivative[Q]: ...
@overload
def sparse_jacobian(f: None = None, argnums: int | str = 0) -> Callable[[Callable[Q, Any]], SparseDerivative[Q]]: ...
def sparse_jacobian(f: Function | None = None, argnums: int | str = 0) -> Any:
    """A function returning the Jacobian of `f` as a sparse matrix, computed in few sweeps.

    Which entries may be nonzero follows from the program and from the arguments that it indexes with or branches on; a
    call that changes these finds the pattern again, others only compute: one sweep for each group of columns (or of
    rows) that have nothing in common. Branches on the differentiated argument count as taken both ways, so that the
    pattern holds for all its values.

    Args:
        f: a function of NumPy arrays and numbers that returns one array or number.
        argnums: the position or the name of the argument that is differentiated, an array.

    Returns:
        A function of the arguments of `f` that returns a `scipy.sparse.csr_array`: a row for every entry of the result,
        a column for every entry of the argument, both in C order. Its `.pattern(*args)` gives the pattern,
        `.compression(*args)` also the colors of columns or rows and `.sweeps`, their number.

    Raises:
        UnsupportedError: for several argnums; at a call for an argument that is no array, and for results whose size
            depends on its values.
        DTypeError, ShapeError: at a call, where the result is not one array of floats.

    Examples:
        >>> import numpy as np, gradc
        >>> jac = gradc.sparse_jacobian(lambda x: x[1:] ** 2 - x[:-1])
        >>> jac(np.array([1.0, 2.0, 3.0])).toarray()
        array([[-1.,  4.,  0.],
               [ 0., -1.,  6.]])
        >>> jac.compression(np.arange(1000.0)).sweeps
        2
    """
    if f is None:
        return functools.partial(sparse_jacobian, argnums=argnums)
    return SparseDerivative(f, _transform("words", argnums, False))


@overload
def sparse_hessian(f: Callable[Q, Any], argnums: int | str = 0) -> SparseHessian[Q]: ...
@overload
def sparse_hessian(f: None = None, argnums: int | str = 0) -> Callable[[Callable[Q, Any]], SparseHessian[Q]]: ...
def sparse_hessian(f: Function | None = None, argnums: int | str = 0) -> Any:
    """A function returning the Hessian of `f`, which returns a number, as a sparse matrix.

    As `sparse_jacobian` of the gradient; colors make use of the symmetry. Fits `hess=` of `scipy.optimize.minimize`.

    Args:
        f: a function of NumPy arrays and numbers that returns a number.
        argnums: as in `sparse_jacobian`.

    Returns:
        A function of the arguments of `f` that returns a `scipy.sparse.csr_array`, with the members that
        `sparse_jacobian` lists.

    Raises:
        UnsupportedError, DTypeError, ShapeError: as in `sparse_jacobian` and `grad`.

    Examples:
        >>> import numpy as np, gradc
        >>> hess = gradc.sparse_hessian(lambda x: np.sum((x[1:] - x[:-1]) ** 4))
        >>> hess(np.array([0.0, 1.0, 3.0])).toarray()
        array([[ 12., -12.,   0.],
               [-12.,  60., -48.],
               [  0., -48.,  48.]])
    """
    if f is None:
        return functools.partial(sparse_hessian, argnums=argnums)
    return SparseHessian(grad(f, argnums), _transform("words", argnums, False))


@overload
def hvp(f: Function, argnums: Argnums = 0) -> HessianProducts: ...
@overload
def hvp(f: None = None, argnums: Argnums = 0) -> Callable[[Function], HessianProducts]: ...
def hvp(f: Function | None = None, argnums: Argnums = 0) -> Any:
    """A function of `(*args, v)` returning the Hessian of `f` times `v`, without forming the Hessian.

    Forward mode over reverse mode: the cost is a small multiple of that of the gradient.

    Args:
        f: as in `grad`.
        argnums: as in `grad`.

    Returns:
        A function of the arguments of `f` and `v`, which has the structure of the gradient, and so has the result.
        For functions of one argument it is the `hessp` of `scipy.optimize.minimize`; `.as_hessp()` takes `v` second for
        functions of more.

    Raises:
        DTypeError, ShapeError: at a call, as in `grad`, and where `v` does not fit.

    Examples:
        >>> import numpy as np, gradc
        >>> gradc.hvp(lambda x: x[0] * x[0] * x[1])(np.array([1.0, 2.0]), np.array([1.0, 0.0]))
        array([4., 2.])
    """
    if f is None:
        return functools.partial(hvp, argnums=argnums)
    product = HessianProduct(f, _transform("grad", argnums, False))
    return compiled(product, Transform("jit"), HessianProducts)  # type: ignore[return-value]


def lambdify(args: Any, expr: Any, name: str = "expression") -> Compiled:
    """A compiled function of a SymPy expression, or of a string in Python syntax.

    Symbols stand for real numbers, so integers count as floats. Where symbols are given arrays, the expression is
    computed for each of their entries. Of a `Piecewise` the branch taken is computed alone.

    Args:
        args: symbols or names, in the order of the call; a nested tuple of symbols, a `MatrixSymbol` or an
            `IndexedBase` stands for an array.
        expr: an expression gives a number, a `Matrix` an array of its shape, tuples, lists and dicts their like. A
            string is parsed, never evaluated.
        name: of the function, for messages and `.source`.

    Returns:
        A compiled function, which can be differentiated like any function.

    Raises:
        UnsupportedError: for what has no rule, and for `^` in a string.

    Examples:
        >>> import gradc
        >>> f = gradc.lambdify("x, y", "x**2 * sin(y)")
        >>> f(2.0, 0.0), gradc.grad(f, "y")(2.0, 0.0)
        (np.float64(0.0), 4.0)
    """
    return compiled(expression_of(args, expr, name), Transform("jit"))


def to_sympy(f: Function, *args: Any) -> Any:
    """The SymPy expression that a straight-line `f` computes; of several results, their structure.

    Args:
        f: a function, plain or compiled. Loops of known length are written out.
        *args: symbols, names or expressions to put in; a float or array stands for symbols named for its parameter,
            an integer for itself. Arguments left out are symbols.

    Returns:
        A SymPy expression, an array of expressions, or a structure of them.

    Raises:
        UnsupportedError: for a loop or branch whose course is not known.

    Examples:
        >>> import numpy as np, gradc
        >>> gradc.to_sympy(gradc.grad(lambda x, y: x**3 * np.sin(y)))
        3*x**2*sin(y)
    """
    return _to_sympy(f, args)


def stop_gradient(x: T) -> T:
    """`x` itself, through which no derivative passes.

    Args:
        x: a number, an array, or a structure of them.

    Returns:
        The same; outside compiled functions the same object.

    Examples:
        >>> import gradc
        >>> gradc.grad(lambda x: x * gradc.stop_gradient(x))(3.0)
        3.0
    """
    return x


class _Ruled(RuledFunction, Generic[P, R_co]):
    """A function with a rule, which can be pickled."""

    if TYPE_CHECKING:

        def __init__(self, function: Callable[P, R_co]) -> None: ...
        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    def __reduce__(self) -> Any:
        return reduce_ruled(self)


class CustomVJP(_Ruled[P, R_co]):
    """What `gradc.custom_vjp` returns."""

    kind = "custom_vjp"

    def defvjp(self, fwd: Function, bwd: Function) -> None:
        """Set the rule: `fwd(*args)` gives (result, residuals), `bwd(residuals, ct)` one cotangent per argument."""
        self.rules = (_rule(fwd, "fwd"), _rule(bwd, "bwd"))


class CustomJVP(_Ruled[P, R_co]):
    """What `gradc.custom_jvp` returns."""

    kind = "custom_jvp"

    def defjvp(self, rule: F) -> F:
        """Set the rule: `rule(primals, tangents)` gives (result, tangent of the result). Works as a decorator."""
        self.rules = (_rule(rule, "rule"),)
        return rule


class Checkpointed(_Ruled[P, R_co]):
    """What `gradc.checkpoint` returns."""

    kind = "checkpoint"


def custom_vjp(f: Callable[Q, T]) -> CustomVJP[Q, T]:
    """`f` with a reverse-mode rule of your own, set by `.defvjp(fwd, bwd)`. Called plainly it is `f`.

    `fwd(*args)` returns `f`'s result and whatever `bwd` needs; `bwd(residuals, ct)` returns a tuple with one cotangent
    per argument, in that argument's structure and shapes; None stands for zeros, and integers have none. Derivatives
    of higher order are those of the code of `fwd` and `bwd`. None of them may write into its arguments.

    Args:
        f: a function as `jit` takes it.

    Returns:
        An object that is called like `f`, with the method `defvjp`.

    Raises:
        UnsupportedError: where forward mode goes through it, or no rule has been set.

    Examples:
        >>> import numpy as np, gradc
        >>> @gradc.custom_vjp
        ... def clipped(x, limit):
        ...     return x
        >>> clipped.defvjp(lambda x, limit: (x, limit), lambda limit, ct: (np.clip(ct, -limit, limit), None))
        >>> gradc.grad(lambda x: 100.0 * clipped(x, 1.0))(2.0)
        1.0
    """
    return CustomVJP(f)


def custom_jvp(f: Callable[Q, T]) -> CustomJVP[Q, T]:
    """`f` with a derivative of your own, set by `.defjvp(rule)`. Called plainly it is `f`.

    `rule(primals, tangents)` takes two tuples and returns the result and its tangent, which is linear in the tangents;
    integers have the tangent None. Reverse mode runs the rule backwards.

    Args:
        f: a function as `jit` takes it.

    Returns:
        An object that is called like `f`, with the method `defjvp`, which works as a decorator.

    Raises:
        UnsupportedError: where a derivative goes through it and no rule has been set.

    Examples:
        >>> import numpy as np, gradc
        >>> @gradc.custom_jvp
        ... def softplus(x):
        ...     return np.log(1.0 + np.exp(x))
        >>> @softplus.defjvp
        ... def softplus_jvp(primals, tangents):
        ...     return softplus(primals[0]), tangents[0] / (1.0 + np.exp(-primals[0]))
        >>> gradc.grad(softplus)(0.0)
        0.5
    """
    return CustomJVP(f)


@overload
def checkpoint(f: Callable[Q, X]) -> Checkpointed[Q, X]: ...
@overload
def checkpoint(f: T, *, every: int | None = None, budget: int | str | None = None) -> T: ...
def checkpoint(f: Any, *, every: int | None = None, budget: int | str | None = None) -> Any:
    """Less memory for a reverse sweep, which computes again what it does not keep: of a call, or of a loop.

    Of a function: `f`, of which a reverse sweep keeps the arguments only.

    In the header of a loop, of what it goes over (`for`) or of its condition (`while`): the loop's iterations form
    blocks of `every` iterations. Kept are what the loop carries and overwrites, at the start of each block; a reverse
    sweep runs one block at a time again, with tapes for that block alone. Without `every`, n iterations form blocks of
    sqrt(n), those of a `while` blocks of 1, 2, 3, ...: what is kept grows with sqrt(n), and each iteration runs twice.

    With a `budget`, of a `for` that is never left early, the length of blocks and the number of states follow from
    sizes and iterations when the function runs. Where sqrt(n) is too much, fewer states are kept and blocks run again
    more than once: at most r times where c states do for C(c + r, c) blocks (binomial checkpointing). At least one
    state, and the tapes of one iteration, are kept.

    Args:
        f: a function; or in the header of a loop a range, an array or a condition.
        every: iterations per block of a loop.
        budget: bytes for the states and tapes of a loop: "64MB", "2 GiB", or a number.

    Returns:
        A function like `f`; of anything else, in Python, the argument itself.

    Raises:
        UnsupportedError: where such a loop would be written out, as one over a list is; with a budget also where what
            an iteration tapes has no size that is known before the loop.
        TypeError, ValueError: for `every` or `budget` with a function, for both, or for what they cannot be.

    Examples:
        >>> import numpy as np, gradc
        >>> layer = gradc.checkpoint(lambda x: np.sin(np.sin(np.sin(x))))
        >>> gradc.grad(lambda x: layer(layer(x)))(0.0)
        1.0
        >>> def decay(x, rate):
        ...     for t in gradc.checkpoint(range(100)):
        ...         x = x - 0.01 * rate * np.sin(x)
        ...     return np.sum(x)
        >>> gradc.grad(decay)(np.array([0.0, 1.0]), 1.0).round(6)
        array([0.366032, 0.458357])
    """
    if callable(f):
        if every is not None or budget is not None:
            raise TypeError("gradc.checkpoint of a function takes neither `every` nor `budget`: it has no iterations")
        return Checkpointed(f)
    _mark(every, budget)
    return f


_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def _bytes(budget: int | str) -> int:
    """A number of bytes, or a text such as "64MB"."""
    if isinstance(budget, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([A-Za-z]*)\s*", budget)
        if found is None or found[2].upper() not in _UNITS:
            raise ValueError(f"budget={budget!r} is not a number of bytes such as '64MB' or '2GiB'")
        return int(float(found[1]) * _UNITS[found[2].upper()])
    if isinstance(budget, bool) or not isinstance(budget, int | np.integer):
        raise TypeError(f"budget={budget!r} is not a number of bytes such as 64_000_000 or '64MB'")
    return int(budget)


def _mark(every: int | None, budget: int | str | None = None) -> tuple[str, int]:
    """How a loop is marked for `ad/blocks.py`."""
    if budget is not None:
        if every is not None:
            raise TypeError("gradc.checkpoint takes `every` or `budget`, not both: the budget decides about the blocks")
        size = _bytes(budget)
        if size < 1:
            raise ValueError(f"budget={budget!r}: no memory is left for a state")
        return ("budget", size)
    if every is None:
        return ("auto", 0)
    if isinstance(every, bool) or not isinstance(every, int | np.integer):
        raise TypeError(f"every={every!r} is not a number of iterations")
    if every < 1:
        raise ValueError(f"every={every}: a block has at least one iteration")
    return ("every", int(every))


def _rule(function: Function, name: str) -> Function:
    if not callable(function):
        raise TypeError(f"{name} is {function!r}, not a function")
    return function


# Inside a compiled function the calls above happen while it is compiled.


@call(jit)
def _jit(f: Any) -> Any:
    return jit(f)


@call(grad)
def _grad(f: Any, argnums: Any = 0, has_aux: Any = False) -> Any:
    return grad(f, argnums, has_aux)


@call(value_and_grad)
def _value_and_grad(f: Any, argnums: Any = 0, has_aux: Any = False) -> Any:
    return value_and_grad(f, argnums, has_aux)


@call(jacfwd)
def _jacfwd(f: Any, argnums: Any = 0) -> Any:
    return jacfwd(f, argnums)


@call(jacrev)
def _jacrev(f: Any, argnums: Any = 0) -> Any:
    return jacrev(f, argnums)


@call(jacobian)
def _jacobian(f: Any, argnums: Any = 0, mode: Any = None) -> Any:
    return jacobian(f, argnums, mode)


@call(hessian)
def _hessian(f: Any, argnums: Any = 0) -> Any:
    return hessian(f, argnums)


@call(hvp)
def _hvp(f: Any, argnums: Any = 0) -> Any:
    return hvp(f, argnums)


@call(checkpoint)
def _checkpoint(f: Any, every: Any = None, budget: Any = None) -> Any:
    if callable(f):
        checkpoint(range(0), every=every, budget=budget)
        return checkpoint(f) if every is None and budget is None else checkpoint(f, every=every)
    return InBlocks(f, _mark(every, budget))


@call(custom_vjp, custom_jvp)
def _custom(f: Any) -> Any:
    raise UnsupportedError(
        "a derivative rule cannot be defined in a compiled function",
        why="it is set by a method of an object, which only Python can hold.",
        hint="define it outside, and call it here.",
    )


for _build in (_jit, _grad, _value_and_grad, _jacfwd, _jacrev, _jacobian, _hessian, _hvp, _checkpoint):
    _build.takes_functions = True  # type: ignore[attr-defined]  # also those defined in the compiled function


jvp.__gradc_expand__ = expand_jvp  # type: ignore[attr-defined]
jvp.takes_functions = True  # type: ignore[attr-defined]


vjp.__gradc_interpret__ = interpret_vjp  # type: ignore[attr-defined]


@overload_in_numba(stop_gradient)  # type: ignore[untyped-decorator]
def _stop_gradient_in_numba(x):  # type: ignore[no-untyped-def]  # Numba compares annotations, too
    """In nopython code, where there is no derivative to stop."""
    return lambda x: x


for _make in (jit, grad, value_and_grad, jacfwd, jacrev, jacobian, hessian, hvp):
    derivatives_in_numba(_make)
for _function in (vjp, lambdify, to_sympy, sparse_jacobian, sparse_hessian, custom_vjp, custom_jvp):
    refused_in_numba(
        _function,
        "what it gives is an object that only Python can hold, or is made from what only Python can hold.",
        "call it outside, and in nopython code what it returns; or gradc.grad, gradc.jacobian, gradc.jvp.",
    )


@functools.lru_cache(maxsize=1024)
def _tangents_of(f: Any) -> Compiled:
    return jit(lambda primals, tangents: jvp(f, primals, tangents))


@derivative_in_numba(jvp)
def _jvp_in_numba(f, primals, tangents):  # type: ignore[no-untyped-def]  # Numba compares annotations, too
    made = _tangents_of(function_of(f, "jvp"))
    return lambda f, primals, tangents: made(primals, tangents)


@overload_in_numba(checkpoint)  # type: ignore[untyped-decorator]
def _checkpoint_in_numba(f, every=None, budget=None):  # type: ignore[no-untyped-def]
    """In nopython code, where there is no reverse sweep: the header of a loop is what it is, and so is a function."""
    return lambda f, every=None, budget=None: f


@call(stop_gradient)
def _stop_gradient(x: Any) -> Any:
    if isinstance(x, Value):
        return TABLE["stop_gradient"](x) if is_inexact(x.ty) else x
    if is_structure(x):
        keys, items = children(x)
        return rebuild(type(x), keys, [_stop_gradient(item) for item in items])
    return x


def _transform(kind: Any, argnums: Argnums, has_aux: bool) -> Transform:
    if isinstance(argnums, int | str):
        return Transform(kind, (argnums,), True, bool(has_aux))
    chosen = tuple(argnums)
    if not chosen:
        raise ValueError("argnums is empty: name at least one argument")
    return Transform(kind, chosen, False, bool(has_aux))
