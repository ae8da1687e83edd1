"""Bake a patch's look: the part's own material, as it lies under the patch, with the flaw's maps laid over it."""

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from flawsmith.synth.defect.canvas import changed
from flawsmith.synth.defect.soup import Soup, box_axis, box_uv
from flawsmith.synth.defect.warp import gate
from flawsmith.synth.scene import MapStack, Material

_MOST_TEXELS = 1024
_GRAIN_MM = 4.0  # period of a fracture's grain


@dataclass(frozen=True, eq=False)
class Sheet:
    """The square that a patch's texture covers, turned about the patch's normal by `turn_rad`.

    A material whose highlights are drawn out along u needs its u in the patch as it is beside it.
    """

    half_mm: float
    turn_rad: float
    texels: int

    def uv(self, points: np.ndarray) -> np.ndarray:
        """(…, 2) in [0, 1] of patch-frame points: the middle of the first texel is at -half_mm."""
        c, s = np.cos(self.turn_rad), np.sin(self.turn_rad)
        x, y = points[..., 0], points[..., 1]
        turned = np.stack([c * x + s * y, c * y - s * x], -1)
        return (turned / self.half_mm + 1) / 2 * (self.texels - 1) / self.texels + 0.5 / self.texels

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Patch-frame x and y of every texel."""
        line = np.linspace(-self.half_mm, self.half_mm, self.texels, dtype=np.float32)
        u, v = np.meshgrid(line, line)
        c, s = np.float32(np.cos(self.turn_rad)), np.float32(np.sin(self.turn_rad))
        return c * u - s * v, s * u + c * v

    @property
    def period_mm(self) -> float:
        return 2 * self.half_mm * self.texels / (self.texels - 1)


def sheet(stack: MapStack, material: Material, part_from_patch: np.ndarray) -> Sheet:
    """As fine as the finer of the flaw's maps and the material's textures, up to 1024 texels."""
    turn = _turn(part_from_patch) if material.anisotropy else 0.0
    half = stack.half_mm * (abs(np.cos(turn)) + abs(np.sin(turn)))
    widths = [m.shape[1] for m in _maps(material) if m is not None]
    finest = min([2 * stack.half_mm / len(stack.mask), *(material.period_mm / width for width in widths)])
    return Sheet(half, turn, int(min(np.ceil(2 * half / finest), _MOST_TEXELS)))


def bake(
    front: Soup, stack: MapStack, bump_mm: np.ndarray, material: Material, part_from_patch: np.ndarray, where: Sheet
) -> tuple[Material, np.ndarray]:
    """The patch's material and its mask, both over `where`; `front` is the undisplaced surface in the patch frame."""
    x, y = where.grid()
    depth, axis = _surface(front, x, y, where)
    k = gate(depth, stack.depth_mm)[0].astype(np.float32)
    on_part = part_from_patch[:3, :3].astype(np.float32), part_from_patch[:3, 3].astype(np.float32)
    points = np.stack([x, y, depth], -1) @ on_part[0].T + on_part[1]
    uv = box_uv(points, axis, material.period_mm)
    lay = _Overlay(stack, x, y, k)
    own = _Underlay(material, uv)
    alpha, shade = lay.of(stack.alpha) * k, 1 - lay.of(stack.occlusion) * k
    color = _blend(own.of(material.color_map, material.base_color), lay.of(stack.color), alpha[..., None])
    height = own.of(material.height_map_mm, 0.0) * (1 - alpha) + lay.of(bump_mm) * k
    baked = replace(
        material,
        name=f"{material.name} flawed",
        period_mm=where.period_mm,
        color_map=(color * shade[..., None]).astype(np.float32),
        roughness_map=_blend(own.of(material.roughness_map, material.roughness), lay.of(stack.roughness), alpha),
        metallic_map=_blend(own.of(material.metallic_map, material.metallic), lay.of(stack.metallic), alpha),
        height_map_mm=height.astype(np.float32) if np.any(height) else None,
    )
    label = stack.mask if stack.cutter is None else changed(stack.height_mm, stack.alpha)
    return baked, (lay.of(label) * k).astype(np.float32)


def wall_material(stack: MapStack, material: Material) -> Material:
    """The ground of a hole as the maps say it, with the grain of a fracture."""
    inside = stack.mask >= 0.5 if (stack.mask >= 0.5).any() else np.ones_like(stack.mask, bool)
    color, roughness = np.median(stack.color[inside], axis=0), float(np.median(stack.roughness[inside]))
    grain = _grain()
    return Material(
        name=f"{material.name} inside",
        base_color=(float(color[0]), float(color[1]), float(color[2])),
        roughness=roughness,
        metallic=float(np.median(stack.metallic[inside])),
        period_mm=_GRAIN_MM,
        color_map=np.clip(color * (1 + 0.15 * grain[..., None]), 0, 1).astype(np.float32),
        roughness_map=np.clip(roughness + 0.08 * grain, 0.05, 1).astype(np.float32),
        height_map_mm=(0.006 * grain).astype(np.float32),
    )


