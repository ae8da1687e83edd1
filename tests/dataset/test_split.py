"""Splits never share a group, keep every class, and survive a kill."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from made_sets import blobs, box, imagined, listed, made, parts, surface

from flawsmith.core.errors import ConfigError, DataError
from flawsmith.core.sample import SPLITS, Sample
from flawsmith.dataset import DatasetInfo, write_dataset
from flawsmith.dataset.check import check_dataset
from flawsmith.dataset.convert import import_dataset
from flawsmith.dataset.duplicates import look_alikes
from flawsmith.dataset.grouping import default_columns, group_rows
from flawsmith.dataset.manifest import INFO, Dataset
from flawsmith.dataset.split import SplitPlan, SplitRule, plan_split, save_split
from flawsmith.synth.surface import surfaces

rows = st.lists(
    st.fixed_dictionaries(
        {
            "part": st.one_of(st.none(), st.integers(0, 12).map(str)),
            "lot": st.one_of(st.none(), st.integers(0, 5).map(str)),
            "label": st.sampled_from(["good", "dent", "scratch"]),
            "sha256": st.integers(0, 60).map(str),
        }
    ),
    min_size=3,
    max_size=60,
)


def splits_of(keys: list, plan: SplitPlan) -> dict:
    met = defaultdict(set)
    for key, split in zip(keys, plan.splits.tolist(), strict=True):
        met[key].add(split)
    return met


def test_too_few_groups_are_said():
    with pytest.raises(DataError, match="2 groups by part for 3 splits"):
        plan_split(imagined([{"part": "a"}, {"part": "b"}]), SplitRule("part"))


@given(rows, st.integers(0, 3), st.sampled_from(["auto", "part", "lot", "part,lot", "none"]))
def test_no_group_and_no_copy_is_in_two_splits(rows, seed, key):
    dataset = imagined(rows)
    columns = default_columns(dataset.table) if key == "auto" else key.split(",") if key != "none" else []
    assume(all(any(dataset.column(name)) for name in columns))
    assume(group_rows(dataset, key).count >= 3)
    plan = plan_split(dataset, SplitRule(key, seed=seed))
    for name in (*columns, "sha256"):
        values = [value if value is not None else object() for value in dataset.column(name)]
        assert all(len(met) == 1 for met in splits_of(values, plan).values())
    assert set(plan.splits.tolist()) == {0, 1, 2}


@settings(max_examples=30)
@given(rows, st.randoms())
def test_the_order_of_the_rows_does_not_matter(rows, random):
    dataset = imagined([row | {"id": f"i{index}"} for index, row in enumerate(rows)])
    assume(group_rows(dataset, "none").count >= 3)
    order = list(range(len(rows)))
    random.shuffle(order)
    shuffled = plan_split(dataset.take(order), SplitRule("none")).splits
    assert plan_split(dataset, SplitRule("none")).splits[order].tolist() == shuffled.tolist()


def test_every_class_is_in_every_split_in_proportion(tmp_path):
    labels = ["good"] * 60 + ["dent"] * 30 + ["scratch"] * 10
    dataset = listed(tmp_path / "set", [{"label": label, "part": str(i)} for i, label in enumerate(labels)])
    plan = plan_split(dataset, SplitRule())
    for split, wanted in enumerate([(36, 18, 6), (12, 6, 2), (12, 6, 2)]):
        own = [label for label, s in zip(labels, plan.splits, strict=True) if s == split]
        assert tuple(own.count(label) for label in ("good", "dent", "scratch")) == wanted


def test_kinds_of_defect_count_as_classes(tmp_path):
    rows = [{"label": "bad", "part": str(i), "defects": [box("scratch" if i < 3 else "dent")]} for i in range(30)]
    plan = plan_split(listed(tmp_path / "set", rows), SplitRule())
    assert sorted(plan.splits[:3].tolist()) == [0, 1, 2]


def test_seeds_differ_and_repeat(tmp_path):
    dataset = listed(tmp_path / "set", [{"part": str(i // 2)} for i in range(100)])
    plans = [plan_split(dataset, SplitRule(seed=seed)).splits.tolist() for seed in (0, 0, 1)]
    assert plans[0] == plans[1] != plans[2]


def test_further_columns_join_while_enough_groups_remain(tmp_path):
    rows = [{"part": f"p{i}", "session": f"s{i // 2}", "lot": f"l{i // 50}", "camera": "c"} for i in range(100)]
    dataset = listed(tmp_path / "set", rows)
    assert default_columns(dataset.table) == ("part", "session")
    grouping = group_rows(dataset)
    assert grouping.count == 50
    assert [r.split(" is passed over")[0] for r in grouping.remarks] == ["lot", "camera"]


def test_a_single_camera_does_not_stop_the_default(tmp_path):
    dataset = listed(tmp_path / "set", [{"camera": "left" if i % 2 else "right"} for i in range(20)])
    grouping = group_rows(dataset)
    assert grouping.name == "likeness"
    assert "none of part, lot, session and camera tells the images apart" in grouping.remarks[-1]


def test_without_columns_look_alikes_stay_together(tmp_path):
    pictures = [blobs(i // 2) for i in range(20)]
    pictures[1::2] = [np.clip(p * 0.9, 0, 255).astype(np.uint8) for p in pictures[1::2]]
    dataset = made(tmp_path / "set", [Sample(f"{i:02d}", p, healthy=True) for i, p in enumerate(pictures)])
    plan = plan_split(dataset, SplitRule(), lambda: look_alikes(dataset))
    assert plan.grouping.count == 10
    assert (plan.splits[::2] == plan.splits[1::2]).all()
    assert "only images that look alike are kept together" in plan.remarks[0]
    assert plan_split(dataset, SplitRule("none"), lambda: look_alikes(dataset)).grouping.count == 20


def test_a_pattern_on_the_file_name(tmp_path):
    dataset = made(tmp_path / "set", parts())
    plan = plan_split(dataset, SplitRule(pattern=r"p(\d+)_view"))
    assert plan.grouping.count == 12
    assert all(len(met) == 1 for met in splits_of(dataset.column("part"), plan).values())
    assert group_rows(dataset, pattern=r"line/p\d").count == 10  # the whole match: p1, p10 and p11 are one


def test_a_missing_value_is_a_group_of_its_own(tmp_path):
    dataset = listed(tmp_path / "set", [{"part": "a" if i < 5 else None} for i in range(20)])
    grouping = group_rows(dataset, "part")
    assert grouping.count == 16
    assert grouping.remarks == ("15 images have no part: each is a group of its own",)


@pytest.mark.parametrize(
    ("rule", "error", "message"),
    [
        (lambda: SplitRule("prat"), ConfigError, "--group 'prat': wanted auto, none or columns of part, lot"),
        (lambda: SplitRule("lot"), DataError, "no image has a lot; choose another --group"),
        (lambda: SplitRule(pattern="("), ConfigError, r"--group-regex '\(' is no regular expression"),
        (lambda: SplitRule(pattern="q"), DataError, "finds nothing in 24 of 24 file names, as 'line/p0_view0.tif'"),
        (lambda: SplitRule(pattern="line"), DataError, "1 groups by pattern line for 3 splits"),
        (lambda: SplitRule(fractions=(0.5, 0.5, 0.5)), ConfigError, "add up to 1"),
        (lambda: SplitRule(fractions=(0, 0.5, 0.5)), ConfigError, "train above 0"),
        (lambda: SplitRule(fractions=(1.2, 0, -0.2)), ConfigError, "add up to 1"),
        (lambda: SplitRule(fractions=(float("nan"), 0.5, 0.5)), ConfigError, "add up to 1"),
        (lambda: SplitRule(keep_test=True), DataError, "has no test split to keep; leave out --keep-test"),
    ],
)
def test_wrong_rules_are_named(tmp_path, rule, error, message):
    dataset = made(tmp_path / "set", parts())
    with pytest.raises(error, match=message):
        plan_split(dataset, rule())


def test_a_split_may_stay_empty(tmp_path):
    plan = plan_split(made(tmp_path / "set", parts()), SplitRule(fractions=(0.75, 0.25, 0)))
    assert np.bincount(plan.splits, minlength=3).tolist() == [18, 6, 0]


def test_too_few_groups_of_a_class_are_said(tmp_path):
    rows = [{"part": str(i), "label": "dent" if i < 2 else "good"} for i in range(30)]
    plan = plan_split(listed(tmp_path / "set", rows), SplitRule())
    assert plan.remarks == ("'dent' is in 2 groups only: it cannot be in every split",)


def test_a_kept_test_split_stays_and_leaks_nowhere(tmp_path):
    rows = [{"part": str(i // 2), "split": "test" if i in (0, 1, 2, 10) else "train"} for i in range(60)]
    plan = plan_split(listed(tmp_path / "set", rows), SplitRule(keep_test=True))
    test = np.array([row["split"] == "test" for row in rows])
    assert (plan.splits[test] == SPLITS.index("test")).all()
    assert (plan.splits == SPLITS.index("test")).sum() == 4
    assert np.flatnonzero(plan.splits == -1).tolist() == [3, 11]
    assert plan.remarks[0] == "2 images share a group with the test split: they are left without a split"
    assert np.bincount(plan.splits[plan.splits >= 0]).tolist() == [40, 14, 4]


def test_saving_changes_the_split_alone(tmp_path):
    dataset = made(tmp_path / "set", parts())
    before = (
        {p: p.stat().st_mtime_ns for p in (tmp_path / "set").rglob("*.png")},
        (tmp_path / "set" / INFO).read_bytes(),
    )
    plan = plan_split(dataset, SplitRule())
    save_split(dataset, plan)
    opened = Dataset.open(tmp_path / "set")
    assert opened.column("split") == [SPLITS[s] for s in plan.splits]
    assert opened.content_hash == dataset.content_hash == opened.info.content_hash
    assert opened.table.drop_columns(["split"]).equals(dataset.table.drop_columns(["split"]))
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / "set").rglob("*.png")}, (tmp_path / "set" / INFO).read_bytes()
    assert after == before


FOREVER = """
import sys
from flawsmith.dataset.manifest import Dataset
from flawsmith.dataset.split import SplitRule, plan_split, save_split
dataset = Dataset.open(sys.argv[1])
print("ready", flush=True)
for seed in range(10**9):
    save_split(dataset, plan_split(dataset, SplitRule(seed=seed)))
