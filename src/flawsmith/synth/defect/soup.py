"""Soup: a component's triangles with all that belongs to each corner, ready to be cut, clipped and displaced."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from flawsmith.core.errors import DataError
from flawsmith.part.part import Component

CREASE_RAD = np.radians(35.0)  # two faces at a sharper angle meet in an edge, not in a curve


@dataclass(frozen=True, eq=False)
class Soup:
    """T triangles, no shared vertices, part frame, mm.

    points:  (T, 3, 3) corners
    rest:    (T, 3, 3) where the corners were before any displacement: textures stay on the material
    normals: (T, 3, 3) shading normals at the corners
    flat:    (T, 3) normal of the CAD face below; decides the axis of the box projection
    wall:    (T,) int32: 0 for the part's own surface, k for a wall of the k-th defect's hole
    face:    (T,) int32: number of the component's triangle that it is a piece of; -1 for walls
    """

    points: np.ndarray
    rest: np.ndarray
    normals: np.ndarray
    flat: np.ndarray
    wall: np.ndarray
    face: np.ndarray

    def __len__(self) -> int:
        return len(self.points)

    def take(self, chosen: np.ndarray) -> "Soup":
        """The triangles that a bool mask or an index array chooses."""
        return Soup(*(getattr(self, field)[chosen] for field in _FIELDS))

    @property
    def areas_mm2(self) -> np.ndarray:
        a, b, c = self.points.swapaxes(0, 1)
        return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


_FIELDS = ("points", "rest", "normals", "flat", "wall", "face")


def join(soups: Sequence[Soup]) -> Soup:
    """One after the other."""
    return Soup(*(np.concatenate([getattr(soup, field) for soup in soups]) for field in _FIELDS))


@lru_cache(maxsize=64)
def soup_of(component: Component) -> Soup:
    """The component's faces with crease normals; kept, as one part is in many scenes. Raises `DataError`: no area."""
    corners = component.vertices[component.faces].astype(float)
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    twice = np.linalg.norm(cross, axis=1)
    real = twice > 1e-12 * max(float(np.ptp(corners.reshape(-1, 3), axis=0).max()), 1e-9) ** 2
    if not real.any():
        raise DataError(f"component {component.name!r}: all {len(corners)} faces have no area; export it again")
    corners, flat = corners[real], cross[real] / twice[real, None]
    normals = crease_normals(corners, flat)
    return Soup(
        corners, corners, normals, flat, np.zeros(len(corners), np.int32), np.flatnonzero(real).astype(np.int32)
    )


def crease_normals(corners: np.ndarray, flat: np.ndarray, crease_rad: float = CREASE_RAD) -> np.ndarray:
    """(T, 3, 3) normals: at each corner the mean of the faces round it that turn by less than the crease, weighted by
    angle × area (Max, "Weights for computing vertex normals", 1999, gives the angle's part)."""
    from scipy import sparse

    count = len(corners) * 3
    a, b, c = corners, np.roll(corners, -1, 1), np.roll(corners, 1, 1)
    angle = np.arccos(np.clip(np.einsum("tci,tci->tc", _unit(b - a), _unit(c - a)), -1, 1))
    area = np.linalg.norm(np.cross(b - a, c - a)[:, 0], axis=1)
    weight = (angle * area[:, None]).ravel()
    owner = weld(corners.reshape(-1, 3))
    at = sparse.csr_matrix((np.ones(count, np.float32), (np.arange(count), owner)))
    pairs = (at @ at.T).tocoo()
    per_corner = np.repeat(flat, 3, axis=0)
    smooth = np.einsum("pi,pi->p", per_corner[pairs.row], per_corner[pairs.col]) >= np.cos(crease_rad)
    row, col = pairs.row[smooth], pairs.col[smooth]
    total = sparse.csr_matrix((weight[col], (row, col)), shape=(count, count)) @ per_corner
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(length > 1e-12, total / np.maximum(length, 1e-12), per_corner).reshape(-1, 3, 3)


def weld(points: np.ndarray) -> np.ndarray:
    """(P,) a number for each distinct point; points within about a millionth of the whole's size are one."""
    scale = max(float(np.ptp(points, axis=0).max()), 1e-9) * 1e-6
    return np.unique(np.round(points / scale).astype(np.int64), axis=0, return_inverse=True)[1].ravel()


def box_axis(flat: np.ndarray) -> np.ndarray:
    """(T,) the axis, 0 … 2, along which a face is projected for its texture."""
    return np.abs(flat).argmax(1)


def box_uv(points: np.ndarray, axis: np.ndarray, period_mm: float) -> np.ndarray:
    """(…, 2) texture periods of part-frame points (…, 3): (y, z), (x, z) or (x, y) by the projection's axis."""
    u = np.where(axis == 0, points[..., 1], points[..., 0])
    v = np.where(axis == 2, points[..., 1], points[..., 2])
    return np.stack([u, v], -1) / period_mm


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-300)


def renewed(soup: Soup, points: np.ndarray, normals: np.ndarray) -> Soup:
    """The same triangles displaced; `rest` stays."""
    return replace(soup, points=points, normals=_unit(normals))
