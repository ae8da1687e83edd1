"""Several cameras, one verdict: the images of a part judged together. A part is as good as its worst view."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from flawsmith.core.errors import ConfigError, DataError

PARTS = "parts.json"
WORST = ("OK", "REVIEW", "NG")  # the later decides


def view_pattern(text: str) -> re.Pattern[str]:
    """A regular expression on the path that names the part: `(?P<part>\\d+)_cam`. Raises `ConfigError`."""
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise ConfigError(f"--together {text!r} is no regular expression: {error}") from error
    if "part" not in pattern.groupindex:
        raise ConfigError(
            f"--together {text!r} names no part: write it as (?P<part>…), for example '(?P<part>\\d+)_cam'"
        )
    return pattern


def part_verdicts(
    rows: Iterable[dict[str, Any]], pattern: re.Pattern[str], views: int | None = None
) -> list[dict[str, Any]]:
    """The verdict of each part, by the lines of `inspect_images`, in the order of their first images.

    views: how many images each part must have; a part with fewer or more goes to review at least

    A view that shows a fault rejects the part, whatever the others show; one that is unclear sends it to review. The
    worst view, and among those the one of the highest score, gives class, score and reasons.

    Raises `DataError` for an image whose path names no part.
    """
    parts: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        parts.setdefault(_part_in(row["file"], pattern), []).append(row)
    return [_part(name, its, views) for name, its in parts.items()]


def check_parts(paths: Iterable[str], pattern: re.Pattern[str] | None) -> None:
    """Raise `DataError` for a path that names no part, before any image is inspected; None: parts are not asked for."""
    if pattern is None:
        return
    for path in paths:
        _part_in(path, pattern)


def _part_in(path: str, pattern: re.Pattern[str]) -> str:
    found = pattern.search(path)
    if not found or not found["part"]:
        raise DataError(f"{path}: --together {pattern.pattern!r} finds no part in this path")
    return found["part"]


def _part(name: str, rows: Sequence[dict[str, Any]], views: int | None) -> dict[str, Any]:
    worst = max(rows, key=lambda row: (WORST.index(row["status"]), row["score"] or 0.0))
    status, reasons = worst["status"], [f"{worst['file']}: {reason}" for reason in worst["reasons"]]
    if views is not None and len(rows) != views:
        status = max(status, "REVIEW", key=WORST.index)
        reasons.append(f"{len(rows)} of {views} views")
    said = {key: worst[key] for key in ("class", "probability") if key in worst}
    return {
        "part": name,
        "status": status,
        "reasons": reasons,
        "score": worst["score"],
        **said,
        "decided_by": worst["file"],
        "views": [{"file": row["file"], "status": row["status"], "score": row["score"]} for row in rows],
    }


def count_parts(parts: Sequence[dict[str, Any]]) -> str:
    """ "3 OK, 1 NG, 0 REVIEW" """
    counts = Counter(part["status"] for part in parts)
    return ", ".join(f"{counts[status]} {status}" for status in ("OK", "NG", "REVIEW"))
