"""Displace what lies in a patch's box by a space warp: x' = x + h(u, v)·k(w)·N, a function of position alone.

All functions work in the patch frame. The warp is the identity on all six sides of the box, so nothing tears.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from flawsmith.synth.defect.canvas import ramp
from flawsmith.synth.defect.clip import refine
from flawsmith.synth.defect.soup import Soup, renewed
from flawsmith.synth.scene import MapStack

LEAST_MM = 1e-4  # heights below this are left flat
_CELLS = 5000  # most cells of the refinement that may be active: about 10,000 triangles on a flat face
_LEVELS = (5, 7)  # 32 … 128 cells across the patch
_FULL = 0.5  # share of the box's depth over which the warp is whole


@dataclass(frozen=True, eq=False)
class Relief:
    """A stack's height in two parts: what the geometry carries, and what is too fine for it and becomes a bump.

    geometry_mm, bump_mm: (N, N); slope: (N, N, 2) of geometry_mm along x and y
    active: for each level of the refinement which cells are split
    """

    geometry_mm: np.ndarray
    bump_mm: np.ndarray
    slope: np.ndarray
    active: tuple[np.ndarray, ...]


def relief(stack: MapStack) -> Relief:
    """Choose the finest refinement that stays within the budget, and cut the height at what it can carry."""
    height = stack.height_mm
    n = len(height)
    levels = next(
        level for level in range(_LEVELS[1], 0, -1) if _active(height, level).sum() <= _CELLS or level == _LEVELS[0]
    )
    texels = (n - 1) / 2**levels
    smooth = cv2.GaussianBlur(height, (0, 0), max(0.6 * texels, 0.5)) * _inset(n)
    texel_mm = 2 * stack.half_mm / (n - 1)
    slope_y, slope_x = np.gradient(smooth, texel_mm)
    finest = _active(smooth, levels)
    active = [_coarser(finest, 2**level) for level in range(levels)] if finest.any() else []
    return Relief(smooth, height - smooth, np.stack([slope_x, slope_y], -1), tuple(active))


def displace(soup: Soup, stack: MapStack, shape: Relief) -> Soup:
    """Refine and move the triangles inside the box (patch frame); normals follow analytically."""
    if not shape.active:
        return soup
    fine = refine(soup, stack.half_mm, shape.active)
    x, y, w = (fine.points[..., axis] for axis in range(3))
    h, hx, hy = (
        bilinear(m, x, y, stack.half_mm) for m in (shape.geometry_mm, shape.slope[..., 0], shape.slope[..., 1])
    )
    rim = np.maximum(np.abs(x), np.abs(y)) >= stack.half_mm * (1 - 1e-9)
    h, hx, hy = (np.where(rim, 0.0, values) for values in (h, hx, hy))
    k, dk = gate(w, stack.depth_mm)
    a = np.stack([k * hx, k * hy, h * dk], -1)
    moved = fine.points.copy()
    moved[..., 2] += h * k
    bent = fine.normals - a * (fine.normals[..., 2] / np.maximum(1 + a[..., 2], 0.05))[..., None]
    return renewed(fine, moved, bent)


def gate(w: np.ndarray, depth_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """k(w) and its derivative: 1 in the middle half of the box, 0 with no slope at its top and bottom."""
    t = np.clip((np.abs(w) / depth_mm - _FULL) / (1 - _FULL), 0, 1)
    return 1 - t * t * (3 - 2 * t), -6 * t * (1 - t) * np.sign(w) / ((1 - _FULL) * depth_mm)


def bilinear(values: np.ndarray, x: np.ndarray, y: np.ndarray, half_mm: float) -> np.ndarray:
    """A map (N, N) at points in mm, exact where cv2.remap rounds its weights to 1/32."""
    n = len(values)
    column, row = (np.clip((c / half_mm + 1) / 2 * (n - 1), 0, n - 1) for c in (x, y))
    c0, r0 = np.minimum(column.astype(int), n - 2), np.minimum(row.astype(int), n - 2)
    fc, fr = column - c0, row - r0
    top = values[r0, c0] * (1 - fc) + values[r0, c0 + 1] * fc
    bottom = values[r0 + 1, c0] * (1 - fc) + values[r0 + 1, c0 + 1] * fc
    return top * (1 - fr) + bottom * fr


def _active(height: np.ndarray, level: int) -> np.ndarray:
    """(2^level, 2^level) cells that hold a height worth carrying, each grown by a texel."""
    high = (np.abs(height) > LEAST_MM).astype(np.uint8)
    return _pooled(cv2.dilate(high, np.ones((3, 3), np.uint8)), 2**level)


def _pooled(flags: np.ndarray, count: int) -> np.ndarray:
    rows, columns = np.nonzero(flags)
    cells = np.zeros((count, count), bool)
    row, column = (np.minimum(at * count // (len(flags) - 1), count - 1) for at in (rows, columns))
    cells[row, column] = True
    return cells


def _coarser(finest: np.ndarray, count: int) -> np.ndarray:
    step = len(finest) // count
    return np.any(finest.reshape(count, step, count, step), axis=(1, 3))


def _inset(n: int) -> np.ndarray:
    line = np.abs(np.linspace(-1, 1, n))
    return ramp(1 - np.maximum(*np.meshgrid(line, line)), 1.5 / n, 8 / n)
