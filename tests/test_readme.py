"""Every Python block of the README and the documentation runs, and prints what the text block after it says."""

from __future__ import annotations

import contextlib
import io
import linecache
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_code_blocks_run(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    namespace = {"__name__": "__main__"}
    printed = ""
    for number, block in enumerate(BLOCK.finditer(text)):
        language, code = block.groups()
        if language == "python":
            # A file name of its own: gradc reads the source of functions by it.
            filename = f"<{page.name} block {number}>"
            linecache.cache[filename] = (len(code), None, code.splitlines(keepends=True), filename)
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(code, filename, "exec"), namespace)
            printed = out.getvalue()
        elif language == "text" and printed:
            assert printed.rstrip() == code.rstrip()
            printed = ""


def test_the_readme_has_the_command_that_continuous_integration_runs():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    command = re.search(r"<!-- tests -->\n```sh\n(.*?)\n```", readme, re.DOTALL)
    assert command is not None and "pytest" in command.group(1)
    assert "<!-- tests -->" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
