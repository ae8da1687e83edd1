"""Patterns: the noise that finishes are made of. A data set has a bounded number of them, each made once and kept.

A field depends on (seed, variant, what it is) alone, never on which image asks first or what is kept at the time.
"""

import zlib
from collections import Counter
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from flawsmith.synth.material import noise

KEPT = 320  # fields; one of 512 × 512 takes 1 MB
COARSEST = 64
_MAKERS = {
    "clouds": noise.clouds,
    "streaks": noise.streaks,
    "fractal": noise.fractal,
    "grain": noise.grain,
    "blotches": noise.blotches,
    "borders": lambda rng, count: noise.cells(rng, count)[1],
}
Key = tuple[int, int, str, tuple[float, ...], int]  # seed, variant, kind, its numbers, the how manieth alike


class Pattern:
    """Fields of one variant as float32 (side, side), read only; two alike in one pattern differ.

    Each is made with `noise.SIDE` texels a side and averaged or enlarged to `side`.
    """

    def __init__(self, seed: int, variant: int, side: int = noise.SIDE) -> None:
        self.seed, self.variant, self.side = seed, variant, side
        self._asked: Counter[tuple[Any, ...]] = Counter()

    def clouds(self, size: float) -> np.ndarray:
        return self._field("clouds", size)

    def streaks(self, along_u: float, along_v: float) -> np.ndarray:
        return self._field("streaks", along_u, along_v)

    def fractal(self, slope: float, coarsest: float) -> np.ndarray:
        return self._field("fractal", slope, coarsest)

    def grain(self, size: float) -> np.ndarray:
        return self._field("grain", size)

    def borders(self, count: int) -> np.ndarray:
        """How near to a border between `count` cells."""
        return self._field("borders", count)

    def spots(self, share: float, size: float) -> np.ndarray:
        """Ragged islands that cover about `share` of the tile."""
        key = self._key("blotches", size)
        if share <= 0:
            return np.zeros((self.side, self.side), np.float32)
        return sized(noise.islands(_kept(key, self._kept_side), _ranks(key, self._kept_side), share), self.side)

    def film(self, share: float) -> np.ndarray:
        """A film over about `share` of the tile, 0 … 1, without a rim."""
        cloud, fine = self._key("clouds", 0.3), self._key("fractal", 1.1, 0.3)
        field, ranks = _two(cloud, fine, 0.5, self._kept_side)
        return sized(noise.step(field, noise.level_at(ranks, share) - 1.2, 2.8), self.side)

    def patches(self, share: float) -> tuple[np.ndarray, float]:
        """A field, and the level that it exceeds over `share` of the tile."""
        cloud, fine = self._key("clouds", 0.14), self._key("fractal", 1.2, 0.2)
        field, ranks = _two(cloud, fine, 0.7, self._kept_side)
        return sized(field, self.side), noise.level_at(ranks, share)

    @property
    def _kept_side(self) -> int:
        return min(self.side, noise.SIDE)

    def _field(self, kind: str, *numbers: float) -> np.ndarray:
        return sized(_kept(self._key(kind, *numbers), self._kept_side), self.side)

    def _key(self, kind: str, *numbers: float) -> Key:
        self._asked[kind, numbers] += 1
        return self.seed, self.variant, kind, numbers, self._asked[kind, numbers]


def sized(field: np.ndarray, side: int) -> np.ndarray:
    """The same tile with `side` texels a side: averaged, or enlarged so that it still closes."""
    if len(field) == side:
        return field
    if side < len(field):
        return cv2.resize(field, (side, side), interpolation=cv2.INTER_AREA)
    wrapped = np.pad(field, 4, mode="wrap")
    scale = side // len(field)
    grown = cv2.resize(wrapped, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    return grown[4 * scale : -4 * scale, 4 * scale : -4 * scale]


@lru_cache(maxsize=KEPT)
def _kept(key: Key, side: int) -> np.ndarray:
    seed, variant, kind, numbers, nth = key
    rng = np.random.default_rng([seed, variant, zlib.crc32(f"{kind}{numbers}{nth}".encode())])
    field = sized(_MAKERS[kind](rng, *numbers), side)
    field.flags.writeable = False
    return field


@lru_cache(maxsize=KEPT)
def _ranks(key: Key, side: int) -> np.ndarray:
    return noise.ranks_of(_kept(key, side))


@lru_cache(maxsize=KEPT // 8)
def _two(first: Key, second: Key, share: float, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A field of two, the second by its share, and its ranks."""
    field = _kept(first, side) + np.float32(share) * _kept(second, side)
    field.flags.writeable = False
    return field, noise.ranks_of(field)
