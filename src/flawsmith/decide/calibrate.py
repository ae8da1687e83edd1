"""Choose thresholds and minimum area on the validation split, and say what that shows about parts not yet made."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from flawsmith.core.errors import DataError, GateError
from flawsmith.core.prediction import Prediction, Status
from flawsmith.core.sample import Sample
from flawsmith.decide.bounds import is_shown, parts_needed, upper_bound
from flawsmith.decide.choose import (
    Choice,
    Limits,
    Weights,
    choose,
    count_at_least,
    every_area,
    show_escape,
    show_false_reject,
)
from flawsmith.decide.conformal import levels_between
from flawsmith.decide.report import PARTS, PLURAL, RATES, CalibrationReport, Cost, Outcome, needs_of, percent
from flawsmith.decide.request import CalibrationRequest, CostMatrix
from flawsmith.decide.rules import Calibration, Decision, Demonstrated, HealthyCalibration, RateName, RegionRule
from flawsmith.decide.select import Facts, Selection, select
from flawsmith.decide.summary import ImageSummary, PartAreas, gather, summarise


@dataclass(frozen=True, eq=False)
class _Evidence:
    """Defective and healthy parts as counts over the candidate areas and the levels."""

    defective: PartAreas
    healthy: PartAreas
    levels: tuple[float, ...]
    areas: np.ndarray


def calibrate(
    pairs: Iterable[tuple[Sample, Prediction]], kinds: Sequence[str], request: CalibrationRequest
) -> CalibrationReport:
    """Choose a decision on predictions of the validation split; one map at a time is held.

    Raises `GateError` when a target cannot be shown with these parts, saying how many it needs, `DataError` when the
    samples cannot serve, `ConfigError` for a kind that the model does not know.

    >>> request = CalibrationRequest(max_escape=0.01)                                   # doctest: +SKIP
    >>> report = calibrate(((s, predict(s)) for s in data.split("val")), kinds, request)  # doctest: +SKIP
    >>> save_decision("decision.json", report.decision)                                 # doctest: +SKIP
    """
    request.actions(kinds)
    summaries = [_checked(sample, prediction, kinds, request) for sample, prediction in pairs]
    return calibrate_summaries(summaries, kinds, request)


def calibrate_scores(
    pairs: Iterable[tuple[Sample, Prediction]], kinds: Sequence[str], request: CalibrationRequest
) -> CalibrationReport:
    """As `calibrate`, for a model whose scores have no scale of their own, as one that knows healthy parts only.

    The thresholds lie between the scores of the healthy parts, and are the request's above them, so that no healthy
    part is given away. That is as good as declaring them beforehand: see `conformal.levels_between`; and defective
    parts are independent of the healthy ones. The scores of the healthy parts go with the decision, for p-values.

    A request for other minimum areas than one pixel is left to `calibrate`.
    """
    if request.areas != (1,):
        return calibrate(pairs, kinds, request)
    facts, tops, scores = [], [], []
    for sample, prediction in pairs:
        facts.append(_checked(sample, prediction, kinds, request).facts)
        tops.append(prediction.maps.max(axis=(1, 2)))
        scores.append(float(prediction.score))
    ignored = {kind for kind, asked in request.kinds.items() if asked.action == "ignore"}
    healthy = select(facts, request.split, request.unit, request.provenance, ignored).healthy.values()
    between = levels_between([tops[i].max() for rows in healthy for i in rows])
    beyond = [level for level in request.thresholds if not between or level > between[-1]]
    request = request.model_copy(update={"thresholds": (*between, *beyond)})
    levels = np.array(request.levels, np.float32)
    summaries = [
        ImageSummary(fact, (top[:, None] >= levels).astype(np.int32)) for fact, top in zip(facts, tops, strict=True)
    ]
    report = calibrate_summaries(summaries, kinds, request)
    known = tuple(sorted(max(scores[i] for i in rows) for rows in healthy))
    if not known or report.decision.calibration is None:
        return report
    calibration = HealthyCalibration(**dict(report.decision.calibration), healthy_scores=known)
    return replace(report, decision=report.decision.model_copy(update={"calibration": calibration}))


def _checked(sample: Sample, prediction: Prediction, kinds: Sequence[str], request: CalibrationRequest) -> ImageSummary:
    if tuple(prediction.kinds) != tuple(kinds):
        raise DataError(f"{sample.id}: predicted kinds {list(prediction.kinds)}, wanted {list(kinds)}")
    return summarise(sample, prediction, request.levels, request.counting, request.areas)


def calibrate_summaries(
    summaries: Sequence[ImageSummary], kinds: Sequence[str], request: CalibrationRequest
) -> CalibrationReport:
    """As `calibrate`, from summaries made with the request's `levels`, `counting` and `areas`."""
    actions = request.actions(kinds)
    for summary in summaries:
        if summary.areas.shape != (len(kinds), len(request.levels)):
            wanted = (len(kinds), len(request.levels))
            raise DataError(
                f"{summary.facts.id}: summary of {summary.areas.shape} (kinds, thresholds), wanted {wanted}"
            )
    ignored = {kind for kind, asked in request.kinds.items() if asked.action == "ignore"}
    facts = [summary.facts for summary in summaries]
    selection = select(facts, request.split, request.unit, request.provenance, ignored)
    evidence = _evidence(summaries, selection, actions, request)
    limits = _limits(evidence, request)
    choice = choose(
        evidence.defective,
        evidence.healthy,
        evidence.areas,
        _weights(evidence, request),
        limits,
        request.band,
        _preference(evidence),
    )
    if choice is None:
        raise GateError(
            "each target can be shown alone, but no one rule shows both; allow a REVIEW band, or ease one of them"
        )
    return _report(choice, evidence, limits, selection, request)


