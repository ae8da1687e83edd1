"""Near duplicates: the banded search against comparing each with each; the confirmation on pixels."""

from pathlib import Path

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from made_sets import blobs, listed, made

from flawsmith.core.image import decode, image_files
from flawsmith.core.sample import Sample
from flawsmith.dataset.duplicates import (
    NEAR_CORRELATION,
    candidates,
    chained,
    codes,
    correlations,
    fine_structure,
    joined,
    look_alikes,
    near_pairs,
)
from flawsmith.dataset.write import difference_hash

hashes = st.lists(
    st.one_of(
        st.integers(0, 2**64 - 1),
        st.integers(0, 20),
        st.sampled_from([0x0F0F0F0F00000000, 2**63]).flatmap(
            lambda base: st.lists(st.integers(0, 63), max_size=5).map(lambda bits: base ^ sum({1 << b for b in bits}))
        ),
    ),
    min_size=0,
    max_size=40,
).map(lambda values: np.array(values, np.uint64))


def brute(values: np.ndarray, bits: int) -> set[tuple[int, int]]:
    return {
        (i, j)
        for i in range(len(values))
        for j in range(i + 1, len(values))
        if (int(values[i]) ^ int(values[j])).bit_count() <= bits
    }


@given(hashes, st.integers(0, 8))
def test_the_banded_search_finds_what_comparing_all_finds(values, bits):
    found = near_pairs(values, np.zeros(len(values), np.int64), bits)
    pairs = {tuple(sorted(pair)) for pair in found.rows.tolist()}
    wanted = brute(values, bits)
    assert pairs <= wanted
    assert found.cut == 0
    missing = wanted - pairs
    # of more than 16 rows with one hash the rest is chained: not each pair, but each set of look-alikes is whole
    numbers = joined(len(values), found.rows)
    assert all(numbers[i] == numbers[j] for i, j in missing)
    assert not missing or max(np.unique(values, return_counts=True)[1]) > 16


def test_a_near_pair_is_found_among_many():
    values = np.random.default_rng(0).integers(0, 2**63, 60_000, dtype=np.uint64)
    values[50_000] = values[10] ^ np.uint64(0b1011)
    values[50_001] = values[11] ^ np.uint64(0b11011)  # the control: 4 bits, and 5 with the next line
    values[50_002] = values[12] ^ np.uint64(0b11111)
    pairs = {tuple(sorted(pair)) for pair in near_pairs(values, np.zeros(len(values), np.int64), 4).rows.tolist()}
    assert pairs == {(10, 50_000), (11, 50_001)}


def test_many_look_alikes_are_cut_and_it_is_said():
    values = np.random.default_rng(0).integers(0, 2**12, 4000).astype(np.uint64) << np.uint64(20)
    found = near_pairs(np.unique(values), np.zeros(len(np.unique(values)), np.int64), 4, bucket=20)
    assert found.cut > 0


def test_a_million_rows_with_one_hash_stay_a_million_pairs():
    values, splits = np.zeros(50_000, np.uint64), np.zeros(50_000, np.int64)
    splits[40_000] = 1
    rows = near_pairs(values, splits).rows
    assert len(rows) < 51_000
    assert len(np.unique(joined(50_000, rows))) == 1
    assert (splits[rows[:, 0]] != splits[rows[:, 1]]).any()


def test_codes_keep_nulls_apart(tmp_path):
    table = listed(tmp_path / "set", [{"part": p} for p in ("a", None, "b", "a", None)]).table
    numbers = codes(table["part"]).tolist()
    assert numbers[0] == numbers[3]
    assert len(set(numbers)) == 4


@given(st.lists(st.integers(0, 4), max_size=20))
def test_chained_and_joined_are_inverse(numbers):
    groups = joined(len(numbers), chained(np.array(numbers, np.int64)))
    for i in range(len(numbers)):
        for j in range(len(numbers)):
            assert (groups[i] == groups[j]) == (numbers[i] == numbers[j])


def test_candidates_leave_out_equal_files_and_unknown_hashes(tmp_path):
    rows = [{"sha256": "a", "dhash": 7}, {"sha256": "a", "dhash": 7}, {"sha256": "b", "dhash": 3}, {"dhash": None}]
    pairs = candidates(listed(tmp_path / "set", rows).table).rows
    assert {tuple(sorted(pair)) for pair in pairs.tolist()} == {(0, 2), (1, 2)}


def test_fine_structure_sees_the_same_thing_under_other_light():
    rng = np.random.default_rng(0)
    one, other = (cv2.GaussianBlur(rng.integers(0, 256, (200, 300), np.uint8), (0, 0), 3) for _ in range(2))
    ramp = np.linspace(0.6, 1.2, 300)[None]
    relit = np.clip(one * ramp + rng.normal(0, 3, one.shape), 0, 255).astype(np.uint8)
    shaded = [np.clip(image * 0.1 + ramp * 100, 0, 255).astype(np.uint8) for image in (one, other)]
    structures = dict(enumerate(fine_structure(image) for image in (one, relit, other, *shaded, np.full_like(one, 9))))
    pairs = np.array([[0, 1], [0, 2], [3, 4], [0, 5], [0, 99]])
    same, different, same_light, blank, unread = correlations(structures, pairs)
    assert same > NEAR_CORRELATION
    assert max(different, same_light) < 0.5
    assert blank == 0
    assert unread == 1


def test_look_alikes_are_confirmed_on_pixels(tmp_path):
    ramp = np.linspace(0, 250, 200).astype(np.uint8)[None].repeat(150, 0)
    noisy = [
        np.clip(ramp + np.random.default_rng(i).normal(0, 4, ramp.shape), 0, 255).astype(np.uint8) for i in range(2)
    ]
    pictures = [blobs(0), (blobs(0) * 0.9).astype(np.uint8), *noisy]
    dataset = made(tmp_path / "set", [Sample(str(i), p, healthy=True) for i, p in enumerate(pictures)])
    assert {tuple(sorted(p)) for p in candidates(dataset.table).rows.tolist()} >= {(0, 1), (2, 3)}
    assert look_alikes(dataset).tolist() == [[0, 1]]
    (dataset.root / "images/3.png").unlink()
    assert sorted(map(sorted, look_alikes(dataset).tolist())) == [[0, 1], [2, 3]]


def confirmed(files: list[Path]) -> tuple[int, list[tuple[str, str]]]:
    """How many pairs of hashes are near, and the names of those whose pixels agree."""
    images = [decode(path) for path in files]
    pairs = near_pairs(np.array([difference_hash(i) for i in images], np.uint64), np.zeros(len(images), np.int64)).rows
    structures = {row: fine_structure(images[row]) for row in np.unique(pairs).tolist()}
    agree = pairs[correlations(structures, pairs) >= NEAR_CORRELATION]
    return len(pairs), [(files[i].stem, files[j].stem) for i, j in agree.tolist()]


def test_steel_surfaces_are_no_duplicates(real_data):
    near, same = confirmed(image_files(real_data("neu-det") / "IMAGES"))
    assert near > 500
    assert not same


def test_a_board_and_its_template_are(real_data):
    _, same = confirmed(image_files(real_data("deeppcb")))
    assert len(same) > 75
    assert all(one.split("_")[0] == other.split("_")[0] for one, other in same)
