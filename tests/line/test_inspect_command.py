"""`flawsmith inspect` as a user runs it, on a machine without torch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from flawsmith.cli import app
from flawsmith.core.errors import ConfigError, DataError, EnvironmentFault, GateError
from flawsmith.core.image import encode_png
from flawsmith.line.engine import ENGINES
from flawsmith.line.golden import GoldenReport, GoldenResult
from tiny_recipe import tiny_image

BLOCKED = (
    "torch",
    "pyarrow",
    "scipy",
    "sklearn",
    "matplotlib",
    "onnx",
    "onnxscript",
    "nncf",
    "pycocotools",
    "safetensors",
)
# A station's Python: the workshop's packages cannot be imported, whoever asks.
STATION = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ImportError(f"{{name}} is not installed on the station")

sys.meta_path.insert(0, Blocker())
sys.argv = ["flawsmith", *sys.argv[1:]]
from flawsmith.cli import main
main()
"""


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    folder = tmp_path / "parts"
    folder.mkdir()
    for name, kind in {"a-ok": None, "b-bright": "bright", "c-ok": None}.items():
        (folder / f"{name}.png").write_bytes(encode_png(tiny_image(kind, 1)))
    return folder


def station(*arguments: object) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", STATION, *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, env=env)


@pytest.mark.parametrize("engine", [None, *ENGINES])
def test_runs_without_torch(exported: Path, parts: Path, tmp_path: Path, engine: str | None) -> None:
    chosen = ["--engine", engine] if engine else []
    done = station("inspect", exported, parts, "--out", tmp_path / "out", "--json", "--threads", 1, *chosen)
    assert done.returncode == 1, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["ok"], summary["ng"], summary["review"]) == (2, 1, 0)
    assert summary["engine"] == engine or engine is None
    assert "3 images: 2 OK, 1 NG, 0 REVIEW" in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_the_blocker_blocks() -> None:
    """Negative control: what needs torch does fail there."""
    done = station("train", "segment", "nowhere", "--out", "nowhere")
    assert "is not installed on the station" in done.stderr
    assert done.returncode != 0


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["inspect", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_all_ok_ends_with_0(exported: Path, parts: Path, tmp_path: Path) -> None:
    code, stdout, stderr = run(exported, parts / "a-ok.png", parts / "c-ok.png", "--out", tmp_path / "out")
    assert code == 0
    assert stdout == ""
    assert "2 images: 2 OK" in stderr


def test_ng_is_told_with_its_reason(exported: Path, parts: Path, tmp_path: Path) -> None:
    code, stdout, _ = run(exported, parts, "--out", tmp_path / "out")
    assert code == 1
    (line,) = stdout.splitlines()
    status, file, reason = line.split("\t")
    assert (status, file) == ("NG", str(parts / "b-bright.png"))
    assert reason.startswith("bright: ")


def test_review_alone_ends_with_1(exported: Path, parts: Path, tmp_path: Path) -> None:
    (parts / "a-ok.png").write_bytes(b"no image at all")
    code, stdout, _ = run(exported, parts / "a-ok.png", "--out", tmp_path / "out")
    assert code == 1
    assert "REVIEW" in stdout


def test_resume_counts_what_was_done(exported: Path, parts: Path, tmp_path: Path) -> None:
    run(exported, parts, "--out", tmp_path / "out", "--no-overlays")
    with pytest.raises(ConfigError, match="--resume"):
        run(exported, parts, "--out", tmp_path / "out")
    code, stdout, _ = run(exported, parts, "--out", tmp_path / "out", "--resume", "--json", "--no-overlays")
    assert code == 1
    assert json.loads(stdout)["ng"] == 1
    assert len((tmp_path / "out" / "verdicts.jsonl").read_text().splitlines()) == 3


def test_a_region_of_interest_of_ones_own(exported: Path, parts: Path, tmp_path: Path) -> None:
    roi = np.zeros((48, 56), np.uint8)
    roi[:, 40:] = 255
    (tmp_path / "roi.png").write_bytes(encode_png(roi))
    code, _, _ = run(exported, parts, "--out", tmp_path / "out", "--roi", tmp_path / "roi.png")
    assert code == 0


def test_an_edited_decision_is_told(recipe_folder: Path, parts: Path, tmp_path: Path) -> None:
    path = recipe_folder / "decision.json"
    path.write_text(path.read_text().replace("0.6", "0.65"))
    _, stdout, stderr = run(recipe_folder, parts, "--out", tmp_path / "out", "--json")
    assert "was edited after export" in stderr
    assert json.loads(stdout)["decision_edited"] is True


def test_mistakes_have_their_exit_codes(exported: Path, parts: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist") as missing:
        run(exported, tmp_path / "typo.png", "--out", tmp_path / "out")
    assert missing.value.exit_code == 2
    with pytest.raises(DataError, match="not a recipe"):
        run(parts, parts, "--out", tmp_path / "out")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EnvironmentFault) as blocked:
        run(exported, parts, "--out", tmp_path / "file" / "out")
    assert blocked.value.exit_code == 3
    assert not (tmp_path / "out").exists()


def test_an_engine_that_fails_its_golden_images_judges_nothing(
    exported: Path, parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = GoldenReport("openvino", (GoldenResult("part1", "NG", "OK", 0.8, 0.1, "the verdict is OK, expected NG"),))
    monkeypatch.setattr("flawsmith.line.golden.verify_golden", lambda *given: bad)
    with pytest.raises(GateError, match="part1: the verdict is OK") as refused:
        run(exported, parts, "--out", tmp_path / "out")
    assert refused.value.exit_code == 1
    assert not (tmp_path / "out").exists()
    assert run(exported, parts / "a-ok.png", "--out", tmp_path / "out", "--no-golden")[0] == 0
