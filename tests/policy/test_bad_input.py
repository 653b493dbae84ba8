"""What bad input gets: one sentence (what, where, how to mend), exit code 2, nothing written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

#: What a progress bar is drawn with.
SCHEMA = """
arms = ["none", "request"]
arm_cost = [0.0, 1.0]
outcomes = ["y"]
primary = "y"
features = ["f_*"]
"""


def frame(**columns: object) -> pd.DataFrame:
    """Return a log of 200 rows that is in order, apart from what is changed."""
    rng, n = np.random.default_rng(0), 200
    given = {
        "user_id": np.arange(n) // 2,
        "arm": rng.integers(0, 2, n).astype(np.int8),
        "propensity": np.full(n, 0.5),
        "y": rng.integers(0, 2, n),
        "f_x": rng.normal(size=n),
    }
    return pd.DataFrame(given | columns)


def with_propensity(value: float) -> pd.DataFrame:
    return frame(propensity=np.where(np.arange(200) == 17, value, 0.5))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder with a sound log and its schema, which is also the working directory."""
    monkeypatch.chdir(tmp_path)
    frame().to_parquet("log.parquet")
    Path("log.toml").write_text(SCHEMA)
    return tmp_path


@pytest.fixture
def artefact(folder, feed_model, feed_scores):
    from policy.bundle import Bundle

    Bundle(feed_model).save("bundle")
    feed_scores.write("scores.parquet")
    return folder / "bundle"


@pytest.fixture
def refused(cli, folder):
    """Call the command line; it must refuse in one sentence that holds these words."""

    def call(*arguments: object, words: tuple[str, ...]) -> None:
        before = content(folder)
        code, out, err = cli(*arguments)
        assert code == 2
        assert_sentence(err)
        for word in words:
            assert word in err
        assert out == ""
        assert content(folder) == before

    return call


def assert_sentence(err: str) -> None:
    said = err.splitlines()
    assert len(said) == 1, err
    assert said[0].startswith("request-uplift: ")
    assert len(said[0]) > len("request-uplift: ") + 20


