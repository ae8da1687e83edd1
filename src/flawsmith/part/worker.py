"""The reading process: `python -m flawsmith.part.worker FOLDER` reads request.json there and leaves part.json."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from flawsmith.core.errors import ConfigError, FlawsmithError, missing_package
from flawsmith.part.clean import components_of
from flawsmith.part.errors import PartTooLargeError
from flawsmith.part.formats import Source, format_of
from flawsmith.part.formats.gltf import unnamed
from flawsmith.part.guard import OUT_OF_MEMORY, Limits, limit_self
from flawsmith.part.part import Component
from flawsmith.part.units import mm_per


def main() -> None:
    folder = Path(sys.argv[1])
    request = json.loads((folder / "request.json").read_text())
    limits = Limits(**request["limits"])
    limit_self(limits)
    try:
        told = read_here(request, limits, folder)
    except FlawsmithError as error:
        told = {"error": type(error).__name__, "message": str(error)}
    except ModuleNotFoundError as error:
        fault = missing_package(error.name or "a package", "part")
        told = {"error": type(fault).__name__, "message": str(fault)}
    except MemoryError:
        sys.exit(OUT_OF_MEMORY)
    (folder / "part.json").write_text(json.dumps(told))


def read_here(request: dict[str, Any], limits: Limits, folder: Path) -> dict[str, Any]:
    """Read without a guard; arrays go to part.npz, the rest is returned."""
    path = Path(request["path"])
    reading = format_of(path).read(Source(path, path.read_bytes(), request["tolerance_mm"], limits))
    triangles = sum(len(body.faces) for body in reading.bodies)
    if triangles > limits.triangles:
        raise PartTooLargeError(
            f"{path.name} has {triangles:,} triangles, more than the {limits.triangles:,} allowed; take a coarser "
            "--tolerance-mm, simplify the part, or allow more (--triangles)"
        )
    components = components_of(reading.bodies, _unit_mm(request["unit"], reading.unit_mm, path))
    _save(components, folder / "part.npz")
    return {"name": _whole(components) or path.stem, "components": [_described(component) for component in components]}


def _whole(components: tuple[Component, ...]) -> str | None:
    """The name of the one assembly that holds everything, if a person gave it one."""
    roots = {component.path[:1] for component in components}
    name = "".join(roots.pop()) if len(roots) == 1 else ""
    return None if not name or name == unnamed(0) else name


def _unit_mm(unit: str | None, stated_mm: float | None, path: Path) -> float:
    """An explicit unit wins, save for CAD files: their kernel has already converted."""
    if format_of(path).unit == "file" and format_of(path).name in ("STEP", "IGES"):
        if unit is None and stated_mm is None:
            raise ConfigError(f"{path.name} does not state its unit of length, and it is not guessed: add --unit")
        if unit is not None and stated_mm is not None:
            raise ConfigError(f"{path.name} states its own unit of length: leave --unit {unit} out")
        return stated_mm if stated_mm is not None else 1000.0 * mm_per(unit or "mm")  # metres, as if it were mm
    return mm_per(unit) if unit is not None else stated_mm or 1.0


def _described(component: Component) -> dict[str, Any]:
    return {
        "name": component.name,
        "path": component.path,
        "face_names": component.face_names,
        "color": component.color,
    }


def _save(components: tuple[Component, ...], path: Path) -> None:
    arrays = {}
    for index, component in enumerate(components):
        arrays[f"vertices-{index}"] = component.vertices
        arrays[f"faces-{index}"] = component.faces
        if component.face_of is not None:
            arrays[f"face-of-{index}"] = component.face_of
    np.savez(path, **arrays)


if __name__ == "__main__":
    main()
