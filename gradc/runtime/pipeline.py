"""The way through the compiler: the one place that knows which stage follows which."""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from gradc.ad.compressed import compressed
from gradc.ad.dependence import dependence
from gradc.ad.forward import jvp
from gradc.ad.jacobian import Mode, cheaper_mode, jacobian
from gradc.ad.reverse import reverse
from gradc.codegen.kernel import kernel_source
from gradc.codegen.layout import ArgumentChecks
from gradc.codegen.readable import source
from gradc.codegen.standalone import numba_module
from gradc.config import config
from gradc.errors import DTypeError, GradcError, InternalError, Loc, ShapeError, UnsupportedError
from gradc.ir.custom import calls_in_place
from gradc.ir.effects import written_params
from gradc.ir.loops import Routine
from gradc.ir.nodes import Func, Value, walk_nodes
from gradc.ir.printer import print_func
from gradc.ir.program import Program
from gradc.ir.tree import Branch, Leaf, Static, Tree, shift_leaves, tree_leaves
from gradc.ir.types import Array, Scalar, evaluate_size, format_shape, is_complex, is_float, is_inexact
from gradc.ir.verifier import verify
from gradc.lower.program import lower
from gradc.passes.apart import apart
from gradc.passes.batch import batch
from gradc.passes.cse import cse
from gradc.passes.dce import dce
from gradc.passes.direction import direction
from gradc.passes.expand import expand
from gradc.passes.hoist import hoist
from gradc.passes.induction import induction
from gradc.passes.panels import panels
from gradc.passes.privatize import privatize
from gradc.passes.ranges import ranges
from gradc.passes.simplify import simplify
from gradc.passes.stability import stability
from gradc.runtime.cache import PLACEHOLDER
from gradc.runtime.collection import collector_rests
from gradc.runtime.failures import always_raised
from gradc.runtime.ownership import copy_on_entry, keep_results, merge_aliases, own_results, python_floats

PASSES: tuple[tuple[str, Callable[[Func], Func]], ...] = (
    ("stability", stability),
    ("simplify", simplify),
    ("cse", cse),
    ("induction", induction),
    ("ranges", ranges),
    ("hoist", hoist),
    ("dce", dce),
    ("privatize", privatize),
    ("batch", batch),
    ("panels", panels),
    ("direction", direction),
    ("apart", apart),
)
# Sparse patterns follow single elements, and lanes share what stands in loops: neither is helped by products.
ELEMENTWISE = frozenset(("words", "compressed_fwd", "compressed_rev", "jacobian", "jacfwd", "jacrev", "hessian"))
# Passes that leave to a person what the user wrote and the names of its derivatives.
READABLE = frozenset(("stability", "dce", "privatize"))
READABLE_PRIMAL = READABLE | {"cse"}  # in a derivative, cse would merge `dx = dz` with dz

Kind: TypeAlias = Literal[
    "jit", "grad", "value_and_grad", "vjp", "pullback", "jvp", "jacobian", "jacfwd", "jacrev", "hessian", "hvp",
    "words", "compressed_fwd", "compressed_rev",
]
# Parts of sparse Jacobians, whose kernels take words or colors besides the arguments.
COMPRESSED: dict[str, Mode] = {"compressed_fwd": "fwd", "compressed_rev": "rev"}
JACOBIANS: dict[str, Mode | None] = {"jacobian": None, "jacfwd": "fwd", "jacrev": "rev", "hessian": "fwd"}


