from dataclasses import replace

import numpy as np
import pytest
from simulated_logs import QUICK

from uplift import InputError
from uplift.binned import BinnedRows
from uplift.boosting import BoostTask
from uplift.cross_fit import FoldedRows, fold_masks, fold_of

N = 3000


def features():
    return np.random.default_rng(0).normal(size=(N, 2)).astype(np.float32)


def step(noise=0.5):
    X = features()
    y = np.where(X[:, 0] > 0, 1.0, -1.0) + np.random.default_rng(1).normal(0, noise, N)
    return BoostTask(y, "reg:squarederror")


def noise():
    return BoostTask(np.random.default_rng(1).normal(size=N), "reg:squarederror")


def folded(folds=None, params=QUICK):
    folds = fold_of(np.arange(N), 3, 0) if folds is None else folds
    return FoldedRows(BinnedRows(features(), ("q", "q"), n_threads=1), folds, params)


ALL = np.arange(N)


def test_a_group_is_never_divided():
    groups = np.random.default_rng(0).integers(0, 200, 5000)
    folds = fold_of(groups, 5, seed=0)
    assert all(np.unique(folds[groups == g]).size == 1 for g in range(200))
    assert set(folds) == set(range(5))


def test_folds_are_of_like_size():
    folds = fold_of(np.arange(10_000), 4, seed=0)
    sizes = np.bincount(folds, minlength=4)
    assert np.abs(sizes - 2500).max() < 4 * np.sqrt(10_000 * 0.25 * 0.75)


def test_many_folds_keep_their_numbers():
    folds = fold_of(np.arange(20_000), 300, seed=0)
    assert folds.min() == 0
    assert folds.max() == 299


def test_the_seed_alone_decides():
    groups = np.arange(100)
    assert np.array_equal(fold_of(groups, 3, 1), fold_of(groups, 3, 1))
    assert not np.array_equal(fold_of(groups, 3, 1), fold_of(groups, 3, 2))


def test_masks_hold_out_every_row_once_and_leave_empty_folds_out():
    folds = np.array([0, 2, 2, 0, 4])
    masks = list(fold_masks(folds))
    assert len(masks) == 3
    assert np.sum(masks, axis=0).tolist() == [1] * 5


def test_the_rounds_follow_the_signal():
    assert folded().boost(step(), "all", ALL).rounds > 5
    assert folded().boost(noise(), "all", ALL).rounds <= 3


def test_all_boosters_have_the_rounds_of_the_least_held_out_loss():
    boosted = folded().boost(step(), "all", ALL)
    assert boosted.whole.rounds == boosted.rounds
    rounds = [model.rounds for model in boosted.without.values()]
    assert max(rounds) == boosted.rounds
    assert min(rounds) >= boosted.rounds - QUICK.patience  # a fold that stopped before
    assert sorted(boosted.without) == [0, 1, 2]
    assert folded().cross_fit(step(), "all", ALL).whole is None


def losses_by_fold(monkeypatch, curves):
    """Let the folds report these held-out losses, one after the other."""
    from uplift import cross_fit

    told, original = iter(curves), cross_fit.train_watched

    def answer(*arguments):
        return original(*arguments)[0], next(told)

    monkeypatch.setattr(cross_fit, "train_watched", answer)


@pytest.mark.parametrize(("heavy", "rounds"), [(0, 1), (2, 3)])
def test_the_folds_losses_count_by_weight_and_the_last_one_stands(monkeypatch, heavy, rounds):
    """Fold 0 is best after 1 round and stopped there; fold 2 goes on to 3."""
    rows = folded()
    weight = np.where(rows.folds == heavy, 10.0, 1.0)
    losses_by_fold(monkeypatch, [[1.0, 0.5, 0.7], [1.0, 1.0], [1.0, 0.9, 0.8, 0.7]])
    assert rows.cross_fit(replace(step(), weight=weight), "all", ALL).rounds == rounds


def test_no_round_is_the_mean_of_the_other_folds():
    rows, constant = folded(), replace(step(), y=np.full(N, 2.5))
    boosted = rows.boost(constant, "all", ALL)
    assert boosted.rounds == 0
    np.testing.assert_allclose(boosted.whole.margin(features()), 2.5, rtol=1e-6)
    by_fold = replace(step(), y=rows.folds * 1.0)
    for fold, model in rows.cross_fit(by_fold, "all", ALL).without.items():
        others = rows.folds[rows.folds != fold]
        np.testing.assert_allclose(model.margin(features()[:5]), others.mean(), rtol=1e-6)


def test_a_row_is_predicted_by_the_booster_that_has_not_seen_its_fold():
    rows, task = folded(), step()
    boosted = rows.cross_fit(task, "all", ALL)
    margin = rows.out_of_fold(boosted)
    for fold in range(3):
        held = rows.folds == fold
        np.testing.assert_array_equal(margin[held], boosted.without[fold].margin(features()[held]))
        alone = rows.binned.matrix(f"alone {fold}", np.flatnonzero(~held))
        assert alone.num_row() == (~held).sum()


def test_the_held_folds_outcomes_do_not_move_the_booster_without_it():
    """By a byte, while the number of rounds is the same."""
    steady = replace(QUICK, max_rounds=3, learning_rate=0.1)
    rows, task = folded(params=steady), step()
    changed = np.where(np.flatnonzero(rows.folds == 1)[:5, None] == ALL, -9.0, task.y).min(axis=0)
    before = rows.cross_fit(task, "all", ALL)
    after = rows.cross_fit(replace(task, y=changed), "all", ALL)
    assert before.rounds == after.rounds == 3
    same = [
        before.without[k].booster.save_raw() == after.without[k].booster.save_raw()
        for k in range(3)
    ]
    assert same == [False, True, False]


def test_a_fold_without_rows_of_the_task_gets_a_booster_of_all_of_them():
    rows = folded()
    part = np.flatnonzero(rows.folds != 2)
    boosted = rows.boost(step(), "two folds", part)
    assert boosted.without[2].booster.save_raw() == boosted.whole.booster.save_raw()
    assert np.isfinite(rows.out_of_fold(boosted)).all()


def test_rows_of_one_fold_are_refused():
    rows = folded()
    with pytest.raises(InputError, match=r"the \d+ rows of arm 1 fall in one fold"):
        rows.cross_fit(step(), "arm 1", np.flatnonzero(rows.folds == 0))
    with pytest.raises(InputError, match="the 3000 rows of all arms fall in one fold"):
        folded(np.zeros(N, int)).boost(step(), "all arms", ALL)
