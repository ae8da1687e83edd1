"""Pascal VOC segmentation: `JPEGImages`, `SegmentationClass` and `SegmentationObject` (numbers as palette PNGs),
`Annotations` (XML, object i in the file is number i in the mask), `ImageSets/Segmentation/<split>.txt`, `labelmap.txt`.

A pixel belongs to one object, so where defects overlap the smaller is kept. 255 (65535 in 16 bits) marks borders that
nobody decided; it is read as background. Without SegmentationObject each 8-connected region is one defect. Masks in
the colours of labelmap.txt, as CVAT writes them, are read too.
"""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from flawsmith.core.defect import Defect
from flawsmith.core.errors import DataError
from flawsmith.core.image import encode_png, image_files
from flawsmith.core.sample import Sample
from flawsmith.dataset.formats.documents import read_text
from flawsmith.dataset.formats.format import ReadOptions, Target
from flawsmith.dataset.formats.regions import Shape, box_defect, colour_level, index_mask, regions
from flawsmith.dataset.formats.source import folder, labelled, named_like, read_each, relative, upright_shape
from flawsmith.dataset.formats.target import save_bytes, save_image, save_text
from flawsmith.dataset.formats.voc import VocImage, VocObject, checked_shape, read_annotation

_BORDER_COLOUR = colour_level(224, 224, 192)


@dataclass(frozen=True)
class _Marks:
    """What is said of one image: the XML's objects, the two masks of numbers (H, W)."""

    listed: tuple[VocObject, ...]
    classes: np.ndarray | None
    objects: np.ndarray | None
    shape: Shape


def recognise(src: Path) -> str | None:
    if not folder(src, "JPEGImages"):
        return "wants the folders JPEGImages and SegmentationClass, found no JPEGImages"
    if not folder(src, "SegmentationClass"):
        return "wants the folders JPEGImages and SegmentationClass, found no SegmentationClass"
    return None


def read(src: Path, options: ReadOptions) -> Iterator[Sample]:
    images = folder(src, "JPEGImages")
    if not images:
        raise DataError(f"{src}: {recognise(src)}")
    names, splits = _class_names(src), _splits(src)

    def build(path: Path, _: None) -> Sample | None:
        annotation = _annotation(src, path)
        shape = checked_shape(annotation, path) if annotation else upright_shape(path)
        classes, objects = (_mask(src, name, path.stem, shape) for name in ("SegmentationClass", "SegmentationObject"))
        if annotation is None and classes is None:
            options.note("images without a mask or an XML, left out as not labelled", str(relative(path, src)))
            return None
        marks = _Marks(annotation.objects if annotation else (), classes, objects, shape)
        found = _defects(marks, names, str(relative(path, src)), options)
        marked = [d for d in found if not options.is_healthy(d.kind)]
        own = annotation if options.own_notes else None
        healthy = own.healthy if own and own.healthy is not None and not marked else not marked
        label = own.label if own else None
        return labelled(src, path, marked, healthy=healthy, label=label, split=splits.get(path.stem))

    yield from read_each(src, ((path, None) for path in image_files(images)), build, options)


def _annotation(src: Path, path: Path) -> VocImage | None:
    place = folder(src, "Annotations")
    file = place / f"{path.stem}.xml" if place else None
    return read_annotation(file) if file and file.is_file() else None


def _mask(src: Path, name: str, stem: str, shape: Shape) -> np.ndarray | None:
    place = folder(src, name)
    path = named_like(place, stem) if place else None
    if path is None:
        return None
    numbers = index_mask(path, shape)
    return np.where((numbers == np.iinfo(numbers.dtype).max) | (numbers == _BORDER_COLOUR), 0, numbers)


def _class_names(src: Path) -> dict[int, str]:
    """Level of a class mask to class name: from labelmap.txt (name:r,g,b::) or class_names.txt, background first."""
    for path in (src / "labelmap.txt", src / "class_names.txt"):
        if path.is_file():
            lines = [line.strip() for line in read_text(path).splitlines()]
            rows = [line for line in lines if line and not line.startswith(("#", "__ignore__"))]
            names: dict[int, str] = {}
            for number, row in enumerate(rows):
                name, _, rest = row.partition(":")
                names[number] = name
                colour = rest.split(":")[0].split(",")
                if len(colour) == 3 and all(c.strip().isdecimal() for c in colour):
                    names[colour_level(*(int(c) & 255 for c in colour))] = name
            return names
    return {}


def _splits(src: Path) -> dict[str, str]:
    place = src / "ImageSets" / "Segmentation"
    splits: dict[str, str] = {}
    for split in ("train", "val", "test"):
        path = place / f"{split}.txt"
        for stem in read_text(path).split() if path.is_file() else ():
            if splits.setdefault(stem, split) != split:
                raise DataError(f"{path}: {stem} is in split {splits[stem]} too; keep one of them")
    return splits


