"""Lights of a station: lamps with a size, a power and a colour, as meshes that emit or as spots.

Power is radiant, in watts; radiance in W/(m² sr). A lamp's colour is that of a black body, at an even luminance.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from flawsmith.synth.distribution import Draw, Number, Positive, within
from flawsmith.synth.ies import Photometry
from flawsmith.synth.irradiance import falloff
from flawsmith.synth.pose import AimAt, aimed, draw_aim, moved
from flawsmith.synth.scene import Color, MeshLight, SpotLight

Kelvin = Annotated[Number, within(low=1000, high=40_000)]
SEGMENTS = 48
BEHIND_MM = 5.0


class Lamp(AimAt):
    """What all lamps share."""

    power_w: Positive = 10.0
    kelvin: Kelvin = 5500.0


class AreaLight(Lamp):
    """A softbox or panel."""

    kind: Literal["area"]
    size_mm: tuple[Positive, Positive] = (200.0, 200.0)


class BarLight(Lamp):
    """A line or bar light, long along x before it is rolled; with `leds`, that many emitters, not a diffuser."""

    kind: Literal["bar"]
    length_mm: Positive = 300.0
    width_mm: Positive = 20.0
    leds: int = Field(default=0, ge=0, le=200)


class RingLight(Lamp):
    """A ring round the axis; `cone_deg` leans its face inwards, 0 shines straight ahead."""

    kind: Literal["ring"]
    diameter_mm: Positive = 150.0
    width_mm: Positive = 25.0
    cone_deg: Annotated[Number, within(low=0, high=89)] = 20.0
    leds: int = Field(default=0, ge=0, le=200)


class DarkFieldLight(Lamp):
    """A low ring that shines across the surface: flat metal stays dark and scratches light up."""

    kind: Literal["dark_field"]
    distance_mm: Positive = Field(default=30.0, description="height of the ring over the target")
    diameter_mm: Positive = 220.0
    width_mm: Positive = 15.0
    cone_deg: Annotated[Number, within(low=45, high=89)] = 80.0
    leds: int = Field(default=0, ge=0, le=200)


class DomeLight(Lamp):
    """A dome lit from inside, with a hole for the camera at its top; `distance_mm` is from its top to the target."""

    kind: Literal["dome"]
    diameter_mm: Positive = 300.0
    opening_mm: Positive = 50.0
    distance_mm: Positive = 160.0


class CoaxialLight(Lamp):
    """Light along a camera's own axis (beam splitter): flat surfaces that face the camera are bright.

    Its image stands just behind the camera's lens, where the splitter's mirror shows it; so it follows that camera.
    """

    kind: Literal["coaxial"]
    camera: str
    size_mm: tuple[Positive, Positive] = (80.0, 80.0)


class BrightFieldLight(Lamp):
    """A panel where a camera would see it mirrored in the stage: the level surface is bright, what is not is dark."""

    kind: Literal["bright_field"]
    camera: str
    size_mm: tuple[Positive, Positive] = (150.0, 150.0)


class Spot(Lamp):
    """A point source: full within `beam_deg` of the axis, fading to nothing at `cutoff_deg`."""

    kind: Literal["spot"]
    beam_deg: Annotated[Number, within(low=0, high=89)] = 15.0
    cutoff_deg: Annotated[Number, within(above=0, high=90)] = 25.0


class IesLight(Lamp):
    """A point source with the distribution of an IES LM-63 file, taken round about its axis."""

    kind: Literal["ies"]
    file: Path


LightSpec = Annotated[
    AreaLight | BarLight | RingLight | DarkFieldLight | DomeLight | CoaxialLight | BrightFieldLight | Spot | IesLight,
    Field(discriminator="kind"),
]


def draw_light(
    spec: Lamp, name: str, draw: Draw, cameras: Mapping[str, np.ndarray], photometry: Mapping[str, Photometry]
) -> MeshLight | SpotLight:
    """One draw of a lamp. `cameras` holds `world_from_camera` by name, `photometry` the IES files by light name."""
    key = f"lights.{name}"
    color = kelvin_color(draw.number(spec.kelvin, f"{key}.kelvin"))
    power = draw.number(spec.power_w, f"{key}.power_w")
    if isinstance(spec, Spot | IesLight):
        distance = draw.number(spec.distance_mm, f"{key}.distance_mm")
        return _spot(spec, name, draw, draw_aim(spec, distance, draw, key), power, color, photometry)
    pose = _stand(spec, draw, key, cameras)
    vertices, faces = SHAPES[type(spec)](spec, draw, key)
    area_m2 = _area_mm2(vertices, faces) * 1e-6
    return MeshLight(
        name=name,
        vertices=moved(pose, vertices).astype(np.float32),
        faces=faces.astype(np.int32),
        radiance=_times(color, power / (math.pi * area_m2)),
    )


def _stand(spec: Lamp, draw: Draw, key: str, cameras: Mapping[str, np.ndarray]) -> np.ndarray:
    """`world_from_light`: aimed, or where its camera wants it."""
    if isinstance(spec, CoaxialLight):
        behind = np.eye(4)
        behind[2, 3] = -BEHIND_MM
        return cameras[spec.camera] @ behind
    distance = draw.number(spec.distance_mm, f"{key}.distance_mm")
    if isinstance(spec, BrightFieldLight):
        return _mirrored(cameras[spec.camera], distance)
    return draw_aim(spec, distance, draw, key)


def _mirrored(world_from_camera: np.ndarray, distance_mm: float) -> np.ndarray:
    """On the ray from the camera that the stage mirrors; behind the lens where the camera looks straight down."""
    centre, forward = world_from_camera[:3, 3], world_from_camera[:3, 2]
    target = centre - forward * (centre[2] / forward[2])
    tilt = math.acos(np.clip(-forward[2], -1, 1))
    azimuth = math.atan2(-forward[1], -forward[0]) + math.pi
    straight = tilt < math.radians(15)
    far = float(np.linalg.norm(centre - target)) + BEHIND_MM if straight else distance_mm
    return aimed(tilt, azimuth, 0.0, max(far, distance_mm) if straight else far, target)


def _spot(
    spec: Spot | IesLight,
    name: str,
    draw: Draw,
    pose: np.ndarray,
    power_w: float,
    color: Color,
    photometry: Mapping[str, Photometry],
) -> SpotLight:
    if isinstance(spec, IesLight):
        profile, cutoff = photometry[name].profile()
        beam = cutoff
    else:
        cutoff = math.radians(draw.number(spec.cutoff_deg, f"lights.{name}.cutoff_deg"))
        beam = min(math.radians(draw.number(spec.beam_deg, f"lights.{name}.beam_deg")), 0.999 * cutoff)
        profile = None
    shape = SpotLight(name, pose, (1.0, 1.0, 1.0), cutoff, beam, profile)
    angle = np.linspace(0, cutoff, 2001)
    solid_angle = 2 * math.pi * float(np.trapezoid(falloff(shape, angle) * np.sin(angle), angle))
    return SpotLight(name, pose, _times(color, power_w / solid_angle * 1e6), cutoff, beam, profile)


def _panel(spec: AreaLight | CoaxialLight | BrightFieldLight, draw: Draw, key: str) -> tuple[np.ndarray, np.ndarray]:
    width = draw.number(spec.size_mm[0], f"{key}.size_mm.x")
    return _rectangle(width, draw.number(spec.size_mm[1], f"{key}.size_mm.y"))


def _bar(spec: BarLight, draw: Draw, key: str) -> tuple[np.ndarray, np.ndarray]:
    length = draw.number(spec.length_mm, f"{key}.length_mm")
    width = draw.number(spec.width_mm, f"{key}.width_mm")
    if spec.leds == 0:
        return _rectangle(length, width)
    side = min(width, length / spec.leds) * 0.6
    vertices, faces = _rectangle(side, side)
    centres = (np.arange(spec.leds) + 0.5) / spec.leds * length - length / 2
    return (
        np.concatenate([vertices + np.array([x, 0, 0]) for x in centres]),
        np.concatenate([faces + 4 * n for n in range(spec.leds)]),
    )


def _ring(spec: RingLight | DarkFieldLight, draw: Draw, key: str) -> tuple[np.ndarray, np.ndarray]:
    """A band between two circles; the lean makes the outer one stand nearer to the target."""
    radius = draw.number(spec.diameter_mm, f"{key}.diameter_mm") / 2
    width = draw.number(spec.width_mm, f"{key}.width_mm")
    lean = math.radians(draw.number(spec.cone_deg, f"{key}.cone_deg"))
    inner, outer = np.array([[-1.0], [1.0]]) * width / 2 * [math.cos(lean), math.sin(lean)] + [radius, 0.0]
    inner[0] = max(inner[0], 1.0)
    count = spec.leds or SEGMENTS
    vertices, faces = _band(np.array([inner, outer]), 2 * count if spec.leds else count)
    return (vertices, faces.reshape(-1, 4, 3)[:, :2].reshape(-1, 3)) if spec.leds else (vertices, faces)


def _dome(spec: DomeLight, draw: Draw, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Half a sphere from the hole down to the rim, its top at the light's origin."""
    radius = draw.number(spec.diameter_mm, f"{key}.diameter_mm") / 2
    hole = min(draw.number(spec.opening_mm, f"{key}.opening_mm") / 2, 0.9 * radius)
    polar = np.linspace(math.asin(hole / radius), math.pi / 2, 13)
    return _band(np.stack([radius * np.sin(polar), radius * (1 - np.cos(polar))], axis=1), SEGMENTS)


