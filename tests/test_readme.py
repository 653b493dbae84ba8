"""The README's Python runs, and the commands that it names exist."""

import re
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_python_examples_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert blocks
    done = subprocess.run(  # in the order that a reader types them
        [sys.executable, "-c", "\n".join(blocks)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for word in ("plan ", "sound", "proportional"):
        assert word in done.stdout


def test_commands_exist() -> None:
    from typer.main import get_command

    from policy.cli import app

    named = set(re.findall(r"`request-uplift (\w+)", README))
    assert named == set(get_command(app).commands)  # type: ignore[attr-defined]
