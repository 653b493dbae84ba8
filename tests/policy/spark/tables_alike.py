"""What tests of Spark share."""

import pytest


def alike(found, expected, rel):
    """Hold nested tables against each other, numbers to a relative error."""
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, dict):
            alike(found[key], value, rel)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for mine, other in zip(found[key], value, strict=True):
                alike(mine, other, rel)
        elif isinstance(value, float):
            assert found[key] == pytest.approx(value, rel=rel, abs=1e-15), key
        else:
            assert found[key] == value, key
