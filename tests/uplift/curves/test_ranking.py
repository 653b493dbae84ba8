import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uplift import InputError
from uplift.curves import ranking_cuts


@given(st.lists(st.integers(-20, 20), min_size=1, max_size=60))
def test_few_scores_have_a_cell_each(scores):
    cuts = ranking_cuts(np.array(scores, float))
    assert cuts.tolist() == sorted(set(scores), reverse=True)[:-1]


@pytest.mark.parametrize("n", [1001, 12_345, 100_000])
def test_many_scores_are_cut_at_every_thousandth(n):
    """Above the cut at the share k / 1000 are the ceil(k n / 1000) best points."""
    score = np.random.default_rng(0).permutation(n).astype(float)
    above = (score[:, None] >= ranking_cuts(score)).sum(axis=0)
    assert (np.diff(above) > 0).all()
    assert set(-(-np.arange(1, 1000) * n // 1000)) <= set(above)
    assert len(above) < 1080


def test_the_best_are_cut_finest():
    above = (np.arange(100_000.0)[:, None] >= ranking_cuts(np.arange(100_000.0))).sum(axis=0)
    assert above[:6].tolist() == [1, 2, 3, 4, 5, 6]


def test_equal_scores_are_not_parted():
    score = np.r_[np.full(5000, 7.0), np.random.default_rng(0).random(5000)]
    cuts = ranking_cuts(score)
    assert cuts[0] == 7
    assert len(cuts) < 520


@pytest.mark.parametrize("score", [[], [np.nan], [1.0, np.inf]])
def test_what_cannot_be_cut_is_refused(score):
    with pytest.raises(InputError, match="finite scores"):
        ranking_cuts(np.array(score))
