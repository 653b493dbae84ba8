import subprocess
import sys

HEAVY = (
    *("pandas", "pyarrow", "xgboost", "sklearn", "numba", "ortools"),
    *("causalml", "econml", "matplotlib"),
)


def test_import_uplift_loads_nothing_heavy():
    code = f"import sys, uplift; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there():
    code = "import uplift as u; print(all(getattr(u, n) for n in u.__all__), len(u.__all__))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found, count = done.stdout.split()
    assert found == "True"
    assert int(count) > 10
