"""One picture of a part from several sides, shaded like a technical rendering."""

from dataclasses import dataclass

import numpy as np

from flawsmith.part.part import Part
from flawsmith.part.raster import Raster, rasterise
from flawsmith.part.shade import CREASE_DEG, corner_normals, face_normals

_PAPER, _INK = np.array([0.965, 0.97, 0.975]), np.array([0.13, 0.15, 0.18])
_PALETTE = ((0.60, 0.64, 0.68), (0.36, 0.52, 0.70), (0.80, 0.58, 0.30), (0.47, 0.63, 0.47), (0.66, 0.47, 0.58))
_LIGHTS = (  # direction to the light in the picture (right, up, to the eye), power
    (np.array([-0.45, 0.70, 0.55]), 0.52),
    (np.array([0.75, 0.15, 0.45]), 0.24),
    (np.array([0.20, -0.75, 0.50]), 0.20),
)
_FINER = 3  # samples per pixel and side
_MARGIN = 0.08


@dataclass(frozen=True, eq=False)
class _Look:
    """The joined mesh with what each face looks like."""

    vertices: np.ndarray
    faces: np.ndarray
    normals: np.ndarray  # (F, 3, 3)
    flat: np.ndarray  # (F, 3)
    colors: np.ndarray  # (F, 3)
    component: np.ndarray  # (F,)


def turntable(part: Part, columns: int = 4, rows: int = 2, cell_px: int = 360) -> np.ndarray:
    """RGB uint8 (rows · cell, columns · cell, 3): yaw goes round, rows look from above to from below.

    The part's z axis is up. All cells have one scale.
    """
    look, views = _look(part), _views(columns, rows)
    center = part.bounds_mm.mean(0)
    radius = max(_reach(part, center, view) for view in views)
    scale = cell_px * _FINER * (1 - 2 * _MARGIN) / (2 * radius)
    cells = [_cell(look, view, center, scale, cell_px) for view in views]
    return np.concatenate([np.concatenate(cells[r * columns : (r + 1) * columns], axis=1) for r in range(rows)])


def _views(columns: int, rows: int) -> list[np.ndarray]:
    """3×3 turns; rows of a turn are right, up and to the eye."""
    tilts = np.radians(np.linspace(30, -30, rows)) if rows > 1 else np.radians([30.0])
    yaws = np.radians(-60 + np.arange(columns) * 360 / columns)
    between = np.radians(360 / columns / rows)  # no two cells look the same way round
    return [_view(yaw + row * between, tilt) for row, tilt in enumerate(tilts) for yaw in yaws]


def _view(yaw: float, tilt: float) -> np.ndarray:
    eye = np.array([np.cos(yaw) * np.cos(tilt), np.sin(yaw) * np.cos(tilt), np.sin(tilt)])
    right = np.array([-np.sin(yaw), np.cos(yaw), 0.0])
    return np.stack([right, np.cross(eye, right), eye])


def _reach(part: Part, center: np.ndarray, view: np.ndarray) -> float:
    return float(np.abs((part.vertices - center) @ view[:2].T).max())


def _look(part: Part) -> _Look:
    normals = np.concatenate([corner_normals(c.vertices, c.faces) for c in part.components])
    counts = [len(c.faces) for c in part.components]
    return _Look(
        part.vertices, part.faces, normals, face_normals(part.vertices, part.faces)[0],
        np.repeat(component_colors(part), counts, axis=0), np.repeat(np.arange(len(counts)), counts),
    )  # fmt: skip


def component_colors(part: Part) -> np.ndarray:
    """(C, 3) display RGB in 0..1: the file's colours, else one palette colour for each name."""
    names = list(dict.fromkeys(c.name.rstrip("0123456789").rstrip("._- ") for c in part.components))
    told = []
    for c in part.components:
        index = names.index(c.name.rstrip("0123456789").rstrip("._- "))
        told.append(_PALETTE[index % len(_PALETTE)] if c.color is None else display(np.array(c.color)))
    rgb = np.clip(np.array(told), 0.22, 0.92)  # pure black and pure colours hide the shading
    return 0.72 * rgb + 0.28 * rgb.mean(axis=1, keepdims=True)


