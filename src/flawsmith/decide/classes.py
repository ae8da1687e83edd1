"""Decisions on classes: which of a classifier's planes may reject a part."""

from flawsmith.core.errors import ConfigError
from flawsmith.core.spec import FAULTY, UNKNOWN, ModelSpec
from flawsmith.decide.request import CalibrationRequest, KindRequest
from flawsmith.decide.rules import Decision, RegionRule

_EVEN = 0.5


def first_decision(spec: ModelSpec) -> Decision:
    """To begin with, before anything is calibrated: a part is bad where a fault is more probable than none, and what
    is unknown goes to a person. Classes that do not tell good from bad are only named."""
    named = spec.healthy if FAULTY in spec.kinds else spec.classes
    rules = {name: RegionRule(threshold=1.0, action="ignore") for name in named}
    rules |= {kind: RegionRule(threshold=_EVEN) for kind in spec.kinds if kind not in named}
    rules[UNKNOWN] = RegionRule(threshold=_EVEN, action="review")
    return Decision(kinds=rules, notes="as trained: nothing is calibrated or demonstrated")


def asked_of(spec: ModelSpec, request: CalibrationRequest) -> dict[str, KindRequest]:
    """What calibration is to settle: the probability of a fault rejects (that of one class never exceeds it), what is
    unknown goes to review, or is rejected where a review has no price.

    Raises `ConfigError` where no class is faulty, or none healthy.
    """
    if FAULTY not in spec.kinds:
        raise ConfigError(
            f"the classes {list(spec.classes)} do not tell good parts from bad, so there is no threshold to calibrate: "
            "export with the decision.json that training left in the run folder, or edit it"
        )
    priced = request.costs is None or request.costs.review is not None
    unknown = KindRequest(action="review" if priced else "reject")
    return {name: KindRequest(action="ignore") for name in spec.healthy} | {UNKNOWN: unknown}


def unknown_to_a_person() -> Decision:
    """The decision of a model of orientation: no pose is a fault; what it does not know goes to a person."""
    return Decision(
        kinds={UNKNOWN: RegionRule(threshold=0.5, action="review")},
        default=RegionRule(threshold=1.0, action="ignore"),
        notes="as trained: nothing is calibrated or demonstrated",
    )


def beyond_the_known() -> Decision:
    """The decision of a model of anomalies to begin with: what departs farther than 95 % of the healthy images did
    that it was held against."""
    return Decision(default=RegionRule(threshold=_EVEN), notes="as trained: nothing is calibrated or demonstrated")
