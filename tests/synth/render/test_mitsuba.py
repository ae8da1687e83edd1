"""Mitsuba's images against what geometry and radiometry say they must be."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_worlds import ball, disc_mask, look, panel, scene, smooth, square

from flawsmith.core.errors import ConfigError, DataError
from flawsmith.synth.render import RENDERERS, RenderSettings, render
from flawsmith.synth.render.rays import directions, project
from flawsmith.synth.scene import Camera, Environment, Material, Scene, Shape, SpotLight

PLAIN = RenderSettings(denoise=False, spp=32)
MATT = Material("matt", (0.5, 0.5, 0.5), roughness=0.5, ior=1.0)
CAMERA = look((60, -80, 90), (0, 0, 0))


def middle_of(image: np.ndarray) -> np.ndarray:
    """(x, y) in pixels of the centre of what is bright."""
    row, column = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    return np.array([(image * column).sum(), (image * row).sum()]) / image.sum()


def spot_on_black(size: int = 64) -> np.ndarray:
    """A bright disc off the middle: small v, large u."""
    row, column = (np.mgrid[:size, :size] + 0.5) / size
    return np.repeat((np.hypot(column - 0.75, row - 0.3) < 0.1)[..., None], 3, axis=2).astype(np.float32)


@pytest.mark.parametrize(
    "camera", [CAMERA, replace(CAMERA, lens_radius_mm=1e-4, focus_mm=134.0)], ids=["pinhole", "lens"]
)
@pytest.mark.parametrize("variant", ["llvm_ad_rgb", "scalar_rgb"])
def test_a_textured_spot_is_where_k_and_the_pose_put_it(camera: Camera, variant: str):
    material = Material("spot", period_mm=40, roughness=1.0, ior=1.0, color_map=spot_on_black())
    image = render(scene(camera), PLAIN.model_copy(update={"variant": variant}), shapes=[square(40, material=material)])
    truth = project(camera, np.array([[40 * 0.25, 40 * -0.2, 0]]))[0][0]
    row, column = np.mgrid[: camera.height, : camera.width] + 0.5
    glow = np.where(np.hypot(column - truth[0], row - truth[1]) < 10, image.rgb[..., 0], 0)
    assert np.hypot(*(middle_of(glow) - truth)) < 0.15


def test_a_white_ball_in_a_white_room_cannot_be_seen():
    """Furnace: what reflects all light, in even light, is as bright as the light. (Burley's diffuse only nearly so.)"""
    camera = look((0, -100, 0), (0, 0, 0), 48, 48, 100)
    settings = RenderSettings(denoise=False, spp=256, bounces=20)
    shapes = [smooth(ball(20), "ball", replace(MATT, base_color=(1, 1, 1)), instance=1)]
    image = render(scene(camera), settings, shapes=shapes)
    inside = image.instance == 1
    assert inside.sum() > 500
    assert image.rgb[~inside].mean() == pytest.approx(1, abs=0.002)
    assert image.rgb[inside].mean() == pytest.approx(1, abs=0.03)


def test_light_falls_off_as_a_panel_of_known_size_must():
    """Irradiance below a small panel is L·A·cos⁴/d²; a grey diffuse floor gives back its albedo/π of it."""
    lamp = panel((0, 0, 500), (0, 0, 0), 20, 1000.0)
    grey = Material("grey", (0.4, 0.4, 0.4), roughness=1.0, ior=1.0)
    camera = look((0, -1, 300), (0, 0, 0), 16, 16, 400)
    image = render(
        scene(camera, (lamp,), None), RenderSettings(denoise=False, spp=256), shapes=[square(60, material=grey)]
    )
    assert image.rgb.mean() == pytest.approx(0.4 / np.pi * 1000 * 400 / 500**2, rel=0.05)


@pytest.mark.parametrize("measured", [False, True])
def test_a_spot_has_its_intensity_and_its_profile(measured: bool):
    down = np.diag([1.0, -1, -1, 1])
    down[2, 3] = 500
    profile = np.array([1, 0.5, 0.25, 0.125, 0.0], np.float32) if measured else None
    lamp = SpotLight("spot", down, (25e4,) * 3, np.radians(40), np.radians(20), profile)
    grey = Material("grey", (1, 1, 1), roughness=1.0, ior=1.0)
    camera = look((0, 0, 5000), (0, 0, 0), 81, 81, 400)
    image = render(
        scene(camera, (lamp,), None), RenderSettings(denoise=False, spp=64), shapes=[square(3000, material=grey)]
    )
    row, column = np.mgrid[:81, :81] + 0.5
    towards = directions(camera, column.ravel(), row.ravel())
    spot = np.hypot(*(towards[:, :2] / towards[:, 2:] * 5000).T).reshape(81, 81)
    angle = np.arctan(spot / 500)
    share = (
        np.interp(np.degrees(angle), [0, 10, 20, 30, 40], profile)
        if measured
        else np.clip(2 - np.degrees(angle) / 20, 0, 1)
    )
    # E = I·cos³/h² on a floor, and its radiance is E/π
    truth = 25e4 * share * np.cos(angle) ** 3 / 500**2 / np.pi
    assert np.abs(image.rgb[..., 1] - truth).max() < 0.03 * truth.max()


@pytest.mark.parametrize("yaw_deg", [0, 90])
def test_the_sky_is_the_right_way_round(yaw_deg: float):
    """Row 0 is up; the middle column is +x at yaw 0, columns to its right turn towards -y; yaw turns towards +y."""
    sky = np.full((32, 64, 3), 0.01, np.float32)
    sky[10:12, 40:42] = 50
    turn, lift = -2 * np.pi * (41 - 32) / 64 + np.radians(yaw_deg), np.pi / 2 - np.pi * 11 / 32
    way = np.array([np.cos(turn) * np.cos(lift), np.sin(turn) * np.cos(lift), np.sin(lift)])
    camera = look((0, 0, 0), tuple(way + 0.05), 64, 64, 64)
    floor = square(1, -50)
    image = render(scene(camera, (), Environment(sky, np.radians(yaw_deg))), PLAIN, shapes=[floor])
    error_px = np.hypot(*(middle_of(image.rgb[..., 0] > 10) - project(camera, way[None])[0][0]))
    assert error_px < 1.5  # a row of the map is 6 px; Mitsuba puts the first and last row on the poles


def tilted(size: float, slope: float) -> Shape:
    """A square about the origin whose height rises by `slope` along x."""
    flat = square(size, material=MATT)
    rise = flat.vertices.copy()
    rise[:, 2] = rise[:, 0] * slope
    normal = np.array([-slope, 0, 1]) / np.hypot(1, slope)
    return replace(flat, vertices=rise, normals=np.tile(normal, (4, 1)).astype(np.float32))


def test_height_is_in_mm_and_shades_as_the_same_slope_of_geometry_does():
    steps, slope = 256, 0.3
    valley = np.tile(np.abs(np.linspace(-5, 5, steps, endpoint=False, dtype=np.float32)) * slope, (steps, 1))
    lamp = panel((3000, 0, 3000), (0, 0, 0), 100, 1e4)
    world = scene(look((0, -1, 200), (0, 0, 0), 40, 40, 600), (lamp,), None)

    def middle(shape: Shape) -> np.ndarray:
        return render(world, RenderSettings(denoise=False, spp=64), shapes=[shape]).rgb[15:25, :, 1].mean(0)

    bumped = middle(square(10, material=replace(MATT, period_mm=10, height_map_mm=valley)))
    centre = round(world.camera.k[0, 2])
    falls, rises = bumped[centre - 9 : centre - 3].mean(), bumped[centre + 4 : centre + 10].mean()
    assert falls == pytest.approx(middle(tilted(10, -slope))[centre], rel=0.03)
    assert rises == pytest.approx(middle(tilted(10, slope))[centre], rel=0.03)
    assert rises < 0.7 * falls


def test_an_open_lens_blurs_what_is_out_of_its_sharp_plane():
    material = Material("spot", period_mm=40, roughness=1.0, ior=1.0, color_map=spot_on_black())

    def peak(focus: float, radius: float) -> float:
        camera = replace(look((0, 0, 200), (0, 0, 0)), lens_radius_mm=radius, focus_mm=focus)
        return float(render(scene(camera), PLAIN, shapes=[square(40, material=material)]).rgb.max())

    assert peak(200, 5) == pytest.approx(peak(200, 0), rel=0.1)
    image = replace(look((0, 0, 200), (0, 0, 0)), lens_radius_mm=5, focus_mm=120)
    soft = render(scene(image), PLAIN, shapes=[square(40, material=material)]).rgb[..., 0]
    sharp = render(scene(look((0, 0, 200), (0, 0, 0))), PLAIN, shapes=[square(40, material=material)]).rgb[..., 0]
    assert np.abs(np.diff(soft, axis=1)).max() < 0.5 * np.abs(np.diff(sharp, axis=1)).max()


def flawed(size: int = 48) -> tuple[Scene, list[Shape]]:
    camera = look((60, -80, 90), (0, 0, 0), size, size, 1.6 * size)
    steel = Material("steel", (0.6, 0.58, 0.55), 0.3, 1.0)
    shapes = [
        square(200, material=Material("floor", color_map=spot_on_black() * 0.3 + 0.2, period_mm=30)),
        smooth(ball(15, (0, 0, 15), 3), "ball", steel, instance=1),
        square(18, 31, "patch", Material("rust", (0.3, 0.1, 0.05)), instance=1, defect=1, mask=disc_mask()),
    ]
    return scene(camera, (panel((50, 50, 100), (0, 0, 0), 40, 5.0),)), shapes


_OTHER_PROCESS = """
import sys; sys.path.insert(0, {folder!r})
from test_mitsuba import flawed, digest
print(digest(*flawed(), threads=int(sys.argv[1])))
"""


def digest(world: Scene, shapes: list[Shape], threads: int = 0) -> str:
    from flawsmith.core.files import sha256_of

    made = render(world, RenderSettings(spp=8, threads=threads), shapes=shapes)
    arrays = made.rgb, made.coverage, made.instance, made.depth_mm, made.normal, made.visible
    return sha256_of(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays))