NOTHING = Branch(tuple, (), ())


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted of a program.

    wrt: positions of the leaves that are differentiated; `gradient`: the tree of the result that holds their
        gradients (leaf k: of wrt[k]).
    aliases: pairs (k, first) of leaves that are one array, where the program writes into it.
    label: what the object calls itself, where that is not `kind`.
    sizes: size variables with their values where the kernel is first needed, by which the mode of a Jacobian is chosen.
    """

    kind: Kind
    wrt: tuple[int, ...] = ()
    gradient: Tree = NOTHING
    has_aux: bool = False
    aliases: tuple[tuple[int, int], ...] = ()
    sizes: tuple[tuple[str, int], ...] = ()
    label: str = ""


@dataclass(eq=False, slots=True)
class Staged:
    """A program after its transforms: the function to emit, the tree of its results, and how it came about."""

    program: Program
    request: Request
    func: Func
    result: Tree
    stages: Stages

    @property
    def name(self) -> str:
        """`<f>_<kind>`: the name of what is emitted."""
        return self.stages.name


# ------------------------------------------------------------------------------------------------- the way


@collector_rests()
def parse(function: Any, values: Sequence[Any]) -> Program:
    """What the Python front end makes of a call of `function` with one value per parameter."""
    from gradc.frontends.from_python import parse as parse_python

    program: Program = parse_python(function, values)
    return program


@collector_rests()
def transform(
    program: Program,
    request: Request,
    readable: bool = False,
    snapshots: Callable[[str, Func], None] | None = None,
    keep_calls: bool = False,
) -> Staged:
    """From what a front end made to the function that is emitted.

    `readable`: for a person: without the passes that merge what the user wrote apart or drop names. `snapshots` gets
    the name of each stage, and the function after it. `keep_calls`: calls of functions with rules of the user stay,
    because what is made is differentiated further.
    """
    written = program.func.name.removesuffix("_grad") if request.kind == "hessian" else program.func.name
    stages = Stages(f"{_identifier(written)}_{request.label or request.kind}")
    stages.snapshots = snapshots
    func = stages.start(program.func)
    func = stages.run("aliases", func, lambda f: merge_aliases(f, request.aliases))
    if request.kind in ("jit", "vjp") and not keep_calls:
        func = stages.run("calls", func, calls_in_place)
    products = request.kind not in ELEMENTWISE
    func = optimise(func, stages, readable, products)
    if request.kind == "jit":
        result = program.result
    elif request.kind == "vjp":
        _check_wrt(func, program, request)
        func, result = stages.run("entry", func, copy_on_entry), program.result
    else:
        func, result = differentiate(func, program, request, stages, readable)
        if not keep_calls:
            func = stages.run("calls", func, calls_in_place)
        func = optimise(func, stages, readable, products)
    if request.kind in ("vjp", "value_and_grad", "jvp"):
        values = result.items[0] if request.kind == "value_and_grad" and isinstance(result, Branch) else result
        primal = values.items[0] if request.has_aux and isinstance(values, Branch) else values
        func = stages.run("floats", func, lambda f: python_floats(f, tree_leaves(primal)))
    func = stages.run("results", func, own_results)
    return Staged(program, request, func, result, stages)


def optimise(func: Func, stages: Stages, readable: bool = False, products: bool = True) -> Func:
    """The passes, in order; without those that make products of loops where they are not wanted."""
    for name, run in PASSES:
        if name in ("batch", "panels") and not products:
            continue
        if not readable or name in (READABLE if "reverse" in stages.seconds else READABLE_PRIMAL):
            func = stages.run(name, func, run)
    return func


def expanded(staged: Staged) -> Func:
    """The program that is lowered. What expansions factorize is factorized once."""
    func = staged.stages.run("expand", staged.func, expand)
    if any(isinstance(node.op.lower, Routine) for node in walk_nodes(func.body)):
        func = staged.stages.run("cse", func, cse)
    return func


def kernel_text(staged: Staged, pack: Any = None) -> tuple[str, str]:
    """The text that Numba gets, and the name of the function in it; PLACEHOLDER stands for the hash."""
    name = f"{staged.name}_{PLACEHOLDER}"
    stages = staged.stages
    func = expanded(staged)
    try:
        loops = stages.timed("lower", lambda: lower(func))
        return stages.emit("kernel", lambda: kernel_source(loops, name, pack)), name
    except GradcError:
        raise
    except Exception as error:
        raise internal_error(f"the kernel of {staged.name} was not made: {error!r}", func, "lower") from error


def source_text(staged: Staged, signature: inspect.Signature) -> str:
    """The readable program, made by a way of its own from what the front end made."""
    program = staged.program
    shown = transform(program, staged.request, readable=True)
    try:
        return shown.stages.emit(
            "source", lambda: source(shown.func, shown.name, signature, program.args, shown.result, program.captures)
        )
    except GradcError:
        raise
    except Exception as error:
        raise internal_error(f"the source of {staged.name} was not made: {error!r}", shown.func, "source") from error


def module_text(staged: Staged, signature: inspect.Signature, numba: bool) -> str:
    """The program as a file of its own, which checks its arguments: plain NumPy, or a kernel for Numba.

    Raises: UnsupportedError where it is for several arguments that are one array.
    """
    program = staged.program
    if staged.request.aliases:
        raise UnsupportedError(
            "this program is for arguments that are one array, which it writes into, and is not saved",
            program.func.loc,
            why="the file could not see at a call whether that is so.",
            hint="lower it for separate arrays, and save that.",
        )
    looks = ArgumentChecks(program.static, written_leaves(program))
    if not numba:
        shown = transform(program, staged.request, readable=True)
        return source(shown.func, shown.name, signature, program.args, shown.result, program.captures, looks)
    func = expanded(staged)
    return numba_module(
        lower(func), func, staged.name, signature, program.args, staged.result, program.captures, looks,
        written_params(func),
    )  # fmt: skip


def written_leaves(program: Program) -> tuple[int, ...]:
    """Positions of the leaves whose memory the program writes into."""
    return written_params(program.func)


def known_sizes(program: Program, leaves: Sequence[Any]) -> tuple[tuple[str, int], ...]:
    """Size variables of the parameters, with their values for these leaves."""
    return tuple(
        (str(size), n)
        for param, leaf in zip(program.func.params, leaves, strict=False)
        if isinstance(param.ty, Array)
        for size, n in zip(param.ty.shape, np.shape(leaf), strict=True)
        if not isinstance(size, int)
    )


# ------------------------------------------------------------------------------------------- derivatives


def differentiate(
    func: Func, program: Program, request: Request, stages: Stages, readable: bool = False
) -> tuple[Func, Tree]:
    """The derivative that `request` asks for, and the tree of its results. `readable`: one seed in each sweep."""
    raised = always_raised(program.func)
    if raised is not None:  # there is nothing to differentiate: what the user's code raises passes through
        raise raised
    _check_wrt(func, program, request)
    values, count = program.result, len(func.results)
    func = stages.run("entry", func, copy_on_entry)
    wrt = _wrt_of_aliases(request)
    if request.kind == "pullback":
        derived = stages.run("reverse", func, lambda f: reverse(f, wrt, keep_value=False, seeds="params"))
        return derived, request.gradient
    if request.kind == "jvp":
        derived = stages.run("forward", func, lambda f: jvp(f, wrt, keep_value=True))
        return derived, Branch(tuple, (0, 1), (values, _tangents(values, func)))
    if request.kind in JACOBIANS:
        mode = JACOBIANS[request.kind] or cheaper_mode(func, wrt, dict(request.sizes))
        lanes = 1 if readable else None
        derived = stages.run("jacobian", func, lambda f: jacobian(f, wrt, mode, dict(request.sizes), lanes))
        return derived, _jacobians(values, func, request)
    if request.kind == "words" or request.kind in COMPRESSED:
        _check_one_array(func, program.result, func.params[wrt[0]])
        if request.kind == "words":
            return stages.run("dependence", func, lambda f: dependence(f, wrt[0])), Leaf(0)
        mode, sizes = COMPRESSED[request.kind], dict(request.sizes)
        return stages.run("compressed", func, lambda f: compressed(f, wrt[0], mode, sizes)), Leaf(0)
    values, scalar = _scalar_result(func, program.result, request)
    keep = request.kind == "value_and_grad" or request.has_aux
    func = stages.run("reverse", func, lambda f: reverse(f, wrt, keep_value=keep, seeds="ones", outputs=[scalar]))
    gradient = shift_leaves(request.gradient, count if keep else 0)
    if request.kind == "value_and_grad":
        return func, Branch(tuple, (0, 1), (values, gradient))
    if not request.has_aux:
        return func, gradient
    # (gradient, aux): the value itself is not asked for.
    assert isinstance(values, Branch)
    func = stages.run("results", func, lambda f: keep_results(f, [k for k in range(len(f.results)) if k != scalar]))
    return func, _without_leaf(Branch(tuple, (0, 1), (gradient, values.items[1])), scalar)


def _check_wrt(func: Func, program: Program, request: Request) -> None:
    for k in request.wrt:
        param = func.params[k]
        if k in program.static:
            raise UnsupportedError(
                f"argument `{param.name}` cannot be differentiated",
                program.func.loc,
                why=f"its value ({program.static[k]!r}) decides what is compiled: a count, a shape, an option, or what "
                "kind of value a path returns or leaves in a variable.",
                hint="leave it out of argnums; or return numbers, or arrays of one shape, on every path.",
            )
        if not is_inexact(param.ty):
            is_array = isinstance(param.ty, Array)
            cast = f"{param.name}.astype(np.float64)" if is_array else f"float({param.name})"
            raise DTypeError(
                f"argument `{param.name}` is of dtype {param.dtype} and cannot be differentiated",
                program.func.loc,
                why="integers and booleans are data: there is no derivative in them.",
                hint=f"pass {cast}, or leave it out of argnums.",
            )


def _wrt_of_aliases(request: Request) -> list[int]:
    """Which parameter each gradient is taken of, where several arguments are one array that is written to.

    Gradients of arguments add up to the derivative of the array. So the first argument that asks gets the
    whole of it, and the parameters that merging left unused give the others zeros.
    """
    first = dict(request.aliases)
    taken: set[int] = set()
    wrt = []
    for k in request.wrt:
        root = first.get(k, k)
        wrt.append(k if root in taken else root)
        taken.add(root)
    return wrt


def _scalar_result(func: Func, result: Tree, request: Request) -> tuple[Tree, int]:
    """The results (value first), and which one the value is.

    Raises: ShapeError or DTypeError where the value is not a real number.
    """
    value = result
    if request.has_aux:
        if not isinstance(result, Branch) or result.cls is not tuple or len(result.items) != 2:
            raise ShapeError(
                f"has_aux=True, but {func.name} does not return a pair",
                func.loc,
                why="with has_aux the function returns (value, aux).",
                hint="return value, aux.",
            )
        value = result.items[0]
    hint = "sum the result; or gradc.vjp gives its pullback, gradc.jacobian all its derivatives."
    if not isinstance(value, Leaf):
        what = f"a {value.cls.__name__}" if isinstance(value, Branch) else repr(value.value)
        if isinstance(value, Static) and value.value is None:
            hint = "end the function with `return` and the number."
        raise ShapeError(
            f"{func.name} returns {what}, not a number", func.loc, why="a gradient is that of one number.", hint=hint
        )
    ty = func.results[value.k].ty
    assert isinstance(ty, Scalar | Array)
    if ty.shape != ():
        raise ShapeError(
            f"{func.name} returns an array of shape {format_shape(ty.shape)}, not a number",
            func.loc,
            why="a gradient is that of one number.",
            hint=hint,
        )
    if not is_float(ty):
        raise DTypeError(
            f"{func.name} returns a number of type {ty.dtype}, which has no gradient",
            func.loc,
            why="the value that is differentiated has to be a real floating-point number.",
            hint="return .real of it, or use gradc.vjp." if ty.dtype.startswith("complex") else "return a float.",
        )
    return result, value.k


def _check_one_array(func: Func, result: Tree, param: Value) -> None:
    """Raises: ShapeError or DTypeError where the function is not one real array or number of another."""
    if not isinstance(result, Leaf):
        what = f"a {result.cls.__name__}" if isinstance(result, Branch) else repr(result.value)
        raise ShapeError(
            f"{func.name} returns {what}, not one array",
            func.loc,
            why="a sparse Jacobian is one matrix: a row for every entry of the result, a column for every one of the "
            "argument.",
            hint="return one array, for example np.concatenate of the parts.",
        )
    if not is_float(func.results[result.k].ty):
        raise DTypeError(
            f"{func.name} returns a value of type {func.results[result.k].ty}, which has no sparse Jacobian",
            func.loc,
            why="derivatives are those of real floating-point numbers.",
            hint="return floats; of complex numbers the real and imaginary parts.",
        )
    if is_complex(param.ty):
        raise DTypeError(
            f"the sparse Jacobian in `{param.name}`, which is complex, is not one matrix",
            func.loc,
            why="a function of complex numbers has derivatives in their real and imaginary parts.",
            hint="take the real and imaginary parts as one real array.",
        )


def _tangents(values: Tree, func: Func) -> Tree:
    """The structure of the results' tangents, which follow the results: None where a result has none."""
    floats = [k for k, r in enumerate(func.results) if is_inexact(r.ty)]
    if isinstance(values, Leaf):
        return Leaf(len(func.results) + floats.index(values.k)) if values.k in floats else Static(None)
    if isinstance(values, Branch):
        return Branch(values.cls, values.keys, tuple(_tangents(item, func) for item in values.items))
    return values


