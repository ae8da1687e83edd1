"""Crops of healthy images at random places, the same for the same step whatever happened before."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from flawsmith.core.spec import ModelSpec, scaled
from flawsmith.dataset.manifest import Dataset
from flawsmith.model.classify_net import TOPS


class HealthyCrops:
    """Holds as many images (H, W, C) as fit, and hands out batches of crops (N, C, side, side) in [-1, 1]."""

    def __init__(self, images: Sequence[np.ndarray], side: int, turned: bool, seed: int) -> None:
        self.images = [_at_least(image, side) for image in images]
        self.side, self.turned, self.seed = side, turned, seed

    def batch(self, step: int, count: int) -> Tensor:
        """Of this step."""
        rng = np.random.default_rng([self.seed, step])
        return centred(np.stack([self._crop(rng) for _ in range(count)]))

    def _crop(self, rng: np.random.Generator) -> np.ndarray:
        image = self.images[rng.integers(len(self.images))]
        y, x = (int(rng.integers(length - self.side + 1)) for length in image.shape[:2])
        crop = image[y : y + self.side, x : x + self.side]
        if self.turned:
            crop = np.rot90(crop, int(rng.integers(4)))
            crop = crop[:, ::-1] if rng.integers(2) else crop
        return crop


def held_images(healthy: Dataset, spec: ModelSpec, max_ram_mb: int) -> list[np.ndarray]:
    """Images as the network sees them, of all or of as many as fit, spread evenly."""
    first = scaled(healthy[0].image(), spec)
    most = max((max_ram_mb << 20) // first.nbytes, 1)
    rows = np.unique(np.linspace(0, len(healthy) - 1, min(most, len(healthy))).round().astype(int))
    return [scaled(sample.image(), spec) for sample in healthy.take(rows)]


def centred(pixels: np.ndarray | Tensor, bit_depth: int | None = None) -> Tensor:
    """Integers (N, H, W, C) to float (N, C, H, W) in [-1, 1]. bit_depth: of a tensor; an array tells it itself."""
    if isinstance(pixels, np.ndarray):
        bit_depth = 8 * pixels.dtype.itemsize
        pixels = torch.from_numpy(np.ascontiguousarray(pixels))
    assert bit_depth is not None
    return pixels.permute(0, 3, 1, 2).to(torch.float32) * (2 / TOPS[bit_depth]) - 1


def _at_least(image: np.ndarray, side: int) -> np.ndarray:
    """Mirrored at its border where it is smaller than a crop, as `core.tiles` does."""
    below, right = (max(side - length, 0) for length in image.shape[:2])
    if not below and not right:
        return image
    grown = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REFLECT_101)
    return grown.reshape(*grown.shape[:2], image.shape[2])
