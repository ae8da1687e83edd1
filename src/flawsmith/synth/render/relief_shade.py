"""Light on a level surface with relief: GGX and Burley's diffuse, for lights as points; `relief_sky` has the rest.

Everything is float32 arrays of n pixels, in blocks small enough to stay in a processor's cache. Sources: Walter et al.,
EGSR 2007 (GGX); Burley, SIGGRAPH 2012 (principled surface, as in Mitsuba and Blender).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from flawsmith.synth.render.build import profile
from flawsmith.synth.render.relief_sky import Sky
from flawsmith.synth.scene import MeshLight, SpotLight

_POINTS = 16  # that stand for all lights together …
_LEAST, _MOST = 4, 8  # … and for each
_PIECES = 64  # a mesh is cut into at least so many triangles before it is gathered into points
_COAT_F0, _COAT_WEIGHT = 0.04, 0.25  # of Burley's clearcoat


@dataclass(frozen=True, eq=False)
class Points:
    """One light as points.

    power:  radiance × mm² of each, or a spot's intensity
    spread: what each stands for, as the covariance (xx, xy, yy) of its surface in mm²: highlights are so much wider
    spot:   angles and relative intensities
    """

    position: np.ndarray  # (L, 3)
    normal: np.ndarray  # (L, 3)
    power: np.ndarray  # (3,)
    spread: np.ndarray  # (L, 3) float32
    spot: tuple[np.ndarray, np.ndarray] | None = None


@dataclass(frozen=True, eq=False)
class Surface:
    """n pixels of a level surface: where they are, which way they face, what they are made of.

    Arrays are (n,) float32 or numbers; `base` is (3, n) or (3, 1). slope_x, slope_y: of the relief, mm per mm.
    """

    x: np.ndarray
    y: np.ndarray
    z_mm: float
    slope_x: np.ndarray
    slope_y: np.ndarray
    base: np.ndarray
    roughness: np.ndarray
    metallic: np.ndarray
    ior: float
    anisotropy: float
    grain: tuple[float, float]  # direction of u in world xy
    clearcoat: float
    coat_alpha: float

    def part(self, block: slice) -> "Surface":
        """The pixels of `block`."""
        cut = ("x", "y", "slope_x", "slope_y", "roughness", "metallic")
        return replace(self, base=self.base[:, block], **{name: getattr(self, name)[block] for name in cut})


def points_of(lights: Sequence[MeshLight | SpotLight]) -> list[Points]:
    """Each light as a handful of points, evenly over its surface."""
    return list(_points_of(tuple(lights)))


@lru_cache(maxsize=4)  # windows and twins have the lights of their image
def _points_of(lights: tuple[MeshLight | SpotLight, ...]) -> list[Points]:
    meshes = sum(isinstance(light, MeshLight) for light in lights)
    count = int(np.clip(_POINTS // max(meshes, 1), _LEAST, _MOST))
    return [_mesh_points(light, count) if isinstance(light, MeshLight) else _spot_point(light) for light in lights]


def _mesh_points(light: MeshLight, count: int) -> Points:
    """The mesh in pieces of equal area that lie together, each as a point in its middle."""
    corners = light.vertices.astype(np.float64)[light.faces]
    while len(corners) < _PIECES:
        corners = _halved(corners)
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    doubled = np.linalg.norm(cross, axis=1)
    centre = corners.mean(1)
    order = np.argsort(_along_curve(centre), kind="stable")
    ends = np.cumsum(doubled[order])
    piece = np.minimum(((ends - doubled[order] / 2) / ends[-1] * count).astype(int), count - 1)
    share = np.zeros((count, len(corners)))
    share[piece, order] = doubled[order]
    share = share[share.any(1)]
    position = share @ centre / share.sum(1, keepdims=True)
    normal = share @ (cross / np.maximum(doubled, 1e-12)[:, None]) / share.sum(1, keepdims=True)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    offset = centre - (share > 0).T @ position
    products = np.column_stack([offset[:, 0] ** 2, offset[:, 0] * offset[:, 1], offset[:, 1] ** 2])
    spread = share @ products / share.sum(1, keepdims=True)
    return Points(
        position, normal, np.asarray(light.radiance, float) * ends[-1] / 2 / len(position), spread.astype(np.float32)
    )


def _halved(corners: np.ndarray) -> np.ndarray:
    """Every triangle (T, 3, 3) cut at the middle of its longest edge."""
    edges = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2)
    turn = (edges.argmax(1)[:, None] + np.arange(3)) % 3
    a, b, c = np.moveaxis(np.take_along_axis(corners, turn[..., None], axis=1), 1, 0)
    middle = (a + b) / 2
    return np.concatenate([np.stack([a, middle, c], axis=1), np.stack([middle, b, c], axis=1)])


def _along_curve(points: np.ndarray) -> np.ndarray:
    """Places of points on Morton's curve through their two widest directions, so that neighbours stay together."""
    flat = points - points.mean(0)
    axes = np.linalg.svd(flat, full_matrices=False)[2][:2]
    flat = flat @ axes.T
    cell = ((flat - flat.min(0)) / max(float(np.ptp(flat, axis=0).max()), 1e-9) * 1023).astype(np.int64)
    place = np.zeros(len(points), np.int64)
    for bit in range(10):
        place |= ((cell[:, 0] >> bit) & 1) << (2 * bit + 1) | ((cell[:, 1] >> bit) & 1) << (2 * bit)
    return place


