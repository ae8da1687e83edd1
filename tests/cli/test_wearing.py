"""Wear all the way: trained from masks, evaluated, and a cutter head's photographs measured into one report."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from flawsmith.cli import app
from flawsmith.core.defect import Defect
from flawsmith.core.errors import ConfigError, DataError
from flawsmith.core.image import encode_png
from flawsmith.core.sample import Sample
from flawsmith.core.spec import ModelSpec
from flawsmith.dataset.manifest import DatasetInfo
from flawsmith.dataset.write import write_dataset
from flawsmith.model.segment import Normalisation, Segmenter, SegmentSettings, build
from flawsmith.model.wear.learn import WearRun

PIXEL_MM = 0.02
EDGE_Y, LEFT, RIGHT, SIDE = 40, 30, 100, 128
NAMES = r"(?P<insert>T\d+)_p(?P<pass>\d+)"
STRICT = ("--set", "survey.measure.edge.straight=0.6")  # by default a disc of some tens of pixels has an edge
SPLITS = ("train", "train", "train", "train", "val", "test", "test")


def mask_of(depth: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[EDGE_Y : EDGE_Y + depth, LEFT:RIGHT] = True
    return mask


def picture(depth: int, seed: int) -> np.ndarray:
    """A smooth background above a rough insert, on which a bright land of `depth` px lies along the edge."""
    rng = np.random.default_rng([seed, depth])
    image = np.full((SIDE, SIDE), 60.0)
    image[EDGE_Y:] = rng.uniform(90, 140, (SIDE - EDGE_Y, SIDE))
    worn = mask_of(depth)
    image[worn] = rng.uniform(225, 255, int(worn.sum()))
    return image.astype(np.uint8)


def samples(pixel_mm: float | None = PIXEL_MM) -> list[Sample]:
    """Seven inserts of four passes each; the land of each is its number and twice the passes deep, and 4 px more."""
    made = []
    for insert, split in enumerate(SPLITS):
        for passes in (1, 2, 3, 4):
            depth = 4 + insert + 2 * passes
            made.append(
                Sample(
                    f"T{insert}-{passes}",
                    picture(depth, insert),
                    False,
                    "wear",
                    (Defect.from_mask("wear", mask_of(depth)),),
                    {"part": f"T{insert}"},
                    split,
                    pixel_mm=pixel_mm,
                )
            )
    return made


def bright_segmenter(kinds: tuple[str, ...] = ("wear",)) -> Segmenter:
    """A network that was never trained: its weights hand the intensity on, and say wear above 180."""
    settings = SegmentSettings.model_validate({"net": {"filters": 4, "depth": 2, "downscale": 1, "channels": 1}})
    model = Segmenter(settings)
    model.spec = ModelSpec(kinds=kinds, channels=1, bit_depth=8, stride=2, margin=8, sides=(SIDE, SIDE))
    model.norm_ = Normalisation((0.0,), (100.0,))
    model.trained_on_ = np.zeros(0, np.int64)
    model.net_ = build(settings.net, model.spec, model.norm_, weights=False)
    with torch.no_grad():
        for module in model.net_.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.zero_()
                middle = module.kernel_size[0] // 2
                module.weight[:, 0, middle, middle] = 20.0 if middle == 0 else 1.0
                if module.bias is not None:
                    module.bias.fill_(-20 * 1.8)
    model.net_.eval()
    return model


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("wear")
    write_dataset(root / "data", samples(), DatasetInfo(name="inserts", licence="CC0-1.0"))
    (root / "seg").mkdir()
    bright_segmenter().save(root / "seg")
    code, _, said = run(
        "train", "wear", root / "data", "--out", root / "run", "--segmenter", root / "seg", "--limit-mm", 0.2
    )
    assert code == 0, said
    (root / "photos").mkdir()
    for insert in (1, 2):
        for passes in range(1, 6):
            depth = 4 + passes * (insert + 1)
            (root / "photos" / f"head_T{insert}_p{passes}.png").write_bytes(encode_png(picture(depth, passes)))
    return root


def test_training_keeps_all_that_measuring_needs(workshop: Path, tmp_path: Path) -> None:
    kept = WearRun.load(workshop / "run")
    assert (kept.facts.kind, kept.facts.unit, kept.facts.vb_from) == ("wear", "mm", "mask")
    assert (kept.facts.level_by, kept.facts.level_at) == ("limit", 0.2)
    assert (kept.facts.regions, kept.facts.groups) == (20, 5)  # train and val, never test
    assert kept.segmenter is not None
    assert kept.model.error_.vb_mae is not None
    assert kept.model.error_.vb_mae_of_mean is not None
    assert kept.model.error_.vb_mae < 0.5 * kept.model.error_.vb_mae_of_mean
    truth = [PIXEL_MM * (4 + insert + 2 * passes) for insert in range(5) for passes in (1, 2, 3, 4)]
    assert kept.facts.vb_mean == pytest.approx(np.mean(truth), abs=0.25 * PIXEL_MM)
    assert (workshop / "run" / "settings.yaml").is_file()
    with pytest.raises(ConfigError, match="not empty"):
        run("train", "wear", workshop / "data", "--out", workshop / "run")
    again = ("train", "wear", workshop / "data", "--out", tmp_path / "again", "--json")
    code, stdout, _ = run(*again)
    assert code == 0
    assert json.loads(stdout)["level_by"] == "quantile"


def test_the_evaluation_is_of_unseen_inserts(workshop: Path, tmp_path: Path) -> None:
    code, stdout, _ = run("evaluate", workshop / "run", workshop / "data", "--out", tmp_path / "report", "--json")
    assert code == 0
    told = json.loads(stdout)
    assert told["images"] == 8
    errors = [abs(row["estimated"] - row["vb"]) for row in told["rows"]]
    assert told["mae"]["value"] == pytest.approx(np.mean(errors))
    assert told["mae"]["value"] < 0.5 * told["mae_of_mean"]["value"]
    assert told["found"]["k"] == told["found"]["n"] == 8
    assert abs(told["agreement"]["bias"]) < 0.5 * PIXEL_MM
    assert {row["id"]: row["level"] for row in told["rows"]}["T6-4"] == "worn"
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.count("<svg") == 2
    assert "Largest errors" in page
    with pytest.raises(DataError, match="trained on"):
        run("evaluate", workshop / "run", workshop / "data", "--split", "val", "--out", tmp_path / "seen")
    with pytest.raises(ConfigError, match="--decision means nothing to a wear run"):
        run("evaluate", workshop / "run", workshop / "data", "--decision", "x.json", "--out", tmp_path / "x")


def test_a_head_is_measured_forecast_and_remembered(workshop: Path, tmp_path: Path) -> None:
    given = ("inspect", workshop / "run", workshop / "photos", "--pixel-mm", PIXEL_MM, "--names", NAMES)
    history = ("--history", tmp_path / "history.csv", "--limit-mm", 0.5)
    code, stdout, said = run(*given, *history, "--out", tmp_path / "report", "--json")
    assert code == 0, said
    told = {row["insert"]: row for row in json.loads(stdout)["inserts"]}
    for insert, rate in (("T1", 2), ("T2", 3)):
        assert told[insert]["vb_mean_mm"] == pytest.approx(PIXEL_MM * (4 + 5 * rate), abs=0.5 * PIXEL_MM)
        assert told[insert]["limit_at"] == pytest.approx((0.5 / PIXEL_MM - 4) / rate, abs=0.5)
        assert told[insert]["estimated_level"] == "worn"
        assert told[insert]["over"] is False
    lines = (tmp_path / "history.csv").read_text().splitlines()
    assert lines[0] == "insert,pass,vb_mm"
    assert len(lines) == 11
    page = (tmp_path / "report" / "wear.html").read_text()
    assert "Insert T2 is the first" in page
    assert page.count("<svg") == 2
    # the same photographs again change nothing
    assert run(*given, *history, "--out", tmp_path / "report", "--overwrite")[0] == 0
    assert (tmp_path / "history.csv").read_text().splitlines() == lines
    # tomorrow's photograph goes on from what was remembered, and the other insert stays on the page
    tomorrow = tmp_path / "tomorrow"
    tomorrow.mkdir()
    (tomorrow / "T2_p6.png").write_bytes(encode_png(picture(25, 6)))
    code, stdout, _ = run(
        "inspect", workshop / "run", tomorrow, "--pixel-mm", PIXEL_MM, "--names", NAMES, *history,
        "--out", tmp_path / "second",
    )  # fmt: skip
    assert code == 1  # 25 px are 0.5 mm: at the limit
    assert "now" in stdout
    assert "T1" in stdout
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 12


def test_a_table_names_what_file_names_do_not(workshop: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, depth in (("a", 6), ("b", 9)):
        (photos / f"{name}.png").write_bytes(encode_png(picture(depth, 1)))
    (tmp_path / "names.csv").write_text("file,insert,pass\na.png,left,1\nb.png,left,2\n")
    given = ("inspect", workshop / "run", photos, "--pixel-mm", PIXEL_MM)
    code, stdout, _ = run(*given, "--table", tmp_path / "names.csv", "--out", tmp_path / "out", "--json")
    assert code == 0
    (row,) = json.loads(stdout)["inserts"]
    assert (row["insert"], row["passes"]) == ("left", 2)
    assert "2 readings" in row["reason"]
    (tmp_path / "names.csv").write_text("file,insert,pass\na.png,left,1\n")
    with pytest.raises(DataError, match=r"no line for 'b.png'"):
        run(*given, "--table", tmp_path / "names.csv", "--out", tmp_path / "x")
    (tmp_path / "names.csv").write_text("file,insert,pass\na.png,left,1\nb.png,left,1\n")
    with pytest.raises(DataError, match=r"a.png and b.png both show insert 'left' after pass 1"):
        run(*given, "--table", tmp_path / "names.csv", "--out", tmp_path / "x")


def test_an_edge_is_given_by_hand(workshop: Path, tmp_path: Path) -> None:
    photo = workshop / "photos" / "head_T1_p5.png"
    given = ("inspect", workshop / "run", photo, "--pixel-mm", PIXEL_MM, "--json")
    _, stdout, _ = run(*given, "--edge", f"0,{EDGE_Y - 3.5},128,{EDGE_Y - 3.5}", "--out", tmp_path / "line")
    (by_line,) = json.loads(stdout)["inserts"]
    assert by_line["vb_mean_mm"] == pytest.approx(PIXEL_MM * 17, abs=0.3 * PIXEL_MM)  # 14 px, and 3 px gone
    _, stdout, _ = run(*given, "--edge", "top", "--out", tmp_path / "side")
    (by_side,) = json.loads(stdout)["inserts"]
    assert by_side["vb_mean_mm"] == pytest.approx(PIXEL_MM * 14, abs=0.3 * PIXEL_MM)
    with pytest.raises(ConfigError, match="wanted top, bottom, left, right or x0,y0,x1,y1"):
        run(*given, "--edge", "above", "--out", tmp_path / "x")


def test_an_insert_without_visible_wear_is_told_and_never_passed(workshop: Path, tmp_path: Path) -> None:
    plain = np.full((SIDE, SIDE), 60, np.uint8)
    (tmp_path / "T9_p1.png").write_bytes(encode_png(plain))
    code, stdout, said = run(
        "inspect", workshop / "run", tmp_path / "T9_p1.png", "--names", NAMES, "--pixel-mm", PIXEL_MM,
        "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    assert code == 1
    assert "T9_p1.png is left out" in said
    assert json.loads(stdout)["inserts"][0]["vb_mean_mm"] is None


def test_an_older_photograph_never_stands_for_the_newest(workshop: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "T9_p1.png").write_bytes(encode_png(picture(8, 1)))
    (photos / "T9_p2.png").write_bytes(b"no image")
    given = ("inspect", workshop / "run", photos, "--names", NAMES, "--pixel-mm", PIXEL_MM, "--json")
    code, stdout, _ = run(*given, "--history", tmp_path / "h.csv", "--out", tmp_path / "out")
    assert code == 1
    told = json.loads(stdout)
    assert list(told["left_out"]) == ["T9_p2.png"]
    assert told["inserts"][0]["vb_mean_mm"] is None
    assert told["inserts"][0]["passes"] == 1
    assert (tmp_path / "h.csv").read_text().splitlines()[1:] == ["T9,1,0.16000"]


def test_what_inspect_cannot_do_is_said(workshop: Path, tmp_path: Path) -> None:
    given = ("inspect", workshop / "run", workshop / "photos", "--out", tmp_path / "x")
    with pytest.raises(ConfigError, match="--history is in mm: say with --pixel-mm"):
        run(*given, "--history", tmp_path / "h.csv", "--names", NAMES)
    with pytest.raises(ConfigError, match="--limit-mm is in mm"):
        run(*given, "--limit-mm", 0.3)
    with pytest.raises(ConfigError, match="learnt in mm"):
        run(*given)
    with pytest.raises(ConfigError, match="no photograph names one"):
        run(*given, "--history", tmp_path / "h.csv", "--pixel-mm", PIXEL_MM)
    with pytest.raises(DataError, match=r"both show insert 'T1' without a pass"):
        run(*given, "--names", r"(?P<insert>T\d+)", "--pixel-mm", PIXEL_MM)
    with pytest.raises(ConfigError, match="no regular expression"):
        run(*given, "--names", "(")
    with pytest.raises(ConfigError, match="has no group"):
        run(*given, "--names", r"T\d+")
    with pytest.raises(DataError, match="finds no insert in"):
        run(*given, "--names", r"(?P<insert>X\d+)")
    with pytest.raises(ConfigError, match="--engine means nothing to a wear run"):
        run(*given, "--engine", "openvino")
    with pytest.raises(ConfigError, match="--names means nothing to a recipe"):
        run("inspect", workshop / "seg", workshop / "photos", "--out", tmp_path / "x", "--names", NAMES)
    (tmp_path / "h.csv").write_text("insert,pass,vb_mm\nT1,1,0.1\nT1,2,deep\n")
    with pytest.raises(DataError, match=r"h.csv, line 3: vb_mm is 'deep'"):
        run(*given, "--history", tmp_path / "h.csv", "--names", NAMES, "--pixel-mm", PIXEL_MM)
    (tmp_path / "h.csv").write_text("insert,pass,vb_mm\nT1,1,0.9\n")
    with pytest.raises(DataError, match=r"line 2: pass 1 of insert 'T1' is 0.9 mm, now"):
        run(*given, "--history", tmp_path / "h.csv", "--names", NAMES, "--pixel-mm", PIXEL_MM)
    assert (tmp_path / "h.csv").read_text() == "insert,pass,vb_mm\nT1,1,0.9\n"


def test_a_run_without_segmenter_measures_no_photographs(workshop: Path, tmp_path: Path) -> None:
    assert run("train", "wear", workshop / "data", "--out", tmp_path / "run")[0] == 0
    code, stdout, _ = run("evaluate", tmp_path / "run", workshop / "data", "--json")
    assert code == 0
    assert json.loads(stdout)["agreement"] is None
    with pytest.raises(ConfigError, match="no segmenter"):
        run("inspect", tmp_path / "run", workshop / "photos", "--out", tmp_path / "x", "--pixel-mm", PIXEL_MM)


def train(data: Path, made: list[Sample], *options: object, classes: tuple[str, ...] = ()) -> tuple[int, str, str]:
    write_dataset(data, made, DatasetInfo(name="inserts", licence="CC0-1.0", classes=classes), overwrite=True)
    return run("train", "wear", data, "--out", data.with_name("run"), "--overwrite", *options)


def changed(old: Sample, defects: tuple[Defect, ...], healthy: bool = False) -> Sample:
    return Sample(old.id, old.pixels, healthy, "good" if healthy else "wear", defects, old.groups, old.split)


def test_what_cannot_be_learnt_is_said(workshop: Path, tmp_path: Path) -> None:
    plain = samples(None)
    data = tmp_path / "data"
    with pytest.raises(DataError, match="no defect kinds"):
        train(data, [changed(s, (), True) for s in plain])
    with pytest.raises(DataError, match=r"none of 20 images.*no 'wear' is drawn as a mask"):
        train(data, [changed(s, (Defect("wear", s.defects[0].box),)) for s in plain])
    y, x = np.mgrid[:SIDE, :SIDE] - 64
    disc = (Defect.from_mask("wear", y**2 + x**2 < 900),)
    with pytest.raises(DataError, match=r"none of 20 images.*no side of the wear region is straight"):
        train(data, [changed(s, disc) for s in plain], *STRICT)
    with pytest.raises(ConfigError, match=r"--limit-mm 0.3 needs the pixel's size"):
        train(data, plain, "--limit-mm", 0.3)
    with pytest.raises(DataError, match=r"all 20 regions are 'not worn'"):
        train(data, samples(), "--limit-mm", 5)
    with pytest.raises(DataError, match="have no pixel_mm"):
        train(data, samples()[:8] + samples(None)[8:])
    with pytest.raises(ConfigError, match=r"say which is wear with --kind"):
        train(data, plain, classes=("crack", "wear"))
    with pytest.raises(ConfigError, match=r"kind 'wearr'.*Did you mean 'wear'"):
        train(data, plain, "--kind", "wearr")
    with pytest.raises(DataError, match=r"2 inserts do not fill 5 folds"):
        train(data, [s for s in plain if s.groups["part"] in ("T0", "T1")])
    with pytest.raises(DataError, match="is a run of train wear: only evaluate and inspect"):
        train(data, plain, "--segmenter", workshop / "run")
    (tmp_path / "other").mkdir()
    bright_segmenter(("crack", "dent")).save(tmp_path / "other")
    with pytest.raises(ConfigError, match="the segmenter has no kind 'wear'"):
        train(data, plain, "--segmenter", tmp_path / "other")
    assert not (tmp_path / "run").exists()


def test_one_region_that_cannot_be_measured_is_told_and_left_out(tmp_path: Path) -> None:
    y, x = np.mgrid[:SIDE, :SIDE] - 64
    made = samples(None)
    made[3] = changed(made[3], (Defect.from_mask("wear", y**2 + x**2 < 900),))
    code, stdout, said = train(tmp_path / "data", made, "--json", *STRICT)
    assert code == 0
    assert json.loads(stdout)["regions"] == 19
    assert json.loads(stdout)["unit"] == "px"
    assert f"{made[3].id} is left out: no side" in said


def test_undrawn_wear_is_learnt_in_the_segmented_region(workshop: Path, tmp_path: Path) -> None:
    made = samples()
    made[0] = Sample("T0-1", made[0].pixels, False, "wear", (), made[0].groups, "train", pixel_mm=PIXEL_MM)
    code, stdout, _ = train(tmp_path / "data", made, "--json", "--segmenter", workshop / "seg")
    assert code == 0
    told = json.loads(stdout)
    assert (told["regions"], told["segmented"], told["left_out"]) == (20, 1, {})


def test_vb_of_the_manifest_comes_first(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_dataset(data, samples(), DatasetInfo(name="inserts", licence="CC0-1.0"))
    table = pq.read_table(data / "manifest.parquet")
    by_hand = [1.0 + 0.1 * i for i in range(len(table))]
    pq.write_table(table.append_column("vb_mm", pa.array(by_hand)), data / "manifest.parquet")
    assert run("train", "wear", data, "--out", tmp_path / "run")[0] == 0
    facts = WearRun.load(tmp_path / "run").facts
    assert facts.vb_from == "manifest"
    assert facts.vb_mean == pytest.approx(np.mean(by_hand[:20]))
    holed = pa.array([None, *by_hand[1:]], pa.float64())
    pq.write_table(table.append_column("vb_mm", holed), data / "manifest.parquet")
    with pytest.raises(DataError, match="vb_mm of T0-1 is None"):
        run("train", "wear", data, "--out", tmp_path / "other")


def test_a_damaged_run_is_named(workshop: Path, tmp_path: Path) -> None:
    (tmp_path / "wear_run.json").write_text('{"facts": {}}')
    with pytest.raises(DataError, match=r"wear_run.json is damaged"):
        run("evaluate", tmp_path, workshop / "data")