def content(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder, hidden ones too, and its folders."""
    return {str(p): p.read_bytes() if p.is_file() else b"" for p in sorted(folder.rglob("*"))}


FIT = ("fit", "log.parquet", "--schema", "log.toml", "--out", "new")

COLUMN = {
    "propensity of 0": (with_propensity(0), ("'propensity'", "0.0 in row 17", "in (0, 1]")),
    "propensity of 2": (with_propensity(2), ("'propensity'", "2.0 in row 17", "in (0, 1]")),
    "propensity NaN": (with_propensity(np.nan), ("'propensity'", "nan in row 17", "in (0, 1]")),
    "arm never logged": (
        frame(arm=np.zeros(200, np.int8)),
        ("arm 1 ('request')", "never logged", "take it out of the schema, or log it"),
    ),
    "arm 0 never logged": (
        frame(arm=np.ones(200, np.int8)),
        ("arm 0 ('none')", "never logged", "take it out of the schema, or log it"),
    ),
    "unknown arm": (frame(arm=np.arange(200) % 3), ("'arm' holds [0, 1, 2]", "arms 0 to 1")),
    "empty": (frame().head(0), ("the log has 0 row(s)", "expected at least")),
    "one row": (frame().head(1), ("the log has 1 row(s)", "expected at least")),
    "outcome missing": (frame().drop(columns="y"), ("'y' is not in the log", "add it, or")),
    "outcome NaN": (frame(y=np.r_[np.nan, np.ones(199)]), ("'y' holds nan in row 0", "finite")),
    "outcome huge": (frame(y=np.r_[1e300, np.ones(199)]), ("'y' holds 1e+300 in row 0", "1e+30")),
    "outcome text": (frame(y="yes"), ("'y' is of type", "expected numbers")),
    "features missing": (frame().drop(columns="f_x"), ("no column matches the features ['f_*']",)),
    "time as text": (frame(timestamp="noon"), ("'timestamp' is of type", "expected datetimes")),
    "user missing": (
        frame(user_id=np.r_[np.nan, np.ones(199)]),
        ("'user_id' misses 1 values", "needs one"),
    ),
}


@pytest.mark.parametrize("case", COLUMN)
@pytest.mark.parametrize("command", ["check", "fit"])
def test_bad_columns(refused, case, command):
    log, words = COLUMN[case]
    log.to_parquet("log.parquet")
    arguments = FIT if command == "fit" else ("check", "log.parquet", "--schema", "log.toml")
    refused(*arguments, words=words)


TABLES = {
    "absent outcome": ('["y"]', '["y", "z"]', ("'z' is not in the log", "correct the schema")),
    "absent feature": ('["f_*"]', '["f_x", "f_y"]', ("feature 'f_y' is not in the log", "add it")),
    "absent cluster": ("arms =", 'cluster = "team"\narms =', ("'team', which is not in the log",)),
    "outcome is a feature": ('["f_*"]', '["f_*", "y"]', ("'y' is an outcome and also a", "take")),
    "arm is a feature": ('["f_*"]', '["*r*m*"]', ("'arm' is matched by", "narrow the glob")),
    "unknown key": ("arms =", "colour = 1\narms =", ("schema", "'colour' is unknown", "remove it")),
    "missing key": ('primary = "y"', "", ("schema", "'primary' is missing", "add it")),
    "wrong type": ("[0.0, 1.0]", '"free"', ("schema", "'arm_cost' is 'free'")),
    "too few costs": ("[0.0, 1.0]", "[0.0]", ("arm_cost is [0.0]", "expected 2 finite")),
    "free arm": ("[0.0, 1.0]", "[0.0, 0.0]", ("arm_cost is [0.0, 0.0]", "more than 0")),
    "one arm": ('["none", "request"]', '["none"]', ("arms is ['none']", "at least two")),
    "primary elsewhere": ('primary = "y"', 'primary = "q"', ("primary is 'q'", "name one of")),
    "no TOML": ("arms =", "arms = =", ("'log.toml' is not valid TOML", "line 2")),
}


@pytest.mark.parametrize("case", TABLES)
def test_bad_schemas(refused, case):
    old, new, words = TABLES[case]
    Path("log.toml").write_text(SCHEMA.replace(old, new))
    if case == "arm is a feature":
        words = ("may not be learned from", "narrow the glob")
    refused(*FIT, words=words)


def truncate() -> None:
    whole = Path("log.parquet").read_bytes()
    Path("log.parquet").write_bytes(whole[: len(whole) // 2])


def cut_the_middle() -> None:
    whole = Path("log.parquet").read_bytes()
    Path("log.parquet").write_bytes(whole[:200] + whole[1500:])


def a_csv() -> None:
    frame().to_csv("log.parquet", index=False)


def nothing() -> None:
    Path("log.parquet").write_bytes(b"")


@pytest.mark.parametrize(
    ("harm", "command"),
    [
        (h, c)
        for h in (truncate, cut_the_middle, a_csv, nothing)
        for c in ("fit", "schema", "score")
        if (h, c) not in ((cut_the_middle, "schema"), (cut_the_middle, "score"))
    ],  # a footer and two columns make a schema; scores look at the columns first
)
def test_files_that_are_not_parquet(refused, artefact, harm, command):
    harm()
    arguments = {
        "fit": FIT,
        "schema": ("schema", "log.parquet"),
        "score": ("score", "log.parquet", "--bundle", "bundle", "--out", "new.parquet"),
    }
    refused(*arguments[command], words=("log.parquet", "is not a whole Parquet file", "write it"))


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("check", "gone", "--schema", "log.toml"), "log 'gone' does not exist"),
        (("check", "log.parquet", "--schema", "gone"), "schema 'gone' does not exist"),
        (("schema", "gone"), "log 'gone' does not exist"),
        (("fit", "gone", "-S", "log.toml", "--out", "new"), "log 'gone' does not exist"),
        (("score", "log.parquet", "--bundle", "gone", "--out", "new"), "bundle 'gone' does not"),
        (("score", "gone", "--bundle", "bundle", "--out", "new"), "log 'gone' does not exist"),
        (("plan", "gone", "--bundle", "bundle", "--qps", "1"), "'gone' does not exist"),
        (("evaluate", "log.parquet", "--bundle", "gone", "-S", "log.toml"), "bundle 'gone' does"),
        (("run", "gone.toml"), "job 'gone.toml' does not exist"),
    ],
)
def test_missing_files(refused, artefact, arguments, what):
    refused(*arguments, words=(what, "check the path"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("simulate", "--sessions", "10", "--out", "log.toml/new.parquet"),
        ("fit", "log.parquet", "--schema", "log.toml", "--out", "log.toml/new"),
        ("score", "log.parquet", "--bundle", "bundle", "--out", "log.toml/new.parquet"),
        ("plan", "scores.parquet", "--bundle", "bundle", "--qps", "1", "--out", "log.toml/d"),
        ("evaluate", "log.parquet", "--bundle", "bundle", "-S", "log.toml", "--out", "log.toml/r"),
        ("run", "--sessions", "10", "--out", "log.toml"),
    ],
)
def test_places_that_cannot_be_written(refused, artefact, arguments):
    words = ("cannot write", "log.toml", "is not a folder", "choose another path")
    if arguments[0] == "evaluate":
        give_plan()
    refused(*arguments, words=words)


def give_plan() -> None:
    from dataclasses import replace

    from policy.budget import Budget
    from policy.bundle import Bundle
    from policy.plan import plan_requests
    from uplift.scores import Scores

    bundle = Bundle.load("bundle")
    scores = Scores.read("scores.parquet", bundle.model.schema)
    replace(bundle, plan=plan_requests(scores, Budget.share(0.01))).save("bundle")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write(refused, folder):
    (folder / "closed").mkdir(mode=0o555)
    refused("simulate", "--sessions", 10, "--out", "closed/x", words=("cannot write", "closed"))


@pytest.mark.parametrize("amount", ["0", "-5", "nan"])
@pytest.mark.parametrize("unit", ["--qps", "--requests", "--share", "--qps-share"])
def test_budgets_of_nothing(refused, artefact, unit, amount):
    words = ("the budget is", "expected more than 0 requests", "raise it")
    refused("plan", "scores.parquet", "--bundle", "bundle", unit, amount, words=words)


@pytest.mark.parametrize("options", [(), ("--qps", "1", "--share", "0.1")])
def test_budgets_none_or_two(refused, artefact, options):
    words = ("plan:", f"{len(options) // 2} budgets given", "expected one of --qps")
    refused("plan", "scores.parquet", "--bundle", "bundle", *options, words=words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--max-per-page", "0"), ("per_page is 0", "expected 1 or more")),
        (("--min-gap", "-1"), ("min_gap is -1", "expected 0 or more")),
        (("--traffic-share", "2"), ("traffic_share is 2.0", "expected it in (0, 1]")),
        (("--window-minutes", "0"), ("a window of 0", "expected 60 or more")),
        (("--window-minutes", "nan"), ("a window of nan", "expected 60 or more")),
    ],
)
def test_limits_and_windows_out_of_range(refused, artefact, options, words):
    arguments = ("plan", "scores.parquet", "--bundle", "bundle", "--share", "0.1", *options)
    refused(*arguments, words=words)


def test_scores_of_something_else(refused, artefact):
    arguments = ("plan", "log.parquet", "--bundle", "bundle", "--share", "0.1")
    refused(
        *arguments, words=("'log.parquet' has no column 'outcome_none'", "request-uplift score")
    )


def test_a_log_without_the_features_of_the_model(refused, artefact):
    arguments = ("score", "log.parquet", "--bundle", "bundle", "--out", "new.parquet")
    refused(*arguments, words=("features ['c_category'", "are not in the frame", "needs them all"))


def test_a_bundle_without_a_plan(refused, artefact):
    arguments = ("evaluate", "log.parquet", "--bundle", "bundle", "--schema", "log.toml")
    refused(*arguments, words=("the bundle holds no plan yet", "request-uplift plan"))


def test_a_bundle_that_is_a_text_file(refused):
    Path("bundle").write_text("hello")
    arguments = ("score", "log.parquet", "--bundle", "bundle", "--out", "new.parquet")
    refused(*arguments, words=("'bundle' is not a bundle", "manifest.json"))


def test_a_bundle_of_the_future(refused, artefact):
    manifest = json.loads((artefact / "manifest.json").read_text())
    (artefact / "manifest.json").write_text(json.dumps(manifest | {"format_version": 99}))
    arguments = ("score", "log.parquet", "--bundle", "bundle", "--out", "new.parquet")
    refused(*arguments, words=("format version 99", "upgrade request-uplift or export it anew"))


def test_an_output_that_is_no_bundle_is_kept(refused, folder):
    (folder / "new").mkdir()
    (folder / "new" / "thesis.txt").write_text("years of work")
    big = pd.concat([frame(user_id=np.arange(200) + 200 * k) for k in range(5)])
    big.to_parquet("log.parquet")
    refused(*FIT, words=("'new' exists and is not a bundle", "choose another folder"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("colour = 1", ("job:", "'colour' is unknown", "remove it")),
        ("[budget]\nkind = 'qps'\namount = 0", ("job:", "the budget is 0.0", "raise it")),
        ("[budget]\nkind = 'qps'\namount = -2", ("job:", "the budget is -2.0", "raise it")),
        ("[log]\nsessions = 'x'", ("job:", "'log.sessions' is 'x'", "valid integer")),
        ("[log]\npath = 'log.parquet'", ("job:", "no schema", "draft one")),
        ("[log]\npath = 'gone'\nschema = 'log.toml'", ("log 'gone' does not exist", "check")),
        ("[log]\npath = 'log.parquet'\ndataset = 'x'", ("dataset 'x' is unknown", "choose")),
        ("[log]\nsessions = 0", ("n_sessions is 0",)),
        ("[log]\nrate = -1", ("rate is -1", "expected > 0")),
        ("[[[", ("is not valid TOML", "job.toml")),
    ],
)
def test_bad_jobs(cli, folder, text, words):
    Path("job.toml").write_text(text)
    code, out, err = cli("run", "job.toml", "--out", "runs")
    assert (code, out) == (2, "")
    assert_sentence(err)
    for word in words:
        assert word in err
    assert [p for p in folder.rglob("*") if p.is_file() and "runs" in p.parts] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("serv",), ("serv",)),
        (("simulate", "--port", "80"), ("--port",)),
        ((*FIT, "--learner", "oracle"), ("'oracle'", "'logit'")),
        (("fit", "log.parquet", "--out", "new"), ("--schema",)),
        (("check",), ("LOG",)),
        (("simulate", "--sessions", "many", "--out", "x"), ("--sessions", "integer")),
        (
            ("simulate", "--sessions", "0", "--out", "x"),
            ("--sessions", "1"),
        ),
        (("simulate", "--sessions", "9", "--out", "x", "--rate", "0"), ("rate is 0",)),
        (
            ("simulate", "--sessions", "9", "--out", "x", "--seed", "-1"),
            ("--seed", "0"),
        ),
        ((*FIT, "--seed", "-1"), ("--seed", "0")),
        ((*FIT, "--share", "1.5"), ("shares are", "summing to")),
    ],
)
def test_bad_calls(refused, arguments, words):
    refused(*arguments, words=words)


def test_no_traceback_from_the_console_either(folder):
    frame(propensity=2.0).to_parquet("log.parquet")
    before = content(folder)
    script = Path(sys.executable).with_name("request-uplift")
    done = subprocess.run([script, *FIT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("request-uplift: column 'propensity' holds 2.0")
    assert "Traceback" not in done.stderr
    assert content(folder) == before


def test_evaluating_by_another_outcome_or_other_arms(refused, artefact):
    give_plan()
    Path("other.toml").write_text(SCHEMA.replace('"request"', '"push"'))
    arguments = ("evaluate", "log.parquet", "--bundle", "bundle", "-S", "other.toml")
    refused(*arguments, words=("arms ('none', 'push')", "use its schema"))
