"""Sharp edges of a component: where two faces meet at more than the crease angle, or a face ends."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from flawsmith.part.part import Component
from flawsmith.synth.defect.soup import CREASE_RAD, Soup, soup_of, weld


@dataclass(frozen=True, eq=False)
class Edges:
    """E sharp edges of a soup.

    ends:    (E, 2, 3) mm
    faces:   (E, 2) triangles of the soup on its two sides; the same twice where a face ends
    outward: (E,) the faces meet in a ridge, not in a groove
    """

    ends: np.ndarray
    faces: np.ndarray
    outward: np.ndarray

    @property
    def lengths_mm(self) -> np.ndarray:
        return np.linalg.norm(self.ends[:, 1] - self.ends[:, 0], axis=1)

    def distance_mm(self, point: np.ndarray) -> float:
        """To the nearest of them; inf where there are none."""
        if not len(self.ends):
            return np.inf
        start, along = self.ends[:, 0], self.ends[:, 1] - self.ends[:, 0]
        t = np.einsum("ei,ei->e", point - start, along) / np.maximum(np.einsum("ei,ei->e", along, along), 1e-18)
        nearest = start + np.clip(t, 0, 1)[:, None] * along
        return float(np.linalg.norm(nearest - point, axis=1).min())


@lru_cache(maxsize=64)
def sharp_edges(component: Component) -> Edges:
    """The edges of `soup_of(component)`."""
    soup = soup_of(component)
    owner = weld(soup.points.reshape(-1, 3)).reshape(-1, 3)
    sides = np.sort(np.stack([owner, np.roll(owner, -1, 1)], -1).reshape(-1, 2), axis=1)
    order = np.lexsort(sides.T)
    ordered = sides[order]
    starts = np.flatnonzero(np.r_[True, (ordered[1:] != ordered[:-1]).any(1)])
    counts = np.diff(np.r_[starts, len(ordered)])
    first, second = order[starts], order[starts + np.minimum(counts, 2) - 1]
    faces = np.stack([first, second], -1) // 3
    turn = np.einsum("ei,ei->e", soup.flat[faces[:, 0]], soup.flat[faces[:, 1]])
    sharp = (counts == 1) | (turn < np.cos(CREASE_RAD))
    return _edges(soup, first[sharp], second[sharp])


def _edges(soup: Soup, first: np.ndarray, second: np.ndarray) -> Edges:
    """From the numbers of the two half-edges of each (triangle × 3 + corner)."""
    a, b = first // 3, second // 3
    ends = np.stack([soup.points[a, first % 3], soup.points[a, (first + 1) % 3]], 1)
    opposite = soup.points[b, (second + 2) % 3]
    below = np.einsum("ei,ei->e", opposite - ends[:, 0], soup.flat[a]) <= 0
    return Edges(ends, np.stack([a, b], -1), below)