def _evidence(
    summaries: Sequence[ImageSummary], selection: Selection, actions: Sequence[str], request: CalibrationRequest
) -> _Evidence:
    reject, review = np.array([a == "reject" for a in actions]), np.array([a != "ignore" for a in actions])
    defective = gather(summaries, selection.defective.values(), reject, review)
    healthy = gather(summaries, selection.healthy.values(), reject, review)
    if request.costs and not (len(defective) and len(healthy)):
        raise DataError(
            f"costs need healthy and defective parts; there are {len(healthy)} healthy, {len(defective)} defective"
            + (
                "; where good and bad images are of one part, count images: --unit image"
                if request.unit != "image"
                else ""
            )
        )
    areas = every_area(defective, healthy) if request.areas is None else np.array(request.areas, np.int64)
    return _Evidence(defective, healthy, request.levels, areas)


def check_enough(samples: Iterable[Sample], request: CalibrationRequest) -> None:
    """Raise `GateError` when the parts are too few even for a model without error: worth asking before running it."""
    ignored = {kind for kind, asked in request.kinds.items() if asked.action == "ignore"}
    selection = select([Facts.of(s) for s in samples], request.split, request.unit, request.provenance, ignored)
    sizes = {"escape": len(selection.defective), "false_reject": len(selection.healthy)}
    walks = len(request.areas or (1,))
    failures = [
        _shortfall(name, target, 0, sizes[name], walks, request)
        for name, target in request.targets
        if not is_shown(0, sizes[name], target, (1 - request.confidence) / walks)
    ]
    if failures:
        raise GateError(". ".join(failures))


def _limits(evidence: _Evidence, request: CalibrationRequest) -> Limits:
    """What is shown to meet the targets. Raises `GateError` naming every target that nothing meets."""
    shown: dict[RateName, np.ndarray] = {}
    failures = []
    for name, target in request.targets:
        show, parts, areas = (
            (show_escape, evidence.defective, evidence.defective.review_sorted)
            if name == "escape"
            else (show_false_reject, evidence.healthy, evidence.healthy.reject_sorted)
        )
        hits = count_at_least(areas, evidence.areas)
        shown[name] = show(hits, len(parts), target, request.confidence)
        if not shown[name].any():
            # the safest candidate: the lowest threshold and area let the least pass, the highest reject the least
            k = len(parts) - int(hits[0, 0]) if name == "escape" else int(hits[-1, -1])
            failures.append(_shortfall(name, target, k, len(parts), len(evidence.areas), request))
    if failures:
        raise GateError(". ".join(failures))
    return Limits(shown.get("escape"), shown.get("false_reject"))


def _shortfall(rate: RateName, target: float, k: int, n: int, walks: int, request: CalibrationRequest) -> str:
    """Why a target is not demonstrable, and what would make it so. `k` is what even the safest candidate gets wrong."""
    parts, confidence = PARTS[rate], 1 - (1 - request.confidence) / walks
    text = f"{PLURAL[rate]} ≤ {percent(target)} at {percent(request.confidence)} confidence: not demonstrable with "
    text += f"n = {n} {parts} parts, needs {parts_needed(0, target, confidence)} without any"
    if walks > 1:
        alone = parts_needed(0, target, request.confidence)
        text += f" ({alone} with one minimum area; {walks} share the error probability)"
    if k:
        safest = "lowest" if rate == "escape" else "highest"
        needs = parts_needed(k, target, confidence)
        text += f"; here there are {k} even at the {safest} threshold, and with {k} it needs {needs}"
    if n:
        text += f". These {n} can show at best ≤ {percent(upper_bound(k, n, confidence))}"
    return text + ". With few parts choose by cost instead: --cost ESCAPE FALSE_REJECT --prevalence SHARE"


def _weights(evidence: _Evidence, request: CalibrationRequest) -> Weights:
    """Money where there is a cost matrix; else whole numbers that rank first what no target limits."""
    n1, n0 = len(evidence.defective), len(evidence.healthy)
    if request.costs:
        bad, good = request.costs.prevalence / n1, (1 - request.costs.prevalence) / n0
        review = request.costs.review or 0.0
        return Weights(bad * request.costs.escape, good * request.costs.false_reject, bad * review, good * review)
    if n1 == 0 or n0 == 0:
        return Weights(0, 0)
    if request.max_false_reject is None:
        return Weights(escape=1, false_reject=n1 + 1)
    if request.max_escape is None:
        return Weights(escape=n0 + 1, false_reject=1)
    return Weights(1, 1, n0 + n1 + 1, n0 + n1 + 1)


