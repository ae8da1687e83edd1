"""`read_part`: a CAD file as a `Part` in mm, read in a process of its own with a ceiling on memory and time."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from flawsmith.core.errors import ConfigError, DataError, EnvironmentFault, FlawsmithError
from flawsmith.core.files import read_json, sha256_of
from flawsmith.part import errors
from flawsmith.part.errors import PartCorruptError, PartTooLargeError
from flawsmith.part.formats import format_of
from flawsmith.part.guard import DEFAULT_LIMITS, Limits, run_limited
from flawsmith.part.part import Component, Part
from flawsmith.part.units import UNITS, mm_per

_FAILURES: dict[str, type[FlawsmithError]] = {
    kind.__name__: kind
    for kind in (
        *(ConfigError, DataError, EnvironmentFault, errors.PartError),
        *(errors.PartFormatError, errors.PartCorruptError, errors.PartTooLargeError),
    )
}


def read_part(
    path: Path, *, unit: str | None = None, tolerance_mm: float | None = None, limits: Limits = DEFAULT_LIMITS
) -> Part:
    """The components of a CAD file, in mm, vertices merged and faces turned outward.

    unit:         of the file's numbers, one of `UNITS`; wanted for STL, OBJ, PLY and OFF, which state none, and refused
                  for STEP and IGES, which do. glTF and X3D are metres by their standards, 3MF names its unit; for these
                  a `unit` given here wins, since some programs write mm all the same.
    tolerance_mm: largest distance between a curved CAD surface and its triangles; None: 1/5000 of the diagonal.

    Raises `PartFormatError`, `PartCorruptError`, `PartTooLargeError`, or `ConfigError` for a unit that is missing.

    >>> read_part(Path("bolt.stl"), unit="mm").extent_mm  # doctest: +SKIP
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist" if not path.exists() else f"{path} is not a file")
    kind = format_of(path)
    _check_request(path, kind.unit, unit, tolerance_mm)
    if path.stat().st_size > limits.file_mb * (1 << 20):
        raise PartTooLargeError(
            f"{path.name} has {path.stat().st_size / 1e6:.0f} MB, more than the {limits.file_mb:g} MB allowed; "
            "simplify the part, or allow more (--file-mb)"
        )
    with tempfile.TemporaryDirectory(prefix="flawsmith-part-") as name:
        folder = Path(name)
        request = {"path": str(path.resolve()), "unit": unit, "tolerance_mm": tolerance_mm, "limits": asdict(limits)}
        (folder / "request.json").write_text(json.dumps(request))
        run_limited(["-m", "flawsmith.part.worker", name], limits, folder, path.name)
        return part_in(folder, path)


def _check_request(path: Path, source: str, unit: str | None, tolerance_mm: float | None) -> None:
    if unit is not None:
        mm_per(unit)
    if unit is None and source == "user":
        raise ConfigError(
            f"{path.name} does not state its unit of length, and it is not guessed: add --unit {'|'.join(UNITS)}"
        )
    if tolerance_mm is not None and not 1e-4 <= tolerance_mm <= 100:
        raise ConfigError(f"tolerance of {tolerance_mm} mm: wanted 0.0001 to 100")


def part_in(folder: Path, path: Path) -> Part:
    """What the reading process left, or the error it ended in."""
    told = read_json(folder / "part.json")
    if "error" in told:
        message = told["message"] if path.name in told["message"] else f"{path.name}: {told['message']}"
        raise _FAILURES.get(told["error"], PartCorruptError)(message)
    with np.load(folder / "part.npz", allow_pickle=False) as arrays:
        components = tuple(_component(index, item, arrays) for index, item in enumerate(told["components"]))
    return Part(told["name"], components, path.name, sha256_of(path))


def _component(index: int, item: dict[str, Any], arrays: Any) -> Component:
    color = item["color"]
    return Component(
        item["name"],
        tuple(item["path"]),
        arrays[f"vertices-{index}"],
        arrays[f"faces-{index}"],
        tuple(item["face_names"]),
        arrays.get(f"face-of-{index}"),
        (color[0], color[1], color[2]) if color else None,
    )
