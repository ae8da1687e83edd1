"""What denoising keeps of faint flaws, and where it is helped."""

from dataclasses import replace

import numpy as np
import pytest
from small_worlds import look, panel, scene, square

from flawsmith.core.errors import EnvironmentFault
from flawsmith.synth.render import RenderSettings, render
from flawsmith.synth.render.denoise import denoise, surroundings
from flawsmith.synth.render.mitsuba import _affordable
from flawsmith.synth.scene import Environment, Material, Rendering, Scene, Shape

PLAIN = RenderSettings(keep_flaws=1, denoise_flaws=1)
MIXED = RenderSettings(denoise_flaws=0.5)


def test_surroundings_are_whole_near_a_defect_and_nothing_far_from_it():
    coverage = np.zeros((2, 40, 40), np.float32)
    coverage[1, 20, 20] = 0.1
    weight = surroundings(coverage, 5)
    distance = np.hypot(*(np.mgrid[:40, :40] - 20))
    assert (weight[distance <= 5] == 1).all()
    assert (weight[distance >= 10] == 0).all()
    assert not surroundings(coverage[:1], 5).any()
    assert not surroundings(coverage[:0], 5).any()


def test_a_missing_denoiser_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "pyoidn", None)
    grey = np.zeros((8, 8, 3), np.float32)
    with pytest.raises(EnvironmentFault, match=r"pip install 'flawsmith\[render\]'"):
        denoise(grey, grey, grey)


def scratched(depth_mm: float, size: int = 64) -> tuple[Scene, list[Shape]]:
    """A ground steel plate with a shallow groove across its middle, in a room with a few bright lamps."""
    steps = 256
    across = (np.arange(steps) + 0.5) / steps * 12 - 6
    groove = np.tile((-depth_mm * np.exp(-((across / 0.2) ** 2))).astype(np.float32)[:, None], (1, steps))
    steel = Material("steel", (0.6, 0.58, 0.55), 0.3, 1.0, period_mm=12, height_map_mm=groove)
    mask = np.repeat((np.abs(across) < 0.3).astype(np.float32)[:, None], steps, axis=1)
    room = np.full((16, 32, 3), 0.3, np.float32)
    room[3:5, ::6] = 6
    camera = look((2, -25, 90), (0, 0, 0), size, size, 9 * size)
    placed = scene(camera, (panel((40, 30, 60), (0, 0, 0), 30, 6.0),), Environment(room))
    return placed, [square(12, 0, "plate", steel, instance=1, defect=1, mask=mask)]


def twin(shapes: list[Shape]) -> list[Shape]:
    return [replace(s, material=replace(s.material, height_map_mm=None)) for s in shapes]


def kept(settings: RenderSettings, depth_mm: float) -> float:
    """The flaw's own part of the image, as a share of what it truly is: by two independent references, without bias."""
    placed, shapes = scratched(depth_mm)

    def flaw(settings: RenderSettings, seed: int) -> tuple[np.ndarray, Rendering]:
        there, healthy = (render(replace(placed, seed=seed), settings, shapes=s) for s in (shapes, twin(shapes)))
        return there.rgb - healthy.rgb, there

    truth = [flaw(RenderSettings(denoise=False, spp=512), seed)[0] for seed in (11, 12)]
    ours, image = flaw(settings, 1)
    near = surroundings(image.coverage, 2) > 0
    return float((ours * truth[0])[near].sum() / (truth[1] * truth[0])[near].sum())


def test_a_fine_scratch_is_washed_out_at_few_paths_and_kept_at_many_or_without_the_denoiser():
    plain, many, mixed, off = (
        kept(settings, 0.015)
        for settings in (
            PLAIN,
            PLAIN.model_copy(update={"spp": 16 * 8}),  # what the tiles round a flaw get
            RenderSettings(keep_flaws=1, denoise_flaws=0.5),
            RenderSettings(keep_flaws=1, denoise_flaws=0),
        )
    )
    assert plain < 0.8
    assert many > 0.8
    assert plain < mixed < off
    assert off == pytest.approx(1, abs=0.1)


def test_only_the_surroundings_of_defects_change():
    placed, shapes = scratched(0.05)
    plain, helped = (render(placed, settings, shapes=shapes) for settings in (PLAIN, MIXED))
    weight = surroundings(plain.coverage, 5)
    assert np.array_equal(plain.rgb[weight == 0], helped.rgb[weight == 0])
    assert np.abs(plain.rgb - helped.rgb)[weight == 1].mean() > 0
    healthy = [replace(s, defect=0) for s in shapes]
    same = [render(placed, settings, shapes=healthy).rgb for settings in (PLAIN, MIXED)]
    assert np.array_equal(*same)


def test_many_tiles_get_fewer_paths_each():
    camera = look((0, 0, 100), (0, 0, 0), 512, 512)
    assert [_affordable(RenderSettings(), camera, tiles) for tiles in (1, 8, 16, 40, 500)] == [8, 4, 2, 1, 1]
    assert _affordable(PLAIN, camera, 1) == 1
