"""Shapes of a scene: whole, in place, without seams, and honest about what cannot be made."""

from dataclasses import replace

import numpy as np
import pytest

from flawsmith.core.errors import DataError
from flawsmith.synth.defect import DEFECTS, draw_defects
from flawsmith.synth.distribution import Draw
from flawsmith.synth.scene import Instance, Material
from flawsmith.synth.shapes import shapes
from made_parts import area, block, on_top, open_block, pair, scene, shaft, soup_volume, standing

TURN = np.array([[0, -1, 0, 5.0], [1, 0, 0, -2], [0, 0, 1, 30], [0, 0, 0, 1]])


def stack(kind, seed=0, **settings):
    return DEFECTS[kind](**settings).stack(Draw(seed, 0), "d")


def test_a_healthy_part_is_its_triangles_in_the_world_with_box_uv():
    made = shapes(standing(block(), world=TURN, material=Material(period_mm=5.0)))
    assert [(s.name, s.instance, s.defect, s.mask) for s in made] == [("body", 1, 0, None)]
    assert soup_volume(made) == pytest.approx(20 * 20 * 6, rel=1e-5)
    assert made[0].vertices.mean(0) == pytest.approx([5, -2, 30], abs=1e-3)
    assert made[0].vertices.dtype == made[0].normals.dtype == made[0].uv.dtype == np.float32
    top = made[0].normals[:, 2] > 0.5
    assert np.ptp(made[0].uv[top], axis=0) == pytest.approx([4, 4])  # 20 mm are four periods of 5 mm


@pytest.mark.parametrize("kind", DEFECTS)
def test_every_kind_becomes_shapes_that_close_the_part_again(kind):
    part = block((16, 16, 8))
    defects = draw_defects(part, (DEFECTS[kind](),), Draw(2, 0), "p")
    made = shapes(standing(part, *defects))
    flawed = [s for s in made if s.defect == 1]
    assert flawed
    assert {s.defect for s in made} <= {0, 1}
    for shape in made:
        assert len(shape.faces)
        assert np.linalg.norm(shape.normals, axis=1) == pytest.approx(1, abs=1e-4)
        assert np.isfinite(shape.uv).all()
        assert shape.faces.max() < len(shape.vertices) == len(shape.uv) == len(shape.normals)
        if shape.mask is not None:
            assert shape.uv.min() >= 0
            assert shape.uv.max() <= 1
            assert shape.material.color_map is not None
    moved = np.abs(np.concatenate([s.vertices for s in flawed])).max(0)
    assert (moved <= np.array([8, 8, 4]) + 0.5).all()
    vector = sum(_area_vector(s) for s in made if not s.lid)
    assert np.abs(vector).max() < 1e-2  # of a closed surface it is 0
    assert [s.defect for s in shapes(standing(part, *defects), defects=False)] == [0]


def _area_vector(shape):
    a, b, c = shape.vertices.astype(float)[shape.faces].swapaxes(0, 1)
    return np.cross(b - a, c - a).sum(0) / 2


def test_a_flat_stain_changes_no_area_and_a_hole_takes_its_volume():
    stain = shapes(standing(block(), on_top("stain", stack("stain"))))
    assert sum(area(s) for s in stain) == pytest.approx(2 * (400 + 120 + 120), rel=1e-5)
    assert soup_volume(stain) == pytest.approx(2400, rel=1e-5)
    drilled = stack("hole", diameter_mm=3.0, depth_mm=2.0, ragged=0.0)
    without_burr = replace(drilled, height_mm=np.zeros_like(drilled.height_mm))
    made = shapes(standing(block(), on_top("hole", without_burr)))
    [lid] = [s for s in made if s.lid]
    assert 0.9 * np.pi * 1.5**2 < area(lid) < 1.02 * np.pi * 1.5**2
    removed = 2400 - soup_volume([s for s in made if not s.lid])
    assert 0.88 * np.pi * 1.5**2 * 2 < removed < 1.02 * np.pi * 1.5**2 * 2  # the bottom is rounded


def test_volume_under_a_dent_is_that_of_its_height_map():
    dent = stack("dent", diameter_mm=6.0, depth_mm=0.3)
    removed = 2400 - soup_volume(shapes(standing(block(), on_top("dent", dent))))
    texel = 2 * dent.half_mm / (len(dent.mask) - 1)
    assert removed == pytest.approx(-float(dent.height_mm.sum()) * texel**2, rel=0.02)


