"""wrk, the load generator, asleep between answers as it is, or awake.

On a virtual machine a sender that wakes a sleeping reader pays for an exit to the host, several
microseconds a request, which grow with the server's own time: a slower server lets wrk sleep more
often. An awake wrk polls instead; so what is measured is the server. It is made by preloading
`awake.c`, which needs a C compiler.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent


def awake(folder: Path) -> dict[str, str] | None:
    """Build what keeps wrk awake; return the environment for it, nothing where it cannot be."""
    compiler, library = shutil.which("cc") or shutil.which("gcc"), folder / "awake.so"
    if compiler is None:
        print("(no C compiler: wrk sleeps between answers)")
        return None
    build = [compiler, "-O2", "-shared", "-fPIC", str(HERE / "awake.c"), "-o", str(library), "-ldl"]
    subprocess.run(build, check=True)
    return {"LD_PRELOAD": str(library)}


def loaded(
    port: int, script: Path, seconds: int, environment: dict[str, str] | None = None
) -> tuple[float, float, float, int]:
    """Return requests per second, median and 99th percentile in milliseconds, and failures."""
    url = f"http://127.0.0.1:{port}"
    command = ["wrk", "-t1", "-c32", f"-d{seconds}s", "--latency", "-s", str(script), url]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode:
        raise SystemExit(f"wrk failed: {done.stdout}{done.stderr}")
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)[1])
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", done.stdout)
    broken = re.search(r"Socket errors: (.+)", done.stdout)
    failed = int(refused[1]) if refused else 0
    failed += sum(map(int, re.findall(r"\d+", broken[1]))) if broken else 0
    return rate, milliseconds(done.stdout, 50), milliseconds(done.stdout, 99), failed


def milliseconds(told: str, percentile: int) -> float:
    """Return a percentile of what wrk told."""
    value, unit = re.search(rf"{percentile}%\s+([\d.]+)(us|ms|s)", told).groups()
    return float(value) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[unit]
