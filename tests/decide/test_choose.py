"""The search against brute force over every triple, and the walks against their definition."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flawsmith.decide import choose as choose_module
from flawsmith.decide.bounds import is_shown
from flawsmith.decide.choose import (
    Limits,
    Weights,
    choose,
    count_at_least,
    every_area,
    show_escape,
    show_false_reject,
)
from flawsmith.decide.summary import PartAreas

T = 5


@st.composite
def part_areas(draw, at_least: int = 1) -> PartAreas:
    """Profiles that fall with the threshold; those that may only review are the larger."""
    n = draw(st.integers(at_least, 6))
    falling = st.lists(st.integers(0, 6), min_size=T, max_size=T).map(lambda v: sorted(v, reverse=True))
    reject = np.array(draw(st.lists(falling, min_size=n, max_size=n)), np.int32).reshape(n, T)
    more = np.array(draw(st.lists(falling, min_size=n, max_size=n)), np.int32).reshape(n, T)
    return PartAreas(reject, np.maximum(reject, more))


def cost_of(defective: PartAreas, healthy: PartAreas, w: Weights, reject: int, review: int, area: int) -> float:
    """By counting part by part."""
    total = 0.0
    for parts, escape, rejected, reviewed in (
        (defective, w.escape, 0.0, w.review_defective),
        (healthy, 0.0, w.false_reject, w.review_healthy),
    ):
        for i in range(len(parts)):
            if parts.reject[i, reject] >= area:
                total += rejected
            elif parts.review[i, review] >= area:
                total += reviewed
            else:
                total += escape
    return total


weights = st.builds(Weights, *[st.integers(0, 9).map(float)] * 4)
masks = st.none() | st.lists(st.booleans(), min_size=T * 4, max_size=T * 4)


@settings(max_examples=200)
@given(part_areas(), part_areas(), weights, st.booleans(), masks, masks)
def test_choice_is_the_cheapest_of_all(defective, healthy, w, band, escape, false_reject):
    areas = np.array([1, 2, 4, 7])
    limits = Limits(*(None if m is None else np.array(m).reshape(4, T) for m in (escape, false_reject)))
    allowed = {
        (t, r, int(area)): cost_of(defective, healthy, w, t, r, int(area))
        for (i, area), t, r in product(enumerate(areas), range(T), range(T))
        if (r <= t if band else r == t)
        and (limits.escape is None or limits.escape[i, r])
        and (limits.false_reject is None or limits.false_reject[i, t])
    }
    choice = choose(defective, healthy, areas, w, limits, band)
    if not allowed:
        assert choice is None
        return
    assert choice is not None
    chosen = (choice.reject, choice.review, choice.min_area_px)
    assert allowed[chosen] == pytest.approx(min(allowed.values()))
    assert choice.cost == pytest.approx(allowed[chosen])


@settings(max_examples=60)
@given(part_areas(), part_areas(), weights)
def test_every_area_misses_no_cheaper_one(defective, healthy, w):
    choice = choose(defective, healthy, every_area(defective, healthy), w, Limits(), False)
    assert choice is not None
    best = min(cost_of(defective, healthy, w, t, t, area) for t in range(T) for area in range(1, 9))
    assert choice.cost == pytest.approx(best)


def test_chunks_do_not_change_the_choice(monkeypatch):
    rng = np.random.default_rng(0)
    profiles = [np.sort(rng.integers(0, 500, (40, T)), axis=1)[:, ::-1].astype(np.int32) for _ in range(2)]
    defective, healthy = (PartAreas(p, p) for p in profiles)
    areas, w = every_area(defective, healthy), Weights(3, 2, 1, 1)
    whole = choose(defective, healthy, areas, w, Limits(), True)
    monkeypatch.setattr(choose_module, "_CHUNK", 7)
    assert choose(defective, healthy, areas, w, Limits(), True) == whole


def uniform(values: list[list[int]]) -> PartAreas:
    return PartAreas(np.array(values, np.int32), np.array(values, np.int32))


def test_among_equals_the_middle_of_the_longest_run():
    defective, healthy = uniform([[9, 9, 9, 9, 0]]), uniform([[9, 0, 0, 0, 0]])
    middle = choose(defective, healthy, np.array([1]), Weights(1, 1), Limits(), False)
    assert middle is not None
    assert (middle.reject, middle.review) == (2, 2)
    lowest = choose(defective, healthy, np.array([1]), Weights(1, 1), Limits(), False, "lowest")
    highest = choose(defective, healthy, np.array([1]), Weights(1, 1), Limits(), False, "highest")
    assert lowest is not None
    assert highest is not None
    assert (lowest.reject, highest.reject) == (1, 3)


def test_no_band_where_none_is_needed():
    defective, healthy = uniform([[9, 9, 9, 0, 0]]), uniform([[9, 0, 0, 0, 0]])
    choice = choose(defective, healthy, np.array([1]), Weights(1, 1, 9, 9), Limits(), True)
    assert choice is not None
    assert choice.reject == choice.review


@given(part_areas())
def test_counts_are_counts(parts):
    areas = np.array([0, 1, 3, 6])
    table = count_at_least(parts.reject_sorted, areas)
    for (i, area), t in product(enumerate(areas), range(T)):
        assert table[i, t] == sum(value >= max(area, 1) for value in parts.reject[:, t])


def test_walks_stop_at_the_first_failure():
    """No real profile recovers, but a walk must not climb over a failure if one did."""
    errors = np.array([[0, 1, 20, 0, 0]])
    assert is_shown(errors, 100, 0.05, 0.05).tolist() == [[True, True, False, True, True]]
    assert show_escape(100 - errors, 100, 0.05, 0.95).tolist() == [[True, True, False, False, False]]
    assert show_false_reject(errors[:, ::-1], 100, 0.05, 0.95).tolist() == [[False, False, False, True, True]]


def test_several_areas_share_the_error_probability():
    clean = np.full((1, T), 299)
    assert show_escape(clean, 299, 0.01, 0.95).all()
    assert not show_escape(np.repeat(clean, 2, axis=0), 299, 0.01, 0.95).any()
    assert show_escape(np.full((2, T), 368), 368, 0.01, 0.95).all()  # ln(0.025) / ln(0.99) = 367.1
