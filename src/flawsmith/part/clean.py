"""From what a file says to sound components: mm, merged vertices, outward faces, unique names."""

from collections.abc import Iterable

import numpy as np

from flawsmith.part.errors import PartCorruptError
from flawsmith.part.formats.source import Body
from flawsmith.part.part import Component

_FLOAT32_STEP = 2.0**-22  # four times the rounding of a coordinate stored in 32 bits
_FINEST_MM = 1e-5


def components_of(bodies: Iterable[Body], unit_mm: float) -> tuple[Component, ...]:
    """Bodies whose faces all vanish (zero area) are left out."""
    bodies = tuple(bodies)
    names = _Names(name for body in bodies for name in body.path)
    made = []
    for body in bodies:
        vertices, faces, kept = welded(body.vertices * unit_mm, body.faces)
        if len(faces) == 0:
            continue
        face_of = None if body.face_of is None else body.face_of[kept]
        path = tuple(_assembly(name) for name in body.path)
        name, outer = names.unique(body.name, path), outward(vertices, faces)
        made.append(Component(name, path, vertices, outer, body.face_names, face_of, body.color))
    return tuple(made)


def welded(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices at one place joined, faces of fewer than three places and unused vertices dropped.

    Returns vertices (V, 3), faces (F, 3) int32, and which faces were kept as a bool mask. CAD kernels and STL write a
    vertex once for each face or triangle, so nothing is watertight before this.
    """
    if len(faces) == 0 or faces.min() < 0 or faces.max() >= len(vertices) or not np.isfinite(vertices).all():
        raise PartCorruptError("a mesh has no faces, faces without vertices, or coordinates that are no numbers")
    used = vertices[np.unique(faces)]
    grid = max(_FINEST_MM, float(np.abs(used).max()) * _FLOAT32_STEP)
    _, first, place = np.unique(
        np.round(vertices / grid).astype(np.int64), axis=0, return_index=True, return_inverse=True
    )
    joined = first[place.reshape(-1)][faces]
    kept = (joined != np.roll(joined, 1, axis=1)).all(axis=1)
    ids, compact = np.unique(joined[kept], return_inverse=True)
    return vertices[ids].astype(np.float64), compact.reshape(-1, 3).astype(np.int32), kept


def outward(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Faces of a closed mesh turned so that its volume is positive; an open one keeps what the file says."""
    import trimesh
    from trimesh import repair

    mesh = trimesh.Trimesh(vertices, faces, process=False)
    if not mesh.is_winding_consistent:
        repair.fix_winding(mesh)
    if mesh.is_watertight and mesh.is_winding_consistent and mesh.volume < 0:
        mesh.invert()
    return np.asarray(mesh.faces, np.int32)


class _Names:
    """Names given so far: components get a number where theirs is taken, in the manner of `bolt.2`."""

    def __init__(self, assemblies: Iterable[str]) -> None:
        self._taken = {_assembly(name) for name in assemblies}

    def unique(self, name: str, path: tuple[str, ...]) -> str:
        wanted = _printable(name) or "part"
        if wanted in self._taken and path and wanted == path[-1] and f"{wanted}.solid" not in self._taken:
            wanted = f"{wanted}.solid"
        free, number = wanted, 1
        while free in self._taken:
            number += 1
            free = f"{wanted}.{number}"
        self._taken.add(free)
        return free


def _assembly(name: str) -> str:
    return _printable(name) or "assembly"


def _printable(name: str) -> str:
    """Names end up in files, tables and web pages: no control characters, at most 120 long."""
    return "".join(c if c.isprintable() else " " for c in name).strip()[:120]
