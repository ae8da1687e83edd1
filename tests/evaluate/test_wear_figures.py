"""Figures of a wear run against brute force and the textbook."""

import math

import numpy as np
import pytest
from scipy import stats

from flawsmith.evaluate.wear import WearCase, agreement, evaluate_cases, mean_error
from flawsmith.evaluate.wear_page import render_wear_page

HOSTILE = '<script>alert("x")</script>'


def cases(count: int = 12, segmented: bool = True) -> list[WearCase]:
    rng = np.random.default_rng(3)
    made = []
    for i in range(count):
        vb = float(rng.uniform(0.05, 0.4))
        level = "worn" if vb >= 0.2 else "not worn"
        guess = vb + float(rng.normal(0, 0.03))
        found = vb + 0.01 + float(rng.normal(0, 0.02)) if segmented and i else None
        told = "worn" if guess >= 0.2 else "not worn"
        made.append(WearCase(f"{HOSTILE}{i}", f"part:{i // 2}", vb, guess, level, told, found))
    return made


def test_agreement_is_bland_and_altmans() -> None:
    differences = np.random.default_rng(0).normal(2, 3, 40)
    found = agreement(differences)
    deviation = np.std(differences, ddof=1)
    assert found.bias == pytest.approx(differences.mean())
    assert found.low == pytest.approx(differences.mean() - 1.959964 * deviation)
    assert found.high == pytest.approx(differences.mean() + 1.959964 * deviation)
    ends = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert (found.bias_low, found.bias_high) == pytest.approx((ends.low, ends.high))
    # the interval of a limit covers the true limit as often as it says, roughly
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(400):
        some = agreement(rng.normal(0, 1, 40))
        assert some.high is not None
        assert some.limit_error is not None
        hits += abs(some.high - 1.959964) < some.limit_error
    assert 0.91 < hits / 400 < 0.98


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_pairs_have_no_limits(count: int) -> None:
    found = agreement(np.ones(count))
    assert found.low is None
    assert found.reason == f"{count} images are too few for limits"


def test_errors_are_resampled_by_group() -> None:
    errors = np.array([1.0, -1.0, 3.0, -3.0] * 5)
    apart = mean_error(errors, [str(i) for i in range(20)])
    assert apart.value == 2.0
    assert apart.low is not None
    assert apart.high is not None
    assert apart.low < 2 < apart.high
    together = mean_error(errors, [str(i // 4) for i in range(20)])
    assert together.low is None  # each group has the same mean: no resample differs
    assert mean_error(errors, ["a"] * 20).low is None


def test_the_figures_are_counts_of_the_cases() -> None:
    made = cases()
    found = evaluate_cases(made, "mm", 0.2, "worn", segmented=True, level_at=0.2)
    assert found.mae.value == pytest.approx(np.mean([abs(c.estimated - c.vb) for c in made]))
    assert found.mae_of_mean.value == pytest.approx(np.mean([abs(0.2 - c.vb) for c in made]))
    assert found.right.k == sum(c.level == c.estimated_level for c in made)
    assert found.right_of_usual.k == sum(c.level == "worn" for c in made)
    assert found.found is not None
    assert (found.found.k, found.found.n) == (11, 12)
    assert found.agreement is not None
    assert found.agreement.n == 11
    assert len(found.table()) == 7
    assert "better than always answering the mean" in found.headline


def test_a_model_that_is_worse_than_the_mean_is_said_to_be() -> None:
    made = [WearCase(str(i), str(i), 1.0 + i, 50.0, "a", "a") for i in range(6)]
    found = evaluate_cases(made, "px", 3.5, "a")
    assert "no better than always answering the mean" in found.headline
    assert found.found is None
    assert found.agreement is None
    assert len(found.table()) == 4


def test_the_page_is_safe_and_has_its_plots() -> None:
    made = cases()
    found = evaluate_cases(made, "mm", 0.2, "worn", segmented=True, level_at=0.2, left_out={HOSTILE: "x"})
    page = render_wear_page(found, made)
    assert "<script" not in page
    assert page.count("<svg") == 2
    assert page == render_wear_page(found, made)
    few = evaluate_cases(made[:1], "mm", 0.2, "worn", segmented=True)
    assert render_wear_page(few, made[:1]).count("<svg") == 1
    without = evaluate_cases(cases(segmented=False), "mm", 0.2, "worn")
    assert "Measured in the segmented region" not in render_wear_page(without, made)
    assert not math.isnan(without.mae.value or 0)
