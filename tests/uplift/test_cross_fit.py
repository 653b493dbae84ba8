import numpy as np

from uplift.cross_fit import fold_masks, fold_of


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
