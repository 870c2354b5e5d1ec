"""Native code for kernel texts as Numba intrinsics: Numba compiles one call, the text is compiled here."""

from __future__ import annotations

import functools
import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic
from numba.np import arrayobj

from gradc.codegen import fourier, product_intrinsic
from gradc.codegen.native.body import SCIPY, Native, Result, translate
from gradc.codegen.native.calls import Helper
from gradc.codegen.native.kinds import ArrayKind, NotTranslated, kind_of, numba_scalar
from gradc.ir.loops import FOURIER_FUNCTIONS

_INT = ir.IntType(64)
_POINTER = ir.IntType(8).as_pointer()
_translated: dict[tuple[str, str, tuple[Any, ...]], Native] = {}

SMALL = 250
"""Lines of assembly of a function that callers in nopython code should rather contain than call."""

HEAD = """\
from numba import njit

from gradc.codegen.native.bridge import native_body

"""
"""How module texts start that are compiled here."""


def native_body(text: str, name: str) -> Any:
    """The function `name` of a kernel text as an intrinsic."""

    def typing(typingctx: Any, *arguments: Any) -> Any:
        native = translated(text, name, tuple(types.unliteral(a) for a in arguments))
        result = result_type(native.result)
        return result(*arguments), lambda context, builder, signature, values: _call(
            context, builder, native, signature, values
        )

    return intrinsic(_with_parameters(typing, text, name))


def native_module(text: str, name: str) -> str:
    """The module text that has the kernel text `text` compiled here: under Numba, `name` is the function."""
    quoted = repr(text) if "'''" in text or not text.endswith("\n") else f"r'''{text}'''"
    parameters = ", ".join(_parameters(text, name))
    decorator = next(line for line in text.splitlines() if line.startswith("@njit("))
    return _head(text) + "\n".join(
        (
            f"TEXT = {quoted}",
            "",
            f'{name}_body = native_body(TEXT, "{name}")',
            "",
            "",
            decorator,
            f"def {name}({parameters}):",
            f"    return {name}_body({parameters})",
            "",
        )
    )


def _head(text: str) -> str:
    """The imports of the module: among them what the machine code, also that from the disk cache, is linked with."""
    scipy = f"import {SCIPY}\n\n" if f"from {SCIPY} import" in text else ""
    library = re.search(r"^from gradc\.codegen\.library import .*\n", text, re.MULTILINE)
    return HEAD + scipy + (f"{library[0]}\n" if library else "")


def _parameters(text: str, name: str) -> list[str]:
    """The parameters of a function of a kernel text, which stand on one line."""
    found = re.search(rf"^def {name}\(([^()]*)\):", text, re.MULTILINE)
    if found is None:
        raise NotTranslated(f"there is no function {name}")
    return [p.strip() for p in found[1].split(",") if p.strip()]


def _decorator(text: str) -> str:
    """The line by which the text has Numba compile its function."""
    found = re.search(r"^@njit\(.*\)$", text, re.MULTILINE)
    if found is None:
        raise NotTranslated("there is no @njit")
    return f"{found[0][:-1]}, no_cfunc_wrapper=True)"


def _with_parameters(typing: Any, text: str, name: str) -> Any:
    """`typing` with as many named parameters as the function has: Numba reads them from its signature."""
    listed = ", ".join(f"a{k}" for k in range(len(_parameters(text, name))))
    namespace: dict[str, Any] = {"typing": typing}
    exec(f"def {name}_body(typingctx, {listed}):\n    return typing(typingctx, {listed})", namespace)
    return namespace[f"{name}_body"]


def translated(text: str, name: str, arguments: Sequence[Any]) -> Native:
    """The text as LLVM assembly for arguments of these Numba types. Raises: NotTranslated."""
    key = (text, name, tuple(arguments))
    native = _translated.get(key)
    if native is None:
        digest = hashlib.sha256(repr((text, key[2])).encode()).hexdigest()[:16]
        native = translate(text, name, [kind_of(a) for a in arguments], f"gradc_{digest}_{name}")
        _translated[key] = native
    return native


def result_type(result: Result) -> Any:
    """The Numba type of what a kernel returns."""
    if isinstance(result, tuple):
        return types.Tuple(tuple(result_type(r) for r in result))
    if isinstance(result, ArrayKind):
        return types.Array(numba_scalar(result.dtype), result.ndim, result.layout)
    return numba_scalar(result)


# -------------------------------------------------------------------------------------------------- call


