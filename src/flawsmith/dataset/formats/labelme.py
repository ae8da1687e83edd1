"""Labelme: one JSON per image, with shapes. Shapes of one label and one group_id are one defect.

Polygons, circles, lines, points and masks become masks, rectangles boxes. A JSON without shapes is a healthy image; an
image without a JSON is not labelled and is left out. The image may lie inside the JSON (imageData).
"""

import base64
import binascii
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from flawsmith.core.defect import Defect
from flawsmith.core.errors import DataError
from flawsmith.core.image import decode
from flawsmith.core.sample import Sample
from flawsmith.dataset.formats.documents import Record, json_files, json_keys, load_json, parse
from flawsmith.dataset.formats.format import ReadOptions
from flawsmith.dataset.formats.regions import Shape, box_defect, line_mask, mask_defect, polygon_mask
from flawsmith.dataset.formats.source import ImageIndex, labelled, read_each, relative, split_of, upright_shape

_LOOKED_INTO = 20  # JSON files looked into when recognising
_KEYS = {"shapes", "imagePath"}


class LabelmeShape(Record):
    label: str
    points: list[tuple[float, float]]
    shape_type: str | None = "polygon"
    group_id: int | str | None = None
    mask: str | None = None


class LabelmeFile(Record):
    shapes: list[LabelmeShape]
    imagePath: str
    imageData: str | None = None
    imageHeight: int | None = None
    imageWidth: int | None = None


def recognise(src: Path) -> str | None:
    if any(json_keys(path) >= _KEYS for path in json_files(src, _LOOKED_INTO)):
        return None
    return "wants Labelme JSON files with shapes and imagePath, found none"


def read(src: Path, options: ReadOptions) -> Iterator[Sample]:
    files = json_files(src)
    if not files:
        raise DataError(f"{src}: {recognise(src)}")
    index = ImageIndex.of(src)
    unlabelled = len(index.by_path) - len(files)
    if unlabelled > 0:
        options.note(f"{unlabelled} images without a JSON, left out as not labelled", str(src))

    def build(path: Path, _: None) -> Sample | None:
        value = load_json(path)
        if not isinstance(value, dict) or not value.keys() & _KEYS:
            options.note("JSON files that are not Labelme's, left out", str(relative(path, src)))
            return None
        file = parse(LabelmeFile, value, str(path))
        image, pixels = _image(file, path, index)
        shape = upright_shape(image) if pixels is None else (pixels.shape[0], pixels.shape[1])
        said = (file.imageHeight or shape[0], file.imageWidth or shape[1])
        if said != shape:
            raise DataError(f"{path} is for {said[1]}x{said[0]} pixels, its image has {shape[1]}x{shape[0]}")
        marked = [s for s in file.shapes if not options.is_healthy(s.label)]
        found = _defects(marked, shape, str(relative(path, src)), options)
        split = split_of(relative(image, src))
        sample = labelled(src, image, found, healthy=not marked, split=split)
        return sample if pixels is None else replace(sample, pixels=pixels)

    yield from read_each(src, ((path, None) for path in files), build, options)


def _image(file: LabelmeFile, path: Path, index: ImageIndex) -> tuple[Path, np.ndarray | None]:
    """Where the image is, and its pixels where it lies inside the JSON only."""
    try:
        return index.find(file.imagePath, path.parent, path), None
    except DataError:
        if not file.imageData:
            raise
    try:
        data = base64.b64decode(file.imageData, validate=True)
    except binascii.Error as error:
        raise DataError(f"{path}: imageData is not base64 ({error}); save the file in Labelme again") from None
    return path, decode(data, f"{path}, imageData")


def _defects(shapes: list[LabelmeShape], shape: Shape, where: str, options: ReadOptions) -> Iterator[Defect]:
    grouped: dict[tuple, list[LabelmeShape]] = {}
    for number, item in enumerate(shapes):
        key = (item.label, item.group_id) if item.group_id is not None else (item.label, None, number)
        grouped.setdefault(key, []).append(item)
    for items in grouped.values():
        parts = [d for item in items if (d := _part(item, shape, where, options))]
        if len(parts) > 1:
            union = np.logical_or.reduce([part.full_mask(shape) for part in parts])
            yield Defect.from_mask(items[0].label, union)
        else:
            yield from parts


def _part(item: LabelmeShape, shape: Shape, where: str, options: ReadOptions) -> Defect | None:
    kind, points = item.label, item.points
    if item.shape_type == "rectangle" and len(points) == 2:
        (xa, ya), (xb, yb) = points
        return box_defect(kind, (min(xa, xb), min(ya, yb), max(xa, xb), max(ya, yb)), shape, where, options)
    return mask_defect(kind, _mask(item, shape, where), where, options)


def _mask(item: LabelmeShape, shape: Shape, where: str) -> np.ndarray:
    points = np.asarray(item.points, np.float64).reshape(-1, 2)
    if len(points) == 0 or np.abs(points).max() > 1e6:
        raise DataError(f"{where}: {item.label!r} has no points, or points far outside the image; correct it")
    if item.shape_type == "circle" and len(points) == 2:
        radius = float(np.hypot(*(points[1] - points[0])))
        return _disc(points[0], radius, shape)
    if item.shape_type == "mask" and item.mask:
        return _pasted(item, points, shape, where)
    if item.shape_type in ("point", "points", "line", "linestrip"):
        return line_mask(points, shape) if item.shape_type != "points" else _dots(points, shape)
    if item.shape_type in ("polygon", "rectangle", "oriented_rectangle", None):
        return polygon_mask([points.ravel().tolist()], shape, where)
    raise DataError(f"{where}: shape type {item.shape_type!r} is not read; draw it as a polygon")


def _disc(centre: np.ndarray, radius: float, shape: Shape) -> np.ndarray:
    x0, y0 = (max(int(v - radius), 0) for v in centre)
    x1, y1 = (max(int(v + radius) + 1, 0) for v in centre)
    rows, cols = np.ogrid[y0 : min(y1, shape[0]), x0 : min(x1, shape[1])]
    disc = np.zeros(shape, bool)
    disc[y0:y1, x0:x1] = np.hypot(cols + 0.5 - centre[0], rows + 0.5 - centre[1]) <= radius
    return disc if disc.any() else line_mask(centre[None], shape)


def _dots(points: np.ndarray, shape: Shape) -> np.ndarray:
    return np.logical_or.reduce([line_mask(point[None], shape) for point in points])


def _pasted(item: LabelmeShape, points: np.ndarray, shape: Shape, where: str) -> np.ndarray:
    """A mask shape: a PNG whose first pixel lies at the first point."""
    try:
        png = base64.b64decode(item.mask or "", validate=True)
    except binascii.Error as error:
        raise DataError(f"{where}: a mask is not base64 ({error}); save the file in Labelme again") from None
    piece = decode(png, f"{where}, mask of {item.label!r}")
    piece = piece if piece.ndim == 2 else piece[:, :, 0]
    x, y = (int(v) for v in points[0])
    if x < 0 or y < 0 or y + piece.shape[0] > shape[0] or x + piece.shape[1] > shape[1]:
        raise DataError(f"{where}: a mask of {item.label!r} reaches outside the image; correct it")
    canvas = np.zeros(shape, bool)
    canvas[y : y + piece.shape[0], x : x + piece.shape[1]] = piece > 0
    return canvas
