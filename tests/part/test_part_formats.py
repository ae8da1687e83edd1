"""Every format gives the same box; names, tree, colours, units and named faces come through."""

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
from part_files import (
    SIZE_MM,
    box_mesh,
    object_3mf,
    read_unguarded,
    write_3mf,
    write_cad,
    write_mesh,
    x3d,
    x3d_box,
)

from flawsmith.core.errors import ConfigError, DataError
from flawsmith.part import Part, PartCorruptError, PartFormatError, read_part
from flawsmith.part.formats import FORMATS

ITEM = '<item objectid="1"/>'


def text(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def write_gltf(path: Path, uri: str = "buffer.bin", folder: Path | None = None) -> Path:
    mesh = box_mesh(0.001)
    points, index = mesh.vertices.astype("<f4").tobytes(), mesh.faces.astype("<u4").tobytes()
    ((folder or path.parent) / Path(uri).name).write_bytes(points + index)
    tree = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "scene": 0,
        "nodes": [{"mesh": 0, "name": "box"}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "buffers": [{"uri": uri, "byteLength": len(points) + len(index)}],
        "bufferViews": [
            {"buffer": 0, "byteLength": len(points)},
            {"buffer": 0, "byteOffset": len(points), "byteLength": len(index)},
        ],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": len(mesh.vertices), "type": "VEC3"},
            {"bufferView": 1, "componentType": 5125, "count": mesh.faces.size, "type": "SCALAR"},
        ],
    }
    return text(path, json.dumps(tree))


WRITERS: dict[str, Callable[[Path], Path]] = {
    ".step": write_cad,
    ".stp": lambda p: write_cad(p, schema="AP203"),
    ".p21": lambda p: write_cad(p, schema="AP242DIS"),
    ".igs": write_cad,
    ".iges": lambda p: write_cad(p.with_suffix(".igs"), "IN"),
    ".glb": lambda p: write_mesh(p, 0.001),
    ".gltf": write_gltf,
    ".3mf": lambda p: write_3mf(p, object_3mf(1, "box"), ITEM),
    ".x3d": lambda p: text(p, x3d(x3d_box())),
    ".stl": write_mesh,
    ".obj": write_mesh,
    ".ply": write_mesh,
    ".off": write_mesh,
}


@pytest.mark.parametrize("end", FORMATS)
def test_every_format_gives_the_same_box_in_mm(end: str, tmp_path: Path) -> None:
    path = WRITERS[end](tmp_path / f"box{end}")
    part = read_unguarded(path, "mm" if FORMATS[end].unit == "user" else None)
    mesh = part.to_trimesh()
    assert part.extent_mm == pytest.approx(SIZE_MM, abs=1e-5)
    assert part.bounds_mm[0] == pytest.approx((0, 0, 0), abs=1e-5)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(1000, rel=1e-6)
    assert len(part.components) == 1


@pytest.mark.parametrize(("unit", "mm"), [("um", 0.001), ("cm", 10), ("m", 1000), ("Inches", 25.4), ("foot", 304.8)])
def test_a_given_unit_scales(unit: str, mm: float, tmp_path: Path) -> None:
    part = read_unguarded(write_mesh(tmp_path / "box.stl"), unit)
    assert part.extent_mm == pytest.approx(np.array(SIZE_MM) * mm)


@pytest.mark.parametrize("end", [end for end, known in FORMATS.items() if known.unit == "user"])
def test_a_missing_unit_is_asked_for_before_anything_is_read(end: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"does not state its unit.*--unit um\|mm"):
        read_part(text(tmp_path / f"box{end}", "not even a mesh"))


def test_an_unknown_unit_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'inch'"):
        read_part(write_mesh(tmp_path / "box.stl"), unit="inhc")


@pytest.mark.parametrize("unit", ["INCH", "M", "CM"])
def test_step_is_converted_from_its_own_unit(unit: str, tmp_path: Path) -> None:
    assert read_unguarded(write_cad(tmp_path / "box.step", unit)).extent_mm == pytest.approx(SIZE_MM, abs=1e-5)


def test_step_with_a_unit_of_its_own_refuses_another(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="states its own unit"):
        read_unguarded(write_cad(tmp_path / "box.step"), "inch")


