"""`draw_scene`: one scene for one image, from (spec, assets, seed, index) and nothing else.

With N cameras, image i shows scene i // N by camera i % N; with `pairs`, images 2 i and 2 i + 1 are a flawed one and
its healthy twin. Everything but the camera is drawn by the number of the scene, so all its cameras see the same things.
"""

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, cast

import numpy as np

from flawsmith.part import Part
from flawsmith.part.poses import StablePose
from flawsmith.synth.assets import Assets, at_line
from flawsmith.synth.camera import camera_names, camera_spec, draw_camera, draw_sensor, exposure_for
from flawsmith.synth.defect import draw_defects, draw_faults
from flawsmith.synth.distribution import Draw
from flawsmith.synth.environment import draw_environment
from flawsmith.synth.irradiance import card_irradiance
from flawsmith.synth.light import draw_light
from flawsmith.synth.light_check import check_lights
from flawsmith.synth.material import Finish, ImageSet, laid, named
from flawsmith.synth.placement import Resting, place
from flawsmith.synth.pose import inverse, moved
from flawsmith.synth.scene import Camera, Environment, Instance, Material, MeshLight, Scene, SpotLight
from flawsmith.synth.spec import Name, PartSpec, SceneSpec
from flawsmith.synth.stage import draw_stage

LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
FLAW_ATTEMPTS = 20
TEXELS_PER_PX = 3.0
Lights = tuple[MeshLight | SpotLight, ...]


@dataclass(frozen=True)
class Shot:
    """What image `index` shows."""

    scene: int
    camera: str
    healthy: bool


def shot(spec: SceneSpec, index: int) -> Shot:
    """Which scene and camera, and whether it is without defects. Exactly a share `healthy` of the scenes is."""
    names = camera_names(spec.cameras)
    item, twin = divmod(index, 2) if spec.pairs else (index, 0)
    number, camera = divmod(item, len(names))
    flawed = 1 - spec.healthy
    due = math.floor((number + 1) * flawed + 1e-9) > math.floor(number * flawed + 1e-9)
    has_flaws = bool(spec.defects or spec.faults or any(p.defects or p.faults for p in spec.parts))
    healthy = bool(twin) if spec.pairs else not due
    return Shot(number, names[camera], healthy or not has_flaws)


def draw_scene(
    spec: SceneSpec,
    assets: Assets,
    seed: int,
    index: int,
    healthy: bool | None = None,
    texels_per_px: float = TEXELS_PER_PX,
) -> Scene:
    """The scene of image `index`; `healthy` True is its twin without defects, False has them whatever is due.

    texels_per_px: how fine the textures made by us need be, by the pixels of the closest camera

    Raises `ConfigError` with the spec's line when parts have no room, a light stands in a part or before a camera, or
    no defect finds a place.
    """
    this = shot(spec, index)
    draw = Draw(seed, this.scene)
    wardrobe = Wardrobe(spec, assets, draw, assets.pixel_mm / texels_per_px)
    parts = _placed(spec, assets, draw, wardrobe)
    camera = draw_camera(spec.cameras, this.camera, draw)
    lights, environment = _lights(spec, assets, draw)
    check_lights(spec, lights, tuple(instance for _, instance in parts), camera)
    camera, lights, environment = _exposed(spec, camera, lights, environment, draw)
    stage = draw_stage(spec.stage, draw, wardrobe.of_stage())
    if not (this.healthy if healthy is None else healthy):
        parts = _flawed(spec, parts, draw)
    sensor = draw_sensor(spec.sensor, this.camera, draw)
    return Scene(
        instances=tuple(instance for _, instance in parts),
        stage=stage,
        lights=lights,
        environment=environment,
        camera=camera,
        sensor=sensor,
        seed=zlib.crc32(f"{seed}/{this.scene}/{this.camera}".encode()) & 0x7FFFFFFF,
        drawn={"scene": this.scene, "camera": this.camera} | _columns(draw.values, this.camera),
    )


def _columns(values: Mapping[str, float | str], camera: str) -> dict[str, float | str]:
    """Names that all cameras share, so that a table of images has one column for a value, not one a camera."""
    return {
        name.replace(f"cameras.{camera}.", "camera.").replace(f"sensor.{camera}.", "sensor."): value
        for name, value in values.items()
    }


