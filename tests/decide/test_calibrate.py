"""Calibration from predictions to a decision: what it chooses, what it refuses, and what it says."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_up_parts import KINDS, easy, good, part
from pydantic import ValidationError

from flawsmith.core import ConfigError, DataError, GateError, Prediction, Sample
from flawsmith.decide import decide, load_decision, part_verdict, save_decision
from flawsmith.decide.calibrate import calibrate, calibrate_summaries, check_enough
from flawsmith.decide.report import COLUMNS
from flawsmith.decide.request import CalibrationRequest, CostMatrix, KindRequest
from flawsmith.decide.summary import THRESHOLDS, summarise


def verdicts(pairs, decision) -> list[str]:
    return [decide(prediction, decision).status for _, prediction in pairs]


def test_max_escape_is_demonstrated_with_enough_parts():
    pairs = easy(299, 50)
    report = calibrate(pairs, KINDS, CalibrationRequest(max_escape=0.01))
    assert 0.2 < report.threshold < 0.8
    assert report.threshold == report.review_threshold
    assert (report.outcome.escapes.k, report.outcome.escapes.n) == (0, 299)
    assert (report.outcome.false_rejects.k, report.outcome.false_rejects.n) == (0, 50)
    assert report.outcome.escape_at_most == pytest.approx(0.01, abs=1e-4)
    [shown] = report.demonstrated
    assert (shown.rate, shown.target, shown.confidence, shown.k, shown.n) == ("escape", 0.01, 0.95, 0, 299)
    assert report.allowed == (0.8, None)
    assert verdicts(pairs, report.decision) == ["NG"] * 299 + ["OK"] * 50


def test_one_part_too_few_is_not_demonstrable_and_says_what_is_needed():
    with pytest.raises(
        GateError, match=r"not demonstrable with n = 298 defective parts, needs 299 without any"
    ) as error:
        calibrate(easy(298, 50), KINDS, CalibrationRequest(max_escape=0.01))
    assert error.value.exit_code == 1
    assert "can show at best ≤ 1 %" in str(error.value)


def test_parts_that_no_threshold_finds_are_named_in_the_need():
    pairs = [*easy(500, 20), *(part(f"unseen{i}", 0.0) for i in range(3))]
    with pytest.raises(GateError, match=r"here there are 3 even at the lowest threshold, and with 3 it needs 773"):
        calibrate(pairs, KINDS, CalibrationRequest(max_escape=0.01))


def test_healthy_parts_in_abundance_and_no_defects():
    pairs = easy(0, 400)
    report = calibrate(pairs, KINDS, CalibrationRequest(max_false_reject=0.01))
    assert report.threshold == report.allowed[1] == 0.22  # 4 of 400 reach 0.2, too many to show 1 %
    assert report.outcome.escapes.value is None
    assert any("nothing is known of escapes" in note for note in report.notes)
    with pytest.raises(GateError, match="n = 0 defective parts, needs 299"):
        calibrate(pairs, KINDS, CalibrationRequest(max_escape=0.01))


def test_max_false_reject_alone_passes_the_fewest_defects():
    pairs = [*easy(50, 400), *(part(f"faint{i}", 0.5) for i in range(5))]
    report = calibrate(pairs, KINDS, CalibrationRequest(max_false_reject=0.01))
    assert 0.2 < report.threshold <= 0.5
    assert report.outcome.escapes.k == 0


def test_both_targets_and_no_overlap_leave_a_review_band():
    """Faint defects and loud healthy parts: each target alone is met, and between them a person looks."""
    faint = [part(f"faint{i}", 0.3) for i in range(30)]
    loud = [good(f"loud{i}", 0.6) for i in range(30)]
    pairs = [*easy(299, 299), *faint, *loud]
    request = CalibrationRequest(max_escape=0.01, max_false_reject=0.01)
    report = calibrate(pairs, KINDS, request)
    assert report.review_threshold <= 0.3 < 0.6 < report.threshold
    assert (report.outcome.escapes.k, report.outcome.false_rejects.k) == (0, 0)
    assert (report.outcome.review_defective.k, report.outcome.review_healthy.k) == (30, 30)
    assert len(report.demonstrated) == 2
    assert any("both together at 90 %" in note for note in report.notes)
    assert any("as if people found every defect" in note for note in report.notes)
    with pytest.raises(GateError, match="no one rule shows both; allow a REVIEW band"):
        calibrate(pairs, KINDS, request.model_copy(update={"allow_review": False}))


def test_both_targets_with_overlap_need_no_band():
    report = calibrate(easy(299, 299), KINDS, CalibrationRequest(max_escape=0.01, max_false_reject=0.01))
    assert report.threshold == report.review_threshold
    assert report.decision.default
    assert report.decision.default.review_threshold is None


def test_both_failures_are_told_at_once():
    with pytest.raises(GateError, match=r"escapes ≤ 1 %.*false rejects ≤ 2 %"):
        calibrate(easy(10, 10), KINDS, CalibrationRequest(max_escape=0.01, max_false_reject=0.02))


def test_costs_choose_the_minimum_area():
    """Loud specks on healthy parts, faint large defects: only an area separates them."""
    pairs = [part(f"bad{i}", 0.5, side=8) for i in range(20)] + [good(f"good{i}", 0.9, side=2) for i in range(20)]
    costs = CostMatrix(escape=100, false_reject=1, prevalence=0.01)
    report = calibrate(pairs, KINDS, CalibrationRequest(costs=costs))
    assert 4 < report.min_area_px <= 64
    assert report.threshold <= 0.5
    assert report.cost
    assert report.cost.per_part == 0
    assert (report.cost.pass_all, report.cost.reject_all, report.cost.review_all) == (1, 0.99, None)
    at_most = 1 - 0.05 ** (1 / 20)
    assert report.cost.at_worst == pytest.approx(0.01 * 100 * at_most + 0.99 * at_most)
    assert report.demonstrated == ()
    assert any("nothing is demonstrated" in note for note in report.notes)


def test_the_table_of_costs_names_what_needs_no_model():
    costs = CostMatrix(escape=100, false_reject=2, review=0.5, prevalence=0.02)
    rows = calibrate(easy(20, 20), KINDS, CalibrationRequest(costs=costs)).rows()
    assert ("without a model", "", "passing all costs 2, rejecting all 1.96, reviewing all 0.5") in rows
    assert next(row[:2] for row in rows if row[0] == "cost per part") == ("cost per part", "0")


def test_prevalence_is_that_of_production():
    """Overlapping scores: where defects are rare, the same costs pass more of them."""
    rng = np.random.default_rng(1)
    pairs = [part(f"bad{i}", s) for i, s in enumerate(rng.beta(3, 2, 80))]
    pairs += [good(f"good{i}", s) for i, s in enumerate(rng.beta(2, 3, 80))]
    thresholds = [
        calibrate(pairs, KINDS, CalibrationRequest(costs=CostMatrix(escape=10, false_reject=1, prevalence=p))).threshold
        for p in (0.001, 0.1, 0.5)
    ]
    assert thresholds[0] > thresholds[1] > thresholds[2]


def test_cheap_review_opens_a_band():
    rng = np.random.default_rng(1)
    pairs = [part(f"bad{i}", s) for i, s in enumerate(rng.beta(3, 2, 80))]
    pairs += [good(f"good{i}", s) for i, s in enumerate(rng.beta(2, 3, 80))]
    costs = CostMatrix(escape=50, false_reject=20, review=1, prevalence=0.3)
    report = calibrate(pairs, KINDS, CalibrationRequest(costs=costs))
    dear = calibrate(pairs, KINDS, CalibrationRequest(costs=costs.model_copy(update={"review": 60.0})))
    assert report.review_threshold < report.threshold
    assert dear.review_threshold == dear.threshold
    assert report.cost
    assert dear.cost
    assert report.cost.per_part < dear.cost.per_part


def test_several_images_are_one_part():
    """Six exposures a part, the flaw seen in one of them: 10 parts, not 60 images."""
    pairs = []
    for p in range(10):
        for e in range(6):
            groups = {"part": f"tile{p}"}
            pairs.append(part(f"{p}-{e}", 0.9, groups=groups) if e == 3 else good(f"{p}-{e}", 0.1, groups=groups))
    pairs += [good(f"h{p}-{e}", 0.05, groups={"part": f"h{p}"}) for p in range(20) for e in range(6)]
    report = calibrate(pairs, KINDS, CalibrationRequest(max_escape=0.3, max_false_reject=0.2))
    assert (report.outcome.escapes.n, report.outcome.false_rejects.n) == (10, 20)
    assert any("180 images of 30 parts" in note for note in report.notes)
    images = calibrate(pairs, KINDS, CalibrationRequest(max_escape=0.3, max_false_reject=0.2, unit="image"))
    assert (images.outcome.escapes.n, images.outcome.false_rejects.n) == (10, 170)
    assert any("n is overstated, count by part" in note for note in images.notes)


def test_images_that_name_no_part_count_alone():
    named = [part(f"a{i}", 0.9, groups={"part": "a"}) for i in range(3)]
    report = calibrate([*named, part("a", 0.9), *easy(2, 4)], KINDS, CalibrationRequest(max_false_reject=0.6))
    assert (report.outcome.escapes.n, report.outcome.false_rejects.n) == (4, 4)
    assert any("7 images name no part and count as one each" in note for note in report.notes)


def test_a_session_that_is_shared_is_told():
    alone = calibrate(easy(3, 4), KINDS, CalibrationRequest(max_false_reject=0.6))
    assert any("no image names its part: each image counts as one part" in note for note in alone.notes)
    shared = calibrate(easy(3, 4, groups={"session": "s1"}), KINDS, CalibrationRequest(max_false_reject=0.6))
    assert any("count by session" in note for note in shared.notes)


def test_synthetic_parts_are_left_out_unless_asked_for():
    pairs = [*easy(100, 100), *(part(f"s{i}", 0.9, provenance="render") for i in range(300))]
    with pytest.raises(GateError, match="n = 100 defective"):
        calibrate(pairs, KINDS, CalibrationRequest(max_escape=0.01))
    report = calibrate(pairs, KINDS, CalibrationRequest(max_escape=0.05))
    assert report.outcome.escapes.n == 100
    assert any("300 synthetic images were left out" in note for note in report.notes)
    synthetic = calibrate(pairs, KINDS, CalibrationRequest(max_escape=0.01, provenance="synthetic"))
    assert (synthetic.outcome.escapes.n, synthetic.outcome.false_rejects.n) == (300, 0)
    assert synthetic.decision.calibration
    assert synthetic.decision.calibration.provenance == "synthetic"
    assert "shows nothing about real parts" in synthetic.notes[0]


def test_a_defective_part_without_a_marked_region_counts():
    pairs = easy(100, 10)
    assert all(not sample.defects for sample, _ in pairs)
    assert calibrate(pairs, KINDS, CalibrationRequest(max_escape=0.05)).outcome.escapes.n == 100


def test_kinds_that_are_ignored_reviewed_or_counted():
    stains = [part(f"stain{i}", 0.95, plane=1, label="pit") for i in range(40)]
    pairs = [*easy(100, 100), *stains, good("stained", 0.95, plane=1)]
    request = CalibrationRequest(max_escape=0.05, max_false_reject=0.05)
    ignoring = request.model_copy(update={"kinds": {"pit": KindRequest(action="ignore")}})
    report = calibrate(pairs, KINDS, ignoring)
    assert (report.outcome.escapes.n, report.outcome.false_rejects.k) == (100, 0)
    assert report.decision.kinds["pit"].action == "ignore"
    assert any("40 parts with ignored kinds only (pit) were left out" in note for note in report.notes)
    reviewing = request.model_copy(update={"kinds": {"pit": KindRequest(action="review")}})
    report = calibrate(pairs, KINDS, reviewing)
    assert (report.outcome.review_defective.k, report.outcome.review_healthy.k) == (40, 1)
    assert report.outcome.false_rejects.k == 0
    counting = request.model_copy(update={"kinds": {"pit": KindRequest(max_count=1, joined_at=0.3)}})
    report = calibrate([*easy(100, 100), good("one pit", 0.95, plane=1)], KINDS, counting)
    assert report.outcome.false_rejects.k == 0
    assert report.decision.kinds["pit"].max_count == 1


planes = arrays(np.float32, (2, 8, 8), elements=st.sampled_from([0, 0.1, 0.3, 0.5, 0.7, 0.9]))


@settings(max_examples=40)
@given(st.lists(planes, min_size=6, max_size=10), st.integers(0, 2), st.sampled_from(["reject", "review"]))
def test_the_report_counts_what_the_decision_says(maps, max_count, action):
    """Calibration works on summaries; the verdicts of `decide` on the maps themselves must give the same counts."""
    pairs = [
        (
            Sample(
                id=str(i), pixels=m[0], healthy=i % 2 == 0, label="scratch", groups={"part": str(i // 4 * 2 + i % 2)}
            ),
            Prediction(KINDS, m, float(m.max())),
        )
        for i, m in enumerate(maps)
    ]
    request = CalibrationRequest(
        costs=CostMatrix(escape=7, false_reject=3, review=2, prevalence=0.3),
        kinds={"pit": KindRequest(action=action, max_count=max_count, joined_at=0.1 if max_count else None)},
    )
    report = calibrate(pairs, KINDS, request)
    parts: dict[str, list] = {}
    for sample, prediction in pairs:
        parts.setdefault(sample.groups["part"], []).append((sample, decide(prediction, report.decision)))
    counts = {"escape": 0, "false_reject": 0, "review": 0}
    for images in parts.values():
        status, healthy = part_verdict([v for _, v in images]).status, all(s.healthy for s, _ in images)
        counts["escape"] += status == "OK" and not healthy
        counts["false_reject"] += status == "NG" and healthy
        counts["review"] += status == "REVIEW"
    out = report.outcome
    assert counts == {
        "escape": out.escapes.k,
        "false_reject": out.false_rejects.k,
        "review": out.review_defective.k + out.review_healthy.k,
    }


def test_the_walk_never_goes_beyond_what_is_shown():
    """The highest threshold that is allowed is the last before the bound is missed, recomputed by hand."""
    rng = np.random.default_rng(3)
    scores = rng.beta(5, 2, 400)
    pairs = [part(f"bad{i}", s) for i, s in enumerate(scores)] + [good("good", 0.0)]
    report = calibrate(pairs, KINDS, CalibrationRequest(max_escape=0.05))
    from scipy.stats import binomtest

    fine = []
    for level in THRESHOLDS:
        k = int(np.sum(scores.astype(np.float32) < np.float32(level)))
        if binomtest(k, 400, alternative="less").proportion_ci(0.95, "exact").high > 0.05:
            break
        fine.append(level)
    assert report.allowed[0] == fine[-1]
    assert report.threshold <= fine[-1]


def test_a_better_separating_area_is_found_among_declared_ones():
    pairs = [part(f"bad{i}", 0.5, side=8) for i in range(200)] + [good(f"good{i}", 0.9, side=2) for i in range(200)]
    request = CalibrationRequest(max_escape=0.05, min_areas_px=(1, 10, 100))
    report = calibrate(pairs, KINDS, request)
    assert report.min_area_px == 10
    assert report.outcome.false_rejects.k == 0
    assert any("3 minimum areas share the error probability" in note for note in report.notes)
    with pytest.raises(GateError, match=r"needs 408 without any \(299 with one minimum area; 3 share"):
        calibrate(pairs, KINDS, request.model_copy(update={"max_escape": 0.01}))


def test_costs_choose_within_the_targets():
    """Money alone would pass most defects; the target does not let it."""
    rng = np.random.default_rng(5)
    pairs = [part(f"bad{i}", s) for i, s in enumerate(rng.beta(3, 2, 300))]
    pairs += [good(f"good{i}", s) for i, s in enumerate(rng.beta(2, 3, 300))]
    costs = CostMatrix(escape=1, false_reject=1, prevalence=0.01)
    free = calibrate(pairs, KINDS, CalibrationRequest(costs=costs, min_areas_px=(1,)))
    bound = calibrate(pairs, KINDS, CalibrationRequest(costs=costs, max_escape=0.05))
    assert free.outcome.escapes.value is not None
    assert free.outcome.escapes.value > 0.5
    assert bound.outcome.escape_at_most is not None
    assert bound.outcome.escape_at_most <= 0.05


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "train"}, r"is of the train split, wanted val"),
        ({"split": "test"}, r"is of the test split, wanted val"),
    ],
)
def test_parts_of_another_split_are_refused(change, message):
    with pytest.raises(DataError, match=message):
        calibrate([*easy(3, 3), part("odd", 0.9, **change)], KINDS, CalibrationRequest(max_escape=0.5))


def test_bad_input_is_refused_naming_the_sample():
    request = CalibrationRequest(max_escape=0.5)
    sample, prediction = part("broken", 0.9)
    prediction.maps[0, 0, 0] = np.nan
    with pytest.raises(DataError, match="broken: the model gave scores that are not numbers"):
        calibrate([*easy(3, 3), (sample, prediction)], KINDS, request)
    with pytest.raises(DataError, match="predicted kinds"):
        calibrate(easy(3, 3), ("scratch",), request)
    with pytest.raises(DataError, match="no real images"):
        calibrate([], KINDS, request)
    with pytest.raises(DataError, match=r"no real images.*5 synthetic images were left out"):
        calibrate(easy(5, 0, provenance="paste"), KINDS, request)
    costs = CostMatrix(escape=1, false_reject=1, prevalence=0.1)
    with pytest.raises(DataError, match="costs need healthy and defective parts; there are 0 healthy, 5 defective"):
        calibrate(easy(5, 0), KINDS, CalibrationRequest(costs=costs))
    with pytest.raises(DataError, match="summary of"):
        calibrate_summaries([summarise(*part("a", 0.9), thresholds=(0.5,))], KINDS, request)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "nothing to choose by"),
        ({"max_escape": 0}, "greater than 0"),
        ({"max_escape": 0.1, "split": "test"}, "the test split must not choose thresholds"),
        ({"max_escape": 0.1, "thresholds": (0.5, 0.4)}, "ascending"),
        ({"max_escape": 0.1, "thresholds": (0.5, 1.4)}, "not be above 1"),
        ({"max_escape": 0.1, "min_areas_px": (0, 5)}, "above 0"),
        ({"max_escape": 0.1, "min_area": 5}, "Extra inputs"),
        ({"max_escape": 0.1, "confidence": 0.3}, "greater than or equal to 0.5"),
        ({"max_escape": 0.1, "kinds": {"pit": {"max_count": 2}}}, "needs joined_at"),
        ({"max_escape": 0.1, "thresholds": (0.1,), "kinds": {"pit": {"joined_at": 0.5}}}, "as high as joined_at"),
    ],
)
def test_requests_that_make_no_sense(values, message):
    with pytest.raises(ValidationError, match=message):
        CalibrationRequest.model_validate(values)


def test_kinds_of_the_request_must_be_the_models():
    request = CalibrationRequest(max_escape=0.1, kinds={"scrach": KindRequest(action="ignore")})
    with pytest.raises(ConfigError, match="Did you mean 'scratch'"):
        calibrate(easy(3, 3), KINDS, request)
    everything = CalibrationRequest(max_escape=0.1, kinds={kind: KindRequest(action="review") for kind in KINDS})
    with pytest.raises(ConfigError, match="no kind may reject"):
        calibrate(easy(3, 3), KINDS, everything)
    costs = CostMatrix(escape=1, false_reject=1, prevalence=0.1)
    with pytest.raises(ConfigError, match=r"costs.review is missing"):
        calibrate(easy(3, 3), KINDS, CalibrationRequest(costs=costs, kinds={"pit": KindRequest(action="review")}))


def test_too_few_parts_are_known_before_the_model_runs():
    samples = [sample for sample, _ in easy(298, 10)]
    with pytest.raises(GateError, match="n = 298 defective parts, needs 299"):
        check_enough(samples, CalibrationRequest(max_escape=0.01))
    check_enough(samples, CalibrationRequest(max_escape=0.011))


def test_the_report_prints_and_serialises(tmp_path):
    request = CalibrationRequest(
        max_escape=0.02, max_false_reject=0.05, dataset="tiles", dataset_hash="ab12", model="cd34"
    )
    report = calibrate([*easy(299, 60), part("late", 0.1)], KINDS, request)
    values = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert values["outcome"]["escaped"] == ["late"]
    assert values["outcome"]["escapes"]["k"] == 1
    rows = {row[0]: row[1:] for row in report.rows()}
    assert all(len(row) == len(COLUMNS) for row in report.rows())
    assert rows["escapes"][0] == "1 of 300 (0.333 %)"
    assert rows["to show escapes ≤ 1 %"] == ("299 defective parts", "473 with k = 1")
    assert rows["to show escapes ≤ 0.1 %"] == ("2995 defective parts", "4742 with k = 1")
    save_decision(tmp_path / "decision.json", report.decision)
    loaded = load_decision(tmp_path / "decision.json")
    assert loaded == report.decision
    assert loaded.calibration
    assert (loaded.origin, loaded.calibration.dataset_hash, loaded.calibration.model) == ("calibrate", "ab12", "cd34")


def test_calibration_is_deterministic_and_holds_no_maps():
    request = CalibrationRequest(max_escape=0.05)
    assert calibrate(easy(80, 20), KINDS, request).to_json() == calibrate(iter(easy(80, 20)), KINDS, request).to_json()
    summary = summarise(*part("a", 0.9))
    assert summary.areas.base is None
    assert summary.areas.nbytes < 1000
