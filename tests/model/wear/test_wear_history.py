"""The forecast: does its interval hold what it promises, and does it keep silent where nothing can be foreseen?"""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import t as t_distribution

from flawsmith.core import DataError
from flawsmith.model.wear.history import ForecastSettings, WearHistory, forecast_wear

Wear = Callable[[np.ndarray], np.ndarray]


def steady(x: np.ndarray) -> np.ndarray:
    return 0.04 + 0.01 * x


def run_in(x: np.ndarray) -> np.ndarray:
    return 0.01 * x + 0.06 * (1 - np.exp(-x / 1.5))


def failing(x: np.ndarray) -> np.ndarray:
    return 0.05 + 0.005 * x + 0.02 * np.maximum(x - 10, 0)


def three_phases(x: np.ndarray) -> np.ndarray:
    return 0.05 * (1 - np.exp(-x / 1.2)) + 0.005 * x + 0.02 * np.maximum(x - 10, 0)


def covered(wear: Wear, readings: int, last: float, scatter_mm: float, times: int = 300) -> tuple[float, int]:
    """Share of simulated histories whose 90 % interval holds the true pass, and of how many nothing was foreseen."""
    truth = float(brentq(lambda x: float(wear(np.array(x))) - 0.3, 0.01, 1000))
    rng, held, silent = np.random.default_rng(11), 0, 0
    passes = np.arange(1, readings + 1) * last / readings
    for _ in range(times):
        vb = np.maximum(wear(passes) + rng.normal(0, scatter_mm, readings), 0)
        forecast = forecast_wear(WearHistory.of("T1", passes, vb))
        if forecast.low is None or forecast.high is None:
            silent += 1
        else:
            held += forecast.low <= truth <= forecast.high
    return held / max(times - silent, 1), silent


@pytest.mark.parametrize(
    ("wear", "readings", "last", "scatter_mm"),
    [
        (steady, 5, 14, 0.006),
        (steady, 6, 14, 0.006),
        (steady, 12, 14, 0.006),
        (run_in, 12, 14, 0.006),
        (run_in, 20, 20, 0.006),
        (failing, 15, 15, 0.004),
        (three_phases, 16, 16, 0.004),
    ],
)
def test_the_90_percent_interval_holds_the_truth_in_about_90_percent(wear, readings, last, scatter_mm):
    share, silent = covered(wear, readings, last, scatter_mm)
    assert 0.85 <= share <= 0.95
    assert silent < 15


def test_a_straight_line_alone_would_not_hold_it_through_the_run_in():
    """The negative control: what the run-in term is for."""
    rng, held = np.random.default_rng(11), 0
    truth = float(brentq(lambda x: float(run_in(np.array(x))) - 0.3, 0.01, 1000))
    passes = np.arange(1.0, 15)
    for _ in range(300):
        vb = run_in(passes) + rng.normal(0, 0.003, 14)
        low, high = fieller_by_search(passes, vb, 0.3, 0.9)
        held += low <= truth <= high
    assert held / 300 < 0.6
    share, _ = covered(run_in, 14, 14, 0.003)
    assert share >= 0.85


def fieller_by_search(x: np.ndarray, y: np.ndarray, limit: float, level: float) -> tuple[float, float]:
    """All x at which the confidence band of the mean holds the limit, found by its two crossings."""
    n, centre = len(x), x.mean()
    spread = ((x - centre) ** 2).sum()
    slope = ((x - centre) * y).sum() / spread
    deviation = math.sqrt(((y - y.mean() - slope * (x - centre)) ** 2).sum() / (n - 2))
    t = t_distribution.ppf((1 + level) / 2, n - 2)

    def band(at: float, sign: int) -> float:
        half = t * deviation * math.sqrt(1 / n + (at - centre) ** 2 / spread)
        return y.mean() + slope * (at - centre) + sign * half - limit

    return brentq(band, centre, 1e6, args=(1,)), brentq(band, centre, 1e6, args=(-1,))


@given(st.integers(0, 10**6), st.integers(4, 6), st.floats(0.5, 0.99))
def test_few_readings_give_fiellers_interval(seed, readings, level):
    rng = np.random.default_rng(seed)
    passes = np.sort(rng.choice(np.arange(1.0, 30), readings, replace=False))
    vb = 0.03 + 0.006 * passes + rng.normal(0, 0.001, readings)
    forecast = forecast_wear(WearHistory.of("T1", passes, vb), ForecastSettings(level=level))
    if forecast.at is None:
        return
    assert (forecast.low, forecast.high) == pytest.approx(fieller_by_search(passes, vb, 0.3, level), rel=1e-6)
    slope, intercept = np.polyfit(passes, vb, 1)
    assert forecast.at == pytest.approx((0.3 - intercept) / slope)
    assert forecast.rate_mm == pytest.approx(slope)


