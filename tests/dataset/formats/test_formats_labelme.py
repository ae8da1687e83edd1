"""Labelme: every shape, groups as one defect, images inside the JSON, files that lie."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hard_shapes import HARD, picture

from flawsmith.core.errors import DataError
from flawsmith.core.image import encode_png
from flawsmith.dataset.formats import FORMATS, ReadOptions

Put = Callable[[str, object], Path]
SHAPE = (27, 31)


def base64_png(pixels: np.ndarray) -> str:
    return base64.b64encode(encode_png(pixels)).decode()


def shape(kind: str, points: list, label: str = "scratch", **more: Any) -> dict:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}, **more}


def labelme(shapes: list[dict], path: str = "a.png", **more: Any) -> dict:
    return {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": path, "imageData": None,
            "imageHeight": 27, "imageWidth": 31, **more}  # fmt: skip


def read(src: Path) -> list:
    return list(FORMATS["labelme"].read(src, ReadOptions()))


def test_every_shape(put: Put) -> None:
    src = put("a.png", picture(SHAPE)).parent
    ring = HARD["ring"](SHAPE)
    put(
        "a.json",
        labelme(
            [
                shape("polygon", [[3, 4], [9, 4], [9, 8], [3, 8]]),
                shape("rectangle", [[9, 8], [3, 4]]),
                shape("circle", [[15.5, 13.5], [18.5, 13.5]]),
                shape("circle", [[2.2, 2.2], [2.3, 2.2]]),
                shape("line", [[0, 0], [30, 0]]),
                shape("linestrip", [[0, 1], [5, 1], [5, 9]]),
                shape("point", [[30.9, 26.9]]),
                shape("points", [[1, 1], [3, 3]]),
                shape("mask", [[3, 2], [13, 10]], mask=base64_png(ring[2:11, 3:14])),
            ]
        ),
    )
    (sample,) = read(src)
    areas = [d.area_px for d in sample.defects]
    assert areas == [24, 24, 29, 1, 31, 14, 1, 2, ring.sum()]
    polygon, rectangle, *_, point, _, mask = sample.defects
    assert polygon.mask is not None
    assert (rectangle.mask, rectangle.box) == (None, (3, 4, 9, 8))
    assert point.box == (30, 26, 31, 27)
    np.testing.assert_array_equal(mask.full_mask(SHAPE), ring)


def test_shapes_of_one_group_are_one_defect(put: Put) -> None:
    src = put("pictures/a.png", picture(SHAPE)).parents[1]
    parts = [shape("point", [[1, 1]], group_id=4), shape("rectangle", [[5, 5], [7, 9]], group_id=4)]
    other = [shape("point", [[1, 1]], group_id=4, label="dent"), shape("point", [[2, 2]])]
    put("json/a.json", labelme(parts + other, path="..\\pictures\\a.png"))
    (sample,) = read(src)
    assert [(d.kind, d.area_px) for d in sample.defects] == [("scratch", 9), ("dent", 1), ("scratch", 1)]
    assert sample.source == "pictures/a.png"


def test_the_image_may_lie_inside(put: Put) -> None:
    pixels = picture(SHAPE)
    src = put("a.json", labelme([], path="gone.png", imageData=base64_png(pixels))).parent
    (sample,) = read(src)
    np.testing.assert_array_equal(sample.image(), pixels)
    assert (sample.healthy, sample.source) == (True, "a.json")


def test_other_json_files_are_left_out(put: Put) -> None:
    src = put("a.png", picture(SHAPE)).parent
    put("a.json", labelme([]))
    put("package.json", {"name": "x"})
    put("list.json", [1, 2])
    notes: list[str] = []
    (sample,) = FORMATS["labelme"].read(src, ReadOptions(note=lambda what, _: notes.append(what)))
    assert sample.source == "a.png"
    assert len(notes) == 2


def test_healthy_labels_are_no_defects(put: Put) -> None:
    src = put("a.png", picture(SHAPE)).parent
    put("a.json", labelme([shape("rectangle", [[0, 0], [9, 9]], label="OK")]))
    assert [(s.healthy, s.defects) for s in read(src)] == [(True, ())]


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (labelme([], path="../../b.png"), "leads out of"),
        (labelme([], path="/etc/b.png"), "is absolute"),
        (labelme([], path="b.png"), "is not under"),
        (labelme([], path="b.png", imageData="!!"), "not base64"),
        (labelme([], path="b.png", imageData="aGVsbG8="), "imageData: not a PNG"),
        (labelme([], imageHeight=26), "is for 31x26 pixels"),
        (labelme([shape("polygon", [])]), "no points"),
        (labelme([shape("polygon", [[1e30, 0], [1, 1], [2, 2]])]), "far outside"),
        (labelme([shape("polygon", [[float("inf"), 0], [1, 1], [2, 2]])]), "finite number"),
        (labelme([shape("cube", [[0, 0], [1, 1], [2, 2]])]), "'cube' is not read"),
        (labelme([shape("mask", [[25, 25], [40, 40]], mask=base64_png(picture((9, 9))))]), "reaches outside"),
        (labelme([shape("mask", [[0, 0], [9, 9]], mask="!")]), "not base64"),
        (labelme([{"label": 4}]), "shapes.0.points"),
    ],
)
def test_files_that_cannot_be_meant_are_named(put: Put, file: dict, message: str) -> None:
    src = put("a.png", picture(SHAPE)).parent
    put("a.json", file)
    with pytest.raises(DataError, match=message) as error:
        read(src)
    assert "a.json" in str(error.value)
