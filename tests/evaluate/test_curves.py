"""Areas from histograms against scikit-learn and against loops on raw pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scored_images import sigmoid
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve, roc_auc_score

from flawsmith.core.geometry import components
from flawsmith.evaluate import curves
from flawsmith.evaluate.bins import bin_floors, score_bins
from flawsmith.evaluate.pixels import pixel_counts

counts = arrays(np.int64, 9, elements=st.integers(0, 5))


def raw(histogram: np.ndarray) -> np.ndarray:
    return np.repeat(np.arange(len(histogram)), histogram)


@settings(max_examples=30)
@given(counts, counts)
def test_average_precision_auroc_and_f1_equal_scikit_learn(positives, negatives):
    if not positives.any() or not negatives.any():
        return
    scores = np.concatenate([raw(positives), raw(negatives)])
    truth = np.arange(len(scores)) < positives.sum()
    assert curves.average_precision(positives, negatives) == pytest.approx(average_precision_score(truth, scores))
    assert curves.auroc(positives, negatives) == pytest.approx(roc_auc_score(truth, scores))
    best = max(f1_score(truth, scores >= t) for t in np.unique(scores))
    assert curves.f1_max(positives, negatives) == pytest.approx(best)


def test_a_batch_is_done_row_by_row():
    rng = np.random.default_rng(0)
    positives, negatives = rng.integers(0, 5, (4, 30)), rng.integers(0, 5, (4, 30))
    for area in (curves.average_precision, curves.auroc, curves.f1_max):
        rows = [float(area(p, n)) for p, n in zip(positives, negatives, strict=True)]
        assert area(positives, negatives) == pytest.approx(rows)


def test_nothing_to_find_is_not_a_number():
    none, some = np.zeros(5, np.int64), np.ones(5, np.int64)
    assert np.isnan(curves.average_precision(none, some))
    assert np.isnan(curves.auroc(some, none))
    assert np.isnan(curves.f1_max(none, some))
    assert np.isnan(curves.aupro(np.zeros(5), 0, some, 0.3))
    assert np.isnan(curves.aupro(np.ones(5), 2, none, 0.3))


@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (6, -4), (20, -8), (60, 0)])
def test_pixel_average_precision_is_that_of_raw_pixels(scale, shift):
    """Also for networks that saturate: at scale 60 most scores are 0, 1 or hardly to be told from them."""
    rng = np.random.default_rng(scale)
    truth = rng.random((300, 300)) < 0.02
    scores = sigmoid(rng.normal(0, 1, truth.shape) * scale + shift + truth * scale)
    counted = pixel_counts(scores, truth, 0.5)
    from_histogram = curves.average_precision(counted.positives, counted.negatives)
    assert from_histogram == pytest.approx(average_precision_score(truth.ravel(), scores.ravel()), abs=2e-4)


def brute_aupro(scores: list[np.ndarray], truths: list[np.ndarray], limit: float) -> float:
    """MVTec's definition as a loop over every distinct threshold."""
    regions = [(s, box, mask) for s, t in zip(scores, truths, strict=True) for box, mask in components(t)]
    outside = np.concatenate([s[~t] for s, t in zip(scores, truths, strict=True)])
    x, y = [0.0], [0.0]
    for threshold in np.unique(np.concatenate([s.ravel() for s in scores]))[::-1]:
        x.append(float((outside >= threshold).mean()))
        y.append(float(np.mean([(s[b[1] : b[3], b[0] : b[2]][m] >= threshold).mean() for s, b, m in regions])))
    area = 0.0
    for x0, x1, y0, y1 in zip(x, x[1:], y, y[1:], strict=False):
        if x0 < limit and x1 > x0:
            end = min(x1, limit)
            area += (end - x0) * (y0 + y0 + (y1 - y0) * (end - x0) / (x1 - x0)) / 2
    return area / limit


def labelled_maps(seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    truths = [np.zeros((24, 30), bool) for _ in range(3)]
    truths[0][3:6, 4:9] = truths[0][6, 9] = True  # touches by a corner: one region, 8-connected
    truths[0][15:17, 20:22] = truths[1][10, 5:25] = True
    return [sigmoid(rng.normal(-2, 2, t.shape) + 3 * t) for t in truths], truths


@pytest.mark.parametrize("limit", [0.3, 0.05, 0.013, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_aupro_is_exact_against_a_loop(limit, seed):
    scores, truths = labelled_maps(seed)
    on_floors = [bin_floors()[score_bins(s)] for s in scores]  # scores that the bins hold exactly
    assert aupro(on_floors, truths, limit) == pytest.approx(brute_aupro(on_floors, truths, limit), abs=1e-12)
    assert aupro(scores, truths, limit) == pytest.approx(brute_aupro(scores, truths, limit), abs=1e-3)


def aupro(scores: list[np.ndarray], truths: list[np.ndarray], limit: float) -> float:
    counted = [pixel_counts(s, t, 0.5) for s, t in zip(scores, truths, strict=True)]
    overlap, negatives = np.sum([c.overlap for c in counted], axis=0), np.sum([c.negatives for c in counted], axis=0)
    return curves.aupro(overlap, sum(c.regions for c in counted), negatives, limit)


def test_aupro_with_every_score_equal_is_half_the_limit():
    truth = np.zeros((10, 10), bool)
    truth[2:4, 2:4] = True
    assert aupro([np.full((10, 10), 0.5, np.float32)], [truth], 0.3) == pytest.approx(0.15)


def test_precision_recall_points_are_scikit_learns():
    rng = np.random.default_rng(3)
    positives, negatives = rng.integers(0, 4, 12), rng.integers(0, 4, 12)
    scores = np.concatenate([raw(positives), raw(negatives)])
    precision, recall, _ = precision_recall_curve(np.arange(len(scores)) < positives.sum(), scores)
    ours = curves.pr_curve(positives, negatives)
    assert ours[0] == pytest.approx(recall[-2::-1])
    assert ours[1] == pytest.approx(precision[-2::-1])


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=60))
def test_thinning_keeps_the_ends_and_invents_nothing(points):
    x, y = np.array(points).T
    kept = list(zip(*curves.thin(x, y, 10), strict=True))
    assert kept[0] == points[0]
    assert kept[-1] == points[-1]
    assert set(kept) <= set(points)


def test_thinning_bounds_a_long_curve():
    x = np.linspace(0, 1, 100_000)
    assert len(curves.thin(x, x**2)[0]) < 500
