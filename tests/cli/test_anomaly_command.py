"""Anomalies all the way: trained on healthy images, judged, calibrated, exported behind the gate, on the line."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flawsmith.cli import app
from flawsmith.core.errors import ConfigError, DataError, GateError
from flawsmith.core.image import encode_png
from flawsmith.decide.rules import load_decision
from flawsmith.line.inspector import Inspector
from flawsmith.model.models import load_model

sys.path.insert(0, str(Path(__file__).parents[1] / "model" / "anomaly"))
from healthy_set import plate, plates

QUICK = ("--set", "features.backbone=small-cnn", "--set", "features.stages=[1, 2]", "--set", "memory.rows=60")


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data with 30 healthy images to calibrate on, and a run on it."""
    root = tmp_path_factory.mktemp("anomaly")
    plates(root / "data", healthy=80, scratched=8)
    code, told, said = run("train", "anomaly", root / "data", "--out", root / "run", "--json", *QUICK)
    assert code == 0
    report = json.loads(told)
    assert report["healthy"] == 40
    assert report["defective_left_out"] == 4
    assert report["rows"] == 60
    assert "4 defective images of the train split were left out" in said
    return root


def test_a_run_holds_a_model_a_decision_and_its_settings(bench):
    assert load_decision(bench / "run" / "decision.json").default.threshold == 0.5
    assert "backbone: small-cnn" in (bench / "run" / "settings.yaml").read_text()
    assert load_model(bench / "run").spec.task == "anomaly"


def test_the_whole_path(bench):
    code, told, _ = run("evaluate", bench / "run", bench / "data", "--json")
    assert code == 0
    (figures,) = json.loads(told)["provenances"]
    assert figures["image"]["auroc"]["value"] == 1
    assert figures["pixels"]["average_precision"]["value"] > 0.3
    assert figures["unknown_kinds"][0]["kind"] == "scratch"
    ask = ("calibrate", bench / "run", bench / "data", "--out", bench / "decision.json")
    with pytest.raises(GateError, match="n = 20 healthy parts, needs 59 without any"):
        run(*ask, "--max-false-reject", 0.05)
    assert run(*ask, "--max-false-reject", 0.15)[0] == 0
    assert len(load_decision(bench / "decision.json").calibration.healthy_scores) == 20
    made = ("--decision", bench / "decision.json", "--out", bench / "recipe", "--engine", "openvino", "--threads", 1)
    assert run("export", bench / "run", bench / "data", *made)[0] == 0
    assert "40 training images (40 real): 0 defective" in (bench / "recipe" / "MODEL_CARD.md").read_text()
    (bench / "new").mkdir()
    for i in range(4):
        (bench / "new" / f"{i}.png").write_bytes(encode_png(plate(500 + i, i == 3)))
    code, told, _ = run("inspect", bench / "recipe", bench / "new", "--out", bench / "inspected", "--threads", 1)
    assert code == 1
    assert told.startswith("NG")
    rows = [json.loads(line) for line in (bench / "inspected" / "verdicts.jsonl").read_text().splitlines()]
    assert rows[3]["status"] == "NG"
    assert rows[3]["p_value"] == pytest.approx(1 / 21)
    assert min(row["p_value"] for row in rows[:3]) > 1 / 21
    assert (bench / "inspected" / rows[3]["overlay"]).is_file()
    wide = Inspector(bench / "recipe").inspect(plate(1, shape=(64, 400)))
    assert wide.status == "REVIEW"
    assert wide.p_value is None


def test_healthy_parts_alone_are_enough(tmp_path):
    plates(tmp_path / "data", healthy=80, scratched=0)
    method = ("--method", "gaussian", "--size", 64, *QUICK)
    assert run("train", "anomaly", tmp_path / "data", "--out", tmp_path / "run", *method)[0] == 0
    ask = ("--out", tmp_path / "decision.json", "--max-false-reject", 0.15)
    assert run("calibrate", tmp_path / "run", tmp_path / "data", *ask)[0] == 0
    assert run("evaluate", tmp_path / "run", tmp_path / "data", "--decision", tmp_path / "decision.json")[0] == 0
    model = load_model(tmp_path / "run")
    assert model.spec.shape == (64, 96)
    assert model.spec.scale == pytest.approx(2 / 3)
    made = ("--decision", tmp_path / "decision.json", "--out", tmp_path / "recipe", "--engine", "onnxruntime")
    assert run("export", tmp_path / "run", tmp_path / "data", *made)[0] == 0
    inspector = Inspector(tmp_path / "recipe", threads=1)
    assert inspector.inspect(plate(900, True)).status == "NG"
    assert inspector.inspect(plate(900, shape=(64, 128))).status == "REVIEW"


def test_images_are_taken_in_and_out(bench, tmp_path):
    data = plates(bench / "more", healthy=90, scratched=0)
    gone = data.split("train").column("id")[0]
    code, told, _ = run(
        "train",
        "anomaly",
        bench / "more",
        "--from",
        bench / "run",
        "--remove",
        gone,
        "--out",
        tmp_path / "run",
        "--json",
    )
    assert code == 0
    assert json.loads(told)["healthy"] == 45
    before, after = load_model(bench / "run"), load_model(tmp_path / "run")
    assert gone in before.images_
    assert gone not in after.images_
    assert after.unit_ == before.unit_


def test_options_that_contradict_each_other_are_refused(bench, tmp_path):
    ask = ("train", "anomaly", bench / "data", "--out", tmp_path / "run")
    with pytest.raises(ConfigError, match="name it with --from"):
        run(*ask, "--remove", "good/000")
    with pytest.raises(ConfigError, match="leave --config, --set and the others out"):
        run(*ask, "--from", bench / "run", "--size", 64)
    with pytest.raises(ConfigError, match="method: Input should be 'memory'"):
        run(*ask, "--method", "magic")
    with pytest.raises(ConfigError, match="is not empty"):
        run("train", "anomaly", bench / "data", "--out", bench / "run")
    assert not (tmp_path / "run").exists()


def test_a_data_set_without_healthy_images_leaves_nothing_behind(tmp_path):
    plates(tmp_path / "data", healthy=0, scratched=8)
    with pytest.raises(DataError, match="0 healthy images of 4"):
        run("train", "anomaly", tmp_path / "data", "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_decision_of_another_bank_is_refused(bench, tmp_path):
    model = load_model(bench / "run")
    model.remove([next(iter(model.images_))])
    model.save(tmp_path)
    ask = ("--decision", bench / "decision.json", "--out", tmp_path / "recipe", "--engine", "onnxruntime")
    if not (bench / "decision.json").exists():
        out = ("--out", bench / "decision.json", "--max-false-reject", 0.15)
        run("calibrate", bench / "run", bench / "data", *out)
    with pytest.raises(ConfigError, match="calibrated for another model"):
        run("export", tmp_path, bench / "data", *ask)
