"""Closed, noisy meshes in the patch frame that holes are cut with."""

import cv2
import manifold3d
import numpy as np

from flawsmith.synth.defect.canvas import Canvas
from flawsmith.synth.scene import Cutter

_SIDES = 56  # of a drilled hole


def drill_cutter(canvas: Canvas, diameter: float, depth: float, ragged: float) -> Cutter:
    """A round, slightly wavy hole with a rounded bottom `depth` below the surface."""
    angle = np.arange(_SIDES) * 2 * np.pi / _SIDES
    above, rings = 0.8 * canvas.half_mm, 10
    wave = _ring_noise(canvas.rng, rings) * 0.10 * ragged + _ring_noise(canvas.rng, 1) * 0.12 * ragged
    wave -= wave.mean(axis=1, keepdims=True)  # the drawn diameter is kept
    z = np.concatenate([[above], np.linspace(0, -depth, rings - 1)])
    taper = np.concatenate([np.ones(rings - 2), [0.92, 0.55]])
    radius = diameter / 2 * taper[:, None] * (1 + wave)
    ring = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.broadcast_to(z[:, None], radius.shape)], -1)
    ends = np.array([[0, 0, above], [0, 0, -depth * 1.02]])
    return _closed_tube(np.concatenate([ring.reshape(-1, 3), ends]), rings)


def crack_cutter(canvas: Canvas, paths: list[np.ndarray], widths: list[np.ndarray], depth: float) -> Cutter:
    """Upright walls along jagged `paths` (P, 2), `widths` (P,) apart, `depth` deep."""
    outline = manifold3d.CrossSection()
    for path, width in zip(paths, widths, strict=True):
        outline = outline + _strip(path, width)
    above = 0.8 * canvas.half_mm
    return _cutter(outline.extrude(above + depth).translate((0.0, 0.0, -depth)))


def flake_cutter(canvas: Canvas, semi_axes: tuple[float, float, float], rough: float, square: float = 2.0) -> Cutter:
    """What breaks out: an ellipsoid (`square` 2) or a blunt block (4) with a granular, hackled surface."""
    sphere = manifold3d.Manifold.sphere(1.0, 64).to_mesh()
    points = np.asarray(sphere.vert_properties[:, :3], float)
    norm = (np.abs(points) ** square).sum(1) ** (1 / square)
    noise = (
        _solid_noise(canvas.rng, points, 1.6)
        + 0.5 * _solid_noise(canvas.rng, points, 4)
        + 0.25 * _solid_noise(canvas.rng, points, 11)
    )
    points = points / norm[:, None] * (1 + rough * 0.12 * noise)[:, None]
    points /= np.abs(points).max(0)
    return Cutter(points * semi_axes, np.asarray(sphere.tri_verts, np.int32))


def outline(canvas: Canvas, cutter: Cutter) -> np.ndarray:
    """Coverage (n, n) of the cutter's silhouette seen along the normal, antialiased."""
    solid = manifold3d.Manifold(_mesh(cutter))
    cover = np.zeros((canvas.n, canvas.n), np.uint8)
    shift, scale = 6, (canvas.n - 1) / (2 * canvas.half_mm)
    polygons = [
        np.round((np.asarray(p) + canvas.half_mm) * scale * 2**shift).astype(np.int32)
        for p in solid.project().to_polygons()
    ]
    cv2.fillPoly(cover, polygons, 255, cv2.LINE_AA, shift)
    return cover.astype(np.float32) / 255


def _strip(path: np.ndarray, width: np.ndarray) -> manifold3d.CrossSection:
    along = np.gradient(path, axis=0)
    side = np.stack([-along[:, 1], along[:, 0]], -1) / np.linalg.norm(along, axis=1, keepdims=True)
    ring = np.concatenate([path + side * width[:, None] / 2, (path - side * width[:, None] / 2)[::-1]])
    return manifold3d.CrossSection([ring], manifold3d.FillRule.NonZero)


def _cutter(solid: manifold3d.Manifold) -> Cutter:
    mesh = solid.to_mesh()
    return Cutter(np.asarray(mesh.vert_properties[:, :3], float), np.asarray(mesh.tri_verts, np.int32))


def _mesh(cutter: Cutter) -> manifold3d.Mesh:
    return manifold3d.Mesh(cutter.vertices.astype(np.float32), cutter.faces.astype(np.uint32))


def _closed_tube(points: np.ndarray, rings: int) -> Cutter:
    """Faces of `rings` rings of points, top first, closed by the last two points (top and bottom middle)."""
    this, following = np.arange(_SIDES), (np.arange(_SIDES) + 1) % _SIDES
    top, bottom = rings * _SIDES, rings * _SIDES + 1
    faces = [np.stack([np.full(_SIDES, top), this, following], -1)]
    for ring in range(rings - 1):
        a, b, c, d = (k + step * _SIDES for step in (ring, ring + 1) for k in (this, following))
        faces += [np.stack([a, c, b], -1), np.stack([b, c, d], -1)]
    last = (rings - 1) * _SIDES
    faces.append(np.stack([np.full(_SIDES, bottom), last + following, last + this], -1))
    return Cutter(points, np.concatenate(faces).astype(np.int32))


def _ring_noise(rng: np.random.Generator, rings: int) -> np.ndarray:
    """(rings, _SIDES), smooth round each ring, of unit deviation."""
    orders = np.arange(2, 14)
    angle = np.arange(_SIDES) * 2 * np.pi / _SIDES
    phase, strength = rng.uniform(0, 2 * np.pi, (rings, len(orders), 1)), rng.normal(0, 1, (rings, len(orders), 1))
    total = (strength / orders[:, None] * np.sin(orders[:, None] * angle + phase)).sum(1)
    return total / max(float(total.std()), 1e-9)


def _solid_noise(rng: np.random.Generator, points: np.ndarray, frequency: float) -> np.ndarray:
    """A smooth random function of space at `points`, of unit deviation: a sum of plane waves."""
    waves = rng.normal(0, frequency, (24, 3))
    total = np.sin(points @ waves.T + rng.uniform(0, 2 * np.pi, 24)).sum(1)
    return total / np.sqrt(12)
