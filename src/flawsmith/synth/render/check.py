"""What no renderer can draw, refused with its name before anything is built."""

from collections.abc import Sequence

import numpy as np

from flawsmith.core.errors import DataError
from flawsmith.synth.scene import Camera, Color, Environment, Material, MeshLight, Scene, Shape, SpotLight

_MAPS = {"color_map": 3, "roughness_map": 2, "metallic_map": 2, "height_map_mm": 2}


def check(scene: Scene, shapes: Sequence[Shape]) -> None:
    """Raise `DataError` that names the shape, light, material or camera that cannot be rendered, and the remedy."""
    for shape in shapes:
        check_shape(shape)
    for light in scene.lights:
        _check_light(light)
    if scene.environment is not None:
        _check_environment(scene.environment)
    _check_camera(scene.camera)
    if not scene.lights and scene.environment is None:
        raise DataError("the scene has neither a light nor an environment: every image would be black; add a light")
    check_not_inside(scene, shapes)


def check_shape(shape: Shape) -> None:
    where = f"shape {shape.name!r}"
    if len(shape.faces) == 0:
        raise DataError(f"{where} has no faces: export it as a solid or a surface mesh, or hide it")
    if shape.vertices.shape != shape.normals.shape or len(shape.uv) != len(shape.vertices):
        raise DataError(
            f"{where}: vertices {shape.vertices.shape}, normals {shape.normals.shape}, uv {shape.uv.shape}; wanted one "
            "normal and one (u, v) per vertex"
        )
    if shape.faces.min() < 0 or shape.faces.max() >= len(shape.vertices):
        raise DataError(f"{where}: a face names vertex {shape.faces.max()} of {len(shape.vertices)}")
    if not (np.isfinite(shape.vertices).all() and np.isfinite(shape.normals).all() and np.isfinite(shape.uv).all()):
        raise DataError(f"{where}: a vertex, normal or uv is not a finite number; export the mesh again")
    check_material(shape.material)


def check_material(material: Material) -> None:
    for name, dimensions in _MAPS.items():
        texture = getattr(material, name)
        if texture is None:
            continue
        wanted = "(H, W, 3)" if dimensions == 3 else "(H, W)"
        shape = np.shape(texture)
        if len(shape) != dimensions or 0 in shape or (dimensions == 3 and shape[2] != 3):
            raise DataError(f"material {material.name!r}: {name} is {shape or 'empty'}, wanted {wanted}")
        if not np.isfinite(texture).all():
            raise DataError(f"material {material.name!r}: {name} holds a value that is not finite; load it again")
    if material.period_mm <= 0:
        raise DataError(f"material {material.name!r}: period_mm is {material.period_mm:g}, wanted more than 0")


def check_not_inside(scene: Scene, shapes: Sequence[Shape]) -> None:
    """Raise `DataError` when a light or the camera is inside a part: its light would never leave, or see, anything."""
    points = {f"light {light.name!r}": _place(light) for light in scene.lights}
    points[f"camera {scene.camera.name!r}"] = np.linalg.inv(scene.camera.camera_from_world)[:3, 3]
    for number in sorted({shape.instance for shape in shapes} - {0}):
        triangles = np.concatenate([s.vertices[s.faces] for s in shapes if s.instance == number])
        low, high = triangles.min((0, 1)), triangles.max((0, 1))
        for name, point in points.items():
            if (point > low).all() and (point < high).all() and _inside(point, triangles):
                at = ", ".join(f"{x:.1f}" for x in point)
                raise DataError(f"{name} at ({at}) mm is inside part instance {number}: move it out of the part")


def _check_light(light: MeshLight | SpotLight) -> None:
    if isinstance(light, MeshLight):
        if len(light.faces) == 0:
            raise DataError(f"light {light.name!r} has no faces: give it a size above 0")
        _check_power(light.name, light.radiance)
        return
    _check_power(light.name, light.intensity)
    if not 0 < light.beam_rad <= light.cutoff_rad < np.pi / 2:
        raise DataError(
            f"light {light.name!r}: beam {np.degrees(light.beam_rad):g}° and cutoff {np.degrees(light.cutoff_rad):g}°; "
            "wanted 0 < beam ≤ cutoff < 90"
        )


def _check_power(name: str, color: Color) -> None:
    if not np.isfinite(color).all() or min(color) < 0:
        raise DataError(f"light {name!r}: power {tuple(color)} must be finite and not negative")


def _check_environment(environment: Environment) -> None:
    radiance = environment.radiance
    if radiance.ndim != 3 or radiance.shape[2] != 3 or 0 in radiance.shape:
        raise DataError(f"environment: radiance is {radiance.shape}, wanted (H, W, 3)")
    if not np.isfinite(radiance).all() or radiance.min() < 0:
        raise DataError("environment: a radiance is negative or not finite; load the map again")


def _check_camera(camera: Camera) -> None:
    if camera.width < 1 or camera.height < 1:
        raise DataError(f"camera {camera.name!r}: {camera.width} × {camera.height} pixels; wanted 1 or more")
    if camera.k.shape != (3, 3) or camera.k[0, 0] <= 0 or camera.k[1, 1] <= 0:
        raise DataError(f"camera {camera.name!r}: k must be 3 × 3 with focal lengths above 0, got {camera.k.tolist()}")


def _place(light: MeshLight | SpotLight) -> np.ndarray:
    if isinstance(light, SpotLight):
        return light.world_from_light[:3, 3]
    return (
        light.vertices[light.faces].reshape(-1, 3).mean(0)
        if _compact(light)
        else light.vertices[light.faces[0]].mean(0)
    )


def _compact(light: MeshLight) -> bool:
    """A panel's middle is on the panel; a ring's or dome's is not, so one of its triangles stands for it."""
    corners = light.vertices[light.faces].reshape(-1, 3)
    centre = corners.mean(0)
    centres = light.vertices[light.faces].mean(1)
    spread = np.linalg.norm(corners - centre, axis=1).max()
    return bool(np.linalg.norm(centres - centre, axis=1).min() < 0.5 * spread)


def _inside(point: np.ndarray, triangles: np.ndarray) -> bool:
    """By the solid angle that the surface subtends (Van Oosterom and Strackee, 1983): 4π inside, 0 outside.

    It holds for meshes with small gaps, where counting the crossings of a ray does not.
    """
    a, b, c = np.moveaxis(triangles.astype(np.float64) - point, 1, 0)
    la, lb, lc = (np.linalg.norm(v, axis=1) for v in (a, b, c))
    volume = np.einsum("ij,ij->i", a, np.cross(b, c))
    ab, bc, ca = (np.einsum("ij,ij->i", *pair) for pair in ((a, b), (b, c), (c, a)))
    angle = 2 * np.arctan2(volume, la * lb * lc + ab * lc + bc * la + ca * lb)
    return abs(angle.sum()) > 2 * np.pi
