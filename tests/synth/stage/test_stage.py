"""Stages: their surface is z = 0 round the origin, their sides face outwards, nothing stands where parts lie."""

import numpy as np
import pytest

from flawsmith.synth.distribution import Draw
from flawsmith.synth.scene import Material, Shape
from flawsmith.synth.stage import BUILDERS, StageSpec, draw_stage
from flawsmith.synth.stage.solid import box, cylinder_x, plane, sweep, turned

GREY = Material(period_mm=10.0)
ROLES = {"surface": Material(name="surface"), "body": GREY, "floor": GREY}


def built(preset: str, size: tuple[float, float] = (100, 80)) -> tuple[Shape, ...]:
    spec = StageSpec.model_validate({"preset": preset, "size_mm": size})
    return draw_stage(spec, Draw(1, 0), ROLES)


def height_at(shapes: tuple[Shape, ...], x: float, y: float) -> tuple[float, str]:
    """The highest surface over (x, y) and its material, by barycentric coordinates of every triangle."""
    best = (-np.inf, "")
    for shape in shapes:
        corners = shape.vertices.astype(float)[shape.faces]
        a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
        det = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1])
        flat = np.abs(det) > 1e-9
        a, b, c, det = a[flat], b[flat], c[flat], det[flat]
        u = ((x - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (y - a[:, 1])) / det
        v = ((b[:, 0] - a[:, 0]) * (y - a[:, 1]) - (x - a[:, 0]) * (b[:, 1] - a[:, 1])) / det
        hit = (u >= -1e-9) & (v >= -1e-9) & (u + v <= 1 + 1e-9)
        z = a[hit, 2] + u[hit] * (b[hit, 2] - a[hit, 2]) + v[hit] * (c[hit, 2] - a[hit, 2])
        if len(z) and z.max() > best[0]:
            best = (float(z.max()), shape.material.name)
    return best


@pytest.mark.parametrize("preset", BUILDERS)
def test_the_free_area_is_the_surface_at_zero(preset: str) -> None:
    shapes = built(preset)
    for x, y in ((0, 0), (49, 39), (-49, 39), (49, -39), (-49, -39), (13, -7)):
        z, name = height_at(shapes, x, y)
        assert z == pytest.approx(0, abs=1e-6)
        assert name == "surface"


@pytest.mark.parametrize("preset", BUILDERS)
def test_meshes_are_sound(preset: str) -> None:
    for shape in built(preset):
        corners = shape.vertices[shape.faces].astype(float)
        area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        kept = np.linalg.norm(area, axis=1) > 1e-9
        facing = np.einsum("ij,ij->i", area, shape.normals[shape.faces].mean(axis=1))
        assert (facing[kept] > 0).all(), shape.name
        assert np.allclose(np.linalg.norm(shape.normals, axis=1), 1, atol=1e-5)
        assert shape.uv.shape == (len(shape.vertices), 2)
        assert (shape.vertices.dtype, shape.faces.dtype) == (np.float32, np.int32)
        assert shape.instance == 0


@pytest.mark.parametrize(
    "shape",
    [
        box("b", (0, 0, 0), (20, 30, 40), GREY),
        plane("p", (0, 0), (20, 30), 0, GREY),
        turned("t", [(5, 0), (15, 0)], GREY),
        sweep("s", 100, 50, 80, 90, 30, GREY),
        cylinder_x("r", 10, 40, 0, 0, GREY),
    ],
    ids=lambda s: s.name,
)
def test_textures_keep_their_scale(shape: Shape) -> None:
    """Along each edge of a flat side, uv moves by its length in periods."""
    a, b = shape.faces[:, 0], shape.faces[:, 1]
    length = np.linalg.norm(shape.vertices[b] - shape.vertices[a], axis=1) / GREY.period_mm
    in_uv = np.linalg.norm(shape.uv[b] - shape.uv[a], axis=1)
    assert np.allclose(in_uv[length > 0.5], length[length > 0.5], rtol=2e-2)


def test_a_bin_has_walls_as_high_as_drawn() -> None:
    spec = StageSpec.model_validate({"preset": "robot_plate", "size_mm": [50, 50], "wall_mm": {"uniform": [20, 30]}})
    draw = Draw(2, 0)
    shapes = draw_stage(spec, draw, ROLES)
    assert height_at(shapes, 26.5, 0)[0] == pytest.approx(draw.values["stage.wall_mm"], abs=1e-3)


def test_the_texture_shift_moves_uv_alone() -> None:
    still = built("conveyor")
    spec = StageSpec.model_validate({"preset": "conveyor", "size_mm": [100, 80], "texture_shift_mm": 7})
    for a, b in zip(still, draw_stage(spec, Draw(1, 0), ROLES), strict=True):
        assert np.array_equal(a.vertices, b.vertices)
        assert np.allclose(b.uv - a.uv, 7 / a.material.period_mm, atol=1e-4)