def _placed(spec: SceneSpec, assets: Assets, draw: Draw, wardrobe: "Wardrobe") -> list[tuple[Resting, Instance]]:
    """All parts at their places, healthy."""
    resting = _resting(spec, assets, draw)
    with at_line(spec, "placement"):
        places = place(resting, spec.placement, spec.stage.size_mm, draw) if resting else []
    materials = {n: wardrobe.of_part(n) for n in sorted({r.kind for r in resting})}
    return [
        (r, Instance(r.part, found.world_from_part, _laid(materials[r.kind], r.name, draw), pose=found.pose))
        for r, found in zip(resting, places, strict=True)
    ]


def _laid(materials: Mapping[str, Material], name: str, draw: Draw) -> dict[str, Material]:
    """The same finish with its tile moved and mirrored: two parts of a lot look alike, but no stain is on both."""
    rng = draw.rng(f"{name}.texture")
    shift, mirrored = rng.random(2), (bool(rng.integers(2)), bool(rng.integers(2)))
    return {key: laid(material, shift, mirrored) for key, material in materials.items()}


def _resting(spec: SceneSpec, assets: Assets, draw: Draw) -> list[Resting]:
    """Every part to be placed, as many as are drawn."""
    return [
        resting
        for n in range(len(spec.parts))
        for resting in _copies(spec.parts[n], n, assets.parts[n], assets.poses[n], draw)
    ]


def _copies(spec: PartSpec, n: int, part: Part, poses: Sequence[StablePose], draw: Draw) -> Iterator[Resting]:
    key = f"parts.{spec.title}"
    asked = spec.pose if isinstance(spec.pose, tuple) else tuple(range(len(poses)))
    chances = np.array([1.0 if isinstance(spec.pose, tuple) else poses[p].probability for p in asked])
    for k in range(round(draw.number(spec.count, f"{key}.count"))):
        yield Resting(
            name=f"{key}.{k}",
            kind=n,
            part=part,
            poses=tuple(poses[p].stage_from_part for p in asked),
            chances=tuple(chances / chances.sum()),
            pose_numbers=asked,
            yaw_deg=spec.yaw_deg,
            position_mm=spec.position_mm,
        )


@dataclass(frozen=True, eq=False)
class Wardrobe:
    """Draws what parts and stage are made of. Maps are made when a renderer looks at them."""

    spec: SceneSpec
    assets: Assets
    draw: Draw
    texel_mm: float

    def of_part(self, n: int) -> dict[str, Material]:
        """By component; "" is for all that are not named."""
        part = self.spec.parts[n]
        key = f"parts.{part.title}.material"
        named = {component: self._material(name, f"{key}.{component}") for component, name in part.materials.items()}
        return {"": self._material(part.material, key)} | named

    def of_stage(self) -> dict[str, Material]:
        """By role."""
        stage = self.spec.stage
        roles = {"surface": stage.surface, "body": stage.body, "floor": stage.floor}
        found = {role: self._material(name, f"stage.{role}") for role, name in roles.items()}
        return {role: _laid({"": made}, f"stage.{role}", self.draw)[""] for role, made in found.items()}

    def _material(self, name: Name, key: str) -> Material:
        chosen = str(self.draw.choice(name, key))
        finish = self.spec.materials[chosen]
        if isinstance(finish, ImageSet):
            return finish.material(self.draw, key, self.assets.textures[chosen], self.texel_mm)
        made, values = _made(cast(Any, finish), self.draw.seed, self.draw.index, key, self.texel_mm)
        self.draw.values |= values
        return named(made, chosen)


@lru_cache(maxsize=8)
def _made(
    finish: Finish, seed: int, scene: int, key: str, texel_mm: float
) -> tuple[Material, Mapping[str, float | str]]:
    """A finish of ours and what was drawn for it; kept, since the cameras of a scene follow one another."""
    draw = Draw(seed, scene)
    return finish.material(draw, key, {}, texel_mm), draw.values


