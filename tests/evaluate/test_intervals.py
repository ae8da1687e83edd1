"""Exact intervals against SciPy, resampled ones against an ordinary bootstrap."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from scored_images import known
from sklearn.metrics import roc_auc_score

from flawsmith.evaluate.images import image_figures
from flawsmith.evaluate.intervals import (
    Estimate,
    Figure,
    Rate,
    clopper_pearson,
    group_of,
    group_weights,
    mean_estimate,
    resample_weights,
    worthwhile,
)


@given(st.integers(0, 60), st.integers(1, 60))
def test_exact_interval_equals_scipys(k, n):
    k = min(k, n)
    wanted = binomtest(k, n).proportion_ci(0.95, "exact")
    assert [float(v) for v in clopper_pearson(k, n)] == pytest.approx([wanted.low, wanted.high], abs=1e-9)


def test_intervals_of_many_counts_at_once():
    low, high = clopper_pearson(np.array([0, 3, 10]), 10)
    assert low[0] == 0
    assert high[2] == 1
    assert (low[1], high[1]) == pytest.approx([float(v) for v in clopper_pearson(3, 10)])


def test_a_rate_of_nothing_says_why():
    rate = Rate.of(0, 0, "no healthy images")
    assert (rate.value, rate.low, rate.high, rate.reason) == (None, None, None, "no healthy images")
    assert Rate.of(0, 299).high == pytest.approx(0.0123, abs=1e-4)


def test_an_undefined_figure_says_why():
    assert Estimate(np.nan, np.ones(50)).figure("no defective images").reason == "no defective images"
    assert "too few" in (Estimate(0.5, np.full(50, np.nan)).figure("").reason or "")
    assert "every resample" in (Estimate(1.0, np.ones(50)).figure("").reason or "")


def test_an_interval_holds_its_value_and_stays_in_range():
    figure = Estimate(0.2, np.linspace(0.3, 1.4, 100)).figure("")
    assert figure.low == 0.2
    assert figure.high == 1.0


def test_the_mean_leaves_out_what_is_undefined():
    parts = [Estimate(0.2, np.array([0.1, np.nan])), Estimate(0.4, np.array([0.3, 0.5])), Estimate(np.nan, np.empty(0))]
    mean = mean_estimate(parts)
    assert mean.value == pytest.approx(0.3)
    assert mean.resampled.tolist() == pytest.approx([0.2, 0.5])
    assert np.isnan(mean_estimate([]).value)


def test_weights_depend_on_name_and_seed_alone_and_have_mean_one():
    assert (resample_weights("part:a", 100, 1) == resample_weights("part:a", 100, 1)).all()
    assert (resample_weights("part:a", 100, 1) != resample_weights("part:a", 100, 2)).any()
    assert (resample_weights("part:a", 100, 1) != resample_weights("part:b", 100, 1)).any()
    assert resample_weights("part:a", 20_000, 0).mean() == pytest.approx(1, abs=0.03)


def test_images_of_one_group_are_drawn_together():
    assert group_of({"part": "p1", "camera": "c"}, "x") == "part:p1"
    assert group_of({"session": "s"}, "x") == "session:s"
    assert group_of({"camera": "c"}, "x") == "image:x"
    weights, members = group_weights(["a", "b", "a", "c", "d", "e"], 30, 0)
    assert weights.shape == (5, 30)
    assert members[0] == members[2]
    assert worthwhile(30, ["a", "b", "c", "d", "a"]) == 0
    assert worthwhile(30, "abcde") == 30


def test_resampled_interval_is_that_of_an_ordinary_bootstrap():
    rng = np.random.default_rng(0)
    defective = np.arange(300) % 3 == 0
    scores = rng.normal(defective * 1.2, 1)
    scores = (scores - scores.min()) / np.ptp(scores)
    ours = image_figures(scores, defective, [str(i) for i in range(300)], 0.5).auroc
    draws = [rng.integers(0, 300, 300) for _ in range(400)]
    low, high = np.quantile([roc_auc_score(defective[d], scores[d]) for d in draws], [0.025, 0.975])
    assert ours.low == pytest.approx(low, abs=0.015)
    assert ours.high == pytest.approx(high, abs=0.015)


def width(figure: Figure) -> float:
    return known(figure.high) - known(figure.low)


def test_grouped_images_have_a_wider_interval_than_independent_ones():
    """Negative control: ten copies of each image add no knowledge."""
    rng = np.random.default_rng(1)
    defective = np.repeat(np.arange(40) % 2 == 0, 10)
    scores = np.repeat(rng.random(40) * 0.5, 10) + defective * 0.2
    alone = image_figures(scores, defective, [str(i) for i in range(400)], 0.5).auroc
    grouped = image_figures(scores, defective, [str(i // 10) for i in range(400)], 0.5).auroc
    assert width(grouped) > 2 * width(alone)
