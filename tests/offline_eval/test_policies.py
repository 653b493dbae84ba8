"""Policies led through sessions, against a plain reference that goes row by row."""

import numpy as np
import pytest
from eval_policies import Threshold, handmade
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_eval.policies import Always, ByPosition, Fixed, Never, Random, draw_arms, walk
from uplift.errors import InputError
from uplift.log import RequestLog

PAGE = 20


@st.composite
def logs(draw: st.DrawFn) -> RequestLog:
    """Sessions of different lengths, their rows shuffled among each other."""
    lengths = draw(st.lists(st.integers(1, 12), min_size=1, max_size=6))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    session = np.repeat(np.arange(len(lengths)) * 7 + 3, lengths)
    slot = np.concatenate([rng.choice(3 * PAGE, n, replace=False) for n in lengths])
    order = rng.permutation(len(session))
    return handmade(
        session_id=session[order],
        page=slot[order] // PAGE,
        position=slot[order] % PAGE,
        f_x=rng.normal(size=len(session)),
    )


def walked_plainly(policy: Threshold, log: RequestLog) -> np.ndarray:
    """Return 1 where the policy requests; one session after the other, one row after the other."""
    frame, requested = log.frame, np.zeros(len(log))
    for session in frame["session_id"].unique():
        made: list[tuple[int, int]] = []  # page and slot of its own requests
        rows = frame[frame["session_id"] == session].sort_values(["page", "position"])
        for index, row in rows.iterrows():
            page = int(row["page"])
            slot = page * PAGE + int(row["position"])
            if (
                row["f_x"] > policy.level
                and len(made) < policy.per_session
                and sum(p == page for p, _ in made) < policy.per_page
                and all(slot - s >= policy.min_gap for _, s in made)
            ):
                requested[index] = 1
                made.append((page, slot))
    return requested


@settings(max_examples=80, deadline=None)
@given(
    logs(),
    st.floats(-2, 1),
    st.integers(1, 5) | st.just(10**6),
    st.integers(1, 3) | st.just(10**6),
    st.integers(0, 30),
)
def test_walk_goes_as_a_plain_loop_goes(
    log: RequestLog, level: float, per_session: int, per_page: int, min_gap: int
) -> None:
    policy = Threshold("f_x", level, per_session, per_page, min_gap)
    assert walk(policy, log)[:, 1].tolist() == walked_plainly(policy, log).tolist()


@settings(max_examples=40, deadline=None)
@given(logs(), st.integers(0, PAGE - 1))
def test_fixed_asks_once_a_page_at_the_first_chance(log: RequestLog, position: int) -> None:
    asked = walk(Fixed(position=position), log)[:, 1]
    frame = log.frame.assign(asked=asked)
    for _, page in frame.groupby(["session_id", "page"]):
        due = page[page["position"] >= position].sort_values("position")
        assert due["asked"].tolist() == [1.0, *[0.0] * (len(due) - 1)][: len(due)]
        assert page["asked"].sum() == min(len(due), 1)


@settings(max_examples=30, deadline=None)
@given(logs(), st.floats(0, 1))
def test_probabilities_sum_to_one(log: RequestLog, share: float) -> None:
    table = np.random.default_rng(0).dirichlet([1, 1], PAGE)
    for policy in (Never(), Always(), Random(share), Fixed(share, position=3), ByPosition(table)):
        pi = walk(policy, log)
        assert pi.shape == (len(log), 2)
        assert (pi >= 0).all()
        np.testing.assert_allclose(pi.sum(axis=1), 1.0)


def test_sessions_do_not_meet() -> None:
    together = handmade(session_id=[1, 2, 1, 2], position=[0, 0, 5, 5], f_x=[1.0, -1.0, 1.0, 1.0])
    asked = walk(Threshold("f_x", per_session=1), together)[:, 1]
    assert asked.tolist() == [1.0, 0.0, 0.0, 1.0]


def test_the_logged_arms_do_not_count_against_the_limits() -> None:
    log = handmade(session_id=[1, 1], position=[0, 5], arm=[1, 1], f_x=[-1.0, 1.0])
    assert walk(Threshold("f_x", per_session=1), log)[:, 1].tolist() == [0.0, 1.0]


def test_baselines_say_what_they_do() -> None:
    log = handmade(f_x=np.zeros(3))
    assert walk(Never(), log).tolist() == [[1.0, 0.0]] * 3
    assert walk(Always(), log).tolist() == [[0.0, 1.0]] * 3
    assert walk(Random(0.25), log).tolist() == [[0.75, 0.25]] * 3
    names = [p.name for p in (Never(), Always(), Random(0.1), Fixed(), ByPosition(np.eye(2)))]
    assert names == ["never", "always", "random", "fixed", "by_position"]


def test_several_arms_share_or_one_takes_all() -> None:
    from dataclasses import replace

    log = handmade(f_x=np.zeros(2))
    schema = replace(log.schema, arms=("none", "a", "b"), arm_cost=(0.0, 1.0, 2.0))
    log = RequestLog.unchecked(log.frame, schema)
    assert walk(Random(0.5), log).tolist() == [[0.5, 0.25, 0.25]] * 2
    assert walk(Always(arm=2), log).tolist() == [[0.0, 0.0, 1.0]] * 2


def test_by_position_reads_its_table() -> None:
    table = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    log = handmade(page=[0, 4, 2], position=[2, 0, 1])
    assert walk(ByPosition(table), log).tolist() == [[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]]


@pytest.mark.parametrize("shape", [(2, 2), (3, 3)])
def test_by_position_with_a_table_of_another_shape_is_told(shape: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=r"'by_position' has a table .* 3 positions and 2 arms"):
        walk(ByPosition(np.zeros(shape)), handmade(position=[0, 1, 2]))


def test_a_random_past_is_drawn() -> None:
    sessions = 4000
    log = handmade(
        session_id=np.repeat(np.arange(sessions), 2), position=np.tile([5, 10], sessions)
    )
    asked = walk(Fixed(0.3, position=5), log, seed=1)[:, 1].reshape(-1, 2)
    assert (asked[:, 0] == 0.3).all()
    assert set(asked[:, 1]) == {0.0, 0.3}
    bound = 4 * np.sqrt(0.3 * 0.7 / sessions)
    assert abs((asked[:, 1] == 0).mean() - 0.3) < bound
    assert (walk(Fixed(0.3, position=5), log, seed=1)[:, 1].reshape(-1, 2) == asked).all()


def test_arms_are_drawn_with_their_probabilities() -> None:
    n, chance = 40_000, np.array([0.5, 0.2, 0.0, 0.3])
    drawn = draw_arms(np.tile(chance, (n, 1)), np.random.default_rng(4).random(n))
    share = np.bincount(drawn, minlength=4) / n
    assert share[2] == 0
    assert (np.abs(share - chance) <= 4 * np.sqrt(chance * (1 - chance) / n)).all()


def test_certain_arms_are_drawn_for_certain() -> None:
    arms = np.random.default_rng(0).integers(0, 3, 5000)
    assert (draw_arms(np.eye(3)[arms], np.random.default_rng(1).random(5000)) == arms).all()
