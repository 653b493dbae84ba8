"""How much of an earlier model is kept: tried, judged, and told."""

from dataclasses import replace

import numpy as np
import pytest
from simulated_logs import QUICK, make_frame, make_log, make_schema

from uplift import InputError, RequestLog, UpliftModel
from uplift.refit import KEEP, refit


@pytest.fixture(scope="module")
def earlier():
    return UpliftModel.fit(make_log(n_users=600, seed=1), "t", QUICK)


@pytest.fixture(scope="module")
def today():
    return make_log(n_users=600, seed=2)


@pytest.fixture(scope="module")
def made(earlier, today):
    return refit(earlier, today, params=QUICK)


def turned_round(seed=3, n_users=600):
    """A day on which requests help whom they did not, and the other way round."""
    frame = make_frame(n_users=n_users, seed=seed)
    rng = np.random.default_rng(seed)
    helped = 0.2 * (frame["f_step"] <= 0)
    y = rng.random(len(frame)) < 0.2 + helped * (frame["arm"] > 0)
    return RequestLog(frame.assign(purchase_10=y.astype(float)), make_schema())


def test_every_share_is_tried_and_one_chosen(made):
    assert tuple(attempt.keep for attempt in made.attempts) == KEEP
    assert [attempt.chosen for attempt in made.attempts].count(True) == 1
    assert made.model is made.models[made.attempts.index(made.chosen)]
    assert made.reasons == ()
    assert min(attempt.behind.value for attempt in made.attempts) == 0


def test_trees_are_told_apart(made, earlier):
    of_earlier = {name: b.rounds for name, b in earlier.learner.boosters_.items()}
    for attempt, model in zip(made.attempts, made.models, strict=True):
        assert attempt.earlier_rounds == (of_earlier if attempt.keep else {})
        assert attempt.rounds == {n: b.rounds for n, b in model.learner.boosters_.items()}
        assert all(n >= attempt.earlier_rounds.get(k, 0) for k, n in attempt.rounds.items())


def test_each_attempt_is_the_fit_that_it_says(made, earlier, today):
    for attempt, model in zip(made.attempts, made.models, strict=True):
        start = earlier.faded(attempt.keep) if attempt.keep else None
        again = UpliftModel.fit(today, "t", QUICK, earlier=start)
        np.testing.assert_array_equal(again.uplift(today), model.uplift(today))


def test_the_calibration_is_todays(earlier, today):
    kept = refit(earlier, today, keep=(1.0,), params=QUICK).model
    assert kept.calibration.to_json() != earlier.calibration.to_json()
    assert kept.encoder is earlier.encoder


def test_the_preferred_share_is_taken_where_losses_do_not_tell(earlier, today):
    """The same attempts in another order: the first that is not shown to be behind."""
    for keep in (KEEP, KEEP[::-1]):
        made = refit(earlier, today, keep=keep, params=QUICK)
        assert made.chosen.keep == next(a.keep for a in made.attempts if a.behind.lower <= 0)


def test_where_the_truth_turned_round_yesterday_is_not_kept(earlier):
    made = refit(earlier, turned_round(n_users=2000), keep=(1.0, 0.0), params=QUICK)
    assert made.chosen.keep == 0.0
    assert made.attempts[0].behind.lower > 0


def test_several_arms_are_judged_too():
    earlier = UpliftModel.fit(make_log(n_users=600, seed=1, n_arms=2), "s", QUICK)
    made = refit(earlier, make_log(n_users=600, seed=2, n_arms=2), params=QUICK)
    assert all(np.isfinite(attempt.r_gain.value) for attempt in made.attempts)


def test_the_cap_leaves_room_or_lets_fit_anew(earlier, today):
    most = max(b.rounds for b in earlier.learner.boosters_.values())
    made = refit(earlier, today, keep=(1.0, 0.0), most_trees=most + 2, params=QUICK)
    assert max(made.attempts[0].rounds.values()) <= most + 2
    full = refit(earlier, today, keep=(1.0,), most_trees=most, params=QUICK)
    assert [attempt.keep for attempt in full.attempts] == [0.0]
    assert f"it has {most} trees, and at most {most} are allowed" in full.reasons[0]


def test_day_after_day_no_booster_grows_beyond_the_cap():
    model = UpliftModel.fit(make_log(n_users=200, seed=0), "s", QUICK)
    for day in range(1, 8):
        log = make_log(n_users=200, seed=day)
        model = refit(model, log, keep=(1.0,), most_trees=25, params=QUICK).model
        assert all(b.rounds <= 25 for b in model.learner.boosters_.values())


def test_a_learner_that_goes_on_from_none_is_fitted_anew(today):
    from uplift import AutoLearner

    auto = AutoLearner(QUICK, members=("s",), n_settings=0)
    made = refit(
        UpliftModel.fit(make_log(n_users=150, seed=1), auto), make_log(n_users=150), params=QUICK
    )
    assert [attempt.keep for attempt in made.attempts] == [0.0]
    assert made.reasons == ("The learner 'auto' goes on from none; it was fitted anew.",)


def test_attempts_are_told_as_they_are_made(earlier, today):
    told = []
    refit(earlier, today, params=QUICK, progress=lambda *step: told.append(step))
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("keep", [(), (0.5, 1.5), (-0.1,), (0.5, 0.5), (np.nan,)])
def test_shares_that_are_none_are_told(earlier, today, keep):
    with pytest.raises(InputError, match="expected different shares in"):
        refit(earlier, today, keep=keep)


def test_a_cap_is_a_number_of_trees(earlier, today):
    with pytest.raises(InputError, match="most_trees is 0"):
        refit(earlier, today, most_trees=0)


def test_a_log_without_its_features_is_refused(earlier, today):
    bare = RequestLog(today.frame.drop(columns="f_step"), replace(today.schema))
    with pytest.raises(InputError, match="f_step"):
        refit(earlier, bare, keep=(1.0,))
