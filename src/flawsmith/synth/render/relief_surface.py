"""A plane's material and defects as fields of its view: colour, roughness, metal, slopes, height, hollows, labels."""

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from flawsmith.synth.render.relief_plane import Plane, View, homography, world_xy
from flawsmith.synth.scene import Camera, Cutter, MapStack, PlacedDefect

_STEEPEST = 6.0  # slopes are cut here: a wall seen from above has no more to show
_FINE = 4  # looks at a mask, each way in a pixel
_POINTS = 48  # a side, of the grid by which a defect's visible share is counted


@dataclass(eq=False)
class Fields:
    """float32 (h, w), `color` (3, h, w). Filled in place: defects are laid one after another."""

    color: np.ndarray
    roughness: np.ndarray
    metallic: np.ndarray
    slope_x: np.ndarray
    slope_y: np.ndarray
    height_mm: np.ndarray  # of defects alone: what can cast a shadow
    hidden: np.ndarray  # share of light that does not reach the ground
    open: np.ndarray  # share of the pixel where a hole goes right through


def bare_fields(view: View) -> Fields:
    """A plane of nothing in particular: for labels, which do not ask what it is made of."""
    one = np.zeros(view.x.shape, np.float32)
    return Fields(np.zeros((3, *view.x.shape), np.float32), *(one.copy() for _ in range(7)))


def material_fields(plane: Plane, view: View) -> Fields:
    """The plane without defects."""
    material, shape = plane.material, view.x.shape
    textured = any(m is not None for m in (material.color_map, material.roughness_map, material.metallic_map))
    uv = None
    if textured or material.height_map_mm is not None:
        a = plane.uv_from_xy.astype(np.float32)
        uv = tuple(a[row, 0] * view.x + a[row, 1] * view.y + a[row, 2] for row in range(2))
    pitch = view.pixel_mm * float(np.sqrt(abs(np.linalg.det(plane.uv_from_xy[:, :2]))))

    def field(texture: np.ndarray | None, number: float) -> np.ndarray:
        return np.full(shape, number, np.float32) if texture is None else _wrapped(texture, uv, pitch)

    slope_x, slope_y = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    if material.height_map_mm is not None:
        along = _wrapped(_texture_slopes(material.height_map_mm), uv, pitch)
        slope_x, slope_y = (
            along[..., 0] * np.float32(plane.uv_from_xy[0, k]) + along[..., 1] * np.float32(plane.uv_from_xy[1, k])
            for k in range(2)
        )
    if material.color_map is None:
        color = np.repeat(np.array(material.base_color, np.float32), view.x.size).reshape(3, *shape)
    else:
        color = np.ascontiguousarray(_wrapped(material.color_map, uv, pitch).transpose(2, 0, 1))
    rough, metal = field(material.roughness_map, material.roughness), field(material.metallic_map, material.metallic)
    empty = (np.zeros(shape, np.float32) for _ in range(3))
    return Fields(color, rough, metal, slope_x, slope_y, *empty)


def _texture_slopes(height_mm: np.ndarray) -> np.ndarray:
    """(H, W, 2): d height / d u and / d v, per period."""
    rows, columns = height_mm.shape
    return np.stack(
        [
            (np.roll(height_mm, -1, 1) - np.roll(height_mm, 1, 1)) * np.float32(columns / 2),
            (np.roll(height_mm, -1, 0) - np.roll(height_mm, 1, 0)) * np.float32(rows / 2),
        ],
        axis=-1,
    )


