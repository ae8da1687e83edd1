"""The parts of the generative line against oracles: latent vectors, networks, measures of quality, crops, search."""

import numpy as np
import pytest
import torch
from scipy import linalg, stats

from flawsmith.core.config import load_settings
from flawsmith.core.errors import ConfigError
from flawsmith.model.anomaly.dcgan import look, search
from flawsmith.model.anomaly.dcgan.crops import HealthyCrops, centred
from flawsmith.model.anomaly.dcgan.detect import cut, put_back
from flawsmith.model.anomaly.dcgan.nets import Nets, draw, truncated_normal
from flawsmith.model.anomaly.dcgan.settings import DcganSettings, SearchSettings

TINY = (8, 8, 4, 4)


def tiny(**more: object) -> DcganSettings:
    return DcganSettings.model_validate({"filters": TINY, "batch": 4, **more})


@pytest.fixture(scope="module")
def nets() -> Nets:
    """Random weights, larger than those of the start, so that z shows."""
    made = Nets(tiny(), 1, 0).eval().requires_grad_(False)
    for parameter in made.generator.parameters():
        if parameter.ndim > 1:
            parameter.mul_(6)
    return made


def test_the_truncated_normal_is_scipys():
    even = torch.linspace(0, 1, 1001)[:-1]
    found = truncated_normal(even).numpy()
    wanted = stats.truncnorm(-1 / 0.6, 1 / 0.6, scale=0.6).ppf(even.numpy())
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert np.abs(found).max() <= 1


def test_latent_vectors_lie_within_one_and_the_two_draws_differ():
    many = [draw(500, truncated, torch.Generator().manual_seed(0)) for truncated in (True, False)]
    assert all(float(z.abs().max()) <= 1 for z in many)
    assert float(many[0].std()) < 0.5 < float(many[1].std()) < 0.6


@pytest.mark.parametrize("side", [64, 128])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("stabilisers", [{}, {"resize": True}, {"spectral": True}])
def test_shapes(side, channels, stabilisers):
    made = Nets(tiny(side=side, stabilisers=stabilisers), channels, 0)
    crops = made.generator(torch.zeros(2, 100))
    assert crops.shape == (2, channels, side, side)
    assert float(crops.detach().abs().max()) <= 1
    assert made.discriminator(crops).shape == (2,)
    assert made.encoder(crops).shape == (2, 100)


def test_the_published_widths_and_those_of_larger_crops():
    published = DcganSettings(filters=(1024, 512, 256, 128))
    assert published.widths == (1024, 512, 256, 128)
    assert published.model_copy(update={"side": 256}).widths == (1024, 512, 256, 128, 64, 32)
    first = Nets(tiny(), 1, 0).generator.layers[2]
    assert (first.kernel_size, first.stride) == ((5, 5), (2, 2))


@pytest.mark.parametrize(
    ("override", "said"),
    [("side=100", "64, 128, 256 or 512"), ("filters=[8,8,8,8,8]", "64 px are 4 levels"), ("search.starts=2", "to set")],
)
def test_settings_that_cannot_be(override, said):
    with pytest.raises(ConfigError, match=said):
        load_settings(DcganSettings, None, [override])


def test_settings_survive_being_kept_and_paths_are_left_out(tmp_path):
    settings = tiny(search={"mode": "published"}, work=tmp_path)
    kept = settings.model_dump(mode="json")
    assert "work" not in kept
    assert DcganSettings.model_validate(kept) == settings.model_copy(update={"work": None})


def test_frechet_is_the_closed_form():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(300, 6)) @ rng.normal(size=(6, 6)), 2 + rng.normal(size=(200, 6))
    x, y = np.cov(a.T), np.cov(b.T)
    wanted = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(x + y - 2 * linalg.sqrtm(x @ y).real)
    assert look.frechet(a, b) == pytest.approx(wanted, rel=1e-6)
    assert look.frechet(a, a) == pytest.approx(0, abs=1e-6)
    line = np.linspace(-1, 1, 101)[:, None]
    sigma = line.std(ddof=1)
    assert look.frechet(line, 3 * line + 5) == pytest.approx(25 + (3 * sigma - sigma) ** 2)  # of two normals


def test_checkers_are_seen_and_a_texture_has_none():
    random = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(32, 1, 64, 64, generator=random) for _ in range(2))
    assert look.checkerboard(fake, real) == pytest.approx(1, abs=0.2)
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    for period in (2, 4):
        assert look.checkerboard(fake + 0.5 * ((x + y) % period == 0), real) > 2
    assert look.checkerboard(fake + 0.5 * torch.sin(x / 3.3), real) < 1.1  # control: another period