def test_step_without_a_unit_is_not_taken_for_mm(tmp_path: Path) -> None:
    path = write_cad(tmp_path / "box.step")
    path.write_bytes(path.read_bytes().replace(b"LENGTH_UNIT()", b"").replace(b"LENGTH_UNIT", b"LENGTHS"))
    with pytest.raises(ConfigError, match="does not state its unit"):
        read_unguarded(path)


@pytest.mark.parametrize(("unit", "mm"), [("inch", 25.4), ("micron", 0.001), ("meter", 1000)])
def test_3mf_names_its_unit(unit: str, mm: float, tmp_path: Path) -> None:
    part = read_unguarded(write_3mf(tmp_path / "box.3mf", object_3mf(1, "box"), ITEM, unit))
    assert part.extent_mm == pytest.approx(np.array(SIZE_MM) * mm)


def test_x3d_states_another_unit_in_its_head(tmp_path: Path) -> None:
    head = '<unit category="length" name="millimetre" conversionFactor="0.001"/>'
    assert read_unguarded(text(tmp_path / "box.x3d", x3d(x3d_box(1.0), head))).extent_mm == pytest.approx(SIZE_MM)


def test_a_given_unit_wins_over_the_metres_of_gltf(tmp_path: Path) -> None:
    assert read_unguarded(write_mesh(tmp_path / "box.glb"), "mm").extent_mm == pytest.approx(SIZE_MM)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.jt", "JT has no open reader.*STEP AP242"),
        ("a.sldprt", "CAD system's own"),
        ("a.stpp", "Did you mean '.stp'"),
    ],
)
def test_what_is_not_read_is_refused_with_the_way_out(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(PartFormatError, match=words):
        read_part(text(tmp_path / name, "x"))


def test_gltf_keeps_names_tree_and_linear_colours(tmp_path: Path) -> None:
    scene = trimesh.Scene()
    red = trimesh.visual.TextureVisuals(
        material=trimesh.visual.material.PBRMaterial(baseColorFactor=[1.0, 0.0, 0.0, 1])
    )
    scene.graph.update("asm", "world")
    for index, place in enumerate((0.0, 0.1)):
        mesh = box_mesh(0.001)
        mesh.visual = red
        scene.add_geometry(
            mesh,
            f"nut-{index}",
            f"nut-{index}",
            "asm",
            transform=trimesh.transformations.translation_matrix([place, 0, 0]),
        )
    path = tmp_path / "two.glb"
    path.write_bytes(scene.export(file_type="glb"))
    part = read_unguarded(path)
    assert part.tree["asm"] == {"nut-0": 0, "nut-1": 1}
    assert part.components[0].color == pytest.approx((1, 0, 0))
    assert part.extent_mm == pytest.approx((120, 10, 5), rel=1e-5)


def test_an_unnamed_gltf_node_gets_a_number_and_duplicates_too(tmp_path: Path) -> None:
    path = write_gltf(tmp_path / "a.gltf")
    tree = json.loads(path.read_text())
    tree["nodes"] = [{"children": [1, 2, 3]}, {"mesh": 0, "name": "x"}, {"mesh": 0, "name": "x"}, {"mesh": 0}]
    part = read_unguarded(text(path, json.dumps(tree)))
    assert [c.name for c in part.components] == ["x", "x.2", "part-4"]
    assert part.name == "a"


def test_a_mirrored_gltf_node_stays_outward(tmp_path: Path) -> None:
    path = write_gltf(tmp_path / "a.gltf")
    tree = json.loads(path.read_text())
    tree["nodes"][0]["scale"] = [-1, 1, 1]
    assert read_unguarded(text(path, json.dumps(tree))).to_trimesh().volume == pytest.approx(1000, rel=1e-5)


def test_compressed_gltf_says_so(tmp_path: Path) -> None:
    tree = {"asset": {"version": "2.0"}, "extensionsRequired": ["KHR_draco_mesh_compression"]}
    with pytest.raises(PartFormatError, match="without compression"):
        read_unguarded(text(tmp_path / "a.gltf", json.dumps(tree)))


def test_3mf_keeps_sub_assemblies_and_colours(tmp_path: Path) -> None:
    base = '<basematerials id="9"><base name="red" displaycolor="#FF0000FF"/></basematerials>'
    pair = (
        '<object id="2" name="pair"><components><component objectid="1"/>'
        '<component objectid="1" transform="1 0 0 0 1 0 0 0 1 30 0 0"/></components></object>'
    )
    whole = (
        '<object id="3" name="whole"><components><component objectid="2"/>'
        '<component objectid="2" transform="-1 0 0 0 1 0 0 0 1 0 50 0"/></components></object>'
    )
    colored = object_3mf(1, "box", more='pid="9" pindex="0"')
    part = read_unguarded(write_3mf(tmp_path / "w.3mf", base + colored + pair + whole, '<item objectid="3"/>'))
    assert part.tree == {"whole": {"pair": {"box": 0, "box.2": 1}, "pair.2": {"box.3": 2, "box.4": 3}}}
    assert part.components[0].color == (1, 0, 0)
    assert part.name == "whole"
    assert all(c.to_trimesh().volume == pytest.approx(1000) for c in part.components)  # mirrored ones too
    assert part.bounds_mm[0] == pytest.approx((-50, 0, 0))


def test_3mf_that_holds_itself_ends(tmp_path: Path) -> None:
    loop = '<object id="1" name="a"><components><component objectid="1"/></components></object>'
    with pytest.raises(PartCorruptError, match="holds itself"):
        read_unguarded(write_3mf(tmp_path / "a.3mf", loop, ITEM))


def test_x3d_transforms_groups_and_uses(tmp_path: Path) -> None:
    turned = '<Transform DEF="left" rotation="0 0 1 1.5707963" translation="0.1 0 0">' + x3d_box() + "</Transform>"
    again = '<Transform DEF="right" scale="2 1 1"><Shape USE="box"/></Transform>'
    part = read_unguarded(text(tmp_path / "a.x3d", x3d(turned + again)))
    assert part.tree == {"left": {"box": 0}, "right": {"box.2": 1}}
    left, right = part.components
    assert np.ptp(left.vertices, axis=0) == pytest.approx((10, 20, 5), abs=1e-4)
    assert left.vertices.min(0) == pytest.approx((90, 0, 0), abs=1e-4)
    assert np.ptp(right.vertices, axis=0) == pytest.approx((40, 10, 5), abs=1e-4)


@pytest.mark.parametrize(
    ("shape", "volume"),
    [("<Box/>", 8), ("<Sphere/>", 4 / 3 * np.pi), ("<Cylinder/>", 2 * np.pi), ("<Cone/>", 2 / 3 * np.pi)],
)
def test_x3d_solids_have_their_standard_sizes(shape: str, volume: float, tmp_path: Path) -> None:
    part = read_unguarded(text(tmp_path / "a.x3d", x3d(f"<Shape>{shape}</Shape>")))
    assert part.to_trimesh().volume == pytest.approx(volume * 1e9, rel=0.01)
    assert part.bounds_mm == pytest.approx(np.array([[-1000.0] * 3, [1000.0] * 3]), abs=2)


def test_x3d_that_uses_itself_or_others_is_refused(tmp_path: Path) -> None:
    loop = '<Group DEF="a"><Group USE="a"/></Group>'
    with pytest.raises(PartCorruptError, match="uses itself"):
        read_unguarded(text(tmp_path / "a.x3d", x3d(loop)))
    with pytest.raises(PartFormatError, match="Inline"):
        read_unguarded(text(tmp_path / "b.x3d", x3d('<Inline url="other.x3d"/>')))


OBJ = """mtllib parts/box.mtl
o box
g lid
usemtl red
v 0 0 0
v 4 0 0
v 4 4 0
v 2 1 0
v 0 4 0
f 1 2 3 4 5
g side
f -1/1/1 -2/1/1 -5/1/1
o other
usemtl blue
f 1 2 3
"""


def test_obj_keeps_objects_colours_and_named_faces(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    text(tmp_path / "parts" / "box.mtl", "newmtl red\nKd 1 0 0\nnewmtl blue\nKd 0 0 0.5\n")
    box, other = read_unguarded(text(tmp_path / "a.obj", OBJ), "mm").components
    assert (box.name, other.name) == ("box", "other")
    assert box.face_names == ("lid", "side")
    assert box.face_of is not None
    assert box.face_of.tolist() == [0, 0, 0, 1]
    assert box.color == (1, 0, 0)
    assert other.color == pytest.approx((0, 0, 0.2140), abs=1e-4)  # sRGB 0.5 as light


def test_a_concave_polygon_is_not_fanned(tmp_path: Path) -> None:
    box = read_unguarded(text(tmp_path / "a.obj", OBJ), "mm").components[0]
    lid = trimesh.Trimesh(box.vertices, box.faces[:3], process=False)
    assert lid.area == pytest.approx(10.0)  # 16 less the notch of 6; a fan from the first corner gives more
    assert (lid.face_normals[:, 2] > 0.99).all()


@pytest.mark.parametrize("line", ["f 1 2 99", "f 0 1 2", "f 1 2 -9", "v 1 two 3", "f a b c"])
def test_a_bad_obj_line_is_named(line: str, tmp_path: Path) -> None:
    with pytest.raises(PartCorruptError, match="line 4"):
        read_unguarded(text(tmp_path / "a.obj", f"v 0 0 0\nv 1 0 0\nv 0 1 0\n{line}\n"), "mm")


def test_ascii_stl_gives_a_body_for_each_solid(tmp_path: Path) -> None:
    content = box_mesh().export(file_type="stl_ascii")
    assert isinstance(content, str)
    two = "".join(
        f"solid {name}\n{content.split(chr(10), 1)[1].rsplit('endsolid', 1)[0]}endsolid {name}\n" for name in "ab"
    )
    assert [c.name for c in read_unguarded(text(tmp_path / "a.stl", two), "mm").components] == ["a", "b"]


def test_inside_out_meshes_are_turned(tmp_path: Path) -> None:
    mesh = box_mesh()
    mesh.invert()
    path = tmp_path / "a.stl"
    mesh.export(path)
    assert read_unguarded(path, "mm").to_trimesh().volume == pytest.approx(1000)


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.step", b"hello", PartFormatError),
        ("a.step", b"ISO-10303-21;\nHEADER;\n", PartCorruptError),
        ("a.igs", b"hello", PartFormatError),
        ("a.glb", b"glTF\2\0\0\0" + struct.pack("<I", 10**9) + b"\0" * 20, PartCorruptError),
        ("a.gltf", b"{}", PartFormatError),
        ("a.3mf", b"PK", PartCorruptError),
        ("a.x3d", b"<X3D>", PartCorruptError),
        ("a.x3d", b"<svg/>", PartFormatError),
        ("a.ply", b"ply\nformat ascii 1.0\nelement vertex 0\nend_header\n", DataError),
        ("a.stl", b"", DataError),
        ("a.off", b"OFF\n3 1 0\n0 0 0\n", DataError),
    ],
)
def test_broken_files_end_in_a_named_error(name: str, content: bytes, kind: type, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(kind, match=re.escape(name)):
        read_part(tmp_path / name, unit="mm" if FORMATS[Path(name).suffix].unit == "user" else None)


def test_a_step_file_has_numbered_cad_faces(tmp_path: Path) -> None:
    box = read_unguarded(write_cad(tmp_path / "box.step")).components[0]
    assert box.face_of is not None
    assert len(box.face_names) == 6
    assert all(name.startswith("plane-") for name in box.face_names)
    for number in range(6):
        normals = box.to_trimesh().face_normals[box.face_of == number]
        assert np.ptp(normals, axis=0) == pytest.approx(0, abs=1e-6)


def test_real_cad_files_import_with_the_assembly_tree(real_data: Callable[[str], Path]) -> None:
    folder = real_data("cad-parts")
    parts: dict[str, Part] = {}
    for path in sorted(folder.rglob("*.st*")):
        if path.suffix in (".step", ".stp"):
            parts[path.name] = read_part(path)
    assert len(parts) == 12
    assert all(1 < p.extent_mm.max() < 300 for p in parts.values())
    tree = parts["cax_as1-oc-214_plate_rod_nuts_bolts.stp"].tree["as1"]
    assert list(tree) == ["rod-assembly_1", "l-bracket-assembly_1", "plate_1", "l-bracket-assembly_2"]
    assert list(tree["rod-assembly_1"]) == ["nut_1", "nut_2", "rod_1"]
    assert len(tree["l-bracket-assembly_1"]) == 4
    simple = parts["m8x30_hex_head_screw_iso4014_simple.step"]
    assert simple.to_trimesh().is_watertight
    assert simple.extent_mm == pytest.approx((15.011, 13, 35.3), abs=1e-3)
