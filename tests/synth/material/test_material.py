"""Materials: in range, tiled without a seam, the same for the same draw, each finish unlike the next."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.spatial import KDTree

from flawsmith.core.errors import DataError
from flawsmith.synth.distribution import Draw, support
from flawsmith.synth.material import FINISHES, ImageSet, laid, named, pattern, read_set
from flawsmith.synth.material.coated import Plastic
from flawsmith.synth.material.image_set import height_from_normals, linear
from flawsmith.synth.material.noise import (
    blotches,
    cells,
    clouds,
    fractal,
    grain,
    islands,
    level_at,
    mix,
    ranks_of,
    streaks,
)
from flawsmith.synth.material.pattern import Pattern
from flawsmith.synth.scene import Material

PROCEDURAL = [name for name in FINISHES if name != "pbr"]


def drawn(finish: str, index: int = 0) -> Material:
    return FINISHES[finish].model_validate({"finish": finish}).material(Draw(1, index), "m", {})


def maps_of(material: Material) -> dict[str, np.ndarray]:
    names = ("color_map", "roughness_map", "metallic_map", "height_map_mm")
    return {n: getattr(material, n) for n in names if getattr(material, n) is not None}


@pytest.mark.parametrize("finish", PROCEDURAL)
def test_maps_are_physical_and_share_a_tile(finish: str) -> None:
    maps = maps_of(drawn(finish))
    assert all(m.dtype == np.float32 and np.isfinite(m).all() for m in maps.values())
    for name in ("color_map", "roughness_map", "metallic_map"):
        if name in maps:
            assert maps[name].min() >= 0
            assert maps[name].max() <= 1
    if "height_map_mm" in maps:
        assert np.abs(maps["height_map_mm"]).max() < 2


@pytest.mark.parametrize("finish", PROCEDURAL)
def test_a_tile_closes(finish: str) -> None:
    """The step across its border is like a step inside it; a texture with a seam would jump."""
    for name, values in maps_of(drawn(finish)).items():
        grey = values.mean(axis=2) if values.ndim == 3 else values
        for axis in (0, 1):
            inside = np.abs(np.diff(grey, axis=axis)).mean(axis=1 - axis)
            border = np.abs(np.take(grey, 0, axis) - np.take(grey, -1, axis)).mean()
            assert border <= 1.5 * inside.max() + 1e-6, (name, axis)


def test_the_seam_check_sees_a_seam() -> None:
    ramp = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))
    inside = np.abs(np.diff(ramp, axis=1)).mean(axis=0)
    assert np.abs(ramp[:, 0] - ramp[:, -1]).mean() > 1.5 * inside.max()


@pytest.mark.parametrize("finish", PROCEDURAL)
def test_the_same_draw_gives_the_same_bytes_and_another_differs(finish: str) -> None:
    first, again = maps_of(drawn(finish)), maps_of(drawn(finish))
    assert all(first[n].tobytes() == again[n].tobytes() for n in first)
    others = [maps_of(drawn(finish, index)) for index in range(1, 6)]
    assert any(first[n].tobytes() != other[n].tobytes() for other in others for n in first)


def test_metals_are_metal_and_the_rest_is_not() -> None:
    metal = {name: drawn(name).metallic for name in ("brushed", "machined", "ground", "zinc_plated")}
    assert min(metal.values()) > 0.9
    assert max(drawn(name).metallic for name in ("plastic", "rubber", "paper", "concrete", "glass")) == 0


def test_rust_takes_the_metal_away_where_it_is() -> None:
    rusty = drawn("rusty")
    assert rusty.metallic_map is not None
    assert rusty.color_map is not None
    crust, steel = rusty.metallic_map < 0.1, rusty.metallic_map > 0.7
    red = rusty.color_map[..., 0] / rusty.color_map[..., 2]
    assert red[crust].mean() > 2 * red[steel].mean()


@settings(max_examples=10)
@given(st.floats(0, 1), st.integers(0, 99))
def test_islands_cover_about_their_share(share: float, seed: int) -> None:
    field = blotches(np.random.default_rng(seed), 0.1, side=128)
    covered = float((islands(field, ranks_of(field), share) > 0).mean())
    assert abs(covered - share) < 0.02


@given(st.floats(0.001, 0.999))
def test_levels_are_quantiles(share: float) -> None:
    """Oracle: NumPy's."""
    field = grain(np.random.default_rng(0), 0.05, side=256)
    assert level_at(ranks_of(field), share) == pytest.approx(np.quantile(field, 1 - share), abs=0.02)