def _jacobians(values: Tree, func: Func, request: Request) -> Tree:
    """The structure of the results with that of the arguments in the place of every leaf."""
    floats = [k for k, r in enumerate(func.results) if is_inexact(r.ty)]
    if isinstance(values, Leaf):
        if values.k not in floats:
            raise DTypeError(
                f"{func.name} returns a value of type {func.results[values.k].ty}, which has no Jacobian",
                func.loc,
                why="integers and booleans have no derivative.",
                hint="return floating-point numbers only.",
            )
        return shift_leaves(request.gradient, floats.index(values.k) * len(request.wrt))
    if isinstance(values, Branch):
        return Branch(values.cls, values.keys, tuple(_jacobians(item, func, request) for item in values.items))
    return values


def _without_leaf(tree: Tree, gone: int) -> Tree:
    if isinstance(tree, Leaf):
        return Leaf(tree.k - 1) if tree.k > gone else tree
    if isinstance(tree, Branch):
        return Branch(tree.cls, tree.keys, tuple(_without_leaf(item, gone) for item in tree.items))
    return tree


# ------------------------------------------------------------------------------------------------- stages


@dataclass(eq=False, slots=True)
class Stages:
    """Runs stages one after the other: times them, verifies, prints and dumps as the configuration says."""

    name: str
    seconds: dict[str, float] = field(default_factory=dict)
    compiler: str = ""
    texts: dict[str, str] = field(default_factory=dict)
    step: int = 0
    snapshots: Callable[[str, Func], None] | None = None

    def start(self, func: Func) -> Func:
        """Note what the front end made."""
        self._note("parse", func, changed=True)
        return func

    def run(self, stage: str, func: Func, run: Callable[[Func], Func]) -> Func:
        """The function after a stage.

        Raises: the errors of the stage; InternalError for an exception that is none of gradc's.
        """
        try:
            made: Func = self.timed(stage, lambda: run(func))
        except GradcError:
            raise
        except Exception as error:
            raise internal_error(f"stage {stage} failed on {self.name}: {error!r}", func, stage) from error
        try:
            self._note(stage, made, changed=made is not func)
        except InternalError as error:  # the stage made something broken of this
            raise internal_error(error.what, func, stage, error.why, error.loc) from None
        return made

    def timed(self, stage: str, run: Callable[[], Any]) -> Any:
        """What `run` gives, with the seconds that it took."""
        start = time.perf_counter()
        try:
            return run()
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start

    def emit(self, stage: str, run: Callable[[], str]) -> str:
        """The text that an emitter makes."""
        text: str = self.timed(stage, run)
        self.texts[stage] = text
        if config().debug >= 3:
            print(f"# {self.name}: {stage}\n{text}", file=sys.stderr)
        self._dump(f"{stage}.py", text)
        return text

    def _note(self, stage: str, func: Func, changed: bool) -> None:
        if self.snapshots is not None:
            self.snapshots(stage, func)
        settings = config()
        if settings.verifies(stage):
            verify(func, stage)
        if not changed:
            return
        self.step += 1
        if settings.prints(stage):
            print(f"# {self.name} after {stage}\n{print_func(func)}", file=sys.stderr)
        if settings.dump is not None:
            self._dump(f"{self.step:02d}-{stage}.ir", print_func(func))

    def _dump(self, file: str, text: str) -> None:
        folder = config().dump
        if folder is not None:
            (folder / self.name).mkdir(parents=True, exist_ok=True)
            (folder / self.name / file).write_text(text)


