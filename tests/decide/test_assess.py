"""A fixed decision on other parts: counts, bounds, and what became of what was demonstrated."""

import json

import pytest
from made_up_parts import KINDS, easy, good, part

from flawsmith.core import ConfigError, DataError
from flawsmith.decide import Decision, RegionRule
from flawsmith.decide.assess import assess
from flawsmith.decide.bounds import upper_bound
from flawsmith.decide.calibrate import calibrate
from flawsmith.decide.request import CalibrationRequest

RULES = Decision(default=RegionRule(threshold=0.6, review_threshold=0.3))


def test_counts_and_bounds():
    pairs = [
        *easy(20, 30, split="test"),
        part("unseen", 0.1, split="test"),
        part("faint", 0.4, split="test"),
        good("loud", 0.7, split="test"),
        good("doubtful", 0.5, split="test"),
    ]
    result = assess(pairs, RULES)
    out = result.outcome
    assert (out.escapes.k, out.escapes.n, out.escaped) == (1, 22, ("unseen",))
    assert (out.false_rejects.k, out.false_rejects.n, out.falsely_rejected) == (1, 32, ("loud",))
    assert (out.review_defective.k, out.review_healthy.k) == (1, 1)
    assert out.escape_at_most == upper_bound(1, 22, 0.95)
    assert result.checks == ()
    assert json.loads(json.dumps(result.to_json(), allow_nan=False))["outcome"]["escaped"] == ["unseen"]
    assert ("escapes", "1 of 22 (4.55 %)", "95 % interval 0.115–22.8 %, bound 19.8 %") in result.rows()


def test_without_healthy_parts_nothing_is_known_of_false_rejects():
    result = assess([part("a", 0.9, split="test")], RULES)
    assert ("false rejects", "0 of 0", "nothing is known") in result.rows()
    assert result.to_json()["outcome"]["false_reject_at_most"] is None


def test_images_of_a_part_share_a_verdict():
    groups = {"part": "a"}
    pairs = [part("a0", 0.1, split="test", groups=groups), part("a1", 0.9, split="test", groups=groups)]
    assert assess(pairs, RULES).outcome.escapes.k == 0
    assert assess(pairs, RULES, unit="image").outcome.escapes.k == 1


@pytest.mark.parametrize(
    ("escapes", "parts", "standing"),
    [(0, 60, "confirmed"), (2, 20, "consistent"), (10, 60, "contradicted")],
)
def test_a_demonstrated_statement_is_checked(escapes, parts, standing):
    decision = calibrate(easy(60, 20), KINDS, CalibrationRequest(max_escape=0.05)).decision
    pairs = [*easy(parts - escapes, 5, split="test"), *(part(f"e{i}", 0.01, split="test") for i in range(escapes))]
    [check] = assess(pairs, decision).checks
    assert (check.standing, check.k, check.n) == (standing, escapes, parts)
    assert check.row()[1] == standing


def test_edited_rules_carry_no_statement():
    decision = calibrate(easy(60, 20), KINDS, CalibrationRequest(max_escape=0.05)).decision
    edited = decision.model_copy(update={"default": RegionRule(threshold=0.7)})
    result = assess(easy(5, 5, split="test"), edited)
    assert result.checks == ()
    assert any("edited after calibration" in note for note in result.notes)


def test_the_calibration_split_is_no_test():
    decision = calibrate(easy(60, 20), KINDS, CalibrationRequest(max_escape=0.05)).decision
    result = assess(easy(60, 20), decision, split="val")
    assert any("calibrated on the val split: these figures flatter it" in note for note in result.notes)


def test_a_broken_prediction_is_review_and_not_an_escape():
    sample, prediction = part("broken", 0.1, split="test")
    prediction.maps[:] = float("nan")
    out = assess([*easy(5, 5, split="test"), (sample, prediction)], RULES).outcome
    assert (out.escapes.k, out.review_defective.k) == (0, 1)


def test_refusals():
    with pytest.raises(DataError, match="of the val split, wanted test"):
        assess(easy(3, 3), RULES)
    with pytest.raises(DataError, match="no real images"):
        assess([], RULES)
    with pytest.raises(ConfigError, match="which the model does not find"):
        assess(easy(3, 3, split="test"), Decision(kinds={"dent": RegionRule(threshold=0.5)}))
