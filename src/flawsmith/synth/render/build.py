"""A scene as Mitsuba's objects, alike for all scenes.

A kernel is compiled anew, for seconds, when the number of objects of a class changes, or how they are made up. So every
opaque surface is made of the same parts with textures of one of two sizes, and objects out of sight fill their numbers
up to a multiple.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from types import ModuleType
from typing import Any

import cv2
import numpy as np

from flawsmith.synth.scene import Camera, Environment, Material, MeshLight, Scene, Shape, SpotLight

# Mitsuba's camera looks along z with x to the left and y up; ours is OpenCV's.
_CV_FROM_MITSUBA = np.diag([-1.0, -1.0, 1.0, 1.0])
# Mitsuba's sky has y up and its middle column at -z; ours has z up and its middle column at +x.
_WORLD_FROM_SKY = np.array([[0.0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
_SPOT_PIXELS = 256
_SIZES = 512, 1024  # texels; larger textures are made smaller
_FILL = {512: 16, 1024: 4}  # numbers of surfaces and shapes are multiples of these
_NEXT_TO_NOTHING = 1e-6
Description = dict[str, Any]


def build(mi: ModuleType, scene: Scene, shapes: Sequence[Shape]) -> Any:
    """The Mitsuba scene without a camera: shapes, lights, environment."""
    objects: Description = {"type": "scene"}
    surfaces: dict[int, Any] = {}
    sizes: Counter[int] = Counter()
    for number, shape in enumerate(shapes):
        key = id(shape.material)
        if key not in surfaces:
            surfaces[key] = mi.load_dict(surface(mi, shape.material))
            sizes[texels(shape.material)] += 1
        objects[f"shape{number}"] = mesh(mi, shape.vertices, shape.faces, {"bsdf": surfaces[key]}, shape)
    housing = mi.load_dict({"type": "diffuse", "reflectance": {"type": "rgb", "value": 0.0}})
    objects |= _fillers(mi, shapes, sizes, housing)
    for number, light in enumerate(scene.lights):
        objects[f"light{number}"] = _light(mi, light, housing)
    if scene.environment is not None:
        objects["sky"] = _sky(mi, scene.environment)
    return mi.load_dict(objects, optimize=False)


def _fillers(mi: ModuleType, shapes: Sequence[Shape], sizes: Counter[int], spare: Any) -> Description:
    """Triangles without extent, of blank material: as many as are missing from full numbers of shapes and surfaces."""
    surfaces = [
        mi.load_dict(surface(mi, Material(), size)) for size in sorted(sizes) for _ in range(-sizes[size] % _FILL[size])
    ]
    count = len(surfaces) + -(len(shapes) + len(surfaces)) % _FILL[_SIZES[0]]
    first = shapes[0]
    corners = np.repeat(first.vertices[:1], 3, axis=0), np.array([[0, 1, 2]])
    nothing = replace(first, normals=np.repeat(first.normals[:1], 3, axis=0), uv=np.repeat(first.uv[:1], 3, axis=0))
    return {
        f"filler{n}": mesh(mi, *corners, {"bsdf": surfaces[n] if n < len(surfaces) else spare}, nothing)
        for n in range(count)
    }


def mesh(
    mi: ModuleType, vertices: np.ndarray, faces: np.ndarray, holds: Mapping[str, Any], shape: Shape | None = None
) -> Any:
    """A Mitsuba mesh; with the normals and uv of `shape` where there is one."""
    properties = mi.Properties()
    for name, value in holds.items():
        properties[name] = value
    smooth = shape is not None
    made = mi.Mesh("mesh", len(vertices), len(faces), properties, smooth, smooth)
    data = mi.traverse(made)
    data["vertex_positions"] = np.ascontiguousarray(vertices, np.float32).ravel()
    data["faces"] = np.ascontiguousarray(faces, np.uint32).ravel()
    if shape is not None:
        data["vertex_normals"] = np.ascontiguousarray(shape.normals, np.float32).ravel()
        data["vertex_texcoords"] = np.ascontiguousarray(shape.uv, np.float32).ravel()
    data.update()
    return made


def surface(mi: ModuleType, material: Material, size: int = 0) -> Description:
    """Mitsuba's principled surface under a bump map, its textures `size` texels wide, or as wide as they need."""
    size = size or texels(material)
    color = np.array(material.base_color, np.float32)[None, None] if material.color_map is None else material.color_map
    made: Description = {
        "type": "principled",
        "base_color": _sized(mi, color, size),
        "roughness": _sized(mi, _values(material.roughness_map, max(material.roughness, 0.02)), size),
        "metallic": _sized(mi, _values(material.metallic_map, material.metallic), size),
        "eta": max(material.ior, 1.001),
        # what is 0 would be left out of the kernel, and another kernel made
        "anisotropic": max(material.anisotropy, _NEXT_TO_NOTHING),
        "clearcoat": max(material.clearcoat, _NEXT_TO_NOTHING),
        "clearcoat_gloss": clearcoat_gloss(material.clearcoat_roughness),
    }
    if material.transmission:
        made["spec_trans"] = material.transmission
    relief = _sized(mi, _values(material.height_map_mm, 0.0), size)
    made = {"type": "bumpmap", "relief": relief, "scale": 1.0, "surface": made}
    return made if material.transmission else {"type": "twosided", "surface": made}


