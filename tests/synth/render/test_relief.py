"""Relief: labels that follow from geometry, light that agrees with a path tracer, errors for what is not flat."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import trimesh

from flawsmith.core.errors import DataError
from flawsmith.part.part import Component, Part
from flawsmith.synth.pose import aimed, inverse
from flawsmith.synth.render import RenderSettings, render
from flawsmith.synth.render.relief import relief_labels, render_relief
from flawsmith.synth.render.relief_plane import homography, planes, view
from flawsmith.synth.render.relief_shade import points_of
from flawsmith.synth.scene import (
    Camera,
    Environment,
    Instance,
    MapStack,
    Material,
    MeshLight,
    PlacedDefect,
    Scene,
    Sensor,
    SpotLight,
)

N = 64
SKY = Environment(np.full((1, 1, 3), 0.3, np.float32))


def sheet(width: float = 100.0, thick: float = 2.0) -> Part:
    box = trimesh.creation.box((width, width, thick))
    box.apply_translation((0, 0, thick / 2))
    return Part("sheet", (Component("sheet", (), np.asarray(box.vertices), np.asarray(box.faces, np.int32)),))


def panel(centre=(80, 0, 150), half=(20, 60), radiance=4.0) -> MeshLight:
    """A panel that faces the origin."""
    back = np.asarray(centre, float) / np.linalg.norm(centre)
    side = np.cross(back, [0, 1, 0])
    side /= np.linalg.norm(side)
    up = np.cross(side, back)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    vertices = np.asarray(centre) + corners[:, :1] * side + corners[:, 1:] * up
    faces = np.array([[0, 2, 1], [0, 3, 2]] if np.cross(side, up) @ back > 0 else [[0, 1, 2], [0, 2, 3]], np.int32)
    return MeshLight("panel", vertices.astype(np.float32), faces, (radiance,) * 3)


def camera(tilt_deg: float = 0.0, n: int = N, field_mm: float = 60.0) -> Camera:
    focal = n * 300 / field_mm
    k = np.array([[focal, 0, n / 2], [0, focal, n / 2], [0, 0, 1.0]])
    return Camera("c", n, n, k, inverse(aimed(np.radians(tilt_deg), 0.3, 0, 300, np.array([0, 0, 2.0]))), 1.0)


def scene(material: Material, defects=(), lights=(), environment=SKY, tilt_deg=0.0, part=None) -> Scene:
    instance = Instance(part or sheet(), np.eye(4), {"": material}, tuple(defects))
    return Scene((instance,), (), tuple(lights), environment, camera(tilt_deg), Sensor(), 1)


def disc(radius_mm: float, at=(0.0, 0.0, 2.0), depth_mm: float = 0.0, alpha: float = 1.0, n: int = 129) -> PlacedDefect:
    half = 1.3 * radius_mm
    line = np.linspace(-half, half, n, dtype=np.float32)
    inside = (np.hypot(*np.meshgrid(line, line)) < radius_mm).astype(np.float32)
    smooth = cv2.GaussianBlur(inside, (0, 0), n / 40)
    pose = np.eye(4)
    pose[:3, 3] = at
    zeros = np.zeros_like(inside)
    stack = MapStack(
        half_mm=half,
        depth_mm=5.0,
        mask=inside,
        height_mm=-depth_mm * smooth,
        alpha=alpha * inside,
        occlusion=zeros,
        color=np.zeros((n, n, 3), np.float32),
        roughness=zeros + 0.9,
        metallic=zeros,
    )
    return PlacedDefect("disc", stack, "sheet", pose, 2 * radius_mm)


STEEL = Material(base_color=(0.6, 0.6, 0.6), roughness=0.35, metallic=1.0)
PAINT = Material(base_color=(0.5, 0.4, 0.3), roughness=0.6)
BRUSHED = replace(STEEL, anisotropy=0.7)
LACQUER = replace(PAINT, clearcoat=1.0, clearcoat_roughness=0.2)


@pytest.mark.parametrize("tilt_deg", [0.0, -25.0])
@pytest.mark.parametrize(
    ("material", "tolerance"),
    [(STEEL, 0.06), (PAINT, 0.06), (BRUSHED, 0.06), (LACQUER, 0.12)],
    ids=["steel", "paint", "brushed", "lacquer"],
)
def test_brightness_agrees_with_the_path_tracer(material: Material, tolerance: float, tilt_deg: float) -> None:
    """On a plain sheet under a panel and an even sky; docs/generate.md states the tolerance."""
    pytest.importorskip("mitsuba")
    plain = scene(material, lights=[panel()], tilt_deg=tilt_deg)
    traced = render(plain, RenderSettings(spp=64, denoise=False, bounces=1, threads=1)).rgb
    quick = render(plain, renderer="relief").rgb
    assert quick.mean() == pytest.approx(traced.mean(), rel=tolerance)
    blocks = [cv2.resize(image, (8, 8), interpolation=cv2.INTER_AREA) for image in (quick, traced)]
    np.testing.assert_allclose(*blocks, rtol=2.5 * tolerance)


def test_a_rough_panel_is_as_bright_as_its_form_factor_says() -> None:
    """Oracle without a renderer: a Lambertian sheet far below a small panel, by the inverse square law."""
    matt = Material(base_color=(0.5, 0.5, 0.5), roughness=0.5, ior=1.0001)
    lamp = panel((0, 0, 1000), (10, 10))
    got = render_relief(scene(matt, lights=[lamp], environment=None)).rgb[N // 2, N // 2, 0]
    irradiance = 4.0 * 400 / 998**2
    assert got == pytest.approx(0.5 / np.pi * irradiance, rel=0.02)


def test_points_carry_the_power_of_their_light() -> None:
    ring = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    circles = [np.column_stack([r * np.cos(ring), r * np.sin(ring), 0 * ring + 100]) for r in (50, 60)]
    inner = np.arange(48)
    outer, following = inner + 48, (inner + 1) % 48
    faces = np.concatenate([np.stack([inner, outer, following], 1), np.stack([following, outer, following + 48], 1)])
    light = MeshLight("ring", np.concatenate(circles).astype(np.float32), faces.astype(np.int32), (1.0, 2.0, 3.0))
    points = points_of([light])[0]
    area = (
        np.linalg.norm(
            np.cross(*np.moveaxis(light.vertices[faces][:, 1:] - light.vertices[faces][:, :1], 1, 0)), axis=1
        ).sum()
        / 2
    )
    np.testing.assert_allclose(points.power * len(points.position), area * np.array([1, 2, 3]), rtol=1e-5)
    assert np.abs(points.position.mean(0) - [0, 0, 100]).max() < 5
    assert np.abs(np.hypot(*points.position[:, :2].T) - 55).max() < 12


@pytest.mark.parametrize("tilt_deg", [0.0, 20.0])
@pytest.mark.parametrize("radius_mm", [1.0, 3.0, 9.0])
def test_coverage_is_the_projected_disc(radius_mm: float, tilt_deg: float) -> None:
    """Oracle: every pixel's share by 16 × 16 rays through the pixel onto the sheet."""
    made = scene(PAINT, [disc(radius_mm, (4.0, -3.0, 2.0), n=257)], tilt_deg=tilt_deg)
    coverage = render_relief(made).coverage[0]
    fine = (np.arange(N * 16) + 0.5) / 16
    back = np.linalg.inv(homography(made.camera, 2.0))
    x, y, w = (back[i, 0] * fine[None] + back[i, 1] * fine[:, None] + back[i, 2] for i in range(3))
    truth = (np.hypot(x / w - 4, y / w + 3) < radius_mm).reshape(N, 16, N, 16).mean((1, 3))
    assert np.abs(coverage - truth).max() < 0.1
    assert coverage.sum() == pytest.approx(truth.sum(), rel=0.05)