"""


def test_kill_9_leaves_a_whole_manifest(tmp_path):
    dataset = made(tmp_path / "set", parts(20))
    process = subprocess.Popen([sys.executable, "-c", FOREVER, str(dataset.root)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    opened = Dataset.open(dataset.root)
    assert opened.content_hash == dataset.content_hash
    assert None not in opened.column("split")


def test_the_command_splits_and_shows(tmp_path, command):
    made(tmp_path / "set", parts())
    code, out, err = command("dataset", "split", tmp_path / "set", "--seed", 3)
    assert (code, err) == (0, "")
    assert "made: 24 images in 12 groups by part" in out.replace("\n", " ")
    counts = [line.split() for line in out.splitlines() if line.startswith("  images ")]
    assert counts[0][1:] == ["14", "6", "4"] or sum(map(int, counts[0][1:])) == 24
    assert len(Dataset.open(tmp_path / "set").split("test")) > 0


def test_the_command_can_only_show(tmp_path, command):
    dataset = made(tmp_path / "set", parts(16))
    code, out, _ = command("dataset", "split", dataset.root, "--dry-run", "--json", "--fractions", "0.5/0.25/0.25")
    report = json.loads(out)
    assert code == 0
    assert report["written"] is False
    assert report["grouped_by"] == "part"
    assert {name: part["images"] for name, part in report["splits"].items()} == {"train": 16, "val": 8, "test": 8}
    assert sum(part["groups"] for part in report["splits"].values()) == report["groups"] == 16
    assert Dataset.open(dataset.root).column("split") == [None] * 32


def test_the_command_remarks_on_stderr(tmp_path, command):
    made(tmp_path / "set", [Sample(str(i), surface(i), healthy=True) for i in range(9)])
    code, out, err = command("dataset", "split", tmp_path / "set", "--json")
    assert code == 0
    assert json.loads(out)["remarks"][0] in err
    assert "note: none of part, lot, session and camera is filled" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fractions", "0.6,0.4"], "--fractions '0.6,0.4': wanted three numbers, for example 0.6,0.2,0.2"),
        (["--fractions", "a,b,c"], "wanted three numbers"),
        (["--group", "batch"], "--group 'batch': wanted auto, none or columns of part"),
    ],
)
def test_the_command_names_mistakes(tmp_path, command, arguments, message):
    made(tmp_path / "set", parts())
    code, out, err = command("dataset", "split", tmp_path / "set", *arguments)
    assert (code, out) == (2, "")
    assert message in err


READ_ONLY = """
import os, sys
from flawsmith.cli import main
arguments = sys.argv
sys.argv = [*arguments, "--dry-run"]
try:
    main()  # imports everything, while this user may still read where it is installed
