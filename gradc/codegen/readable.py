"""`.source`: a function of the IR as NumPy text that a person reads and that runs as it stands.

    def f_value_and_grad(x, y):
        # forward
        z = x + y
        f = z * z

        # backward
        # from model.py:3: f = z * z
        dz = 2 * z
        # from model.py:2: z = x + y
        dx = dz
        dy = dz
        return float(f), (float(dx), float(dy))

Stages: a copy is rewritten for the eye (`cosmetics`); values are folded into the statements that use them (`folding`);
values become variables (`liveness`, `naming`); nodes become lines (`statements`, `expressions`); comments, sections,
signature and imports are put around them here.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from pathlib import PurePath

from gradc.codegen.arguments import Leaves, Results, describe_leaves, signature_text, unpack_lines
from gradc.codegen.cosmetics import drop_lets, prepare
from gradc.codegen.expressions import Expressions, repeats
from gradc.codegen.folding import Folding
from gradc.codegen.layout import APART, CHECK, ArgumentChecks, apart_lines, arguments_text
from gradc.codegen.liveness import (
    carried_inputs,
    carried_params,
    carried_yields,
    find_interference,
    loop_body,
    trip_count,
)
from gradc.codegen.naming import Variables
from gradc.codegen.python_numbers import NumberKinds, numpy_double
from gradc.codegen.rebinding import Rebinding
from gradc.codegen.shapes import ShapeComments
from gradc.codegen.statements import Line, Scope, Statements, is_tape_read, view_base
from gradc.errors import Loc
from gradc.ir.nodes import Func, Node, Value, walk_nodes
from gradc.ir.program import Capture
from gradc.ir.tree import Tree
from gradc.ir.types import Array, Scalar, Stack

INDENT = "    "
WIDTH = 100
COMMENT_WIDTH = 120


def source(
    func: Func,
    name: str,
    signature: inspect.Signature,
    args: Sequence[Tree],
    result: Tree,
    captures: Sequence[Capture] = (),
    checks: ArgumentChecks | None = None,
) -> str:
    """The module text that defines `name`.

    `func` has one parameter per leaf of `args`, then per leaf of the captures, then extra ones (cotangents). `args` are
    the trees of the arguments in `signature`; `result` is the tree of what the function returns. `checks`: for a file,
    which looks at what it is given.
    """
    origin, whole = func.loc, func
    func = prepare(func)
    trees = dict(zip(signature.parameters, args, strict=True))
    leaves = describe_leaves(signature, args, captures, [p.name for p in func.params])
    wanted = _wanted_names(func, leaves)
    kinds = NumberKinds(func)
    reserved = (
        set(signature.parameters) | {c.partition(" ")[0] for c in leaves.constants} | _helper_names(func) | {name}
    )
    fixed = [(p, leaves.names[k]) for k, p in enumerate(func.params)]
    while True:
        folding = Folding(func, repeats, wanted)
        rebinding = Rebinding(func, folding)
        variables = _assign_variables(func, folding, rebinding, wanted)
        variables.name_all(fixed, reserved)
        misnamed = {
            n.result
            for n in walk_nodes(func.body)
            if n.op.name in ("let", "alias") and _is_misnamed(n, variables, wanted)
        }
        drop_lets(func, misnamed)
        spare = _spare_names(func, folding, variables, wanted)
        for key in spare:
            del wanted[key]
        if not misnamed and not spare:
            break
    expressions = Expressions(folding, variables, kinds)
    used = _used_values(func)
    scope = Scope()
    Statements(folding, rebinding, variables, expressions, used).block(func.body, scope)
    returned = Results([_result_text(v, expressions, kinds) for v in func.results], trees)
    answer = returned.lines(result, INDENT, "return ", WIDTH)
    needed = {v for v in func.params if v in used}
    head = unpack_lines(leaves, trees, lambda k: func.params[k] in needed)
    if kinds.converted:
        names = ", ".join(variables[p] for p in kinds.converted)
        doubles = ", ".join(f"{numpy_double(p)}({variables[p]})" for p in kinds.converted)
        head.append(f"{names} = {doubles}  # division by zero gives inf, as in NumPy")
    shown = [v for v in func.params if v in needed]
    shapes = ShapeComments(func, leaves.names, shown, variables.names() | set(trees))
    head[:0] = shapes.heading(WIDTH - len(INDENT))
    body = [INDENT + line for line in head]
    staged = lay_out(scope.lines, origin, shapes)
    if body and staged:
        body.append("")
    body += staged
    if len(body) > 1 and body[-1]:
        body.append("")
    body += answer
    definitions = returned.definitions + leaves.constants
    # Preludes may have functions in common, which stand apart by two lines.
    texts = "\n\n\n".join(text.strip("\n") for _, text in sorted(expressions.preludes.items()))
    preludes = list(dict.fromkeys(part.strip("\n") for part in texts.split("\n\n\n"))) if texts else []
    helpers: list[str] = []
    if checks is not None and (trees or leaves.extra):
        given = ", ".join(f"{p}={p}" for p in [*trees, *leaves.extra])
        extra = {leaves.names[k]: k for k in range(len(func.params)) if leaves.names[k] in leaves.extra}
        functions = {c.first for c in captures if c.is_address}
        table = arguments_text(whole, trees, extra, checks.fixed, functions)
        definitions = [*definitions, *([""] if definitions else []), table]
        apart = apart_lines(whole, [leaves.paths[k] or n for k, n in enumerate(leaves.names)], checks.written)
        body[:0] = [INDENT + line for line in [f"check_arguments({given})", *apart]]
        helpers = [CHECK.strip("\n"), *([APART.strip("\n")] if apart else [])]
    header = f"def {name}{signature_text(signature, leaves.extra)}:"
    text = "\n".join([header, *body])
    parts = [
        _docstring(name, origin, func.name),
        "\n".join(_imports("\n".join([*definitions, *preludes, text, *helpers]))),
    ]
    if definitions:
        parts.append("\n".join(definitions))
    return "\n\n".join(parts) + "\n\n\n" + "\n\n\n".join([*preludes, text, *helpers]) + "\n"


_KINDS = {
    "value_and_grad": "value and gradient",
    "grad": "gradient",
    "vjp": "value",
    "pullback": "pullback",
    "jvp": "value and tangent",
    "jacobian": "Jacobian",
    "jacfwd": "Jacobian",
    "jacrev": "Jacobian",
    "hessian": "Hessian",
    "hvp": "Hessian times a vector",
}


def _docstring(name: str, origin: Loc, function: str) -> str:
    """The first line of the module: what is computed, of which function, and where that stands."""
    function = origin.function or function
    found: list[str] = []
    rest = name
    while True:
        kind = next((k for k in sorted(_KINDS, key=len, reverse=True) if rest.endswith(f"_{k}")), "")
        if not kind:
            break
        found.append(_KINDS[kind])
        rest = rest.removesuffix(f"_{kind}")
    known = origin.lineno and not _is_expression(origin)
    where = f" ({PurePath(origin.filename).name}:{origin.lineno})" if known else ""
    what = " of the ".join(found)
    title = f"{what[0].upper()}{what[1:]} of {function}{where}" if what else f"{function}{where}"
    return f'"""{title}, staged by gradc. Runs under plain NumPy."""'


def _is_expression(loc: Loc) -> bool:
    """Whether this is a place in a string or a SymPy expression, which has no file."""
    return loc.filename.startswith("<expression")


def _imports(text: str) -> list[str]:
    found = ["import collections"] if "collections." in text else []
    code = re.sub(r"#.*", "", text)
    found += ["import math"] if re.search(r"\bmath\.", code) else []
    blank = [""] if found else []
    found += [*blank, "import numpy as np"]
    found += [f"import {module}" for module in sorted(set(re.findall(r"\bscipy\.[a-z]+\b", code)))]
    return found


def _helper_names(func: Func) -> set[str]:
    """Names that preludes define at module level."""
    texts = {n.op.prelude for n in walk_nodes(func.body) if n.op.prelude}
    texts |= {"last_writers =" for n in walk_nodes(func.body) if n.op.name == "last_writers"}
    return {name for text in texts for name in re.findall(r"^(?:def )?(\w+)(?= =|\()", text, re.MULTILINE)}


def _result_text(value: Value, expressions: Expressions, kinds: NumberKinds) -> str:
    text = expressions.text(value)
    if isinstance(value.ty, Scalar) and not value.ty.weak and kinds.may_be_python(value):
        return f"np.{value.ty.dtype.replace('bool', 'bool_')}({text})"
    if isinstance(value.ty, Scalar) and value.ty.weak and not kinds.is_python(value):
        kind = {"float64": "float", "int64": "int", "bool": "bool", "complex128": "complex"}[value.ty.dtype]
        return f"{kind}({text})"
    return text


# ------------------------------------------------------------------------------------------------- names


def _wanted_names(func: Func, leaves: Leaves) -> dict[Value, str]:
    """The name that each value should have. A parameter `params_W` that is printed as W makes `dparams_W` dW."""
    renamed = {p.name: leaves.names[k] for k, p in enumerate(func.params) if p.name and p.name != leaves.names[k]}
    wanted: dict[Value, str] = {}

    def adapt(name: str) -> str:
        for old, new in renamed.items():
            stripped = name.removesuffix(old)
            if stripped != name and set(stripped) <= {"d"}:
                return stripped + new
            if name == f"{old}_tape":
                return f"{new}_tape"
        return name

    users = {p.name for p in func.params}
    users |= {r.name for n in walk_nodes(func.body) if not n.loc.reverse and n.loc != func.loc for r in n.results}

    arrays = {  # tapes of arrays
        n.operands[0] if n.op.name == "push" else view_base(n.operands[0])
        for n in walk_nodes(func.body)
        if n.op.name in ("push", "store") and isinstance(n.operands[1].ty, Array)
    }

    saved: dict[Value, Value] = {}  # what tapes hold
    for n in walk_nodes(func.body):
        if n.op.name in ("push", "store", "store_at") and not isinstance(n.operands[0].ty, Scalar):
            tape = n.operands[0] if n.op.name == "push" else view_base(n.operands[0])
            saved.setdefault(tape, n.operands[1])

    def note(value: Value, reverse: bool) -> None:
        if reverse and value.name in users and value.name[:1] == "d" and value.name[1:] in users:
            # The user has an x and a dx: the cotangent of x is called x_ct, whatever dx is.
            restored = value.node is not None and is_tape_read(value.node)
            wanted[value] = value.name if restored else f"{value.name[1:]}_ct"
        elif value.name == "value_tape" and isinstance(value.ty, Stack | Array):
            held = value.ty.item if isinstance(value.ty, Stack) else value.ty
            stem = "mask" if value in arrays else "test"
            wanted[value] = f"{stem}_tape" if held.dtype == "bool" else f"{_stem(saved.get(value))}_tape"
        elif value.name:
            wanted[value] = adapt(value.name)

    for node in walk_nodes(func.body):
        for value in (*node.results, *(p for block in node.blocks for p in block.params)):
            note(value, node.loc.reverse)
    for k, param in enumerate(func.params):
        wanted[param] = leaves.names[k]
    depth = _loop_depths(func)
    staged = any(n.loc.reverse for n in walk_nodes(func.body))
    for result in func.results:
        let = result.node is not None and result.node.op.name == "let" and not result.name
        value = result.node.operands[0] if let and result.node is not None else result
        made = value.node
        if made is None or value.name or made.loc.reverse or made.op.name in ("const", "let"):
            continue
        if staged or made.blocks:
            wanted[value] = "value" if staged else "result"
    for node in walk_nodes(func.body):
        if node.op.name == "for" and not node.blocks[0].params[0].name:
            wanted[node.blocks[0].params[0]] = "ijklpq"[min(depth.get(node, 0), 5)]
        count = trip_count(node) if node.op.name in ("for", "while") else None
        if count is not None and not count.name:
            wanted[count] = "trips"
    _name_tapes(func, wanted)
    return wanted


def _stem(value: Value | None) -> str:
    """What an unnamed value is called: sin_theta for np.sin(theta), else t."""
    node = value.node if value is not None else None
    if node is None or node.op.kind != "elementwise" or len(node.operands) != 1:
        return "t"
    if node.op.name in ("let", "neg", "cast"):
        return "t"
    name = node.operands[0].name
    return f"{node.op.name}_{name}" if name and len(name) <= 8 else node.op.name


def _loop_depths(func: Func) -> dict[Node, int]:
    """How many loops are around each control node, by id."""
    found: dict[Node, int] = {}
    for node in walk_nodes(func.body):  # owners come before what they own
        for inner in (n for block in node.blocks for n in block.nodes if n.blocks):
            found[inner] = found.get(node, 0) + (node.op.name != "if")
    return found


def _is_misnamed(let: Node, variables: Variables, wanted: dict[Value, str]) -> bool:
    """Whether a `let` could not have the name that it is there for."""
    return let.result in variables and let.result in wanted and variables[let.result] != wanted[let.result]


def _spare_names(func: Func, folding: Folding, variables: Variables, wanted: dict[Value, str]) -> list[Value]:
    """Values of the reverse sweep that go without a name: used once, and the name would have got a number."""
    return [
        r
        for n in walk_nodes(func.body)
        for r in n.results
        if n.loc.reverse and not n.blocks and r in variables and r in wanted and n.op.name != "let"
        if folding.use_count(r) == 1 and variables[r] != wanted[r] and r not in func.results
    ]  # fmt: skip


def _name_tapes(func: Func, wanted: dict[Value, str]) -> None:
    """A stack is called after what is pushed on it, and what is popped is called that."""
    counts: dict[Value, int] = {}
    for node in walk_nodes(func.body):
        for operand in node.operands:
            counts[operand] = counts.get(operand, 0) + 1
    for node in walk_nodes(func.body):
        # Regions that are saved before they are overwritten go to the tape and back without a variable.
        held = node.operands[1] if node.op.name == "push" else node.result if node.op.name == "pop" else None
        if held is not None and held.name.endswith("_old") and counts.get(held) == 1 and held.node is not None:
            wanted.pop(held, None)
        if node.op.name != "push":
            continue
        stack, value = node.operands
        if counts.get(value) == 1 and not wanted.get(value):
            continue
        name = wanted.get(value, "")
        tape = wanted.get(stack, "")
        if not name and tape.endswith("_tape") and value.node is not None and value.node.op.name != "const":
            name = wanted[value] = tape.removesuffix("_tape")
        if name and not wanted.get(stack):
            wanted[stack] = f"{name}_tape"
    for node in walk_nodes(func.body):
        if node.op.name not in ("store", "store_at") or wanted.get(node.operands[1]):
            continue
        tape = wanted.get(view_base(node.operands[0]), "")
        stem, held = tape.removesuffix("_tape"), node.operands[1]
        if tape != stem and stem == _stem(held) != "t" and counts.get(held, 0) > 1:
            wanted[held] = stem
    for node in walk_nodes(func.body):
        if node.op.name == "pop" and not wanted.get(node.result) and counts.get(node.result, 0) > 1:
            tape = wanted.get(node.operands[0], "")
            if tape.endswith("_tape"):
                wanted[node.result] = tape.removesuffix("_tape")


def _assign_variables(func: Func, folding: Folding, rebinding: Rebinding, wanted: dict[Value, str]) -> Variables:
    """Values to variables. Where a carried value cannot be updated in place, its update moves to the body's end."""
    while True:
        variables = Variables(find_interference(func, folding.folded, folding.leaves, rebinding.stores), wanted)
        for store in (n for n in walk_nodes(func.body) if n in rebinding.stores):
            variables.merge(*store.operands)
        again = False
        for node in walk_nodes(func.body):
            for target, source, is_yield in _flows(node):
                if variables.merge(target, source) or not is_yield:
                    continue
                same_name = wanted.get(source, "") in ("", wanted.get(target, ""))
                again = (same_name and folding.fold_yield(source)) or again
        if not again:
            variables.merge_namesakes()
            return variables


