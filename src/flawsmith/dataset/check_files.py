"""Findings from the files: every image and mask is read once and held against the manifest."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from flawsmith.core.errors import DataError
from flawsmith.core.files import sha256_of
from flawsmith.core.image import decode
from flawsmith.dataset.duplicates import Structures, fine_structure
from flawsmith.dataset.findings import LISTED, Finding
from flawsmith.dataset.manifest import Dataset
from flawsmith.dataset.threads import in_threads

Problem = tuple[str, str]  # (code of the finding, file and what was seen)
Checked = tuple[list[Problem], np.ndarray | None]  # with the fine structure where that was wanted
Track = Callable[[Iterable[Checked]], Iterable[Checked]]
_COLUMNS = ("file_name", "sha256", "width", "height", "channels", "bit_depth", "masks", "defects")


def file_findings(dataset: Dataset, wanted: np.ndarray, track: Track = iter) -> tuple[list[Finding], Structures]:
    """What is wrong with the files, and the fine structure of the images in the rows `wanted`."""
    is_wanted = np.zeros(len(dataset), bool)
    is_wanted[wanted] = True
    counts, places = Counter[str](), defaultdict[str, list[str]](list)
    structures: Structures = {}
    rows = zip(_rows(dataset), is_wanted.tolist(), strict=True)
    checked = in_threads(lambda item: _check_row(dataset.root, *item), rows)
    for number, (problems, structure) in enumerate(track(checked)):
        if is_wanted[number]:
            structures[number] = structure
        for code, where in problems:
            counts[code] += 1
            if len(places[code]) < LISTED:
                places[code].append(where)
    return [Finding(code, count, tuple(places[code])) for code, count in counts.items()], structures


def _rows(dataset: Dataset) -> Iterator[dict[str, Any]]:
    for batch in dataset.table.select(list(_COLUMNS)).to_batches(max_chunksize=1024):
        yield from batch.to_pylist()


def _check_row(root: Path, row: dict[str, Any], wanted: bool) -> Checked:
    image, problems = _read(root, row, "image")
    if image is not None:
        problems += _of_image(image, row)
    shape = (row["height"], row["width"])
    for index, mask in enumerate(row["masks"] or ()):
        layer, seen = _read(root, mask, "mask")
        problems += seen
        if layer is None:
            continue
        if layer.shape != shape:
            problems.append(("mask-size", f"{mask['file_name']}: {layer.shape}, its image {shape}"))
        else:
            found = _of_layer(layer, index, row["defects"] or [])
            problems += [(code, f"{mask['file_name']}: {seen}") for code, seen in found]
    return problems, fine_structure(image) if wanted and image is not None else None


def _read(root: Path, row: dict[str, Any], what: str) -> tuple[np.ndarray | None, list[Problem]]:
    """The pixels, and what is wrong with the file; `what` is "image" or "mask"."""
    name = str(row["file_name"])
    try:
        data = (root / name).read_bytes()
        pixels = decode(data, name)
    except OSError as error:
        return None, [(f"unreadable-{what}", f"{name}: {error.strerror}")]
    except DataError as error:
        return None, [(f"unreadable-{what}", str(error))]
    return pixels, [] if sha256_of(data) == row["sha256"] else [(f"changed-{what}", name)]


def _of_image(image: np.ndarray, row: dict[str, Any]) -> list[Problem]:
    name = row["file_name"]
    found = {
        "height": image.shape[0],
        "width": image.shape[1],
        "channels": 1 if image.ndim == 2 else image.shape[2],
        "bit_depth": 8 * image.dtype.itemsize,
    }
    differs = [f"{key} {value}, manifest {row[key]}" for key, value in found.items() if value != row[key]]
    problems = [("image-shape", f"{name}: {'; '.join(differs)}")] if differs else []
    return [*problems, ("blank", f"{name}: all {image.flat[0]}")] if image.min() == image.max() else problems


def _of_layer(layer: np.ndarray, index: int, defects: list[dict[str, Any]]) -> Iterator[Problem]:
    """A mask layer's values against the defects that name it. Value i is the i-th defect of the image."""
    pixels = np.bincount(layer.ravel(), minlength=len(defects) + 1)
    own = {number for number, defect in enumerate(defects, start=1) if defect["layer"] == index}
    stray = sorted(set(np.flatnonzero(pixels).tolist()) - own - {0})
    if stray:
        yield "stray-mask-value", f"values {', '.join(map(str, stray[:10]))}"
    for number in sorted(own):
        defect = defects[number - 1]
        x0, y0, x1, y1 = (max(defect[edge], 0) for edge in ("x0", "y0", "x1", "y1"))
        inside = int((layer[y0:y1, x0:x1] == number).sum())
        what = f"defect {number} {defect['kind']!r}"
        if not pixels[number]:
            yield "empty-mask", what
        elif inside != pixels[number] or inside != defect["area_px"]:
            area = defect["area_px"]
            yield "mask-against-box", f"{what}: {pixels[number]} pixels, {inside} in its box, area {area}"
