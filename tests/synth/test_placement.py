"""Placement: on the stage, apart or in a heap, and never one part in another."""

import itertools
from collections.abc import Sequence
from functools import cache

import manifold3d
import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from flawsmith.core.errors import ConfigError
from flawsmith.part import Component, Part
from flawsmith.part.poses import StablePose, stable_poses
from flawsmith.synth.assets import plate
from flawsmith.synth.distribution import Draw, Uniform
from flawsmith.synth.pile import drop, pieces
from flawsmith.synth.placement import Place, PlacementSpec, Resting, fits, footprint, lying_as_modelled, place
from flawsmith.synth.pose import moved


def part_of(mesh: trimesh.Trimesh, name: str = "part") -> Part:
    return Part(name, (Component(name, (), np.asarray(mesh.vertices), np.asarray(mesh.faces, np.int32)),))


def bolt() -> Part:
    head = trimesh.creation.cylinder(6, 5, sections=6).apply_translation([0, 0, 2.5])
    shank = trimesh.creation.cylinder(3, 20, sections=24).apply_translation([0, 0, -9.5])
    return part_of(trimesh.boolean.union([head, shank], engine="manifold"), "bolt")


def ring() -> Part:
    return part_of(trimesh.creation.annulus(4, 8, 3, sections=32), "ring")


@cache
def poses_of(part: Part) -> tuple[StablePose, ...]:
    return stable_poses(part)


def resting(part: Part, n: int, position: tuple | None = None) -> Resting:
    poses = poses_of(part)
    return Resting(
        name=f"parts.p.{n}",
        kind=0,
        part=part,
        poses=tuple(p.stage_from_part for p in poses),
        chances=tuple(p.probability for p in poses),
        pose_numbers=tuple(range(len(poses))),
        yaw_deg=Uniform(uniform=(0, 360)),
        position_mm=position,
    )


def overlap_mm3(parts: Sequence[Part], poses: Sequence[np.ndarray]) -> float:
    """Greatest volume that two solids share, by manifold3d."""
    solids = [
        manifold3d.Manifold(manifold3d.Mesh(moved(pose, p.vertices).astype(np.float32), p.faces.astype(np.uint32)))
        for p, pose in zip(parts, poses, strict=True)
    ]
    assert all(s.status() == manifold3d.Error.NoError for s in solids)
    return max((a ^ b).volume() for a, b in itertools.combinations(solids, 2))


BOLT, RING = bolt(), ring()


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.integers(1, 4), st.floats(0, 4))
def test_parts_lie_on_the_stage_apart(seed: int, pairs: int, gap: float) -> None:
    parts = [BOLT, RING] * pairs
    area = (110.0, 90.0)
    found = place([resting(p, n) for n, p in enumerate(parts)], PlacementSpec(gap_mm=gap), area, Draw(seed, 0))
    outlines = [footprint(p, f.world_from_part) for p, f in zip(parts, found, strict=True)]
    for a, b in itertools.combinations(outlines, 2):
        assert a.distance(b) >= gap - 1e-9
    for part, where in zip(parts, found, strict=True):
        corners = moved(where.world_from_part, part.vertices)
        assert (np.abs(corners[:, :2]) <= np.array(area) / 2 + 1e-6).all()
        assert corners[:, 2].min() == pytest.approx(0, abs=1e-6)
    assert overlap_mm3(parts, [f.world_from_part for f in found]) < 1e-6


def test_the_overlap_check_sees_an_overlap() -> None:
    shifted = np.eye(4)
    shifted[0, 3] = 1
    assert overlap_mm3([BOLT, BOLT], [np.eye(4), shifted]) > 100


def test_poses_come_as_often_as_they_are_likely() -> None:
    poses = [place([resting(RING, 0)], PlacementSpec(), (60, 60), Draw(1, n))[0].pose for n in range(200)]
    expected = poses_of(RING)[0].probability
    assert abs(poses.count(0) / 200 - expected) < 0.12


def test_the_same_draw_gives_the_same_places() -> None:
    def poses() -> list[Place]:
        return place([resting(BOLT, 0), resting(RING, 1)], PlacementSpec(), (80, 80), Draw(4, 2))

    for a, b in zip(poses(), poses(), strict=True):
        assert np.array_equal(a.world_from_part, b.world_from_part)


def test_yaw_turns_all_the_way_round() -> None:
    yaws = []
    for n in range(60):
        draw = Draw(1, n)
        place([resting(BOLT, 0)], PlacementSpec(), (80, 80), draw)
        yaws.append(draw.values["parts.p.0.yaw_deg"])
    assert np.histogram(yaws, 4, (0, 360))[0].min() >= 5


def test_a_given_position_is_kept() -> None:
    found = place([resting(RING, 0, (10.0, -5.0))], PlacementSpec(), (80, 80), Draw(1, 0))[0]
    assert found.world_from_part[:2, 3] == pytest.approx([10, -5], abs=1e-6)


def test_no_room_is_an_error_after_bounded_attempts() -> None:
    crowd = [resting(RING, n) for n in range(9)]
    with pytest.raises(ConfigError, match=r"no room for 9 parts on 40 × 40 mm .* 3 layouts of 5 attempts"):
        place(crowd, PlacementSpec(attempts=5, restarts=2), (40, 40), Draw(1, 0))
    with pytest.raises(ConfigError, match="widen position_mm"):
        place([resting(RING, 0, (39.0, 0.0))], PlacementSpec(attempts=2, restarts=1), (80, 80), Draw(1, 0))


def test_a_long_part_fits_across_the_diagonal_only() -> None:
    rod = plate(50, 1, 1)
    flat = [lying_as_modelled(rod)]
    assert fits(rod, flat, (40, 40))
    assert not fits(rod, flat, (34, 34))


def test_a_plate_is_closed_and_has_its_size() -> None:
    mesh = plate(20, 12, 4).to_trimesh()
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(20 * 12 * 4, rel=0.03)
    assert mesh.extents == pytest.approx([20, 12, 4])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_pile_settles_without_overlap_inside_the_walls(seed: int) -> None:
    parts = [BOLT, RING] * 4
    poses = drop(parts, (60, 60), 1.0, np.random.default_rng(seed))
    assert overlap_mm3(parts, poses) < 1e-6
    corners = [moved(pose, p.vertices) for p, pose in zip(parts, poses, strict=True)]
    assert min(c[:, 2].min() for c in corners) == pytest.approx(0.01)
    assert max(np.abs(c[:, :2]).max() for c in corners) <= 30
    assert max(c[:, 2].max() for c in corners) < 40  # it fell


def test_the_same_seed_gives_the_same_pile() -> None:
    first, again = (drop([BOLT, RING, BOLT], (60, 60), 1.0, np.random.default_rng(5)) for _ in range(2))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first, again, strict=True))


def test_what_cannot_be_dropped_is_an_error() -> None:
    with pytest.raises(ConfigError, match="cannot be dropped on 20 × 20 mm"):
        drop([BOLT], (20, 20), 1.0, np.random.default_rng(0))


def test_pieces_follow_the_shape_closer_than_one_hull() -> None:
    volumes = [trimesh.convex.convex_hull(p).volume for p in pieces(BOLT.components[0])]
    solid, whole = BOLT.to_trimesh().volume, trimesh.convex.convex_hull(BOLT.vertices).volume
    assert solid * 0.999 <= sum(volumes) < 0.5 * (solid + whole)
