"""The data set folder: what goes in comes out, the hash covers it, and damage is named."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_sets import listed, made, parts, spot, surface

from flawsmith.core.defect import Defect
from flawsmith.core.errors import DataError, FlawsmithError
from flawsmith.core.sample import Sample
from flawsmith.dataset.manifest import (
    INFO,
    MANIFEST,
    SCHEMA,
    Dataset,
    DatasetInfo,
    content_hash,
    replace_manifest,
    write_manifest,
)
from flawsmith.dataset.write import write_dataset

SHAPE = (9, 13)
masks = arrays(bool, SHAPE).filter(np.any)
defects = st.one_of(
    st.builds(Defect.from_mask, st.sampled_from(["scratch", "Lunker Ø", "部品"]), masks),
    st.builds(
        lambda kind, x, y, w, h: Defect(kind, (x, y, min(x + w, SHAPE[1]), min(y + h, SHAPE[0]))),
        st.sampled_from(["scratch", "dent"]),
        st.integers(0, SHAPE[1] - 1),
        st.integers(0, SHAPE[0] - 1),
        st.integers(1, 20),
        st.integers(1, 20),
    ),
)
pixels = st.one_of(arrays(np.uint8, SHAPE), arrays(np.uint16, SHAPE), arrays(np.uint8, (*SHAPE, 3)))
names = st.text(
    st.characters(whitelist_categories=("Lu", "Ll", "Lo", "Nd"), max_codepoint=0x9FFF), min_size=1, max_size=8
)
samples = st.builds(
    Sample,
    id=names,
    pixels=pixels,
    healthy=st.booleans(),
    label=names,
    defects=st.lists(defects, max_size=5).map(tuple),
    groups=st.dictionaries(st.sampled_from(["part", "lot", "session", "camera"]), names),
    split=st.sampled_from([None, "train", "val", "test"]),
    provenance=st.sampled_from(["real", "render", "paste"]),
    source=names,
    pixel_mm=st.one_of(st.none(), st.floats(1e-6, 100)),
    seed=st.one_of(st.none(), st.integers(0, 2**40)),
    spec_hash=st.one_of(st.none(), names),
)


def same(a: Sample, b: Sample) -> None:
    assert (a.id, a.healthy, a.label, a.groups, a.split) == (b.id, b.healthy, b.label, b.groups, b.split)
    assert (a.provenance, a.source, a.pixel_mm, a.seed) == (b.provenance, b.source, b.pixel_mm, b.seed)
    assert a.spec_hash == b.spec_hash
    np.testing.assert_array_equal(a.image(), b.image())
    assert a.image().dtype == b.image().dtype
    assert [(d.kind, d.box, d.score) for d in a.defects] == [(d.kind, d.box, d.score) for d in b.defects]
    for one, other in zip(a.defects, b.defects, strict=True):
        assert (one.mask is None) == (other.mask is None)
        np.testing.assert_array_equal(one.full_mask(SHAPE), other.full_mask(SHAPE))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(samples, min_size=1, max_size=4, unique_by=lambda s: s.id.casefold()))
def test_samples_survive_the_folder(tmp_path, given_samples):
    folder = tmp_path / "set"
    shutil.rmtree(folder, ignore_errors=True)
    dataset = write_dataset(folder, given_samples, DatasetInfo(name="set"))
    assert len(dataset) == dataset.info.images == len(given_samples)
    assert dataset.classes == tuple(sorted({d.kind for s in given_samples for d in s.defects}))
    for wanted, one, other in zip(given_samples, dataset, (dataset[i] for i in range(len(dataset))), strict=True):
        same(wanted, one)
        same(wanted, other)


def test_more_than_255_overlapping_defects(tmp_path):
    many = tuple(spot(f"k{i % 3}", x=i % 50, y=i // 50 * 3) for i in range(300))
    dataset = made(tmp_path / "set", [Sample("a", surface(0), healthy=False, label="k0", defects=many)])
    assert dataset.table["masks"][0].as_py()[1:], "overlaps need several layers"
    for wanted, got in zip(many, dataset[0].defects, strict=True):
        assert (wanted.kind, wanted.box) == (got.kind, got.box)
        np.testing.assert_array_equal(wanted.mask, got.mask)


def test_opening_touches_no_image(tmp_path):
    dataset = made(tmp_path / "set", parts())
    for folder in ("images", "masks"):
        shutil.rmtree(tmp_path / "set" / folder)
    opened = Dataset.open(tmp_path / "set")
    assert len(opened) == len(dataset) == 24
    assert opened[0].label == "good"
    with pytest.raises(DataError, match=r"p00/000\.png cannot be read"):
        opened[0].image()
    with pytest.raises(DataError, match=r"masks/p01/002\.png is missing or unreadable; run flawsmith dataset check"):
        opened[2]


def test_a_mask_of_another_size_is_named(tmp_path):
    dataset = made(tmp_path / "set", parts())
    shutil.copy(tmp_path / "set/masks/p01/002.png", tmp_path / "mask.png")
    other = made(
        tmp_path / "other", [Sample("a", surface(0, 10, 10), False, "dent", (spot(shape=(10, 10), x=1, y=1),))]
    )
    shutil.copy(other.root / "masks/a.png", dataset.root / "masks/p01/002.png")
    with pytest.raises(DataError, match=r"is \(10, 10\), its image \(40, 60\); import the data set again"):
        dataset[2]


def test_a_data_set_is_a_sequence(tmp_path):
    dataset = made(tmp_path / "set", parts())
    assert dataset[-1].id == dataset[23].id == "p11/023"
    assert [s.id for s in dataset[1:6:2]] == ["p00/001", "p01/003", "p02/005"]
    assert [s.id for s in dataset.take([3, 0])] == ["p01/003", "p00/000"]
    assert len(dataset.where(np.array(dataset.column("healthy")))) == 12
    for index in (24, -25):
        with pytest.raises(IndexError):
            dataset[index]


def test_a_split_that_is_not_there_names_the_command(tmp_path):
    dataset = made(tmp_path / "set", parts())
    with pytest.raises(DataError, match="has no images in split 'val'; run: flawsmith dataset split"):
        dataset.split("val")


def test_the_hash_is_of_the_content_alone(tmp_path):
    table = made(tmp_path / "set", parts()).table
    wanted = content_hash(table)
    order = np.random.default_rng(0).permutation(len(table))
    assert content_hash(table.take(pa.array(order))) == wanted
    assert content_hash(pa.concat_tables([table.slice(0, 5), table.slice(5)])) == wanted
    resplit = table.set_column(table.schema.get_field_index("split"), "split", pa.array(["val"] * len(table)))
    assert content_hash(resplit) == wanted


@pytest.mark.parametrize(
    "change",
    [
        {"label": "scratch"},
        {"healthy": None},
        {"sha256": "0" * 64},
        {"part": "p99"},
        {"lot": "p1"},
        {"provenance": "render"},
        {"defects": []},
        {"masks": []},
        {"id": "p01/002x"},
    ],
)
def test_the_hash_changes_with_the_content(tmp_path, change):
    table = made(tmp_path / "set", parts()).table
    rows = table.to_pylist()
    rows[2] |= change
    assert content_hash(pa.Table.from_pylist(rows, schema=SCHEMA)) != content_hash(table)


def test_the_hash_of_a_moved_character_differs(tmp_path):
    one = listed(tmp_path / "a", [{"id": "ab", "label": "c"}, {"id": "x", "label": "y"}])
    other = listed(tmp_path / "b", [{"id": "ab", "label": "cy"}, {"id": "x", "label": ""}])
    assert one.content_hash != other.content_hash


def test_replacing_the_rows_leaves_dataset_json_alone(tmp_path):
    dataset = made(tmp_path / "set", parts())
    before = (tmp_path / "set" / INFO).read_bytes()
    splits = pa.array(["train", "val"] * 12)
    replace_manifest(
        dataset.root, dataset.table.set_column(dataset.table.schema.get_field_index("split"), "split", splits)
    )
    assert (tmp_path / "set" / INFO).read_bytes() == before
    assert len(Dataset.open(tmp_path / "set").split("val")) == 12


def test_the_manifest_comes_last(tmp_path, monkeypatch):
    from flawsmith.dataset import manifest

    written = []
    atomic = manifest.write_atomic
    monkeypatch.setattr(manifest, "write_atomic", lambda path, data: (written.append(path.name), atomic(path, data)))
    dataset = made(tmp_path / "set", parts(2))
    written.clear()
    write_manifest(dataset.root, dataset.info, dataset.table)
    assert written[-1] == MANIFEST


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (MANIFEST, None, "is not a flawsmith data set .no manifest.parquet.; make one: flawsmith dataset import"),
        (MANIFEST, b"", r"manifest\.parquet is damaged"),
        (MANIFEST, b"PAR1 but not really", r"manifest\.parquet is damaged"),
        (INFO, None, r"dataset\.json does not exist"),
        (INFO, b"{", r"dataset\.json cannot be read as JSON"),
        (INFO, b"[]", "schema_version None, this flawsmith reads 1"),
        (INFO, b'{"schema_version": 2, "name": "x"}', "schema_version 2, this flawsmith reads 1"),
        (INFO, b'{"schema_version": 1, "name": "x", "clases": []}', r"unknown key 'clases'. Did you mean 'classes'\?"),
    ],
)
def test_a_damaged_folder_is_named(tmp_path, name, content, message):
    made(tmp_path / "set", parts(2))
    path = tmp_path / "set" / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(FlawsmithError, match=message) as raised:
        Dataset.open(tmp_path / "set")
    assert raised.value.exit_code == 2


def test_every_truncation_of_the_manifest_is_named(tmp_path):
    made(tmp_path / "set", parts(4))
    path = tmp_path / "set" / MANIFEST
    data = path.read_bytes()
    for percent in range(0, 100, 5):
        path.write_bytes(data[: len(data) * percent // 100])
        with pytest.raises(DataError, match=r"manifest\.parquet is damaged"):
            Dataset.open(tmp_path / "set")


@pytest.mark.parametrize("change", ["missing", "type"])
def test_a_manifest_of_other_columns_is_named(tmp_path, change):
    dataset = made(tmp_path / "set", parts(2))
    table = dataset.table.drop_columns(["sha256"])
    if change == "type":
        table = table.append_column("sha256", pa.array([b"\xff"] * len(table)))
    pq.write_table(table, tmp_path / "set" / MANIFEST)
    with pytest.raises(DataError, match=r"manifest\.parquet is damaged"):
        Dataset.open(tmp_path / "set")


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(DataError, match="is not a flawsmith data set"):
        Dataset.open(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda: [*parts(2), *parts(2)], "two images are called 'p00/000'"),
        (lambda: [Sample("a", surface(0), False, "x", (Defect("x", (50, 0, 61, 5)),))], "lies outside its"),
        (
            lambda: [Sample("a", surface(0), False, "x", (Defect("x", (0, 0, 5, 5), np.zeros((5, 5), bool)),))],
            "empty mask",
        ),
        (list, "no images were found"),
    ],
)
def test_bad_samples_leave_nothing_behind(tmp_path, bad, message):
    with pytest.raises(DataError, match=message):
        made(tmp_path / "set", bad())
    assert not list(tmp_path.iterdir())


def test_kinds_outside_the_list_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"kinds \['dent', 'scratch'\] are not among \['crack'\]"):
        made(tmp_path / "set", parts(), classes=("crack",))


def test_pixel_size_of_the_set_stands_in_for_the_image(tmp_path):
    dataset = made(
        tmp_path / "set", [Sample("a", surface(0), True), Sample("b", surface(1), True, pixel_mm=0.5)], pixel_mm=0.1
    )
    assert [s.pixel_mm for s in dataset] == [0.1, 0.5]
    assert json.loads((tmp_path / "set" / INFO).read_text())["pixel_mm"] == 0.1