def display(linear: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1: light as display values, both in 0..1."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.power(np.maximum(linear, 0), 1 / 2.4) - 0.055)


def _cell(look: _Look, view: np.ndarray, center: np.ndarray, scale: float, cell_px: int) -> np.ndarray:
    import cv2

    side = cell_px * _FINER
    seen = (look.vertices - center) @ view.T * scale
    points = np.column_stack([side / 2 + seen[:, 0], side / 2 - seen[:, 1], -seen[:, 2]])
    raster = rasterise(points, look.faces, (side, side))
    shaded = _shaded(look, view, raster)
    shaded[_lines(look, raster, view)] = _INK
    small = cv2.resize(shaded, (cell_px, cell_px), interpolation=cv2.INTER_AREA)
    return (np.clip(small, 0, 1) * 255 + 0.5).astype(np.uint8)


def _shaded(look: _Look, view: np.ndarray, raster: Raster) -> np.ndarray:
    """Lambert by three lights and the sky, a narrow highlight, darker where the surroundings are nearer."""
    image = np.broadcast_to(_PAPER, (*raster.face.shape, 3)).copy()
    hit = raster.face >= 0
    face = raster.face[hit]
    normal = (look.normals[face] * raster.weights[hit][..., None]).sum(1) @ view.T
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    normal *= np.where(look.flat[face] @ view[2] < 0, -1.0, 1.0)[:, None]  # open parts show their inside
    light = 0.27 + 0.08 * normal[:, 1]
    gloss = np.zeros(len(face))
    for direction, power in _LIGHTS:
        unit, half = _toward(direction), _toward(_toward(direction) + np.array([0.0, 0.0, 1.0]))
        light += power * np.maximum(normal @ unit, 0)
        gloss += 0.28 * power * np.maximum(normal @ half, 0) ** 40
    color = look.colors[face] * (light * _openness(raster)[hit])[:, None] * 1.25 + gloss[:, None]
    image[hit] = color
    return image


def _toward(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def _openness(raster: Raster) -> np.ndarray:
    """1 in the open, less in corners: how far a pixel lies behind the mean of its surroundings (screen space)."""
    import cv2

    hit = np.isfinite(raster.depth)
    side = raster.depth.shape[0] // _FINER
    depth = np.where(hit, raster.depth, 0).astype(np.float32)
    inside = cv2.resize(hit.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    mean = cv2.resize(depth, (side, side), interpolation=cv2.INTER_AREA)
    darker = np.zeros_like(mean)
    for sigma in (3.0, 9.0):
        share = cv2.GaussianBlur(inside, (0, 0), sigma)
        near = cv2.GaussianBlur(mean, (0, 0), sigma) / np.maximum(share, 1e-3)
        behind = (mean / np.maximum(inside, 1e-3) - near) / (4 * sigma * _FINER)
        darker += np.clip(behind, 0, 0.6) * (inside > 0)
    wide = cv2.resize(darker, raster.depth.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return 1 - 0.45 * np.clip(wide, 0, 1)


def _lines(look: _Look, raster: Raster, view: np.ndarray) -> np.ndarray:
    """Pixels at silhouettes, between components and at creases."""
    crease = np.cos(np.radians(CREASE_DEG))
    face, depth = raster.face, raster.depth
    normal = np.zeros((*face.shape, 3))
    hit = face >= 0
    normal[hit] = (look.normals[face[hit]] * raster.weights[hit][..., None]).sum(1)
    part = np.where(hit, look.component[face], -1)
    lines = np.zeros(face.shape, bool)
    for axis in (0, 1):
        a, b = _sides(axis)
        bend = (normal[a] * normal[b]).sum(-1) < crease
        slope = np.minimum(np.abs(normal[a] @ view[2]), np.abs(normal[b] @ view[2])).clip(0.05)
        both = hit[a] & hit[b]
        step = np.zeros(both.shape, bool)
        step[both] = np.abs(depth[a][both] - depth[b][both]) > 6.0 + 3.0 / slope[both]
        lines[a] |= (part[a] != part[b]) | (both & (bend | step))
    return lines


def _sides(axis: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """A picture and itself one pixel on."""
    every, first, last = slice(None), slice(None, -1), slice(1, None)
    return ((first, every), (last, every)) if axis == 0 else ((every, first), (every, last))
