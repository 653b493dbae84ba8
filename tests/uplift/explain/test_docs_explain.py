"""The page's Python runs."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[3] / "docs" / "explain.md").read_text()


def test_the_example_runs():
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", block], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for table in ("deciles", "importance", "dependence", "projection"):
        assert f"\n{table}\n" in done.stdout
