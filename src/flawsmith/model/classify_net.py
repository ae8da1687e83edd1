"""The network of a classifier: raw intensities to logits, and what is exported of it."""

import torch
from torch import Tensor, nn

from flawsmith.core.spec import FAULTY, ModelSpec
from flawsmith.model.backbone import Backbone
from flawsmith.model.novelty import Novelty

TOPS = {8: 255.0, 16: 65535.0}  # the largest intensity, by bit depth


class ClassifyNet(nn.Module):
    """Raw intensities (N, C, side, side) to logits (N, K); grey is shown to the network as three equal channels."""

    def __init__(self, backbone: Backbone, head: nn.Module, top: float) -> None:
        super().__init__()
        self.backbone, self.head, self.keeps_statistics = backbone, head, True
        mean, std = torch.tensor(backbone.info.mean), torch.tensor(backbone.info.std)
        self.mean, self.std = nn.Buffer(top * mean.reshape(1, 3, 1, 1)), nn.Buffer(top * std.reshape(1, 3, 1, 1))

    def train(self, mode: bool = True) -> "ClassifyNet":
        """Pretrained batch norms keep their statistics: a handful of images would give worse ones."""
        super().train(mode)
        if mode and self.keeps_statistics:
            for module in self.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def normalised(self, x: Tensor) -> Tensor:
        """Float (N, 3, side, side) as the backbone wants it."""
        return (x.expand(-1, 3, -1, -1) - self.mean) / self.std

    def features(self, x: Tensor) -> Tensor:
        """(N, D)"""
        return self.backbone(self.normalised(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class Deployable(nn.Module):
    """What is exported: integer pixels (N, side, side, C) to planes (N, kinds, 1, 1); see `ModelSpec`."""

    def __init__(self, net: ClassifyNet, novelty: Novelty, temperature: float, spec: ModelSpec) -> None:
        super().__init__()
        self.net, self.novelty, self.temperature = net, novelty, temperature
        at = [spec.classes.index(name) for name in spec.healthy]
        self.has_faults = FAULTY in spec.kinds
        self.healthy = nn.Buffer(torch.zeros(len(spec.classes)).index_fill(0, torch.tensor(at, dtype=torch.long), 1.0))

    def forward(self, pixels: Tensor) -> Tensor:
        features = self.net.features(pixels.permute(0, 3, 1, 2).to(torch.float32))
        return self.planes(self.probabilities(features), self.novelty(features))

    def probabilities(self, features: Tensor) -> Tensor:
        """(N, D) to (N, K)"""
        return torch.softmax(self.net.head(features) / self.temperature, dim=1)

    def planes(self, probabilities: Tensor, unknown: Tensor) -> Tensor:
        """(N, K) and (N,) to (N, kinds, 1, 1): with "faulty" between them where some classes are healthy."""
        planes = [probabilities]
        if self.has_faults:
            planes.append((probabilities * (1 - self.healthy)).sum(1, keepdim=True).clamp(0, 1))
        return torch.cat([*planes, unknown.unsqueeze(1)], dim=1)[:, :, None, None]