def internal_error(
    what: str,
    func: Func,
    stage: str,
    why: str = "this is a bug in gradc, not in your function.",
    loc: Loc | None = None,
) -> InternalError:
    """An error of gradc itself; `.hint` is the line that shows it again."""
    from gradc.runtime.cache import cache

    try:
        text = print_func(func)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        path = (config().dump or cache.folder()) / f"repro_{_identifier(func.name)}_{digest}.ir"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        repro = f"python -m gradc {path} -p {stage} --verify"
    except Exception as error:  # the report of a defect must not hide it behind another one
        repro = f"the IR could not be printed: {error!r}"
    return InternalError(what, loc or func.loc, why, hint=f"repro: {repro}")


def _identifier(name: str) -> str:
    return re.sub(r"\W+", "_", name).strip("_") or "f"


# -------------------------------------------------------------------------------------------------- stats


def _tape_sizes(staged: Staged, leaves: Sequence[Any]) -> Mapping[str, Any]:
    """The note on residuals, with the bytes of dense tapes for these arguments, where sizes and counts decide them."""
    note = staged.func.notes.get("residuals")
    if not isinstance(note, dict) or "counts" not in note:
        return {}
    shown = {k: v for k, v in note.items() if k != "counts"}
    sizes = dict(known_sizes(staged.program, leaves))
    numbers = {
        param.name: int(leaf)
        for param, leaf in zip(staged.program.func.params, leaves, strict=False)
        if isinstance(param.ty, Scalar) and isinstance(leaf, int | np.integer)
    }
    try:
        for name, count in note["counts"].items():
            sizes[name] = int(_evaluate(count, sizes, numbers))
        shown["tape bytes here"] = evaluate_size(note["tape bytes"], sizes)
    except KeyError:
        pass  # an iteration decides
    return {"residuals": shown}


