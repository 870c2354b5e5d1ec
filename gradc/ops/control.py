"""Structure of a program: constants, `if`, `for`, `while`, checks, tapes.

Control nodes have their adjoints in `ad/` and their emission in `codegen/`; their entries here only say that
they exist. What flows through block parameters, yields and results is scalars; arrays are reached by capture
and changed by writes.
"""

from __future__ import annotations

from gradc.ir.opdef import OpDef, define
from gradc.ir.types import Stack

const = define(
    OpDef("const", "elementwise", (), doc="A number. {value}: Python number (weak type) or NumPy scalar.",
          zero_derivative=True, takes_complex=True)
)  # made by Builder.const

undef = define(
    OpDef(
        "undef", "elementwise", (), infer=lambda types, attrs, require: [attrs["type"]],
        run=lambda type: 0, zero_derivative=True,
        takes_complex=True,
        doc="A scalar nobody reads: what the branch that does not compute a value yields. {type}",
    )
)

if_ = define(
    OpDef(
        "if", "control", ("cond",),
        doc="blocks: [then, else], no parameters; both yield the results.",
    )
)

for_ = define(
    OpDef(
        "for", "control", ("start", "stop", "step"),
        doc="Operands: start, stop, step (int64), then the initial carried scalars. {reversed}: the same indices, last "
        "one first. {exits}: the body yields a boolean first; True ends the loop after this iteration. blocks: [body]; "
        "body parameters: index, carried...; yields: [exit,] carried...; results: carried... [, trips]: with exits the "
        "last result is the number of iterations that ran. step is never 0 at run time (checked before).",
    )
)

while_ = define(
    OpDef(
        "while", "control", (),
        doc="Operands: initial carried scalars. blocks: [cond, body], both with the carried values as parameters; cond "
        "yields one boolean, body yields [exit,] carried...; results: carried..., trips (always last). {exits} as in "
        "`for`.",
    )
)

let = define(
    OpDef(
        "let", "elementwise", ("x",), infer=lambda types, attrs, require: [types[0]], run=lambda x: x, emit="{x}",
        kernel="{x}",
        partials=lambda y, x: [1], linear=("x",), cost=0,
        takes_complex=True,
        doc="Another name for a scalar: `dx = dz` where a stage hands its cotangent on. Passes replace it by x.",
    )
)

check = define(
    OpDef(
        "check", "check", ("cond",), infer=lambda types, attrs, require: [],
        doc="Raise where cond is False. {error}: name of a gradc error or builtin exception; {message}; further "
        "operands "
        "are values that the exception carries (a user's own `raise ValueError('...', x)`). A bare raise has "
        "cond=False.",
    )
)

stack_new = define(
    OpDef(
        "stack_new", "stack", (), infer=lambda types, attrs, require: [Stack(attrs["item"])],
        run=lambda item: [], doc="An empty tape of items of one type. {item}: Scalar or Array type",
    )
)

push = define(
    OpDef(
        "push", "stack", ("stack", "x"), infer=lambda types, attrs, require: [], reads=(1,),
        run=lambda stack, x: stack.append(x.copy() if hasattr(x, "copy") else x),
        doc="Push a copy of x.",
    )
)

pop = define(
    OpDef(
        "pop", "stack", ("stack",), infer=lambda types, attrs, require: [types[0].item], reads=(),
        run=lambda stack: stack.pop(), doc="Take what was pushed last; an array is a new buffer.",
    )
)

__all__ = ["check", "const", "for_", "if_", "let", "pop", "push", "stack_new", "undef", "while_"]
