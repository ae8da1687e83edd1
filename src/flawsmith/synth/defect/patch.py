"""Patch: one placed defect put into a component's triangles."""

from dataclasses import dataclass, replace

import numpy as np

from flawsmith.synth.defect.bake import Sheet, bake, sheet
from flawsmith.synth.defect.clip import clip_box
from flawsmith.synth.defect.soup import Soup, join
from flawsmith.synth.defect.warp import displace, relief
from flawsmith.synth.scene import Material, PlacedDefect

_FACING = 0.15  # cosine below which a face is too steep to carry the patch's texture


@dataclass(frozen=True, eq=False)
class Patch:
    """The flawed skin of a defect (part frame), its texture coordinates in [0, 1]², material and mask."""

    skin: Soup
    uv: np.ndarray  # (T, 3, 2)
    material: Material
    mask: np.ndarray


def reaches(soup: Soup, defect: PlacedDefect) -> bool:
    """Whether some of the soup lies in the defect's box, to the accuracy of bounding boxes."""
    pose = defect.part_from_patch
    near = _near(soup, pose, _half(defect))
    points = (soup.points[near] - pose[:3, 3]) @ pose[:3, :3]
    return bool(((points.min(1) < _half(defect)) & (points.max(1) > -_half(defect))).all(1).any())


def put(soup: Soup, defect: PlacedDefect, material: Material) -> tuple[Soup, Patch | None]:
    """Clip the defect's box out of `soup`, displace what is in it, and dress the faces that look its way.

    Gives what is left of the component (displaced walls and steep faces with it) and the patch, or None where no face
    in the box looks along the defect's normal.
    """
    stack, pose = defect.stack, defect.part_from_patch
    half = _half(defect)
    near = _near(soup, pose, half)
    inside, outside = clip_box(_into(soup.take(near), pose), half)
    rest = [soup.take(~near), _out_of(outside, pose)]
    if not len(inside):
        return join(rest), None
    facing = (inside.wall == 0) & (_normal_z(inside, pose) > _FACING)
    shape = relief(stack)
    others = displace(inside.take(~facing), stack, shape)
    rest.append(_out_of(others, pose))
    if not facing.any():
        return join(rest), None
    front = inside.take(facing)
    where = sheet(stack, material, pose)
    baked, mask = bake(front, stack, shape.bump_mm, material, pose, where)
    return join(rest), _dressed(displace(front, stack, shape), pose, where, baked, mask)


def _half(defect: PlacedDefect) -> np.ndarray:
    return np.array([defect.stack.half_mm, defect.stack.half_mm, defect.stack.depth_mm])


def _dressed(skin: Soup, pose: np.ndarray, where: Sheet, material: Material, mask: np.ndarray) -> Patch:
    return Patch(_out_of(skin, pose), where.uv(skin.points), material, mask)


def _near(soup: Soup, pose: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Triangles whose bounding box, in the part's frame, reaches that of the defect's box."""
    reach = np.abs(pose[:3, :3]) @ half
    low, high = soup.points.min(1), soup.points.max(1)
    return ((low < pose[:3, 3] + reach) & (high > pose[:3, 3] - reach)).all(1)


def _into(soup: Soup, pose: np.ndarray) -> Soup:
    turn = pose[:3, :3]
    return replace(soup, points=(soup.points - pose[:3, 3]) @ turn, normals=soup.normals @ turn)


def _out_of(soup: Soup, pose: np.ndarray) -> Soup:
    turn = pose[:3, :3].T
    return replace(soup, points=soup.points @ turn + pose[:3, 3], normals=soup.normals @ turn)


def _normal_z(soup: Soup, pose: np.ndarray) -> np.ndarray:
    return soup.flat @ pose[:3, 2]
