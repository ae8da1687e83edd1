"""A recipe is written whole, proven, or not at all."""

import errno
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from flawsmith.core.defect import Defect
from flawsmith.core.errors import ConfigError, DataError, EnvironmentFault, GateError
from flawsmith.core.sample import Sample
from flawsmith.decide.rules import Decision, RegionRule
from flawsmith.deploy import export as export_module
from flawsmith.deploy.card import Story
from flawsmith.deploy.export import Export, ExportSettings, export_recipe
from flawsmith.deploy.onnx_graph import export_onnx
from flawsmith.line.engine import ENGINES, INT8_FILES
from flawsmith.line.golden import read_golden
from flawsmith.line.inspector import Inspector
from flawsmith.line.recipe import open_recipe
from tiny_recipe import DECISION, shifted_net, tiny_export, tiny_image, tiny_net, tiny_samples, tiny_spec

once = cache(export_onnx)


@pytest.fixture(autouse=True)
def _export_each_network_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch takes seconds for it, and the same module gives the same bytes (see test_onnx_graph)."""
    monkeypatch.setattr(export_module, "export_onnx", once)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Export:
    story = Story(("Six spots.",), "0 of 4 would escape", (("AUROC | image", "1.000", "0.9 to 1"),), ("Only spots.",))
    return tiny_export(tmp_path_factory.mktemp("export") / "recipe", story=story)


def quick(out: Path, samples: list[Sample] | None = None, **changes: object) -> Export:
    """With ONNX Runtime alone, which is fast."""
    values: dict = {"name": "tiny", "engines": ("onnxruntime",), "threads": 1, **changes}
    held_out = tiny_samples() if samples is None else samples
    settings = ExportSettings(**values)
    return export_recipe(tiny_net(), tiny_spec(), DECISION, out, held_out, tiny_samples(), settings)


def test_holds_every_engine_and_all_papers(done: Export) -> None:
    recipe = done.recipe
    assert set(recipe.info.engines) == set(ENGINES)
    assert set(done.engines) == set(ENGINES)
    files = {p.relative_to(recipe.folder).as_posix() for p in recipe.folder.rglob("*") if p.is_file()}
    papers = {"recipe.json", "decision.json", "parity.json", "MODEL_CARD.md", "golden/golden.json", "model.onnx"}
    assert papers <= files
    assert "golden/0.npz" in files
    assert not [name for name in files if name.endswith((".pt", ".pth", ".pkl", ".data"))]
    assert recipe.decision == DECISION
    assert json.loads((recipe.folder / "parity.json").read_text())["images"] == 6
    assert [entry.status for entry in read_golden(recipe).images] == ["NG", "NG", "OK", "OK"]


def test_the_card_tells_what_was_given(done: Export) -> None:
    card = (done.recipe.folder / "MODEL_CARD.md").read_text()
    for told in (
        "# tiny",
        "Finds bright, dark in grey images of 8 bits. A pixel is 0.1 mm on the part.",
        "Data set 'spots'",
        "Six spots.",
        "0 of 4 would escape",
        "| AUROC \\| image | 1.000 | 0.9 to 1 |",
        "| dark | 0.6 | 0.4 | 4 px | 0 | reject |",
        "all 6 held-out images (4 NG, 2 OK)",
        "- Only spots.",
    ):
        assert told in card


def test_a_card_without_figures_says_so(tmp_path: Path) -> None:
    quick(tmp_path / "r")
    assert "Nothing was given at export" in (tmp_path / "r" / "MODEL_CARD.md").read_text()


def test_a_flip_of_onnx_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: the exporter writes another network."""
    net = shifted_net(-9)
    monkeypatch.setattr(export_module, "export_onnx", lambda module, spec: export_onnx(net, spec))
    with pytest.raises(GateError, match="verdicts flip") as refused:
        quick(tmp_path / "recipe")
    assert refused.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_that_is_there_survives_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = quick(tmp_path / "recipe").recipe.digest
    with pytest.raises(ConfigError, match="--overwrite"):
        quick(tmp_path / "recipe")
    with pytest.raises(DataError):
        quick(tmp_path / "recipe", [], overwrite=True)
    assert open_recipe(tmp_path / "recipe").digest == before
    quick(tmp_path / "recipe", overwrite=True, name="second")
    assert open_recipe(tmp_path / "recipe").info.name == "second"


