"""Temperature scaling: the one number that makes a classifier's probabilities honest."""

from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from flawsmith.core.errors import DataError

TEMPERATURES = (0.01, 100.0)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature T that makes softmax(logits / T) most likely on validation images; T above 1 softens.

    logits: (N, K) float, before any softmax
    labels: (N,) int, the true class of each

    The result lies within 0.01 and 100. Where no label is wrong the likelihood has no maximum, it grows as T falls to
    0: then 1.0 is returned, and nothing has been learnt. Fit on validation images, never on those that are reported.
    Raises `DataError` for values that are not finite or do not fit. Source: Guo et al., ICML 2017.

    >>> logits = np.array([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0], [0.0, 4.0]])    # 98 % sure, and right 3 times in 4
    >>> round(fit_temperature(logits, np.array([0, 0, 1, 1])), 2)
    3.64
    """
    logits, labels = _checked(logits, labels)
    own = logits[np.arange(len(logits)), labels]
    if (own >= logits.max(axis=1)).all():
        return 1.0

    def loss(log_temperature: float) -> float:
        return -float(log_softmax(logits * np.exp(-log_temperature), axis=1)[np.arange(len(logits)), labels].mean())

    low, high = np.log(TEMPERATURES)
    # convex in 1 / T, so one minimum in log T
    best: Any = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(best.x))


def _checked(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    logits, labels = np.asarray(logits, float), np.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not logits.size:
        raise DataError(f"logits {logits.shape} and labels {labels.shape}: wanted (N, K) and (N,), N and K at least 1")
    if not np.isfinite(logits).all():
        raise DataError("logits hold NaN or infinity: the model must not be used")
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise DataError(f"labels must be integers from 0 to {logits.shape[1] - 1}, one for each column of logits")
    return logits, labels
