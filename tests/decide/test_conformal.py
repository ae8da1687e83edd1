"""Thresholds and p-values from healthy parts alone: exact, and kept over many calibrations; controls that are not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_parts import good, part
from scipy.stats import beta, binom

from flawsmith.core import GateError, Prediction, Sample
from flawsmith.decide.calibrate import calibrate, calibrate_scores
from flawsmith.decide.choose import show_false_reject
from flawsmith.decide.conformal import levels_between, p_value
from flawsmith.decide.request import CalibrationRequest
from flawsmith.decide.rules import Decision, HealthyCalibration, decide

TARGET, CONFIDENCE, N, RUNS = 0.05, 0.9, 100, 1000
SLACK = 3 * np.sqrt(CONFIDENCE * (1 - CONFIDENCE) / RUNS)
SCORES = beta(20, 22)  # where anomaly scores of healthy parts lie
KINDS = ("anomaly",)
PIXELS = np.zeros((4, 4), np.uint8)

scores = st.lists(st.floats(0, 0.984375, width=32), min_size=1, max_size=30)


def healthy(values: np.ndarray) -> list[tuple[Sample, Prediction]]:
    return [
        (
            Sample(f"good{i}", PIXELS, healthy=True, split="val"),
            Prediction(KINDS, np.full((1, 4, 4), value, np.float32), float(np.float32(value))),
        )
        for i, value in enumerate(values)
    ]


@given(scores, st.floats(0, 1, width=32))
def test_a_p_value_is_the_share_of_healthy_parts_that_are_as_bad_itself_among_them(values, score):
    ordered = sorted(values)
    assert p_value(score, ordered) == (1 + sum(v >= score for v in values)) / (len(values) + 1)


def test_p_values_of_healthy_parts_are_never_too_small_and_those_of_defects_are():
    rng = np.random.default_rng(0)
    drawn = SCORES.rvs((4000, 20), random_state=rng)
    p = np.array([p_value(row[0], np.sort(row[1:])) for row in drawn])
    for level in (0.05, 0.1, 0.3, 0.5):
        assert np.mean(p <= level) <= level + 3 * np.sqrt(level * (1 - level) / len(p))
    bad = np.array([p_value(0.95, np.sort(row[1:])) for row in drawn])
    assert np.mean(bad <= 0.05) > 0.9


@given(scores)
def test_there_is_a_level_in_every_gap_and_one_above_all(values):
    single = np.unique(np.float32(values))
    levels = np.array(levels_between(values))
    assert (np.diff(levels) > 0).all()
    assert levels.max() <= 1
    counts = [int((single >= np.float32(level)).sum()) for level in levels]
    assert sorted(set(counts)) == list(range(len(single)))


def test_levels_keep_away_from_the_scores():
    assert levels_between([0.4, 0.5, 0.5]) == (0.45, 0.55)
    assert levels_between([]) == ()
    (above,) = levels_between([0.9999999])
    assert np.float32(0.9999999) < np.float32(above) <= 1


@pytest.mark.parametrize("target", [0.03, 0.05, 0.2])
def test_the_threshold_is_the_lowest_order_statistic_that_is_shown(target):
    """Oracle: the smallest rank r of n with P(at most n - r of n | target) at most the level."""
    values = np.sort(SCORES.rvs(N, random_state=np.random.default_rng(3)))
    report = calibrate_scores(
        healthy(values), KINDS, CalibrationRequest(max_false_reject=target, confidence=CONFIDENCE)
    )
    rank = next(r for r in range(1, N + 1) if binom.cdf(N - r, N, target) <= 1 - CONFIDENCE)
    above = values[rank] if rank < N else 1.0
    assert values[rank - 1] < report.threshold < above
    assert report.outcome.false_rejects.k == N - rank
    assert report.decision.calibration.healthy_scores == tuple(float(np.float32(v)) for v in values)


def test_declared_levels_alone_give_healthy_parts_away():
    """Control: `calibrate` may only use thresholds that lie on its grid."""
    values = np.linspace(0.5002, 0.5198, 200)
    request = CalibrationRequest(max_false_reject=TARGET, confidence=CONFIDENCE)
    on_grid, between = (way(healthy(values), KINDS, request) for way in (calibrate, calibrate_scores))
    assert on_grid.outcome.false_rejects.k == 0 < between.outcome.false_rejects.k
    assert between.threshold < on_grid.threshold


def test_the_promise_holds_over_a_thousand_calibrations_and_the_plain_quantile_does_not():
    rng = np.random.default_rng(1)
    missed, plain = 0, 0
    for draw in SCORES.rvs((RUNS, N), random_state=rng):
        levels = np.array(levels_between(draw))
        reached = N - np.searchsorted(np.sort(draw), levels)
        shown = show_false_reject(reached[None], N, TARGET, CONFIDENCE)[0]
        missed += SCORES.sf(levels[shown][0]) > TARGET
        plain += SCORES.sf(np.quantile(draw, 1 - TARGET)) > TARGET
    assert 0.01 < missed / RUNS <= 1 - CONFIDENCE + SLACK
    assert plain / RUNS > 0.4


def test_too_few_healthy_parts_are_told_how_many_it_takes():
    request = CalibrationRequest(max_false_reject=TARGET, confidence=0.95)
    with pytest.raises(GateError, match="not demonstrable with n = 58 healthy parts, needs 59 without any"):
        calibrate_scores(healthy(np.linspace(0.3, 0.6, 58)), KINDS, request)
    assert calibrate_scores(healthy(np.linspace(0.3, 0.6, 59)), KINDS, request).outcome.false_rejects.k == 0


def test_images_of_one_part_count_once_and_the_worst_counts():
    pairs = [
        (Sample(f"{p}-{v}", PIXELS, healthy=True, split="val", groups={"part": str(p)}), prediction)
        for p in range(60)
        for v, (_, prediction) in enumerate(healthy(np.array([0.3 + p / 1000, 0.2])))
    ]
    report = calibrate_scores(pairs, KINDS, CalibrationRequest(max_false_reject=TARGET))
    assert report.outcome.false_rejects.n == 60
    assert report.decision.calibration.healthy_scores[0] == pytest.approx(0.3)


def test_a_few_defects_pull_the_threshold_up_into_the_gap():
    values = np.linspace(0.3, 0.5, 60)
    bad = [
        (
            Sample(f"bad{i}", PIXELS, healthy=False, label="flaw", split="val"),
            Prediction(KINDS, np.full((1, 4, 4), 0.7, np.float32), 0.7),
        )
        for i in range(5)
    ]
    request = CalibrationRequest(max_false_reject=TARGET)
    alone = calibrate_scores(healthy(values), KINDS, request).threshold
    both = calibrate_scores([*healthy(values), *bad], KINDS, request).threshold
    assert 0.5 < alone < both < 0.7


def test_other_areas_are_left_to_the_declared_levels():
    pairs = [part(f"bad{i}", 0.8) for i in range(4)] + [good(f"good{i}", 0.2) for i in range(60)]
    request = CalibrationRequest(max_false_reject=TARGET, min_areas_px=(10,))
    report = calibrate_scores(pairs, ("scratch", "pit"), request)
    assert report.min_area_px == 10
    assert not isinstance(report.decision.calibration, HealthyCalibration)


def test_the_scores_travel_with_the_decision_and_decisions_without_are_as_before():
    request = CalibrationRequest(max_false_reject=TARGET)
    report = calibrate_scores(healthy(np.linspace(0.3, 0.5, 60)), KINDS, request)
    again = Decision.model_validate_json(report.decision.model_dump_json())
    assert again.calibration.healthy_scores == report.decision.calibration.healthy_scores
    assert again.origin == "calibrate"
    assert isinstance(again.calibration, HealthyCalibration)
    plain = calibrate(healthy(np.linspace(0.3, 0.5, 60)), KINDS, request).decision
    assert "healthy_scores" not in plain.model_dump(mode="json")["calibration"]
    verdicts = [decide(prediction, report.decision).status for _, prediction in healthy(np.linspace(0.3, 0.5, 60))]
    assert verdicts.count("NG") == report.outcome.false_rejects.k
