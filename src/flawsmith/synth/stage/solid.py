"""Simple bodies of a stage as shapes with texture coordinates in periods of their material."""

import math
from itertools import pairwise

import numpy as np

from flawsmith.synth.scene import Material, Shape


def box(name: str, low: tuple, high: tuple, material: Material) -> Shape:
    """An upright box, its six sides textured flat."""
    low_mm, high_mm = np.array(low, float), np.array(high, float)
    quads = []
    for axis in range(3):
        a, b = [i for i in range(3) if i != axis]
        for side in (low_mm, high_mm):
            corners = np.tile(side, (4, 1))
            corners[:, a] = [low_mm[a], high_mm[a], high_mm[a], low_mm[a]]
            corners[:, b] = [low_mm[b], low_mm[b], high_mm[b], high_mm[b]]
            normal = np.zeros(3)
            normal[axis] = 1 if side is high_mm else -1
            quads.append((corners, normal, corners[:, [a, b]]))
    return _quads(name, quads, material)


def plane(name: str, low: tuple[float, float], high: tuple[float, float], z: float, material: Material) -> Shape:
    """A level rectangle, seen from above."""
    corners = np.array([[low[0], low[1], z], [high[0], low[1], z], [high[0], high[1], z], [low[0], high[1], z]], float)
    return _quads(name, [(corners, np.array([0.0, 0, 1]), corners[:, :2])], material)


def turned(name: str, profile: list[tuple[float, float]], material: Material, count: int = 96) -> Shape:
    """A profile of (radius, z) from the axis outwards and down, turned about z; every edge of it stays sharp."""
    angle = np.linspace(0, 2 * math.pi, count + 1)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    corners = np.array([[0, count + 1, count + 2], [0, count + 2, 1]])
    vertices, normals, uv, faces = [], [], [], []
    for (r0, z0), (r1, z1) in pairwise(profile):
        start = sum(len(v) for v in vertices)
        length = math.hypot(r1 - r0, z1 - z0)
        flat, up = (z0 - z1) / length, (r1 - r0) / length
        vertices += [np.column_stack([ring * r, np.full(count + 1, z)]) for r, z in ((r0, z0), (r1, z1))]
        normals.append(np.tile(np.column_stack([ring * flat, np.full(count + 1, up)]), (2, 1)))
        if abs(up) > abs(flat):
            uv.append(np.concatenate([ring * r0, ring * r1]))
        else:
            around = angle * max(r0, r1)
            uv.append(np.column_stack([np.tile(around, 2), np.repeat([z0, z1], count + 1)]))
        faces.append((start + corners + np.arange(count)[:, None, None]).reshape(-1, 3))
    return _shape(
        name, np.concatenate(vertices), np.concatenate(faces), np.concatenate(normals), np.concatenate(uv), material
    )


def cylinder_x(name: str, radius: float, half_length: float, y: float, z: float, material: Material) -> Shape:
    """A roller along x."""
    solid = turned(
        name, [(0.0, half_length), (radius, half_length), (radius, -half_length), (0.0, -half_length)], material
    )
    turn = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    vertices = solid.vertices @ turn.T + [0, y, z]
    uv = solid.uv * material.period_mm
    return _shape(name, vertices, solid.faces, solid.normals @ turn.T, uv, material)


def sweep(name: str, width: float, floor: float, back: float, height: float, bend: float, material: Material) -> Shape:
    """A photographer's backdrop: level from y = -floor, bent up with radius `bend`, upright at y = back."""
    turn = np.linspace(0, math.pi / 2, 17)
    y = np.concatenate([[-floor], back - bend + bend * np.sin(turn), [back]])
    z = np.concatenate([[0.0], bend * (1 - np.cos(turn)), [height]])
    across = np.concatenate([[0.0], np.sin(turn), [1.0]])
    upward = np.concatenate([[1.0], np.cos(turn), [0.0]])
    along = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(y), np.diff(z)))])
    count = len(y)
    vertices = np.concatenate([np.column_stack([np.full(count, x), y, z]) for x in (-width / 2, width / 2)])
    normals = np.tile(np.column_stack([np.zeros(count), -across, upward]), (2, 1))
    uv = np.concatenate([np.column_stack([np.full(count, x), along]) for x in (-width / 2, width / 2)])
    faces = [f for n in range(count - 1) for f in ([n, n + count, n + count + 1], [n, n + count + 1, n + 1])]
    return _shape(name, vertices, np.array(faces), normals, uv, material)


def lowered(shape: Shape, by_mm: float) -> Shape:
    """The same shape, `by_mm` deeper."""
    vertices = shape.vertices - np.array([0, 0, by_mm], np.float32)
    return Shape(shape.name, vertices, shape.faces, shape.normals, shape.uv, shape.material)


def _quads(name: str, quads: list[tuple[np.ndarray, np.ndarray, np.ndarray]], material: Material) -> Shape:
    faces = []
    for n, (corners, normal, _) in enumerate(quads):
        outward = np.cross(corners[1] - corners[0], corners[2] - corners[0]) @ normal > 0
        order = [[0, 1, 2], [0, 2, 3]] if outward else [[0, 2, 1], [0, 3, 2]]
        faces += [[4 * n + i for i in face] for face in order]
    return _shape(
        name,
        np.concatenate([q[0] for q in quads]),
        np.array(faces),
        np.concatenate([np.tile(q[1], (4, 1)) for q in quads]),
        np.concatenate([q[2] for q in quads]),
        material,
    )


def _shape(
    name: str, vertices: np.ndarray, faces: np.ndarray, normals: np.ndarray, uv: np.ndarray, material: Material
) -> Shape:
    """`uv` in mm becomes periods."""
    return Shape(
        name=name,
        vertices=vertices.astype(np.float32),
        faces=faces.astype(np.int32),
        normals=normals.astype(np.float32),
        uv=(uv / material.period_mm).astype(np.float32),
        material=material,
    )