def _flows(node: Node) -> list[tuple[Value, Value, bool]]:
    """Pairs of a value and what it is set from, for control nodes; whether that is yielded by a block."""
    if node.op.name == "if":
        return [(r, b.yields[k], True) for k, r in enumerate(node.results) for b in node.blocks]
    if node.op.name not in ("for", "while"):
        return []
    params = carried_params(node)
    found = [(p, y, True) for p, y in zip(params, carried_yields(node), strict=True)]
    return found + [(p, i, False) for p, i in zip(params, carried_inputs(node), strict=True)]


def _used_values(func: Func) -> set[Value]:
    """Values that are read, also through variables that a loop carries."""
    used = set(func.results)
    changed = True
    while changed:
        before = len(used)
        for node in walk_nodes(func.body):
            if node.op.name == "if":
                for k, result in enumerate(node.results):
                    if result in used:
                        used.update(b.yields[k] for b in node.blocks)
                used.add(node.operands[0])
            elif node.op.name in ("for", "while"):
                params = carried_params(node)
                for k, param in enumerate(params):
                    twins = [param, node.results[k]] + ([node.blocks[0].params[k]] if node.op.name == "while" else [])
                    if any(v in used for v in twins):
                        used.update((*twins, carried_inputs(node)[k], carried_yields(node)[k]))
                used.update(node.operands[:3] if node.op.name == "for" else node.blocks[0].yields)
                used.update(loop_body(node).yields[:1] if node.attrs.get("exits") else [])
            else:
                used.update(node.operands)
        changed = len(used) != before
    return used


