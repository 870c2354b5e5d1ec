"""The code blocks of the README and the documentation: run them, compare or renew what they print.

    python docs/blocks.py [PAGE ...]             run all pages or these, say what differs
    python docs/blocks.py --update [PAGE ...]    put what is printed in the place of what they say; read the difference

A ``python`` block runs after those before it on the page. A ``text`` block right after it holds what it prints. A
``console`` block holds commands after `$ ` with their output; those of `python -m gradc` run, in this process.
"""

from __future__ import annotations

import contextlib
import io
import linecache
import os
import re
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """The README and all pages of the documentation."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def run_page(page: Path) -> tuple[str, str]:
    """The text of a page, and what it would be with what its blocks print. Runs in the current folder."""
    text = page.read_text(encoding="utf-8")
    script = Script(page.stem.lower().replace("-", "_"))
    made, last = "", 0
    printed: str | None = None
    for block in BLOCK.finditer(text):
        language, code = block.groups()
        between = text[last : block.start()].strip()
        if language == "python":
            printed = script.run(code)
        elif language == "console":
            made += text[last : block.start(2)] + run_console(code)
            last = block.end(2)
        elif language == "text" and printed and not between:
            made += text[last : block.start(2)] + printed.rstrip() + "\n"
            last = block.end(2)
        if language != "python":
            printed = None
        else:
            made += text[last : block.end()]
            last = block.end()
    return text, made + text[last:]


class Script:
    """The Python blocks of a page. Each is a file of its own: Python compiles a function by what its file imports."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = 0
        self._namespace: dict[str, Any] = {"__name__": "__main__"}

    def run(self, code: str) -> str:
        """What a block prints. Its file does not exist, so the text is entered where Python looks for source."""
        self._count += 1
        name = f"{self._name}_{self._count}.py"
        linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile(code, name, "exec", dont_inherit=True), self._namespace)
        return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def run_console(code: str) -> str:
    """A console block with the output of its commands."""
    from gradc.__main__ import main

    made = ""
    for part in re.split(r"^(?=\$ )", code, flags=re.MULTILINE):
        command = part.partition("\n")[0]
        words = shlex.split(command.removeprefix("$ "))
        if words[:3] != ["python", "-m", "gradc"]:
            made += part
            continue
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
            main(words[3:])
        made += command + "\n" + "".join(line.rstrip() + "\n" for line in out.getvalue().splitlines())
    return made


def _run(chosen: list[Path], update: bool) -> int:
    different = 0
    for page in chosen:
        with tempfile.TemporaryDirectory() as folder:
            before = os.getcwd()
            os.chdir(folder)
            try:
                said, true = run_page(page)
            finally:
                os.chdir(before)
        if said != true:
            different += 1
            print(f"{page.relative_to(ROOT)}: {'renewed' if update else 'differs'}")
            if update:
                page.write_text(true, encoding="utf-8")
    return 0 if update or not different else 1


if __name__ == "__main__":
    named = [Path(a).resolve() for a in sys.argv[1:] if not a.startswith("-")]
    sys.exit(_run(named or pages(), "--update" in sys.argv[1:]))
