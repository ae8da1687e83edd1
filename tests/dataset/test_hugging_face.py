"""A data set folder opens as Hugging Face's imagefolder: one row per image, whatever the images are called."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from flawsmith.core.defect import Defect
from flawsmith.core.image import encode_png
from flawsmith.core.sample import Sample
from flawsmith.dataset.convert import import_dataset
from flawsmith.dataset.manifest import METADATA, Dataset, DatasetInfo, write_manifest
from flawsmith.dataset.write import write_dataset


def opened(root: Path, cache: Path) -> Any:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    return datasets.load_dataset("imagefolder", data_dir=str(root), cache_dir=str(cache))


def test_labels_splits_and_masks_are_visible(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 7, 9), dtype=np.uint8)
    mask = np.zeros((7, 9), bool)
    mask[2:4, 3] = True
    defects = (Defect.from_mask("dent", mask), Defect.from_mask("rust", mask))
    samples = [
        Sample("a/1", pixels[0], False, "dent", defects, split="train"),
        Sample("a/2", pixels[1], True, split="val"),
        Sample("b", pixels[2], True),
    ]
    write_dataset(tmp_path / "data", samples, DatasetInfo(name="d"))
    loaded = opened(tmp_path / "data", tmp_path / "cache")
    assert list(loaded) == ["train"]  # Hugging Face's own splits are folders; ours is a column
    rows = loaded["train"]
    assert rows["label"] == ["dent", "good", "good"]
    assert rows["healthy"] == [False, True, True]
    assert rows["split"] == ["train", "val", None]
    assert [len(row["mask"]) for row in rows] == [2, 0, 0]
    for row, image in zip(rows, pixels, strict=True):
        np.testing.assert_array_equal(np.asarray(row["image"]), image)
    np.testing.assert_array_equal(np.asarray(rows[0]["mask"][0]) > 0, mask)


def test_names_of_splits_in_a_source_do_not_mislead(tmp_path: Path) -> None:
    """Hugging Face reads `test/good/x.png` and `x_test.png` as splits; ids do not look so."""
    for name in ("train/good/0", "test/good/0", "test/crack_test/0"):
        path = tmp_path / "src" / f"{name}.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(encode_png(np.zeros((4, 4), np.uint8)))
    (tmp_path / "src/ground_truth").mkdir()
    import_dataset(tmp_path / "src", tmp_path / "data", "mvtec")
    rows = opened(tmp_path / "data", tmp_path / "cache")["train"]
    assert sorted(zip(rows["split"], rows["label"], strict=True)) == [
        ("test", "crack_test"),
        ("test", "good"),
        ("train", "good"),
    ]


def test_the_metadata_follows_the_manifest(tmp_path: Path) -> None:
    samples = [Sample(name, np.zeros((4, 4), np.uint8), True) for name in ("a", "b")]
    dataset = write_dataset(tmp_path / "data", samples, DatasetInfo(name="d"))
    column = dataset.table.schema.get_field_index("split")
    table = dataset.table.set_column(column, "split", [["train", "test"]])
    write_manifest(dataset.root, dataset.info, table)
    assert pq.read_table(dataset.root / METADATA)["split"].to_pylist() == ["train", "test"]
    assert Dataset.open(dataset.root).column("split") == ["train", "test"]
