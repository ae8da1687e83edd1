"""`flawsmith generate` as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flawsmith.cli import app
from flawsmith.core.errors import ConfigError
from flawsmith.core.image import decode
from flawsmith.synth.generate import run
from flawsmith.synth.generate.job import Outcome

SCENE = """
parts: [{name: sheet, plate_mm: [50, 50, 1], material: sheet}]
stage: {preset: sheet, size_mm: [80, 80], surface: sheet, body: sheet, floor: sheet}
cameras: {line: {field_mm: 40, resolution_px: [48, 48]}}
materials: {sheet: {finish: plastic}}
defects: [{kind: rust, diameter_mm: 8, where: {normal: {max_deg: 20}}}]
healthy: 0.5
"""
runner = CliRunner()


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    path = tmp_path / "scene.yaml"
    path.write_text(SCENE)
    return path


def called(*arguments: object, code: int = 0) -> str:
    done = runner.invoke(app, ["generate", *map(str, arguments), "--renderer", "relief"], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.stdout


def test_a_run_reports_and_can_be_read(scene: Path, tmp_path: Path) -> None:
    report = json.loads(
        called(scene, "--out", tmp_path / "data", "--count", 2, "--labels", "depth, instance", "--json")
    )
    assert report["images"] == 2
    assert report["classes"] == ["rust"]
    assert report["quarantined"] == {}
    assert len(list((tmp_path / "data" / "depth").iterdir())) == 2
    done = runner.invoke(app, ["dataset", "check", str(tmp_path / "data")])
    assert done.exit_code == 0, done.output


def test_a_dry_run_says_what_it_would_cost_and_writes_nothing(scene: Path, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    report = json.loads(called(scene, "--out", tmp_path / "data", "--count", 1000, "--dry-run", "--json"))
    assert report["images"] == 1000
    assert report["seconds"] > 1
    assert report["bytes"] > 1000 * 500
    assert set(tmp_path.iterdir()) == before


def test_a_preview_is_a_picture_beside_the_folder(scene: Path, tmp_path: Path) -> None:
    called(scene, "--out", tmp_path / "data", "--preview")
    sheet = decode(tmp_path / "data.preview.png")
    assert sheet.shape[2] == 3
    assert not (tmp_path / "data").exists()


def test_items_that_were_given_up_end_it_with_1(scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = run.supervise

    def one_lost(site, indices, workers, limits):
        yield from real(site, [i for i in indices if i != 1], workers, limits)
        yield Outcome(1, error="took longer than 600 s (3 tries)")

    monkeypatch.setattr(run, "supervise", one_lost)
    report = json.loads(called(scene, "--out", tmp_path / "data", "--count", 2, "--json", code=1))
    assert report["images"] == 1
    assert report["quarantined"] == {"1": "took longer than 600 s (3 tries)"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--engine", "dask"], "Known: local, ray"),
        (["--resume", "--overwrite"], "choose one"),
        (["--labels", "flow"], "Known: depth, instance, normal"),
        (["--set", "healty=0.5"], "Did you mean 'healthy'?"),
        (["--set", "healthy=2"], "healthy"),
    ],
)
def test_a_mistake_is_named(scene: Path, tmp_path: Path, arguments: list[str], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        called(scene, "--out", tmp_path / "data", *arguments)
    assert words in str(error.value)


def test_a_missing_scene_and_an_unknown_renderer_end_with_2(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("flawsmith")
    for options in (["--renderer", "povray"], []):
        command = [program, "generate", tmp_path / "none.yaml", "--out", tmp_path / "data", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "none.yaml" in done.stderr or "Known: cycles, mitsuba, relief" in done.stderr
        assert "Traceback" not in done.stderr
