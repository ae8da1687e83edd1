"""Clipping, warping and cutting against closed formulas."""

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from flawsmith.core.errors import DataError
from flawsmith.synth.defect import DEFECTS
from flawsmith.synth.defect.clip import clip_box, polygons, refine, split
from flawsmith.synth.defect.cut import closed, cut
from flawsmith.synth.defect.edges import sharp_edges
from flawsmith.synth.defect.rays import first_hit, wall_below
from flawsmith.synth.defect.soup import join, soup_of
from flawsmith.synth.defect.warp import bilinear, displace, gate, relief
from flawsmith.synth.distribution import Draw
from flawsmith.synth.scene import Cutter
from made_parts import block, component, open_block, shaft


def soup(part=None):
    return soup_of((part or block()).components[0])


def volume(triangles):
    a, b, c = triangles.points.swapaxes(0, 1)
    return float(np.einsum("ti,ti->t", a, np.cross(b, c)).sum() / 6)


def at_height(z):
    pose = np.eye(4)
    pose[2, 3] = z
    return pose


@settings(max_examples=20)
@given(half=st.tuples(*[st.floats(0.5, 12)] * 3))
def test_clipping_to_a_box_keeps_area_and_volume(half):
    whole = soup(shaft())
    inside, outside = clip_box(whole, np.array(half))
    both = join([inside, outside])
    assert both.areas_mm2.sum() == pytest.approx(whole.areas_mm2.sum(), rel=1e-9)
    assert volume(both) == pytest.approx(volume(whole), rel=1e-9)
    assert (np.abs(inside.points) <= np.array(half) + 1e-9).all()
    assert not (np.abs(outside.points.mean(1)) < np.array(half) - 1e-6).all(1).any()


def test_both_sides_of_a_cut_edge_get_the_same_bits():
    triangles = soup(shaft())
    d = triangles.points @ np.array([0.3, 0.5, 0.81]) - 0.37
    for side in split(polygons(triangles), d):
        edges = np.concatenate([side.corners[k, : side.count[k], :3] for k in range(len(side))])
        new = edges[np.abs(edges @ np.array([0.3, 0.5, 0.81]) - 0.37) < 1e-9]
        _, counts = np.unique(new, axis=0, return_counts=True)
        assert (counts >= 2).all()


def test_refining_splits_active_cells_only_and_keeps_the_area():
    face = soup().take(soup().flat[:, 2] > 0.5)
    active = [np.zeros((2**level, 2**level), bool) for level in range(4)]
    for level in range(4):
        active[level][0, 0] = True
    fine = refine(face, 10.0, active)
    assert fine.areas_mm2.sum() == pytest.approx(face.areas_mm2.sum())
    sizes = np.ptp(fine.points, axis=1).max(1)
    corner = (fine.points[:, :, :2].mean(1) < -7.5).all(1)
    assert sizes[corner].max() <= 1.25 + 1e-9
    assert sizes[(fine.points[:, :, :2].mean(1) > 0).all(1)].min() >= 7


def dent(depth=0.4):
    return DEFECTS["dent"](diameter_mm=5.0, depth_mm=depth, narrow=1.0).stack(Draw(1, 0), "d")


def test_a_warp_leaves_the_box_s_border_in_place_and_moves_the_middle():
    stack = dent()
    triangles = soup(shaft())  # the cap is at z = 10 and the mantle crosses the box
    box = np.array([stack.half_mm, stack.half_mm, stack.depth_mm])
    shifted = type(triangles)(
        triangles.points - (4, 0, 10), *(getattr(triangles, f) for f in ("rest", "normals", "flat", "wall", "face"))
    )
    inside, _ = clip_box(shifted, box)
    fine = refine(inside, stack.half_mm, relief(stack).active)
    moved = displace(inside, stack, relief(stack))
    border = (np.abs(fine.points) >= box * (1 - 1e-12)).any(-1)
    assert border.sum() > 20
    assert np.array_equal(moved.points[border], fine.points[border])
    assert moved.points[..., 2].min() < fine.points[..., 2].min() + 1e-9
    assert np.abs(moved.points - fine.points).max() == pytest.approx(0.4, rel=0.15)


def test_analytic_normals_are_those_of_the_displaced_faces():
    stack = dent()
    top = soup().take(soup().flat[:, 2] > 0.5)
    flat = type(top)(top.points - (0, 0, 3), top.rest, top.normals, top.flat, top.wall, top.face)
    moved = displace(clip_box(flat, np.array([stack.half_mm] * 2 + [stack.depth_mm]))[0], stack, relief(stack))
    a, b, c = moved.points.swapaxes(0, 1)
    cross = np.cross(b - a, c - a)
    faces = cross / np.linalg.norm(cross, axis=1, keepdims=True)
    mean = moved.normals.mean(1)
    assert np.linalg.norm(moved.normals, axis=-1) == pytest.approx(1)
    angles = np.degrees(np.arccos(np.clip((faces * mean).sum(1) / np.linalg.norm(mean, axis=1), -1, 1)))
    assert np.percentile(angles, 99) < 2
    assert np.degrees(np.arccos(mean[:, 2].min())) > 10  # it is no flat face


def test_the_gate_is_flat_at_both_ends_and_has_the_slope_it_says():
    w = np.linspace(-1, 1, 4001)
    k, slope = gate(w, 1.0)
    assert k[[0, -1]].tolist() == [0, 0]
    assert k[np.abs(w) <= 0.5] == pytest.approx(1)
    assert np.gradient(k, w)[1:-1] == pytest.approx(slope[1:-1], abs=2e-2)


