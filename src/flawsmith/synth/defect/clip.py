"""Clip a soup by planes, exactly and two-sided: what is cut off is kept, and shared edges stay shared.

Pieces are convex polygons until the end: triangulating after every cut would leave five times as many triangles.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flawsmith.synth.defect.soup import Soup, join


@dataclass(frozen=True, eq=False)
class Polygons:
    """P convex polygons of up to K corners.

    corners: (P, K, 9) point, rest and normal; of each polygon the first `count` are meant
    source:  (P,) the triangle of the soup that each is a piece of
    """

    corners: np.ndarray
    count: np.ndarray
    source: np.ndarray

    def __len__(self) -> int:
        return len(self.count)

    def take(self, chosen: np.ndarray) -> "Polygons":
        return Polygons(self.corners[chosen], self.count[chosen], self.source[chosen])

    def centre(self, axis: int) -> np.ndarray:
        """(P,) middle of the extent along an axis."""
        along = self.along(axis)
        used = self.used
        return (np.where(used, along, np.inf).min(1) + np.where(used, along, -np.inf).max(1)) / 2

    def along(self, axis: int) -> np.ndarray:
        return self.corners[:, :, axis]

    @property
    def used(self) -> np.ndarray:
        return np.arange(self.corners.shape[1]) < self.count[:, None]


def polygons(soup: Soup) -> Polygons:
    """A soup's triangles as polygons."""
    corners = np.concatenate([soup.points, soup.rest, soup.normals], -1)
    return Polygons(corners, np.full(len(soup), 3), np.arange(len(soup)))


def triangles(pieces: Polygons, soup: Soup) -> Soup:
    """Polygons cut from `soup` as fans of triangles."""
    fans = [soup.take(np.zeros(0, int))]
    for last in range(2, pieces.corners.shape[1]):
        reaching = pieces.count > last
        corners = pieces.corners[reaching][:, [0, last - 1, last]]
        source = pieces.source[reaching]
        fields = (corners[..., :3], corners[..., 3:6], corners[..., 6:])
        fans.append(Soup(*fields, soup.flat[source], soup.wall[source], soup.face[source]))
    return join(fans)


def gathered(pieces: Sequence[Polygons]) -> Polygons:
    """One after the other."""
    most = max((p.corners.shape[1] for p in pieces), default=3)
    corners = [np.pad(p.corners, ((0, 0), (0, most - p.corners.shape[1]), (0, 0))) for p in pieces]
    return Polygons(
        np.concatenate(corners),
        np.concatenate([p.count for p in pieces]),
        np.concatenate([p.source for p in pieces]),
    )


def split(pieces: Polygons, distance: np.ndarray) -> tuple[Polygons, Polygons]:
    """(below, above) of one plane each, given the corners' signed distance (P, K); Sutherland, Hodgman, CACM 1974."""
    used = pieces.used
    low = (distance <= 0) | ~used
    high = (distance >= 0) | ~used
    below, above = np.all(low, axis=1), np.all(high, axis=1) & ~np.all(low, axis=1)
    mixed = ~below & ~above
    if not mixed.any():
        return pieces.take(below), pieces.take(above)
    cut = pieces.take(mixed)
    d = distance[mixed]
    following = np.where(np.arange(d.shape[1]) + 1 < cut.count[:, None], np.arange(d.shape[1]) + 1, 0)
    d_next = np.take_along_axis(d, following, 1)
    crossing = cut.used & (d * d_next < 0)
    between = _crossings(cut.corners, np.take_along_axis(cut.corners, following[..., None], 1), d, d_next, crossing)
    lower = _side(cut, between, low[mixed] & cut.used, crossing)
    upper = _side(cut, between, high[mixed] & cut.used, crossing)
    return gathered([pieces.take(below), lower]), gathered([pieces.take(above), upper])


def _crossings(a: np.ndarray, b: np.ndarray, da: np.ndarray, db: np.ndarray, crossing: np.ndarray) -> np.ndarray:
    """Where edges meet the plane, from the lower end to the higher one: both neighbours get the same bits."""
    found = np.zeros_like(a)
    a, b, da, db = a[crossing], b[crossing], da[crossing][:, None], db[crossing][:, None]
    up = da < db
    start, end = np.where(up, a, b), np.where(up, b, a)
    low, high = np.where(up, da, db), np.where(up, db, da)
    found[crossing] = start + low / (low - high) * (end - start)
    return found


def _side(cut: Polygons, between: np.ndarray, kept: np.ndarray, crossing: np.ndarray) -> Polygons:
    """The kept corners and the crossings after them, in order and without gaps."""
    shape = len(cut), -1, cut.corners.shape[2]
    corners = np.stack([cut.corners, between], 2).reshape(shape)
    keep = np.stack([kept, crossing], 2).reshape(len(cut), -1)
    count = keep.sum(1)
    order = np.argsort(~keep, axis=1, kind="stable")[:, : max(int(count.max()), 3)]
    return Polygons(np.take_along_axis(corners, order[..., None], 1), count, cut.source).take(count >= 3)


def clip_box(soup: Soup, half: np.ndarray) -> tuple[Soup, Soup]:
    """(inside, outside) of the box [-half, half]³; triangles that do not reach it come back untouched."""
    low, high = soup.points.min(1), soup.points.max(1)
    near = ((low < half) & (high > -half)).all(1)
    reaching = soup.take(near)
    inside, outside = polygons(reaching), []
    for axis in range(3):
        for sign in (1, -1):
            inside, beyond = split(inside, sign * inside.along(axis) - half[axis])
            outside.append(beyond)
    return triangles(inside, reaching), join([soup.take(~near), triangles(gathered(outside), reaching)])


def refine(soup: Soup, half_mm: float, active: Sequence[np.ndarray]) -> Soup:
    """Split along the lines of a quadtree over [-half_mm, half_mm]² of the patch frame.

    active: for level l a bool (2^l, 2^l), row by y: which cells are split into four
    """
    pieces, done = polygons(soup), []
    for level, cells in enumerate(active):
        size = 2 * half_mm / 2**level
        column, row = (_cell(pieces, axis, half_mm, 2**level) for axis in (0, 1))
        chosen = cells[row, column]
        done.append(pieces.take(~chosen))
        pieces = pieces.take(chosen)
        for axis in (0, 1):
            middle = (_cell(pieces, axis, half_mm, 2**level) + 0.5) * size - half_mm
            pieces = gathered(split(pieces, pieces.along(axis) - middle[:, None]))
    return triangles(gathered([*done, pieces]), soup)


def _cell(pieces: Polygons, axis: int, half_mm: float, count: int) -> np.ndarray:
    """(P,) the column (axis 0) or row (axis 1) of `count` that a polygon lies in."""
    return np.clip(((pieces.centre(axis) + half_mm) / (2 * half_mm) * count).astype(int), 0, count - 1)
