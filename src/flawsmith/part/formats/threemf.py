"""3MF core specification 1.3 and its production extension; millimetres where the file names no other unit."""

import io
import zipfile
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np

from flawsmith.core.errors import ConfigError
from flawsmith.part.errors import PartCorruptError, PartFormatError, PartTooLargeError
from flawsmith.part.formats.source import Body, Reading, Source, distinct, linear
from flawsmith.part.formats.xml import local_name, parse_xml
from flawsmith.part.units import mm_per

_RELATIONS = "_rels/.rels"
_MODEL = "http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"
_DEEPEST = 64
_MOST_BODIES = 100_000
Key = tuple[str, str]  # model file, object id


@dataclass(frozen=True, eq=False)
class _Item:
    """An object as placed: `matrix` is 4×4 scene_from_object."""

    key: Key
    path: tuple[str, ...]
    matrix: np.ndarray
    name: str = ""


def read_3mf(source: Source) -> Reading:
    """Items of the build as bodies, objects made of components as sub-assemblies."""
    with _opened(source) as archive:
        start = _start(archive, source.path.name)
        models = {name: _model(archive, name) for name in archive.namelist() if name.lower().endswith(".model")}
    objects: dict[Key, Element] = {}
    for name, model in models.items():
        found = (e for e in model.iter() if local_name(e) == "object")
        objects.update({(name, e.get("id", "")): e for e in found})
    build = [e for e in models[start].iter() if local_name(e) == "item"]
    queue = [_Item(_key(e, start), (), _matrix(e)) for e in build][::-1]
    return Reading(tuple(_bodies(queue, objects, _colors(models))), _unit_mm(models[start]))


def _bodies(queue: list[_Item], objects: dict[Key, Element], colors: dict):
    count = 0
    while queue:
        item = queue.pop()
        element = objects.get(item.key)
        if element is None or len(item.path) > _DEEPEST:
            raise PartCorruptError(f"3MF: object {item.key[1]} is missing or holds itself; export the file again")
        count += 1
        if count > _MOST_BODIES:
            raise PartTooLargeError(f"3MF: more than {_MOST_BODIES} placed objects; simplify the assembly")
        name = item.name or _name(item.key, objects)
        queue += _below(item, name, element, objects)[::-1]
        mesh = next((e for e in element if local_name(e) == "mesh"), None)
        if mesh is not None:
            yield _body(name, item, mesh, colors.get((item.key[0], element.get("pid"), element.get("pindex", "0"))))


def _below(item: _Item, name: str, element: Element, objects: dict[Key, Element]) -> list[_Item]:
    """What an object is made of; only sub-assemblies get a number where names meet."""
    parts = [e for e in element.iter() if local_name(e) == "component"]
    keys = [_key(e, item.key[0]) for e in parts]
    names = _apart([_name(key, objects) for key in keys], [_is_assembly(key, objects) for key in keys])
    return [
        _Item(key, (*item.path, name), item.matrix @ _matrix(e), own)
        for key, own, e in zip(keys, names, parts, strict=True)
    ]


def _apart(names: list[str], assembly: list[bool]) -> list[str]:
    told = iter(distinct(name for name, many in zip(names, assembly, strict=True) if many))
    return [next(told) if many else name for name, many in zip(names, assembly, strict=True)]


def _is_assembly(key: Key, objects: dict[Key, Element]) -> bool:
    return key in objects and any(local_name(e) == "components" for e in objects[key])


def _name(key: Key, objects: dict[Key, Element]) -> str:
    return (objects[key].get("name") if key in objects else None) or f"object-{key[1]}"


def _body(name: str, item: _Item, mesh: Element, color: tuple[float, float, float] | None) -> Body:
    points = [(e.get("x"), e.get("y"), e.get("z")) for e in mesh.iter() if local_name(e) == "vertex"]
    corners = [(e.get("v1"), e.get("v2"), e.get("v3")) for e in mesh.iter() if local_name(e) == "triangle"]
    vertices = np.array(points, np.float64).reshape(-1, 3)
    faces = np.array(corners, np.int64).reshape(-1, 3)
    if np.linalg.det(item.matrix[:3, :3]) < 0:
        faces = faces[:, ::-1]
    return Body(name, item.path, vertices @ item.matrix[:3, :3].T + item.matrix[:3, 3], faces, color=color)


def _colors(models: dict[str, Element]) -> dict:
    """Display colours of base materials by (file, resource id, index)."""
    colors = {}
    for name, model in models.items():
        for group in (e for e in model.iter() if local_name(e) == "basematerials"):
            for index, base in enumerate(e for e in group if local_name(e) == "base"):
                text = base.get("displaycolor", "").lstrip("#")
                if len(text) in (6, 8):
                    rgb = tuple(linear(int(text[i : i + 2], 16) / 255.0) for i in (0, 2, 4))
                    colors[name, group.get("id"), str(index)] = rgb
    return colors


def _key(element: Element, file: str) -> Key:
    """The production extension's `path` names another model file of the package."""
    elsewhere = next((v for k, v in element.attrib.items() if k.endswith("}path")), None)
    return (elsewhere.lstrip("/") if elsewhere else file), element.get("objectid", "")


def _matrix(element: Element) -> np.ndarray:
    """Twelve numbers, row vectors (core specification, 3.3), as a 4×4 for columns."""
    matrix = np.eye(4)
    if text := element.get("transform"):
        numbers = np.array(text.split(), np.float64)
        if numbers.shape != (12,):
            raise PartCorruptError(f"3MF: transform {text[:60]!r} is not twelve numbers; export the file again")
        matrix[:3] = numbers.reshape(4, 3).T
    return matrix


def _unit_mm(model: Element) -> float:
    unit = model.get("unit", "millimeter")
    try:
        return mm_per(unit)
    except ConfigError:
        raise PartFormatError(f"3MF: unit {unit!r} is not one of the specification's; export the file again") from None


def _opened(source: Source) -> zipfile.ZipFile:
    """Refuse what unpacks to more than the limit; a lie in the directory is noticed by zipfile while reading."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(source.data))
    except zipfile.BadZipFile as error:
        raise PartCorruptError(f"{source.path.name}: not a 3MF package ({error}); export it again") from error
    unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > source.limits.file_mb * (1 << 20):
        raise PartTooLargeError(
            f"{source.path.name} unpacks to {unpacked / 1e6:.0f} MB, more than the "
            f"{source.limits.file_mb:g} MB allowed; simplify the part, or allow more (--file-mb)"
        )
    return archive


def _start(archive: zipfile.ZipFile, what: str) -> str:
    """The model that the package's relations name."""
    names = {name.lower(): name for name in archive.namelist()}
    if _RELATIONS not in names:
        raise PartFormatError(f"{what}: a zip file, but no 3MF package (no {_RELATIONS})")
    relations = parse_xml(archive.read(names[_RELATIONS]), f"{what}:{_RELATIONS}")
    target = next((e.get("Target", "") for e in relations.iter() if e.get("Type") == _MODEL), "")
    if target.lstrip("/").lower() not in names:
        raise PartFormatError(f"{what}: the package names no 3D model; export it again")
    return names[target.lstrip("/").lower()]


def _model(archive: zipfile.ZipFile, name: str) -> Element:
    try:
        return parse_xml(archive.read(name), f"3MF:{name}")
    except zipfile.BadZipFile as error:
        raise PartCorruptError(f"3MF:{name} is damaged ({error}); export the file again") from error
