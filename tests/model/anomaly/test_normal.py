"""What is normal: the bank against brute force, the Gaussians against an inverse, whitening against NumPy."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist, mahalanobis

from flawsmith.core.errors import ConfigError, DataError
from flawsmith.model.anomaly.distance import Blur, Deployable
from flawsmith.model.anomaly.gaussian import fit_gaussian, load_gaussian
from flawsmith.model.anomaly.learn import Held
from flawsmith.model.anomaly.memory import MemoryBank, learn_memory, load_memory, packed, rounded
from flawsmith.model.anomaly.settings import AnomalySettings
from flawsmith.model.anomaly.spots import Moments, SpotNet, Whitening, join, reach
from flawsmith.model.backbone import open_backbone
from flawsmith.model.small_cnn import SmallCnnSettings


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


@pytest.mark.parametrize("rows", [5, 2500])  # 2500: in several pieces
def test_the_bank_gives_the_exact_distance_to_the_nearest_row(rows):
    bank, spots = normal(rows, 12), normal(2, 12, 5, 7, seed=1)
    found = MemoryBank(bank, torch.arange(rows))(spots)
    flat = spots.permute(0, 2, 3, 1).reshape(-1, 12).numpy()
    wanted = cdist(flat, bank.numpy()).min(1).reshape(2, 1, 5, 7)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-3)


@pytest.mark.parametrize(("precision", "bytes_", "apart"), [("fp32", 4, 0), ("fp16", 2, 2e-3), ("int8", 1, 2e-2)])
def test_a_packed_bank_comes_back_as_it_was_used(precision, bytes_, apart):
    raw = normal(40, 16)
    bank = MemoryBank(rounded(raw, precision), torch.arange(40))
    state = packed(bank, precision)
    assert state["bank"].element_size() == bytes_
    again = load_memory(state)
    np.testing.assert_allclose(again.bank.numpy(), bank.bank.numpy(), rtol=1e-6, atol=1e-7)
    assert float((bank.bank - raw).abs().max()) <= apart * float(raw.abs().max()) + 1e-9
    assert (apart == 0) == bool(torch.equal(bank.bank, raw))


def test_rows_of_an_image_go_with_it():
    bank = MemoryBank(normal(6, 3), torch.tensor([1, 1, 2, 2, 3, 3]))
    assert bank.without(torch.tensor([2])).owners.tolist() == [1, 1, 3, 3]
    with pytest.raises(DataError, match="no row of the bank would be left"):
        bank.without(torch.tensor([1, 2, 3]))


def test_only_spots_that_are_new_join_the_bank():
    bank = MemoryBank(normal(50, 4), torch.zeros(50, dtype=torch.int64))
    same = bank.joined(bank.bank + 1e-4, torch.ones(50, dtype=torch.int64))
    assert len(same) == 50
    more = bank.joined(normal(10, 4, seed=3) + 40, torch.ones(10, dtype=torch.int64))
    assert len(more) > 50
    assert float(more(normal(10, 4, seed=3).T.reshape(1, 4, 1, 10) + 40).max()) < 3


@pytest.mark.parametrize("images", [3, 40])
def test_a_position_is_judged_by_mahalanobis_with_the_shrunk_covariance(images):
    spots, probe = normal(images, 6, 2, 3) * torch.arange(1, 7).reshape(1, 6, 1, 1), normal(1, 6, 2, 3, seed=5)
    share = 0.3
    found = fit_gaussian(spots, directions=64, shrinkage=share)(probe).numpy()[0, 0]
    data = spots.numpy().astype(np.float64)
    moved = data - data.mean(0)
    variance = (moved**2).sum() / ((images - 1) * 6 * 6)
    for y in range(2):
        for x in range(3):
            own = moved[:, :, y, x].T @ moved[:, :, y, x] / (images - 1)
            inverse = np.linalg.inv(share * variance * np.eye(6) + (1 - share) * own)
            wanted = mahalanobis(probe[0, :, y, x].numpy(), data.mean(0)[:, y, x], inverse)
            assert found[y, x] == pytest.approx(wanted, rel=1e-3)


def test_fewer_directions_never_call_a_spot_nearer():
    spots, probe = normal(20, 8, 2, 2), normal(1, 8, 2, 2, seed=9)
    distances = [fit_gaussian(spots, count, 0.3)(probe) for count in (0, 2, 8)]
    assert (distances[0] >= distances[1] - 1e-5).all()
    assert (distances[1] >= distances[2] - 1e-5).all()
    kept = fit_gaussian(spots, 2, 0.3)
    assert torch.equal(load_gaussian(kept.state_dict())(probe), kept(probe))


def test_whitened_spots_have_unit_covariance_and_flat_ones_do_no_harm():
    spots = normal(5000, 5) @ normal(5, 5, seed=1) + 7
    moments = Moments(5)
    for part in spots.split(999):
        moments.add(part)
    white = moments.whitening().rows(spots).numpy() * np.sqrt(5)
    covariance = np.cov(white.T)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 0.02
    assert 0.5 < np.diag(covariance).min() <= np.diag(covariance).max() < 1.02  # the floor shrinks the least of them
    flat = Moments(5)
    flat.add(torch.full((100, 5), 3.0))
    assert torch.isfinite(flat.whitening().rows(torch.full((2, 5), 3.0))).all()


def test_turning_before_enlarging_is_turning_after():
    maps = [normal(1, 3, 8, 12), normal(1, 4, 4, 6, seed=1)]
    white = Whitening(normal(7, seed=2), normal(7, 7, seed=3))
    wanted = white.rows(join(maps)[0].flatten(1).T).T.reshape(1, 7, 8, 12)
    np.testing.assert_allclose(white(maps).numpy(), wanted.numpy(), atol=2e-5)


def network(kept: tuple = (2, 3), pool: int = 3) -> SpotNet:
    torch.manual_seed(0)
    settings = SmallCnnSettings(channels=1, side_px=64, filters=4, depth=4)
    return SpotNet(open_backbone("small-cnn", small=settings), kept, pool, 8).eval()


def test_nothing_beyond_the_reach_moves_a_spot_and_something_within_does():
    net = network()
    stride, radius = reach(net)
    assert stride == 8
    image = torch.zeros(1, 192, 192, 1, dtype=torch.uint8)
    with torch.no_grad():
        before = net(image)[-1]
        middle = before.shape[2] // 2
        px = middle * stride
        far, near = image.clone(), image.clone()
        far[:, : px - radius] = 255
        near[:, px - stride] = 255
        assert torch.equal(net(far)[-1][..., middle, middle], before[..., middle, middle])
        assert not torch.equal(net(near)[-1][..., middle, middle], before[..., middle, middle])


@pytest.mark.parametrize("kept", [(0,), (5,), (3, 2), (2, 2)])
def test_stages_that_there_are_not_are_refused(kept):
    with pytest.raises(ConfigError, match="has stages 1 to 4"):
        network(kept)


def test_families_without_a_sequence_of_maps_say_so():
    backbone = open_backbone("resnet18", pretrained=False)
    maps, x = [], torch.zeros(1, 3, 64, 64)
    for stage in backbone.stages:
        x = stage(x)
        maps.append(x)
    assert [m.shape[1:] for m in maps] == [(64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2)]
    with torch.no_grad():
        probe = normal(1, 3, 64, 64)
        y = probe
        for stage in backbone.stages:
            y = stage(y)
        np.testing.assert_allclose(y.numpy(), backbone.feature_map(probe).numpy(), atol=1e-5)


def test_the_blur_keeps_a_level_and_spreads_a_peak():
    blur = Blur(1.5)
    np.testing.assert_allclose(blur(torch.full((1, 1, 9, 9), 2.0)).numpy(), 2.0, rtol=1e-6)
    peak = torch.zeros(1, 1, 21, 21)
    peak[0, 0, 10, 10] = 1
    assert float(blur(peak).sum()) == pytest.approx(1, rel=1e-5)
    assert float(blur(peak).max()) < 0.1
    assert torch.equal(Blur(0)(peak), peak)


def test_scores_rise_with_distance_however_large_it_is():
    class Given(torch.nn.Module):
        def forward(self, pixels):
            return pixels[..., 0].float().reshape(1, 1, 4, 4)[:, :, ::2, ::2] ** 3

    pixels = torch.arange(16, dtype=torch.int64).reshape(1, 4, 4, 1) * 10  # distances to 2.7 million
    scores = Deployable(Given(), unit=1.0)(pixels)  # type: ignore[arg-type]
    ordered = scores.flatten().sort().values
    assert float(ordered[-1]) < 1
    assert float(scores[0, 0, 3, 3]) == float(ordered[-1])


def test_images_of_one_group_are_not_held_against_each_other():
    """Every image twice, almost: a unit that comes from comparing twins would call all other parts defective."""
    images = normal(8, 30, 6)
    twins = torch.cat([images, images + 0.01 * normal(8, 30, 6, seed=1)]).reshape(-1, 6)
    held = Held(Whitening(torch.zeros(6), torch.eye(6)), twins, torch.arange(16).repeat_interleave(30))
    settings = AnomalySettings.model_validate({"memory": {"rows": 10_000}})
    by_part = learn_memory(held, np.tile(np.arange(8), 2), settings)[1]
    by_image = learn_memory(held, np.arange(16), settings)[1]
    assert by_part.min() > 0.5
    assert by_image.max() < 0.1