@lru_cache(maxsize=1)
def _grain() -> np.ndarray:
    """Tileable noise (256, 256) of unit deviation: grains of a tenth of a mm on slower lumps."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(256, 1 / 256), np.fft.fftfreq(256, 1 / 256)))
    noise = np.fft.fft2(np.random.default_rng(0).standard_normal((256, 256)))
    shaped = np.fft.ifft2(noise / (1 + (frequency / 26) ** 1.7)).real
    return (shaped / shaped.std()).astype(np.float32)


class _Overlay:
    """The flaw's maps at the texels of the sheet, 0 beyond the patch."""

    def __init__(self, stack: MapStack, x: np.ndarray, y: np.ndarray, k: np.ndarray) -> None:
        scale = (len(stack.mask) - 1) / (2 * stack.half_mm)
        self._same = (
            x.shape == stack.mask.shape and np.allclose(x[0, 0], -stack.half_mm) and np.allclose(x[-1, 0], x[0, 0])
        )
        self._at = (x + stack.half_mm) * scale, (y + stack.half_mm) * scale

    def of(self, values: np.ndarray) -> np.ndarray:
        if self._same:
            return values
        x, y = self._at[0].astype(np.float32), self._at[1].astype(np.float32)
        return cv2.remap(values.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


class _Underlay:
    """The material's textures at the texels of the sheet."""

    def __init__(self, material: Material, uv: np.ndarray) -> None:
        self._uv = uv % 1.0

    def of(self, texture: np.ndarray | None, constant: float | tuple[float, float, float]) -> np.ndarray:
        if texture is None:
            return np.broadcast_to(np.asarray(constant, np.float32), (*self._uv.shape[:2], *np.shape(constant)))
        rows, columns = texture.shape[:2]
        u, v = (self._uv[..., 0] * columns - 0.5).astype(np.float32), (self._uv[..., 1] * rows - 0.5).astype(np.float32)
        return cv2.remap(texture.astype(np.float32), u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def _blend(base: np.ndarray, over: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return (base + alpha * (over - base)).astype(np.float32)


def _maps(material: Material) -> tuple[np.ndarray | None, ...]:
    return material.color_map, material.roughness_map, material.metallic_map, material.height_map_mm


def _turn(part_from_patch: np.ndarray) -> float:
    """Angle from the patch's x to the direction of u of the box projection at its middle."""
    axis = int(np.abs(part_from_patch[:3, 2]).argmax())
    u = part_from_patch[:3, :3].T @ np.eye(3)[1 if axis == 0 else 0]
    return float(np.arctan2(u[1], u[0]))


def _surface(front: Soup, x: np.ndarray, y: np.ndarray, where: Sheet) -> tuple[np.ndarray, np.ndarray]:
    """Height over the patch's plane and axis of projection of the uppermost triangle at every texel.

    Texels beside the part take the nearest triangle's, so that filtering draws in nothing foreign.
    """
    plane = np.cross(front.points[:, 1] - front.points[:, 0], front.points[:, 2] - front.points[:, 0])
    drawn = np.flatnonzero(np.abs(plane[:, 2]) > 1e-12)
    drawn = drawn[np.argsort(front.points[drawn, :, 2].mean(1), kind="stable")]
    owner = np.full(x.shape, -1, np.int32)
    corners = np.round((where.uv(front.points) * where.texels - 0.5) * 16).astype(np.int32)
    for number in drawn:
        cv2.fillConvexPoly(owner, corners[number], int(number), cv2.LINE_8, 4)
    if not (owner >= 0).any():  # slivers, too small to meet a texel
        return np.zeros_like(x), np.full(x.shape, box_axis(front.flat)[0])
    owner = _grown(owner)
    origin, slope = front.points[owner, 0], plane[owner]
    depth = (
        origin[..., 2] - (slope[..., 0] * (x - origin[..., 0]) + slope[..., 1] * (y - origin[..., 1])) / slope[..., 2]
    )
    low, high = front.points[..., 2].min(), front.points[..., 2].max()
    return np.clip(depth, low, high).astype(np.float32), box_axis(front.flat)[owner]


def _grown(owner: np.ndarray) -> np.ndarray:
    """Every texel below 0 takes the number of the nearest one that has one."""
    if (owner >= 0).all():
        return owner
    beside = (owner < 0).astype(np.uint8)
    found = cv2.distanceTransformWithLabels(beside, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    label = np.asarray(found[1], np.int64)
    known = np.zeros(int(label.max()) + 1, np.int32)
    known[label[owner >= 0]] = owner[owner >= 0]
    return known[label]
