"""The command line: `python -m gradc`."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import inspect
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import gradc
from gradc.errors import GradcError, ShapeError
from gradc.inspect.commands import run_passes
from gradc.inspect.doctor import doctor
from gradc.inspect.text import coloured, number_text, on_terminal
from gradc.ir.tree import flatten

_HELP = """\
usage: python -m gradc EXPRESSION NAME=VALUE ... [--save FILE]
       python -m gradc COMMAND ...

Compile and differentiate, and look at what was made.

An expression in Python syntax is computed and differentiated, and its staged source and circuit are shown:

  python -m gradc "(x + y) * z" x=-2 y=5 z=-4
  python -m gradc "sum(log(1 + exp(-x)))" "x=[1, 2.5]" --save circuit.svg

commands:
  show FILE.py:FUNCTION --args 2.0 -5 "[1, 2.5]"     value, gradients, staged source and circuit of a function
  check FILE.py:FUNCTION --args ...                  compare its derivatives with numerical ones
  bench [TABLE ...]                                  run the benchmarks (in a clone of the repository)
  cache [clear]                                      size of the kernels on disk; delete them
  doctor                                             versions, vector math, BLAS, threads, cache
  FILE.ir [-p PASS,PASS] [--verify]                  run passes on the text of an IR and print it

`python -m gradc COMMAND --help` says more. Arguments are Python literals; lists become arrays.
Exit codes: 0 done, 1 an error or a failed check, 2 a wrong call.
"""


class UsageError(Exception):
    """The command line was not understood."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(arguments)
    except UsageError as error:
        print(f"python -m gradc: {error}\nTry `python -m gradc --help`.", file=sys.stderr)
        return 2
    except GradcError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # of the user's code: where and what, without the way there
        print(_plain(error), file=sys.stderr)
    return 1


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_HELP, end="")
        return 0
    if arguments[0] == "--version":
        print(f"gradc {gradc.__version__}")
        return 0
    command = _COMMANDS.get(arguments[0])
    if command is not None:
        return command(arguments[1:])
    if arguments[0].endswith(".ir"):
        return _passes(arguments)
    if ".py:" in arguments[0]:
        raise UsageError(f"say what to do with it: python -m gradc show {arguments[0]}")
    return _expression(arguments)


def _plain(error: Exception) -> str:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not _is_ours(f.filename)]
    place = f"  {frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}\n" if frames else ""
    notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
    return f"{type(error).__name__}: {error}{notes}\n{place}".rstrip()


def _is_ours(filename: str) -> bool:
    library = (str(Path(gradc.__file__).parent), os.path.dirname(os.__file__), os.path.dirname(np.__file__))
    return filename.startswith(library) or filename.startswith("<")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise UsageError(f"{self.prog.removeprefix('python -m gradc ')}: {message}")


# ---------------------------------------------------------------------------------------------- arguments


def literal(text: str) -> Any:
    """The value of a Python literal; lists of numbers become arrays, Python ints in them floats with floats."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        hint = "write a number, [1, 2.5], (1, 2) or {'w': [1.0]}"
        raise UsageError(f"{text!r} is not a Python literal: {hint}") from None
    return _with_arrays(value, text)


def _with_arrays(value: Any, text: str) -> Any:
    if isinstance(value, list):
        try:
            array = np.array(value)
        except ValueError:
            raise UsageError(f"the rows of {text} have different lengths") from None
        if array.dtype.kind not in "biufc":
            raise UsageError(f"{text} does not hold numbers only")
        return array
    if isinstance(value, tuple):
        return tuple(_with_arrays(v, text) for v in value)
    if isinstance(value, dict):
        return {k: _with_arrays(v, text) for k, v in value.items()}
    return value


def _floats(value: Any) -> Any:
    """Integers as floats: in an expression every argument is a real number."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "iu":
        return value.astype(np.float64)
    return float(value) if type(value) is int else value


