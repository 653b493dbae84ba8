"""The reserve against the best that any rule can do, by enumeration of all futures."""

from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.induction import induce, price_levels
from policy.places import Places
from policy.problem import Demand, Limits
from policy.tuning import RuleWalk


def sessions_of(gains, slots, lengths, page_length=10):
    """All sessions that iid gains and independent lengths can bring, each as often as it is likely.

    lengths : how many sessions of 1, 2, ... decision points there are
    """
    rows = [
        combination
        for length, count in enumerate(lengths, 1)
        for _ in range(count * len(gains) ** (len(lengths) - length))
        for combination in product(gains, repeat=length)
    ]
    sizes = np.array([len(row) for row in rows])
    slot = np.concatenate([np.array(slots)[:size] for size in sizes])
    gain = np.concatenate([np.array(row, dtype=float) for row in rows])[:, None]
    return Demand(
        gain=gain,
        cost=np.broadcast_to(np.ones(1), gain.shape),
        window=np.zeros(len(gain), np.int32),
        n_windows=1,
        session_start=np.concatenate([[0], np.cumsum(sizes)]),
        page=(slot // page_length).astype(np.int32),
        slot=slot,
    )


def best_values(gains, slots, lengths, limits, price, page_length=10):
    """Return ``onward(t, made)``: the best expected net gain after point t, given what was made."""
    reached = np.cumsum(np.array(lengths)[::-1])[::-1]

    def free(t, made):
        page = slots[t] // page_length
        return (
            (limits.per_session is None or len(made) < limits.per_session)
            and (
                limits.per_page is None
                or sum(s // page_length == page for s in made) < limits.per_page
            )
            and all(slots[t] - s >= limits.min_gap for s in made)
        )

    @cache
    def at(t, made):
        kept = onward(t, made)
        if not free(t, made):
            return kept
        spent = onward(t, (*made, slots[t]))
        return float(np.mean([max(kept, g - price + spent) for g in gains]))

    def onward(t, made):
        if t + 1 == len(slots) or reached[t + 1] == 0:
            return 0.0
        return reached[t + 1] / reached[t] * at(t + 1, made)

    return at, onward


def exact_places(demand, page_length=10):
    position = demand.slot - demand.page * page_length
    places = Places.of(demand.page, position, page_points=1, cell_points=0)
    return places, places.index(demand.page, position)


problems = st.fixed_dictionaries(
    {
        "gains": st.lists(st.floats(0.1, 3), min_size=2, max_size=3, unique=True),
        "steps": st.lists(st.integers(1, 8), min_size=3, max_size=3),
        "lengths": st.lists(st.integers(0, 3), min_size=3, max_size=3),
        "session": st.none() | st.integers(1, 3),
        "page": st.none() | st.integers(1, 2),
        "gap": st.integers(0, 12),
    }
)


@settings(max_examples=150, deadline=None)
@given(problems, st.floats(0, 1))
def test_reserve_and_rule_are_the_best_there_are(problem, share):
    gains, slots = problem["gains"], [0, *np.cumsum(problem["steps"]).tolist()]
    lengths = [*problem["lengths"], 1]
    limits = Limits(problem["session"], problem["page"], problem["gap"])
    demand = sessions_of(gains, slots, lengths)
    places, place = exact_places(demand)
    table = induce(demand, place, places, limits)
    price = float(table.price[int(share * (len(table.price) - 1))])
    at, onward = best_values(gains, slots, lengths, limits, price)

    reserve = table.at_price(np.array([price]))[0]
    for t, slot in enumerate(slots):
        row = places.index(np.array([slot // 10]), np.array([slot % 10]))[0]
        kept, spent = onward(t, ()), onward(t, (slot,))
        assert reserve[row, -1, -1] == pytest.approx(kept - spent, abs=1e-9)

    walk = RuleWalk(demand, place, table, limits)
    done = walk.spending(np.array([price]), np.zeros(1))
    net = (done.gain - price * done.spend[0]) / demand.n_sessions
    assert net == pytest.approx(at(0, ()), rel=1e-3, abs=1e-9)  # ties are worth 1e-3 of the price


def test_two_requests_left_are_worth_less_each_than_one():
    """Gains 0 or 1 by a coin, three points, no exit: with one request left it is worth
    3/4 to keep at the first point, with two left 1/4."""
    demand = sessions_of([0.0, 1.0], [0, 1, 2], [0, 0, 1])
    places, place = exact_places(demand)
    one, two = (induce(demand, place, places, Limits(per_session=k)) for k in (1, 2))
    assert one.value[0, :, 0, 0] == pytest.approx([0.75, 0.5, 0.0])
    assert two.value[0, :, :, 0] == pytest.approx(np.array([[0.75, 0.25], [0.5, 0.0], [0, 0]]))


def test_whoever_may_leave_keeps_less():
    """Half the sessions end after the first point."""
    stays = sessions_of([0.0, 1.0], [0, 1], [0, 1])
    leaves = sessions_of([0.0, 1.0], [0, 1], [1, 1])
    tables = [induce(d, p, pl, Limits(1)) for d in (stays, leaves) for pl, p in [exact_places(d)]]
    assert [t.value[0, 0, 0, 0] for t in tables] == pytest.approx([0.5, 0.25])


@pytest.mark.parametrize(
    "limits", [Limits(), Limits(per_session=3), Limits(per_page=3), Limits(min_gap=4)]
)
def test_where_no_limit_binds_nothing_is_kept(limits):
    demand = sessions_of([0.3, 1.0], [0, 4, 8], [1, 1, 1])
    places, place = exact_places(demand)
    assert not induce(demand, place, places, limits).value.any()


def test_places_that_sessions_stay_in_are_solved_too():
    """One place for a session that goes on with probability 1/2: V = V / 2 + E max(0, g - V / 2).

    Gains 0 or 1 by a coin: R = V / 2 and V = R + (1 - R) / 2, so that R = 1/3.
    """
    rng = np.random.default_rng(0)
    length = rng.geometric(0.5, 200_000)
    start = np.concatenate([[0], np.cumsum(length)])
    gain = rng.integers(0, 2, (start[-1], 1)).astype(float)
    slot = np.arange(start[-1]) - np.repeat(start[:-1], length)
    demand = Demand(
        gain=gain,
        cost=np.broadcast_to(np.ones(1), gain.shape),
        window=np.zeros(len(gain), np.int32),
        n_windows=1,
        session_start=start,
        page=np.zeros(len(gain), np.int32),
        slot=slot,
    )
    table = induce(demand, np.zeros(len(gain), np.int64), Places(1, np.zeros(1, int)), Limits(1))
    error = 0.5 / np.sqrt(len(gain))  # of the share of gains of 1, and of the chance to go on
    assert table.value[0, 0, 0, 0] == pytest.approx(1 / 3, abs=4 * error)


def test_several_arms_are_worth_their_best():
    demand = sessions_of([0.0, 1.0], [0, 1], [0, 1])
    both = np.column_stack([0.5 * demand.gain[:, 0], demand.gain[:, 0]])
    two = Demand(
        gain=both,
        cost=np.broadcast_to(np.array([0.0, 1.0]), both.shape),
        window=demand.window,
        n_windows=1,
        session_start=demand.session_start,
        page=demand.page,
        slot=demand.slot,
    )
    places, place = exact_places(demand)
    table = induce(two, place, places, Limits(per_session=1))
    # At a price of 1 the free arm is best: 1/2 by a coin.
    assert table.at_price(np.array([0.0, 1.0]))[:, 0, 0, 0] == pytest.approx([0.5, 0.25])


def test_prices_reach_from_nothing_to_where_nothing_is_worth_it():
    demand = sessions_of([0.3, 1.0], [0, 4, 8], [1, 1, 1])
    assert price_levels(demand).tolist() == [0.0, 0.3, 1.0]
    assert price_levels(sessions_of([-1.0, -0.5], [0], [1])).tolist() == [0.0]
