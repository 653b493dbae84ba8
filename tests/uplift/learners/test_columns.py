"""How the X of a fit was read, and the X of a prediction has to be."""

import numpy as np
import pandas as pd
import pytest

from uplift import InputError
from uplift.learners.columns import Columns

CODES = np.array([[0, 0.5], [1, 1.5], [2, np.nan]], np.float32)


@pytest.mark.parametrize("code", [-1.0, 1.5, 1e9])
def test_what_is_no_code_of_a_category_is_refused_at_predict_too(code):
    columns, _ = Columns.of(CODES, ("c", "q"))
    with pytest.raises(InputError, match="column 0 of X is a category"):
        columns.read([[code, 0.0]], "learner")


def test_a_code_that_was_not_seen_is_read():
    columns, _ = Columns.of(CODES, ("c", "q"))
    np.testing.assert_array_equal(columns.read([[7, 0.0]], "learner"), [[7, 0]])


def test_a_column_of_objects_that_are_numbers_is_numbers():
    frame = pd.DataFrame({"x": pd.Series([0.5, 1, None, 2.25], dtype=object)})
    columns, matrix = Columns.of(frame, None)
    assert columns.types == ("q",)
    np.testing.assert_array_equal(matrix[:, 0], [0.5, 1, np.nan, 2.25])
    np.testing.assert_array_equal(columns.read(frame.astype(float), "learner"), matrix)
