"""The notebooks run from the first cell to the last."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    failed = [c for c in notebook.cells for o in c.get("outputs", []) if o.output_type == "error"]
    shown = [c for c in notebook.cells if c.get("outputs")]
    assert not failed
    assert len(shown) >= 8


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS
