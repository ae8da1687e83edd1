"""Label Studio: brush strokes against an encoder written from the format's description, per cent units, file names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hard_shapes import HARD, picture
from hypothesis import given
from hypothesis import strategies as st

from flawsmith.core.errors import DataError
from flawsmith.dataset.formats import FORMATS, ReadOptions
from flawsmith.dataset.formats.brush import brush_mask, decode_brush

Put = Callable[[str, object], Path]
SHAPE = (40, 50)


def encode_brush(
    values: list[int], word: int = 8, sizes: tuple[int, ...] = (3, 4, 8, 16), literal: bool = False
) -> list:
    """Runs as Label Studio packs them: repeated values, or values in full where `literal`."""
    bits = f"{len(values):032b}{word - 1:05b}" + "".join(f"{size - 1:04b}" for size in sizes)
    at = 0
    while at < len(values):
        end = at + 1
        while end < len(values) and (literal or values[end] == values[at]) and end - at < 2 ** sizes[-1]:
            end += 1
        which = next(i for i, size in enumerate(sizes) if end - at <= 2**size)
        bits += f"{int(not literal)}{which:02b}{end - at - 1:0{sizes[which]}b}"
        bits += "".join(f"{v:0{word}b}" for v in (values[at:end] if literal else values[at : at + 1]))
        at = end
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def rgba(mask: np.ndarray) -> list[int]:
    picture = np.zeros((*mask.shape, 4), np.uint8)
    picture[..., :3] = 77
    picture[..., 3] = mask * 255
    return picture.ravel().tolist()


@given(
    values=st.lists(st.sampled_from([0, 0, 0, 255, 7]), min_size=1, max_size=300),
    literal=st.booleans(),
    sizes=st.sampled_from([(3, 4, 8, 16), (1, 2, 3, 9)]),
    word=st.sampled_from([8, 11]),
)
def test_any_stream_decodes(values: list[int], literal: bool, sizes: tuple[int, ...], word: int) -> None:
    stream = encode_brush(values, word, sizes, literal)
    assert decode_brush(stream, len(values), "x").tolist() == values


@pytest.mark.parametrize("name", HARD)
def test_strokes_come_back_exactly(name: str) -> None:
    mask = HARD[name](SHAPE)
    np.testing.assert_array_equal(brush_mask(encode_brush(rgba(mask)), SHAPE, "x"), mask)


@pytest.mark.parametrize(
    "damage",
    [
        lambda s: s[:-3],
        lambda s: s[:5],
        lambda s: [],
        lambda s: [300, *s[1:]],
        lambda s: [0, 0, 0, 1, *s[4:]],
        lambda s: [255] * len(s),
    ],
)
def test_damaged_strokes_are_named(damage: Callable) -> None:
    with pytest.raises(DataError, match="here: brush"):
        brush_mask(damage(encode_brush(rgba(HARD["ring"](SHAPE)))), SHAPE, "here")


def result(value: dict, type: str, **more: Any) -> dict:
    return {"type": type, "value": value, "original_width": 50, "original_height": 40, "image_rotation": 0, **more}


def task(results: list[dict] | None, image: str = "/data/upload/3/1a2b3c4d-a.png", **more: Any) -> dict:
    annotations = [] if results is None else [{"result": results, **more}]
    return {"id": 11, "data": {"image": image, "lot": "B7"}, "annotations": annotations}


def read(src: Path, notes: list[str] | None = None) -> list:
    return list(FORMATS["labelstudio"].read(src, ReadOptions(note=lambda what, _: (notes or []).append(what))))


def test_regions_in_per_cent(put: Put) -> None:
    src = put("pictures/a.png", picture(SHAPE)).parents[1]
    ring = HARD["ring"](SHAPE)
    corners = [[20, 25], [60, 25], [60, 50], [20, 50]]
    turned = {"x": 50, "y": 50, "width": 20, "height": 10, "rotation": 90, "rectanglelabels": ["dent"]}
    ellipse = {"x": 50, "y": 50, "radiusX": 20, "radiusY": 25, "rotation": 0, "ellipselabels": ["dent"]}
    results = [
        result({"points": corners, "closed": True, "polygonlabels": ["scratch"]}, "polygonlabels"),
        result({"x": 10, "y": 10, "width": 30, "height": 20, "rectanglelabels": ["dent"]}, "rectanglelabels"),
        result({"format": "rle", "rle": encode_brush(rgba(ring)), "brushlabels": ["ring"]}, "brushlabels"),
        result(turned, "rectanglelabels"),
        result(ellipse, "ellipselabels"),
        result({"x": 0, "y": 0, "width": 5, "height": 5, "rectanglelabels": ["OK"]}, "rectanglelabels"),
        result({"choices": ["blurred"]}, "choices"),
    ]
    put("export.json", [task(results)])
    (sample,) = read(src)
    polygon, box, brush, rectangle, disc = sample.defects
    assert (polygon.kind, polygon.box, polygon.area_px) == ("scratch", (10, 10, 30, 20), 200)
    assert (box.kind, box.box, box.mask) == ("dent", (5, 4, 20, 12), None)
    np.testing.assert_array_equal(brush.full_mask(SHAPE), ring)
    # 10 px right, turned clockwise about its corner (25, 20), now points down; 4 px down now points left.
    assert (rectangle.box, rectangle.area_px) == ((21, 20, 25, 30), 40)
    assert disc.box == (15, 10, 35, 30)
    assert disc.area_px == pytest.approx(np.pi * 10 * 10, rel=0.03)
    assert (sample.source, sample.label, sample.healthy) == ("pictures/a.png", "dent", False)  # dent covers most


def test_a_shape_and_its_label_may_be_two_results(put: Put) -> None:
    src = put("a.png", picture(SHAPE)).parent
    box = {"x": 10, "y": 10, "width": 30, "height": 20}
    put(
        "export.json",
        [
            task(
                [
                    result(box, "rectangle", id="r1"),
                    result({**box, "labels": ["dent"]}, "labels", id="r1"),
                    result(box, "rectangle", id="r2"),
                ]
            )
        ],
    )
    notes: list[str] = ["kept"]
    (sample,) = read(src, notes)
    assert [d.kind for d in sample.defects] == ["dent", "defect"]
    assert any("without a label" in note for note in notes)


def test_which_annotation_counts(put: Put) -> None:
    for name in "abcd":
        src = put(f"{name}.png", picture(SHAPE)).parent
    dent = [result({"x": 0, "y": 0, "width": 5, "height": 5, "rectanglelabels": ["dent"]}, "rectanglelabels")]
    put(
        "export.json",
        [
            task(None, "/data/upload/a.png"),
            task([], "/data/local-files/?d=b.png"),
            {
                **task(dent, "s3://bucket/key/c.png"),
                "annotations": [
                    {"result": dent, "was_cancelled": True},
                    {"result": []},
                    {"result": dent, "ground_truth": True},
                ],
            },
            task(dent, "d.png", was_cancelled=True),
        ],
    )
    notes: list[str] = ["kept"]
    healthy, marked = read(src, notes)
    assert (healthy.source, healthy.healthy) == ("b.png", True)
    assert (marked.source, marked.healthy) == ("c.png", False)
    assert sum("without an annotation" in note for note in notes) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": {"image": "/data/local-files/?d=../../etc/x.png"}}, "leads out of"),
        ({"data": {"image": "/data/local-files/?d=/etc/x.png"}}, "is absolute"),
        ({"data": {"image": "/data/upload/1/1a2b3c4d-gone.png"}}, "'gone.png' is not under"),
        ({"data": {"text": "no image"}}, "names no image file"),
        ({"data": 3}, "0.data: Input should be a valid dictionary"),
        ({"annotations": {}}, "annotations"),
    ],
)
def test_tasks_that_cannot_be_meant_are_named(put: Put, change: dict, message: str) -> None:
    src = put("a.png", picture(SHAPE)).parent
    put("export.json", [{**task([]), **change}])
    with pytest.raises(DataError, match=message):
        read(src)


@pytest.mark.parametrize(
    "bad",
    [
        result({"x": 0, "y": 0, "width": 5, "rectanglelabels": ["dent"]}, "rectanglelabels"),
        result({"x": "a", "y": 0, "width": 5, "height": 5, "rectanglelabels": ["dent"]}, "rectanglelabels"),
        result({"points": [[1, 2, 3]], "polygonlabels": ["dent"]}, "polygonlabels"),
        result({"points": "abc", "polygonlabels": ["dent"]}, "polygonlabels"),
        result({"rle": [1.5, "x"], "brushlabels": ["dent"]}, "brushlabels"),
        {**result({"rle": [], "brushlabels": ["dent"]}, "brushlabels"), "original_width": 51},
        {**result({"rle": [], "brushlabels": ["dent"]}, "brushlabels"), "image_rotation": 90},
    ],
)
def test_regions_that_cannot_be_meant_are_named(put: Put, bad: dict) -> None:
    src = put("a.png", picture(SHAPE)).parent
    put("export.json", [task([bad])])
    with pytest.raises(DataError, match=r"export\.json, task 11"):
        read(src)