def _spot_point(light: SpotLight) -> Points:
    pose = light.world_from_light
    return Points(
        pose[None, :3, 3],
        pose[None, :3, 2],
        np.asarray(light.intensity, float),
        np.zeros((1, 3), np.float32),
        profile(light),
    )


@dataclass(frozen=True, eq=False)
class _Angles:
    """What every light needs of a block of pixels: the normal, the view, their cosine, and that kept above 0.02."""

    n: tuple[np.ndarray, np.ndarray, np.ndarray]
    v: tuple[np.ndarray, np.ndarray, np.ndarray]
    cosine: np.ndarray
    nov: np.ndarray


def shade(
    surface: Surface, eye: np.ndarray, lights: Sequence[Points], lit: Sequence[np.ndarray | None], sky: Sky | None
) -> np.ndarray:
    """(3, n) radiance towards `eye`. lit: share of each light that reaches each pixel; None: all of it."""
    angles = _angles(surface, eye)
    total = np.zeros((3, len(surface.x)), np.float32)
    f0 = _f0(surface)
    diffuse = surface.base * ((1 - surface.metallic) / np.float32(math.pi))
    for light, share in zip(lights, lit, strict=True):
        matt, low, high, coat = _light(surface, angles, light)
        total += (
            (diffuse * matt + f0 * low + (high + coat))
            * light.power[:, None].astype(np.float32)
            * (1 if share is None else share)
        )
    if sky is not None:
        around = sky.mirrored(angles.n, angles.v, angles.nov)
        scale, bias = sky.specular(surface.roughness, angles.nov)
        total += np.float32(math.pi) * diffuse * sky.matt(angles.n) + around * (f0 * scale + bias)
    return total


def _angles(surface: Surface, eye: np.ndarray) -> _Angles:
    nz = 1 / np.sqrt(surface.slope_x**2 + surface.slope_y**2 + 1)
    n = (-surface.slope_x * nz, -surface.slope_y * nz, nz)
    dx, dy, dz = np.float32(eye[0]) - surface.x, np.float32(eye[1]) - surface.y, np.float32(eye[2] - surface.z_mm)
    near = 1 / np.sqrt(dx * dx + dy * dy + dz * dz)
    v = (dx * near, dy * near, dz * near)
    cosine = n[0] * v[0] + n[1] * v[1] + n[2] * v[2]
    return _Angles(n, v, cosine, np.maximum(cosine, np.float32(0.02)))


def _f0(surface: Surface) -> np.ndarray:
    dielectric = np.float32(((surface.ior - 1) / (surface.ior + 1)) ** 2)
    return dielectric + (surface.base - dielectric) * surface.metallic


