"""MVTec AD: `train/good`, `test/good`, `test/<kind>`, `ground_truth/<kind>/<stem>_mask.png`.

The format knows one mask and one kind per image, and no instances. So our own export adds `flawsmith.json`: kinds,
instances (as COCO run lengths), label and split of each image. It is believed only where its regions together are
exactly the mask picture; other programs do not see it and lose nothing of the masks.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from flawsmith.core.defect import Defect
from flawsmith.core.errors import DataError
from flawsmith.core.image import encode_png
from flawsmith.core.sample import Sample
from flawsmith.dataset.formats.documents import Record, read_json_as
from flawsmith.dataset.formats.format import ReadOptions, Target
from flawsmith.dataset.formats.regions import binary_mask, box_defect, mask_defect, pack_rle, regions, rle_mask
from flawsmith.dataset.formats.source import folder, folders, is_image, labelled, read_each, relative, upright_shape
from flawsmith.dataset.formats.target import class_folder, save_bytes, save_image, save_json

SIDECAR = "flawsmith.json"


class _Region(Record):
    kind: str
    box: tuple[int, int, int, int]
    rle: dict | None = None  # None: only the box is known


class _Image(Record):
    label: str
    healthy: bool
    split: str | None = None
    defects: tuple[_Region, ...] = ()


def recognise(src: Path) -> str | None:
    for name in ("train", "test", "ground_truth"):
        if not folder(src, name):
            inner = [p.name for p in folders(src) if folder(p, "ground_truth")]
            hint = f"; give one category, for example {src / inner[0]}" if inner else ""
            return f"wants the folders train, test and ground_truth, found no {name}{hint}"
    return None


def read(src: Path, options: ReadOptions) -> Iterator[Sample]:
    truth, own = folder(src, "ground_truth"), _own_notes(src, options)

    def build(path: Path, split: str) -> Sample:
        kind, where = path.parent.name, str(relative(path, src))
        shape = upright_shape(path)
        if options.is_healthy(kind):
            own_image = own.get(where)
            return labelled(src, path, (), healthy=True, split=own_image.split if own_image else split)
        mask_path = _mask_of(path, truth)
        mask = binary_mask(mask_path, shape, options) if mask_path else np.zeros(shape, bool)
        if not mask_path:
            options.note("defective images without a mask", where)
        if where in own and (defects := _instances(own[where], mask, where, options)) is not None:
            return labelled(src, path, defects, healthy=False, label=own[where].label, split=own[where].split)
        return labelled(src, path, regions(kind, mask), healthy=False, label=kind, split=split)

    yield from read_each(src, _images(src), build, options)


def _images(src: Path) -> Iterator[tuple[Path, str]]:
    for split in ("train", "test"):
        place = folder(src, split)
        if place is None:
            raise DataError(f"{src} has no folder {split}; wanted train, test and ground_truth")
        for kind in folders(place):
            yield from ((path, split) for path in sorted(kind.iterdir()) if is_image(path))


def _mask_of(path: Path, truth: Path | None) -> Path | None:
    place = truth / path.parent.name if truth else None
    names = (f"{path.stem}_mask.png", f"{path.stem}.png")
    return next((place / name for name in names if (place / name).is_file()), None) if place else None


def _own_notes(src: Path, options: ReadOptions) -> dict[str, _Image]:
    path = src / SIDECAR
    return read_json_as(dict[str, _Image], path) if options.own_notes and path.is_file() else {}


def _instances(image: _Image, mask: np.ndarray, where: str, options: ReadOptions) -> tuple[Defect, ...] | None:
    """The instances of an image from our own notes, or None where they no longer agree with the mask picture."""
    defects = [_region(region, mask.shape, where, options) for region in image.defects]
    kept = tuple(d for d in defects if d is not None)
    if len(kept) == len(defects) and np.array_equal(_union(kept, mask.shape), mask):
        return kept
    options.note(f"masks changed since {SIDECAR} was written; it is not used for them", where)
    return None


def _region(region: _Region, shape: tuple[int, ...], where: str, options: ReadOptions) -> Defect | None:
    size = (shape[0], shape[1])
    if region.rle is None:
        return box_defect(region.kind, region.box, size, where, options)
    return mask_defect(region.kind, rle_mask(region.rle, size, where), where, options)


def _union(defects: Iterable[Defect], shape: tuple[int, ...]) -> np.ndarray:
    union = np.zeros(shape, bool)
    for defect in defects:
        union |= defect.full_mask((shape[0], shape[1]))
    return union


def write(samples: Iterable[Sample], target: Target) -> dict[str, str]:
    """Healthy training images (and those without a split) to train/good; everything else to test."""
    paths: dict[str, str] = {}
    notes = {}
    for name in ("train/good", "test/good", "ground_truth"):
        (target.out / name).mkdir(parents=True)
    for sample in samples:
        kind, stem = class_folder(sample), target.stems[sample.id]
        place = "train" if sample.healthy and sample.split in (None, "train") else "test"
        paths[sample.id] = path = f"{place}/{kind}/{stem}.png"
        save_image(sample, target.out / path)
        shape = upright_shape(target.out / path)
        if not sample.healthy:
            mask = encode_png(_union(sample.defects, shape))
            save_bytes(target.out / f"ground_truth/{kind}/{stem}_mask.png", mask)
        notes[path] = _noted(sample, shape)
    save_json(target.out / SIDECAR, notes)
    return paths


def _noted(sample: Sample, shape: tuple[int, int]) -> dict:
    defects = []
    for d in sample.defects:
        rle = None if d.mask is None else pack_rle(d.full_mask(shape))
        defects.append({"kind": d.kind, "box": d.box, "rle": rle})
    return {"label": sample.label, "healthy": sample.healthy, "split": sample.split, "defects": defects}
