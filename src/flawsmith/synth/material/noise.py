"""Tileable textures: noise made in the Fourier domain, cells on a torus; each repeats without a seam."""

import math
from collections.abc import Callable

import numpy as np
from scipy.spatial import KDTree

SIDE = 512
NEGLIGIBLE = 5.26  # where a Gaussian envelope has fallen to a thousandth


def clouds(rng: np.random.Generator, size: float, side: int = SIDE) -> np.ndarray:
    """Soft blobs of about `size` periods; float32 (side, side), mean 0, standard deviation 1."""
    return streaks(rng, size, size, side)


def streaks(rng: np.random.Generator, along_u: float, along_v: float, side: int = SIDE) -> np.ndarray:
    """Noise whose blobs are `along_u` × `along_v` periods."""
    return _noise(
        rng,
        lambda u, v: np.exp(-0.25 * ((np.pi * along_u * u) ** 2 + (np.pi * along_v * v) ** 2)),
        side,
        (math.ceil(NEGLIGIBLE / (np.pi * along_u)), math.ceil(NEGLIGIBLE / (np.pi * along_v))),
    )


def fractal(rng: np.random.Generator, slope: float = 1.6, coarsest: float = 0.5, side: int = SIDE) -> np.ndarray:
    """Noise of all sizes below `coarsest` periods; amplitude falls as frequency^-slope."""

    def envelope(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        frequency = np.hypot(u, v)
        return np.where(frequency >= 1 / coarsest, np.maximum(frequency, 1) ** -slope, 0)

    return _noise(rng, envelope, side)


def grain(rng: np.random.Generator, size: float, side: int = SIDE) -> np.ndarray:
    """Noise of one size and none coarser: the skin of cast or blasted metal."""
    return _noise(rng, lambda u, v: np.exp(-(np.log2(np.maximum(np.hypot(u, v), 1e-3) * 2 * size) ** 2)), side)


def cells(rng: np.random.Generator, count: int, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """Voronoi cells on a torus: the cell of each texel, int (side, side), and how near its border it is, 0 at it."""
    points = rng.random((count, 2))
    ticks = (np.arange(side) + 0.5) / side
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    distance, index = (np.asarray(found) for found in KDTree(points, boxsize=1.0).query(grid, k=2))
    border = (distance[:, 1] - distance[:, 0]) * np.sqrt(count)
    return index[:, 0].reshape(side, side), border.reshape(side, side).astype(np.float32)


def spots(rng: np.random.Generator, share: float, size: float, side: int = SIDE) -> np.ndarray:
    """Ragged islands that cover about `share` of the tile: float32 0 … 1 with a narrow soft edge."""
    if share <= 0:
        return np.zeros((side, side), np.float32)
    field = clouds(rng, size, side) + 0.6 * fractal(rng, 1.2, size, side)
    level = np.quantile(field, 1 - min(share, 1.0))
    return step(field, level, 0.25)


def step(field: np.ndarray, level: float, softness: float) -> np.ndarray:
    """0 below `level` to 1 at `level + softness`, smooth."""
    x = np.clip((field - level) / softness, 0, 1)
    return (x * x * (3 - 2 * x)).astype(np.float32)


def mix(a: np.ndarray | np.floating, b: np.ndarray | np.floating, share: np.ndarray) -> np.ndarray:
    """a where `share` is 0, b where it is 1; a texel's share serves all its channels."""
    share = share[..., None] if 3 in (np.shape(a)[-1:] + np.shape(b)[-1:]) else share
    return (a * (1 - share) + b * share).astype(np.float32)


Envelope = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _noise(rng: np.random.Generator, envelope: Envelope, side: int, band: tuple[int, int] | None = None) -> np.ndarray:
    """Random phases under an envelope over the frequencies (u, v), in waves per tile, up to the `band` that matters."""
    from scipy import fft

    most_u, most_v = (min(b, side // 2 - 1) for b in band or (side, side))
    u, v = np.arange(most_u + 1)[None], np.concatenate([np.arange(most_v + 1), np.arange(-most_v, 0)])[:, None]
    waves = rng.standard_normal((*np.broadcast_shapes(u.shape, v.shape), 2), dtype=np.float32)
    waves *= envelope(u, v).astype(np.float32)[..., None]
    waves[0, 0] = 0
    spectrum = np.zeros((side, side // 2 + 1), np.complex64)
    spectrum[v.ravel(), : most_u + 1] = waves[..., 0] + 1j * waves[..., 1]
    field = np.asarray(fft.irfft2(spectrum, (side, side)))
    return (field / max(float(field.std()), 1e-12)).astype(np.float32)
