"""The small network from scratch: sized to the data, and it learns."""

import pytest
import torch
from torch.nn import functional

from flawsmith.core import ConfigError
from flawsmith.core.config import load_settings
from flawsmith.model.small_cnn import FINEST, SmallCnn, SmallCnnSettings, sized_to


@pytest.mark.parametrize(("side", "depth"), [(16, 2), (31, 2), (32, 3), (128, 5), (224, 5), (256, 6), (2048, 6)])
def test_depth_leaves_a_map_to_pool(side: int, depth: int) -> None:
    settings = sized_to(1000, side)
    assert settings.depth == depth
    net = SmallCnn(settings.model_copy(update={"filters": 4})).eval()
    with torch.inference_mode():
        shape = net.feature_map(torch.zeros(1, 3, side, side)).shape
    assert min(shape[2:]) >= FINEST
    assert shape[1] == net.dim


def test_more_images_allow_more_weights_and_less_dropout() -> None:
    few, many, most = (sized_to(n, 128) for n in (100, 1000, 10_000))
    assert few.filters < many.filters < most.filters
    assert few.dropout > many.dropout > most.dropout


def test_too_small_images_and_unknown_keys_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 16 px"):
        sized_to(100, 12)
    with pytest.raises(ConfigError, match="filters"):
        load_settings(SmallCnnSettings, None, ["filtres=8"])


def test_dropout_works_while_training_only() -> None:
    torch.manual_seed(0)
    net, x = SmallCnn(SmallCnnSettings(filters=16, depth=2, dropout=0.5)), torch.randn(4, 3, 32, 32)
    assert 0.2 < float((net.train()(x) == 0).float().mean()) < 0.8
    with torch.inference_mode():
        assert torch.equal(net.eval()(x), net.eval()(x))


def test_it_learns_stripes_from_their_direction() -> None:
    torch.manual_seed(0)
    labels = torch.arange(16) % 2
    lines = (torch.arange(32) // 2 % 2).float().expand(32, 32)
    x = torch.stack([lines.T if label else lines for label in labels])[:, None] + 0.3 * torch.randn(16, 1, 32, 32)
    net = SmallCnn(SmallCnnSettings(channels=1, side_px=32, filters=4, depth=2, dropout=0))
    head = torch.nn.Linear(net.dim, 2)
    optimizer = torch.optim.Adam([*net.parameters(), *head.parameters()], 0.01)
    for _ in range(30):
        optimizer.zero_grad()
        functional.cross_entropy(head(net(x)), labels).backward()
        optimizer.step()
    assert torch.equal(head(net(x)).argmax(1), labels)
