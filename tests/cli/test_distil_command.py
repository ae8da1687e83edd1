"""`train classify --members`, `train ensemble` and `train distil` from the command line."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flawsmith.cli import app
from flawsmith.core.errors import ConfigError
from flawsmith.decide.rules import load_decision
from flawsmith.model.classify import Classifier
from flawsmith.model.ensemble import Ensemble
from flawsmith.model.models import load_model

sys.path.insert(0, str(Path(__file__).parents[1] / "model"))
from labelled_set import labelled

QUICK = ("--set", "views=1", "--set", "student.backbone.side=32", "--set", "student.train.steps=4")
SMALL = ("--backbone", "small-cnn", "--set", "backbone.side=32")


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("distil")
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
    labelled(root / "data", each=8)
    code, stdout, said = run(
        "train", "classify", root / "data", "--out", root / "both", "--members", 2, *SMALL, "--json"
    )
    assert code == 0, said
    assert json.loads(stdout)["classes"] == ["good", "spotted", "striped"]
    patch.undo()
    return root


def test_members_are_trained_evaluated_and_resumed_by_the_same_verbs(workshop: Path, tmp_path: Path) -> None:
    model = load_model(workshop / "both")
    assert isinstance(model, Ensemble)
    assert load_decision(workshop / "both" / "decision.json").kinds["faulty"].action == "reject"
    code, stdout, _ = run("evaluate", workshop / "both", workshop / "data", "--out", tmp_path / "report", "--json")
    assert code == 0
    assert json.loads(stdout)["dataset"]["model"] == model.identity()
    again = ("train", "classify", workshop / "data", "--out", workshop / "both", "--members", 2, *SMALL)
    with pytest.raises(ConfigError, match="not empty"):
        run(*again)
    with pytest.raises(ConfigError, match="finished model"):
        run(*again, "--resume")


def test_a_student_is_taught_and_held_against_its_teacher(workshop: Path) -> None:
    out = workshop / "student"
    given = ("train", "distil", workshop / "both" / "member-0", workshop / "data", "--out", out, *QUICK)
    code, stdout, said = run(*given, "--compare", "--json")
    assert code == 0, said
    assert f"next: flawsmith evaluate {out}" in said
    told = json.loads(stdout)
    assert told["steps"] == 4
    assert [one["name"] for one in told["compared"]] == ["teacher", "student"]
    assert told["compared"][1]["parameters"] < told["compared"][0]["parameters"]
    assert type(load_model(out)) is Classifier
    assert load_decision(out / "decision.json").kinds["unknown"].action == "review"
    assert "temperature: 4.0" in (out / "distil.yaml").read_text()
    with pytest.raises(ConfigError, match="not empty"):
        run(*given)
    first = load_model(out).identity()
    assert run(*given, "--overwrite", "--set", "hard_share=1")[0] == 0
    assert load_model(out).identity() != first


def test_itself_and_wrong_words(workshop: Path, tmp_path: Path) -> None:
    start = ("train", "distil", workshop / "both", workshop / "data", "--out")
    with pytest.raises(ConfigError, match="leave --student"):
        run(*start, tmp_path / "x", "--self", "--student", "small-cnn")
    with pytest.raises(ConfigError, match="leave --student"):
        run(*start, tmp_path / "x", "--self", "--set", "student.train.steps=4")
    with pytest.raises(ConfigError, match="teacher's own folder"):
        run(*start, workshop / "both", "--overwrite")
    with pytest.raises(ConfigError, match="no backbone 'small-cn'"):
        run(*start, tmp_path / "x", "--student", "small-cn")
    with pytest.raises(ConfigError, match="Did you mean 'temperature'"):
        run(*start, tmp_path / "x", "--set", "temperatur=2")


def test_runs_are_joined(workshop: Path, tmp_path: Path) -> None:
    member = workshop / "both" / "member-1"
    out = tmp_path / "joined"
    code, stdout, _ = run(
        "train", "ensemble", workshop / "both", member, "--out", out, "--dataset", workshop / "data", "--json"
    )
    assert code == 0
    assert json.loads(stdout)["members"] == 3
    model = load_model(out)
    assert isinstance(model, Ensemble)
    assert [one.identity() for one in model.members_[1:]] == [load_model(member).identity()] * 2
    with pytest.raises(ConfigError, match="2 members"):
        run("train", "ensemble", member, "--out", tmp_path / "alone")
    assert not (tmp_path / "alone").exists()
