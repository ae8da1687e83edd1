"""Histogram bins for float32 scores, fine where networks saturate: next to 0 and next to 1.

A linear histogram puts every confident pixel into its first and last bin. Here a bin is the exponent and the first
mantissa bits of min(p, 1 - p), mirrored at 1/2: 1,024 bins for each halving of the distance to 0 or to 1, so scores
that share a bin differ by less than 0.1 % of that distance. `1 - p` is exact for float32 p in [1/2, 1] (Sterbenz), so
bins never swap the order of two scores; scores that share one count as ties.
"""

from functools import cache

import numpy as np

_SHIFT = 13  # of float32's 23 mantissa bits, 10 are kept
_FLOOR = np.float32(2.0**-32)  # scores nearer to 0 than this share bin 0


def _key(value: np.float32) -> int:
    return int(value.view(np.int32)) >> _SHIFT


_BASE = _key(_FLOOR) - 1
_HALF = _key(np.float32(0.5)) - _BASE
BINS = 2 * _HALF + 1
COARSE = 128  # neighbouring bins that share one coarse bin, for resampling


def score_bins(scores: np.ndarray) -> np.ndarray:
    """Bin index, int32 in [0, BINS), of float32 scores in [0, 1]; a higher score never has a lower bin."""
    nearest = 1 - scores
    np.minimum(scores, nearest, out=nearest)
    index = nearest.view(np.int32)
    index >>= _SHIFT
    index -= _BASE
    np.maximum(index, 0, out=index)
    return np.where(scores > np.float32(0.5), BINS - 1 - index, index)


@cache
def bin_floors() -> np.ndarray:
    """The lowest float32 score of each bin: `score >= bin_floors()[i]` is `score_bins(score) >= i`."""
    low = ((np.arange(_HALF + 1, dtype=np.int32) + _BASE) << _SHIFT).view(np.float32)
    low[0] = 0
    above = np.nextafter(1 - low[1:], np.float32(1))[::-1]
    floors = np.concatenate([low, above])
    floors.flags.writeable = False
    return floors


def coarse(histogram: np.ndarray) -> np.ndarray:
    """`COARSE` neighbouring bins added up: 8 for each halving."""
    return np.add.reduceat(histogram, np.arange(0, BINS, COARSE))
