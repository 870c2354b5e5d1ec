"""Every code block of the README and the documentation runs, and prints what the block after it says."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


def _blocks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("blocks", ROOT / "docs" / "blocks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


blocks = _blocks()


@pytest.mark.parametrize("page", blocks.pages(), ids=lambda p: str(p.relative_to(ROOT)))
def test_code_blocks_run(page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if page.parent.name == "contributing":  # these enter ops and passes, which other tests should not meet
        command = [sys.executable, str(ROOT / "docs" / "blocks.py"), str(page)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return
    monkeypatch.chdir(tmp_path)
    said, true = blocks.run_page(page)
    assert said == true, "run python docs/blocks.py --update, and read the difference as carefully as source"


def test_output_that_differs_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n\n```console\n$ python -m gradc --version\nold\n```\n"
    )
    said, true = blocks.run_page(page)
    assert said != true
    assert "```text\n2\n```" in true
    assert re.search(r"--version\ngradc \d", true)


def test_the_readme_has_the_command_that_continuous_integration_runs() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    command = re.search(r"<!-- tests -->\n```sh\n(.*?)\n```", readme, re.DOTALL)
    assert command is not None and "pytest" in command.group(1)
    assert "<!-- tests -->" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
