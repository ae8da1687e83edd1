"""One insert over its passes, and the pass at which its wear reaches the limit, with an interval.

Flank wear runs in fast, then grows steadily, then fails fast (ISO 3685, VB over cutting time). The forecast fits
VB = a + b·passes − c·exp(−passes / τ) with c ≥ 0, the steady line and a run-in that fades out, to the readings past the
last upward knee, if the readings show one. The line is solved for the limit; the interval is Fieller's for the ratio
(inverse regression), with the uncertainty of the run-in in its covariance. It is for the pass at which the wear itself
reaches the limit; a single reading scatters round that. Growth is taken to go on as in the last phase: a failing phase
that has not begun cannot be seen.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from pydantic import Field
from scipy.stats import f as f_distribution
from scipy.stats import t as t_distribution

from flawsmith.core.config import Settings
from flawsmith.core.errors import DataError
from flawsmith.model.wear.measure import VB_B_LIMIT_MM

_AFTER_KNEE = 4  # readings that a phase needs to be believed
_FOR_RUN_IN = 7  # readings from which a run-in can be told from scatter
_NOTHING = 1e-18  # mm²


class ForecastSettings(Settings):
    """`limit_mm` is the VB at which the insert is changed, `level` the interval's.

    knee_p: the chance that steady wear is taken for failing
    """

    limit_mm: float = Field(default=VB_B_LIMIT_MM, gt=0)
    level: float = Field(default=0.9, ge=0.5, le=0.999)
    knee_p: float = Field(default=0.01, gt=0, lt=1)
    min_readings: int = Field(default=4, ge=3)


@dataclass(frozen=True)
class WearReading:
    """VB of an insert after so many passes (or parts, or minutes: any count that grows with use)."""

    passes: float
    vb_mm: float


@dataclass(frozen=True)
class WearHistory:
    """An insert's readings, in order of passes. Raises `DataError` for readings that cannot be one insert's."""

    insert: str
    readings: tuple[WearReading, ...]

    def __post_init__(self) -> None:
        for reading in self.readings:
            if not (math.isfinite(reading.passes) and math.isfinite(reading.vb_mm)):
                raise DataError(f"insert {self.insert!r}: {reading} is not a number; leave the reading out")
            if reading.vb_mm < 0 or reading.passes < 0:
                raise DataError(f"insert {self.insert!r}: {reading} is below 0; wanted passes and VB of 0 or more")
        passes = [reading.passes for reading in self.readings]
        if any(b <= a for a, b in pairwise(passes)):
            raise DataError(
                f"insert {self.insert!r}: passes {passes} do not rise; sort them, and begin a new history when the"
                " insert is changed or turned"
            )

    @classmethod
    def of(cls, insert: str, passes: Sequence[float], vb_mm: Sequence[float]) -> "WearHistory":
        if len(passes) != len(vb_mm):
            raise DataError(f"insert {insert!r}: {len(passes)} passes but {len(vb_mm)} readings: give one for each")
        pairs = zip(passes, vb_mm, strict=True)
        return cls(insert, tuple(WearReading(float(p), float(vb)) for p, vb in pairs))

    @property
    def passes(self) -> np.ndarray:
        return np.array([reading.passes for reading in self.readings])

    @property
    def vb_mm(self) -> np.ndarray:
        return np.array([reading.vb_mm for reading in self.readings])


@dataclass(frozen=True)
class WearForecast:
    """When the limit is reached. `at` is None where that is not foreseeable, and `reason` says why.

    at:            passes; with low and high, the interval of `level`. Where the limit is reached already, `at` is the
                   first reading that reached it, there is no interval, and `reached` is true
    rate_mm:       growth of VB a pass in the phase; line: VB = line[0] + line[1] · passes
    since_passes:  where the phase begins that the line follows
    notes:         what a reader must know to trust it
    """

    limit_mm: float
    level: float
    at: float | None = None
    low: float | None = None
    high: float | None = None
    reached: bool = False
    reason: str | None = None
    line: tuple[float, float] | None = None
    since_passes: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def rate_mm(self) -> float | None:
        return None if self.line is None else self.line[1]


def forecast_wear(history: WearHistory, settings: ForecastSettings | None = None) -> WearForecast:
    """The pass at which VB reaches the limit.

    >>> worn = WearHistory.of("T1", [1, 2, 3, 4, 5], [0.05, 0.07, 0.08, 0.10, 0.12])
    >>> forecast = forecast_wear(worn)
    >>> round(forecast.at, 1), round(forecast.low, 1), round(forecast.high, 1)
    (15.7, 14.1, 17.8)
    """
    settings = settings or ForecastSettings()
    passes, vb = history.passes, history.vb_mm
    limit, level = settings.limit_mm, settings.level
    over = np.flatnonzero(vb >= limit)
    if over.size:
        notes = () if vb[-1] >= limit else ("a later reading lies below the limit again: measure once more",)
        at = float(passes[over[0]])
        return WearForecast(limit, level, at=at, reached=True, notes=notes)
    if len(passes) < settings.min_readings:
        reason = f"{len(passes)} readings; at least {settings.min_readings} are needed for a rate and its scatter"
        return WearForecast(limit, level, reason=reason)
    first = failing_phase(passes, vb, settings.knee_p)
    x, y = passes[first:], vb[first:]
    growth = _fitted(x, y, run_in=first == 0)
    since = float(x[0])
    notes = [f"the wear speeds up from pass {since:g} on: only the readings since then count"] if first else []
    solved = _reaching(growth, limit, level)
    if solved is None:  # a run-in that explains all the growth leaves none to the line; without one it may stand out
        growth = _fitted(x, y, run_in=False)
        solved = _reaching(growth, limit, level)
    if solved is None:
        reason = f"in {len(x)} readings the wear does not grow by more than their scatter"
        return WearForecast(limit, level, reason=reason, since_passes=since, notes=tuple(notes))
    at, low, high = solved
    if at > x[-1] + 2 * (x[-1] - x[0]):
        notes.append("it lies more than twice the observed span ahead: measure again before relying on it")
    line = (growth.intercept, growth.slope)
    return WearForecast(limit, level, at, low, high, line=line, since_passes=since, notes=tuple(notes))


def failing_phase(passes: np.ndarray, vb_mm: np.ndarray, knee_p: float) -> int:
    """Index of the reading at the upward knee, 0 where a straight line does (F test, Bonferroni over the knees tried).

    At least `_AFTER_KNEE` readings lie on the knee or past it.
    """
    knees = range(2, len(passes) - _AFTER_KNEE + 1)
    if len(passes) < _AFTER_KNEE + 3:
        return 0
    straight = np.stack([np.ones_like(passes), passes], axis=1)
    bent = {}
    for knee in knees:
        design = np.column_stack([straight, np.maximum(passes - passes[knee], 0)])
        if np.linalg.lstsq(design, vb_mm, rcond=None)[0][2] > 0:
            bent[knee] = _residual(design, vb_mm)
    without = _residual(straight, vb_mm)
    if not bent or without < _NOTHING:
        return 0
    best = min(bent, key=lambda knee: bent[knee])
    freedom = len(passes) - 4  # two for the line, one for the second slope, one for the place of the knee
    gain = (without - bent[best]) / 2 / max(bent[best] / freedom, _NOTHING)
    return best if float(f_distribution.sf(gain, 2, freedom)) * len(knees) < knee_p else 0


@dataclass(frozen=True, eq=False)
class _Growth:
    """The steady line, the covariance (2, 2) of its two coefficients, and the degrees of freedom behind it."""

    intercept: float
    slope: float
    covariance: np.ndarray
    freedom: int


def _fitted(x: np.ndarray, y: np.ndarray, run_in: bool) -> _Growth:
    """Least squares, in spans of x from its first value so that any unit of passes gives the same.

    The time of the run-in is searched on a grid and enters the covariance by its derivative.
    """
    span = float(x[-1] - x[0])
    u = (x - x[0]) / span
    line = np.stack([np.ones_like(u), u], axis=1)
    best, jacobian = line, line
    if run_in and len(u) >= _FOR_RUN_IN:
        least = math.inf
        for tau in np.geomspace(np.diff(u).min() / 2, 1 / 5, 16):
            fading = -np.exp(-u / tau)
            design = np.column_stack([line, fading])
            height = np.linalg.lstsq(design, y, rcond=None)[0][2]
            residual = _residual(design, y)
            if height >= 0 and residual < least:
                least, best = residual, design
                jacobian = np.column_stack([design, fading * u])
    freedom = len(u) - jacobian.shape[1]
    start, slope = np.linalg.lstsq(best, y, rcond=None)[0][:2].tolist()
    covariance = np.linalg.pinv(jacobian.T @ jacobian, rcond=1e-9)[:2, :2] * _residual(best, y) / freedom
    to_passes = np.array([[1, -float(x[0]) / span], [0, 1 / span]])
    covariance = to_passes @ covariance @ to_passes.T
    return _Growth(start - slope * float(x[0]) / span, slope / span, covariance, freedom)


def _residual(design: np.ndarray, values: np.ndarray) -> float:
    left = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    return float(left @ left)


def _reaching(growth: _Growth, limit: float, level: float) -> tuple[float, float, float] | None:
    """Where the line reaches `limit`, low and high: all x at which a + b x − limit is within t deviations of 0.

    Fieller 1954; Draper and Smith, Applied Regression Analysis, ch. 3.2. None where b is not above 0 at this level:
    then the interval has no end.
    """
    a, b = growth.intercept - limit, growth.slope
    t2 = float(t_distribution.ppf((1 + level) / 2, growth.freedom)) ** 2
    (v_aa, v_ab), (_, v_bb) = growth.covariance.tolist()
    square = b * b - t2 * v_bb
    if b <= 0 or square <= 0:
        return None
    half = a * b - t2 * v_ab
    root = math.sqrt(max(half * half - square * (a * a - t2 * v_aa), 0))
    return -a / b, (-half - root) / square, (-half + root) / square
