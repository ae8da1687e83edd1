"""Pascal VOC boxes: one XML per image, anywhere under the folder. Coordinates are 1-based and inclusive.

An XML without objects is a healthy image; an image without an XML is not labelled and is left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from flawsmith.core.errors import DataError
from flawsmith.core.image import SUFFIXES
from flawsmith.core.sample import Sample
from flawsmith.dataset.formats.documents import read_xml
from flawsmith.dataset.formats.format import ReadOptions
from flawsmith.dataset.formats.regions import box_defect
from flawsmith.dataset.formats.source import ImageIndex, labelled, read_each, relative, split_of, upright_shape

_SHOWN = 20  # XML files looked into when recognising


@dataclass(frozen=True)
class VocObject:
    """One <object>: its name and half-open pixel box."""

    name: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class VocImage:
    """One annotation file. `size` is (H, W), None where the file does not say."""

    path: Path
    file_name: str
    size: tuple[int, int] | None
    objects: tuple[VocObject, ...]
    label: str | None = None  # these two are written by our own export only
    healthy: bool | None = None


def recognise(src: Path) -> str | None:
    files = annotation_files(src)
    if not files:
        return "wants Pascal VOC XML files, found no XML"
    reasons = [_unfit(path) for path in files[:_SHOWN]]
    return None if None in reasons else f"no Pascal VOC annotation among its XML files: {reasons[0]}"


def _unfit(path: Path) -> str | None:
    try:
        read_annotation(path)
    except DataError as error:
        return str(error)
    return None


def annotation_files(src: Path) -> list[Path]:
    return sorted(p for p in src.rglob("*.xml") if not any(q.startswith(".") for q in p.relative_to(src).parts))


def read(src: Path, options: ReadOptions) -> Iterator[Sample]:
    files = annotation_files(src)
    if not files:
        raise DataError(f"{src}: {recognise(src)}")
    index = ImageIndex.of(src)
    unlabelled = len(index.by_path) - len(files)
    if unlabelled > 0:
        options.note(f"{unlabelled} images without an XML, left out as not labelled", str(src))

    def build(path: Path, _: None) -> Sample:
        annotation = read_annotation(path)
        image = image_of(annotation, index)
        shape = checked_shape(annotation, image)
        marked = [o for o in annotation.objects if not options.is_healthy(o.name)]
        found = (box_defect(o.name, o.box, shape, str(relative(path, src)), options) for o in marked)
        split = split_of(relative(image, src))
        return labelled(src, image, (d for d in found if d), healthy=not marked, split=split)

    yield from read_each(src, ((path, None) for path in files), build, options)


def image_of(annotation: VocImage, index: ImageIndex) -> Path:
    """The image an annotation is about: by its file name, else by the stem of the XML file itself."""
    stem = annotation.path.stem
    for suffix in ("", *SUFFIXES, *(s.upper() for s in SUFFIXES)):
        name = annotation.file_name if not suffix else f"{stem}{suffix}"
        if name and Path(name).name in index.by_name:
            return index.find(name, annotation.path.parent, annotation.path)
    return index.find(annotation.file_name or stem, annotation.path.parent, annotation.path)


def checked_shape(annotation: VocImage, image: Path) -> tuple[int, int]:
    """The image's (H, W). Raises `DataError` when the annotation was made on another size."""
    shape = upright_shape(image)
    if annotation.size and annotation.size != shape:
        height, width = annotation.size
        raise DataError(f"{annotation.path} is for {width}x{height} pixels, {image} has {shape[1]}x{shape[0]}")
    return shape


def read_annotation(path: Path) -> VocImage:
    """Raises `DataError` for XML that is unsafe, broken or no VOC annotation."""
    root = read_xml(path)
    if root.tag != "annotation":
        raise DataError(f"{path}: wanted the root element <annotation>, got <{root.tag}>")
    width, height = (_number(root, f"size/{name}", path, default=0.0) for name in ("width", "height"))
    size = (int(height), int(width)) if width and height else None
    objects = tuple(_object(item, path) for item in root.iterfind("object"))
    healthy = {"true": True, "false": False}.get(_text(root, "flawsmith/healthy"))
    label = _text(root, "flawsmith/label") or None
    return VocImage(path, _text(root, "filename"), size, objects, label, healthy)


def _object(item: ElementTree.Element, path: Path) -> VocObject:
    name = _text(item, "name")
    if not name:
        raise DataError(f"{path}: an <object> has no <name>; correct it")
    x0, y0, x1, y1 = (_number(item, f"bndbox/{side}", path) for side in ("xmin", "ymin", "xmax", "ymax"))
    return VocObject(name, (x0 - 1, y0 - 1, x1, y1))


def _text(item: ElementTree.Element, name: str) -> str:
    return (item.findtext(name) or "").strip()


def _number(item: ElementTree.Element, name: str, path: Path, default: float | None = None) -> float:
    text = _text(item, name)
    if not text and default is not None:
        return default
    try:
        return float(text)
    except ValueError:
        raise DataError(f"{path}: <{name.replace('/', '><')}> is {text!r}, wanted a number") from None
