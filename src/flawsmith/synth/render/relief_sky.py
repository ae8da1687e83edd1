"""The light from around, for surfaces without geometry: irradiance by normal, and what a rough mirror shows of a sky.

Sources: Ramamoorthi and Hanrahan, SIGGRAPH 2001 (irradiance by nine numbers); Karis, SIGGRAPH 2013 (the specular part
as a blurred sky times two numbers by roughness and angle).
"""

import math
from functools import lru_cache

import cv2
import numpy as np

from flawsmith.synth.scene import Environment

_ROWS = 24  # of the sky as it is summed …
_SEEN = 12  # … and of the upper half of the blurred one
_TABLE = 24
Vectors = tuple[np.ndarray, np.ndarray, np.ndarray]


class Sky:
    """One environment, seen by a surface of about one roughness."""

    def __init__(self, environment: Environment, roughness: float) -> None:
        radiance = np.asarray(environment.radiance, np.float32)
        self.even = radiance[0, 0][:, None] if radiance.shape[:2] == (1, 1) else None
        self.yaw = environment.yaw_rad
        if self.even is None:
            small = cv2.resize(radiance, (2 * _ROWS, _ROWS), interpolation=cv2.INTER_AREA).reshape(-1, 3)
            self.moments = _moments() @ small
            self.blurred = (_blur(round(roughness / 0.05)) @ small).reshape(_SEEN, 4 * _SEEN, 3)

    def matt(self, n: Vectors) -> np.ndarray:
        """(3, n) or (3, 1): irradiance / π of surfaces that face n."""
        if self.even is not None:
            return self.even
        return self.moments.T @ _basis(*self._turned(n)).astype(np.float32)

    def mirrored(self, n: Vectors, v: Vectors, nov: np.ndarray) -> np.ndarray:
        """(3, n) or (3, 1): the blurred sky where a mirror that faces n shows it to v."""
        if self.even is not None:
            return self.even
        x, y, z = self._turned(tuple(2 * nov * a - b for a, b in zip(n, v, strict=True)))
        column = (0.5 - np.arctan2(y, x) / np.float32(2 * math.pi)) * (4 * _SEEN) - 0.5
        row = np.arccos(np.clip(z, 0, 1)) * np.float32(2 / math.pi * _SEEN) - 0.5
        at = column.astype(np.float32)[None], np.clip(row, 0, _SEEN - 1).astype(np.float32)[None]
        return cv2.remap(self.blurred, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)[0].T

    def specular(self, roughness: np.ndarray, nov: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """F0 × scale + bias of what is mirrored reaches the eye."""
        at = (nov * np.float32(_TABLE - 1))[None], (roughness * np.float32(_TABLE - 1))[None]
        seen = cv2.remap(_table(), *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
        return seen[:, 0], seen[:, 1]

    def _turned(self, v: tuple) -> Vectors:
        """World directions in the map's own frame."""
        c, s = np.float32(math.cos(self.yaw)), np.float32(math.sin(self.yaw))
        return v[0] * c + v[1] * s, v[1] * c - v[0] * s, v[2]


def _directions(rows: int, columns: int, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """(rows × columns, 3) unit directions of a map from straight up to polar angle `reach`, and their solid angles.

    The middle column looks along +x, and columns to its right turn towards -y, as in `scene.Environment`.
    """
    theta = (np.arange(rows) + 0.5) / rows * reach
    phi = (0.5 - (np.arange(columns) + 0.5) / columns) * 2 * math.pi
    theta, phi = (a.ravel() for a in np.meshgrid(theta, phi, indexing="ij"))
    places = np.column_stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)])
    return places, np.sin(theta) * (reach / rows) * (2 * math.pi / columns)


@lru_cache(maxsize=1)
def _moments() -> np.ndarray:
    """(9, pixels): a sky to the nine numbers of irradiance / π."""
    places, angle = _directions(_ROWS, 2 * _ROWS, math.pi)
    damped = np.array([1, 2 / 3, 2 / 3, 2 / 3, 0.25, 0.25, 0.25, 0.25, 0.25])
    return (damped[:, None] * _basis(*places.T) * angle).astype(np.float32)


@lru_cache(maxsize=24)
def _blur(step: int) -> np.ndarray:
    """(blurred pixels, sky pixels): what a GGX mirror of roughness 0.05 × step gathers round each direction."""
    alpha2 = max(0.05 * step, 0.15) ** 4
    seen, _ = _directions(_SEEN, 4 * _SEEN, math.pi / 2)
    sky, angle = _directions(_ROWS, 2 * _ROWS, math.pi)
    cosine = seen @ sky.T
    half2 = (1 + cosine) / 2  # the squared cosine of half the angle: that of the microfacet
    weight = np.maximum(cosine, 0) / (half2 * (alpha2 - 1) + 1) ** 2 * angle
    return (weight / weight.sum(1, keepdims=True)).astype(np.float32)


@lru_cache(maxsize=1)
def _table() -> np.ndarray:
    """float32 (roughness, cosine of view, 2): Karis's scale and bias, by 256 microfacets each."""
    count = 256
    u = (np.arange(count) + 0.5) / count
    turn = 2 * math.pi * ((np.arange(count) * 0.6180339887) % 1)
    alpha2 = np.maximum(np.linspace(0, 1, _TABLE), 0.02)[:, None, None] ** 4
    nov = np.maximum(np.linspace(0, 1, _TABLE), 0.02)[None, :, None]
    noh = np.sqrt((1 - u) / (1 + (alpha2 - 1) * u))
    voh = noh * nov + np.sqrt(1 - noh**2) * np.cos(turn) * np.sqrt(1 - nov**2)
    nol = 2 * voh * noh - nov
    lit = (nol > 0) & (voh > 0)
    nol = np.maximum(nol, 1e-4)
    masked = 4 * nol * nov / ((nol + _smith(alpha2, nol)) * (nov + _smith(alpha2, nov)))
    weight = np.where(lit, masked * voh / (noh * nov), 0)
    fresnel = (1 - np.clip(voh, 0, 1)) ** 5
    return np.stack([(weight * (1 - fresnel)).mean(2), (weight * fresnel).mean(2)], axis=-1).astype(np.float32)


def _smith(alpha2: np.ndarray, cosine: np.ndarray) -> np.ndarray:
    return np.sqrt(alpha2 + (1 - alpha2) * cosine**2)


def _basis(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Real spherical harmonics up to the second order, (9, n)."""
    return np.stack(
        [
            np.full_like(z, 0.282095),
            *(0.488603 * a for a in (y, z, x)),
            *(1.092548 * a for a in (x * y, y * z)),
            0.315392 * (3 * z * z - 1),
            1.092548 * x * z,
            0.546274 * (x * x - y * y),
        ]
    )
