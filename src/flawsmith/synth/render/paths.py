"""Rays of our own camera through a Mitsuba integrator.

Mitsuba compiles a kernel for each scene whose numbers differ where they are written into the code: the camera's, the
film's. That takes seconds, more than the image. Here the camera is data, and `build` makes all scenes alike, so that
one kernel serves every image, camera and tile of one number of paths.
"""

from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np

from flawsmith.synth.render.build import sensor
from flawsmith.synth.scene import Camera

_RAYS_AT_ONCE = 1 << 23


def trace(mi: ModuleType, world: Any, integrator: dict[str, Any], camera: Camera, spp: int, seed: int) -> np.ndarray:
    """(H, W, C) float32 means over `spp` rays a pixel: radiance, or what an "aov" integrator gives after it.

    spp: rounded up to a grid of places within the pixel. The same seed sends the same rays, whatever the integrator
    """
    made = mi.load_dict(integrator)
    if mi.variant().startswith("scalar"):
        image = mi.render(world, sensor=sensor(mi, camera, spp), integrator=made, spp=spp, seed=seed)
        values = np.array(image, np.float32)
        return values if values.shape[2] == 3 else values[..., 3:]
    pixels = np.arange(camera.height * camera.width)
    values = _means(mi, world, made, camera, (pixels % camera.width, pixels // camera.width), spp, seed)
    return values.reshape(camera.height, camera.width, -1)


def trace_tiles(
    mi: ModuleType,
    world: Any,
    integrator: dict[str, Any],
    camera: Camera,
    corners: Sequence[tuple[int, int]],
    size: int,
    spp: int,
    seed: int,
) -> list[np.ndarray]:
    """As `trace`, of squares (size, size, C) with their top left pixels at `corners` (x, y), also beyond the image."""
    if mi.variant().startswith("scalar"):
        cameras = [window(camera, x, y, size) for x, y in corners]
        return [trace(mi, world, integrator, one, spp, _seed(seed, n)) for n, one in enumerate(cameras, start=1)]
    pixels = np.arange(size * size)
    x = np.concatenate([corner[0] + pixels % size for corner in corners])
    y = np.concatenate([corner[1] + pixels // size for corner in corners])
    values = _means(mi, world, mi.load_dict(integrator), camera, (x, y), spp, seed)
    return list(values.reshape(len(corners), size, size, -1))


def window(camera: Camera, x: int, y: int, size: int) -> Camera:
    """The camera of a square cut-out, also one that reaches over the edge."""
    k = camera.k.copy()
    k[:2, 2] -= x, y
    return replace(camera, width=size, height=size, k=k)


def _means(
    mi: ModuleType,
    world: Any,
    integrator: Any,
    camera: Camera,
    pixels: tuple[np.ndarray, np.ndarray],
    spp: int,
    seed: int,
) -> np.ndarray:
    """(N, C) of the pixels at columns and rows (N,), in pieces that fit in memory."""
    spp = mi.load_dict({"type": "multijitter", "sample_count": spp}).sample_count()
    step = max(_RAYS_AT_ONCE // spp, 1)
    pieces = []
    for start in range(0, len(pixels[0]), step):
        x, y = (axis[start : start + step] for axis in pixels)
        pieces.append(_piece(mi, world, integrator, camera, (x, y), spp, _seed(seed, start)))
    return np.concatenate(pieces)


def _piece(
    mi: ModuleType,
    world: Any,
    integrator: Any,
    camera: Camera,
    pixels: tuple[np.ndarray, np.ndarray],
    spp: int,
    seed: int,
) -> np.ndarray:
    import drjit as dr

    count = len(pixels[0]) * spp
    sampler = mi.load_dict({"type": "multijitter", "sample_count": spp})
    sampler.set_samples_per_wavefront(spp)
    sampler.seed(seed, count)
    pixel = dr.arange(mi.UInt32, count) // dr.opaque(mi.UInt32, spp)
    x, y = (dr.gather(mi.Float, mi.Float(np.ascontiguousarray(axis, np.float32)), pixel) for axis in pixels)
    within = sampler.next_2d()
    rays = _rays(mi, camera, mi.Point2f(x + within.x, y + within.y), sampler.next_2d())
    radiance, _, values = integrator.sample(world, sampler, rays)
    channels = [mi.Float(value) + dr.zeros(mi.Float, count) for value in values or radiance]
    dr.eval(channels)
    return np.stack([np.array(dr.block_sum(channel, spp), np.float32) / spp for channel in channels], axis=1)


def _rays(mi: ModuleType, camera: Camera, at: Any, on_lens: Any) -> Any:
    """From points of the lens through the sharp plane's image of `at`, pixels."""
    import drjit as dr

    def data(matrix: np.ndarray) -> list[list[Any]]:
        return [[dr.opaque(mi.Float, float(value)) for value in row] for row in matrix]

    k, pose = data(np.linalg.inv(camera.k)), data(np.linalg.inv(camera.camera_from_world)[:3])
    focus, radius = dr.opaque(mi.Float, camera.focus_mm), dr.opaque(mi.Float, camera.lens_radius_mm)
    lens = mi.warp.square_to_uniform_disk_concentric(on_lens) * radius
    sharp = [(row[0] * at.x + row[1] * at.y + row[2]) * focus for row in k]
    towards = dr.normalize(mi.Vector3f(sharp[0] - lens.x, sharp[1] - lens.y, sharp[2]))
    turned = [row[0] * towards.x + row[1] * towards.y + row[2] * towards.z for row in pose]
    start = [row[0] * lens.x + row[1] * lens.y + row[3] for row in pose]
    return mi.RayDifferential3f(mi.Ray3f(mi.Point3f(*start), mi.Vector3f(*turned)))


def _seed(seed: int, piece: int) -> int:
    return seed if piece == 0 else int(np.random.SeedSequence([seed, piece]).generate_state(1)[0])
