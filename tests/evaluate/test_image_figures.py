"""Image-level figures against scikit-learn and loops; the sweep adds up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from flawsmith.evaluate import operating_points
from flawsmith.evaluate.images import ImageFigures, image_figures, sweep_row

scored = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.50001, 0.9, 1.0]), st.booleans()), max_size=40)


def figures(scores: np.ndarray, defective: np.ndarray, threshold: float = 0.5) -> ImageFigures:
    return image_figures(scores, defective, [str(i) for i in range(len(scores))], threshold, resamples=0)


def split(pairs: list[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([p[0] for p in pairs], float), np.array([p[1] for p in pairs], bool)


@given(scored)
def test_operating_points_are_those_of_a_loop(pairs):
    scores, defective = split(pairs)
    points = operating_points(scores, defective)
    assert len(points) == (len(set(scores.tolist())) + 1 if pairs else 0)
    for point in points:
        rejected = scores >= point["threshold"]
        assert point["correct_rejects"] == (rejected & defective).sum()
        assert point["false_rejects"] == (rejected & ~defective).sum()
        assert point["escapes"] == (~rejected & defective).sum()
        assert point["correct_passes"] == (~rejected & ~defective).sum()
        with np.errstate(invalid="ignore"):
            assert point["recall"] == pytest.approx(
                np.float64((rejected & defective).sum()) / defective.sum(), nan_ok=True
            )
            assert point["precision"] == pytest.approx(
                np.float64((rejected & defective).sum()) / rejected.sum(), nan_ok=True
            )


@given(scored)
def test_raising_the_threshold_never_adds_a_reject_and_counts_add_up(pairs):
    points = operating_points(*split(pairs))
    for name in ("correct_rejects", "false_rejects"):
        assert (np.diff(points[name]) <= 0).all()
    parts = ("correct_passes", "escapes", "false_rejects", "correct_rejects")
    assert all(sum(point[name] for name in parts) == len(pairs) for point in points)


@given(scored)
def test_the_last_operating_point_rejects_nothing_and_the_first_everything(pairs):
    points = operating_points(*split(pairs))
    if pairs:
        assert points["correct_passes"][0] + points["escapes"][0] == 0
        assert points["correct_rejects"][-1] + points["false_rejects"][-1] == 0


def test_many_operating_points_take_no_time():
    rng = np.random.default_rng(0)
    assert len(operating_points(rng.random(200_000), rng.random(200_000) < 0.1)) == 200_001


@settings(max_examples=30)
@given(scored)
def test_areas_equal_scikit_learns(pairs):
    scores, defective = split(pairs)
    if defective.all() or not defective.any():
        return
    result = figures(scores, defective)
    assert result.auroc.value == pytest.approx(roc_auc_score(defective, scores))
    assert result.average_precision.value == pytest.approx(average_precision_score(defective, scores))
    best = max(f1_score(defective, scores >= t) for t in np.unique(scores))
    assert result.f1_max.value == pytest.approx(best)
    assert f1_score(defective, scores >= result.f1_max_threshold) == pytest.approx(best)


def test_recall_at_fixed_false_reject_rates():
    healthy = np.linspace(0.0, 0.5, 200)  # 1 % is 2 images, 5 % is 10
    defective = np.array([0.1, 0.48, 0.4975, 0.499, 0.6])
    truth = np.r_[np.zeros(200, bool), np.ones(5, bool)]
    rows = figures(np.r_[healthy, defective], truth).recall_at
    assert [row.false_rejects.k for row in rows] == [0, 1, 8]
    assert [row.recall.k for row in rows] == [1, 3, 4]
    for row in rows:
        assert row.false_rejects.k <= row.limit * 200


@settings(max_examples=30)
@given(scored)
def test_recall_at_a_limit_is_the_best_of_all_thresholds(pairs):
    scores, defective = split(pairs)
    if defective.all() or not defective.any():
        return
    for row in figures(scores, defective).recall_at:
        allowed = [t for t in [*scores, 2.0] if (~defective & (scores >= t)).sum() <= row.limit * (~defective).sum()]
        assert row.recall.k == max((defective & (scores >= t)).sum() for t in allowed)


def test_a_false_reject_limit_is_not_lost_by_rounding():
    truth = np.r_[np.zeros(20, bool), True]  # 5 % of 20 is one image, and 0.05 * 20 is a little less than 1
    row = figures(np.r_[np.arange(20) / 20, 0.94], truth).recall_at[-1]
    assert (row.false_rejects.k, row.recall.k) == (1, 1)


def test_the_sweep_has_the_tenths_and_the_operating_threshold():
    scores, defective = np.array([0.2, 0.3, 0.6, 0.9]), np.array([False, True, False, True])
    rows = figures(scores, defective, 0.55).sweep
    assert [row.threshold for row in rows] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9]
    assert rows[2] == sweep_row(scores, defective, 0.3)  # at the threshold is rejected
    assert (rows[2].correct_passes, rows[2].escapes, rows[2].false_rejects, rows[2].correct_rejects) == (1, 0, 1, 2)


@pytest.mark.parametrize(("defective", "reason"), [(True, "no healthy images"), (False, "no defective images")])
def test_one_kind_of_image_has_no_area_and_says_why(defective, reason):
    result = figures(np.array([0.2, 0.7, 0.7]), np.full(3, defective))
    for figure in (result.auroc, result.average_precision, result.f1_max, result.recall_at[0].recall):
        assert (figure.value, figure.reason) == (None, reason)
    assert result.f1_max_threshold is None
    assert result.recall_at[0].threshold is None


def test_constant_scores_are_chance():
    result = figures(np.full(8, 0.4), np.arange(8) < 2)
    assert result.auroc.value == 0.5
    assert result.average_precision.value == pytest.approx(0.25)
    assert result.recall_at[0].recall.k == 0


def test_a_long_list_of_operating_points_is_thinned_and_says_so():
    rng = np.random.default_rng(0)
    points = figures(rng.random(3000), rng.random(3000) < 0.3).operating_points
    assert points.thinned
    assert points.distinct == 3001
    assert len(points.threshold) == 500
    assert points.escapes[0] == 0
    assert points.false_rejects[-1] == 0


def test_the_histogram_counts_every_image():
    histogram = figures(np.array([0.0, 0.5, 1.0, 1.0]), np.array([False, False, True, False])).histogram
    assert sum(histogram.healthy) == 3
    assert histogram.healthy[-1] == histogram.defective[-1] == 1
