"""Cycles against Mitsuba: the same scene, the same image and labels. Needs the Cycles environment (marker cycles)."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from small_worlds import EVEN_SKY, ball, disc_mask, look, panel, scene, smooth, square

from flawsmith.core.errors import DataError, EnvironmentFault
from flawsmith.synth.render import RenderSettings, cycles, render
from flawsmith.synth.render.cycles import cycles_python, install_cycles, render_cycles, start_worker
from flawsmith.synth.scene import Camera, Environment, Material, MeshLight, Rendering, Scene, Shape, SpotLight

SETTINGS = RenderSettings(denoise=False, spp=64)


@pytest.fixture(scope="module", autouse=True)
def _one_process() -> Iterator[None]:
    yield
    if cycles._worker is not None:
        cycles._worker.stop()
        cycles._worker = None


def noise(seed: int, size: int = 64) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(np.random.default_rng(seed).random((size, size)), 2, mode="wrap")
    return ((field - field.min()) / np.ptp(field)).astype(np.float32)


def lit_sky() -> Environment:
    """Bright from one side and above, dim elsewhere."""
    row, column = np.mgrid[:32, :64]
    glow = 0.2 + 3 * np.exp(-((row - 8) ** 2 + (column - 40) ** 2) / 40)
    return Environment(np.stack([glow, glow * 0.9, glow * 0.8], axis=-1).astype(np.float32), 0.7)


def down(x: float, y: float, z: float) -> np.ndarray:
    pose = np.diag([1.0, -1, -1, 1])
    pose[:3, 3] = x, y, z
    return pose


MATERIALS = {
    "matt": Material("matt", (0.4, 0.35, 0.3), 0.6),
    "plastic": Material("plastic", (0.1, 0.3, 0.5), 0.2),
    "steel": Material("steel", (0.6, 0.58, 0.55), 0.3, 1.0),
    "brushed": Material("brushed", (0.6, 0.58, 0.55), 0.35, 1.0, anisotropy=0.7),
    "lacquer": Material("lacquer", (0.5, 0.05, 0.05), 0.5, clearcoat=1.0),
    "glass": Material("glass", (1, 1, 1), 0.05, transmission=1.0),
    "mixed": Material(
        "mixed",
        color_map=np.stack([noise(1) * 0.6 + 0.1, noise(2) * 0.3 + 0.1, noise(3) * 0.2], axis=-1),
        roughness_map=noise(4) * 0.5 + 0.2,
        metallic_map=noise(5),
        period_mm=15,
    ),
    "rough": Material("rough", (0.6, 0.58, 0.55), 0.3, 1.0, height_map_mm=noise(6) * 0.3, period_mm=15),
}
LIGHTS: dict[str, tuple[tuple[MeshLight | SpotLight, ...], Environment | None]] = {
    "panel": ((panel((60, -20, 90), (0, 0, 10), 50, 8.0),), None),
    "sky": ((), lit_sky()),
    "even": ((), EVEN_SKY),
    "spot": ((SpotLight("s", down(10, 10, 150), (4e4, 4e4, 3e4), 0.5, 0.3),), None),
    "profile": ((SpotLight("s", down(0, 0, 150), (6e4,) * 3, 0.6, 0.6, np.array([1, 0.2, 0.8, 0], np.float32)),), None),
}


def block(material: Material, **holds: object) -> Shape:
    """A box with uv in periods, a whole number round each corner."""
    mesh = trimesh.creation.box((30, 20, 12), trimesh.transformations.rotation_matrix(0.5, (0, 0, 1), (0, 0, 0)))
    mesh.apply_translation((0, 0, 6.1))
    vertices = np.asarray(mesh.vertices, np.float32)[mesh.faces].reshape(-1, 3)
    normals = np.repeat(mesh.face_normals, 3, axis=0).astype(np.float32)
    across = np.where(np.abs(normals[:, 2:]) > 0.9, vertices[:, 1:2], vertices[:, 2:])
    along = np.where(np.abs(normals[:, 2:]) > 0.9, vertices[:, :1], vertices[:, :1] + vertices[:, 1:2])
    uv = np.concatenate([along, across], axis=1).astype(np.float32) / material.period_mm
    return Shape(
        "block", vertices, np.arange(len(vertices), dtype=np.int32).reshape(-1, 3), normals, uv, material, **holds
    )


def world(material: str, light: str, camera: Camera | None = None) -> tuple[Scene, list[Shape]]:
    camera = camera or look((50, -70, 80), (0, 0, 5), 96, 80, 160)
    floor = square(300, material=Material("floor", (0.25, 0.25, 0.25), 0.6))
    rust = Material("rust", (0.25, 0.1, 0.05), 0.8)
    patch = square(10, 12.12, "patch", rust, instance=1, defect=1, mask=disc_mask(64))
    return scene(camera, *LIGHTS[light]), [floor, block(MATERIALS[material], instance=1), patch]


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


def agree(ours: Rendering, theirs: Rendering) -> None:
    """The labels agree within a boundary pixel here and there."""
    for number in (0, 1):
        assert iou(ours.instance == number, theirs.instance == number) > 0.995
    assert iou(ours.coverage[0] > 0.5, theirs.coverage[0] > 0.5) > 0.95
    assert np.abs(ours.coverage[0] - theirs.coverage[0]).max() < 0.35
    same = (ours.instance == theirs.instance) & (ours.instance >= 0)
    gap = np.abs(ours.depth_mm[same] - theirs.depth_mm[same])
    assert np.quantile(gap, 0.99) < 0.02
    assert np.quantile(np.abs(ours.normal[same] - theirs.normal[same]), 0.99) < 0.01
    assert np.array_equal(ours.visible, theirs.visible)


def brightness(image: Rendering, instance: int) -> float:
    return float(image.rgb[image.instance == instance].mean())


PAIRS = [
    ("matt", "panel"),
    ("plastic", "sky"),
    ("steel", "even"),
    ("brushed", "panel"),
    ("lacquer", "sky"),
    ("glass", "even"),
    ("mixed", "spot"),
    ("rough", "sky"),
    ("matt", "profile"),
]


@pytest.mark.cycles
@pytest.mark.parametrize(("material", "light"), PAIRS)
def test_both_renderers_agree(material: str, light: str):
    """Labels to a boundary pixel; Cycles is 0 … 10 % darker, because Burley's specular adds to his diffuse."""
    placed, shapes = world(material, light)
    ours, theirs = (render(placed, SETTINGS, name, shapes) for name in ("mitsuba", "cycles"))
    agree(ours, theirs)
    for instance in (0, 1):
        assert 0.88 < brightness(theirs, instance) / brightness(ours, instance) < 1.03
    assert set(theirs.seconds) == {"build", "sample", "label"}


