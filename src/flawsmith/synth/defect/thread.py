"""Find a screw thread in a component's triangles, and smooth it away."""

from dataclasses import dataclass, replace

import numpy as np

from flawsmith.part.part import Component
from flawsmith.synth.defect.soup import soup_of

_LEADS_MM = (0.2, 12.0)
_SPREAD = 0.35
_LEAST_SHARE = 0.03  # of the component's area that flanks must have


@dataclass(frozen=True, eq=False)
class Thread:
    """A helix round an axis: between two heights along it and two radii, mm.

    component_from_axis: origin on the axis, z along it
    inside: a nut's, not a screw's
    """

    component_from_axis: np.ndarray
    heights_mm: tuple[float, float]
    radii_mm: tuple[float, float]
    lead_mm: float
    inside: bool


def find_thread(component: Component) -> Thread | None:
    """The thread with most flank area round one of the component's axes, or None.

    On a flank the normal's tangential and axial parts stand in the ratio lead / 2πr, on every other face of revolution
    the tangential part is 0.
    """
    soup = soup_of(component)
    areas = soup.areas_mm2
    middles = soup.points.mean(1)
    centre = (areas[:, None] * middles).sum(0) / areas.sum()
    spread = np.einsum("t,ti,tj->ij", areas, middles - centre, middles - centre)
    found = []
    for axis in [*np.linalg.eigh(spread)[1].T, *np.eye(3)]:
        frame = _centred(_frame(axis, centre), middles, soup.flat, areas)
        thread, flanks = _round(frame, soup.points, soup.flat, areas)
        if thread is not None and flanks > _LEAST_SHARE * areas.sum():
            found.append((flanks, thread))
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _frame(axis: np.ndarray, centre: np.ndarray) -> np.ndarray:
    x = np.cross(axis, np.eye(3)[np.abs(axis).argmin()])
    x /= np.linalg.norm(x)
    frame = np.eye(4)
    frame[:3] = np.stack([x, np.cross(axis, x), axis, centre], -1)
    return frame


def _centred(frame: np.ndarray, middles: np.ndarray, flat: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """The frame moved sideways to where the normals of a body of revolution meet, by least squares."""
    points, normals = ((middles - frame[:3, 3]) @ frame[:3, :3])[:, :2], (flat @ frame[:3, :3])[:, :2]
    across = np.stack([-normals[:, 1], normals[:, 0]], -1) * np.sqrt(areas)[:, None]
    offset = np.linalg.lstsq(across, np.einsum("ti,ti->t", across, points), rcond=None)[0]
    moved = frame.copy()
    moved[:3, 3] += frame[:3, :2] @ offset
    return moved


def _round(frame: np.ndarray, points: np.ndarray, flat: np.ndarray, areas: np.ndarray) -> tuple[Thread | None, float]:
    """The thread round the z axis of `frame` and its flanks' area."""
    corners, normals = (points - frame[:3, 3]) @ frame[:3, :3], flat @ frame[:3, :3]
    middle = corners.mean(1)
    radius = np.hypot(middle[:, 0], middle[:, 1])
    around = (normals[:, 1] * middle[:, 0] - normals[:, 0] * middle[:, 1]) / np.maximum(radius, 1e-9)
    steep = (np.abs(normals[:, 2]) > 0.2) & (np.abs(normals[:, 2]) < 0.97)
    signed = 2 * np.pi * radius * around / np.where(steep, normals[:, 2], np.inf)  # of one sign on both flanks
    hand = np.sign((np.sign(signed) * areas * (steep & (np.abs(signed) < _LEADS_MM[1]))).sum())
    lead = signed * hand
    likely = steep & (lead > _LEADS_MM[0]) & (lead < _LEADS_MM[1]) & (lead < 2 * radius)
    if likely.sum() < 30:
        return None, 0.0
    order = np.flatnonzero(likely)[np.argsort(lead[likely])]
    typical = float(lead[order][np.searchsorted(np.cumsum(areas[order]), areas[order].sum() / 2)])
    flank = likely & (np.abs(lead - typical) < _SPREAD * typical)  # coarse triangles scatter to both sides of the truth
    typical = float((lead * areas)[flank].sum() / areas[flank].sum())
    against = steep & (np.abs(lead + typical) < _SPREAD * typical)
    if areas[against].sum() > 0.1 * areas[flank].sum():  # a cone's triangles lean both ways, a helix's one
        return None, 0.0
    used = corners[flank].reshape(-1, 3)
    radii = np.percentile(np.hypot(used[:, 0], used[:, 1]), [2, 98])
    heights = np.percentile(used[:, 2], [0.5, 99.5])
    outward = (normals[flank, 0] * middle[flank, 0] + normals[flank, 1] * middle[flank, 1]).sum()
    thread = Thread(
        frame, (float(heights[0]), float(heights[1])), (float(radii[0]), float(radii[1])), typical, bool(outward < 0)
    )
    return thread, float(areas[flank].sum())


def worn(component: Component, thread: Thread, wear: float, ragged_mm: float, rng: np.random.Generator) -> Component:
    """The component with its thread's profile taken down by the share `wear`; at 1 it is smooth at the root.

    A little below it, in fact: where the thread is a solid of its own it then lies hidden in its core.
    """
    frame = thread.component_from_axis
    local = (component.vertices - frame[:3, 3]) @ frame[:3, :3]
    radius, angle = np.hypot(local[:, 0], local[:, 1]), np.arctan2(local[:, 1], local[:, 0])
    low, high = thread.radii_mm
    slack = 0.15 * (high - low)
    on_thread = (radius > low - slack) & (radius < high + slack)
    on_thread &= (local[:, 2] > thread.heights_mm[0] - slack) & (local[:, 2] < thread.heights_mm[1] + slack)
    torn = _torn(angle, local[:, 2], thread.lead_mm, rng) * ragged_mm
    bury = 0.03 * (high - low) * wear
    smooth = (high + bury if thread.inside else low - bury) + torn
    factor = np.where(on_thread, (radius + wear * (smooth - radius)) / np.maximum(radius, 1e-9), 1.0)
    local[:, :2] *= factor[:, None]
    return replace(component, vertices=local @ frame[:3, :3].T + frame[:3, 3])


def _torn(angle: np.ndarray, height: np.ndarray, lead: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise over a cylinder, about -1 … 1."""
    total = np.zeros_like(angle)
    for turns in range(1, 9):
        phase, slow = rng.uniform(0, 2 * np.pi), rng.normal(0, 1.5 / lead)
        total += rng.normal() / np.sqrt(turns) * np.sin(turns * angle + slow * height + phase)
    return total / 2
