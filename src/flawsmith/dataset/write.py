"""Samples in, data set folder out: lossless, atomic, the manifest last."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from flawsmith.core.defect import Defect
from flawsmith.core.errors import DataError
from flawsmith.core.files import sha256_of, staged_folder, writing
from flawsmith.core.geometry import mask_box
from flawsmith.core.image import encode_png, to_uint8
from flawsmith.core.sample import GROUPS, Sample
from flawsmith.dataset.manifest import SCHEMA, Dataset, DatasetInfo, write_manifest


def write_dataset(
    out: Path,
    samples: Iterable[Sample],
    info: DatasetInfo,
    overwrite: bool = False,
    progress: Callable[[Sample], None] = lambda sample: None,
) -> Dataset:
    """Write a data set folder and open it. `info.classes` may be empty: then they are the kinds met, sorted.

    Raises `DataError` naming the sample for an id used twice, a defect outside its image or a kind not in
    `info.classes`; nothing is left behind then.
    """
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    with staged_folder(out, overwrite, "data set") as stage:
        for sample in samples:
            if sample.id.casefold() in seen:
                raise DataError(f"two images are called {sample.id!r}; rename one of them")
            seen.add(sample.id.casefold())
            rows.append(_write_sample(stage, sample))
            progress(sample)
        if not rows:
            raise DataError(f"no images were found for {out}")
        kinds = {d["kind"] for row in rows for d in row["defects"]}
        if info.classes and kinds - set(info.classes):
            raise DataError(f"defect kinds {sorted(kinds - set(info.classes))} are not among {list(info.classes)}")
        info = info.model_copy(
            update={
                "classes": info.classes or tuple(sorted(kinds)),
                "labels": info.labels or tuple(sorted({row["label"] for row in rows})),
            }
        )
        write_manifest(stage, info, pa.Table.from_pylist(rows, schema=SCHEMA))
    return Dataset.open(out)


def _write_sample(root: Path, sample: Sample) -> dict[str, Any]:
    files, row = encode_sample(sample)
    for name, data in files.items():
        _store(root / name, data)
    return row


def encode_sample(sample: Sample) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The files of one sample, by path in the data set folder, and its manifest row. Raises as `write_dataset`."""
    image = sample.image()
    shape = image.shape[:2]
    data = encode_png(image)
    file_name = f"images/{sample.id}.png"
    files = {file_name: data}
    layers, defects = _layers(sample, shape)
    masks = []
    for index, layer in enumerate(layers):
        suffix = f".{index}" if index else ""
        mask_data = encode_png(layer)
        masks.append({"file_name": f"masks/{sample.id}{suffix}.png", "sha256": sha256_of(mask_data)})
        files[masks[-1]["file_name"]] = mask_data
    return files, {
        "file_name": file_name,
        "id": sample.id,
        "sha256": sha256_of(data),
        "width": shape[1],
        "height": shape[0],
        "channels": 1 if image.ndim == 2 else 3,
        "bit_depth": 8 * image.dtype.itemsize,
        "label": sample.label,
        "healthy": sample.healthy,
        "defects": defects,
        "masks": masks,
        "split": sample.split,
        "provenance": sample.provenance,
        "source": sample.source,
        **{key: sample.groups.get(key) for key in GROUPS},
        "pixel_mm": sample.pixel_mm,
        "seed": sample.seed,
        "spec_hash": sample.spec_hash,
        "dhash": difference_hash(image),
    }


def _store(path: Path, data: bytes) -> None:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _layers(sample: Sample, shape: tuple[int, int]) -> tuple[list[np.ndarray], list[dict[str, Any]]]:
    """Defects painted as numbers, each on the first layer where it covers no other."""
    layers: list[np.ndarray] = []
    rows = []
    dtype = np.uint8 if len(sample.defects) < 256 else np.uint16
    for number, defect in enumerate(sample.defects, start=1):
        x0, y0, x1, y1 = defect.box
        if x0 < 0 or y0 < 0 or x1 > shape[1] or y1 > shape[0]:
            raise DataError(f"{sample.id}: defect {defect.kind!r} at {defect.box} lies outside its {shape} image")
        layer = -1
        if defect.mask is not None:
            layer = _paint(layers, defect, number, shape, dtype)
        rows.append(
            {"kind": defect.kind, "layer": layer, "x0": x0, "y0": y0, "x1": x1, "y1": y1, "area_px": defect.area_px}
        )
    return layers, rows


def _paint(layers: list[np.ndarray], defect: Defect, number: int, shape: tuple[int, int], dtype: type) -> int:
    x0, y0, x1, y1 = defect.box
    assert defect.mask is not None
    if mask_box(defect.mask) is None:
        raise DataError(f"defect {defect.kind!r} at {defect.box} has an empty mask")
    for index, layer in enumerate(layers):
        window = layer[y0:y1, x0:x1]
        if not window[defect.mask].any():
            window[defect.mask] = number
            return index
    layers.append(np.zeros(shape, dtype))
    layers[-1][y0:y1, x0:x1][defect.mask] = number
    return len(layers) - 1


def difference_hash(image: np.ndarray) -> int:
    """64-bit dHash: signs of the horizontal differences of an 8x9 thumbnail."""
    grey = to_uint8(image)
    grey = grey if grey.ndim == 2 else cv2.cvtColor(grey, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    bits = np.packbits(small[:, 1:] > small[:, :-1])
    return int.from_bytes(bits.tobytes(), "big")
