"""YOLO: one text file per image, `class cx cy w h` (boxes) or `class x1 y1 x2 y2 …` (polygons), in fractions.

`images/train/x.png` has its labels in `labels/train/x.txt`, or `train/images/x.png` in `train/labels/x.txt`; names come
from data.yaml or classes.txt. An image without a text file, or with an empty one, is healthy, as YOLO takes it.

A polygon is filled as YOLO's trainers fill it: coordinates cut to whole pixels, the border included. A defect written
as the path through its border pixels' centres therefore comes back exactly, unless it has a hole or several parts.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import yaml

from flawsmith.core.defect import Defect
from flawsmith.core.errors import DataError
from flawsmith.core.image import image_files
from flawsmith.core.sample import Sample
from flawsmith.dataset.formats.documents import read_text
from flawsmith.dataset.formats.format import ReadOptions, Target
from flawsmith.dataset.formats.regions import box_defect, mask_defect
from flawsmith.dataset.formats.source import labelled, read_each, relative, split_of, upright_shape
from flawsmith.dataset.formats.target import save_image, save_text

_UNSPLIT = "all"
_FAR = 2.0  # fractions of the image: further out is no label but a mistake, pixels instead of fractions for example


def recognise(src: Path) -> str | None:
    pairs = [(image, label) for image in image_files(src) if (label := _label_path(image, src))]
    if not pairs:
        return "wants images in a folder images and text files in a folder labels beside it"
    if not any(label.is_file() for _, label in pairs):
        return "no image in its folder images has a text file of its name in labels"
    return None


def read(src: Path, options: ReadOptions) -> Iterator[Sample]:
    pairs = [(image, label) for image in image_files(src) if (label := _label_path(image, src))]
    if not pairs:
        raise DataError(f"{src}: {recognise(src)}")
    names = _names(src)

    def build(path: Path, label_path: Path) -> Sample:
        where, shape = relative(path, src), upright_shape(path)
        rows = _rows(label_path)
        if not label_path.is_file():
            options.note("images without a label file, taken as healthy", str(where))
        marked = [(kind, values, at) for kind, values, at in _named(rows, names) if not options.is_healthy(kind)]
        found = (_defect(kind, values, shape, at, options) for kind, values, at in marked)
        return labelled(src, path, (d for d in found if d), healthy=not marked, split=split_of(where))

    yield from read_each(src, pairs, build, options)


def _label_path(image: Path, src: Path) -> Path | None:
    """The last folder called images becomes labels; None for an image outside such a folder."""
    parts = list(relative(image, src).parts)
    at = next((i for i in range(len(parts) - 2, -1, -1) if parts[i] == "images"), None)
    if at is None:
        return None
    return src.joinpath(*parts[:at], "labels", *parts[at + 1 : -1], f"{image.stem}.txt")


def _names(src: Path) -> list[str]:
    """Class names by number. Raises `DataError` where none are given."""
    for path in (*sorted(src.glob("*.yaml")), *sorted(src.glob("*.yml"))):
        try:
            values = yaml.safe_load(read_text(path))
        except yaml.YAMLError as error:
            raise DataError(f"{path} cannot be read as YAML: {error}") from None
        names = values.get("names") if isinstance(values, dict) else None
        if names is not None:
            return _listed(names, path)
    for path in (src / "classes.txt", src / "labels" / "classes.txt"):
        if path.is_file():
            return [line.strip() for line in read_text(path).splitlines() if line.strip()]
    raise DataError(f"{src} has no data.yaml with names and no classes.txt; add one, class 0 first")


def _listed(names: Any, path: Path) -> list[str]:
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list) or not all(isinstance(name, str | int) for name in names):
        raise DataError(f"{path}: names must be a list, or 0, 1, 2 … each with a name; correct it")
    return [str(name) for name in names]


def _rows(path: Path) -> list[tuple[list[str], str]]:
    lines = read_text(path).splitlines() if path.is_file() else []
    return [(line.split(), f"{path}, line {number}") for number, line in enumerate(lines, start=1) if line.strip()]


def _named(rows: list[tuple[list[str], str]], names: list[str]) -> Iterator[tuple[str, list[float], str]]:
    for fields, where in rows:
        try:
            number, values = int(fields[0]), [float(f) for f in fields[1:]]
        except ValueError:
            raise DataError(f"{where}: wanted numbers, got {' '.join(fields)[:60]!r}; correct it") from None
        if not 0 <= number < len(names):
            raise DataError(
                f"{where}: class {number}, but there are names for 0 to {len(names) - 1}; correct one of them"
            )
        if not np.isfinite(values).all() or any(abs(v) > _FAR for v in values):
            raise DataError(f"{where}: coordinates must be fractions of the image, 0 to 1; correct it")
        yield names[number], values, where


def _defect(kind: str, values: list[float], shape: tuple[int, int], where: str, options: ReadOptions) -> Defect | None:
    height, width = shape
    if len(values) == 4:
        x, y, w, h = np.multiply(values, (width, height, width, height)).tolist()
        return box_defect(kind, (x - w / 2, y - h / 2, x + w / 2, y + h / 2), shape, where, options)
    if len(values) < 6 or len(values) % 2:
        raise DataError(f"{where}: {len(values)} numbers are neither a box (4) nor a polygon (6, 8 …); correct it")
    points = (np.reshape(values, (-1, 2)) * (width, height)).astype(np.int32)
    canvas = np.zeros(shape, np.uint8)
    cv2.fillPoly(canvas, [points], 1)
    return mask_defect(kind, canvas.astype(bool), where, options)


def write(samples: Iterable[Sample], target: Target) -> dict[str, str]:
    """Polygons; a defect of which only the box is known stays a box."""
    return _write(samples, target, boxes=False)


def write_boxes(samples: Iterable[Sample], target: Target) -> dict[str, str]:
    """Boxes only, for detectors."""
    return _write(samples, target, boxes=True)


def _write(samples: Iterable[Sample], target: Target, boxes: bool) -> dict[str, str]:
    paths: dict[str, str] = {}
    for sample in samples:
        place = PurePosixPath(sample.split or _UNSPLIT) / target.stems[sample.id]
        paths[sample.id] = f"images/{place}.png"
        save_image(sample, target.out / paths[sample.id])
        shape = upright_shape(target.out / paths[sample.id])
        lines = [line for defect in sample.defects for line in _lines(defect, target.kinds, shape, boxes)]
        save_text(target.out / f"labels/{place}.txt", "".join(line + "\n" for line in lines))
    save_text(target.out / "data.yaml", _data_yaml(target, set(paths.values())))
    return paths


def _data_yaml(target: Target, paths: set[str]) -> str:
    used = {path.split("/")[1] for path in paths}
    values: dict[str, Any] = {"path": "."}
    for split in ("train", "val", "test"):
        # Trainers insist on train and val, so a set without splits is named twice.
        if split in used or (split != "test" and not target.split):
            values[split] = f"images/{split if split in used else _UNSPLIT}"
    values["names"] = dict(enumerate(target.kinds))
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _lines(defect: Defect, kinds: tuple[str, ...], shape: tuple[int, int], boxes: bool) -> Iterator[str]:
    number = kinds.index(defect.kind)
    height, width = shape
    if boxes or defect.mask is None:
        x0, y0, x1, y1 = defect.box
        yield _line(number, [(x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height])
        return
    contours, _ = cv2.findContours(defect.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    for contour in contours:
        points = contour[:, 0, :] + np.array(defect.box[:2])
        points = np.concatenate([points, *[points[-1:]] * (3 - len(points))])  # a polygon has three corners at least
        yield _line(number, ((points + 0.5) / (width, height)).ravel().tolist())


def _line(number: int, values: list[float]) -> str:
    return " ".join([str(number), *(f"{value:.8f}" for value in values)])
