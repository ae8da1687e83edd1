"""One view of a flawed scene: drawn, looked at cheaply, rid of what cannot be seen, rendered, compared with its twin.

A view that shows no part or no defect is drawn again, as another scene of the same camera. A defect that is seen too
little is taken off the part and the geometry built anew, so that an image never holds a flaw that its label leaves out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from flawsmith.core.errors import DataError
from flawsmith.core.geometry import mask_box
from flawsmith.synth.assets import Assets
from flawsmith.synth.camera import camera_names
from flawsmith.synth.distribution import NoRoomError
from flawsmith.synth.draw import TEXELS_PER_PX, draw_scene
from flawsmith.synth.lens import distort, ideal
from flawsmith.synth.render import RenderSettings, render
from flawsmith.synth.scene import Camera, Rendering, Scene, Shape
from flawsmith.synth.spec import SceneSpec

TRIES = 25  # views of one image before it is given up
_HOPELESS = 5  # of them without room for what is drawn
_SCENES_APART = 1_000_000_000  # between the number of a scene and that of its next try
_WINDOW_PX = 96  # a defect is compared with its absence in a square of this size: one size, one compiled kernel
_SMALL_PX = 288  # a whole image up to this size costs less than the windows of two defects
_MARGIN_PX = 8  # round the defect, in the window
_WINDOW_SPP = 16
_LEFT = 0.5  # a defect of which shrinking leaves less is thin
_TEXELS_PER_PX = {"relief": 1.25}  # relief averages over pixels by itself


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
    scale: float = 1.0  # of the resolution; less is a preview, in which contrast is not judged

    def draw(self, index: int, attempt: int, healthy: bool) -> Scene:
        """The scene of a try. Later tries are other scenes by the same camera."""
        images = len(camera_names(self.spec.cameras)) * (2 if self.spec.pairs else 1)
        number = index + attempt * _SCENES_APART * images
        texels = _TEXELS_PER_PX.get(self.renderer, TEXELS_PER_PX) * self.scale
        scene = draw_scene(self.spec, self.assets, self.seed, number, healthy, texels)
        return scene if self.scale == 1 else replace(scene, camera=_scaled(scene.camera, self.scale))

    def shapes(self, scene: Scene) -> list[Shape] | None:
        """The parts as meshes, made once for all looks at a scene; relief needs none."""
        if self.renderer == "relief":
            return None
        from flawsmith.synth.shapes import shapes

        return shapes(scene)

    def render(self, scene: Scene, shapes: Sequence[Shape] | None, settings: RenderSettings | None = None) -> Rendering:
        """The ideal image: before lens distortion."""
        return render(scene, settings or self.settings, self.renderer, shapes)

    def through_lens(
        self, rendering: Rendering, scene: Scene, shapes: Sequence[Shape] | None, camera: Camera
    ) -> Rendering:
        """The ideal image as `camera` shows it. Mitsuba's labels are looked at anew, by rays that the lens bends:
        resampled ones would lose what is finer than a pixel."""
        seen = distort(rendering, scene.camera, camera)
        if self.renderer != "mitsuba" or seen is rendering:
            return seen
        from flawsmith.synth.render.labels import label

        found = label(replace(scene, camera=camera), shapes, settings=self.settings)
        return replace(
            seen,
            coverage=found.coverage,
            instance=found.instance,
            depth_mm=found.depth_mm,
            normal=found.normal,
            visible=found.visible,
        )

    @property
    def glance(self) -> float:
        """Of the resolution, for the look beforehand. Relief's own labels cost so little that it looks at them all."""
        return 1.0 if self.renderer == "relief" else 0.5

    @property
    def least_px(self) -> float:
        """Pixels of a defect; fewer in a smaller preview."""
        return max(self.spec.visible.least_px * self.scale**2, 1)

    @property
    def least_cover(self) -> float:
        """Share of a pixel that a defect covers where it is labelled. A scratch must not be lost in a preview."""
        return 0.5 * self.scale


