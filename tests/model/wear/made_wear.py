"""Wear regions whose figures are known: a profile over a straight edge, turned by any angle, and a picture of it."""

import math
from collections.abc import Callable

import numpy as np

Profile = Callable[[np.ndarray], np.ndarray]


def land(
    depth: Profile, length: float = 200.0, angle_deg: float = 0.0, side: int = 420, recess: Profile | None = None
) -> np.ndarray:
    """Bool (side, side): pixels whose centre lies between the edge, or what has receded of it, and depth(s) behind it.

    The edge of `length` px is turned about the middle of the picture, the insert on its right hand.
    """
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    angle = math.radians(angle_deg)
    s = x * math.cos(angle) + y * math.sin(angle) + length / 2
    t = -x * math.sin(angle) + y * math.cos(angle)
    near = np.zeros_like(s) if recess is None else recess(s)
    return (s > 0) & (s < length) & (t > near) & (t < depth(s))


def insert_picture(angle_deg: float, corner_at: float = 0.0, side: int = 420, seed: int = 0) -> np.ndarray:
    """Uint8 (side, side): a rough insert behind the edge of `land` from `corner_at` px on, before smooth background."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    angle = math.radians(angle_deg)
    s = x * math.cos(angle) + y * math.sin(angle) + 100
    t = -x * math.sin(angle) + y * math.cos(angle)
    rough = np.random.default_rng(seed).integers(60, 250, (side, side))
    return np.where((t > 0) & (s > corner_at), rough, 70).astype(np.uint8)
