"""X3D (ISO/IEC 19775-1) in XML encoding: transforms, groups, DEF/USE, indexed and plain triangles, solids. Metres."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from xml.etree.ElementTree import Element

import numpy as np

from flawsmith.part.errors import PartCorruptError, PartFormatError, PartTooLargeError
from flawsmith.part.formats.polygon import triangulated
from flawsmith.part.formats.source import Body, Reading, Source, linear
from flawsmith.part.formats.xml import local_name, parse_xml

_DEEPEST = 64
_MOST_NODES = 1_000_000
_GROUPS = {"Scene", "Group", "StaticGroup", "Transform", "Anchor", "Collision", "LOD", "Switch", "CADLayer"}
_GROUPS |= {"CADAssembly", "CADPart", "CADFace"}
_ELSEWHERE = {"Inline", "ProtoInstance", "ImportedNode"}


@dataclass(frozen=True, eq=False)
class _Place:
    """Where in the tree a node stands: `matrix` is 4×4 scene_from_node."""

    path: tuple[str, ...]
    matrix: np.ndarray


def read_x3d(source: Source) -> Reading:
    """Shapes as bodies, named groups as sub-assemblies. Metres, unless `<unit category="length">` says else."""
    root = parse_xml(source.data, source.path.name)
    if local_name(root) != "X3D":
        raise PartFormatError(f"{source.path.name}: the root element is {local_name(root)!r}, not X3D")
    nodes = list(root.iter())
    if outside := {local_name(e) for e in nodes} & _ELSEWHERE:
        raise PartFormatError(f"{source.path.name} uses {', '.join(sorted(outside))}: save it with everything inlined")
    named = {e.get("DEF"): e for e in nodes if e.get("DEF")}
    scene = next((e for e in nodes if local_name(e) == "Scene"), root)
    walk = _Walk(named)
    bodies = tuple(walk.bodies(scene, _Place((), np.eye(4))))
    if not bodies:
        raise PartFormatError(f"{source.path.name} holds no shapes that are read; export it as triangles")
    return Reading(bodies, 1000.0 * _metres(nodes))


def _metres(nodes: list[Element]) -> float:
    unit = next((e for e in nodes if local_name(e) == "unit" and e.get("category") == "length"), None)
    return float(unit.get("conversionFactor", "1")) if unit is not None else 1.0


@dataclass
class _Walk:
    named: dict[str | None, Element]
    seen: int = 0

    def bodies(self, node: Element, place: _Place) -> Iterator[Body]:
        """All shapes below `node`; what is USEd twice comes twice."""
        self.seen += 1
        if self.seen > _MOST_NODES:
            raise PartTooLargeError(f"X3D: more than {_MOST_NODES} nodes after USE; simplify the scene")
        if len(place.path) > _DEEPEST:
            raise PartCorruptError("X3D: a node uses itself; export the file again")
        node = self.used(node)
        kind = local_name(node)
        if kind == "Shape":
            yield from self.shape(node, place)
        elif kind in _GROUPS:
            name = node.get("name") or node.get("DEF")
            path = (*place.path, name or "") if kind != "Scene" else place.path
            inner = replace(place, path=path, matrix=place.matrix @ _matrix(node, kind))
            for child in node:
                yield from self.bodies(child, inner)

    def used(self, node: Element) -> Element:
        name = node.get("USE")
        if name is None:
            return node
        if name not in self.named:
            raise PartCorruptError(f"X3D: USE={name!r} without a DEF; export the file again")
        return self.named[name]

    def shape(self, node: Element, place: _Place) -> Iterator[Body]:
        children = [self.used(child) for child in node]
        color = next((_color(self.used(m)) for c in children for m in c if local_name(m) == "Material"), None)
        path = tuple(name for name in place.path if name)
        name = node.get("name") or node.get("DEF") or (path[-1] if path else "shape")
        path = path[:-1] if path and name == path[-1] else path
        for geometry in children:
            mesh = self.mesh(geometry)
            if mesh is not None and len(mesh[1]):
                vertices, faces = mesh
                if np.linalg.det(place.matrix[:3, :3]) < 0:
                    faces = faces[:, ::-1]
                yield Body(name, path, vertices @ place.matrix[:3, :3].T + place.matrix[:3, 3], faces, color=color)

    def mesh(self, node: Element) -> tuple[np.ndarray, np.ndarray] | None:
        kind = local_name(node)
        if kind in ("Box", "Sphere", "Cylinder", "Cone"):
            return _primitive(node, kind)
        points = next((_numbers(self.used(c).get("point")) for c in node if local_name(c) == "Coordinate"), None)
        if points is None:
            return None
        vertices = points.reshape(-1, 3)
        faces = _faces(node, kind, vertices)
        return (
            (vertices, faces if node.get("ccw", "true") != "false" else faces[:, ::-1]) if faces is not None else None
        )


def _faces(node: Element, kind: str, vertices: np.ndarray) -> np.ndarray | None:
    if kind == "IndexedFaceSet":
        polygons = _runs(_numbers(node.get("coordIndex")).astype(np.int64))
        _inside(np.array([i for polygon in polygons for i in polygon], np.int64), vertices)
        return triangulated(vertices, polygons)[0]
    if kind in ("IndexedTriangleSet", "TriangleSet"):
        text = node.get("index")
        index = _numbers(text).astype(np.int64) if text else np.arange(len(vertices))
        return _inside(index[: len(index) // 3 * 3], vertices).reshape(-1, 3)
    if kind in ("IndexedTriangleStripSet", "IndexedTriangleFanSet", "TriangleStripSet", "TriangleFanSet"):
        raise PartFormatError(f"X3D: {kind} is not read: export as IndexedFaceSet or IndexedTriangleSet")
    return None


def _inside(index: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    if len(index) and (index.min() < 0 or index.max() >= len(vertices)):
        raise PartCorruptError(f"X3D: a face names point {index.max()} of {len(vertices)}; export the file again")
    return index


def _runs(index: np.ndarray) -> list[list[int]]:
    """`0 1 2 -1 3 4 5 6 -1` as polygons."""
    return [run[run >= 0].tolist() for run in np.split(index, np.flatnonzero(index < 0) + 1) if (run >= 0).any()]


def _primitive(node: Element, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """With X3D's sizes: radius 1, height 2, axis y."""
    from trimesh import creation

    upright = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])  # z to y
    radius, height = float(node.get("radius", node.get("bottomRadius", "1"))), float(node.get("height", "2"))
    if kind == "Box":
        made = creation.box(_numbers(node.get("size", "2 2 2")))
    elif kind == "Sphere":
        made = creation.icosphere(subdivisions=4, radius=radius)
    elif kind == "Cylinder":
        made = creation.cylinder(radius, height, sections=64, transform=upright)
    else:
        made = creation.cone(radius, height, sections=64)
        made.apply_translation([0, 0, -height / 2])
        made.apply_transform(upright)
    return made.vertices.view(np.ndarray), np.asarray(made.faces)


