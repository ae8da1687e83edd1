"""Verdicts: what each rule says, that laxer rules never judge harder, and that bad input is never OK."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from flawsmith.core import ConfigError, Prediction, Verdict
from flawsmith.decide import Decision, RegionRule, check_kinds, decide, part_verdict
from flawsmith.decide.rules import DEFECTS_PER_KIND, RANK

STEPS = [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0]


def predict(*planes: np.ndarray, kinds: tuple[str, ...] = ("scratch", "pit")) -> Prediction:
    maps = np.stack(planes).astype(np.float32)
    return Prediction(kinds[: len(planes)], maps, float(maps.max()))


def blob(score: float, area: int = 40, at: int = 10) -> np.ndarray:
    plane = np.zeros((64, 64), np.float32)
    plane[at : at + area // 4, 30:34] = score
    return plane


def one(**rule) -> Decision:
    return Decision(default=RegionRule(**rule))


def test_a_region_over_the_threshold_is_ng_with_its_reason():
    verdict = decide(predict(blob(0.93)), one(threshold=0.6, min_area_px=20))
    assert verdict.status == "NG"
    assert verdict.reasons == ("scratch: 40 px region, score 0.93 ≥ 0.60, at (30,10)-(34,20)",)
    assert [(d.kind, d.box, d.area_px) for d in verdict.defects] == [("scratch", (30, 10, 34, 20), 40)]
    assert verdict.score == pytest.approx(0.93)


@pytest.mark.parametrize(
    ("score", "area", "rule", "status"),
    [
        (0.5, 40, {"threshold": 0.6}, "OK"),
        (0.6, 40, {"threshold": 0.6}, "NG"),
        (0.9, 40, {"threshold": 0.6, "min_area_px": 40}, "NG"),
        (0.9, 40, {"threshold": 0.6, "min_area_px": 41}, "OK"),
        (0.9, 40, {"threshold": 0.6, "min_area_px": 0}, "NG"),
        (0.5, 40, {"threshold": 0.6, "review_threshold": 0.3}, "REVIEW"),
        (0.2, 40, {"threshold": 0.6, "review_threshold": 0.3}, "OK"),
        (0.5, 40, {"threshold": 0.6, "review_threshold": 0.3, "min_area_px": 41}, "OK"),
        (0.9, 40, {"threshold": 0.6, "action": "review"}, "REVIEW"),
        (0.9, 40, {"threshold": 0.6, "max_count": 1, "joined_at": 0.1}, "OK"),
        (0.0, 40, {"threshold": 0.0}, "NG"),
        (1.0, 40, {"threshold": 1.0}, "NG"),
    ],
)
def test_one_region_against_one_rule(score, area, rule, status):
    verdict = decide(predict(blob(score, area)), one(**rule))
    assert verdict.status == status
    assert bool(verdict.reasons) == (status != "OK")


def test_more_regions_than_allowed():
    plane = np.maximum(blob(0.9, 24, at=5), np.maximum(blob(0.8, 20, at=20), blob(0.7, 16, at=40)))
    rule = {"threshold": 0.6, "min_area_px": 16, "joined_at": 0.3}
    assert decide(predict(plane), one(**rule, max_count=3)).status == "OK"
    verdict = decide(predict(plane), one(**rule, max_count=2))
    assert verdict.status == "NG"
    assert verdict.reasons[0] == "scratch: 3 regions of 16 px or more, 2 allowed"
    assert len(verdict.defects) == 3


def test_a_wide_weak_region_with_a_small_strong_core_is_review():
    plane = blob(0.4, 40)
    plane[12, 31] = 0.9  # strong, but smaller than the minimum area
    verdict = decide(predict(plane), one(threshold=0.6, review_threshold=0.3, min_area_px=10))
    assert verdict.status == "REVIEW"
    assert verdict.reasons == ("scratch: 40 px region, score 0.90 ≥ 0.30 (review), at (30,10)-(34,20)",)


@pytest.mark.parametrize(
    ("level", "text"), [(0.6, "≥ 0.60"), (0.9995, "≥ 0.9995"), (1e-05, "≥ 0.00001"), (1.0, "≥ 1.00")]
)
def test_the_threshold_is_printed_with_all_its_digits(level, text):
    assert text in decide(predict(blob(1.0)), one(threshold=level)).reasons[0]


def test_each_kind_has_its_own_rule():
    decision = Decision(
        default=RegionRule(threshold=0.5),
        kinds={"scratch": RegionRule(threshold=0.95), "stain": RegionRule(threshold=0.5, action="ignore")},
    )
    prediction = predict(blob(0.9), blob(0.6, at=30), blob(1.0), kinds=("scratch", "pit", "stain"))
    verdict = decide(prediction, decision)
    assert [d.kind for d in verdict.defects] == ["pit"]


def test_ng_comes_before_review_and_keeps_both_reasons():
    decision = Decision(
        kinds={"scratch": RegionRule(threshold=0.9, review_threshold=0.3), "pit": RegionRule(threshold=0.5)}
    )
    verdict = decide(predict(blob(0.5), blob(0.6)), decision)
    assert verdict.status == "NG"
    assert [reason.split(":")[0] for reason in verdict.reasons] == ["pit", "scratch"]


def test_a_map_full_of_specks_gives_a_short_answer():
    plane = np.zeros((200, 200), np.float32)
    plane[::2, ::2] = 0.9
    verdict = decide(predict(plane), one(threshold=0.5))
    assert len(verdict.defects) == DEFECTS_PER_KIND
    assert verdict.reasons[-1] == "scratch: and 9995 smaller regions"


def bad_predictions() -> dict[str, Prediction]:
    good = predict(blob(0.1), blob(0.1))
    nan, infinite, large, negative = (good.maps.copy() for _ in range(4))
    nan[1, 60, 60], infinite[0, 3, 3], large[0, 3, 3], negative[1, 2, 2] = np.nan, -np.inf, 1.5, -0.5
    return {
        "nan": replace(good, maps=nan),
        "infinite": replace(good, maps=infinite),
        "above one": replace(good, maps=large),
        "below zero": replace(good, maps=negative),
        "score nan": replace(good, score=float("nan")),
        "score missing": replace(good, score=None),  # pyright: ignore[reportArgumentType]
        "a map missing": replace(good, maps=good.maps[:1]),
        "a kind missing": Prediction(("scratch",), good.maps[:1], 0.1),
        "no kinds": Prediction((), good.maps[:0], 0.0),
        "no pixels": replace(good, maps=good.maps[:, :0]),
        "no maps": replace(good, maps=None),  # pyright: ignore[reportArgumentType]
        "flat": replace(good, maps=good.maps[0]),
        "integers": replace(good, maps=good.maps.astype(np.uint8)),
        "twice the same kind": replace(good, kinds=("pit", "pit")),
        "unknown kind": replace(good, kinds=("scratch", "dent")),
    }


STRICT = Decision(kinds={"scratch": RegionRule(threshold=0.5), "pit": RegionRule(threshold=0.5)})


def test_the_control_for_bad_predictions_is_ok():
    assert decide(predict(blob(0.1), blob(0.1)), STRICT).status == "OK"


@pytest.mark.parametrize("name", list(bad_predictions()))
def test_what_cannot_be_judged_is_review_with_a_reason(name):
    verdict = decide(bad_predictions()[name], STRICT)
    assert verdict.status == "REVIEW"
    assert all(verdict.reasons)
    assert verdict.score is None


def test_an_ignored_kind_may_be_missing_but_not_broken():
    decision = Decision(default=RegionRule(threshold=0.5), kinds={"pit": RegionRule(threshold=0.5, action="ignore")})
    assert decide(predict(blob(0.1)), decision).status == "OK"
    broken = predict(blob(0.1), np.full((64, 64), np.nan))
    assert decide(broken, decision).status == "REVIEW"


def test_scores_of_a_quantised_engine_may_round_over_one():
    verdict = decide(predict(blob(1.0004)), one(threshold=0.5))
    assert verdict.status == "NG"
    assert verdict.defects[0].score == 1.0


levels = st.sampled_from(STEPS)
planes = arrays(np.float32, (9, 9), elements=st.sampled_from(STEPS))


@st.composite
def rules(draw) -> RegionRule:
    joined, review, threshold = sorted(draw(st.lists(levels, min_size=3, max_size=3)))
    count = draw(st.integers(0, 3))
    return RegionRule(
        threshold=threshold,
        review_threshold=review,
        min_area_px=draw(st.integers(0, 12)),
        max_count=count,
        joined_at=joined if count else None,
        action=draw(st.sampled_from(["reject", "review"])),
    )


@st.composite
def laxer(draw, rule: RegionRule) -> RegionRule:
    """One of the knobs turned towards passing more."""
    review = draw(st.sampled_from([s for s in STEPS if s >= rule.review_at]))
    threshold = draw(st.sampled_from([s for s in STEPS if s >= max(rule.threshold, review)]))
    count = rule.max_count + draw(st.integers(0, 2))
    joined = rule.joined_at if rule.max_count else draw(st.sampled_from([s for s in STEPS if s <= review]))
    return RegionRule(
        threshold=threshold,
        review_threshold=review,
        min_area_px=rule.min_area_px + draw(st.integers(0, 5)),
        max_count=count,
        joined_at=joined if count else None,
        action="review" if rule.action == "review" else draw(st.sampled_from(["reject", "review"])),
    )


@settings(max_examples=150)
@given(planes, st.data())
def test_a_laxer_rule_never_judges_harder(plane, data):
    rule = data.draw(rules())
    lax = data.draw(laxer(rule))
    before, after = (decide(predict(plane), Decision(default=r)).status for r in (rule, lax))
    assert RANK[after] <= RANK[before]


@given(planes, rules())
def test_a_higher_map_never_judges_softer_without_a_count(plane, rule):
    rule = rule.model_copy(update={"max_count": 0})
    higher = np.minimum(plane + np.float32(0.2), 1)
    before, after = (decide(predict(p), Decision(default=rule)).status for p in (plane, higher))
    assert RANK[after] >= RANK[before]


@given(planes, rules())
def test_half_and_double_precision_judge_alike(plane, rule):
    verdicts = {
        decide(Prediction(("pit",), plane[None].astype(np.float16).astype(t), 0.5), Decision(default=rule)).status
        for t in (np.float16, np.float32, np.float64)
    }
    assert len(verdicts) == 1


def test_a_part_is_as_bad_as_its_worst_image():
    ok, review, ng = Verdict("OK", score=0.1), Verdict("REVIEW", ("unsure",), 0.4), Verdict("NG", ("scratch",), 0.9)
    assert part_verdict([ok, ok]).status == "OK"
    assert part_verdict([ok, review]).status == "REVIEW"
    both = part_verdict([review, ng, ok])
    assert (both.status, both.reasons, both.score) == ("NG", ("scratch", "unsure"), 0.9)
    assert part_verdict([]).status == "REVIEW"


def test_rules_refuse_what_makes_no_sense():
    for wrong in (
        {"threshold": 0.5, "review_threshold": 0.6},
        {"threshold": 0.5, "max_count": 2},
        {"threshold": 0.5, "review_threshold": 0.3, "max_count": 2, "joined_at": 0.4},
        {"threshold": float("nan")},
        {"threshold": 1.1},
        {"threshold": True},
        {"threshold": 0.5, "min_area_px": -1},
        {"threshold": 0.5, "min_area_px": 2.5},
        {"threshold": 0.5, "min_area": 3},
    ):
        with pytest.raises(ValidationError):
            RegionRule(**wrong)
    assert RegionRule(threshold=1, review_threshold=0, min_area_px=0).review_at == 0


def test_a_decision_that_ignores_everything_is_refused():
    with pytest.raises(ValidationError, match="every part would pass"):
        Decision(default=RegionRule(threshold=0.5, action="ignore"))


def test_check_kinds_names_the_nearest():
    decision = Decision(kinds={"scrach": RegionRule(threshold=0.5)})
    with pytest.raises(ConfigError, match=r"'scrach'.*Did you mean 'scratch'"):
        check_kinds(decision, ["scratch", "pit"])
    with pytest.raises(ConfigError, match=r"no rule for \['pit'\]"):
        check_kinds(Decision(kinds={"scratch": RegionRule(threshold=0.5)}), ["scratch", "pit"])
    check_kinds(one(threshold=0.5), ["scratch", "pit"])


def test_the_station_needs_no_workshop():
    heavy = ("torch", "scipy", "pyarrow", "sklearn", "flawsmith.dataset", "flawsmith.model", "flawsmith.evaluate")
    code = f"import sys, flawsmith.decide.rules; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_decision_that_ignores_all_the_model_finds_passes_nothing():
    rules = Decision(default=RegionRule(threshold=0.5), kinds={"scratch": RegionRule(threshold=0.5, action="ignore")})
    bad = Prediction(("scratch",), np.ones((1, 8, 8), np.float32), 1.0)
    assert decide(bad, rules).status == "REVIEW"
    with pytest.raises(ConfigError, match="every part would pass"):
        check_kinds(rules, ["scratch"])
    check_kinds(rules, ["scratch", "dent"])
