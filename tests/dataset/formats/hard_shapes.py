"""Small pictures and the defects that converters are known to destroy."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from flawsmith.core.defect import Defect
from flawsmith.core.sample import Sample
from flawsmith.dataset.manifest import Dataset, DatasetInfo
from flawsmith.dataset.write import write_dataset


def picture(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def ring(shape: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[2:11, 3:14] = True
    mask[5:8, 6:10] = False
    return mask


def scratch(shape: tuple[int, int]) -> np.ndarray:
    """One pixel wide, at a slope that is neither straight nor diagonal."""
    mask = np.zeros(shape, bool)
    cols = np.arange(1, shape[1] - 1)
    mask[(14 + cols * 0.3).astype(int), cols] = True
    return mask


def pinhole(shape: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[shape[0] - 1, shape[1] - 1] = True
    return mask


def two_parts(shape: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[0, 16:19] = True
    mask[12:14, 16] = True
    return mask


HARD = {"ring": ring, "scratch": scratch, "pinhole": pinhole, "two parts": two_parts}


def as_set(defects: Iterable[Defect]) -> Counter:
    """Defects as a multiset that is equal only where kind, box and every pixel are."""
    return Counter((d.kind, d.box, None if d.mask is None else d.mask.tobytes()) for d in defects)


def dataset_of(root: Path, samples: Iterable[Sample]) -> Dataset:
    return write_dataset(root, samples, DatasetInfo(name="made"))
