"""The interpreter: runs a Func with NumPy, node by node in program order. The oracle for all else.

Weak scalars are Python numbers, strong ones NumPy scalars. Views are NumPy views and writes happen in place, so the
caller's arrays change where the function writes into its parameters.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from gradc import errors
from gradc.errors import GradcError, InternalError, Loc
from gradc.ir.nodes import Block, Func, Node, Value
from gradc.ir.types import Array, Scalar, Stack, Type

# observe(node, operands, results) is called after each node has run; a write's result is its target.
Observer: TypeAlias = Callable[[Node, Sequence[Any], Sequence[Any]], None]


class _Environment(dict[Value, Any]):
    """What each value of the IR is."""

    observe: Observer | None = None


_PYTHON = {"b": bool, "i": int, "u": int, "f": float, "c": complex}


def run(func: Func, args: Sequence[Any], observe: Observer | None = None) -> tuple[Any, ...]:
    """Results of `func` for `args`. Arrays are taken as they are, never copied.

    `observe` sees what each node does; arrays that it is given may be written into later.

    Raises: what the program raises; InternalError where a value does not have its type.
    """
    if len(args) != len(func.params):
        raise InternalError(f"{func.name} takes {len(func.params)} arguments, not {len(args)}")
    env = _Environment()
    env.observe = observe
    for param, arg in zip(func.params, args, strict=True):
        env[param] = _argument(param, arg)
    with np.errstate(all="ignore"):
        return tuple(_run_block(func.body, env))


def raise_check(error: str, message: str, values: Sequence[Any] = (), loc: Loc | None = None) -> None:
    """Raise the exception that a `check` names: an error of gradc with its place, else a builtin one."""
    gradc_class = getattr(errors, error, None)
    if isinstance(gradc_class, type) and issubclass(gradc_class, GradcError):
        raise gradc_class(message, loc)
    builtin = getattr(builtins, error, None)
    if not (isinstance(builtin, type) and issubclass(builtin, Exception)):
        raise InternalError(f"`check` names an unknown exception {error}", loc)
    raised = builtin(*([message] if message else []), *values)
    if loc is not None and loc.lineno:
        raised.add_note(f"  {loc.filename}:{loc.lineno}: {loc.line().strip()}")
    raise raised


def _argument(param: Value, arg: Any) -> Any:
    ty = param.ty
    if isinstance(ty, Array):
        if not isinstance(arg, np.ndarray) or arg.dtype != ty.dtype or arg.ndim != len(ty.shape):
            raise InternalError(f"argument {param.name} is {_describe(arg)}, not {ty}")
        return arg
    return _scalar(ty, arg, param.name)


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array {value.dtype}{list(value.shape)}"
    return f"{value!r} ({type(value).__name__})"


def _scalar(ty: Type, value: Any, what: object = "") -> Any:
    """`value` as the Python number or NumPy scalar that `ty` stands for."""
    if isinstance(ty, Stack):
        return value
    assert isinstance(ty, Scalar)
    if isinstance(value, np.ndarray):
        if value.ndim:
            raise InternalError(f"{what!r} gave an array of rank {value.ndim} where its type is {ty}")
        value = value[()]
    dtype = np.dtype(ty.dtype)
    if isinstance(value, complex | np.complexfloating) and dtype.kind != "c":
        raise InternalError(f"{what!r} gave the complex {value!r} where its type is {ty}")
    if isinstance(value, float | np.floating) and dtype.kind in "iub":
        raise InternalError(f"{what!r} gave the float {value!r} where its type is {ty}")
    return _PYTHON[dtype.kind](value) if ty.weak else dtype.type(value)


def _run_block(block: Block, env: _Environment) -> list[Any]:
    for node in block.nodes:
        _run_node(node, env)
    return [env[v] for v in block.yields]


def _run_node(node: Node, env: _Environment) -> None:
    name = node.op.name
    special = _SPECIAL.get(name)
    if special is not None:
        special(node, env)
        if env.observe is not None and node.blocks:
            env.observe(node, [env[v] for v in node.operands], [env[r] for r in node.results])
        return
    if node.op.run is None:
        raise InternalError(f"op {name} has no interpreter", node.loc)
    operands = [env[v] for v in node.operands]
    result = run_op(node, operands)
    if not node.results:
        if env.observe is not None:
            env.observe(node, operands, operands[:1] if node.op.kind == "write" else [])
        return
    made = (result,) if len(node.results) == 1 else tuple(result)
    if len(made) != len(node.results):
        raise InternalError(f"op {name} gave {len(made)} results, not {len(node.results)}", node.loc)
    for value, given in zip(node.results, made, strict=True):
        env[value] = _result(node, value, given, operands)
    if env.observe is not None:
        env.observe(node, operands, [env[value] for value in node.results])


def run_op(node: Node, operands: list[Any]) -> Any:
    """What the op of `node`, which is not control flow, gives for these operands."""
    assert node.op.run is not None
    if node.op.name in ("floordiv", "mod"):
        _refuse_zero_divisor(node, operands)
    if node.op.kind == "write":
        operands = [operands[0], *(_detached(v, operands[0]) for v in operands[1:])]
    return node.op.run(*operands, **node.attrs)


def _detached(value: Any, target: Any) -> Any:
    """A copy of `value` where it may overlap `target`: writes read their value in full first."""
    if isinstance(value, np.ndarray) and np.may_share_memory(value, target):
        return value.copy()
    return value


def _result(node: Node, value: Value, given: Any, operands: list[Any]) -> Any:
    ty = value.ty
    if not isinstance(ty, Array):
        return _scalar(ty, given, node)
    if node.op.kind == "view":
        array = given
    else:
        # NumPy keeps F order and may hand an operand back; here a new array is new, and C where its type says so.
        array = np.asarray(given, order="C" if ty.layout == "C" else None)
        if any(isinstance(v, np.ndarray) and np.may_share_memory(v, array) for v in operands):
            array = array.copy()
    if not isinstance(array, np.ndarray) or array.dtype != ty.dtype or array.ndim != len(ty.shape):
        raise InternalError(f"op {node.op.name} gave {_describe(array)}, where its type is {ty}", node.loc)
    for size, actual in zip(ty.shape, array.shape, strict=True):
        if isinstance(size, int) and size != actual:
            raise InternalError(f"op {node.op.name} gave {_describe(array)}, where its type is {ty}", node.loc)
    return array


def _refuse_zero_divisor(node: Node, operands: list[Any]) -> None:
    """Integer scalars raise, as in Python; integer arrays give 0, as in NumPy."""
    divisor = operands[1]
    types = [v.ty for v in node.operands]
    if all(isinstance(t, Scalar) and np.dtype(t.dtype).kind in "iub" for t in types) and divisor == 0:
        raise ZeroDivisionError("integer division or modulo by zero")


# ------------------------------------------------------------------------------------------------ control


def _run_const(node: Node, env: _Environment) -> None:
    env[node.result] = _scalar(node.result.ty, node.attrs["value"], node)


def _run_if(node: Node, env: _Environment) -> None:
    yields = _run_block(node.blocks[0 if env[node.operands[0]] else 1], env)
    for result, value in zip(node.results, yields, strict=True):
        env[result] = _scalar(result.ty, value, node)


def _bind(params: Sequence[Value], values: Sequence[Any], env: _Environment, node: Node) -> None:
    for param, value in zip(params, values, strict=True):
        env[param] = _scalar(param.ty, value, node)


def _run_for(node: Node, env: _Environment) -> None:
    start, stop, step, *carried = (env[v] for v in node.operands)
    if step == 0:
        raise InternalError("a loop has step 0", node.loc)
    indices = range(int(start), int(stop), int(step))
    (body,) = node.blocks
    exits = bool(node.attrs.get("exits"))
    trips = 0
    for i in reversed(indices) if node.attrs.get("reversed") else indices:
        _bind(body.params, [i, *carried], env, node)
        carried = _run_block(body, env)
        trips += 1
        if exits and carried.pop(0):
            break
    _bind(node.results, [*carried, trips] if exits else carried, env, node)


def _run_while(node: Node, env: _Environment) -> None:
    carried = [env[v] for v in node.operands]
    cond, body = node.blocks
    exits = bool(node.attrs.get("exits"))
    trips = 0
    while True:
        _bind(cond.params, carried, env, node)
        (go_on,) = _run_block(cond, env)
        if not go_on:
            break
        _bind(body.params, carried, env, node)
        carried = _run_block(body, env)
        trips += 1
        if exits and carried.pop(0):
            break
    _bind(node.results, [*carried, trips], env, node)


def _run_check(node: Node, env: _Environment) -> None:
    cond, *values = (env[v] for v in node.operands)
    if not cond:
        raise_check(node.attrs["error"], node.attrs.get("message", ""), values, node.loc)


def _run_check_indices(node: Node, env: _Environment) -> None:
    indices, x = (env[v] for v in node.operands)
    size = x.shape[node.attrs["axis"]]
    indices = np.asarray(indices)
    if np.any((indices < -size) | (indices >= size)):
        message = node.attrs.get("message") or f"an index is out of bounds for axis of size {size}"
        raise_check("IndexError", message, (), node.loc)


_SPECIAL = {
    "const": _run_const,
    "if": _run_if,
    "for": _run_for,
    "while": _run_while,
    "check": _run_check,
    "check_indices": _run_check_indices,
}
