"""Heads: from features of a frozen network to class logits, fitted in seconds.

Each is fitted by scikit-learn, or by a few hundred full-batch steps, and then is a small torch module: so it can be
exported with the network in one graph. Features are standardised inside it.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from flawsmith.core.config import Settings

_LEAST_SPREAD = 0.3  # of the mean one
_MANY = 2000  # images
_MLP_STEPS, _MLP_BATCH, _MLP_ROUNDS = 200, 1024, 15


class HeadSettings(Settings):
    """What sits on the features.

    kind:       logistic regression, k nearest neighbours (cosine), linear support vector machine, one hidden layer
    strength:   inverse of the L2 penalty of logistic and svm
    neighbours: of knn, at most as many as there are training images
    hidden, dropout, label_smoothing: of mlp
    balanced:   every class weighs the same, however many images it has
    """

    kind: Literal["logistic", "knn", "svm", "mlp"] = "logistic"
    strength: float = Field(default=0.1, gt=0)
    neighbours: int = Field(default=5, ge=1)
    hidden: int = Field(default=256, ge=1)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    label_smoothing: float = Field(default=0.05, ge=0, lt=1)
    balanced: bool = True


class Head(nn.Module):
    """Standardised features (N, D) to logits (N, K)."""

    def __init__(self, mean: Tensor, scale: Tensor, layers: nn.Module) -> None:
        super().__init__()
        self.mean, self.scale = nn.Buffer(mean), nn.Buffer(scale)
        self.layers = layers

    def forward(self, features: Tensor) -> Tensor:
        return self.layers((features - self.mean) / self.scale)


class Neighbours(nn.Module):
    """Logits of the classes among the nearest training features by cosine, each weighed by its likeness.

    bank: (M, D) unit vectors; votes: (M, K) one-hot, weighed by class where classes are balanced
    """

    def __init__(self, bank: Tensor, votes: Tensor, count: int, sharpness: float = 20.0) -> None:
        super().__init__()
        self.bank, self.votes = nn.Buffer(bank), nn.Buffer(votes)
        self.count, self.sharpness = count, sharpness

    def forward(self, features: Tensor) -> Tensor:
        likeness = functional.normalize(features, dim=1) @ self.bank.T
        nearest, at = likeness.topk(self.count, dim=1)
        weight = torch.softmax(self.sharpness * nearest, dim=1)
        shares = (weight.unsqueeze(2) * self.votes[at]).sum(1)
        return torch.log(shares / shares.sum(1, keepdim=True) + 1e-3)


def fit_head(features: np.ndarray, labels: np.ndarray, classes: int, settings: HeadSettings, seed: int = 0) -> Head:
    """features: float32 (N, D); labels: (N,) 0 … classes - 1, each there at least once."""
    mean, spread = features.mean(0), features.std(0)
    # a feature that hardly varies among a few images may be a hundred times as large in the next
    scale = np.maximum(spread, _LEAST_SPREAD * spread.mean()) + 1e-6
    layers = _FITS[settings.kind](((features - mean) / scale).astype(np.float32), labels, classes, settings, seed)
    return Head(torch.from_numpy(mean), torch.from_numpy(scale), layers).eval()


def empty_head(tensors: Mapping[str, Tensor], settings: HeadSettings) -> Head:
    """A head of the shapes of `tensors`, a state of `fit_head`'s module, to be filled by `load_state_dict`."""
    if settings.kind == "knn":
        bank, votes = tensors["layers.bank"], tensors["layers.votes"]
        layers: nn.Module = Neighbours(bank, votes, min(settings.neighbours, len(bank)))
    elif settings.kind == "mlp":
        hidden, width = tensors["layers.0.weight"].shape
        layers = _hidden_layer(width, hidden, len(tensors["layers.3.bias"]), settings.dropout)
    else:
        outputs, inputs = tensors["layers.weight"].shape
        layers = nn.Linear(inputs, outputs)
    return Head(tensors["mean"], tensors["scale"], layers)


def _logistic(x: np.ndarray, y: np.ndarray, classes: int, settings: HeadSettings, seed: int) -> nn.Module:
    """Multinomial logistic regression by L-BFGS."""
    from sklearn.linear_model import LogisticRegression

    basis = _span(x)
    weight = "balanced" if settings.balanced else None
    found = LogisticRegression(C=settings.strength, class_weight=weight, max_iter=500).fit(x @ basis, y)
    return _linear(found.coef_ @ basis.T, np.atleast_1d(found.intercept_), classes)


def _svm(x: np.ndarray, y: np.ndarray, classes: int, settings: HeadSettings, seed: int) -> nn.Module:
    from sklearn.svm import LinearSVC

    basis, weight = _span(x), "balanced" if settings.balanced else None
    tol = 1e-4 if len(x) <= _MANY else 1e-2  # of many images the last digits cost more than they are worth
    model = LinearSVC(C=settings.strength, class_weight=weight, random_state=seed, max_iter=5000, tol=tol)
    found = model.fit(x @ basis, y)
    return _linear(found.coef_ @ basis.T, np.atleast_1d(found.intercept_), classes)


def _span(x: np.ndarray) -> np.ndarray:
    """(D, R) orthonormal basis of the row space of x (N, D): fewer images than features make a smaller problem with the
    same solution under an L2 penalty."""
    if len(x) >= x.shape[1]:
        return np.eye(x.shape[1], dtype=x.dtype)
    _, values, rows = np.linalg.svd(x, full_matrices=False)
    return rows[values > 1e-5 * values[0]].T


def _linear(weight: np.ndarray, bias: np.ndarray, classes: int) -> nn.Module:
    """A linear layer; two classes come as one row, the margin of the second."""
    if classes == 2 and len(weight) == 1:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    layer = nn.Linear(weight.shape[1], classes)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer


def _knn(x: np.ndarray, y: np.ndarray, classes: int, settings: HeadSettings, seed: int) -> nn.Module:
    votes = np.eye(classes, dtype=np.float32)[y]
    if settings.balanced:
        votes /= np.maximum(votes.sum(0), 1) / len(votes)
    bank = functional.normalize(torch.from_numpy(x), dim=1)
    return Neighbours(bank, torch.from_numpy(votes), min(settings.neighbours, len(x)))


def _mlp(x: np.ndarray, y: np.ndarray, classes: int, settings: HeadSettings, seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = _hidden_layer(x.shape[1], settings.hidden, classes, settings.dropout)
        images, targets = torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))
        counts = torch.bincount(targets, minlength=classes).clamp(min=1).float()
        loss = nn.CrossEntropyLoss(
            weight=len(y) / classes / counts if settings.balanced else None, label_smoothing=settings.label_smoothing
        )
        optimizer = torch.optim.AdamW(layers.parameters(), lr=1e-3, weight_decay=1e-2)
        # a handful as one batch; of many images so large a one would cost minutes and gain nothing
        draw = torch.Generator().manual_seed(seed)
        for _ in range(max(_MLP_STEPS, _MLP_ROUNDS * len(y) // _MLP_BATCH)):
            some = slice(None) if len(y) <= _MLP_BATCH else torch.randint(len(y), (_MLP_BATCH,), generator=draw)
            optimizer.zero_grad()
            loss(layers(images[some]), targets[some]).backward()
            optimizer.step()
    return layers.eval().requires_grad_(False)


def _hidden_layer(width: int, hidden: int, classes: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, classes))


_FITS: dict[str, Callable[..., nn.Module]] = {"logistic": _logistic, "knn": _knn, "svm": _svm, "mlp": _mlp}
