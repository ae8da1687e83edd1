"""Seam-free tiling: windows that overlap by more than a network sees, so the seams cannot show.

A pixel's score depends on the pixels within the network's receptive radius ("margin"). Where two windows overlap by
twice the margin and the seam runs through the middle, every pixel is computed from exactly the neighbourhood it would
have in the whole image, and the stitched map equals the whole-image map. Windows start on multiples of the network's
stride, so that pooling grids coincide. All windows of an image have one size: engines compile and plan once.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from flawsmith.core.errors import ConfigError

SHAPE_GRID = 64


@dataclass(frozen=True)
class Tiling:
    """How to cut: `stride` the network's total down-sampling, `margin` its receptive radius, `max_side` in pixels."""

    stride: int = 16
    margin: int = 128
    max_side: int = 1408


def spans(length: int, tiling: Tiling) -> list[tuple[int, int, int]]:
    """Windows along one axis: (start, first kept, end kept); window length is `window_side(length, tiling)`.

    `length` is a multiple of the stride. The kept parts tile [0, length) without gap or overlap.
    """
    side = window_side(length, tiling)
    count = 1 if side == length else -(-(length - side) // _step(side, tiling)) + 1
    starts = [_snap(i * (length - side) / max(count - 1, 1), tiling.stride) for i in range(count)]
    seams = [0] + [(starts[i] + starts[i - 1] + side) // 2 for i in range(1, count)] + [length]
    return [(starts[i], seams[i], seams[i + 1]) for i in range(count)]


def window_side(length: int, tiling: Tiling) -> int:
    """The smallest window that needs no more windows than `max_side` would."""
    top = tiling.max_side // tiling.stride * tiling.stride
    if length <= top:
        return length
    count = -(-(length - top) // _step(top, tiling)) + 1
    side = -(-(length + (count - 1) * _overlap(tiling)) // count)
    return min(-(-side // tiling.stride) * tiling.stride, top)


def _step(side: int, tiling: Tiling) -> int:
    step = side - _overlap(tiling)
    if step < tiling.stride:
        raise ConfigError(
            f"window {side} leaves nothing after a margin of {tiling.margin} on both sides; raise max_side in the spec"
        )
    return step


def _overlap(tiling: Tiling) -> int:
    """Both margins and a stride to snap in, as a multiple of the stride."""
    return (-(-2 * tiling.margin // tiling.stride) + 1) * tiling.stride


def _snap(position: float, stride: int) -> int:
    return round(position / stride) * stride


def tiled(run: Callable[[np.ndarray], np.ndarray], image: np.ndarray, tiling: Tiling) -> np.ndarray:
    """Apply `run`, (h, w, C) to (K, h, w), over windows of `image` and stitch to float32 (K, H, W).

    Images are first padded by reflection to a coarse grid, then cropped back: with a few shapes instead of one per
    image size, engines find their plans again instead of making new ones.
    """
    height, width = image.shape[:2]
    padded = _pad(image, math.lcm(tiling.stride, SHAPE_GRID))
    rows, cols = spans(padded.shape[0], tiling), spans(padded.shape[1], tiling)
    window = (window_side(padded.shape[0], tiling), window_side(padded.shape[1], tiling))
    out: np.ndarray | None = None
    for (y, y0, y1), (x, x0, x1) in _grid(rows, cols):
        part = run(np.ascontiguousarray(padded[y : y + window[0], x : x + window[1]]))
        if out is None:
            out = np.empty((part.shape[0], *padded.shape[:2]), np.float32)
        out[:, y0:y1, x0:x1] = part[:, y0 - y : y1 - y, x0 - x : x1 - x]
    assert out is not None
    return out[:, :height, :width]


def _grid(rows: list, cols: list) -> Iterator[tuple]:
    return ((row, col) for row in rows for col in cols)


def _pad(image: np.ndarray, grid: int) -> np.ndarray:
    height, width = image.shape[:2]
    below, right = -height % grid, -width % grid
    if not below and not right:
        return image
    padded = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REFLECT_101)
    return padded.reshape(*padded.shape[:2], *image.shape[2:])