def _wrapped(texture: np.ndarray, uv: tuple[np.ndarray, ...] | None, pitch: float) -> np.ndarray:
    """A periodic texture at (u, v), averaged to the pixel's pitch first, so that fine ones do not sparkle."""
    assert uv is not None
    texture = np.asarray(texture, np.float32)
    rows, columns = texture.shape[:2]
    keep = min(1.0, 1.25 / max(pitch * min(rows, columns), 1e-9))
    if keep < 0.8:
        size = max(int(columns * keep), 1), max(int(rows * keep), 1)
        texture = cv2.resize(texture, size, interpolation=cv2.INTER_AREA)
        rows, columns = texture.shape[:2]
    column = (uv[0] - np.floor(uv[0])) * np.float32(columns) - np.float32(0.5)
    row = (uv[1] - np.floor(uv[1])) * np.float32(rows) - np.float32(0.5)
    return cv2.remap(texture, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


@dataclass(frozen=True, eq=False)
class Print:
    """A defect laid on a view: rows and columns of the window it changes, and its label there."""

    rows: slice
    columns: slice
    coverage: np.ndarray  # float32, of the pixels of rows × columns


def lay(
    fields: Fields,
    plane: Plane,
    view: View,
    camera: Camera,
    placed: PlacedDefect,
    world_from_part: np.ndarray,
    shaded: bool = True,
) -> Print | None:
    """Change `fields` as the defect does; None where it lies on another face or out of the picture.

    shaded: False leaves `fields` alone but for holes: the print's coverage is all that is wanted
    """
    world_from_patch = world_from_part @ placed.part_from_patch
    if world_from_patch[2, 2] < 0.3 or abs(world_from_patch[2, 3] - plane.z_mm) > placed.stack.depth_mm:
        return None
    stack = placed.stack
    where = _reach(plane, view, camera, world_from_patch, stack.half_mm)
    if where is None:
        return None
    rows, columns = where
    if shaded or stack.cutter is not None:
        maps = _maps(stack, plane.thick_mm, _texels_kept(stack, view.pixel_mm))
        column, row = _texels(view.x[rows, columns], view.y[rows, columns], world_from_patch, stack)
        sampled = maps.at(column, row, len(stack.mask))
        _apply(fields, rows, columns, sampled, np.linalg.inv(world_from_patch[:2, :2]).astype(np.float32))
    coverage = _coverage(view, rows, columns, homography(camera, plane.z_mm), world_from_patch, stack)
    return Print(rows, columns, coverage * view.cover[rows, columns])


def _texels(x: np.ndarray, y: np.ndarray, world_from_patch: np.ndarray, stack: MapStack) -> tuple[np.ndarray, ...]:
    """Column and row in the stack's maps of places in world mm."""
    back = np.linalg.inv(world_from_patch[:2, :2]).astype(np.float32)
    dx, dy = x - np.float32(world_from_patch[0, 3]), y - np.float32(world_from_patch[1, 3])
    scale = np.float32((len(stack.mask) - 1) / (2 * stack.half_mm))
    column, row = ((back[k, 0] * dx + back[k, 1] * dy + np.float32(stack.half_mm)) * scale for k in range(2))
    return column, row


def _coverage(
    view: View, rows: slice, columns: slice, to_pixels: np.ndarray, world_from_patch: np.ndarray, stack: MapStack
) -> np.ndarray:
    """Share of each pixel of rows × columns that the mask covers: up to 4 × 4 looks at the full mask in each."""
    texels = view.pixel_mm * (len(stack.mask) - 1) / (2 * stack.half_mm)
    fine = int(np.clip(np.ceil(texels), 1, _FINE))
    left, top = view.window[:2]
    window = (left + columns.start, top + rows.start, left + columns.stop, top + rows.stop)
    column, row = _texels(*world_xy(to_pixels, window, fine), world_from_patch, stack)
    mask = np.asarray(stack.mask, np.float32)
    seen = cv2.remap(mask, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    if fine == 1:
        return seen
    size = (columns.stop - columns.start, rows.stop - rows.start)
    return cv2.resize(seen, size, interpolation=cv2.INTER_AREA)


@dataclass(frozen=True, eq=False)
class Maps:
    """A stack's maps as layers (m, m, 11), averaged to about the pixel's pitch.

    Layers: height, its slopes along x and y, alpha, roughness, metallic, through, hidden, then the colour's three.
    """

    layers: np.ndarray

    @classmethod
    def of(cls, stack: MapStack, thick_mm: float, m: int) -> "Maps":
        n = len(stack.mask)
        height, hidden = _small(stack.height_mm, m), _small(stack.occlusion, m)
        through = np.zeros_like(height)
        if stack.cutter is not None:
            height = np.minimum(height, floor_mm(stack.cutter, stack.half_mm, m))
            hidden = np.maximum(hidden, _walls(height, 2 * stack.half_mm / m))
            through = (height < -thick_mm).astype(np.float32)
            height = np.maximum(height, np.float32(-min(thick_mm, 1e3)))
        down, along = np.gradient(height, np.float32(2 * stack.half_mm * n / (n - 1) / m))
        looks = (_small(layer, m) for layer in (stack.alpha, stack.roughness, stack.metallic))
        return cls(np.dstack([height, along, down, *looks, through, hidden, _small(stack.color, m)]))

    def at(self, column: np.ndarray, row: np.ndarray, n: int) -> np.ndarray:
        """(h, w, 11) at places in texels of the full maps, whose first and last lie on the border; 0 outside."""
        share = np.float32(len(self.layers) / n)
        places = (column + 0.5) * share - np.float32(0.5), (row + 0.5) * share - np.float32(0.5)
        parts = (np.ascontiguousarray(self.layers[..., k : k + 4]) for k in range(0, 11, 4))
        return np.dstack([cv2.remap(p, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT) for p in parts])


def _texels_kept(stack: MapStack, pixel_mm: float) -> int:
    """Texels a side that a pixel of this size needs, in steps, so that windows of one image ask for the same."""
    n = len(stack.mask)
    keep = 1.25 * 2 * stack.half_mm / (n - 1) / pixel_mm
    return min(8 * math.ceil(n * keep / 8), n) if keep < 0.8 else n


_maps = lru_cache(maxsize=16)(Maps.of)  # a defect is looked at, compared and rendered


def _small(layer: np.ndarray, m: int) -> np.ndarray:
    layer = np.asarray(layer, np.float32)
    return layer if m == len(layer) else cv2.resize(layer, (m, m), interpolation=cv2.INTER_AREA)


def _apply(fields: Fields, rows: slice, columns: slice, sampled: np.ndarray, back: np.ndarray) -> None:
    height, along, down, alpha, rough, metal, through, hidden = (sampled[..., k] for k in range(8))
    slope_x = (along * back[0, 0] + down * back[1, 0]).clip(-_STEEPEST, _STEEPEST)
    slope_y = (along * back[0, 1] + down * back[1, 1]).clip(-_STEEPEST, _STEEPEST)
    fields.slope_x[rows, columns] += slope_x
    fields.slope_y[rows, columns] += slope_y
    fields.height_mm[rows, columns] += height
    for field, value in ((fields.roughness, rough), (fields.metallic, metal)):
        field[rows, columns] += alpha * (value - field[rows, columns])
    color = fields.color[:, rows, columns]
    color += alpha * (sampled[..., 8:].transpose(2, 0, 1) - color)
    fields.hidden[rows, columns] = 1 - (1 - fields.hidden[rows, columns]) * (1 - hidden)
    fields.open[rows, columns] = np.maximum(fields.open[rows, columns], through)


def _reach(
    plane: Plane, view: View, camera: Camera, world_from_patch: np.ndarray, half_mm: float
) -> tuple[slice, slice] | None:
    """Rows and columns of the view in which the patch can lie."""
    square = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) * half_mm
    world = square @ world_from_patch[:2, :2].T + world_from_patch[:2, 3]
    pixels = np.column_stack([world, np.ones(4)]) @ homography(camera, plane.z_mm).T
    pixels = pixels[:, :2] / pixels[:, 2:] - view.window[:2]
    height, width = view.x.shape
    x0, y0 = np.floor(pixels.min(0)).astype(int) - 1
    x1, y1 = np.ceil(pixels.max(0)).astype(int) + 1
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    return (slice(y0, y1), slice(x0, x1)) if x1 > x0 and y1 > y0 else None


def floor_mm(cutter: Cutter, half_mm: float, m: int) -> np.ndarray:
    """float32 (m, m): the lowest point of the cutter's volume over each texel, 0 beside it.

    Triangles are painted from high to low, each at its mean height: the last is the lowest.
    """
    corners = cutter.vertices[cutter.faces]
    corners = corners[corners[..., 2].min(1) < 0]
    pixels = (corners[..., :2] + half_mm) * (m / (2 * half_mm)) - 0.5
    fixed = (pixels * 16).round().astype(np.int32)
    low = np.minimum(corners[..., 2].mean(1), 0)
    canvas = np.zeros((m, m), np.float32)
    for index in np.argsort(-low):
        cv2.fillConvexPoly(canvas, fixed[index], float(low[index]), cv2.LINE_8, 4)
    return canvas


def _walls(height_mm: np.ndarray, texel_mm: float) -> np.ndarray:
    """Share of the even sky that a hole's walls hide: on the floor of a shaft r² / (r² + d²) of it is seen."""
    inside = height_mm < 0.05 * float(height_mm.min())
    reach = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 3)
    radius = max(float(reach.max()) * texel_mm, 1e-6)
    return np.where(inside, height_mm**2 / (radius**2 + height_mm**2), 0).astype(np.float32)


