import datetime as dt
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_logs import make_log, make_schema

from uplift import FeatureEncoder, InputError, RequestLog

FLOAT32_MAX = float(np.finfo(np.float32).max)


def fitted(**columns):
    """An encoder fitted on these feature columns; names that start with c_ are categories."""
    frame = pd.DataFrame(columns)
    schema = make_schema(features=tuple(columns), categorical=("c_*",))
    return FeatureEncoder.fit(RequestLog.unchecked(frame, schema))


ENCODER = fitted(f=[1.0, 2.0], c_text=["a", "b"], c_shop=[1, 2], word=["x", "y"])
NUMBERS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(-FLOAT32_MAX, FLOAT32_MAX),
    st.just(math.nan),
)
NAMES = st.one_of(st.none(), st.sampled_from(("a", "b", "x", "y", "new", "")), st.just(math.nan))
SHOPS = st.sampled_from((1, 1.0, True, 2, 2.0, 3, 0, False, None, math.nan))
ROWS = st.fixed_dictionaries({"f": NUMBERS, "c_text": NAMES, "c_shop": SHOPS, "word": NAMES})


@given(ROWS)
def test_a_row_gets_the_same_bytes_online_and_in_batch(row):
    frame = pd.DataFrame({name: pd.Series([value]).infer_objects() for name, value in row.items()})
    if row["f"] is None:
        frame["f"] = np.nan
    assert ENCODER.transform(frame)[0].tobytes() == ENCODER.transform_row(row).tobytes()


@given(st.lists(st.one_of(st.none(), st.floats(-1e30, 1e30)), min_size=1))
def test_a_batch_of_numbers_gets_the_same_bytes_as_its_rows(values):
    frame = pd.DataFrame(
        {"f": np.array(values, dtype=float), "c_text": "a", "c_shop": 1, "word": "x"}
    )
    rows = [ENCODER.transform_row(row) for row in frame.to_dict("records")]
    assert ENCODER.transform(frame).tobytes() == np.array(rows).tobytes()


def test_a_log_gets_the_same_bytes_as_its_rows():
    log = make_log(n_users=30)
    encoder = FeatureEncoder.fit(log)
    rows = [encoder.transform_row(row) for row in log.frame.to_dict("records")]
    assert encoder.transform(log.frame).tobytes() == np.array(rows).tobytes()


def test_numbers_are_themselves_and_categories_their_place():
    row = {"f": 2.5, "c_text": "b", "c_shop": 2, "word": "x"}
    places = {"f": 2.5, "c_text": 1, "c_shop": 1, "word": 0}
    types = {"f": "q", "c_text": "c", "c_shop": "c", "word": "c"}
    assert dict(zip(ENCODER.names, ENCODER.transform_row(row), strict=True)) == places
    assert dict(zip(ENCODER.names, ENCODER.types, strict=True)) == types


@pytest.mark.parametrize("one", [1, 1.0, True, np.int8(1), np.float64(1)])
def test_one_is_one_as_a_category(one):
    same = ENCODER.transform_row({"f": 0, "c_text": "a", "c_shop": one, "word": "x"})
    assert same[ENCODER.names.index("c_shop")] == 0


def test_a_word_of_digits_is_not_the_number():
    values = ENCODER.transform_row({"f": 0, "c_text": "a", "c_shop": "1", "word": "x"})
    assert math.isnan(values[ENCODER.names.index("c_shop")])


@pytest.mark.parametrize("unknown", ["new", None, math.nan])
def test_categories_unseen_or_missing_are_nan(unknown):
    values = ENCODER.transform_row({"f": None, "c_text": unknown, "c_shop": 9, "word": unknown})
    assert np.isnan(values).all()


@pytest.mark.parametrize("missing", [None, math.nan, pd.NA, np.float64("nan")])
def test_every_missing_value_is_nan(missing):
    row = {"f": missing, "c_text": missing, "c_shop": missing, "word": missing}
    assert np.isnan(ENCODER.transform_row(row)).all()