def load_function(target: str) -> Callable[..., Any]:
    """The function that FILE.py:FUNCTION names; the file is run as a module, not as a script."""
    file, colon, name = target.rpartition(":")
    if not colon or not file.endswith(".py"):
        raise UsageError(f"{target!r} is not FILE.py:FUNCTION")
    path = Path(file)
    if not path.is_file():
        raise UsageError(f"there is no file {file}")
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.resolve().parent))
    spec.loader.exec_module(module)
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        names = sorted(n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == path.stem)
        raise UsageError(f"{file} has no function {name!r}; it has {', '.join(names) or 'none'}")
    return found  # type: ignore[no-any-return]


# ----------------------------------------------------------------------------------------------- commands


def _values_apart(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The arguments without `--args` and its values, and those: -1e-5 is a value, though it looks like an option."""
    if "--args" not in arguments:
        return arguments, []
    start = arguments.index("--args")
    end = next((k for k in range(start + 1, len(arguments)) if arguments[k].startswith("--")), len(arguments))
    return arguments[:start] + arguments[end:], arguments[start + 1 : end]


def _bound(function: Callable[..., Any], target: str, values: list[str]) -> tuple[Any, ...]:
    """The arguments of a call, which the function's signature must allow."""
    args = tuple(literal(a) for a in values)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return args
    name = target.rpartition(":")[2]
    try:
        signature.bind(*args)
    except TypeError as error:
        raise UsageError(f"{name}{signature}: {error}; give one value per argument after --args") from None
    return args


def _expression(arguments: list[str]) -> int:
    text, values, save = arguments[0], dict[str, Any](), None
    rest = iter(arguments[1:])
    for item in rest:
        if item == "--save":
            save = next(rest, None)
            if save is None:
                raise UsageError("--save needs a file name")
            continue
        name, equals, value = item.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"{item!r} is not NAME=VALUE")
        if name in values:
            raise UsageError(f"{name} is given twice")
        values[name] = _floats(literal(value))
    if not text.strip():
        raise UsageError("the expression is empty")
    if text.startswith("--") or (text.isidentifier() and text not in values):
        raise UsageError(f"{text!r} is no command, and no expression of the values that are given")
    function = gradc.lambdify(tuple(values), text)
    if not values:
        print(number_text(function()))
        return 0
    return _present(function, tuple(values.values()), save, text)


def _show(arguments: list[str]) -> int:
    parser = _Parser("python -m gradc show", description="Value, gradients, staged source and circuit of a function.")
    parser.add_argument("function", help="FILE.py:FUNCTION")
    parser.add_argument("--args", nargs="*", default=[], metavar="VALUE", help="one Python literal per argument")
    parser.add_argument("--stage", help="show the program after this stage only (parse, simplify, reverse, kernel, …)")
    parser.add_argument("--explain", action="store_true", help="the table of stages instead of the circuit")
    parser.add_argument("--save", metavar="FILE", help="save the circuit as .svg, .png, .pdf or .dot")
    arguments, values = _values_apart(arguments)
    options = parser.parse_args(arguments)
    function = load_function(options.function)
    args = _bound(function, options.function, values)
    if options.stage:
        try:
            print(gradc.show(function, *args, stage=options.stage))
        except ValueError as error:
            if isinstance(error, GradcError):
                raise
            raise UsageError(str(error)) from None
        return 0
    text = f"{options.function.rpartition(':')[2]}({', '.join(values)})"
    return _present(function, args, options.save, text, options.explain)


def _present(
    function: Callable[..., Any], args: tuple[Any, ...], save: str | None, text: str, explain: bool = False
) -> int:
    """Print value, gradients, staged source and circuit of a call that reads `text`."""
    from gradc.inspect import with_gradients
    from gradc.runtime.dispatch import Compiled

    colours = on_terminal()
    if isinstance(function, Compiled) and function.transform.kind != "jit":
        compiled = function
        print(f"{text} = {compiled(*args)!r}")
    else:
        try:
            compiled = with_gradients(function, args)
            value, gradient = compiled(*args)
        except ShapeError:  # of a function that returns arrays, the Jacobian
            compiled = with_gradients(function, args, transform=gradc.jacobian)
            value, gradient = gradc.jit(function)(*args), compiled(*args)
        print(f"{text} = {coloured(_result_text(value, len(text) + 3), 'green', colours)}")
        argnums = compiled.transform.argnums
        gradients = (gradient,) if compiled.transform.single else gradient
        names = compiled.inspected_names
        for k, g in zip(argnums, gradients, strict=True):
            name = names[k] if isinstance(k, int) and k < len(names) else str(k)
            print(f"  d/d{name} = {coloured(_result_text(g, len(name) + 8), 'red', colours)}")
    print(f"\n{compiled.source.strip()}\n")
    circuit = compiled.diagram(*args)
    print(compiled.explain(*args) if explain else circuit)
    if save is not None:
        print(f"\nsaved {_saved(circuit, save)}")
    return 0


