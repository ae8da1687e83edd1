"""The generative line as a method of anomalies: trained, gone on with after a kill, kept, exported."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from flawsmith.core.errors import ConfigError
from flawsmith.core.spec import predict_image
from flawsmith.dataset.manifest import Dataset
from flawsmith.deploy.onnx_graph import export_onnx
from flawsmith.line.engine import ONNX_FILE, open_engine
from flawsmith.model.anomaly import AnomalyDetector, AnomalySettings
from flawsmith.model.anomaly.dcgan.crops import HealthyCrops
from flawsmith.model.anomaly.dcgan.nets import Nets
from flawsmith.model.anomaly.dcgan.settings import DcganSettings, SearchSettings
from flawsmith.model.anomaly.dcgan.train import Duel, noise_at, train_gan
from flawsmith.model.models import load_model

sys.path.insert(0, str(Path(__file__).parents[1]))
from healthy_set import plate, plates

SHAPE = (128, 128)
STABILISERS = [
    {},
    {"resize": True, "truncated": True, "generator_steps": 2},
    {"gate": 0.5, "discriminator_sgd": True},
    {"flipped": 0.1, "soft": 0.2, "noise": 0.2},
    {"spectral": True, "r1": 1.0},
]


def tiny(**more: object) -> DcganSettings:
    return DcganSettings.model_validate({"filters": (8, 8, 8, 4), "batch": 4, "steps": 4, "encoder_steps": 2, **more})


def crops_of(seed: int = 0) -> HealthyCrops:
    return HealthyCrops([plate(i, shape=SHAPE)[..., None] for i in range(3)], 64, False, seed)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return plates(tmp_path_factory.mktemp("large") / "data", 12, 0, ("train", "train", "val", "test"), shape=SHAPE)


@pytest.fixture(scope="module")
def model(data: Dataset) -> AnomalyDetector:
    settings = AnomalySettings(method="dcgan", threads=1, dcgan=tiny(steps=20, encoder_steps=40))
    return AnomalyDetector(settings).fit(data.split("train"))


@pytest.mark.parametrize("chosen", STABILISERS)
def test_every_stabiliser_learns_and_changes_the_weights_it_should(chosen):
    settings = tiny(steps=2, stabilisers=chosen)
    nets = Nets(settings, 1, 0)
    before = {name: value.clone() for name, value in nets.state_dict().items()}
    state = train_gan(nets, crops_of(), settings)
    assert set(state.history[-1]) >= {"generator", "discriminator", "success"}
    assert not torch.equal(before["generator.project.weight"], nets.generator.project.weight)
    assert torch.equal(before["encoder.last.weight"], nets.encoder.last.weight)


def test_the_gate_keeps_the_discriminator_as_it_is():
    settings = tiny(stabilisers={"gate": 0.99})
    nets = Nets(settings, 1, 0)
    duel = Duel(nets, crops_of(), settings)
    with torch.no_grad():
        nets.discriminator.last.bias.fill_(-50)  # nothing passes for real
    before = nets.discriminator.last.weight.clone()
    duel.advance(0)
    assert torch.equal(before, nets.discriminator.last.weight)
    with torch.no_grad():
        nets.discriminator.last.bias.fill_(50)
    duel.advance(0)
    assert not torch.equal(before, nets.discriminator.last.weight)  # control


def test_noise_falls_to_nothing():
    settings = tiny(steps=100, stabilisers={"noise": 0.4, "noise_until": 0.5})
    assert [noise_at(step, settings) for step in (0, 25, 50, 99)] == [0.4, 0.2, 0, 0]


@pytest.mark.parametrize("chosen", [STABILISERS[0], {"spectral": True, "noise": 0.2, "flipped": 0.1}])
def test_a_killed_run_goes_on_to_the_same_weights(chosen, tmp_path):
    settings = tiny(look_every=2, stabilisers=chosen)
    whole = Nets(settings, 1, 0)
    train_gan(whole, crops_of(), settings)

    def kill(step: int, losses: dict[str, float]) -> None:
        if step == 3:
            raise KeyboardInterrupt

    kept = settings.model_copy(update={"work": tmp_path})
    with pytest.raises(KeyboardInterrupt):
        train_gan(Nets(settings, 1, 0), crops_of(), kept, {"data": 1}, kill)
    again = Nets(settings, 1, 5)
    steps = []
    train_gan(again, crops_of(), kept, {"data": 1}, lambda step, losses: steps.append(step))
    assert steps == [3, 4]
    for part in ("generator", "discriminator"):
        wanted = getattr(whole, part).state_dict()
        assert all(torch.equal(value, wanted[name]) for name, value in getattr(again, part).state_dict().items())
    assert (tmp_path / "samples" / "000004.png").exists()
    assert list((tmp_path / "tensorboard").iterdir())
    with pytest.raises(ConfigError, match="belongs to other settings or data"):
        train_gan(again, crops_of(), kept, {"data": 2})


def test_a_blob_in_a_healthy_texture_scores_higher_and_where_it_is(model):
    image = plate(99, shape=SHAPE)
    spoilt = image.copy()
    spoilt[80:104, 16:40] = 255
    healthy = [p.score for p in model.predict(plate(200 + i, shape=SHAPE) for i in range(6))]
    (found,) = model.predict([spoilt])
    assert found.score > max(healthy)
    y, x = np.unravel_index(found.map.argmax(), found.map.shape)
    assert 72 <= y < 112
    assert 8 <= x < 48
    assert found.maps.shape == (1, *SHAPE)
    assert max(healthy) < 0.7


def test_what_is_kept_is_what_was_learnt_and_the_export_gives_the_same(model, tmp_path):
    model.save(tmp_path)
    again = load_model(tmp_path)
    assert isinstance(again, AnomalyDetector)
    assert again.identity() == model.identity()
    image = plate(7, True, shape=SHAPE)
    (wanted,), (found,) = model.predict([image]), again.predict([image])
    np.testing.assert_allclose(found.maps, wanted.maps, atol=1e-6)
    engine = open_engine("onnxruntime", {ONNX_FILE: export_onnx(model.module(), model.spec)}, model.spec, 1)
    np.testing.assert_allclose(predict_image(engine, image, model.spec).maps, wanted.maps, atol=2e-4)
    assert again.rows is None
    with pytest.raises(ConfigError, match="dcgan has none: train anew"):
        again.remove(["good/000"])


def test_a_search_with_steps_predicts_and_is_not_exported(model):
    chosen = model.settings.dcgan.model_copy(update={"search": SearchSettings(mode="adam", steps=3)})
    settings = model.settings.model_copy(update={"dcgan": DcganSettings.model_validate(chosen.model_dump())})
    from flawsmith.model.anomaly.dcgan.detect import Residuals

    searching = AnomalyDetector(settings)
    searching.spec, searching.unit_, searching.images_ = model.spec, model.unit_, model.images_
    searching.distances_ = Residuals(model.distances_.nets, settings.dcgan, 8, 0)
    (found,) = searching.predict([plate(1, shape=SHAPE)])
    assert np.isfinite(found.maps).all()
    with pytest.raises(ConfigError, match=r"dcgan\.search\.mode=encoder"):
        searching.module()


def test_images_that_fill_no_grid_are_taken(model):
    (found,) = model.predict([plate(1, shape=(100, 150))])
    assert found.maps.shape == (1, 100, 150)
