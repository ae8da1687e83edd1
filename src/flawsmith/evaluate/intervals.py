"""95 % intervals: exact for k of n, resampled for what is no proportion; and values that know why they are missing."""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict
from scipy.stats import beta

LEVEL = 0.95
GROUP_KEYS = ("part", "session", "lot")  # the first that a sample has is what is resampled; else the image itself
_MIN_RESAMPLES = 20
_MIN_GROUPS = 5  # resampling fewer says nothing of the spread


class Result(BaseModel):
    """Base of everything in `metrics.json`: immutable, no unknown keys, no NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Rate(Result):
    """k of n with its exact interval. Without any n, `value` is null and `reason` says why."""

    k: int
    n: int
    value: float | None
    low: float | None
    high: float | None
    reason: str | None = None

    @classmethod
    def of(cls, k: int, n: int, missing: str = "nothing to count") -> "Rate":
        """`missing` is the reason given when n is 0."""
        k, n = int(k), int(n)
        if n == 0:
            return cls(k=k, n=n, value=None, low=None, high=None, reason=missing)
        low, high = clopper_pearson(k, n)
        return cls(k=k, n=n, value=k / n, low=float(low), high=float(high))


class Figure(Result):
    """A figure that is no proportion, with its resampled interval. `reason` says why a value or interval is null."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


@dataclass(frozen=True, eq=False)
class Estimate:
    """A figure on its way: its value, and its value in each resample (empty: no interval). NaN where undefined."""

    value: float
    resampled: np.ndarray

    def figure(self, missing: str, upper: float = 1.0) -> Figure:
        """`missing` is the reason given where the value is undefined; `upper` the largest value there can be."""
        if np.isnan(self.value):
            return Figure(value=None, reason=missing)
        valid = self.resampled[~np.isnan(self.resampled)]
        if len(valid) < _MIN_RESAMPLES:
            return Figure(value=self.value, reason="no interval: too few independent groups, or resamples")
        if np.ptp(valid) == 0:
            return Figure(value=self.value, reason="no interval: every resample gives this value, certain or not")
        low, high = np.clip(np.quantile(valid, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]), 0, upper)
        return Figure(value=self.value, low=float(min(low, self.value)), high=float(max(high, self.value)))


def ratio_estimate(top: np.ndarray, bottom: np.ndarray, weights: np.ndarray, members: np.ndarray) -> Estimate:
    """Sum of `top` over sum of `bottom`, each (N,) per image, resampled by the groups of `group_weights`."""

    def sums(values: np.ndarray) -> np.ndarray:
        return np.bincount(members, values, len(weights)) @ weights

    whole = float(bottom.sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        resampled = np.where(sums(bottom) > 0, sums(top) / sums(bottom), np.nan)
    return Estimate(float(top.sum()) / whole if whole else math.nan, resampled)


def mean_estimate(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of those that are defined, resample by resample."""
    known = [e for e in estimates if not np.isnan(e.value)]
    if not known:
        return Estimate(math.nan, np.empty(0))
    table = np.stack([e.resampled for e in known])
    defined = ~np.isnan(table)
    with np.errstate(invalid="ignore"):
        resampled = np.where(defined, table, 0).sum(axis=0) / defined.sum(axis=0)
    return Estimate(math.fsum(e.value for e in known) / len(known), resampled)


def clopper_pearson(k: ArrayLike, n: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Exact two-sided 95 % interval of a proportion, k of n, n > 0. Source: Clopper and Pearson, Biometrika 1934.

    >>> [round(float(end), 4) for end in clopper_pearson(0, 299)]     # no escape in 299: under 1.23 %
    [0.0, 0.0123]
    """
    k, n = np.asarray(k), np.asarray(n)
    tail = (1 - LEVEL) / 2
    low = np.where(k > 0, beta.ppf(tail, np.maximum(k, 1), n - k + 1), 0.0)
    high = np.where(k < n, beta.ppf(1 - tail, k + 1, np.maximum(n - k, 1)), 1.0)
    return low, high


def group_of(groups: Mapping[str, str], sample_id: str) -> str:
    """The name of what is drawn as one when resampling: the sample's part, session or lot, else the image."""
    for key in GROUP_KEYS:
        if groups.get(key):
            return f"{key}:{groups[key]}"
    return f"image:{sample_id}"


@lru_cache(maxsize=8192)
def resample_weights(group: str, resamples: int, seed: int) -> np.ndarray:
    """How often each resample draws this group: int64 (resamples,), Poisson with mean 1, from its name and seed.

    Poisson draws equal the ordinary bootstrap for many groups and need no second pass, so images can be streamed and
    their order does not matter. Source: Hanley and MacGibbon 2006; Chamandy et al. 2012.
    """
    name = int.from_bytes(hashlib.sha256(group.encode("utf-8", "surrogatepass")).digest()[:8], "big")
    weights = np.random.default_rng([seed, name]).poisson(1.0, resamples).astype(np.int64)
    weights.flags.writeable = False
    return weights


def group_weights(groups: Sequence[str], resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`resample_weights` of each different group, uint8 (groups, resamples), and the row of each member (N,)."""
    names, members = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    weights = np.zeros((len(names), resamples), np.uint8)  # a Poisson draw of mean 1 beyond 255 never comes
    for row, name in enumerate(names.tolist()):
        weights[row] = resample_weights(name, resamples, seed)
    return weights, members


def worthwhile(resamples: int, groups: Iterable[str]) -> int:
    """`resamples`, or 0 where there are too few different groups for an interval."""
    return resamples if len(set(groups)) >= _MIN_GROUPS else 0
