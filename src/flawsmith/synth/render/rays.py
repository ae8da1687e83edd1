"""All triangles of a scene as one mesh to send rays at, with what each triangle belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np

from flawsmith.synth.lens import ideal, image_points, is_ideal, pinhole_points
from flawsmith.synth.render.build import mesh
from flawsmith.synth.scene import Camera, MeshLight, Scene, Shape


@dataclass(frozen=True, eq=False)
class Hits:
    """Where rays meet the surface: face is -1 at nothing; weights (N, 2) of its second and third corner."""

    face: np.ndarray  # (N,) int64
    weights: np.ndarray  # (N, 2) float32
    distance: np.ndarray  # (N,) float32, along the ray

    def at(self, chosen: np.ndarray) -> "Hits":
        """Those of the chosen rays."""
        return Hits(self.face[chosen], self.weights[chosen], self.distance[chosen])


@dataclass(frozen=True, eq=False)
class Surface:
    """Triangles of all shapes and light housings one after another; tables are per triangle or per vertex.

    One mesh, whatever the scene, keeps the ray kernel the same, so that it is compiled once.
    """

    mitsuba: ModuleType
    target: Any  # Mitsuba scene
    shapes: tuple[Shape, ...]
    vertices: np.ndarray  # (V, 3) float32
    faces: np.ndarray  # (F, 3)
    normals: np.ndarray  # (V, 3); 0 for light housings
    uv: np.ndarray  # (V, 2)
    shape: np.ndarray  # (F,) index into shapes; -1 for light housings
    instance: np.ndarray  # (F,)
    defect: np.ndarray  # (F,)

    @classmethod
    def of(cls, mitsuba: ModuleType, scene: Scene, shapes: Sequence[Shape]) -> "Surface":
        """From the shapes and the area lights of the scene, which can stand in the way."""
        lamps = [light for light in scene.lights if isinstance(light, MeshLight)]
        solids = [*shapes, *lamps]
        starts = np.cumsum([0, *(len(s.vertices) for s in solids)])
        sizes = [len(s.faces) for s in solids]
        vertices = np.concatenate([np.asarray(s.vertices, np.float32) for s in solids])
        faces = np.concatenate([np.asarray(s.faces, np.int64) + at for s, at in zip(solids, starts, strict=False)])
        blank = sum(len(lamp.vertices) for lamp in lamps)
        return cls(
            mitsuba,
            mitsuba.load_dict({"type": "scene", "all": mesh(mitsuba, vertices, faces, {})}),
            tuple(shapes),
            vertices,
            faces,
            np.concatenate([*(s.normals for s in shapes), np.zeros((blank, 3))]).astype(np.float32),
            np.concatenate([*(s.uv for s in shapes), np.zeros((blank, 2))]).astype(np.float32),
            np.repeat([*range(len(shapes)), *(-1 for _ in lamps)], sizes),
            np.repeat([*(s.instance for s in shapes), *(0 for _ in lamps)], sizes),
            np.repeat([*(s.defect for s in shapes), *(0 for _ in lamps)], sizes),
        )

    @cached_property
    def face_normals(self) -> np.ndarray:
        """(F, 3), as long as twice the triangle's area."""
        a, b, c = np.moveaxis(self.vertices[self.faces].astype(np.float64), 1, 0)
        return np.cross(b - a, c - a)

    def meet(self, origin: np.ndarray, directions: np.ndarray) -> Hits:
        """The first triangle on each ray; unit `directions` (N, 3) from one point `origin` (3,)."""
        directions = np.ascontiguousarray(directions, np.float32)
        if self.mitsuba.variant().startswith("scalar"):
            return self._meet_one_by_one(origin, directions)
        import drjit as dr

        mi = self.mitsuba
        # Numbers as data and columns one by one: else a kernel is compiled for each eye and number of rays.
        towards = mi.Vector3f(*(mi.Float(np.ascontiguousarray(column)) for column in directions.T))
        start = mi.Point3f(*(dr.opaque(mi.Float, value) for value in origin.tolist()))
        found = self.target.ray_intersect_preliminary(mi.Ray3f(start, towards), coherent=True)
        dr.eval(found)
        distance = np.array(found.t)
        face = np.where(np.isfinite(distance), np.array(found.prim_index).astype(np.int64), -1)
        return Hits(face, np.stack([np.array(c) for c in (found.prim_uv.x, found.prim_uv.y)], axis=1), distance)

    def _meet_one_by_one(self, origin: np.ndarray, directions: np.ndarray) -> Hits:
        mi, send = self.mitsuba, self.target.ray_intersect_preliminary
        start = mi.Point3f(*origin.tolist())
        rows = []
        for x, y, z in directions.tolist():
            found = send(mi.Ray3f(start, mi.Vector3f(x, y, z)))
            rows.append((found.prim_index, *found.prim_uv, found.t) if found.is_valid() else (-1, 0.0, 0.0, np.inf))
        table = np.array(rows).reshape(-1, 4)
        return Hits(table[:, 0].astype(np.int64), table[:, 1:3].astype(np.float32), table[:, 3].astype(np.float32))

    def blend(self, values: np.ndarray, hits: Hits) -> np.ndarray:
        """Values per vertex (V, C) at the hits (N, C); every hit must have met something."""
        a, b, c = (values[self.faces[hits.face, corner]] for corner in range(3))
        u, v = hits.weights[:, :1], hits.weights[:, 1:]
        return a * (1 - u - v) + b * u + c * v

    def cover(self, hits: Hits) -> np.ndarray:
        """0 … 1 per hit: what the mask of the hit's shape says there; every hit must be on a defect's shape."""
        share = np.ones(len(hits.face), np.float32)
        for number in np.unique(self.shape[hits.face]):
            mask = self.shapes[number].mask
            if mask is not None:
                here = self.shape[hits.face] == number
                share[here] = look_up(mask, self.blend(self.uv, hits.at(here)))
        return share