except SystemExit as end:
    assert not end.code
sys.argv = arguments
if os.geteuid() == 0:
    os.seteuid(65534)
main()
"""


@pytest.fixture
def public_folder():
    """One that other users can reach, unlike tmp_path: root ignores permissions, so the test runs as nobody."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_read_only_data_set_is_an_environment_fault(public_folder):
    dataset = made(public_folder / "set", parts())
    dataset.root.chmod(0o555)
    run = [sys.executable, "-c", READ_ONLY, "dataset", "split", str(dataset.root)]
    done = subprocess.run(run, capture_output=True, text=True, check=False, env={**os.environ, "HOME": "/"})
    assert done.returncode == 3, done.stderr
    assert "permission denied: choose another folder or change its permissions" in done.stderr
    dataset.root.chmod(0o755)
    assert Dataset.open(dataset.root).column("split") == [None] * 24


def test_magnetic_tiles_are_split_by_tile(tmp_path, real_data):
    """Runs are joined by session; no picture of the test split has a look-alike elsewhere."""
    import_dataset(real_data("magnetic-tile"), tmp_path / "set")
    dataset = Dataset.open(tmp_path / "set")
    by_tile = save_split(dataset, plan_split(dataset, SplitRule()))
    assert not check_dataset(by_tile).errors
    by_image = save_split(dataset, plan_split(dataset, SplitRule("none")))
    codes = {f.code for f in check_dataset(by_image).findings if f.severity == "error"}
    assert codes == {"near-across-splits", "group-across-splits"}


def test_an_empty_pyarrow_chunk_is_no_problem(tmp_path):
    dataset = made(tmp_path / "set", parts())
    table = pa.concat_tables([dataset.table.slice(0, 0), dataset.table.slice(0, 10), dataset.table.slice(10)])
    chunked = Dataset(dataset.root, dataset.info, table)
    assert plan_split(chunked, SplitRule()).splits.tolist() == plan_split(dataset, SplitRule()).splits.tolist()


def test_a_part_of_a_data_set_cannot_be_saved_over_the_whole(tmp_path):
    whole = write_dataset(tmp_path / "data", surfaces(8, side=64), DatasetInfo(name="made"))
    part = whole[:6]
    with pytest.raises(DataError, match="6 of the 8 images"):
        save_split(part, plan_split(part, SplitRule()))
    assert len(Dataset.open(tmp_path / "data")) == 8
