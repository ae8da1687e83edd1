"""A folder of images: every image one valid line, whatever happens in between."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flawsmith.core.errors import ConfigError, DataError, EnvironmentFault
from flawsmith.core.files import sha256_of
from flawsmith.core.image import decode, encode_png
from flawsmith.line.batch import OVERLAYS, VERDICTS, Item, inspect_images, list_images, read_verdicts
from flawsmith.line.inspector import Inspector
from tiny_recipe import tiny_image


@pytest.fixture(scope="module")
def inspector(exported: Path) -> Inspector:
    return Inspector(exported, "onnxruntime", threads=1)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two healthy parts, one bright, one dark, one file that is cut off."""
    folder = tmp_path / "photographs"
    (folder / "sub").mkdir(parents=True)
    for index, kind in enumerate([None, "bright", None, "dark"]):
        (folder / f"part{index}.png").write_bytes(encode_png(tiny_image(kind, index)))
    (folder / "sub" / "part0.png").write_bytes(encode_png(tiny_image(None, 0))[:-30])
    return folder


def run(inspector: Inspector, folder: Path, out: Path, **options: bool) -> list[dict]:
    return list(inspect_images(inspector, list_images([folder]), out, **options))


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / VERDICTS).read_text().splitlines()]


def test_one_line_says_everything(inspector: Inspector, photographs: Path, tmp_path: Path) -> None:
    rows = run(inspector, photographs, tmp_path / "out")
    assert rows == lines(tmp_path / "out")
    assert [row["status"] for row in rows] == ["OK", "NG", "OK", "NG", "REVIEW"]
    ng = rows[1]
    assert set(ng) == {
        "schema_version", "file", "sha256", "status", "reasons", "score", "defects", "recipe", "decision", "engine",
        "roi", "ms", "time", "overlay",
    }  # fmt: skip
    assert ng["sha256"] == sha256_of(photographs / "part1.png")
    assert ng["recipe"] == inspector.recipe.digest
    assert ng["decision"] == inspector.recipe.decision_sha256
    (defect,) = ng["defects"]
    assert defect["kind"] == "bright"
    assert defect["area_mm2"] == pytest.approx(defect["area_px"] * 0.01)
    assert len(defect["box"]) == 4
    assert rows[0]["defects"] == []
    assert rows[0]["reasons"] == []
    assert rows[4]["score"] is None
    assert "truncated" in rows[4]["reasons"][0]


def test_every_image_has_its_overlay(inspector: Inspector, photographs: Path, tmp_path: Path) -> None:
    run(inspector, photographs, tmp_path / "out")
    found = sorted(p.relative_to(tmp_path / "out" / OVERLAYS).as_posix() for p in (tmp_path / "out").rglob("*.png"))
    assert found == ["part0.png.png", "part1.png.png", "part2.png.png", "part3.png.png", "sub/part0.png.png"]
    assert decode(tmp_path / "out" / OVERLAYS / "part1.png.png").ndim == 3
    run(inspector, photographs, tmp_path / "without", overlays=False)
    assert [p.name for p in (tmp_path / "without").iterdir()] == [VERDICTS]


def test_listing_finds_each_image_once(photographs: Path) -> None:
    (photographs / "notes.txt").write_text("no image")
    items = list_images([photographs, photographs / "part0.png", photographs / "sub"])
    assert [i.path.name for i in items] == ["part0.png", "part1.png", "part2.png", "part3.png", "part0.png"]
    named = list_images([photographs / "part0.png", photographs / "sub" / "part0.png", photographs / "notes.txt"])
    assert [i.overlay for i in named] == ["part0.png.png", "part0.png.2.png", "notes.txt.png"]
    with pytest.raises(ConfigError, match="nowhere does not exist"):
        list_images([photographs / "nowhere"])
    (photographs / "empty").mkdir()
    with pytest.raises(DataError, match="no images"):
        list_images([photographs / "empty"])


def test_a_named_file_that_is_no_image_is_review(inspector: Inspector, photographs: Path, tmp_path: Path) -> None:
    (photographs / "notes.txt").write_text("no image")
    (row,) = run(inspector, photographs / "notes.txt", tmp_path / "out")
    assert row["status"] == "REVIEW"


def test_a_file_that_vanishes_is_review(inspector: Inspector, tmp_path: Path) -> None:
    (row,) = inspect_images(inspector, [Item(tmp_path / "gone.png", "gone.png.png")], tmp_path / "out")
    assert row["status"] == "REVIEW"
    assert row["sha256"] is None
    assert "No such file" in row["reasons"][0]
    assert (tmp_path / "out" / OVERLAYS / "gone.png.png").exists()


