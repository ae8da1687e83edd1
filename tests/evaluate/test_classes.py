"""The whole of `evaluate_classes`: against scikit-learn and loops, invariances, and every awkward data set."""

import gc
import json
import random
import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scored_classes import CLASSES, ClassPair, changed, drawn_from_probabilities, picture, scored_classes, stub
from scored_images import known, leaves
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
    roc_auc_score,
)

from flawsmith.core import DataError, decode
from flawsmith.core.image import encode_png
from flawsmith.evaluate import ClassEvaluation, ClassScore, evaluate_classes

AB = ("good", "dent")


def run(pairs: list[ClassPair], classes: tuple[str, ...] = CLASSES, **options: Any) -> ClassEvaluation:
    return evaluate_classes(pairs, classes, **({"resamples": 0} | options))


def verdicts(pairs: list[ClassPair], classes: tuple[str, ...], unknown_at: float = 0.5) -> list[str]:
    return [
        "unknown" if score.unknown >= unknown_at else classes[int(np.argmax(score.probabilities))] for _, score in pairs
    ]


def known_only(pairs: list[ClassPair]) -> list[ClassPair]:
    return [changed(pair, unknown=0.0) for pair in pairs]


def test_figures_equal_scikit_learns():
    pairs = known_only(scored_classes(0, 173, skill=1.5))
    truth, said = [s.label for s, _ in pairs], verdicts(pairs, CLASSES)
    main = run(pairs).main
    assert main.accuracy.k == sum(a == b for a, b in zip(truth, said, strict=True))
    assert main.balanced_accuracy.value == pytest.approx(balanced_accuracy_score(truth, said))
    counts = np.array(main.matrix.counts)
    assert (counts[:, :6] == confusion_matrix(truth, said, labels=list(CLASSES))).all()
    assert not counts[:, 6].any()
    precision, recall, f1, support = precision_recall_fscore_support(truth, said, labels=list(CLASSES))
    for index, figures in enumerate(main.classes):
        assert figures.precision.value == pytest.approx(precision[index])
        assert figures.recall.value == pytest.approx(recall[index])
        assert figures.f1.value == pytest.approx(f1[index])
        assert figures.images == support[index]
    assert main.macro_f1.value == pytest.approx(np.mean(f1))


def test_areas_equal_scikit_learns_one_class_against_the_rest():
    pairs = scored_classes(1, 90, skill=1.0)
    table = np.stack([score.probabilities for _, score in pairs])
    main = run(pairs).main
    for index, figures in enumerate(main.classes):
        own = np.array([s.label == figures.label for s, _ in pairs])
        assert figures.auroc.value == pytest.approx(roc_auc_score(own, table[:, index]))
        assert figures.average_precision.value == pytest.approx(average_precision_score(own, table[:, index]))
    assert main.macro_auroc.value == pytest.approx(np.mean([known(c.auroc.value) for c in main.classes]))


def test_unknown_is_a_verdict_of_its_own_and_foreign_images_are_apart():
    pairs = scored_classes(2, 120, foreign=30)
    inside, outside = pairs[:120], pairs[120:]
    said = verdicts(inside, CLASSES)
    main = run(pairs).main
    assert (main.images, main.known, main.foreign) == (150, 120, 30)
    assert (main.unknown.known.k, main.unknown.known.n) == (said.count("unknown"), 120)
    assert (main.unknown.foreign.k, main.unknown.foreign.n) == (verdicts(outside, CLASSES).count("unknown"), 30)
    assert 0 < main.unknown.known.k < main.unknown.foreign.k
    strange = [s.label not in CLASSES for s, _ in pairs]
    assert main.unknown.auroc.value == pytest.approx(roc_auc_score(strange, [score.unknown for _, score in pairs]))
    labels = [s.label for s, _ in inside]
    precision, recall, f1, _ = precision_recall_fscore_support(labels, said, labels=list(CLASSES), zero_division=0)
    for index, figures in enumerate(main.classes):
        assert figures.precision.value == pytest.approx(precision[index])
        assert figures.recall.value == pytest.approx(recall[index])
        assert figures.f1.value == pytest.approx(f1[index])


def test_foreign_images_change_no_figure_of_the_known():
    pairs = scored_classes(3, 60, foreign=20)
    alone, among = run(pairs[:60]).main, run(pairs).main
    assert alone.classes == among.classes
    assert alone.calibration == among.calibration
    assert (alone.accuracy, alone.balanced_accuracy) == (among.accuracy, among.balanced_accuracy)
    assert np.array(among.matrix.counts)[6:].sum() == 20
    assert among.matrix.rows[6:] == ("burr",)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(0, 6), st.floats(0.05, 1))
