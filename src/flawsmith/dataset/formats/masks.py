"""Pairs: `images/<stem>.jpg` and `masks/<stem>.png`, `<stem>_mask.png` or `<stem>_label.png`; split folders may lie
between. An all-black mask is a healthy image; an image without a mask is not labelled and is left out.

Groups: where every image is a plain number, neighbouring numbers often show one thing, so `session` is a block of
`number_block` numbers; with `number_period`, numbers that far apart (copies turned by 90°, say) fall into one block.
"""

from collections.abc import Iterator
from pathlib import Path

from flawsmith.core.errors import DataError
from flawsmith.core.image import image_files
from flawsmith.core.sample import Sample
from flawsmith.dataset.formats.format import ReadOptions
from flawsmith.dataset.formats.regions import binary_mask, regions
from flawsmith.dataset.formats.source import (
    folder,
    labelled,
    named_like,
    read_each,
    relative,
    split_of,
    upright_shape,
)


def recognise(src: Path) -> str | None:
    images, masks = _places(src)
    if not images or not masks:
        return f"wants the folders images and masks, found no {'images' if not images else 'masks'}"
    if not any(_mask_of(path, images, masks) for path in image_files(images)):
        return f"no image in {images.name} has a mask of its name in {masks.name}"
    return None


def read(src: Path, options: ReadOptions) -> Iterator[Sample]:
    images, masks = _places(src)
    if not images or not masks:
        raise DataError(f"{src}: {recognise(src)}")
    paths = image_files(images)
    numbered = all(path.stem.isdecimal() for path in paths)

    def build(path: Path, split: str | None) -> Sample | None:
        mask_path, shape = _mask_of(path, images, masks), upright_shape(path)
        if mask_path is None:
            options.note("images without a mask, left out as not labelled", str(relative(path, src)))
            return None
        defects = regions(options.kind, binary_mask(mask_path, shape, options))
        groups = {"session": number_block(int(path.stem), options)} if numbered else None
        return labelled(src, path, defects, label=options.kind, split=split, groups=groups)

    yield from read_each(src, ((path, split_of(relative(path, src))) for path in paths), build, options)


def number_block(number: int, options: ReadOptions) -> str:
    """The block of numbers that `number`, counted from 1, belongs to: "numbers-0001"."""
    position = number - 1
    if options.number_period:
        position %= options.number_period
    first = position // options.number_block * options.number_block + 1
    return f"numbers-{first:04d}"


def _places(src: Path) -> tuple[Path | None, Path | None]:
    return folder(src, "images", "image", "imgs"), folder(src, "masks", "mask")


def _mask_of(path: Path, images: Path, masks: Path) -> Path | None:
    place = masks / path.parent.relative_to(images)
    return named_like(place, path.stem, f"{path.stem}_mask", f"{path.stem}_label")
