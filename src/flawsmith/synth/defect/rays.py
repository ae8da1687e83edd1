"""Rays against a component's triangles, for the few that placing a defect needs."""

import numpy as np

from flawsmith.synth.defect.soup import Soup


def first_hit(soup: Soup, origin: np.ndarray, direction: np.ndarray, after_mm: float = 1e-4) -> tuple[float, int]:
    """Distance to and number of the nearest triangle farther than `after_mm`, or (inf, -1); Möller, Trumbore 1997."""
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
    if not len(hit):
        return np.inf, -1
    first = int(hit[t[hit].argmin()])
    return float(t[first]), first


def in_the_open(soups: list[Soup], point: np.ndarray, normal: np.ndarray, rng: np.random.Generator, rays: int) -> bool:
    """Whether one of `rays` random directions over the surface leads outside."""
    for direction in rng.normal(0, 0.6, (rays, 3)) + normal:
        direction /= np.linalg.norm(direction)
        if direction @ normal > 0.1 and all(first_hit(s, point + 1e-3 * normal, direction)[1] < 0 for s in soups):
            return True
    return False
