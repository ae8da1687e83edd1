"""Regions against SciPy's labelling and brute-force loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from flawsmith.decide.regions import apart_areas, area_profile, excess_area, find_regions, joined_labels

LEVELS = np.array([0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0])
maps = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12),
    elements=st.sampled_from([0, 0.2, 0.5, 0.7, 0.9]),
)
EIGHT = np.ones((3, 3))


@given(maps, st.sampled_from([0.2, 0.5, 0.7, 0.95]))
def test_regions_are_those_of_scipy(plane, level):
    regions = find_regions(plane, level)
    labels, count = ndimage.label(plane >= np.float32(level), EIGHT)
    expected = sorted(
        (x.start, y.start, x.stop, y.stop, int(np.sum(labels == i + 1)), float(plane[labels == i + 1].max()))
        for i, (y, x) in enumerate(ndimage.find_objects(labels))
    )
    found = [regions.defect(i, "pit") for i in range(len(regions))]
    assert len(regions) == count
    assert sorted((*d.box, d.area_px, d.score) for d in found) == expected
    whole = np.zeros(plane.shape, int)
    for defect in found:
        whole += defect.full_mask(plane.shape)
    assert np.array_equal(whole, plane >= np.float32(level))


def test_squeezing_empty_rows_neither_joins_nor_cuts():
    plane = np.zeros((40, 50), np.float32)
    plane[3, 4] = plane[5, 4] = 0.9  # one empty row between
    plane[20, 30] = plane[21, 31] = 0.9  # touch at a corner
    boxes = {find_regions(plane, 0.5).box(i) for i in range(3)}
    assert boxes == {(4, 3, 5, 4), (4, 5, 5, 6), (30, 20, 32, 22)}


@settings(max_examples=60)
@given(maps, st.integers(0, 3))
def test_profile_is_what_each_level_gives_alone(plane, max_count):
    joined = joined_labels(plane, 0.1) if max_count else None
    alone = [excess_area(apart_areas(find_regions(plane, level), joined), max_count) for level in LEVELS]
    profile = area_profile(plane, LEVELS, max_count, 0.1)
    assert profile.tolist() == alone
    assert np.all(np.diff(profile) <= 0)


@settings(max_examples=60)
@given(maps, st.lists(st.integers(1, 40), min_size=1, max_size=3, unique=True).map(sorted))
def test_profile_for_given_areas_is_right_about_these(plane, min_areas):
    exact, rough = area_profile(plane, LEVELS), area_profile(plane, LEVELS, min_areas=min_areas)
    for area in min_areas:
        assert np.array_equal(exact >= area, rough >= area)


def test_profile_computes_each_distinct_stretch_once(monkeypatch):
    from flawsmith.decide import regions

    asked = []
    monkeypatch.setattr(regions, "find_regions", lambda plane, level: asked.append(level) or find_regions(plane, level))
    plane = np.zeros((30, 30), np.float32)
    plane[3:9, 3:9] = 0.8
    levels = np.linspace(0.01, 1, 100)
    profile = area_profile(plane, levels)
    assert profile.tolist() == [36 * (np.float32(level) <= np.float32(0.8)) for level in levels]
    assert len(asked) == 2  # the lowest level and the highest that is reached


@given(maps)
def test_groups_are_regions_that_touch_at_the_joining_level(plane):
    regions, joined = find_regions(plane, 0.6), joined_labels(plane, 0.3)
    wide, _ = ndimage.label(plane >= np.float32(0.3), EIGHT)
    narrow, count = ndimage.label(plane >= np.float32(0.6), EIGHT)
    largest: dict[int, int] = {}
    for i in range(1, count + 1):
        group = int(wide[narrow == i][0])
        largest[group] = max(largest.get(group, 0), int(np.sum(narrow == i)))
    assert sorted(apart_areas(regions, joined).tolist()) == sorted(largest.values())


def test_a_plain_count_would_rise_with_the_threshold():
    """Why a count needs its own joining level: one region becomes two when the threshold rises."""
    plane = np.array([[0.9, 0.4, 0.9]], np.float32)
    assert [len(find_regions(plane, level)) for level in (0.3, 0.6)] == [1, 2]
    assert [len(apart_areas(find_regions(plane, level), joined_labels(plane, 0.3))) for level in (0.3, 0.6)] == [1, 1]


@pytest.mark.parametrize("level", [0.1, 0.7, 0.56, 0.98])
def test_a_pixel_of_exactly_the_threshold_has_reached_it(level):
    plane = np.full((2, 2), level, np.float32)
    assert len(find_regions(plane, level)) == 1
    assert area_profile(plane, np.array([level])).tolist() == [4]
