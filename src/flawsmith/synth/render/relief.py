"""Relief: level sheets as height fields, shaded with the scene's own materials and lights. Milliseconds an image.

One homography takes each level surface to pixels, so colour, roughness and slopes are looked up, not traced. What is
left out: light that bounces between surfaces, lights that a part hides, walls of holes as such (a hole is a dark, steep
hollow). What is no height field is refused with its name.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from flawsmith.core.geometry import mask_box
from flawsmith.synth.render.relief_plane import Plane, View, homography, planes, view
from flawsmith.synth.render.relief_shade import Points, Sky, Surface, points_of, shade
from flawsmith.synth.render.relief_surface import Fields, Print, bare_fields, cast, lay, material_fields, seen_share
from flawsmith.synth.render.settings import RenderSettings
from flawsmith.synth.scene import Camera, Rendering, Scene

_BLOCK = 8_192  # pixels shaded at once; OpenCV looks up at most 32,766 in a row
_LEFT = 0.01  # a plane that could fill no more of a pixel than this is not looked at
_BLUR_PX = 0.7  # a circle of confusion below this is not worth a filter


def render_relief(scene: Scene, settings: RenderSettings | None = None) -> Rendering:
    """A scene of level sheets seen from above. Of `settings` none matters here.

    Raises `DataError` that names the part, or the piece of the stage, that is not flat.
    """
    del settings
    picture = _picture(scene, points_of(scene.lights))
    if scene.environment is not None and picture.left.any():
        picture.rgb += picture.left[..., None] * scene.environment.radiance.mean((0, 1))
    rgb = _defocused(picture.rgb, scene.camera, picture.depth_mm)
    p = picture
    return Rendering(rgb, p.coverage, p.instance, p.depth_mm, p.normal, p.visible, p.seconds)


def relief_labels(scene: Scene) -> Rendering:
    """Instance, coverage and visible alone; depth and normal are those without defects, the image stays black.

    For a look before the image is paid for.
    """
    p = _picture(scene, None)
    return Rendering(p.rgb, p.coverage, p.instance, p.depth_mm, p.normal, p.visible, p.seconds)


def _picture(scene: Scene, lights: Sequence[Points] | None) -> "Picture":
    """Painted from the highest plane down, so that what is covered costs nothing. Without lights, labels only."""
    picture, started = Picture.empty(scene), time.process_time()
    surfaces = planes(scene)
    picture.seconds["build"] = time.process_time() - started
    for plane in reversed(surfaces):
        if picture.left.max() <= _LEFT:
            break
        seen = view(plane, scene.camera)
        seen = None if seen is None else _uncovered(seen, picture)
        if seen is not None:
            _draw(picture, plane, seen, scene, lights)
    return picture


@dataclass(eq=False)
class Picture:
    """A `Rendering` in the making. left: share of each pixel that is still to be painted."""

    rgb: np.ndarray
    coverage: np.ndarray
    instance: np.ndarray
    depth_mm: np.ndarray
    normal: np.ndarray
    visible: np.ndarray
    left: np.ndarray
    seconds: dict[str, float]

    @classmethod
    def empty(cls, scene: Scene) -> "Picture":
        shape = (scene.camera.height, scene.camera.width)
        count = sum(len(instance.defects) for instance in scene.instances)
        return cls(
            np.zeros((*shape, 3), np.float32),
            np.zeros((count, *shape), np.float32),
            np.full(shape, -1, np.int32),
            np.full(shape, np.inf, np.float32),
            np.zeros((*shape, 3), np.float32),
            np.zeros(count),
            np.ones(shape, np.float32),
            {"label": 0.0, "sample": 0.0},
        )


def _uncovered(seen: View, picture: Picture) -> View | None:
    """The view cut to the rows and columns where something of it can show."""
    x0, y0, x1, y1 = seen.window
    box = mask_box((picture.left[y0:y1, x0:x1] > _LEFT) & (seen.cover > 0))
    return None if box is None else seen.part(box)


def _draw(picture: Picture, plane: Plane, seen: View, scene: Scene, lights: Sequence[Points] | None) -> None:
    """Put one plane under what is there."""
    begun = time.process_time()
    fields = bare_fields(seen) if lights is None else material_fields(plane, seen)
    x0, y0, x1, y1 = seen.window
    prints = _lay_defects(picture, plane, seen, fields, scene, lights is not None)
    laid = time.process_time()
    left = picture.left[y0:y1, x0:x1]
    solid = (left * seen.cover >= 0.5) & (picture.instance[y0:y1, x0:x1] < 0)
    through = solid & (fields.open < 0.5)
    np.copyto(picture.instance[y0:y1, x0:x1], plane.instance, where=solid)
    np.copyto(picture.depth_mm[y0:y1, x0:x1], _depth(scene.camera, seen, plane, fields), where=through)
    np.copyto(picture.normal[y0:y1, x0:x1], _normals(fields), where=through[..., None])
    over = left * seen.cover * (1 - fields.open)
    if lights is not None:
        radiance = _radiance(plane, seen, fields, prints, scene, lights)
        picture.rgb[y0:y1, x0:x1] += cv2.merge([channel * over for channel in radiance])
    left -= over
    picture.seconds["label"] += laid - begun
    picture.seconds["sample"] += time.process_time() - laid


def _lay_defects(picture: Picture, plane: Plane, seen: View, fields: Fields, scene: Scene, shaded: bool) -> list[Print]:
    """The defects of the plane's part, in their order; their labels go into the picture."""
    prints, number, (x0, y0, _, _) = [], -1, seen.window
    for owner, instance in enumerate(scene.instances, start=1):
        for defect in instance.defects:
            number += 1
            if owner != plane.instance:
                continue
            picture.visible[number] = seen_share(plane, scene.camera, defect, instance.world_from_part)
            laid = lay(fields, plane, seen, scene.camera, defect, instance.world_from_part, shaded)
            if laid is not None:
                prints.append(laid)
                window = picture.coverage[number, y0:, x0:]
                window[laid.rows, laid.columns] = laid.coverage * picture.left[y0:, x0:][laid.rows, laid.columns]
    return prints


