"""A made data set for anomalies: striped plates, some with a scratch; a network with random weights is enough."""

from pathlib import Path

import numpy as np

from flawsmith.core.defect import Defect
from flawsmith.core.sample import Sample
from flawsmith.dataset.manifest import Dataset, DatasetInfo
from flawsmith.dataset.write import write_dataset
from flawsmith.model.anomaly import AnomalySettings

BOX = (40, 24, 56, 32)


def plate(seed: int, scratched: bool = False, shape: tuple = (64, 96), dtype: type = np.uint8, colour: bool = False):
    """Stripes with noise; the scratch is where `BOX` says."""
    rng = np.random.default_rng([seed, scratched])
    image = 110 + 40 * np.sin(np.arange(shape[1]) / 3)[None] + rng.normal(0, 5, shape)
    if scratched:
        x0, y0, x1, y1 = BOX
        image[y0:y1, x0:x1] = 230 + rng.normal(0, 5, (y1 - y0, x1 - x0))
    top = np.iinfo(dtype).max
    image = np.clip(image * top / 255, 0, top).astype(dtype)
    return np.stack([image, image // 2, image // 4], axis=2) if colour else image


def plates(
    folder: Path,
    healthy: int = 12,
    scratched: int = 3,
    splits: tuple = ("train", "train", "val", "test"),
    **kind: object,
) -> Dataset:
    good = [
        Sample(f"good/{i:03}", plate(i, **kind), healthy=True, split=splits[i % len(splits)])  # type: ignore[arg-type]
        for i in range(healthy)
    ]
    mask = np.ones((BOX[3] - BOX[1], BOX[2] - BOX[0]), bool)
    bad = [
        Sample(
            f"bad/{i:03}",
            plate(i, True, **kind),  # type: ignore[arg-type]
            healthy=False,
            label="scratch",
            defects=(Defect("scratch", BOX, mask),),
            split=splits[i % len(splits)],
        )
        for i in range(scratched)
    ]
    return write_dataset(folder, [*good, *bad], DatasetInfo(name="plates", licence="CC0-1.0"))


def quick(method: str = "memory", **more: object) -> AnomalySettings:
    features = {"backbone": "small-cnn", "stages": (1, 2)}
    values = {"method": method, "features": features, "memory": {"rows": 60}, "threads": 1}
    return AnomalySettings.model_validate({**values, **more})
