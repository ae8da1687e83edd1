"""`flawsmith demo`: the whole path, small."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from flawsmith.cli import app, demo
from flawsmith.core import DataError, FlawsmithError, decode
from flawsmith.dataset import Dataset, DatasetInfo, write_dataset
from flawsmith.dataset.convert import import_dataset
from flawsmith.line import open_recipe
from flawsmith.synth.spec import load_spec
from flawsmith.synth.surface import surfaces

runner = CliRunner()
SHEET = """
parts: [{name: sheet, plate_mm: [50, 50, 1], material: sheet}]
stage: {preset: sheet, size_mm: [80, 80], surface: sheet, body: sheet, floor: sheet}
cameras: {line: {field_mm: 40, resolution_px: [96, 96]}}
materials: {sheet: {finish: plastic}}
defects: [{kind: rust, diameter_mm: 8, where: {normal: {max_deg: 20}}}]
healthy: 0.5
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo of 40 images of a sheet and a few training steps."""
    folder = tmp_path_factory.mktemp("demo")
    out = folder / "out"
    (folder / "sheet.yaml").write_text(SHEET)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "IMAGES", 40)
        patch.setattr(demo, "architecture", lambda: "unet")  # the quicker one
        options = ["--scene", str(folder / "sheet.yaml"), "--renderer", "relief", "--steps", "12", "--json"]
        result = runner.invoke(app, ["demo", "--out", str(out), *options])
    assert result.exit_code == 0, result.output
    (out / "told.json").write_text(result.stdout)
    return out


def test_it_goes_the_whole_way(done: Path) -> None:
    told = json.loads((done / "told.json").read_text())
    test = Dataset.open(done / "dataset").split("test")
    assert sum(told["verdicts"].values()) == len(test)
    assert Path(told["report"]).is_file()
    assert told["evaluation"]["headline"].startswith("Synthetic")
    assert open_recipe(done / "recipe").decision.calibration is not None
    lines = (done / "inspected" / "verdicts.jsonl").read_text().splitlines()
    assert len(lines) == len(test)


def test_the_pretrained_network_is_taken_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert demo.architecture() == "efficientnet-lite0"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert demo.architecture() == "unet"


def test_its_picture_has_a_column_per_case_and_a_row_per_step(done: Path) -> None:
    picture = decode(done / "overview.png")
    assert picture.shape[1] == 150 + 5 * 310
    assert picture.shape[0] > 4 * 300
    # Score maps are drawn in colour: no row is blank paper.
    assert all((np.ptp(band, axis=(0, 1)) > 30).any() for band in np.array_split(picture, 4))


def test_it_refuses_a_folder_in_use_and_replaces_only_its_own(done: Path, tmp_path: Path) -> None:
    assert "exists and is not empty" in str(runner.invoke(app, ["demo", "--out", str(done)]).exception)
    (tmp_path / "letter.txt").write_text("dear")
    strangers = runner.invoke(app, ["demo", "--out", str(tmp_path), "--overwrite"])
    assert "was not written by flawsmith" in str(strangers.exception)
    assert (tmp_path / "letter.txt").read_text() == "dear"


def test_photographs_of_an_unknown_layout_are_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    result = runner.invoke(app, ["demo", "--data", str(tmp_path / "photos"), "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, DataError)


def test_it_takes_labelled_photographs(tmp_path: Path) -> None:
    made = tmp_path / "made"
    write_dataset(made, surfaces(40, side=96), DatasetInfo(name="made"))
    exported = tmp_path / "coco"
    assert (
        runner.invoke(app, ["dataset", "export", str(made), "--format", "coco", "--out", str(exported)]).exit_code == 0
    )
    import_dataset(exported, tmp_path / "imported")
    dataset = demo.prepare(tmp_path / "imported", seed=0)
    assert len(dataset) == 40
    assert set(dataset.column("split")) == {"train", "val", "test"}


def test_a_mistyped_source_does_not_cost_the_old_demo(done: Path, tmp_path: Path) -> None:
    result = runner.invoke(app, ["demo", "--data", str(tmp_path / "typo"), "--out", str(done), "--overwrite"])
    assert isinstance(result.exception, FlawsmithError)
    assert (done / "recipe" / "recipe.json").is_file()


def test_its_own_scene_is_a_bolt_and_a_nut_on_a_belt() -> None:
    spec = load_spec(demo.scene_file(None, 0, "mitsuba"))
    assert [part.standard for part in spec.parts] == ["hex-screw M8x25", "hex-nut M8"]
    assert {defect.kind for defect in spec.defects} == {"scratch", "rust", "hole"}
    assert spec.stage.preset == "conveyor"


def test_photographs_and_a_scene_at_once_are_refused(tmp_path: Path) -> None:
    result = runner.invoke(app, ["demo", "--data", str(tmp_path), "--scene", "a.yaml", "--out", str(tmp_path / "out")])
    assert "give one of them" in str(result.exception)


def test_a_mistake_in_the_scene_does_not_cost_the_old_demo(done: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("stage: convayor\n")
    result = runner.invoke(app, ["demo", "--scene", str(tmp_path / "bad.yaml"), "--out", str(done), "--overwrite"])
    assert "bad.yaml:1" in str(result.exception)
    assert (done / "recipe" / "recipe.json").is_file()
