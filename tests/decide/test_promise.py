"""The promise kept: over many calibrations, how often does the true rate exceed the target?

The exact walk may miss in at most 1 - confidence of them. The negative controls, which read the threshold off the
validation parts, miss in far more.
"""

import numpy as np
import pytest
from scipy.stats import beta

from flawsmith.decide.calibrate import calibrate_summaries
from flawsmith.decide.choose import show_escape, show_false_reject
from flawsmith.decide.report import RATES
from flawsmith.decide.request import CalibrationRequest
from flawsmith.decide.select import Facts
from flawsmith.decide.summary import ImageSummary

LEVELS = np.linspace(0.002, 0.998, 499)
TARGET, CONFIDENCE, N, RUNS = 0.05, 0.95, 300, 1500
SLACK = 3 * np.sqrt(CONFIDENCE * (1 - CONFIDENCE) / RUNS)  # three standard errors of the miss rate itself
DEFECTIVE, HEALTHY = beta(5, 2), beta(2, 5)


def reaching(scores: np.ndarray) -> np.ndarray:
    """How many reach each level: (T,)."""
    return len(scores) - np.searchsorted(np.sort(scores), LEVELS)


def misses(pick, scores=DEFECTIVE, seed: int = 0) -> float:
    """How often the true escape rate at the picked level is above the target; `pick` maps counts (1, T) to a level."""
    rng = np.random.default_rng(seed)
    escape = scores.cdf(LEVELS)
    draws = scores.rvs((RUNS, N), random_state=rng)
    return float(np.mean([escape[pick(reaching(draw)[None])] > TARGET for draw in draws]))


def highest(allowed: np.ndarray) -> int:
    return int(np.flatnonzero(allowed[0])[-1]) if allowed.any() else 0


def test_the_highest_threshold_shown_misses_rarely_enough():
    rate = misses(lambda found: highest(show_escape(found, N, TARGET, CONFIDENCE)))
    assert 0.005 < rate <= 1 - CONFIDENCE + SLACK  # and it is not safe by being useless


def test_the_plain_threshold_misses_half_the_time():
    """Control: the highest threshold with at most 5 % escapes on the validation parts."""
    assert misses(lambda found: highest((N - found) / N <= TARGET)) > 0.3


def test_conformal_risk_control_misses_about_as_often():
    """Control: it holds on average over calibrations, which is no comfort to the one factory that did one."""
    assert misses(lambda found: highest((N - found + 1) / (N + 1) <= TARGET)) > 0.3


def test_false_rejects_the_other_way_round():
    rng = np.random.default_rng(1)
    true, bad = HEALTHY.sf(LEVELS), 0
    for draw in HEALTHY.rvs((RUNS, N), random_state=rng):
        shown = show_false_reject(reaching(draw)[None], N, TARGET, CONFIDENCE)
        bad += bool(true[np.flatnonzero(shown[0])[0]] > TARGET)
    assert 0.005 < bad / RUNS <= 1 - CONFIDENCE + SLACK


@pytest.mark.parametrize(("shared", "kept"), [(True, True), (False, False)])
def test_several_areas_need_the_shared_error_probability(shared, kept):
    """Is any pair of all the walks wrongly shown? Regions differ in size, so that each area is another walk."""
    areas = np.array([1, 3, 5, 8, 12, 16, 20])
    big_enough = (1 - 0.002) ** (areas - 1)
    true = 1 - big_enough[:, None] * DEFECTIVE.sf(LEVELS)
    rng, bad = np.random.default_rng(2), 0
    confidence = CONFIDENCE if shared else 1 - (1 - CONFIDENCE) * len(areas)
    for draw, sizes in zip(DEFECTIVE.rvs((RUNS, N), random_state=rng), rng.geometric(0.002, (RUNS, N)), strict=True):
        found = np.stack([reaching(draw[sizes >= area]) for area in areas])
        shown = show_escape(found, N, TARGET, confidence)
        bad += bool((shown & (true > TARGET)).any())
    assert bool(bad / RUNS <= 1 - CONFIDENCE + SLACK) == kept


def test_the_whole_calibration_keeps_the_promise_on_both_rates():
    request = CalibrationRequest(max_escape=0.3, max_false_reject=0.1, thresholds=tuple(np.round(LEVELS[::5], 4)))
    levels, runs = np.array(request.levels), 100
    facts = [Facts(f"{i}", healthy=i % 2 == 0, groups={"part": f"{i}"}, split="val") for i in range(2 * N)]
    rng = np.random.default_rng(4)
    bad = dict.fromkeys(RATES, 0)
    for _ in range(runs):
        scores = {True: HEALTHY.rvs(2 * N, random_state=rng), False: DEFECTIVE.rvs(2 * N, random_state=rng)}
        summaries = [
            ImageSummary(fact, np.where(scores[fact.healthy][i] >= levels, 9, 0)[None].astype(np.int32))
            for i, fact in enumerate(facts)
        ]
        report = calibrate_summaries(summaries, ("scratch",), request)
        bad["escape"] += DEFECTIVE.cdf(report.review_threshold) > 0.3
        bad["false_reject"] += HEALTHY.sf(report.threshold) > 0.1
    slack = 3 * np.sqrt(CONFIDENCE * (1 - CONFIDENCE) / runs)
    assert all(count / runs <= 1 - CONFIDENCE + slack for count in bad.values())
