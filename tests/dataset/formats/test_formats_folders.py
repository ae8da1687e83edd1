"""Layouts of folders: which image is healthy, which mask is whose, what belongs together."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hard_shapes import HARD, picture

from flawsmith.core.errors import DataError
from flawsmith.dataset.formats import FORMATS, HEALTHY, ReadOptions
from flawsmith.dataset.formats.magnetic_tile import Shot, exposure_runs, joined_runs
from flawsmith.dataset.formats.masks import number_block
from flawsmith.dataset.formats.source import numbered, safe_id, split_named

Put = Callable[[str, object], Path]
SHAPE = (27, 31)
RING = HARD["ring"](SHAPE)


def read(src: Path, format: str, notes: list[str] | None = None, **options: object) -> list:
    said = [] if notes is None else notes
    assert FORMATS[format].recognise(src) is None
    given = ReadOptions(note=lambda what, _: said.append(what), **options)  # type: ignore[arg-type]
    return list(FORMATS[format].read(src, given))


def test_mvtec(put: Put) -> None:
    for name in ("train/good/000", "test/good/000", "test/crack/000", "test/crack/001"):
        src = put(f"{name}.png", picture(SHAPE)).parents[2]
    put("ground_truth/crack/000_mask.png", RING | HARD["two parts"](SHAPE))
    notes: list[str] = []
    samples = read(src, "mvtec", notes)
    assert [(s.source, s.split, s.healthy, s.label, len(s.defects)) for s in samples] == [
        ("train/good/000.png", "train", True, "good", 0),
        ("test/crack/000.png", "test", False, "crack", 3),  # without instances: connected regions
        ("test/crack/001.png", "test", False, "crack", 0),
        ("test/good/000.png", "test", True, "good", 0),
    ]
    assert notes == ["defective images without a mask"]
    assert FORMATS["mvtec"].recognise(src.parent) == (
        f"wants the folders train, test and ground_truth, found no train; give one category, for example {src}"
    )


def test_kolektor_sorted(put: Put) -> None:
    src = put("defect/kos03_Part1.png", picture(SHAPE)).parents[1]
    put("good/kos03_Part2.png", picture(SHAPE))
    put("mask/kos03_Part1.png", RING)
    bad, good = read(src, "kolektor", kind="crack")
    assert (bad.healthy, bad.label, bad.groups, len(bad.defects)) == (False, "crack", {"part": "kos03"}, 1)
    assert (good.healthy, good.groups, good.defects) == (True, {"part": "kos03"}, ())
    (src / "mask/kos03_Part1.png").unlink()
    with pytest.raises(DataError, match="has no mask of its name"):
        read(src, "kolektor")


def test_kolektor_as_published(put: Put) -> None:
    for part in ("Part0", "Part1"):
        src = put(f"kos20/{part}.jpg", cv2.imencode(".jpg", picture(SHAPE))[1].tobytes()).parents[1]
        level = RING * np.uint8(85 if part == "Part1" else 0)  # as one label of the source has it
        put(f"kos20/{part}_label.bmp", cv2.imencode(".bmp", level)[1].tobytes())
    good, bad = read(src, "kolektor")
    assert (good.healthy, bad.healthy, bad.groups) == (True, False, {"part": "kos20"})
    np.testing.assert_array_equal(bad.defects[0].full_mask(SHAPE), RING)


def test_dagm_sorted_and_published(put: Put) -> None:
    src = put("sorted/defect/0002.PNG", picture(SHAPE)).parents[1]
    put("sorted/good/0001.PNG", picture(SHAPE))
    put("sorted/label/0002_label.PNG", RING)
    assert [(s.healthy, s.label, len(s.defects)) for s in read(src, "dagm")] == [
        (False, "defect", 1),
        (True, "good", 0),
    ]
    for split in ("Train", "Test"):
        put(f"all/Class3/{split}/0001.PNG", picture(SHAPE))
        put(f"all/Class3/{split}/0002.PNG", picture(SHAPE))
        put(f"all/Class3/{split}/Label/0002_label.PNG", RING)
    put("all/Class3/Train/Label/Labels.txt", "1\n0001\t0\t0001.PNG\t0\t0\n0002\t1\t0002.PNG\t0\t0002_label.PNG\n")
    for place in (src.parent / "all", src.parent / "all/Class3"):
        samples = read(place, "dagm")
        assert [(s.split, s.healthy, s.label) for s in samples] == [
            ("train", True, "good"),
            ("train", False, "class3"),
            ("test", True, "good"),
            ("test", False, "class3"),
        ]


def test_magnetic_tile(put: Put) -> None:
    for kind, name in (("Blowhole", "exp1_num_10"), ("Blowhole", "exp2_num_20"), ("Blowhole", "exp1_num_2000")):
        put(f"MT_{kind}/{name}.jpg", cv2.imencode(".jpg", picture(SHAPE))[1].tobytes())
        src = put(f"MT_{kind}/{name}.png", RING if "2000" not in name else RING & False).parents[1]
    put("MT_Free/exp4_num_30.jpg", cv2.imencode(".jpg", picture(SHAPE))[1].tobytes())
    put("MT_Free/exp4_num_30.png", RING & False)
    samples = read(src, "magnetic-tile")
    assert [(s.label, s.healthy, len(s.defects), s.groups["part"]) for s in samples] == [
        ("Blowhole", False, 1, "Blowhole-run01"),
        ("Blowhole", False, 0, "Blowhole-run02"),
        ("Blowhole", False, 1, "Blowhole-run01"),
        ("good", True, 0, "Free-run01"),
    ]
    sessions = [s.groups["session"] for s in samples]
    assert sessions[0] == sessions[2] == sessions[3] != sessions[1]


def test_runs_and_sessions() -> None:
    def shot(kind: str, exposure: int, number: int) -> Shot:
        return Shot(Path(), kind, exposure, number)

    shots = [shot("A", e, n) for e, n in [(3, 10), (4, 20), (1, 30), (2, 45), (6, 900), (6, 2000)]]
    shots += [shot("B", 1, 15), shot("B", 2, 5000)]
    runs = exposure_runs(shots)
    assert [runs[s.number] for s in shots] == ["A-run01"] * 2 + ["A-run02"] * 3 + ["A-run03", "B-run01", "B-run01"]
    sessions = joined_runs(shots, runs, gap=100)
    assert sessions["A-run01"] == sessions["A-run02"] == sessions["B-run01"] != sessions["A-run03"]
    assert len(set(joined_runs(shots, runs, gap=0).values())) == 4


def test_deeppcb(put: Put) -> None:
    for name in ("00041000_temp", "00041000_test"):
        src = put(f"group00041/{name}.png", picture((640, 640))).parents[1]
    put("group00041/00041000.txt", "466 441 493 470 3\n454,300,493,396,2\n")
    template, test = read(src, "deeppcb")
    assert (template.healthy, template.groups) == (True, {"part": "group00041"})
    assert [(d.kind, d.box, d.mask) for d in test.defects] == [
        ("mousebite", (466, 441, 493, 470), None),
        ("short", (454, 300, 493, 396), None),
    ]
    published = put("PCBData/group1/1/11_test.png", picture((640, 640))).parents[2]
    put("PCBData/group1/1/11_temp.png", picture((640, 640)))
    put("PCBData/group1/1_not/11.txt", "1 2 3 4 1\n")
    assert [(s.healthy, s.groups, len(s.defects)) for s in read(published, "deeppcb")] == [
        (True, {"part": "group1"}, 0),
        (False, {"part": "group1"}, 1),
    ]
    put("group00041/00041000.txt", "466 441 493 470 9\n")
    with pytest.raises(DataError, match=r"00041000\.txt, line 1: wanted"):
        read(src, "deeppcb")


def test_masks(put: Put) -> None:
    for name in ("1", "2", "22", "71", "90"):
        src = put(f"images/{name}.png", picture(SHAPE)).parents[1]
    put("masks/1.png", RING)
    put("masks/2_mask.png", RING)
    put("masks/22_label.png", RING & False)
    put("masks/71.png", RING)
    notes: list[str] = []
    samples = read(src, "masks", notes, kind="wear")
    assert [(Path(s.source).stem, s.healthy, s.label, s.groups["session"]) for s in samples] == [
        ("1", False, "wear", "numbers-0001"),
        ("2", False, "wear", "numbers-0001"),
        ("22", True, "good", "numbers-0021"),
        ("71", False, "wear", "numbers-0061"),
    ]
    assert notes == ["images without a mask, left out as not labelled"]
    copies = ReadOptions(number_block=35, number_period=70)
    assert [number_block(n, copies) for n in (1, 35, 36, 71, 141)] == [
        "numbers-0001", "numbers-0001", "numbers-0036", "numbers-0001", "numbers-0001"
    ]  # fmt: skip


@pytest.mark.parametrize("split", ["", "train/", "Validation/"])
def test_imagefolder(put: Put, split: str) -> None:
    src = put(f"{split}ok_front/a.png", picture(SHAPE)).parents[2 if split else 1]
    put(f"{split}def_front/deep/a.png", picture(SHAPE))
    put(f"{split}def_front/b.png", picture(SHAPE))
    samples = read(src, "imagefolder")
    expected = {"": None, "train/": "train", "Validation/": "val"}[split]
    assert sorted((s.label, s.healthy, s.split) for s in samples) == [
        ("def_front", False, expected), ("def_front", False, expected), ("good", True, expected)
    ]  # fmt: skip
    flipped = read(src, "imagefolder", healthy=("DEF_FRONT",))
    assert sorted((s.label, s.healthy) for s in flipped) == [("good", True), ("good", True), ("ok_front", False)]


def test_imagefolder_without_a_healthy_class_says_so(put: Put) -> None:
    src = put("cat/a.png", picture(SHAPE)).parents[1]
    put("dog/a.png", picture(SHAPE))
    assert "no class folder is named like a healthy class" in str(FORMATS["imagefolder"].recognise(src))
    notes: list[str] = []
    given = ReadOptions(note=lambda what, _: notes.append(what))
    assert not any(s.healthy for s in FORMATS["imagefolder"].read(src, given))
    assert notes == ["no class folder has the name of a healthy class: every image is taken as defective"]


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_names_in_any_case(name: str) -> None:
    assert ReadOptions().is_healthy(name.upper())
    assert not ReadOptions(healthy=("fine",)).is_healthy(name)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("images/a.png", "a"),
        ("IMAGES/deep/a b.c.jpg", "deep/a_b_c"),
        ("test/good/000.png", "testset/good/000"),
        ("pcb/00041000_test.jpg", "pcb/00041000_testset"),
        ("contest/latest-01.png", "contest/latest-01"),
        ("prüfung/größe.png", "prüfung/größe"),
        ("x/..png", "x/_"),
    ],
)
def test_ids_are_safe(path: str, expected: str) -> None:
    from pathlib import PurePosixPath

    assert safe_id(PurePosixPath(path)) == expected


def test_names_that_are_taken_are_numbered() -> None:
    taken: set[str] = set()
    assert [numbered(name, taken) for name in ("a", "A", "a", "b")] == ["a", "A-2", "a-3", "b"]


def test_split_names() -> None:
    words = ("train", "Valid", "test2017", "good", "validation")
    assert [split_named(word) for word in words] == ["train", "val", "test", None, "val"]
