"""Temperature against a grid search, ECE against a loop; a perfect model lies within its own range, others do not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax
from scored_classes import drawn_from_probabilities, softmax
from scored_images import known
from sklearn.metrics import log_loss

from flawsmith.core import DataError
from flawsmith.evaluate.calibration import (
    CalibrationFigures,
    calibration_error,
    calibration_figures,
    confidence_bins,
    perfect_errors,
)
from flawsmith.model.temperature import fit_temperature

NO_GROUPS = 0  # resamples


def validation(seed: int, temperature: float, count: int = 4000, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax is honest at this temperature, and labels drawn accordingly."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (count, classes)) * temperature
    honest = softmax(logits / temperature)
    return logits, (rng.random((count, 1)) > honest.cumsum(axis=1)[:, :-1]).sum(axis=1)


def figures(seed: int, sharpness: float, count: int = 2000) -> CalibrationFigures:
    pairs = drawn_from_probabilities(seed, count, sharpness)
    probabilities = np.stack([score.probabilities for _, score in pairs])
    labels = np.array(["abc".index(sample.label) for sample, _ in pairs])
    return calibration_figures(probabilities, labels, [s.id for s, _ in pairs], NO_GROUPS, seed=0)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_is_that_of_a_grid_search(temperature):
    logits, labels = validation(0, temperature, count=600)
    grid = np.geomspace(0.2, 5, 4000)
    losses = [-log_softmax(logits / t, axis=1)[np.arange(len(labels)), labels].mean() for t in grid]
    assert fit_temperature(logits, labels) == pytest.approx(grid[int(np.argmin(losses))], rel=1e-3)


def test_the_temperature_that_made_the_logits_is_found():
    for temperature in (0.5, 1.0, 3.0):
        logits, labels = validation(1, temperature)
        assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.08)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.3, 4))
def test_scaled_logits_scale_the_temperature_and_shifted_ones_do_not(seed, factor):
    logits, labels = validation(seed, 1.0, count=120)
    whole = fit_temperature(logits, labels)
    assert fit_temperature(logits * factor, labels) == pytest.approx(whole * factor, rel=1e-3)
    assert fit_temperature(logits + np.arange(120)[:, None], labels) == pytest.approx(whole, rel=1e-3)


def test_the_temperature_never_raises_the_loss_and_never_changes_a_verdict():
    logits, labels = validation(2, 2.0, count=500)
    before, after = softmax(logits), softmax(logits / fit_temperature(logits, labels))
    assert (before.argmax(axis=1) == after.argmax(axis=1)).all()
    losses = [-np.log(table[np.arange(500), labels]).mean() for table in (before, after)]
    assert losses[1] < losses[0]


def test_without_any_wrong_label_nothing_is_learnt():
    logits = np.array([[3.0, 0.0], [0.0, 0.1], [1.0, 1.0]])
    assert fit_temperature(logits, np.array([0, 1, 0])) == 1.0


def test_logits_without_any_truth_are_flattened():
    assert fit_temperature(np.array([[5.0, 0.0], [5.0, 0.0]]), np.array([1, 1])) > 99


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((0, 3)), np.zeros(0, int), "N and K at least 1"),
        (np.zeros((2, 3)), np.zeros(3, int), r"logits \(2, 3\) and labels \(3,\)"),
        (np.array([[np.nan, 0.0]]), np.array([0]), "NaN or infinity"),
        (np.zeros((2, 3)), np.array([0, 3]), "integers from 0 to 2"),
        (np.zeros((2, 3)), np.array([-1, 0]), "integers from 0 to 2"),
        (np.zeros((2, 3)), np.array([0.0, 1.0]), "integers from 0 to 2"),
    ],
)
def test_logits_that_cannot_be_fitted_are_refused(logits, labels, message):
    with pytest.raises(DataError, match=message):
        fit_temperature(logits, labels)


def test_the_error_is_that_of_a_loop_over_equal_bins():
    rng = np.random.default_rng(3)
    confidence, right = rng.random(301), rng.random(301) < 0.7
    order = np.argsort(confidence)
    parts = [order[i * 301 // 15 : (i + 1) * 301 // 15] for i in range(15)]
    wanted = sum(abs(confidence[p].mean() - right[p].mean()) * len(p) / 301 for p in parts)
    assert calibration_error(confidence, right) == pytest.approx(wanted)


@given(st.lists(st.sampled_from([0.3, 0.5, 0.9, 0.99, 1.0]) | st.floats(0, 1), min_size=1, max_size=80))
def test_bins_are_without_gaps_ascend_and_keep_equal_values_together(values):
    confidence = np.array(values)
    bins = confidence_bins(confidence)
    assert set(bins.tolist()) == set(range(bins.max() + 1))
    assert bins.max() < 15
    order = np.argsort(confidence)
    assert (np.diff(bins[order]) >= 0).all()
    assert all(len(set(bins[confidence == value])) == 1 for value in confidence)
    if len(set(values)) == len(values):
        assert np.ptp(np.bincount(bins)) <= 1


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60), st.randoms())
def test_the_error_lies_within_0_and_1_and_does_not_depend_on_order(pairs, random):
    shuffled = random.sample(pairs, len(pairs))
    values = [calibration_error(np.array([p[0] for p in q]), np.array([p[1] for p in q])) for q in (pairs, shuffled)]
    assert values[0] == pytest.approx(values[1], abs=1e-12)
    assert -1e-12 <= values[0] <= 1 + 1e-12


def test_the_perfect_models_errors_are_those_of_labels_drawn_one_by_one():
    rng = np.random.default_rng(4)
    confidence = rng.uniform(0.4, 1, 90)
    slow = [calibration_error(confidence, rng.random(90) < confidence) for _ in range(2000)]
    fast = perfect_errors(confidence, seed=0, draws=2000)
    assert fast.mean() == pytest.approx(np.mean(slow), rel=0.03)
    assert np.quantile(fast, [0.025, 0.975]) == pytest.approx(np.quantile(slow, [0.025, 0.975]), rel=0.06)


def test_a_perfect_model_shows_less_error_with_more_images():
    rng = np.random.default_rng(5)
    means = [perfect_errors(rng.uniform(0.5, 1, n), seed=0, draws=300).mean() for n in (50, 500, 5000)]
    assert means[0] > 2 * means[1] > 4 * means[2] > 0


def test_calibrated_models_lie_within_the_range_nearly_always():
    judged = [figures(seed, sharpness=1.0, count=300).judgement for seed in range(40)]
    assert judged.count("within chance") >= 35


@pytest.mark.parametrize(("sharpness", "judgement"), [(2.5, "too sure"), (0.4, "not sure enough")])
def test_uncalibrated_models_lie_outside_and_are_named(sharpness, judgement):
    result = figures(7, sharpness)
    assert known(result.ece.value) > known(result.perfect_ece.high)
    assert result.judgement == judgement


def test_temperature_scaling_brings_a_sharp_model_back_into_the_range():
    logits, labels = validation(8, 3.0, count=4000)
    halves = slice(0, 2000), slice(2000, 4000)
    names = [str(i) for i in range(2000)]
    temperature = fit_temperature(logits[halves[0]], labels[halves[0]])
    before, after = (
        calibration_figures(softmax(logits[halves[1]] / t), labels[halves[1]], names, NO_GROUPS, 0)
        for t in (1.0, temperature)
    )
    assert (before.judgement, after.judgement) == ("too sure", "within chance")
    assert known(after.log_loss.value) < known(before.log_loss.value)
    assert known(after.brier.value) < known(before.brier.value)


def test_losses_equal_scikit_learns_and_a_loop():
    pairs = drawn_from_probabilities(9, 200)
    table = np.stack([score.probabilities for _, score in pairs]).astype(float)
    labels = np.array(["abc".index(sample.label) for sample, _ in pairs])
    result = calibration_figures(table.astype(np.float32), labels, [s.id for s, _ in pairs], 200, seed=0)
    assert result.log_loss.value == pytest.approx(log_loss(labels, table / table.sum(axis=1, keepdims=True)), rel=1e-6)
    brier = sum(sum((p - (k == y)) ** 2 for k, p in enumerate(row)) for row, y in zip(table, labels, strict=True)) / 200
    assert result.brier.value == pytest.approx(brier, rel=1e-5)
    for figure in (result.log_loss, result.brier):
        assert known(figure.low) < known(figure.value) < known(figure.high)


def test_a_probability_of_0_for_the_truth_costs_a_finite_loss():
    result = calibration_figures(np.array([[1, 0]], np.float32), np.array([1]), ["a"], 0, 0)
    assert result.log_loss.value == pytest.approx(-np.log(np.finfo(np.float32).eps))
    assert result.brier.value == 2
    assert result.ece.value == 1


def test_bins_count_every_image_once():
    result = figures(10, 1.0, count=123)
    assert len(result.bins) == 15
    assert sum(b.right.n for b in result.bins) == result.images == 123
    assert sum(b.right.k for b in result.bins) == result.right.k


def test_no_image_has_no_figures_and_says_why():
    result = calibration_figures(np.zeros((0, 3), np.float32), np.zeros(0, int), [], 100, 0)
    assert result.ece.value is result.log_loss.value is result.judgement is None
    assert result.ece.reason == "no image of a known class"
