"""Samples on Spark are those of one machine."""

import json

import numpy as np
import pandas as pd
import pytest
import samples_world as world

from policy.samples.job import make_samples
from policy.samples.rules import SampleRules
from policy.spark.samples import samples_on_spark
from uplift.errors import InputError

NOW = world.DAY + pd.Timedelta(days=3)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Decisions, events and snapshots in parts; some events are told twice."""
    folder, rng = tmp_path_factory.mktemp("samples"), np.random.default_rng(0)
    happened = world.events(rng, 900)
    frames = {
        "decisions": world.decisions(rng, 400),
        "events": pd.concat([happened, happened[::7]]),
        "snapshots": world.snapshots(rng, 200),
    }
    for name, frame in frames.items():
        for number, part in enumerate(np.array_split(np.arange(len(frame)), 3)):
            (folder / name / f"dt={number}").mkdir(parents=True)
            frame.iloc[part].to_parquet(folder / name / f"dt={number}" / "part.parquet")
    world.SCHEMA.write(folder / "schema.toml")
    return folder


def read(folder):
    frame = pd.concat([pd.read_parquet(p) for p in sorted(folder.rglob("*.parquet"))])
    return frame.sort_values("decision_id").reset_index(drop=True)


@pytest.mark.parametrize("rules", [SampleRules(), SampleRules(ingested_at="arrived")])
@pytest.mark.parametrize("with_snapshots", [True, False])
def test_samples_are_the_same(spark, paths, tmp_path, rules, with_snapshots):
    told = {"snapshots": paths / "snapshots"} if with_snapshots else {}
    inputs = (paths / "decisions", tmp_path / "one", world.SCHEMA, rules)
    made = make_samples(*inputs, events=paths / "events", now=NOW, **told)
    count = samples_on_spark(
        spark,
        paths / "decisions",
        paths / "events",
        tmp_path / "spark",
        world.SCHEMA,
        rules,
        now=NOW.to_pydatetime(),
        **told,
    )
    found, expected = read(tmp_path / "spark"), read(tmp_path / "one")
    assert count == made.rows == len(expected)
    assert found.drop(columns="day", errors="ignore").columns.tolist() == expected.columns.tolist()
    for name in expected:
        pd.testing.assert_series_equal(found[name], expected[name], check_dtype=False)


def test_a_day_waits_until_it_is_complete(spark, paths, tmp_path):
    inputs = (spark, paths / "decisions", paths / "events", tmp_path / "out", world.SCHEMA)
    samples_on_spark(*inputs, now=(world.DAY + pd.Timedelta(hours=25)).to_pydatetime())
    assert [p.name for p in sorted((tmp_path / "out").glob("day=*"))] == ["day=2026-03-01"]
    with pytest.raises(InputError, match="there already"):
        samples_on_spark(*inputs, now=NOW.to_pydatetime())


def test_the_command_takes_the_engine(spark, paths, tmp_path, cli):
    inputs = (paths / "decisions", "--schema", paths / "schema.toml", "--out", tmp_path / "out")
    more = ("--events", paths / "events", "--snapshots", paths / "snapshots")
    engine = ("--engine", "spark", "--now", "2026-03-05T00:00:00", "--json")
    code, out, err = cli("samples", *inputs, *more, *engine)
    assert (code, err) == (0, "")
    assert json.loads(out)["rows"] == len(read(tmp_path / "out"))
    code, _, err = cli("samples", *inputs, "--events", paths / "decisions" / "dt=0", *engine)
    assert code == 2
    assert err.count("\n") == 1
