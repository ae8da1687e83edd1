"""A z-buffer in numpy: which triangle a pixel sees, where on it, and how far away. Orthographic, no GPU."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_CHUNK_PIXELS = 4_000_000


@dataclass(frozen=True, eq=False)
class Raster:
    """(H, W) per pixel: `face` is -1 where there is none, `weights` (H, W, 3) are barycentric, `depth` grows away."""

    face: np.ndarray
    weights: np.ndarray
    depth: np.ndarray


@dataclass(frozen=True, eq=False)
class _Spans:
    """Runs of pixels of one triangle in one row: `left` to `right`, both included."""

    face: np.ndarray
    row: np.ndarray
    left: np.ndarray
    right: np.ndarray


def rasterise(points: np.ndarray, faces: np.ndarray, size: tuple[int, int]) -> Raster:
    """`points` (V, 3) are x and y in pixels from the top left and depth; `size` is (H, W); pixel centres at halves."""
    height, width = size
    corners = points[faces].astype(np.float64)
    drawn = np.flatnonzero(np.abs(_doubled_area(corners)) > 1e-12)
    slopes = _depth_planes(corners[drawn])
    depth = np.full(height * width, np.inf)
    face = np.full(height * width, -1, np.int32)
    for spans in _chunks(_spans(corners[drawn], height, width)):
        of, pixel, z = _pixels(spans, slopes, width)
        np.minimum.at(depth, pixel, z)
        seen = z == depth[pixel]
        face[pixel[seen]] = drawn[of[seen]]
    return Raster(face.reshape(size), _weights(corners, face, width).reshape(*size, 3), depth.reshape(size))


def _spans(corners: np.ndarray, height: int, width: int) -> _Spans:
    """Every row that a triangle's middle line of pixels crosses, cut to the picture."""
    top = np.ceil(corners[..., 1].min(1) - 0.5).clip(0).astype(int)
    bottom = np.floor(corners[..., 1].max(1) - 0.5).clip(-1, height - 1).astype(int)
    count = (bottom - top + 1).clip(0)
    face = np.repeat(np.arange(len(corners)), count)
    row = np.arange(len(face)) - np.repeat(np.cumsum(count) - count, count) + top[face]
    left, right = _crossings(corners, face, row + 0.5)
    first = np.ceil(left - 0.5).clip(0, width).astype(int)
    last = np.floor(right - 0.5).clip(-1, width - 1).astype(int)
    kept = last >= first
    return _Spans(face[kept], row[kept], first[kept], last[kept])


def _crossings(corners: np.ndarray, face: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the line at height `y` enters and leaves a triangle."""
    left, right = np.full(len(face), np.inf), np.full(len(face), -np.inf)
    for k in range(3):
        (ax, ay), (bx, by) = corners[face, k, :2].T, corners[face, (k + 1) % 3, :2].T
        crossed = (np.minimum(ay, by) <= y) & (y <= np.maximum(ay, by)) & (ay != by)
        x = ax + (y - ay) / np.where(ay == by, 1.0, by - ay) * (bx - ax)
        left = np.where(crossed, np.minimum(left, x), left)
        right = np.where(crossed, np.maximum(right, x), right)
    return left, right


def _chunks(spans: _Spans) -> Iterator[_Spans]:
    """Parts of a bounded number of pixels."""
    ends = np.cumsum(spans.right - spans.left + 1)
    total = int(ends[-1]) if len(ends) else 0
    cuts = np.searchsorted(ends, np.arange(_CHUNK_PIXELS, total + _CHUNK_PIXELS, _CHUNK_PIXELS), side="left") + 1
    for start, stop in zip([0, *cuts[:-1]], cuts, strict=True) if total else ():
        part = slice(start, stop)
        yield _Spans(spans.face[part], spans.row[part], spans.left[part], spans.right[part])


def _pixels(spans: _Spans, slopes: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each covered pixel: the triangle, the place in the picture, the depth."""
    count = spans.right - spans.left + 1
    run = np.repeat(np.arange(len(count)), count)
    x = np.arange(len(run)) - np.repeat(np.cumsum(count) - count, count) + spans.left[run]
    of, y = spans.face[run], spans.row[run]
    z = slopes[of, 0] * (x + 0.5) + slopes[of, 1] * (y + 0.5) + slopes[of, 2]
    return of, y * width + x, z


def _depth_planes(corners: np.ndarray) -> np.ndarray:
    """(N, 3) coefficients of depth = p x + q y + r; steep ones stay within the corners' depths only nearly."""
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    p, q = -normal[:, 0] / normal[:, 2], -normal[:, 1] / normal[:, 2]
    return np.column_stack([p, q, corners[:, 0, 2] - p * corners[:, 0, 0] - q * corners[:, 0, 1]])


def _weights(corners: np.ndarray, face: np.ndarray, width: int) -> np.ndarray:
    """Barycentric, for the pixels that see a triangle."""
    seen = np.flatnonzero(face >= 0)
    weights = np.zeros((len(face), 3))
    x, y = seen % width + 0.5, seen // width + 0.5
    (ax, ay), (bx, by), (cx, cy) = (corners[face[seen], k, :2].T for k in range(3))
    total = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    b = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / total
    c = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / total
    weights[seen] = np.stack([1 - b - c, b, c], axis=1)
    return weights


def _doubled_area(corners: np.ndarray) -> np.ndarray:
    a, b, c = (corners[:, k, :2] for k in range(3))
    return (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