def test_the_same_bytes_in_every_process_and_for_every_number_of_threads():
    code = _OTHER_PROCESS.format(folder=str(Path(__file__).parent))
    here = digest(*flawed())
    for threads in ("1", "2"):
        there = subprocess.run([sys.executable, "-c", code, threads], capture_output=True, text=True, check=True)
        assert there.stdout.strip() == here
    world, shapes = flawed()
    assert digest(replace(world, seed=4), shapes) != here


def test_denoising_brings_the_image_nearer_to_the_truth_and_leaves_the_labels_alone():
    world, shapes = flawed()
    truth = render(world, RenderSettings(denoise=False, spp=1024), shapes=shapes)
    noisy = render(world, RenderSettings(denoise=False, spp=8), shapes=shapes)
    clean = render(world, RenderSettings(spp=8), shapes=shapes)
    error = [np.abs(np.clip(i.rgb, 0, 2) - np.clip(truth.rgb, 0, 2)).mean() for i in (noisy, clean)]
    assert error[1] < 0.6 * error[0]
    assert np.array_equal(noisy.coverage, clean.coverage)
    assert set(clean.seconds) == {"build", "sample", "label", "denoise"}


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (lambda s: replace(s, faces=s.faces[:0]), "'floor' has no faces"),
        (lambda s: replace(s, normals=s.normals[:2]), "one normal"),
        (lambda s: replace(s, faces=s.faces + 9), "names vertex 12 of 4"),
        (lambda s: replace(s, vertices=s.vertices * np.nan), "not a finite number"),
        (lambda s: replace(s, material=Material("wood", color_map=np.zeros((4, 4), np.float32))), "'wood'.*color_map"),
        (lambda s: replace(s, material=Material("wood", height_map_mm=np.zeros((0, 0), np.float32))), "height_map_mm"),
        (lambda s: replace(s, material=Material("wood", roughness_map=np.full((2, 2), np.nan))), "not finite"),
    ],
)
def test_shapes_that_cannot_be_drawn_are_named(broken, words: str):
    with pytest.raises(DataError, match=words):
        render(scene(CAMERA), PLAIN, shapes=[broken(square(40))])


