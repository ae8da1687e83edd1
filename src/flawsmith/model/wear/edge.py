"""The cutting edge of the unworn insert: given, or found as the straight border of the wear region.

An edge only recedes by wear, so the unworn edge is a line that the region leans on. Several sides of a region may be
straight; which of them is the edge is told by the user (`outside`), else by the picture: beyond the wear the unworn
edge goes on, and there it parts the rough insert from the smooth background. Without either, the longest straight
side is taken, and `doubt` says so when another is nearly as long.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from pydantic import Field
from skimage.measure import find_contours

from flawsmith.core.config import Settings
from flawsmith.core.errors import DataError
from flawsmith.core.geometry import mask_box
from flawsmith.core.image import to_channels

Point = tuple[float, float]
Corner = Literal["start", "end"]
How = Literal["given", "outside", "picture", "longest"]
_FACING = 0.7  # cosine between a border's normal and the line's
_CLEAR = 0.3  # contrast of a prolonged edge; those of the sides that are none stay below
_DISTINCT = math.cos(math.radians(25))
_SIDES = {"top": (0.0, -1.0), "bottom": (0.0, 1.0), "left": (-1.0, 0.0), "right": (1.0, 0.0)}


class EdgeSettings(Settings):
    """How the edge is found. Shares are of the region's longest extent.

    tolerance:  how far the border may leave the line and still follow it; at most half the mean depth, at least
                `tolerance_px`
    straight:   how much border must follow the line for it to be an edge
    outside:    where the free side of the edge lies in the picture; "auto": see above
    corner:     which end of the edge is the insert's corner, or "none"; "auto": the end behind which the picture shows
                no insert. from `start` to `end` the insert is on the right hand
    whole:      measure over the whole region, also where its border has left the line: for an insert whose corner has
                gone. Else only over the stretch where the border follows the line
    """

    tolerance: float = Field(default=0.03, gt=0, le=0.2)
    tolerance_px: float = Field(default=1.5, gt=0)
    straight: float = Field(default=0.3, gt=0, le=1)
    outside: Literal["auto", "top", "bottom", "left", "right"] = "auto"
    corner: Literal["auto", "start", "end", "none"] = "auto"
    whole: bool = False


@dataclass(frozen=True)
class CuttingEdge:
    """The unworn edge over the length that is worn.

    start, end: (x, y) in pixels; a pixel's centre is at whole numbers
    into:       unit vector from the edge into the insert, the way VB points
    corner:     which end is the insert's corner, None where that is not known
    straight:   share of the region's longest extent that follows the line, less where it follows loosely
    doubt:      what speaks against this line, None where nothing does
    """

    start: Point
    end: Point
    into: Point
    how: How
    corner: Corner | None = None
    straight: float = 1.0
    doubt: str | None = None

    @property
    def length_px(self) -> float:
        return math.dist(self.start, self.end)

    @property
    def along(self) -> Point:
        return ((self.end[0] - self.start[0]) / self.length_px, (self.end[1] - self.start[1]) / self.length_px)


@dataclass(frozen=True, eq=False)
class Border:
    """The outer outlines of a mask: points (N, 2) as x, y between the pixels, and unit normals pointing outwards."""

    points: np.ndarray
    outward: np.ndarray

    @property
    def extent_px(self) -> float:
        """The longest distance between two points."""
        hull = cv2.convexHull(self.points.astype(np.float32))[:, 0]
        return float(np.linalg.norm(hull[:, None] - hull[None], axis=2).max())


@dataclass(frozen=True, eq=False)
class _Side:
    """A straight side: a point on its line, the unit normal into the region, and the share of border that follows."""

    origin: np.ndarray
    into: np.ndarray
    straight: float

    @property
    def along(self) -> np.ndarray:
        return np.array([self.into[1], -self.into[0]])


def border(mask: np.ndarray) -> Border:
    """The outer border of bool (H, W); holes are left out. Raises `DataError` for an empty mask."""
    box = mask_box(mask)
    if box is None:
        raise DataError("the wear mask is empty: there is no wear to measure")
    x0, y0, x1, y1 = box
    padded = np.pad(mask[y0:y1, x0:x1].astype(np.float32), 1)
    rings = [ring[:-1, ::-1] for ring in find_contours(padded, 0.5, fully_connected="high")]
    turn = np.sign(_signed_area(max(rings, key=len)))
    outer = [ring for ring in rings if _signed_area(ring) * turn > 0]  # holes run the other way round
    points, outward = [], []
    for ring in outer:
        reach = min(max(round(0.015 * len(ring)), 2), 15)
        along = np.roll(ring, -reach, axis=0) - np.roll(ring, reach, axis=0)
        along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-12)
        points.append(ring + np.array([x0 - 1, y0 - 1]))
        outward.append(np.stack([along[:, 1], -along[:, 0]], axis=1) * turn)
    return Border(np.concatenate(points), np.concatenate(outward))


def _signed_area(ring: np.ndarray) -> float:
    x, y = ring.T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def cutting_edge(
    mask: np.ndarray,
    image: np.ndarray | None = None,
    line: tuple[Point, Point] | None = None,
    settings: EdgeSettings | None = None,
) -> CuttingEdge:
    """The unworn edge that the wear region, bool (H, W), lies on.

    image: (H, W[, C]), to tell the edge from other straight sides and to find the corner
    line:  two points (x, y) on the unworn edge, in pixels; then nothing is searched

    Raises `DataError` when the mask is empty, the line cuts through the region, or no side is straight enough.
    """
    settings = settings or EdgeSettings()
    if image is not None and image.shape[:2] != mask.shape:
        raise DataError(f"the wear mask is {mask.shape}, the image {image.shape[:2]}; make them equal")
    outline = border(mask)
    thin = 0.5 * float(mask.sum()) / outline.extent_px  # half the mean depth: else both borders of a thin land follow
    tolerance = max(min(settings.tolerance * outline.extent_px, thin), settings.tolerance_px)
    rough = None if image is None else _roughness(image)
    how: How
    if line is not None:
        side, how, doubt = _given(mask, line, tolerance), "given", None
    else:
        side, how, doubt = _chosen(_sides(outline, tolerance, settings.straight), rough, outline, settings)
    edge = _placed(side, how, doubt, outline, tolerance, settings)
    return replace(edge, corner=_corner(side, outline, rough, settings))


def _sides(outline: Border, tolerance: float, wanted: float) -> list[_Side]:
    """The straight sides in distinct directions, the longest first."""
    hull = cv2.convexHull(outline.points.astype(np.float32))[:, 0].astype(float)
    extent = outline.extent_px
    centre = hull.mean(axis=0)
    found = []
    for a, b in zip(hull, np.roll(hull, -1, axis=0), strict=True):
        into = np.array([a[1] - b[1], b[0] - a[0]]) / max(float(np.linalg.norm(b - a)), 1e-12)
        into *= np.sign(into @ (centre - a)) or 1.0
        side = _fitted(_Side(a, into, 0.0), outline, tolerance, extent)
        if side.straight >= wanted:
            found.append(side)
    found.sort(key=lambda s: -s.straight)
    kept: list[_Side] = []
    for side in found:
        if all(side.into @ other.into < _DISTINCT for other in kept):
            kept.append(side)
    if not kept:
        raise DataError(
            f"no side of the wear region is straight over {wanted:.0%} of its extent of {extent:.0f} px, so the cutting"
            " edge cannot be told from the mask: give its line by two points"
        )
    return kept


def _fitted(side: _Side, outline: Border, tolerance: float, extent: float) -> _Side:
    """Least squares on the border that follows, then moved out to rest on its outermost tenth."""
    near = _followers(side, outline, tolerance)
    for _ in range(2):
        points = outline.points[near]
        if len(points) < 3:
            return _Side(side.origin, side.into, 0.0)
        centre = points.mean(axis=0)
        into = np.linalg.svd(points - centre, full_matrices=False)[2][1]
        side = _Side(centre, into * (np.sign(into @ side.into) or 1.0), 0.0)
        near = _followers(side, outline, tolerance)
    points = outline.points[near]
    if len(points) < 3:
        return side
    depth = (points - side.origin) @ side.into
    depth -= np.quantile(depth, 0.1)
    place = np.floor((points - side.origin) @ side.along).astype(int)
    covered = np.zeros(int(np.ptp(place)) + 1)
    np.maximum.at(covered, place - place.min(), np.maximum(1 - (depth / tolerance) ** 2, 0))  # the closer the more
    origin = side.origin + float(np.quantile((points - side.origin) @ side.into, 0.1)) * side.into
    return _Side(origin, side.into, min(float(covered.sum()) / extent, 1.0))


def _followers(side: _Side, outline: Border, tolerance: float) -> np.ndarray:
    near = np.abs((outline.points - side.origin) @ side.into) <= tolerance
    return near & (outline.outward @ -side.into > _FACING)


def _chosen(
    sides: list[_Side], rough: np.ndarray | None, outline: Border, settings: EdgeSettings
) -> tuple[_Side, How, str | None]:
    """Which side is the edge, how that was told, and what speaks against it."""
    if settings.outside != "auto":
        fitting = [side for side in sides if -side.into @ _SIDES[settings.outside] > 0.5]
        if not fitting:
            raise DataError(
                f"no straight side of the wear region faces {settings.outside!r}: choose another edge.outside, or give"
                " the line by two points"
            )
        return fitting[0], "outside", None
    if rough is not None:
        clear = [max(_contrasts(side, outline, rough)) for side in sides]
        worth = [side.straight**0.5 * contrast**2 for side, contrast in zip(sides, clear, strict=True)]
        best = int(np.argmax(worth))
        if clear[best] > _CLEAR:
            rivals = [s for s, c in zip(sides, clear, strict=True) if c > _CLEAR and s.straight > sides[best].straight]
            return sides[best], "picture", "the wear lies longer along another edge of the insert" if rivals else None
    close = len(sides) > 1 and sides[1].straight > 0.8 * sides[0].straight
    doubt = "another side of the region is nearly as straight and long; give edge.outside, the line or the picture"
    return sides[0], "longest", doubt if close else None


def _given(mask: np.ndarray, line: tuple[Point, Point], tolerance: float) -> _Side:
    start, end = (np.array(point, float) for point in line)
    length = float(np.linalg.norm(end - start))
    if not math.isfinite(length) or length < 1:
        raise DataError(f"the edge line {line} has no length: give two points (x, y) in pixels that lie apart")
    into = np.array([start[1] - end[1], end[0] - start[0]]) / length
    y, x = np.nonzero(mask)
    depth = (np.stack([x, y], axis=1) - start) @ into
    into *= np.sign(depth.mean()) or 1.0
    beyond = float((depth * np.sign(depth.mean()) < -tolerance).mean())
    if beyond > 0.1:
        raise DataError(f"the edge line {line} cuts through the wear region: {beyond:.0%} of it lies on the other side")
    return _Side(start, into, 1.0)


def _placed(
    side: _Side, how: How, doubt: str | None, outline: Border, tolerance: float, settings: EdgeSettings
) -> CuttingEdge:
    """From the line to the stretch of it that is worn."""
    offsets = outline.points - side.origin
    reach = offsets @ side.along
    if how != "given" and not settings.whole:
        reach = reach[np.abs(offsets @ side.into) <= tolerance]
    if reach.size == 0 or np.ptp(reach) < 1:
        raise DataError("the wear region does not reach along the cutting edge by a pixel: it cannot be measured")
    start, end = (_point(side.origin + float(s) * side.along) for s in (reach.min(), reach.max()))
    return CuttingEdge(start, end, _point(side.into), how, None, side.straight, doubt)


def _corner(side: _Side, outline: Border, rough: np.ndarray | None, settings: EdgeSettings) -> Corner | None:
    if settings.corner in ("start", "end"):
        return settings.corner
    if settings.corner == "none" or rough is None:
        return None
    at_start, at_end = _contrasts(side, outline, rough)
    if max(at_start, at_end) < _CLEAR or abs(at_start - at_end) < 0.15:
        return None
    return "start" if at_start < at_end else "end"


def _point(values: np.ndarray) -> Point:
    return float(values[0]), float(values[1])


def _roughness(image: np.ndarray) -> np.ndarray:
    """Float32 (H, W): how much the picture changes from pixel to pixel, insert much, background little."""
    grey = cv2.GaussianBlur(to_channels(image, 1).astype(np.float32), (0, 0), 1.5)
    return cv2.GaussianBlur(np.hypot(cv2.Scharr(grey, cv2.CV_32F, 1, 0), cv2.Scharr(grey, cv2.CV_32F, 0, 1)), (0, 0), 3)


def _contrasts(side: _Side, outline: Border, rough: np.ndarray) -> tuple[float, float]:
    """At both ends of the wear, 0 … 1: how much rougher the picture is behind the prolonged edge than before it."""
    extent = outline.extent_px
    reach = (outline.points - side.origin) @ side.along
    usual = float(np.median(rough))  # so that noise beside noise is no contrast
    depth = np.linspace(0.06, 0.25, 8) * extent
    step = np.linspace(0.05, 0.6, 12) * extent
    ends = []
    for at, sign in ((reach.min(), -1), (reach.max(), 1)):
        base = side.origin + (at + sign * step)[:, None, None] * side.along
        inside, outside = (_sampled(rough, base + (s * depth)[:, None] * side.into) for s in (1, -1))
        ends.append(max(0.0, (inside - outside) / max(inside + outside + usual, 1e-9)))
    return ends[0], ends[1]


def _sampled(rough: np.ndarray, points: np.ndarray) -> float:
    """The median of the map at (…, 2) points that lie in it, 0 where none does."""
    x, y = np.rint(points.reshape(-1, 2)).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < rough.shape[1]) & (y < rough.shape[0])
    return float(np.median(rough[y[inside], x[inside]])) if inside.any() else 0.0