def test_bilinear_is_exact_for_a_plane():
    line = np.linspace(-2, 2, 33)
    x, y = np.meshgrid(line, line)
    at = np.random.default_rng(0).uniform(-2, 2, (2, 50))
    assert bilinear(3 * x - y, at[0], at[1], 2.0) == pytest.approx(3 * at[0] - at[1])


@settings(max_examples=8)
@given(radius=st.floats(0.5, 3), depth=st.floats(0.5, 2.5))
def test_a_drilled_hole_takes_away_its_cylinder(radius, depth):
    tool = trimesh.creation.cylinder(radius, 2 * depth, sections=64)
    part = block()
    cutter = Cutter(np.asarray(tool.vertices), np.asarray(tool.faces, np.int32))
    left, lid = cut(soup(part), cutter, at_height(3.0), 7, part.components[0])
    removed = volume(soup(part)) - volume(left)
    assert removed == pytest.approx(tool.volume / 2, rel=1e-4)
    walls = left.take(left.wall == 7)
    assert set(left.wall.tolist()) == {0, 7}
    polygon = 64 * radius**2 * np.sin(2 * np.pi / 64) / 2
    assert walls.areas_mm2.sum() == pytest.approx(polygon + 2 * 64 * radius * np.sin(np.pi / 64) * depth, rel=1e-4)
    assert np.linalg.norm(left.normals, axis=-1) == pytest.approx(1)
    assert lid.areas_mm2.sum() == pytest.approx(polygon, rel=1e-4)
    assert lid.points[..., 2] == pytest.approx(3)
    surface = left.take((left.wall == 0) & (left.flat[:, 2] > 0.5))
    assert surface.normals[..., 2] == pytest.approx(1)


def test_a_cutter_that_misses_changes_nothing_and_one_that_takes_all_is_refused():
    part = block()
    tool = trimesh.creation.box((1, 1, 1))
    cutter = Cutter(np.asarray(tool.vertices), np.asarray(tool.faces, np.int32))
    left, lid = cut(soup(part), cutter, at_height(50), 1, part.components[0])
    assert left is soup(part)
    assert not len(lid)
    huge = Cutter(cutter.vertices * 100, cutter.faces)
    with pytest.raises(DataError, match="takes all of it away"):
        cut(soup(part), huge, at_height(0), 1, part.components[0])


def test_an_open_shell_is_not_cut():
    part = open_block()
    tool = trimesh.creation.box((1, 1, 1))
    assert not closed(part.components[0])
    with pytest.raises(DataError, match=r"'shell' is not a closed solid.*STEP"):
        cut(
            soup(part),
            Cutter(np.asarray(tool.vertices), np.asarray(tool.faces, np.int32)),
            at_height(3),
            1,
            part.components[0],
        )


def test_crease_normals_round_a_cylinder_and_keep_its_rim_sharp():
    triangles = soup(shaft())
    mantle = np.abs(triangles.flat[:, 2]) < 0.5
    points, normals = triangles.points[mantle], triangles.normals[mantle]
    radial = points[..., :2] / np.linalg.norm(points[..., :2], axis=-1, keepdims=True)
    assert normals[..., :2] == pytest.approx(radial, abs=0.02)
    assert np.abs(triangles.normals[~mantle][..., 2]) == pytest.approx(1)


def test_faces_without_area_are_dropped_and_a_part_of_nothing_else_is_refused():
    mesh = trimesh.creation.box((2, 2, 2))
    faces = np.concatenate([mesh.faces, [[0, 0, 1]]])
    made = component(trimesh.Trimesh(mesh.vertices, faces, process=False))
    assert len(soup_of(made)) == 12
    with pytest.raises(DataError, match="no area"):
        soup_of(component(trimesh.Trimesh(mesh.vertices, [[0, 0, 1], [1, 1, 1]], process=False)))


def test_sharp_edges_of_a_box_and_a_cylinder():
    edges = sharp_edges(block().components[0])
    assert edges.lengths_mm.sum() == pytest.approx(4 * (20 + 20 + 6))
    assert edges.outward.all()
    assert edges.distance_mm(np.array([9.0, 0, 3.0])) == pytest.approx(1)
    round_edges = sharp_edges(shaft().components[0])
    assert round_edges.lengths_mm.sum() == pytest.approx(2 * 2 * np.pi * 5, rel=1e-3)


def test_rays_against_trimesh():
    mesh = trimesh.creation.icosphere(2, 3.0)
    triangles = soup_of(component(mesh))
    rng = np.random.default_rng(0)
    for _ in range(20):
        origin, direction = rng.normal(0, 5, 3), rng.normal(0, 1, 3)
        direction /= np.linalg.norm(direction)
        found, _, _ = mesh.ray.intersects_location([origin], [direction], multiple_hits=True)
        expected = np.linalg.norm(found - origin, axis=1).min() if len(found) else np.inf
        assert first_hit(triangles, origin, direction)[0] == pytest.approx(expected, rel=1e-6)


def test_wall_thickness_runs_on_through_a_touching_component():
    lower = trimesh.creation.box((20, 20, 4))
    lower.apply_translation((0, 0, -5))
    soups = [soup(), soup_of(component(lower, "lower"))]
    up, top = np.array([0, 0, 1.0]), np.array([1.3, 0.7, 3.0])
    assert wall_below(soups[:1], top, up) == pytest.approx(6)
    assert wall_below(soups, top, up) == pytest.approx(10)
