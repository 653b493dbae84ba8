import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_logs import make_schema

from uplift import InputError, LogSchema


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"arms": ("none",), "arm_cost": (0.0,)}, "at least two different names"),
        ({"arms": ("none", "none")}, "at least two different names"),
        ({"arm_cost": (0.0,)}, "2 finite numbers >= 0, one for each arm"),
        ({"arm_cost": (0.0, -1.0)}, "finite numbers >= 0"),
        ({"arm_cost": (0.0, float("nan"))}, "finite numbers >= 0"),
        ({"arm_cost": (0.0, float("inf"))}, "finite numbers >= 0"),
        ({"arm_cost": (0.0, 0.0)}, "every arm beside arm 0 must cost more than 0"),
        ({"primary": "purchase_5"}, "'purchase_5', which is not among outcomes"),
        ({"page_length": 0}, "page_length is 0; expected at least 1"),
        ({"propensity": "guess"}, "propensity is 'guess'; expected 'logged' or 'estimate'"),
    ],
)
def test_contradicting_roles_are_refused(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        make_schema(**changes)


def test_toml_round_trip(tmp_path):
    schema = make_schema(page_length=7, cluster="session_id", propensity="estimate")
    schema.write(tmp_path / "log.toml")
    assert LogSchema.read(tmp_path / "log.toml") == schema


@given(st.lists(st.text(min_size=1), min_size=2, max_size=4, unique=True))
def test_any_name_survives_the_dict(names):
    schema = make_schema(arms=tuple(names), arm_cost=(1.0,) * len(names))
    assert LogSchema.from_dict(schema.to_dict()) == schema


@pytest.mark.parametrize("name", ['say "hi"', "back\\slash", "ünï", "\N{GRINNING FACE}", "a\nb"])
def test_awkward_names_survive_toml(tmp_path, name):
    schema = make_schema(arms=("none", name))
    schema.write(tmp_path / "log.toml")
    assert LogSchema.read(tmp_path / "log.toml").arms == ("none", name)


def test_unknown_key_is_named(tmp_path):
    text = make_schema().to_toml() + 'primry = "purchase_10"\n'
    (tmp_path / "log.toml").write_text(text)
    with pytest.raises(InputError, match="the key 'primry' is unknown"):
        LogSchema.read(tmp_path / "log.toml")


def test_missing_key_is_named():
    table = make_schema().to_dict()
    del table["primary"]
    with pytest.raises(InputError, match="the key 'primary' is missing"):
        LogSchema.from_dict(table)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("arms", "none"),
        ("arms", [0, 1]),
        ("arm_cost", ["free", "dear"]),
        ("outcomes", "purchase_10"),
        ("primary", 10),
        ("features", {"f": 1}),
        ("page_length", "long"),
        ("page_length", 1.5),
        ("propensity", "guess"),
        ("propensity", 0.5),
    ],
)
def test_wrong_type_is_named(key, value):
    with pytest.raises(InputError, match=f"schema: '{key}"):
        LogSchema.from_dict({**make_schema().to_dict(), key: value})


@pytest.mark.parametrize("content", [b"arms = [", b"\xff\xfe\x00", b"just words"])
def test_what_is_not_toml_is_refused(tmp_path, content):
    (tmp_path / "log.toml").write_bytes(content)
    with pytest.raises(InputError, match="is not valid TOML"):
        LogSchema.read(tmp_path / "log.toml")


def test_missing_schema_is_named(tmp_path):
    with pytest.raises(InputError, match=r"schema '.*absent.toml' does not exist"):
        LogSchema.read(tmp_path / "absent.toml")


def test_feature_globs_choose_sorted_columns():
    schema = make_schema(features=("f_*", "age"))
    assert schema.feature_columns(["f_b", "other", "age", "f_a"]) == ["age", "f_a", "f_b"]


@pytest.mark.parametrize("name", ["purchase_10", "gmv_10"])
def test_an_outcome_is_no_feature(name):
    with pytest.raises(InputError, match=f"'{name}' is an outcome and also a feature"):
        make_schema(features=(name,)).feature_columns([name])


@pytest.mark.parametrize("name", ["arm", "propensity", "cost", "user_id", "true_uplift", "market"])
def test_what_is_known_after_the_decision_is_no_feature(name):
    with pytest.raises(InputError, match="may not be learned from"):
        make_schema(features=("*",), cluster="market").feature_columns([name])


def test_the_place_of_a_decision_may_be_learned_from():
    assert make_schema(features=("p*",)).feature_columns(["page", "position"]) == [
        "page",
        "position",
    ]


def test_draft_finds_the_roles_by_name():
    names = ["session_id", "arm", "propensity", "purchase_10", "gmv_5", "f_a", "c_b", "true_uplift"]
    schema = LogSchema.draft(names, largest_arm=2)
    assert schema.arms == ("none", "request_1", "request_2")
    assert schema.outcomes == ("purchase_10", "gmv_5")
    assert schema.primary == "purchase_10"
    assert schema.feature_columns(names) == ["c_b", "f_a"]
    assert schema.is_categorical("c_b")
    assert not schema.is_categorical("f_a")
    assert schema.cluster == "session_id"


def test_a_draft_reads_back(tmp_path):
    schema = LogSchema.draft(["arm", "click", "age"], largest_arm=1)
    schema.write(tmp_path / "log.toml")
    assert LogSchema.read(tmp_path / "log.toml") == schema
    assert schema.arms == ("none", "request")


def test_propensities_are_taken_as_logged_unless_said():
    table = make_schema().to_dict()
    assert table.pop("propensity") == "logged"
    assert LogSchema.from_dict(table) == make_schema()
