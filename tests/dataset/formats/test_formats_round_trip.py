"""Every pixel of every defect survives where the format can hold it; where it cannot, the measured loss says so."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hard_shapes import HARD, as_set, dataset_of, picture
from hypothesis import given, settings
from hypothesis import strategies as st

from flawsmith.core.defect import Defect
from flawsmith.core.errors import ConfigError
from flawsmith.core.geometry import components
from flawsmith.core.sample import Sample
from flawsmith.dataset.convert import export_dataset, import_dataset
from flawsmith.dataset.formats import FORMATS, ReadOptions, Target
from flawsmith.dataset.formats.loss import Loss, measure
from flawsmith.dataset.manifest import Dataset

EXACT = ("coco", "mvtec", "voc-mask")
WRITTEN = tuple(name for name, known in FORMATS.items() if known.write)


@st.composite
def labelled_images(draw: st.DrawFn, overlapping: bool) -> Sample:
    """An odd-sized picture with random, often ragged, multi-part or adjacent defects."""
    shape = draw(st.tuples(st.integers(1, 13), st.integers(1, 13)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    owner = rng.integers(0, draw(st.integers(1, 5)) + 1, shape)
    masks = [owner == i for i in range(1, 6)]
    if overlapping:
        masks += [rng.random(shape) < 0.3 for _ in range(2)]
    defects = tuple(Defect.from_mask(f"kind {i % 2}", mask) for i, mask in enumerate(masks) if mask.any())
    return Sample("x", picture(shape), not defects, "kind 0" if defects else "good", defects, split="train")


def round_trip(sample: Sample, name: str) -> tuple[Sample, Loss]:
    """Straight through `write` and `read`, without a data set folder: that one's fsyncs are slow."""
    kinds = tuple(sorted({d.kind for d in sample.defects}))
    with tempfile.TemporaryDirectory() as folder:
        out, known = Path(folder), FORMATS[name]
        assert known.write is not None
        known.write([sample], Target(out, kinds, {"x": "x"}, split=True))
        (back,) = known.read(out, ReadOptions())
        np.testing.assert_array_equal(back.image(), sample.pixels)
    return back, measure([(sample, back)])


@pytest.mark.parametrize("name", EXACT)
def test_hard_shapes_survive_exactly(name: str, hard_dataset: Dataset, tmp_path: Path) -> None:
    report = export_dataset(hard_dataset, tmp_path / "out", name)
    import_dataset(tmp_path / "out", tmp_path / "back", name)
    back = {Path(s.source).stem: s for s in Dataset.open(tmp_path / "back")}
    assert len(back) == len(hard_dataset)
    for sample in hard_dataset:
        returned = back[sample.id.replace("/", "__")]
        assert (returned.label, returned.healthy) == (sample.label, sample.healthy)
        np.testing.assert_array_equal(returned.image(), sample.image())
        if name != "voc-mask" or sample.id != "b/all":  # there the ring and the scratch cross
            assert as_set(returned.defects) == as_set(sample.defects)
    assert report.loss.none or name == "voc-mask"


@pytest.mark.parametrize("name", EXACT)
@given(sample=labelled_images(overlapping=False))
@settings(max_examples=25, deadline=None)
def test_any_defects_that_do_not_overlap_survive_exactly(name: str, sample: Sample) -> None:
    back, loss = round_trip(sample, name)
    assert as_set(back.defects) == as_set(sample.defects)
    assert (back.healthy, back.label) == (sample.healthy, sample.label)
    assert loss.none


@pytest.mark.parametrize("name", ["coco", "mvtec"])
@given(sample=labelled_images(overlapping=True))
@settings(max_examples=25, deadline=None)
def test_overlapping_defects_survive_where_the_format_holds_them(name: str, sample: Sample) -> None:
    back, loss = round_trip(sample, name)
    assert as_set(back.defects) == as_set(sample.defects)
    assert loss.none


