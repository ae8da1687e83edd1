"""Data sets joined into one keep every pixel, mask and label, and parts of two sets never become one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_sets import made, parts

from flawsmith.core.errors import ConfigError, DataError
from flawsmith.dataset.check import check_dataset
from flawsmith.dataset.join import join_datasets
from flawsmith.dataset.manifest import Dataset
from flawsmith.dataset.mix import Share, drawn, mixed, parse_mix


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    photographs = parts(8)
    renders = [replace(s, provenance="render", pixels=255 - s.image()) for s in parts(12)]  # type: ignore[operator]
    made(tmp_path / "photos", photographs, pixel_mm=0.5, licence="mine")
    made(tmp_path / "renders", renders, licence="ours")
    return tmp_path / "photos", tmp_path / "renders"


def test_everything_comes_over(two: tuple[Path, Path], tmp_path: Path) -> None:
    report = join_datasets(two, tmp_path / "both")
    both = Dataset.open(tmp_path / "both")
    assert report.images == len(both) == 40
    assert report.provenances == {"real": 16, "render": 24}
    assert both.info.licence == "mine; ours"
    old = {f"{folder.name}/{s.id}": s for folder in two for s in Dataset.open(folder)}
    for sample in both:
        was = old[sample.id]
        np.testing.assert_array_equal(sample.image(), was.image())
        assert (sample.label, sample.healthy, sample.provenance) == (was.label, was.healthy, was.provenance)
        assert [(d.kind, d.box) for d in sample.defects] == [(d.kind, d.box) for d in was.defects]
        for now, before in zip(sample.defects, was.defects, strict=True):
            np.testing.assert_array_equal(now.mask, before.mask)
        assert sample.pixel_mm == (0.5 if was.provenance == "real" else None)
    assert not check_dataset(both).errors


def test_part_seven_of_one_set_is_not_part_seven_of_another(two: tuple[Path, Path], tmp_path: Path) -> None:
    join_datasets(two, tmp_path / "both")
    assert len(set(Dataset.open(tmp_path / "both").column("part"))) == 8 + 12


def test_images_may_be_called_after_their_folder(two: tuple[Path, Path], tmp_path: Path) -> None:
    healthy = [tmp_path / "bolt", tmp_path / "screw"]
    for folder in healthy:
        made(folder, [s for s in parts(6) if s.healthy])
    report = join_datasets(healthy, tmp_path / "classes", label="folder")
    assert report.labels == {"bolt": 6, "screw": 6}
    assert report.twice == 6
    with pytest.raises(DataError, match="'photos' would mean 8 healthy and 8 faulty"):
        join_datasets(two, tmp_path / "no", label="folder")
    assert not (tmp_path / "no").exists()


def test_what_cannot_be_joined_is_refused_and_nothing_is_left(two: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two data sets or more"):
        join_datasets(two[:1], tmp_path / "out")
    made(tmp_path / "deeper" / "photos", parts(2))
    with pytest.raises(ConfigError, match="of one name"):
        join_datasets([two[0], tmp_path / "deeper" / "photos"], tmp_path / "out")
    (two[1] / Dataset.open(two[1]).column("file_name")[3]).unlink()
    with pytest.raises(DataError, match="is missing"):
        join_datasets(two, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_mix_draws_so_many_of_each_class_by_provenance(two: tuple[Path, Path], tmp_path: Path) -> None:
    join_datasets(two, tmp_path / "both")
    both = Dataset.open(tmp_path / "both")
    few = mixed(both, parse_mix("real:2,render:all"), seed=3)
    real = few.where(np.array(few.column("provenance")) == "real")
    assert {name: real.column("label").count(name) for name in both.info.labels} == dict.fromkeys(both.info.labels, 2)
    assert len(few) - len(real) == 24
    assert len(set(real.column("part"))) == 6, "of two parts of a class, one image each"
    assert set(few.column("id")) >= set(mixed(both, parse_mix("real:1,render:all"), seed=3).column("id"))
    assert few.column("id") != mixed(both, parse_mix("real:2,render:all"), seed=4).column("id")
    with pytest.raises(ConfigError, match=r"real:5: .* has 4 of class 'dent'"):
        mixed(both, parse_mix("real:5"))
    with pytest.raises(ConfigError, match="no image with provenance 'paste'"):
        mixed(both, parse_mix("real:1,paste:1"))


def test_half_of_the_groups_are_left_to_judge_by(two: tuple[Path, Path]) -> None:
    data = Dataset.open(two[1])  # twelve parts of two images: six healthy, three dents, three scratches
    labels, groups = np.array(data.column("label")), np.array(data.column("part"))
    for seed in range(8):
        rows = drawn(data, Share(None, 2), labels, groups, seed, leave=True)
        for name in set(labels):
            mine = rows[labels[rows] == name]
            assert len(mine) == 2
            assert set(groups[labels == name]) - set(groups[mine])
    greedy = [len(set(groups[drawn(data, Share(None, 3), labels, groups, s)])) for s in range(4)]
    assert greedy == [3 * 3] * 4, "the control: without leaving any, a dent is drawn of every part that has one"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("reel:10", "Did you mean 'real'"),
        ("real", "say how many"),
        ("real:0", "say how many"),
        ("real:-3", "say how many"),
        ("real:10,real:20", "names real twice"),
    ],
)
def test_a_mix_that_says_nothing_is_refused(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_mix(text)
    assert parse_mix("real:10, render:all") == (Share("real", 10), Share("render", None))
