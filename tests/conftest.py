"""Fixtures that the tests of all packages share."""

import os

# Before XGBoost loads: threads that spin while they wait make a busy machine crawl.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from collections.abc import Callable
from pathlib import Path

import pytest

_BESIDE_THE_CHECKOUT = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def public_data() -> Callable[[str], Path]:
    """Find a public data set by its path; skip the test where it is absent.

    ``REQUEST_UPLIFT_DATA`` names the folder; by default ``../shared/data`` of the checkout.
    """
    root = Path(os.environ.get("REQUEST_UPLIFT_DATA", _BESIDE_THE_CHECKOUT))

    def find(name: str) -> Path:
        if not (root / name).exists():
            pytest.skip(f"public data {name!r} is not there (set REQUEST_UPLIFT_DATA)")
        return root / name

    return find
