"""Rendering with Mitsuba 3: a path tracer for the image, rays of our own for the labels, the two never nested."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import numpy as np

from flawsmith.synth.render.build import build, sensor
from flawsmith.synth.render.check import check
from flawsmith.synth.render.denoise import denoise, surroundings
from flawsmith.synth.render.labels import all_shapes, label, solid
from flawsmith.synth.render.settings import RenderSettings
from flawsmith.synth.render.variant import start
from flawsmith.synth.scene import Camera, Rendering, Scene, Shape

_TILE, _APRON = 48, 8  # px; the apron gives the denoiser something beyond the tile's edge
_MARGIN = 5  # px round a defect


@dataclass
class Clock:
    """CPU seconds of the whole process by phase."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = time.process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - began


def render_mitsuba(scene: Scene, settings: RenderSettings, shapes: Sequence[Shape] | None = None) -> Rendering:
    """The scene as Mitsuba sees it. The same scene and settings give the same bytes in every process, on one variant.

    Raises `DataError` for what cannot be drawn, `EnvironmentFault` where Mitsuba is missing.
    """
    clock = Clock()
    mi = start(settings)
    with clock.phase("build"):
        drawn = all_shapes(scene, shapes)
        check(scene, drawn)
        world = build(mi, scene, solid(drawn))
    with clock.phase("sample"):
        rgb = _paths(mi, world, scene.camera, settings, _seed([scene.seed]))
    with clock.phase("label"):
        labels = label(scene, drawn[len(scene.stage) :], settings=settings)
    if settings.denoise:
        with clock.phase("denoise"):
            rgb = denoise(rgb, *_guides(mi, world, scene.camera, settings.spp, _seed([scene.seed])))
        if settings.keep_flaws > 1 or settings.denoise_flaws < 1:
            rgb = _with_flaws(mi, world, scene, settings, rgb, labels.coverage, clock)
    return Rendering(
        rgb, labels.coverage, labels.instance, labels.depth_mm, labels.normal, labels.visible, clock.seconds
    )


def _paths(mi: ModuleType, world: Any, camera: Camera, settings: RenderSettings, seed: int) -> np.ndarray:
    """(H, W, 3) radiance."""
    # Russian roulette from the second surface on costs 7 % more error and saves 25 % of the time; it adds no bias
    integrator = mi.load_dict({"type": "path", "max_depth": settings.bounces + 1, "rr_depth": 2})
    image = mi.render(
        world, sensor=sensor(mi, camera, settings.spp), integrator=integrator, spp=settings.spp, seed=seed
    )
    return np.array(image, np.float32)


def _with_flaws(
    mi: ModuleType,
    world: Any,
    scene: Scene,
    settings: RenderSettings,
    rgb: np.ndarray,
    coverage: np.ndarray,
    clock: Clock,
) -> np.ndarray:
    """The image with the surroundings of each defect traced with more paths, tile by tile, and blended in."""
    rgb, weight = rgb.copy(), surroundings(coverage, _MARGIN)
    tiles = list(_tiles(weight))
    finer = settings.model_copy(update={"spp": settings.spp * _affordable(settings, scene.camera, len(tiles))})
    for number, (x, y) in enumerate(tiles):
        camera = window(scene.camera, x - _APRON, y - _APRON, _TILE + 2 * _APRON)
        seed = _seed([scene.seed, number + 1])
        with clock.phase("sample"):
            tile = _paths(mi, world, camera, finer, seed)
        with clock.phase("denoise"):
            smooth = denoise(tile, *_guides(mi, world, camera, settings.spp, seed), quality="high")
        tile += (smooth - tile) * np.float32(settings.denoise_flaws)
        rows, columns = slice(y, y + _TILE), slice(x, x + _TILE)
        share = weight[rows, columns, None]
        height, width = share.shape[:2]
        rgb[rows, columns] += (tile[_APRON : _APRON + height, _APRON : _APRON + width] - rgb[rows, columns]) * share
    return rgb


def _affordable(settings: RenderSettings, camera: Camera, tiles: int) -> int:
    """How many times `spp` the tiles get: the largest power of two that costs at most half of the image's own paths.

    Large flaws need it less than fine ones. Powers of two, because each number of paths is a kernel to compile.
    """
    room = 0.5 * camera.width * camera.height / max(tiles * (_TILE + 2 * _APRON) ** 2, 1)
    return 2 ** int(np.log2(np.clip(room, 1, settings.keep_flaws)))


def _tiles(weight: np.ndarray) -> Iterator[tuple[int, int]]:
    """Corners (x, y) of the tiles of a grid that hold any weight."""
    for y in range(0, weight.shape[0], _TILE):
        for x in range(0, weight.shape[1], _TILE):
            if weight[y : y + _TILE, x : x + _TILE].any():
                yield x, y


def window(camera: Camera, x: int, y: int, size: int) -> Camera:
    """The camera of a square cut-out, also one that reaches over the edge. One size: one compiled kernel."""
    k = camera.k.copy()
    k[:2, 2] -= x, y
    return replace(camera, width=size, height=size, k=k)


def _guides(mi: ModuleType, world: Any, camera: Camera, spp: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Albedo and shading normal, each (H, W, 3), over the same subpixel places as the paths."""
    integrator = mi.load_dict({"type": "aov", "aovs": "albedo:albedo,normal:sh_normal"})
    image = mi.render(world, sensor=sensor(mi, camera, spp), integrator=integrator, spp=spp, seed=seed)
    values = np.array(image, np.float32)
    return values[..., -6:-3], values[..., -3:]


def _seed(places: list[int]) -> int:
    return int(np.random.SeedSequence(places).generate_state(1)[0])