def seen_share(plane: Plane, camera: Camera, placed: PlacedDefect, world_from_part: np.ndarray) -> float:
    """Share of the defect's labelled surface on this plane that is in the picture; 0 for one on another face."""
    world_from_patch = world_from_part @ placed.part_from_patch
    if world_from_patch[2, 2] < 0.3 or abs(world_from_patch[2, 3] - plane.z_mm) > placed.stack.depth_mm:
        return 0.0
    n = len(placed.stack.mask)
    line = np.linspace(0, n - 1, min(n, _POINTS)).round().astype(int)
    weight = placed.stack.mask[np.ix_(line, line)].astype(np.float64).ravel()
    mm = line / (n - 1) * 2 * placed.stack.half_mm - placed.stack.half_mm
    patch = np.stack(np.meshgrid(mm, mm), axis=-1).reshape(-1, 2)
    world = patch @ world_from_patch[:2, :2].T + world_from_patch[:2, 3]
    weight = weight * _inside(plane.triangles, world)
    pixels = np.column_stack([world, np.ones(len(world))]) @ homography(camera, plane.z_mm).T
    pixels = pixels[:, :2] / pixels[:, 2:]
    seen = ((pixels >= 0) & (pixels < (camera.width, camera.height))).all(1)
    return float(weight[seen].sum() / weight.sum()) if weight.sum() > 0 else 0.0