@dataclass(frozen=True, eq=False)
class Look:
    """A scene that shows what it should, by a cheap look: for the pinhole camera that it is rendered with."""

    scene: Scene
    shapes: list[Shape] | None
    contrast: np.ndarray
    removed: int
    rendering: Rendering | None = None  # where the look was already the render


def flawed_view(studio: Studio, index: int) -> View:
    """The first try that shows a defect well enough. Raises `DataError` after `TRIES` that do not."""
    for attempt, scene in _draws(studio, index, healthy=False):
        look = _looked_at(studio, replace(scene, camera=ideal(scene.camera)))
        view = None if look is None else _rendered(studio, look, scene.camera, attempt)
        if view is not None:
            return view
    raise DataError(
        f"image {index}: none of {TRIES} views shows a defect well enough: aim the camera at the part, make defects "
        "larger or more frequent, or lower visible.least_fraction, least_px or least_contrast"
    )


def healthy_view(studio: Studio, index: int, attempt: int | None = None) -> View:
    """The scene without defects: as drawn at `attempt`, or the first try that shows a part."""
    given = [(attempt, studio.draw(index, attempt, healthy=True))] if attempt is not None else None
    for number, scene in given or _draws(studio, index, healthy=True):
        rendered = replace(scene, camera=ideal(scene.camera))
        shapes = studio.shapes(rendered)
        if attempt is None and not _shows_part(studio, _glance(studio, rendered, shapes)[0]):
            continue
        rendering = studio.through_lens(studio.render(rendered, shapes), rendered, shapes, scene.camera)
        return View(scene, rendering, np.zeros(0), number)
    raise DataError(f"image {index}: none of {TRIES} views shows a part: aim the camera at it, or place it nearer")


def _draws(studio: Studio, index: int, healthy: bool) -> Iterator[tuple[int, Scene]]:
    """The scenes of all tries with their numbers. A draw without room is passed over, until there is no hope."""
    refused = 0
    for attempt in range(TRIES):
        try:
            scene = studio.draw(index, attempt, healthy)
        except NoRoomError:
            refused += 1
            if refused == _HOPELESS:
                raise
            continue
        yield attempt, scene


def without(scene: Scene, gone: Sequence[int]) -> Scene:
    """The scene less the defects of these numbers (0 is the first); the others move up."""
    number, instances = 0, []
    for instance in scene.instances:
        kept = [d for k, d in enumerate(instance.defects, start=number) if k not in gone]
        number += len(instance.defects)
        instances.append(replace(instance, defects=tuple(kept)))
    return replace(scene, instances=tuple(instances))


def masks(scene: Scene, rendering: Rendering, least_cover: float = 0.5) -> list[np.ndarray]:
    """Bool (H, W) of each defect: pixels that it covers by half or more, and that show its part.

    Through a hole something else may show: where it opens is enough.
    """
    owned = [(n, d.stack.cutter) for n, instance in enumerate(scene.instances, start=1) for d in instance.defects]
    return [
        (plane >= least_cover) & ((rendering.instance == n) | (cutter is not None))
        for plane, (n, cutter) in zip(rendering.coverage, owned, strict=True)
    ]


def _faulty(scene: Scene) -> bool:
    """Whether a whole part is at fault: labelled for the image, with no region of its own."""
    return any(instance.faults for instance in scene.instances)


def _looked_at(studio: Studio, scene: Scene) -> Look | None:
    """The scene less the defects that are seen too little; None where no part or no defect is left to see."""
    shapes = studio.shapes(scene)
    instance, coverage, visible = _glance(studio, scene, shapes)
    if not _shows_part(studio, instance):
        return None
    least = studio.spec.visible
    worth = (visible >= least.least_fraction) & (_most_px(studio, coverage) >= studio.least_px)
    contrast, faint, rendering = np.zeros(len(worth)), ~worth, None
    if studio.scale == 1 and worth.any():
        numbers = [int(k) for k in np.flatnonzero(worth)]
        contrast, area, rendering = _compared(studio, scene, shapes, coverage, numbers)
        faint = (contrast < least.least_contrast) | (area < studio.least_px)
    gone = [int(k) for k in np.flatnonzero(faint)]
    if len(gone) == len(coverage) and not _faulty(scene):
        return None
    if gone:
        scene, rendering = without(scene, gone), None
        shapes = studio.shapes(scene)
    return Look(scene, shapes, contrast[~faint], len(gone), rendering)


