"""The measurement against shapes whose wear is known, and what it refuses."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st
from made_wear import insert_picture, land
from scipy.ndimage import label

from flawsmith.core import ConfigError, DataError, decode
from flawsmith.core.config import validate
from flawsmith.core.image import to_channels
from flawsmith.model.wear.edge import EdgeSettings, border, cutting_edge
from flawsmith.model.wear.measure import WearSettings, measure_wear
from flawsmith.model.wear.picture import draw_wear

ANGLES = st.floats(0, 360)


def settings(**edge: object) -> WearSettings:
    return WearSettings(edge=validate(EdgeSettings, edge, "test"))


def flat(height: float):
    return lambda s: np.full_like(s, height)


@trying(max_examples=40)
@given(ANGLES, st.floats(6, 60))
def test_a_land_of_one_height_has_that_height_everywhere_however_it_is_turned(angle, height):
    wear = measure_wear(land(flat(height), angle_deg=angle), pixel_mm=0.01)
    assert wear.vb_mean_px == pytest.approx(height, abs=1)
    assert wear.vb_max_px == pytest.approx(height, abs=1.5)  # the stairs of the pixel grid on both borders
    assert wear.vb_mean_mm == pytest.approx(wear.vb_mean_px * 0.01)
    assert wear.edge.length_px == pytest.approx(200, abs=2)
    assert wear.edge_deviation_px < 1.5


@trying(max_examples=40)
@given(ANGLES, st.floats(0.001, 0.1))
def test_lengths_go_with_the_pixel_and_areas_with_its_square(angle, pixel_mm):
    mask = land(flat(30), angle_deg=angle)
    one, scaled = measure_wear(mask, pixel_mm=1), measure_wear(mask, pixel_mm=pixel_mm)
    for name in ("vb_mean_mm", "vb_max_mm", "notch_mm", "edge_deviation_mm", "worn_length_mm"):
        assert getattr(scaled, name) == pytest.approx(getattr(one, name) * pixel_mm)
    assert scaled.area_mm2 == pytest.approx(mask.sum() * pixel_mm**2)
    assert scaled.vb_profile_mm == pytest.approx(one.profile_px * pixel_mm)


@pytest.mark.parametrize("angle", [0, 27, 90, 141, 250])
def test_a_triangle_has_its_height_at_most_and_its_integral_on_average(angle):
    tent = land(lambda s: 60 * (1 - np.abs(s - 100) / 100), angle_deg=angle)
    wear = measure_wear(tent)
    assert wear.vb_max_px == pytest.approx(60, abs=1.5)
    assert wear.vb_mean_px == pytest.approx(45, abs=1.5)  # the mean over the middle half, both ends being zone N
    assert wear.notch_px == pytest.approx(30, abs=1.5)
    assert wear.profile_px.sum() == pytest.approx(tent.sum(), rel=0.02)


@pytest.mark.parametrize("angle", [0, 33, 180, 305])
def test_a_notch_is_in_its_zone_and_not_in_vb(angle):
    notched = land(lambda s: np.where((s > 170) & (s < 185), 70.0, 20.0), angle_deg=angle)
    wear = measure_wear(notched, image=insert_picture(angle), pixel_mm=0.01)
    assert wear.edge.corner == "start"
    assert [zone.name for zone in wear.zones] == ["C", "B", "N"]
    assert wear.notch_px == pytest.approx(70, abs=1.5)
    assert wear.vb_max_px == pytest.approx(20, abs=1)
    assert wear.corner_wear_px == pytest.approx(20, abs=1)
    moved = measure_wear(notched, image=insert_picture(angle), settings=WearSettings(notch_share=0))
    assert moved.vb_max_px == pytest.approx(70, abs=1.5)  # without a zone N the notch is zone B's


def test_zones_are_the_standards_quarter_and_the_corner_radius():
    line = ((110.0, 209.0), (310.0, 209.0))
    mask = land(flat(30))
    wear = measure_wear(mask, 0.01, line=line, settings=WearSettings(corner_mm=0.4, edge=EdgeSettings(corner="end")))
    assert [(z.name, z.start, z.end) for z in wear.zones] == [("N", 0, 50), ("B", 50, 160), ("C", 160, 200)]
    unknown = measure_wear(mask, line=line)
    assert [zone.name for zone in unknown.zones] == ["N", "B", "N"]
    assert unknown.corner_wear_px is None
    with pytest.raises(ConfigError, match="corner_mm needs pixel_mm"):
        measure_wear(mask, line=line, settings=WearSettings(corner_mm=0.4, edge=EdgeSettings(corner="end")))


def test_vb_counts_from_the_unworn_edge_where_the_edge_has_receded():
    chipped = land(flat(40), recess=lambda s: np.where((s > 80) & (s < 120), 15.0, 0.0))
    wear = measure_wear(chipped, settings=settings(outside="top"))
    assert wear.edge_deviation_px == pytest.approx(15, abs=1)
    assert wear.vb_mean_px == pytest.approx(40, abs=1)
    assert measure_wear(land(flat(40)), settings=settings(outside="top")).edge_deviation_px < 0.6


def test_a_hole_does_not_shorten_vb():
    mask = land(flat(40))
    mask[220:230, 180:240] = False
    assert measure_wear(mask).vb_mean_px == pytest.approx(40, abs=1)


@pytest.mark.parametrize("angle", [0, 60, 200, 320])
def test_the_picture_tells_the_edge_from_the_far_side_and_finds_the_corner(angle):
    mask = land(lambda s: np.where(s < 0, 0, 30.0), angle_deg=angle)
    edge = cutting_edge(mask, insert_picture(angle))
    turned = math.radians(angle)
    assert edge.how == "picture"
    assert edge.doubt is None
    assert edge.into == pytest.approx((-math.sin(turned), math.cos(turned)), abs=0.03)
    assert edge.corner == "start"
    both = cutting_edge(mask, insert_picture(angle, corner_at=-1e9))
    assert both.corner is None  # an insert that goes on at both ends has no corner here


def test_without_a_picture_a_rectangle_is_in_doubt_and_the_user_decides():
    mask = land(flat(40))
    assert cutting_edge(mask).doubt is not None
    for side, into in (("top", (0, 1)), ("bottom", (0, -1)), ("left", (1, 0)), ("right", (-1, 0))):
        edge = cutting_edge(mask, settings=EdgeSettings(outside=side, straight=0.1))
        assert edge.into == pytest.approx(into, abs=0.02)
        assert (edge.how, edge.doubt) == ("outside", None)
    blank = cutting_edge(mask, np.full(mask.shape, 90, np.uint8))
    assert (blank.how, blank.corner) == ("longest", None)


def test_a_given_line_is_used_as_it_is_and_one_through_the_wear_is_refused():
    mask = land(flat(30))
    above = measure_wear(mask, line=((100.0, 199.5), (300.0, 199.5)))
    assert above.vb_mean_px == pytest.approx(40, abs=0.6)
    assert above.edge.how == "given"
    with pytest.raises(DataError, match="cuts through"):
        measure_wear(mask, line=((100.0, 225.0), (300.0, 225.0)))
    with pytest.raises(DataError, match="no length"):
        measure_wear(mask, line=((5.0, 5.0), (5.0, 5.0)))


def test_a_round_region_has_no_edge():
    y, x = np.mgrid[:200, :200] - 100
    with pytest.raises(DataError, match="give its line by two points"):
        cutting_edge(x**2 + y**2 < 60**2, settings=EdgeSettings(straight=0.6))


def test_several_regions():
    mask = land(lambda s: np.where((s > 120) & (s < 130), 0.0, 30.0))
    assert label(mask)[1] == 2
    largest = measure_wear(mask, settings=settings(outside="top"))
    assert len(largest.profile_px) == pytest.approx(120, abs=2)
    assert any("left out" in note for note in largest.notes)
    both = measure_wear(mask, settings=WearSettings(regions="all", edge=EdgeSettings(outside="top")))
    assert len(both.profile_px) == pytest.approx(200, abs=2)
    assert both.area_px == mask.sum() > largest.area_px
    speck = land(flat(30))
    speck[5, 5] = True
    assert measure_wear(speck, settings=settings(outside="top")).notes == ()


def test_wear_beyond_the_end_of_the_edge_is_said_or_taken_in():
    corner_gone = land(flat(60), recess=lambda s: np.maximum(s - 120, 0) * 0.7)
    wear = measure_wear(corner_gone, settings=settings(outside="top"))
    assert any("beyond the ends" in note for note in wear.notes)
    whole = measure_wear(corner_gone, settings=settings(outside="top", whole=True))
    assert len(whole.profile_px) > 1.3 * len(wear.profile_px)
    assert not any("beyond the ends" in note for note in whole.notes)


def test_without_the_pixels_size_there_are_no_millimetres():
    wear = measure_wear(land(flat(30)))
    for name in ("vb_mean_mm", "vb_max_mm", "vb_profile_mm", "notch_mm", "area_mm2", "edge_deviation_mm"):
        assert getattr(wear, name) is None
    assert wear.vb_mean_px > 0


def test_bad_input_is_refused_by_name():
    mask = land(flat(30))
    with pytest.raises(DataError, match="mask is empty"):
        measure_wear(np.zeros((40, 40), bool))
    with pytest.raises(DataError, match="make them equal"):
        measure_wear(mask, image=np.zeros((10, 10), np.uint8))
    with pytest.raises(DataError, match="bool"):
        measure_wear(mask.astype(np.uint8))
    for pixel_mm in (0, -1, math.nan, math.inf):
        with pytest.raises(ConfigError, match="pixel_mm"):
            measure_wear(mask, pixel_mm=pixel_mm)
    with pytest.raises(DataError):
        measure_wear(np.eye(1, dtype=bool))


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_any_mask_is_measured_or_refused(seed, side):
    mask = np.random.default_rng(seed).random((side, side)) < 0.6
    try:
        wear = measure_wear(mask)
    except DataError:
        return
    assert 0 <= wear.vb_mean_px <= wear.vb_max_px <= math.hypot(side, side) + 2
    assert np.isfinite(wear.profile_px).all()


def test_the_border_runs_between_the_pixels_and_its_normals_point_out():
    mask = np.zeros((40, 40), bool)
    mask[10:30, 8:32] = True
    mask[15:20, 15:20] = False  # a hole is no border
    outline = border(mask)
    assert outline.points.min(axis=0) == pytest.approx([7.5, 9.5])
    assert outline.points.max(axis=0) == pytest.approx([31.5, 29.5])
    assert ((outline.points - [19.5, 19.5]) * outline.outward).sum(axis=1).min() > 0
    assert outline.extent_px == pytest.approx(math.hypot(24, 20), abs=1)


def test_the_drawing_shows_region_edge_and_depth():
    mask, image = land(flat(40), angle_deg=20), insert_picture(20)
    drawn = draw_wear(image, mask, measure_wear(mask, image=image), side_px=200)
    assert (drawn.shape, drawn.dtype) == ((200, 200, 3), np.uint8)
    for colour in ((255, 128, 0), (0, 150, 255), (255, 255, 0)):
        assert (drawn == colour).all(axis=2).sum() > 20
    with pytest.raises(DataError, match="cannot draw"):
        draw_wear(image[:50], mask, measure_wear(mask))


def test_real_inserts_are_measured_on_their_main_edge(real_data):
    """The same photograph turned gives the same figures, and the corner is where the insert ends."""
    folder = real_data("tool-insert-wear")

    def measured(number: int):
        image = decode(folder / "images" / f"{number}.jpg")
        mask = to_channels(decode(folder / "masks" / f"{number}_mask.png"), 1) > 127
        return measure_wear(mask, 0.5 / 213, image)

    upright, turned = measured(120), measured(190)
    assert (upright.edge.how, upright.edge.corner) == ("picture", "start")
    assert turned.vb_mean_px == pytest.approx(upright.vb_mean_px, abs=0.1)
    assert turned.notch_px == pytest.approx(upright.notch_px, abs=0.1)
    light, heavy = measured(60), measured(22)
    assert light.vb_mean_mm is not None
    assert heavy.vb_mean_mm is not None
    assert light.vb_mean_mm < 0.03 < 0.3 < heavy.vb_mean_mm
    assert any("another edge" in note for note in heavy.notes)
    for wear in (light, upright, turned, heavy):
        assert wear.edge.corner == "start"
