"""A wear region as named numbers: size, shape and texture, each finite for every region of a pixel or more."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from pydantic import Field
from skimage.feature import graycomatrix, graycoprops, local_binary_pattern
from skimage.measure import regionprops

from flawsmith.core.config import Settings
from flawsmith.core.errors import DataError
from flawsmith.core.geometry import components, mask_box
from flawsmith.core.image import to_channels
from flawsmith.model.wear.edge import border

_HU_FLOOR = 1e-4  # below it a Hu moment is the pixel grid's doing
_GLCM = ("contrast", "dissimilarity", "homogeneity", "energy", "correlation")
_ANGLES = [0, math.pi / 4, math.pi / 2, 3 * math.pi / 4]


class DescribeSettings(Settings):
    """Harmonics of the outline; LBP of points on a circle; co-occurrence of `levels` greys at `distances_px`."""

    harmonics: int = Field(default=8, ge=1, le=32)
    lbp_points: int = Field(default=8, ge=4, le=24)
    lbp_radius_px: float = Field(default=1, gt=0)
    levels: int = Field(default=32, ge=2, le=256)
    distances_px: tuple[int, ...] = Field(default=(1, 3), min_length=1)


@dataclass(frozen=True, eq=False)
class Features:
    """`values`, float64 (F,), by `names`: what a model learns from. Both have one order for the same settings."""

    names: tuple[str, ...]
    values: np.ndarray

    @classmethod
    def of(cls, named: dict[str, float]) -> "Features":
        return cls(tuple(named), np.array(list(named.values()), float))

    def __getitem__(self, name: str) -> float:
        return float(self.values[self.names.index(name)])


def describe_wear(
    mask: np.ndarray,
    image: np.ndarray | None = None,
    pixel_mm: float | None = None,
    settings: DescribeSettings | None = None,
) -> Features:
    """Size and shape of the largest region of a mask, bool (H, W), and with an image (H, W[, C]) its texture.

    Sizes are in mm with `pixel_mm` and carry that in their names, so that they cannot be mixed with pixels. Raises
    `DataError` for a mask that is empty or of another size than the image.
    """
    settings = settings or DescribeSettings()
    regions = components(mask)
    if not regions:
        raise DataError("the wear mask is empty: there is nothing to describe")
    box, region = max(regions, key=lambda r: int(r[1].sum()))
    named = {**size_features(region, pixel_mm), **shape_features(region, settings.harmonics)}
    if image is not None:
        if image.shape[:2] != mask.shape:
            raise DataError(f"the wear mask is {mask.shape}, the image {image.shape[:2]}; make them equal")
        whole = np.zeros_like(mask)
        whole[box[1] : box[3], box[0] : box[2]] = region
        named |= texture_features(image, whole, settings)
    return Features.of(named)


def size_features(region: np.ndarray, pixel_mm: float | None = None) -> dict[str, float]:
    """Area, perimeter and the axes of the ellipse of the same second moments."""
    scale, unit = (1.0, "px") if pixel_mm is None else (pixel_mm, "mm")
    props = regionprops(region.astype(np.uint8))[0]
    square = "px" if pixel_mm is None else "mm2"
    return {
        f"size.area_{square}": float(region.sum()) * scale**2,
        f"size.perimeter_{unit}": _perimeter(region) * scale,
        f"size.major_axis_{unit}": float(props.axis_major_length) * scale,
        f"size.minor_axis_{unit}": float(props.axis_minor_length) * scale,
    }


def _perimeter(region: np.ndarray) -> float:
    ring = border(region).points
    return float(np.linalg.norm(ring - np.roll(ring, 1, axis=0), axis=1).sum())


def shape_features(region: np.ndarray, harmonics: int = 8) -> dict[str, float]:
    """What turning, moving and scaling the region leave alone (up to the pixel grid).

    Hu's seven moments h as sign(h) log10(1 + |h| / 1e-4): logarithmic where they say something, and near 0 smooth
    instead of a large number of either sign.
    """
    props = regionprops(region.astype(np.uint8))[0]
    hu = cv2.HuMoments(cv2.moments(region.astype(np.uint8), binaryImage=True)).ravel()
    squeezed = np.sign(hu) * np.log10(1 + np.abs(hu) / _HU_FLOOR)
    return {
        **{f"shape.hu{i + 1}": float(value) for i, value in enumerate(squeezed)},
        "shape.solidity": float(min(props.solidity, 1.0)),
        "shape.eccentricity": float(props.eccentricity),
        "shape.roundness": float(4 * math.pi * region.sum() / _perimeter(region) ** 2),
        **fourier_features(region, harmonics),
    }


def fourier_features(region: np.ndarray, harmonics: int = 8) -> dict[str, float]:
    """Elliptic Fourier descriptors of the outer outline (Kuhl and Giardina 1982), by the axes of each ellipse.

    A turn multiplies the 2×2 coefficients of a harmonic from the left by a rotation, another starting point from the
    right, so their singular values, the half axes, change with neither. They are over the first one.
    """
    axes = np.linalg.svd(elliptic_coefficients(border(region).points, harmonics), compute_uv=False)
    axes /= max(float(axes[0, 0]), 1e-12)
    named = {"fourier.1.minor": float(axes[0, 1])}
    for order in range(1, harmonics):
        named |= {f"fourier.{order + 1}.{axis}": float(axes[order, i]) for i, axis in enumerate(("major", "minor"))}
    return named


def elliptic_coefficients(ring: np.ndarray, harmonics: int) -> np.ndarray:
    """(harmonics, 2, 2) of [[a, b], [c, d]] of a closed outline (N, 2): x by (a cos + b sin), y by (c cos + d sin)."""
    step = np.roll(ring, -1, axis=0) - ring
    length = np.linalg.norm(step, axis=1)
    step, length = step[length > 0], length[length > 0]
    ends = np.cumsum(length)
    total = ends[-1]
    order = np.arange(1, harmonics + 1)[:, None]
    after, before = 2 * math.pi * order * ends / total, 2 * math.pi * order * (ends - length) / total
    slope = (step / length[:, None]).T
    cosines = (np.cos(after) - np.cos(before)) @ slope.T
    sines = (np.sin(after) - np.sin(before)) @ slope.T
    return np.stack([cosines, sines], axis=2) * (total / (2 * math.pi**2 * order**2))[:, :, None]


def texture_features(image: np.ndarray, mask: np.ndarray, settings: DescribeSettings) -> dict[str, float]:
    """Uniform local binary patterns (Ojala 2002) and grey-level co-occurrence (Haralick 1973) inside the region only.

    Co-occurrence counts pairs of which both pixels are worn. A region too small for any pair gets that of an even
    surface.
    """
    box = mask_box(mask)
    assert box is not None
    reach = math.ceil(settings.lbp_radius_px) + 1
    x0, y0, x1, y1 = box
    grey = np.pad(to_channels(image, 1), reach, mode="edge")[y0 : y1 + 2 * reach, x0 : x1 + 2 * reach]
    if grey.dtype == np.uint16:
        grey = (grey >> 8).astype(np.uint8)
    inside = mask[y0:y1, x0:x1]
    codes = local_binary_pattern(grey, settings.lbp_points, settings.lbp_radius_px, "uniform")
    codes = codes[reach:-reach, reach:-reach][inside].astype(int)
    grey = grey[reach:-reach, reach:-reach]
    histogram = np.bincount(codes, minlength=settings.lbp_points + 2) / codes.size
    return {
        "texture.mean": float(grey[inside].mean()),
        "texture.spread": float(grey[inside].std()),
        **{f"texture.lbp{i}": float(share) for i, share in enumerate(histogram)},
        **_cooccurrence(grey, inside, settings),
    }


def _cooccurrence(grey: np.ndarray, inside: np.ndarray, settings: DescribeSettings) -> dict[str, float]:
    """Level 0 stands for the outside, and its pairs are taken out before the properties are formed."""
    levels = np.where(inside, grey.astype(np.int32) * settings.levels // 256 + 1, 0).astype(np.uint16)
    pairs = graycomatrix(levels, settings.distances_px, _ANGLES, settings.levels + 1, symmetric=True)[1:, 1:]
    named = {}
    for i, distance in enumerate(settings.distances_px):
        both = pairs[:, :, i].sum(axis=2, dtype=float)[:, :, None, None]
        if not both.any():
            both[0, 0] = 1
        for name in _GLCM:
            named[f"texture.{name}{distance}"] = float(graycoprops(both / both.sum(), name)[0, 0])
    return named
