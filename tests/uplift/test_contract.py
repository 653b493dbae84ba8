import numpy as np
import pandas as pd
import pytest
from simulated_logs import make_frame, make_schema

from uplift import InputError, RequestLog


def put(column, value, row=7):
    def change(frame):
        frame[column] = frame[column].astype(type(value) if isinstance(value, float) else object)
        frame.loc[row, column] = value
        return frame.infer_objects()

    return change


def cast(column, kind):
    return lambda frame: frame.assign(**{column: frame[column].astype(kind)})


BAD = {
    "no arm column": (lambda f: f.drop(columns="arm"), "column 'arm' is not in the log, which has"),
    "no propensity": (lambda f: f.drop(columns="propensity"), "column 'propensity' is not in"),
    "no outcome": (lambda f: f.drop(columns="gmv_10"), "column 'gmv_10' is not in the log"),
    "doubled column": (
        lambda f: pd.concat([f, f[["f_step"]]], axis=1),
        "column 'f_step' occurs twice in the log; keep one of them",
    ),
    "no features": (
        lambda f: f.drop(columns=["f_step", "f_noise", "c_kind"]),
        r"no column matches the features \['f_\*', 'c_\*'\]; the log has",
    ),
    "empty": (lambda f: f.iloc[:0], r"the log has 0 row\(s\); expected at least one"),
    "one row": (lambda f: f.iloc[:1], r"the log has 1 row\(s\)"),
    "propensity 0": (put("propensity", 0.0), r"'propensity' holds 0.0 in row 7 \(1 such rows\)"),
    "propensity 2": (put("propensity", 2.0), r"'propensity' holds 2.0 in row 7"),
    "propensity negative": (put("propensity", -0.5), r"'propensity' holds -0.5 in row 7"),
    "propensity NaN": (put("propensity", np.nan), r"'propensity' holds nan in row 7"),
    "propensity infinite": (put("propensity", np.inf), r"'propensity' holds inf in row 7"),
    "propensity text": (cast("propensity", str), "'propensity' is of type .*; expected numbers"),
    "arm never logged": (
        lambda f: f[f["arm"] == 0],
        r"arm 1 \('request'\) is never logged; .* take it out of the schema, or log it",
    ),
    "arm unknown": (put("arm", 2), r"'arm' holds \[0, 1, 2\]; the schema names arms 0 to 1"),
    "arm negative": (put("arm", -1), r"'arm' holds \[-1, 0, 1\]"),
    "arm float": (cast("arm", float), "'arm' is of type float64; expected whole numbers"),
    "arm bool": (cast("arm", bool), "'arm' is of type bool; expected whole numbers"),
    "arm text": (cast("arm", str), "'arm' is of type"),
    "arm missing": (
        lambda f: f.assign(arm=f["arm"].astype("Int8").where(f.index != 7)),
        "'arm' misses 1 values",
    ),
    "outcome NaN": (
        put("purchase_10", np.nan),
        r"outcome 'purchase_10' holds nan in row 7 \(1 such rows\); expected a finite number",
    ),
    "outcome infinite": (put("gmv_10", np.inf), "outcome 'gmv_10' holds inf in row 7"),
    "outcome text": (cast("gmv_10", str), "'gmv_10' is of type"),
    "cost negative": (
        lambda f: put("cost", -1.0)(f.assign(cost=1.0)),
        "cost holds -1.0 in row 7 .* expected a finite number >= 0",
    ),
    "cost NaN": (lambda f: put("cost", np.nan)(f.assign(cost=1.0)), "cost holds nan in row 7"),
    "user missing": (put("user_id", np.nan), "column 'user_id' misses 1 values"),
    "session missing": (put("session_id", None), "column 'session_id' misses 1 values"),
    "time as text": (cast("timestamp", str), "'timestamp' is of type .*expected datetimes in UTC"),
    "time missing": (
        lambda f: f.assign(timestamp=f["timestamp"].where(f.index != 7)),
        "'timestamp' misses 1 values; every row needs one",
    ),
    "page float": (cast("page", float), "'page' is of type float64; expected whole numbers"),
    "page missing": (
        lambda f: f.assign(page=f["page"].astype("Int16").where(f.index != 7)),
        "'page' misses 1 values",
    ),
    "page negative": (put("page", -1), "'page' reaches from -1 to 1; expected 0 to"),
    "position negative": (put("position", -2), "'position' reaches from -2 to 2; expected 0 to"),
    "position text": (cast("position", str), "'position' is of type"),
    "position beyond the page": (
        put("position", 50),
        "'position' holds 50, but a page has 50 slots; set page_length in the schema",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_no_randomised_log_can_hold_stops_the_reading(case):
    change, sentence = BAD[case]
    with pytest.raises(InputError, match=sentence):
        RequestLog(change(make_frame(n_users=20)), make_schema())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"features": ("f_*", "gmv_10")}, "'gmv_10' is an outcome and also a feature"),
        ({"features": ("age",)}, "feature 'age' is not in the log"),
        ({"cluster": "market"}, "the schema clusters by 'market', which is not in the log"),
        ({"features": ("*step", "propensity")}, "'propensity' is matched by the features"),
        ({"page_length": 2}, "'position' holds 2, but a page has 2 slots"),
    ],
)
def test_a_schema_that_does_not_fit_the_log_stops_the_reading(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        RequestLog(make_frame(n_users=20), make_schema(**changes))


def test_a_propensity_that_will_be_estimated_is_no_feature():
    """Refused when the log is read, not when it is first split."""
    frame = make_frame(n_users=20).drop(columns="propensity").assign(prop_level=1.0)
    with pytest.raises(InputError, match="'propensity' is matched by the features"):
        RequestLog(frame, make_schema(features=("f_*", "prop*"), propensity="estimate"))


@pytest.mark.parametrize("value", [0.0, 2.0, np.nan])
def test_propensities_that_are_there_are_checked_though_they_may_be_estimated(value):
    frame = put("propensity", value)(make_frame(n_users=20))
    with pytest.raises(InputError, match=f"'propensity' holds {value} in row 7"):
        RequestLog(frame, make_schema(propensity="estimate"))


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f,
        lambda f: f.drop(columns=["session_id", "user_id", "timestamp", "page", "position"]),
        cast("arm", "Int64"),
        cast("arm", np.uint8),
        cast("purchase_10", bool),
        cast("propensity", np.float32),
        cast("user_id", str),
        lambda f: f.assign(cost=0.0),
        lambda f: f.assign(propensity=1.0),
    ],
)
def test_what_a_log_may_hold_is_taken(change):
    frame = change(make_frame(n_users=20))
    assert len(RequestLog(frame, make_schema())) == 120