def test_the_order_of_columns_means_nothing():
    log = make_log(n_users=20)
    encoder = FeatureEncoder.fit(log)
    backwards = log.frame[log.frame.columns[::-1]]
    assert encoder.transform(backwards).tobytes() == encoder.transform(log.frame).tobytes()
    assert FeatureEncoder.fit(RequestLog(backwards, log.schema)) == encoder


def test_the_order_of_rows_means_nothing_to_the_vocabulary():
    a = fitted(c_text=["b", "a", None, "a"], c_shop=[3, 1, 2, 1])
    b = fitted(c_text=[None, "a", "a", "b"], c_shop=[1, 1, 2, 3])
    assert a == b


@pytest.mark.parametrize(
    "values", [[1, 2, 2], [1.5, None, 2.0], [True, False, True], ["b", "ü", None]]
)
def test_json_round_trip(values):
    encoder = fitted(c_a=values, f=[1, 2, 3])
    again = FeatureEncoder.from_json(encoder.to_json())
    assert again == encoder
    row = {"c_a": values[0], "f": 0.1}
    assert again.transform_row(row).tobytes() == encoder.transform_row(row).tobytes()


def test_a_category_that_json_cannot_hold_is_refused():
    with pytest.raises(InputError, match="'f'"):
        fitted(f=pd.to_datetime(["2024-01-01", "2024-01-02"]))


@pytest.mark.parametrize("value", [math.inf, -math.inf, 3.5e38, -1e300, 10**400])
def test_infinite_numbers_are_refused(value):
    encoder = fitted(f=[1.0])
    with pytest.raises(InputError, match="'f' holds an infinite value"):
        encoder.transform_row({"f": value})
    if value != 10**400:
        with pytest.raises(InputError, match="'f' holds an infinite value"):
            encoder.transform(pd.DataFrame({"f": [1.0, value]}))


@pytest.mark.parametrize("value", [FLOAT32_MAX, -FLOAT32_MAX, 3.40282353e38])
def test_the_largest_numbers_are_taken(value):
    assert fitted(f=[1.0]).transform_row({"f": value})[0] == np.float32(value)


@pytest.mark.parametrize("value", ["1.5", dt.date(2024, 1, 1), [1.0]])
def test_what_is_no_number_is_refused(value):
    encoder = fitted(f=[1.0])
    with pytest.raises(InputError, match=r"'f' is .* the model expects a number"):
        encoder.transform_row({"f": value})
    with pytest.raises(InputError, match=r"'f' is of type .* the model expects numbers"):
        encoder.transform(pd.DataFrame({"f": pd.Series([value])}))


def test_a_missing_column_is_named():
    with pytest.raises(InputError, match=r"features \['word'\] are not in the frame"):
        ENCODER.transform(pd.DataFrame({"f": [1.0], "c_text": ["a"], "c_shop": [1]}))
    with pytest.raises(InputError, match="feature 'word' is missing; give a value or None"):
        ENCODER.transform_row({"f": 1.0, "c_text": "a", "c_shop": 1})


def test_columns_of_a_frame_are_features_unless_named():
    """Texts and pandas categories are categories without being named; numbers are when named."""
    frame = pd.DataFrame({"f": [1.0, 2.0], "word": ["b", "a"], "shop": [7, 3]})
    frame["kind"] = pd.Categorical(["x", "y"])
    encoder = FeatureEncoder.of(frame, categorical=["shop"])
    assert encoder.names == ("f", "word", "shop", "kind")
    assert encoder.vocabulary == {"word": ("a", "b"), "shop": (3, 7), "kind": ("x", "y")}
    assert encoder.transform(frame).tolist() == [[1, 1, 1, 0], [2, 0, 0, 1]]
    assert FeatureEncoder.of(frame, ["shop", "f"]).types == ("q", "q")


def test_a_categorys_unused_levels_are_no_categories():
    values = pd.Categorical(["b", "a"], categories=["z", "b", "a"])
    assert FeatureEncoder.of(pd.DataFrame({"c": values})).vocabulary == {"c": ("a", "b")}


