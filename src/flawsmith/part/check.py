"""What can be wrong with a part that was read: each finding with what it means and how to cure it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from flawsmith.core import finding
from flawsmith.core.finding import Known
from flawsmith.part.part import Component, Part

_SMALLEST_MM, _LARGEST_MM = 0.1, 10_000.0
_MANY_TRIANGLES = 2_000_000
_FEW_TRIANGLES = 12  # a box
_FLAT = 1e-6  # thickness as a share of the diagonal
_MOST_PAIRS = 2000
_OVERLAP = 0.01  # of the smaller volume

_EXPORT = "repair it in CAD and export again"
KNOWN: Known = {
    "small": ("error", f"the largest side is below {_SMALLEST_MM} mm", "check the unit: --unit m|inch|…"),
    "large": ("error", f"the largest side is above {_LARGEST_MM / 1000:g} m", "check the unit: --unit mm|…"),
    "flat": ("error", "the part has no thickness: it cannot rest on a stage", "give it a volume in CAD"),
    "inside-out": ("error", "faces point inwards", f"flip them; {_EXPORT}"),
    "open": (
        "note",
        "the surface is not closed (not watertight): volume is approximate, holes and breaks cannot be cut",
        f"close the gaps; {_EXPORT}, or export STEP in place of a mesh",
    ),
    "winding": ("note", "neighbouring faces point to opposite sides", f"unify the normals; {_EXPORT}"),
    "overlap": (
        "note",
        "components reach into one another: volume is counted twice",
        "join them in CAD; flawsmith part make joins threads with their bodies",
    ),
    "many-triangles": (
        "note",
        f"over {_MANY_TRIANGLES:,} triangles: rendering needs much memory",
        "simplify the part, or read CAD files with a coarser --tolerance-mm",
    ),
    "few-triangles": ("note", "fewer triangles than a box has", "check that the whole part was exported"),
}


@dataclass(frozen=True)
class Finding(finding.Finding):
    """`where` names the components concerned, with what was seen."""

    known: ClassVar[Known] = KNOWN
    where: tuple[str, ...] = ()


def check_part(part: Part) -> tuple[Finding, ...]:
    """All findings, errors first."""
    found = [*_size(part), *_triangles(part), *_surface(part), *_overlaps(part)]
    return tuple(sorted(found, key=lambda finding: finding.severity))


def _size(part: Part) -> Iterator[Finding]:
    extent = np.sort(part.extent_mm)
    told = (" × ".join(f"{side:.4g}" for side in part.extent_mm) + " mm",)
    if extent[-1] < _SMALLEST_MM:
        yield Finding("small", told)
    if extent[-1] > _LARGEST_MM:
        yield Finding("large", told)
    if extent[0] <= _FLAT * extent[-1]:
        yield Finding("flat", told)


def _triangles(part: Part) -> Iterator[Finding]:
    if part.triangles > _MANY_TRIANGLES:
        yield Finding("many-triangles", (f"{part.triangles:,}",))
    few = [f"{c.name}: {len(c.faces)}" for c in part.components if len(c.faces) < _FEW_TRIANGLES]
    if few:
        yield Finding("few-triangles", tuple(few))


def _surface(part: Part) -> Iterator[Finding]:
    opened, turned, inward = [], [], []
    for component in part.components:
        mesh = component.to_trimesh()
        if edges := open_edges(component):
            opened.append(f"{component.name}: {edges} edges without exactly two faces")
        elif not mesh.is_winding_consistent:
            turned.append(component.name)
        elif mesh.volume < 0:
            inward.append(component.name)
    for code, where in (("open", opened), ("winding", turned), ("inside-out", inward)):
        if where:
            yield Finding(code, tuple(where))


def open_edges(component: Component) -> int:
    """Edges that do not join exactly two faces; 0 for a closed surface."""
    edges = np.sort(component.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    _, count = np.unique(edges[:, 0].astype(np.int64) * len(component.vertices) + edges[:, 1], return_counts=True)
    return int((count % 2 != 0).sum())


def _overlaps(part: Part) -> Iterator[Finding]:
    """Shared volume of closed components, exact by manifold3d; the open ones are left out."""
    boxes = np.array([(c.vertices.min(0), c.vertices.max(0)) for c in part.components])
    near = np.triu((boxes[:, None, 0] < boxes[None, :, 1]).all(2) & (boxes[:, None, 1] > boxes[None, :, 0]).all(2), 1)
    pairs = np.argwhere(near)[:_MOST_PAIRS]
    solids = {int(i): _solid(part.components[i]) for i in np.unique(pairs)}
    told = []
    for i, j in pairs.tolist():
        a, b = solids[i], solids[j]
        if a is None or b is None:
            continue
        shared = (a ^ b).volume()
        if shared > _OVERLAP * min(a.volume(), b.volume()):
            told.append(f"{part.components[i].name} and {part.components[j].name}: {shared:.3g} mm³")
    if told:
        yield Finding("overlap", tuple(told))


def _solid(component: Component):
    """A manifold3d solid, or None where the component is not closed."""
    import manifold3d

    solid = manifold3d.Manifold(manifold3d.Mesh64(component.vertices, component.faces.astype(np.uint64)))
    return solid if solid.status() == manifold3d.Error.NoError and solid.volume() > 0 else None
