"""Flank wear by ISO 3685's meaning: the depth of the worn land, perpendicular to the unworn edge, along the edge.

ISO 3685:1993 divides the worn edge into zone C (the curved corner, as long as its radius), zone N (the quarter of the
worn length farthest from the corner) and zone B, the straight rest. VB_B is the mean and VB_B max the largest depth in
zone B, VB_C and VB_N the largest depths in the corner and in the notch zone. Simplifications: the depth is seen in the
picture's plane, so the flank must face the camera; the far border of the region is taken as it is, without the
judgement of scratches and built-up material that the standard leaves to the operator; where the corner is unknown,
both ends count as notch zones.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from pydantic import Field

from flawsmith.core.config import Settings
from flawsmith.core.errors import ConfigError, DataError
from flawsmith.core.geometry import components, mask_box
from flawsmith.model.wear.edge import CuttingEdge, EdgeSettings, Point, cutting_edge

VB_B_LIMIT_MM = 0.3  # ISO 3685:1993, tool-life criteria of carbide: mean VB_B where zone B wears evenly …
VB_B_MAX_LIMIT_MM = 0.6  # … and VB_B max where it does not
_PAD = 2


class WearSettings(Settings):
    """How a wear region is measured.

    corner_mm:     the insert's corner radius, the length of zone C; needs `pixel_mm`
    corner_share:  length of zone C over the worn length where `corner_mm` is not given (not in the standard)
    notch_share:   length of zone N over the worn length
    regions:       "largest": the largest connected region is the wear; "all": all of them lie on one edge
    """

    edge: EdgeSettings = EdgeSettings()
    corner_mm: float | None = Field(default=None, ge=0)
    corner_share: float = Field(default=0.1, ge=0, lt=0.5)
    notch_share: float = Field(default=0.25, ge=0, lt=0.5)
    regions: Literal["largest", "all"] = "largest"


@dataclass(frozen=True)
class Zone:
    """A stretch of the edge, in whole columns of the profile, half-open."""

    name: Literal["C", "B", "N"]
    start: int
    end: int


@dataclass(frozen=True, eq=False)
class WearMeasurement:
    """One wear region. Lengths in pixels are always there; the `_mm` properties are None without `pixel_mm`.

    edge:            the unworn edge, and how it was found
    profile_px:      float32 (L,): VB along the edge from its start, one value a pixel; 0 where there is no wear
    zones:           C, B, N as columns of the profile
    vb_mean_px, vb_max_px: over zone B
    notch_px:        the largest depth in zone N; corner_wear_px: in zone C, None where the corner is not known
    edge_deviation_px:    how far the worn edge has receded from the unworn one in zone B, at most
    area_px:         of the region that was measured
    notes:           what a reader must know to trust the figures
    """

    edge: CuttingEdge
    pixel_mm: float | None
    profile_px: np.ndarray
    zones: tuple[Zone, ...]
    vb_mean_px: float
    vb_max_px: float
    notch_px: float
    corner_wear_px: float | None
    edge_deviation_px: float
    area_px: int
    notes: tuple[str, ...] = ()

    @property
    def vb_mean_mm(self) -> float | None:
        return self._mm(self.vb_mean_px)

    @property
    def vb_max_mm(self) -> float | None:
        return self._mm(self.vb_max_px)

    @property
    def notch_mm(self) -> float | None:
        return self._mm(self.notch_px)

    @property
    def corner_wear_mm(self) -> float | None:
        return self._mm(self.corner_wear_px)

    @property
    def edge_deviation_mm(self) -> float | None:
        return self._mm(self.edge_deviation_px)

    @property
    def worn_length_px(self) -> float:
        return float(len(self.profile_px))

    @property
    def worn_length_mm(self) -> float | None:
        return self._mm(self.worn_length_px)

    @property
    def vb_profile_mm(self) -> np.ndarray | None:
        return None if self.pixel_mm is None else self.profile_px * self.pixel_mm

    @property
    def area_mm2(self) -> float | None:
        return None if self.pixel_mm is None else self.area_px * self.pixel_mm**2

    def _mm(self, length_px: float | None) -> float | None:
        return None if length_px is None or self.pixel_mm is None else length_px * self.pixel_mm


def measure_wear(
    mask: np.ndarray,
    pixel_mm: float | None = None,
    image: np.ndarray | None = None,
    line: tuple[Point, Point] | None = None,
    settings: WearSettings | None = None,
) -> WearMeasurement:
    """Measure the wear region of a mask, bool (H, W).

    pixel_mm: edge of a pixel on the flank; None: figures in pixels only
    image:    (H, W[, C]), helps to find the edge and the corner
    line:     two points (x, y) on the unworn edge, in pixels, where they are known

    Raises `DataError` for a mask without wear, of another size than the image, or without an edge to measure from.

    >>> land = np.zeros((80, 200), bool); land[20:50, 20:180] = True
    >>> round(measure_wear(land, pixel_mm=0.01).vb_mean_mm, 2)
    0.3
    """
    settings = settings or WearSettings()
    if mask.ndim != 2 or mask.dtype != bool:
        raise DataError(f"a wear mask is bool (H, W); got {mask.dtype} {mask.shape}")
    if pixel_mm is not None and not 0 < pixel_mm < np.inf:
        raise ConfigError(f"pixel_mm is {pixel_mm}; wanted the edge of a pixel in mm, above 0, or none")
    region, notes = _region(mask, settings.regions)
    edge = cutting_edge(region, image, line, settings.edge)
    near, far = _profile(region, edge)
    if not (far > 0).any():
        raise DataError("no wear lies behind the cutting edge: give another line")
    zones = _zones(len(far), edge, settings, pixel_mm)
    middle = next(slice(z.start, z.end) for z in zones if z.name == "B")
    notch = [float(far[z.start : z.end].max()) for z in zones if z.name == "N" and z.end > z.start]
    corner = [float(far[z.start : z.end].max()) for z in zones if z.name == "C" and z.end > z.start]
    notes += [edge.doubt] if edge.doubt else []
    beyond = 1 - float(_behind(region, edge).sum()) / int(region.sum())
    if beyond > 0.05:
        notes.append(
            f"{beyond:.0%} of the wear lies beyond the ends of the edge and is in no VB (edge.whole takes it in)"
        )
    return WearMeasurement(
        edge=edge,
        pixel_mm=pixel_mm,
        profile_px=far,
        zones=zones,
        vb_mean_px=float(far[middle].mean()),
        vb_max_px=float(far[middle].max()),
        notch_px=max(notch, default=0.0),
        corner_wear_px=max(corner, default=0.0) if edge.corner else None,
        edge_deviation_px=float(near[middle].max()),
        area_px=int(region.sum()),
        notes=tuple(notes),
    )


def _region(mask: np.ndarray, which: Literal["largest", "all"]) -> tuple[np.ndarray, list[str]]:
    """The region to measure, and a note where what is left out could matter."""
    regions = components(mask)
    if not regions:
        raise DataError("the wear mask is empty: there is no wear to measure")
    if which == "all" or len(regions) == 1:
        return mask, []
    (x0, y0, x1, y1), largest = max(regions, key=lambda r: int(r[1].sum()))
    region = np.zeros_like(mask)
    region[y0:y1, x0:x1] = largest
    left = 1 - int(largest.sum()) / int(mask.sum())
    note = f"{len(regions) - 1} smaller regions with {left:.0%} of the worn area are left out (regions=all keeps them)"
    return region, [note] if left > 0.02 else []


def _profile(region: np.ndarray, edge: CuttingEdge) -> tuple[np.ndarray, np.ndarray]:
    """Float32 (L,) each: depth of the first and of the last worn pixel behind the edge; 0 where there is none.

    The mask is turned so that the edge lies along the rows and read at half height between pixels.
    """
    strip = _turned(region, edge)
    worn = strip >= 0.5
    rows = np.arange(strip.shape[0], dtype=np.float32)[:, None] - _PAD
    padded = np.pad(strip, ((1, 1), (0, 0)))
    fall = (strip - 0.5) / np.maximum(strip - padded[2:], 1e-6)  # where it sinks to one half, past this row …
    rise = (strip - 0.5) / np.maximum(strip - padded[:-2], 1e-6)  # … and before it
    far = np.where(worn & (padded[2:] < 0.5), rows + fall, 0).max(axis=0)
    near = np.where(worn & (padded[:-2] < 0.5), rows - rise, np.inf).min(axis=0)
    return np.maximum(np.where(np.isfinite(near), near, 0), 0).astype(np.float32), np.maximum(far, 0).astype(np.float32)


def _turned(region: np.ndarray, edge: CuttingEdge) -> np.ndarray:
    """Float32 (depth, L): the region in the edge's frame; row `_PAD` is the edge, column 0 its start."""
    box = mask_box(region)
    assert box is not None
    x0, y0, x1, y1 = box
    depth = int(np.hypot(x1 - x0, y1 - y0)) + 2 * _PAD + 2
    (ax, ay), (ix, iy) = edge.along, edge.into
    # the middle of column i lies at i + 1/2 along the edge
    left = edge.start[0] - x0 + 0.5 * ax - _PAD * ix
    top = edge.start[1] - y0 + 0.5 * ay - _PAD * iy
    place = np.array([[ax, ix, left], [ay, iy, top]])
    crop = region[y0:y1, x0:x1].astype(np.float32)
    size = (max(round(edge.length_px), 1), depth)
    return cv2.warpAffine(crop, place, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def _behind(region: np.ndarray, edge: CuttingEdge) -> np.ndarray:
    """Bool (N,): which worn pixels lie between the two ends of the edge."""
    y, x = np.nonzero(region)
    reach = (x - edge.start[0]) * edge.along[0] + (y - edge.start[1]) * edge.along[1]
    return (reach >= -1) & (reach <= edge.length_px + 1)


def _zones(length: int, edge: CuttingEdge, settings: WearSettings, pixel_mm: float | None) -> tuple[Zone, ...]:
    """From the start of the edge to its end. Zone B keeps a column at least."""
    notch = min(round(settings.notch_share * length), (length - 1) // 2)
    if edge.corner is None:
        return Zone("N", 0, notch), Zone("B", notch, length - notch), Zone("N", length - notch, length)
    corner = round(settings.corner_share * length)
    if settings.corner_mm is not None:
        if pixel_mm is None:
            raise ConfigError("corner_mm needs pixel_mm: give the pixel's size, or corner_share instead")
        corner = round(settings.corner_mm / pixel_mm)
    corner = min(corner, length - notch - 1)
    if edge.corner == "start":
        return Zone("C", 0, corner), Zone("B", corner, length - notch), Zone("N", length - notch, length)
    return Zone("N", 0, notch), Zone("B", notch, length - corner), Zone("C", length - corner, length)
