"""`flawsmith part …` as a user runs it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trimesh

from flawsmith import cli
from flawsmith.core.image import decode

Outcome = tuple[int, str, str]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[..., Outcome]:
    """Run the command line in this process: exit code, stdout, stderr."""

    def run(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["flawsmith", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        shown = capsys.readouterr()
        return int(end.value.code or 0), shown.out, shown.err

    return run


@pytest.fixture
def box(tmp_path: Path) -> Path:
    path = tmp_path / "box.stl"
    trimesh.creation.box((20, 10, 5)).export(path)
    return path


def test_help_imports_nothing_heavy() -> None:
    heavy = ("numpy", "cv2", "trimesh", "scipy", "cascadio", "build123d")
    code = (
        "import sys; sys.argv = ['flawsmith', 'part', 'make', '--help']\nfrom flawsmith.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print([m for m in {heavy!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_info_reports_size_tree_poses_and_findings(box: Path, call: Callable) -> None:
    code, out, _ = call("part", "info", box, "--unit", "mm")
    assert code == 0
    for words in ("20 × 10 × 5 mm", "1000 mm³", "box  (12 triangles)", "stable poses", "2-fold", "errors: 0, notes: 0"):
        assert words in out


def test_info_as_json(box: Path, call: Callable) -> None:
    code, out, _ = call("part", "info", box, "--unit", "inch", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["extent_mm"] == pytest.approx([508, 254, 127])
    assert sum(pose["probability"] for pose in report["poses"]) == pytest.approx(1, abs=1e-5)
    assert report["components"][0]["watertight"]
    assert report["tree"] == {"box": 0}


def test_an_error_found_ends_with_1_and_names_the_remedy(box: Path, call: Callable) -> None:
    code, out, _ = call("part", "info", box, "--unit", "m")
    assert code == 1
    assert "error: large" in out
    assert "check the unit" in out


def test_a_sheet_is_reported_without_poses(tmp_path: Path, call: Callable) -> None:
    trimesh.Trimesh([[0, 0, 0], [9, 0, 0], [0, 9, 0]], [[0, 1, 2]]).export(tmp_path / "sheet.stl")
    code, out, _ = call("part", "info", tmp_path / "sheet.stl", "--unit", "mm", "--json")
    assert code == 1
    assert json.loads(out)["poses"] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (lambda box: ["info", box], "--unit um|mm"),
        (lambda box: ["info", box, "--unit", "mmm"], "Did you mean 'mm'"),
        (lambda box: ["info", box.parent / "none.step"], "does not exist"),
        (lambda box: ["info", box, "--unit", "mm", "--tolerance-mm", "0"], "0.0001 to 100"),
        (lambda box: ["info", box, "--unit", "mm", "--triangles", "3"], "--triangles"),
        (lambda box: ["view", box, "--unit", "mm"], "--html"),
        (lambda box: ["make", "hex-screw"], "--list"),
        (lambda box: ["make", "hex-screw", "M6x20", "--out", box], ".step"),
        (lambda box: ["make", "washr", "M6", "--out", box.parent / "w.step"], "Did you mean 'washer'"),
    ],
)
def test_a_users_mistake_ends_in_one_line(arguments: Callable, words: str, box: Path, call: Callable) -> None:
    code, _, err = call("part", *arguments(box))
    assert code == 2
    assert words in err
    assert err.count("\n") == 1
    assert {path.name for path in box.parent.iterdir()} == {"box.stl"}


def test_view_writes_a_picture_and_a_page(box: Path, call: Callable) -> None:
    png, page = box.parent / "box.png", box.parent / "box.html"
    shown = ("--out", png, "--html", page, "--columns", "3", "--rows", "1", "--cell-px", "48")
    code, out, err = call("part", "view", box, "--unit", "mm", *shown)
    assert (code, out) == (0, "")
    assert "wrote" in err
    assert decode(png).shape == (48, 144, 3)
    assert page.read_text().startswith("<!doctype html>")


def test_make_writes_step_that_info_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "washer.step"
    assert call("part", "make", "washer", "M6", "--out", out)[0] == 0
    code, told, _ = call("part", "info", out, "--json")
    assert code == 0
    assert json.loads(told)["extent_mm"] == pytest.approx([12, 12, 1.8], abs=0.01)
    code, _, err = call("part", "make", "washer", "M6", "--out", out)
    assert code == 2
    assert "--overwrite" in err
    assert call("part", "make", "washer", "M6", "--out", out, "--overwrite")[0] == 0


def test_make_lists_kinds_and_sizes(call: Callable) -> None:
    assert "hex-screw" in call("part", "make", "--list")[1]
    assert json.loads(call("part", "make", "--list", "--json")[1])["washer"]["example"] == "M6"
    assert "M6-1" in call("part", "make", "hex-nut", "--list")[1].splitlines()


def test_the_assembly_is_listed_as_a_tree(real_data: Callable[[str], Path], call: Callable) -> None:
    path = real_data("cad-parts") / "from_repos" / "cax_as1-oc-214_plate_rod_nuts_bolts.stp"
    code, out, _ = call("part", "info", path)
    assert code == 0
    assert "\n    rod-assembly_1\n      nut_1  (" in out
