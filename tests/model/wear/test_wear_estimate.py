"""The linear models against scikit-learn's pipelines, across saving, and on what they must refuse."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from flawsmith.core import DataError
from flawsmith.model.wear.describe import Features
from flawsmith.model.wear.estimate import WEIGHTS, EstimateSettings, WearModel

NAMES = ("depth", "rough", "noise", "even")


@pytest.fixture
def case() -> tuple[list[Features], list[float], list[str], list[str]]:
    """Sixty regions of twenty inserts; VB goes with depth, the level with VB; `even` never changes."""
    rng = np.random.default_rng(0)
    values = np.column_stack([rng.uniform(0, 50, 60), rng.normal(0, 3, (60, 2)), np.full(60, 7.0)])
    vb = 0.01 * values[:, 0] + 0.02 * values[:, 1] / 3 + rng.normal(0, 0.01, 60) + 0.1
    levels = np.where(vb < 0.2, "good", np.where(vb < 0.4, "worn", "gone"))
    groups = [f"T{i // 3}" for i in range(60)]
    return [Features(NAMES, row) for row in values], vb.tolist(), levels.tolist(), groups


def test_predictions_are_scikit_learns(case):
    features, vb, levels, groups = case
    settings = EstimateSettings()
    model = WearModel(settings).fit(features, vb, levels, groups)
    table = np.stack([f.values for f in features])
    ridge = make_pipeline(StandardScaler(), RidgeCV(alphas=settings.alphas)).fit(table, vb)
    logistic = make_pipeline(StandardScaler(), LogisticRegression(C=settings.c, max_iter=2000)).fit(table, levels)
    found = model.predict(features)
    assert [e.vb for e in found] == pytest.approx(np.maximum(ridge.predict(table), 0))
    assert [e.level for e in found] == logistic.predict(table).tolist()
    wanted = logistic.predict_proba(table)
    assert [[e.probabilities[name] for name in logistic.classes_] for e in found] == pytest.approx(wanted, abs=1e-9)


def test_the_error_is_that_of_inserts_not_learnt_from(case):
    features, vb, levels, groups = case
    model = WearModel().fit(features, vb, levels, groups)
    table = np.stack([f.values for f in features])
    ridge = make_pipeline(StandardScaler(), RidgeCV(alphas=model.settings.alphas))
    held = np.maximum(cross_val_predict(ridge, table, vb, groups=groups, cv=GroupKFold(5)), 0)
    assert model.error_.vb_mae == pytest.approx(np.abs(held - vb).mean())
    assert model.error_.vb_rmse == pytest.approx(np.sqrt(np.square(held - vb).mean()))
    logistic = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    held = cross_val_predict(logistic, table, np.array(levels), groups=groups, cv=GroupKFold(5))
    assert (model.error_.right, model.error_.judged) == ((held == np.array(levels)).sum(), 60)
    assert model.error_.vb_mae < 0.2 * model.error_.vb_mae_of_mean
    assert model.error_.right > model.error_.right_of_usual


def test_noise_is_not_taken_for_skill(case):
    features, vb, levels, groups = case
    rng = np.random.default_rng(5)
    noise = [Features(NAMES[:3], rng.normal(size=3)) for _ in features]
    error = WearModel().fit(noise, vb, levels, groups).error_
    assert error.vb_mae is not None
    assert error.vb_mae_of_mean is not None
    assert error.vb_mae > 0.9 * error.vb_mae_of_mean


def test_a_planted_leak_shows_without_groups():
    """Each insert has one VB and a fingerprint of features: split by region it looks easy, by insert it is not."""
    rng = np.random.default_rng(2)
    prints, worn = rng.normal(size=(12, 40)), rng.uniform(0, 1, 12)
    features = [
        Features(tuple(f"f{i}" for i in range(40)), prints[k // 5] + rng.normal(0, 0.01, 40)) for k in range(60)
    ]
    vb = [worn[k // 5] for k in range(60)]
    by_insert = WearModel().fit(features, vb, groups=[f"T{k // 5}" for k in range(60)]).error_.vb_mae
    by_region = WearModel().fit(features, vb).error_.vb_mae
    assert by_insert is not None
    assert by_region is not None
    assert by_region < 0.3 * by_insert


@pytest.mark.parametrize("learnt", ["both", "vb", "two levels"])
def test_saving_and_loading_gives_the_same_answers(case, learnt: str, tmp_path: Path):
    features, vb, levels, groups = case
    two = ["worn" if level == "gone" else level for level in levels]
    model = WearModel(EstimateSettings(folds=3)).fit(
        features,
        None if learnt == "two levels" else vb,
        {"both": levels, "vb": None, "two levels": two}[learnt],
        groups,
    )
    model.save(tmp_path)
    again = WearModel.load(tmp_path)
    assert again.predict(features) == model.predict(features)
    assert (again.error_, again.settings, again.levels_) == (model.error_, model.settings, model.levels_)
    if learnt == "two levels":
        assert {e.level for e in again.predict(features)} == {"good", "worn"}
        assert again.predict(features)[0].vb is None


def test_a_level_that_a_fold_has_not_seen_is_counted_wrong_not_failed(case):
    features, vb, _, groups = case
    levels = ["good"] * 57 + ["gone"] * 3
    error = WearModel().fit(features, vb, levels, groups).error_
    assert error.right is not None
    assert error.right <= 57


def test_what_is_unlike_the_training_is_said(case):
    features, vb, _, groups = case
    model = WearModel().fit(features, vb, groups=groups)
    strange = Features(NAMES, np.array([25.0, 500.0, 0, 7]))
    assert model.predict([strange])[0].unlike == "rough"
    assert all(e.unlike is None for e in model.predict(features))
    negative = Features(NAMES, np.array([-60.0, 0, 0, 7]))
    assert model.predict([negative])[0].vb == 0


def test_what_cannot_be_learnt_or_read_is_refused(case, tmp_path: Path):
    features, vb, levels, groups = case
    with pytest.raises(DataError, match="nothing to learn"):
        WearModel().fit(features)
    with pytest.raises(DataError, match="give one for each"):
        WearModel().fit(features, vb[:-1])
    with pytest.raises(DataError, match="do not fill"):
        WearModel().fit(features, vb, groups=["T1"] * 60)
    with pytest.raises(DataError, match="two levels"):
        WearModel().fit(features, levels=["worn"] * 60)
    with pytest.raises(DataError, match="not numbers"):
        WearModel().fit(features, [float("nan"), *vb[1:]])
    with pytest.raises(DataError, match="at least one"):
        WearModel().fit([], [])
    mixed = [Features(("depth_mm",), np.zeros(1)), *features[1:]]
    with pytest.raises(DataError, match="depth_mm"):
        WearModel().fit(mixed, vb)
    model = WearModel().fit(features, vb, levels, groups)
    with pytest.raises(DataError, match="differ from those of training"):
        model.predict([Features(("depth_mm",), np.zeros(1))])
    with pytest.raises(DataError, match="does not exist"):
        WearModel.load(tmp_path)
    model.save(tmp_path)
    kept = json.loads((tmp_path / WEIGHTS).read_text())
    for damage in ({"format": 9}, {"names": ["depth"]}, {"regressor": None, "classifier": None}, {"error": {"x": 1}}):
        (tmp_path / WEIGHTS).write_text(json.dumps(kept | damage))
        with pytest.raises(DataError, match=WEIGHTS):
            WearModel.load(tmp_path)
