"""The level surfaces of a scene as a camera above sees them: sheets, and the stage below."""

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from flawsmith.core.errors import DataError
from flawsmith.core.geometry import Box
from flawsmith.synth.scene import Camera, Instance, Material, Scene, Shape

_LEVEL_MM = 0.05  # a top may be that uneven …
_SHARE = 0.05  # … and so much of what is seen from above may be bevels
_SHIFT = 4  # binary places below the pixel of OpenCV's polygons


@dataclass(frozen=True, eq=False)
class Plane:
    """A level surface that faces up.

    triangles:  (T, 3, 2) float64 world xy
    uv_from_xy: (2, 3): texture periods from (x, y, 1)
    thick_mm:   of the sheet below it, inf for the stage
    """

    name: str
    z_mm: float
    triangles: np.ndarray
    material: Material
    uv_from_xy: np.ndarray
    instance: int = 0
    thick_mm: float = np.inf


@dataclass(frozen=True, eq=False)
class View:
    """What a plane looks like from a camera, in the pixels of `window` (x0, y0, x1, y1) that it reaches.

    x, y:  float32 (h, w) world mm at pixel centres
    cover: float32 (h, w), share of the pixel that the plane fills
    """

    window: tuple[int, int, int, int]
    x: np.ndarray
    y: np.ndarray
    cover: np.ndarray
    pixel_mm: float

    def part(self, box: Box) -> "View":
        """The pixels of a box within the window."""
        (x0, y0, x1, y1), (left, top, _, _) = box, self.window
        cut = (slice(y0, y1), slice(x0, x1))
        window = (left + x0, top + y0, left + x1, top + y1)
        return replace(self, window=window, x=self.x[cut], y=self.y[cut], cover=self.cover[cut])


def planes(scene: Scene) -> list[Plane]:
    """Lowest first. Raises `DataError` that names what is not flat, or glass, or not seen from above."""
    found = [_stage_plane(shape) for shape in scene.stage if _matters(shape, scene.camera)]
    found += [_sheet(instance, n) for n, instance in enumerate(scene.instances, start=1)]
    eye = np.linalg.inv(scene.camera.camera_from_world)[:3, 3]
    for plane in found:
        if plane.material.transmission > 0:
            raise DataError(f"{plane.name} lets light through; relief draws opaque sheets: use --renderer mitsuba")
        if eye[2] <= plane.z_mm:
            raise DataError(
                f"the camera is not above {plane.name}; relief draws sheets from above: use --renderer mitsuba"
            )
    return sorted(found, key=lambda plane: plane.z_mm)


def homography(camera: Camera, z_mm: float) -> np.ndarray:
    """(3, 3): pixels from (x, y, 1) on the level z = `z_mm`."""
    pose = camera.camera_from_world
    return camera.k @ np.column_stack([pose[:3, 0], pose[:3, 1], pose[:3, 2] * z_mm + pose[:3, 3]])


def view(plane: Plane, camera: Camera) -> View | None:
    """None where the plane is out of the picture."""
    to_pixels = homography(camera, plane.z_mm)
    corners = np.concatenate([plane.triangles, np.ones((*plane.triangles.shape[:2], 1))], axis=2) @ to_pixels.T
    polygons = [p for p in (_in_picture(triangle, camera) for triangle in corners) if len(p) > 2]
    if not polygons:
        return None
    pixels = np.concatenate(polygons)
    low, high = np.floor(pixels.min(0)), np.ceil(pixels.max(0))
    x0, y0 = (int(max(v, 0)) for v in low)
    x1, y1 = int(min(high[0], camera.width)), int(min(high[1], camera.height))
    if x1 <= x0 or y1 <= y0:
        return None
    x, y = world_xy(to_pixels, (x0, y0, x1, y1))
    cover = _cover([p - (x0, y0) for p in polygons], (y1 - y0, x1 - x0))
    area = abs(np.linalg.det(np.linalg.inv(to_pixels))) * _scale_at_middle(to_pixels, (x0, y0, x1, y1)) ** 3
    return View((x0, y0, x1, y1), x, y, cover, float(np.sqrt(area)))


