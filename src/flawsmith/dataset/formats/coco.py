"""COCO: JSON files of images, annotations and categories; polygons, run lengths (packed or not) or boxes.

Written with compressed run lengths and iscrowd=0, so that every pixel survives and evaluation counts every defect.
`iscrowd` is ignored on reading: converters set it only to get run lengths, and a crowd of defects is still a defect.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from flawsmith.core.defect import Defect
from flawsmith.core.errors import DataError
from flawsmith.core.sample import Sample
from flawsmith.dataset.formats.documents import Record, json_files, json_keys, parse, read_json_as
from flawsmith.dataset.formats.format import ReadOptions, Target
from flawsmith.dataset.formats.regions import box_defect, mask_defect, pack_rle, polygon_mask, rle_mask
from flawsmith.dataset.formats.source import (
    ImageIndex,
    labelled,
    read_each,
    relative,
    split_named,
    split_of,
    upright_shape,
)
from flawsmith.dataset.formats.target import save_image, save_json

_LOOKED_INTO = 64  # JSON files looked into when recognising
_UNSPLIT = "all"


class CocoImage(Record):
    id: int | str
    file_name: str
    width: int = 0
    height: int = 0
    label: str | None = None  # these two are written by our own export only
    healthy: bool | None = None


class CocoAnnotation(Record):
    image_id: int | str
    category_id: int | str
    segmentation: list[Any] | dict[str, Any] | None = None
    bbox: list[float] | None = None
    iscrowd: int = 0


class CocoCategory(Record):
    id: int | str
    name: str


class CocoFile(Record):
    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory]


def recognise(src: Path) -> str | None:
    return None if _files(src) else "wants a JSON file with images, annotations and categories, found none"


def _files(src: Path) -> list[Path]:
    wanted = {"images", "annotations", "categories"}
    return [path for path in json_files(src, _LOOKED_INTO) if wanted <= json_keys(path)]


def read(src: Path, options: ReadOptions) -> Iterator[Sample]:
    files = _files(src)
    if not files:
        raise DataError(f"{src}: {recognise(src)}")
    index, owner = ImageIndex.of(src), dict[Path, str]()
    for path in files:
        yield from _read_file(src, path, index, owner, options)


def _read_file(
    src: Path, path: Path, index: ImageIndex, owner: dict[Path, str], options: ReadOptions
) -> Iterator[Sample]:
    coco = read_json_as(CocoFile, path)
    names, annotations = _joined(coco, path)
    split = next((s for word in path.stem.replace("-", "_").split("_") if (s := split_named(word))), None)
    split = split or split_of(relative(path, src))  # Roboflow: train/_annotations.coco.json
    if crowds := sum(a.iscrowd != 0 for a in coco.annotations):
        options.note(f"{crowds} annotations have iscrowd=1 and are read like the others", str(path))

    bare = sum(not annotations[item.id] and item.healthy is None for item in coco.images)
    if bare:
        options.note(f"{bare} images are listed without an annotation: taken as healthy", str(path))

    def build(_: Path, item: CocoImage) -> Sample:
        image = index.find(item.file_name, path.parent, path)
        where = f"{path}, image {item.id}"
        if owner.setdefault(image, where) != where:
            raise DataError(f"{image} is listed twice: {owner[image]} and {where}; keep one of them")
        shape = upright_shape(image)
        if item.width and item.height and (item.height, item.width) != shape:
            raise DataError(f"{path} is for {item.width}x{item.height} pixels, {image} has {shape[1]}x{shape[0]}")
        marked = [a for a in annotations[item.id] if not options.is_healthy(names[a.category_id])]
        found = (_defect(a, names[a.category_id], shape, where, options) for a in marked)
        own = item if options.own_notes else None
        healthy = own.healthy if own and own.healthy is not None and not marked else not marked
        label = own.label if own else None
        return labelled(src, image, (d for d in found if d), healthy=healthy, label=label, split=split)

    yield from read_each(src, ((path, item) for item in coco.images), build, options)


def _joined(coco: CocoFile, path: Path) -> tuple[dict[int | str, str], dict[int | str, list[CocoAnnotation]]]:
    """Category id to name and image id to annotations. Raises `DataError` for an id used twice or not defined."""
    for what, ids in (("image", [i.id for i in coco.images]), ("category", [c.id for c in coco.categories])):
        if len(set(ids)) < len(ids):
            twice = next(i for i, count in Counter(ids).items() if count > 1)
            raise DataError(f"{path}: {what} id {twice} is used twice; number them anew")
    names = {c.id: c.name for c in coco.categories}
    known = {i.id for i in coco.images}
    annotations: dict[int | str, list[CocoAnnotation]] = defaultdict(list)
    for annotation in coco.annotations:
        if annotation.image_id not in known or annotation.category_id not in names:
            raise DataError(
                f"{path}: an annotation names image {annotation.image_id} and category {annotation.category_id};"
                " one of them is not listed. Export the file again"
            )
        annotations[annotation.image_id].append(annotation)
    return names, annotations


def _defect(
    annotation: CocoAnnotation, kind: str, shape: tuple[int, int], where: str, options: ReadOptions
) -> Defect | None:
    if isinstance(annotation.segmentation, dict):
        return mask_defect(kind, rle_mask(annotation.segmentation, shape, where), where, options)
    if annotation.segmentation:
        polygons = parse(list[list[float]], annotation.segmentation, f"{where}, segmentation")
        return mask_defect(kind, polygon_mask(polygons, shape, where), where, options)
    if annotation.bbox is None or len(annotation.bbox) != 4:
        raise DataError(f"{where}: an annotation has neither segmentation nor a bbox of four numbers; correct it")
    x, y, width, height = annotation.bbox
    return box_defect(kind, (x, y, x + width, y + height), shape, where, options)


def write(samples: Iterable[Sample], target: Target) -> dict[str, str]:
    """`images/<stem>.png` and `annotations/instances_<split>.json`."""
    files: dict[str, dict[str, list]] = {}
    paths: dict[str, str] = {}
    categories = [{"id": i, "name": kind, "supercategory": "defect"} for i, kind in enumerate(target.kinds, start=1)]
    for sample in samples:
        paths[sample.id] = f"images/{target.stems[sample.id]}.png"
        save_image(sample, target.out / paths[sample.id])
        shape = upright_shape(target.out / paths[sample.id])
        file = files.setdefault(sample.split or _UNSPLIT, {"images": [], "annotations": [], "categories": categories})
        number = len(file["images"]) + 1
        file["images"].append(
            {
                "id": number,
                "file_name": f"{target.stems[sample.id]}.png",
                "width": shape[1],
                "height": shape[0],
                "label": sample.label,
                "healthy": sample.healthy,
            }
        )
        for defect in sample.defects:
            category = target.kinds.index(defect.kind) + 1
            file["annotations"].append(_annotation(defect, len(file["annotations"]) + 1, number, category, shape))
    for split, file in files.items():
        save_json(target.out / f"annotations/instances_{split}.json", file)
    return paths


def _annotation(defect: Defect, number: int, image: int, category: int, shape: tuple[int, int]) -> dict[str, Any]:
    x0, y0, x1, y1 = defect.box
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": [] if defect.mask is None else pack_rle(defect.full_mask(shape)),
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": defect.area_px,
        "iscrowd": 0,
    }
