"""Prediction in, verdict out, by rules that a person can read and edit: `decision.json`.

A rule looks at regions: 8-connected pixels of one kind's map at or above a threshold. Regions of `min_area_px` or more
are counted; more than `max_count` of them is NG at `threshold` and REVIEW at `review_threshold`. Making a rule laxer,
by a higher threshold, area or count, never makes a verdict worse: that is why a region's score is the largest of its
pixels, and not their mean, which rises when a region shrinks. Anything that cannot be judged is REVIEW, never OK.

The station imports this module: numpy, OpenCV and pydantic only.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import ConfigDict, Field, SerializeAsAny, field_validator, model_validator

from flawsmith.core.config import Settings, validate
from flawsmith.core.defect import Defect
from flawsmith.core.errors import ConfigError, nearest
from flawsmith.core.files import sha256_of, write_json
from flawsmith.core.prediction import Prediction, Status, Verdict
from flawsmith.decide.regions import Regions, apart_areas, find_regions, joined_labels

RateName = Literal["escape", "false_reject"]
RANK: dict[Status, int] = {"OK": 0, "REVIEW": 1, "NG": 2}
REASONS_PER_KIND = 5  # the largest regions get a sentence of their own, the rest a count
DEFECTS_PER_KIND = 100
_ROUNDING = 1e-3  # how far outside [0, 1] a score may lie by the rounding of a quantised engine


class RegionRule(Settings):
    """What is allowed of one kind. `review_threshold` left out means that there is no REVIEW band.

    joined_at: needed when `max_count` is not 0: regions that are connected where the map is at or above this score
               count as one. It is a field of its own so that raising a threshold, which may cut a region in two,
               never raises the count.
    action:    "reject" as described; "review" never says NG, only REVIEW at `review_threshold`; "ignore" looks away
    """

    model_config = ConfigDict(strict=True)

    threshold: float = Field(ge=0, le=1)
    review_threshold: float | None = Field(default=None, ge=0, le=1)
    min_area_px: int = Field(default=1, ge=0)
    max_count: int = Field(default=0, ge=0)
    joined_at: float | None = Field(default=None, ge=0, le=1)
    action: Literal["reject", "review", "ignore"] = "reject"

    @property
    def review_at(self) -> float:
        return self.threshold if self.review_threshold is None else self.review_threshold

    @model_validator(mode="after")
    def _in_order(self) -> "RegionRule":
        if self.review_at > self.threshold:
            raise ValueError(f"review_threshold {self.review_at} is above threshold {self.threshold}; wanted below")
        if self.max_count > 0 and self.joined_at is None:
            raise ValueError(
                f"max_count {self.max_count} needs joined_at, the score at which regions that touch count as one; "
                f"if unsure take {self.review_at}"
            )
        if self.joined_at is not None and self.joined_at > self.review_at:
            raise ValueError(f"joined_at {self.joined_at} is above review_threshold {self.review_at}; wanted below")
        return self


class Demonstrated(Settings):
    """One statement that calibration has shown: `rate` is at most `target`, at `confidence`, from k of n parts."""

    rate: RateName
    target: float = Field(gt=0, lt=1)
    confidence: float = Field(gt=0, lt=1)
    k: int = Field(ge=0)
    n: int = Field(ge=1)


class Calibration(Settings):
    """Where calibrated rules come from: the parts they were chosen on, and what was shown of them."""

    dataset: str = ""
    dataset_hash: str = ""
    model: str = ""
    split: str
    unit: str
    provenance: Literal["real", "synthetic"]
    defective: int = Field(ge=0)
    healthy: int = Field(ge=0)
    demonstrated: tuple[Demonstrated, ...] = ()
    rules_sha256: str


class HealthyCalibration(Calibration):
    """Of a model that knows healthy parts alone, with their scores, ascending: for `decide.conformal.p_value`."""

    healthy_scores: tuple[float, ...] = Field(min_length=1)


class Decision(Settings):
    """`decision.json`: one rule per kind, and a default for the kinds that are not listed.

    A kind of the model without any rule is REVIEW. `calibration` is left out of a decision written by hand.
    """

    schema_version: Literal[1] = 1
    default: RegionRule | None = None
    kinds: dict[str, RegionRule] = Field(default_factory=dict)
    notes: str = ""
    calibration: SerializeAsAny[Calibration] | None = None

    @field_validator("calibration", mode="before")
    @classmethod
    def _with_scores(cls, value: Any) -> Any:
        """A calibration that brings scores is one of healthy parts."""
        scored = isinstance(value, dict) and "healthy_scores" in value
        return HealthyCalibration.model_validate(value) if scored else value

    @model_validator(mode="after")
    def _looks_at_something(self) -> "Decision":
        rules = [*self.kinds.values(), *([self.default] if self.default else [])]
        if all(rule.action == "ignore" for rule in rules):
            raise ValueError("no rule rejects or reviews anything: every part would pass; give a 'default' rule")
        return self

    def rule(self, kind: str) -> RegionRule | None:
        return self.kinds.get(kind, self.default)

    @property
    def rules_sha256(self) -> str:
        """Hash of the rules alone, without notes and calibration."""
        rules = self.model_dump(mode="json", include={"default", "kinds"})
        return sha256_of(json.dumps(rules, sort_keys=True).encode())

    @property
    def origin(self) -> Literal["hand", "calibrate", "edited"]:
        """ "edited": calibrated once, but the rules are no longer those; what was demonstrated no longer holds."""
        if self.calibration is None:
            return "hand"
        return "calibrate" if self.calibration.rules_sha256 == self.rules_sha256 else "edited"


def load_decision(path: Path | str) -> Decision:
    """Read `decision.json`. Raises `ConfigError` naming each wrong key or value."""
    path = Path(path)
    try:
        values = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique_keys)
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; make one: flawsmith calibrate") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, _RepeatedKeyError) as error:
        raise ConfigError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f'{path}: wanted {{"default": {{"threshold": …}}, …}}, got a {type(values).__name__}')
    return validate(Decision, values, str(path))


def save_decision(path: Path | str, decision: Decision) -> None:
    """Write `decision.json`, atomically."""
    write_json(Path(path), decision.model_dump(mode="json"))


def check_kinds(decision: Decision, kinds: Iterable[str], healthy: Iterable[str] = ()) -> None:
    """Raise `ConfigError` for a rule on a kind that the model does not know, a kind of the model without a rule, or a
    rule that would reject parts for being of a healthy class."""
    known = list(kinds)
    for kind in healthy:
        if (rule := decision.rule(kind)) is not None and rule.action != "ignore":
            raise ConfigError(f'{kind!r} is a class of good parts: give it "action": "ignore" under "kinds"')
    for kind in decision.kinds:
        if kind not in known:
            raise ConfigError(
                f"the decision has a rule for {kind!r}, which the model does not find.{nearest(kind, known)}"
            )
    if _ignores_all(decision, known):
        raise ConfigError(f"the decision ignores every kind that the model finds, {known}: every part would pass")
    missing = [kind for kind in known if decision.rule(kind) is None]
    if missing:
        raise ConfigError(f"the decision has no rule for {missing}; add one each under 'kinds', or a 'default' rule")


def _ignores_all(decision: Decision, kinds: Sequence[str]) -> bool:
    rules = [decision.rule(kind) for kind in kinds]
    return bool(rules) and all(rule is not None and rule.action == "ignore" for rule in rules)


def decide(prediction: Prediction, decision: Decision) -> Verdict:
    """The verdict on one image. Never raises on a bad prediction: what cannot be judged is REVIEW with its reason.

    >>> maps = np.zeros((1, 64, 64), np.float32)
    >>> maps[0, 10:20, 30:34] = 0.93
    >>> rules = Decision(default=RegionRule(threshold=0.6, min_area_px=20))
    >>> decide(Prediction(("scratch",), maps, 0.93), rules).reasons
    ('scratch: 40 px region, score 0.93 ≥ 0.60, at (30,10)-(34,20)',)
    """
    faults = _faults(prediction, decision)
    if faults:
        return Verdict("REVIEW", tuple(faults))
    findings = [
        _judge(kind, plane, rule)
        for kind, plane in zip(prediction.kinds, prediction.maps, strict=True)
        if (rule := decision.rule(kind)) is not None and rule.action != "ignore"
    ]
    return _worst(findings, float(prediction.score))


def part_verdict(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on a part seen in several images: the worst of them. No image at all is REVIEW."""
    if not verdicts:
        return Verdict("REVIEW", ("no image of this part",))
    scores = [verdict.score for verdict in verdicts if verdict.score is not None]
    return _worst(verdicts, max(scores, default=None))


def _worst(verdicts: Sequence[Verdict], score: float | None) -> Verdict:
    """The highest status, with the reasons and defects of all, the worst first."""
    ordered = sorted(verdicts, key=lambda verdict: -RANK[verdict.status])
    reasons = tuple(reason for verdict in ordered for reason in verdict.reasons)
    defects = tuple(defect for verdict in ordered for defect in verdict.defects)
    return Verdict(ordered[0].status if ordered else "OK", reasons, score, defects)


@dataclass(frozen=True, eq=False)
class _Excess:
    """More regions than a rule allows: where they are, the largest first, and how many count."""

    regions: Regions
    largest_first: np.ndarray
    count: int


def _judge(kind: str, plane: np.ndarray, rule: RegionRule) -> Verdict:
    """One kind's map (H, W). Whatever reaches the threshold lies within what reaches the review threshold."""
    plane = plane.astype(np.float32, copy=False)
    review = _excess(plane, rule, rule.review_at)
    if review is None:
        return Verdict("OK")
    reject = None
    if rule.action == "reject":
        reject = review if rule.review_at == rule.threshold else _excess(plane, rule, rule.threshold)
    return _explain(kind, rule, reject, "NG") if reject else _explain(kind, rule, review, "REVIEW")


def _excess(plane: np.ndarray, rule: RegionRule, level: float) -> _Excess | None:
    regions = find_regions(plane, level)
    large = np.flatnonzero(regions.areas >= rule.min_area_px)
    count = len(large)
    if rule.max_count > 0 and rule.joined_at is not None and count > rule.max_count:
        joined = joined_labels(plane, rule.joined_at)
        count = int(np.count_nonzero(apart_areas(regions, joined) >= rule.min_area_px))
    if count <= rule.max_count:
        return None
    return _Excess(regions, large[np.argsort(-regions.areas[large], kind="stable")], count)