@pytest.mark.parametrize("columns", [["f", 1], ["f", "f"]])
def test_columns_are_named_once_and_in_letters(columns):
    with pytest.raises(InputError, match=r"column 1 has no name|column 'f' occurs 2 times"):
        FeatureEncoder.of(pd.DataFrame([[1.0, 2.0]], columns=columns))


def test_a_column_that_occurs_twice_is_not_read():
    encoder = fitted(f=[1.0])
    with pytest.raises(InputError, match="column 'f' occurs 2 times"):
        encoder.transform(pd.DataFrame([[1.0, 2.0]], columns=["f", "f"]))


def test_yes_no_and_unknown_are_numbers():
    """As Parquet and polars hand booleans with gaps over: a column of objects."""
    with_gaps = pd.DataFrame({"f": pd.Series([True, None, False], dtype=object)})
    encoder = FeatureEncoder.of(with_gaps)
    assert encoder.types == ("q",)
    np.testing.assert_array_equal(encoder.transform(with_gaps)[:, 0], [1, np.nan, 0])
    assert encoder.transform(pd.DataFrame({"f": [True, False]}))[:, 0].tolist() == [1, 0]
    nullable = pd.DataFrame({"f": pd.array([True, None], dtype="boolean")})
    assert encoder == FeatureEncoder.of(nullable)
    np.testing.assert_array_equal(encoder.transform(nullable)[:, 0], [1, np.nan])


@pytest.mark.parametrize(
    ("known", "found", "sentence"),
    [
        (["a", "b"], [1, 2], "'c_a' holds numbers; the model expects texts such as 'a'"),
        ([1, 2], ["1", "2"], "'c_a' holds texts; the model expects numbers such as 1"),
    ],
)
def test_a_column_of_another_kind_is_refused(known, found, sentence):
    with pytest.raises(InputError, match=sentence):
        fitted(c_a=known).transform(pd.DataFrame({"c_a": found}))


def test_a_column_of_which_some_can_be_known_is_taken():
    encoder = fitted(c_a=["a", "b"])
    mixed = pd.DataFrame({"c_a": pd.Series(["a", 1, None], dtype=object)})
    np.testing.assert_array_equal(encoder.transform(mixed)[:, 0], [0, np.nan, np.nan])
    assert np.isnan(encoder.transform(pd.DataFrame({"c_a": [None, None]}))).all()
    assert np.isnan(fitted(c_a=[None]).transform(pd.DataFrame({"c_a": [1, 2]}))).all()


@pytest.mark.parametrize("value", [[1], {"a": 1}, dt.date(2024, 1, 1), 1j])
def test_what_can_be_no_category_is_refused(value):
    with pytest.raises(InputError, match="'c_a' is of type object; expected numbers, booleans or"):
        fitted(c_a=pd.Series([value, value], dtype=object))


def test_a_thousand_categories_are_all_kept():
    assert len(fitted(c_a=[f"k{i}" for i in range(1000)]).vocabulary["c_a"]) == 1000


@pytest.mark.parametrize("shuffle", [False, True])
def test_of_more_categories_the_most_frequent_are_kept(shuffle):
    """The one that comes twice, and k0000 .. k0998 of those that come once: ties go by value."""
    values = [f"k{i:04}" for i in range(1500)] + ["z", "z"]
    if shuffle:
        np.random.default_rng(0).shuffle(values)
    with pytest.warns(UserWarning, match="'c_a' has 1,501 categories; the 1,000 most frequent"):
        encoder = fitted(c_a=values)
    assert encoder.vocabulary["c_a"] == (*(f"k{i:04}" for i in range(999)), "z")
    found = encoder.transform(pd.DataFrame({"c_a": ["k0998", "k0999", "z"]}))[:, 0]
    np.testing.assert_array_equal(found, [998, np.nan, 999])


def test_of_too_many_numbers_and_texts_the_numbers_go_first():
    values = pd.Series([*range(700), *(f"k{i:03}" for i in range(700))], dtype=object)
    with pytest.warns(UserWarning, match="1,400 categories"):
        kept = fitted(c_a=values).vocabulary["c_a"]
    assert kept == (*range(700), *(f"k{i:03}" for i in range(300)))