@given(sample=labelled_images(overlapping=True))
@settings(max_examples=25, deadline=None)
def test_the_loss_of_voc_mask_is_that_of_painting_small_over_large(sample: Sample) -> None:
    shape = sample.image().shape[:2]
    top = np.zeros(shape, int)
    for number, d in sorted(enumerate(sample.defects, 1), key=lambda item: -item[1].area_px):
        top[d.full_mask(shape)] = number
    kept = np.array([(top == i).sum() / d.area_px for i, d in enumerate(sample.defects, 1)])
    _, loss = round_trip(sample, "voc-mask")
    if kept.size and kept.min() > 0:  # a defect that is all covered comes back as its box
        # Assignment may pair two defects of a kind better than by name, never worse.
        assert loss.iou_mean >= kept.mean() - 1e-9
        assert loss.affected <= (kept < 1).sum()
        assert loss.none == bool((kept == 1).all())


@given(sample=labelled_images(overlapping=False))
@settings(max_examples=40, deadline=None)
def test_yolo_keeps_every_region_without_a_hole(sample: Sample) -> None:
    """Its parts become defects of their own; holes are filled: nothing else may differ."""
    shape = sample.image().shape[:2]
    back, loss = round_trip(sample, "yolo")
    expected = [
        Defect.from_mask(d.kind, _filled(part.full_mask(shape)))
        for d in sample.defects
        for part in (Defect(d.kind, box, crop) for box, crop in components(d.full_mask(shape)))
    ]
    assert as_set(back.defects) == as_set(expected)
    exact = as_set(expected) == as_set(sample.defects)
    assert (loss.affected == loss.added == 0) == exact


def _filled(mask: np.ndarray) -> np.ndarray:
    """Background that cannot reach the border by 4-connected steps is a hole."""
    outside = np.pad(~mask, 1, constant_values=True)
    reached = np.zeros_like(outside)
    reached[0, 0] = True
    while True:
        grown = reached.copy()
        grown[1:] |= reached[:-1]
        grown[:-1] |= reached[1:]
        grown[:, 1:] |= reached[:, :-1]
        grown[:, :-1] |= reached[:, 1:]
        grown &= outside
        if (grown == reached).all():
            return ~reached[1:-1, 1:-1]
        reached = grown


def test_yolo_says_what_it_loses(hard_dataset: Dataset, tmp_path: Path) -> None:
    loss = export_dataset(hard_dataset, tmp_path / "out", "yolo").loss
    ring, parts = HARD["ring"]((27, 31)), HARD["two parts"]((27, 31))
    ring_iou = ring.sum() / _filled(ring).sum()
    part_iou = 3 / parts.sum()  # the larger of the two parts
    assert loss.affected == 4  # ring and two-part defect, alone and together with the others
    assert loss.added == 2
    assert loss.iou_mean == pytest.approx((2 * ring_iou + 2 * part_iou + 4) / 8)
    assert loss.iou_min == pytest.approx(min(ring_iou, part_iou))


def test_boxes_lose_the_shape(hard_dataset: Dataset, tmp_path: Path) -> None:
    loss = export_dataset(hard_dataset, tmp_path / "out", "yolo-det").loss
    filled = [d.area_px / ((d.box[2] - d.box[0]) * (d.box[3] - d.box[1])) for s in hard_dataset for d in s.defects]
    assert loss.iou_mean == pytest.approx(np.mean(filled))
    assert loss.affected == sum(f < 1 for f in filled)


def test_imagefolder_loses_every_region_but_no_label(hard_dataset: Dataset, tmp_path: Path) -> None:
    loss = export_dataset(hard_dataset, tmp_path / "out", "imagefolder").loss
    assert loss.gone == loss.affected == loss.defects == 8
    assert loss.iou_mean == loss.iou_min == 0.0
    assert (loss.relabelled, loss.unhealthy_as_healthy, loss.missing) == (0, 0, 0)


@pytest.mark.parametrize("name", ["mvtec", "coco", "voc-mask"])
def test_other_programs_are_measured_apart(name: str, tmp_path: Path) -> None:
    """A two-part defect is one for us, two for who knows only MVTec; an unmarked defective image looks healthy."""
    shape = (27, 31)
    parts = Defect.from_mask("crack", HARD["two parts"](shape))
    dataset = dataset_of(
        tmp_path / "data",
        [
            Sample("parts", picture(shape), False, "crack", (parts,)),
            Sample("unmarked", picture(shape), False, "crack"),
        ],
    )
    report = export_dataset(dataset, tmp_path / "out", name)
    assert report.loss.none
    assert not report.lossless
    assert report.unmarked == 1
    if name == "mvtec":
        assert (report.elsewhere.affected, report.elsewhere.added) == (1, 1)
    else:
        assert report.elsewhere.unhealthy_as_healthy == 1


