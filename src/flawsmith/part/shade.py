"""Normals that are smooth over curved faces and sharp at edges, and the lines of those edges."""

import numpy as np

CREASE_DEG = 35.0


def corner_normals(vertices: np.ndarray, faces: np.ndarray, crease_deg: float = CREASE_DEG) -> np.ndarray:
    """(F, 3, 3) unit normals at the corners of each face: the mean, by area and angle, up to the next crease.

    Faces round a vertex are joined where they share an edge that bends less than the crease, so that a fillet is smooth
    all the way and a chamfer is not.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    normals, area = face_normals(vertices, faces)
    pairs, shared = _neighbours(faces)
    smooth = (normals[pairs[:, 0]] * normals[pairs[:, 1]]).sum(1) > np.cos(np.radians(crease_deg))
    pairs, shared = pairs[smooth], shared[smooth]
    corner = np.stack([_corner(faces, pairs[:, k, None], shared) for k in (0, 1)])  # (2, pairs, 2 ends)
    count = faces.size
    links = coo_array((np.ones(corner[0].size, bool), (corner[0].ravel(), corner[1].ravel())), shape=(count, count))
    _, label = connected_components(links, directed=False)
    weighted = (normals * area[:, None])[:, None] * _angles(vertices, faces)[..., None]
    sums = np.stack([np.bincount(label, weighted[..., axis].ravel()) for axis in range(3)], axis=1)
    return _unit(sums)[label].reshape(-1, 3, 3)


def crease_edges(vertices: np.ndarray, faces: np.ndarray, crease_deg: float = CREASE_DEG) -> np.ndarray:
    """(E, 2) vertex numbers of the edges that bend more than the crease, and of open ones."""
    normals, _ = face_normals(vertices, faces)
    pairs, shared = _neighbours(faces)
    sharp = (normals[pairs[:, 0]] * normals[pairs[:, 1]]).sum(1) <= np.cos(np.radians(crease_deg))
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    unique, count = np.unique(edges, axis=0, return_counts=True)
    return np.concatenate([shared[sharp], unique[count == 1]]).astype(np.int32)


def face_normals(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit normals (F, 3) and areas (F,)."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    cross = np.cross(b - a, c - a)
    return _unit(cross), np.linalg.norm(cross, axis=1) / 2


def _neighbours(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, 2) faces that share an edge with exactly one other, and (N, 2) the vertices of that edge."""
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    key = edges[:, 0].astype(np.int64) * (int(faces.max()) + 1) + edges[:, 1]
    order = np.argsort(key, kind="stable")
    _, first, count = np.unique(key[order], return_index=True, return_counts=True)
    one = order[first[count == 2]]
    other = order[first[count == 2] + 1]
    return np.stack([one // 3, other // 3], axis=1), edges[one]


def _corner(faces: np.ndarray, face: np.ndarray, vertex: np.ndarray) -> np.ndarray:
    """The number 3 f + k of a vertex in a face."""
    return 3 * face + (faces[face[:, 0]][:, None, :] == vertex[:, :, None]).argmax(2)


def _angles(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    corners = vertices[faces]
    to_next = _unit(np.roll(corners, -1, axis=1) - corners)
    to_last = _unit(np.roll(corners, 1, axis=1) - corners)
    return np.arccos(np.clip((to_next * to_last).sum(2), -1, 1))


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length > 0, length, 1.0)
