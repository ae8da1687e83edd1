"""glTF 2.0, .glb and .gltf: metres by its standard. Also the way in for tessellated STEP and IGES."""

import io
import json
import struct
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np

from flawsmith.part.errors import PartCorruptError, PartFormatError
from flawsmith.part.formats.source import Body, Reading, Source, beside, distinct

if TYPE_CHECKING:
    import trimesh

_GLB, _JSON = b"glTF", b"JSON"


def read_gltf(source: Source) -> Reading:
    """Buffers beside the file are read, those anywhere else are refused. Textures are left out."""
    if source.data[:4] == _GLB:
        return Reading(bodies_of(source.data, source), 1000.0)
    return Reading(bodies_of(_packed(_parsed(source.data), b""), source), 1000.0)


def bodies_of(glb: bytes, source: Source | None = None) -> tuple[Body, ...]:
    """All meshes of a GLB as placed in its scene, with the names that the file gave them, in file order."""
    import trimesh

    tree, binary = _unpacked(glb)
    marks = _marks(tree)
    for index, node in enumerate(tree.get("nodes", ())):
        node["name"] = str(index)  # trimesh makes names unique in its own way; numbers come through
    _embed(tree, source)
    scene = trimesh.load_scene(io.BytesIO(_packed(tree, binary)), file_type="glb", process=False, skip_materials=True)
    found = [_body(scene, tree, marks, node) for node in scene.graph.nodes_geometry]
    return tuple(body for _, body in sorted((f for f in found if f), key=lambda f: f[0]))


def _body(scene: "trimesh.Scene", tree: dict[str, Any], marks: list[str], node: str) -> tuple[int, Body] | None:
    import trimesh

    matrix, geometry = scene.graph.get(node)
    mesh = scene.geometry[geometry]
    if not isinstance(mesh, trimesh.Trimesh) or len(mesh.faces) == 0:
        return None  # points and lines
    placed = mesh.copy()
    placed.apply_transform(matrix)
    index, parents = _index(node), _parents(scene, node)
    names = [marks[i] for i in [*parents, index]]
    face_of, face_names = _cad_faces(mesh)
    body = Body(
        names[-1], tuple(names[:-1]), placed.vertices.view(np.ndarray), np.asarray(placed.faces), face_names, face_of,
        _color(tree, tree["nodes"][index].get("mesh")),
    )  # fmt: skip
    return index, body


def _marks(tree: dict[str, Any]) -> list[str]:
    """The name of each node as the file has it; sub-assemblies that share a parent and a name get a number."""
    nodes = tree.get("nodes", [])
    marks = [_own(node.get("name")) or _own(_mesh_name(tree, node)) or unnamed(i) for i, node in enumerate(nodes)]
    for node in nodes:
        below = [i for i in node.get("children", ()) if "mesh" not in nodes[i]]
        for index, name in zip(below, distinct(marks[i] for i in below), strict=True):
            marks[index] = name
    return marks


def unnamed(number: int) -> str:
    """What a nameless node is called."""
    return f"part-{number + 1}"


def _own(name: str | None) -> str | None:
    """A name that a person gave; Open CASCADE writes `=>[0:1:1:2]` for things without one."""
    return None if not name or name.startswith("=>[") else name


def _index(node: str) -> int:
    return int(node.split("_")[0])


def _parents(scene: "trimesh.Scene", node: str) -> list[int]:
    """Node numbers above `node`, root first; a mesh of several primitives gives nodes of the same number."""
    above, parents = [], scene.graph.transforms.parents
    upper = parents.get(node)
    while upper is not None and upper != scene.graph.base_frame:
        above.append(_index(upper))
        upper = parents.get(upper)
    return above[::-1]


def _cad_faces(mesh: "trimesh.Trimesh") -> tuple[np.ndarray | None, tuple[str, ...]]:
    """CAD face number of each triangle, and names such as "cylinder-7" made from the surface's kind."""
    face_of = mesh.face_attributes.get("brep_index")
    if face_of is None or len(face_of) != len(mesh.faces):
        return None, ()
    surfaces = (mesh.metadata.get("cascadio") or {}).get("brep_primitives", [])
    kinds = [type(s).__name__.lower() if s is not None else "surface" for s in surfaces]
    kinds += ["surface"] * (int(face_of.max()) + 1 - len(kinds))
    return np.asarray(face_of, np.int32), tuple(f"{kind}-{i}" for i, kind in enumerate(kinds))


def _color(tree: dict[str, Any], mesh: int | None) -> tuple[float, float, float] | None:
    primitives = tree["meshes"][mesh]["primitives"] if mesh is not None else []
    material = primitives[0].get("material") if primitives else None
    if material is None:
        return None
    surface = tree["materials"][material].get("pbrMetallicRoughness", {})
    factor = surface.get("baseColorFactor")
    if factor is None or "baseColorTexture" in surface:
        return None
    red, green, blue = (min(max(float(v), 0.0), 1.0) for v in factor[:3])
    return red, green, blue


def _mesh_name(tree: dict[str, Any], node: dict[str, Any]) -> str | None:
    return tree["meshes"][node["mesh"]].get("name") if "mesh" in node else None


def _embed(tree: dict[str, Any], source: Source | None) -> None:
    """Turn buffers that lie beside the file into data URIs; raise for those that lie elsewhere."""
    import base64

    tree.pop("images", None)
    tree.pop("textures", None)
    for buffer in tree.get("buffers", ()):
        uri = buffer.get("uri")
        if uri is None or uri.startswith("data:"):
            continue
        if source is None:
            raise PartFormatError(f"refers to {uri!r}, and only one file is read")
        path = beside(source.path, unquote(uri))
        if not path.is_file() or path.stat().st_size > source.limits.file_mb * (1 << 20):
            raise PartCorruptError(
                f"{source.path.name}: its buffer {uri!r} is missing or too large: keep them together"
            )
        buffer["uri"] = "data:application/octet-stream;base64," + base64.b64encode(path.read_bytes()).decode()


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PartCorruptError(f"not glTF 2.0: {error}; export the file again") from error
    if not isinstance(tree, dict) or not str(tree.get("asset", {}).get("version", "")).startswith("2"):
        raise PartFormatError("not glTF 2.0 (asset.version): export it as glTF 2.0")
    if missing := set(tree.get("extensionsRequired", ())) & {"KHR_draco_mesh_compression", "EXT_meshopt_compression"}:
        raise PartFormatError(f"compressed glTF ({', '.join(missing)}): export it without compression")
    return tree


def _unpacked(glb: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON and binary chunks of a GLB (glTF 2.0, section 4.4)."""
    if len(glb) < 20 or glb[16:20] != _JSON or struct.unpack("<I", glb[8:12])[0] > len(glb):
        raise PartCorruptError("the GLB container is damaged or cut short: export the file again")
    end = 20 + struct.unpack("<I", glb[12:16])[0]
    return _parsed(glb[20:end].rstrip(b" \0")), glb[end + 8 :] if len(glb) >= end + 8 else b""


def _packed(tree: dict[str, Any], binary: bytes) -> bytes:
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), _JSON) + text
    if binary:
        binary += b"\0" * (-len(binary) % 4)
        chunks += struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", _GLB, 2, 12 + len(chunks)) + chunks
