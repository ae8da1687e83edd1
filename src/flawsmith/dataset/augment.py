"""Augmentation of an image with its mask planes, as in the DAGM U-Net and car-door papers.

Geometry (flips, zoom, translation, rotation, shear) is one affine map, applied to image and masks alike; light (noise,
blur, contrast, brightness, colour jitter) touches the image alone; cutout hides a patch and un-labels it. Images are
float32 (H, W, C) in raw intensity units, masks uint8 (K, H, W) of 0 and 1.
"""

import math

import cv2
import numpy as np
from pydantic import Field

from flawsmith.core.config import Settings


class AugmentSettings(Settings):
    """Ranges are symmetric around no change, 0 is off. Each light change is drawn with probability `light`."""

    flip: bool = True
    zoom: float = Field(default=0.2, ge=0, lt=1)  # factor within [1/(1+zoom), 1+zoom]
    translate: float = Field(default=0.25, ge=0, le=0.5)  # of the crop's side
    rotate_deg: float = Field(default=15.0, ge=0, le=180)
    shear_deg: float = Field(default=5.0, ge=0, lt=45)
    light: float = Field(default=0.4, ge=0, le=1)
    noise: float = Field(default=0.03, ge=0)  # largest standard deviation, of the full range
    blur_px: float = Field(default=1.0, ge=0)  # largest Gaussian sigma
    contrast: float = Field(default=0.25, ge=0, lt=1)
    brightness: float = Field(default=0.15, ge=0, lt=1)  # of the full range
    colour: float = Field(default=0.1, ge=0, lt=1)  # gain of each channel
    cutout: float = Field(default=0.0, ge=0, lt=1)  # side of the hidden patch, of the crop's side


def affine(rng: np.random.Generator, centre: tuple[float, float], side: int, settings: AugmentSettings) -> np.ndarray:
    """Random 2x3 map from crop pixels to image pixels that takes the crop's middle near `centre` (x, y)."""
    zoom = math.exp(rng.uniform(-1, 1) * math.log1p(settings.zoom))
    angle = math.radians(rng.uniform(-1, 1) * settings.rotate_deg)
    shear = math.tan(math.radians(rng.uniform(-1, 1) * settings.shear_deg))
    flip = rng.choice([-1.0, 1.0], 2) if settings.flip else np.ones(2)
    shift = rng.uniform(-1, 1, 2) * settings.translate * side
    cos, sin = math.cos(angle), math.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.array([[1, shear], [0, 1]]) @ np.diag(flip) / zoom
    middle = np.full(2, (side - 1) / 2)
    return np.column_stack([linear, np.asarray(centre) - linear @ (middle + shift)])


def warp(image: np.ndarray, masks: np.ndarray, matrix: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut a `side`² crop through `matrix`; past the border both are mirrored, so they stay together there too."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

    def cut(plane: np.ndarray) -> np.ndarray:
        return cv2.warpAffine(plane, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REFLECT_101)

    crop = cut(image).astype(np.float32).reshape(side, side, -1)
    planes = np.stack([cut(mask * np.uint8(255)) > 127 for mask in masks]).astype(np.uint8)
    return crop, planes


def relight(rng: np.random.Generator, image: np.ndarray, top: float, settings: AugmentSettings) -> np.ndarray:
    """Random noise, blur, contrast, brightness and colour, each drawn alone; `top` is the full range (255 or 65535)."""
    for change in (_contrast, _brightness, _colour, _blur, _noise):
        if rng.random() < settings.light:
            image = change(rng, image, top, settings)
    return np.clip(image, 0, top)


def cutout(
    rng: np.random.Generator, image: np.ndarray, masks: np.ndarray, settings: AugmentSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Hide a random square under the crop's mean; what cannot be seen is no longer labelled (DeVries & Taylor 2017)."""
    height, width = image.shape[:2]
    size = round(settings.cutout * min(height, width))
    if not size:
        return image, masks
    y, x = int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))
    image, masks = image.copy(), masks.copy()
    image[y : y + size, x : x + size] = image.mean(axis=(0, 1))
    masks[:, y : y + size, x : x + size] = 0
    return image, masks


def _contrast(rng: np.random.Generator, image: np.ndarray, top: float, settings: AugmentSettings) -> np.ndarray:
    mean = image.mean()
    return mean + (image - mean) * np.float32(1 + rng.uniform(-1, 1) * settings.contrast)


def _brightness(rng: np.random.Generator, image: np.ndarray, top: float, settings: AugmentSettings) -> np.ndarray:
    return image + np.float32(rng.uniform(-1, 1) * settings.brightness * top)


def _colour(rng: np.random.Generator, image: np.ndarray, top: float, settings: AugmentSettings) -> np.ndarray:
    return image * (1 + rng.uniform(-1, 1, image.shape[2]) * settings.colour).astype(np.float32)


def _blur(rng: np.random.Generator, image: np.ndarray, top: float, settings: AugmentSettings) -> np.ndarray:
    sigma = rng.uniform(0, settings.blur_px)
    return cv2.GaussianBlur(image, (0, 0), sigma).reshape(image.shape) if sigma > 0.1 else image


def _noise(rng: np.random.Generator, image: np.ndarray, top: float, settings: AugmentSettings) -> np.ndarray:
    sigma = np.float32(rng.uniform(0, settings.noise) * top)
    return image + rng.standard_normal(image.shape, dtype=np.float32) * sigma
