"""Parts dropped into a heap: MuJoCo settles their convex pieces inside four walls, the same way every time."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.transform import Rotation

from flawsmith.core.errors import ConfigError, missing_package
from flawsmith.part.part import Component, Part
from flawsmith.synth.distribution import NoRoomError
from flawsmith.synth.pose import moved

SLABS = 6
ABOVE_MM = 0.01
STEP_S = 0.004
LONGEST_S = 14.0
STILL = 0.02  # radii per second
MARGIN = 0.004  # radii, of each body: contacts are kept twice this apart, so that their softness never overlaps


def drop(
    parts: Sequence[Part], size_mm: tuple[float, float], gap_mm: float, rng: np.random.Generator
) -> list[np.ndarray]:
    """`world_from_part` of each after all have fallen. Raises `ConfigError` when they do not fit or do not settle."""
    mujoco = _mujoco()
    centres = [p.bounds_mm.mean(axis=0) for p in parts]
    radii = [float(np.linalg.norm(p.vertices - c, axis=1).max()) for p, c in zip(parts, centres, strict=True)]
    unit = max(radii)
    starts = _starts(radii, size_mm, gap_mm, rng)
    model = mujoco.MjModel.from_xml_string(_world(parts, centres, starts, size_mm, unit))
    data = mujoco.MjData(model)
    for _ in range(int(LONGEST_S / STEP_S)):
        mujoco.mj_step(model, data)
        if data.time > 1 and float(np.abs(data.qvel).max()) < STILL:
            break
    else:
        raise NoRoomError("the pile does not come to rest: lower its count, or give the parts a wider stage.size_mm")
    poses = [_pose(data.qpos[7 * n : 7 * n + 7], centre, unit) for n, centre in enumerate(centres)]
    lowest = min(float(moved(pose, p.vertices)[:, 2].min()) for p, pose in zip(parts, poses, strict=True))
    for pose in poses:
        pose[2, 3] -= lowest - ABOVE_MM
    return poses


def _mujoco() -> Any:
    """Its names are made at import, so a type checker sees none of them."""
    try:
        import mujoco
    except ImportError as error:
        raise missing_package("mujoco", "synth") from error
    return mujoco


def _starts(
    radii: Sequence[float], size_mm: tuple[float, float], gap_mm: float, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Centre (mm) and quaternion (w, x, y, z) of each part, one above the other, turned at random."""
    half = np.array(size_mm) / 2
    height, starts = 0.0, []
    for radius in radii:
        reach = half - radius - gap_mm
        if (reach < 0).any():
            raise ConfigError(
                f"a part of {2 * radius:.1f} mm cannot be dropped on {size_mm[0]:g} × {size_mm[1]:g} mm: it needs its "
                f"largest extent and {gap_mm:g} mm free on each side; raise stage.size_mm"
            )
        height += radius + gap_mm
        spot = np.array([*rng.uniform(-reach, reach), height])
        x, y, z, w = Rotation.random(rng=rng).as_quat()
        starts.append((spot, np.array([w, x, y, z])))
        height += radius
    return starts


def pieces(component: Component) -> list[np.ndarray]:
    """Convex hulls (vertices) of slabs across the longest axis: a bolt is a head and a shank, not one cone."""
    from trimesh.intersections import slice_mesh_plane

    mesh = component.to_trimesh()
    axis = int(np.argmax(np.ptp(component.vertices, axis=0)))
    low, high = component.vertices[:, axis].min(), component.vertices[:, axis].max()
    cuts = np.linspace(low, high, SLABS + 1)
    normal = np.eye(3)[axis]
    found = []
    for a, b in pairwise(cuts):
        above = slice_mesh_plane(mesh, normal, a * normal, cap=False)
        slab = slice_mesh_plane(above, -normal, b * normal, cap=False) if above is not None else None
        found.append(_hull(np.asarray(slab.vertices)) if slab is not None else None)
    return [hull for hull in found if hull is not None]


def _hull(points: np.ndarray) -> np.ndarray | None:
    """Corners of the convex hull, or None for what is flat."""
    if len(points) < 4:
        return None
    try:
        return points[ConvexHull(points).vertices]
    except QhullError:
        return None


def _world(
    parts: Sequence[Part],
    centres: Sequence[np.ndarray],
    starts: Sequence[tuple[np.ndarray, np.ndarray]],
    size_mm: tuple[float, float],
    unit: float,
) -> str:
    """MuJoCo's XML, lengths in radii of the largest part: contact stiffness then suits small and large parts alike."""
    meshes, bodies = [], []
    for n, (part, centre, (spot, turn)) in enumerate(zip(parts, centres, starts, strict=True)):
        geoms = []
        for m, corners in enumerate(c for component in part.components for c in pieces(component)):
            meshes.append(f'<mesh name="m{n}-{m}" maxhullvert="48" vertex="{_text((corners - centre) / unit)}"/>')
            geoms.append(f'<geom type="mesh" mesh="m{n}-{m}"/>')
        bodies.append(f'<body pos="{_text(spot / unit)}" quat="{_text(turn)}"><freejoint/>{"".join(geoms)}</body>')
    x, y = np.array(size_mm) / 2 / unit
    walls = [(x + 1, 0, 1, y + 2), (-x - 1, 0, 1, y + 2), (0, y + 1, x + 2, 1), (0, -y - 1, x + 2, 1)]
    boxes = "".join(f'<geom type="box" pos="{a} {b} 50" size="{c} {d} 50"/>' for a, b, c, d in walls)
    return f"""<mujoco><option timestep="{STEP_S}" integrator="implicitfast" cone="elliptic" impratio="5"/>
    <default><geom margin="{MARGIN}" density="1" friction="0.5 0.02 0.002" solref="0.012 1" condim="4"/></default>
    <asset>{"".join(meshes)}</asset>
    <worldbody><geom type="plane" size="0 0 1"/>{boxes}{"".join(bodies)}</worldbody></mujoco>"""


def _text(values: np.ndarray) -> str:
    return " ".join(f"{v:.7g}" for v in values.ravel())


def _pose(state: np.ndarray, centre: np.ndarray, unit: float) -> np.ndarray:
    """`world_from_part` from a body's position (in `unit`s) and quaternion; the body's origin is the part's centre."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_quat(np.roll(state[3:], -1)).as_matrix()
    pose[:3, 3] = state[:3] * unit - pose[:3, :3] @ centre
    return pose
