"""`flawsmith export` on a real, if tiny, segmenter; and which images it proves itself on."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from flawsmith.cli import app
from flawsmith.core.defect import Defect
from flawsmith.core.errors import ConfigError, DataError
from flawsmith.core.sample import Sample
from flawsmith.dataset.manifest import Dataset, DatasetInfo
from flawsmith.dataset.write import write_dataset
from flawsmith.decide.rules import Decision, RegionRule, save_decision
from flawsmith.deploy.request import spread
from flawsmith.line.recipe import open_recipe
from flawsmith.model.segment import NetSettings, Segmenter, SegmentSettings
from flawsmith.model.train import TrainSettings
from tiny_recipe import tiny_image


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of spots, a segmenter that has seen it for two steps, and a decision that suits its scores."""
    root = tmp_path_factory.mktemp("workshop")
    dataset = write_dataset(root / "data", spots(24), DatasetInfo(name="spots", pixel_mm=0.05, licence="CC0-1.0"))
    chosen = SegmentSettings(
        net=NetSettings(filters=4, depth=2, downscale=1),
        train=TrainSettings(steps=30, batch=2, crop=32, warmup=2, threads=1, learning_rate=0.02),
    )
    model = Segmenter(chosen).fit(dataset.split("train"))
    model.save(root / "run")
    tops = {s.healthy: next(model.predict([s.image()])).score for s in dataset.split("val")}
    save_decision(root / "decision.json", Decision(default=RegionRule(threshold=(tops[True] + tops[False]) / 2)))
    return root


def spots(count: int) -> list[Sample]:
    samples = []
    for index in range(count):
        kind = "bright" if index % 2 else None
        defects = (Defect("bright", (20, 10, 32, 22), np.ones((12, 12), bool)),) if kind else ()
        split = ("train", "train", "val", "val")[index % 4]
        samples.append(
            Sample(f"{index:03}", tiny_image(kind, index, (64, 64)), kind is None, kind or "good", defects, split=split)
        )
    return samples


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["export", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_from_run_folder_to_recipe(workshop: Path, tmp_path: Path) -> None:
    given = (workshop / "run", workshop / "data", "--decision", workshop / "decision.json", "--threads", 1)
    code, stdout, stderr = run(*given, "--out", tmp_path / "recipe", "--limit", "Never tried on steel.", "--json")
    assert code == 0
    report = json.loads(stdout)
    assert report["held_out_images"] == 12
    assert set(report["verdicts"]) == {"OK", "NG"}
    assert report["engine"] in report["engines"]
    assert "onnxruntime" in report["engines"]
    assert f"recipe: {tmp_path / 'recipe'}" in stderr
    recipe = open_recipe(tmp_path / "recipe")
    assert recipe.info.name == "recipe"
    assert recipe.info.pixel_mm == 0.05
    assert recipe.info.dataset is not None
    assert recipe.info.dataset.content_hash == Dataset.open(workshop / "data").info.content_hash
    card = (tmp_path / "recipe" / "MODEL_CARD.md").read_text()
    assert "12 training images (12 real): 6 defective, 6 healthy." in card
    assert "Never tried on steel." in card
    assert "CC0-1.0" in card


def test_the_table_and_the_left_out_are_told(workshop: Path, tmp_path: Path) -> None:
    given = (workshop / "run", workshop / "data", "--decision", workshop / "decision.json", "--threads", 1)
    code, stdout, _ = run(*given, "--out", tmp_path / "recipe", "--engine", "onnxruntime", "--images", 4)
    assert code == 0
    assert "parity on 4 held-out images: 2 NG, 2 OK" in stdout
    assert "passed" in stdout


def test_mistakes_are_named(workshop: Path, tmp_path: Path) -> None:
    given = (workshop / "run", workshop / "data", "--out", tmp_path / "recipe")
    with pytest.raises(ConfigError, match="flawsmith calibrate"):
        run(*given, "--decision", tmp_path / "none.json")
    rules = ("--decision", workshop / "decision.json")
    with pytest.raises(DataError, match="must not use training images"):
        run(*given, *rules, "--split", "train")
    with pytest.raises(DataError, match="no images in split 'test'"):
        run(*given, *rules, "--split", "test")
    with pytest.raises(DataError):
        run(tmp_path, workshop / "data", "--out", tmp_path / "recipe", *rules)
    assert not (tmp_path / "recipe").exists()


@settings(max_examples=30)
@given(st.integers(1, 14))
def test_half_of_the_held_out_images_are_defective(workshop: Path, most: int) -> None:
    val = Dataset.open(workshop / "data").split("val")
    chosen = spread(val, most)
    assert len(chosen) == min(most, 12)
    assert len({sample.id for sample in chosen}) == len(chosen)
    defective = sum(not sample.healthy for sample in chosen)
    assert abs(defective - len(chosen) / 2) <= 0.5


def test_few_defective_images_are_all_taken(workshop: Path) -> None:
    val = Dataset.open(workshop / "data").split("val")
    rows = [i for i, healthy in enumerate(val.column("healthy")) if healthy]
    rows.append(next(i for i, healthy in enumerate(val.column("healthy")) if not healthy))
    chosen = spread(val.take(rows), 4)
    assert [sample.healthy for sample in chosen].count(False) == 1
    assert len(chosen) == 4
