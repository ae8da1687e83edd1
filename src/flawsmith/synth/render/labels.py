"""What a camera sees of each part and defect, by rays of its own: never looked up from averaged pixels.

One ray through the middle of each pixel gives instance, depth and normal; `supersample`² rays a pixel give the share of
the pixel that each defect covers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy.stats import qmc

from flawsmith.core.geometry import Box
from flawsmith.synth.lens import ideal, image_points, is_ideal
from flawsmith.synth.render.rays import Hits, Surface, directions, eye, framed, project
from flawsmith.synth.render.settings import RenderSettings
from flawsmith.synth.render.variant import start
from flawsmith.synth.scene import Camera, Scene, Shape

_RAYS_AT_ONCE = 1 << 20
_SURFACE_POINTS = 1024
_LID_MM = 1e-3  # a lid ends where the hole's rim begins


@dataclass(frozen=True, eq=False)
class Labels:
    """The label half of a `Rendering`, in the same shapes and units, and the surface of each defect, mm², (K,)."""

    coverage: np.ndarray
    instance: np.ndarray
    depth_mm: np.ndarray
    normal: np.ndarray
    visible: np.ndarray
    surface_mm2: np.ndarray


def label(
    scene: Scene,
    shapes: Sequence[Shape] | None = None,
    supersample: int = 4,
    scale: float = 1.0,
    settings: RenderSettings | None = None,
) -> Labels:
    """Every label of the image; `scale` 0.25 has a quarter of the pixels each way, for a cheap look beforehand.

    shapes: of the parts, as `synth.shapes.shapes` gives them; the stage is added.
    Rays are bent by the lens, and start at its middle: defocus does not soften labels. What is seen through glass
    counts as the glass.
    """
    shapes = all_shapes(scene, shapes)
    surface, lids = _surfaces(scene, shapes, settings or RenderSettings())
    camera, count = scaled(scene.camera, scale), count_defects(scene, shapes)
    instance, depth_mm, normal = _middles(surface, camera)
    coverage = _coverage(surface, lids, camera, supersample, count)
    visible, surface_mm2 = _visible(surface, lids, camera, count, scene.seed)
    return Labels(coverage, instance, depth_mm, normal, visible, surface_mm2)


def visible_shares(scene: Scene, shapes: Sequence[Shape], settings: RenderSettings) -> tuple[np.ndarray, np.ndarray]:
    """`visible` and `surface_mm2` alone, of all `shapes`, the stage's too."""
    surface, lids = _surfaces(scene, shapes, settings)
    return _visible(surface, lids, scene.camera, count_defects(scene, shapes), scene.seed)


def openings_of(scene: Scene, shapes: Sequence[Shape], settings: RenderSettings) -> np.ndarray:
    """`coverage` of the defects that have a lid, 0 for the others; of all `shapes`, the stage's too."""
    count = count_defects(scene, shapes)
    surface, lids = _surfaces(scene, shapes, settings)
    coverage = np.zeros((count, scene.camera.height, scene.camera.width), np.float32)
    if lids is not None:
        holes = np.unique(lids.defect) - 1
        coverage[holes] = _coverage(surface, lids, scene.camera, 4, count)[holes]
    return coverage


def _surfaces(scene: Scene, shapes: Sequence[Shape], settings: RenderSettings) -> tuple[Surface, Surface | None]:
    """What rays meet, and the lids of holes, which they pass."""
    mitsuba = start(settings)
    lids = [shape for shape in shapes if shape.lid]
    surface = Surface.of(mitsuba, scene, solid(shapes))
    return surface, Surface.of(mitsuba, replace(scene, lights=()), lids) if lids else None


def solid(shapes: Sequence[Shape]) -> list[Shape]:
    """Those that are there to be seen: all but the lids of holes."""
    return [shape for shape in shapes if not shape.lid]


def all_shapes(scene: Scene, shapes: Sequence[Shape] | None) -> list[Shape]:
    """The stage's shapes, then the parts': those given, or all of them with their defects."""
    if shapes is None:
        from flawsmith.synth.shapes import shapes as shapes_of

        shapes = shapes_of(scene)
    return [*scene.stage, *shapes]


def scaled(camera: Camera, scale: float) -> Camera:
    """The same view with `scale` times the pixels each way."""
    width, height = max(round(camera.width * scale), 1), max(round(camera.height * scale), 1)
    k = np.diag([width / camera.width, height / camera.height, 1.0]) @ camera.k
    return replace(camera, width=width, height=height, k=k)


def count_defects(scene: Scene, shapes: Sequence[Shape]) -> int:
    """K: as many as the scene has, or more where a shape says so (a fault that shows)."""
    return max(sum(len(i.defects) for i in scene.instances), max((s.defect for s in shapes), default=0))