def _light(surface: Surface, at: _Angles, light: Points) -> tuple[np.ndarray, ...]:
    """For unit power: what Burley's diffuse, F0, 1 - F0 and the clearcoat are to be multiplied by, each (n,)."""
    matt, low, high, coat = (np.zeros_like(at.nov) for _ in range(4))
    alpha2 = np.square(np.square(surface.roughness))
    rest2 = 1 - alpha2
    width = _grain_width(surface, alpha2)
    view_mask = at.nov + np.sqrt(alpha2 + rest2 * at.nov * at.nov)
    view5 = _fifth(1 - at.nov)
    twice = 2 * surface.roughness
    bare = bool((surface.metallic == 1).all())  # metal has no diffuse light
    n, v = at.n, at.v
    for position, normal, spread in zip(light.position, light.normal, light.spread, strict=True):
        lx, ly, lz, e, inv2 = _towards(surface, light, position, normal)
        cosine = n[0] * lx + n[1] * ly + n[2] * lz
        nol = np.maximum(cosine, 0)
        e = e * nol
        hx, hy, hz = lx + v[0], ly + v[1], lz + v[2]
        length2 = hx * hx + hy * hy + hz * hz  # of light and view together: twice the cosine between each and half-way
        inv = 1 / np.sqrt(length2)
        noh = (cosine + at.cosine) * inv
        loh2 = length2 * np.float32(0.25)
        loh = loh2 * inv * 2
        fresnel = _fifth(1 - loh)
        if not bare:
            grazing = twice * loh2 - 0.5
            matt += e * (1 + grazing * _fifth(1 - nol)) * (1 + grazing * view5)
        reach = inv2 / loh2
        hx, hy, noh2 = hx * inv - n[0] * noh, hy * inv - n[1] * noh, noh * noh
        d = _lobe(hx, hy, noh2, *(w + reach * s for w, s in zip(width, spread, strict=True)))
        d *= e
        d /= np.maximum((nol + np.sqrt(alpha2 + rest2 * nol * nol)) * view_mask, np.float32(1e-4))
        dim = d * fresnel
        low += d
        low -= dim
        high += dim
        if surface.clearcoat:
            narrow = np.float32(surface.coat_alpha**2)
            around = (narrow + reach * s for s in (spread[0], spread[2]))
            wide = (next(around), reach * spread[1], next(around))
            coat += e * _coat(surface, _lobe(hx, hy, noh2, *wide), nol, at.nov, fresnel)
    return matt, low, high, coat


def _fifth(x: np.ndarray) -> np.ndarray:
    square = x * x
    return square * square * x


def _grain_width(surface: Surface, alpha2: np.ndarray) -> tuple[np.ndarray, np.ndarray | float, np.ndarray]:
    """GGX's alpha² as a 2 × 2 matrix (xx, xy, yy) in world axes: anisotropy stretches it along the grain."""
    if not surface.anisotropy:
        return alpha2, 0.0, alpha2
    stretch2 = np.float32(1 - 0.9 * surface.anisotropy)
    along, across = alpha2 / stretch2, alpha2 * stretch2
    x, y = (np.float32(g) for g in surface.grain)
    return along * (x * x) + across * (y * y), (along - across) * (x * y), along * (y * y) + across * (x * x)


def _lobe(hx: np.ndarray, hy: np.ndarray, noh2: np.ndarray, xx, xy, yy) -> np.ndarray:
    """GGX for microfacets off the normal by (hx, hy), with alpha² the matrix (xx, xy; xy, yy)."""
    det = xx * yy - xy * xy
    slope = (yy * hx * hx - 2 * xy * hx * hy + xx * hy * hy) / det + noh2
    return 1 / (np.float32(math.pi) * np.sqrt(det) * slope * slope)


def _coat(surface: Surface, lobe: np.ndarray, nol: np.ndarray, nov: np.ndarray, fresnel: np.ndarray) -> np.ndarray:
    """Burley's second lobe: lacquer, with the masking of alpha 0.25."""
    masked = (nol + np.sqrt(0.0625 + 0.9375 * nol * nol)) * (nov + np.sqrt(0.0625 + 0.9375 * nov * nov))
    shown = np.float32(_COAT_F0) + np.float32(1 - _COAT_F0) * fresnel
    return np.float32(_COAT_WEIGHT * surface.clearcoat) * lobe * shown / np.maximum(masked, np.float32(1e-4))


def _towards(surface: Surface, light: Points, position: np.ndarray, normal: np.ndarray) -> tuple[np.ndarray, ...]:
    """Unit direction to a point of a light, irradiance of a facing card for unit power, and 1 / distance²."""
    lx, ly = np.float32(position[0]) - surface.x, np.float32(position[1]) - surface.y
    lz = np.float32(position[2] - surface.z_mm)
    inv2 = 1 / (lx * lx + ly * ly + lz * lz)
    inv = np.sqrt(inv2)
    lx, ly, lz = lx * inv, ly * inv, lz * inv
    a, b, c = (np.float32(-k) for k in normal)
    leaving = lx * a + ly * b + lz * c
    if light.spot is None:
        e = np.maximum(leaving, 0) * inv2
    else:
        e = np.interp(np.arccos(np.clip(leaving, -1, 1)), *light.spot, right=0.0).astype(np.float32) * inv2
    return lx, ly, lz, e, inv2
