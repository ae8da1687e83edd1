"""Places obey every constraint, keep apart, and say which constraint left no surface."""

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from flawsmith.core.errors import ConfigError
from flawsmith.part.part import Component, Part
from flawsmith.synth.defect import DEFECTS, Patch, Place, Where, draw_defects, place
from flawsmith.synth.distribution import Draw
from made_parts import block, component, open_block, pair, shaft


def rng(seed=0):
    return np.random.default_rng(seed)


def where(**constraints):
    return Where.model_validate(constraints)


def at(x, y=0.0, z=0.0, turn=0.0, half=1.0, depth=1.0):
    pose = np.eye(4)
    pose[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    pose[:3, 3] = x, y, z
    return Place("body", pose, half, depth)


@settings(max_examples=15)
@given(seed=st.integers(0, 999))
def test_a_place_is_on_the_surface_with_a_right_handed_frame(seed):
    pose = place(block(), Where(), 1.0, rng(seed)).part_from_patch
    assert pose[:3, :3].T @ pose[:3, :3] == pytest.approx(np.eye(3), abs=1e-9)
    assert np.linalg.det(pose) == pytest.approx(1)
    outside = np.abs(pose[:3, 3]) - np.array([10, 10, 3])
    assert outside.max() == pytest.approx(0, abs=1e-9)
    face = int(outside.argmax())
    assert pose[face, 2] == pytest.approx(np.sign(pose[face, 3]))


@settings(max_examples=10)
@given(seed=st.integers(0, 999))
def test_constraints_hold(seed):
    part = block()
    up = place(part, where(normal={"axis": [0, 0, 2], "max_deg": 10}), 1.0, rng(seed)).part_from_patch
    assert up[2, 2] == pytest.approx(1)
    region = place(part, where(region={"low": [2, -20, -20], "high": [4, 20, 20]}), 1.0, rng(seed)).part_from_patch
    assert 2 <= region[0, 3] <= 4
    edge = place(part, where(edge_distance_mm=[0.5, 1.5]), 0.5, rng(seed)).part_from_patch[:3, 3]
    rest = np.sort(np.array([10, 10, 3]) - np.abs(edge))
    assert 0.5 - 1e-6 <= rest[1] <= 1.5 + 1e-6  # rest[0] is 0: on a face
    both = where(components=["small"], normal={"axis": [1, 0, 0]})
    found = place(pair(), both, 0.5, rng(seed))
    assert found.component == "small"
    assert found.part_from_patch[0, 3] == pytest.approx(2)


def test_the_stage_s_up_is_not_the_part_s():
    overturned = np.diag([1.0, -1, -1, 1])
    up = where(normal={"frame": "stage", "max_deg": 20})
    assert place(block(), up, 1.0, rng(), (), overturned).part_from_patch[2, 2] == pytest.approx(-1)
    with pytest.raises(ConfigError, match="does not stand on one"):
        place(block(), up, 1.0, rng())


def test_named_faces():
    body = block().components[0]
    top = (body.to_trimesh().face_normals[:, 2] > 0.5).astype(np.int32)
    part = Part("named", (Component("body", (), body.vertices, body.faces, ("rest", "top"), top),))
    for faces in (["top"], [1]):
        assert place(part, where(faces=faces), 1.0, rng()).part_from_patch[2, 2] == pytest.approx(1)
    with pytest.raises(ConfigError, match=r"no face 'tpo'.*'top'"):
        place(part, where(faces=["tpo"]), 1.0, rng())
    with pytest.raises(ConfigError, match="not read with its CAD faces"):
        place(block(), where(faces=[3]), 1.0, rng())


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        ({"components": ["smal"]}, "'smal'.*'small'"),
        ({"region": {"low": [90, 90, 90], "high": [91, 91, 91]}}, r"where\.region"),
        ({"components": ["small"], "normal": {"axis": [1, 1, 1], "max_deg": 5}}, r"where\.normal"),
        ({"region": {"low": [-0.5, -0.5, 2.9], "high": [0.5, 0.5, 3.1]}, "edge_distance_mm": [0, 1]}, r"where\."),
    ],
)
def test_the_constraint_that_leaves_nothing_is_named(constraints, message):
    with pytest.raises(ConfigError, match=message):
        place(pair(), where(**constraints), 0.5, rng())


def test_a_sphere_has_no_edge_to_lie_on():
    ball = Part("ball", (component(trimesh.creation.icosphere(3, 5.0)),))
    with pytest.raises(ConfigError, match="no sharp edge"):
        place(ball, Where(), Patch(1.0, 1.0, at_edge=True), rng())