def test_counts_add_up(seed, count, foreign, unknown_at):
    pairs = scored_classes(seed, count, foreign, skill=0.8)
    main = run(pairs, unknown_at=unknown_at, confusions=0).main
    counts = np.array(main.matrix.counts)
    assert counts.sum() == main.images == count + foreign
    assert counts[:6].sum() == main.known
    assert np.trace(counts[:6, :6]) == main.accuracy.k
    assert sum(c.images for c in main.classes) == sum(c.recall.n for c in main.classes) == main.known
    assert sum(c.recall.k for c in main.classes) == main.accuracy.k
    assert sum(c.unknown.k for c in main.classes) == main.unknown.known.k == counts[:6, 6].sum()
    assert sum(cell.images for cell in main.cells) == main.images


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.floats(0.05, 0.9), st.floats(0.01, 0.1))
def test_raising_the_unknown_threshold_never_adds_an_unknown_verdict(seed, low, step):
    pairs = scored_classes(seed, 30, 10)
    first, second = (run(pairs, unknown_at=t, confusions=0).main.unknown for t in (low, low + step))
    assert second.known.k <= first.known.k
    assert second.foreign.k <= first.foreign.k


def test_an_unknown_value_at_the_threshold_is_called_unknown():
    pair = stub("dent", [0.1, 0.9], "a", unknown=0.5)
    assert run([pair], AB).main.unknown.known.k == 1
    assert run([pair], AB, unknown_at=0.51).main.unknown.known.k == 0


def test_escapes_and_false_rejects_by_hand():
    pairs = [
        stub("good", [0.9, 0.1], "a"),
        stub("good", [0.2, 0.8], "b"),
        stub("good", [0.2, 0.8], "c", unknown=0.9),
        stub("dent", [0.7, 0.3], "d"),
        stub("dent", [0.3, 0.7], "e"),
        stub("dent", [0.9, 0.1], "f", unknown=0.9),
        stub("burr", [0.9, 0.1], "g"),
        stub("burr", [0.1, 0.9], "h"),
    ]
    evaluation = run(pairs, AB)
    passing = evaluation.main.passing
    assert evaluation.healthy == ("good",)
    assert passing is not None
    assert (passing.escapes.k, passing.escapes.n) == (1, 3)
    assert (passing.false_rejects.k, passing.false_rejects.n) == (1, 3)
    assert (passing.unknown_defective.k, passing.unknown_healthy.k) == (1, 1)
    assert (passing.foreign_escapes.k, passing.foreign_escapes.n) == (1, 2)
    assert "1 of 3 defective ones would pass" in evaluation.headline
    assert "1 of 3 good ones would be rejected" in evaluation.headline
    assert '0 of 2 of classes it does not know were called "unknown"' in evaluation.headline


def test_classes_that_pass_can_be_named():
    pairs = [stub("good", [0.1, 0.8, 0.1], "a"), stub("dust", [0.9, 0.1, 0], "b"), stub("dent", [0, 0.1, 0.9], "c")]
    passing = run(pairs, ("good", "dust", "dent"), healthy=("good", "dust")).main.passing
    assert passing is not None
    assert (passing.false_rejects.k, passing.false_rejects.n, passing.escapes.n) == (0, 2, 1)
    assert run(pairs[1:], ("good", "dust", "dent")).main.passing is None


def test_a_label_on_healthy_and_on_defective_samples_must_be_decided():
    pairs = [stub("good", [0.9, 0.1], "a"), stub("good", [0.9, 0.1], "b", healthy=False)]
    with pytest.raises(DataError, match="images labelled good are partly healthy"):
        run(pairs, AB)
    assert run(pairs, AB, healthy=("good",)).healthy == ("good",)


def test_synthetic_and_real_are_never_pooled():
    real = scored_classes(5, 30)
    more = scored_classes(6, 24, provenance="render", prefix="render")
    evaluation = run(real + more)
    assert [(p.provenance, p.images) for p in evaluation.provenances] == [("real", 30), ("render", 24)]
    assert evaluation.main == run(real).main
    assert evaluation.headline.startswith("Real photographs: ")
    assert evaluation.feature_map is not None
    assert evaluation.feature_map.provenance.count("render") == 24


def test_figures_do_not_depend_on_the_order_of_the_images():
    pairs = scored_classes(7, 90, 10, pictured=True)
    shuffled = random.Random(0).sample(pairs, len(pairs))
    first, second = (run(p, resamples=40) for p in (pairs, shuffled))
    left, right = dict(leaves(first.to_json())), dict(leaves(second.to_json()))
    assert left.keys() == right.keys()
    for path, value in left.items():
        assert value == (pytest.approx(right[path], abs=1e-9) if isinstance(value, float) else right[path]), path
    assert [i.png for c in first.main.cells for i in c.shown] == [i.png for c in second.main.cells for i in c.shown]


