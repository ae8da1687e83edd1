"""Rendering with Mitsuba 3: a path tracer for the image, rays of our own for the labels, the two never nested."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from flawsmith.synth.render.build import build
from flawsmith.synth.render.check import check
from flawsmith.synth.render.denoise import denoise, surroundings
from flawsmith.synth.render.labels import all_shapes, label, solid
from flawsmith.synth.render.paths import trace, trace_tiles
from flawsmith.synth.render.restore import restore
from flawsmith.synth.render.settings import RenderSettings
from flawsmith.synth.render.variant import start
from flawsmith.synth.scene import Camera, Rendering, Scene, Shape

_TILE, _APRON = 32, 6  # px; the apron gives the denoiser something beyond the tile's edge
_MARGIN = 5  # px round a defect
_GUIDES = {"type": "aov", "aovs": "albedo:albedo,normal:sh_normal"}


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
        rgb = trace(mi, world, _paths(settings), scene.camera, settings.spp, _seed([scene.seed]))
    with clock.phase("label"):
        labels = label(scene, drawn[len(scene.stage) :], settings=settings)
    if settings.denoise:
        with clock.phase("denoise"):
            spp = max(settings.spp // 2, 1)  # 1 % more error, half of the guides' time
            guides = trace(mi, world, _GUIDES, scene.camera, spp, _seed([scene.seed]))
            rgb = denoise(rgb, guides[..., :3], guides[..., 3:])
        if settings.keep_flaws > 1 or settings.denoise_flaws < 1:
            rgb = _with_flaws(mi, world, scene, settings, rgb, labels.coverage, clock)
    return Rendering(
        rgb, labels.coverage, labels.instance, labels.depth_mm, labels.normal, labels.visible, clock.seconds
    )


def _paths(settings: RenderSettings) -> dict[str, Any]:
    """The integrator of the image."""
    # Russian roulette from the second surface on costs 7 % more error and saves 25 % of the time; it adds no bias
    return {"type": "path", "max_depth": settings.bounces + 1, "rr_depth": 2}


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
    if not tiles:
        return rgb
    seed, spp = _seed([scene.seed, 1]), settings.spp * _affordable(settings, scene.camera, len(tiles))
    corners, size = [(x - _APRON, y - _APRON) for x, y in tiles], _TILE + 2 * _APRON
    with clock.phase("sample"):
        traced = trace_tiles(mi, world, _paths(settings), scene.camera, corners, size, spp, seed)
    with clock.phase("denoise"):
        guides = trace_tiles(mi, world, _GUIDES, scene.camera, corners, size, settings.spp, seed)
        smooth = [
            restore(denoise(tile, albedo, normal, quality="high"), tile, albedo, normal, cover)
            for tile, albedo, normal, cover in zip(
                traced,
                (guide[..., :3] for guide in guides),
                (guide[..., 3:] for guide in guides),
                _cut(coverage, corners, size),
                strict=True,
            )
        ]
    for (x, y), tile, clean in zip(tiles, traced, smooth, strict=True):
        rows, columns = slice(y, y + _TILE), slice(x, x + _TILE)
        share = weight[rows, columns, None]
        height, width = share.shape[:2]
        mixed = (tile + (clean - tile) * np.float32(settings.denoise_flaws))[_APRON:, _APRON:]
        rgb[rows, columns] += (mixed[:height, :width] - rgb[rows, columns]) * share
    return rgb


def _cut(coverage: np.ndarray, corners: list[tuple[int, int]], size: int) -> Iterator[np.ndarray]:
    """(size, size) shares of the pixels that any defect covers, 0 beyond the image."""
    whole = np.pad(coverage.max(0), ((_APRON, size), (_APRON, size)))
    for x, y in corners:
        yield whole[y + _APRON :, x + _APRON :][:size, :size]


def _affordable(settings: RenderSettings, camera: Camera, tiles: int) -> int:
    """How many times `spp` the tiles get: the largest power of two at a quarter of the image's paths.

    Large flaws need it less than fine ones. Powers of two, because each number of paths is a kernel to compile.
    """
    room = 0.25 * camera.width * camera.height / max(tiles * (_TILE + 2 * _APRON) ** 2, 1)
    return 2 ** int(np.log2(np.clip(room, 1, settings.keep_flaws)))


def _tiles(weight: np.ndarray) -> Iterator[tuple[int, int]]:
    """Corners (x, y) of the tiles of a grid that hold any weight."""
    for y in range(0, weight.shape[0], _TILE):
        for x in range(0, weight.shape[1], _TILE):
            if weight[y : y + _TILE, x : x + _TILE].any():
                yield x, y


def _seed(places: list[int]) -> int:
    return int(np.random.SeedSequence(places).generate_state(1)[0])
