"""A defect among the healthy images is named; where there is none, nothing is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from healthy_set import BOX, plates, quick
from typer.testing import CliRunner

from flawsmith.cli import app
from flawsmith.core.errors import DataError
from flawsmith.core.geometry import box_iou
from flawsmith.core.sample import Sample
from flawsmith.dataset.manifest import Dataset, DatasetInfo
from flawsmith.dataset.write import write_dataset
from flawsmith.model.anomaly.outliers import deviations, find_outliers


def mislabelled(folder: Path, bad: int) -> Dataset:
    """Plates all called healthy, `bad` of them scratched: bright, dark, …"""
    source = plates(folder / "source", healthy=30, scratched=bad)
    samples = (replace(s, healthy=True, label="good", defects=(), pixels=flaw(s)) for s in source)
    return write_dataset(folder / "data", samples, DatasetInfo(name="plates", licence="CC0-1.0"))


def flaw(sample: Sample) -> np.ndarray:
    """Every other scratch is dark: the same flaw twice is no outlier."""
    image = sample.image()
    if sample.id == "bad/001":
        x0, y0, x1, y1 = BOX
        image[y0:y1, x0:x1] = 20
    return image


def test_two_scratched_plates_among_healthy_ones_are_named_with_the_place(tmp_path: Path):
    data, seen = mislabelled(tmp_path, 2), []
    found = find_outliers(data, quick(), seen.append)
    names = dict(zip(data.column("id"), data.column("file_name"), strict=True))
    assert {one.file_name for one in found} == {names["bad/000"], names["bad/001"]}
    assert all(box_iou(one.box, BOX) > 0.2 for one in found)
    assert seen[-1] == len(data)


def test_healthy_plates_alone_are_no_outliers(tmp_path: Path):
    assert find_outliers(mislabelled(tmp_path, 0), quick()) == []


def test_a_handful_of_images_is_refused(tmp_path: Path):
    few = plates(tmp_path / "few", healthy=6, scratched=0)
    with pytest.raises(DataError, match="6 healthy images"):
        find_outliers(few, quick())


def test_deviations_are_robust_and_equal_images_have_none():
    rng = np.random.default_rng(0)
    usual = np.exp(rng.normal(0, 0.3, 200))
    far = deviations(np.append(usual, [20.0, 25.0]))
    assert (far[-2:] > 5).all()
    assert (far[:-2] < 5).all()
    assert np.std(far[:-2]) == pytest.approx(1, abs=0.15)
    assert (deviations(np.ones(20)) == 0).all()
    assert (deviations(np.zeros(20)) == 0).all()


def test_check_names_them_as_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from flawsmith.model.anomaly import outliers

    monkeypatch.setattr(outliers, "AnomalySettings", lambda **_: quick())
    data = mislabelled(tmp_path, 2)
    plain = CliRunner().invoke(app, ["dataset", "check", str(data.root)], catch_exceptions=False)
    asked = CliRunner().invoke(app, ["dataset", "check", str(data.root), "--outliers"], catch_exceptions=False)
    assert "outlier" not in plain.stdout
    assert "outlier (2)" in asked.stdout
    names = dict(zip(data.column("id"), data.column("file_name"), strict=True))
    assert names["bad/000"] in asked.stdout
    assert asked.exit_code == plain.exit_code
