"""Classifiers side by side: the figures against a plain loop; and an ensemble through the parity gate."""

import sys
from pathlib import Path

import numpy as np
import pytest

from flawsmith.core.errors import ConfigError, DataError
from flawsmith.core.spec import top_class
from flawsmith.dataset.manifest import Dataset
from flawsmith.decide.classes import first_decision
from flawsmith.deploy.compare import compare, rows
from flawsmith.deploy.request import ExportRequest, export_model
from flawsmith.evaluate.intervals import clopper_pearson
from flawsmith.line.inspector import Inspector
from flawsmith.model.classify import BackboneSettings, Classifier, ClassifySettings
from flawsmith.model.ensemble import Ensemble, members_of
from flawsmith.model.heads import HeadSettings

sys.path.insert(0, str(Path(__file__).parents[1] / "model"))
from labelled_set import CLASSES, labelled, picture


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = tmp_path_factory.mktemp("squares")
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
    yield labelled(root / "data", each=12)
    patch.undo()


@pytest.fixture(scope="module")
def models(data: Dataset) -> dict[str, Classifier]:
    settings = ClassifySettings(backbone=BackboneSettings(name="small-cnn", side=32))
    train = data.split("train")
    heads = [settings.model_copy(update={"head": HeadSettings(kind=kind)}) for kind in ("logistic", "svm")]
    both = Ensemble.of([Classifier(each).fit(train) for each in heads], data.split("val"))
    labels = np.array(train.column("label"))
    poor = train.take([int(np.flatnonzero(labels == name)[0]) for name in CLASSES] * 2)
    return {"ensemble": both, "poor": Classifier(settings).fit(poor)}


def test_figures_are_those_of_a_plain_loop(models: dict[str, Classifier], data: Dataset) -> None:
    test = data.split("test")
    found = {one["name"]: one for one in compare(models, test, "ensemble", repeats=3)}
    labels = np.array(test.column("label"))
    right = {}
    for name, model in models.items():
        said = [top_class(next(model.predict([s.image()])), model.spec)[0] for s in test]
        right[name] = np.array([a == b for a, b in zip(said, labels, strict=True)])
        k = int(right[name].sum())
        assert (found[name]["accuracy"]["k"], found[name]["accuracy"]["n"]) == (k, len(test))
        assert found[name]["accuracy"]["low"] == pytest.approx(float(clopper_pearson(k, len(test))[0]))
        recalls = [right[name][labels == label].mean() for label in np.unique(labels)]
        assert found[name]["balanced_accuracy"] == pytest.approx(np.mean(recalls), abs=1e-4)
        gap = 100 * (right[name].mean() - right["ensemble"].mean())
        assert found[name]["points_to_reference"] == pytest.approx(gap, abs=0.01)
        assert found[name]["only_reference_right"] == int((right["ensemble"] & ~right[name]).sum())
        assert found[name]["only_this_right"] == int((right[name] & ~right["ensemble"]).sum())
    assert found["ensemble"]["points_to_reference"] == 0
    assert found["ensemble"]["share_of_reference_ms"] == 1
    heads = [sum(p.numel() for p in one.net_.head.parameters()) for one in members_of(models["ensemble"])]
    assert found["ensemble"]["parameters"] == found["poor"]["parameters"] + heads[1]  # the backbone is shared
    assert found["ensemble"]["megabytes"] < 1.2 * found["poor"]["megabytes"]
    columns, lines = rows(list(found.values()))
    assert len(lines) == 2
    assert all(len(line) == len(columns) for line in lines)


def test_what_cannot_be_compared_is_named(models: dict[str, Classifier], data: Dataset) -> None:
    with pytest.raises(ConfigError, match="no model 'teacher'"):
        compare(models, data.split("test"), "teacher")
    with pytest.raises(DataError, match="got none"):
        compare(models, data.split("test").take([]), "poor")
    two = ClassifySettings(backbone=BackboneSettings(name="small-cnn", side=32), classes=("good", "spotted"))
    narrow = Classifier(two).fit(data.split("train"))
    with pytest.raises(DataError, match="narrow does not know striped"):
        compare({"narrow": narrow}, data.split("test"), "narrow")


def test_an_ensemble_passes_the_parity_gate(models: dict[str, Classifier], data: Dataset, tmp_path: Path) -> None:
    model = models["ensemble"]
    model.temperature_ = 1.3
    request = ExportRequest(engines=("onnxruntime",), images=9)
    export = export_model(model, data, first_decision(model.spec), tmp_path / "recipe", request)
    assert export.engines == ("onnxruntime",)
    assert export.parity.engines["onnxruntime"].score_diff < 1e-3
    seen = Inspector(tmp_path / "recipe").inspect(picture("striped", 88)).seen
    assert seen is not None
    assert seen[0] == "striped"
