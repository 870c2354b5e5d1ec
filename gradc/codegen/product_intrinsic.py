"""Products of matrices that lie anywhere in memory: what kernels call, and the LLVM functions that do the work.

A tiny product is a loop nest; a larger one goes to the BLAS that SciPy has, where strides allow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj

_BLAS_KINDS = {types.float32: "s", types.float64: "d", types.complex64: "c", types.complex128: "z"}
_SMALL_PRODUCT = 1024  # multiplications below which a loop nest beats a BLAS call
_INT = ir.IntType(64)
_CHAR = ir.IntType(8)
_POINTER = _CHAR.as_pointer()


def declare(module: ir.Module, name: str, result: ir.Type, operands: list[ir.Type]) -> ir.Function:
    """The function of a module with this name, declared where it is not there."""
    found = module.globals.get(name)
    return found if found is not None else ir.Function(module, ir.FunctionType(result, operands), name)


def as_intp(context: Any, builder: Any, value: Any, ty: Any) -> Any:
    """An integer of any type as one of the size of a pointer."""
    return context.cast(builder, value, ty, types.intp)


def shape_values(context: Any, builder: Any, shape: Any, ty: Any) -> list[Any]:
    """The sizes in a shape, which is a tuple."""
    items = cgutils.unpack_tuple(builder, shape, len(ty))
    return [as_intp(context, builder, v, t) for v, t in zip(items, ty, strict=True)]


def _constant(value: int) -> ir.Constant:
    return ir.Constant(_INT, value)


def _times(context: Any, builder: Any, dtype: Any, a: Any, b: Any) -> Any:
    if isinstance(dtype, types.Complex):
        left, right = (context.make_complex(builder, dtype, value=v) for v in (a, b))
        result = context.make_complex(builder, dtype)
        flags = ("contract",)
        result.real = builder.fsub(
            builder.fmul(left.real, right.real, flags=flags),
            builder.fmul(left.imag, right.imag, flags=flags),
            flags=flags,
        )
        result.imag = builder.fadd(
            builder.fmul(left.real, right.imag, flags=flags),
            builder.fmul(left.imag, right.real, flags=flags),
            flags=flags,
        )
        return result._getvalue()
    if isinstance(dtype, types.Float):
        return builder.fmul(a, b, flags=("contract",))
    return builder.and_(a, b) if isinstance(dtype, types.Boolean) else builder.mul(a, b)


def _plus(context: Any, builder: Any, dtype: Any, a: Any, b: Any) -> Any:
    if isinstance(dtype, types.Complex):
        left, right = (context.make_complex(builder, dtype, value=v) for v in (a, b))
        result = context.make_complex(builder, dtype)
        result.real = builder.fadd(left.real, right.real, flags=("reassoc", "contract"))
        result.imag = builder.fadd(left.imag, right.imag, flags=("reassoc", "contract"))
        return result._getvalue()
    if isinstance(dtype, types.Float):
        return builder.fadd(a, b, flags=("reassoc", "contract"))
    return builder.or_(a, b) if isinstance(dtype, types.Boolean) else builder.add(a, b)


def _transposed_if(builder: Any, when: Any, o: dict[str, Any]) -> dict[str, Any]:
    """The operands of c.T (+)= b.T @ a.T instead of c (+)= a @ b where `when` holds."""
    other = {
        "a": o["b"], "ra": o["cb"], "ca": o["rb"], "b": o["a"], "rb": o["ca"], "cb": o["ra"], "c": o["c"],
        "rc": o["cc"], "cc": o["rc"], "m": o["n"], "n": o["m"], "k": o["k"], "add": o["add"],
    }  # fmt: skip
    return {name: builder.select(when, other[name], value) for name, value in o.items()}


def _is(builder: Any, value: Any, number: int) -> Any:
    return builder.icmp_signed("==", value, _constant(number))


def _loop_product(context: Any, builder: Any, dtype: Any, o: dict[str, Any]) -> None:
    """c (+)= a @ b by loops: rows, then the summed index, then columns where memory runs along columns; else dots."""
    by_columns = builder.and_(_is(builder, o["cb"], 1), _is(builder, o["cc"], 1))
    by_rows = builder.and_(_is(builder, o["ra"], 1), _is(builder, o["rc"], 1))
    o = _transposed_if(builder, builder.and_(by_rows, builder.not_(by_columns)), o)
    zero = context.get_constant_null(dtype)

    def address(name: str, row: Any, column: Any) -> Any:
        offset = builder.add(builder.mul(row, o["r" + name]), builder.mul(column, o["c" + name]))
        return builder.gep(o[name], [offset])

    along_columns = builder.and_(_is(builder, o["cb"], 1), _is(builder, o["cc"], 1))
    with builder.if_else(along_columns) as (by_rows, by_dots):
        with by_rows, cgutils.for_range(builder, o["m"], intp=_INT) as row:
            with builder.if_then(builder.not_(o["add"])), cgutils.for_range(builder, o["n"], intp=_INT) as column:
                builder.store(zero, address("c", row.index, column.index))
            with cgutils.for_range(builder, o["k"], intp=_INT) as inner:
                left = builder.load(address("a", row.index, inner.index))
                with cgutils.for_range(builder, o["n"], intp=_INT) as column:
                    right = builder.load(address("b", inner.index, column.index))
                    target = address("c", row.index, column.index)
                    product = _times(context, builder, dtype, left, right)
                    builder.store(_plus(context, builder, dtype, builder.load(target), product), target)
        with by_dots, cgutils.for_range(builder, o["m"], intp=_INT) as row:
            with cgutils.for_range(builder, o["n"], intp=_INT) as column:
                target = address("c", row.index, column.index)
                total = cgutils.alloca_once(builder, zero.type)
                builder.store(zero, total)
                with builder.if_then(o["add"]):
                    builder.store(builder.load(target), total)
                with cgutils.for_range(builder, o["k"], intp=_INT) as inner:
                    left = builder.load(address("a", row.index, inner.index))
                    right = builder.load(address("b", inner.index, column.index))
                    product = _times(context, builder, dtype, left, right)
                    builder.store(_plus(context, builder, dtype, builder.load(total), product), total)
                builder.store(builder.load(total), target)


def _blas_product(context: Any, builder: Any, dtype: Any, o: dict[str, Any]) -> None:
    """c (+)= a @ b by xGEMM or xGEMV; every operand has unit stride along rows or along columns."""
    module, one = builder.module, _constant(1)
    kind = ir.Constant(_CHAR, ord(_BLAS_KINDS[dtype]))
    alpha = cgutils.alloca_once_value(builder, context.get_constant_generic(builder, dtype, 1))
    beta = cgutils.alloca_once_value(
        builder,
        builder.select(o["add"], builder.load(alpha), context.get_constant_generic(builder, dtype, 0)),
    )

    def raw(pointer: Any) -> Any:
        return builder.bitcast(pointer, _POINTER)

    def leading(row: Any, column: Any, rows: Any, columns: Any) -> tuple[Any, Any]:
        """Whether memory runs along a row, and the leading dimension; at least what BLAS insists on."""
        along = _runs_along_rows(builder, row, column, rows, columns)
        stride, least = builder.select(along, row, column), builder.select(along, columns, rows)
        least = builder.select(builder.icmp_signed(">", least, one), least, one)
        return along, builder.select(builder.icmp_signed(">", stride, least), stride, least)

    gemm = declare(
        module, "numba_xxgemm", ir.IntType(32),
        [_CHAR, _CHAR, _CHAR, _INT, _INT, _INT, _POINTER, _POINTER, _INT, _POINTER, _INT, _POINTER, _POINTER, _INT],
    )  # fmt: skip
    gemv = declare(
        module, "numba_xxgemv", ir.IntType(32),
        [_CHAR, _CHAR, _INT, _INT, _POINTER, _POINTER, _INT, _POINTER, _POINTER, _POINTER],
    )  # fmt: skip
    plain, transposed = ir.Constant(_CHAR, ord("n")), ir.Constant(_CHAR, ord("t"))
    along_a, lda = leading(o["ra"], o["ca"], o["m"], o["k"])
    along_b, ldb = leading(o["rb"], o["cb"], o["k"], o["n"])
    along_c, ldc = leading(o["rc"], o["cc"], o["m"], o["n"])
    with builder.if_else(_is(builder, o["n"], 1)) as (matrix_vector, matrix_matrix):
        with matrix_vector:
            trans = builder.select(along_a, transposed, plain)

            def call(a: Any, rows: Any, columns: Any, x: Any, factor: Any, y: Any) -> None:
                # BLAS counts in columns: memory that runs along rows is the transposed matrix.
                first, second = builder.select(along_a, columns, rows), builder.select(along_a, rows, columns)
                args = [kind, trans, first, second, raw(alpha), raw(a), lda, raw(x), raw(factor), raw(y)]
                builder.call(gemv, args)

            _in_pieces(context, builder, dtype, o, alpha, beta, call)
        with matrix_matrix:
            # c.T = b.T @ a.T where c runs along rows.
            swap = along_c
            first, second = builder.select(swap, o["b"], o["a"]), builder.select(swap, o["a"], o["b"])
            trans_b = builder.select(builder.xor(along_b, along_c), transposed, plain)
            trans_a = builder.select(builder.xor(along_a, along_c), transposed, plain)
            args = [
                kind,
                builder.select(swap, trans_b, trans_a), builder.select(swap, trans_a, trans_b),
                builder.select(swap, o["n"], o["m"]), builder.select(swap, o["m"], o["n"]), o["k"],
                raw(alpha), raw(first), builder.select(swap, ldb, lda), raw(second), builder.select(swap, lda, ldb),
                raw(beta), raw(o["c"]), ldc,
            ]  # fmt: skip
            builder.call(gemm, args)


_PIECE = 512  # elements of a vector that are gathered at a time


def _in_pieces(
    context: Any, builder: Any, dtype: Any, o: dict[str, Any], one: Any, beta: Any, call: Callable[..., None]
) -> None:
    """c (+)= a @ b for vectors b and c, piece by piece through buffers where their elements are not neighbours.

    `call(a, rows, columns, x, factor, y)` does y = factor * y + a @ x without steps.
    """
    element = context.get_data_type(dtype)
    gathered, scattered = (
        builder.gep(cgutils.alloca_once(builder, ir.ArrayType(element, _PIECE)), [_constant(0), _constant(0)])
        for _ in range(2)
    )
    nothing = cgutils.alloca_once_value(builder, context.get_constant_null(dtype))
    x_plain, y_plain = _is(builder, o["rb"], 1), _is(builder, o["rc"], 1)

    def piece(plain: Any, size: Any) -> tuple[Any, Any]:
        """Length of a piece, and how many there are."""
        length = builder.select(plain, size, _constant(_PIECE))
        return length, builder.sdiv(builder.sub(builder.add(size, length), _constant(1)), length)

    def least(p: Any, q: Any) -> Any:
        return builder.select(builder.icmp_signed("<", p, q), p, q)

    height, rows = piece(y_plain, o["m"])
    width, columns = piece(x_plain, o["k"])
    with cgutils.for_range(builder, rows, intp=_INT) as row_piece:
        row = builder.mul(row_piece.index, height)
        long = least(height, builder.sub(o["m"], row))
        with cgutils.for_range(builder, columns, intp=_INT) as column_piece:
            column = builder.mul(column_piece.index, width)
            wide = least(width, builder.sub(o["k"], column))
            with builder.if_then(builder.not_(x_plain)), cgutils.for_range(builder, wide, intp=_INT) as k:
                source = builder.gep(o["b"], [builder.mul(builder.add(column, k.index), o["rb"])])
                builder.store(builder.load(source), builder.gep(gathered, [k.index]))
            corner = builder.add(builder.mul(row, o["ra"]), builder.mul(column, o["ca"]))
            x = builder.select(x_plain, o["b"], gathered)
            first = builder.select(y_plain, beta, nothing)
            factor = builder.select(_is(builder, column_piece.index, 0), first, one)
            call(builder.gep(o["a"], [corner]), long, wide, x, factor, builder.select(y_plain, o["c"], scattered))
        with builder.if_then(builder.not_(y_plain)), cgutils.for_range(builder, long, intp=_INT) as k:
            target = builder.gep(o["c"], [builder.mul(builder.add(row, k.index), o["rc"])])
            made = builder.load(builder.gep(scattered, [k.index]))
            with builder.if_else(o["add"]) as (adds, stores):
                with adds:
                    builder.store(_plus(context, builder, dtype, builder.load(target), made), target)
                with stores:
                    builder.store(made, target)


def _runs_along_rows(builder: Any, row: Any, column: Any, rows: Any, columns: Any) -> Any:
    """Whether elements of a row are neighbours (also where there is one column or one row only) and rows are apart."""
    one = _constant(1)
    unit = builder.or_(builder.icmp_signed("==", column, one), builder.icmp_signed("<=", columns, one))
    apart = builder.or_(builder.icmp_signed(">=", row, columns), builder.icmp_signed("<=", rows, one))
    return builder.and_(unit, builder.and_(apart, builder.icmp_signed(">=", row, one)))


def _suits_blas(builder: Any, row: Any, column: Any, rows: Any, columns: Any) -> Any:
    return builder.or_(
        _runs_along_rows(builder, row, column, rows, columns), _runs_along_rows(builder, column, row, columns, rows)
    )


_PRODUCT_OPERANDS = ("a", "ra", "ca", "b", "rb", "cb", "c", "rc", "cc", "m", "n", "k", "add")


def product_function(
    context: Any, module: ir.Module, dtype: Any, name: str = "", linkage: str = "internal"
) -> ir.Function:
    """The function of this module that multiplies matrices of one dtype, whatever their strides."""
    name = name or f"gradc_product_{dtype.name}"
    if name in module.globals and not module.globals[name].is_declaration:
        return module.globals[name]
    function, builder, o = _new_product_function(context, module, dtype, ir.VoidType(), name, linkage)
    if dtype in _BLAS_KINDS:
        multiplications = builder.mul(o["m"], builder.mul(o["n"], o["k"]))
        with builder.if_then(builder.icmp_signed(">=", multiplications, _constant(_SMALL_PRODUCT))):
            blas = _blas_function(context, module, dtype, f"{name}_by_blas", linkage)
            with builder.if_then(builder.call(blas, function.args)):
                builder.ret_void()
        o = _transposed_if(builder, _is(builder, o["m"], 1), o)
    _loop_product(context, builder, dtype, o)
    builder.ret_void()
    return function


def _new_product_function(
    context: Any, module: ir.Module, dtype: Any, result: ir.Type, name: str, linkage: str
) -> tuple[ir.Function, Any, dict[str, Any]]:
    """A function of the operands of a product, a builder in it, and its operands by name."""
    pointer = context.get_data_type(dtype).as_pointer()
    operand_types = [pointer, _INT, _INT] * 3 + [_INT, _INT, _INT, ir.IntType(1)]
    function = ir.Function(module, ir.FunctionType(result, operand_types), name)
    function.linkage = linkage
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    return function, builder, dict(zip(_PRODUCT_OPERANDS, function.args, strict=True))


def _blas_function(context: Any, module: ir.Module, dtype: Any, name: str, linkage: str) -> ir.Function:
    """The function that has BLAS multiply where memory allows, and says whether it did.

    LLVM leaves it as it is: its hundred instructions run before every call of BLAS, and took a fifth of compilation.
    """
    function, builder, o = _new_product_function(context, module, dtype, ir.IntType(1), name, linkage)
    function.attributes.add("optnone")
    # A vector times a matrix is a matrix times a vector: xGEMM takes ten times as long as xGEMV for these.
    o = _transposed_if(builder, _is(builder, o["m"], 1), o)
    vector = _is(builder, o["n"], 1)
    suits = _suits_blas(builder, o["ra"], o["ca"], o["m"], o["k"])
    for name_, rows, columns in (("b", "k", "n"), ("c", "m", "n")):
        fits = _suits_blas(builder, o["r" + name_], o["c" + name_], o[rows], o[columns])
        suits = builder.and_(suits, builder.or_(vector, fits))
    with builder.if_then(suits):
        _blas_product(context, builder, dtype, o)
    builder.ret(suits)
    return function


@intrinsic(prefer_literal=True)
def product(
    typingctx: Any, a: Any, at: Any, row_a: Any, col_a: Any, b: Any, bt: Any, row_b: Any, col_b: Any,
    c: Any, ct: Any, row_c: Any, col_c: Any, sizes: Any, add: Any,
) -> Any:  # fmt: skip
    """c[ct] (+)= a[at] @ b[bt] for matrices that start at the given elements; no operand is copied.

    `row_a`, `col_a`: the axes of the array `a` that are the matrix's rows and columns (-1: there is none).
    `sizes`: (m, n, k). `add`: keep what c holds. BLAS does it where memory allows and the product is not tiny.
    """
    arrays = (a, b, c)
    if not all(isinstance(t, types.Array) for t in arrays) or len({t.dtype for t in arrays}) != 1:
        return None
    axes = [getattr(t, "literal_value", None) for t in (row_a, col_a, row_b, col_b, row_c, col_c, add)]
    if not all(isinstance(v, int) for v in axes):
        return None
    axis_numbers = [int(v) for v in axes if v is not None]
    dtype = a.dtype
    signature = types.void(a, at, row_a, col_a, b, bt, row_b, col_b, c, ct, row_c, col_c, sizes, add)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        operands: list[Any] = []
        for k, ty in enumerate(arrays):
            start = [
                as_intp(context, builder, v, t)
                for v, t in zip(
                    cgutils.unpack_tuple(builder, args[4 * k + 1], len(sig.args[4 * k + 1])),
                    sig.args[4 * k + 1],
                    strict=True,
                )
            ]
            made = arrayobj.make_array(ty)(context, builder, args[4 * k])
            strides = cgutils.unpack_tuple(builder, made.strides, ty.ndim)
            itemsize = _constant(context.get_abi_sizeof(context.get_data_type(dtype)))
            steps = [builder.sdiv(s, itemsize) for s in strides]
            offset: Any = _constant(0)
            for position, step in zip(start, steps, strict=True):
                offset = builder.add(offset, builder.mul(position, step))
            operands.append(builder.gep(made.data, [offset]))
            operands.extend(_constant(0) if axis < 0 else steps[axis] for axis in axis_numbers[2 * k : 2 * k + 2])
        operands.extend(shape_values(context, builder, args[12], sig.args[12]))
        operands.append(ir.Constant(ir.IntType(1), int(bool(axis_numbers[6]))))
        builder.call(product_function(context, builder.module, dtype), operands)
        return context.get_dummy_value()

    return signature, emit