def test_a_light_or_camera_inside_a_part_is_named_and_one_beside_it_is_not():
    shapes = [square(200), smooth(ball(20, (0, 0, 20)), "ball", Material(), instance=2)]
    inside, beside = panel((0, 0, 20), (0, 0, 0), 4, 1.0, "lamp"), panel((16, 16, 36), (0, 0, 0), 4, 1.0, "lamp")
    with pytest.raises(DataError, match=r"light 'lamp' at .* inside part instance 2"):
        render(scene(CAMERA, (inside,)), PLAIN, shapes=shapes)
    render(scene(CAMERA, (beside,)), PLAIN.model_copy(update={"spp": 1}), shapes=shapes)
    with pytest.raises(DataError, match=r"camera 'cam' at .* inside"):
        render(scene(look((0, 0, 25), (0, 0, 0))), PLAIN, shapes=shapes)


def test_a_scene_without_light_is_refused():
    with pytest.raises(DataError, match="neither a light nor an environment"):
        render(scene(CAMERA, (), None), PLAIN, shapes=[square(40)])


def test_an_unknown_renderer_names_the_nearest():
    with pytest.raises(ConfigError, match="mitsuba"):
        render(scene(CAMERA), PLAIN, "mitsubishi", shapes=[square(40)])
    assert set(RENDERERS) == {"mitsuba", "cycles", "relief"}
