"""Tileable textures: noise made in the Fourier domain, cells on a torus; each repeats without a seam."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

SIDE = 512
NEGLIGIBLE = 5.26  # where a Gaussian envelope has fallen to a thousandth
Band = tuple[int, int]


def clouds(rng: np.random.Generator, size: float, side: int = SIDE) -> np.ndarray:
    """Soft blobs of about `size` periods; float32 (side, side), mean 0, standard deviation 1."""
    return streaks(rng, size, size, side)


def streaks(rng: np.random.Generator, along_u: float, along_v: float, side: int = SIDE) -> np.ndarray:
    """Noise whose blobs are `along_u` × `along_v` periods."""
    band = _band(math.ceil(NEGLIGIBLE / (np.pi * along_u)), math.ceil(NEGLIGIBLE / (np.pi * along_v)), side)
    u, v = _waves(band)
    return _noise(rng, np.exp(-0.25 * (np.pi * along_u * u) ** 2) * np.exp(-0.25 * (np.pi * along_v * v) ** 2), side)


def fractal(rng: np.random.Generator, slope: float = 1.6, coarsest: float = 0.5, side: int = SIDE) -> np.ndarray:
    """Noise of all sizes below `coarsest` periods; amplitude falls as frequency^-slope."""
    return _noise(rng, _fractal_envelope(slope, coarsest, side), side)


def grain(rng: np.random.Generator, size: float, side: int = SIDE) -> np.ndarray:
    """Noise of one size and none coarser: the skin of cast or blasted metal."""
    return _noise(rng, _grain_envelope(size, side), side)


def cells(rng: np.random.Generator, count: int, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """Voronoi cells on a torus: the cell of each texel, int (side, side), and how near its border it is, 0 at it."""
    points = rng.random((count, 2))
    ticks = (np.arange(side) + 0.5) / side
    nearest, second = np.full((2, side, side), np.inf, np.float32)
    index = np.zeros((side, side), int)
    for number, (x, y) in enumerate(points):
        dx, dy = (np.minimum(np.abs(ticks - p), 1 - np.abs(ticks - p)) for p in (x, y))
        distance = np.sqrt(dx[None, :] ** 2 + dy[:, None] ** 2).astype(np.float32)
        index[distance < nearest] = number
        np.minimum(second, np.maximum(distance, nearest), out=second)
        np.minimum(nearest, distance, out=nearest)
    return index, (second - nearest) * np.float32(np.sqrt(count))


def blotches(rng: np.random.Generator, size: float, side: int = SIDE) -> np.ndarray:
    """What islands of about `size` periods are cut from: see `islands`."""
    return clouds(rng, size, side) + np.float32(0.6) * fractal(rng, 1.2, size, side)


def islands(field: np.ndarray, ranks: np.ndarray, share: float) -> np.ndarray:
    """Where `field` is highest, over about `share` of the tile: float32 0 … 1 with a narrow soft edge.

    ranks: as `ranks_of(field)` gives them
    """
    return step(field, level_at(ranks, share), 0.25)


def ranks_of(field: np.ndarray) -> np.ndarray:
    """Values of a field in order, one of 16, both ends among them: what `level_at` reads quantiles from."""
    return np.sort(field, axis=None)[np.linspace(0, field.size - 1, field.size // 16 + 1).round().astype(int)]


def level_at(ranks: np.ndarray, share: float) -> float:
    """The level that `share` of the field lies above."""
    place = (1 - min(max(share, 0.0), 1.0)) * (len(ranks) - 1)
    low = int(place)
    high = min(low + 1, len(ranks) - 1)
    return float(ranks[low] + (ranks[high] - ranks[low]) * (place - low))


def step(field: np.ndarray, level: float, softness: float) -> np.ndarray:
    """0 below `level` to 1 at `level + softness`, smooth."""
    x = (field - np.float32(level)) * np.float32(1 / softness)
    np.clip(x, 0, 1, out=x)
    return x * x * (3 - 2 * x)


def mix(a: np.ndarray | np.floating, b: np.ndarray | np.floating, share: np.ndarray) -> np.ndarray:
    """float32: a where `share` is 0, b where it is 1. Either is a tile, a colour (3,) or a number."""
    if 3 not in (np.shape(a)[-1:] + np.shape(b)[-1:]):
        return np.asarray(a + (b - a) * share, np.float32)
    both = zip(channels(a), channels(b), strict=True)
    return cv2.merge([np.asarray(first + (second - first) * share, np.float32) for first, second in both])


def channels(values: np.ndarray | np.floating) -> Sequence[Any]:
    """Three tiles or numbers; arithmetic over a last axis of three is ten times slower."""
    if np.ndim(values) == 3:
        return cv2.split(np.asarray(values, np.float32))
    return [np.float32(v) for v in np.asarray(values)] if np.shape(values) == (3,) else [values] * 3


def _band(most_u: int, most_v: int, side: int) -> Band:
    return min(most_u, side // 2 - 1), min(most_v, side // 2 - 1)


def _waves(band: Band) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies (1, u) and (v, 1) in waves per tile, up to the band that matters."""
    most_u, most_v = band
    return np.arange(most_u + 1)[None], np.concatenate([np.arange(most_v + 1), np.arange(-most_v, 0)])[:, None]


@lru_cache(maxsize=32)
def _fractal_envelope(slope: float, coarsest: float, side: int) -> np.ndarray:
    frequency = np.hypot(*_waves(_band(side, side, side)))
    return np.where(frequency >= 1 / coarsest, np.maximum(frequency, 1) ** -slope, 0).astype(np.float32)


@lru_cache(maxsize=32)
def _grain_envelope(size: float, side: int) -> np.ndarray:
    frequency = np.hypot(*_waves(_band(side, side, side)))
    return np.exp(-(np.log2(np.maximum(frequency, 1e-3) * 2 * size) ** 2)).astype(np.float32)


def _noise(rng: np.random.Generator, envelope: np.ndarray, side: int) -> np.ndarray:
    """Random phases under an envelope over the frequencies of `_waves`."""
    from scipy import fft

    waves = rng.standard_normal((*envelope.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
    waves *= envelope
    waves[0, 0] = 0
    most_u, most_v = envelope.shape[1] - 1, envelope.shape[0] // 2
    spectrum = np.zeros((side, side // 2 + 1), np.complex64)
    spectrum[: most_v + 1, : most_u + 1] = waves[: most_v + 1]
    spectrum[side - most_v :, : most_u + 1] = waves[most_v + 1 :]
    field = np.asarray(fft.irfft2(spectrum, (side, side), overwrite_x=True))
    field /= np.float32(max(float(field.std()), 1e-12))
    return field
