"""Histogram bins for float32 scores, fine where networks saturate: next to 0 and next to 1.

A linear histogram puts every confident pixel into its first and last bin. Here a bin is the exponent and the first
mantissa bits of min(p, 1 - p), mirrored at 1/2: 1,024 bins for each halving of the distance to 0 or to 1, so scores
that share a bin differ by less than 0.1 % of that distance. `1 - p` is exact for float32 p in [1/2, 1] (Sterbenz), so
bins never swap the order of two scores; scores that share one count as ties.
"""

from functools import cache

import numpy as np

_SHIFT = 13  # of float32's 23 mantissa bits, 10 are kept


def _key(value: float) -> int:
    return int(np.float32(value).view(np.int32)) >> _SHIFT


_LOW = _key(2.0**-64) - 1  # scores nearer to 0 than this share bin 0
_HIGH = _key(2.0**-24) - 1  # no float32 below 1 is nearer to it
_HALF = _key(0.5) - _LOW  # the bin of 1/2
BINS = _HALF + _key(0.5) - _HIGH + 1
COARSE = 128  # neighbouring bins that share one coarse bin, for resampling


def score_bins(scores: np.ndarray) -> np.ndarray:
    """Bin index, int32 in [0, BINS), of float32 scores in [0, 1]; a higher score never has a lower bin."""
    nearest = 1 - scores
    np.minimum(scores, nearest, out=nearest)
    index = nearest.view(np.int32)
    index >>= _SHIFT
    index -= _LOW
    np.maximum(index, 0, out=index)
    mirrored = np.minimum(BINS - 1 + _HIGH - _LOW - index, BINS - 1)
    return np.where(scores > np.float32(0.5), mirrored, index)


@cache
def bin_floors() -> np.ndarray:
    """The lowest float32 score of each bin: `score >= bin_floors()[i]` is `score_bins(score) >= i`."""
    low = ((np.arange(_HALF + 1, dtype=np.int32) + _LOW) << _SHIFT).view(np.float32)
    low[0] = 0
    edges = ((np.arange(1, BINS - _HALF, dtype=np.int32) + _HIGH) << _SHIFT).view(np.float32)[::-1]
    # above 1/2 float32 comes in steps of 2^-24: the first step beyond the border
    high = (np.floor((1 - edges.astype(float)) * 2**24) + 1) / 2**24
    floors = np.concatenate([low, high.astype(np.float32)])
    floors.flags.writeable = False
    return floors


def coarse(histogram: np.ndarray) -> np.ndarray:
    """`COARSE` neighbouring bins added up: 8 for each halving."""
    return np.add.reduceat(histogram, np.arange(0, BINS, COARSE))
