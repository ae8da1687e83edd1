"""YOLO: both folder orders, boxes and polygons, names, what a missing file means, files that lie."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hard_shapes import picture

from flawsmith.core.errors import DataError
from flawsmith.dataset.formats import FORMATS, ReadOptions

Put = Callable[[str, object], Path]
SHAPE = (20, 40)


def read(src: Path, notes: list[str] | None = None) -> list:
    said = [] if notes is None else notes
    return list(FORMATS["yolo"].read(src, ReadOptions(note=lambda what, _: said.append(what))))


@pytest.mark.parametrize("names", ["names: [dent, scratch]", "names: {0: dent, 1: scratch}", None])
@pytest.mark.parametrize("order", ["images/valid", "valid/images"])
def test_boxes_and_polygons(put: Put, names: str | None, order: str) -> None:
    src = put(f"{order}/a.png", picture(SHAPE)).parents[2]
    put(f"{order}/b.png", picture(SHAPE))
    put(f"{order}/c.png", picture(SHAPE))
    put(f"{order.replace('images', 'labels')}/a.txt", "0 0.5 0.5 0.25 0.1\n\n1 0.25 0.5 0.45 0.5 0.45 0.85 0.25 0.85\n")
    put(f"{order.replace('images', 'labels')}/b.txt", "")
    put("data.yaml", f"train: ../train/images\nval: ../valid/images\n{names}\n") if names else put(
        "classes.txt", "dent\nscratch\n"
    )
    notes: list[str] = []
    a, b, c = read(src, notes)
    box, polygon = a.defects
    assert (box.kind, box.box, box.mask) == ("dent", (15, 9, 25, 11), None)
    # From pixel (10, 10) to pixel (18, 17), both included, as the trainers fill it.
    assert (polygon.kind, polygon.box, polygon.area_px) == ("scratch", (10, 10, 19, 18), 72)
    assert (a.split, a.healthy, b.healthy, c.healthy) == ("val", False, True, True)
    assert notes == ["images without a label file, taken as healthy"]


def test_degenerate_polygons_are_not_lost(put: Put) -> None:
    src = put("images/a.png", picture(SHAPE)).parents[1]
    put("classes.txt", "dent")
    put("labels/a.txt", "0 .5 .5 .5 .5 .5 .5\n0 .1 .5 .3 .5 .1 .5\n")
    (sample,) = read(src)
    assert [d.area_px for d in sample.defects] == [1, 9]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.1", "neither a box"),
        ("0 0.5 0.5 0.1 0.1 0.2", "neither a box"),
        ("0", "neither a box"),
        ("2 0.5 0.5 0.1 0.1", "class 2, but there are names for 0 to 1"),
        ("-1 0.5 0.5 0.1 0.1", "class -1"),
        ("dent 0.5 0.5 0.1 0.1", "wanted numbers"),
        ("0 nan 0.5 0.1 0.1", "fractions of the image"),
        ("0 20 10 5 5", "fractions of the image"),
        ("0 0.5 0.5 -0.1 0.1", "is no box"),
    ],
)
def test_lines_that_cannot_be_meant_are_named(put: Put, line: str, message: str) -> None:
    src = put("images/a.png", picture(SHAPE)).parents[1]
    put("labels/a.txt", f"0 0.5 0.5 0.1 0.1\n{line}\n")
    put("data.yaml", "names: [dent, scratch]")
    with pytest.raises(DataError, match=message) as error:
        read(src)
    assert "a.txt, line 2" in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("names: {0: a, 2: b}", "names must be"), ("names: 5", "names must be"), ("a: [", "cannot be read as YAML")],
)
def test_names_that_cannot_be_meant_are_named(put: Put, text: str, message: str) -> None:
    src = put("images/a.png", picture(SHAPE)).parents[1]
    put("data.yaml", text)
    with pytest.raises(DataError, match=message):
        read(src)


def test_without_names_nothing_is_guessed(put: Put) -> None:
    src = put("images/a.png", picture(SHAPE)).parents[1]
    put("labels/a.txt", "0 0.5 0.5 0.1 0.1")
    assert FORMATS["yolo"].recognise(src) is None
    with pytest.raises(DataError, match=r"no data\.yaml with names"):
        read(src)