def _call(context: Any, builder: Any, native: Native, signature: Any, values: Sequence[Any]) -> Any:
    """Add the assembly to the library under construction and call its function."""
    _define_helpers(context, builder.module, native)
    operands: list[Any] = []
    storage = cgutils.alloca_once(builder, ir.ArrayType(_INT, max(native.words, 1)))
    operands.append(builder.bitcast(storage, _POINTER))
    for ty, value in zip(signature.args, values, strict=True):
        operands += _parts(context, builder, ty, value)
    _add_assembly(context.active_code_library, native)
    borrow_arguments(context.active_code_library)
    if native.assembly.count("\n") < SMALL:
        builder.function.attributes.add("inlinehint")
    function = _declare(builder.module, native.symbol, ir.IntType(32), [o.type for o in operands])
    status = builder.call(function, operands)
    with builder.if_then(builder.icmp_signed("!=", status, ir.Constant(status.type, 0)), likely=False):
        # Numba's function holds a reference of its own to every argument, which its exceptions do not give back.
        for ty, value in zip(signature.args, values, strict=True):
            context.nrt.decref(builder, ty, value)
        _raise(context, builder, native, status)
    result, _ = _unpacked(context, builder, storage, signature.return_type, 0)
    return result


def _declare(module: ir.Module, name: str, result: ir.Type, operands: Sequence[ir.Type]) -> ir.Function:
    found = module.globals.get(name)
    return found if found is not None else ir.Function(module, ir.FunctionType(result, operands), name)


def _parts(context: Any, builder: Any, ty: Any, value: Any) -> list[Any]:
    """The operands that an argument is handed over as."""
    if not isinstance(ty, types.Array):
        return [context.cast(builder, value, ty, types.unliteral(ty))]
    made = arrayobj.make_array(ty)(context, builder, value)
    sizes = cgutils.unpack_tuple(builder, made.shape, ty.ndim)
    strides = cgutils.unpack_tuple(builder, made.strides, ty.ndim)
    pointers = [builder.bitcast(p, _POINTER) for p in (made.data, made.meminfo, made.parent)]
    return [pointers[0], *sizes, *strides, *pointers[1:]]


def _raise(context: Any, builder: Any, native: Native, status: Any) -> None:
    """Raise the exception of a status."""
    unknown = builder.append_basic_block("no_such_status")
    switch = builder.switch(status, unknown)
    for number, (cls, message) in enumerate(native.errors, 1):
        block = builder.append_basic_block(f"status_{number}")
        switch.add_case(ir.Constant(status.type, number), block)
        with builder.goto_block(block):
            context.call_conv.return_user_exc(builder, cls, (message,))
    builder.position_at_end(unknown)
    builder.unreachable()