def test_a_flaw_changes_the_picture_where_it_is_labelled_and_nowhere_else() -> None:
    lamp = [panel()]
    bare = render_relief(scene(STEEL, lights=lamp))
    flawed = render_relief(scene(STEEL, [disc(6, depth_mm=0.4)], lamp))
    changed = np.abs(flawed.rgb - bare.rgb).max(2) > 1e-4
    assert changed[flawed.coverage[0] > 0.9].mean() > 0.95
    assert not changed[cv2.dilate(flawed.coverage[0], np.ones((9, 9))) == 0].any()
    np.testing.assert_array_equal(render_relief(scene(STEEL, [disc(6, depth_mm=0.4)], lamp)).rgb, flawed.rgb)


def test_a_dent_is_bright_on_the_side_that_faces_the_light() -> None:
    """The camera's x is turned with the world's by straight-down geometry: the light stands at +x."""
    made = scene(PAINT, [disc(8, depth_mm=1.5, alpha=0.0)], [panel((150, 0, 80))], None)
    shade = render_relief(made).rgb[..., 0]
    x = view(planes(made)[0], made.camera).x
    row = render_relief(made).coverage[0] > 0.3
    assert shade[row & (x < -2)].mean() > 1.2 * shade[row & (x > 2)].mean()


def test_visible_is_the_share_in_the_picture() -> None:
    assert render_relief(scene(PAINT, [disc(4)])).visible[0] == 1
    half = render_relief(scene(PAINT, [disc(4, (30.0, 0.0, 2.0))])).visible[0]
    assert half == pytest.approx(0.5, abs=0.2)
    assert render_relief(scene(PAINT, [disc(4, (45.0, 0.0, 2.0))])).visible[0] == 0
    underneath = disc(4)
    underneath.part_from_patch[2, 2] = -1
    hidden = render_relief(scene(PAINT, [underneath]))
    assert hidden.visible[0] == 0
    assert not hidden.coverage.any()


