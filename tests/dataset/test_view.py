"""Contact sheets: what is chosen, and that no outline covers what it marks."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_sets import made, parts, spot, surface

from flawsmith.core.defect import Defect
from flawsmith.core.errors import ConfigError, DataError
from flawsmith.core.image import decode
from flawsmith.core.sample import Sample
from flawsmith.dataset.view import COLOURS, Choice, choose, contact_sheet, outlined

RED = {"dent": (255, 0, 0)}


def painted(image: np.ndarray) -> np.ndarray:
    return (image == (255, 0, 0)).all(axis=-1)


@given(arrays(bool, (12, 17), elements=st.booleans()).filter(lambda m: m.any() and not m.all()))
def test_an_outline_runs_outside_every_defect(mask):
    image = np.full((12, 17, 3), 90, np.uint8)
    shown = outlined(image, (Defect.from_mask("dent", mask), Defect.from_mask("dent", ~mask)), RED, (170, 120))
    assert not painted(shown).any()  # all of the image is defect: nowhere to draw
    shown = outlined(image, (Defect.from_mask("dent", mask),), RED, (68, 48))
    big = mask.repeat(4, 0).repeat(4, 1)
    assert not (painted(shown) & big).any()
    assert (shown[~painted(shown)] == 90).all()


def test_a_pinhole_in_a_large_image_is_ringed():
    mask = np.zeros((2000, 3000), bool)
    mask[1000, 1500] = True
    shown = outlined(np.zeros((2000, 3000, 3), np.uint8), (Defect.from_mask("dent", mask),), RED, (240, 160))
    ys, xs = np.nonzero(painted(shown))
    assert (ys.min(), ys.max(), xs.min(), xs.max()) == (77, 83, 117, 123)
    assert not painted(shown)[80, 120]


@pytest.mark.parametrize("box", [(10, 8, 20, 30), (0, 0, 60, 40), (55, 35, 60, 40)])
def test_a_box_is_drawn_as_a_box_in_the_image(box):
    shown = outlined(np.zeros((40, 60, 3), np.uint8), (Defect("dent", box),), RED, (60, 40))
    ys, xs = np.nonzero(painted(shown))
    x0, y0, x1, y1 = box
    assert (xs.min(), ys.min()) == (max(x0 - 2, 0), max(y0 - 2, 0))
    assert (xs.max(), ys.max()) == (min(x1 + 1, 59), min(y1 + 1, 39))
    if box == (10, 8, 20, 30):
        assert not painted(shown)[8:30, 10:20].any()


def test_overlapping_boxes_stay_whole():
    boxes = (Defect("dent", (5, 5, 30, 30)), Defect("dent", (15, 15, 50, 38)))
    shown = outlined(np.zeros((40, 60, 3), np.uint8), boxes, RED, (60, 40))
    assert painted(shown)[31, 5:30].all()
    assert painted(shown)[13, 15:50].all()


def test_tiny_images_grow_pixel_by_pixel():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    np.testing.assert_array_equal(outlined(image, (), {}, (100, 100)), image.repeat(8, 0).repeat(8, 1))


def test_the_default_mixes_classes_and_healthy_ones(tmp_path):
    dataset = made(tmp_path / "set", parts(40))
    chosen = choose(dataset, Choice(count=12))
    assert chosen.column("label") == ["dent"] * 3 + ["scratch"] * 3 + ["good"] * 6
    assert chosen.column("id") == choose(dataset, Choice(count=12)).column("id")
    assert chosen.column("id") != choose(dataset, Choice(count=12, seed=1)).column("id")
    assert len(choose(dataset, Choice(count=1000))) == 80


def test_either_half_fills_up_for_the_other(tmp_path):
    samples = [
        Sample(str(i), surface(i), i > 0, "dent" if i == 0 else "good", (spot(),) if i == 0 else ()) for i in range(9)
    ]
    dataset = made(tmp_path / "set", samples)
    assert choose(dataset, Choice(count=6)).column("label") == ["dent"] + ["good"] * 5
    defective = dataset.where(~np.array(dataset.column("healthy")))
    assert len(choose(defective, Choice(count=6))) == 1


def test_filters(tmp_path):
    dataset = made(tmp_path / "set", [*parts(8), Sample("t", surface(99), True, split="test")])
    assert set(choose(dataset, Choice(label="scratch")).column("label")) == {"scratch"}
    assert all("dent" in {d.kind for d in s.defects} for s in choose(dataset, Choice(kind="dent")))
    assert choose(dataset, Choice(split="test")).column("id") == ["t"]
    with pytest.raises(ConfigError, match=r"--label 'scrach' is not in the data set. Did you mean 'scratch'\?"):
        choose(dataset, Choice(label="scrach"))
    with pytest.raises(ConfigError, match=r"--kind 'dint' is not in the data set. Did you mean 'dent'\?"):
        choose(dataset, Choice(kind="dint"))
    with pytest.raises(ConfigError, match=r"--split 'tset' is not in the data set. Did you mean 'test'\?"):
        choose(dataset, Choice(split="tset"))
    with pytest.raises(ConfigError, match=r"--split 'test' is not in the data set\.$"):
        choose(dataset.take([0]), Choice(split="test"))
    with pytest.raises(DataError, match="has no such image; see: flawsmith dataset info"):
        choose(dataset, Choice(split="test", kind="dent"))


def test_the_sheet_has_equal_cells_and_the_colours_of_the_kinds(tmp_path):
    dataset = made(tmp_path / "set", parts(8))
    one, three = contact_sheet(dataset.take([2]), 4), contact_sheet(dataset.take(range(12)), 4)
    assert one.dtype == three.dtype == np.uint8
    cell_height = three.shape[0] - contact_sheet(dataset.take(range(8)), 4).shape[0]
    assert contact_sheet(dataset.take(range(4)), 4).shape[0] == three.shape[0] - 2 * cell_height
    for index, kind in enumerate(("dent", "scratch")):
        there = (contact_sheet(choose(dataset, Choice(kind=kind)), 4) == COLOURS[index]).all(axis=-1).sum()
        elsewhere = (contact_sheet(choose(dataset, Choice(label="good")), 4) == COLOURS[index]).all(axis=-1).sum()
        assert there > 500
        assert elsewhere == 0


def test_16_bit_images_are_stretched(tmp_path):
    faint = surface(0, dtype=np.uint16) // 100 + 30_000
    sheet = contact_sheet(made(tmp_path / "set", [Sample("a", faint, healthy=True)]))
    grey = sheet[(sheet[..., 0] == sheet[..., 1]) & (sheet[..., 1] == sheet[..., 2])]
    assert grey.max() == 255


def test_unreadable_files_leave_an_empty_cell(tmp_path):
    dataset = made(tmp_path / "set", parts(8))
    whole = contact_sheet(dataset)
    (dataset.root / "images/p00/000.png").write_bytes(b"")
    (dataset.root / "masks/p01/002.png").unlink()
    broken = contact_sheet(dataset)
    assert broken.shape == whole.shape
    assert (broken == (255, 90, 90)).all(axis=-1).any()
    assert not (whole == (255, 90, 90)).all(axis=-1).any()


def test_long_and_foreign_names_fit(tmp_path):
    names = ["Gehäuse Öl/" + "sehr-langer-Name-" * 8 + str(i) for i in range(2)]
    sheet = contact_sheet(made(tmp_path / "set", [Sample(n, surface(1), healthy=True) for n in names]), 2)
    assert sheet.shape[1] < 700


def test_the_command_writes_a_png(tmp_path, command):
    dataset = made(tmp_path / "set", parts())
    out = tmp_path / "new" / "sheet.png"
    code, said, _ = command("dataset", "view", dataset.root, "--out", out, "--count", 6, "--columns", 3, "--json")
    assert code == 0
    assert len(json.loads(said)["images"]) == 6
    np.testing.assert_array_equal(decode(out), contact_sheet(choose(dataset, Choice(count=6)), 3))
    code, _, err = command("dataset", "view", dataset.root, "--out", out, "--label", "dent")
    assert (code, err) == (0, f"6 images on {out}\n")
    code, _, err = command("dataset", "view", dataset.root, "--out", out, "--kind", "crack")
    assert code == 2
    assert "--kind 'crack' is not in the data set" in err
