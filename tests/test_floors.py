"""The floors: uplift <- offline_eval <- policy, and heavy imports only where they are needed."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("uplift", "offline_eval", "policy")
#: The adapters that may import a heavy package as they are imported themselves.
ALLOWED = {
    "ortools": {"policy/planner/linear.py"},
    "causalml": set(),
    "econml": set(),
    "matplotlib": {"offline_eval/plots"},
    "pyspark": {"policy/spark.py"},
    "torch": set(),
}


def modules(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found, f"{package} has no modules"
    return found


def imported(file: Path, nodes: Iterator[ast.AST]) -> set[str]:
    """Return the top-level packages that import statements name; relative ones are the own."""
    own = file.relative_to(ROOT).parts[0]
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(own if node.level else str(node.module).split(".")[0])
    return names


def at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk what runs as the module is imported: no function bodies, no TYPE_CHECKING blocks."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from at_import(node)


@pytest.mark.parametrize(
    ("package", "above"),
    [("uplift", {"offline_eval", "policy"}), ("offline_eval", {"policy"})],
)
def test_a_package_imports_only_from_below(package: str, above: set[str]) -> None:
    for file in [*modules(package), *(ROOT / package).rglob("*.pyi")]:
        found = imported(file, ast.walk(ast.parse(file.read_text())))
        assert not found & above, f"{file.relative_to(ROOT)} imports {found & above}"


@pytest.mark.parametrize("heavy", ALLOWED)
def test_heavy_packages_are_imported_by_their_adapter_alone(heavy: str) -> None:
    for package in PACKAGES:
        for file in modules(package):
            place = file.relative_to(ROOT).as_posix()
            if place in ALLOWED[heavy] or f"{file.parent.relative_to(ROOT)}" in ALLOWED[heavy]:
                continue
            found = imported(file, at_import(ast.parse(file.read_text())))
            assert heavy not in found, f"{place} imports {heavy} as it is imported"


def test_no_module_reads_a_pickle() -> None:
    """But what executors and driver tell each other, which is Spark's own way, and no file."""
    for package in PACKAGES:
        for file in modules(package):
            if file.parent.name == "spark":
                continue
            found = imported(file, ast.walk(ast.parse(file.read_text())))
            assert not found & {"pickle", "cloudpickle", "joblib", "dill"}, file
