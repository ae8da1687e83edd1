"""Bins keep the order of scores and can be turned back into thresholds."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flawsmith.evaluate.bins import BINS, COARSE, bin_floors, coarse, score_bins

unit = st.floats(0, 1, width=32)


@given(arrays(np.float32, st.integers(1, 50), elements=unit))
def test_a_higher_score_never_has_a_lower_bin(scores):
    ordered = np.sort(scores)
    assert (np.diff(score_bins(ordered)) >= 0).all()


@given(arrays(np.float32, st.integers(1, 50), elements=unit))
def test_the_floor_is_the_lowest_score_of_its_bin(scores):
    bins, floors = score_bins(scores), bin_floors()
    assert (floors[bins] <= scores).all()
    assert (score_bins(floors[bins]) == bins).all()
    below = np.nextafter(floors[bins], np.float32(-1))
    assert (score_bins(below[below >= 0]) < bins[below >= 0]).all()


def test_ends_have_their_own_bins_and_stay_inside():
    scores = np.array([0, 2**-65, 2**-64, 0.5, np.nextafter(np.float32(1), np.float32(0)), 1], np.float32)
    bins = score_bins(scores)
    assert bins[0] == bins[1] == 0
    assert bins[-1] == BINS - 1
    assert len(set(bins.tolist())) == 5


def test_saturated_scores_keep_their_resolution():
    near_one = np.float32(1) - np.float32(2) ** -np.arange(24, 4, -1, dtype=np.float32)
    assert len(np.unique(score_bins(near_one))) == 20
    assert len(np.unique(score_bins(np.float32(2) ** -np.arange(63, 4, -1, dtype=np.float32)))) == 59


def test_two_dimensional_and_strided_scores():
    scores = np.random.default_rng(0).random((20, 30), np.float32)
    assert (score_bins(scores[:, ::2]) == score_bins(scores)[:, ::2]).all()


def test_coarse_bins_lose_no_count():
    histogram = np.random.default_rng(0).integers(0, 9, BINS)
    assert coarse(histogram).sum() == histogram.sum()
    assert coarse(histogram)[1] == histogram[COARSE : 2 * COARSE].sum()