def _rectangle(width: float, height: float) -> tuple[np.ndarray, np.ndarray]:
    """Lit towards +z."""
    corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * [width / 2, height / 2, 1]
    return corners, np.array([[0, 1, 2], [0, 2, 3]])


def _band(outline: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(radius, z) points from inside out, turned about z; lit towards +z and the axis."""
    angle = np.arange(count) * 2 * math.pi / count
    rings = [np.stack([r * np.cos(angle), r * np.sin(angle), np.full(count, z)], axis=1) for r, z in outline]
    faces = []
    for step in range(len(outline) - 1):
        for n in range(count):
            a, b = step * count + n, step * count + (n + 1) % count
            faces += [[a, a + count, b + count], [a, b + count, b]]
    return np.concatenate(rings), np.array(faces)


Shaper = Callable[[Lamp, Draw, str], tuple[np.ndarray, np.ndarray]]
SHAPES: dict[type[Lamp], Shaper] = {
    AreaLight: _panel,
    BarLight: _bar,
    RingLight: _ring,
    DarkFieldLight: _ring,
    DomeLight: _dome,
    CoaxialLight: _panel,
    BrightFieldLight: _panel,
}  # pyright: ignore[reportAssignmentType]  # each takes its own kind of lamp


def kelvin_color(kelvin: float) -> Color:
    """Linear RGB (BT.709) of a black body, luminance 1, what lies outside the gamut cut off.

    Source: Kim et al., US patent 7,024,034 (cubic fit of the Planckian locus, 1667 … 25,000 K).
    """
    t = 1000.0 / min(max(kelvin, 1667.0), 25_000.0)
    if t > 0.25:
        x = np.polyval([-0.2661239, -0.2343589, 0.8776956, 0.179910], t)
    else:
        x = np.polyval([-3.0258469, 2.1070379, 0.2226347, 0.240390], t)
    curves = [
        (1 / 2.222, [-1.1063814, -1.34811020, 2.18555832, -0.20219683]),
        (0.25, [-0.9549476, -1.37418593, 2.09137015, -0.16748867]),
        (0.0, [3.0817580, -5.87338670, 3.75112997, -0.37001483]),
    ]
    y = np.polyval(next(c for least, c in curves if t >= least), x)
    xyz = np.array([x / y, 1.0, (1 - x - y) / y])
    rgb = np.clip(BT709_FROM_XYZ @ xyz, 0.0, None)
    luminance = float(rgb @ [0.2126, 0.7152, 0.0722])
    return _times((float(rgb[0]), float(rgb[1]), float(rgb[2])), 1 / luminance)


BT709_FROM_XYZ = np.array(
    [[3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560], [0.0556434, -0.2040259, 1.0572252]]
)


def _times(color: Color, factor: float) -> Color:
    return color[0] * factor, color[1] * factor, color[2] * factor


def _area_mm2(vertices: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)
