"""A decision, however it was made, tried on parts that had no part in making it."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from flawsmith.core.prediction import Prediction, Verdict
from flawsmith.core.sample import Sample
from flawsmith.decide.bounds import is_shown, upper_bound
from flawsmith.decide.report import PARTS, PLURAL, Need, Outcome, Row, needs_of, percent
from flawsmith.decide.rules import Decision, Demonstrated, check_kinds, decide, part_verdict
from flawsmith.decide.select import Facts, Parts, Unit, select

Standing = Literal["confirmed", "consistent", "contradicted"]


@dataclass(frozen=True)
class Check:
    """One demonstrated statement against other parts: shown again, neither shown nor refuted, or refuted."""

    statement: Demonstrated
    standing: Standing
    k: int
    n: int

    def row(self) -> Row:
        what = f"{PLURAL[self.statement.rate]} ≤ {percent(self.statement.target)}"
        return f"demonstrated: {what}", self.standing, f"{self.k} of {self.n} {PARTS[self.statement.rate]} parts here"


@dataclass(frozen=True)
class Assessment:
    """The decision was fixed beforehand, so the intervals and bounds of `outcome` hold as they stand."""

    outcome: Outcome
    split: str
    unit: str
    checks: tuple[Check, ...]
    needs: tuple[Need, ...]
    notes: tuple[str, ...]

    def rows(self) -> list[Row]:
        """For a table with `report.COLUMNS`; the notes are printed under it."""
        return [*self.outcome.rows(), *(check.row() for check in self.checks), *(need.row() for need in self.needs)]

    def to_json(self) -> dict[str, Any]:
        checks = [
            {
                "statement": check.statement.model_dump(mode="json"),
                "standing": check.standing,
                "k": check.k,
                "n": check.n,
            }
            for check in self.checks
        ]
        return {
            "outcome": self.outcome.to_json(),
            "split": self.split,
            "unit": self.unit,
            "checks": checks,
            "needs": [asdict(need) for need in self.needs],
            "notes": list(self.notes),
        }


def assess(
    pairs: Iterable[tuple[Sample, Prediction]],
    decision: Decision,
    split: str = "test",
    confidence: float = 0.95,
    unit: Unit = "part",
    provenance: Literal["real", "synthetic"] = "real",
) -> Assessment:
    """Count escapes and false rejects of a fixed decision, with exact bounds. Raises `DataError` as `select`."""
    facts: list[Facts] = []
    verdicts: list[Verdict] = []
    for sample, prediction in pairs:
        if not facts:
            check_kinds(decision, prediction.kinds)
        facts.append(Facts.of(sample))
        verdicts.append(decide(prediction, decision))
    ignored = {kind for kind, rule in decision.kinds.items() if rule.action == "ignore"}
    selection = select(facts, split, unit, provenance, ignored)

    def named(parts: Parts) -> list:
        return [(name, part_verdict([verdicts[i] for i in rows]).status) for name, rows in parts.items()]

    outcome = Outcome.of(named(selection.defective), named(selection.healthy), confidence)
    notes = list(selection.notes)
    if decision.origin == "edited":
        notes.append("the rules were edited after calibration: what was demonstrated then was said of other rules")
    if decision.calibration is not None and decision.calibration.split == split:
        notes.append(f"the decision was calibrated on the {split} split: these figures flatter it; use the test split")
    return Assessment(outcome, split, unit, _checks(decision, outcome), needs_of(outcome, ()), tuple(notes))


def _checks(decision: Decision, outcome: Outcome) -> tuple[Check, ...]:
    statements = decision.calibration.demonstrated if decision.calibration and decision.origin == "calibrate" else ()
    return tuple(_check(statement, outcome) for statement in statements)


def _check(statement: Demonstrated, outcome: Outcome) -> Check:
    rate, level = outcome.rate(statement.rate), 1 - statement.confidence
    if is_shown(rate.k, rate.n, statement.target, level):
        return Check(statement, "confirmed", rate.k, rate.n)
    # The lower bound of k errors is one minus the upper bound of the n - k successes.
    at_least = 1 - upper_bound(rate.n - rate.k, rate.n, statement.confidence)
    return Check(statement, "contradicted" if at_least > statement.target else "consistent", rate.k, rate.n)
