"""Rays against a component's triangles, for the few that placing a defect needs."""

import numpy as np

from flawsmith.synth.defect.soup import Soup

_GAP_MM = 0.05  # components nearer to each other than this count as one wall


def first_hit(soup: Soup, origin: np.ndarray, direction: np.ndarray, after_mm: float = 1e-4) -> tuple[float, int]:
    """Distance to and number of the nearest triangle farther than `after_mm`, or (inf, -1)."""
    distance, number = hits(soup, origin, direction, after_mm)
    return (float(distance.min()), int(number[distance.argmin()])) if len(number) else (np.inf, -1)


def hits(soup: Soup, origin: np.ndarray, direction: np.ndarray, after_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Distances to and numbers of all triangles that a ray meets (Möller, Trumbore, J. Graphics Tools 1997)."""
    a, b, c = soup.points.swapaxes(0, 1)
    edge1, edge2, s = b - a, c - a, origin - a
    p = np.cross(direction, edge2)
    q = np.cross(s, edge1)
    det = np.einsum("ti,ti->t", edge1, p)
    inverse = np.divide(1.0, det, out=np.zeros_like(det), where=np.abs(det) > 1e-14)
    u = np.einsum("ti,ti->t", s, p) * inverse
    v = (q @ direction) * inverse
    t = np.einsum("ti,ti->t", edge2, q) * inverse
    hit = np.flatnonzero((inverse != 0) & (u >= 0) & (v >= 0) & (u + v <= 1) & (t > after_mm))
    return t[hit], hit


def wall_below(soups: list[Soup], point: np.ndarray, normal: np.ndarray) -> float:
    """Thickness of material below a surface point, through components that touch or overlap; inf where it is open."""
    distances, leaves = [], []
    for soup in soups:
        distance, number = hits(soup, point, -normal, 1e-3)
        distances.append(distance)
        leaves.append(soup.flat[number] @ normal < 0)
    order = np.argsort(np.concatenate(distances))
    far, leaving = np.concatenate(distances)[order], np.concatenate(leaves)[order]
    depth = 1
    for number, (distance, out) in enumerate(zip(far, leaving, strict=True)):
        depth += -1 if out else 1
        following = far[number + 1] if number + 1 < len(far) else np.inf
        if depth <= 0 and following - distance > _GAP_MM:
            return float(distance)
    return np.inf


def in_the_open(soups: list[Soup], point: np.ndarray, normal: np.ndarray, rng: np.random.Generator, rays: int) -> bool:
    """Whether one of `rays` random directions over the surface leads outside."""
    for drawn in rng.normal(0, 0.6, (rays, 3)) + normal:
        direction = drawn / np.linalg.norm(drawn)
        if direction @ normal > 0.1 and all(first_hit(s, point + 1e-3 * normal, direction)[1] < 0 for s in soups):
            return True
    return False