def defect_boxes(camera: Camera, shapes: Sequence[Shape], margin_px: int = 2) -> dict[int, Box]:
    """Where in the image each defect can be, by its shapes' corners; those wholly outside are left out."""
    if not is_ideal(camera):
        straight = ideal(camera)
        found = {n: _bent(box, straight, camera) for n, box in defect_boxes(straight, shapes, margin_px).items()}
        return {number: box for number, box in found.items() if box is not None}
    boxes = {}
    for number in sorted({shape.defect for shape in shapes} - {0}):
        corners = np.concatenate([s.vertices[np.unique(s.faces)] for s in shapes if s.defect == number])
        at, depth = project(camera, corners)
        if depth.min() <= 0:  # reaches behind the camera: it can be anywhere
            boxes[number] = (0, 0, camera.width, camera.height)
            continue
        if box := _around(at, camera, margin_px):
            boxes[number] = box
    return boxes


def _around(at: np.ndarray, camera: Camera, margin_px: int) -> Box | None:
    """The pixels round image points (N, 2); None where they are wholly outside the picture."""
    low, high = np.floor(at.min(0)).astype(int) - margin_px, np.ceil(at.max(0)).astype(int) + margin_px
    x0, y0 = max(int(low[0]), 0), max(int(low[1]), 0)
    x1, y1 = min(int(high[0]), camera.width), min(int(high[1]), camera.height)
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def _bent(box: Box, straight: Camera, camera: Camera) -> Box | None:
    """The box of `straight = ideal(camera)`, as the lens of `camera` bends it; None: wholly outside the picture."""
    x0, y0, x1, y1 = box
    t = np.linspace(0, 1, 33)
    across, down = x0 + t * (x1 - x0), y0 + t * (y1 - y0)
    ends = [(across, 0 * t + y0), (across, 0 * t + y1), (0 * t + x0, down), (0 * t + x1, down)]
    border = np.concatenate([np.stack(end, axis=1) for end in ends])
    at = image_points(camera, (border - straight.k[:2, 2]) / straight.k[0, 0])
    return _around(at, camera, margin_px=1)


