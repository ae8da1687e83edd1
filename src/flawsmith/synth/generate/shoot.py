"""One view of a flawed scene: drawn, looked at cheaply, rid of what cannot be seen, rendered, compared with its twin.

A view that shows no part or no defect is drawn again, as another scene of the same camera. A defect that is seen too
little is taken off the part and the geometry built anew, so that an image never holds a flaw that its label leaves out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from flawsmith.core.errors import DataError
from flawsmith.core.geometry import mask_box
from flawsmith.synth.assets import Assets
from flawsmith.synth.camera import camera_names
from flawsmith.synth.draw import draw_scene
from flawsmith.synth.render import RenderSettings, render
from flawsmith.synth.scene import Camera, Rendering, Scene
from flawsmith.synth.sensor import distort, ideal
from flawsmith.synth.spec import SceneSpec

TRIES = 25  # views of one image before it is given up
_SCENES_APART = 1_000_000_000  # between the number of a scene and that of its next try
_GLANCE = 0.5  # of the resolution, for the look beforehand
_CROP_PX = 8  # round the defects, rendered without them


@dataclass(frozen=True, eq=False)
class View:
    """A scene and its rendering through the lens, before the sensor. `contrast` of each defect, 0 … 1 of full scale."""

    scene: Scene
    rendering: Rendering
    contrast: np.ndarray
    attempt: int = 0
    removed: int = 0  # defects taken off, as seen too little


@dataclass(frozen=True, eq=False)
class Studio:
    """What every view is made with."""

    spec: SceneSpec
    assets: Assets
    seed: int
    renderer: str
    settings: RenderSettings
    scale: float = 1.0  # of the resolution, for previews

    def draw(self, index: int, attempt: int, healthy: bool) -> Scene:
        """The scene of a try. Later tries are other scenes by the same camera."""
        images = len(camera_names(self.spec.cameras)) * (2 if self.spec.pairs else 1)
        scene = draw_scene(self.spec, self.assets, self.seed, index + attempt * _SCENES_APART * images, healthy)
        return scene if self.scale == 1 else replace(scene, camera=_scaled(scene.camera, self.scale))

    def render(self, scene: Scene) -> Rendering:
        return render(scene, self.settings, self.renderer)


def flawed_view(studio: Studio, index: int) -> View:
    """The first try that shows a defect well enough. Raises `DataError` after `TRIES` that do not."""
    for attempt in range(TRIES):
        scene = studio.draw(index, attempt, healthy=False)
        found = _seen_defects(studio, scene)
        if found is None:
            continue
        view = _rendered(studio, scene, found, attempt)
        if view is not None:
            return view
    raise DataError(
        f"image {index}: none of {TRIES} views shows a defect well enough: aim the camera at the part, make defects "
        "larger or more frequent, or lower visible.least_fraction, least_px or least_contrast"
    )


def healthy_view(studio: Studio, index: int, attempt: int | None = None) -> View:
    """The scene without defects: as drawn at `attempt`, or the first try that shows a part."""
    for number in range(TRIES) if attempt is None else [attempt]:
        scene = studio.draw(index, number, healthy=True)
        rendered = replace(scene, camera=ideal(scene.camera))
        if attempt is None and not _shows_part(studio, _glance(studio, rendered)[0], _GLANCE):
            continue
        rendering = distort(studio.render(rendered), rendered.camera, scene.camera)
        return View(scene, rendering, np.zeros(0), number)
    raise DataError(f"image {index}: none of {TRIES} views shows a part: aim the camera at it, or place it nearer")


def without(scene: Scene, gone: Sequence[int]) -> Scene:
    """The scene less the defects of these numbers (0 is the first); the others move up."""
    number, instances = 0, []
    for instance in scene.instances:
        kept = [d for k, d in enumerate(instance.defects, start=number) if k not in gone]
        number += len(instance.defects)
        instances.append(replace(instance, defects=tuple(kept)))
    return replace(scene, instances=tuple(instances))


def masks(scene: Scene, rendering: Rendering) -> list[np.ndarray]:
    """Bool (H, W) of each defect: pixels that it covers by half or more, and that show its part."""
    owners = [n for n, instance in enumerate(scene.instances, start=1) for _ in instance.defects]
    return [(plane >= 0.5) & (rendering.instance == n) for plane, n in zip(rendering.coverage, owners, strict=True)]


def _faulty(scene: Scene) -> bool:
    """Whether a whole part is at fault: labelled for the image, with no region of its own."""
    return any(instance.faults for instance in scene.instances)


def _seen_defects(studio: Studio, scene: Scene) -> list[int] | None:
    """Numbers of the defects to take off after a cheap look; None where no part or no defect is left to see."""
    count = sum(len(instance.defects) for instance in scene.instances)
    look = replace(scene, camera=ideal(scene.camera))
    instance, coverage, visible = _glance(studio, look)
    if not _shows_part(studio, instance, _GLANCE):
        return None
    least = studio.spec.visible
    area = coverage.sum((1, 2)) / _GLANCE**2 if count else np.zeros(0)
    gone = [k for k in range(count) if visible[k] < least.least_fraction or area[k] < least.least_px]
    return gone if len(gone) < count or _faulty(scene) else None


def _glance(studio: Studio, scene: Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Instance, coverage and visible share at a part of the resolution; no light is traced."""
    if studio.renderer == "relief":
        from flawsmith.synth.render.relief import relief_labels

        seen = relief_labels(replace(scene, camera=_scaled(scene.camera, _GLANCE)))
    else:
        from flawsmith.synth.render.labels import label

        seen = label(scene, supersample=2, scale=_GLANCE, settings=studio.settings)
    return seen.instance, seen.coverage, seen.visible