def test_int8_that_flips_falls_back(tmp_path: Path) -> None:
    """Negative control: it is calibrated on healthy parts alone, and clips the bright ones."""
    healthy = tiny_samples(defective=False)
    settings = ExportSettings(name="tiny", threads=1)
    done = export_recipe(tiny_net(), tiny_spec(), DECISION, tmp_path / "r", tiny_samples(), healthy, settings)
    assert "openvino-int8" not in done.engines
    assert "part1 turns from NG to OK" in done.parity.left_out["openvino-int8"]
    assert not (tmp_path / "r" / INT8_FILES[0]).exists()
    assert "openvino-int8 was left out: 2 of 6 verdicts flip" in (tmp_path / "r" / "MODEL_CARD.md").read_text()
    with pytest.raises(GateError, match="parity"):
        Inspector(tmp_path / "r", "openvino-int8")
    assert Inspector(tmp_path / "r").engine == done.engines[0]


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: Path, *given: object) -> list[str]:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(export_module, "write_golden", full)
    with pytest.raises(EnvironmentFault, match="the disk is full"):
        quick(tmp_path / "recipe")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("patch", "name", "reason"),
    [
        ("openvino_installed", "openvino", "openvino is not installed"),
        ("nncf_installed", "openvino-int8", "nncf is not installed"),
        ("computes_bf16", "openvino-bf16", "no bf16 arithmetic"),
    ],
)
def test_what_is_not_installed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patch: str, name: str, reason: str
) -> None:
    monkeypatch.setattr(export_module, patch, lambda: False)
    done = quick(tmp_path / "r", engines=("onnxruntime", name))
    assert done.engines == ("onnxruntime",)
    assert reason in done.parity.left_out[name]


def test_sixteen_bits_have_no_bf16(tmp_path: Path) -> None:
    done = tiny_export(tmp_path / "r", bit_depth=16)
    assert "bf16 keeps 8 bits" in done.parity.left_out["openvino-bf16"]
    assert set(done.engines) == {"onnxruntime", "openvino", "openvino-int8"}
    assert Inspector(tmp_path / "r").inspect(tiny_image("dark", 9, bit_depth=16)).status == "NG"


def test_colour_has_every_engine(tmp_path: Path) -> None:
    done = tiny_export(tmp_path / "r", channels=3)
    assert set(done.engines) == set(ENGINES)


def test_a_region_of_interest_travels_along(tmp_path: Path) -> None:
    roi = np.zeros((48, 56), bool)
    roi[:, :40] = True
    recipe = quick(tmp_path / "r", roi=roi).recipe
    assert recipe.roi is not None
    assert np.array_equal(recipe.roi, roi)
    assert "roi.png" in recipe.info.files
    assert Inspector(recipe).inspect(tiny_image("bright")).status == "NG"
    moved = np.roll(tiny_image("bright"), 21, axis=1)
    assert Inspector(recipe).inspect(moved).status == "OK"


def test_golden_images_are_cut_to_a_megapixel(tmp_path: Path) -> None:
    large = np.full((1040, 1030), 128, np.uint8)
    large[1020:1032, 1010:1022] = 255
    sample = Sample("large", large, False, "bright", (Defect("bright", (1010, 1020, 1022, 1032)),))
    recipe = quick(tmp_path / "r", [sample]).recipe
    (entry,) = read_golden(recipe).images
    assert entry.box == (30, 40, 1030, 1040)
    assert entry.status == "NG"
    parity = json.loads((tmp_path / "r" / "parity.json").read_text())
    assert [row["id"] for row in parity["engines"]["onnxruntime"]["images"]] == ["large", "large (golden)"]


def test_a_decision_that_does_not_fit_the_model_is_refused(tmp_path: Path) -> None:
    decision = Decision(kinds={"bright": RegionRule(threshold=0.5)})
    with pytest.raises(ConfigError, match="no rule for"):
        export_recipe(tiny_net(), tiny_spec(), decision, tmp_path / "r", tiny_samples(), [], ExportSettings("tiny"))
    with pytest.raises(ConfigError, match="Did you mean"):
        quick(tmp_path / "r", engines=("onxruntime",))
    assert list(tmp_path.iterdir()) == []