def _explain(kind: str, rule: RegionRule, excess: _Excess, status: Status) -> Verdict:
    regions, largest_first = excess.regions, excess.largest_first
    if regions.plane.size == 1:  # a classifier's plane: there is no region to point at
        text = f"{kind}: probability {_told(regions.defect(0, kind).score, regions.level)}"
        return Verdict(status, (f"{text}{' (review)' if status == 'REVIEW' else ''}",))
    defects = tuple(regions.defect(int(index), kind) for index in largest_first[:DEFECTS_PER_KIND])
    reasons = [_sentence(defect, regions.level, status) for defect in defects[:REASONS_PER_KIND]]
    if rule.max_count > 0:
        reasons.insert(0, f"{kind}: {excess.count} regions of {rule.min_area_px} px or more, {rule.max_count} allowed")
    if len(largest_first) > REASONS_PER_KIND:
        reasons.append(f"{kind}: and {len(largest_first) - REASONS_PER_KIND} smaller regions")
    return Verdict(status, tuple(reasons), None, defects)


def _sentence(defect: Defect, level: float, status: Status) -> str:
    x0, y0, x1, y1 = defect.box
    scores = f"score {_told(defect.score, level)}{' (review)' if status == 'REVIEW' else ''}"
    return f"{defect.kind}: {defect.area_px} px region, {scores}, at ({x0},{y0})-({x1},{y1})"


def _told(score: float | None, level: float) -> str:
    digits = max(len(f"{level:.6f}".rstrip("0").partition(".")[2]), 2)
    return f"{score:.{digits}f} ≥ {level:.{digits}f}"


def _faults(prediction: Prediction, decision: Decision) -> list[str]:
    """Why the prediction cannot be judged by this decision; empty when it can."""
    maps, kinds = prediction.maps, prediction.kinds
    if not isinstance(maps, np.ndarray) or maps.ndim != 3 or maps.size == 0 or maps.dtype.kind != "f":
        given = f"{maps.dtype} {maps.shape}" if isinstance(maps, np.ndarray) else type(maps).__name__
        return [f"the model gave no usable maps ({given}; wanted float kinds x height x width)"]
    if len(kinds) != len(maps) or len(set(kinds)) != len(kinds):
        return [f"the model gave {len(maps)} maps for the kinds {list(kinds)}"]
    faults = [
        f"{kind}: the map holds values that are no scores"
        for kind, m in zip(kinds, maps, strict=True)
        if not _scores(m)
    ]
    if not isinstance(prediction.score, int | float | np.number) or not math.isfinite(prediction.score):
        faults.append("the model's image score is not a number")
    if _ignores_all(decision, kinds):
        faults.append("the decision ignores every kind that the model finds")
    judged = {kind for kind, rule in decision.kinds.items() if rule.action != "ignore"}
    faults += [f"{kind}: the model gave no map for this kind" for kind in sorted(judged - set(kinds))]
    faults += [f"{kind}: the decision has no rule for this kind" for kind in kinds if decision.rule(kind) is None]
    return faults


def _scores(plane: np.ndarray) -> bool:
    """Whether every value lies in [0, 1]. NaN fails both comparisons, infinity one."""
    return bool(plane.min() >= -_ROUNDING and plane.max() <= 1 + _ROUNDING)


class _RepeatedKeyError(ValueError):
    """JSON itself lets the last of two equal keys win, silently."""


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _RepeatedKeyError(f"the key {twice!r} is there twice; remove one")
    return values