def test_readings_without_scatter_are_solved_exactly():
    forecast = forecast_wear(WearHistory.of("T1", [2, 4, 6, 8], [0.06, 0.08, 0.10, 0.12]))
    assert (forecast.at, forecast.low, forecast.high) == pytest.approx((26, 26, 26), abs=1e-5)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.floats(0.1, 50))
def test_counting_minutes_or_parts_instead_of_passes_scales_the_forecast(seed, factor):
    passes = np.arange(1.0, 11)
    vb = run_in(passes) + np.random.default_rng(seed).normal(0, 0.003, 10)
    one = forecast_wear(WearHistory.of("T1", passes, vb))
    other = forecast_wear(WearHistory.of("T1", passes * factor, vb))
    assert one.at is not None
    assert one.low is not None
    assert (other.at, other.low) == pytest.approx((one.at * factor, one.low * factor), rel=1e-4)


def test_a_knee_upwards_starts_the_count_again_and_is_said():
    passes = np.arange(1.0, 17)
    rng = np.random.default_rng(0)
    forecast = forecast_wear(WearHistory.of("T1", passes, failing(passes) + rng.normal(0, 0.002, 16)))
    assert forecast.since_passes in (9, 10, 11)
    assert forecast.rate_mm == pytest.approx(0.025, abs=0.003)
    assert any("speeds up" in note for note in forecast.notes)
    even = forecast_wear(WearHistory.of("T1", passes, steady(passes) + rng.normal(0, 0.002, 16)))
    assert (even.since_passes, even.notes) == (1, ())


def test_what_cannot_be_foreseen_is_said_with_its_reason():
    few = forecast_wear(WearHistory.of("T1", [1, 2, 3], [0.05, 0.07, 0.09]))
    assert few.at is None
    assert few.reason == "3 readings; at least 4 are needed for a rate and its scatter"
    assert forecast_wear(WearHistory("T1", ())).at is None
    shrinking = forecast_wear(WearHistory.of("T1", [1, 2, 3, 4, 5], [0.2, 0.19, 0.17, 0.16, 0.16]))
    assert shrinking.at is None
    assert "does not grow" in (shrinking.reason or "")
    even = forecast_wear(WearHistory.of("T1", [1, 2, 3, 4], [0.1] * 4))
    assert even.at is None


def test_no_growth_is_seldom_taken_for_growth():
    rng = np.random.default_rng(7)
    vb = np.maximum(0.1 + rng.normal(0, 0.006, (300, 10)), 0)
    forecasts = [forecast_wear(WearHistory.of("T1", range(1, 11), row)) for row in vb]
    assert sum(f.at is not None for f in forecasts) <= 30  # 5 % by chance, and once more for the run-in


def test_a_limit_that_is_reached_is_no_forecast():
    reached = forecast_wear(WearHistory.of("T1", [1, 2, 3], [0.1, 0.31, 0.4]))
    assert (reached.reached, reached.at, reached.low, reached.notes) == (True, 2, None, ())
    again_below = forecast_wear(WearHistory.of("T1", [1, 2, 3], [0.1, 0.31, 0.29]))
    assert again_below.reached
    assert again_below.notes
    assert not forecast_wear(WearHistory.of("T1", [1, 2, 3], [0.1, 0.31, 0.4]), ForecastSettings(limit_mm=0.5)).reached


def test_a_far_forecast_is_said_to_be_one():
    far = forecast_wear(WearHistory.of("T1", [1, 2, 3, 4, 5], [0.010, 0.0121, 0.014, 0.0161, 0.018]))
    assert any("twice the observed span" in note for note in far.notes)


@pytest.mark.parametrize(
    ("passes", "vb", "word"),
    [
        ([1, 1], [0.1, 0.2], "do not rise"),
        ([2, 1], [0.1, 0.2], "do not rise"),
        ([1, 2], [0.1, -0.2], "below 0"),
        ([1, float("nan")], [0.1, 0.2], "not a number"),
        ([1, 2], [0.1], "one for each"),
    ],
)
def test_impossible_histories_are_refused(passes, vb, word):
    with pytest.raises(DataError, match=word):
        WearHistory.of("T1", passes, vb)