def texels(material: Material) -> int:
    """Width of its textures: of two sizes the one that keeps what is in them."""
    maps = (material.color_map, material.roughness_map, material.metallic_map, material.height_map_mm)
    widest = max((max(m.shape[:2]) for m in maps if m is not None), default=0)
    return _SIZES[0] if widest <= _SIZES[0] else _SIZES[1]


def _values(texture: np.ndarray | None, number: float) -> np.ndarray:
    return np.full((1, 1), number, np.float32) if texture is None else texture


def _sized(mi: ModuleType, values: np.ndarray, size: int) -> Description:
    """As a texture of (size, size) texels."""
    if values.shape[:2] == (1, 1):
        return texture(mi, _even(tuple(values.ravel().tolist()), size))
    return texture(mi, values if values.shape[:2] == (size, size) else resized(values, size))


@lru_cache(maxsize=32)
def _even(value: tuple[float, ...], size: int) -> np.ndarray:
    """The same value all over; kept, as most surfaces are even in most of what they are."""
    return np.ascontiguousarray(np.broadcast_to(np.array(value, np.float32), (size, size, len(value))))


def resized(values: np.ndarray, size: int) -> np.ndarray:
    """One period of a texture (h, w[, C]) with (size, size) texels; it still goes on beyond its edges."""
    values = np.ascontiguousarray(values, np.float32)
    height, width = values.shape[:2]
    if height % size == 0 and width % size == 0:
        return cv2.resize(values, (size, size), interpolation=cv2.INTER_AREA)
    x, y = (((np.arange(size) + 0.5) * n / size - 0.5).astype(np.float32) for n in (width, height))
    column, row = np.meshgrid(x, y)
    return cv2.remap(values, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def clearcoat_gloss(roughness: float) -> float:
    """Mitsuba's coat has a width of 0.1 … 0.001 by its gloss; ours is roughness²."""
    return min(max((0.1 - roughness**2) / 0.099, 0.0), 1.0)


def texture(mi: ModuleType, values: np.ndarray) -> Description:
    """Values over one period, linear, row 0 at v = 0 (for data given as a tensor Mitsuba turns nothing round)."""
    data = np.ascontiguousarray(values, np.float32)
    data = data[..., None] if data.ndim == 2 else data
    return {"type": "bitmap", "data": mi.TensorXf(data), "raw": True, "wrap_mode": "repeat"}


def sensor(mi: ModuleType, camera: Camera, spp: int) -> Any:
    """A pinhole or thin-lens camera; its pixels must be square, as `synth.lens.ideal` makes them.

    The box filter keeps each path's noise in its pixel: a wider one defeats denoising.
    """
    film: Description = {
        "type": "hdrfilm",
        "width": camera.width,
        "height": camera.height,
        "pixel_format": "rgb",
        "component_format": "float32",
        "rfilter": {"type": "box"},
    }
    made: Description = {"near_clip": 0.1, "far_clip": 1e6, "fov_axis": "x", "film": film}
    # halves the error of independent samples at the same cost (docs/render.md)
    made["sampler"] = {"type": "multijitter", "sample_count": spp}
    lens = _thin_lens(camera, film) if camera.lens_radius_mm > 0 else _pinhole(camera)
    made |= lens | {"to_world": mi.ScalarTransform4f(lens["to_world"] @ _CV_FROM_MITSUBA)}
    return mi.load_dict(made)


def _pinhole(camera: Camera) -> Description:
    return {
        "type": "perspective",
        "fov": _degrees(camera.width, camera.k[0, 0]),
        "principal_point_offset_x": 0.5 - camera.k[0, 2] / camera.width,
        "principal_point_offset_y": 0.5 - camera.k[1, 2] / camera.height,
        "to_world": np.linalg.inv(camera.camera_from_world),
    }


def _thin_lens(camera: Camera, film: Description) -> Description:
    """Mitsuba's lens sits over the middle of its film: the film is enlarged and cropped to half a pixel.

    What remains of the principal point, at most 1/4 pixel, is a turn of the camera. (Mitsuba refuses a shear.)
    """
    towards = np.array([0.0, 0.0, 1.0])
    for axis, side in enumerate(("width", "height")):
        size, place = film[side], camera.k[axis, 2]
        half = round(2 * place) / 2
        film[side] = max(int(max(2 * half, 2 * (size - half))), 1)
        film[f"crop_{side}"] = size
        film[f"crop_offset_{'xy'[axis]}"] = int(film[side] / 2 - half)
        towards[axis] = (place - half) / camera.k[0, 0]
    return {
        "type": "thinlens",
        "fov": _degrees(film["width"], camera.k[0, 0]),
        "aperture_radius": camera.lens_radius_mm,
        "focus_distance": camera.focus_mm,
        "to_world": np.linalg.inv(camera.camera_from_world) @ _turn(-towards[0], -towards[1]),
    }


def _turn(right: float, down: float) -> np.ndarray:
    """4 × 4 for a small turn that moves the optical axis by (right, down) at distance 1."""
    z = np.array([right, down, 1.0])
    z /= np.linalg.norm(z)
    x = np.cross([0.0, 1.0, 0.0], z)
    x /= np.linalg.norm(x)
    turn = np.eye(4)
    turn[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    return turn


def _degrees(width: int, focal_px: float) -> float:
    return math.degrees(2 * math.atan(width / (2 * focal_px)))


def _light(mi: ModuleType, light: MeshLight | SpotLight, housing: Any) -> Any:
    if isinstance(light, SpotLight):
        return mi.load_dict(_spot(mi, light))
    holds = {
        "emitter": mi.load_dict({"type": "area", "radiance": {"type": "rgb", "value": list(light.radiance)}}),
        "bsdf": housing,
    }
    return mesh(mi, light.vertices, light.faces, holds)


def _spot(mi: ModuleType, light: SpotLight) -> Description:
    """Mitsuba's spot with the profile projected as an image, so that every profile is possible."""
    degrees = math.degrees(light.cutoff_rad)
    return {
        "type": "spot",
        "to_world": mi.ScalarTransform4f(light.world_from_light),
        "intensity": {"type": "rgb", "value": list(light.intensity)},
        "cutoff_angle": degrees,
        "beam_width": degrees,
        "texture": texture(mi, np.repeat(spot_image(light)[..., None], 3, axis=2)),
    }


def spot_image(light: SpotLight) -> np.ndarray:
    """(N, N) relative intensity over the plane at distance 1, as wide as the cone."""
    edge = math.tan(light.cutoff_rad)
    x = (np.arange(_SPOT_PIXELS) + 0.5) / _SPOT_PIXELS * 2 - 1
    angle = np.arctan(np.hypot(x[:, None], x[None, :]) * edge)
    return np.interp(angle, *profile(light), right=0.0).astype(np.float32)


def profile(light: SpotLight) -> tuple[np.ndarray, np.ndarray]:
    """Angles (rad) and relative intensities; without a measured profile linear from the beam's to the cone's edge."""
    if light.profile is not None:
        return np.linspace(0, light.cutoff_rad, len(light.profile)), np.asarray(light.profile, np.float64)
    soft = max(light.cutoff_rad - light.beam_rad, 1e-6)
    angles = np.linspace(0, light.cutoff_rad, 256)
    return angles, np.clip((light.cutoff_rad - angles) / soft, 0, 1)


def _sky(mi: ModuleType, environment: Environment) -> Description:
    radiance = np.ascontiguousarray(environment.radiance, np.float32)
    if radiance.shape[:2] == (1, 1):
        return {"type": "constant", "radiance": {"type": "rgb", "value": radiance[0, 0].tolist()}}
    turn = mi.ScalarTransform4f().rotate([0, 0, 1], math.degrees(environment.yaw_rad))
    return {
        "type": "envmap",
        "bitmap": mi.Bitmap(radiance),
        "to_world": turn @ mi.ScalarTransform4f(_WORLD_FROM_SKY),
    }
