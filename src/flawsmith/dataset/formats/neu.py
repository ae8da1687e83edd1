"""NEU-DET: `IMAGES/crazing_1.jpg` and `ANNOTATIONS/crazing_1.xml` (VOC boxes), six defect kinds, no healthy image."""

from pathlib import Path

from flawsmith.dataset.formats import voc
from flawsmith.dataset.formats.source import folder

KINDS = ("crazing", "inclusion", "patches", "pitted_surface", "rolled-in_scale", "scratches")

read = voc.read


def recognise(src: Path) -> str | None:
    images, annotations = folder(src, "IMAGES"), folder(src, "ANNOTATIONS")
    if not images or not annotations:
        return f"wants the folders IMAGES and ANNOTATIONS, found no {'ANNOTATIONS' if images else 'IMAGES'}"
    strange = [p.name for p in annotations.glob("*.xml") if p.stem.rpartition("_")[0] not in KINDS]
    return f"{annotations.name}/{strange[0]} is not called after one of {', '.join(KINDS)}" if strange else None