def _lights(spec: SceneSpec, assets: Assets, draw: Draw) -> tuple[Lights, Environment | None]:
    poses = {name: inverse(draw_camera(spec.cameras, name, _aside(draw)).camera_from_world) for name in _followed(spec)}
    lights = tuple(draw_light(light, name, draw, poses, assets.photometry) for name, light in spec.lights.items())
    return lights, draw_environment(spec.environment, draw, assets.maps)


def _followed(spec: SceneSpec) -> list[str]:
    """Cameras that a light is bound to."""
    bound = {getattr(light, "camera", None) for light in spec.lights.values()}
    return [name for name in camera_names(spec.cameras) if name in bound]


def _aside(draw: Draw) -> Draw:
    """The same draws, recorded nowhere: another camera's are no part of this image."""
    return Draw(draw.seed, draw.index)


def _exposed(
    spec: SceneSpec, camera: Camera, lights: Lights, environment: Environment | None, draw: Draw
) -> tuple[Camera, Lights, Environment | None]:
    """Exposure from a grey card in the stage's centre; white balance by scaling the light, which is the same thing."""
    card = card_irradiance(lights, environment, np.zeros(3))
    level = float(card @ LUMINANCE)
    if level <= 0:
        raise spec.error("no light reaches the centre of the stage: aim one at it", "lights")
    settings, _ = camera_spec(spec.cameras, camera.name)
    key = f"cameras.{camera.name}"
    balance = draw.number(settings.white_balance, f"{key}.white_balance")
    gain = (level / np.maximum(card, 1e-9 * level)) ** balance
    gain *= level / float((card * gain) @ LUMINANCE)
    exposure = exposure_for(settings.exposure, level, draw, key)
    draw.values |= {"stage.irradiance_w_m2": level, f"{key}.exposure": exposure}
    if environment is not None:
        environment = replace(environment, radiance=(environment.radiance * gain).astype(np.float32))
    return replace(camera, exposure=exposure), tuple(_balanced(light, gain) for light in lights), environment


def _balanced(light: MeshLight | SpotLight, gain: np.ndarray) -> MeshLight | SpotLight:
    r, g, b = (float(v) for v in gain)
    if isinstance(light, MeshLight):
        return replace(light, radiance=(light.radiance[0] * r, light.radiance[1] * g, light.radiance[2] * b))
    return replace(light, intensity=(light.intensity[0] * r, light.intensity[1] * g, light.intensity[2] * b))


def _flawed(spec: SceneSpec, parts: list[tuple[Resting, Instance]], draw: Draw) -> list[tuple[Resting, Instance]]:
    """The same parts with faults and defects: drawn again, under other names, until one part has one."""
    for attempt in range(FLAW_ATTEMPTS):
        aside = _aside(draw)
        again = f".again.{attempt}" if attempt else ""
        flawed = [(r, _with_flaws(spec, r, i, aside, again)) for r, i in parts]
        if any(instance.defects or instance.faults for _, instance in flawed):
            draw.values |= aside.values
            return flawed
    said = f"no part had a defect or fault in {FLAW_ATTEMPTS} draws: raise a probability or a count"
    raise spec.error(said, "defects")


def _with_flaws(spec: SceneSpec, resting: Resting, healthy: Instance, draw: Draw, again: str) -> Instance:
    """Faults first: they change the part that the defects lie on."""
    own = spec.parts[resting.kind]
    faults = spec.faults if own.faults is None else own.faults
    defects = spec.defects if own.defects is None else own.defects
    place = healthy.world_from_part
    with at_line(spec, *(("faults",) if own.faults is None else ("parts", resting.kind, "faults"))):
        part, found = draw_faults(healthy.part, faults, draw, f"{resting.name}.faults{again}")
        place = _lifted(part, place) if found else place
    with at_line(spec, *(("defects",) if own.defects is None else ("parts", resting.kind, "defects"))):
        placed = draw_defects(part, defects, draw, f"{resting.name}.defects{again}", place)
    return replace(healthy, part=part, world_from_part=place, faults=found, defects=placed)


def _lifted(part: Part, pose: np.ndarray) -> np.ndarray:
    """The pose, raised where a faulty part would reach through the stage."""
    depth = min(float(moved(pose, part.vertices)[:, 2].min()), 0.0)
    raised = pose.copy()
    raised[2, 3] -= depth
    return raised
