"""A part is as good as its worst view."""

from itertools import permutations

import pytest

from flawsmith.core.errors import ConfigError, DataError
from flawsmith.line.views import count_parts, part_verdicts, view_pattern

BY_PART = view_pattern(r"(?P<part>\d+)_cam")


def row(file: str, status: str, score: float = 0.1) -> dict:
    return {"file": file, "status": status, "score": score, "reasons": [f"why {status}"], "class": status.lower()}


def test_one_bad_view_rejects_the_part_whatever_the_order() -> None:
    views = [row("7_cam0", "OK", 0.3), row("7_cam1", "NG", 0.6), row("7_cam2", "REVIEW", 0.9)]
    for order in permutations(views):
        (part,) = part_verdicts(order, BY_PART)
        assert (part["status"], part["decided_by"], part["class"]) == ("NG", "7_cam1", "ng")
    (part,) = part_verdicts([views[0], views[2]], BY_PART)
    assert part["status"] == "REVIEW"
    (part,) = part_verdicts([views[0], row("7_cam9", "OK", 0.4)], BY_PART, views=2)
    assert (part["status"], part["decided_by"], part["score"]) == ("OK", "7_cam9", 0.4)


def test_a_missing_view_is_never_ok() -> None:
    parts = part_verdicts([row("1_cam0", "OK"), row("1_cam1", "OK"), row("2_cam0", "OK")], BY_PART, views=2)
    assert [part["status"] for part in parts] == ["OK", "REVIEW"]
    assert parts[1]["reasons"][-1] == "1 of 2 views"
    (bad,) = part_verdicts([row("2_cam0", "NG")], BY_PART, views=2)
    assert bad["status"] == "NG"
    assert count_parts(parts) == "1 OK, 0 NG, 1 REVIEW"


def test_what_names_no_part_is_refused() -> None:
    with pytest.raises(DataError, match="finds no part"):
        part_verdicts([row("left.png", "OK")], BY_PART)
    with pytest.raises(ConfigError, match="names no part"):
        view_pattern(r"(\d+)")
    with pytest.raises(ConfigError, match="no regular expression"):
        view_pattern("(?P<part>")
