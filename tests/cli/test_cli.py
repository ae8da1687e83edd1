"""The command line: fast help, exit codes, errors in one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flawsmith.cli import app

HEAVY = ("torch", "cv2", "numpy", "pyarrow", "matplotlib", "scipy", "sklearn", "onnxruntime", "openvino")
runner = CliRunner()


def flawsmith(*arguments: str | Path, **options) -> subprocess.CompletedProcess:
    """The installed program, as a user runs it."""
    program = Path(sys.executable).with_name("flawsmith")
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False, **options)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["dataset", "--help"], ["train", "segment", "--help"], ["export", "--help"]]
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; sys.argv = ['flawsmith', *sys.argv[1:]]\n"
        "from flawsmith.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "Usage" in done.stdout


def test_help_lists_the_path_in_its_order() -> None:
    text = flawsmith("--help").stdout
    verbs = ["demo", "dataset", "train", "evaluate", "calibrate", "export", "inspect", "doctor"]
    places = [text.index(f"\n  {verb} ") for verb in verbs]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["dataset", "info", "/nowhere"], 2, "/nowhere"),
        (["nonsense"], 2, "nonsense"),
        (["evaluate", "/nowhere", "/nowhere"], 2, "/nowhere"),
        (["inspect", "/nowhere", "/nowhere", "--out", "out"], 2, "/nowhere"),
        (["train", "segment", "/nowhere", "--out", "run", "--set", "train.stepz=3"], 2, "Did you mean 'steps'?"),
        (["train", "segment", "/nowhere", "--out", "run", "--set", "train.steps"], 2, "key=value"),
        (["train", "segment", "/nowhere", "--out", "run", "--config", "/none.yaml"], 2, "/none.yaml"),
    ],
)
def test_a_users_mistake_ends_in_one_line(arguments: list[str], code: int, words: str, tmp_path: Path) -> None:
    done = flawsmith(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not any(tmp_path.iterdir())


def test_version_is_the_packages() -> None:
    from flawsmith import __version__

    assert flawsmith("--version").stdout.strip() == __version__


def test_doctor_reports_as_json() -> None:
    done = runner.invoke(app, ["doctor", "--json"])
    found = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert done.exit_code == 0
    assert found["ONNX Runtime"]["state"] == "works"
    assert found["numpy"]["needed"]


def test_doctor_ends_with_3_when_a_needed_engine_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> str:
        raise RuntimeError("no good")

    monkeypatch.setattr("flawsmith.cli.doctor._onnxruntime", broken)
    done = runner.invoke(app, ["doctor"])
    assert done.exit_code == 3
    assert "no good" in done.stdout


def test_a_missing_package_is_named_with_what_installs_it() -> None:
    code = (
        "import sys; sys.modules['pyarrow'] = None; sys.argv = ['flawsmith', 'dataset', 'info', '.']\n"
        "from flawsmith.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "pip install 'flawsmith[train]'" in done.stderr
    assert "Traceback" not in done.stderr
