"""Cut a hole's missing volume out of a component with manifold3d, and keep its walls apart."""

from functools import lru_cache

import manifold3d
import numpy as np

from flawsmith.core.errors import DataError
from flawsmith.part.part import Component
from flawsmith.synth.defect.soup import Soup, crease_normals, join, soup_of, weld
from flawsmith.synth.scene import Cutter

_WALL_CREASE_RAD = np.radians(40.0)
_OWN = manifold3d.Manifold.reserve_ids(2)  # whose a triangle was before the cut: the part's …
_TOOL = _OWN + 1  # … or the cutter's


def cut(soup: Soup, cutter: Cutter, part_from_patch: np.ndarray, wall: int, component: Component) -> tuple[Soup, Soup]:
    """`soup` less the cutter, with its new walls marked `wall`, and the surface that was taken away.

    Where the cutter misses it the soup comes back untouched, and nothing was taken.

    Raises `DataError` when the component is not a closed solid and when nothing of it is left.
    """
    body = _healthy(component) if soup is soup_of(component) else solid(soup)
    if body is None:
        raise DataError(open_solid(component.name))
    taken = manifold3d.Manifold(_cutter_mesh(cutter, part_from_patch))
    mesh = (body - taken).to_mesh64()
    triangles, origin = np.asarray(mesh.tri_verts, int), _origins(mesh)
    if not (origin == _OWN).any():
        raise DataError(
            f"component {component.name!r}: the hole of defect {wall} takes all of it away; make it smaller, or place "
            "it elsewhere with `where`"
        )
    if not (origin == _TOOL).any():
        return soup, soup.take(np.zeros(0, int))
    values = np.asarray(mesh.vert_properties)[triangles]
    kept, walls = origin == _OWN, origin == _TOOL
    left = join([_kept(soup, values[kept], np.asarray(mesh.face_id)[kept]), _walls(values[walls, :, :3], wall)])
    return left, _taken(soup, body ^ taken)


def _taken(soup: Soup, inside: manifold3d.Manifold) -> Soup:
    """The part's own surface within the cutter."""
    mesh = inside.to_mesh64()
    own = _origins(mesh) == _OWN
    values = np.asarray(mesh.vert_properties)[np.asarray(mesh.tri_verts, int)[own]]
    lid = _kept(soup, values, np.asarray(mesh.face_id)[own])
    return lid.take(lid.wall == 0)


def solid(soup: Soup) -> manifold3d.Manifold | None:
    """The soup as a closed solid with its normals as properties, or None where it is not one."""
    points = soup.points.reshape(-1, 3)
    owner = weld(points)
    first = np.full(owner.max() + 1, len(owner))
    np.minimum.at(first, owner, np.arange(len(owner)))
    merged = np.flatnonzero(first[owner] != np.arange(len(owner)))
    mesh = manifold3d.Mesh64(
        vert_properties=np.ascontiguousarray(np.concatenate([points, soup.normals.reshape(-1, 3)], 1)),
        tri_verts=np.arange(len(points), dtype=np.uint64).reshape(-1, 3),
        merge_from_vert=merged.astype(np.uint64),
        merge_to_vert=first[owner][merged].astype(np.uint64),
        run_index=np.array([0, len(points)], np.uint64),
        run_original_id=np.array([_OWN], np.uint32),
        face_id=np.arange(len(soup), dtype=np.uint64),
    )
    made = manifold3d.Manifold(mesh)
    return made if made.status() == manifold3d.Error.NoError and made.num_tri() else None


@lru_cache(maxsize=64)
def _healthy(component: Component) -> manifold3d.Manifold | None:
    return solid(soup_of(component))


def closed(component: Component) -> bool:
    """Whether a hole can be cut into it."""
    return _healthy(component) is not None


def open_solid(component: str) -> str:
    return (
        f"component {component!r} is not a closed solid, so no hole can be cut: import it from STEP, repair the mesh, "
        "or name closed components under `where: {components: [...]}`; other defects need no closed solid"
    )


def _cutter_mesh(cutter: Cutter, part_from_patch: np.ndarray) -> manifold3d.Mesh64:
    points = cutter.vertices @ part_from_patch[:3, :3].T + part_from_patch[:3, 3]
    return manifold3d.Mesh64(
        vert_properties=np.ascontiguousarray(np.concatenate([points, np.zeros_like(points)], 1)),
        tri_verts=np.ascontiguousarray(cutter.faces, np.uint64),
        run_index=np.array([0, cutter.faces.size], np.uint64),
        run_original_id=np.array([_TOOL], np.uint32),
    )


def _origins(mesh: manifold3d.Mesh64) -> np.ndarray:
    """(T,) which input each triangle comes from."""
    lengths = np.diff(np.asarray(mesh.run_index, int)) // 3
    return np.repeat(np.asarray(mesh.run_original_id, int), lengths)


def _kept(soup: Soup, values: np.ndarray, face: np.ndarray) -> Soup:
    """What is left of the surface; pieces of faces remember what they were pieces of."""
    points, normals = values[..., :3], values[..., 3:6]
    normals = normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
    return Soup(points, points, normals, soup.flat[face], soup.wall[face], soup.face[face])


def _walls(points: np.ndarray, wall: int) -> Soup:
    cross = np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0])
    twice = np.linalg.norm(cross, axis=1)
    points, flat = points[twice > 1e-14], cross[twice > 1e-14] / twice[twice > 1e-14, None]
    normals = crease_normals(points, flat, _WALL_CREASE_RAD)
    return Soup(points, points, normals, flat, np.full(len(points), wall, np.int32), np.full(len(points), -1, np.int32))
