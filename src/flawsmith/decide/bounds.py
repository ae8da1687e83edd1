"""Exact one-sided bounds of a proportion: what k errors in n independent parts show of the true rate."""

import numpy as np
from scipy.stats import beta, binom


def upper_bound(k: int, n: int, confidence: float) -> float:
    """The largest rate that k errors in n parts leave possible at `confidence`; 1 when n is 0.

    Source: Clopper and Pearson, Biometrika 1934, one side. With k = 0 and 95 % it is close to 3 / n.

    >>> round(upper_bound(0, 299, 0.95), 4)
    0.01
    """
    return float(beta.ppf(confidence, k + 1, n - k)) if k < n else 1.0


def is_shown(k: np.ndarray | int, n: int, target: float, level: float) -> np.ndarray:
    """Whether k errors in n parts refute "the rate is above `target`" at significance `level`; the shape of `k`.

    The exact binomial test: P(at most k errors | target) <= level, the same as upper_bound(k, n, 1 - level) <= target.
    """
    return np.asarray(binom.cdf(k, n, target) <= level) & (n > 0)


def parts_needed(k: int, target: float, confidence: float) -> int:
    """The fewest parts with which k errors still show a rate of at most `target`.

    >>> parts_needed(0, 0.01, 0.95), parts_needed(0, 0.001, 0.95)
    (299, 2995)
    """
    high = k + 1
    while not is_shown(k, high, target, 1 - confidence):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_shown(k, middle, target, 1 - confidence) else (middle, high)
    return high
