"""Stable poses: how a part comes to rest on a flat stage, how often, and which of those look the same.

Probabilities are quasi-static (Goldberg et al., "Part pose statistics", 1999), as trimesh computes them on the convex
hull. Poses that a turn about the vertical maps onto one another are one: that is decided by weighted surface moments
∫ rᵖ Pₖ(z) exp(imθ) dA, which a turn only multiplies by a phase.
"""

from dataclasses import dataclass

import numpy as np

from flawsmith.part.errors import PartError
from flawsmith.part.part import Part

_SAMPLES = 6_000
_HARMONICS = 25  # m = 0 … 24
_POWERS = (1, 4)
_LEGENDRE = 4
_SAME = 0.012  # share of the moments that may differ: facets of a tessellation give up to 0.008, a tapered bearing 0.02
_SYMMETRIC = 0.02  # share of the strongest moment below which a harmonic is not there
_MOST_FACETS = 500  # of a ball, say; they are sorted, so the rarest go
_RAREST = 5e-4
_ONE_FACET_DEG = 1.0


@dataclass(frozen=True, eq=False)
class StablePose:
    """One way to lie.

    stage_from_part: 4×4; the part rests on z = 0, its bounding box centred over the origin
    probability:     of ending so when dropped at random; all poses of a part add up to 1
    merged:          how many facets of the hull lead to this pose, alike but for a turn about the vertical
    symmetry:        the order of the part's symmetry about the vertical in this pose, up to 24; 0: any turn looks alike
    """

    stage_from_part: np.ndarray
    probability: float
    merged: int = 1
    symmetry: int = 1


@dataclass(frozen=True, eq=False)
class _Cloud:
    """Points spread evenly over the surface, about the centre of mass, with the area that each stands for."""

    points: np.ndarray
    area: np.ndarray
    radius: float


def stable_poses(part: Part) -> tuple[StablePose, ...]:
    """The most probable first. Raises `PartError` for a part without thickness."""
    down, probability, center = _resting(part)
    cloud = _cloud(part, center)
    groups: list[tuple[np.ndarray, list[int]]] = []
    for index in np.argsort(-probability, kind="stable"):
        moments = _moments(cloud, _upright(down[index]))
        alike = next((members for other, members in groups if _same(other, moments)), None)
        if alike is None:
            groups.append((moments, [int(index)]))
        else:
            alike.append(int(index))
    poses = [_pose(part, down[m[0]], float(probability[m].sum()), len(m), _order(moments)) for moments, m in groups]
    return tuple(sorted(poses, key=lambda pose: -pose.probability))


def _resting(part: Part) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Directions (N, 3) that point down at rest, their probabilities, and the centre of mass."""
    import trimesh
    from scipy.spatial import QhullError
    from trimesh.poses import compute_stable_poses

    try:
        hull = trimesh.convex.convex_hull(part.vertices)
        if hull.volume <= 1e-9 * hull.scale**3:
            raise PartError(f"part {part.name!r} has no thickness: it has no stable poses; give it a volume in CAD")
        center = _center_of_mass(part, hull)
        matrices, chances = compute_stable_poses(hull, center_mass=center, seed=0)
    except QhullError as error:
        raise PartError(f"part {part.name!r} has no thickness: it has no stable poses") from error
    down, chances = _facets(-np.array([m[2, :3] for m in matrices]), np.asarray(chances))
    frequent = (chances >= _RAREST * chances.max()) & (np.arange(len(chances)) < _MOST_FACETS)
    return down[frequent], chances[frequent] / chances[frequent].sum(), center


def _center_of_mass(part: Part, hull) -> np.ndarray:
    """Of the closed components; of the hull where none is closed or the result lies outside of it."""
    meshes = [component.to_trimesh() for component in part.components]
    closed = [m for m in meshes if m.is_watertight and m.volume > 0]
    if not closed:
        return hull.center_mass
    center = np.average([m.center_mass for m in closed], axis=0, weights=[m.volume for m in closed])
    inside = (np.einsum("ij,ij->i", hull.triangles_center - center, hull.face_normals) > 0).all()
    return center if inside else hull.center_mass


def _facets(down: np.ndarray, chances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of one flat side are one way to lie: directions within a degree are joined, the most probable leads."""
    limit = np.cos(np.radians(_ONE_FACET_DEG))
    leaders: list[np.ndarray] = []
    sums: list[float] = []
    for index in np.argsort(-chances, kind="stable"):
        near = np.flatnonzero(np.array(leaders) @ down[index] > limit) if leaders else []
        if len(near):
            sums[near[0]] += chances[index]
        else:
            leaders.append(down[index])
            sums.append(float(chances[index]))
    return np.array(leaders), np.array(sums)


