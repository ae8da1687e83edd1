"""Sharing out groups: against brute force, and the promise that a class with three groups is in every split."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flawsmith.dataset.stratify import deal

FRACTIONS = np.array([0.6, 0.2, 0.2])
counts_of_groups = st.integers(3, 30).flatmap(
    lambda groups: st.integers(1, 5).flatmap(
        lambda kinds: arrays(np.int64, (groups, kinds), elements=st.integers(0, 4))
    )
)


def dealt(counts: np.ndarray, seed: int = 0) -> np.ndarray:
    return deal(counts, np.arange(len(counts)), FRACTIONS, np.random.default_rng(seed))


def cost(counts: np.ndarray, splits: np.ndarray) -> tuple[int, float]:
    """Absent classes, and the squared distance of the shares from the wanted ones."""
    shares = np.stack([counts[splits == s].sum(axis=0) for s in range(3)]) / np.maximum(counts.sum(axis=0), 1)
    absent = (((counts > 0).sum(axis=0) >= 3) & (shares == 0)).sum()
    return int(absent), float(((shares - FRACTIONS[:, None]) ** 2).sum())


@given(arrays(np.int64, st.tuples(st.integers(3, 6), st.integers(1, 3)), elements=st.integers(0, 3)))
def test_as_good_as_brute_force_where_groups_are_few(counts):
    best = min(cost(counts, np.array(splits)) for splits in product(range(3), repeat=len(counts)))
    assert cost(counts, dealt(counts)) == pytest.approx(best)


@given(arrays(np.int64, (10, 3), elements=st.integers(0, 3)))
@settings(max_examples=10)
def test_nearly_as_good_where_they_are_more(counts):
    """Ten groups are dealt greedily, moved and swapped; the optimum comes from all 59,049 ways."""
    ways = np.indices([3] * 10).reshape(10, -1).T
    shares = np.stack([(ways == s) @ counts for s in range(3)]) / np.maximum(counts.sum(axis=0), 1)
    lacking = (((counts > 0).sum(axis=0) >= 3) & (shares == 0)).sum(axis=(0, 2))
    distance = ((shares - FRACTIONS[:, None, None]) ** 2).sum(axis=(0, 2))
    absent, found = cost(counts, dealt(counts))
    assert absent == lacking.min()
    assert found <= distance[lacking == absent].min() + 0.05


@given(st.lists(st.integers(0, 3), min_size=3, max_size=60), st.integers(0, 5))
def test_every_class_with_three_groups_is_in_every_split(classes, seed):
    counts = np.eye(4, dtype=np.int64)[classes]
    assert cost(counts, dealt(counts, seed))[0] == 0


@given(counts_of_groups, st.integers(0, 3))
def test_the_same_seed_gives_the_same_splits(counts, seed):
    np.testing.assert_array_equal(dealt(counts, seed), dealt(counts, seed))


def test_another_seed_gives_other_splits():
    counts = np.ones((50, 1), np.int64)
    assert not np.array_equal(dealt(counts, 0), dealt(counts, 1))


@given(st.integers(3, 4000), st.integers(1, 3))
def test_alike_groups_are_shared_out_to_the_last_one(groups, size):
    kind_of = np.zeros(groups, np.int64)
    splits = deal(np.array([[size]]), kind_of, FRACTIONS, np.random.default_rng(0))
    assert np.abs(np.bincount(splits, minlength=3) - groups * FRACTIONS).max() <= 1
    assert (np.bincount(splits, minlength=3) > 0).all()


def test_a_rare_class_among_many_groups_is_in_every_split():
    counts = np.ones((5000, 2), np.int64)
    counts[:, 1] = 0
    counts[[17, 1234, 4321], 1] = 1
    splits = dealt(counts)
    assert sorted(splits[[17, 1234, 4321]]) == [0, 1, 2]
    assert np.abs(np.bincount(splits) / 5000 - FRACTIONS).max() < 0.001


@pytest.mark.parametrize("fractions", [(0.8, 0.2), (1.0,), (0.5, 0.25, 0.15, 0.1)])
def test_any_number_of_splits(fractions):
    counts = np.random.default_rng(0).integers(0, 5, (100, 3))
    splits = deal(counts, np.arange(100), np.array(fractions), np.random.default_rng(0))
    shares = np.stack([counts[splits == s].sum(axis=0) for s in range(len(fractions))]) / counts.sum(axis=0)
    assert np.abs(shares - np.array(fractions)[:, None]).max() < 0.01
