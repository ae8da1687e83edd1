"""What a decision does to a set of parts, as k of n with exact intervals: for `calibrate` and for `assess`."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from flawsmith.core.prediction import Status
from flawsmith.decide.bounds import parts_needed, upper_bound
from flawsmith.decide.rules import Decision, Demonstrated, RateName
from flawsmith.evaluate.intervals import Rate

COLUMNS = ("what", "value", "remark")
NEEDS = (0.01, 0.001)  # the targets that people ask for
RATES: tuple[RateName, ...] = ("escape", "false_reject")
PLURAL: dict[RateName, str] = {"escape": "escapes", "false_reject": "false rejects"}
PARTS: dict[RateName, str] = {"escape": "defective", "false_reject": "healthy"}

Row = tuple[str, str, str]
Named = Sequence[tuple[str, Status]]


@dataclass(frozen=True)
class Outcome:
    """Defective and healthy parts, counted apart. A part sent to review is neither an escape nor a false reject.

    escape_at_most, false_reject_at_most: one-sided exact bounds at `confidence`; None where there are no parts
    escaped, falsely_rejected:            the names of those parts
    """

    confidence: float
    escapes: Rate
    false_rejects: Rate
    review_defective: Rate
    review_healthy: Rate
    escape_at_most: float | None
    false_reject_at_most: float | None
    escaped: tuple[str, ...]
    falsely_rejected: tuple[str, ...]

    @classmethod
    def of(cls, defective: Named, healthy: Named, confidence: float) -> "Outcome":
        """From each part's name and verdict."""
        escaped, rejected = _with(defective, "OK"), _with(healthy, "NG")
        return cls(
            confidence=confidence,
            escapes=Rate.of(len(escaped), len(defective), "no defective parts"),
            false_rejects=Rate.of(len(rejected), len(healthy), "no healthy parts"),
            review_defective=Rate.of(len(_with(defective, "REVIEW")), len(defective), "no defective parts"),
            review_healthy=Rate.of(len(_with(healthy, "REVIEW")), len(healthy), "no healthy parts"),
            escape_at_most=upper_bound(len(escaped), len(defective), confidence) if defective else None,
            false_reject_at_most=upper_bound(len(rejected), len(healthy), confidence) if healthy else None,
            escaped=escaped,
            falsely_rejected=rejected,
        )

    def rate(self, name: RateName) -> Rate:
        return self.escapes if name == "escape" else self.false_rejects

    def rows(self) -> list[Row]:
        return [
            ("escapes", count(self.escapes), self._interval(self.escapes, self.escape_at_most)),
            ("false rejects", count(self.false_rejects), self._interval(self.false_rejects, self.false_reject_at_most)),
            ("to review, defective", count(self.review_defective), self._interval(self.review_defective)),
            ("to review, healthy", count(self.review_healthy), self._interval(self.review_healthy)),
        ]

    def to_json(self) -> dict[str, Any]:
        values = asdict(self)
        for name in ("escapes", "false_rejects", "review_defective", "review_healthy"):
            values[name] = getattr(self, name).model_dump(mode="json")
        return values

    def _interval(self, rate: Rate, at_most: float | None = None) -> str:
        if rate.low is None or rate.high is None:
            return "nothing is known"
        text = f"95 % interval {100 * rate.low:.3g}–{percent(rate.high)}"
        return text if at_most is None else f"{text}, bound {percent(at_most)}"


@dataclass(frozen=True)
class Need:
    """How many parts show a rate of at most `target`: without an error, and with the `k` errors seen here."""

    rate: RateName
    target: float
    without_error: int
    k: int
    with_k: int

    def row(self) -> Row:
        seen = f"{self.with_k} with k = {self.k}" if self.k else ""
        needs = f"{self.without_error} {PARTS[self.rate]} parts"
        return f"to show {PLURAL[self.rate]} ≤ {percent(self.target)}", needs, seen


