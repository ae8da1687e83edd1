"""Regions of one score map at one level: what the rules count and measure."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from flawsmith.core.defect import Defect
from flawsmith.core.geometry import Box


@dataclass(frozen=True, eq=False)
class Regions:
    """The 8-connected regions of a map (H, W) where it is at or above `level`, N of them.

    labels: int32 (h, w), 0 outside, i + 1 in region i; empty rows and columns are squeezed out
    rows, cols: where the rows and columns of `labels` lie in the image
    areas:  int64 (N,) pixels
    boxes:  int64 (N, 4) half-open x0, y0, x1, y1 in the image
    """

    plane: np.ndarray
    level: float
    labels: np.ndarray
    rows: np.ndarray
    cols: np.ndarray
    areas: np.ndarray
    boxes: np.ndarray

    def __len__(self) -> int:
        return len(self.areas)

    def box(self, index: int) -> Box:
        x0, y0, x1, y1 = (int(v) for v in self.boxes[index])
        return x0, y0, x1, y1

    def defect(self, index: int, kind: str) -> Defect:
        """Region `index` with its mask; its score is the largest of the map inside it."""
        x0, y0, x1, y1 = self.box(index)
        # A region has no empty row or column inside its box, so the box has one size in `labels` and in the image.
        row, col = np.searchsorted(self.rows, y0), np.searchsorted(self.cols, x0)
        mask = self.labels[row : row + y1 - y0, col : col + x1 - x0] == index + 1
        score = float(self.plane[y0:y1, x0:x1][mask].max())
        return Defect(kind, (x0, y0, x1, y1), mask, min(score, 1.0))


def find_regions(plane: np.ndarray, level: float) -> Regions:
    """The 8-connected regions of `plane`, float (H, W) without NaN, where it is at or above `level`.

    Runs of empty rows and columns are first squeezed to one, which separates regions as well as many do: on a sparse
    map of 2048x2592 that is ten times faster than labelling the whole of it.
    """
    mask = _reached(plane, level)
    rows, cols = _with_separators(np.any(mask, axis=1)), _with_separators(np.any(mask, axis=0))
    if rows.size == 0:
        none = np.zeros(0, np.int64)
        return Regions(plane, level, np.zeros((0, 0), np.int32), none, none, none, none.reshape(0, 4))
    dense = mask if (len(rows), len(cols)) == mask.shape else mask[np.ix_(rows, cols)]
    _, labels, stats, _ = cv2.connectedComponentsWithStats(dense.view(np.uint8), connectivity=8)
    x, y, width, height, areas = stats[1:].astype(np.int64).T
    boxes = np.stack([cols[x], rows[y], cols[x + width - 1] + 1, rows[y + height - 1] + 1], axis=1)
    return Regions(plane, level, labels, rows, cols, areas, boxes)


def apart_areas(regions: Regions, joined: np.ndarray | None) -> np.ndarray:
    """Areas (M,) of what counts as one: each region, or with `joined` (labels of `joined_labels`) each group of
    regions that share a label, with the area of its largest."""
    if joined is None or not len(regions):
        return regions.areas
    inside = regions.labels > 0
    group = np.zeros(len(regions) + 1, np.int64)
    group[regions.labels[inside]] = joined[np.ix_(regions.rows, regions.cols)][inside]
    largest = np.zeros(int(group.max()) + 1, np.int64)
    np.maximum.at(largest, group[1:], regions.areas)
    return largest[largest > 0]


def excess_area(areas: np.ndarray, max_count: int) -> int:
    """The largest minimum area at which more than `max_count` of `areas` are still found; 0 for none."""
    if len(areas) <= max_count:
        return 0
    return int(np.partition(areas, -max_count - 1)[-max_count - 1])


def joined_labels(plane: np.ndarray, level: float) -> np.ndarray:
    """Int32 (H, W): the number of the region at `level` that each pixel belongs to, 0 for none."""
    return cv2.connectedComponents(_reached(plane, level).view(np.uint8), connectivity=8)[1]


def area_profile(
    plane: np.ndarray,
    levels: np.ndarray,
    max_count: int = 0,
    joined_at: float | None = None,
    min_areas: Sequence[int] | None = None,
) -> np.ndarray:
    """`excess_area` at each of the ascending `levels`, none below `joined_at`: int32 (T,).

    A rule rejects at a level exactly when this is at least its minimum area, so it is all that calibration needs of
    a map. It never grows with the level, so wherever two levels agree, all between them agree and are not computed.

    min_areas: ascending; values need only be right about which of these they reach. Far fewer levels are computed
    """
    joined = joined_labels(plane, joined_at) if max_count > 0 and joined_at is not None else None

    def area_at(index: int) -> int:
        return excess_area(apart_areas(find_regions(plane, float(levels[index])), joined), max_count)

    def same(a: int, b: int) -> bool:
        return a == b if min_areas is None else bisect_right(min_areas, a) == bisect_right(min_areas, b)

    areas = np.zeros(len(levels), np.int32)
    reached = int(np.count_nonzero(plane.max(initial=0) >= levels.astype(plane.dtype)))
    if reached:
        areas[0], areas[reached - 1] = area_at(0), area_at(reached - 1)
        _fill(areas, 0, reached - 1, area_at, same)
    return areas


def _fill(
    areas: np.ndarray, low: int, high: int, area_at: Callable[[int], int], same: Callable[[int, int], bool]
) -> None:
    """Compute `areas` strictly between two known ends by halving, skipping stretches where the ends are the same."""
    if high - low < 2:
        return
    if same(int(areas[low]), int(areas[high])):
        areas[low + 1 : high] = areas[low]
        return
    middle = (low + high) // 2
    areas[middle] = area_at(middle)
    _fill(areas, low, middle, area_at, same)
    _fill(areas, middle, high, area_at, same)


def _reached(plane: np.ndarray, level: float) -> np.ndarray:
    """Bool (H, W). The level is rounded to the map's own type: a pixel of float32(0.7) has reached 0.7."""
    return np.greater_equal(plane, plane.dtype.type(level))


def _with_separators(filled: np.ndarray) -> np.ndarray:
    """Indices of the filled rows and of one empty row after each run of them."""
    keep = filled.copy()
    keep[1:] |= filled[:-1]
    return np.flatnonzero(keep)