def _saved(circuit: Any, save: str) -> Path:
    try:
        return circuit.save(save)  # type: ignore[no-any-return]
    except ValueError as error:
        raise UsageError(str(error)) from None


def _result_text(result: Any, indent: int) -> str:
    leaves, _ = flatten(result)
    if len(leaves) == 1 and leaves[0] is result and not isinstance(result, np.ndarray):
        return number_text(result)
    text = str(result) if isinstance(result, np.ndarray) else repr(result)
    return text.replace("\n", "\n" + " " * indent)


def _check(arguments: list[str]) -> int:
    parser = _Parser("python -m gradc check", description="Compare derivatives of a function with numerical ones.")
    parser.add_argument("function", help="FILE.py:FUNCTION")
    parser.add_argument("--args", nargs="*", default=[], metavar="VALUE", help="one Python literal per argument")
    parser.add_argument("--order", type=int, default=1, help="check derivatives up to this order")
    arguments, values = _values_apart(arguments)
    options = parser.parse_args(arguments)
    function = load_function(options.function)
    if options.order < 1:
        raise UsageError("--order is 1 or more")
    gradc.check_grads(function, _bound(function, options.function, values), order=options.order)
    print(f"{options.function}: derivatives agree with numerical differentiation")
    return 0


def _bench(arguments: list[str]) -> int:
    folder = Path(gradc.__file__).parent.parent
    if not (folder / "bench" / "__main__.py").is_file():
        raise UsageError("the benchmarks are not installed with gradc: run this in a clone of its repository")
    return subprocess.run([sys.executable, "-m", "bench", *arguments], cwd=folder, check=False).returncode


def _cache(arguments: list[str]) -> int:
    parser = _Parser("python -m gradc cache", description="Size of the compiled kernels on disk, or delete them.")
    parser.add_argument("action", nargs="?", choices=("size", "clear"), default="size")
    options = parser.parse_args(arguments)
    size, folder = gradc.cache.size(), gradc.cache.folder()
    if options.action == "clear":
        gradc.cache.clear()
        print(f"cleared {folder}: {_bytes(size - gradc.cache.size())}")
    else:
        print(f"{folder}: {_bytes(size)}")
    return 0


def _bytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"


def _doctor(arguments: list[str]) -> int:
    parser = _Parser("python -m gradc doctor", description="Look at what gradc needs and finds on this machine.")
    parser.parse_args(arguments)
    colours = on_terminal()
    good = True
    for finding in doctor():
        mark = coloured("ok", "green", colours) if finding.good else coloured("!!", "red", colours)
        print(f"{mark}  {finding.name:<14}{finding.text}")
        good = good and (finding.good or not finding.needed)
    return 0 if good else 1


def _passes(arguments: list[str]) -> int:
    parser = _Parser("python -m gradc", description="Run passes on the text of an IR and print what comes out.")
    parser.add_argument("file", help="a file that GRADC_DUMP or an internal error wrote")
    parser.add_argument("-p", "--passes", default="", help="names with commas: simplify,cse")
    parser.add_argument("--verify", action="store_true", help="verify before the first pass and after each")
    options = parser.parse_args(arguments)
    path = Path(options.file)
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    try:
        print(run_passes(path.read_text(), [p for p in options.passes.split(",") if p], options.verify))
    except LookupError as error:
        raise UsageError(str(error.args[0])) from None
    return 0


_COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "show": _show,
    "check": _check,
    "bench": _bench,
    "cache": _cache,
    "doctor": _doctor,
}

if __name__ == "__main__":
    sys.exit(main())