def _preference(evidence: _Evidence) -> Literal["middle", "lowest", "highest"]:
    """With one sort of part missing, nothing is known of its errors: go as far towards it as the target allows."""
    if not len(evidence.defective):
        return "lowest"
    return "middle" if len(evidence.healthy) else "highest"


def _report(
    choice: Choice, evidence: _Evidence, limits: Limits, selection: Selection, request: CalibrationRequest
) -> CalibrationReport:
    outcome = Outcome.of(
        list(zip(selection.defective, _statuses(evidence.defective, choice), strict=True)),
        list(zip(selection.healthy, _statuses(evidence.healthy, choice), strict=True)),
        request.confidence,
    )
    row = int(np.flatnonzero(evidence.areas == choice.min_area_px)[0])
    levels = np.array(evidence.levels)
    return CalibrationReport(
        decision=_decision(choice, evidence, outcome, request),
        threshold=evidence.levels[choice.reject],
        review_threshold=evidence.levels[choice.review],
        min_area_px=choice.min_area_px,
        unit=request.unit,
        outcome=outcome,
        allowed=(
            None if limits.escape is None else float(levels[limits.escape[row]].max()),
            None if limits.false_reject is None else float(levels[limits.false_reject[row]].min()),
        ),
        needs=needs_of(outcome, request.targets),
        cost=_cost(outcome, request.costs),
        notes=(*selection.notes, *_notes(outcome, request, len(evidence.areas))),
    )


def _statuses(parts: PartAreas, choice: Choice) -> list[Status]:
    area = max(choice.min_area_px, 1)
    rejected, halted = parts.reject[:, choice.reject] >= area, parts.review[:, choice.review] >= area
    return ["NG" if ng else "REVIEW" if review else "OK" for ng, review in zip(rejected, halted, strict=True)]


def _decision(choice: Choice, evidence: _Evidence, outcome: Outcome, request: CalibrationRequest) -> Decision:
    rule = RegionRule(
        threshold=evidence.levels[choice.reject],
        review_threshold=evidence.levels[choice.review] if choice.review < choice.reject else None,
        min_area_px=choice.min_area_px,
    )
    kinds = {
        kind: RegionRule.model_validate(rule.model_dump() | asked.model_dump()) for kind, asked in request.kinds.items()
    }
    shown = [
        Demonstrated(rate=name, target=target, confidence=request.confidence, k=rate.k, n=rate.n)
        for name, target in request.targets
        for rate in [outcome.rate(name)]
    ]
    plain = Decision(default=rule, kinds=kinds)
    calibration = Calibration(
        dataset=request.dataset,
        dataset_hash=request.dataset_hash,
        model=request.model,
        split=request.split,
        unit=request.unit,
        provenance=request.provenance,
        defective=len(evidence.defective),
        healthy=len(evidence.healthy),
        demonstrated=tuple(shown),
        rules_sha256=plain.rules_sha256,
    )
    return plain.model_copy(update={"calibration": calibration})


def _cost(outcome: Outcome, costs: CostMatrix | None) -> Cost | None:
    if costs is None:
        return None

    def expected(rates: Sequence[float]) -> float:
        escape, reject, bad, good = rates
        review = costs.review or 0.0
        defective = costs.escape * escape + review * bad
        return costs.prevalence * defective + (1 - costs.prevalence) * (costs.false_reject * reject + review * good)

    rates = (outcome.escapes, outcome.false_rejects, outcome.review_defective, outcome.review_healthy)
    return Cost(
        per_part=expected([rate.value or 0.0 for rate in rates]),
        at_worst=expected([upper_bound(rate.k, rate.n, outcome.confidence) for rate in rates]),
        pass_all=expected((1, 0, 0, 0)),
        reject_all=expected((0, 1, 0, 0)),
        review_all=None if costs.review is None else expected((0, 0, 1, 1)),
    )


def _notes(outcome: Outcome, request: CalibrationRequest, areas: int) -> list[str]:
    notes = [
        "the rules were chosen on these parts, so the intervals above may flatter them; "
        "assess the decision on the test split, which has had no part in it"
    ]
    if request.targets:
        notes.append(
            "a statement under 'demonstrated' allows for that choice, if nothing else was chosen on this split: "
            "a model whose training stopped early by it is a little flattered too"
        )
    else:
        notes.append("no target was given, so nothing is demonstrated: this is the cheapest rule on these parts")
    if len(request.targets) == 2:
        both = percent(1 - 2 * (1 - request.confidence))
        notes.append(
            f"each statement holds at {percent(request.confidence)} confidence, both together at {both} or more"
        )
    if outcome.review_defective.k + outcome.review_healthy.k:
        notes.append("escapes are counted as if people found every defect among the parts sent to review")
    if request.targets and areas > 1:
        notes.append(f"{areas} minimum areas share the error probability; with one, fewer parts would do")
    notes += [
        f"no {PARTS[name]} parts: nothing is known of {PLURAL[name]}" for name in RATES if not outcome.rate(name).n
    ]
    return notes
