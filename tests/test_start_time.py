"""Starting up costs less than 1.5 times what any program with pandas and xgboost pays."""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(sys.executable).with_name("request-uplift")
RUNS = 5


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"COLUMNS": "80"})
    return time.perf_counter() - start


@pytest.mark.parametrize(
    "command",
    [[sys.executable, "-c", "import uplift, offline_eval, policy"], [str(SCRIPT), "--help"]],
    ids=["import", "help"],
)
def test_start_is_quick(command: list[str]) -> None:
    bare = [sys.executable, "-c", "import pandas, xgboost"]
    seconds(bare), seconds(command)  # files into memory
    pairs = [(seconds(command), seconds(bare)) for _ in range(RUNS)]
    ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    assert ours < 1.5 * theirs
