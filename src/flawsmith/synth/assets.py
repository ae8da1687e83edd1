"""What a spec refers to, read once: parts with their stable poses, texture sets, environment maps, photometry."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flawsmith.core.errors import FlawsmithError
from flawsmith.part import Component, Part
from flawsmith.part.poses import StablePose, stable_poses
from flawsmith.part.read import read_part
from flawsmith.part.standard import make_part
from flawsmith.synth.camera import CameraSpec
from flawsmith.synth.distribution import support
from flawsmith.synth.environment import read_environment
from flawsmith.synth.ies import Photometry, read_ies
from flawsmith.synth.light import IesLight
from flawsmith.synth.material import ImageSet, read_set
from flawsmith.synth.placement import fits, lying_as_modelled
from flawsmith.synth.spec import PartSpec, SceneSpec, resolved
from flawsmith.synth.yaml_lines import Key

CHAMFER = 0.02


@dataclass(frozen=True, eq=False)
class Assets:
    """In the order of the spec's `parts`; the rest by the name or path that the spec uses."""

    parts: tuple[Part, ...]
    poses: tuple[tuple[StablePose, ...], ...]
    textures: Mapping[str, Mapping[str, np.ndarray]]
    maps: Mapping[Path, np.ndarray]
    photometry: Mapping[str, Photometry]
    pixel_mm: float = 0.0  # the least that a pixel of any camera sees at its target


def load_assets(spec: SceneSpec, base: Path) -> Assets:
    """Read everything that the spec names, relative to `base`, and check that it goes together.

    Raises the readers' own errors with the line of the spec in front, and `ConfigError` for a part that does not fit
    on the stage or has no such pose.
    """
    parts, poses = [], []
    for n, part_spec in enumerate(spec.parts):
        source = next(k for k in ("file", "standard", "plate_mm") if getattr(part_spec, k) is not None)
        with at_line(spec, "parts", n, source):
            part = _part(part_spec, base)
            ways = _poses(part_spec, part)
        parts.append(part)
        poses.append(ways)
        check_part(spec, n, part, ways)
    return Assets(
        *(tuple(parts), tuple(poses), _textures(spec, base), _maps(spec, base), _photometry(spec, base)),
        pixel_mm=min(finest_pixel_mm(camera) for camera in spec.cameras.values()),
    )


def check_part(spec: SceneSpec, n: int, part: Part, poses: tuple[StablePose, ...]) -> None:
    """The part lies on the stage, and has the poses and components that the spec asks for."""
    asked = spec.parts[n].pose
    if isinstance(asked, tuple) and (max(asked, default=0) >= len(poses) or min(asked, default=-1) < 0):
        raise spec.error(
            f"{list(asked)}: the part has poses 0 to {len(poses) - 1} (flawsmith part info)", "parts", n, "pose"
        )
    margin = 2 * _least(spec.placement.margin_mm)
    size = spec.stage.size_mm[0] - margin, spec.stage.size_mm[1] - margin
    if not fits(part, [p.stage_from_part for p in poses], size):
        long, wide, high = sorted(part.extent_mm)[::-1]
        raise spec.error(
            f"part {spec.parts[n].title!r} of {long:.1f} × {wide:.1f} × {high:.1f} mm is larger than the stage of "
            f"{size[0]:g} × {size[1]:g} mm: raise stage.size_mm ({spec.at('stage', 'size_mm')}), or check its unit",
            *("parts", n),
        )
    known = [c.name for c in part.components]
    for component in spec.parts[n].materials:
        if component not in known:
            from flawsmith.core.errors import nearest

            raise spec.error(
                f"the part has no such component.{nearest(component, known)}", "parts", n, "materials", component
            )


def plate(width: float, depth: float, thickness: float) -> Part:
    """A sheet or block with chamfered edges: without them it looks computed."""
    from scipy.spatial import ConvexHull

    half = np.array([width, depth, thickness]) / 2
    cut = CHAMFER * min(width, depth, thickness) + min(0.1, thickness / 8)
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    corners = np.concatenate([signs * (half - cut * (1 - np.eye(3)[axis])) for axis in range(3)])
    hull = ConvexHull(corners)
    faces = hull.simplices.astype(np.int32)
    a, b, c = (corners[faces[:, i]] for i in range(3))
    inward = np.einsum("ij,ij->i", np.cross(b - a, c - a), hull.equations[:, :3]) < 0
    faces[inward] = faces[inward][:, ::-1]
    name = f"plate {width:g}x{depth:g}x{thickness:g}"
    return Part(name, (Component("plate", (), corners, faces),), source=name)


def finest_pixel_mm(camera: CameraSpec) -> float:
    """The least that a pixel can be at the target, by the ends of what can be drawn."""
    across = camera.sensor_mm[0] / camera.resolution_px[0]
    if camera.working_distance_mm is None:
        return support(80.0 if camera.field_mm is None else camera.field_mm)[0] / camera.resolution_px[0]
    focal, distance = support(camera.focal_mm)[1], support(camera.working_distance_mm)[0]
    return across * max(distance / focal - 1, 0.5)


def _part(spec: PartSpec, base: Path) -> Part:
    if spec.file is not None:
        return read_part(resolved(base, spec.file), unit=spec.unit, tolerance_mm=spec.tolerance_mm)
    if spec.standard is not None:
        kind, size = spec.standard.split()
        return make_part(kind, size, threaded=spec.threaded)
    assert spec.plate_mm is not None
    return plate(*spec.plate_mm)


def _poses(spec: PartSpec, part: Part) -> tuple[StablePose, ...]:
    as_modelled = spec.pose == "as_modelled" or (spec.pose is None and spec.plate_mm is not None)
    return (StablePose(lying_as_modelled(part), 1.0),) if as_modelled else stable_poses(part)


def _textures(spec: SceneSpec, base: Path) -> dict[str, Mapping[str, np.ndarray]]:
    sets = {}
    for name, material in spec.materials.items():
        if isinstance(material, ImageSet):
            with at_line(spec, "materials", name, "folder"):
                sets[name] = read_set(resolved(base, material.folder))
    return sets


def _maps(spec: SceneSpec, base: Path) -> dict[Path, np.ndarray]:
    maps = {}
    for n, file in enumerate(spec.environment.files):
        with at_line(spec, "environment", "files", n):
            maps[file] = read_environment(resolved(base, file))
    return maps


def _photometry(spec: SceneSpec, base: Path) -> dict[str, Photometry]:
    read = {}
    for name, light in spec.lights.items():
        if isinstance(light, IesLight):
            with at_line(spec, "lights", name, "file"):
                read[name] = read_ies(resolved(base, light.file))
    return read


def _least(number: object) -> float:
    return float(number) if isinstance(number, int | float) else 0.0


@contextmanager
def at_line(spec: SceneSpec, *path: Key) -> Iterator[None]:
    """Put the line of `path` in front of what a reader has to say."""
    try:
        yield
    except FlawsmithError as error:
        raise type(error)(f"{spec.at(*path)}: {'.'.join(str(k) for k in path)}: {error}") from error