def test_noise_has_the_sizes_that_it_is_asked_for() -> None:
    def rough(field: np.ndarray, axis: int) -> float:
        return float(np.abs(np.diff(field, axis=axis)).mean())

    rng = np.random.default_rng(0)
    lines = streaks(rng, 0.01, 0.5)
    assert rough(lines, 1) > 10 * rough(lines, 0)  # quick along u, slow along v
    assert rough(grain(rng, 0.01), 0) > 5 * rough(grain(rng, 0.1), 0)
    for field in (lines, clouds(rng, 0.1), fractal(rng)):
        assert abs(float(field.mean())) < 1e-4
        assert float(field.std()) == pytest.approx(1, abs=1e-3)


def test_cells_meet_across_the_border() -> None:
    """Oracle: a k-d tree on the torus."""
    index, border = cells(np.random.default_rng(0), 9, side=64)
    assert set(np.unique(index)) == set(range(9))
    assert (index[:, 0] == index[:, -1]).mean() > 0.7
    ticks = (np.arange(64) + 0.5) / 64
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    points = np.random.default_rng(0).random((9, 2))
    distance, nearest = (np.asarray(found) for found in KDTree(points, boxsize=1.0).query(grid, k=2))
    assert np.array_equal(index.ravel(), nearest[:, 0])
    np.testing.assert_allclose(border.ravel(), (distance[:, 1] - distance[:, 0]) * 3, atol=1e-6)


def test_mix_takes_a_where_the_share_is_0() -> None:
    share = np.array([[0.0, 1.0]], np.float32)
    color = mix(np.zeros((1, 2, 3), np.float32), np.array([1, 2, 3], np.float32), share)
    assert color.tolist() == [[[0, 0, 0], [1, 2, 3]]]


def test_a_tile_laid_another_way_holds_the_same_texels() -> None:
    material = drawn("rusty")
    moved, turned = laid(material, np.array([0.25, 0.5])), laid(material, np.zeros(2), (True, False))
    assert material.color_map is not None
    assert moved.color_map is not None
    assert turned.color_map is not None
    assert np.array_equal(np.roll(material.color_map, (128, 256), (0, 1)), moved.color_map)
    assert np.array_equal(material.color_map[::-1], turned.color_map)
    assert moved.period_mm == material.period_mm


def test_maps_are_made_when_they_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = Pattern.clouds
    monkeypatch.setattr(Pattern, "clouds", lambda pattern, size: asked.append(size) or real(pattern, size))
    material = named(laid(drawn("brushed"), np.array([0.1, 0.2])), "sheet")
    assert (material.name, material.metallic, asked) == ("sheet", 1.0, [])
    first = material.color_map
    assert asked
    made = len(asked)
    assert material.color_map is first
    assert material.metallic_map is None
    assert len(asked) == made
    black = replace(material, color_map=None)
    assert black.color_map is None
    assert black.roughness_map is material.roughness_map


@pytest.mark.parametrize("finish", PROCEDURAL)
def test_maps_do_not_depend_on_what_was_made_before(finish: str) -> None:
    """Other scenes first, in another order, or another process's empty store: the same bytes."""

    def bytes_of(index: int) -> dict[str, bytes]:
        return {name: values.tobytes() for name, values in maps_of(drawn(finish, index)).items()}

    forget()
    first = [bytes_of(index) for index in (0, 1, 2)]
    forget()
    again = [bytes_of(index) for index in (2, 1, 0)]
    assert again[::-1] == first
    assert [bytes_of(index) for index in (0, 1, 2)] == first  # nothing has written into what is kept


def forget() -> None:
    for kept in (pattern._kept, pattern._ranks, pattern._two):
        kept.cache_clear()


def test_a_data_set_has_as_many_patterns_as_variants_and_0_is_one_for_every_scene() -> None:
    def patterns(variants: int) -> set[float | str]:
        finish = Plastic(finish="plastic", variants=variants)
        draws = [Draw(1, index) for index in range(40)]
        for draw in draws:
            finish.material(draw, "m", {})
        return {draw.values["m.pattern"] for draw in draws}

    assert patterns(3) == {0, 1, 2}
    assert len(patterns(0)) == 40