def test_a_name_that_is_no_utf8_is_written_all_the_same(inspector: Inspector, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/part\xff.png"))
    path.write_bytes(encode_png(tiny_image(None)))
    (row,) = run(inspector, path, tmp_path / "out")
    assert row["status"] == "OK"
    assert row["file"].endswith("part\ufffd.png")
    assert lines(tmp_path / "out") == [row]


def test_old_verdicts_are_not_touched(inspector: Inspector, photographs: Path, tmp_path: Path) -> None:
    run(inspector, photographs, tmp_path / "out")
    before = (tmp_path / "out" / VERDICTS).read_bytes()
    with pytest.raises(ConfigError, match="--resume"):
        run(inspector, photographs, tmp_path / "out")
    assert (tmp_path / "out" / VERDICTS).read_bytes() == before


def test_resume_inspects_only_what_is_new_or_changed(inspector: Inspector, photographs: Path, tmp_path: Path) -> None:
    first = run(inspector, photographs, tmp_path / "out")
    (photographs / "part0.png").write_bytes(encode_png(tiny_image("dark", 7)))
    (photographs / "part9.png").write_bytes(encode_png(tiny_image(None, 8)))
    again = run(inspector, photographs, tmp_path / "out", resume=True)
    assert again[1:4] == first[1:4]
    assert [row["status"] for row in again] == ["NG", "NG", "OK", "NG", "OK", "REVIEW"]
    assert len(lines(tmp_path / "out")) == len(first) + 2


def test_resume_judges_anew_by_another_decision_or_engine(
    inspector: Inspector, recipe_folder: Path, photographs: Path, tmp_path: Path
) -> None:
    run(inspector, photographs, tmp_path / "out")
    path = recipe_folder / "decision.json"
    path.write_text(path.read_text().replace('"min_area_px": 4', '"min_area_px": 4000'))
    edited = run(Inspector(recipe_folder, "onnxruntime", 1), photographs, tmp_path / "out", resume=True)
    assert [row["status"] for row in edited] == ["OK", "OK", "OK", "OK", "REVIEW"]
    other = run(Inspector(recipe_folder, "openvino", 1), photographs, tmp_path / "out", resume=True)
    assert {row["engine"] for row in other} == {"openvino"}
    assert len(lines(tmp_path / "out")) == 15


@pytest.mark.parametrize("cut", [1, 20, 200])
def test_a_torn_last_line_is_done_again(inspector: Inspector, photographs: Path, tmp_path: Path, cut: int) -> None:
    first = run(inspector, photographs, tmp_path / "out")
    journal = tmp_path / "out" / VERDICTS
    journal.write_bytes(journal.read_bytes()[:-cut])
    again = run(inspector, photographs, tmp_path / "out", resume=True)
    assert [row["status"] for row in again] == [row["status"] for row in first]
    assert len(lines(tmp_path / "out")) == 5


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"schema_version": 9}'])
def test_a_journal_of_something_else_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / VERDICTS).write_text(f'{{"schema_version": 1}}\n{line}\n')
    with pytest.raises(DataError, match="line 2"):
        read_verdicts(tmp_path / VERDICTS)


def test_a_full_disk_is_a_fault_of_the_machine(
    inspector: Inspector, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / VERDICTS).symlink_to("/dev/full")
    monkeypatch.setattr("flawsmith.line.batch.read_verdicts", lambda journal: [])  # reading /dev/full never ends
    with pytest.raises(EnvironmentFault, match="the disk is full"):
        list(inspect_images(inspector, list_images([photographs]), tmp_path / "out", resume=True, overlays=False))


def test_an_out_folder_that_cannot_be_made(inspector: Inspector, photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EnvironmentFault, match="cannot write"):
        run(inspector, photographs, tmp_path / "file" / "out")


SLOW = """
import sys, time
from pathlib import Path
from flawsmith.line.batch import inspect_images, list_images
from flawsmith.line.inspector import Inspector
recipe, folder, out = map(Path, sys.argv[1:])
for row in inspect_images(Inspector(recipe, "onnxruntime", 1), list_images([folder]), out):
    print("line", flush=True)
    time.sleep(0.05)
"""


def test_a_killed_run_leaves_whole_lines_and_goes_on(inspector: Inspector, exported: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "many", tmp_path / "out"
    folder.mkdir()
    for index in range(40):
        (folder / f"{index:02}.png").write_bytes(encode_png(tiny_image("bright" if index % 4 == 0 else None, index)))
    command = [sys.executable, "-c", SLOW, str(exported), str(folder), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    done = read_verdicts(out / VERDICTS)
    assert 3 <= len(done) < 40
    begin = time.perf_counter()
    rows = run(inspector, folder, out, resume=True)
    assert time.perf_counter() - begin < 60
    assert len(rows) == 40
    assert rows[: len(done)] == done
    assert sum(row["status"] == "NG" for row in rows) == 10
    assert sorted(row["file"] for row in lines(out)) == sorted(str(p) for p in folder.iterdir())
