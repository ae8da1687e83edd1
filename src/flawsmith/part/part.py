"""Part: what is inspected, as named components of triangles in millimetres."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from flawsmith.core.errors import DataError

if TYPE_CHECKING:
    import trimesh


@dataclass(frozen=True, eq=False)
class Component:
    """One solid of a part, as placed in it."""

    name: str  # as in the CAD file; made unique within the part
    path: tuple[str, ...]  # names of the sub-assemblies above it, root first
    vertices: np.ndarray  # (V, 3) float64, mm, part frame
    faces: np.ndarray  # (F, 3) int32, counter-clockwise seen from outside
    face_names: tuple[str, ...] = ()  # named CAD faces, if the file has them
    face_of: np.ndarray | None = None  # (F,) int32: index into face_names or CAD face number; None unknown
    color: tuple[float, float, float] | None = None  # linear RGB 0..1 if the file gives one

    def __post_init__(self) -> None:
        if self.vertices.ndim != 2 or self.vertices.shape[1] != 3:
            raise DataError(f"component {self.name!r}: vertices {self.vertices.shape}, wanted (V, 3)")
        if self.faces.ndim != 2 or self.faces.shape[1] != 3:
            raise DataError(f"component {self.name!r}: faces {self.faces.shape}, wanted (F, 3)")
        if len(self.faces) == 0:
            raise DataError(f"component {self.name!r} has no faces: export it as a solid or a surface mesh")
        if int(self.faces.min()) < 0 or int(self.faces.max()) >= len(self.vertices):
            raise DataError(f"component {self.name!r}: a face names vertex {self.faces.max()} of {len(self.vertices)}")
        if not np.isfinite(self.vertices).all():
            raise DataError(f"component {self.name!r}: a vertex is not a finite number; export the file again")

    def to_trimesh(self) -> trimesh.Trimesh:
        """The same triangles, unmerged and in the same order."""
        import trimesh

        return trimesh.Trimesh(self.vertices, self.faces, process=False)


@dataclass(frozen=True, eq=False)
class Part:
    """What is inspected: named components in mm, in one frame."""

    name: str
    components: tuple[Component, ...]
    source: str = ""  # file name or standard designation, e.g. "ISO 4017 M6x20"
    sha256: str = ""  # of the source file

    def __post_init__(self) -> None:
        if not self.components:
            raise DataError(f"part {self.name!r} has no solids or surfaces: nothing can be rendered")

    @cached_property
    def vertices(self) -> np.ndarray:
        """(V, 3) float64, mm: all components' one after another."""
        return np.concatenate([c.vertices for c in self.components])

    @cached_property
    def faces(self) -> np.ndarray:
        """(F, 3) int32 into `vertices`."""
        starts = np.cumsum([0, *(len(c.vertices) for c in self.components[:-1])])
        return np.concatenate([c.faces + start for c, start in zip(self.components, starts, strict=True)]).astype(
            np.int32
        )

    @cached_property
    def bounds_mm(self) -> np.ndarray:
        """(2, 3): the smallest and largest coordinates."""
        used = [c.vertices[np.unique(c.faces)] for c in self.components]
        return np.stack([np.min([v.min(0) for v in used], axis=0), np.max([v.max(0) for v in used], axis=0)])

    @property
    def extent_mm(self) -> np.ndarray:
        """(3,): width, depth and height of the bounding box."""
        return self.bounds_mm[1] - self.bounds_mm[0]

    @property
    def triangles(self) -> int:
        return sum(len(c.faces) for c in self.components)

    @property
    def tree(self) -> dict[str, Any]:
        """Nested names: a sub-assembly is a dict of its children, a component is its number in `components`."""
        root: dict[str, Any] = {}
        for index, component in enumerate(self.components):
            branch = root
            for name in component.path:
                branch = branch.setdefault(name, {})
            branch[component.name] = index
        return root

    def to_trimesh(self) -> trimesh.Trimesh:
        """All components as one mesh, unmerged and in order."""
        import trimesh

        return trimesh.Trimesh(self.vertices, self.faces, process=False)