def test_the_json_has_no_nan_and_no_picture():
    text = json.dumps(run(scored_classes(8, 20, 5, pictured=True)).to_json(), allow_nan=False)
    assert "png" not in text


def test_intervals_draw_whole_groups():
    pairs = scored_classes(9, 240, skill=1.5)
    alone = run(pairs, resamples=400).main
    four = [changed(p, groups={"part": f"p{i // 4}"}) for i, p in enumerate(pairs)]
    copies = [changed(p, id=f"{p[0].id}-{c}", groups={"part": p[0].id}) for p in pairs for c in range(4)]
    grouped, copied = run(four, resamples=400).main, run(copies, resamples=400).main
    assert (grouped.groups, grouped.group_unit, alone.group_unit) == (60, "part", "image")
    assert copied.balanced_accuracy.value == pytest.approx(alone.balanced_accuracy.value)
    spread = [known(m.accuracy_by_group.high) - known(m.accuracy_by_group.low) for m in (alone, copied)]
    assert spread[1] == pytest.approx(spread[0], rel=0.25)  # four times the images, no more knowledge
    exact = [known(m.accuracy.high) - known(m.accuracy.low) for m in (alone, copied)]
    assert exact[1] < 0.6 * exact[0]
    assert any("960 images come from 240 groups" in line for line in copied.remarks)


def test_resampled_intervals_hold_the_value_and_agree_with_the_exact_one():
    main = run(scored_classes(10, 400, skill=1.5), resamples=400).main
    for figure in (main.balanced_accuracy, main.macro_f1, main.macro_auroc, main.classes[0].f1):
        assert known(figure.low) <= known(figure.value) <= known(figure.high)
    assert main.accuracy_by_group.low == pytest.approx(main.accuracy.low, abs=0.02)
    assert main.accuracy_by_group.high == pytest.approx(main.accuracy.high, abs=0.02)


def test_calibrated_and_uncalibrated_models_are_told_apart():
    honest, sharp = (run(drawn_from_probabilities(11, 1500, s), tuple("abc")).main.calibration for s in (1.0, 3.0))
    assert known(honest.ece.value) <= known(honest.perfect_ece.high)
    assert known(sharp.ece.value) > known(sharp.perfect_ece.high)
    assert (honest.judgement, sharp.judgement) == ("within chance", "too sure")


def test_cells_hold_the_least_sure_of_the_right_and_the_surest_of_the_wrong():
    rng = np.random.default_rng(12)
    values = rng.uniform(0.5, 1, 60).round(4)
    pairs = [stub("good", [v, 1 - v], f"r{i:02}") for i, v in enumerate(values)]
    pairs += [stub("dent", [v, 1 - v], f"w{i:02}") for i, v in enumerate(values)]
    right, wrong = run(pairs, AB).main.cells
    assert (right.right, wrong.right, right.images) == (True, False, 60)
    assert [i.sureness for i in right.shown] == pytest.approx(sorted(values)[:12], abs=1e-6)
    assert [i.sureness for i in wrong.shown] == pytest.approx(sorted(values)[::-1][:12], abs=1e-6)


def test_the_most_frequent_confusions_come_with_heat_and_neighbours():
    pairs = scored_classes(13, 240, foreign=20, skill=1.0, pictured=True)
    asked: list[str] = []

    def lookup(name: str) -> np.ndarray:
        asked.append(name)
        return picture(np.random.default_rng(0), "rust")[0]

    main = run(pairs, lookup=lookup, confusions=4, pictures=2).main
    wrong = np.array(main.matrix.counts)[:6] * (1 - np.eye(6, 7, dtype=int))
    assert [c.share.k for c in main.confusions] == sorted(wrong.ravel())[::-1][:4]
    for confusion in main.confusions:
        assert confusion.truth != confusion.verdict
        assert len(confusion.cases) == min(2, confusion.share.k)
        for case in confusion.cases:
            plain, hot = decode(case.png), decode(case.heat_png)
            assert plain.shape == hot.shape == (200, 200, 3)
            assert np.abs(plain.astype(int) - hot).max() > 60
            assert [decode(n.png).shape for n in case.nearest] == [(64, 64, 3)] * 3
            assert [n.sample_id for n in case.nearest] == asked[:3]
            del asked[:3]


def test_without_lookup_neighbours_are_named_and_without_heat_there_is_none():
    pair = stub("dent", [0.9, 0.1], "a", nearest=("t/1", "t/2"))
    case = run([pair], AB).main.confusions[0].cases[0]
    assert [(n.sample_id, n.png) for n in case.nearest] == [("t/1", b""), ("t/2", b"")]
    assert case.heat_png == b""


