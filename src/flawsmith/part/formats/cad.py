"""STEP (AP203, AP214, AP242) and IGES, tessellated by Open CASCADE through cascadio."""

import re
from typing import Literal

import numpy as np

from flawsmith.part.errors import PartCorruptError, PartFormatError
from flawsmith.part.formats.gltf import bodies_of
from flawsmith.part.formats.source import Body, Reading, Source

Kind = Literal["step", "iges"]
_UNIT_MM: dict[Kind, float] = {"step": 1000.0, "iges": 1.0}  # cascadio gives metres for STEP, mm for IGES
_ANGLE_RAD = 0.2
_FINEST_MM, _COARSEST_MM = 0.004, 0.2
_PART_OF_DIAGONAL = 1 / 5000


def read_step(source: Source) -> Reading:
    """Assembly tree, names, colours, face numbers. The unit is the file's own; one without is refused."""
    head = source.data[:256].lstrip()
    if not head.startswith(b"ISO-10303-21"):
        raise PartFormatError(f"{source.path.name}: not a STEP file (it does not begin with ISO-10303-21)")
    if not re.search(rb"END-ISO-10303-21\s*;\s*\Z", source.data[-256:]):
        raise PartCorruptError(
            f"{source.path.name}: cut short (no END-ISO-10303-21 at its end): copy or export it again"
        )
    stated = b"LENGTH_UNIT" in source.data  # Open CASCADE would take mm without a word
    return Reading(_tessellated(source, "step"), _UNIT_MM["step"] if stated else None)


def read_iges(source: Source) -> Reading:
    """IGES 5.3; its global section states the unit, inches by that standard when the field is empty."""
    if source.data[72:73] != b"S":
        raise PartFormatError(f"{source.path.name}: not an IGES file (no start section in column 73)")
    return Reading(_tessellated(source, "iges"), _UNIT_MM["iges"])


def _tessellated(source: Source, kind: Kind) -> tuple[Body, ...]:
    tolerance_mm = source.tolerance_mm or _fitting_tolerance(source, kind)
    return _bodies(source, kind, tolerance_mm, _ANGLE_RAD)


def _fitting_tolerance(source: Source, kind: Kind) -> float:
    """A fixed share of the part's diagonal, found from a coarse tessellation."""
    bodies = _bodies(source, kind, 1.0, 1.0)
    corners = np.concatenate([(b.vertices.min(0), b.vertices.max(0)) for b in bodies])
    diagonal_mm = _UNIT_MM[kind] * float(np.linalg.norm(corners.max(0) - corners.min(0)))
    return float(np.clip(diagonal_mm * _PART_OF_DIAGONAL, _FINEST_MM, _COARSEST_MM))


def _bodies(source: Source, kind: Kind, tolerance_mm: float, angle_rad: float) -> tuple[Body, ...]:
    """The tolerance is in mm for both kinds."""
    import cascadio

    glb = cascadio.load(
        source.data,
        file_type=kind,
        tol_linear=tolerance_mm,
        tol_angular=angle_rad,
        include_brep=True,
        use_parallel=False,
    )
    bodies = bodies_of(glb) if glb else ()
    if not bodies:
        raise PartCorruptError(
            f"{source.path.name}: Open CASCADE finds no solid or surface in it; export the part as solids"
        )
    return bodies
