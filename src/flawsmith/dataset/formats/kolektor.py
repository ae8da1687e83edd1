"""Kolektor SDD, as folders `defect`, `good` and `mask`, or as published: `kos01/Part0.jpg` and `kos01/Part0_label.bmp`.

Groups: `part` is the commutator (kos01), of which each image is one view.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from flawsmith.core.errors import DataError
from flawsmith.core.image import image_files
from flawsmith.core.sample import Sample
from flawsmith.dataset.formats.format import ReadOptions
from flawsmith.dataset.formats.regions import binary_mask, regions
from flawsmith.dataset.formats.source import (
    folder,
    folders,
    is_image,
    labelled,
    named_like,
    read_each,
    relative,
    upright_shape,
)

_COMMUTATOR = re.compile(r"kos\d+", re.IGNORECASE)


def recognise(src: Path) -> str | None:
    if all(folder(src, name) for name in ("defect", "good", "mask")) or _published(src):
        return None
    return "wants the folders defect, good and mask, or kosNN folders with PartN.jpg and PartN_label.bmp"


def read(src: Path, options: ReadOptions) -> Iterator[Sample]:
    published = _published(src)
    places = published or [(path, None) for path in _sorted_folders(src)]

    def build(path: Path, mask_path: Path | None) -> Sample:
        shape = upright_shape(path)
        defective = not published and path.is_relative_to(folder(src, "defect") or src)
        if defective:
            mask_path = named_like(folder(src, "mask") or src, path.stem, f"{path.stem}_label")
            if mask_path is None:
                raise DataError(f"{path} has no mask of its name in {folder(src, 'mask')}; add it")
        defects = regions(options.kind, binary_mask(mask_path, shape, options)) if mask_path else ()
        found = _COMMUTATOR.search(str(relative(path, src)))
        return labelled(
            src,
            path,
            defects,
            healthy=not (defective or defects),
            label=options.kind,
            groups={"part": found[0].casefold()} if found else None,
        )

    yield from read_each(src, places, build, options)


def _sorted_folders(src: Path) -> list[Path]:
    defect, good, mask = (folder(src, name) for name in ("defect", "good", "mask"))
    if not (defect and good and mask):
        raise DataError(f"{src}: {recognise(src)}")
    return image_files(defect) + image_files(good)


def _published(src: Path) -> list[tuple[Path, Path | None]]:
    """Image and mask of each view, where the folders are the published ones."""
    places = [p for p in folders(src) if _COMMUTATOR.fullmatch(p.name)]
    images = [path for place in places for path in sorted(place.iterdir()) if is_image(path)]
    pairs = ((path, path.with_name(f"{path.stem}_label.bmp")) for path in images)
    return [(path, mask) for path, mask in pairs if mask.is_file()]
