"""Formats of bare numbers without a unit, read by trimesh: STL, PLY, OFF."""

import io

import numpy as np

from flawsmith.part.errors import PartFormatError
from flawsmith.part.formats.source import Body, Reading, Source


def read_stl(source: Source) -> Reading:
    """Binary, or ASCII with one body for each `solid`."""
    return _read(source, "stl")


def read_ply(source: Source) -> Reading:
    """ASCII or binary; polygons are cut into triangles, colours at vertices are left out."""
    return _read(source, "ply")


def read_off(source: Source) -> Reading:
    return _read(source, "off")


def _read(source: Source, kind: str) -> Reading:
    import trimesh

    scene = trimesh.load_scene(io.BytesIO(source.data), file_type=kind, process=False)
    meshes = {name: mesh for name, mesh in scene.geometry.items() if isinstance(mesh, trimesh.Trimesh)}
    if not any(len(mesh.faces) for mesh in meshes.values()):
        raise PartFormatError(f"{source.path.name} holds no triangles: export the part as a surface mesh")
    return Reading(tuple(_body(source.path.stem if len(meshes) == 1 else n, m) for n, m in meshes.items()), None)


def _body(name: str, mesh) -> Body:
    return Body(name, (), mesh.vertices.view(np.ndarray), np.asarray(mesh.faces))
