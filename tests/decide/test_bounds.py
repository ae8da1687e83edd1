"""Exact bounds against SciPy's own intervals and against sums of binomial probabilities."""

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from flawsmith.decide.bounds import is_shown, parts_needed, upper_bound


def at_most(k: int, n: int, rate: float) -> float:
    """P(at most k errors in n), by hand."""
    return sum(comb(n, i) * rate**i * (1 - rate) ** (n - i) for i in range(k + 1))


@given(st.integers(1, 60), st.data(), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_upper_bound_is_clopper_pearson(n, data, confidence):
    k = data.draw(st.integers(0, n))
    oracle = binomtest(k, n, alternative="less").proportion_ci(confidence, method="exact").high
    assert upper_bound(k, n, confidence) == pytest.approx(oracle, abs=1e-9)


@given(st.integers(1, 60), st.data())
def test_upper_bound_solves_the_binomial_sum(n, data):
    k = data.draw(st.integers(0, n - 1))
    assert at_most(k, n, upper_bound(k, n, 0.95)) == pytest.approx(0.05, abs=1e-7)


@given(st.integers(1, 80), st.data(), st.floats(0.01, 0.9))
def test_is_shown_agrees_with_the_bound_and_the_sum(n, data, target):
    k = data.draw(st.integers(0, n))
    chance = at_most(k, n, target)
    if abs(chance - 0.05) > 1e-9:
        assert is_shown(k, n, target, 0.05) == (chance <= 0.05) == (upper_bound(k, n, 0.95) <= target)


def test_nothing_is_shown_without_parts():
    assert not is_shown(0, 0, 0.5, 0.05)
    assert upper_bound(0, 0, 0.95) == 1.0


@pytest.mark.parametrize("n", [30, 100, 300, 3000])
def test_no_error_in_n_is_about_three_over_n(n):
    assert upper_bound(0, n, 0.95) == pytest.approx(3 / n, rel=0.06)


@pytest.mark.parametrize(
    ("k", "target", "confidence"),
    [(0, 0.01, 0.95), (0, 0.001, 0.95), (3, 0.01, 0.95), (1, 0.05, 0.9), (0, 0.9, 0.6), (7, 0.2, 0.99)],
)
def test_parts_needed_is_the_first_that_suffices(k, target, confidence):
    need = parts_needed(k, target, confidence)
    shown = [n for n in range(k, need + 1) if is_shown(k, n, target, 1 - confidence)]
    assert shown == [need]


def test_parts_needed_of_the_well_known_targets():
    assert (parts_needed(0, 0.01, 0.95), parts_needed(0, 0.001, 0.95)) == (299, 2995)


def test_is_shown_keeps_the_shape():
    assert is_shown(np.zeros((3, 4), int), 299, 0.01, 0.05).shape == (3, 4)
