"""Class folders, optionally inside split folders: `<class>/x.png` or `train/<class>/x.png`. Image labels only."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from flawsmith.core.errors import DataError
from flawsmith.core.image import image_files
from flawsmith.core.sample import Sample
from flawsmith.dataset.formats.format import HEALTHY, ReadOptions, Target
from flawsmith.dataset.formats.source import folders, has_images, labelled, read_each, split_named, upright_shape
from flawsmith.dataset.formats.target import class_folder, save_image

_UNSPLIT = "unsplit"


def recognise(src: Path) -> str | None:
    classes = [name for name, _, _ in _classes(src)]
    if len(set(classes)) < 2:
        return f"wants two or more folders of images, one per class; found {', '.join(sorted(set(classes))) or 'none'}"
    known = {name.casefold() for name in HEALTHY}
    if not any(name.casefold() in known for name in classes):
        shown = ", ".join(sorted(set(classes))[:6])
        return f"no class folder is named like a healthy class ({', '.join(HEALTHY)}), only {shown}"
    return None


def read(src: Path, options: ReadOptions) -> Iterator[Sample]:
    classes = _classes(src)
    if not classes:
        raise DataError(f"{src} has no folders of images; wanted one folder per class")
    if not any(options.is_healthy(name) for name, _, _ in classes):
        options.note("no class folder has the name of a healthy class: every image is taken as defective", str(src))

    def build(path: Path, item: tuple[str, str | None]) -> Sample:
        upright_shape(path)
        name, split = item
        return labelled(src, path, (), healthy=options.is_healthy(name), label=name, split=split)

    items = ((path, (name, split)) for name, split, place in classes for path in image_files(place))
    yield from read_each(src, items, build, options)


def _classes(src: Path) -> list[tuple[str, str | None, Path]]:
    """(class, split, folder) of each folder of images."""
    top = folders(src)
    if top and all(split_named(p.name) or p.name == _UNSPLIT for p in top):
        return [(p.name, split_named(s.name), p) for s in top for p in folders(s) if has_images(p)]
    return [(p.name, None, p) for p in top if has_images(p)]


def write(samples: Iterable[Sample], target: Target) -> dict[str, str]:
    """`<split>/<class>/<stem>.png`, without the split folder where no image has a split."""
    paths: dict[str, str] = {}
    for sample in samples:
        place = f"{sample.split or _UNSPLIT}/" if target.split else ""
        paths[sample.id] = f"{place}{class_folder(sample)}/{target.stems[sample.id]}.png"
        save_image(sample, target.out / paths[sample.id])
    return paths
