"""Stage presets as shapes round the free area, whose surface is z = 0 and whose middle is the origin."""

from collections.abc import Callable
from typing import Literal

import numpy as np

from flawsmith.core.config import Settings
from flawsmith.synth.distribution import Choice, Draw, Number, Positive
from flawsmith.synth.scene import Material, Shape
from flawsmith.synth.stage.solid import box, cylinder_x, lowered, plane, sweep, turned

Preset = Literal["conveyor", "light_box", "robot_plate", "sheet"]
FLOOR_MM = 600.0
BESIDE_MM = 40.0


class StageSpec(Settings):
    """`size_mm`: width and depth of the area that parts may cover. Surface, body and floor name materials.

    surface: what parts lie on; body: rails, rims, walls, rollers; floor: what is seen past the stage
    """

    preset: Preset = "conveyor"
    size_mm: tuple[float, float] = (180.0, 180.0)
    surface: str | Choice = "woven belt"
    body: str | Choice = "aluminium profile"
    floor: str | Choice = "concrete floor"
    wall_mm: Positive = 60.0
    texture_shift_mm: Number = 0.0


Materials = Callable[[str], Material]


def draw_stage(spec: StageSpec, draw: Draw, materials: dict[str, Material]) -> tuple[Shape, ...]:
    """The shapes; `materials` holds what was drawn for surface, body and floor."""
    shapes = BUILDERS[spec.preset](spec, draw, materials["surface"], materials["body"], materials["floor"])
    shift = draw.number(spec.texture_shift_mm, "stage.texture_shift_mm")
    return tuple(_shifted(s, shift / s.material.period_mm) for s in shapes)


def _conveyor(spec: StageSpec, draw: Draw, surface: Material, body: Material, floor: Material) -> list[Shape]:
    """A belt along y between two rails, over a hall's floor."""
    width, length = spec.size_mm
    x, far = width / 2 + BESIDE_MM, length / 2 + 600
    rails = [
        box(f"rail {side}", (min(a, b), -far, -40.0), (max(a, b), far, 6.0), body)
        for side, a, b in (("left", -x - 25, -x - 2), ("right", x + 2, x + 25))
    ]
    belt = box("belt", (-x, -far, -4.0), (x, far, 0.0), surface)
    return [belt, *rails, _floor(floor)]


def _light_box(spec: StageSpec, draw: Draw, surface: Material, body: Material, floor: Material) -> list[Shape]:
    """A turntable before a backdrop that is bent up behind it."""
    radius = float(np.hypot(*spec.size_mm)) / 2 + 5
    table = turned("turntable", [(0, 0), (radius, 0), (radius + 1, -1), (radius + 1, -8), (0, -8)], surface)
    backdrop = lowered(sweep("backdrop", 8 * radius, 6 * radius, 3 * radius, 6 * radius, radius, body), 8.0)
    return [table, backdrop]


def _robot_plate(spec: StageSpec, draw: Draw, surface: Material, body: Material, floor: Material) -> list[Shape]:
    """A bin: a floor and four walls of `wall_mm`."""
    x, y = spec.size_mm[0] / 2, spec.size_mm[1] / 2
    high, thick = draw.number(spec.wall_mm, "stage.wall_mm"), 3.0
    bottom = box("bin floor", (-x - thick, -y - thick, -3.0), (x + thick, y + thick, 0.0), surface)
    walls = [
        box("wall left", (-x - thick, -y - thick, 0.0), (-x, y + thick, high), body),
        box("wall right", (x, -y - thick, 0.0), (x + thick, y + thick, high), body),
        box("wall front", (-x, -y - thick, 0.0), (x, -y, high), body),
        box("wall back", (-x, y, 0.0), (x, y + thick, high), body),
    ]
    return [bottom, *walls, _floor(floor)]


def _sheet(spec: StageSpec, draw: Draw, surface: Material, body: Material, floor: Material) -> list[Shape]:
    """A table between two rollers."""
    x, y = spec.size_mm[0] / 2, spec.size_mm[1] / 2
    table = box("table", (-x - 40, -y - 20, -10.0), (x + 40, y + 20, 0.0), surface)
    rollers = [cylinder_x(f"roller {n}", 20.0, x + 40, s * (y + 45), -20.5, body) for n, s in ((0, -1), (1, 1))]
    return [table, *rollers, _floor(floor)]


def _floor(material: Material) -> Shape:
    return plane("floor", (-4000, -4000), (4000, 4000), -FLOOR_MM, material)


def _shifted(shape: Shape, periods: float) -> Shape:
    uv = (shape.uv + np.float32(periods)).astype(np.float32)
    return Shape(shape.name, shape.vertices, shape.faces, shape.normals, uv, shape.material)


Builder = Callable[[StageSpec, Draw, Material, Material, Material], list[Shape]]
BUILDERS: dict[str, Builder] = {
    "conveyor": _conveyor,
    "light_box": _light_box,
    "robot_plate": _robot_plate,
    "sheet": _sheet,
}