def test_depth_normal_and_instance() -> None:
    seen = render_relief(scene(PAINT, part=sheet(40.0), tilt_deg=20.0))
    inside = seen.instance == 1
    assert 0.2 < inside.mean() < 0.6
    assert (seen.instance[~inside] == -1).all()
    assert np.isinf(seen.depth_mm[~inside]).all()
    assert seen.depth_mm[N // 2, N // 2] == pytest.approx(300, abs=1)
    np.testing.assert_allclose(seen.normal[inside], np.broadcast_to([0, 0, 1], (inside.sum(), 3)), atol=1e-6)
    labels = relief_labels(scene(PAINT, part=sheet(40.0), tilt_deg=20.0))
    np.testing.assert_array_equal(labels.instance, seen.instance)
    assert not labels.rgb.any()


def test_a_spot_lights_its_cone_alone() -> None:
    pose = np.eye(4)
    pose[:3, :3] = np.diag([1.0, -1.0, -1.0])
    pose[2, 3] = 200
    spot = SpotLight("spot", pose, (1e4,) * 3, np.radians(5), np.radians(4))
    rgb = render_relief(scene(PAINT, lights=[spot], environment=None)).rgb[..., 0]
    assert rgb[N // 2, N // 2] > 0
    assert rgb[2, 2] == 0


def test_defocus_softens_edges_and_keeps_the_light() -> None:
    sharp = scene(PAINT, [disc(5)])
    soft = replace(sharp, camera=replace(sharp.camera, lens_radius_mm=20.0, focus_mm=250.0))
    a, b = render_relief(sharp).rgb[..., 0], render_relief(soft).rgb[..., 0]
    assert np.abs(np.diff(b)).max() < 0.5 * np.abs(np.diff(a)).max()
    assert b.mean() == pytest.approx(a.mean(), rel=0.01)


def test_what_is_not_flat_is_refused_by_name() -> None:
    ball = trimesh.creation.icosphere(2, 20)
    part = Part("ball", (Component("ball", (), np.asarray(ball.vertices), np.asarray(ball.faces, np.int32)),))
    with pytest.raises(DataError, match=r"part 'ball' is not flat: .*--renderer mitsuba"):
        render_relief(scene(PAINT, part=part))
    with pytest.raises(DataError, match=r"lets light through"):
        render_relief(scene(replace(PAINT, transmission=0.5)))
    below = replace(scene(PAINT), camera=replace(camera(), camera_from_world=np.eye(4)))
    with pytest.raises(DataError, match="not above"):
        render_relief(below)


def test_textures_follow_the_part_and_do_not_sparkle() -> None:
    rng = np.random.default_rng(0)
    noisy = replace(PAINT, color_map=rng.random((512, 512, 3), np.float32), period_mm=30.0)
    shaded = render_relief(scene(noisy)).rgb[..., 0]
    assert shaded.std() / shaded.mean() < 0.15  # 8 texels a pixel average to a quarter of a texel's spread or less
    half = np.zeros((64, 64, 3), np.float32)
    half[:, :32] = 0.8
    striped = replace(PAINT, color_map=half, period_mm=60.0)
    made = scene(striped)
    x = view(planes(made)[0], made.camera).x
    rgb = render_relief(made).rgb[..., 0]
    assert rgb[(x > 2) & (x < 28)].min() > 2 * rgb[(x < -2) & (x > -28)].max()
