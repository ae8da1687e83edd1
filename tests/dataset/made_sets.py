"""Small data sets made in a moment, and data sets that are a manifest only."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from flawsmith.core.defect import Defect
from flawsmith.core.sample import Sample
from flawsmith.dataset.manifest import SCHEMA, Dataset, DatasetInfo, write_manifest
from flawsmith.dataset.write import write_dataset


def surface(seed: int, height: int = 40, width: int = 60, dtype: type = np.uint8) -> np.ndarray:
    """Noise: no two are alike."""
    return np.random.default_rng(seed).integers(20, np.iinfo(dtype).max, (height, width), dtype)


def blobs(seed: int, height: int = 150, width: int = 200) -> np.ndarray:
    """Large soft spots of full contrast, as a casting might have."""
    coarse = np.random.default_rng(seed).random((6, 8)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.normalize(smooth, np.empty(0), 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def spot(kind: str = "dent", x: int = 10, y: int = 8, side: int = 5, shape: tuple[int, int] = (40, 60)) -> Defect:
    mask = np.zeros(shape, bool)
    mask[y : y + side, x : x + side] = True
    return Defect.from_mask(kind, mask)


def parts(count: int = 12, each: int = 2, kinds: Sequence[str] = ("dent", "scratch")) -> list[Sample]:
    """`count` parts with `each` images; every second part is defective, its kinds taken in turn."""
    samples = []
    for index in range(count * each):
        part = index // each
        kind = kinds[part // 2 % len(kinds)] if part % 2 else None
        samples.append(
            Sample(
                id=f"p{part:02d}/{index:03d}",
                pixels=surface(index),
                healthy=kind is None,
                label=kind or "good",
                defects=(spot(kind),) if kind else (),
                groups={"part": f"p{part}"},
                source=f"line/p{part}_view{index % each}.tif",
            )
        )
    return samples


def made(folder: Path, samples: Iterable[Sample], **info: Any) -> Dataset:
    return write_dataset(folder, samples, DatasetInfo(name="made", **info))


def listed(folder: Path, rows: Sequence[dict[str, Any]], classes: tuple[str, ...] = ("dent", "scratch")) -> Dataset:
    """A manifest without files; every row is completed to a healthy grey image."""
    dataset = imagined(rows, classes)
    folder.mkdir(exist_ok=True)
    write_manifest(folder, dataset.info, dataset.table)
    return Dataset.open(folder)


def imagined(rows: Sequence[dict[str, Any]], classes: tuple[str, ...] = ("dent", "scratch")) -> Dataset:
    """The same in memory, for tests with many examples."""
    complete = []
    for index, row in enumerate(rows):
        default = {
            "file_name": f"images/{index}.png",
            "id": str(index),
            "sha256": f"{index:064x}",
            "width": 60,
            "height": 40,
            "channels": 1,
            "bit_depth": 8,
            "label": "good",
            "healthy": row.get("label", "good") == "good",
            "defects": [],
            "masks": [],
            "provenance": "real",
            "source": f"{index}.tif",
            "dhash": int.from_bytes(np.random.default_rng(index).bytes(8), "big"),
        }
        complete.append(default | row)
    table = pa.Table.from_pylist(complete, schema=SCHEMA)
    return Dataset(Path("imagined"), DatasetInfo(name="listed", classes=classes), table)


def box(
    kind: str = "dent", x0: int = 1, y0: int = 2, x1: int = 11, y1: int = 12, layer: int = -1, area: int = 100
) -> dict:
    return {"kind": kind, "layer": layer, "x0": x0, "y0": y0, "x1": x1, "y1": y1, "area_px": area}


def changed(dataset: Dataset, row: int, **values: Any) -> Dataset:
    """The data set with some values of one row changed, hash and all."""
    rows = dataset.table.to_pylist()
    rows[row] |= values
    write_manifest(dataset.root, dataset.info, pa.Table.from_pylist(rows, schema=SCHEMA))
    return Dataset.open(dataset.root)
