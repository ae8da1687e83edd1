"""Training crops: which image, where, and how disturbed. Batch i depends on (seed, i) alone."""

from collections import OrderedDict
from dataclasses import dataclass

import cv2
import numpy as np

from flawsmith.core.errors import DataError
from flawsmith.core.image import to_channels
from flawsmith.dataset.augment import AugmentSettings, affine, cutout, relight, warp
from flawsmith.dataset.manifest import Dataset


@dataclass(frozen=True)
class CropSettings:
    """side: pixels of a crop, shrunk by `scale`; size: crops in a batch; defect: share centred on a defect."""

    side: int
    size: int
    defect: float
    augment: AugmentSettings
    scale: int = 1


class Crops:
    """Deterministic source of training batches with a bounded cache of decoded images."""

    def __init__(
        self,
        dataset: Dataset,
        kinds: tuple[str, ...],
        channels: int,
        settings: CropSettings,
        seed: int,
        cache_bytes: int = 2 << 30,
    ) -> None:
        self.dataset = usable(dataset, kinds)
        self.kinds, self.channels, self.settings, self.seed = kinds, channels, settings, seed
        self._spots = _spots(self.dataset, kinds)
        if not any(self._spots):
            raise DataError(f"{dataset.root}: no marked defect to learn from in these images; label some, or re-split")
        self._cache: OrderedDict[int, tuple[np.ndarray, np.ndarray]] = OrderedDict()
        self._room = cache_bytes

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Images float32 (N, C, side, side) in raw intensities; targets float32 (N, K, side, side), covered shares."""
        rng = np.random.default_rng([self.seed, step])
        crops = [self._crop(rng) for _ in range(self.settings.size)]
        images = np.stack([image.transpose(2, 0, 1) for image, _ in crops])
        return images, np.stack([masks for _, masks in crops]).astype(np.float32)

    def _crop(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        side, augment = self.settings.side, self.settings.augment
        if rng.random() < self.settings.defect:
            image, masks, centre = self._on_defect(rng)
        else:
            image, masks = self._load(int(rng.integers(len(self.dataset))))
            centre = (rng.uniform(0, image.shape[1] - 1), rng.uniform(0, image.shape[0] - 1))
        matrix = affine(rng, centre, side * self.settings.scale, augment)
        crop, planes = warp(image, masks, matrix, side * self.settings.scale)
        if self.settings.scale > 1:
            crop, planes = shrunk(crop, side), shrunk(planes.transpose(1, 2, 0), side).transpose(2, 0, 1)
        top = 255.0 if image.dtype == np.uint8 else 65535.0
        return cutout(rng, relight(rng, crop, top, augment), planes, augment)

    def _on_defect(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
        """A kind at random, one of its defects at random, one of its pixels at random: rare kinds are seen as often."""
        spots = self._spots[rng.choice([i for i, s in enumerate(self._spots) if s])]
        row, (x0, y0, x1, y1), plane = spots[int(rng.integers(len(spots)))]
        image, masks = self._load(row)
        ys, xs = np.nonzero(masks[plane, y0:y1, x0:x1])
        pick = int(rng.integers(len(ys)))
        return image, masks, (float(x0 + xs[pick]), float(y0 + ys[pick]))

    def _load(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        if row in self._cache:
            self._cache.move_to_end(row)
            return self._cache[row]
        sample = self.dataset[row]
        image = to_channels(sample.image(), self.channels)
        masks = sample.masks(self.kinds, image.shape[:2]).astype(np.uint8)
        self._cache[row] = image, masks
        self._room -= image.nbytes + masks.nbytes
        while self._room < 0 and len(self._cache) > 1:
            _, (old, old_masks) = self._cache.popitem(last=False)
            self._room += old.nbytes + old_masks.nbytes
        return image, masks


def shrunk(pixels: np.ndarray, side: int) -> np.ndarray:
    """(H, W, C) to float32 (side, side, C), each pixel the mean of those it covers."""
    small = cv2.resize(pixels.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    return small.reshape(side, side, -1)


def usable(dataset: Dataset, kinds: tuple[str, ...]) -> Dataset:
    """Leave out defective images without a marked region of these kinds: their pixels are not known."""
    marked = np.array([any(d["kind"] in kinds for d in row) for row in dataset.column("defects")], bool)
    return dataset.where(marked | np.array(dataset.column("healthy"), bool))


def _spots(dataset: Dataset, kinds: tuple[str, ...]) -> list[list[tuple[int, tuple[int, int, int, int], int]]]:
    """Per kind: (row, box, plane) of each defect."""
    spots: list[list[tuple[int, tuple[int, int, int, int], int]]] = [[] for _ in kinds]
    for row, defects in enumerate(dataset.column("defects")):
        for d in defects:
            if d["kind"] in kinds:
                plane = kinds.index(d["kind"])
                spots[plane].append((row, (d["x0"], d["y0"], d["x1"], d["y1"]), plane))
    return spots
