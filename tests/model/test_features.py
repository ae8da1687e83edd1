"""Features by OpenVINO and by torch are the same, and converting is left out where it does not repay."""

from pathlib import Path

import numpy as np
import pytest
from labelled_set import labelled

from flawsmith.core.openvino import openvino_installed
from flawsmith.model import features
from flawsmith.model.classify import BackboneSettings, Classifier, ClassifySettings


@pytest.mark.skipif(not openvino_installed(), reason="needs openvino")
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_openvino_and_torch_agree(dtype: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = labelled(tmp_path / "data", each=14, dtype=dtype)  # 42 images: a full batch and a rest
    settings = ClassifySettings(backbone=BackboneSettings(name="small-cnn", side=32))
    views, net, _ = Classifier(settings).prepare(data)
    asked = []
    real = features._openvino
    monkeypatch.setattr(features, "_openvino", lambda *given: asked.append(1) or real(*given))
    eager = features.features_of(net.backbone, net.features, views, keep=False)
    assert not asked, "42 small images do not repay converting"
    monkeypatch.setattr(features, "_REPAYS", 1)
    fast = features.features_of(net.backbone, net.features, views, keep=False)
    assert asked
    assert fast.shape == eager.shape == (42, net.backbone.info.dim)
    np.testing.assert_allclose(fast, eager, rtol=1e-3, atol=1e-4 * np.abs(eager).max())
    assert np.ptp(eager, axis=0).max() > 1e-2, "features that never differ would agree by any engine"


def test_without_openvino_torch_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = labelled(tmp_path / "data", each=4)
    views, net, _ = Classifier(ClassifySettings(backbone=BackboneSettings(name="small-cnn", side=32))).prepare(data)
    monkeypatch.setattr(features, "_REPAYS", 1)
    monkeypatch.setattr(features, "openvino_installed", lambda: False)
    monkeypatch.setattr(features, "_openvino", lambda *given: pytest.fail("openvino is not there"))
    assert len(features.features_of(net.backbone, net.features, views, keep=False)) == 12