def _cloud(part: Part, center: np.ndarray) -> _Cloud:
    """Every triangle is cut into n² equal ones, n by its area; their centroids stand for them."""
    corners = part.vertices[part.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    cuts = np.ceil(np.sqrt(area / area.sum() * _SAMPLES)).astype(int)
    points, areas = [], []
    for n in np.unique(cuts[cuts > 0]):
        chosen, places = corners[cuts == n], _centroids(int(n))
        points.append(np.einsum("pk,fkx->fpx", places, chosen).reshape(-1, 3))
        areas.append(np.repeat(area[cuts == n] / n**2, n**2))
    about = np.concatenate(points) - center
    return _Cloud(about, np.concatenate(areas), float(np.linalg.norm(about, axis=1).max()))


def _centroids(n: int) -> np.ndarray:
    """Barycentric (n², 3) centroids of a triangle cut into n² equal ones."""
    i, j = (g.ravel() for g in np.meshgrid(np.arange(n), np.arange(n), indexing="ij"))
    up, down = i + j < n, i + j < n - 1
    u = np.concatenate([i[up] + 1 / 3, i[down] + 2 / 3]) / n
    v = np.concatenate([j[up] + 1 / 3, j[down] + 2 / 3]) / n
    return np.column_stack([1 - u - v, u, v])


def _upright(down: np.ndarray) -> np.ndarray:
    """A 3×3 turn that takes `down` to -z."""
    import trimesh

    return np.asarray(trimesh.geometry.align_vectors(down, [0, 0, -1]))[:3, :3]


def _moments(cloud: _Cloud, turn: np.ndarray) -> np.ndarray:
    """Complex (weights, harmonics); the first column is real."""
    x, y, z = (cloud.points @ turn.T / cloud.radius).T
    radius, legendre = np.hypot(x, y), np.polynomial.legendre.legvander(z, _LEGENDRE - 1)
    weights = np.concatenate([(radius**p * cloud.area)[:, None] * legendre for p in _POWERS], axis=1)
    weights /= np.repeat([(radius**p * cloud.area).sum() for p in _POWERS], _LEGENDRE)
    around = np.where(radius > 1e-9, (x + 1j * y) / np.maximum(radius, 1e-9), 1.0)
    powers = np.empty((_HARMONICS, len(around)), complex)
    powers[0] = 1.0
    for m in range(1, _HARMONICS):
        np.multiply(powers[m - 1], around, out=powers[m])
    return (powers @ weights).T


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether one turn makes `b` into `a`. A mirror image conjugates the moments, and is not the same."""
    size = np.linalg.norm(a)
    if np.linalg.norm(np.abs(a) - np.abs(b)) > _SAME * size:
        return False
    overlap = (np.conj(b) * a).sum(axis=0)
    turns = np.exp(-1j * np.outer(np.linspace(0, 2 * np.pi, 1440, endpoint=False), np.arange(_HARMONICS)))
    best = (turns @ overlap).real.max()
    return np.sqrt(max(np.linalg.norm(a) ** 2 + np.linalg.norm(b) ** 2 - 2 * best, 0.0)) <= _SAME * size


def _order(moments: np.ndarray) -> int:
    """The greatest common divisor of the harmonics that are there; 0 when there is none."""
    strength = np.abs(moments).max(axis=0)
    present = np.flatnonzero(strength[1:] > _SYMMETRIC * strength[0]) + 1
    return int(np.gcd.reduce(present)) if len(present) else 0


def _pose(part: Part, down: np.ndarray, probability: float, merged: int, symmetry: int) -> StablePose:
    matrix = np.eye(4)
    matrix[:3, :3] = _upright(down)
    placed = part.vertices[np.unique(part.faces)] @ matrix[:3, :3].T
    low, high = placed.min(0), placed.max(0)
    matrix[:3, 3] = -(low[0] + high[0]) / 2, -(low[1] + high[1]) / 2, -low[2]
    return StablePose(matrix, probability, merged, symmetry)