# ----------------------------------------------------------------------------------- comments and sections


def lay_out(lines: Sequence[Line], origin: Loc, shapes: ShapeComments) -> list[str]:
    """Lines as text: a section for each sweep, and the user's statement above each group of backward statements."""
    reverse = _sections(lines, origin)
    text: list[str] = []
    last: tuple[str, int] | None = None
    section: dict[int, bool] = {}
    together = False
    for k, line in enumerate(lines):
        indent = INDENT * line.depth
        for depth in [d for d in section if d > line.depth]:
            del section[depth]
        continues = line.text.startswith(("else:", "elif "))
        if any(reverse) and section.get(line.depth) is not reverse[k] and not continues:
            if line.depth == 1:
                text += [""] if text else []
                title = _title(lines, reverse, k, origin)
                together = title.startswith("forward and")
                text.append(f"{indent}# {title}")
                last = None
            elif together and reverse[k] and section.get(line.depth) is False:
                text.append(f"{indent}# backward")
            section[line.depth] = reverse[k]
        if reverse[k] and not continues and line.loc.lineno and line.loc != origin:
            key = (line.loc.filename, line.loc.lineno)
            if key != last and not _is_closing(lines, k) and not (line.depth > 1 and _is_retrieval(line)):
                text.append(indent + origin_comment(line.loc, COMMENT_WIDTH - len(indent)))
                last = key
        beside = shapes.beside(line.node) if line.node is not None and not reverse[k] else ""
        text.append(indent + line.text + (beside if len(indent + line.text + beside) <= WIDTH else ""))
    return text