def _defects(marks: _Marks, names: dict[int, str], where: str, options: ReadOptions) -> Iterator[Defect]:
    listed, classes, objects = marks.listed, marks.classes, marks.objects
    if objects is None and classes is not None:
        for level in np.unique(classes[classes > 0]).tolist():
            yield from regions(names.get(level, f"class{level}"), classes == level)
        return
    levels = [] if objects is None else np.unique(objects[objects > 0]).tolist()
    if levels and levels[-1] >= colour_level(0, 0, 1):  # colours do not say which object of the XML they are
        listed = ()
    for number in sorted({*levels, *range(1, len(listed) + 1)}):
        if number in levels:
            mask = objects == number
            kind = listed[number - 1].name if number <= len(listed) else _majority(classes, mask, names, options)
            yield Defect.from_mask(kind, mask)
        elif defect := box_defect(listed[number - 1].name, listed[number - 1].box, marks.shape, where, options):
            options.note("objects without a pixel in the mask are read as boxes", where)
            yield defect


def _majority(classes: np.ndarray | None, mask: np.ndarray, names: dict[int, str], options: ReadOptions) -> str:
    if classes is None:
        return options.kind
    levels, counts = np.unique(classes[mask], return_counts=True)
    level = int(levels[counts.argmax()])
    return names.get(level, f"class{level}")


def write(samples: Iterable[Sample], target: Target) -> dict[str, str]:
    """All of the folders above; more than 254 defects in an image make its object mask 16 bits deep."""
    if len(target.kinds) > 254:
        raise DataError(f"{len(target.kinds)} defect kinds do not fit a VOC class mask, which numbers 254; use coco")
    paths: dict[str, str] = {}
    stems: dict[str, list[str]] = {}
    for sample in samples:
        stem = target.stems[sample.id]
        paths[sample.id] = f"JPEGImages/{stem}.png"
        save_image(sample, target.out / paths[sample.id])
        shape = upright_shape(target.out / paths[sample.id])
        classes, objects = _painted(sample, target.kinds, shape)
        save_bytes(target.out / f"SegmentationClass/{stem}.png", _palette_png(classes))
        save_bytes(target.out / f"SegmentationObject/{stem}.png", _palette_png(objects))
        save_bytes(target.out / f"Annotations/{stem}.xml", _xml(sample, f"{stem}.png", shape))
        stems.setdefault(sample.split or "", []).append(stem)
    for split, listed in stems.items():
        save_text(target.out / f"ImageSets/Segmentation/{split or 'all'}.txt", "".join(s + "\n" for s in listed))
    rows = (f"{name}:{','.join(map(str, _COLOURS[i]))}::" for i, name in enumerate(("background", *target.kinds)))
    save_text(target.out / "labelmap.txt", "# label:color_rgb:parts:actions\n" + "".join(row + "\n" for row in rows))
    return paths


def _painted(sample: Sample, kinds: tuple[str, ...], shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Class and object numbers (H, W). Large defects first, so that small ones stay on top."""
    classes = np.zeros(shape, np.uint8)
    objects = np.zeros(shape, np.uint8 if len(sample.defects) < 255 else np.uint16)
    for number, defect in sorted(enumerate(sample.defects, start=1), key=lambda item: -item[1].area_px):
        if defect.mask is not None:
            x0, y0, x1, y1 = defect.box
            classes[y0:y1, x0:x1][defect.mask] = kinds.index(defect.kind) + 1
            objects[y0:y1, x0:x1][defect.mask] = number
    return classes, objects


def _palette() -> list[tuple[int, int, int]]:
    """VOC's 256 colours: the bits of the number, dealt in turn to red, green and blue from the top."""
    colours = []
    for number in range(256):
        channels = [0, 0, 0]
        for bit in range(8):
            channels[bit % 3] |= (number >> bit & 1) << (7 - bit // 3)
        colours.append((channels[0], channels[1], channels[2]))
    return colours


_COLOURS = _palette()


def _palette_png(numbers: np.ndarray) -> bytes:
    if numbers.dtype == np.uint16:
        return encode_png(numbers)
    image, sink = Image.frombytes("P", numbers.shape[::-1], numbers.tobytes()), io.BytesIO()
    image.putpalette([channel for colour in _COLOURS for channel in colour])
    image.save(sink, "PNG")
    return sink.getvalue()


def _xml(sample: Sample, file_name: str, shape: Shape) -> bytes:
    root = ElementTree.Element("annotation")
    _add(root, "folder", "JPEGImages")
    _add(root, "filename", file_name)
    size = ElementTree.SubElement(root, "size")
    for name, value in (("width", shape[1]), ("height", shape[0]), ("depth", 3)):
        _add(size, name, value)
    _add(root, "segmented", 1)
    own = ElementTree.SubElement(root, "flawsmith")
    _add(own, "label", sample.label)
    _add(own, "healthy", str(sample.healthy).lower())
    for defect in sample.defects:
        item = ElementTree.SubElement(root, "object")
        for name, value in (("name", defect.kind), ("pose", "Unspecified"), ("truncated", 0), ("difficult", 0)):
            _add(item, name, value)
        box = ElementTree.SubElement(item, "bndbox")
        x0, y0, x1, y1 = defect.box
        for name, value in (("xmin", x0 + 1), ("ymin", y0 + 1), ("xmax", x1), ("ymax", y1)):
            _add(box, name, value)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8")


def _add(parent: ElementTree.Element, name: str, value: object) -> None:
    ElementTree.SubElement(parent, name).text = str(value)