def test_files_are_read_only_when_shown(tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(encode_png(np.arange(12 * 30, dtype=np.uint8).reshape(12, 30)))
    pairs = [stub("dent", [0.9, 0.1], "a", pixels=file)]
    pairs += [stub("good", [0.9 - i / 1000, 0.1 + i / 1000], f"g{i:02}") for i in range(20)]
    pairs += [stub("good", [0.99, 0.01], "sure", pixels=tmp_path / "never read.png")]
    cell = run(pairs, AB).main.cells[-1]
    assert decode(cell.shown[0].png).shape == (34, 84, 3)


def test_images_are_let_go():
    held = []

    def stream():
        for i in range(60):
            sample, score = stub("good", [0.9, 0.1], f"g{i:02}", pixels=np.zeros((300, 400), np.uint8))
            held.append(weakref.ref(sample.pixels))
            yield sample, score
            del sample, score

    evaluate_classes(stream(), AB, resamples=0)
    gc.collect()
    assert sum(reference() is not None for reference in held) <= 1


def test_many_classes_show_fewer_pictures_in_each_cell():
    names = tuple(f"c{i:02}" for i in range(40))
    eye = np.eye(40, dtype=np.float32)
    image = np.zeros((4, 4), np.uint8)
    first = scored_classes(0, 1)[0][0]
    pairs = [
        changed((first, ClassScore(eye[i % 40])), id=f"i{i:03}", label=names[i % 40], healthy=False, pixels=image)
        for i in range(200)
    ]
    assert {len(cell.shown) for cell in run(pairs, names).main.cells} == {1}


def test_the_feature_map_is_that_of_principal_components():
    pairs = scored_classes(14, 60)
    features = run(pairs).feature_map
    assert features is not None
    by_id = sorted(pairs, key=lambda pair: pair[0].id)
    table = np.stack([score.features for _, score in by_id]).astype(float)
    values, vectors = np.linalg.eigh(np.cov(table.T))
    assert features.explained == pytest.approx((values[::-1] / values.sum())[:2])
    for column, vector in zip((features.x, features.y), vectors.T[::-1], strict=False):
        place = (table - table.mean(axis=0)) @ vector
        assert np.abs(np.corrcoef(place, column)[0, 1]) == pytest.approx(1, abs=1e-6)
    assert features.label == tuple(s.label for s, _ in by_id)


def test_a_large_set_shows_an_even_choice_on_the_map(monkeypatch):
    monkeypatch.setattr("flawsmith.evaluate.class_evaluation._MAP_POINTS", 30)
    pairs = scored_classes(15, 300)
    features = run(pairs).feature_map
    assert features is not None
    assert (features.of, len(features.x)) == (300, 30)
    assert len(set(features.label)) >= 4


@pytest.mark.parametrize("features", [None, np.ones(1, np.float32)])
def test_without_features_there_is_no_map(features):
    pairs = [changed(p, features=features) for p in scored_classes(16, 12)]
    assert run(pairs).feature_map is None


def test_constant_features_have_a_map_too():
    pairs = [changed(p, features=np.ones(4, np.float32)) for p in scored_classes(16, 12)]
    features = run(pairs).feature_map
    assert features is not None
    assert features.explained == (0, 0)


def test_a_class_without_images_has_no_figures_and_says_why():
    pairs = [stub("good", [0.8, 0.1, 0.1], "a"), stub("dent", [0.1, 0.8, 0.1], "b")]
    main = run(pairs, (*AB, "rust"), resamples=50).main
    rust = main.classes[2]
    for figure in (rust.recall, rust.f1, rust.auroc, rust.average_precision):
        assert (figure.value, figure.reason) == (None, "no image of this class")
    assert rust.precision.reason == "no image was given this class"
    assert main.balanced_accuracy.value == 1
    assert any("No image of these classes was evaluated: rust" in line for line in main.remarks)


def test_foreign_images_alone_have_no_accuracy_and_say_why():
    pairs = [stub("burr", [0.9, 0.1], f"i{i}", unknown=0.8, healthy=False) for i in range(8)]
    evaluation = run(pairs, AB, resamples=50)
    main = evaluation.main
    assert (main.accuracy.value, main.accuracy.reason) == (None, "no image of a known class")
    assert main.balanced_accuracy.reason == main.calibration.ece.reason == "no image of a known class"
    assert (main.unknown.foreign.k, main.unknown.auroc.reason) == (8, "no image of a known class")
    assert "nothing is known of its accuracy" in evaluation.headline


def test_images_of_the_training_split_are_remarked():
    main = run([changed(p, split="train") for p in scored_classes(17, 12)]).main
    assert any("12 images are of the training split" in line for line in main.remarks)
