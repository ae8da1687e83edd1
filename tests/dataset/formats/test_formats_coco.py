"""COCO: run lengths against pycocotools, polygons, boxes, splits, and files that lie."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hard_shapes import HARD, picture
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from flawsmith.core.errors import DataError
from flawsmith.dataset.convert import export_dataset
from flawsmith.dataset.formats import FORMATS, ReadOptions
from flawsmith.dataset.formats.regions import pack_rle, polygon_mask, rle_mask
from flawsmith.dataset.manifest import Dataset

Put = Callable[[str, object], Path]
SHAPE = (27, 31)


@st.composite
def masks(draw: st.DrawFn) -> np.ndarray:
    shape = draw(st.tuples(st.integers(1, 70), st.integers(1, 70)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.random(shape) < draw(st.sampled_from([0.0, 0.01, 0.5, 0.99, 1.0]))


@given(mask=masks())
def test_run_lengths_are_those_of_pycocotools(mask: np.ndarray) -> None:
    reference = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    packed = pack_rle(mask)
    assert packed["counts"].encode() == reference["counts"]
    np.testing.assert_array_equal(rle_mask(packed, mask.shape, "x"), mask)
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat.astype(int))) + 1
    runs = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    counts = [0, *runs] if flat[0] else runs
    np.testing.assert_array_equal(rle_mask({"size": list(mask.shape), "counts": counts}, mask.shape, "x"), mask)


@pytest.mark.parametrize(
    "rle",
    [
        {"size": [27, 31], "counts": [837, 1]},  # one pixel too many: pycocotools would write past its buffer
        {"size": [27, 31], "counts": [10**12, -(10**12), 837]},
        {"size": [27, 31], "counts": [-5, 842]},
        {"size": [27, 31], "counts": []},
        {"size": [27, 31], "counts": [10**30]},
        {"size": [27, 31], "counts": ["a"]},
        {"size": [27, 31], "counts": [[837]]},
        {"size": [27, 31], "counts": "ooooooooooooooooooooo"},
        {"size": [27, 31], "counts": "é"},
        {"size": [27, 31], "counts": None},
        {"size": [31, 27], "counts": [837]},
        {"size": [10**9, 10**9], "counts": [10**18]},
        {"counts": [837]},
    ],
)
def test_run_lengths_that_lie_are_named(rle: dict) -> None:
    with pytest.raises(DataError, match="here: "):
        rle_mask(rle, SHAPE, "here")


def test_polygons_are_filled_as_coco_does_and_never_vanish() -> None:
    square = [3.0, 4.0, 9.0, 4.0, 9.0, 8.0, 3.0, 8.0]
    assert polygon_mask([square], SHAPE, "x").sum() == 24
    pinhole = [5.2, 5.2, 5.4, 5.2, 5.4, 5.4]
    line = [1.0, 2.0, 20.0, 2.0, 1.0, 2.0]
    assert np.argwhere(polygon_mask([pinhole], SHAPE, "x")).tolist() == [[5, 5]]
    assert polygon_mask([line], SHAPE, "x").sum() == 20
    assert polygon_mask([[7.0, 7.0]], SHAPE, "x").sum() == 1
    both = polygon_mask([square, pinhole], SHAPE, "x")
    assert both.sum() == 24 + (not both[5, 5])


@pytest.mark.parametrize("polygon", [[], [1.0], [1.0, 2.0, 3.0], [float("nan")] * 6, [1e30] * 6, [0, 0, 1, 1, 0, 5000]])
def test_polygons_that_are_none_are_named(polygon: list) -> None:
    with pytest.raises(DataError, match="here: a polygon"):
        polygon_mask([polygon], SHAPE, "here")


def coco(annotations: list[dict], **more: Any) -> dict:
    images = [{"id": 7, "file_name": "a.png", "width": 31, "height": 27}, {"id": 8, "file_name": "b.png"}]
    categories = [{"id": 3, "name": "scratch"}, {"id": 9, "name": "ok"}]
    marked = [{"image_id": 7, "category_id": 3, **a} for a in annotations]
    return {"images": images, "annotations": marked, "categories": categories, **more}


@pytest.fixture
def images(put: Put) -> Path:
    put("images/a.png", picture(SHAPE))
    return put("images/b.png", picture(SHAPE, 1)).parent.parent


def test_every_kind_of_annotation(put: Put, images: Path) -> None:
    ring = HARD["ring"](SHAPE)
    uncompressed = {"size": [27, 31], "counts": [0, 27, 810]}
    put(
        "annotations/instances_val2017.json",
        coco(
            [
                {"segmentation": pack_rle(ring), "iscrowd": 1},
                {"segmentation": uncompressed, "iscrowd": 0},
                {"segmentation": [[3, 4, 9, 4, 9, 8, 3, 8], [20, 20, 22, 20, 22, 22, 20, 22]]},
                {"bbox": [1.4, 2.0, 3.2, 30.0]},
                {"bbox": [0, 0, 31, 27], "category_id": 9},
            ]
        ),
    )
    notes: list[str] = []
    a, b = FORMATS["coco"].read(images, ReadOptions(note=lambda what, where: notes.append(what)))
    crowd, column, polygons, box = a.defects  # the annotation of category "ok" is no defect
    np.testing.assert_array_equal(crowd.full_mask(SHAPE), ring)
    assert column.box == (0, 0, 1, 27)
    assert (polygons.box, polygons.area_px) == ((3, 4, 22, 22), 28)
    assert (box.box, box.mask) == ((1, 2, 5, 27), None)
    assert (a.healthy, a.label, a.split, a.source) == (False, "scratch", "val", "images/a.png")
    assert (b.healthy, b.label, b.defects) == (True, "good", ())
    assert any("iscrowd" in note for note in notes)
    assert any("past the edge" in note for note in notes)


def test_the_json_and_its_images_may_lie_together_in_split_folders(put: Put) -> None:
    """As Roboflow writes them."""
    for split in ("train", "valid"):
        put(f"{split}/a.png", picture(SHAPE))
        put(f"{split}/b.png", picture(SHAPE))
        path = put(f"{split}/_annotations.coco.json", coco([]))
    samples = list(FORMATS["coco"].read(path.parent.parent, ReadOptions()))
    assert [(s.source, s.split) for s in samples] == [
        ("train/a.png", "train"),
        ("train/b.png", "train"),
        ("valid/a.png", "val"),
        ("valid/b.png", "val"),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": [{"id": 7, "file_name": "../../etc/passwd"}]}, "leads out of"),
        ({"images": [{"id": 7, "file_name": "/etc/passwd"}]}, "is absolute"),
        ({"images": [{"id": 7, "file_name": "C:\\x.png"}]}, "is absolute"),
        ({"images": [{"id": 7, "file_name": "gone.png"}]}, r"'gone.png' is not under"),
        ({"images": [{"id": 7, "file_name": "a.png", "width": 9, "height": 9}]}, "is for 9x9 pixels"),
        ({"images": [{"id": 7, "file_name": "a.png"}, {"id": 7, "file_name": "b.png"}]}, "image id 7 is used twice"),
        ({"images": [{"id": 7, "file_name": "a.png"}, {"id": 8, "file_name": "a.png"}]}, "listed twice"),
        ({"images": 5}, "images: Input should be a valid list"),
        ({"images": [{"id": 7}]}, "images.0.file_name: Field required"),
        ({"annotations": [{"image_id": 99, "category_id": 3}]}, "names image 99"),
        ({"annotations": [{"image_id": 7, "category_id": 4}]}, "category 4"),
        ({"annotations": [{"image_id": 7, "category_id": 3}]}, "neither segmentation nor a bbox"),
        ({"annotations": [{"image_id": 7, "category_id": 3, "bbox": [5, 5, -3, 2]}]}, "is no box"),
        ({"annotations": [{"image_id": 7, "category_id": 3, "bbox": [float("nan")] * 4}]}, "finite number"),
        ({"annotations": [{"image_id": 7, "category_id": 3, "segmentation": [["x"]]}]}, "valid number"),
        ({"annotations": [{"image_id": 7, "category_id": 3, "segmentation": [[1, 2, 3]]}]}, "list of finite x and y"),
    ],
)
def test_files_that_cannot_be_meant_are_named(put: Put, images: Path, change: dict, message: str) -> None:
    path = put("labels.json", {**coco([]), **change})
    with pytest.raises(DataError, match=message) as error:
        list(FORMATS["coco"].read(images, ReadOptions()))
    assert path.name in str(error.value) or "a.png" in str(error.value)


@pytest.mark.parametrize("text", ['{"images": [', "[" * 10**5, '{"images": ' + "9" * 5000 + "}", "\xff"])
def test_broken_json_is_an_error_with_a_name(put: Put, text: str) -> None:
    from flawsmith.dataset.formats.documents import load_json

    path = put("labels.json", text.encode("latin1"))
    with pytest.raises(DataError, match=r"labels\.json"):
        load_json(path)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own, in decode
def test_the_export_is_what_pycocotools_evaluates(hard_dataset: Dataset, tmp_path: Path) -> None:
    """Perfect predictions reach AP 1: no crowds, no empty regions, areas as they are."""
    import contextlib
    import io

    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    export_dataset(hard_dataset, tmp_path / "out", "coco")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(tmp_path / "out/annotations/instances_all.json"))
        found = truth.loadRes([{**a, "score": 1.0} for a in truth.dataset["annotations"]])
        evaluation = COCOeval(truth, found, "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)
    for annotation in truth.dataset["annotations"]:
        assert annotation["iscrowd"] == 0
        assert truth.annToMask(annotation).sum() == annotation["area"]
        assert isinstance(annotation["segmentation"]["counts"], str)
