"""Every verb against a full disk, a read-only one and the wrong order: one clear line, the designed exit code."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flawsmith import cli, pipeline
from flawsmith.core.config import load_settings
from flawsmith.dataset import DatasetInfo, write_dataset
from flawsmith.decide.rules import Decision, RegionRule, save_decision
from flawsmith.model.segment import SegmentSettings
from flawsmith.synth.surface import surfaces

TINY = ["net.filters=4", "net.depth=3", "train.steps=4", "train.crop=32", "train.batch=2", "train.threads=1"]
Outcome = tuple[int, str]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set with splits, a trained run, a decision and a recipe."""
    root = tmp_path_factory.mktemp("world")
    write_dataset(root / "data", surfaces(24, side=64), DatasetInfo(name="surfaces"))
    data = pipeline.split_dataset(root / "data")
    model = pipeline.train_segmenter(root / "data", root / "run", load_settings(SegmentSettings, None, TINY))
    decision = Decision(default=RegionRule(threshold=0.5))
    save_decision(root / "decision.json", decision)
    pipeline.export_recipe(model, data, decision, root / "recipe")
    write_dataset(root / "unsplit", surfaces(4, side=64), DatasetInfo(name="unsplit"))
    return root


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[..., Outcome]:
    """Run the command line in this process: (exit code, what it said on stderr)."""

    def run(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["flawsmith", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), capsys.readouterr().err

    return run


def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A small file system of its own; skipped where that is not allowed."""
    folder.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False).returncode
    ):
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A disk without room for another page."""
    for place in mounted(tmp_path / "full", "size=32k"):
        (place / "ballast").write_bytes(bytes(32 << 10))
        yield place


@pytest.fixture
def frozen(tmp_path: Path) -> Iterator[Path]:
    """A read-only disk."""
    yield from mounted(tmp_path / "frozen", "size=8m,ro")


VERBS: dict[str, Callable[[Path, Path], list]] = {
    "train": lambda w, out: ["train", "segment", w / "data", "--out", out, *(x for s in TINY for x in ("--set", s))],
    "evaluate": lambda w, out: ["evaluate", w / "run", w / "data", "--out", out],
    "calibrate": lambda w, out: [
        *("calibrate", w / "run", w / "data", "--out", out / "decision.json", "--synthetic"),
        *("--cost", "100", "1", "--prevalence", "0.02", "--unit", "image"),
    ],
    "export": lambda w, out: ["export", w / "run", w / "data", "--decision", w / "decision.json", "--out", out],
    "inspect": lambda w, out: ["inspect", w / "recipe", w / "data" / "images", "--out", out],
    "dataset export": lambda w, out: ["dataset", "export", w / "data", "--format", "coco", "--out", out],
    "dataset import": lambda w, out: ["dataset", "import", w / "exported", "--format", "coco", "--out", out],
    "dataset view": lambda w, out: ["dataset", "view", w / "data", "--out", out / "sheet.png"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_full_disk_ends_with_3_and_leaves_no_half(verb: str, world: Path, full: Path, call: Callable) -> None:
    prepare(verb, world, call)
    code, said = call(*VERBS[verb](world, full / "out"))
    assert code == 3, said
    assert "disk is full" in said
    assert "Traceback" not in said
    assert_nothing_half(full, verb)


@pytest.mark.parametrize("verb", VERBS)
def test_a_read_only_disk_ends_with_3(verb: str, world: Path, frozen: Path, call: Callable) -> None:
    prepare(verb, world, call)
    code, said = call(*VERBS[verb](world, frozen / "out"))
    assert code == 3, said
    assert "read-only" in said
    assert not any(frozen.iterdir())


@pytest.mark.parametrize("verb", VERBS)
def test_the_same_commands_succeed_on_a_disk_with_room(verb: str, world: Path, tmp_path: Path, call: Callable) -> None:
    prepare(verb, world, call)
    code, said = call(*VERBS[verb](world, tmp_path / "out"))
    assert code in ((0, 1) if verb == "inspect" else (0,)), said
    assert (tmp_path / "out").exists()


def prepare(verb: str, world: Path, call: Callable) -> None:
    if verb == "dataset import" and not (world / "exported").exists():
        assert call("dataset", "export", world / "data", "--format", "coco", "--out", world / "exported")[0] == 0


def assert_nothing_half(full: Path, verb: str) -> None:
    """No staging folder stays; of a journal only whole lines; of a run only what could be resumed."""
    left = {p.name for p in full.iterdir()} - {"ballast", "out"}
    assert not left, left
    out = full / "out"
    if verb in ("evaluate", "export", "dataset export", "dataset import"):
        assert not out.exists()
    if out.exists():
        assert not [p for p in out.rglob("*") if "partial" in p.name]
        assert not (out / "model.safetensors").exists()
    for line in (out / "verdicts.jsonl").read_text().splitlines() if (out / "verdicts.jsonl").exists() else []:
        json.loads(line)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (lambda w: ["train", "segment", w / "unsplit", "--out", w / "x"], "dataset split"),
        (lambda w: ["evaluate", w / "run", w / "unsplit"], "dataset split"),
        (lambda w: ["evaluate", w / "data", w / "data"], "model.safetensors"),
        (lambda w: ["inspect", w / "run", w / "data", "--out", w / "x"], "recipe"),
        (lambda w: ["export", w / "run", w / "data", "--decision", w / "none.json", "--out", w / "x"], "none.json"),
        (lambda w: ["train", "segment", w / "data", "--out", w / "run"], "--resume"),
        (
            lambda w: ["calibrate", w / "run", w / "data", "--out", w / "x", "--max-escape", "0.1", "--split", "test"],
            "test",
        ),
        (lambda w: ["calibrate", w / "run", w / "data", "--out", w / "x"], "max_escape"),
        (lambda w: ["evaluate", w / "run", w / "data", "--split", "tset"], "tset"),
    ],
)
def test_steps_in_the_wrong_order_name_the_right_one(
    arguments: Callable, words: str, world: Path, call: Callable
) -> None:
    code, said = call(*arguments(world))
    assert code == 2, said
    assert words in said
    assert not (world / "x").exists()


def test_a_bound_that_cannot_be_shown_ends_with_1_and_says_what_it_needs(world: Path, call: Callable) -> None:
    out = world / "shown.json"
    code, said = call(
        *("calibrate", world / "run", world / "data", "--out", out, "--max-escape", "0.01", "--synthetic"),
    )
    assert code == 1, said
    assert "299" in said
    assert not out.exists()


def test_a_decision_of_another_model_is_not_exported(world: Path, tmp_path: Path, call: Callable) -> None:
    asked = ("--synthetic", "--cost", "100", "1", "--prevalence", "0.02")
    assert call("calibrate", world / "run", world / "data", "--out", tmp_path / "d.json", *asked)[0] == 0
    export = ("export", world / "run", world / "data", "--decision", tmp_path / "d.json")
    assert call(*export, "--out", tmp_path / "own")[0] == 0
    other = load_settings(SegmentSettings, None, [*TINY, "train.seed=9"])
    pipeline.train_segmenter(world / "data", tmp_path / "other", other)
    code, said = call("export", tmp_path / "other", *export[2:], "--out", tmp_path / "theirs")
    assert code == 2, said
    assert "calibrated for another model" in said
    assert not (tmp_path / "theirs").exists()


def test_figures_of_another_model_do_not_reach_the_card(world: Path, tmp_path: Path, call: Callable) -> None:
    assert call("evaluate", world / "run", world / "data", "--out", tmp_path / "report")[0] == 0
    metrics = tmp_path / "report" / "metrics.json"
    export = ("export", world / "run", world / "data", "--decision", world / "decision.json", "--metrics")
    assert call(*export, metrics, "--out", tmp_path / "own")[0] == 0
    told = json.loads(metrics.read_text())
    told["dataset"]["model"] = "0" * 64
    metrics.write_text(json.dumps(told))
    assert call(*export, metrics, "--out", tmp_path / "theirs")[0] == 2


def test_splitting_again_after_training_is_noticed(world: Path, tmp_path: Path, call: Callable) -> None:
    shutil.copytree(world / "data", tmp_path / "data")
    assert call("dataset", "split", tmp_path / "data", "--seed", "7")[0] == 0
    code, said = call("evaluate", world / "run", tmp_path / "data", "--out", tmp_path / "report")
    assert code == 2, said
    assert "were trained on" in said
    assert call("evaluate", world / "run", world / "data", "--out", tmp_path / "fine")[0] == 0


def test_overwrite_replaces_only_its_own_kind(world: Path, tmp_path: Path, call: Callable) -> None:
    shutil.copytree(world / "run", tmp_path / "run")
    code, said = call("evaluate", tmp_path / "run", world / "data", "--out", tmp_path / "run", "--overwrite")
    assert code == 2, said
    assert "holds a run, not a report" in said
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_an_image_of_another_scale_is_review(world: Path, tmp_path: Path, call: Callable) -> None:
    write_dataset(tmp_path / "large", surfaces(1, side=320), DatasetInfo(name="large"))
    code, _ = call("inspect", world / "recipe", tmp_path / "large" / "images", "--out", tmp_path / "results")
    line = json.loads((tmp_path / "results" / "verdicts.jsonl").read_text())
    assert code == 1
    assert line["status"] == "REVIEW"
    assert "trained on sides of 64 to 64 px" in line["reasons"][0]