def _inside(triangles: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Bool (N,): which points lie in any of the triangles (T, 3, 2)."""
    inside = np.zeros(len(points), bool)
    x, y = points.T
    for triangle in triangles:
        ends = zip(triangle, np.roll(triangle, -1, axis=0), strict=True)
        sides = np.stack([(b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]) for a, b in ends])
        inside |= (sides >= 0).all(0) | (sides <= 0).all(0)
    return inside


def cast(height_mm: np.ndarray, towards_px: tuple[float, float], rise_mm: float) -> np.ndarray | None:
    """Share of a light that reaches each pixel past the relief between; None where nothing is in the way.

    towards_px: unit step in pixels on the way to the light; rise_mm: how much the ray rises for each
    """
    deep = float(height_mm.max() - height_mm.min())
    reach = deep / max(rise_mm, 1e-6)
    if deep <= 0 or reach < 0.5:
        return None
    lit = np.ones_like(height_mm)
    rows, columns = height_mm.shape
    for step in np.unique(np.geomspace(0.7, max(min(reach, 48.0), 0.8), 7)):
        move = np.array([[1, 0, towards_px[0] * step], [0, 1, towards_px[1] * step]], np.float32)
        ahead = cv2.warpAffine(
            height_mm,
            move,
            (columns, rows),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        blocked = (ahead - height_mm - rise_mm * step) / max(rise_mm, 0.15 * deep)
        lit = np.minimum(lit, 1 - blocked.clip(0, 1))
    return lit
