"""A made data set of image labels: plain squares, striped squares (good), and squares with a dark spot."""

from pathlib import Path

import numpy as np

from flawsmith.core.sample import Sample
from flawsmith.dataset.manifest import Dataset, DatasetInfo
from flawsmith.dataset.write import write_dataset

CLASSES = ("good", "spotted", "striped")


def picture(label: str, seed: int, side: int = 48, dtype: type = np.uint8) -> np.ndarray:
    rng = np.random.default_rng([seed, len(label)])
    image = 120 + rng.normal(0, 6, (side, side))
    if label == "striped":
        image += 70 * (np.arange(side) // 4 % 2)[:, None]
    if label == "spotted":
        y, x = rng.integers(10, side - 10, 2)
        rows, columns = np.mgrid[:side, :side]
        image[(rows - y) ** 2 + (columns - x) ** 2 < 64] = 10
    top = np.iinfo(dtype).max
    return np.clip(image * top / 255, 0, top).astype(dtype)


def labelled(
    folder: Path, each: int = 12, dtype: type = np.uint8, splits: tuple = ("train", "train", "val", "test")
) -> Dataset:
    """`each` images of every class; image i of a class is part i, so parts are one image each."""
    samples = [
        Sample(
            f"{label}/{i:02}",
            picture(label, i, dtype=dtype),
            healthy=label == "good",
            label=label,
            split=splits[i % len(splits)],
        )
        for label in CLASSES
        for i in range(each)
    ]
    return write_dataset(folder, samples, DatasetInfo(name="squares"))


def unlike(seed: int = 0, side: int = 48) -> list[np.ndarray]:
    """Images of no class: black, white, noise, a gradient."""
    rng = np.random.default_rng(seed)
    slope = np.tile(np.linspace(0, 255, side), (side, 1))
    plain = [np.zeros((side, side)), np.full((side, side), 255.0), rng.uniform(0, 255, (side, side)), slope]
    return [image.astype(np.uint8) for image in plain]
