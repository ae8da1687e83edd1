"""DeepPCB: `<id>_temp.jpg` (template, healthy), `<id>_test.jpg` and `<id>.txt` with "x1 y1 x2 y2 type" per defect.

Boxes only. Groups: `part` is the board group (the folder called group…): its images show pieces of one board. The
published layout keeps the text in a folder `<n>_not` beside the images' folder `<n>`.
"""

from collections.abc import Iterator
from pathlib import Path

from flawsmith.core.defect import Defect
from flawsmith.core.errors import DataError
from flawsmith.core.image import image_files
from flawsmith.core.sample import Sample
from flawsmith.dataset.formats.documents import read_text
from flawsmith.dataset.formats.format import ReadOptions
from flawsmith.dataset.formats.regions import box_defect
from flawsmith.dataset.formats.source import labelled, read_each, relative, upright_shape

KINDS = {"1": "open", "2": "short", "3": "mousebite", "4": "spur", "5": "copper", "6": "pin-hole"}
_TEMPLATE, _TEST = "_temp", "_test"


def recognise(src: Path) -> str | None:
    tested = [path for path in image_files(src) if path.stem.endswith(_TEST)]
    if tested and _boxes_of(tested[0]).is_file():
        return None
    return "wants images called <id>_temp.jpg and <id>_test.jpg with <id>.txt"


def read(src: Path, options: ReadOptions) -> Iterator[Sample]:
    images = [path for path in image_files(src) if path.stem.endswith((_TEMPLATE, _TEST))]
    if not images:
        raise DataError(f"{src}: {recognise(src)}")

    def build(path: Path, template: bool) -> Sample:
        shape = upright_shape(path)
        where = relative(path, src)
        board = next((part for part in where.parts if part.startswith("group")), None)
        groups = {"part": board} if board else None
        if template:
            return labelled(src, path, (), healthy=True, groups=groups)
        defects = _defects(_boxes_of(path), shape, options)
        return labelled(src, path, defects, healthy=False, groups=groups)

    yield from read_each(src, ((path, path.stem.endswith(_TEMPLATE)) for path in images), build, options)


def _boxes_of(path: Path) -> Path:
    name = path.stem.removesuffix(_TEST) + ".txt"
    apart = path.parent.with_name(f"{path.parent.name}_not") / name
    return apart if apart.is_file() else path.with_name(name)


def _defects(path: Path, shape: tuple[int, int], options: ReadOptions) -> Iterator[Defect]:
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        fields = line.replace(",", " ").split()
        if not fields:
            continue
        where = f"{path}, line {number}"
        if len(fields) != 5 or fields[4] not in KINDS or not all(f.lstrip("-").isdecimal() for f in fields[:4]):
            raise DataError(f"{where}: wanted 'x1 y1 x2 y2 type' with type 1 to 6, got {line!r}; correct it")
        defect = box_defect(KINDS[fields[4]], [float(f) for f in fields[:4]], shape, where, options)
        if defect:
            yield defect