def _sections(lines: Sequence[Line], origin: Loc) -> list[bool]:
    """For each line whether it belongs to the reverse sweep. Lines without a place go with their neighbours."""
    found = [line.reverse for line in lines]
    inside = False
    for k, line in enumerate(lines):
        if line.depth == 1:
            inside = not found[k] and line.loc != origin
        elif inside:
            found[k] = False
    for k in reversed(range(len(lines))):
        if lines[k].loc == origin:
            found[k] = found[k + 1] if k + 1 < len(lines) else any(found[:k])
    return found


def _title(lines: Sequence[Line], reverse: Sequence[bool], start: int, origin: Loc) -> str:
    """The title of the section that starts at a line: a loop may run both sweeps, if it only accumulates."""
    if not reverse[start]:
        return "derivatives, one direction after the other" if any(reverse[:start]) else "forward"
    end = next((k for k in range(start, len(lines)) if lines[k].depth == 1 and not reverse[k]), len(lines))
    both = any(not reverse[k] and lines[k].loc != origin for k in range(start, end))
    before = any(not flag for flag in reverse[:start])
    merged = both and (end < len(lines) or not before or _runs_both(lines, reverse, start, end))
    return "forward and backward, in one loop" if merged else "backward"


def _runs_both(lines: Sequence[Line], reverse: Sequence[bool], start: int, end: int) -> bool:
    """Whether a loop in the order of the forward sweep holds statements of both sweeps."""
    inside = False
    for k in range(start, end):
        if lines[k].depth == 1:
            inside = lines[k].text.startswith("for ") and "in reversed(" not in lines[k].text
        elif inside and not reverse[k]:
            return True
    return False


def _is_closing(lines: Sequence[Line], k: int) -> bool:
    """Whether a line belongs to the one above: the `break` or `raise` of an `if`."""
    return lines[k].text.startswith(("break", "raise ")) and k > 0


def _is_retrieval(line: Line) -> bool:
    """Whether a line only takes from a tape what the forward sweep put there."""
    node = line.node
    if node is None or not line.reverse:
        return False
    if node.op.name == "store":
        held = node.operands[1].node
        return held is not None and is_tape_read(held) and line.text.partition(" = ")[0].isidentifier()
    return is_tape_read(node)


def origin_comment(loc: Loc, width: int) -> str:
    """`# from model.py:12: y = np.tanh(x)`."""
    comment = f"# from {PurePath(loc.filename).name}:{loc.lineno}"
    statement = re.sub(r"\s+", " ", loc.line().strip())
    if _is_expression(loc):
        comment, statement = "# from the expression", statement.removeprefix("return ")
    if '"' not in statement and "'" not in statement:
        statement = statement.partition("#")[0].rstrip()
    if not statement:
        return comment
    comment = f"{comment}: {statement}"
    return comment if len(comment) <= width else comment[: width - 3].rstrip() + "..."
