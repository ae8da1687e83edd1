"""The history of readings as a file: round trips, appended whole, damage named by its line."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flawsmith.core.errors import DataError
from flawsmith.model.wear.history import WearHistory, WearReading
from flawsmith.model.wear.history_file import append_history, joined, read_history

NAMES = st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=8)


@settings(max_examples=25)  # every append waits for the disk
@given(st.dictionaries(st.tuples(NAMES, st.integers(0, 500)), st.integers(0, 30000), min_size=1, max_size=12))
def test_what_is_appended_one_by_one_is_read(
    tmp_path_factory: pytest.TempPathFactory, given: dict[tuple[str, int], int]
) -> None:
    path = tmp_path_factory.mktemp("history") / "h.csv"
    for (insert, passes), micrometres in given.items():
        assert append_history(path, {insert: [WearReading(passes, micrometres / 1000)]}) == 1
    found = read_history(path)
    assert {(name, r.passes): round(1000 * r.vb_mm) for name, h in found.items() for r in h.readings} == given


def test_the_same_reading_again_is_no_news(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    assert append_history(path, {"T1": [WearReading(1, 0.1234567)]}) == 1
    before = path.read_bytes()
    assert append_history(path, {"T1": [WearReading(1, 0.1234567)]}) == 0
    assert path.read_bytes() == before
    with pytest.raises(DataError, match=r"line 2: pass 1 of insert 'T1' is 0.12346 mm, now 0.2 mm"):
        append_history(path, {"T2": [WearReading(1, 0.1)], "T1": [WearReading(1, 0.2)]})
    assert path.read_bytes() == before  # nothing of it, not even the other insert


def test_a_file_of_another_hand_is_read_and_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    path.write_bytes("\ufeffpass,vb_mm,insert\r\n2, 0.2,T1\r\n1,0.1,T1".encode())
    assert read_history(path)["T1"].readings == (WearReading(1, 0.1), WearReading(2, 0.2))
    append_history(path, {"T1": [WearReading(3, 0.3)]})
    assert [r.vb_mm for r in read_history(path)["T1"].readings] == [0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: the columns are"),
        ("insert,pass\nT1,1\n", "line 1: the columns are"),
        ("insert,pass,vb_mm\nT1,1,0.1\nT1,2\n", "line 3: 2 values"),
        ("insert,pass,vb_mm\nT1,1,0.1\nT1,,0.2\n", "line 3: a value is empty"),
        ("insert,pass,vb_mm\nT1,one,0.1\n", "line 2: pass is 'one'"),
        ("insert,pass,vb_mm\nT1,1,nan\n", "line 2: vb_mm is 'nan'"),
        ("insert,pass,vb_mm\nT1,1,-0.1\n", "line 2: vb_mm is '-0.1'"),
        ("insert,pass,vb_mm\nT1,1,0.1\nT2,1,0.1\nT1,1.0,0.1\n", "line 4: pass 1 of insert 'T1' stands in line 2"),
        ('insert,pass,vb_mm\n"T1,1,0.1\n', "line 2: "),
    ],
)
def test_damage_is_named_by_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "h.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=f"h.csv, {said}"):
        read_history(path)
    with pytest.raises(DataError, match=said):
        append_history(path, {"T9": [WearReading(9, 0.1)]})
    assert path.read_text() == text


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read as text"):
        read_history(tmp_path / "h.csv")
    assert read_history(tmp_path / "none.csv") == {}


def test_joining_keeps_order_and_what_was_known() -> None:
    known = WearHistory.of("T1", [1, 3], [0.1, 0.3])
    both = joined(known, "T1", [WearReading(2, 0.2), WearReading(3, 0.9)])
    assert both == WearHistory.of("T1", [1, 2, 3], [0.1, 0.2, 0.3])
    assert joined(None, "T1", [WearReading(2, 0.2)]) == WearHistory.of("T1", [2], [0.2])
