"""NEU-DET: `IMAGES/crazing_1.jpg` and `ANNOTATIONS/crazing_1.xml` (VOC boxes), six defect kinds, no healthy image.

The image's class is in its name; a few images also hold boxes of other kinds.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from flawsmith.core.sample import Sample
from flawsmith.dataset.formats import voc
from flawsmith.dataset.formats.format import ReadOptions
from flawsmith.dataset.formats.source import folder

KINDS = ("crazing", "inclusion", "patches", "pitted_surface", "rolled-in_scale", "scratches")


def recognise(src: Path) -> str | None:
    images, annotations = folder(src, "IMAGES"), folder(src, "ANNOTATIONS")
    if not images or not annotations:
        return f"wants the folders IMAGES and ANNOTATIONS, found no {'ANNOTATIONS' if images else 'IMAGES'}"
    files = sorted(annotations.glob("*.xml"))
    if not files:
        return f"wants XML files in {annotations.name}, found none"
    strange = [p.name for p in files if p.stem.rpartition("_")[0] not in KINDS]
    return f"{annotations.name}/{strange[0]} is not called after one of {', '.join(KINDS)}" if strange else None


def read(src: Path, options: ReadOptions) -> Iterator[Sample]:
    for sample in voc.read(src, options):
        name = Path(sample.source).stem.rpartition("_")[0]
        yield replace(sample, label=name) if name in KINDS and not sample.healthy else sample
