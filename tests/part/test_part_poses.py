"""Stable poses against what solid angles and symmetry say."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from part_files import box_mesh, part_of

from flawsmith.part import PartError, StablePose, poses, read_part, stable_poses

side_mm = st.floats(1, 100)


def dropped_at_random(sides: tuple[float, float, float], draws: int = 200_000) -> np.ndarray:
    """Share of random directions from a box's centre that leave through each pair of sides: the quasi-static model."""
    directions = np.random.default_rng(0).normal(size=(draws, 3))
    leaves = (np.abs(directions) / np.array(sides)).argmax(axis=1)
    return np.bincount(leaves, minlength=3) / draws


@pytest.mark.parametrize("sides", [(10.0, 20.0, 30.0), (5.0, 6.0, 40.0)])
def test_a_box_rests_as_often_as_its_sides_are_seen_from_its_middle(sides: tuple[float, float, float]) -> None:
    found = stable_poses(part_of(trimesh.creation.box(sides)))
    seen = {int(np.abs(pose.stage_from_part[2, :3]).argmax()): pose for pose in found}
    expected = dropped_at_random(sides)
    assert len(found) == 3
    for axis, share in enumerate(expected):
        assert seen[axis].probability == pytest.approx(share, abs=0.005)
        assert (seen[axis].merged, seen[axis].symmetry) == (2, 2)


@pytest.mark.parametrize(
    ("mesh", "orders"),
    [
        (trimesh.creation.box((10, 10, 10)), [4]),
        (trimesh.creation.icosphere(2, 5), [0]),
        (trimesh.creation.cylinder(5, 20, sections=64), [2, 0]),
        (trimesh.creation.cylinder(5, 5, sections=6), [6, 2]),
        (trimesh.creation.annulus(3, 8, 2, sections=64), [0, 2]),
    ],
    ids=["cube", "ball", "cylinder", "hexagon", "washer"],
)
def test_alike_poses_are_one_and_their_symmetry_is_known(mesh: trimesh.Trimesh, orders: list[int]) -> None:
    assert [pose.symmetry for pose in stable_poses(part_of(mesh))] == orders


def screw(mirrored: bool) -> trimesh.Trimesh:
    """A plate with an L of two blocks on it: no symmetry at all, so its mirror image is another thing."""
    plate = trimesh.creation.box((30, 20, 2))
    tall, low = trimesh.creation.box((4, 12, 4)), trimesh.creation.box((10, 4, 3))
    tall.apply_translation((-8, 2, 3))
    low.apply_translation((-3, 6, 2.5))
    mesh = trimesh.boolean.union([plate, tall, low], engine="manifold")
    if mirrored:
        mesh.apply_scale((1, -1, 1))
    return mesh


def test_a_part_without_symmetry_keeps_all_its_poses() -> None:
    assert all((pose.merged, pose.symmetry) == (1, 1) for pose in stable_poses(part_of(screw(mirrored=False))))


def test_mirror_images_are_not_the_same_pose(monkeypatch: pytest.MonkeyPatch) -> None:
    left = screw(mirrored=False)
    right = left.copy()
    right.apply_scale((1, 1, -1))
    right.apply_translation((0, 0, -40))
    pair = part_of(left, right)
    assert [pose.merged for pose in stable_poses(pair)] == [1] * 6
    exact = poses._same
    monkeypatch.setattr(poses, "_same", lambda a, b: exact(a, b) or exact(a, b.conj()))
    assert [pose.merged for pose in stable_poses(pair)].count(2) == 1  # the control: a mirror would join two


@settings(max_examples=30)
@given(side_mm, side_mm, side_mm, st.integers(0, 2**31))
def test_every_pose_rests_on_the_stage_over_the_origin(a: float, b: float, c: float, seed: int) -> None:
    mesh = trimesh.creation.box((a, b, c))
    mesh.apply_transform(trimesh.transformations.random_rotation_matrix(np.random.default_rng(seed).random(3)))
    mesh.apply_translation((7, -50, 3))
    found = stable_poses(part_of(mesh))
    assert sum(pose.probability for pose in found) == pytest.approx(1)
    for pose in found:
        assert_rests(pose, mesh.vertices)


def assert_rests(pose: StablePose, vertices: np.ndarray) -> None:
    turn = pose.stage_from_part[:3, :3]
    placed = vertices @ turn.T + pose.stage_from_part[:3, 3]
    scale = float(np.ptp(vertices))
    assert np.linalg.det(turn) == pytest.approx(1)
    assert placed[:, 2].min() == pytest.approx(0, abs=1e-9 * scale)
    assert (placed[:, 2] < 1e-3 * scale).sum() >= 3
    assert (placed.min(0) + placed.max(0))[:2] == pytest.approx((0, 0), abs=1e-9 * scale)


def test_the_same_part_gives_the_same_poses() -> None:
    first, second = (stable_poses(part_of(screw(mirrored=False))) for _ in range(2))
    assert all(np.array_equal(a.stage_from_part, b.stage_from_part) for a, b in zip(first, second, strict=True))


def test_a_sheet_without_thickness_has_no_pose() -> None:
    sheet = trimesh.Trimesh([[0, 0, 0], [9, 0, 0], [0, 9, 0]], [[0, 1, 2]])
    with pytest.raises(PartError, match="no thickness"):
        stable_poses(part_of(sheet))


def test_an_open_part_rests_by_its_hull() -> None:
    mesh = box_mesh()
    mesh.update_faces(np.arange(len(mesh.faces)) > 0)
    found = stable_poses(part_of(mesh))
    assert sum(pose.probability for pose in found) == pytest.approx(1)
    for pose in found:
        assert_rests(pose, mesh.vertices)


def test_a_real_bolt_lies_on_its_side_and_stands_on_its_head(real_data: Callable[[str], Path]) -> None:
    name = "generated_bd_warehouse/m8x30_hex_head_screw_iso4014_simple.step"
    lying, standing, *_ = stable_poses(read_part(real_data("cad-parts") / name))
    assert lying.probability > 0.9
    assert lying.merged == 6
    assert standing.symmetry == 6