@dataclass(frozen=True)
class Cost:
    """Money per part at the share of defective parts in production: as seen, and with every rate at its bound.

    The rest is what needs no model: to pass, reject or review every part.
    """

    per_part: float
    at_worst: float
    pass_all: float
    reject_all: float
    review_all: float | None

    def rows(self) -> list[Row]:
        blind = f"passing all costs {self.pass_all:.4g}, rejecting all {self.reject_all:.4g}"
        blind += "" if self.review_all is None else f", reviewing all {self.review_all:.4g}"
        return [
            ("cost per part", f"{self.per_part:.4g}", f"at most {self.at_worst:.4g} with every rate at its bound"),
            ("without a model", "", blind),
        ]


@dataclass(frozen=True)
class CalibrationReport:
    """The chosen decision and what it does to the parts it was chosen on.

    allowed: the highest review threshold that is shown to meet the escape target, and the lowest reject threshold that
             is shown to meet the false-reject target, at the chosen minimum area; None without that target
    """

    decision: Decision
    threshold: float
    review_threshold: float
    min_area_px: int
    unit: str
    outcome: Outcome
    allowed: tuple[float | None, float | None]
    needs: tuple[Need, ...]
    cost: Cost | None
    notes: tuple[str, ...]

    @property
    def demonstrated(self) -> tuple[Demonstrated, ...]:
        return self.decision.calibration.demonstrated if self.decision.calibration else ()

    def rows(self) -> list[Row]:
        """For a table with `COLUMNS`; the notes are printed under it."""
        band = "" if self.review_threshold < self.threshold else "no band: the same as reject"
        highest, lowest = self.allowed
        rows: list[Row] = [
            ("reject at score", f"{self.threshold:g}", "" if lowest is None else f"shown from {lowest:g} up"),
            ("review at score", f"{self.review_threshold:g}", _join(band, highest)),
            ("minimum area", f"{self.min_area_px} px", ""),
            *self.outcome.rows(),
        ]
        for shown in self.demonstrated:
            what = f"{PLURAL[shown.rate]} ≤ {percent(shown.target)}"
            rows.append(("demonstrated", what, f"at {percent(shown.confidence)} confidence"))
        if self.cost:
            rows += self.cost.rows()
        return rows + [need.row() for need in self.needs]

    def to_json(self) -> dict[str, Any]:
        """Plain values, without NaN."""
        return {
            "decision": self.decision.model_dump(mode="json"),
            "threshold": self.threshold,
            "review_threshold": self.review_threshold,
            "min_area_px": self.min_area_px,
            "unit": self.unit,
            "outcome": self.outcome.to_json(),
            "highest_review_threshold_shown": self.allowed[0],
            "lowest_reject_threshold_shown": self.allowed[1],
            "needs": [asdict(need) for need in self.needs],
            "cost": asdict(self.cost) if self.cost else None,
            "notes": list(self.notes),
        }


def needs_of(outcome: Outcome, targets: Iterable[tuple[RateName, float]]) -> tuple[Need, ...]:
    """What it takes to show each target, and those that people ask for: without an error, and with as many as here."""
    needs, given = [], list(targets)
    for rate in RATES:
        for target in sorted({*NEEDS, *(target for name, target in given if name == rate)}, reverse=True):
            k = outcome.rate(rate).k
            zero, more = (parts_needed(errors, target, outcome.confidence) for errors in (0, k))
            needs.append(Need(rate, target, zero, k, more))
    return tuple(needs)


def percent(rate: float) -> str:
    return f"{100 * rate:.3g} %"


def count(rate: Rate) -> str:
    return f"{rate.k} of {rate.n}" + ("" if rate.value is None else f" ({percent(rate.value)})")


def _join(band: str, highest: float | None) -> str:
    shown = "" if highest is None else f"shown up to {highest:g}"
    return "; ".join(text for text in (band, shown) if text)


def _with(parts: Named, status: Status) -> tuple[str, ...]:
    return tuple(name for name, verdict in parts if verdict == status)
