"""How much light falls on a small horizontal card: what a photographer's grey card measures. Nothing casts shadows."""

import numpy as np

from flawsmith.synth.pose import inverse
from flawsmith.synth.scene import Environment, MeshLight, SpotLight

UP = np.array([0.0, 0.0, 1.0])


def card_irradiance(
    lights: tuple[MeshLight | SpotLight, ...], environment: Environment | None, point: np.ndarray
) -> np.ndarray:
    """(3,) linear RGB irradiance on a card that lies level at `point`, in π × radiance units."""
    total = np.zeros(3) if environment is None else environment_irradiance(environment.radiance)
    for light in lights:
        from_light = mesh_irradiance(light, point) if isinstance(light, MeshLight) else spot_irradiance(light, point)
        total = total + from_light
    return total


def mesh_irradiance(light: MeshLight, point: np.ndarray) -> np.ndarray:
    """Lambert's formula: exact for polygons of even radiance, each clipped at the card's horizon.

    Source: Arvo, The Irradiance Jacobian for Partially Occluded Polyhedral Sources, SIGGRAPH 1994, eq. 1.
    """
    triangles = light.vertices.astype(float)[light.faces] - point
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    lit = np.einsum("ij,ij->i", normals, triangles[:, 0]) < 0
    factor = sum(_form_factor(_above_horizon(t)) for t in triangles[lit])
    return np.asarray(light.radiance, float) * np.pi * factor


def _above_horizon(polygon: np.ndarray) -> np.ndarray:
    """The part of a convex polygon with z ≥ 0 (Sutherland–Hodgman)."""
    kept = []
    for a, b in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if a[2] >= 0:
            kept.append(a)
        if (a[2] < 0) != (b[2] < 0):
            kept.append(a + (b - a) * (a[2] / (a[2] - b[2])))
    return np.array(kept)


def _form_factor(polygon: np.ndarray) -> float:
    """Share of the card's cosine-weighted hemisphere that the polygon fills."""
    if len(polygon) < 3:
        return 0.0
    rays = polygon / np.linalg.norm(polygon, axis=1, keepdims=True)
    following = np.roll(rays, -1, axis=0)
    cross = np.cross(rays, following)
    sine = np.linalg.norm(cross, axis=1)
    angle = np.arctan2(sine, np.einsum("ij,ij->i", rays, following))
    edges = np.where(sine > 1e-12, angle / np.maximum(sine, 1e-12), 0.0) * cross[:, 2]
    return abs(float(edges.sum())) / (2 * np.pi)


def spot_irradiance(light: SpotLight, point: np.ndarray) -> np.ndarray:
    """Inverse square and cosine of a point source."""
    local = inverse(light.world_from_light) @ np.array([*point, 1.0])
    distance = float(np.linalg.norm(local[:3]))
    cosine = float((light.world_from_light[:3, 3] - point) @ UP) / distance
    share = falloff(light, np.array([np.arccos(np.clip(local[2] / distance, -1, 1))]))[0]
    return np.asarray(light.intensity, float) * share * max(cosine, 0.0) / distance**2


def falloff(light: SpotLight, angle_rad: np.ndarray) -> np.ndarray:
    """Relative intensity off the axis: the measured profile, or 1 inside the beam and linear to 0 at the cut-off."""
    if light.profile is None:
        edge = max(light.cutoff_rad - light.beam_rad, 1e-6)
        return np.clip((light.cutoff_rad - angle_rad) / edge, 0, 1)
    angles = np.linspace(0, light.cutoff_rad, len(light.profile))
    return np.interp(angle_rad, angles, light.profile, right=0.0)


def environment_irradiance(radiance: np.ndarray) -> np.ndarray:
    """(3,) cosine-weighted integral over the upper half of an equirectangular map, row 0 up."""
    if radiance.shape[:2] == (1, 1):
        return np.pi * radiance[0, 0].astype(float)
    rows, cols = radiance.shape[:2]
    polar = (np.arange(rows) + 0.5) * np.pi / rows
    weight = np.where(polar < np.pi / 2, np.cos(polar) * np.sin(polar), 0) * (np.pi / rows) * (2 * np.pi / cols)
    return np.einsum("ijk,i->k", radiance.astype(float), weight)
