import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uplift.hashing import hash_uniform

IDS = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=30)


@given(IDS, st.integers(0, 2**32))
def test_the_number_depends_on_the_id_alone(ids, seed):
    together = hash_uniform(np.array(ids), seed)
    alone = [hash_uniform(np.array([i]), seed)[0] for i in ids]
    assert together.tolist() == alone
    assert ((together >= 0) & (together < 1)).all()


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.uint8, np.uint32, np.uint64])
def test_the_width_of_an_integer_means_nothing(kind):
    ids = np.arange(100)
    assert hash_uniform(ids.astype(kind), 3).tolist() == hash_uniform(ids, 3).tolist()


def test_strings_hash_alike_in_every_kind_of_array():
    words = ["ann", "bob", "ünï"]
    as_objects = hash_uniform(np.array(words, dtype=object), 5)
    assert hash_uniform(np.array(words), 5).tolist() == as_objects.tolist()
    assert len(set(as_objects)) == 3


@pytest.mark.parametrize("ids", [np.arange(20_000), np.arange(20_000).astype(str)])
def test_numbers_are_uniform_and_seeds_independent(ids):
    a, b = hash_uniform(ids, 0), hash_uniform(ids, 1)
    counts = np.bincount((a * 20).astype(int), minlength=20)
    expected = len(ids) / 20
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert chi2 < 19 + 4 * np.sqrt(2 * 19)  # mean and 4 standard deviations of chi2(19)
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(len(ids))
    assert abs(np.corrcoef(a[1:], a[:-1])[0, 1]) < 4 / np.sqrt(len(ids))