def test_an_edge_place_lies_across_it():
    found = place(block(), Where(), Patch(1.0, 1.0, at_edge=True), rng(3)).part_from_patch
    assert np.sort(np.abs(found[:3, 2])) == pytest.approx([0, 0.5**0.5, 0.5**0.5], abs=1e-9)
    assert np.abs(found[:3, 0]).max() == pytest.approx(1)


def test_holes_go_into_closed_solids_only():
    with pytest.raises(ConfigError, match="not a closed solid"):
        place(open_block(), Where(), Patch(1.0, 1.0, solid=True), rng())
    assert place(open_block(), Where(), 1.0, rng()).component == "shell"


def test_components_that_a_hole_was_kept_away_from_are_recorded():
    shell = open_block().components[0]
    apart = Component("shell", (), shell.vertices + np.array([60, 0, 0]), shell.faces)
    draw = Draw(0, 0)
    (hole,) = draw_defects(Part("two", (*block().components, apart)), (DEFECTS["hole"](diameter_mm=1.5),), draw, "p")
    assert hole.component == "body"
    assert draw.values["p.hole.0.not_closed"] == "shell"


def test_covered_surfaces_are_left_alone():
    inner, outer = trimesh.creation.box((2, 2, 2)), trimesh.creation.box((20, 20, 20))
    part = Part("nested", (component(inner, "inner"), component(outer, "outer")))
    assert {place(part, Where(), 0.5, rng(s)).component for s in range(8)} == {"outer"}
    with pytest.raises(ConfigError, match="other material covers"):
        place(part, where(components=["inner"]), 0.5, rng())


def test_on_a_shaft_the_normal_is_radial():
    mantle = where(normal={"axis": [1, 0, 0], "max_deg": 30})
    pose = place(shaft(), mantle, 2.0, rng(1)).part_from_patch
    radial = pose[:3, 3] * (1, 1, 0)
    assert pose[:3, 2] @ radial / np.linalg.norm(radial) == pytest.approx(1, abs=0.01)


def test_boxes_overlap_as_separating_axes_say():
    assert at(0).overlaps(at(1.9))
    assert not at(0).overlaps(at(2.1))
    assert at(0).overlaps(at(2.2, turn=np.pi / 4))
    assert not at(0).overlaps(at(2.5, turn=np.pi / 4))
    assert not at(0).overlaps(at(0, z=2.1))


@settings(max_examples=6)
@given(seed=st.integers(0, 99))
def test_defects_of_one_part_keep_apart_and_lie_on_it(seed):
    part = block((40, 40, 10))
    specs = (DEFECTS["rust"](count=3, diameter_mm=4), DEFECTS["hole"](count=2, diameter_mm=1.5), DEFECTS["rust"]())
    found = draw_defects(part, specs, Draw(seed, 0), "p")
    places = [Place(d.component, d.part_from_patch, d.stack.half_mm, d.stack.depth_mm) for d in found]
    assert [d.kind for d in found] == ["rust"] * 3 + ["hole"] * 2 + ["rust"]
    assert not any(a.overlaps(b) for i, a in enumerate(places) for b in places[:i])
    for defect in found:
        centre = defect.part_from_patch[:3, 3]
        assert (np.abs(centre) <= np.array([20, 20, 5]) + 1e-9).all()
        assert defect.size_mm > 0


def test_a_draw_is_recorded_and_repeats_and_others_do_not_change_it():
    part, draw = block(), Draw(3, 1)
    one = draw_defects(part, (DEFECTS["scratch"](),), draw, "part1")
    assert {"part1.scratch.count", "part1.scratch.0.length_mm", "part1.scratch.0.depth_mm"} <= set(draw.values)
    again = draw_defects(part, (DEFECTS["scratch"](), DEFECTS["dent"](diameter_mm=2)), Draw(3, 1), "part1")
    assert one[0].part_from_patch.tobytes() == again[0].part_from_patch.tobytes()
    assert one[0].stack.height_mm.tobytes() == again[0].stack.height_mm.tobytes()
    never = DEFECTS["scratch"](probability=0)
    assert draw_defects(part, (never,), Draw(3, 1), "part1") == ()


def test_too_large_and_too_many_are_refused():
    with pytest.raises(ConfigError, match=r"scratch is .* mm long, part 'block' only 28"):
        draw_defects(block(), (DEFECTS["scratch"](length_mm=80),), Draw(0, 0), "p")
    with pytest.raises(ConfigError, match="lower `count`"):
        draw_defects(block(), (DEFECTS["stain"](diameter_mm=8, count=30),), Draw(0, 0), "p")