def _middles(surface: Surface, camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Instance, depth and normal (H, W[, 3]) of what each pixel's middle shows."""
    y, x = (axis.ravel() + 0.5 for axis in np.mgrid[: camera.height, : camera.width])
    towards = directions(camera, x, y)
    hits = surface.meet(eye(camera), towards)
    _mend(surface, camera, hits, towards, x, y)
    seen = hits.face >= 0
    instance = np.full(len(seen), -1, np.int32)
    instance[seen] = surface.instance[hits.face[seen]]
    axis = camera.camera_from_world[2, :3]
    depth = np.where(seen, hits.distance * (towards @ axis), np.inf).astype(np.float32)
    normal = np.zeros((len(seen), 3), np.float32)
    normal[seen] = surface.blend(surface.normals, hits.at(seen))
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    size = camera.height, camera.width
    normal = np.divide(normal, length, out=normal, where=length > 0)
    return instance.reshape(size), depth.reshape(size), normal.reshape(*size, 3)


def _mend(surface: Surface, camera: Camera, hits: Hits, towards: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Send again, beside, what slipped between two triangles: it meets an inside, or disagrees with its neighbours.

    One ray in 10⁴ does (cracks of a float's width along patch borders).
    """
    met = np.flatnonzero(hits.face >= 0)
    inside = np.zeros(len(hits.face), bool)
    inside[met] = np.einsum("ij,ij->i", surface.face_normals[hits.face[met]], towards[met]) > 0
    owner = np.where(hits.face >= 0, surface.instance[hits.face], -1).reshape(camera.height, camera.width)
    median = cv2.medianBlur(owner.astype(np.float32), 3)
    doubtful = np.flatnonzero(inside | (median != owner).ravel())
    for step_x, step_y in ((0.01, 0.013), (-0.012, 0.009)):
        if not len(doubtful):
            return
        again_towards = directions(camera, x[doubtful] + step_x, y[doubtful] + step_y)
        again = surface.meet(eye(camera), again_towards)
        nearer = (again.face >= 0) & (again.distance < hits.distance[doubtful] - 1e-3)
        for field in ("face", "weights", "distance"):
            getattr(hits, field)[doubtful[nearer]] = getattr(again, field)[nearer]


def _coverage(surface: Surface, lids: Surface | None, camera: Camera, supersample: int, count: int) -> np.ndarray:
    """(K, H, W) float32: shares of pixels, by a regular grid of rays where the defect can be.

    A ray that passes a lid before it meets anything sees the hole; else it sees what it meets.
    """
    coverage = np.zeros((count, camera.height, camera.width), np.float32)
    boxes = defect_boxes(camera, [*surface.shapes, *(lids.shapes if lids else ())])
    for x0, y0, x1, y1 in _strips(_merged(list(boxes.values())), supersample):
        steps = [np.arange(a * supersample, b * supersample) for a, b in ((y0, y1), (x0, x1))]
        row, column = (axis.ravel() for axis in np.meshgrid(*steps, indexing="ij"))
        towards = directions(camera, (column + 0.5) / supersample, (row + 0.5) / supersample)
        hits = surface.meet(eye(camera), towards)
        on = np.flatnonzero(hits.face >= 0)
        on = on[surface.defect[hits.face[on]] > 0]
        number, share = np.zeros(len(row), np.int64), np.zeros(len(row), np.float32)
        number[on], share[on] = surface.defect[hits.face[on]], surface.cover(hits.at(on))
        if lids is not None:
            through = lids.meet(eye(camera), towards)
            open_ = np.flatnonzero((through.face >= 0) & (through.distance < hits.distance + _LID_MM))
            number[open_], share[open_] = lids.defect[through.face[open_]], 1
        on = np.flatnonzero(number)
        size = count, y1 - y0, x1 - x0
        cell = number[on] - 1, row[on] // supersample - y0, column[on] // supersample - x0
        total = np.bincount(np.ravel_multi_index(cell, size), share[on], int(np.prod(size)))
        coverage[:, y0:y1, x0:x1] = (total / supersample**2).reshape(size)
    return np.minimum(coverage, 1)


def _merged(boxes: list[Box]) -> list[Box]:
    """Boxes that overlap become one, so that no pixel is counted twice."""
    waiting, merged = list(boxes), []
    while waiting:
        box = waiting.pop()
        touching = [other for other in merged if _overlap(other, box)]
        if not touching:
            merged.append(box)
            continue
        merged = [other for other in merged if other not in touching]
        xs0, ys0, xs1, ys1 = zip(box, *touching, strict=True)
        waiting.append((min(xs0), min(ys0), max(xs1), max(ys1)))
    return merged


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _strips(boxes: list[Box], supersample: int) -> list[Box]:
    """Boxes cut into rows that hold no more rays than fit in memory at once."""
    strips = []
    for x0, y0, x1, y1 in boxes:
        rows = max(_RAYS_AT_ONCE // ((x1 - x0) * supersample**2), 1)
        strips += [(x0, y, x1, min(y + rows, y1)) for y in range(y0, y1, rows)]
    return strips


def _visible(
    surface: Surface, lids: Surface | None, camera: Camera, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Share of each defect's surface that the camera sees, and that surface in mm², both (K,).

    By points spread evenly over the defect and a ray to each: it does not depend on the image's resolution. A hole's
    surface is its lid.
    """
    visible, surface_mm2 = np.zeros(count), np.zeros(count)
    rng = np.random.default_rng([seed, 0x5EE])
    for number in range(1, count + 1):
        own = lids if lids is not None and (lids.defect == number).any() else surface
        faces = np.flatnonzero(own.defect == number)
        areas = np.linalg.norm(own.face_normals[faces], axis=1) / 2
        if areas.sum() <= 0:
            continue
        points = _spread(own, faces, areas, rng)
        share = own.cover(points)
        surface_mm2[number - 1] = areas.sum() * share.mean()
        if share.sum() > 0:
            seen = _seen(surface, camera, own.blend(own.vertices, points).astype(np.float64))
            visible[number - 1] = (share * seen).sum() / share.sum()
    return visible, surface_mm2


def _spread(surface: Surface, faces: np.ndarray, areas: np.ndarray, rng: np.random.Generator) -> Hits:
    """Points evenly over faces, as hits."""
    steps, first, second = qmc.Sobol(3, rng=rng).random(_SURFACE_POINTS).T
    ends = np.cumsum(areas)
    face = faces[np.minimum(np.searchsorted(ends, steps * ends[-1]), len(faces) - 1)]
    root = np.sqrt(first)
    weights = np.stack([root * (1 - second), root * second], axis=1).astype(np.float32)
    return Hits(face, weights, np.zeros(_SURFACE_POINTS, np.float32))


def _seen(surface: Surface, camera: Camera, places: np.ndarray) -> np.ndarray:
    """Whether each world point (N, 3) is in the image with nothing before it."""
    way = places - eye(camera)
    distance = np.linalg.norm(way, axis=1)
    hits = surface.meet(eye(camera), way / distance[:, None])
    return framed(camera, places) & (hits.distance > distance * (1 - 1e-5) - 1e-3)
