"""The same 20 × 10 × 5 mm box in every format, and other files that tests of `part` read."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import trimesh

from flawsmith.part import Component, Part
from flawsmith.part.guard import DEFAULT_LIMITS, Limits
from flawsmith.part.read import part_in
from flawsmith.part.worker import read_here

SIZE_MM = (20.0, 10.0, 5.0)


def box_mesh(scale: float = 1.0) -> trimesh.Trimesh:
    """Standing on z = 0, one corner at the origin."""
    mesh = trimesh.creation.box(np.array(SIZE_MM) * scale)
    mesh.apply_translation(np.array(SIZE_MM) * scale / 2)
    return mesh


def part_of(*meshes: trimesh.Trimesh, name: str = "made") -> Part:
    """Meshes as components c0, c1 …"""
    return Part(
        name,
        tuple(
            Component(f"c{i}", (), np.array(m.vertices, np.float64), np.array(m.faces, np.int32))
            for i, m in enumerate(meshes)
        ),
    )


def read_unguarded(
    path: Path, unit: str | None = None, tolerance_mm: float | None = None, limits: Limits = DEFAULT_LIMITS
) -> Part:
    """What `read_part` gives, without the second that its process takes to start."""
    folder = path.parent / f"{path.name}.read"
    folder.mkdir(exist_ok=True)
    request = {"path": str(path), "unit": unit, "tolerance_mm": tolerance_mm}
    (folder / "part.json").write_text(json.dumps(read_here(request, limits, folder)))
    return part_in(folder, path)


def write_mesh(path: Path, scale: float = 1.0) -> Path:
    """STL, OBJ, PLY, OFF or GLB by trimesh."""
    path.write_bytes(_bytes(box_mesh(scale).export(file_type=path.suffix[1:])))
    return path


def write_cad(path: Path, unit: str = "MM", schema: str = "AP214IS") -> Path:
    """STEP or IGES by Open CASCADE, in a unit and application protocol of choice."""
    from OCP.BRepPrimAPI import BRepPrimAPI_MakeBox
    from OCP.IGESControl import IGESControl_Controller, IGESControl_Writer
    from OCP.Interface import Interface_Static
    from OCP.STEPControl import STEPControl_AsIs, STEPControl_Controller, STEPControl_Writer

    box = BRepPrimAPI_MakeBox(*SIZE_MM).Shape()
    if path.suffix == ".igs":
        IGESControl_Controller.Init_s()
        iges = IGESControl_Writer(unit, 1)  # 1: solids
        iges.AddShape(box)
        iges.ComputeModel()
        assert iges.Write(str(path))
        return path
    STEPControl_Controller.Init_s()
    Interface_Static.SetCVal_s("write.step.unit", unit)
    Interface_Static.SetCVal_s("write.step.schema", schema)
    step = STEPControl_Writer()
    step.Transfer(box, STEPControl_AsIs)
    step.Write(str(path))
    return path


def x3d(scene: str, head: str = "", doctype: str = "") -> str:
    return f'<?xml version="1.0"?>{doctype}<X3D version="3.3"><head>{head}</head><Scene>{scene}</Scene></X3D>'


def x3d_box(scale: float = 0.001) -> str:
    mesh = box_mesh(scale)
    index = " ".join(" ".join(map(str, face)) + " -1" for face in mesh.faces)
    points = " ".join(f"{v:.9g}" for v in mesh.vertices.ravel())
    return (
        f'<Shape DEF="box"><IndexedFaceSet coordIndex="{index}"><Coordinate point="{points}"/></IndexedFaceSet></Shape>'
    )


RELATIONS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r0" '
    'Target="/3D/3dmodel.model" Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/></Relationships>'
)


def write_3mf(path: Path, resources: str, build: str, unit: str = "millimeter", before: str = "") -> Path:
    model = (
        f'<?xml version="1.0"?>{before}<model unit="{unit}" xmlns="http://schemas.microsoft.com/3dmanufacturing/core/'
        f'2015/02"><resources>{resources}</resources><build>{build}</build></model>'
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_rels/.rels", RELATIONS)
        archive.writestr("3D/3dmodel.model", model)
    path.write_bytes(packed.getvalue())
    return path


def object_3mf(number: int, name: str, scale: float = 1.0, more: str = "") -> str:
    mesh = box_mesh(scale)
    vertices = "".join(f'<vertex x="{x}" y="{y}" z="{z}"/>' for x, y, z in mesh.vertices)
    triangles = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in mesh.faces)
    return (
        f'<object id="{number}" name="{name}" type="model" {more}><mesh><vertices>{vertices}</vertices>'
        f"<triangles>{triangles}</triangles></mesh></object>"
    )


def _bytes(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data