@pytest.mark.cycles
def test_an_open_lens_blurs_the_same_in_both():
    camera = replace(look((50, -70, 80), (0, 0, 5), 96, 80, 160), lens_radius_mm=6.0, focus_mm=70.0)
    placed, shapes = world("matt", "even", camera)
    pinhole = replace(placed, camera=replace(camera, lens_radius_mm=0.0))
    sharp, ours, theirs = (
        render(made, RenderSettings(spp=128), name, shapes).rgb
        for made, name in ((pinhole, "mitsuba"), (placed, "mitsuba"), (placed, "cycles"))
    )
    softness = [np.abs(image - sharp).mean() for image in (ours, theirs * ours.mean() / theirs.mean())]
    assert softness[1] == pytest.approx(softness[0], rel=0.2)
    assert np.abs(theirs * ours.mean() / theirs.mean() - ours).mean() < 0.5 * softness[0]


@pytest.mark.cycles
def test_a_smooth_part_and_the_same_bytes_twice():
    placed = scene(look((60, -80, 90), (0, 0, 10), 64, 64, 90), (panel((50, 50, 100), (0, 0, 0), 40, 5.0),))
    shapes = [square(200), smooth(ball(15, (0, 0, 15), 3), "ball", MATERIALS["steel"], instance=1)]
    ours = render(placed, SETTINGS, shapes=shapes)
    first, second = (render(placed, RenderSettings(spp=8), "cycles", shapes) for _ in range(2))
    assert iou(ours.instance == 1, first.instance == 1) > 0.99
    assert first.coverage.shape == (0, 64, 64)
    for name in ("rgb", "instance", "depth_mm", "normal"):
        assert np.array_equal(getattr(first, name), getattr(second, name))


@pytest.mark.cycles
def test_a_blender_file_is_saved_on_request(tmp_path: Path):
    placed, shapes = world("mixed", "sky")
    render_cycles(placed, RenderSettings(spp=1, denoise=False), shapes, blend=tmp_path / "scene.blend")
    assert (tmp_path / "scene.blend").stat().st_size > 50_000


@pytest.mark.cycles
def test_a_job_that_fails_is_named_and_the_process_lives_on(tmp_path: Path):
    running = start_worker(cycles_python())
    try:
        with pytest.raises(DataError, match="FileNotFoundError"):
            running.ask({"job": str(tmp_path / "none"), "arrays": "none", "result": "none"})
        running.process.kill()
        with pytest.raises(EnvironmentFault, match="ended with code -9"):
            running.ask({"job": "none", "arrays": "none", "result": "none"})
    finally:
        running.stop()


def test_without_the_environment_the_error_says_how_to_make_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FLAWSMITH_CYCLES", str(tmp_path))
    monkeypatch.setattr(cycles, "_worker", None)
    placed, shapes = world("matt", "even")
    with pytest.raises(EnvironmentFault, match="flawsmith doctor --install cycles"):
        render(placed, SETTINGS, "cycles", shapes)


def test_installing_without_the_worker_says_where_it_is(tmp_path: Path):
    with pytest.raises(EnvironmentFault, match=r"GPL-3\.0"):
        install_cycles(tmp_path / "made", tmp_path / "nowhere")
    assert not (tmp_path / "made").exists()
