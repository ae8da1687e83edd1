"""DAGM 2007: as published (`Class1/Train/0576.PNG`, `Class1/Train/Label/0576_label.PNG`, `Labels.txt`), for one class
or all ten, or sorted into the folders `defect`, `good` and `label`.

Labels are coarse ellipses. A published class gives its name to the defect kind, since each class has its own defect.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from flawsmith.core.errors import DataError
from flawsmith.core.image import image_files
from flawsmith.core.sample import Sample
from flawsmith.dataset.formats.documents import read_text
from flawsmith.dataset.formats.format import ReadOptions
from flawsmith.dataset.formats.regions import binary_mask, regions
from flawsmith.dataset.formats.source import (
    folder,
    folders,
    is_image,
    labelled,
    named_like,
    read_each,
    split_named,
    upright_shape,
)

_CLASS = re.compile(r"class\d+", re.IGNORECASE)


def recognise(src: Path) -> str | None:
    if all(folder(src, name) for name in ("defect", "good", "label")) or _published(src):
        return None
    return "wants the folders defect, good and label, or ClassN/Train and ClassN/Test with a folder Label"


def read(src: Path, options: ReadOptions) -> Iterator[Sample]:
    published = _published(src)
    yield from _read_published(src, published, options) if published else _read_sorted(src, options)


def _read_sorted(src: Path, options: ReadOptions) -> Iterator[Sample]:
    defect, good, label = (folder(src, name) for name in ("defect", "good", "label"))
    if not (defect and good and label):
        raise DataError(f"{src}: {recognise(src)}")

    def build(path: Path, defective: bool) -> Sample:
        return _sample(src, path, label, defective, options.kind, None, options)

    items = [(path, True) for path in image_files(defect)] + [(path, False) for path in image_files(good)]
    yield from read_each(src, items, build, options)


def _read_published(src: Path, places: list[Path], options: ReadOptions) -> Iterator[Sample]:
    for place in places:
        label = folder(place, "Label")
        assert label is not None
        listed, split = _listed(label / "Labels.txt"), split_named(place.name)
        kind = place.parent.name.casefold() if _CLASS.fullmatch(place.parent.name) else options.kind

        def build(path: Path, defective: bool, label=label, kind=kind, split=split) -> Sample:
            return _sample(src, path, label, defective, kind, split, options)

        images = sorted(path for path in place.iterdir() if is_image(path))
        # Without the list, the label picture says which are defective.
        items = [(p, listed.get(p.stem, named_like(label, f"{p.stem}_label") is not None)) for p in images]
        yield from read_each(src, items, build, options)


def _sample(
    src: Path, path: Path, label: Path, defective: bool, kind: str, split: str | None, options: ReadOptions
) -> Sample:
    shape = upright_shape(path)
    if not defective:
        return labelled(src, path, (), healthy=True, split=split)
    mask_path = named_like(label, f"{path.stem}_label", path.stem)
    if mask_path is None:
        raise DataError(f"{path} has no mask of its name in {label}; add it")
    defects = regions(kind, binary_mask(mask_path, shape, options))
    return labelled(src, path, defects, healthy=False, label=kind, split=split)


def _listed(path: Path) -> dict[str, bool]:
    """Stem to defective, from Labels.txt: number, 1 when defective, image, 0, mask. Empty where there is no list."""
    if not path.is_file():
        return {}
    rows = (line.split() for line in read_text(path).splitlines())
    return {Path(row[2]).stem: row[1] == "1" for row in rows if len(row) >= 3}


def _published(src: Path) -> list[Path]:
    """The Train and Test folders that hold a Label folder, of `src` itself or of each class in it."""
    classes = [p for p in folders(src) if _CLASS.fullmatch(p.name)] or [src]
    places = (folder(c, name) for c in classes for name in ("Train", "Test"))
    return [place for place in places if place and folder(place, "Label")]