def test_where_the_maps_do_nothing_the_patch_looks_as_the_part_does():
    wave = 0.5 + 0.4 * np.sin(2 * np.pi * (np.arange(128) + 0.5) / 128)
    u, v = np.meshgrid(wave, np.roll(wave, 32))
    material = Material(color_map=np.stack([u, v, u * v], -1).astype(np.float32), period_mm=10.0)
    part = shaft()
    (defect,) = draw_defects(part, (DEFECTS["stain"](diameter_mm=3.0),), Draw(1, 0), "p")
    nothing = replace(defect.stack, alpha=defect.stack.alpha * 0, occlusion=defect.stack.occlusion * 0)
    for anisotropy in (0.0, 0.5):
        own = replace(material, anisotropy=anisotropy)
        flawed = next(s for s in shapes(standing(part, replace(defect, stack=nothing), material=own)) if s.defect)
        points, uv, axis = _random_points(flawed)
        base = np.stack(
            [np.where(axis == 0, points[:, 1], points[:, 0]), np.where(axis == 2, points[:, 1], points[:, 2])], 1
        )
        there = _nearest(flawed.material.color_map, uv)
        assert np.percentile(np.abs(there - _nearest(material.color_map, base / 10.0 % 1)).max(1), 98) < 0.06
        assert (
            np.abs(there - _nearest(material.color_map, (base + 1) / 10.0 % 1)).max() > 0.2
        )  # a millimetre off is seen


def _random_points(shape, count=2000):
    """Points on a shape, their uv and the axis that their face is projected along."""
    rng = np.random.default_rng(0)
    a, b, c = shape.vertices[shape.faces].swapaxes(0, 1)
    cross = np.cross(b - a, c - a)
    size = np.linalg.norm(cross, axis=1)
    chosen = rng.choice(len(shape.faces), count, p=size / size.sum())
    weights = rng.dirichlet(np.ones(3), count)[..., None]
    corner = shape.faces[chosen]
    points, uv = ((field[corner] * weights).sum(1) for field in (shape.vertices, shape.uv))
    return points, uv, np.abs(cross[chosen]).argmax(1)


def _nearest(texture, uv):
    size = np.array(texture.shape[1::-1])
    column, row = (np.clip((uv * size).astype(int), 0, size - 1)).T
    return texture[row, column]


def test_the_mask_is_gated_by_depth_and_facing():
    rust = stack("rust", diameter_mm=8.0, ragged=0.0)
    flat = next(s for s in shapes(standing(block(), on_top("rust", rust))) if s.defect)
    narrow = next(s for s in shapes(standing(block((20, 3, 6)), on_top("rust", rust))) if s.defect)
    assert flat.mask == pytest.approx(rust.mask, abs=1e-3)
    assert area(narrow) == pytest.approx(2 * rust.half_mm * 3, rel=0.05)  # the top face alone, not the sides
    assert narrow.normals[:, 2].min() > 0.1


def test_defects_keep_their_numbers_over_instances_and_when_hidden():
    part = block()
    first = (on_top("dent", stack("dent", diameter_mm=3.0)), on_top("stain", stack("stain", diameter_mm=3.0), -3.0))
    turned = np.diag([1.0, -1, -1, 1])
    turned[2, 3] = -3
    first = (first[0], replace(first[1], part_from_patch=turned))
    here = Instance(part, np.eye(4), {"": Material()}, first)
    there = Instance(part, TURN, {"": Material()}, first[:1])
    both = scene(here, there)
    assert {(s.instance, s.defect) for s in shapes(both)} == {(1, 0), (1, 1), (1, 2), (2, 0), (2, 3)}
    assert {s.defect for s in shapes(both, hidden=frozenset({2}))} == {0, 1, 3}
    left = shapes(both, hidden=frozenset({1, 2, 3}))
    assert [s.vertices.tobytes() for s in left] == [s.vertices.tobytes() for s in shapes(both, defects=False)]


def test_a_defect_reaches_a_component_that_touches_its_own():
    import trimesh

    from flawsmith.part.part import Part
    from made_parts import component

    left, right = (trimesh.creation.box((10, 20, 6)) for _ in range(2))
    left.apply_translation((-5, 0, 0))
    right.apply_translation((5, 0, 0))
    part = Part("split", (component(left, "left"), component(right, "right")))
    made = shapes(standing(part, on_top("hole", stack("hole"), component="left")))
    assert {s.name for s in made if s.defect} == {
        f"{side}/hole{w}" for side in ("left", "right") for w in ("", " wall", " lid")
    }


def test_what_cannot_be_made_is_said():
    hole = stack("hole")
    with pytest.raises(DataError, match="not a closed solid"):
        shapes(standing(open_block(), on_top("hole", hole, component="shell")))
    with pytest.raises(DataError, match="has body"):
        shapes(standing(block(), on_top("hole", hole, component="bdy")))
    with pytest.raises(DataError, match="lies beside"):
        shapes(standing(block(), on_top("stain", stack("stain"), height=60.0)))
    with pytest.raises(DataError, match="no material for component 'large'"):
        shapes(scene(Instance(pair(), np.eye(4), {"small": Material()})))


def test_the_same_scene_gives_the_same_bytes():
    part = shaft()
    defects = draw_defects(part, (DEFECTS["break"](), DEFECTS["rust"]()), Draw(4, 0), "p")
    one, two = (shapes(standing(part, *defects)) for _ in range(2))
    for a, b in zip(one, two, strict=True):
        assert a.vertices.tobytes() == b.vertices.tobytes()
        assert a.normals.tobytes() == b.normals.tobytes()
        assert (a.mask is None) == (b.mask is None)