def test_mvtec_believes_its_masks_more_than_its_notes(hard_dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_dataset(hard_dataset, out, "mvtec")
    mask = out / "ground_truth/scratch/a__two-parts_mask.png"
    mask.write_bytes((out / "ground_truth/scratch/a__ring_mask.png").read_bytes())
    notes: list[str] = []
    samples = FORMATS["mvtec"].read(out, ReadOptions(note=lambda what, where: notes.append(where)))
    edited = next(s for s in samples if s.source.endswith("two-parts.png"))
    assert edited.defects[0].area_px == HARD["ring"]((27, 31)).sum()
    assert notes == ["test/scratch/a__two-parts.png"]


@pytest.mark.parametrize("name", ["coco", "yolo", "yolo-det", "voc-mask", "mvtec"])
def test_boxes_stay_boxes(name: str, tmp_path: Path) -> None:
    defects = (Defect("dent", (0, 0, 7, 3)), Defect("dent", (5, 2, 6, 9)))
    dataset = dataset_of(tmp_path / "data", [Sample("x", picture((9, 7)), False, "dent", defects)])
    report = export_dataset(dataset, tmp_path / "out", name)
    (back,) = FORMATS[name].read(tmp_path / "out", ReadOptions())
    assert as_set(back.defects) == as_set(defects)
    assert report.loss.none


def test_voc_mask_holds_more_objects_than_a_palette(tmp_path: Path) -> None:
    cells = [(row, col) for row in range(18) for col in range(18)]
    defects = tuple(Defect("pore", (c, r, c + 1, r + 1), np.ones((1, 1), bool)) for r, c in cells)
    for count in (254, 255, 256, 324):
        out = tmp_path / str(count)
        dataset = dataset_of(out / "data", [Sample("x", picture((18, 18)), False, "pore", defects[:count])])
        assert export_dataset(dataset, out / "out", "voc-mask").loss.none


def test_splits_survive_and_ids_do_not_collide(tmp_path: Path) -> None:
    samples = [
        Sample("a/b", picture((4, 5), 1), True, split="train"),
        Sample("a__b", picture((4, 5), 2), True, split="val"),
        Sample("c", picture((4, 5), 3), True, split="test"),
    ]
    dataset = dataset_of(tmp_path / "data", samples)
    for name in WRITTEN:
        export_dataset(dataset, tmp_path / name, name)
        back = list(FORMATS[name].read(tmp_path / name, ReadOptions()))
        assert sorted(str(s.split) for s in back) == ["test", "train", "val"]
        assert {s.image().tobytes() for s in back} == {s.pixels.tobytes() for s in samples}  # type: ignore[union-attr]


@pytest.mark.parametrize("name", WRITTEN)
def test_an_export_is_recognised_and_the_same_bytes_again(name: str, hard_dataset: Dataset, tmp_path: Path) -> None:
    for out in ("one", "two"):
        export_dataset(hard_dataset, tmp_path / out, name)
    report = import_dataset(tmp_path / "one", None)
    assert report.format == name.removesuffix("-det")
    assert report.images == len(hard_dataset)
    one, two = (
        {p.relative_to(r): p.read_bytes() for p in r.rglob("*") if p.is_file()}
        for r in (tmp_path / "one", tmp_path / "two")
    )
    assert one == two


def test_unwritten_formats_and_nested_outputs_are_refused(hard_dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'labelme' is not written"):
        export_dataset(hard_dataset, tmp_path / "out", "labelme")
    with pytest.raises(ConfigError, match="inside one another"):
        export_dataset(hard_dataset, hard_dataset.root / "out", "coco")
    export_dataset(hard_dataset, tmp_path / "out", "coco")
    with pytest.raises(ConfigError, match="not empty"):
        export_dataset(hard_dataset, tmp_path / "out", "coco")
