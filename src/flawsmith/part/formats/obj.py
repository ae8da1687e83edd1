"""Wavefront OBJ with its MTL. Own reader: objects stay whole, their groups and materials become named faces."""

from dataclasses import dataclass, field

import numpy as np

from flawsmith.part.errors import PartCorruptError, PartFormatError
from flawsmith.part.formats.polygon import triangulated
from flawsmith.part.formats.source import Body, Reading, Source, beside, linear

Color = tuple[float, float, float]


@dataclass
class _Object:
    name: str
    polygons: list[list[int]] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)  # of each polygon
    materials: list[str] = field(default_factory=list)


@dataclass
class _State:
    """What the lines read so far have set."""

    vertices: list[list[float]] = field(default_factory=list)
    objects: list[_Object] = field(default_factory=list)
    libraries: list[str] = field(default_factory=list)
    group: str = ""
    material: str = ""


def read_obj(source: Source) -> Reading:
    """One body for each `o`; its `g` and, where they differ, `usemtl` names become face names; no unit."""
    state = _State()
    text = source.data.decode("utf-8", errors="replace").replace("\\\n", " ")
    for number, line in enumerate(text.splitlines(), 1):
        try:
            _take(state, line.split("#", 1)[0].split(), source.path.stem)
        except (ValueError, IndexError):
            raise PartCorruptError(
                f"{source.path.name}, line {number}: {line[:60]!r} is no OBJ; export it again"
            ) from None
    colors = _colors(source, state.libraries)
    vertices = np.array(state.vertices, np.float64).reshape(-1, 3)
    bodies = tuple(_body(o, vertices, colors) for o in state.objects if o.polygons)
    if not bodies:
        raise PartFormatError(f"{source.path.name} holds no faces: export the part as a surface mesh")
    return Reading(bodies, None)


def _take(state: _State, words: list[str], stem: str) -> None:
    match words:
        case ["v", x, y, z, *_]:
            state.vertices.append([float(x), float(y), float(z)])
        case ["f", *corners]:
            if not state.objects:
                state.objects.append(_Object(stem))
            current = state.objects[-1]
            current.polygons.append([_index(corner, len(state.vertices)) for corner in corners])
            current.groups.append(state.group)
            current.materials.append(state.material)
        case ["o", *name]:
            state.objects.append(_Object(" ".join(name) or stem))
        case ["g", *name]:
            state.group = " ".join(name)
        case ["usemtl", *name]:
            state.material = " ".join(name)
        case ["mtllib", *name]:
            state.libraries.append(" ".join(name))


def _index(corner: str, count: int) -> int:
    """`7`, `7/1/3` or `-1`, which is the last vertex so far. Raises `IndexError` outside of what is there."""
    number = int(corner.split("/", 1)[0])
    index = number - 1 if number > 0 else count + number
    if not 0 <= index < count:
        raise IndexError
    return index


def _body(item: _Object, vertices: np.ndarray, colors: dict[str, Color]) -> Body:
    faces, owner = triangulated(vertices, item.polygons)
    labels = item.groups if len(set(item.groups)) > 1 else item.materials
    names = tuple(dict.fromkeys(labels))
    numbers = {name: index for index, name in enumerate(names)}
    face_of = np.array([numbers[labels[o]] for o in owner], np.int32) if len(names) > 1 else None
    most = max(set(item.materials), key=item.materials.count)
    return Body(item.name, (), vertices, faces, names if len(names) > 1 else (), face_of, colors.get(most))


def _colors(source: Source, libraries: list[str]) -> dict[str, Color]:
    """Kd of each material; exporters write what is seen on a display. A library that is not there gives no colours."""
    colors: dict[str, Color] = {}
    for name in libraries:
        path = beside(source.path, name)
        if not path.is_file() or path.stat().st_size > 1 << 20:
            continue
        material = ""
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            match line.split():
                case ["newmtl", *words]:
                    material = " ".join(words)
                case ["Kd", red, green, blue, *_]:
                    colors[material] = _display(red, green, blue)
    return colors


def _display(*words: str) -> Color:
    try:
        red, green, blue = (linear(min(max(float(word), 0.0), 1.0)) for word in words)
    except ValueError:
        raise PartCorruptError(f"MTL: Kd {' '.join(words)} is no colour; export the file again") from None
    return red, green, blue