def test_two_scenes_with_one_pattern_still_differ() -> None:
    one = [FINISHES["painted"].model_validate({"finish": "painted", "variants": 1}) for _ in range(2)]
    first, second = (finish.material(Draw(1, n), "m", {}) for n, finish in enumerate(one))
    assert first.color_map is not None
    assert second.color_map is not None
    assert not np.array_equal(first.color_map, second.color_map)


@pytest.mark.parametrize("finish", PROCEDURAL)
def test_coarser_texels_average_the_finer_ones(finish: str) -> None:
    """The same scene seen from farther off: fewer texels, the same colour and roughness on the whole."""
    made = FINISHES[finish].model_validate({"finish": finish})
    texels_mm = (0.0, support(made.period_mm)[0] / 128)
    fine, coarse = (made.material(Draw(1, 0), "m", {}, texel_mm) for texel_mm in texels_mm)
    for name, values in maps_of(fine).items():
        few = maps_of(coarse)[name]
        assert len(few) in (128, 256)  # a grainy tile's period is not the one asked for
        if name != "height_map_mm":
            small = cv2.resize(values, few.shape[:2], interpolation=cv2.INTER_AREA)
            assert np.abs(small - few).mean() < 0.05


def test_a_colour_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError, match="Did you mean 'black'"):
        Plastic(finish="plastic", color="blak")


def test_a_colour_may_be_numbers() -> None:
    red = Plastic(finish="plastic", color=(0.5, 0.01, 0.01), color_jitter=0.0).material(Draw(1, 0), "m", {})
    assert red.color_map is not None
    assert red.color_map[..., 0].mean() == pytest.approx(0.5, rel=0.1)


def test_an_image_set_is_read_by_its_names(tmp_path: Path) -> None:
    tile = np.full((8, 8, 3), (0, 0, 188), np.uint8)  # BGR: red, 0.5 in linear light
    cv2.imwrite(str(tmp_path / "Metal053C_1K_Color.png"), tile)
    cv2.imwrite(str(tmp_path / "Metal053C_1K_Roughness.png"), np.full((8, 8), 102, np.uint8))
    cv2.imwrite(str(tmp_path / "Metal053C_1K_Metalness.png"), np.full((8, 8), 255, np.uint8))
    maps = read_set(tmp_path)
    assert maps["color"].mean(axis=(0, 1), dtype=float) == pytest.approx([0.503, 0, 0], abs=1e-3)
    assert maps["roughness"].mean() == pytest.approx(0.4)
    assert "height" not in maps
    spec = ImageSet(finish="pbr", folder=tmp_path, brightness=0.5, roughness_gain=2, color_jitter=0.0)
    material = spec.material(Draw(1, 0), "m", maps)
    assert material.color_map is not None
    assert material.roughness_map is not None
    assert float(material.color_map[..., 0].mean()) == pytest.approx(0.25, abs=0.01)
    assert material.roughness_map.mean() == pytest.approx(0.8)
    assert material.height_map_mm is None


def test_a_real_image_set(real_data) -> None:
    maps = read_set(real_data("pbr-textures") / "rustymetal")
    assert set(maps) == {"color", "roughness", "metallic", "height"}
    assert all(m.min() >= 0 and m.max() <= 1 for m in maps.values())


def test_a_folder_that_is_no_image_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        read_set(tmp_path / "gone")
    with pytest.raises(DataError, match="has no colour image"):
        read_set(tmp_path)


def test_height_from_its_own_normals() -> None:
    """Oracle: the normals of a known tile give the tile back, up to scale."""
    x, y = np.meshgrid(*[np.arange(64) / 64 * 2 * np.pi] * 2)
    height = np.sin(x) + 0.5 * np.cos(2 * y)
    slope_x, slope_y = np.cos(x) * 2 * np.pi / 64, -np.sin(2 * y) * 2 * np.pi / 64
    normals = np.stack([-slope_x, slope_y, np.ones_like(x)], axis=2)
    found = height_from_normals(normals / np.linalg.norm(normals, axis=2, keepdims=True))
    expected = (height - height.min()) / np.ptp(height)
    assert np.abs(found - expected).max() < 0.02


def test_srgb_to_linear() -> None:
    assert linear(np.array([0, 0.04, 0.5, 1.0])) == pytest.approx([0, 0.04 / 12.92, 0.21404, 1], abs=1e-5)
