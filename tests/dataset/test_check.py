"""Every fault that is planted is found under its own name, and a sound data set passes."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from made_sets import blobs, box, changed, imagined, made, parts, spot, surface

from flawsmith.core.errors import ConfigError
from flawsmith.core.image import decode, encode_png
from flawsmith.core.sample import Sample
from flawsmith.dataset.check import CheckReport, check_dataset
from flawsmith.dataset.convert import import_dataset
from flawsmith.dataset.findings import KNOWN, LISTED, Finding
from flawsmith.dataset.manifest import SCHEMA, Dataset
from flawsmith.dataset.split import SplitRule, plan_split, save_split


def sound(folder: Path) -> Dataset:
    """60 images of 60 parts, half of them defective, in splits: nothing to find."""
    dataset = made(folder, parts(60, each=1))
    return save_split(dataset, plan_split(dataset, SplitRule()))


def codes(report: CheckReport) -> set[str]:
    return {finding.code for finding in report.findings}


def only(report: CheckReport, code: str) -> Finding:
    (found,) = (finding for finding in report.findings if finding.code == code)
    return found


def test_a_sound_data_set_passes(tmp_path):
    for pixels in (True, False):
        report = check_dataset(sound(tmp_path / f"set{pixels}"), pixels=pixels)
        assert report.findings == ()
        assert report.as_json()["passed"] is True
        assert report.images == 60


# What is changed in row 3 (a scratch), and what must be found: (code, seen).
ROWS: dict[str, tuple[dict, str, str]] = {
    "NaN as label": ({"label": "NaN"}, "no-label", "images/p03/003.png: NaN"),
    "empty label": ({"label": "  "}, "no-label", "003.png"),
    "no label": ({"label": None}, "no-label", "003.png: None"),
    "unknown health": ({"healthy": None}, "no-label", "003.png"),
    "healthy and marked": ({"healthy": True}, "healthy-with-defects", "003.png"),
    "good but defective": ({"label": "good"}, "label-against-health", "003.png: good"),
    "no region": ({"defects": [], "masks": []}, "no-region", "003.png"),
    "box outside": ({"defects": [box(x1=61)], "masks": []}, "bad-box", "003.png: 'dent' box (1, 2, 61, 12)"),
    "box left of 0": ({"defects": [box(x0=-1)], "masks": []}, "bad-box", "box (-1, 2"),
    "box inverted": ({"defects": [box(y0=12, y1=2)], "masks": []}, "bad-box", "box (1, 12, 11, 2)"),
    "area above the box": ({"defects": [box(area=101)], "masks": []}, "bad-area", "area 101"),
    "area 0": ({"defects": [box(area=0)], "masks": []}, "bad-area", "area 0"),
    "layer without file": ({"defects": [box(layer=0)], "masks": []}, "bad-area", "layer 0"),
    "unknown kind": ({"defects": [box("crack")], "masks": []}, "unknown-kind", "'crack'"),
    "kind missing": ({"defects": [box(None)], "masks": []}, "unknown-kind", "None"),
    "tiny": ({"defects": [box(x1=3, y1=4, area=4)], "masks": []}, "tiny-region", "area 4"),
    "same id": ({"id": "P00/000"}, "same-id", "003.png"),
    "same file": ({"file_name": "images/p00/000.png"}, "same-id", "000.png"),
    "absolute path": ({"file_name": "/etc/passwd"}, "outside-path", "/etc/passwd"),
    "path upwards": ({"file_name": "images/../../x.png"}, "outside-path", "x.png"),
    "no size": ({"width": None}, "incomplete-row", "003.png"),
    "no hash": ({"sha256": None}, "incomplete-row", "003.png"),
    "unknown split": ({"split": "holdout"}, "unknown-split", "003.png: holdout"),
    "no split": ({"split": None}, "unsplit", "003.png"),
    "other depth": ({"bit_depth": 16}, "mixed-depth", "16: 1 images"),
    "other channels": ({"channels": 3}, "mixed-channels", "3: 1 images"),
    "other scale": ({"pixel_mm": 0.5}, "mixed-scale", "0.5: 1 images"),
}


FOLLOWING = {"few-images", "imbalance", "class-not-in-split"}  # a class with one image is one of these as well


@pytest.mark.parametrize("fault", ROWS)
def test_faults_of_a_row_are_found(tmp_path, fault):
    values, code, seen = ROWS[fault]
    report = check_dataset(changed(sound(tmp_path / "set"), 3, **values), pixels=False)
    found = only(report, code)
    assert any(seen in where for where in found.where)
    assert report.errors == (found.severity == "error")
    assert codes(report) - {code} <= FOLLOWING


def overwrite(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    path.write_bytes(encode_png(change(decode(path))))


def repaint(old: int, new: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda layer: np.where(layer == old, new, layer).astype(np.uint8)


IMAGE, MASK = "images/p03/003.png", "masks/p03/003.png"
FILES: dict[str, tuple[Callable[[Path], object], dict[str, str]]] = {
    "image missing": (lambda root: (root / IMAGE).unlink(), {"unreadable-image": "No such file"}),
    "image cut": (
        lambda root: (root / IMAGE).write_bytes((root / IMAGE).read_bytes()[:-100]),
        {"unreadable-image": "003.png: truncated or damaged"},
    ),
    "image is text": (lambda root: (root / IMAGE).write_text("hello"), {"unreadable-image": "not a PNG, JPEG"}),
    "another image": (lambda root: overwrite(root / IMAGE, lambda p: 255 - p), {"changed-image": IMAGE}),
    "another size": (
        lambda root: overwrite(root / IMAGE, lambda p: p[:30]),
        {"changed-image": IMAGE, "image-shape": "height 30, manifest 40"},
    ),
    "another depth": (
        lambda root: overwrite(root / IMAGE, lambda p: p.astype(np.uint16)),
        {"changed-image": IMAGE, "image-shape": "bit_depth 16, manifest 8"},
    ),
    "mask missing": (lambda root: (root / MASK).unlink(), {"unreadable-mask": "No such file"}),
    "mask cut": (
        lambda root: (root / MASK).write_bytes((root / MASK).read_bytes()[:-5]),
        {"unreadable-mask": "003.png: truncated or damaged"},
    ),
    "mask of another size": (
        lambda root: overwrite(root / MASK, lambda p: p[:, 5:]),
        {"changed-mask": "003.png", "mask-size": "(40, 55), its image (40, 60)"},
    ),
    "mask empty": (
        lambda root: overwrite(root / MASK, repaint(1, 0)),
        {"changed-mask": "003.png", "empty-mask": "defect 1 'scratch'"},
    ),
    "value without a defect": (
        lambda root: overwrite(root / MASK, lambda p: np.where(np.arange(60) > 57, 7, p).astype(np.uint8)),
        {"changed-mask": "003.png", "stray-mask-value": "003.png: values 7"},
    ),
    "mask outside its box": (
        lambda root: overwrite(root / MASK, lambda p: np.roll(p, 2, axis=1)),
        {"changed-mask": "003.png", "mask-against-box": "defect 1 'scratch': 25 pixels, 15 in its box, area 25"},
    ),
}


@pytest.mark.parametrize("fault", FILES)
def test_faults_of_files_are_found(tmp_path, fault):
    spoil, wanted = FILES[fault]
    dataset = sound(tmp_path / "set")
    spoil(dataset.root)
    report = check_dataset(dataset)
    assert codes(report) == set(wanted)
    for code, seen in wanted.items():
        found = only(report, code)
        assert found.count == 1
        assert found.where[0].startswith(MASK if "mask" in code else IMAGE)
        assert seen in found.where[0]
    assert check_dataset(dataset, pixels=False).findings == ()


def test_a_blank_image_is_a_note(tmp_path):
    samples = [*parts(60, each=1), Sample("blank", np.full((40, 60), 7, np.uint8), healthy=True)]
    report = check_dataset(made(tmp_path / "set", samples))
    assert only(report, "blank").where == ("images/blank.png: all 7",)
    assert report.errors == 0


def test_an_edited_manifest_is_found(tmp_path):
    dataset = sound(tmp_path / "set")
    rows = dataset.table.to_pylist()
    for column, wanted in (("source", set()), ("provenance", {"content-hash"})):
        rows[0][column] = "render"
        edited = Dataset(dataset.root, dataset.info, pa.Table.from_pylist(rows, schema=SCHEMA))
        assert codes(check_dataset(edited, pixels=False)) == wanted


def many(count: int = 60, **first: object) -> list[dict]:
    """Rows of sound splits; `first` changes the first one."""
    rows = [
        {
            "part": str(i),
            "split": ("train", "val", "test")[i % 3],
            "label": "dent" if i % 2 else "good",
            "defects": [box()] if i % 2 else [],
        }
        for i in range(count)
    ]
    rows[0] |= first
    return rows


def manifest_codes(rows: list[dict]) -> dict[str, Finding]:
    return {finding.code: finding for finding in check_dataset(imagined(rows, ("dent",)), pixels=False).findings}


def test_copies_are_judged_by_split_and_label():
    assert manifest_codes(many()) == {}
    found = manifest_codes(many(sha256=f"{3:064x}", split="train", label="dent", healthy=False, defects=[box()]))
    assert list(found) == ["duplicate"]
    assert found["duplicate"].where == ("images/0.png (train, dent) = images/3.png (train, dent)",)
    found = manifest_codes(many(sha256=f"{4:064x}", split="train"))
    assert list(found) == ["duplicate-across-splits"]
    assert set(manifest_codes(many(sha256=f"{3:064x}"))) == {"duplicate-contradiction"}
    assert set(manifest_codes(many(sha256=f"{6:064x}", split=None))) == {"duplicate", "unsplit"}


def test_near_hashes_are_notes_without_pixels():
    rows = many()
    hashes = imagined(rows).column("dhash")
    assert list(manifest_codes(many(dhash=hashes[3] ^ 0b1011))) == ["near-hash"]
    assert list(manifest_codes(many(dhash=hashes[4] ^ 0b1011))) == ["near-hash-across-splits"]
    assert manifest_codes(many(dhash=hashes[3] ^ 0b11011_1)) == {}
    report = check_dataset(imagined(many(dhash=hashes[3] ^ 0b110111), ("dent",)), near=6, pixels=False)
    assert codes(report) == {"near-hash"}


def test_too_many_look_alikes_are_said():
    rng = np.random.default_rng(0)
    rows = [{"split": "train", "dhash": int(value) << 20} for value in rng.permutation(2**12)[:3000]]
    assert "near-cut" in manifest_codes(rows)


def test_near_duplicates_count_only_when_pixels_agree(tmp_path):
    ramp = np.linspace(0, 250, 200).astype(np.uint8)[None].repeat(150, 0)
    noisy = [
        np.clip(ramp + np.random.default_rng(i).normal(0, 4, ramp.shape), 0, 255).astype(np.uint8) for i in range(2)
    ]
    pictures = [blobs(0), (blobs(0) * 0.9).astype(np.uint8), *noisy]
    for splits, wanted in ((("train", "test"), "near-across-splits"), (("val", "val"), "near-duplicate")):
        samples = [Sample(f"{i}", p, True, split=splits[i % 2]) for i, p in enumerate(pictures)]
        report = check_dataset(made(tmp_path / splits[0], samples))
        assert codes(report) - {"few-images"} == {wanted}
        assert only(report, wanted).where == (f"images/0.png ({splits[0]}, good) = images/1.png ({splits[1]}, good)",)
        assert bool(report.errors) == (wanted == "near-across-splits")


def test_groups_across_splits():
    found = manifest_codes(many(part="5"))
    assert list(found) == ["group-across-splits"]
    assert found["group-across-splits"].where == ("part 5: train, test",)
    found = manifest_codes([row | {"camera": "left"} for row in many()])
    assert list(found) == ["coarse-group-across-splits"]
    assert found["coarse-group-across-splits"].where == ("camera left: train, val, test",)


def test_balance():
    found = manifest_codes(
        [
            row | ({"label": "dent", "defects": [box()]} if i < 3 else {"label": "good", "defects": []})
            for i, row in enumerate(many(90))
        ]
    )
    assert set(found) == {"few-images", "imbalance"}
    assert found["few-images"].where == ("dent: 3",)
    assert found["imbalance"].where == ("dent: 3 of 87",)
    lopsided = [row | {"label": "good", "defects": []} if row["split"] == "val" else row for row in many()]
    assert manifest_codes(lopsided)["class-not-in-split"].where == ("dent: val",)
    assert set(manifest_codes([row for row in many() if row["label"] == "dent"])) == {"no-healthy"}


def test_an_empty_data_set():
    assert set(manifest_codes([])) == {"empty"}


def test_every_known_finding_is_tested():
    tested = Path(__file__).read_text()  # "outlier" needs a model: see tests/model/anomaly/test_outliers.py
    assert [code for code in KNOWN if f'"{code}"' not in tested] == []


def test_a_finding_lists_a_thousand_and_counts_all():
    found = manifest_codes([{"label": "", "split": "train"} for _ in range(LISTED + 50)])["no-label"]
    assert (len(found.where), found.count) == (LISTED, LISTED + 50)


@pytest.mark.parametrize("near", [-1, 9])
def test_a_wrong_distance_is_named(near):
    with pytest.raises(ConfigError, match=f"--near {near}: wanted 0 to 8 differing bits"):
        check_dataset(imagined(many()), near)


def test_the_command_lists_files_meaning_and_remedy(tmp_path, command):
    dataset = sound(tmp_path / "set")
    (dataset.root / IMAGE).unlink()
    code, out, _ = command("dataset", "check", dataset.root)
    assert code == 1
    assert "error: unreadable-image (1): the image is missing, damaged or of a kind that is not read" in out
    assert "do: restore the file, or import again" in out
    assert f"{IMAGE}: No such file or directory" in out
    assert "errors: 1, notes: 0; every file was read" in out


def test_the_command_passes_on_notes_and_speaks_json(tmp_path, command):
    samples = [Sample(f"{i}", surface(i), healthy=False, label="dent", defects=(spot(),)) for i in range(12)]
    made(tmp_path / "set", samples)
    code, out, err = command("dataset", "check", tmp_path / "set", "--no-pixels", "--json")
    report = json.loads(out)
    assert (code, err) == (0, "")
    assert report["passed"] is True
    assert {f["code"]: f["severity"] for f in report["findings"]} == {"no-healthy": "note", "unsplit": "note"}
    assert report["summary"]["total"]["kinds"] == {"dent": 12}
    assert report["pixels_read"] is False


def test_the_command_needs_a_data_set(tmp_path, command):
    code, out, err = command("dataset", "check", tmp_path)
    assert (code, out) == (2, "")
    assert "is not a flawsmith data set" in err


def test_info_counts_what_is_there(tmp_path, command):
    dataset = sound(tmp_path / "set")
    code, out, _ = command("dataset", "info", dataset.root, "--json")
    summary = json.loads(out)
    assert code == 0
    assert summary["images"] == summary["total"]["images"] == 60
    assert list(summary["splits"]) == ["train", "val", "test"]
    assert sum(part["images"] for part in summary["splits"].values()) == 60
    assert summary["total"]["labels"] == {"good": 30, "dent": 15, "scratch": 15}
    assert summary["defect_sizes"]["dent"]["10-99 px"] == 15
    assert summary["image_sizes"] == {"60x40": 60}
    assert summary["groups"] == {"part": 60}
    assert summary["pixel_mm"] == {"unknown": 60}
    assert summary["content_hash"] == dataset.content_hash
    code, out, _ = command("dataset", "info", dataset.root)
    assert code == 0
    assert "size 60x40" in out
    assert dataset.content_hash[:16] in out


@pytest.mark.parametrize("name", ["kolektor-sdd", "deeppcb"])
def test_real_imports_pass(tmp_path, real_data, name):
    import_dataset(real_data(name), tmp_path / "set")
    dataset = Dataset.open(tmp_path / "set")
    report = check_dataset(save_split(dataset, plan_split(dataset, SplitRule())))
    assert report.errors == 0, [(f.code, f.where[:3]) for f in report.findings]
