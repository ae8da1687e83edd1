"""A classifier all the way: trained, evaluated, calibrated, exported behind the gate, on the line."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from flawsmith.cli import app
from flawsmith.core.errors import ConfigError, DataError
from flawsmith.core.image import encode_png
from flawsmith.core.prediction import Prediction
from flawsmith.core.sample import Sample
from flawsmith.core.spec import ModelSpec
from flawsmith.dataset.manifest import DatasetInfo
from flawsmith.dataset.write import write_dataset
from flawsmith.decide.classes import first_decision
from flawsmith.decide.rules import decide, load_decision, save_decision
from flawsmith.line.inspector import Inspector
from flawsmith.line.overlay import draw_overlay

CLASSES = ("good", "spotted", "striped")
QUICK = ("--backbone", "small-cnn", "--set", "backbone.side=32")


def picture(label: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, len(label)])
    image = 120 + rng.normal(0, 6, (48, 48))
    if label == "striped":
        image += 70 * (np.arange(48) // 4 % 2)[:, None]
    if label == "spotted":
        y, x = rng.integers(10, 38, 2)
        rows, columns = np.mgrid[:48, :48]
        image[(rows - y) ** 2 + (columns - x) ** 2 < 64] = 10
    return np.clip(image, 0, 255).astype(np.uint8)


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("classes")
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
    samples = [
        Sample(f"{name}/{i:02}", picture(name, i), name == "good", name, split=("train", "val", "test", "train")[i % 4])
        for name in CLASSES
        for i in range(24)
    ]
    write_dataset(root / "data", samples, DatasetInfo(name="squares", licence="CC0-1.0"))
    assert run("train", "classify", root / "data", "--out", root / "run", *QUICK)[0] == 0
    costs = ("--cost", 100, 1, "--prevalence", 0.1)
    assert run("calibrate", root / "run", root / "data", "--out", root / "decision.json", *costs)[0] == 0
    code, _, said = run(
        "export", root / "run", root / "data", "--decision", root / "decision.json", "--out", root / "recipe"
    )
    assert code == 0, said
    patch.undo()
    return root


def test_training_leaves_a_decision_to_begin_with(workshop: Path) -> None:
    rules = load_decision(workshop / "run" / "decision.json")
    assert {kind: rule.action for kind, rule in rules.kinds.items()} == {
        "good": "ignore",
        "spotted": "reject",
        "striped": "reject",
        "faulty": "reject",
        "unknown": "review",
    }
    assert rules.origin == "hand"


def test_the_report_tells_classes(workshop: Path, tmp_path: Path) -> None:
    code, stdout, _ = run("evaluate", workshop / "run", workshop / "data", "--out", tmp_path / "report", "--json")
    assert code == 0
    told = json.loads(stdout)
    assert told["classes"] == list(CLASSES)
    assert told["provenances"][0]["balanced_accuracy"]["value"] > 0.8
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Confusion matrix" in page


def test_escapes_may_be_those_of_a_decision(workshop: Path, tmp_path: Path) -> None:
    def passing(*options: object) -> dict:
        code, stdout, _ = run("evaluate", workshop / "run", workshop / "data", *options, "--json")
        assert code == 0
        return json.loads(stdout)

    told = passing("--decision", workshop / "decision.json", "--out", tmp_path / "calibrated")
    assert "faulty ≥" in told["rule"]
    assert "not passed: " in (tmp_path / "calibrated" / "report.html").read_text()
    rules = load_decision(workshop / "decision.json")
    all_bad = rules.model_copy(
        update={
            "kinds": {
                k: r.model_copy(update={"threshold": 0.0, "review_threshold": None}) if k == "unknown" else r
                for k, r in rules.kinds.items()
            }
        }
    )
    save_decision(tmp_path / "all.json", all_bad)
    strict = passing("--decision", tmp_path / "all.json", "--out", tmp_path / "strict")["provenances"][0]["passing"]
    assert strict["escapes"]["k"] == 0, "the control: what passes nothing lets nothing escape"
    healthy = strict["false_rejects"]["k"] + strict["unknown_healthy"]["k"]
    assert healthy == strict["false_rejects"]["n"] == 6
    plain = passing("--out", tmp_path / "plain")
    assert plain["rule"] is None
    assert plain["provenances"][0]["passing"]["false_rejects"]["k"] < 6


def test_a_mistake_leaves_no_run_folder_in_the_way(workshop: Path, tmp_path: Path) -> None:
    given = ("train", "classify", workshop / "data", "--out", tmp_path / "run", *QUICK)
    with pytest.raises(ConfigError, match="Did you mean 'spotted'"):
        run(*given, "--set", "classes=[good, spoted]")
    assert not (tmp_path / "run").exists()
    assert run(*given)[0] == 0
    with pytest.raises(ConfigError, match="holds a finished model"):
        run(*given, "--set", "classes=[good, spoted]", "--resume")
    assert (tmp_path / "run" / "model.safetensors").exists(), "the control: what was learnt is never thrown away"


def test_images_of_a_part_get_one_verdict(workshop: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name, label in (("1_a", "good"), ("1_b", "good"), ("2_a", "good"), ("2_b", "striped"), ("3_a", "good")):
        (folder / f"{name}.png").write_bytes(encode_png(picture(label, 3)))
    given = ("inspect", workshop / "recipe", folder, "--together", r"(?P<part>\d)_")
    code, stdout, said = run(*given, "--views", 2, "--out", tmp_path / "out")
    assert code == 1
    parts = {part["part"]: part for part in json.loads((tmp_path / "out" / "parts.json").read_text())}
    assert {name: part["status"] for name, part in parts.items()} == {"1": "OK", "2": "NG", "3": "REVIEW"}
    assert parts["2"]["decided_by"].endswith("2_b.png")
    assert parts["2"]["class"] == "striped"
    assert "3 parts: 1 OK, 1 NG, 1 REVIEW" in said
    assert stdout.count("\n") == 2
    with pytest.raises(ConfigError, match="--together"):
        run("inspect", workshop / "recipe", folder, "--views", 2, "--out", tmp_path / "no")
    (folder / "left.png").write_bytes(encode_png(picture("good", 4)))
    with pytest.raises(DataError, match="finds no part"):
        run(*given, "--out", tmp_path / "unnamed")
    assert not (tmp_path / "unnamed").exists(), "what cannot be joined is said before anything is inspected"
    (lone,) = [name for name, part in parts.items() if "1 of 2 views" in part["reasons"]]
    assert lone == "3"


def test_the_calibrated_decision_lets_good_parts_be_good(workshop: Path) -> None:
    rules = load_decision(workshop / "decision.json")
    assert rules.origin == "calibrate"
    assert rules.kinds["good"].action == "ignore"
    assert rules.default is not None
    assert 0 < rules.default.threshold < 1


def test_the_line_names_the_class(workshop: Path, tmp_path: Path) -> None:
    inspector = Inspector(workshop / "recipe")
    good, bad = (inspector.inspect(picture(name, 77)) for name in ("good", "striped"))
    assert good.status == "OK"
    assert bad.status == "NG"
    assert good.seen is not None
    assert bad.seen is not None
    assert (good.seen[0], bad.seen[0]) == ("good", "striped")
    assert any(reason.startswith("faulty: probability") for reason in bad.reasons)
    assert bad.defects == ()
    assert draw_overlay(bad, inspector.recipe.info.spec.kinds).ndim == 3
    (tmp_path / "part.png").write_bytes(encode_png(picture("striped", 78)))
    code, _, _ = run("inspect", workshop / "recipe", tmp_path / "part.png", "--out", tmp_path / "out")
    assert code == 1
    line = json.loads((tmp_path / "out" / "verdicts.jsonl").read_text())
    assert line["class"] == "striped"
    assert line["probability"] > 0.5
    card = (workshop / "recipe" / "MODEL_CARD.md").read_text()
    assert "Tells good, spotted, striped apart" in card


def test_a_black_frame_is_never_good(workshop: Path) -> None:
    assert Inspector(workshop / "recipe").inspect(np.zeros((48, 48), np.uint8)).status != "OK"


def test_a_decision_that_rejects_good_parts_for_being_good_is_refused(workshop: Path, tmp_path: Path) -> None:
    rules = load_decision(workshop / "run" / "decision.json")
    broken = rules.model_copy(update={"kinds": {**rules.kinds, "good": rules.kinds["faulty"]}})
    save_decision(tmp_path / "broken.json", broken)
    given = ("export", workshop / "run", workshop / "data", "--decision", tmp_path / "broken.json")
    with pytest.raises(ConfigError, match="class of good parts"):
        run(*given, "--out", tmp_path / "recipe")
    assert not (tmp_path / "recipe").exists()


def test_shots_are_tried_and_no_model_is_kept(workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    given = ("train", "classify", workshop / "data", *QUICK)
    with pytest.raises(ConfigError, match="--out is missing"):
        run(*given)
    code, stdout, _ = run(*given, "--shots", 3, "--repeats", 4, "--json")
    assert code == 0
    assert json.loads(stdout)["mix"] == ["images:3"]


def test_sorting_has_nothing_to_calibrate_but_sends_strangers_to_review(workshop: Path, tmp_path: Path) -> None:
    spec = ModelSpec(task="classify", kinds=("bolt", "screw", "unknown"), side=32)
    rules = first_decision(spec)
    assert {kind: rule.action for kind, rule in rules.kinds.items()} == {
        "bolt": "ignore",
        "screw": "ignore",
        "unknown": "review",
    }

    def verdict(*planes: float) -> str:
        maps = np.array(planes, np.float32)[:, None, None]
        return decide(Prediction(spec.kinds, maps, 0.0), rules).status

    assert verdict(0.9, 0.1, 0.2) == "OK"
    assert verdict(0.9, 0.1, 0.7) == "REVIEW"
    with pytest.raises(ValueError, match="has a side"):
        ModelSpec(task="classify", kinds=("a", "unknown"))
    with pytest.raises(ValueError, match="not among the kinds"):
        ModelSpec(kinds=("a",), healthy=("b",))
