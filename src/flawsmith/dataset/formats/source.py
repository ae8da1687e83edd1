"""A folder that someone else made: finding its images, naming them safely, turning one labelled image into a sample."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from flawsmith.core.defect import Defect
from flawsmith.core.errors import DataError
from flawsmith.core.header import read_header
from flawsmith.core.image import SUFFIXES, image_files
from flawsmith.core.sample import Sample
from flawsmith.dataset.formats.format import ReadOptions

T = TypeVar("T")

_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
_SPLITS |= {"test": "test", "testing": "test"}
_IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages")
# Hugging Face's imagefolder takes these, alone between separators, for the names of splits.
_SPLIT_WORDS = re.compile(
    r"(?<![^\W\d_])(train(?:ing)?|val(?:id|idation)?|dev|test(?:ing)?|eval(?:uation)?)(?![^\W\d_])"
)


def split_named(word: str) -> str | None:
    """train, val or test where `word` is one of their names ("valid", "train2017"), else None."""
    return _SPLITS.get(word.casefold().rstrip("0123456789"))


def split_of(path: PurePosixPath) -> str | None:
    """The split that a folder on the way to a file is named after."""
    return next((split for part in path.parent.parts if (split := split_named(part))), None)


def relative(path: Path, src: Path) -> PurePosixPath:
    return PurePosixPath(path.relative_to(src).as_posix())


def safe_id(path: PurePosixPath) -> str:
    """A sample id from a relative path: no suffix, no folder that only says "images", no dots, no odd characters.

    Dots go because a second mask layer is `<id>.1.png`; split words are spelled "testset", see above.
    """
    parts = [p for p in path.parent.parts if p.casefold() not in _IMAGE_FOLDERS] + [path.stem]
    cleaned = (re.sub(r"[^\w-]", "_", part) for part in parts)
    return "/".join(_SPLIT_WORDS.sub(r"\1set", part) or "_" for part in cleaned)


def flat_stems(ids: Iterable[str]) -> dict[str, str]:
    """Each id's file stem for one flat folder: "/" becomes "__", and what would collide is numbered."""
    stems: dict[str, str] = {}
    taken: set[str] = set()
    for sample_id in ids:
        stems[sample_id] = numbered(sample_id.replace("/", "__"), taken)
    return stems


def numbered(name: str, taken: set[str]) -> str:
    """`name`, or `name-2`, `name-3` … where it is taken (without regard to case); the result is added to `taken`."""
    unique, count = name, 1
    while unique.casefold() in taken:
        count += 1
        unique = f"{name}-{count}"
    taken.add(unique.casefold())
    return unique


def folder(src: Path, *names: str) -> Path | None:
    """The first of `names`, in any case, that is a folder in `src`."""
    if not src.is_dir():
        return None
    here = {p.name.casefold(): p for p in folders(src)}
    return next((here[name.casefold()] for name in names if name.casefold() in here), None)


def folders(src: Path) -> list[Path]:
    return sorted(p for p in src.iterdir() if p.is_dir() and not p.name.startswith("."))


def has_images(src: Path | None) -> bool:
    """Whether an image lies directly in `src`; stops at the first."""
    return src is not None and any(is_image(p) for p in src.iterdir())


def is_image(path: Path) -> bool:
    return path.suffix.casefold() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def named_like(place: Path, *stems: str) -> Path | None:
    """The first image in `place` with one of these stems, whatever its suffix."""
    suffixes = [*SUFFIXES, *(suffix.upper() for suffix in SUFFIXES)]
    paths = (place / f"{stem}{suffix}" for stem in stems for suffix in suffixes)
    return next((path for path in paths if path.is_file()), None)


def upright_shape(path: Path) -> tuple[int, int]:
    """(H, W) of an image after EXIF orientation, from its header. Raises as `core.header.read_header`."""
    header = read_header(path)
    return header.height, header.width


