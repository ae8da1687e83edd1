"""Augmentation: mask and image stay together under every single operation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flawsmith.dataset.augment import AugmentSettings, affine, cutout, relight, warp

OFF = dict.fromkeys(
    ("zoom", "translate", "rotate_deg", "shear_deg", "light", "noise", "blur_px", "contrast", "brightness", "colour"),
    0.0,
)
STILL = AugmentSettings(flip=False, cutout=0.0, **OFF)
GEOMETRY = {"flip": True, "zoom": 0.5, "translate": 0.3, "rotate_deg": 90.0, "shear_deg": 20.0}
LIGHT = {"noise": 0.05, "blur_px": 1.0, "contrast": 0.3, "brightness": 0.2, "colour": 0.2}


def blobs(shape: tuple[int, int] = (96, 120)) -> tuple[np.ndarray, np.ndarray]:
    """An image that is bright exactly where its one mask plane is true."""
    mask = np.zeros(shape, np.uint8)
    mask[20:44, 30:70] = 1
    mask[60:90, 80:95] = 1
    return mask * np.uint8(200) + np.uint8(20), mask[None]


def agreement(image: np.ndarray, mask: np.ndarray) -> float:
    """IoU of the bright pixels with the mask."""
    bright = image[:, :, 0] >= 119.5  # half-way, as the mask is cut
    union = (bright | (mask > 0)).sum()
    return float((bright & (mask > 0)).sum() / union) if union else 1.0


@pytest.mark.parametrize("name", GEOMETRY)
@pytest.mark.parametrize("seed", range(5))
def test_geometry_moves_image_and_mask_alike(name: str, seed: int) -> None:
    image, masks = blobs()
    only = STILL.model_copy(update={name: GEOMETRY[name]})
    matrix = affine(np.random.default_rng(seed), (50.0, 40.0), 64, only)
    crop, planes = warp(image, masks, matrix, 64)
    assert planes.any()
    assert agreement(crop, planes[0]) > 0.97


@pytest.mark.parametrize("name", GEOMETRY)
def test_each_geometry_change_does_something(name: str) -> None:
    image, masks = blobs()
    still, _ = warp(image, masks, affine(np.random.default_rng(1), (50.0, 40.0), 64, STILL), 64)
    only = STILL.model_copy(update={name: GEOMETRY[name]})
    crops = [warp(image, masks, affine(np.random.default_rng(s), (50.0, 40.0), 64, only), 64)[0] for s in range(4)]
    assert any(not np.array_equal(still, crop) for crop in crops)


def test_the_agreement_measure_notices_a_mask_that_stayed_behind() -> None:
    image, masks = blobs()
    only = STILL.model_copy(update={"translate": 0.3})
    crop, _ = warp(image, masks, affine(np.random.default_rng(0), (50.0, 40.0), 64, only), 64)
    _, behind = warp(image, masks, affine(np.random.default_rng(9), (50.0, 40.0), 64, STILL), 64)
    assert agreement(crop, behind[0]) < 0.9


@pytest.mark.parametrize("name", LIGHT)
def test_light_changes_the_image_within_its_range(name: str) -> None:
    image, _ = blobs()
    crop = np.repeat(image[:, :, None], 3, axis=2).astype(np.float32)
    only = STILL.model_copy(update={"light": 1.0, name: LIGHT[name]})
    lit = relight(np.random.default_rng(4), crop, 255.0, only)
    assert lit.shape == crop.shape
    assert lit.dtype == np.float32
    assert not np.array_equal(lit, crop)
    assert lit.min() >= 0
    assert lit.max() <= 255


def test_sixteen_bit_range_is_used_in_full() -> None:
    crop = np.full((32, 32, 1), 60000, np.float32)
    lit = relight(np.random.default_rng(0), crop, 65535.0, STILL.model_copy(update={"light": 1.0, "brightness": 0.1}))
    assert lit.max() > 255


@given(seed=st.integers(0, 10_000), share=st.floats(0.1, 0.9))
@settings(max_examples=25, deadline=None)
def test_cutout_hides_and_unlabels_the_same_pixels(seed: int, share: float) -> None:
    image, masks = blobs()
    before = image[:, :, None].astype(np.float32)
    hidden, planes = cutout(np.random.default_rng(seed), before, masks, STILL.model_copy(update={"cutout": share}))
    changed = (hidden != before)[:, :, 0]
    assert changed.any()
    assert not planes[0][changed].any()
    assert np.array_equal(planes[0][~changed], np.where(planes[0] != masks[0], 0, masks[0])[~changed])


def test_same_generator_same_crop() -> None:
    image, masks = blobs()
    settings = AugmentSettings()
    one, two = (warp(image, masks, affine(np.random.default_rng(7), (50.0, 40.0), 64, settings), 64) for _ in range(2))
    assert np.array_equal(one[0], two[0])
    assert np.array_equal(one[1], two[1])