def _radiance(
    plane: Plane, seen: View, fields: Fields, prints: Sequence[Print], scene: Scene, lights: Sequence[Points]
) -> np.ndarray:
    """(3, h, w): the plane shaded block by block, shadows of its relief included."""
    eye = np.linalg.inv(scene.camera.camera_from_world)[:3, 3]
    lit = [_lit(light, plane, seen, fields, prints, scene.camera) for light in lights]
    sky = Sky(scene.environment, plane.material.roughness) if scene.environment is not None else None
    flat = _flat(plane, seen, fields)
    out = np.empty((3, seen.x.size), np.float32)
    for start in range(0, seen.x.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        shares = [share if share is None else share.reshape(-1)[block] for share in lit]
        out[:, block] = shade(flat.part(block), eye, lights, shares, sky)
    out *= 1 - fields.hidden.reshape(-1)
    return out.reshape(3, *seen.x.shape)


def _flat(plane: Plane, seen: View, fields: Fields) -> Surface:
    material = plane.material
    grain = plane.uv_from_xy[0, :2] / max(float(np.linalg.norm(plane.uv_from_xy[0, :2])), 1e-12)
    return Surface(
        x=seen.x.reshape(-1),
        y=seen.y.reshape(-1),
        z_mm=plane.z_mm,
        slope_x=fields.slope_x.reshape(-1),
        slope_y=fields.slope_y.reshape(-1),
        base=fields.color.reshape(3, -1),
        roughness=np.maximum(fields.roughness.reshape(-1), np.float32(0.02)),
        metallic=fields.metallic.reshape(-1),
        ior=material.ior,
        anisotropy=material.anisotropy,
        grain=(float(grain[0]), float(grain[1])),
        clearcoat=material.clearcoat,
        coat_alpha=max(material.clearcoat_roughness**2, 0.001),
    )


def _lit(
    light: Points, plane: Plane, seen: View, fields: Fields, prints: Sequence[Print], camera: Camera
) -> np.ndarray | None:
    """(h, w): how much of a light gets past the relief of the defects; None where nothing is in its way."""
    shares: np.ndarray | None = None
    to_pixels = homography(camera, plane.z_mm)
    for at in prints:
        height = fields.height_mm[at.rows, at.columns]
        if float(np.ptp(height)) < 0.02 * seen.pixel_mm:
            continue
        middle = np.array([seen.x[at.rows, at.columns].mean(), seen.y[at.rows, at.columns].mean()], float)
        to_light = light.position.mean(0) - [*middle, plane.z_mm]
        flat = float(np.hypot(*to_light[:2]))
        step = to_light[:2] / max(flat, 1e-9) * seen.pixel_mm
        ends = np.array([[*middle, 1.0], [*(middle + step), 1.0]]) @ to_pixels.T
        pixels = ends[:, :2] / ends[:, 2:]
        rise = seen.pixel_mm * to_light[2] / max(flat, 1e-9)
        share = cast(height, (float(pixels[1, 0] - pixels[0, 0]), float(pixels[1, 1] - pixels[0, 1])), rise)
        if share is not None:
            shares = np.ones(seen.x.shape, np.float32) if shares is None else shares
            shares[at.rows, at.columns] = np.minimum(shares[at.rows, at.columns], share)
    return shares


def _depth(camera: Camera, seen: View, plane: Plane, fields: Fields) -> np.ndarray:
    """float32 (h, w): along the optical axis, relief included."""
    a, b, c, d = camera.camera_from_world[2]
    return (a * seen.x + b * seen.y + c * (plane.z_mm + fields.height_mm) + d).astype(np.float32)


def _normals(fields: Fields) -> np.ndarray:
    """float32 (h, w, 3), world frame."""
    up = 1 / np.sqrt(1 + fields.slope_x**2 + fields.slope_y**2)
    return np.dstack([-fields.slope_x * up, -fields.slope_y * up, up])


def _defocused(rgb: np.ndarray, camera: Camera, depth_mm: np.ndarray) -> np.ndarray:
    """The image through a lens out of focus: one circle of confusion for all, that of the middle of the picture."""
    depth = float(depth_mm[camera.height // 2, camera.width // 2])
    if not np.isfinite(depth) or camera.lens_radius_mm <= 0:
        return rgb
    radius = camera.lens_radius_mm * float(camera.k[0, 0]) * abs(1 / depth - 1 / camera.focus_mm)
    if radius * 2 < _BLUR_PX:
        return rgb
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    return cv2.filter2D(rgb, -1, disc / disc.sum(), borderType=cv2.BORDER_REPLICATE)
