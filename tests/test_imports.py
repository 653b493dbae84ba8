"""What each import costs: the heavy packages stay out until they are needed."""

import json
import subprocess
import sys

import pytest

HEAVY = (
    *("pandas", "xgboost", "sklearn", "numba", "ortools", "causalml", "econml"),
    *("matplotlib", "pyarrow", "pydantic", "jinja2"),
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