def world_xy(to_pixels: np.ndarray, window: tuple[int, int, int, int], fine: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """World x and y at the pixel centres of a window, float32 (h, w) each; of `fine` × `fine` parts of each pixel."""
    x0, y0, x1, y1 = window
    back = np.linalg.inv(to_pixels)
    across = x0 + (np.arange((x1 - x0) * fine) + 0.5) / fine
    down = (y0 + (np.arange((y1 - y0) * fine) + 0.5) / fine)[:, None]
    x, y, w = (back[row, 0] * across + back[row, 1] * down + back[row, 2] for row in range(3))
    return (x / w).astype(np.float32), (y / w).astype(np.float32)


def _scale_at_middle(to_pixels: np.ndarray, window: tuple[int, int, int, int]) -> float:
    x0, y0, x1, y1 = window
    return 1 / float((np.linalg.inv(to_pixels) @ [(x0 + x1) / 2, (y0 + y1) / 2, 1])[2])


def _in_picture(corners: np.ndarray, camera: Camera) -> np.ndarray:
    """The part (P, 2) of a homogeneous triangle that is before the camera and in the picture, in pixels."""
    near = np.array([0, 0, 1.0, -1e-4 * max(float(corners[:, 2].max()), 0.0)])
    sides = [[1.0, 0, 0, 0], [-1, 0, camera.width, 0], [0, 1, 0, 0], [0, -1, camera.height, 0]]
    polygon = np.column_stack([corners, np.ones(3)])
    for side in [near, *np.array(sides)]:
        polygon = _clipped(polygon, polygon @ side)
    return polygon[:, :2] / polygon[:, 2:3]


def _clipped(polygon: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Where a linear function with these values at the corners is not negative (Sutherland and Hodgman)."""
    if (inside >= 0).all():
        return polygon
    following, after = np.roll(polygon, -1, axis=0), np.roll(inside, -1)
    kept = []
    for a, b, at_a, at_b in zip(polygon, following, inside, after, strict=True):
        if at_a >= 0:
            kept.append(a)
        if (at_a >= 0) != (at_b >= 0):
            kept.append(a + (b - a) * (at_a / (at_a - at_b)))
    return np.array(kept).reshape(-1, polygon.shape[1])


def _cover(polygons: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Share of each pixel inside convex polygons (P, 2): 4 × 4 samples a pixel."""
    height, width = shape
    fine = np.zeros((4 * height, 4 * width), np.uint8)
    # OpenCV's pixel centres are whole numbers; drawing covers whatever pixel an edge touches, half a fine one at most.
    for polygon in polygons:
        fixed = ((polygon * 4 - 0.5) * (1 << _SHIFT)).round().astype(np.int32)
        cv2.fillConvexPoly(fine, fixed, 255, cv2.LINE_8, _SHIFT)
    if fine.all():
        return np.ones(shape, np.float32)
    return cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def _sheet(instance: Instance, number: int) -> Plane:
    """The top of a part that is a plate: the level that most of it shows to a camera above."""
    part = instance.part
    name = f"part {part.name!r}"
    vertices = part.vertices @ instance.world_from_part[:3, :3].T + instance.world_from_part[:3, 3]
    corners = vertices[part.faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facing = cross[:, 2] > 1e-3 * np.linalg.norm(cross, axis=1)
    if not facing.any():
        raise DataError(f"{name} shows no face upwards; turn it, or use --renderer mitsuba")
    z = float(corners[facing][..., 2].max())
    top = facing & (np.abs(corners[..., 2] - z).max(1) <= _LEVEL_MM)
    uneven = 1 - cross[top, 2].sum() / cross[facing, 2].sum()
    if uneven > _SHARE:
        raise DataError(
            f"{name} is not flat: {uneven:.0%} of what it shows from above is off its top level (z = {z:.2f} mm); "
            "relief draws level sheets only: use --renderer mitsuba"
        )
    names = {component.name for component in part.components}
    held = {key: material for key, material in instance.materials.items() if key in names or not key}
    material = next((held[c.name] for c in part.components if c.name in held), held.get("", Material()))
    low = float(vertices[np.unique(part.faces)][:, 2].min())
    back = np.linalg.inv(instance.world_from_part)
    uv = np.column_stack([back[:2, :2], back[:2, 2] * z + back[:2, 3]]) / material.period_mm
    return Plane(name, z, corners[top][..., :2], material, uv, number, z - low)


def _matters(shape: Shape, camera: Camera) -> bool:
    """Whether a stage's shape can be in the picture: not behind the camera, not beside what it sees."""
    pose = camera.camera_from_world
    at = shape.vertices @ pose[:3, :3].T + pose[:3, 3]
    if (at[:, 2] <= 0).all():
        return False
    if (at[:, 2] <= 0).any():
        return True
    pixels = at @ camera.k.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    return bool((pixels.max(0) > 0).all() and (pixels.min(0) < (camera.width, camera.height)).all())


@lru_cache(maxsize=16)  # a stage is looked at several times for one image
def _stage_plane(shape: Shape) -> Plane:
    corners = shape.vertices.astype(np.float64)[shape.faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    z = float(shape.vertices[:, 2].max())
    facing = cross[:, 2] > 1e-3 * np.linalg.norm(cross, axis=1)
    if not facing.any() or np.abs(corners[facing][..., 2] - z).max() > _LEVEL_MM:
        raise DataError(
            f"the stage's {shape.name!r} is in the picture and not level; relief draws level sheets only: use stage "
            "'sheet', or --renderer mitsuba"
        )
    used = np.unique(shape.faces[facing])
    places = np.column_stack([shape.vertices[used, :2], np.ones(len(used))]).astype(np.float64)
    uv = np.linalg.lstsq(places, shape.uv[used].astype(np.float64), rcond=None)[0].T
    return Plane(f"the stage's {shape.name!r}", z, corners[facing][..., :2], shape.material, uv)
