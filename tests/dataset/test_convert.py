"""Import and export as a user meets them: what is guessed, refused, left out and reported."""

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from flawsmith.cli import app, main
from flawsmith.core.defect import Defect
from flawsmith.core.errors import ConfigError, DataError
from flawsmith.core.image import encode_png
from flawsmith.core.sample import Sample
from flawsmith.dataset.convert import import_dataset, recognise
from flawsmith.dataset.formats import FORMATS, ReadOptions
from flawsmith.dataset.manifest import Dataset, DatasetInfo
from flawsmith.dataset.write import write_dataset

ROOT = Path(__file__).parents[2]


def png(seed: int = 0, shape: tuple[int, int] = (9, 11)) -> bytes:
    return encode_png(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Make a source folder from names and bytes."""

    def make(files: dict[str, bytes]) -> Path:
        for name, content in files.items():
            path = tmp_path / "src" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return tmp_path / "src"

    return make


@pytest.fixture
def pairs(folder: Callable[..., Path]) -> Path:
    """Two tiles of two shots each, one with a speck and a scratch."""
    mask = np.zeros((9, 11), bool)
    mask[2, 1:9] = mask[8, 10] = True
    images = {f"images/tile{t}_{s}.png": png(10 * t + s) for t in (1, 2) for s in (1, 2)}
    masks = {f"masks/tile{t}_{s}.png": encode_png(mask & (t == 1)) for t in (1, 2) for s in (1, 2)}
    return folder({**images, **masks})


def test_import_writes_what_it_reports(pairs: Path, tmp_path: Path) -> None:
    report = import_dataset(
        pairs,
        tmp_path / "out",
        kind="scratch",
        name="tiles",
        group=r"(?P<part>tile\d)_(?P<session>\d)",
        pixel_mm=0.05,
        licence="CC0",
    )
    dataset = Dataset.open(tmp_path / "out")
    assert (report.format, report.images, report.healthy, report.unmarked) == ("masks", 4, 2, 0)
    assert (report.labels, report.kinds) == ({"good": 2, "scratch": 2}, {"scratch": 4})
    assert report.groups == {"part": 2, "session": 2}
    assert report.content_hash == dataset.content_hash == dataset.info.content_hash
    assert (dataset.info.name, dataset.info.pixel_mm, dataset.info.licence) == ("tiles", 0.05, "CC0")
    assert dataset.info.sources == ("masks: src",)
    assert dataset[0].groups == {"part": "tile1", "session": "1"}
    assert dataset[0].source == "images/tile1_1.png"
    for sample in dataset:
        assert encode_png(sample.image()) == (pairs / sample.source).read_bytes()


def test_a_rehearsal_writes_nothing_and_says_the_same(pairs: Path, tmp_path: Path) -> None:
    rehearsal = import_dataset(pairs, None).as_json()
    assert [p.name for p in tmp_path.iterdir()] == ["src"]
    real = import_dataset(pairs, tmp_path / "out").as_json()
    differing = {key for key in real if real[key] != rehearsal[key]}
    assert differing == {"out", "content_hash"}


def test_specks_are_noted_and_left_out_on_demand(pairs: Path) -> None:
    noted = import_dataset(pairs, None)
    assert [(n.count, n.what.startswith("images with regions of fewer than 4 px")) for n in noted.notes] == [(2, True)]
    clean = import_dataset(pairs, None, min_area_px=2)
    assert clean.kinds == {"defect": 2}
    bare = import_dataset(pairs, None, min_area_px=99)
    assert (bare.kinds, bare.healthy, bare.unmarked) == ({}, 2, 2)  # the images stay defective


def test_names_that_collide_are_numbered(folder: Callable[..., Path], tmp_path: Path) -> None:
    src = folder(
        {"ok/a.png": png(1), "ok/a.bmp": png(2), "ok/A!.png": png(3), "ok/A?.png": png(4), "bad/a.png": png(5)}
    )
    import_dataset(src, tmp_path / "out")
    ids = Dataset.open(tmp_path / "out").column("id")
    assert ids == ["bad/a", "ok/A_", "ok/A_-2", "ok/a", "ok/a-2"]


def test_a_bad_image_stops_the_import_or_is_listed(folder: Callable[..., Path], tmp_path: Path) -> None:
    src = folder({"ok/a.png": png(), "ok/cut.png": png()[:-40], "bad/b.png": png(), "bad/empty.png": b""})
    with pytest.raises(DataError, match=r"empty\.png.*--skip-bad leaves such images out"):
        import_dataset(src, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["src"]
    report = import_dataset(src, tmp_path / "out", on_bad="skip")
    assert [image.path for image in report.left_out] == ["bad/empty.png", "ok/cut.png"]
    assert "cut.png: truncated" in report.left_out[1].reason
    dataset = Dataset.open(tmp_path / "out")
    assert (len(dataset), dataset.info.images, dataset.info.left_out) == (2, 2, 2)


def test_pixels_that_only_decoding_finds_damaged_are_left_out(folder: Callable[..., Path], tmp_path: Path) -> None:
    from io import BytesIO

    from PIL import Image

    sink = BytesIO()
    Image.fromarray(np.zeros((9, 11), np.float32)).save(sink, "TIFF")  # a sound header, pixels that are not read
    src = folder({"ok/a.png": png(), "bad/b.png": png(), "bad/float.tiff": sink.getvalue()})
    report = import_dataset(src, tmp_path / "out", on_bad="skip")
    assert [image.path for image in report.left_out] == ["bad/float.tiff"]


def test_a_mask_of_another_size_names_both_files(folder: Callable[..., Path], tmp_path: Path) -> None:
    src = folder({"images/a.png": png(), "masks/a.png": encode_png(np.zeros((9, 10), bool))})
    with pytest.raises(DataError, match=r"masks/a\.png is 10x9, its image 11x9"):
        import_dataset(src, tmp_path / "out")


def test_nothing_usable_is_an_error(folder: Callable[..., Path], tmp_path: Path) -> None:
    src = folder({"ok/a.png": b"x", "bad/a.png": b"y"})
    for out in (None, tmp_path / "out"):
        with pytest.raises(DataError, match=r"none of its 2 images can be used; the first: .*a\.png"):
            import_dataset(src, out, on_bad="skip")
    with pytest.raises(DataError, match=r"wants the folders images and masks"):
        import_dataset(src, None, "masks")


def test_auto_says_why_nothing_fits(folder: Callable[..., Path]) -> None:
    src = folder({"notes.txt": b""})
    with pytest.raises(DataError) as error:
        recognise(src)
    for name in FORMATS:
        assert f"\n  {name}: " in str(error.value)


def test_auto_names_the_candidates(folder: Callable[..., Path]) -> None:
    src = folder({"images/a.png": png(), "masks/a.png": encode_png(np.zeros((9, 11), bool)), "labels/a.txt": b""})
    with pytest.raises(DataError, match="could be any of yolo, masks; choose with --format"):
        recognise(src)


@pytest.mark.parametrize("text", [b"\xff\xfe", b"[" * 10**5, b"{}", b"[]", b"7", b'[{"data": 3}]', b'"' * 99])
def test_auto_survives_strange_json_and_xml(folder: Callable[..., Path], text: bytes) -> None:
    src = folder({"ok/a.png": png(), "bad/b.png": png(), "x.json": text, "y.xml": text})
    assert recognise(src) == "imagefolder"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group": "("}, "is no regular expression"),
        ({"group": "tile"}, "names nothing"),
        ({"group": "(?P<parts>tile)"}, "names 'parts'; wanted"),
        ({"group": "(?P<part>gear)"}, "matches no image path; it is searched in paths like 'images/tile1_1.png'"),
        ({"format": "cocoa"}, "unknown format 'cocoa'. Did you mean 'coco'"),
        ({"pixel_mm": -1.0}, "pixel_mm"),
        ({"pixel_mm": float("nan")}, "pixel_mm"),
        ({"min_area_px": -1}, "min_area_px is -1"),
        ({"number_block": 0}, "number_block is 0"),
    ],
)
def test_wrong_options_are_named(pairs: Path, tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        import_dataset(pairs, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_wrong_places_are_named(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        import_dataset(tmp_path / "gone", None)
    with pytest.raises(DataError, match="is a file"):
        import_dataset(pairs / "images/tile1_1.png", None)
    for out in (pairs, pairs / "out", tmp_path):
        with pytest.raises(ConfigError, match="inside one another"):
            import_dataset(pairs, out, overwrite=True)
    import_dataset(pairs, tmp_path / "out")
    with pytest.raises(ConfigError, match="not empty"):
        import_dataset(pairs, tmp_path / "out")
    with pytest.raises(DataError, match="is a flawsmith data set already"):
        import_dataset(tmp_path / "out", None)
    import_dataset(pairs, tmp_path / "out", overwrite=True)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/mine.jpg").write_bytes(b"precious")
    with pytest.raises(ConfigError, match="was not written by flawsmith"):
        import_dataset(pairs, tmp_path / "photos", overwrite=True)


def test_a_source_that_cannot_be_read_is_blamed_itself(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(src: Path, options: ReadOptions) -> Iterator[Sample]:
        raise PermissionError(13, "Permission denied", str(src / "locked"))
        yield

    monkeypatch.setitem(FORMATS, "masks", replace(FORMATS["masks"], read=refuse))
    with pytest.raises(DataError, match="locked cannot be read: Permission denied"):
        import_dataset(pairs, tmp_path / "out", "masks")


def test_a_name_that_is_no_text_is_named(folder: Callable[..., Path]) -> None:
    src = folder({"ok/a.png": png(), "bad/b.png": png()})
    (src / "ok" / os.fsdecode(b"\xff.png")).write_bytes(png())
    with pytest.raises(DataError, match="the name is not UTF-8"):
        import_dataset(src, None)
    report = import_dataset(src, None, on_bad="skip")
    assert [image.path for image in report.left_out] == ["ok/\\udcff.png"]


def test_the_command_reports_on_stdout_and_remarks_on_stderr(pairs: Path, tmp_path: Path) -> None:
    (pairs / "images/cut.png").write_bytes(png()[:-20])
    (pairs / "masks/cut.png").write_bytes(encode_png(np.ones((9, 11), bool)))
    run = CliRunner().invoke
    arguments = ["dataset", "import", str(pairs), "--out", str(tmp_path / "out"), "--skip-bad", "--min-area", "2"]
    result = run(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["images"], len(report["left_out"])) == (4, 1)
    assert "1 images left out" in result.stderr
    assert "cut.png" in result.stderr
    table = run(app, ["dataset", "import", str(pairs), "--dry-run", "--skip-bad"])
    assert "nothing (dry run)" in table.stdout
    export = ["dataset", "export", str(tmp_path / "out"), "--format"]
    boxes = run(app, [*export, "yolo-det", "--out", str(tmp_path / "boxes"), "--json"])
    assert boxes.exit_code == 0
    assert json.loads(boxes.stdout)["loss"]["affected"] == 0  # a straight scratch fills its box
    folder = run(app, [*export, "imagefolder", "--out", str(tmp_path / "folder")])
    assert "IoU lost: mean 1.0000, worst 1.0000; 2 of 2 defects affected, 2 gone" in folder.stderr
    assert "IoU lost, mean" in folder.stdout


def test_the_export_of_one_split(tmp_path: Path) -> None:
    image = np.zeros((4, 5), np.uint8)
    samples = [Sample(split, image, True, split=split) for split in ("train", "test")]
    write_dataset(tmp_path / "d", samples, DatasetInfo(name="d"))
    arguments = ["dataset", "export", str(tmp_path / "d"), "--format", "coco", "--out", str(tmp_path / "o"), "--json"]
    result = CliRunner().invoke(app, [*arguments, "--split", "test"])
    assert json.loads(result.stdout)["images"] == 1
    assert [p.name for p in (tmp_path / "o/annotations").iterdir()] == ["instances_test.json"]


def test_a_users_mistake_ends_in_a_line_and_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["flawsmith", "dataset", "import", str(tmp_path)])
    with pytest.raises(SystemExit) as error:
        main()
    assert error.value.code == 2
    assert "--out is missing" in capsys.readouterr().err


def test_help_and_docs_name_every_format() -> None:
    page = (ROOT / "docs/formats.md").read_text()
    help_of = {verb: CliRunner().invoke(app, ["dataset", verb, "--help"]).stdout for verb in ("import", "export")}
    for name, known in FORMATS.items():
        assert f"`{name}`" in page
        words = re.split(r"[\s,;()\[\]]+", help_of["export" if known.write else "import"].replace("-\n", "-"))
        assert name in words or name.replace("-", "") in "".join(words).replace("-", "")


def test_a_defect_outside_its_image_is_refused(tmp_path: Path) -> None:
    sample = Sample("x", np.zeros((4, 5), np.uint8), False, "dent", (Defect("dent", (0, 0, 6, 4)),))
    with pytest.raises(DataError, match="lies outside its"):
        write_dataset(tmp_path / "d", [sample], DatasetInfo(name="d"))
