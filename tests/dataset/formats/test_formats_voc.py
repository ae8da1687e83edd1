"""VOC boxes, NEU and VOC masks: 1-based boxes, unsafe XML, palettes, colours, borders."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hard_shapes import HARD, as_set, picture
from PIL import Image

from flawsmith.core.errors import DataError
from flawsmith.dataset.formats import FORMATS, ReadOptions

Put = Callable[[str, object], Path]
SHAPE = (27, 31)


def xml(boxes: list[tuple], name: str = "a.png", size: tuple[int, int] = SHAPE) -> str:
    objects = "".join(
        f"<object><name>{kind}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        "</bndbox></object>"
        for kind, x0, y0, x1, y1 in boxes
    )
    return (
        f"<annotation><filename>{name}</filename><size><width>{size[1]}</width><height>{size[0]}</height></size>"
        f"{objects}</annotation>"
    )


def read(src: Path, format: str = "voc", notes: list[str] | None = None) -> list:
    said = [] if notes is None else notes
    return list(FORMATS[format].read(src, ReadOptions(note=lambda what, _: said.append(what))))


def test_boxes_are_one_based_and_inclusive(put: Put) -> None:
    src = put("JPEGImages/a.png", picture(SHAPE)).parents[1]
    put("JPEGImages/b.png", picture(SHAPE))
    put("JPEGImages/unlabelled.png", picture(SHAPE))
    boxes = [("dent", 1, 1, 1, 1), ("dent", 2, 3, 31, 27), ("dent", 0, 20, 40, 27), ("dent", 50, 50, 60, 60)]
    put("Annotations/a.xml", xml([*boxes, ("good", 1, 1, 9, 9)]))
    put("Annotations/b.xml", xml([], name="wrongly-named.jpg"))
    notes: list[str] = []
    a, b = read(src, notes=notes)
    assert [d.box for d in a.defects] == [(0, 0, 1, 1), (1, 2, 31, 27), (0, 19, 31, 27)]
    assert all(d.mask is None for d in a.defects)
    assert (a.healthy, b.healthy, b.source) == (False, True, "JPEGImages/b.png")
    assert any("past the edge" in note for note in notes)
    assert any("outside their image" in note for note in notes)
    assert any(note.startswith("1 images without an XML") for note in notes)


def test_an_image_whose_boxes_all_lie_outside_is_not_healthy(put: Put) -> None:
    src = put("a.png", picture(SHAPE)).parent
    put("a.xml", xml([("dent", 50, 50, 60, 60)]))
    (sample,) = read(src)
    assert (sample.healthy, sample.defects) == (False, ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>', "DOCTYPE"),
        ("<annotation><object>", "cannot be read as XML"),
        ("<html/>", "wanted the root element <annotation>"),
        (xml([], name="gone.png").replace("gone", "x"), "is not under"),
        (xml([], name="../../etc/a.png"), "leads out of"),
        (xml([], name="/a.png"), "is absolute"),
        (xml([], size=(27, 30)), "is for 30x27 pixels"),
        (xml([("dent", 9, 9, 3, 3)]), "is no box"),
        (xml([("dent", "nan", 1, 3, 3)]), "is no box"),
        (xml([("dent", "a", 1, 3, 3)]), "'a', wanted a number"),
        (xml([("", 1, 1, 3, 3)]), "has no <name>"),
    ],
)
def test_files_that_cannot_be_meant_are_named(put: Put, text: str, message: str) -> None:
    src = put("images/a.png", picture(SHAPE)).parents[1]
    put("labels/b.xml" if "not under" in message else "labels/a.xml", text)
    with pytest.raises(DataError, match=message) as error:
        read(src)
    assert ".xml" in str(error.value)


def test_a_doctype_in_another_encoding_is_refused_too(put: Put) -> None:
    bomb = '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a [<!ENTITY b "bb">]><annotation>&b;</annotation>'
    src = put("a.xml", bomb.encode("utf-16")).parent
    with pytest.raises(DataError, match="DOCTYPE"):
        read(src)


def test_neu_takes_the_class_from_the_name(put: Put) -> None:
    src = put("IMAGES/rolled-in_scale_1.png", picture(SHAPE)).parents[1]
    put("ANNOTATIONS/rolled-in_scale_1.xml", xml([("patches", 1, 1, 20, 20), ("rolled-in_scale", 1, 1, 3, 3)],
                                                 name="rolled-in_scale_1.png"))  # fmt: skip
    assert FORMATS["neu"].recognise(src) is None
    (sample,) = read(src, "neu")
    assert (sample.label, len(sample.defects), sample.healthy) == ("rolled-in_scale", 2, False)


def palette_png(numbers: np.ndarray) -> bytes:
    image, sink = Image.frombytes("P", numbers.shape[::-1], numbers.astype(np.uint8).tobytes()), io.BytesIO()
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [9] * 759)
    image.save(sink, "PNG")
    return sink.getvalue()


def test_masks_of_others_without_objects(put: Put) -> None:
    """Palette numbers by class_names.txt, regions by connection, the border left out."""
    src = put("JPEGImages/a.png", picture(SHAPE)).parents[1]
    put("JPEGImages/unlabelled.png", picture(SHAPE))
    numbers = HARD["two parts"](SHAPE) * 2
    numbers[20:25, 2:7] = 255
    numbers[21:24, 3:6] = 1
    numbers[26, 30] = 7
    put("SegmentationClass/a.png", palette_png(numbers))
    put("class_names.txt", "__ignore__\n_background_\ndent\nscratch\n")
    put("ImageSets/Segmentation/val.txt", "a\n")
    (sample,) = read(src, "voc-mask")
    assert [(d.kind, d.area_px) for d in sample.defects] == [("dent", 9), ("scratch", 3), ("scratch", 2), ("class7", 1)]
    assert (sample.split, sample.label) == ("val", "dent")


def test_masks_in_the_colours_of_cvat(put: Put) -> None:
    src = put("JPEGImages/a.png", picture(SHAPE)).parents[1]
    classes, objects = np.zeros((*SHAPE, 3), np.uint8), np.zeros((*SHAPE, 3), np.uint8)
    ring, parts = HARD["ring"](SHAPE), HARD["two parts"](SHAPE)
    classes[ring], classes[parts] = (10, 20, 30), (0, 0, 200)
    objects[ring], objects[parts] = (0, 128, 0), (128, 0, 0)
    classes[26], objects[26] = (224, 224, 192), (224, 224, 192)
    put("SegmentationClass/a.png", classes)
    put("SegmentationObject/a.png", objects)
    put("labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\npore:10,20,30::\ncrack:0,0,200::\n")
    (sample,) = read(src, "voc-mask")
    assert {(d.kind, d.area_px) for d in sample.defects} == {("pore", ring.sum()), ("crack", parts.sum())}


def test_without_masks_the_boxes_are_read(put: Put) -> None:
    src = put("JPEGImages/a.png", picture(SHAPE)).parents[1]
    put("Annotations/a.xml", xml([("dent", 1, 1, 5, 5)]))
    (src / "SegmentationClass").mkdir()
    boxes = read(src, "voc-mask")
    assert as_set(boxes[0].defects) == as_set(read(src)[0].defects)
    assert boxes[0].defects[0].box == (0, 0, 5, 5)


def test_an_image_in_two_splits_is_named(put: Put) -> None:
    src = put("JPEGImages/a.png", picture(SHAPE)).parents[1]
    for split in ("train", "test"):
        put(f"ImageSets/Segmentation/{split}.txt", "a\n")
    with pytest.raises(DataError, match="a is in split train too"):
        read(src, "voc-mask")
