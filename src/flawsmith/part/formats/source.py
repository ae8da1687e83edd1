"""What a reader of one format is given, and what it gives back."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flawsmith.part.errors import PartFormatError
from flawsmith.part.guard import DEFAULT_LIMITS, Limits


@dataclass(frozen=True)
class Source:
    """The file to read. `tolerance_mm` is for curved CAD surfaces; None lets the reader choose by the part's size."""

    path: Path
    data: bytes
    tolerance_mm: float | None = None
    limits: Limits = DEFAULT_LIMITS


@dataclass(frozen=True, eq=False)
class Body:
    """One body as the file has it: coordinates in the file's unit, names not yet unique."""

    name: str
    path: tuple[str, ...]
    vertices: np.ndarray  # (V, 3) float64
    faces: np.ndarray  # (F, 3) int
    face_names: tuple[str, ...] = ()
    face_of: np.ndarray | None = None
    color: tuple[float, float, float] | None = None  # linear RGB 0..1


@dataclass(frozen=True)
class Reading:
    """All bodies, and how many mm one unit of the file is; None where the file does not say."""

    bodies: tuple[Body, ...]
    unit_mm: float | None


def distinct(names: Iterable[str]) -> list[str]:
    """Names of siblings; from the second of a name on they get a number, in the manner of `bolt.2`."""
    counts: Counter[str] = Counter()
    told = []
    for name in names:
        counts[name] += 1
        told.append(name if counts[name] == 1 else f"{name}.{counts[name]}")
    return told


def linear(srgb: float) -> float:
    """IEC 61966-2-1: a display value in 0..1 as light."""
    return srgb / 12.92 if srgb <= 0.04045 else ((srgb + 0.055) / 1.055) ** 2.4


def beside(path: Path, name: str) -> Path:
    """A file that `path` refers to. Raises `PartFormatError` when it is not inside the folder of `path`."""
    folder = path.resolve().parent
    wanted = (folder / name).resolve()
    if "://" in name or not wanted.is_relative_to(folder):
        raise PartFormatError(
            f"{path.name} refers to {name!r}, outside its own folder: put what belongs to the part into one folder"
        )
    return wanted
