"""One reader per CAD format. Adding one = one file + one line here + one test parameter."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flawsmith.core.errors import nearest
from flawsmith.part.errors import PartFormatError
from flawsmith.part.formats.cad import read_iges, read_step
from flawsmith.part.formats.gltf import read_gltf
from flawsmith.part.formats.mesh import read_off, read_ply, read_stl
from flawsmith.part.formats.obj import read_obj
from flawsmith.part.formats.source import Body, Reading, Source
from flawsmith.part.formats.threemf import read_3mf
from flawsmith.part.formats.x3d import read_x3d

__all__ = ["FORMATS", "Body", "Format", "Reading", "Source", "format_of"]


@dataclass(frozen=True)
class Format:
    """`unit` says where the length unit comes from: the file, the format's standard, or the user alone."""

    name: str
    read: Callable[[Source], Reading]
    unit: str = "user"


FORMATS: dict[str, Format] = {
    ".step": Format("STEP", read_step, "file"),
    ".stp": Format("STEP", read_step, "file"),
    ".p21": Format("STEP", read_step, "file"),
    ".iges": Format("IGES", read_iges, "file"),
    ".igs": Format("IGES", read_iges, "file"),
    ".glb": Format("glTF", read_gltf, "standard"),
    ".gltf": Format("glTF", read_gltf, "standard"),
    ".3mf": Format("3MF", read_3mf, "file"),
    ".x3d": Format("X3D", read_x3d, "standard"),
    ".stl": Format("STL", read_stl),
    ".obj": Format("OBJ", read_obj),
    ".ply": Format("PLY", read_ply),
    ".off": Format("OFF", read_off),
}
_NATIVE = "is a CAD system's own format: export it from there as STEP (AP242 or AP214)"
_REFUSED = {
    ".jt": "JT has no open reader (its specification is public, no free library reads it): export STEP AP242",
    ".x3dv": "X3D in classic VRML encoding: save it in XML encoding (.x3d)",
    ".x3db": "X3D in binary encoding: save it in XML encoding (.x3d)",
    ".wrl": "VRML: save it as X3D in XML encoding (.x3d) or as glTF",
    ".dae": "COLLADA: save it as glTF (.glb)",
    ".fbx": "FBX is a closed format: save it as glTF (.glb)",
    ".blend": "a Blender scene: export it as glTF (.glb)",
    ".dwg": "a drawing: export the solid as STEP",
    ".dxf": "a drawing: export the solid as STEP",
    ".stpz": "a packed STEP file: unpack it (gzip) to .stp first",
    **{end: f"{end} {_NATIVE}" for end in (".sldprt", ".sldasm", ".catpart", ".catproduct", ".ipt", ".iam", ".prt")},
    **{end: f"{end} {_NATIVE}" for end in (".asm", ".par", ".psm", ".3dm", ".f3d", ".fcstd", ".x_t", ".x_b", ".sat")},
}


def format_of(path: Path) -> Format:
    """By the file name's end. Raises `PartFormatError` with the reason and what to export in its place."""
    end = path.suffix.lower()
    if end in FORMATS:
        return FORMATS[end]
    if end in _REFUSED:
        raise PartFormatError(f"{path.name}: {_REFUSED[end]}")
    raise PartFormatError(f"{path.name}: {end or 'a name without an end'} is not read.{nearest(end, list(FORMATS))}")
