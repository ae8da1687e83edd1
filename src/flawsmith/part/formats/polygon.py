"""Polygons into triangles."""

from collections.abc import Sequence

import numpy as np


def triangulated(vertices: np.ndarray, polygons: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """(F, 3) triangles with the polygons' winding, and (F,) the polygon each comes from. Corners < 3 give none."""
    triangles, owners = [], []
    for number, corners in enumerate(polygons):
        cut = [corners] if len(corners) == 3 else _cut(vertices, corners)
        triangles += cut
        owners += [number] * len(cut)
    return np.array(triangles, np.int64).reshape(-1, 3), np.array(owners, np.int64)


def _cut(vertices: np.ndarray, corners: Sequence[int]) -> list[Sequence[int]]:
    """A fan where the polygon is convex, manifold3d's triangulation where it is not."""
    if len(corners) < 3:
        return []
    points = vertices[list(corners)]
    turns = np.cross(np.roll(points, -1, 0) - points, np.roll(points, -2, 0) - np.roll(points, -1, 0))
    normal = np.cross(points, np.roll(points, -1, 0)).sum(0)  # Newell
    if (turns @ normal >= 0).all():
        return [(corners[0], corners[i], corners[i + 1]) for i in range(1, len(corners) - 1)]
    return [tuple(corners[i] for i in triangle) for triangle in _ears(points, normal)]


def _ears(points: np.ndarray, normal: np.ndarray) -> list[list[int]]:
    import manifold3d

    axis = normal / np.linalg.norm(normal)
    across = np.cross(axis, np.eye(3)[np.abs(axis).argmin()])
    across /= np.linalg.norm(across)
    flat = np.column_stack([points @ across, points @ np.cross(axis, across)]).astype(np.float64)
    return manifold3d.triangulate([flat]).tolist()