def _evaluate(value: Value, sizes: dict[str, int], numbers: Mapping[str, int]) -> Any:
    """A number that follows from sizes and integer arguments. Raises: KeyError where it does not."""
    node = value.node
    if node is None:
        return numbers[value.name]
    if node.op.name == "const":
        return node.attrs["value"]
    if node.op.name == "dim":
        return evaluate_size(node.operands[0].shape[node.attrs["axis"]], sizes)
    if node.op.kind != "elementwise" or node.op.run is None:
        raise KeyError(value.name)
    return node.op.run(*(_evaluate(v, sizes, numbers) for v in node.operands), **node.attrs)


def statistics(staged: Staged, leaves: Sequence[Any] = ()) -> Mapping[str, Any]:
    """Operations, notes of the passes, and seconds per stage. leaves: arguments for which sizes are told as numbers."""
    operations: dict[str, int] = {}
    for node in walk_nodes(staged.func.body):
        operations[node.op.name] = operations.get(node.op.name, 0) + 1
    return {
        "operations": sum(operations.values()),
        "operations by name": dict(sorted(operations.items())),
        **staged.func.notes,
        **_tape_sizes(staged, leaves),
        **({"compiled by": staged.stages.compiler} if staged.stages.compiler else {}),
        "seconds": dict(staged.stages.seconds),
    }