def test_transposed_convolution_leaves_checkers_that_resizing_does_not():
    drawn = {}
    for resize in (False, True):
        made = Nets(tiny(stabilisers={"resize": resize}), 1, 0).generator.eval()
        with torch.no_grad():
            drawn[resize] = look.lattice_share(made(draw(16, False, torch.Generator().manual_seed(0))))
    assert drawn[False] > 5 * drawn[True]


def test_a_grid_holds_the_crops_in_their_order():
    crops = torch.linspace(-1, 1, 6).reshape(6, 1, 1, 1).expand(6, 1, 64, 64)
    picture = look.grid(crops, 4)
    assert picture.shape == (129, 259)
    assert picture[10, 10] == 0
    assert picture[100, 100] == 255
    assert picture[100, 200] == 255  # no crop: white


def test_cut_and_put_back_are_each_others_reverse():
    x = torch.arange(2 * 3 * 128 * 192, dtype=torch.float32).reshape(2, 3, 128, 192)
    crops, shape = cut(x, 64)
    assert crops.shape == (12, 3, 64, 64)
    torch.testing.assert_close(crops[1], x[0, :, :64, 64:128])
    torch.testing.assert_close(put_back(crops, shape), x)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_crops_are_centred_and_the_same_for_a_step(dtype):
    top = np.iinfo(dtype).max
    images = [np.linspace(0, top, 80 * 90).reshape(80, 90, 1).astype(dtype), np.full((30, 70, 1), top, dtype)]
    crops = HealthyCrops(images, 64, True, 0)
    first = crops.batch(7, 8)
    assert first.shape == (8, 1, 64, 64)
    torch.testing.assert_close(first, crops.batch(7, 8))
    assert not torch.equal(first, crops.batch(8, 8))
    assert float(centred(images[0][None]).min()) == -1
    assert float(centred(images[0][None]).max()) == pytest.approx(1)


@pytest.mark.parametrize("chosen", [{"mode": "adam", "steps": 60}, {"mode": "lbfgs"}])
def test_the_search_finds_what_the_generator_drew(nets, chosen):
    z = draw(3, False, torch.Generator().manual_seed(5))
    crops = nets.generator(z)
    found = search.search(nets, crops, SearchSettings.model_validate(chosen))
    by_chance = search.recreated(nets, crops, draw(3, False, torch.Generator().manual_seed(0)))
    assert (found.loss < 0.5 * by_chance.loss).all()
    assert float(found.z.abs().max()) <= 1
    assert found.residual.shape == (3, 64, 64)
    torch.testing.assert_close(found.loss, found.residual.sum((1, 2)), rtol=1e-4, atol=1e-3)
    noise = torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert (search.search(nets, noise, SearchSettings.model_validate(chosen)).loss > found.loss).all()  # control


def test_more_starts_are_never_worse(nets):
    crops = nets.generator(draw(2, False, torch.Generator().manual_seed(6)))
    losses = [search.search(nets, crops, SearchSettings(mode="adam", steps=8, starts=starts)).loss for starts in (1, 4)]
    assert (losses[1] <= losses[0]).all()


def test_published_is_500_steps_of_momentum(nets, monkeypatch):
    monkeypatch.setattr(search, "STEPS", 5)
    crops = nets.generator(draw(2, False, torch.Generator().manual_seed(7)))
    z = draw(2, False, torch.Generator().manual_seed(0))
    speed = torch.zeros_like(z)
    for _ in range(5):  # by hand
        point = z.clone().requires_grad_()
        (slope,) = torch.autograd.grad((nets.generator(point) - crops).abs().sum(), point)
        speed = 0.8 * speed + slope
        z = z - 1e-4 * speed
    found = search.search(nets, crops, SearchSettings(mode="published"))
    torch.testing.assert_close(found.z, z, rtol=1e-4, atol=1e-6)
    monkeypatch.setattr(search, "MOMENTUM", 0.5)
    other = search.search(nets, crops, SearchSettings(mode="published"))
    assert float((other.z - z).abs().max()) > 1e-5  # control


def test_the_published_numbers():
    assert (search.MOMENTUM, search.RATE, search.STEPS) == (0.8, 1e-4, 500)


def test_features_count_where_they_are_asked_for(nets):
    crops = nets.generator(draw(2, False, torch.Generator().manual_seed(8)))
    plain, with_features = (
        search.search(nets, crops, SearchSettings(mode="adam", steps=5, feature_weight=weight)) for weight in (0.0, 0.5)
    )
    assert not torch.equal(plain.z, with_features.z)
