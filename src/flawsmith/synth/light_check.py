"""Lights that cannot be meant: inside a part, below the stage, or in a camera's way."""

import numpy as np

from flawsmith.synth.pose import inverse, moved
from flawsmith.synth.scene import Camera, Instance, MeshLight, SpotLight
from flawsmith.synth.spec import SceneSpec

INSIDE = 0.5
PROBES = 64


def check_lights(
    spec: SceneSpec, lights: tuple[MeshLight | SpotLight, ...], instances: tuple[Instance, ...], camera: Camera
) -> None:
    """Raise `ConfigError` with the line of the light."""
    for light in lights:
        points = _points(light)
        if points[:, 2].max() < 0:
            raise spec.error(
                "the light is below the stage (z < 0): raise distance_mm or look_at_mm", "lights", light.name
            )
        for instance in instances:
            if inside(instance, points).any():
                raise spec.error(
                    f"the light is inside part {instance.part.name!r}: raise its distance_mm or move its look_at_mm",
                    *("lights", light.name),
                )
        if isinstance(light, MeshLight) and blocks(light, camera):
            raise spec.error(
                f"the light stands between camera {camera.name!r} and the stage's centre: change its tilt_deg, make "
                "its opening wider, or put it farther off than the camera",
                *("lights", light.name),
            )


def inside(instance: Instance, points: np.ndarray) -> np.ndarray:
    """bool (N,): which world points lie in the solid, by its winding number, so small leaks in the mesh do no harm."""
    local = moved(inverse(instance.world_from_part), points)
    low, high = instance.part.bounds_mm
    near = ((local > low) & (local < high)).all(axis=1)
    found = np.zeros(len(points), bool)
    corners = instance.part.vertices[instance.part.faces]
    for n in np.flatnonzero(near)[:PROBES]:
        found[n] = winding(corners - local[n]) > INSIDE
    return found


def winding(corners: np.ndarray) -> float:
    """How often triangles (F, 3, 3) wrap round the origin: 1 inside, 0 outside.

    Source: Van Oosterom and Strackee, IEEE Trans. Biomed. Eng. 30(2), 1983.
    """
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    la, lb, lc = (np.linalg.norm(v, axis=1) for v in (a, b, c))
    volume = np.einsum("ij,ij->i", a, np.cross(b, c))
    dots = [np.einsum("ij,ij->i", u, v) for u, v in ((a, b), (b, c), (c, a))]
    under = la * lb * lc + dots[0] * lc + dots[1] * la + dots[2] * lb
    return float(np.arctan2(volume, under).sum() / (2 * np.pi))


def blocks(light: MeshLight, camera: Camera) -> bool:
    """Whether the light's mesh cuts the camera's axis before the stage (Möller and Trumbore, 1997)."""
    world_from_camera = inverse(camera.camera_from_world)
    origin, axis = world_from_camera[:3, 3], world_from_camera[:3, 2]
    if axis[2] >= 0:
        return False
    reach = -origin[2] / axis[2]
    a, b, c = (light.vertices.astype(float)[light.faces[:, i]] for i in range(3))
    normal = np.cross(axis, c - a)
    under = np.einsum("ij,ij->i", b - a, normal)
    under = np.where(np.abs(under) < 1e-12, np.inf, under)
    u = np.einsum("ij,ij->i", origin - a, normal) / under
    across = np.cross(origin - a, b - a)
    v = across @ axis / under
    distance = np.einsum("ij,ij->i", c - a, across) / under
    return bool(((u >= 0) & (v >= 0) & (u + v <= 1) & (distance > 1e-6) & (distance < reach)).any())


def _points(light: MeshLight | SpotLight) -> np.ndarray:
    return light.vertices.astype(float) if isinstance(light, MeshLight) else light.world_from_light[None, :3, 3]