def _matrix(node: Element, kind: str) -> np.ndarray:
    """X3D's T C R SR S -SR -C (ISO/IEC 19775-1, 10.4.4)."""
    from trimesh import transformations as t

    if kind != "Transform":
        return np.eye(4)
    moved, center = _numbers(node.get("translation", "0 0 0")), _numbers(node.get("center", "0 0 0"))
    turn, skew = _numbers(node.get("rotation", "0 0 1 0")), _numbers(node.get("scaleOrientation", "0 0 1 0"))
    turned, skewed = t.rotation_matrix(turn[3], turn[:3]), t.rotation_matrix(skew[3], skew[:3])
    scaled = np.diag([*_numbers(node.get("scale", "1 1 1")), 1.0])
    to, back = t.translation_matrix(center), t.translation_matrix(-center)
    return t.translation_matrix(moved) @ to @ turned @ skewed @ scaled @ skewed.T @ back


def _color(material: Element) -> tuple[float, float, float]:
    red, green, blue = (linear(float(v)) for v in _numbers(material.get("diffuseColor", "0.8 0.8 0.8"))[:3])
    return red, green, blue


def _numbers(text: str | None) -> np.ndarray:
    return (
        np.array(re.split(r"[\s,]+", (text or "").strip(" \t\r\n,")), np.float64)
        if (text or "").strip()
        else np.zeros(0)
    )
