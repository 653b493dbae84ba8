"""The Python of README and docs runs, and the commands that README names exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCS = {path.name: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}


def printed(page: str) -> str:
    """Run a page's examples in the order that a reader types them."""
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert blocks
    command = [sys.executable, "-c", "\n".join(blocks)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_python_examples_run() -> None:
    shown = printed(README)
    for word in ("plan ", "sound", "proportional"):
        assert word in shown


@pytest.mark.parametrize("name", [name for name, page in DOCS.items() if "```python" in page])
def test_examples_of_docs_run(name: str) -> None:
    assert printed(DOCS[name]).strip()


def test_commands_exist() -> None:
    from typer.main import get_command

    from policy.cli import app

    named = set(re.findall(r"`request-uplift (\w+)", README))
    assert named == set(get_command(app).commands)  # type: ignore[attr-defined]
