"""What each import costs: the heavy packages stay out until they are needed."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

HEAVY = (
    *("pandas", "xgboost", "sklearn", "numba", "ortools", "causalml", "econml"),
    *("matplotlib", "pyarrow", "pydantic", "jinja2", "mlflow"),
)


def loaded(code: str) -> set[str]:
    """Return which heavy packages a fresh process has loaded after some code."""
    report = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", report], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1])) & set(HEAVY)


@pytest.mark.parametrize("module", ["uplift", "offline_eval", "policy", "policy.cli"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    assert loaded(f"import {module}") == set()


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nsys.argv = ['request-uplift', '--help']\nfrom policy.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass"
    )
    assert loaded(code) == set()


@pytest.mark.parametrize(
    ("names", "spared"),
    [
        ("from offline_eval import Decisions, dr", {"xgboost", "sklearn", "ortools", "matplotlib"}),
        ("from policy import Bundle", {"ortools", "causalml", "econml", "matplotlib", "jinja2"}),
        ("from policy import plan_requests", {"causalml", "econml", "matplotlib", "ortools"}),
        ("from uplift import UpliftModel", {"ortools", "causalml", "econml", "matplotlib"}),
    ],
)
def test_a_name_brings_only_what_it_needs(names: str, spared: set[str]) -> None:
    assert loaded(names) & spared == set()


@pytest.mark.parametrize("package", ["uplift", "offline_eval", "policy"])
def test_every_public_name_is_there(package: str) -> None:
    code = f"import {package}\nfor name in {package}.__all__:\n    getattr({package}, name)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


COMMANDS = """
import sys
from pathlib import Path
from policy.cli import app
folder = Path(sys.argv[1])
log, schema, scores = folder / "log.parquet", folder / "log.toml", folder / "scores.parquet"
bundle = folder / "bundle"
for line in (
    f"simulate --sessions 400 --rate 10 --out {log}",
    f"schema {log}",
    f"check {log} --schema {schema}",
    f"fit {log} --schema {schema} --out {bundle}",
    f"score {log} --bundle {bundle} --out {scores}",
    f"plan {scores} --bundle {bundle} --share 0.1",
    f"evaluate {log} --bundle {bundle} --schema {schema}",
):
    app(line.split(), standalone_mode=False)
from policy.service.build import build_service
build_service(bundle, log=folder / "decisions").close()
print("mlflow" in sys.modules)
"""


def test_only_the_export_imports_mlflow(tmp_path: Path) -> None:
    """No other module names it, and no other command loads it through another package."""
    naming = [
        path.relative_to(ROOT)
        for package in ("uplift", "offline_eval", "policy")
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"(import|from) mlflow", path.read_text())
    ]
    assert naming == [Path("policy/export.py")]
    command = [sys.executable, "-c", COMMANDS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False"
    assert "mlflow" not in loaded("import policy.export")