def _glance(studio: Studio, scene: Scene, shapes: Sequence[Shape] | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Instance, coverage and visible share at a part of the resolution; no light is traced."""
    if studio.renderer == "relief":
        from flawsmith.synth.render.relief import relief_labels

        seen = relief_labels(replace(scene, camera=_scaled(scene.camera, studio.glance)))
    else:
        from flawsmith.synth.render.labels import label

        seen = label(scene, shapes, supersample=2, scale=studio.glance, settings=studio.settings)
    return seen.instance, seen.coverage, seen.visible


def _shows_part(studio: Studio, instance: np.ndarray) -> bool:
    return int((instance > 0).sum()) >= studio.spec.visible.least_part_px * (studio.scale * studio.glance) ** 2


def _most_px(studio: Studio, coverage: np.ndarray) -> np.ndarray:
    """Pixels of the image, at most, on which each defect is labelled, by its coverage at a glance."""
    if studio.glance == 1:
        return (coverage >= studio.least_cover).sum((1, 2))
    return coverage.sum((1, 2)) / studio.least_cover / studio.glance**2


def _rendered(studio: Studio, look: Look, camera: Camera, attempt: int) -> View | None:
    """The view through the lens. What the lens pushes out of the picture after all is taken off, and costs another."""
    scene, shapes, contrast, removed, rendering = look.scene, look.shapes, look.contrast, look.removed, look.rendering
    while any(instance.defects for instance in scene.instances) or _faulty(scene):
        seen = studio.through_lens(rendering or studio.render(scene, shapes), scene, shapes, camera)
        area = np.array([mask.sum() for mask in masks(scene, seen, studio.least_cover)])
        hidden = (area < studio.least_px) | (seen.visible < studio.spec.visible.least_fraction)
        if not hidden.any():
            return View(replace(scene, camera=camera), seen, contrast, attempt, removed)
        removed += int(hidden.sum())
        scene, contrast = without(scene, [int(k) for k in np.flatnonzero(hidden)]), contrast[~hidden]
        shapes, rendering = studio.shapes(scene), None
    return None


def _compared(
    studio: Studio, scene: Scene, shapes: Sequence[Shape] | None, coverage: np.ndarray, numbers: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, Rendering | None]:
    """Of each defect: its mean change of the image, share of full scale, and its pixels in the image.

    coverage: at a glance; numbers: of those that are worth comparing, the others get 0. Compared with the scene without
    any defect, at few paths a pixel: in small windows, as a large image would cost too much to be thrown away, a small
    one as a whole, which then is the finished image. What noise alone changes beside the defects is taken off.
    """
    contrast, area = np.zeros((2, len(coverage)))
    bare = without(scene, range(len(coverage)))
    bare_shapes = studio.shapes(bare)
    quick = studio.settings.model_copy(update={"keep_flaws": 1, "spp": min(studio.settings.spp, _WINDOW_SPP)})
    flawed, small = None, _is_small(scene.camera)
    for camera, shares in _windows(scene.camera, {k: coverage[k] for k in numbers}, studio.glance):
        here = replace(scene, camera=camera)
        flawed = studio.render(here, shapes, studio.settings if small else quick)
        twin = studio.render(replace(bare, camera=camera), bare_shapes, quick)
        change = np.abs(_level(flawed.rgb, scene) - _level(twin.rgb, scene))
        beside = (flawed.coverage < 0.01).all(0)
        noise = float(change[beside].mean()) if beside.any() else 0.0
        seen, scale = masks(here, flawed), camera.k[0, 0] / scene.camera.k[0, 0]
        for k, share in shares.items():
            area[k] = seen[k].sum() / scale**2 / share
            contrast[k] = max(float(change[seen[k]].mean()) - noise, 0.0) if seen[k].any() else 0.0
    return contrast, area, flawed if small else None


def _is_small(camera: Camera) -> bool:
    return max(camera.width, camera.height) <= _SMALL_PX


def _windows(
    camera: Camera, planes: Mapping[int, np.ndarray], glance: float
) -> Iterator[tuple[Camera, dict[int, float]]]:
    """Cameras of the pixels by which defects are judged, with the share of each defect that is among them."""
    if _is_small(camera):
        yield camera, dict.fromkeys(planes, 1.0)
        return
    for frame, shares in _frames(planes, glance):
        yield cut_out(camera, frame, _WINDOW_PX), shares


def _frames(planes: Mapping[int, np.ndarray], glance: float) -> Iterator[tuple[np.ndarray, dict[int, float]]]:
    """Frames (x0, y0, x1, y1) in pixels of the image by which defects are judged, with the share of each that is in it.

    planes: coverage of each at a glance. Small defects that lie near share a frame.
    """
    left = {k: _frame(plane, glance) for k, plane in planes.items()}
    while left:
        first, (frame, share) = next(iter(left.items()))
        shares = {first: share}
        for k, (other, share) in left.items():
            both = np.concatenate([np.minimum(frame[:2], other[:2]), np.maximum(frame[2:], other[2:])])
            if k != first and np.ptp(both.reshape(2, 2), axis=0).max() <= _WINDOW_PX:
                frame, shares[k] = both, share
        left = {k: found for k, found in left.items() if k not in shares}
        yield frame, shares


def _frame(plane: np.ndarray, glance: float) -> tuple[np.ndarray, float]:
    """All of the defect, to be shrunk where it is large; the thickest of a long thin one, which that would wipe out."""
    box = mask_box(plane > 0)
    assert box is not None  # it is worth comparing
    side = _WINDOW_PX * glance
    whole = np.array(box) / glance + [-_MARGIN_PX, -_MARGIN_PX, _MARGIN_PX, _MARGIN_PX]
    if _left_when_shrunk(plane[box[1] : box[3], box[0] : box[2]], side) >= _LEFT:
        return whole, 1.0
    reach = (int(side), int(side))
    near = cv2.boxFilter(plane, -1, reach, normalize=False, borderType=cv2.BORDER_CONSTANT)
    y, x = np.unravel_index(int(near.argmax()), near.shape)
    middle = np.array([x, y, x, y]) + 0.5
    return (middle + np.array([-0.5, -0.5, 0.5, 0.5]) * side) / glance, float(near.max() / plane.sum())


def _left_when_shrunk(plane: np.ndarray, side: float) -> float:
    """Share of a defect's coverage that is in pixels it covers by half, once it fits into `side`."""
    scale = min(side / max(plane.shape), 1.0)
    if scale == 1:
        return 1.0
    size = max(round(plane.shape[1] * scale), 1), max(round(plane.shape[0] * scale), 1)
    small = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
    return float(small[small >= 0.5].sum() / max(small.sum(), 1e-9))


def _level(rgb: np.ndarray, scene: Scene) -> np.ndarray:
    """Share of full scale, as the sensor would see it without noise."""
    light = np.clip(rgb * scene.camera.exposure, 0, 1) ** (1 / scene.sensor.gamma)
    return light.mean(2)


def cut_out(camera: Camera, frame: np.ndarray, side: int) -> Camera:
    """The camera of at most `side` × `side` pixels of its image that hold the frame (x0, y0, x1, y1), shrunk to fit."""
    whole = np.array([camera.width, camera.height])
    frame = np.clip(frame.reshape(2, 2), 0, whole)
    scale = min(side / float(np.ptp(frame, axis=0).max()), 1.0)
    size = np.minimum(side, np.floor(whole * scale)).astype(int)
    corner = np.clip(np.round(frame.mean(0) - size / scale / 2), 0, whole - size / scale)
    k = camera.k.copy()
    k[:2, 2] -= corner
    return replace(camera, width=int(size[0]), height=int(size[1]), k=np.diag([scale, scale, 1.0]) @ k)


def _scaled(camera: Camera, scale: float) -> Camera:
    from flawsmith.synth.render.labels import scaled

    return scaled(camera, scale)