def read_each(
    src: Path, items: Iterable[tuple[Path, T]], build: Callable[[Path, T], Sample | None], options: ReadOptions
) -> Iterator[Sample]:
    """`build(path, item)` for each; an image that cannot be used goes to `options.reject`, one without labels (None)
    is noted and left out."""
    for path, item in items:
        try:
            sample = build(path, item)
        except DataError as error:
            options.reject(str(relative(path, src)).encode("utf-8", "backslashreplace").decode(), error)
            continue
        if sample is not None:
            yield sample


def labelled(
    src: Path,
    path: Path,
    defects: Iterable[Defect],
    *,
    healthy: bool | None = None,
    label: str | None = None,
    split: str | None = None,
    groups: Mapping[str, str] | None = None,
) -> Sample:
    """A sample of the image at `path`. Healthy where nothing says otherwise and nothing is marked; the label of a
    defective image is by default the kind that covers most of it.

    Raises `DataError` for a path that is no text: it could not be written to the manifest.
    """
    found = tuple(defects)
    healthy = not found if healthy is None else healthy
    where = relative(path, src)
    try:
        str(where).encode()
    except UnicodeEncodeError:
        raise DataError(f"{os.fsencode(path)!r}: the name is not UTF-8; rename the file or its folder") from None
    return Sample(
        id=safe_id(where),
        pixels=path,
        healthy=healthy,
        label="good" if healthy else label or main_kind(found) or "defect",
        defects=found,
        groups=dict(groups or {}),
        split=split,
        source=str(where),
    )


def main_kind(defects: Iterable[Defect]) -> str | None:
    """The kind with the largest area, the first by name among equals."""
    area: Counter[str] = Counter()
    for defect in defects:
        area[defect.kind] += defect.area_px
    return min(area, key=lambda kind: (-area[kind], kind)) if area else None


@dataclass(frozen=True)
class ImageIndex:
    """The images under a folder, for label files that name them by path or by name only."""

    src: Path
    by_path: dict[str, Path]
    by_name: dict[str, list[Path]]

    @classmethod
    def of(cls, src: Path) -> "ImageIndex":
        by_name: dict[str, list[Path]] = {}
        files = image_files(src)
        for path in files:
            by_name.setdefault(path.name, []).append(path)
        return cls(src, {str(relative(p, src)): p for p in files}, by_name)

    def find(self, name: str, near: Path, where: Path) -> Path:
        """The image that label file `where` calls `name`, relative to folder `near` or to the source folder.

        Raises `DataError` when the name is absolute, leaves the source folder, fits nothing or fits several.
        """
        name = name.replace("\\", "/")
        if name.startswith("/") or re.match(r"[A-Za-z]:", name):
            raise DataError(f"{where}: image path {name!r} is absolute; make it relative to the label file")
        beside, inside = self._inside(relative(near, self.src) / name), self._inside(PurePosixPath(name))
        if beside is None and inside is None:
            raise DataError(f"{where}: image path {name!r} leads out of {self.src}; put the images under it")
        for candidate in (beside, inside):
            if candidate in self.by_path:
                return self.by_path[candidate]
        return self.called(name.rsplit("/", 1)[-1], name, where)

    def called(self, file_name: str, name: str, where: Path) -> Path:
        """The one image with this file name; among several, the one whose path ends like `name`."""
        found = self.by_name.get(file_name, [])
        tail = PurePosixPath(name).parts
        best = [p for p in found if relative(p, self.src).parts[-len(tail) :] == tail] or found
        if len(best) == 1:
            return best[0]
        if not best:
            raise DataError(f"{where}: image {name!r} is not under {self.src}; copy it there")
        raise DataError(
            f"{where}: image {name!r} could be any of {', '.join(str(p) for p in best[:3])}; name its folder"
        )

    @staticmethod
    def _inside(path: PurePosixPath) -> str | None:
        normal = os.path.normpath(str(path)).replace("\\", "/")
        return None if normal == ".." or normal.startswith(("../", "/")) else normal
