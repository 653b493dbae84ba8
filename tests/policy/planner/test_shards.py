import numpy as np
import pandas as pd
import pytest
from planner_problems import FEED_LIMITS, day_budget, feed, violations

from policy.capacity import Capacity
from policy.planner.decomposition import solve_decomposition, solve_stream
from policy.planner.oracle import SessionOracle
from policy.planner.rows import Rows
from policy.planner.shards import DemandShards, ShardSource
from uplift.errors import InputError

SESSIONS = 3000


@pytest.fixture(scope="module")
def day():
    return feed(SESSIONS)


@pytest.fixture(scope="module")
def paths(day, tmp_path_factory):
    """Five files of small row groups that cut sessions."""
    folder = tmp_path_factory.mktemp("shards")
    session = np.repeat(np.arange(SESSIONS), 20)
    names = [f"{s:06d}" for s in session] if SESSIONS % 2 else session
    columns = {"session": names, "window": day.window, "page": day.page, "slot": day.slot}
    frame = pd.DataFrame(columns | {"gain_1": day.gain[:, 0]})
    found = []
    for number, part in frame.groupby(session * 5 // SESSIONS):
        found.append(folder / f"part-{number}.parquet")
        part.to_parquet(found[-1], row_group_size=777)
    return found


def shards_of(paths, **changes):
    options = {"gain": ["gain_1"], "cost": [1.0], "n_windows": 24} | changes
    return DemandShards(paths, **options)


@pytest.mark.parametrize("rows", [1, 1000, 10**7])
def test_pieces_are_the_demand_whatever_their_size(monkeypatch, day, paths, rows):
    monkeypatch.setattr("policy.planner.shards.MOST_ROWS", rows)
    pieces = list(shards_of(paths).pieces())
    for name in ("gain", "window", "page", "slot"):
        whole = np.concatenate([getattr(piece, name) for piece in pieces])
        np.testing.assert_array_equal(whole, getattr(day, name))
    assert sum(piece.n_sessions for piece in pieces) == SESSIONS


def test_a_pass_over_files_is_a_pass_in_memory(monkeypatch, day, paths):
    monkeypatch.setattr("policy.planner.shards.MOST_ROWS", 5000)
    rows = Rows.of(day_budget(SESSIONS), day)
    price = np.random.default_rng(0).uniform(0.01, 0.03, (24, 1))
    oracle = SessionOracle(day, FEED_LIMITS, rows)
    source = ShardSource(shards_of(paths), day, FEED_LIMITS, rows)
    ours, theirs = source.best_plans(price), oracle.best_plans(price)
    np.testing.assert_allclose(ours.gain, theirs.gain, rtol=1e-12)
    np.testing.assert_array_equal(ours.spend(), theirs.spend())
    np.testing.assert_array_equal(source.worthwhile(price).point, oracle.worthwhile(price))


@pytest.mark.parametrize("points", [2_000, 10**6])
def test_files_are_planned_as_in_memory(monkeypatch, day, paths, points):
    """A sample of a thirtieth, and one that is everything, lead to the same certificate."""
    monkeypatch.setattr("policy.planner.shards.MOST_ROWS", 5000)
    capacity, shards = day_budget(SESSIONS), shards_of(paths)
    rows = Rows.of(capacity, day)
    sample, share = shards.sample(points)
    assert 0.3 * min(points, day.n_points) <= sample.n_points <= 2 * points
    source = ShardSource(shards, sample, FEED_LIMITS, rows)
    ours = solve_stream(source, sample, rows, FEED_LIMITS, share=share, gap=1e-3)
    theirs = solve_decomposition(day, capacity, FEED_LIMITS, gap=1e-3)
    assert violations(day, capacity, FEED_LIMITS, ours.arm) == []
    assert ours.gap <= 1e-3
    assert ours.gain <= theirs.upper_bound
    assert theirs.gain <= ours.upper_bound


def test_a_null_gain_forbids_the_arm(day, paths, tmp_path):
    frame = pd.read_parquet(paths[0])
    frame.loc[frame.index[:20], "gain_1"] = None
    frame.to_parquet(tmp_path / "a.parquet")
    demand = next(iter(shards_of([tmp_path / "a.parquet"]).pieces()))
    assert (demand.gain[:20] == -np.inf).all()
    assert np.isfinite(demand.gain[20:]).all()


def test_bad_files_are_told(paths, tmp_path):
    with pytest.raises(InputError, match="no Parquet files"):
        shards_of([])
    with pytest.raises(InputError, match=r"lacks the columns \['gain_2'\]"):
        shards_of(paths, gain=["gain_1", "gain_2"])
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"no parquet")
    with pytest.raises(InputError, match="is not a Parquet file"):
        shards_of([broken])
    with pytest.raises(InputError, match="is not a Parquet file"):
        shards_of([tmp_path / "absent.parquet"])
    empty = tmp_path / "empty.parquet"
    pd.read_parquet(paths[0]).head(0).to_parquet(empty)
    with pytest.raises(InputError, match="hold no decision point"):
        shards_of([empty])


def test_windows_that_must_get_something_need_memory(day, paths):
    rows = Rows.of(Capacity(np.full(24, 100.0), least=np.full(24, 1.0)), day)
    source = ShardSource(shards_of(paths), day, FEED_LIMITS, rows)
    with pytest.raises(InputError, match="need all points in memory"):
        solve_stream(source, day, rows, FEED_LIMITS, share=1.0)
