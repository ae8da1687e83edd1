"""The picture of a verdict reads by word, shape and colour, and hides nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flawsmith.core.defect import Defect
from flawsmith.core.geometry import outline
from flawsmith.core.orientation import Orientation
from flawsmith.core.prediction import Status, Verdict
from flawsmith.line.inspector import Inspection
from flawsmith.line.overlay import draw_overlay, kind_colour
from tiny_recipe import tiny_image

KINDS = ("bright", "dark")
COLOURS = {"OK": (0, 158, 115), "NG": (213, 94, 0), "REVIEW": (240, 228, 66)}


def strip_height(picture: np.ndarray) -> int:
    return max(64, picture.shape[1] // 12)


def blob() -> Defect:
    mask = np.ones((12, 12), bool)
    mask[:4, :4] = False
    return Defect("dark", (520, 300, 532, 312), mask, 0.8)


@pytest.mark.parametrize("status", ["OK", "NG", "REVIEW"])
def test_the_strip_has_the_colour_of_the_status(status: Status) -> None:
    picture = draw_overlay(Inspection(Verdict(status, ("why",)), 1.0, tiny_image(None)), KINDS)
    assert tuple(picture[2, 2]) == COLOURS[status]
    assert picture.dtype == np.uint8


def test_no_two_statuses_look_alike_in_grey() -> None:
    """For a reader without colours: word and shape differ."""
    pictures = [
        draw_overlay(Inspection(Verdict(status), 1.0, tiny_image(None)), KINDS)[:64, :250] for status in ("OK", "NG")
    ]
    ink = [np.abs(picture.astype(int) - picture[2, 2]).sum(axis=2) > 100 for picture in pictures]
    assert np.mean(ink[0] != ink[1]) > 0.05


def test_the_outline_rings_the_defect_and_leaves_it_in_sight() -> None:
    image = np.full((600, 800), 128, np.uint8)
    defect = blob()
    picture = draw_overlay(Inspection(Verdict("NG", ("dark",), 0.8, (defect,)), 1.0, image), KINDS)
    part = picture[strip_height(picture) :]
    assert part.shape == (600, 800, 3)
    mask = defect.full_mask((600, 800))
    assert (part[mask] == 128).all()
    assert (part[outline(mask, 2)] == kind_colour("dark", KINDS)).all()
    far = np.ones((600, 800), bool)
    far[250:360, 450:650] = False
    assert (part[far] == 128).all()


def test_an_arrow_shows_how_the_part_lies() -> None:
    image = np.full((600, 800), 128, np.uint8)
    up = Orientation(1, 90.0, (400.0, 300.0), 0.9)
    drawn = draw_overlay(Inspection(Verdict("OK"), 1.0, image, lies=up), KINDS)
    part = drawn[strip_height(drawn) :]
    orange = (part == (230, 159, 0)).all(2)
    rows, columns = np.nonzero(orange)
    assert abs(columns.mean() - 400) < 2
    assert rows.min() == pytest.approx(150, abs=4)  # a quarter of the height, upwards
    assert rows.max() == pytest.approx(300, abs=4)
    ring = draw_overlay(Inspection(Verdict("OK"), 1.0, image, lies=Orientation(0, None, (400.0, 300.0), 1.0)), KINDS)
    rows, columns = np.nonzero((ring[strip_height(ring) :] == (230, 159, 0)).all(2))
    assert np.hypot(rows - 300, columns - 400) == pytest.approx(75, abs=3)


def test_a_kind_keeps_its_colour() -> None:
    assert kind_colour("bright", KINDS) != kind_colour("dark", KINDS)
    assert kind_colour("dark", KINDS) == kind_colour("dark", ("scratch", "dark"))


def test_without_an_image_there_is_still_a_picture() -> None:
    picture = draw_overlay(Inspection(Verdict("REVIEW", ("the file cannot be read",)), 0.0), KINDS)
    assert picture.shape[1] >= 480
    assert tuple(picture[2, 2]) == COLOURS["REVIEW"]


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 700),
    st.integers(1, 700),
    st.sampled_from([np.uint8, np.uint16]),
    st.booleans(),
    st.text(max_size=400),
)
def test_any_image_and_any_reason_can_be_drawn(height: int, width: int, dtype: type, rgb: bool, reason: str) -> None:
    image = np.zeros((height, width, 3) if rgb else (height, width), dtype)
    defect = Defect("bright", (width - 1, height - 1, width, height), np.ones((1, 1), bool), 0.5)
    picture = draw_overlay(Inspection(Verdict("NG", (reason,), 0.5, (defect,)), 1.0, image), KINDS)
    assert picture.shape[1] >= 480
    assert picture.shape[0] >= height + 64
    assert picture.size < 40e6


def test_a_needle_of_an_image_stays_small() -> None:
    picture = draw_overlay(Inspection(Verdict("OK"), 1.0, np.zeros((3000, 4), np.uint8)), KINDS)
    assert picture.shape == (3064, 480, 3)
