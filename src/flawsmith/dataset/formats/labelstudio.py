"""Label Studio, exported as JSON: polygons, rectangles, ellipses and brush strokes, in per cent of the image.

One region is one defect. Of several annotations of a task the one marked as ground truth is read, else the first that
was not cancelled. A task whose annotation is empty is a healthy image; one without annotations is not labelled and is
left out. Uploaded files (`/data/upload/1/1a2b3c4d-x.png`) and local ones (`/data/local-files/?d=a/x.png`) are found by
name under the folder.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from pydantic import Field

from flawsmith.core.defect import Defect
from flawsmith.core.errors import DataError
from flawsmith.core.sample import Sample
from flawsmith.dataset.formats.brush import brush_mask
from flawsmith.dataset.formats.documents import Record, json_files, json_keys, parse, read_json_as
from flawsmith.dataset.formats.format import ReadOptions
from flawsmith.dataset.formats.regions import Shape, box_defect, mask_defect, polygon_mask
from flawsmith.dataset.formats.source import ImageIndex, labelled, read_each, relative, split_of, upright_shape

_LOOKED_INTO = 64
_UPLOAD_PREFIX = re.compile(r"[0-9a-f]{8}-")
_REGION_TYPES = ("polygonlabels", "rectanglelabels", "ellipselabels", "brushlabels", "labels")
_REGION_TYPES += ("polygon", "rectangle", "ellipse", "brush")


class Result(Record):
    type: str = ""
    id: str | None = None
    value: dict[str, Any] = Field(default_factory=dict)
    original_width: int | None = None
    original_height: int | None = None
    image_rotation: float = 0


class Annotation(Record):
    result: tuple[Result, ...] = ()
    was_cancelled: bool = False
    ground_truth: bool = False


class Task(Record):
    id: int | str = ""
    data: dict[str, Any]
    annotations: list[Annotation]


class Rectangle(Record):
    """Per cent; x, y is the corner that the rotation (degrees, clockwise) turns about."""

    x: float
    y: float
    width: float
    height: float
    rotation: float = 0


class Ellipse(Record):
    x: float
    y: float
    radiusX: float
    radiusY: float
    rotation: float = 0


def recognise(src: Path) -> str | None:
    return None if _files(src) else "wants a Label Studio export of type JSON (a list of tasks), found none"


def _files(src: Path) -> list[Path]:
    return [path for path in json_files(src, _LOOKED_INTO) if {"[]", "data", "annotations"} <= json_keys(path)]


def read(src: Path, options: ReadOptions) -> Iterator[Sample]:
    files = _files(src)
    if not files:
        raise DataError(f"{src}: {recognise(src)}")
    index = ImageIndex.of(src)

    def build(path: Path, task: Task) -> Sample | None:
        where = f"{path.name}, task {task.id}"
        annotation = _chosen(task, where, options)
        if annotation is None:
            options.note("tasks without an annotation, left out as not labelled", where)
            return None
        image = _image_of(task, path, index)
        shape = upright_shape(image)
        marked = [(r, k) for r, k in _regions(annotation, where, options) if not options.is_healthy(k)]
        found = (_defect(r, k, shape, where, options) for r, k in marked)
        split = split_of(relative(image, src))
        return labelled(src, image, (d for d in found if d), healthy=not marked, split=split)

    for path in files:
        yield from read_each(src, ((path, task) for task in read_json_as(list[Task], path)), build, options)


def _chosen(task: Task, where: str, options: ReadOptions) -> Annotation | None:
    usable = [a for a in task.annotations if not a.was_cancelled]
    if len(usable) > 1:
        options.note("tasks with several annotations, of which one is read", where)
    return next((a for a in usable if a.ground_truth), usable[0] if usable else None)


def _image_of(task: Task, path: Path, index: ImageIndex) -> Path:
    links = [v for v in task.data.values() if isinstance(v, str) and re.search(r"\.\w{3,4}($|\?|&)", v)]
    if not links:
        raise DataError(f"{path}, task {task.id}: its data names no image file")
    url = urlsplit(links[0])
    local = parse_qs(url.query).get("d")
    if local:
        return index.find(local[0], index.src, path)
    name = unquote(url.path)
    if not url.scheme and not url.path.startswith("/data/"):
        return index.find(name, path.parent, path)
    file_name = name.rsplit("/", 1)[-1]
    if file_name not in index.by_name:
        file_name = _UPLOAD_PREFIX.sub("", file_name, count=1)
    return index.called(file_name, file_name, path)


def _regions(annotation: Annotation, where: str, options: ReadOptions) -> Iterator[tuple[Result, str]]:
    """Each marked region with its label. A shape and its label may be two results with one id: the labelled counts."""
    with_label = {r.id for r in annotation.result if _label(r)}
    for result in annotation.result:
        if result.type not in _REGION_TYPES:
            options.note(f"results of type {result.type!r} are not regions and are ignored", where)
        elif label := _label(result):
            yield result, label
        elif result.id not in with_label:
            options.note(f"regions without a label are called {options.kind!r}", where)
            yield result, options.kind


def _label(result: Result) -> str | None:
    lists = (v for k, v in result.value.items() if k.endswith("labels") and isinstance(v, list) and v)
    return next((str(names[0]) for names in lists), None)


def _defect(result: Result, kind: str, shape: Shape, where: str, options: ReadOptions) -> Defect | None:
    said = (result.original_height or shape[0], result.original_width or shape[1])
    if said != shape or result.image_rotation:
        turned = f" turned by {result.image_rotation:g} degrees" if result.image_rotation else ""
        raise DataError(f"{where} is for {said[1]}x{said[0]} pixels{turned}, its image has {shape[1]}x{shape[0]}")
    value = result.value
    if "rle" in value:
        return mask_defect(
            kind, brush_mask(parse(list[int], value["rle"], f"{where}, rle"), shape, where), where, options
        )
    if "points" in value:
        points = np.array(parse(list[tuple[float, float]], value["points"], f"{where}, points"))
        return mask_defect(kind, _filled(points, shape, where), where, options)
    if "radiusX" in value:
        return mask_defect(kind, _filled(_ellipse(parse(Ellipse, value, where), shape), shape, where), where, options)
    box = parse(Rectangle, value, where)
    if box.rotation:
        return mask_defect(kind, _filled(_turned(box, shape), shape, where), where, options)
    height, width = shape
    x, y = box.x * width / 100, box.y * height / 100
    return box_defect(kind, (x, y, x + box.width * width / 100, y + box.height * height / 100), shape, where, options)


def _filled(points: np.ndarray, shape: Shape, where: str) -> np.ndarray:
    """Per cent points (N, 2) to a filled mask."""
    pixels = points.reshape(-1, 2) * (shape[1] / 100, shape[0] / 100)
    return polygon_mask([pixels.ravel().tolist()], shape, where)


def _turned(box: Rectangle, shape: Shape) -> np.ndarray:
    """Corners in per cent. The rotation is one of pixels, so it is done in them."""
    corners = np.array([(0, 0), (box.width, 0), (box.width, box.height), (0, box.height)], np.float64)
    return _rotated(corners, (box.x, box.y), box.rotation, shape)


def _ellipse(ellipse: Ellipse, shape: Shape) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 128, endpoint=False)
    offsets = np.stack([ellipse.radiusX * np.cos(angles), ellipse.radiusY * np.sin(angles)], axis=1)
    return _rotated(offsets, (ellipse.x, ellipse.y), ellipse.rotation, shape)


def _rotated(offsets: np.ndarray, centre: tuple[float, float], degrees: float, shape: Shape) -> np.ndarray:
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # clockwise, y points down
    scale = np.array([shape[1], shape[0]]) / 100
    return (offsets * scale @ turn) / scale + centre
