"""WearModel: from the features of a region to VB and to a level such as worn or not; linear, kept as JSON.

It stands beside the network: it learns from some tens of measured inserts what the measured land itself does not say,
and its error is that of inserts it has not seen.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GroupKFold

from flawsmith.core.config import Settings, validate
from flawsmith.core.errors import DataError
from flawsmith.core.files import read_json, write_json
from flawsmith.model.wear.describe import Features

WEIGHTS = "wear_model.json"
_FORMAT = 1
_FAR = 6.0  # standard deviations from the training mean; beyond, a linear model says nothing


class EstimateSettings(Settings):
    """folds: of the cross-validation; alphas: ridge penalties to choose from; c: inverse penalty of the classifier."""

    folds: int = Field(default=5, ge=2)
    alphas: tuple[float, ...] = Field(default=(0.1, 1.0, 10.0, 100.0, 1000.0), min_length=1)
    c: float = Field(default=0.1, gt=0)


@dataclass(frozen=True)
class Linear:
    """score = weights · (features − mean) / spread + bias; (K, F) weights and (K,) bias, the rest (F,)."""

    mean: tuple[float, ...]
    spread: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]

    def scores(self, values: np.ndarray) -> np.ndarray:
        """Float64 (N, F) to (N, K)."""
        return self.standard(values) @ np.array(self.weights).T + np.array(self.bias)

    def standard(self, values: np.ndarray) -> np.ndarray:
        return (values - np.array(self.mean)) / np.array(self.spread)


@dataclass(frozen=True)
class WearError:
    """Of inserts that were not learnt from, groups kept whole. None where nothing of the kind was learnt.

    vb_mae, vb_rmse:   of the regressor; vb_mae_of_mean: of always answering the mean, to compare with
    right, judged:     regions whose level was right, of how many; right_of_usual: by always answering the usual level
    """

    folds: int
    vb_mae: float | None = None
    vb_rmse: float | None = None
    vb_mae_of_mean: float | None = None
    right: int | None = None
    judged: int | None = None
    right_of_usual: int | None = None


@dataclass(frozen=True)
class WearEstimate:
    """What the model says of one region. `vb` is in the unit it was trained with, not below 0.

    unlike: the feature that lies farthest outside of what was learnt from, None where all are within
    """

    vb: float | None
    level: str | None
    probabilities: dict[str, float]
    unlike: str | None


class WearModel:
    """`fit` learns VB, levels or both from features, `predict` gives them, `save` and `load` keep it.

    >>> model = WearModel().fit(features, vb=measured_mm, groups=inserts)      # doctest: +SKIP
    >>> model.error_.vb_mae, model.predict(features[:1])[0].vb                  # doctest: +SKIP
    (0.021, 0.18)
    """

    def __init__(self, settings: EstimateSettings | None = None) -> None:
        self.settings = settings or EstimateSettings()

    def fit(
        self,
        features: Sequence[Features],
        vb: Sequence[float] | None = None,
        levels: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
    ) -> "WearModel":
        """Learn `vb` (any one unit), `levels` ("worn", "good" …) or both.

        groups: the insert of each region, so that the error is not measured on an insert that was learnt from; None:
                each region is its own insert

        Raises `DataError` when lengths differ, features are of different settings, or there is too little to learn.
        """
        self.names_, values = _table(features)
        owners = np.array([str(i) for i in range(len(features))] if groups is None else list(groups))
        for name, given in (("vb", vb), ("levels", levels), ("groups", groups)):
            if given is not None and len(given) != len(features):
                raise DataError(f"{len(features)} regions but {len(given)} {name}: give one for each")
        if vb is None and levels is None:
            raise DataError("nothing to learn: give vb, levels or both")
        if len(set(owners)) < self.settings.folds:
            raise DataError(
                f"{len(set(owners))} inserts do not fill {self.settings.folds} folds: measure more, or lower folds"
            )
        wanted = None if vb is None else np.array(vb, float)
        if wanted is not None and not np.isfinite(wanted).all():
            raise DataError("vb holds values that are not numbers: leave those regions out")
        if levels is not None and len(set(levels)) < 2:
            raise DataError(f"all regions have the level {levels[0]!r}: at least two levels are needed to learn from")
        self.levels_ = () if levels is None else tuple(sorted(set(levels)))
        named = None if levels is None else np.array(levels)
        self.error_ = self._cross_validate(values, wanted, named, owners)
        self.regressor_ = None if wanted is None else self._regressor(values, wanted)
        self.classifier_ = None if named is None else self._classifier(values, named, self.levels_)
        return self

    def predict(self, features: Sequence[Features]) -> list[WearEstimate]:
        """Raises `DataError` when the features are not those that were learnt from."""
        names, values = _table(features)
        if names != self.names_:
            odd = sorted(set(names) ^ set(self.names_))[:4]
            raise DataError(f"the features differ from those of training ({', '.join(odd) or 'in their order'})")
        known = self.regressor_ or self.classifier_
        assert known is not None
        far = np.abs(known.standard(values))
        vb = None if self.regressor_ is None else np.maximum(self.regressor_.scores(values)[:, 0], 0)
        shares = None if self.classifier_ is None else _softmax(self.classifier_.scores(values))
        return [
            WearEstimate(
                vb=None if vb is None else float(vb[i]),
                level=None if shares is None else self.levels_[int(shares[i].argmax())],
                probabilities={} if shares is None else dict(zip(self.levels_, shares[i].tolist(), strict=True)),
                unlike=names[int(far[i].argmax())] if far[i].max() > _FAR else None,
            )
            for i in range(len(features))
        ]

    def save(self, folder: Path) -> None:
        """`wear_model.json`: names, standardisation, weights, error and settings."""
        write_json(
            folder / WEIGHTS,
            {
                "format": _FORMAT,
                "settings": self.settings.model_dump(mode="json"),
                "names": self.names_,
                "levels": self.levels_,
                "regressor": None if self.regressor_ is None else asdict(self.regressor_),
                "classifier": None if self.classifier_ is None else asdict(self.classifier_),
                "error": asdict(self.error_),
            },
        )

    @classmethod
    def load(cls, folder: Path) -> "WearModel":
        """Raises `DataError` when the folder holds no wear model, or a damaged one."""
        path = folder / WEIGHTS
        kept = read_json(path)
        if not isinstance(kept, dict) or kept.get("format") != _FORMAT:
            raise DataError(f"{path} is not a wear model of format {_FORMAT}: fit and save it again")
        try:
            model = cls(validate(EstimateSettings, kept["settings"], str(path)))
            model.names_, model.levels_ = tuple(kept["names"]), tuple(kept["levels"])
            model.regressor_ = _read_linear(kept["regressor"], len(model.names_), 1)
            model.classifier_ = _read_linear(kept["classifier"], len(model.names_), len(model.levels_))
            model.error_ = WearError(**kept["error"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} is damaged ({error!r}): fit and save it again") from error
        if model.regressor_ is None and model.classifier_ is None:
            raise DataError(f"{path} holds neither regressor nor classifier: fit and save it again")
        return model

    def _regressor(self, values: np.ndarray, vb: np.ndarray) -> Linear:
        mean, spread = _standardisation(values)
        ridge = RidgeCV(alphas=self.settings.alphas).fit((values - mean) / spread, vb)
        return _linear(mean, spread, np.array([ridge.coef_]), np.array([ridge.intercept_]))

    def _classifier(self, values: np.ndarray, levels: np.ndarray, known: tuple[str, ...]) -> Linear:
        """One row of weights per level of `known`; a level that is not in `levels` is never chosen."""
        mean, spread = _standardisation(values)
        if len(set(levels)) == 1:
            bias = np.where(np.array(known) == levels[0], 0.0, -50.0)
            return _linear(mean, spread, np.zeros((len(known), values.shape[1])), bias)
        net = LogisticRegression(C=self.settings.c, max_iter=2000).fit((values - mean) / spread, levels)
        weights, bias = net.coef_, net.intercept_
        if len(net.classes_) == 2:  # scikit-learn keeps the second one's row alone
            weights, bias = np.concatenate([0 * weights, weights]), np.concatenate([0 * bias, bias])
        rows = [list(net.classes_).index(name) if name in net.classes_ else None for name in known]
        nothing = np.zeros(values.shape[1])
        return _linear(
            mean,
            spread,
            np.stack([nothing if row is None else weights[row] for row in rows]),
            np.array([-50.0 if row is None else bias[row] for row in rows]),
        )

    def _cross_validate(
        self, values: np.ndarray, vb: np.ndarray | None, levels: np.ndarray | None, owners: np.ndarray
    ) -> WearError:
        """Everything is learnt anew in each fold, the standardisation too."""
        errors, of_mean, right, usual = [], [], 0, 0
        for learn, held in GroupKFold(self.settings.folds).split(values, groups=owners):
            if vb is not None:
                found = np.maximum(self._regressor(values[learn], vb[learn]).scores(values[held])[:, 0], 0)
                errors += (found - vb[held]).tolist()
                of_mean += (vb[learn].mean() - vb[held]).tolist()
            if levels is not None:
                scores = self._classifier(values[learn], levels[learn], self.levels_).scores(values[held])
                right += int((np.array(self.levels_)[scores.argmax(axis=1)] == levels[held]).sum())
                names, counts = np.unique(levels[learn], return_counts=True)
                usual += int((levels[held] == names[counts.argmax()]).sum())
        learnt = levels is not None
        return WearError(
            folds=self.settings.folds,
            vb_mae=float(np.abs(errors).mean()) if errors else None,
            vb_rmse=math.sqrt(float(np.square(errors).mean())) if errors else None,
            vb_mae_of_mean=float(np.abs(of_mean).mean()) if errors else None,
            right=right if learnt else None,
            judged=len(owners) if learnt else None,
            right_of_usual=usual if learnt else None,
        )


def _table(features: Sequence[Features]) -> tuple[tuple[str, ...], np.ndarray]:
    if not features:
        raise DataError("no regions were given; wanted the features of at least one")
    names = features[0].names
    for other in features:
        if other.names != names:
            odd = sorted(set(names) ^ set(other.names))[:4]
            raise DataError(f"the regions have different features ({', '.join(odd)}): describe all in one way")
    values = np.stack([other.values for other in features])
    if not np.isfinite(values).all():
        raise DataError("features that are not numbers: describe the regions again")
    return names, values


def _standardisation(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation; a feature that never changes gets 1 and so says nothing."""
    spread = values.std(axis=0)
    return values.mean(axis=0), np.where(spread > 1e-12, spread, 1.0)


def _linear(mean: np.ndarray, spread: np.ndarray, weights: np.ndarray, bias: np.ndarray) -> Linear:
    rows = tuple(tuple(row) for row in weights.tolist())
    return Linear(tuple(mean.tolist()), tuple(spread.tolist()), rows, tuple(bias.tolist()))


def _read_linear(kept: Any, features: int, rows: int) -> Linear | None:
    if kept is None:
        return None
    parts = {name: np.array(kept[name], float) for name in ("mean", "spread", "weights", "bias")}
    shapes = {"mean": (features,), "spread": (features,), "weights": (rows, features), "bias": (rows,)}
    for name, part in parts.items():
        if part.shape != shapes[name] or not np.isfinite(part).all():
            raise ValueError(f"{name} is {part.shape}, wanted {shapes[name]} of numbers")
    return _linear(**parts)


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
