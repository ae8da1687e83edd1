"""Small scenes whose images can be worked out by hand."""

import numpy as np
import trimesh

from flawsmith.synth.scene import (
    Camera,
    Environment,
    Material,
    MeshLight,
    Scene,
    Sensor,
    Shape,
)

EVEN_SKY = Environment(np.ones((1, 1, 3), np.float32))


def shape(mesh: trimesh.Trimesh, name: str = "thing", material: Material | None = None, **holds: object) -> Shape:
    """Flat-shaded triangles; uv are x and y in periods of the material."""
    material = material or Material()
    vertices = np.asarray(mesh.vertices, np.float32)[mesh.faces].reshape(-1, 3)
    faces = np.arange(len(vertices), dtype=np.int32).reshape(-1, 3)
    normals = np.repeat(mesh.face_normals, 3, axis=0).astype(np.float32)
    uv = (vertices[:, :2] / material.period_mm).astype(np.float32)
    return Shape(name, vertices, faces, normals, uv, material, **holds)


def smooth(mesh: trimesh.Trimesh, name: str, material: Material, **holds: object) -> Shape:
    """Shaded by vertex normals."""
    uv = np.zeros((len(mesh.vertices), 2), np.float32)
    vertices, faces = mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32)
    return Shape(name, vertices, faces, mesh.vertex_normals.astype(np.float32), uv, material, **holds)


def square(
    size: float, z: float = 0.0, name: str = "floor", material: Material | None = None, **holds: object
) -> Shape:
    """A horizontal square about the z axis with uv over [0, 1]²."""
    half = size / 2
    vertices = np.array([[x, y, z] for y in (-half, half) for x in (-half, half)], np.float32)
    faces = np.array([[0, 1, 3], [0, 3, 2]], np.int32)
    uv = np.array([[x, y] for y in (0, 1) for x in (0, 1)], np.float32)
    return Shape(
        name, vertices, faces, np.tile([[0, 0, 1.0]], (4, 1)).astype(np.float32), uv, material or Material(), **holds
    )


def look(eye: tuple, at: tuple, width: int = 96, height: int = 80, focal_px: float = 150, **holds: object) -> Camera:
    """A camera at `eye` that looks at `at`, with its principal point off the middle."""
    place, target = np.array(eye, float), np.array(at, float)
    z = (target - place) / np.linalg.norm(target - place)
    x = np.cross(z, [0, 0, 1.0] if abs(z[2]) < 0.99 else [0, 1.0, 0])
    x /= np.linalg.norm(x)
    world_from_camera = np.eye(4)
    world_from_camera[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    world_from_camera[:3, 3] = place
    k = np.array([[focal_px, 0, width / 2 + 4.3], [0, focal_px, height / 2 - 2.7], [0, 0, 1]])
    return Camera("cam", width, height, k, np.linalg.inv(world_from_camera), 1.0, **holds)


def panel(place: tuple, at: tuple, size: float, radiance: float, name: str = "panel") -> MeshLight:
    """A square light at `place` that faces `at`."""
    centre = np.array(place, float)
    z = np.array(at, float) - centre
    z /= np.linalg.norm(z)
    x = np.cross([0, 0, 1.0] if abs(z[2]) < 0.9 else [0, 1.0, 0], z)
    x /= np.linalg.norm(x)
    y = np.cross(z, x)
    corners = [centre + size / 2 * (s * x + t * y) for s, t in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    return MeshLight(name, np.array(corners, np.float32), np.array([[0, 1, 2], [0, 2, 3]], np.int32), (radiance,) * 3)


def scene(camera: Camera, lights: tuple = (), environment: Environment | None = EVEN_SKY, seed: int = 3) -> Scene:
    return Scene((), (), lights, environment, camera, Sensor(), seed)


def ball(radius: float, centre: tuple = (0, 0, 0), subdivisions: int = 4) -> trimesh.Trimesh:
    """A sphere whose surface lies within 0.3 % of the radius."""
    mesh = trimesh.creation.icosphere(subdivisions, radius)
    mesh.apply_translation(centre)
    return mesh


def disc_mask(size: int = 256, radius: float = 0.3) -> np.ndarray:
    """1 inside a disc of `radius` (uv units) about the middle, with an antialiased edge."""
    row, column = (np.mgrid[:size, :size] + 0.5) / size - 0.5
    return np.clip((radius - np.hypot(row, column)) * size + 0.5, 0, 1).astype(np.float32)