def _shows_part(studio: Studio, instance: np.ndarray, scale: float) -> bool:
    return int((instance > 0).sum()) >= studio.spec.visible.least_part_px * studio.scale**2 * scale**2


def _rendered(studio: Studio, scene: Scene, gone: list[int], attempt: int) -> View | None:
    """The view once all its defects can be seen in the finished image; None where none can."""
    removed = 0
    while True:
        removed += len(gone)
        scene = without(scene, gone)
        if not any(instance.defects for instance in scene.instances) and not _faulty(scene):
            return None
        rendered = replace(scene, camera=ideal(scene.camera))
        rendering = studio.render(rendered)
        contrast = _contrast(studio, rendered, rendering)
        seen = distort(rendering, rendered.camera, scene.camera)
        area = np.array([mask.sum() for mask in masks(scene, seen)])
        least = studio.spec.visible
        least_px = max(least.least_px * studio.scale**2, 1)
        faint = (contrast < least.least_contrast) | (area < least_px) | (seen.visible < least.least_fraction)
        gone = [int(k) for k in np.flatnonzero(faint)]
        if not gone:
            return View(scene, seen, contrast, attempt, removed)


def _contrast(studio: Studio, scene: Scene, rendering: Rendering) -> np.ndarray:
    """Mean difference from the same crop without defects, beyond what noise alone makes of it nearby."""
    box = mask_box(np.any(rendering.coverage > 0, axis=0))
    if box is None:
        return np.zeros(len(rendering.coverage))
    x0, y0 = max(box[0] - _CROP_PX, 0), max(box[1] - _CROP_PX, 0)
    x1, y1 = min(box[2] + _CROP_PX, scene.camera.width), min(box[3] + _CROP_PX, scene.camera.height)
    every = range(sum(len(instance.defects) for instance in scene.instances))
    twin = studio.render(replace(without(scene, every), camera=cropped(scene.camera, (x0, y0, x1, y1))))
    shown, bare = (_level(rgb, scene) for rgb in (rendering.rgb[y0:y1, x0:x1], twin.rgb))
    change, coverage = np.abs(shown - bare), rendering.coverage[:, y0:y1, x0:x1]
    beside = (coverage < 0.01).all(0)
    noise = float(change[beside].mean()) if beside.any() else 0.0
    masks = coverage >= 0.5
    return np.array([max(float(change[m].mean()) - noise, 0.0) if m.any() else 0.0 for m in masks])


def _level(rgb: np.ndarray, scene: Scene) -> np.ndarray:
    """Share of full scale, as the sensor would see it without noise."""
    light = np.clip(rgb * scene.camera.exposure, 0, 1) ** (1 / scene.sensor.gamma)
    return light.mean(2)


def cropped(camera: Camera, box: tuple[int, int, int, int]) -> Camera:
    """The same camera with only the pixels of `box`."""
    k = camera.k.copy()
    k[:2, 2] -= box[:2]
    return replace(camera, width=box[2] - box[0], height=box[3] - box[1], k=k)


def _scaled(camera: Camera, scale: float) -> Camera:
    from flawsmith.synth.render.labels import scaled

    return scaled(camera, scale)
