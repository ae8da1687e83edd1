"""Rendering with Mitsuba 3: a path tracer for the image, rays of our own for the labels, the two never nested."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from flawsmith.synth.render.build import build, sensor
from flawsmith.synth.render.check import check
from flawsmith.synth.render.denoise import denoise
from flawsmith.synth.render.labels import all_shapes, label
from flawsmith.synth.render.settings import RenderSettings
from flawsmith.synth.render.variant import start
from flawsmith.synth.scene import Camera, Rendering, Scene, Shape


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
        world = build(mi, scene, drawn)
    with clock.phase("sample"):
        rgb = _paths(mi, world, scene.camera, settings, scene.seed)
    with clock.phase("label"):
        labels = label(scene, drawn[len(scene.stage) :], settings=settings)
    if settings.denoise:
        with clock.phase("denoise"):
            albedo, normal = _guides(mi, world, scene.camera, settings, scene.seed)
            rgb = denoise(rgb, albedo, normal)
    return Rendering(
        rgb, labels.coverage, labels.instance, labels.depth_mm, labels.normal, labels.visible, clock.seconds
    )


def _paths(mi: ModuleType, world: Any, camera: Camera, settings: RenderSettings, seed: int) -> np.ndarray:
    """(H, W, 3) radiance."""
    integrator = mi.load_dict({"type": "path", "max_depth": settings.bounces + 1, "rr_depth": settings.bounces + 2})
    image = mi.render(
        world, sensor=sensor(mi, camera, settings.spp), integrator=integrator, spp=settings.spp, seed=_seed(seed)
    )
    return np.array(image, np.float32)


def _guides(
    mi: ModuleType, world: Any, camera: Camera, settings: RenderSettings, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Albedo and shading normal, each (H, W, 3), over the same subpixel places as the paths."""
    integrator = mi.load_dict({"type": "aov", "aovs": "albedo:albedo,normal:sh_normal"})
    image = mi.render(
        world, sensor=sensor(mi, camera, settings.spp), integrator=integrator, spp=settings.spp, seed=_seed(seed)
    )
    values = np.array(image, np.float32)
    return values[..., -6:-3], values[..., -3:]


def _seed(seed: int) -> int:
    return int(np.random.SeedSequence(seed).generate_state(1)[0])