def look_up(mask: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """(N,) bilinear values of a mask over [0, 1]², row 0 at v = 0; 0 outside."""
    import cv2

    height, width = mask.shape
    x = (uv[:, 0] * width - 0.5).astype(np.float32)[None]
    y = (uv[:, 1] * height - 0.5).astype(np.float32)[None]
    values = np.ascontiguousarray(mask, np.float32)
    pieces = [  # OpenCV's remap takes at most 32,767 columns
        cv2.remap(
            values, x[:, at : at + 32_000], y[:, at : at + 32_000], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
        )
        for at in range(0, x.shape[1], 32_000)
    ]
    return np.concatenate(pieces, axis=1)[0] if pieces else np.zeros(0, np.float32)


def directions(camera: Camera, x_px: np.ndarray, y_px: np.ndarray) -> np.ndarray:
    """(N, 3) unit vectors in the world through image points; (0.5, 0.5) is the middle of the top left pixel.

    A distorting camera's are bent as its lens bends them.
    """
    if any(camera.distortion):
        bent = pinhole_points(camera, np.column_stack([x_px, y_px]).astype(np.float64))
        points = np.column_stack([bent, np.ones(len(bent))]).T
    else:
        points = np.linalg.inv(camera.k) @ np.stack([x_px, y_px, np.ones_like(x_px)])
    towards = (np.linalg.inv(camera.camera_from_world[:3, :3]) @ points).T
    return towards / np.linalg.norm(towards, axis=1, keepdims=True)


def eye(camera: Camera) -> np.ndarray:
    """(3,) where the camera's centre is in the world, mm."""
    return np.linalg.inv(camera.camera_from_world)[:3, 3]


def project(camera: Camera, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Image points (N, 2) of world points (N, 3) by a pinhole, and their depth along the optical axis (N,)."""
    seen = points @ camera.camera_from_world[:3, :3].T + camera.camera_from_world[:3, 3]
    depth = seen[:, 2]
    image = seen @ camera.k.T
    with np.errstate(divide="ignore", invalid="ignore"):
        return image[:, :2] / depth[:, None], depth


def framed(camera: Camera, points: np.ndarray) -> np.ndarray:
    """(N,) bool: whether world points (N, 3) lie before the camera and within its picture, through its lens."""
    straight = ideal(camera)
    at, depth = project(straight, points)
    inside = (depth > 0) & _within(at, straight)
    if not is_ideal(camera):
        shares = (at[inside] - straight.k[:2, 2]) / straight.k[0, 0]
        inside[inside] = _within(image_points(camera, shares), camera)
    return inside


def _within(at: np.ndarray, camera: Camera) -> np.ndarray:
    x, y = at.T
    return (x >= 0) & (y >= 0) & (x < camera.width) & (y < camera.height)
