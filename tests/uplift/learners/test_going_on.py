"""Warm starts: a learner goes on from one that was fitted before."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from simulated_logs import QUICK
from sklearn.exceptions import NotFittedError
from trials import NAMES, TYPES, fit, raw, simulate

from uplift import LEARNERS, InputError
from uplift.cross_fit import FoldedRows
from uplift.learners import AutoLearner

#: Boosters that no learner keeps trees of: nuisances are fitted anew.
KEPT = {"s": ["outcome"], "t": ["outcome_0", "outcome_1"], "proportional": ["common"]}
KEPT |= {key: ["control", "effect_1"] for key in ("r", "dr", "logit", "class_transform")}
KEPT |= {"x": ["control", "treated_1", "untreated_1"]}


def test_the_earlier_trees_come_first(name, new, data):
    earlier = fit(new(feature_types=TYPES), data)
    kind = {"n_arms": data[3].shape[1], "binary": earlier.objective_ == "binary:logistic"}
    later = fit(new(feature_types=TYPES), simulate(1500, seed=5, **kind), earlier=earlier)
    assert later.boosters_.keys() == earlier.boosters_.keys()
    assert set(KEPT[name]) <= set(later.boosters_)
    for key, booster in earlier.boosters_.items():
        dump = later.boosters_[key].booster.get_dump()
        assert dump[: booster.rounds] == booster.booster.get_dump()


def test_an_earlier_learner_is_left_as_it_was(new):
    earlier = fit(new(), simulate(800))
    before = raw(earlier)
    fit(new(), simulate(800, seed=5), earlier=earlier)
    earlier.faded(0.5)
    assert raw(earlier) == before


def test_the_same_seed_gives_the_same_bytes_again(new):
    earlier = fit(new(), simulate(800))
    found = [raw(fit(new(), simulate(800, seed=5), earlier=earlier)) for _ in range(2)]
    assert found[0] == found[1]


def test_the_mean_is_todays_though_no_tree_is_added(name, new):
    """Purchases are twice as frequent; where no split is worth it, the start alone moves."""
    X, y, arm, _ = simulate(3000, effect=0.0, step=False)
    earlier = new().fit(X, y, arm)
    today = np.where(np.random.default_rng(1).random(3000) < 0.4, 1.0, y)
    still = replace(QUICK, min_child_weight=1e9)
    later = new(still).fit(X, today, arm, earlier=earlier)
    assert sum(b.rounds for b in later.boosters_.values()) == sum(
        b.rounds for b in earlier.boosters_.values()
    )
    # Means of 1,500 rows of an arm: 4 standard errors.
    assert later.predict_outcome(X)[:, 0].mean() == pytest.approx(
        today[arm == 0].mean(), abs=4 * 0.5 / np.sqrt(1500)
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["logit"], indirect=True)
def test_both_days_together_tell_more(new):
    """Half of yesterday kept errs less than today alone, by a standard error over sixteen logs."""
    errors = {None: [], 0.5: []}
    for seed in range(16):
        first, second = simulate(1200, seed=2 * seed), simulate(1200, seed=2 * seed + 1)
        X, _, _, truth = simulate(2000, seed=100 + seed)
        earlier = fit(new(), first)
        for keep, found in errors.items():
            later = fit(new(), second, earlier=earlier.faded(keep) if keep else None)
            found.append(np.mean((later.predict(X) - truth) ** 2))
    better = np.array(errors[None]) - np.array(errors[0.5])
    assert better.mean() > better.std(ddof=1) / np.sqrt(16)


@pytest.mark.parametrize("name", NAMES[:-1], indirect=True)
def test_what_is_predicted_out_of_fold_has_not_seen_the_outcome(new, monkeypatch):
    """Outcomes of one fold's rows do not move what is predicted there, rounds being the same.

    But by constants, which all folds have seen: the proportional learner is one.
    """
    steady = replace(QUICK, max_rounds=3, patience=50, learning_rate=0.1)
    monkeypatch.setattr("uplift.cross_fit._best_rounds", lambda losses: 3)
    monkeypatch.setattr("uplift.learners.training.fitted_shift", lambda *_: 0.0)
    earlier = fit(new(steady), simulate(900))
    X, y, arm, _ = simulate(900, seed=5)
    found = {}
    original = FoldedRows.cross_fit

    def noted(self, *arguments):
        found["folds"] = self.folds
        return original(self, *arguments)

    monkeypatch.setattr(FoldedRows, "cross_fit", noted)
    first = new(steady).fit_out_of_fold(X, y, arm, propensity=np.full(900, 0.5), earlier=earlier)
    held = found["folds"] == 1
    changed = np.where(held, 1 - y, y)
    again = new(steady).fit_out_of_fold(
        X, changed, arm, propensity=np.full(900, 0.5), earlier=earlier
    )
    np.testing.assert_array_equal(first.uplift[held], again.uplift[held])
    assert not np.array_equal(first.uplift[~held], again.uplift[~held])


def test_a_frame_is_read_as_it_was(new):
    """Columns by name, categories by the earlier vocabulary; one never seen is missing."""
    X, y, arm, _ = simulate(900)
    frame = pd.DataFrame(
        {"a": X[:, 0], "b": X[:, 1], "kind": np.array(["x", "y", "z"])[X[:, 2].astype(int)]}
    )
    earlier = new().fit(frame, y, arm)
    other = frame[["kind", "b", "a"]].replace({"kind": {"z": "w"}})
    later = new().fit(other, y, arm, earlier=earlier)
    assert list(later.feature_names_in_) == ["a", "b", "kind"]
    assert np.isfinite(later.predict(other)).all()


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"n_arms": 2}, "1 arms beside arm 0"),
        ({"binary": False}, "the loss 'binary:logistic', these rows 1 and 'reg:squarederror'"),
    ],
)
def test_rows_of_another_task_are_refused(new, other, sentence):
    earlier = fit(new(), simulate(600))
    with pytest.raises(InputError, match=sentence):
        fit(new(), simulate(600, **other), earlier=earlier)


def test_other_columns_are_refused(new):
    earlier = fit(new(), simulate(600))
    X, y, arm, _ = simulate(600)
    with pytest.raises(InputError, match="X has 2 features"):
        new().fit(X[:, :2], y, arm, earlier=earlier)


def test_another_kind_is_refused(name, new):
    other = LEARNERS[NAMES[NAMES.index(name) - 1]](QUICK)
    with pytest.raises(InputError, match=f"{name!r} goes on from its own kind alone"):
        fit(new(), simulate(600), earlier=fit(other, simulate(600)))


def test_what_was_not_fitted_is_refused(new):
    with pytest.raises(NotFittedError):
        fit(new(), simulate(600), earlier=new())
    with pytest.raises(NotFittedError):
        new().faded(0.5)


@pytest.mark.parametrize("keep", [0.0, -0.5, 1.5, np.nan])
def test_a_share_is_a_share(new, keep):
    with pytest.raises(InputError, match=r"expected a share in \(0, 1\]"):
        fit(new(), simulate(600)).faded(keep)


def test_auto_goes_on_from_none():
    auto = AutoLearner(QUICK, members=("s",), n_settings=0)
    earlier = fit(auto, simulate(600))
    with pytest.raises(InputError, match="'auto' goes on from none: fit it anew"):
        fit(AutoLearner(QUICK), simulate(600), earlier=earlier)
