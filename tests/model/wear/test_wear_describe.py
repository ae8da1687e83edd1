"""The features against scikit-image, SciPy and plain counting; what leaves them alone and what does not."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_wear import land
from scipy.spatial import ConvexHull
from skimage.feature import graycomatrix, graycoprops, local_binary_pattern

from flawsmith.core import DataError
from flawsmith.core.geometry import components
from flawsmith.model.wear.describe import (
    DescribeSettings,
    describe_wear,
    elliptic_coefficients,
    fourier_features,
    shape_features,
    size_features,
    texture_features,
)


def crescent(angle: float, scale: float = 1.0) -> np.ndarray:
    """One-sided, so that neither a mirror image nor a half turn is the same."""
    return land(lambda s: scale * 80 * (s / (200 * scale)) * np.sqrt(np.clip(1 - s / (200 * scale), 0, 1)) * 2,
                200 * scale, angle, round(420 * scale))  # fmt: skip


@settings(max_examples=25)
@given(st.floats(0, 360))
def test_turning_changes_no_shape_feature(angle):
    still, turned = shape_features(crescent(0)), shape_features(crescent(angle))
    assert {name: value for name, value in turned.items() if abs(value - still[name]) > 0.06} == {}


@settings(max_examples=25)
@given(st.floats(0.6, 2.5))
def test_nor_does_scaling(scale):
    small, large = shape_features(crescent(20)), shape_features(crescent(20, scale))
    assert {name: value for name, value in large.items() if abs(value - small[name]) > 0.06} == {}


def test_quarter_turns_and_shifts_are_exact():
    mask = crescent(0)
    still = shape_features(mask)
    for other in (np.rot90(mask), np.rot90(mask, 2), np.roll(mask, (9, -14), (0, 1))):
        assert shape_features(other) == pytest.approx(still, abs=1e-6)


def test_another_shape_has_other_features():
    crescents, rectangle = shape_features(crescent(0)), shape_features(land(lambda s: np.full_like(s, 40.0)))
    assert max(abs(crescents[name] - rectangle[name]) for name in crescents) > 0.3


@given(st.integers(0, 2**32 - 1), st.integers(1, 14), st.sampled_from([np.uint8, np.uint16]))
def test_every_legal_mask_has_finite_features_of_one_order(seed, side, depth):
    rng = np.random.default_rng(seed)
    mask = rng.random((side, side)) < rng.random()
    mask[0, 0] = True
    image = rng.integers(0, np.iinfo(depth).max, (side, side), depth)
    features = describe_wear(mask, image, 0.01)
    assert np.isfinite(features.values).all()
    assert features.names == describe_wear(np.ones((30, 30), bool), np.zeros((30, 30, 3), depth), 0.5).names


def test_hu_moments_are_those_of_opencv_squeezed():
    mask = crescent(40)
    hu = cv2.HuMoments(cv2.moments(mask.astype(np.uint8), binaryImage=True)).ravel()
    found = shape_features(mask)
    for i, moment in enumerate(hu):
        restored = math.copysign(1e-4 * (10 ** abs(found[f"shape.hu{i + 1}"]) - 1), found[f"shape.hu{i + 1}"])
        assert restored == pytest.approx(moment, abs=1e-9)


def test_size_and_solidity_against_scipys_hull():
    mask = crescent(0)
    y, x = np.nonzero(mask)
    corners = np.concatenate([np.stack([x + dx, y + dy], axis=1) for dx in (-0.5, 0.5) for dy in (-0.5, 0.5)])
    hull = ConvexHull(corners)
    found = shape_features(mask) | size_features(mask, 0.02)
    assert found["shape.solidity"] == pytest.approx(mask.sum() / hull.volume, rel=0.02)
    assert found["size.area_mm2"] == pytest.approx(mask.sum() * 0.02**2)
    square = size_features(np.ones((50, 50), bool))
    assert square["size.perimeter_px"] == pytest.approx(200, rel=0.02)
    assert square["size.major_axis_px"] == pytest.approx(4 * math.sqrt((50**2 - 1) / 12), rel=0.01)


def test_elliptic_coefficients_are_the_fourier_series_of_the_outline():
    rng = np.random.default_rng(3)
    t = np.arange(4000) / 4000 * 2 * np.pi
    radius = 50 + 9 * np.cos(3 * t + 1) + 4 * np.sin(5 * t)
    ring = np.stack([radius * np.cos(t), radius * np.sin(t)], axis=1) + rng.normal(0, 1e-3, (4000, 2))
    length = np.linalg.norm(np.roll(ring, -1, axis=0) - ring, axis=1)
    at = np.concatenate([[0], np.cumsum(length)])
    even = np.linspace(0, at[-1], 8192, endpoint=False)
    closed = np.concatenate([ring, ring[:1]])
    series = np.fft.fft(np.interp(even, at, closed[:, 0]) + 1j * np.interp(even, at, closed[:, 1])) / 8192
    axes = np.linalg.svd(elliptic_coefficients(ring, 6), compute_uv=False)
    for order in range(1, 7):
        ahead, back = abs(series[order]), abs(series[-order])
        assert axes[order - 1] == pytest.approx([ahead + back, abs(ahead - back)], abs=1e-3)


def test_a_circle_is_its_first_harmonic_and_an_ellipse_nearly():
    y, x = np.mgrid[:300, :300] - 150
    circle, ellipse = (fourier_features((x / 120) ** 2 + (y / b) ** 2 < 1) for b in (120, 60))
    assert circle["fourier.1.minor"] == pytest.approx(1, abs=0.01)
    assert max(circle[f"fourier.{n}.major"] for n in range(2, 9)) < 0.02
    assert 0.5 < ellipse["fourier.1.minor"] < 0.65  # by arc length, not by the ellipse's own angle
    assert max(ellipse[f"fourier.{n}.major"] for n in (2, 4, 6, 8)) < 0.01


def test_texture_of_a_full_rectangle_is_scikit_images():
    image = np.random.default_rng(0).integers(0, 256, (40, 60), np.uint8)
    chosen = DescribeSettings(levels=16, distances_px=(2,))
    found = texture_features(image, np.ones(image.shape, bool), chosen)
    angles = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
    pairs = graycomatrix(image // 16, [2], angles, 16, symmetric=True).sum(axis=3, keepdims=True)
    for name in ("contrast", "dissimilarity", "homogeneity", "energy", "correlation"):
        wanted = graycoprops(pairs / pairs.sum(), name)[0, 0]
        assert found[f"texture.{name}2"] == pytest.approx(wanted)
    codes = local_binary_pattern(np.pad(image, 3, mode="edge"), 8, 1, "uniform")[3:-3, 3:-3]
    wanted = np.bincount(codes.astype(int).ravel(), minlength=10) / codes.size
    assert [found[f"texture.lbp{i}"] for i in range(10)] == pytest.approx(wanted)


def test_texture_is_the_regions_own():
    """What lies outside of the region (beyond the circle of the patterns) says nothing."""
    rng = np.random.default_rng(1)
    image, mask = rng.integers(0, 256, (60, 60), np.uint8), np.zeros((60, 60), bool)
    mask[20:40, 15:45] = True
    other = image.copy()
    near = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    other[~near] = 255 - other[~near]
    chosen = DescribeSettings()
    assert texture_features(image, mask, chosen) == texture_features(other, mask, chosen)
    other[mask] = 255 - other[mask] // 2
    assert texture_features(image, mask, chosen) != texture_features(other, mask, chosen)


def test_cooccurrence_by_counting():
    image = np.array([[10, 200, 10], [10, 200, 200]], np.uint8)
    mask = np.array([[True, True, False], [True, True, True]])
    found = texture_features(image, mask, DescribeSettings(levels=2, distances_px=(1,)))
    pairs = [(0, 1), (0, 1), (1, 1), (0, 0), (1, 1), (0, 1), (0, 1), (1, 1)]  # across, down and both diagonals
    assert found["texture.contrast1"] == pytest.approx(np.mean([(a - b) ** 2 for a, b in pairs]))


def test_the_largest_region_is_described_and_bad_input_refused():
    mask = crescent(0)
    alone = describe_wear(mask)
    mask[2:4, 2:4] = True
    assert len(components(mask)) == 2
    assert describe_wear(mask).values == pytest.approx(alone.values)
    assert alone["shape.solidity"] == alone.values[alone.names.index("shape.solidity")]
    with pytest.raises(DataError, match="empty"):
        describe_wear(np.zeros((5, 5), bool))
    with pytest.raises(DataError, match="make them equal"):
        describe_wear(mask, np.zeros((5, 5), np.uint8))