def _unpacked(context: Any, builder: Any, storage: Any, ty: Any, word: int) -> tuple[Any, int]:
    """The result of a type that starts at a word, and the word after it."""
    if isinstance(ty, types.BaseTuple):
        items = []
        for inner in ty:
            item, word = _unpacked(context, builder, storage, inner, word)
            items.append(item)
        return context.make_tuple(builder, ty, items), word

    def read(k: int, llvm_type: ir.Type) -> Any:
        place = builder.gep(storage, [ir.Constant(_INT, 0), ir.Constant(_INT, k)])
        return builder.load(builder.bitcast(place, llvm_type.as_pointer()))

    if isinstance(ty, types.Array):
        made = arrayobj.make_array(ty)(context, builder)
        sizes = [read(word + 1 + k, _INT) for k in range(ty.ndim)]
        strides = [read(word + 1 + ty.ndim + k, _INT) for k in range(ty.ndim)]
        data_type = context.get_data_type(ty.dtype)
        arrayobj.populate_array(
            made,
            data=read(word, data_type.as_pointer()),
            shape=cgutils.pack_array(builder, sizes, ty=_INT),
            strides=cgutils.pack_array(builder, strides, ty=_INT),
            itemsize=context.get_constant(types.intp, context.get_abi_sizeof(data_type)),
            meminfo=read(word + 1 + 2 * ty.ndim, _POINTER),
            parent=read(word + 2 + 2 * ty.ndim, _POINTER),
        )
        return made._getvalue(), word + 3 + 2 * ty.ndim
    stored = read(word, context.get_data_type(ty))
    value = context.data_model_manager[ty].from_data(builder, stored)
    return value, word + max(1, context.get_abi_sizeof(context.get_data_type(ty)) // 8)


# ----------------------------------------------------------------------------------------------- modules


def _add_assembly(library: Any, native: Native) -> None:
    """Link the assembly into a library of Numba. Its functions are optimised with the whole library, once."""
    codegen = library.codegen
    triple, layout = llvm.get_process_triple(), codegen._data_layout
    head = f'target triple = "{triple}"\ntarget datalayout = "{layout}"\n'
    module = llvm.parse_assembly(head + native.assembly)
    module.name = native.symbol
    library._final_module.link_in(module)
    for symbol in native.products:
        library._final_module.link_in(llvm.parse_bitcode(_product_code(symbol)))
    _optimise_once(library)


def _optimise_once(library: Any) -> None:
    """Have a library run LLVM's whole pipeline once, at its end.

    Numba runs it over every function first, then a cheap one and the whole one again over all, so that it can prune
    reference counts in between; here there are none to prune.
    """
    codegen = library.codegen

    def optimise() -> None:
        # The third level tries more copies of loops for conditions that do not change: LeNet took half as long again.
        manager, builder = codegen._module_pass_manager(opt=min(int(config.OPT), 2))
        manager.run(library._final_module, builder)

    def enforce_layout(module: Any) -> None:
        module.data_layout = codegen._data_layout

    library._optimize_functions = enforce_layout
    library._optimize_final_module = optimise


def borrow_arguments(library: Any) -> None:
    """Have functions that a library under construction gets hold no references to their arguments: callers do.

    For functions that give none of them away. Numba prunes such references where it finds pairs, which it no longer
    does once functions have been inlined that may raise. They cost as much as the gradient of a few numbers.
    """
    usual = library.add_llvm_module

    def add(module: Any) -> None:
        module.data_layout = library.codegen._data_layout
        passes = llvm.create_new_module_pass_manager()
        passes.add_sroa_pass()
        passes.add_instruction_combine_pass()  # arguments are put together as structures and taken apart again
        passes.run(module, library.codegen._pass_builder())
        usual(llvm.parse_assembly(_without_references(str(module))))

    library.add_llvm_module = add


_COUNTED = re.compile(r' *(?:tail )?call void @NRT_(incref|decref)\(ptr (%arg\.[\w.$]+|%"arg\.[^"]+")\)[^\n]*\n')


def _without_references(text: str) -> str:
    """Assembly whose functions do not count references to arguments where they give all back that they take."""
    functions = text.split("\ndefine ")
    for k, function in enumerate(functions[1:], 1):
        counts = Counter((m[1], m[2]) for m in _COUNTED.finditer(function))
        borrowed = {name for _, name in counts if counts["incref", name] <= counts["decref", name]}
        functions[k] = _COUNTED.sub(partial(_unless, borrowed), function)
    return "\ndefine ".join(functions)


def _unless(borrowed: set[str], counted: re.Match[str]) -> str:
    return "" if counted[2] in borrowed else counted[0]


def _define_helpers(context: Any, module: ir.Module, native: Native) -> None:
    for helper in native.helpers:
        _define_helper(context, module, helper)


@functools.cache
def _product_code(symbol: str) -> bytes:
    """The function for products or transforms of a dtype as bitcode, with loops as they are: for small matrices."""
    module = ir.Module(symbol)
    module.triple, module.data_layout = llvm.get_process_triple(), cpu_target.target_context.codegen()._data_layout
    kind, _, dtype = symbol.removeprefix("gradc_native_").rpartition("_")
    if kind in FOURIER_FUNCTIONS:
        fourier.transform_function(module, kind, dtype, symbol, "linkonce_odr")
    else:
        product_intrinsic.product_function(
            cpu_target.target_context, module, numba_scalar(dtype), symbol, "linkonce_odr"
        )
    lines: list[str] = []
    notes: list[str] = []
    seen: set[str] = set()
    for line in str(module).splitlines():
        if line.endswith(":"):
            seen.add(line[:-1].strip('"'))
        target = line.strip().removeprefix("br label %").strip('"')
        if target in seen:  # a loop starts again
            notes.append(f"!{len(notes) + 1}")
            line = f"{line}, !llvm.loop {notes[-1]}"
        lines.append(line)
    lines.append('!0 = !{!"llvm.loop.unroll.disable"}')
    lines += (f"{note} = distinct !{{{note}, !0}}" for note in notes)
    return llvm.parse_assembly("\n".join([*lines, ""])).as_bitcode()  # type: ignore[no-any-return]


def _define_helper(context: Any, module: ir.Module, helper: Helper) -> None:
    """Write the function of an operator or an intrinsic for scalars; LLVM puts it where it is called."""
    if helper.symbol in module.globals:
        return
    result_type_ = context.get_value_type(helper.result)
    operand_types = [context.get_value_type(t) for t in helper.operands]
    function = ir.Function(module, ir.FunctionType(result_type_, operand_types), helper.symbol)
    function.linkage = "linkonce_odr"
    function.attributes.add("alwaysinline")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    if helper.intrinsic:
        signature, emit = helper.function._defn(context.typing_context, *helper.operands)
        builder.ret(emit(context, builder, signature, list(function.args)))
        return
    # Numba's own code may call functions that it compiles, so it stands in one of its convention. None of them raises.
    inner_type = context.call_conv.get_function_type(helper.result, helper.operands)
    inner = ir.Function(module, inner_type, f"{helper.symbol}_inner")
    inner.linkage = "linkonce_odr"
    context.call_conv.decorate_function(inner, [f"a{k}" for k in range(len(helper.operands))], helper.operands)
    within = ir.IRBuilder(inner.append_basic_block("entry"))
    signature = context.typing_context.resolve_function_type(helper.function, helper.operands, {})
    packer = context.get_arg_packer(helper.operands)
    operands = packer.from_arguments(within, context.call_conv.get_arguments(inner))
    result = context.get_function(helper.function, signature)(within, operands)
    context.call_conv.return_value(within, context.get_return_value(within, helper.result, result))
    _, given = context.call_conv.call_function(builder, inner, helper.result, helper.operands, list(function.args))
    builder.ret(given)
